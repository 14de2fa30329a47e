//! What the views of rooms and of subscriptions have to answer.

use hansard_domain::id::{MessageId, RoleId, RoomId, Timestamp, UserId};
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{RoomEvent, RoomKind};
use hansard_domain::subscription::SubscriptionEvent;
use serde_json::{Map, Value, json};

use super::past::{Past, Said};

/// A room as it is answered, but for the time it changed last, and what is set once for all.
pub fn room(past: &Past, room: &RoomId) -> Value {
    let mut wire = Map::new();
    let mut set = |field: &str, value: Value| wire.insert(field.to_owned(), value);
    let (kind, details) = (past.kind(room), past.details(room));
    set("_id", json!(room));
    set("t", json!(kind));
    if !details.name.is_empty() {
        set("name", json!(details.name));
        set("fname", json!(details.fname));
    }
    if let Some(topic) = &details.topic {
        set("topic", json!(topic));
    }
    let said = past.standing_in(room);
    set(
        "msgs",
        json!(said.iter().filter(|said| said.shows_text()).count()),
    );
    set("usersCount", json!(past.members(room).len()));
    if let Some(spoken) = spoken(past, room) {
        set("lm", json!(spoken.iso()));
    }
    if past.is_archived(room) {
        set("archived", json!(true));
    }
    if kind != RoomKind::Direct {
        set("ro", json!(past.switches(room, usize::MAX).read_only));
    }
    let [muted, unmuted] = voices(past, room);
    for (field, users) in [("muted", muted), ("unmuted", unmuted)] {
        let names = users.iter().filter_map(|user| past.names(user));
        let mut names: Vec<_> = names.map(|(username, _)| username).collect();
        names.sort();
        if !names.is_empty() {
            set(field, json!(names));
        }
    }
    Value::Object(wire)
}

/// When somebody spoke in a room last.
pub fn spoken(past: &Past, room: &RoomId) -> Option<Timestamp> {
    heard(past, room).map(Said::at).max()
}

/// What was said so that the room hears it: also what is gone.
fn heard<'p, 'a>(past: &'p Past<'a>, room: &'p RoomId) -> impl Iterator<Item = &'p Said<'a>> {
    past.said
        .iter()
        .filter(move |said| said.sent.room == *room && said.room_ended.is_none())
        .filter(|said| said.sent.system.is_none() && said.is_main() && !said.is_imported())
}

/// Who may not speak in a room, and who may although it is read-only.
fn voices(past: &Past, room: &RoomId) -> [Vec<UserId>; 2] {
    let (mut muted, mut unmuted) = (Vec::new(), Vec::new());
    for user in past.everybody_ever() {
        let mut left = false;
        let last = past
            .of_room(room)
            .into_iter()
            .rev()
            .find_map(|(place, event)| match event {
                RoomEvent::MemberMuted { user: who } if *who == user => Some((place, "muted")),
                RoomEvent::MemberUnmuted { user: who } if *who == user => {
                    Some((place, if left { "left" } else { "unmuted" }))
                }
                RoomEvent::MemberRemoved {
                    user: who,
                    by: None,
                } if *who == user => Some((place, "deleted")),
                // A voice goes with its member, a mute stays.
                RoomEvent::MemberLeft { user: who }
                | RoomEvent::MemberRemoved { user: who, .. }
                    if *who == user =>
                {
                    left = true;
                    None
                }
                _ => None,
            });
        match last {
            Some((_, "muted")) => muted.push(user),
            Some((place, "unmuted")) if past.switches(room, place).read_only => unmuted.push(user),
            _ => {}
        }
    }
    [muted, unmuted]
}

/// The roles of a member.
pub fn roles(past: &Past, room: &RoomId, user: &UserId) -> Vec<RoleId> {
    let Some((came, created)) = past.came(room, user) else {
        return Vec::new();
    };
    let mut roles = Vec::new();
    if let RoomEvent::RoomCreated { kind, creator, .. } = past.of_room(room)[0].1
        && created
        && *kind != RoomKind::Direct
        && creator.as_ref() == Some(user)
    {
        roles.push(RoleId::new("owner"));
    }
    for (place, event) in past.of_room(room) {
        match event {
            RoomEvent::RoomRoleGranted { user: who, role } if who == user && place > came => {
                roles.push(role.clone());
            }
            RoomEvent::RoomRoleRevoked { user: who, role } if who == user && place > came => {
                roles.retain(|held| held != role);
            }
            _ => {}
        }
    }
    roles.sort();
    roles
}

/// What a member sees of a room.
#[derive(Debug, PartialEq)]
pub struct Subscription {
    pub roles: Vec<RoleId>,
    pub favourite: bool,
    pub open: bool,
    pub alert: bool,
    pub seen: Option<Timestamp>,
    pub said: i64,
    pub user_mentions: i64,
    pub group_mentions: i64,
    pub unread_threads: Vec<MessageId>,
    pub unread_threads_by_name: Vec<MessageId>,
    pub unread_threads_by_group: Vec<MessageId>,
}

pub fn subscription(past: &Past, room: &RoomId, user: &UserId) -> Option<Subscription> {
    let (came, created) = past.came(room, user)?;
    let own = past.of_subscription(room, user, came);
    let after = |place: usize| {
        let others = past.said.iter().filter(move |said| said.place > place);
        others.filter(|said| {
            said.sent.room == *room
                && said.sent.sender != *user
                && said.sent.system.is_none()
                && !said.is_imported()
        })
    };
    let read = own
        .iter()
        .rev()
        .find(|(_, event)| matches!(event, SubscriptionEvent::RoomRead { .. }))
        .map(|(place, _)| *place);
    let counted = |place: usize| after(place).filter(|said| said.sent.thread.is_none());
    let since_read = read.unwrap_or(came);
    let called = i64::from(!created && read.is_none());
    let named = |said: &&Said| said.sent.mentions.users.contains(user);
    let by_name_at_all = |said: &&Said| {
        said.sent
            .mentions
            .users
            .iter()
            .any(|it| *it != said.sent.sender)
    };
    let as_one_of_all = |said: &&Said| said.sent.mentions.everybody && !by_name_at_all(said);

    let moments = moments(past, room, user, came, created);
    let hidden = moments.iter().rev().find_map(|(_, moment)| moment.hides());
    let alert = moments
        .iter()
        .rev()
        .find_map(|(place, moment)| match moment {
            // Threads that were still unread went on calling.
            Moment::Read => {
                Some(!unread_threads(past, room, user, came, *place, |_| true).is_empty())
            }
            other => other.calls(),
        });
    let looked = moments
        .iter()
        .rev()
        .find(|(_, moment)| moment.looks())
        .map_or(came, |(place, _)| *place);
    let shown = after(looked).filter(|said| said.is_main()).count() > 0;

    let seen = own.iter().rev().find_map(|(_, event)| match event {
        SubscriptionEvent::RoomRead { at, .. } => Some(*at),
        SubscriptionEvent::RoomMarkedUnread { from } => Some(*from),
        _ => None,
    });
    let founded = match past.of_room(room)[0].1 {
        RoomEvent::RoomCreated {
            kind, creator, at, ..
        } if created && *kind != RoomKind::Direct && creator.as_ref() == Some(user) => Some(*at),
        _ => None,
    };
    Some(Subscription {
        roles: roles(past, room, user),
        favourite: own
            .iter()
            .rev()
            .find_map(|(_, event)| match event {
                SubscriptionEvent::RoomFavourited {} => Some(true),
                SubscriptionEvent::RoomUnfavourited {} => Some(false),
                _ => None,
            })
            .unwrap_or(false),
        open: !hidden.unwrap_or(false) || shown,
        alert: alert.unwrap_or(false) || shown,
        seen: seen.or(founded),
        said: counted(since_read).count() as i64,
        user_mentions: counted(since_read).filter(named).count() as i64 + called,
        group_mentions: counted(since_read).filter(as_one_of_all).count() as i64,
        unread_threads: unread_threads(past, room, user, came, usize::MAX, |_| true),
        unread_threads_by_name: unread_threads(past, room, user, came, usize::MAX, |said| {
            named(&said)
        }),
        unread_threads_by_group: unread_threads(past, room, user, came, usize::MAX, |said| {
            said.sent.mentions.everybody
        }),
    })
}

/// Something that changes how a room stands in a member's list.
enum Moment {
    /// Came into the room: put there by its creation and not shown yet, or not.
    Came {
        hidden: bool,
        called: bool,
    },
    Opened,
    Hidden,
    Read,
    MarkedUnread,
    Renamed,
    Archived,
    Unarchived,
    /// A reply in a thread that the member follows.
    Called,
}

impl Moment {
    fn hides(&self) -> Option<bool> {
        match self {
            Self::Came { hidden, .. } => Some(*hidden),
            Self::Hidden | Self::Archived => Some(true),
            Self::Opened | Self::Read | Self::MarkedUnread | Self::Unarchived | Self::Called => {
                Some(false)
            }
            Self::Renamed => None,
        }
    }

    fn calls(&self) -> Option<bool> {
        match self {
            Self::Came { called, .. } => Some(*called),
            Self::Hidden | Self::Archived | Self::Read => Some(false),
            Self::MarkedUnread | Self::Renamed | Self::Called => Some(true),
            Self::Opened | Self::Unarchived => None,
        }
    }

    /// Whether what was said before it calls no attention any more.
    fn looks(&self) -> bool {
        matches!(
            self,
            Self::Came { .. } | Self::Hidden | Self::Archived | Self::Read
        )
    }
}

fn moments(
    past: &Past,
    room: &RoomId,
    user: &UserId,
    came: usize,
    created: bool,
) -> Vec<(usize, Moment)> {
    let mut moments = Vec::new();
    for (place, event) in past.of_room(room) {
        let moment = match event {
            RoomEvent::RoomCreated {
                kind,
                creator,
                members,
                ..
            } if place == came => {
                let others = members
                    .iter()
                    .filter(|it| Some(*it) != creator.as_ref())
                    .count();
                let guest = creator.as_ref() != Some(user);
                Moment::Came {
                    hidden: *kind == RoomKind::Direct && guest && others < 2,
                    called: false,
                }
            }
            RoomEvent::MemberJoined { .. } if place == came && !created => Moment::Came {
                hidden: false,
                called: true,
            },
            RoomEvent::RoomRenamed { .. } => Moment::Renamed,
            RoomEvent::RoomArchived {} => Moment::Archived,
            RoomEvent::RoomUnarchived {} => Moment::Unarchived,
            _ => continue,
        };
        moments.push((place, moment));
    }
    for (place, event) in past.of_subscription(room, user, came) {
        let moment = match event {
            SubscriptionEvent::RoomOpened {} => Moment::Opened,
            SubscriptionEvent::RoomHidden {} => Moment::Hidden,
            SubscriptionEvent::RoomRead { .. } => Moment::Read,
            SubscriptionEvent::RoomMarkedUnread { .. } => Moment::MarkedUnread,
            _ => continue,
        };
        moments.push((place, moment));
    }
    for reply in calling(past, room, user, came) {
        moments.push((reply.place, Moment::Called));
    }
    moments.retain(|(place, _)| *place >= came);
    moments.sort_by_key(|(place, _)| *place);
    moments
}

/// Replies of others in threads that a member followed then.
fn calling<'p, 'a>(
    past: &'p Past<'a>,
    room: &RoomId,
    user: &UserId,
    came: usize,
) -> Vec<&'p Said<'a>> {
    let replies = past.said.iter().filter(|said| {
        said.place > came
            && said.sent.room == *room
            && said.sent.sender != *user
            && !said.is_imported()
            && said.sent.thread.is_some()
    });
    // A reply to what is gone by then calls nobody.
    let answers = |said: &&Said| {
        let head = past.message(&said.sent.thread.as_ref().unwrap().parent);
        head.and_then(Said::gone)
            .is_none_or(|gone| gone > said.place)
    };
    replies
        .filter(answers)
        .filter(|said| follows(past, said, user))
        .collect()
}

/// Whether somebody followed a thread when a reply was sent into it.
fn follows(past: &Past, reply: &Said, user: &UserId) -> bool {
    let head = &reply.sent.thread.as_ref().unwrap().parent;
    let into = past.said.iter().filter(|said| {
        let thread = said
            .sent
            .thread
            .as_ref()
            .filter(|thread| thread.parent == *head);
        thread.is_some_and(|thread| thread.followers.contains(user))
    });
    let mut changes: Vec<(usize, bool)> = into.map(|said| (said.place, true)).collect();
    for (place, event) in past.message(head).map_or(&[][..], |head| &head.events[..]) {
        match event {
            MessageEvent::ThreadFollowed { user: who, .. } if who == user => {
                changes.push((*place, true));
            }
            MessageEvent::ThreadUnfollowed { user: who, .. } if who == user => {
                changes.push((*place, false));
            }
            _ => {}
        }
    }
    changes.retain(|(place, _)| *place <= reply.place);
    let last = changes.into_iter().max_by_key(|(place, _)| *place);
    last.is_some_and(|(_, follows)| follows)
}

/// Threads with replies that a member was called by and had not read at a place.
fn unread_threads(
    past: &Past,
    room: &RoomId,
    user: &UserId,
    came: usize,
    then: usize,
    which: impl Fn(&Said) -> bool,
) -> Vec<MessageId> {
    let own = past.of_subscription(room, user, came).into_iter();
    let read = own
        .filter(|(place, _)| *place <= then)
        .filter(|(_, event)| matches!(event, SubscriptionEvent::RoomRead { threads: true, .. }))
        .map(|(place, _)| place)
        .max()
        .unwrap_or(came);
    let mut threads = Vec::new();
    for reply in calling(past, room, user, came) {
        let head = &reply.sent.thread.as_ref().unwrap().parent;
        let since = |place: usize| place > reply.place && place <= then;
        let ended = past.message(head).is_some_and(|head| {
            let stopped = head.events.iter().any(|(place, event)| {
                let by = matches!(event, MessageEvent::ThreadUnfollowed { user: who, .. } if who == user);
                by && since(*place)
            });
            stopped || head.gone().is_some_and(since)
        });
        if (read + 1..=then).contains(&reply.place) && !ended && which(reply) {
            threads.push(head.clone());
        }
    }
    threads.sort();
    threads.dedup();
    threads
}
