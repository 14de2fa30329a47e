//! Somebody who can write to the log, and has no key, moves what is sealed in it: none of that opens, and
//! each is told as forged. What was not touched is read, from every copy of the log.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use hansard_domain::account::{
    AccountEvent, AccountKind, PasswordHash, Profile, Registration, TokenHash,
};
use hansard_domain::event::{Entry, Event, Origin};
use hansard_domain::id::Timestamp;
use hansard_domain::journal::{Context, Draft, Journal, Proposal};
use hansard_domain::log::{
    Actor, Append, Commit, EventLog, Position, StoredEvent, StreamId, Version,
};
use hansard_domain::message::{Content, MessageEvent, Sent};
use hansard_domain::seal::{Fault, Private, encrypt};
use hansard_domain::vault::KeyId;
use hansard_infra::log::memory::MemoryLog;
use hansard_infra::vault::memory::MemoryVault;
use uuid::Uuid;

/// A workspace in which alice and carol have said something, from their own addresses.
struct World {
    log: MemoryLog,
    vault: MemoryVault,
    journal: Arc<Journal>,
}

async fn journal(log: &MemoryLog, vault: &MemoryVault) -> Arc<Journal> {
    let journal = Journal::open(Arc::new(log.clone()), Arc::new(vault.clone()));
    journal.await.unwrap()
}

fn user(name: &str) -> Actor {
    Actor::User(name.into())
}

impl World {
    async fn new() -> Self {
        let (log, vault) = (MemoryLog::new(), MemoryVault::new());
        let journal = journal(&log, &vault).await;
        journal.keys().reserve(20).await.unwrap();
        Self {
            log,
            vault,
            journal,
        }
    }

    fn key(&self) -> KeyId {
        self.journal.keys().fresh().unwrap()
    }

    /// Records events of a stream, and returns the key of their origin.
    async fn record(&self, who: &str, stream: &str, version: u64, events: Vec<Event>) -> KeyId {
        let key = self.key();
        let origin = Origin {
            address: format!("address of {who}"),
            user_agent: String::new(),
        };
        let proposal = Proposal {
            drafts: vec![Draft {
                stream: StreamId::from_name(stream),
                expected: Version(version),
                events: events
                    .into_iter()
                    .map(|event| (Uuid::now_v7(), event))
                    .collect(),
            }],
            context: Context {
                at: Timestamp(1),
                clock: Some(Timestamp(0)),
                actor: user(who),
                correlation: Some("request".into()),
                causation: Some(Uuid::from_u128(7)),
                origin: Some(Private::new(key, origin)),
            },
        };
        let recorded = self.journal.append(None, vec![proposal]).await.unwrap();
        assert!(recorded[0].is_ok());
        key
    }

    async fn say(&self, who: &str, message: &str, room: &str, text: &str) -> KeyId {
        let key = self.key();
        let sent = Sent {
            room: room.into(),
            sender: who.into(),
            system: None,
            thread: None,
            mentions: Default::default(),
            integration: None,
            bot: false,
            groupable: true,
            discussion: None,
            has_files: false,
            at: Timestamp(1),
        };
        let content = Content {
            text: text.to_owned(),
            ..Content::default()
        };
        let content = Private::new(key, content);
        let event = MessageEvent::MessageSent { sent, content };
        let stream = format!("message-{message}");
        self.record(who, &stream, 0, vec![event.into()]).await;
        key
    }

    /// A copy of the log, as somebody left it who changed what stands there.
    async fn changed(&self, change: impl FnOnce(&mut Vec<StoredEvent>)) -> MemoryLog {
        let mut events = stored(&self.log).await;
        change(&mut events);
        let copy = MemoryLog::new();
        for event in events {
            let commit = Commit {
                after: None,
                appends: vec![Append {
                    stream: event.stream,
                    expected: Version(event.version.0 - 1),
                    events: vec![event.event],
                }],
                metadata: event.metadata,
            };
            copy.append(vec![commit]).await.unwrap().remove(0).unwrap();
        }
        copy
    }

    /// What is read from such a copy.
    async fn read(&self, change: impl FnOnce(&mut Vec<StoredEvent>)) -> Vec<Arc<Entry>> {
        let log = self.changed(change).await;
        read_all(&journal(&log, &self.vault).await).await
    }
}

async fn stored(log: &MemoryLog) -> Vec<StoredEvent> {
    let pages: Vec<_> = log.all(Position::START).try_collect().await.unwrap();
    pages.concat()
}

async fn read_all(journal: &Arc<Journal>) -> Vec<Arc<Entry>> {
    let batches: Vec<_> = journal
        .all(Position::START)
        .map(|batch| batch.unwrap().to_vec())
        .collect()
        .await;
    batches.concat()
}

fn text(entry: &Entry) -> Option<String> {
    let Event::Message(MessageEvent::MessageSent { content, .. }) = &entry.event else {
        panic!("{entry:?}");
    };
    content.value().map(|content| content.text.clone())
}

fn password(entry: &Entry) -> Option<&PasswordHash> {
    match &entry.event {
        Event::Account(AccountEvent::UserPasswordChanged { password, .. }) => password.value(),
        other => panic!("{other:?}"),
    }
}

fn address(entry: &Entry) -> Option<&str> {
    let origin = entry.origin.as_ref()?.value()?;
    Some(&origin.address)
}

fn faults(entries: &[Arc<Entry>]) -> Vec<bool> {
    let forged = |entry: &Arc<Entry>| entry.fault == Some(Fault::Forged);
    entries.iter().map(forged).collect()
}

fn replace(event: &mut StoredEvent, from: &str, to: &str) {
    assert!(event.event.payload.contains(from), "{from}");
    event.event.payload = event.event.payload.replace(from, to);
}

async fn two_messages() -> World {
    let world = World::new().await;
    world.say("alice", "m1", "attic", "top secret").await;
    world.say("carol", "m2", "square", "all to carol").await;
    world
}

#[tokio::test]
async fn what_was_not_touched_is_read_from_every_copy() {
    let world = two_messages().await;
    let read = world.read(|_| {}).await;
    assert_eq!(faults(&read), [false, false]);
    assert_eq!(text(&read[0]).as_deref(), Some("top secret"));
    assert_eq!(address(&read[1]), Some("address of carol"));
}

#[tokio::test]
async fn nobody_is_made_to_have_said_what_another_did() {
    let world = two_messages().await;
    let read = world
        .read(|events| {
            replace(&mut events[1], r#""sender":"carol""#, r#""sender":"alice""#);
            events[1].metadata.actor = user("alice");
        })
        .await;
    assert_eq!(faults(&read), [false, true]);
    assert_eq!(text(&read[1]), None);
    assert_eq!(address(&read[1]), None);
    // Each of the two by itself.
    let read = world
        .read(|events| {
            replace(&mut events[0], r#""sender":"alice""#, r#""sender":"carol""#);
            events[1].metadata.actor = user("alice");
        })
        .await;
    assert_eq!(faults(&read), [true, true]);
    assert_eq!((text(&read[0]), text(&read[1])), (None, None));
}

#[tokio::test]
async fn what_was_said_in_a_room_is_not_shown_in_another() {
    let world = two_messages().await;
    let read = world
        .read(|events| replace(&mut events[0], r#""room":"attic""#, r#""room":"square""#))
        .await;
    assert_eq!(faults(&read), [true, false]);
    assert_eq!(text(&read[0]), None);
}

#[tokio::test]
async fn an_address_is_not_that_of_another_event() {
    let world = World::new().await;
    for (who, account) in [("alice", "account-alice"), ("carol", "account-carol")] {
        let events = vec![AccountEvent::UserActivated {}.into(); 2];
        world.record(who, account, 0, events).await;
    }
    let read = world
        .read(|events| {
            events[2].event.origin = events[0].event.origin.clone();
            // Nor that of another event of its commit.
            events[1].event.origin = events[0].event.origin.clone();
        })
        .await;
    assert_eq!(faults(&read), [false, true, true, false]);
    assert_eq!(address(&read[0]), Some("address of alice"));
    assert_eq!((address(&read[1]), address(&read[2])), (None, None));
}

#[tokio::test]
async fn a_password_opens_no_other_account() {
    let world = World::new().await;
    for who in ["admin", "carol"] {
        let hash = PasswordHash(format!("of {who}"));
        let changed = AccountEvent::UserPasswordChanged {
            password: Private::new(world.key(), hash),
            change_required: false,
        };
        let account = format!("account-{who}");
        world.record(who, &account, 0, vec![changed.into()]).await;
    }
    let read = world
        .read(|events| {
            // The whole row, with its id, to another account; and to its own once more.
            for (stream, version) in [("account-admin", 2), ("account-carol", 2)] {
                let mut copy = events[1].clone();
                copy.stream = StreamId::from_name(stream);
                copy.version = Version(version);
                events.push(copy);
            }
        })
        .await;
    assert_eq!(faults(&read), [false, false, true, true]);
    assert!(password(&read[1]).is_some());
    assert!(password(&read[2]).is_none() && password(&read[3]).is_none());
}

#[tokio::test]
async fn parts_of_an_event_can_not_change_places_and_are_erased_each_by_itself() {
    let world = World::new().await;
    let (key, other) = (world.key(), world.key());
    let registered = AccountEvent::UserRegistered {
        how: Registration::SelfService,
        kind: AccountKind::User,
        roles: Vec::new(),
        active: true,
        reason: Some(Private::new(other, "a reason".to_owned())),
        password_change_required: false,
        profile: Private::new(key, Profile::default()),
        password: Some(Private::new(key, PasswordHash("a hash".to_owned()))),
        at: Timestamp(1),
    };
    let origin = world
        .record("mary", "account-mary", 0, vec![registered.into()])
        .await;
    let open = |entry: &Entry| {
        let Event::Account(AccountEvent::UserRegistered {
            reason,
            profile,
            password,
            ..
        }) = &entry.event
        else {
            panic!("{entry:?}");
        };
        let (reason, password) = (reason.as_ref().unwrap(), password.as_ref().unwrap());
        [
            reason.value().is_some(),
            profile.value().is_some(),
            password.value().is_some(),
            address(entry).is_some(),
        ]
    };
    assert_eq!(open(&world.read(|_| {}).await[0]), [true; 4]);

    let ciphers = |payload: &str| -> Vec<String> {
        let parts = payload.split(r#""c":{"2":""#).skip(1);
        parts
            .map(|part| part.split_once('"').unwrap().0.to_owned())
            .collect()
    };
    let read = world
        .read(|events| {
            let [_, one, two] = &ciphers(&events[0].event.payload)[..] else {
                panic!("{}", events[0].event.payload);
            };
            let payload = events[0].event.payload.replace(one, "here");
            events[0].event.payload = payload.replace(two, one).replace("here", two);
        })
        .await;
    assert_eq!(faults(&read), [true]);
    assert_eq!(open(&read[0]), [true, false, false, true]);
    let read = world
        .read(|events| {
            let [_, one, two] = &ciphers(&events[0].event.payload)[..] else {
                panic!("{}", events[0].event.payload);
            };
            events[0].event.payload = events[0].event.payload.replace(two, one);
        })
        .await;
    assert_eq!(open(&read[0]), [true, false, false, true]);

    let journal = journal(&world.log, &world.vault).await;
    journal.shred(&[other]).await.unwrap();
    let read_back = read_all(&journal).await;
    assert_eq!(faults(&read_back), [false]);
    assert_eq!(open(&read_back[0]), [false, true, true, true]);
    journal.shred(&[key, origin]).await.unwrap();
    let read_back = read_all(&journal).await;
    assert_eq!(faults(&read_back), [false]);
    assert_eq!(open(&read_back[0]), [false; 4]);
}

/// The message as an earlier version would have written it, sealed beside its id alone.
async fn as_earlier(world: &World, key: KeyId, event: &mut StoredEvent) {
    let keys = world.journal.keys().load(&[key]).await.unwrap();
    let entry = read_all(&world.journal).await;
    let position = event.position;
    let entry = entry.iter().find(|entry| entry.position == position);
    let Event::Message(MessageEvent::MessageSent { sent, content }) = entry.unwrap().event.clone()
    else {
        panic!("{event:?}");
    };
    let plain = serde_json::to_vec(content.value().unwrap()).unwrap();
    let cipher = encrypt(&keys[&key], &plain, event.event.id.as_bytes()).unwrap();
    let sent = serde_json::to_string(&sent).unwrap();
    event.event.payload = format!(
        r#"{{"sent":{sent},"content":{{"k":{},"c":"{cipher}"}}}}"#,
        key.0
    );
    let origin = event.event.origin.as_mut().unwrap();
    let (before, _) = origin.split_once(',').unwrap();
    let id: u64 = before.strip_prefix("{\"k\":").unwrap().parse().unwrap();
    let keys = world.journal.keys().load(&[KeyId(id)]).await.unwrap();
    let plain = br#"{"address":"an old address","user_agent":""}"#;
    let cipher = encrypt(&keys[&KeyId(id)], plain, Uuid::nil().as_bytes()).unwrap();
    *origin = format!(r#"{{"k":{id},"c":"{cipher}"}}"#);
}

#[tokio::test]
async fn what_earlier_versions_wrote_is_read_and_nothing_else_passes_for_it() {
    let world = World::new().await;
    let key = world.say("alice", "m1", "attic", "from of old").await;
    world.say("carol", "m2", "square", "of today").await;
    let mut old = stored(&world.log).await.remove(0);
    as_earlier(&world, key, &mut old).await;

    let event = old.clone();
    let read = world.read(|events| events[0] = event).await;
    assert_eq!(faults(&read), [false, false]);
    assert_eq!(text(&read[0]).as_deref(), Some("from of old"));
    assert_eq!(address(&read[0]), Some("an old address"));

    // Neither passes for the other.
    let mut event = old.clone();
    replace(&mut event, r#","c":""#, r#","c":{"2":""#);
    replace(&mut event, r#""}}"#, r#""}}}"#);
    let read = world
        .read(|events| {
            events[0] = event;
            replace(&mut events[1], r#"{"2":""#, "\"");
            replace(&mut events[1], "}}}", "}}");
            let origin = events[1].event.origin.as_mut().unwrap();
            *origin = origin.replace(r#"{"2":""#, "\"").replace("}}", "}");
        })
        .await;
    assert_eq!(faults(&read), [true, true]);
    assert_eq!((text(&read[0]), text(&read[1])), (None, None));
    assert_eq!(address(&read[1]), None);
}

#[tokio::test]
async fn an_event_without_parts_is_bound_to_where_it_came_from() {
    let world = World::new().await;
    let ended = AccountEvent::UserLoggedOut {
        token: TokenHash("one".to_owned()),
    };
    world
        .record("mary", "account-mary", 0, vec![ended.into()])
        .await;
    assert_eq!(faults(&world.read(|_| {}).await), [false]);
    let read = world
        .read(|events| replace(&mut events[0], "one", "two"))
        .await;
    assert_eq!(faults(&read), [true]);
}
