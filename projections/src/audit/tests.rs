use std::collections::BTreeMap;
use std::sync::Arc;

use hansard_domain::account::{AccountEvent, DeactivationReason, MessageErasure};
use hansard_domain::audit::AuditEvent;
use hansard_domain::event::{Entry, Origin};
use hansard_domain::id::{Timestamp, UserId};
use hansard_domain::log::{Actor, Position, StreamId};
use hansard_domain::message::{Content, MessageEvent};
use hansard_domain::room::{RoomEvent, RoomKind};
use hansard_domain::seal::{Fault, Private};
use hansard_domain::vault::KeyId;
use sqlx::{AnyConnection, Row as _};
use uuid::Uuid;

use super::describe::describe;
use super::query::Resolved;
use super::{Audit, AuditFilter, AuditRow, Order, Outcome, count, page};
use crate::sql::Dialect;
use crate::stories::teller::Teller;
use crate::testing::{ON, Story, dump, on_both_engines, tables, told};

const TABLES: [&str; 3] = ["audit", "origin", "name"];

const MARY: KeyId = KeyId(1);

fn mary() -> Actor {
    Actor::User(UserId::new("mary"))
}

fn admin() -> Actor {
    Actor::User(UserId::new("admin"))
}

fn home() -> Option<Private<Origin>> {
    Some(Private::new(
        MARY,
        Origin {
            address: "192.0.2.7".to_owned(),
            user_agent: "curl".to_owned(),
        },
    ))
}

/// Mary writes, is refused something, is kicked, and is deactivated by the administrator.
fn story() -> Story {
    let mut story = Story::default();
    let content = Content {
        text: "a secret plan".to_owned(),
        ..Content::default()
    };
    let said = MessageEvent::MessageSent {
        sent: story.message("GENERAL", "mary"),
        content: Private::new(KeyId(50), content),
    };
    let denied = AuditEvent::CommandDenied {
        action: "channels.archive".to_owned(),
        permission: Some("archive-room".to_owned()),
        user: Some("mary".into()),
        room: Some("GENERAL".into()),
        times: 1,
        since: None,
        several: Vec::new(),
    };
    let removed = RoomEvent::MemberRemoved {
        user: "mary".into(),
        by: Some("admin".into()),
    };
    let deactivated = AccountEvent::UserDeactivated {
        reason: DeactivationReason::ByAdministrator,
    };
    let failed = AccountEvent::LoginFailed {
        at: Timestamp(5),
        from: None,
        operation: None,
        by_email: false,
    };
    let stream = StreamId::from_name;
    story
        .tell_as(mary(), home(), stream("message-m1"), said)
        .tell_as(mary(), home(), stream("audit-a1"), denied)
        .tell_as(admin(), None, stream("room-GENERAL"), removed)
        .tell_as(admin(), None, stream("account-mary"), deactivated)
        .tell_as(Actor::Anonymous, None, stream("account-mary"), failed);
    story
}

async fn found(tables: &mut AnyConnection, filter: AuditFilter) -> Vec<u64> {
    let rows = page(tables, &filter, Order::OldestFirst, 100)
        .await
        .unwrap();
    assert_eq!(count(tables, &filter).await.unwrap(), rows.len() as u64);
    rows.iter().map(|row| row.position.0).collect()
}

async fn a_row_says_who_did_what_to_what_and_from_where() {
    let mut tables = told(&Audit, &story(), &TABLES).await;
    let rows = page(&mut tables, &AuditFilter::default(), Order::OldestFirst, 2)
        .await
        .unwrap();
    assert_eq!(
        rows[0],
        AuditRow {
            position: Position(1),
            at: Timestamp(1_700_000_000_000),
            actor: "user:mary".to_owned(),
            action: "MessageSent".to_owned(),
            target_kind: "message".to_owned(),
            target: "m1".to_owned(),
            room: Some("GENERAL".to_owned()),
            outcome: "done".to_owned(),
            fault: None,
            address: Some("192.0.2.7".to_owned()),
            user_agent: Some("curl".to_owned()),
            correlation: Some("request".to_owned()),
            causation: None,
            details: None,
        }
    );
    assert_eq!(rows[1].outcome, "denied");
    assert_eq!(rows[1].target, "channels.archive");
    assert_eq!(
        rows[1].details.as_deref(),
        Some(r#"{"permission":"archive-room"}"#)
    );
}

async fn what_is_said_never_stands_in_the_audit() {
    let mut tables = told(&Audit, &story(), &TABLES).await;
    assert_eq!(dump(&mut tables, &TABLES[..2]).await.len(), 6);
    let rows = dump(&mut tables, &TABLES).await;
    assert!(!rows.concat().contains("secret plan"));
}

async fn every_filter_narrows() {
    let mut tables = told(&Audit, &story(), &TABLES).await;
    let any = AuditFilter::default;
    assert_eq!(found(&mut tables, any()).await, [1, 2, 3, 4, 5]);
    let some = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (
            AuditFilter {
                actor: some("user:mary"),
                ..any()
            },
            vec![1, 2],
        ),
        (
            AuditFilter {
                target: some("mary"),
                ..any()
            },
            vec![3, 4, 5],
        ),
        (
            AuditFilter {
                target_kind: some("room"),
                ..any()
            },
            vec![],
        ),
        (
            AuditFilter {
                target_kind: some("user"),
                ..any()
            },
            vec![3, 4, 5],
        ),
        (
            AuditFilter {
                room: some("GENERAL"),
                ..any()
            },
            vec![1, 2, 3],
        ),
        (
            AuditFilter {
                outcome: Some(Outcome::Failed),
                ..any()
            },
            vec![5],
        ),
        (
            AuditFilter {
                outcome: Some(Outcome::Denied),
                ..any()
            },
            vec![2],
        ),
        (
            AuditFilter {
                outcome: Some(Outcome::Done),
                ..any()
            },
            vec![1, 3, 4],
        ),
        (
            AuditFilter {
                address: some("192.0.2.7"),
                ..any()
            },
            vec![1, 2],
        ),
        (
            AuditFilter {
                address: some("192.0.2.8"),
                ..any()
            },
            vec![],
        ),
        (
            AuditFilter {
                correlation: some("request"),
                ..any()
            },
            vec![1, 2],
        ),
        (
            AuditFilter {
                after: Some(Position(3)),
                ..any()
            },
            vec![4, 5],
        ),
        (
            AuditFilter {
                before: Some(Position(3)),
                ..any()
            },
            vec![1, 2],
        ),
        (
            AuditFilter {
                actions: vec!["LoginFailed".to_owned(), "MemberRemoved".to_owned()],
                ..any()
            },
            vec![3, 5],
        ),
        (
            AuditFilter {
                actions: vec!["MessageSent".to_owned(), "MemberRemoved".to_owned()],
                room: some("GENERAL"),
                before: Some(Position(3)),
                ..any()
            },
            vec![1],
        ),
    ] {
        assert_eq!(
            found(&mut tables, filter.clone()).await,
            expected,
            "{filter:?}"
        );
    }
}

async fn the_newest_come_first() {
    let mut tables = told(&Audit, &story(), &TABLES).await;
    let filter = AuditFilter {
        before: Some(Position(5)),
        ..AuditFilter::default()
    };
    let rows = page(&mut tables, &filter, Order::NewestFirst, 2)
        .await
        .unwrap();
    assert_eq!(
        rows.iter().map(|row| row.position.0).collect::<Vec<_>>(),
        [4, 3]
    );
}

async fn where_an_erased_person_came_from_is_gone() {
    let mut story = story();
    let deleted = AccountEvent::UserDeleted {
        key: MARY,
        messages: MessageErasure::default(),
    };
    story.tell_as(admin(), None, StreamId::from_name("account-mary"), deleted);
    let mut tables = told(&Audit, &story, &TABLES).await;
    let rows = dump(&mut tables, &TABLES).await;
    assert!(!rows.concat().contains("192.0.2.7"));

    // A rebuild after the key is gone comes to the same.
    for entry in &mut story.entries {
        let origin = entry
            .origin
            .as_ref()
            .map(|_| Private::Shredded { key: MARY });
        *entry = Arc::new(Entry {
            origin,
            ..entry.as_ref().clone()
        });
    }
    let mut again = told(&Audit, &story, &TABLES).await;
    assert_eq!(dump(&mut again, &TABLES).await, rows);
}

async fn an_auditor_finds_what_can_no_longer_be_read() {
    let mut story = story();
    for (place, fault) in [(0, Fault::Forged), (3, Fault::Malformed)] {
        let entry = Entry::clone(&story.entries[place]);
        let fault = Some(fault);
        story.entries[place] = Arc::new(Entry { fault, ..entry });
    }
    let mut tables = told(&Audit, &story, &TABLES).await;
    let of = |fault| AuditFilter {
        fault: Some(fault),
        ..AuditFilter::default()
    };
    assert_eq!(found(&mut tables, of(Fault::Forged)).await, [1]);
    assert_eq!(found(&mut tables, of(Fault::Malformed)).await, [4]);
    let forged = of(Fault::Forged);
    let rows = page(&mut tables, &forged, Order::OldestFirst, 1).await;
    assert_eq!(rows.unwrap()[0].fault.as_deref(), Some("forged"));
}

/// Those who are erased in a [`busy`] story, by the numbers of the events.
const ERASED: [usize; 3] = [200, 500, 600];

/// Whose origin an event has; other keys than those of the story's people.
fn of_event(number: usize) -> KeyId {
    KeyId(1_000_000 + number as u64 % 7)
}

/// A random story of many people at many places, three of whom are erased on the way, by requests with
/// ids of several shapes.
fn busy() -> Story {
    let mut teller = Teller::new(7);
    teller.tell_until(900);
    let mut story = Story::default();
    let mut gone = Vec::new();
    for (number, entry) in teller.entries.iter().enumerate() {
        let key = of_event(number);
        let origin = Origin {
            address: format!("192.0.2.{}", number % 11),
            user_agent: format!("browser {}", number % 3),
        };
        let sealed = match number % 5 {
            0 => None,
            _ if gone.contains(&key) => Some(Private::Shredded { key }),
            _ => Some(Private::new(key, origin)),
        };
        let event = match number {
            _ if ERASED.contains(&number) => {
                gone.push(key);
                let messages = MessageErasure::default();
                AccountEvent::UserDeleted { key, messages }.into()
            }
            _ => entry.event.clone(),
        };
        let correlation = ["request", "3BtC3SuyPogud7sWM", "3btc3suy"].get(number % 4);
        story.entries.push(Arc::new(Entry {
            origin: sealed,
            correlation: correlation.map(|id| (*id).into()),
            causation: (number % 6 == 0).then(|| Uuid::from_u128(number as u128)),
            fault: (number % 40 == 0).then_some(Fault::Forged),
            event,
            ..Entry::clone(entry)
        }));
    }
    story
}

/// The rows of a story as they are described, and as they are once nobody is left who was erased.
fn described(story: &Story) -> Vec<AuditRow> {
    let erased = ERASED.map(of_event);
    let row = |entry: &Arc<Entry>| {
        let description = describe(entry);
        let origin = entry.origin.as_ref();
        let origin = origin.filter(|sealed| !erased.contains(&sealed.key()));
        let origin = origin.and_then(Private::value);
        AuditRow {
            position: entry.position,
            at: entry.at,
            actor: entry.actor.to_string(),
            action: entry.event.kind().to_owned(),
            target_kind: description.kind.to_owned(),
            target: description.target.to_owned(),
            room: description.room.map(ToOwned::to_owned),
            outcome: description.outcome.as_str().to_owned(),
            fault: entry.fault.map(|fault| fault.as_str().to_owned()),
            address: origin.map(|origin| origin.address.clone()),
            user_agent: origin.map(|origin| origin.user_agent.clone()),
            correlation: entry.correlation.as_ref().map(ToString::to_string),
            causation: entry.causation.map(|id| id.to_string()),
            details: (!description.details.is_null()).then(|| description.details.to_string()),
        }
    };
    story.entries.iter().map(row).collect()
}

async fn all(tables: &mut AnyConnection) -> Vec<AuditRow> {
    let filter = AuditFilter::default();
    page(tables, &filter, Order::OldestFirst, 10_000)
        .await
        .unwrap()
}

async fn rows_read_back_as_what_happened() {
    let story = busy();
    let mut tables = tables(&Audit, &story.entries, 100).await;
    assert_eq!(all(&mut tables).await, described(&story));
}

async fn a_rebuild_has_the_same_numbers() {
    let mut story = busy();
    let mut grown = told(&Audit, &story, &TABLES).await;
    let expected = dump(&mut grown, &TABLES).await;
    for entry in &mut story.entries {
        let key = entry.origin.as_ref().map(Private::key);
        let key = key.filter(|key| ERASED.map(of_event).contains(key));
        if let Some(key) = key {
            let origin = Some(Private::Shredded { key });
            *entry = Arc::new(Entry {
                origin,
                ..Entry::clone(entry)
            });
        }
    }
    let mut rebuilt = tables(&Audit, &story.entries, 250).await;
    assert_eq!(dump(&mut rebuilt, &TABLES).await, expected);
}

async fn a_filter_finds_what_has_the_name_and_nothing_else() {
    let story = busy();
    let mut tables = tables(&Audit, &story.entries, 100).await;
    let rows = described(&story);
    let any = AuditFilter::default;
    let mut filters = BTreeMap::new();
    for row in &rows {
        for filter in [
            AuditFilter {
                actor: Some(row.actor.clone()),
                ..any()
            },
            AuditFilter {
                target_kind: Some(row.target_kind.clone()),
                ..any()
            },
            AuditFilter {
                target: Some(row.target.clone()),
                target_kind: Some(row.target_kind.clone()),
                ..any()
            },
            AuditFilter {
                room: row.room.clone(),
                actions: vec![row.action.clone()],
                ..any()
            },
            AuditFilter {
                actions: vec![row.action.clone(), "RoomCreated".to_owned()],
                ..any()
            },
            AuditFilter {
                correlation: row.correlation.clone(),
                address: row.address.clone(),
                ..any()
            },
        ] {
            filters.insert(format!("{filter:?}"), filter);
        }
    }
    for (name, filter) in filters {
        let has = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| is == Some(wanted))
        };
        let expected = rows.iter().filter(|row| {
            has(&filter.actor, Some(&row.actor))
                && has(&filter.target_kind, Some(&row.target_kind))
                && has(&filter.target, Some(&row.target))
                && has(&filter.room, row.room.as_deref())
                && has(&filter.correlation, row.correlation.as_deref())
                && has(&filter.address, row.address.as_deref())
                && (filter.actions.is_empty() || filter.actions.contains(&row.action))
        });
        let expected: Vec<_> = expected.map(|row| row.position.0).collect();
        let found = page(&mut tables, &filter, Order::OldestFirst, 10_000)
            .await
            .unwrap();
        let found: Vec<_> = found.iter().map(|row| row.position.0).collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// Ids that clients can choose, and some that they can't.
const ODD: [&str; 10] = [
    "GENERAL",
    "login",
    "MessageSent",
    "message",
    "3BtC3SuyPogud7sWM",
    "01a21ea4-5125-712d-98bf-4f5ed487a147",
    "username-01a21ea45125712d98bf4f5ed487a147",
    "'; DROP TABLE audit; --",
    "%日本語_",
    "",
];

async fn ids_may_be_any_text() {
    let mut story = Story::default();
    for id in ODD {
        story.said(id, id, id);
        story.created(id, RoomKind::Channel, &[id]);
    }
    story.said("a\0b", "c\0d", "mary");
    let mut tables = told(&Audit, &story, &TABLES).await;
    let mut expected = described(&story);
    for text in ["a", "c"] {
        let row = expected.last_mut().unwrap();
        for id in [&mut row.target, row.room.as_mut().unwrap()] {
            if id.starts_with(text) {
                *id = id.replace('\0', "\u{fffd}");
            }
        }
    }
    assert_eq!(all(&mut tables).await, expected);
    for (number, id) in ODD.into_iter().enumerate() {
        let (message, room) = (number as u64 * 2 + 1, number as u64 * 2 + 2);
        let of = |kind: Option<&str>| AuditFilter {
            target: Some(id.to_owned()),
            target_kind: kind.map(ToOwned::to_owned),
            ..AuditFilter::default()
        };
        assert_eq!(found(&mut tables, of(None)).await, [message, room], "{id}");
        assert_eq!(found(&mut tables, of(Some("message"))).await, [message]);
        assert_eq!(found(&mut tables, of(Some("room"))).await, [room]);
        let newest = page(&mut tables, &of(None), Order::NewestFirst, 1).await;
        assert_eq!(newest.unwrap()[0].position.0, room);
        let there = AuditFilter {
            room: Some(id.to_owned()),
            ..AuditFilter::default()
        };
        assert_eq!(found(&mut tables, there).await, [message, room], "{id}");
    }
    for id in ["a\0b", "a\u{fffd}b"] {
        let odd = AuditFilter {
            target: Some(id.to_owned()),
            ..AuditFilter::default()
        };
        assert_eq!(found(&mut tables, odd).await.len(), 1);
    }
}

async fn what_has_no_such_name_is_not_looked_for() {
    let mut tables = told(&Audit, &story(), &TABLES).await;
    let any = AuditFilter::default;
    let nobody = || Some("nobody".to_owned());
    for filter in [
        AuditFilter {
            actor: nobody(),
            ..any()
        },
        AuditFilter {
            target: nobody(),
            ..any()
        },
        AuditFilter {
            target_kind: nobody(),
            ..any()
        },
        AuditFilter {
            room: nobody(),
            ..any()
        },
        AuditFilter {
            actions: vec!["RoleCreated".to_owned()],
            ..any()
        },
        AuditFilter {
            actor: Some("user:mary".to_owned()),
            room: nobody(),
            ..any()
        },
    ] {
        let resolved = Resolved::of(&mut tables, &filter).await.unwrap();
        assert!(resolved.is_none(), "{filter:?}");
        assert!(found(&mut tables, filter).await.is_empty());
    }
    // It is the name of a room, and of nobody.
    let room = AuditFilter {
        actor: Some("GENERAL".to_owned()),
        ..any()
    };
    assert!(found(&mut tables, room).await.is_empty());
    let partly = AuditFilter {
        actions: vec!["RoleCreated".to_owned(), "MessageSent".to_owned()],
        ..any()
    };
    assert_eq!(found(&mut tables, partly).await, [1]);
}

/// A page is read from an index in the order of its rows.
async fn filters_lead_to_an_index() {
    let mut tables = told(&Audit, &story(), &TABLES).await;
    let any = AuditFilter::default;
    let some = |text: &str| Some(text.to_owned());
    for (filter, step) in [
        (
            AuditFilter {
                actor: some("user:mary"),
                ..any()
            },
            "USING INDEX audit_actor (actor=?)",
        ),
        (
            AuditFilter {
                target: some("mary"),
                ..any()
            },
            "USING INDEX audit_target (target=?)",
        ),
        (
            AuditFilter {
                target: some("m1"),
                ..any()
            },
            "USING INDEX audit_target_id (target_id=?)",
        ),
        (
            AuditFilter {
                room: some("GENERAL"),
                before: Some(Position(4)),
                ..any()
            },
            "USING INDEX audit_room (room=? AND rowid<?)",
        ),
        (
            AuditFilter {
                actions: vec!["LoginFailed".to_owned()],
                ..any()
            },
            "USING INDEX audit_action (action=?)",
        ),
        (
            AuditFilter {
                outcome: Some(Outcome::Failed),
                ..any()
            },
            "USING INDEX audit_refused (outcome=?)",
        ),
        (
            AuditFilter {
                fault: Some(Fault::Forged),
                ..any()
            },
            "USING INDEX audit_fault (fault=?)",
        ),
        (
            AuditFilter {
                address: some("192.0.2.7"),
                ..any()
            },
            "USING INDEX audit_origin (origin=?)",
        ),
        (
            AuditFilter {
                after: Some(Position(2)),
                ..any()
            },
            "USING INTEGER PRIMARY KEY (rowid>?)",
        ),
    ] {
        let resolved = Resolved::of(&mut tables, &filter).await.unwrap().unwrap();
        let page = resolved.pages(Order::NewestFirst, 2).remove(0);
        let plan = page.explained().fetch(&mut tables).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|step| step.get("detail")).collect();
        let step = format!("SEARCH audit {step}");
        assert!(plan.contains(&step), "{filter:?}: {plan:#?}");
    }
}

#[tokio::test]
async fn each_filter_leads_to_an_index_in_sqlite() {
    ON.scope(Dialect::Sqlite, filters_lead_to_an_index()).await;
}

on_both_engines!(
    a_row_says_who_did_what_to_what_and_from_where,
    what_is_said_never_stands_in_the_audit,
    every_filter_narrows,
    the_newest_come_first,
    where_an_erased_person_came_from_is_gone,
    an_auditor_finds_what_can_no_longer_be_read,
    rows_read_back_as_what_happened,
    a_rebuild_has_the_same_numbers,
    a_filter_finds_what_has_the_name_and_nothing_else,
    ids_may_be_any_text,
    what_has_no_such_name_is_not_looked_for,
);
