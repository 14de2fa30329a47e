//! What outgoing webhooks wait for: which events set off which integrations.
//!
//! The rules are Rocket.Chat's, with one more: what an outgoing webhook posted sets off none, so that
//! no answer answers itself.

use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{IntegrationId, MessageId, RoomId, UserId};
use hansard_domain::integration::{
    Cause, Direction, Integration, IntegrationDetails, Referent, Trigger,
};
use hansard_domain::log::Actor;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{self, RoomEvent, RoomKind};

use crate::model::WriteModel;

/// Channels that stand for all of a kind.
pub const ALL_PUBLIC_CHANNELS: &str = "all_public_channels";
pub const ALL_PRIVATE_GROUPS: &str = "all_private_groups";
pub const ALL_DIRECT_MESSAGES: &str = "all_direct_messages";

/// Whether an integration of this trigger names the channels it watches.
pub fn uses_channels(trigger: Trigger) -> bool {
    !matches!(
        trigger,
        Trigger::RoomArchived | Trigger::RoomCreated | Trigger::UserCreated
    )
}

/// Something that happened, as far as outgoing webhooks look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening<'a> {
    pub trigger: Trigger,
    pub room: Option<RoomId>,
    pub message: Option<MessageId>,
    pub user: Option<UserId>,
    pub text: &'a str,
    pub edited: bool,
}

/// What happened with an event; a message with a file is two things.
pub fn happenings<'a>(entry: &'a Entry, model: &WriteModel) -> Vec<Happening<'a>> {
    match &entry.event {
        Event::Message(event) => message(MessageId::new(entry.stream.key()), event, model),
        Event::Room(event) => {
            let id = RoomId::new(entry.stream.key());
            room_event(id, event, &entry.actor, model)
        }
        Event::Account(AccountEvent::UserRegistered { .. }) => vec![Happening {
            trigger: Trigger::UserCreated,
            room: None,
            message: None,
            user: Some(UserId::new(entry.stream.key())),
            text: "",
            edited: false,
        }],
        _ => Vec::new(),
    }
}

fn message<'a>(id: MessageId, event: &'a MessageEvent, model: &WriteModel) -> Vec<Happening<'a>> {
    match event {
        MessageEvent::MessageSent { sent, content } => {
            let answer = sent.integration.as_ref().is_some_and(|integration| {
                let found = model.integration(integration);
                found.is_none_or(|integration| integration.direction == Direction::Outgoing)
            });
            if sent.system.is_some() || answer {
                return Vec::new();
            }
            let said = Happening {
                trigger: Trigger::SendMessage,
                room: Some(sent.room.clone()),
                message: Some(id),
                user: Some(sent.sender.clone()),
                text: content.value().map_or("", |content| &content.text),
                edited: false,
            };
            let uploaded = sent.has_files.then(|| Happening {
                trigger: Trigger::FileUploaded,
                ..said.clone()
            });
            std::iter::once(said).chain(uploaded).collect()
        }
        MessageEvent::MessageEdited {
            room,
            editor,
            content,
            ..
        } => vec![Happening {
            trigger: Trigger::SendMessage,
            room: Some(room.clone()),
            message: Some(id),
            user: Some(editor.clone()),
            text: content.value().map_or("", |content| &content.text),
            edited: true,
        }],
        _ => Vec::new(),
    }
}

fn room_event(
    id: RoomId,
    event: &RoomEvent,
    actor: &Actor,
    model: &WriteModel,
) -> Vec<Happening<'static>> {
    let (trigger, user) = match event {
        RoomEvent::RoomCreated { kind, creator, .. } if *kind != RoomKind::Direct => {
            (Trigger::RoomCreated, creator.clone())
        }
        RoomEvent::RoomArchived {} => {
            let by = match actor {
                Actor::User(user) => Some(user.clone()),
                _ => None,
            };
            (Trigger::RoomArchived, by)
        }
        RoomEvent::MemberJoined { user, entry, .. }
            if !matches!(entry, room::Entry::Assigned)
                && model
                    .room(&id)
                    .is_some_and(|room| room.kind != RoomKind::Direct) =>
        {
            (Trigger::RoomJoined, Some(user.clone()))
        }
        RoomEvent::MemberLeft { user } | RoomEvent::MemberRemoved { user, .. } => {
            (Trigger::RoomLeft, Some(user.clone()))
        }
        _ => return Vec::new(),
    };
    vec![Happening {
        trigger,
        room: Some(id),
        message: None,
        user,
        text: "",
        edited: false,
    }]
}

/// The outgoing integrations that something sets off, in the order of their ids.
pub fn set_off<'a>(
    model: &'a WriteModel,
    happening: &Happening<'_>,
) -> Vec<(&'a IntegrationId, &'a Integration)> {
    let waiting = model.integrations().filter(|(_, integration)| {
        integration.direction == Direction::Outgoing
            && integration.enabled
            && integration.trigger == Some(happening.trigger)
    });
    let place = happening
        .room
        .as_ref()
        .and_then(|room| Place::of(model, room));
    let mut found: Vec<_> = waiting
        .filter(|(_, integration)| {
            wants(&integration.details, happening, place.as_ref()) && !integration.removed
        })
        .map(|(id, integration)| (id, &integration.state))
        .collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    found
}

/// Whether an outgoing integration that something set off still watches such things, and their place.
pub fn still_watches(model: &WriteModel, integration: &Integration, cause: &Cause) -> bool {
    let place = || Place::of(model, cause.room.as_ref()?);
    integration.trigger == Some(cause.trigger)
        && (!uses_channels(cause.trigger)
            || place()
                .is_some_and(|place| watches(&integration.details, &place, cause.user.as_ref())))
}

/// Where something happened.
#[derive(Debug, Clone)]
struct Place {
    kind: RoomKind,
    id: RoomId,
    /// Those of a direct conversation.
    people: Vec<UserId>,
}

impl Place {
    fn of(model: &WriteModel, id: &RoomId) -> Option<Self> {
        let room = model.room(id)?;
        let people = match room.kind {
            RoomKind::Direct => room.participants.clone(),
            RoomKind::Channel | RoomKind::Group => Vec::new(),
        };
        Some(Self {
            kind: room.kind,
            id: id.clone(),
            people,
        })
    }
}

fn wants(details: &IntegrationDetails, happening: &Happening<'_>, place: Option<&Place>) -> bool {
    if happening.edited && !details.run_on_edits {
        return false;
    }
    if uses_channels(happening.trigger)
        && !place.is_some_and(|place| watches(details, place, happening.user.as_ref()))
    {
        return false;
    }
    happening.trigger != Trigger::SendMessage || trigger_word(details, happening.text).is_ok()
}

/// Whether one of the channels is the place. No channel at all means every public one.
fn watches(details: &IntegrationDetails, place: &Place, sender: Option<&UserId>) -> bool {
    if details.channels.is_empty() {
        return place.kind == RoomKind::Channel;
    }
    let all = match place.kind {
        RoomKind::Channel => ALL_PUBLIC_CHANNELS,
        RoomKind::Group => ALL_PRIVATE_GROUPS,
        RoomKind::Direct => ALL_DIRECT_MESSAGES,
    };
    details.channels.iter().any(|channel| {
        if channel.starts_with('#') {
            let here = Referent::Room(place.id.clone());
            place.kind != RoomKind::Direct && details.referent(channel) == Some(&here)
        } else if let Some(name) = channel.strip_prefix('@') {
            let Some(Referent::Person(meant)) = details.referent(channel) else {
                return false;
            };
            // By a username: what is written to somebody. By an id: what it writes as well.
            let written_to = Some(meant) != sender || name == meant.as_str();
            written_to && place.people.contains(meant)
        } else {
            channel.eq_ignore_ascii_case(all)
        }
    })
}

/// A message that holds none of the words an integration waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTriggerWord;

/// The word of a message that sets an integration off; `None` where it waits for no words.
pub fn trigger_word<'a>(
    details: &'a IntegrationDetails,
    text: &str,
) -> Result<Option<&'a str>, NoTriggerWord> {
    if details.trigger_words.is_empty() {
        return Ok(None);
    }
    let found = details.trigger_words.iter().find(|word| {
        if details.trigger_word_anywhere {
            text.contains(word.as_str())
        } else {
            text.starts_with(word.as_str())
        }
    });
    found.map(|word| Some(word.as_str())).ok_or(NoTriggerWord)
}

#[cfg(test)]
mod tests {
    use hansard_domain::integration::Referents;

    use super::*;

    fn channel() -> Place {
        Place {
            kind: RoomKind::Channel,
            id: "GENERAL".into(),
            people: Vec::new(),
        }
    }

    fn group() -> Place {
        Place {
            kind: RoomKind::Group,
            id: "p1".into(),
            people: Vec::new(),
        }
    }

    fn direct() -> Place {
        Place {
            kind: RoomKind::Direct,
            id: "d1".into(),
            people: vec!["u1".into(), "u2".into()],
        }
    }

    fn watching(channels: &[&str]) -> IntegrationDetails {
        let referent = |channel: &str| match channel {
            "#general" | "#GENERAL" => Some(Referent::Room("GENERAL".into())),
            "#elsewhere" => Some(Referent::Room("r1".into())),
            "#board" | "#p1" => Some(Referent::Room("p1".into())),
            "#d1" => Some(Referent::Room("d1".into())),
            "@mary" | "@u1" => Some(Referent::Person("u1".into())),
            "@john" | "@u2" => Some(Referent::Person("u2".into())),
            _ => None,
        };
        let referents = channels
            .iter()
            .filter_map(|channel| Some(((*channel).to_owned(), referent(channel)?)));
        IntegrationDetails {
            channels: channels.iter().map(ToString::to_string).collect(),
            referents: Some(Referents {
                channels: referents.collect(),
                target: None,
            }),
            ..Default::default()
        }
    }

    fn said(text: &str) -> Happening<'_> {
        Happening {
            trigger: Trigger::SendMessage,
            room: Some("GENERAL".into()),
            message: Some("m1".into()),
            user: Some("u1".into()),
            text,
            edited: false,
        }
    }

    #[test]
    fn a_channel_is_watched_by_name_by_id_and_with_all_the_others() {
        for channels in [
            &["#general"][..],
            &["#GENERAL"],
            &["#elsewhere", "#general"],
            &["all_public_channels"],
            &[],
        ] {
            let wanted = wants(&watching(channels), &said("hi"), Some(&channel()));
            assert!(wanted, "{channels:?}");
        }
        for channels in [
            &["#elsewhere"][..],
            &["@general"],
            &["all_private_groups"],
            &["all_direct_messages"],
        ] {
            let wanted = wants(&watching(channels), &said("hi"), Some(&channel()));
            assert!(!wanted, "{channels:?}");
        }
    }

    #[test]
    fn a_private_group_is_watched_only_where_it_is_meant() {
        for (channels, wanted) in [
            (&["#board"][..], true),
            (&["#p1"], true),
            (&["all_private_groups"], true),
            (&["all_public_channels"], false),
            (&[], false),
        ] {
            let found = wants(&watching(channels), &said("hi"), Some(&group()));
            assert_eq!(found, wanted, "{channels:?}");
        }
    }

    #[test]
    fn a_direct_conversation_is_watched_by_whom_one_writes_to() {
        for (channels, wanted) in [
            (&["@john"][..], true),
            (&["@u2"], true),
            (&["@u1"], true),
            (&["@mary"], false),
            (&["all_direct_messages"], true),
            (&["#d1"], false),
            (&[], false),
        ] {
            let found = wants(&watching(channels), &said("hi"), Some(&direct()));
            assert_eq!(found, wanted, "{channels:?}");
        }
    }

    #[test]
    fn a_trigger_word_stands_in_front_unless_it_may_stand_anywhere() {
        let mut details = watching(&["#general"]);
        details.trigger_words = vec!["!build".into(), "!deploy".into()];
        assert_eq!(trigger_word(&details, "!deploy now"), Ok(Some("!deploy")));
        assert_eq!(trigger_word(&details, "please !deploy"), Err(NoTriggerWord));
        assert!(!wants(&details, &said("please !deploy"), Some(&channel())));
        details.trigger_word_anywhere = true;
        assert_eq!(
            trigger_word(&details, "please !deploy"),
            Ok(Some("!deploy"))
        );
        assert!(wants(&details, &said("please !deploy"), Some(&channel())));
        assert_eq!(trigger_word(&details, "deploy"), Err(NoTriggerWord));
    }

    #[test]
    fn words_do_not_matter_to_anything_but_messages() {
        let mut details = watching(&["#general"]);
        details.trigger_words = vec!["!build".into()];
        let joined = Happening {
            trigger: Trigger::RoomJoined,
            ..said("")
        };
        assert!(wants(&details, &joined, Some(&channel())));
    }

    #[test]
    fn an_edit_counts_only_where_it_was_asked_for() {
        let edited = Happening {
            edited: true,
            ..said("hi")
        };
        let mut details = watching(&["#general"]);
        assert!(!wants(&details, &edited, Some(&channel())));
        details.run_on_edits = true;
        assert!(wants(&details, &edited, Some(&channel())));
    }

    #[test]
    fn what_has_no_room_is_wanted_without_one() {
        let created = Happening {
            trigger: Trigger::UserCreated,
            room: None,
            ..said("")
        };
        assert!(wants(&watching(&["#elsewhere"]), &created, None));
        assert!(!wants(&watching(&["#general"]), &said("hi"), None));
    }
}
