//! The records that a snapshot consists of: a head, the ids of the users by their numbers, and the parts
//! of the write model's large tables.
//!
//! Each is sealed under a key of its save, which the head names, so that no record of an earlier save
//! passes for one of this. What is in a record can be read only if its version is this one's.

use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use hansard_domain::account::Account;
use hansard_domain::claim::ClaimKey;
use hansard_domain::id::{DeliveryId, IntegrationId, RoleId, RoomId, Timestamp, UserId};
use hansard_domain::integration::{Delivery, Integration};
use hansard_domain::intern::USERS;
use hansard_domain::keyed;
use hansard_domain::log::{Place, Position, Version};
use hansard_domain::members::Members;
use hansard_domain::role::{Permission, Role};
use hansard_domain::room::Room;
use hansard_domain::seal::{decrypt_bytes, encrypt_bytes};
use hansard_domain::setting::Setting;
use hansard_domain::vault::{DataKey, KeyId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::left::{Left, LeftRow, Places};
use crate::model::{GoneAccount, GoneRoom, Held, Versioned, WriteModel};
use crate::room_times::RoomTimes;
use crate::state::Records;
use crate::table::{HashKeys, Table};

/// Changes with the shape of any aggregate; a snapshot of another number is not read.
const VERSION: u32 = 14;

/// Ids of users in one record.
const IDS: usize = 4_096;

/// Bytes of records that are handed on together, about.
const TOGETHER: usize = 1 << 20;

/// Associated data of the head's ciphertext, and of the other records'.
const HEAD_CONTEXT: &[u8] = b"hansard snapshot head";
const CONTEXT: &[u8] = b"hansard snapshot";

/// What the records of a snapshot hold. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
enum Kind {
    Users = 1,
    Accounts = 2,
    GoneAccounts = 3,
    Rooms = 4,
    GoneRooms = 5,
    // 6 was what members keep about rooms.
    Claims = 7,
    Left = 8,
}

/// The number of a record: its kind, and its place among those. The head's is 0.
pub(super) const HEAD: u64 = 0;
const PLACES: u32 = 40;

/// The records that tell the ids of the users.
pub(super) const OF_USERS: Range<u64> = of(Kind::Users);
/// All others but the head.
pub(super) const OF_TABLES: Range<u64> = OF_USERS.end..u64::MAX >> 1;

const fn of(kind: Kind) -> Range<u64> {
    (kind as u64) << PLACES..(kind as u64 + 1) << PLACES
}

impl Kind {
    fn number(self, place: usize) -> u64 {
        of(self).start + place as u64
    }

    fn from_number(number: u64) -> Option<(Self, usize)> {
        let kind = match number >> PLACES {
            1 => Self::Users,
            2 => Self::Accounts,
            3 => Self::GoneAccounts,
            4 => Self::Rooms,
            5 => Self::GoneRooms,
            7 => Self::Claims,
            8 => Self::Left,
            _ => return None,
        };
        Some((kind, (number - of(kind).start) as usize))
    }
}

/// A table of the write model in a snapshot: how entries are placed, and which save each part is of.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parts {
    keys: HashKeys,
    saves: Vec<u64>,
}

type Rows<K, A> = Vec<(K, Arc<Versioned<A>>)>;

/// The record that makes the others a snapshot.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Head {
    pub place: Place,
    /// The highest number of a key that the log names up to here, or a higher one.
    pub highest_key: KeyId,
    /// A random number for this save. One that was counted could come twice, where an older file is put back.
    save: u64,
    newest: Timestamp,
    room_times: RoomTimes,
    workspace_id: Option<String>,
    writer: Option<String>,
    roles: Rows<RoleId, Role>,
    permissions: Rows<String, Permission>,
    settings: Rows<String, Setting>,
    integrations: Rows<IntegrationId, Integration>,
    deliveries: Rows<DeliveryId, Delivery>,
    queued: Position,
    saved: Vec<(IntegrationId, Position)>,
    turned: Vec<(RoomId, Position)>,
    /// So many ids of users there are, and which save each record of them is of.
    user_count: usize,
    users: Vec<u64>,
    accounts: Parts,
    gone_accounts: Parts,
    rooms: Parts,
    gone_rooms: Parts,
    claims: Parts,
    left: Parts,
}

/// A room, its members apart: by their numbers in this snapshot, and since when, four bytes each.
#[derive(Serialize, Deserialize)]
struct RoomRow(RoomId, Version, Room, ByteBuf);

/// What can't be written, or is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(&'static str);

impl Unfit {
    pub const TORN: Self = Self("its records are not all there, or not those of its head");
    /// Who was to take the records has gone.
    pub const GIVEN_UP: Self = Self("it was given up");
    const NOT_SEALED: Self = Self("a record can't be sealed");
}

fn rows<'a, K: Clone + 'a, A: 'a>(
    live: impl IntoIterator<Item = (&'a K, &'a Arc<Versioned<A>>)>,
) -> Rows<K, A> {
    live.into_iter()
        .map(|(id, aggregate)| (id.clone(), aggregate.clone()))
        .collect()
}

fn pack(value: &impl Serialize) -> Result<Vec<u8>, Unfit> {
    rmp_serde::to_vec(value).map_err(|_| Unfit("a record can't be written"))
}

fn unpack<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unfit> {
    rmp_serde::from_slice(bytes).map_err(|_| Unfit("a record can't be read"))
}

fn key_of_save(secret: &DataKey, save: u64) -> DataKey {
    keyed::derive(secret, "snapshot", &save.to_string())
}

/// What a record is bound to besides its save: its number.
fn context(number: u64) -> Vec<u8> {
    [CONTEXT, &number.to_le_bytes()].concat()
}

/// The state that was saved, and the head that was written for it.
pub(super) struct Saved {
    pub model: Arc<WriteModel>,
    pub head: Head,
}

/// Writes what has changed since an earlier save.
pub(super) struct Writer<'a, F> {
    secret: &'a DataKey,
    key: DataKey,
    save: u64,
    /// Takes the records on.
    hand_on: F,
    waiting: Records,
    bytes: usize,
}

impl<'a, F: FnMut(Records) -> Result<(), Unfit>> Writer<'a, F> {
    pub fn new(secret: &'a DataKey, hand_on: F) -> Self {
        let save = rand::random();
        Self {
            secret,
            key: key_of_save(secret, save),
            save,
            hand_on,
            waiting: Records::new(),
            bytes: 0,
        }
    }

    /// Hands on all records that differ from those of the earlier save, the head last.
    pub fn write(
        mut self,
        model: &WriteModel,
        highest_key: KeyId,
        before: Option<&Saved>,
    ) -> Result<Head, Unfit> {
        // Whoever came since the model was made is in none of its rooms.
        let user_count = USERS.count();
        let users = self.users(user_count, before.map(|before| &before.head))?;
        macro_rules! parts {
            ($kind:ident, $name:ident, $row:expr) => {
                parts!($kind, $name, |model| &model.$name, $row)
            };
            ($kind:ident, $name:ident, |$model:ident| $table:expr, $row:expr) => {{
                let table: fn(&WriteModel) -> &_ = |$model| $table;
                let earlier = before.map(|before| (table(&before.model), &before.head.$name));
                self.parts(Kind::$kind, table(model), earlier, $row)?
            }};
        }
        let head = Head {
            place: model.place,
            highest_key,
            save: self.save,
            newest: model.newest,
            room_times: model.room_times.clone(),
            workspace_id: model.workspace_id.clone(),
            writer: model.writer.clone(),
            roles: rows(&model.roles),
            permissions: rows(&model.permissions),
            settings: rows(&model.settings),
            integrations: rows(&model.integrations),
            deliveries: rows(&model.deliveries),
            queued: model.queued,
            saved: model.saved.clone().into_iter().collect(),
            turned: model.turned.clone().into_iter().collect(),
            user_count,
            users,
            accounts: parts!(Accounts, accounts, |id, account| (
                id.clone(),
                account.clone()
            )),
            gone_accounts: parts!(GoneAccounts, gone_accounts, |id, gone| (id.clone(), *gone)),
            rooms: parts!(Rooms, rooms, |id, room| RoomRow(
                id.clone(),
                room.version,
                room.state.without_members(),
                ByteBuf::from(room.members.to_bytes()),
            )),
            gone_rooms: parts!(GoneRooms, gone_rooms, |id, gone| (id.clone(), *gone)),
            claims: parts!(Claims, claims, |key, held| (*key, held.clone())),
            left: parts!(Left, left, |model| model.left.table(), Left::row),
        };
        let plain = [&VERSION.to_le_bytes()[..], &pack(&head)?].concat();
        let sealed = encrypt_bytes(self.secret, &plain, HEAD_CONTEXT).ok_or(Unfit::NOT_SEALED)?;
        self.waiting.push((HEAD, sealed));
        self.flush()?;
        Ok(head)
    }

    fn users(&mut self, count: usize, before: Option<&Head>) -> Result<Vec<u64>, Unfit> {
        let mut saves = before.map_or_else(Vec::new, |before| before.users.clone());
        let known = before.map_or(0, |before| before.user_count);
        // The last record that there was may have room for more.
        for place in known / IDS..count.div_ceil(IDS) {
            let numbers = place * IDS..count.min((place + 1) * IDS);
            let ids: Vec<&str> = numbers.map(|number| USERS.text(number as u32)).collect();
            self.put(Kind::Users.number(place), &ids)?;
            saves.truncate(place);
            saves.push(self.save);
        }
        Ok(saves)
    }

    fn parts<K, V, R, const SIZE: usize>(
        &mut self,
        kind: Kind,
        table: &Table<K, V, SIZE>,
        earlier: Option<(&Table<K, V, SIZE>, &Parts)>,
        row: impl Fn(&K, &V) -> R,
    ) -> Result<Parts, Unfit>
    where
        K: Clone + Eq + Hash,
        V: Clone,
        R: Serialize,
    {
        let keys = table.hash_keys();
        let mut saves = earlier
            .filter(|(_, parts)| parts.keys == keys)
            .map_or_else(Vec::new, |(_, parts)| parts.saves.clone());
        saves.resize(table.parts(), self.save);
        for place in table.changed(earlier.map(|(table, _)| table)) {
            let rows: Vec<R> = table
                .part(place)
                .map(|(key, value)| row(key, value))
                .collect();
            self.put(kind.number(place), &rows)?;
            saves[place] = self.save;
        }
        Ok(Parts { keys, saves })
    }

    fn put(&mut self, number: u64, content: &impl Serialize) -> Result<(), Unfit> {
        let sealed =
            encrypt_bytes(&self.key, &pack(content)?, &context(number)).ok_or(Unfit::NOT_SEALED)?;
        self.bytes += sealed.len();
        self.waiting.push((number, sealed));
        if self.bytes >= TOGETHER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Unfit> {
        self.bytes = 0;
        (self.hand_on)(std::mem::take(&mut self.waiting))
    }
}

impl Head {
    /// Reads the record `HEAD`.
    pub fn read(secret: &DataKey, sealed: &[u8]) -> Result<Self, Unfit> {
        let plain = decrypt_bytes(secret, sealed, HEAD_CONTEXT)
            .ok_or(Unfit("it is damaged, or sealed under another key"))?;
        let (version, content) = plain.split_first_chunk().ok_or(Unfit::TORN)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Unfit("it is of another version"));
        }
        unpack(content)
    }

    /// The plain content of a record that is not the head.
    pub fn reveal(&self, secret: &DataKey, number: u64, sealed: &[u8]) -> Result<Vec<u8>, Unfit> {
        self.open(secret, number, sealed).map(|(.., plain)| plain)
    }

    fn open(
        &self,
        secret: &DataKey,
        number: u64,
        sealed: &[u8],
    ) -> Result<(Kind, usize, Vec<u8>), Unfit> {
        let (kind, place) = Kind::from_number(number).ok_or(Unfit::TORN)?;
        let saves = match kind {
            Kind::Users => &self.users,
            Kind::Accounts => &self.accounts.saves,
            Kind::GoneAccounts => &self.gone_accounts.saves,
            Kind::Rooms => &self.rooms.saves,
            Kind::GoneRooms => &self.gone_rooms.saves,
            Kind::Claims => &self.claims.saves,
            Kind::Left => &self.left.saves,
        };
        let key = key_of_save(secret, *saves.get(place).ok_or(Unfit::TORN)?);
        let plain = decrypt_bytes(&key, sealed, &context(number)).ok_or(Unfit::TORN)?;
        Ok((kind, place, plain))
    }
}

/// What a record holds, read.
enum Read {
    Accounts(Rows<UserId, Account>),
    GoneAccounts(Vec<(UserId, GoneAccount)>),
    Rooms(Rows<RoomId, Room>),
    GoneRooms(Vec<(RoomId, GoneRoom)>),
    Claims(Vec<(ClaimKey, Held)>),
    Left(Vec<LeftRow>),
}

/// The numbers in this process of the users, by those that they have in a snapshot.
pub(super) struct Numbers(Vec<u32>);

impl Numbers {
    /// From the records that tell of them, in their order.
    pub fn read(head: &Head, secret: &DataKey, records: Records) -> Result<Self, Unfit> {
        let mut numbers = Vec::with_capacity(head.user_count);
        for (expected, (number, sealed)) in records.into_iter().enumerate() {
            let (kind, place, plain) = head.open(secret, number, &sealed)?;
            if kind != Kind::Users || place != expected {
                return Err(Unfit::TORN);
            }
            let ids: Vec<&str> = unpack(&plain)?;
            numbers.extend(ids.into_iter().map(|id| USERS.intern(id)));
        }
        if numbers.len() != head.user_count {
            return Err(Unfit::TORN);
        }
        Ok(Self(numbers))
    }

    /// Whether everybody has the number that it had.
    pub fn are_the_same(&self) -> bool {
        (0..).zip(&self.0).all(|(before, now)| before == *now)
    }
}

/// Some records, read.
pub(super) struct Page(Vec<(usize, Read)>);

impl Page {
    pub fn read(
        head: &Head,
        numbers: &Numbers,
        secret: &DataKey,
        records: Records,
    ) -> Result<Self, Unfit> {
        let read = records.into_iter().map(|(number, sealed)| {
            let (kind, place, plain) = head.open(secret, number, &sealed)?;
            let read = match kind {
                Kind::Users => return Err(Unfit::TORN),
                Kind::Accounts => Read::Accounts(unpack(&plain)?),
                Kind::GoneAccounts => Read::GoneAccounts(unpack(&plain)?),
                Kind::Rooms => Read::Rooms(rooms(unpack(&plain)?, numbers)?),
                Kind::GoneRooms => Read::GoneRooms(unpack(&plain)?),
                Kind::Claims => Read::Claims(unpack(&plain)?),
                Kind::Left => Read::Left(unpack(&plain)?),
            };
            Ok((place, read))
        });
        read.collect::<Result<_, _>>().map(Self)
    }
}

fn rooms(rows: Vec<RoomRow>, numbers: &Numbers) -> Result<Rows<RoomId, Room>, Unfit> {
    let rows = rows
        .into_iter()
        .map(|RoomRow(id, version, mut state, members)| {
            let number = |before: u32| numbers.0.get(before as usize).copied();
            state.members = Members::from_bytes(&members, number).ok_or(Unfit::TORN)?;
            Ok((id, Arc::new(Versioned { version, state })))
        });
    rows.collect()
}

/// A table of which the parts come one by one.
struct Coming<K, V>(Vec<Option<Vec<(K, V)>>>);

impl<K: Clone + Eq + Hash, V: Clone> Coming<K, V> {
    fn of(parts: &Parts) -> Self {
        Self(parts.saves.iter().map(|_| None).collect())
    }

    fn put(&mut self, place: usize, entries: Vec<(K, V)>) {
        // Its place is one of the head's: else it could not have been opened.
        if let Some(part) = self.0.get_mut(place) {
            *part = Some(entries);
        }
    }

    fn whole<const SIZE: usize>(self, parts: &Parts) -> Result<Table<K, V, SIZE>, Unfit> {
        let whole: Option<Vec<_>> = self.0.into_iter().collect();
        Table::restore(parts.keys, whole.ok_or(Unfit::TORN)?).ok_or(Unfit::TORN)
    }
}

/// A write model of which the records come one by one.
pub(super) struct Restoring {
    accounts: Coming<UserId, Arc<Versioned<Account>>>,
    gone_accounts: Coming<UserId, GoneAccount>,
    rooms: Coming<RoomId, Arc<Versioned<Room>>>,
    gone_rooms: Coming<RoomId, GoneRoom>,
    claims: Coming<ClaimKey, Held>,
    left: Coming<UserId, Places>,
}

impl Restoring {
    pub fn of(head: &Head) -> Self {
        Self {
            accounts: Coming::of(&head.accounts),
            gone_accounts: Coming::of(&head.gone_accounts),
            rooms: Coming::of(&head.rooms),
            gone_rooms: Coming::of(&head.gone_rooms),
            claims: Coming::of(&head.claims),
            left: Coming::of(&head.left),
        }
    }

    pub fn take(&mut self, page: Page) {
        for (place, read) in page.0 {
            match read {
                Read::Accounts(rows) => self.accounts.put(place, rows),
                Read::GoneAccounts(rows) => self.gone_accounts.put(place, rows),
                Read::Rooms(rows) => self.rooms.put(place, rows),
                Read::GoneRooms(rows) => self.gone_rooms.put(place, rows),
                Read::Claims(rows) => self.claims.put(place, rows),
                Read::Left(rows) => {
                    let entries = rows.into_iter().map(Left::entry);
                    self.left.put(place, entries.collect());
                }
            }
        }
    }

    /// The write model that was saved.
    pub fn finish(self, head: &Head) -> Result<WriteModel, Unfit> {
        // Defaults first, so that what a newer version of Hansard adds to them is there.
        let mut model = WriteModel::empty();
        model.place = head.place;
        model.newest = head.newest;
        model.room_times = head.room_times.clone();
        model.workspace_id.clone_from(&head.workspace_id);
        model.writer.clone_from(&head.writer);
        model.roles.extend(head.roles.clone());
        model.permissions.extend(head.permissions.clone());
        model.settings = head.settings.iter().cloned().collect();
        model.integrations = head.integrations.iter().cloned().collect();
        model.deliveries = head.deliveries.iter().cloned().collect();
        model.queued = head.queued;
        model.saved = head.saved.iter().cloned().collect();
        model.turned = head.turned.iter().cloned().collect();
        model.accounts = self.accounts.whole(&head.accounts)?;
        model.gone_accounts = self.gone_accounts.whole(&head.gone_accounts)?;
        model.rooms = self.rooms.whole(&head.rooms)?;
        model.gone_rooms = self.gone_rooms.whole(&head.gone_rooms)?;
        model.claims = self.claims.whole(&head.claims)?;
        model.left = Left::restore(self.left.whole(&head.left)?);
        model.index_all();
        Ok(model)
    }
}

#[cfg(test)]
mod tests;
