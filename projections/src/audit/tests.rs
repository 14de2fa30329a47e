use std::sync::Arc;

use hansard_domain::account::{AccountEvent, DeactivationReason, MessageErasure};
use hansard_domain::audit::AuditEvent;
use hansard_domain::event::{Entry, Origin};
use hansard_domain::id::{Timestamp, UserId};
use hansard_domain::log::{Actor, Position, StreamId};
use hansard_domain::message::{Content, MessageEvent};
use hansard_domain::room::RoomEvent;
use hansard_domain::seal::{Fault, Private};
use hansard_domain::vault::KeyId;
use sqlx::AnyConnection;

use super::{Audit, AuditFilter, AuditRow, Order, Outcome, count, page};
use crate::testing::{Story, dump, on_both_engines, told};

const TABLES: [&str; 2] = ["audit", "origin"];

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
    let rows = dump(&mut tables, &TABLES).await;
    assert_eq!(rows.len(), 6);
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

on_both_engines!(
    a_row_says_who_did_what_to_what_and_from_where,
    what_is_said_never_stands_in_the_audit,
    every_filter_narrows,
    the_newest_come_first,
    where_an_erased_person_came_from_is_gone,
    an_auditor_finds_what_can_no_longer_be_read,
);
