use std::collections::BTreeSet;
use std::sync::Arc;

use cqrs_es::Aggregate;
use hansard_domain::account::{AccountEvent, MessageErasure, Presence, Profile};
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::RoleId;
use hansard_domain::message::MessageEvent;
use hansard_domain::room::{
    Parent, PruneCriteria, PruneReason, Pruned, RetentionOverride, RoomDetails, RoomSwitches,
};
use hansard_domain::seal::{Confidential, Private};
use hansard_domain::vault::KeyId;
use serde_json::json;
use strum::VariantNames;

use super::*;
use crate::testing::{Story, dump, on_both_engines, tables, told};
use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_domain::room::{Entry as Way, RoomEvent, RoomKind};

const TABLES: &[&str] = &["room", "activity", "member", "account", "removed", "gone"];

fn joined(user: &str) -> RoomEvent {
    RoomEvent::MemberJoined {
        user: user.into(),
        entry: Way::Joined,
        at: Timestamp(9),
    }
}

fn two_people_talking() -> Story {
    let mut story = Story::default();
    story.registered("mary").registered("joe").registered("ann");
    story.created("general", RoomKind::Channel, &["mary", "joe"]);
    story.created("talk", RoomKind::Direct, &["mary", "joe"]);
    story
        .said("m1", "general", "mary")
        .said("m2", "general", "joe");
    story.room("general", joined("ann"));
    story
}

async fn room(tables: &mut AnyConnection, id: &str) -> Room {
    by_ids(tables, &[RoomId::new(id)])
        .await
        .unwrap()
        .pop()
        .unwrap()
}

async fn a_room_counts_what_is_said_and_who_is_in() {
    let story = two_people_talking();
    let mut tables = told(&Rooms, &story, TABLES).await;
    let wire = room(&mut tables, "general").await.wire();
    assert_eq!(wire["msgs"], 2);
    assert_eq!(wire["usersCount"], 3);
    assert_eq!(
        wire["u"],
        json!({ "_id": "mary", "username": "mary", "name": "Name of mary" })
    );
    assert_eq!(wire["lm"], Timestamp(1_700_000_006_000).iso());
    assert_eq!(wire["ro"], false);

    let wire = room(&mut tables, "talk").await.wire();
    assert_eq!(wire["usernames"], json!(["joe", "mary"]));
    assert_eq!(wire["uids"], json!(["joe", "mary"]));
    assert!(!wire.contains_key("u"));
}

async fn what_was_deleted_or_pruned_is_not_counted() {
    let mut story = two_people_talking();
    let at = story.now();
    let deleted = MessageEvent::MessageDeleted {
        room: "general".into(),
        by: "mary".into(),
        erased: None,
        show_deleted: false,
        at,
    };
    story.tell(hansard_domain::log::StreamId::new("message", "m1"), deleted);
    story.room(
        "general",
        RoomEvent::ChannelPruned {
            reason: PruneReason::Requested,
            criteria: PruneCriteria::default(),
            // The one that was deleted is erased with the other, and counted once.
            pruned: vec![pruned("m1"), pruned("m2")],
        },
    );
    let mut tables = told(&Rooms, &story, TABLES).await;
    assert_eq!(room(&mut tables, "general").await.messages, 0);
}

async fn what_is_erased_after_a_room_leaves_nothing_of_it() {
    let mut story = two_people_talking();
    story.room("general", RoomEvent::RoomDeleted { key: KeyId(2) });
    let mut tables = told(&Rooms, &story, TABLES).await;
    let before = dump(&mut tables, TABLES).await;
    story.room(
        "general",
        RoomEvent::ChannelPruned {
            reason: PruneReason::Deletion,
            criteria: PruneCriteria::default(),
            pruned: vec![pruned("m1"), pruned("m2")],
        },
    );
    let mut tables = told(&Rooms, &story, TABLES).await;
    assert_eq!(dump(&mut tables, TABLES).await, before);
}

fn pruned(message: &str) -> Pruned {
    Pruned {
        message: message.into(),
        key: KeyId(3),
    }
}

async fn names_of_any_script_are_found_whatever_their_case() {
    let mut story = Story::default();
    let named = |story: &mut Story, id: &str, username: &str, name: &str| {
        story.registered(id);
        let profile = Profile {
            username: username.to_owned(),
            name: Some(name.to_owned()),
            ..Profile::default()
        };
        let profile = Private::new(KeyId(1), profile);
        story.account(id, AccountEvent::UserProfileChanged { profile });
    };
    named(&mut story, "a", "elodie", "Élodie");
    named(&mut story, "b", "ОЛЬГА", "Ольга");
    named(&mut story, "c", "strasse", "Straße");
    story.created("ÉTÉ", RoomKind::Channel, &["a", "b", "c"]);
    story.created("plain", RoomKind::Channel, &["a"]);
    let details = RoomDetails {
        name: "zima".to_owned(),
        fname: "ЗИМА".to_owned(),
        ..RoomDetails::default()
    };
    let details = Private::new(KeyId(2), details);
    story.room("plain", RoomEvent::RoomRenamed { details });
    let mut tables = told(&Rooms, &story, TABLES).await;
    for (filter, expected) in [
        ("Élodie", vec!["a"]),
        ("éLO", vec!["a"]),
        ("e\u{301}lodie", vec!["a"]),
        ("ольг", vec!["b"]),
        ("STRASSE", vec!["c"]),
        ("straß", vec!["c"]),
        ("é", vec!["a"]),
        ("%", vec![]),
    ] {
        let room = RoomId::new("ÉTÉ");
        let order = MemberOrder::Username;
        let page = members(&mut tables, &room, filter, &[], order, Paging::ALL).await;
        let page = page.unwrap();
        let found: Vec<_> = page
            .members
            .iter()
            .map(|member| member.id.as_str())
            .collect();
        assert_eq!(found, expected, "{filter}");
        assert_eq!(page.total as usize, expected.len());
    }
    for (name, expected) in [
        ("été", vec!["ÉTÉ"]),
        ("Ét", vec!["ÉTÉ"]),
        ("зима", vec!["plain"]),
        ("ZIMA", vec!["plain"]),
        ("plain", vec![]),
    ] {
        let filter = RoomFilter {
            name: Some(name.to_owned()),
            ..RoomFilter::default()
        };
        let (rooms, _) = by_filter(&mut tables, &filter, Paging::ALL).await.unwrap();
        let found: Vec<_> = rooms.iter().map(|room| room.id.as_str()).collect();
        assert_eq!(found, expected, "{name}");
    }
}

async fn what_the_index_of_names_finds_is_what_a_walk_finds() {
    let mut story = two_people_talking();
    for number in 0..9 {
        let members: &[&str] = if number % 2 == 0 {
            &["ann", "joe"]
        } else {
            &["ann"]
        };
        story.created(&format!("seminar-{number}"), RoomKind::Group, members);
        story.created(
            &format!("open-seminar-{number}"),
            RoomKind::Channel,
            &["ann"],
        );
        // The parts of "seminar" in another order.
        story.created(
            &format!("nar-sem-emina-{number}"),
            RoomKind::Channel,
            &["ann"],
        );
    }
    let mut tables = told(&Rooms, &story, TABLES).await;
    let everything = by_filter(&mut tables, &RoomFilter::default(), Paging::ALL).await;
    let (everything, all) = everything.unwrap();
    assert_eq!(everything.len() as i64, all);
    for name in [
        "",
        "sem",
        "seminar",
        "seminar-4",
        "emin",
        "nar",
        "zzz",
        "se",
    ] {
        for (kind, member, open_to) in [
            (None, None, None),
            (None, None, Some("joe")),
            (None, None, Some("mary")),
            (None, Some("joe"), None),
            (Some(RoomKind::Channel), None, None),
            (Some(RoomKind::Group), None, Some("joe")),
        ] {
            for descending in [false, true] {
                let filter = RoomFilter {
                    kind,
                    member: member.map(UserId::new),
                    open_to: open_to.map(UserId::new),
                    name: Some(name.to_owned()),
                    descending,
                    ..RoomFilter::default()
                };
                let mut expected = Vec::new();
                for room in &everything {
                    let page = members(
                        &mut tables,
                        &room.id,
                        "",
                        &[],
                        MemberOrder::Username,
                        Paging::ALL,
                    );
                    let page = page.await.unwrap();
                    let is_in = |user: &str| page.members.iter().any(|it| it.id.as_str() == user);
                    let open = |user| {
                        room.kind == RoomKind::Channel
                            || room.kind == RoomKind::Group && is_in(user)
                    };
                    if kind.is_none_or(|kind| kind == room.kind)
                        && member.is_none_or(is_in)
                        && open_to.is_none_or(open)
                        && room.name.as_deref().unwrap_or_default().contains(name)
                    {
                        expected.push(room.id.to_string());
                    }
                }
                if descending {
                    expected.reverse();
                }
                let mut met: Vec<String> = Vec::new();
                loop {
                    let page = Paging {
                        offset: met.len() as i64,
                        count: 4,
                    };
                    let (rooms, total) = by_filter(&mut tables, &filter, page).await.unwrap();
                    let found = ids(&mut tables, &filter, page).await.unwrap();
                    let same = rooms.iter().map(|room| &room.id).eq(&found);
                    assert!(same, "{filter:?}");
                    met.extend(found.iter().map(ToString::to_string));
                    if rooms.is_empty() || met.len() as i64 == total {
                        break;
                    }
                }
                assert_eq!(met, expected, "{filter:?}");
            }
        }
    }
}

async fn members_are_found_by_name_and_presence() {
    let mut story = two_people_talking();
    story.account(
        "ann",
        AccountEvent::UserPresenceChosen {
            presence: Presence::Away,
        },
    );
    story.account(
        "joe",
        AccountEvent::UserPresenceChosen {
            presence: Presence::Busy,
        },
    );
    let mut tables = told(&Rooms, &story, TABLES).await;
    let general = RoomId::new("general");
    let found = async |tables: &mut AnyConnection, filter: &str, presences: &[&str]| {
        let presences: Vec<_> = presences.iter().map(|it| (*it).to_owned()).collect();
        let page = members(
            tables,
            &general,
            filter,
            &presences,
            MemberOrder::Username,
            Paging::ALL,
        );
        let page = page.await.unwrap();
        assert_eq!(page.total, page.members.len() as i64);
        page.members
            .into_iter()
            .map(|member| member.id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&mut tables, "", &[]).await, ["ann", "joe", "mary"]);
    assert_eq!(found(&mut tables, "NAME OF J", &[]).await, ["joe"]);
    assert_eq!(found(&mut tables, "%", &[]).await, [""; 0]);
    assert_eq!(
        found(&mut tables, "", &["away", "offline"]).await,
        ["ann", "mary"]
    );
    for unknown in ["x,online,y", ",", ""] {
        assert_eq!(found(&mut tables, "", &[unknown]).await, [""; 0]);
    }
    assert_eq!(found(&mut tables, "", &["x", "away"]).await, ["ann"]);
    let online: Vec<_> = online(&mut tables, &general).await.unwrap();
    assert_eq!(online.len(), 2);
}

async fn who_leaves_stays_muted() {
    let mut story = two_people_talking();
    story.room("general", RoomEvent::MemberMuted { user: "joe".into() });
    let mut tables = told(&Rooms, &story, TABLES).await;
    assert_eq!(
        room(&mut tables, "general").await.wire()["muted"],
        json!(["joe"])
    );

    story.room("general", RoomEvent::MemberLeft { user: "joe".into() });
    story.room("general", joined("joe"));
    let mut tables = told(&Rooms, &story, TABLES).await;
    let found = room(&mut tables, "general").await;
    assert_eq!(found.wire()["muted"], json!(["joe"]));
    assert_eq!(found.members, 3);

    let (user, by) = ("joe".into(), None);
    story.room("general", RoomEvent::MemberRemoved { user, by });
    let mut tables = told(&Rooms, &story, TABLES).await;
    assert!(room(&mut tables, "general").await.muted.is_empty());
}

async fn names_follow_their_people() {
    let mut story = two_people_talking();
    let profile = Profile {
        username: "maria".into(),
        ..Profile::default()
    };
    story.account(
        "mary",
        AccountEvent::UserProfileChanged {
            profile: Private::new(KeyId(1), profile),
        },
    );
    let mut tables = told(&Rooms, &story, TABLES).await;
    assert_eq!(
        room(&mut tables, "general").await.wire()["u"]["username"],
        "maria"
    );
    assert_eq!(
        room(&mut tables, "talk").await.wire()["usernames"],
        json!(["maria", "joe"])
    );
}

async fn lists_are_filtered_sorted_and_paged() {
    let mut story = two_people_talking();
    story.created("alpha", RoomKind::Channel, &["ann"]);
    let mut tables = told(&Rooms, &story, TABLES).await;
    let names = |rooms: Vec<Room>| rooms.into_iter().map(|room| room.id.to_string());
    let channels = RoomFilter {
        kind: Some(RoomKind::Channel),
        ..RoomFilter::default()
    };
    let page = Paging {
        offset: 1,
        count: 1,
    };
    let (rooms, total) = by_filter(&mut tables, &channels, page).await.unwrap();
    assert_eq!(
        (names(rooms).collect::<Vec<_>>(), total),
        (vec!["general".to_owned()], 2)
    );

    let most_messages = RoomFilter {
        order: RoomOrder::Messages,
        descending: true,
        name: Some("AL".into()),
        ..channels
    };
    let (rooms, total) = by_filter(&mut tables, &most_messages, Paging::ALL)
        .await
        .unwrap();
    assert_eq!(
        (names(rooms).collect::<Vec<_>>(), total),
        (vec!["general".into(), "alpha".into()], 2)
    );

    let joes = of_member(&mut tables, &UserId::new("joe"), None)
        .await
        .unwrap();
    assert_eq!(joes.len(), 2);
}

async fn a_replay_after_shredding_gives_the_same_tables() {
    let mut story = two_people_talking();
    story.room(
        "general",
        RoomEvent::RoomRenamed {
            details: Private::new(
                KeyId(2),
                RoomDetails {
                    name: "other".into(),
                    ..RoomDetails::default()
                },
            ),
        },
    );
    for id in ["general", "talk"] {
        story.room(id, RoomEvent::RoomDeleted { key: KeyId(2) });
    }
    for id in ["mary", "joe", "ann"] {
        story.account(
            id,
            AccountEvent::UserDeleted {
                key: KeyId(1),
                messages: MessageErasure::default(),
            },
        );
    }
    let mut live = told(&Rooms, &story, TABLES).await;
    let shredded: Vec<Arc<Entry>> = story
        .entries
        .iter()
        .map(|entry| {
            let mut entry = Entry::clone(entry);
            shred(&mut entry.event);
            Arc::new(entry)
        })
        .collect();
    let mut replayed = tables(&Rooms, &shredded, 100).await;
    assert_eq!(
        dump(&mut replayed, TABLES).await,
        dump(&mut live, TABLES).await
    );
    let all = dump(&mut live, &["removed"]).await;
    assert_eq!(all.len(), 2, "{all:?}");
}

/// As an event reads whose keys are gone.
fn shred(event: &mut Event) {
    event.parts(&mut |part| {
        part.seal(&hansard_domain::vault::DataKey([7; 32]), b"")
            .unwrap();
        part.open(None, b"");
    });
}

/// Everything that happens to a room that stays.
fn a_whole_life() -> Vec<RoomEvent> {
    use RoomEvent as E;
    let details = |change: fn(&mut RoomDetails)| {
        let mut details = RoomDetails {
            name: "general".to_owned(),
            fname: "General".to_owned(),
            ..RoomDetails::default()
        };
        change(&mut details);
        Private::new(KeyId(2), details)
    };
    let switches = RoomSwitches {
        react_when_read_only: true,
        broadcast: true,
        encrypted: true,
        featured: true,
        favourite: true,
        default: true,
        read_only: true,
        hidden_system_messages: Some(vec!["uj".to_owned()]),
        join_code_required: false,
    };
    let retention = RetentionOverride {
        enabled: true,
        max_age: 2 * 86_400_000,
        ..RetentionOverride::default()
    };
    let user = || UserId::new("joe");
    let role = || RoleId::new("moderator");
    vec![
        E::RoomCreated {
            kind: RoomKind::Channel,
            creator: Some("mary".into()),
            members: vec!["joe".into()],
            switches: RoomSwitches::default(),
            parent: Some(Parent {
                room: "other".into(),
                message: Some("m".into()),
            }),
            details: details(|_| {}),
            at: Timestamp(1),
        },
        E::RoomRenamed {
            details: details(|details| details.fname = "All".to_owned()),
        },
        E::TopicChanged {
            details: details(|details| details.topic = Some("owls".to_owned())),
        },
        E::DescriptionChanged {
            details: details(|details| details.description = Some("of owls".to_owned())),
        },
        E::AnnouncementChanged {
            details: details(|details| details.announcement = Some("hoo".to_owned())),
        },
        E::CustomFieldsChanged {
            details: details(|details| {
                details.custom_fields =
                    serde_json::Map::from_iter([("a".to_owned(), 1.into())]).into();
            }),
        },
        // All details are in each of these events; a code is shown to nobody.
        E::JoinCodeChanged {
            details: details(|details| {
                details.custom_fields =
                    serde_json::Map::from_iter([("a".to_owned(), 1.into())]).into();
                details.join_code = Some("tuwit".to_owned());
            }),
            required: true,
        },
        E::JoinCodeChanged {
            details: details(|details| {
                details.custom_fields =
                    serde_json::Map::from_iter([("a".to_owned(), 1.into())]).into();
            }),
            required: false,
        },
        E::RoomTypeChanged {
            kind: RoomKind::Group,
        },
        joined("ann"),
        E::MemberMuted { user: user() },
        E::MemberUnmuted { user: user() },
        E::RoomSwitchesChanged {
            switches: switches.clone(),
        },
        E::MemberMuted { user: "ann".into() },
        E::MemberMuted { user: user() },
        E::MemberUnmuted { user: "ann".into() },
        E::RoomSwitchesChanged {
            switches: RoomSwitches {
                featured: false,
                favourite: false,
                ..switches
            },
        },
        E::RetentionOverridden {
            retention: Some(retention),
        },
        E::RetentionOverridden { retention: None },
        E::RoomRoleGranted {
            user: user(),
            role: role(),
        },
        E::RoomRoleRevoked {
            user: user(),
            role: role(),
        },
        E::ChannelPruned {
            reason: PruneReason::Requested,
            criteria: PruneCriteria::default(),
            pruned: Vec::new(),
        },
        E::RoomArchived {},
        E::RoomUnarchived {},
        E::MemberLeft { user: "ann".into() },
        E::MemberRemoved {
            user: user(),
            by: None,
        },
    ]
}

async fn a_room_as_it_was_decided_is_what_the_view_shows() {
    let life = a_whole_life();
    let lived: BTreeSet<_> = life.iter().map(<&str>::from).collect();
    let possible = RoomEvent::VARIANTS.iter().copied();
    let staying: BTreeSet<_> = possible.filter(|event| *event != "RoomDeleted").collect();
    assert_eq!(lived, staying, "every event that leaves a room");

    let mut story = Story::default();
    story.registered("mary").registered("joe").registered("ann");
    let id = RoomId::new("general");
    let person = |user: &UserId| {
        Some(Person {
            username: Some(user.to_string()),
            name: Some(format!("Name of {user}")),
        })
    };
    let mut decided = hansard_domain::room::Room::default();
    let mut before: Option<Room> = None;
    for (number, event) in life.into_iter().enumerate() {
        decided.apply(event.clone());
        story.room("general", event);
        // What only the view knows.
        if number == 1 {
            story.said("m1", "general", "mary");
        }
        let latest = &story.entries[story.entries.len().saturating_sub(2)..];
        let changed = changed_at(latest, &id);
        let mut tables = tables(&Rooms, &story.entries, 100).await;
        let shown = room(&mut tables, "general").await;
        let seen = before.replace(shown.clone());
        let known = Room {
            messages: shown.messages,
            spoken: shown.spoken,
            ..seen.unwrap_or_else(|| shown.clone())
        };
        let of = Room::of(&id, &decided, Some(known), changed, person);
        assert_eq!(of.wire(), shown.wire(), "after event {number}");
        // Where no view has ever shown it. The muted are shown in the order that they were muted in.
        let alone = Room::of(&id, &decided, None, Some(story.now()), person).wire();
        let shown = shown.wire();
        for known in alone.keys().chain(shown.keys()) {
            let of_view =
                ["msgs", "lm", "_updatedAt", "muted", "unmuted"].contains(&known.as_str());
            assert!(
                of_view || alone.get(known) == shown.get(known),
                "{known} after event {number}"
            );
        }
    }
}

async fn a_room_that_no_view_has_yet_is_shown_as_it_will_be() {
    let mut story = Story::default();
    story.registered("mary").registered("joe");
    for (kind, name) in [(RoomKind::Channel, "general"), (RoomKind::Direct, "talk")] {
        story.created(name, kind, &["mary", "joe"]);
        let entry = story.entries.last().unwrap().clone();
        let Event::Room(event) = &entry.event else {
            unreachable!()
        };
        let mut decided = hansard_domain::room::Room::default();
        decided.apply(event.clone());
        let person = |user: &UserId| {
            Some(Person {
                username: Some(user.to_string()),
                name: Some(format!("Name of {user}")),
            })
        };
        let mut tables = tables(&Rooms, &story.entries, 100).await;
        let shown = room(&mut tables, name).await;
        let id = RoomId::new(name);
        let changed = changed_at(std::slice::from_ref(&entry), &id);
        let of = Room::of(&id, &decided, None, changed, person);
        assert_eq!(of.wire(), shown.wire(), "{name}");
    }
}

on_both_engines!(
    a_room_as_it_was_decided_is_what_the_view_shows,
    a_room_that_no_view_has_yet_is_shown_as_it_will_be,
    a_room_counts_what_is_said_and_who_is_in,
    what_was_deleted_or_pruned_is_not_counted,
    what_is_erased_after_a_room_leaves_nothing_of_it,
    names_of_any_script_are_found_whatever_their_case,
    what_the_index_of_names_finds_is_what_a_walk_finds,
    members_are_found_by_name_and_presence,
    who_leaves_stays_muted,
    names_follow_their_people,
    lists_are_filtered_sorted_and_paged,
    a_replay_after_shredding_gives_the_same_tables,
);
