use std::collections::{BTreeMap, HashMap};

use hansard_domain::account::{AccountEvent, AccountKind, MessageErasure, Profile, Registration};
use hansard_domain::claim::{ClaimEvent, Namespace, claim_key};
use hansard_domain::event::{Entry as Recorded, Event};
use hansard_domain::log::{Actor, StreamId};
use hansard_domain::room::{Entry, RoomDetails, RoomEvent, RoomKind, RoomSwitches};
use hansard_domain::seal::Private;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

static SECRET: DataKey = DataKey([7; 32]);

type Store = BTreeMap<u64, Vec<u8>>;

fn save(store: &mut Store, model: &WriteModel, before: Option<&Saved>) -> Saved {
    if before.is_none() {
        store.clear();
    }
    let writer = Writer::new(&SECRET, |records| {
        store.extend(records);
        Ok(())
    });
    let head = writer.write(model, KeyId(9), before).unwrap();
    let model = Arc::new(model.clone());
    Saved { model, head }
}

fn restore(store: &Store) -> Result<WriteModel, Unfit> {
    let records = |numbers: Range<u64>| -> Records {
        let records = store.range(numbers);
        records
            .map(|(number, sealed)| (*number, sealed.clone()))
            .collect()
    };
    let head = Head::read(&SECRET, &store[&HEAD])?;
    let numbers = Numbers::read(&head, &SECRET, records(OF_USERS))?;
    let mut restoring = Restoring::of(&head);
    for page in records(OF_TABLES).chunks(5) {
        restoring.take(Page::read(&head, &numbers, &SECRET, page.to_vec())?);
    }
    restoring.finish(&head)
}

/// What decisions can learn of a model.
fn told(model: &WriteModel) -> impl PartialEq + std::fmt::Debug {
    fn all<K, V, const SIZE: usize>(table: &Table<K, V, SIZE>) -> HashMap<K, V>
    where
        K: Clone + Eq + Hash,
        V: Clone,
    {
        let entries = table.iter();
        entries
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
    let accounts = all(&model.accounts);
    let mut names: Vec<_> = accounts
        .iter()
        .map(|(id, account)| {
            let name = account.profile.username.as_str();
            let mut rooms: Vec<_> = model.rooms_of(id).collect();
            rooms.sort();
            (id.clone(), model.user_by_name(name).cloned(), rooms)
        })
        .collect();
    names.sort();
    let rooms = all(&model.rooms);
    let mut room_names: Vec<_> = rooms
        .iter()
        .map(|(id, room)| {
            let direct = model.direct_room(&room.participants).cloned();
            let found = model.room_by_name(&room.details.name).cloned();
            (id.clone(), found, direct)
        })
        .collect();
    room_names.sort();
    let mut holders: Vec<_> = model.holders("user").collect();
    holders.sort();
    let defaults: Vec<_> = model.default_rooms().cloned().collect();
    (
        (accounts, rooms, names, room_names),
        (all(&model.gone_accounts), all(&model.gone_rooms)),
        (model.left.all(), all(&model.claims)),
        model.room_times.clone(),
        (holders, defaults, model.newest, model.place),
        (model.settings.clone(), model.roles.clone()),
    )
}

/// A random event of one of some accounts or rooms.
fn event(random: &mut StdRng) -> (StreamId, Event) {
    let (user, room) = (random.random_range(0..300), random.random_range(0..60));
    let (user, room) = (
        UserId::new(format!("u{user}")),
        RoomId::new(format!("r{room}")),
    );
    let (of_user, of_room) = (
        StreamId::new("account", &user),
        StreamId::new("room", &room),
    );
    let account = |event: AccountEvent| (of_user.clone(), Event::from(event));
    let in_room = |event: RoomEvent| (of_room.clone(), Event::from(event));
    let number: u32 = random.random_range(0..500);
    match random.random_range(0..12) {
        0..3 => account(AccountEvent::UserRegistered {
            how: Registration::SelfService,
            kind: AccountKind::User,
            roles: vec!["user".into()],
            active: !number.is_multiple_of(3),
            reason: None,
            password_change_required: false,
            profile: Private::new(
                KeyId(1),
                Profile {
                    username: format!("{user}-{number}"),
                    ..Profile::default()
                },
            ),
            password: None,
            at: Timestamp(number.into()),
        }),
        3 => account(AccountEvent::RoleRevoked {
            role: "user".into(),
        }),
        4 => account(AccountEvent::UserDeleted {
            key: KeyId(3),
            messages: MessageErasure::Keep,
        }),
        5 => in_room(RoomEvent::RoomCreated {
            kind: RoomKind::Channel,
            creator: Some(user.clone()),
            members: Vec::new(),
            switches: RoomSwitches {
                default: number.is_multiple_of(7),
                ..RoomSwitches::default()
            },
            parent: None,
            details: Private::new(
                KeyId(1),
                RoomDetails {
                    name: format!("Room {number}"),
                    ..RoomDetails::default()
                },
            ),
            at: Timestamp(number.into()),
        }),
        6 | 7 => in_room(RoomEvent::MemberJoined {
            user: user.clone(),
            entry: Entry::Joined,
            at: Timestamp(number.into()),
        }),
        8 => in_room(RoomEvent::MemberLeft { user: user.clone() }),
        9 => in_room(RoomEvent::RoomDeleted { key: KeyId(2) }),
        10 => in_room(RoomEvent::RoomArchived {}),
        _ => (
            StreamId::new(
                "name",
                claim_key(&SECRET, Namespace::Username, user.as_str()),
            ),
            ClaimEvent::NameClaimed {
                owner: user.to_string(),
            }
            .into(),
        ),
    }
}

fn recorded(step: u32, stream: StreamId, version: Version, event: Event) -> Recorded {
    Recorded {
        position: Position(step.into()),
        stream,
        version,
        id: uuid::Uuid::from_u128(step.into()),
        at: Timestamp(step.into()),
        clock: None,
        actor: Actor::System,
        correlation: None,
        causation: None,
        origin: None,
        fault: None,
        event,
    }
}

/// Whether an event can happen: decisions see to it.
fn can_happen(model: &WriteModel, stream: &StreamId, event: &Event) -> bool {
    let (user, room) = (UserId::new(stream.key()), RoomId::new(stream.key()));
    match event {
        Event::Account(AccountEvent::UserRegistered { .. }) => !model.knows_account(user.as_str()),
        Event::Account(_) => model.account(&user).is_some(),
        Event::Room(RoomEvent::RoomCreated { details, .. }) => {
            let name = &details.value().unwrap().name;
            !model.knows_room(room.as_str()) && model.room_by_name(name).is_none()
        }
        Event::Room(RoomEvent::MemberJoined { user, .. }) => {
            let room = model.room(&room);
            room.is_some_and(|room| !room.is_member(user)) && model.account(user).is_some()
        }
        Event::Room(RoomEvent::MemberLeft { user }) => {
            let room = model.room(&room);
            room.is_some_and(|room| room.is_member(user))
        }
        Event::Room(_) => model.room(&room).is_some(),
        _ => true,
    }
}

#[test]
fn a_random_story_is_restored_from_saves_of_what_changed() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = WriteModel::empty();
        let mut versions: HashMap<StreamId, u64> = HashMap::new();
        let mut store = Store::new();
        let mut saved: Option<Saved> = None;
        let mut earlier = None;
        for step in 1..=6_000_u32 {
            let (stream, event) = event(&mut random);
            if !can_happen(&model, &stream, &event) {
                continue;
            }
            let version = versions.entry(stream.clone()).or_default();
            *version += 1;
            let entry = recorded(step, stream, Version(*version), event);
            model.advance(&[Arc::new(entry)]);
            if random.random_range(0..300) > 0 && step < 6_000 {
                continue;
            }
            let before = (store.clone(), saved.is_some());
            // Now and then as after a start without what was there.
            let known = saved.take().filter(|_| random.random_range(0..4) > 0);
            let again = save(&mut store, &model, known.as_ref());
            let restored = restore(&store).unwrap();
            assert!(told(&restored) == told(&model), "seed {seed}, step {step}");
            // Whoever goes on from what was restored writes what has changed since, as well.
            saved = Some(Saved {
                model: Arc::new(restored.clone()),
                head: again.head,
            });
            model = restored;
            earlier = Some(before);
        }
        // Not of this save are the records of the one before.
        let (before, true) = earlier.unwrap() else {
            continue;
        };
        for (number, sealed) in before {
            if store[&number] != sealed {
                let mut mixed = store.clone();
                mixed.insert(number, sealed);
                let restored = restore(&mixed);
                let head = number == HEAD;
                assert!(restored.is_err() || head, "seed {seed}, record {number}");
            }
        }
    }
}

#[test]
fn records_of_another_save_on_the_same_one_are_not_taken() {
    let mut random = StdRng::seed_from_u64(1);
    let mut model = WriteModel::empty();
    let mut go_on = |model: &mut WriteModel, steps: u32| {
        for step in 0..steps {
            let (stream, event) = event(&mut random);
            if can_happen(model, &stream, &event) {
                let entry = recorded(step, stream, Version(step.into()), event);
                model.advance(&[Arc::new(entry)]);
            }
        }
    };
    go_on(&mut model, 500);
    let mut store = Store::new();
    let saved = save(&mut store, &model, None);
    let both = [model.clone(), model].map(|mut model| {
        go_on(&mut model, 200);
        let mut store = store.clone();
        save(&mut store, &model, Some(&saved));
        store
    });
    let mut tried = 0;
    for (number, sealed) in &both[0] {
        if *number != HEAD && both[1].get(number).is_some_and(|other| other != sealed) {
            let mut mixed = both[1].clone();
            mixed.insert(*number, sealed.clone());
            assert!(restore(&mixed).is_err(), "record {number}");
            tried += 1;
        }
    }
    assert!(tried > 5);
}
