//! A room that was just made or changed, as the view will show it once it has taken that in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::room::{Room as Decided, RoomKind};
use imbl::OrdSet;
use serde_json::json;

use super::fold::{filled, first_fields, retention, set, set_details, set_switches};
use super::{Person, Room};

impl Room {
    /// A room as it was decided, with the names of people. `seen` is what the view shows of it: how much
    /// was said, and when, is known to nobody else. `changed` is when it was changed just now.
    pub fn of(
        id: &RoomId,
        decided: &Decided,
        seen: Option<Self>,
        changed: Option<Timestamp>,
        person: impl Fn(&UserId) -> Option<Person>,
    ) -> Self {
        let mut more = match &seen {
            Some(seen) => seen.more.clone(),
            None => first_fields(decided.kind),
        };
        set_details(&mut more, &decided.details);
        let once_on = decided.once_on;
        for (field, mentioned) in [
            ("reactWhenReadOnly", once_on.react_when_read_only),
            ("broadcast", once_on.broadcast),
            ("encrypted", once_on.encrypted),
            ("featured", once_on.featured),
        ] {
            // Off until it is set in its place.
            if mentioned && !more.contains_key(field) {
                set(&mut more, field, Some(json!(false)));
            }
        }
        set_switches(&mut more, &decided.switches);
        if !decided.switches.join_code_required {
            set(&mut more, "joinCodeRequired", None);
        }
        let own_retention = decided.retention.as_ref().map(retention);
        set(&mut more, "retention", own_retention);
        let parent = decided.parent.as_ref();
        set(&mut more, "prid", parent.map(|parent| json!(parent.room)));
        let message = parent.and_then(|parent| parent.message.as_ref());
        set(&mut more, "pmid", message.map(|message| json!(message)));
        let spoken = seen.as_ref().and_then(|seen| seen.spoken);
        let updated = changed.max(seen.as_ref().map(|seen| seen.updated));
        let order = |seen: Option<&Vec<UserId>>, all: &OrdSet<UserId>| {
            let known = seen.into_iter().flatten();
            let mut ordered: Vec<_> = known.filter(|id| all.contains(*id)).cloned().collect();
            let before: HashSet<UserId> = ordered.iter().cloned().collect();
            ordered.extend(all.iter().filter(|id| !before.contains(*id)).cloned());
            ordered
        };
        let direct = decided.kind == RoomKind::Direct;
        let mut room = Self {
            id: id.clone(),
            kind: decided.kind,
            name: filled(&decided.details.name).map(str::to_owned),
            fname: filled(&decided.details.fname).map(str::to_owned),
            creator: decided.creator.clone(),
            created: decided.created,
            updated: updated.max(spoken).unwrap_or(decided.created),
            default: decided.switches.default,
            read_only: decided.switches.read_only,
            archived: decided.archived,
            participants: direct.then(|| decided.participants.clone()),
            muted: order(seen.as_ref().map(|seen| &seen.muted), &decided.muted),
            unmuted: order(seen.as_ref().map(|seen| &seen.unmuted), &decided.unmuted),
            messages: seen.as_ref().map_or(0, |seen| seen.messages),
            members: decided.members.len() as i64,
            spoken,
            more,
            people: HashMap::new(),
        };
        let people = room
            .named()
            .filter_map(|id| Some((id.clone(), person(id)?)));
        room.people = people.collect();
        room
    }
}

/// When entries changed a room; `None` if they did not.
pub fn changed_at(entries: &[Arc<Entry>], id: &RoomId) -> Option<Timestamp> {
    let changes = entries.iter().filter(|entry| {
        matches!(&entry.event, Event::Room(_)) && entry.stream.key() == id.as_str()
    });
    changes.map(|entry| entry.at).next_back()
}
