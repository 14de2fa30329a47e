//! What the view of messages has to answer.

use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::message::MessageEvent;
use hansard_domain::room::PruneCriteria;
use serde_json::{Map, Value, json};

use super::past::{Past, Said};

/// A message as a viewer sees it.
pub fn wire(past: &Past, said: &Said, viewer: &UserId) -> Value {
    let sent = said.sent;
    let unlinked = past
        .unlinked(&sent.sender)
        .filter(|place| *place > said.place);
    let sender = past.shown(&sent.sender, said.place);
    let mut wire = Map::new();
    let mut set = |field: &str, value: Value| wire.insert(field.to_owned(), value);
    set("_id", json!(said.id));
    set("rid", json!(sent.room));
    set("u", past.author(&sender));
    set("ts", json!(sent.at.iso()));
    set("_updatedAt", json!(updated(past, said).iso()));
    if let Some(thread) = &sent.thread {
        set("tmid", json!(thread.parent));
        if thread.shown {
            set("tshow", json!(true));
        }
    }
    if !sent.groupable {
        set("groupable", json!(false));
    }
    if said.is_starred_by(viewer) {
        set("starred", json!([{ "_id": viewer }]));
    }
    let replies = past.replies(said);
    if !replies.is_empty() {
        set("tcount", json!(replies.len()));
        let last = replies.iter().map(|reply| reply.at()).max().unwrap();
        set("tlm", json!(last.iso()));
    }
    if let Some(followers) = followers(past, said) {
        set("replies", json!(followers));
    }
    if unlinked.is_some() {
        set("alias", json!("Removed User"));
    }
    let person = |user: &UserId, place: usize| {
        let user = past.shown(user, place);
        json!({ "_id": user, "username": past.username(&user) })
    };
    if let Some(place) = said.replaced() {
        let (_, event) = said.events.iter().find(|(at, _)| *at == place).unwrap();
        let MessageEvent::MessageDeleted { by, at, .. } = event else {
            unreachable!()
        };
        set("t", json!("rm"));
        set("msg", json!(""));
        for list in ["urls", "mentions", "channels", "attachments"] {
            set(list, json!([]));
        }
        set("reactions", json!({}));
        set("editedAt", json!(at.iso()));
        set("editedBy", person(by, place));
        // The name for whoever is unlinked was put there before the place holder took its place.
        if unlinked.is_some_and(|unlinked| unlinked < place) {
            wire.remove("alias");
        }
        return Value::Object(wire);
    }
    if let Some(kind) = &sent.system {
        set("t", json!(kind));
    }
    if let Some(discussion) = &sent.discussion {
        set("drid", json!(discussion));
    }
    if sent.bot {
        set("bot", json!(true));
    }
    let content = said.content().cloned().unwrap_or_default();
    let tells_sender = ["uj", "ut", "ul"].contains(&sent.system.as_deref().unwrap_or_default());
    let about = content.about.as_ref();
    let about = about.or(tells_sender.then_some(&sent.sender));
    let text = match about {
        Some(user) if past.unlinked(user).is_some_and(|place| place > said.place) => {
            json!("Removed User")
        }
        Some(user) => past.called(user, said.place)["username"].take(),
        None => json!(content.text),
    };
    set("msg", text);
    let url = |url: &String| json!({ "url": url, "meta": {} });
    set("urls", content.urls.iter().map(url).collect());
    let mentions = content.mentions.iter().map(|mention| {
        let user = UserId::new(mention["_id"].as_str().unwrap());
        past.called(&user, said.written())
    });
    set("mentions", mentions.collect());
    set("channels", json!(content.channels));
    if !content.attachments.is_empty() {
        set("attachments", json!(content.attachments));
    }
    if let (Some(alias), None) = (&content.alias, unlinked) {
        set("alias", json!(alias));
    }
    for (place, event) in said.while_there() {
        match event {
            MessageEvent::MessageEdited { editor, at, .. } => {
                set("editedAt", json!(at.iso()));
                set("editedBy", person(editor, place));
            }
            MessageEvent::MessagePinned { by, at, .. } => {
                set("pinned", json!(true));
                set("pinnedAt", json!(at.iso()));
                set("pinnedBy", person(by, place));
            }
            MessageEvent::MessageUnpinned { by, .. } => {
                set("pinned", json!(false));
                set("pinnedAt", json!(past.entries[place].at.iso()));
                set("pinnedBy", person(by, place));
            }
            _ => {}
        }
    }
    let reactions = reactions(past, said);
    if !reactions.is_empty() {
        let mut given = Map::new();
        for (reaction, user) in reactions {
            let usernames = given
                .entry(reaction)
                .or_insert_with(|| json!({ "usernames": [] }));
            let username = past.username(&user);
            usernames["usernames"]
                .as_array_mut()
                .unwrap()
                .push(json!(username));
        }
        set("reactions", Value::Object(given));
    }
    Value::Object(wire)
}

/// Reactions that were given before a place and not taken back, and where.
fn given(said: &Said, before: usize) -> Vec<(String, UserId, usize)> {
    let mut given: Vec<(String, UserId, usize)> = Vec::new();
    let events = said.while_there().into_iter();
    for (place, event) in events.take_while(|(place, _)| *place < before) {
        match event {
            MessageEvent::ReactionAdded { user, reaction, .. } => {
                given.push((reaction.value().unwrap().clone(), user.clone(), place));
            }
            MessageEvent::ReactionRemoved { user, reaction, .. } => {
                given.retain(|(it, by, _)| (Some(it), by) != (reaction.value(), user));
            }
            _ => {}
        }
    }
    given
}

/// Reactions in the order they were given, each by each once; but for those of who went with all it said.
fn reactions(past: &Past, said: &Said) -> Vec<(String, UserId)> {
    let mut shown = Vec::new();
    for (reaction, user, place) in given(said, usize::MAX) {
        let gone = past.goings.iter();
        if gone
            .clone()
            .any(|(who, left)| *who == user && *left > place)
        {
            continue;
        }
        let reaction = (reaction, past.shown(&user, place));
        if !shown.contains(&reaction) {
            shown.push(reaction);
        }
    }
    shown
}

/// Who follows the thread that hangs on a message, in the order they came; `None` if nobody ever did.
fn followers(past: &Past, head: &Said) -> Option<Vec<UserId>> {
    let mut followers: Option<Vec<UserId>> = None;
    let gone = head.gone().unwrap_or(usize::MAX);
    for (place, entry) in past
        .entries
        .iter()
        .enumerate()
        .skip(head.place)
        .take_while(|(it, _)| *it < gone)
    {
        let mut add = |user: &UserId| {
            let all = followers.get_or_insert_default();
            if !all.contains(user) {
                all.push(user.clone());
            }
        };
        match &entry.event {
            hansard_domain::event::Event::Message(event) => match event {
                MessageEvent::MessageSent { sent, .. } => {
                    if let Some(thread) = sent.thread.as_ref().filter(|it| it.parent == head.id) {
                        thread.followers.iter().for_each(&mut add);
                    }
                }
                MessageEvent::ThreadFollowed { user, .. }
                    if entry.stream.key() == head.id.as_str() =>
                {
                    add(user);
                }
                MessageEvent::ThreadUnfollowed { user, .. }
                    if entry.stream.key() == head.id.as_str() =>
                {
                    if let Some(all) = &mut followers {
                        all.retain(|it| it != user);
                    }
                }
                _ => {}
            },
            hansard_domain::event::Event::Account(_) => {
                let user = UserId::new(entry.stream.key());
                if past.unlinked(&user) == Some(place)
                    && let Some(all) = &mut followers
                {
                    all.retain(|it| *it != user);
                }
            }
            _ => {}
        }
    }
    followers
}

/// When it changed last.
pub fn updated(past: &Past, said: &Said) -> Timestamp {
    let mut places = vec![said.place];
    for (place, event) in said.while_there() {
        if !matches!(event, MessageEvent::MessageReported { .. }) {
            places.push(place);
        }
    }
    let gone = said.gone().unwrap_or(usize::MAX);
    for reply in past.said.iter().filter(|reply| reply.counts_for(said)) {
        places.push(reply.place);
        places.extend(reply.lost());
    }
    for (user, place, then) in &past.unlinkings {
        if *place > said.place && names(then, said, user) {
            places.push(*place);
        }
    }
    for (user, place) in &past.goings {
        let replaced = said.replaced().is_some_and(|replaced| replaced < *place);
        if !replaced && given(said, *place).iter().any(|(_, by, _)| by == user) {
            places.push(*place);
        }
    }
    places.retain(|place| *place < gone);
    let last = places.into_iter().max().unwrap();
    past.entries[last].at
}

/// Whether a message named somebody, as things were then.
fn names(past: &Past, said: &Said, user: &UserId) -> bool {
    let Some(then) = past.message(&said.id).filter(|then| then.gone().is_none()) else {
        return false;
    };
    let reacted =
        then.replaced().is_none() && reactions(past, then).iter().any(|(_, by)| by == user);
    let follows = followers(past, then).is_some_and(|all| all.contains(user));
    let marked = people(past, then).contains(user);
    let content = then.content().filter(|_| then.replaced().is_none());
    let called = content.is_some_and(|content| {
        let mut mentions = content.mentions.iter();
        mentions.any(|mention| mention["_id"] == user.as_str())
            || content.about.as_ref() == Some(user)
    });
    then.sent.sender == *user || marked || follows || reacted || called
}

/// Who edited a message last, or put a place holder there; and who pinned it last.
fn people(past: &Past, said: &Said) -> Vec<UserId> {
    let (mut edited, mut pinned) = (None, None);
    for (place, event) in said.while_there() {
        match event {
            MessageEvent::MessageEdited { editor, .. } => edited = Some(past.shown(editor, place)),
            MessageEvent::MessageDeleted { by, .. } => {
                edited = Some(past.shown(by, place));
                pinned = None;
            }
            MessageEvent::MessagePinned { by, .. } | MessageEvent::MessageUnpinned { by, .. } => {
                pinned = Some(past.shown(by, place));
            }
            _ => {}
        }
    }
    edited.into_iter().chain(pinned).collect()
}

/// A room's history, the newest first.
pub fn history<'p, 'a>(
    past: &'p Past<'a>,
    room: &RoomId,
    threads: bool,
    hidden: &[&str],
) -> Vec<&'p Said<'a>> {
    let mut found = past.standing_in(room);
    found.retain(|said| threads || said.is_main());
    found.retain(|said| said.kind().is_none_or(|kind| !hidden.contains(&kind)));
    found.reverse();
    found
}

/// The messages that threads hang on, those replied to last first.
pub fn threads<'p, 'a>(past: &'p Past<'a>, room: &RoomId) -> Vec<&'p Said<'a>> {
    let last = |head: &Said| past.replies(head).iter().map(|reply| reply.at()).max();
    let mut heads: Vec<_> = past
        .standing_in(room)
        .into_iter()
        .filter(|head| last(head).is_some())
        .collect();
    heads.sort_by_key(|head| (last(head), head.entry.position));
    heads.reverse();
    heads
}

/// What a client that keeps a copy has to forget: what went one by one from a room that is there.
pub fn deleted(past: &Past, room: &RoomId) -> Vec<(MessageId, Timestamp)> {
    let ended = past
        .of_room(room)
        .iter()
        .rev()
        .find(|(_, event)| matches!(event, hansard_domain::room::RoomEvent::RoomDeleted { .. }))
        .map_or(0, |(place, _)| *place);
    let mut gone: Vec<_> = past
        .said
        .iter()
        .filter(|said| said.sent.room == *room)
        .filter_map(|said| Some((said, said.gone().filter(|place| *place > ended)?)))
        .map(|(said, place)| (said.id.clone(), past.entries[place].at))
        .collect();
    gone.sort_by_key(|(id, at)| (*at, id.clone()));
    gone
}

/// Those that a prune takes, the oldest first.
pub fn matching(past: &Past, room: &RoomId, criteria: &PruneCriteria) -> Vec<MessageId> {
    let mut found = past.standing_in(room);
    found.retain(|said| {
        let inside = criteria.oldest < said.at() && said.at() < criteria.latest;
        let edge = criteria.oldest == said.at() || said.at() == criteria.latest;
        let in_thread = said.sent.thread.is_some() || !past.replies(said).is_empty();
        let sender = past.shown(&said.sent.sender, said.place);
        (inside || (criteria.inclusive && edge))
            && !(criteria.exclude_pinned && said.is_pinned())
            && !(criteria.ignore_discussion && said.sent.discussion.is_some())
            && !(criteria.ignore_threads && in_thread)
            && (criteria.users.is_empty() || criteria.users.contains(&sender))
    });
    found.iter().map(|said| said.id.clone()).collect()
}

/// What can still be read in the log, in sight or not.
pub fn readable(past: &Past, room: &RoomId) -> Vec<MessageId> {
    let mut readable: Vec<_> = past
        .said
        .iter()
        .filter(|said| said.sent.room == *room && said.prunes.is_empty())
        .filter(|said| {
            let hidden = said.events.iter().find_map(|(place, event)| match event {
                MessageEvent::MessageDeleted {
                    show_deleted: false,
                    erased,
                    ..
                } if said.room_ended.is_none_or(|ended| ended > *place) => Some(erased.is_some()),
                _ => None,
            });
            // Hidden with its text kept, it can still be read.
            hidden != Some(true)
        })
        .map(|said| said.id.clone())
        .collect();
    readable.sort();
    readable
}

/// The sender whom messages show.
pub fn sender(past: &Past, said: &Said) -> UserId {
    past.shown(&said.sent.sender, said.place)
}
