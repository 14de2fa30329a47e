//! Identifiers, the time, and the ports that hand them out.
//!
//! Ids are opaque to everything but their maker. Those that Hansard makes are 17 characters of
//! Rocket.Chat's alphabet with the time in front, so that rows and index pages written together lie
//! together; those that clients bring (a message's `_id`) may be anything printable of at most
//! [`MAX_ID`] characters.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{Datelike, Timelike};
use compact_str::CompactString;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The characters of Rocket.Chat's ids: no 0, 1, I, O, l, which people confuse.
pub const ID_ALPHABET: &[u8; 55] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";

/// The longest id taken from a client, in characters.
pub const MAX_ID: usize = 64;

/// An id that a client sent and that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to {MAX_ID} letters, digits, '-', '_', '.', ':' or '|'")]
pub struct InvalidId;

fn check(id: &str) -> Result<(), InvalidId> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:|".contains(&byte);
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(allowed) {
        return Err(InvalidId);
    }
    Ok(())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(CompactString);

        impl $name {
            /// Wraps an id that is known to be one: made here, or read from the log.
            pub fn new(id: impl AsRef<str>) -> Self {
                Self(CompactString::from(id.as_ref()))
            }

            /// Takes an id from outside.
            pub fn parse(id: &str) -> Result<Self, InvalidId> {
                check(id).map(|()| Self::new(id))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self::new(id)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

ids! {
    /// An account: a person, a bot, an app.
    UserId,
    /// A channel, a private group, a direct conversation.
    RoomId,
    /// A message; a client may choose it.
    MessageId,
    /// An incoming or outgoing webhook.
    IntegrationId,
    /// One delivery of an outgoing webhook; derived from what triggered it.
    DeliveryId,
    /// A role, by its `_id` (`admin`, `moderator`, …).
    RoleId,
}

/// Milliseconds since 1970-01-01T00:00Z. What the log and the views store.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest time that a client can name: the first moment of the year 1.
    pub const EARLIEST: Self = Self(-62_135_596_800_000);

    /// The latest time that a client can name: the last millisecond of the year 9999.
    pub const LATEST: Self = Self(253_402_300_799_999);

    /// A time that a client names in milliseconds since 1970; `None` outside of the years 1 to 9999,
    /// where nothing ever happens and dates can't be written.
    pub fn of_millis(millis: i64) -> Option<Self> {
        Some(Self(millis)).filter(|at| (Self::EARLIEST..=Self::LATEST).contains(at))
    }

    /// ISO 8601 in UTC with milliseconds, as Rocket.Chat writes every date:
    /// `2026-01-31T12:00:00.000Z`.
    pub fn iso(self) -> String {
        let time = chrono::DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        let (year, milli) = (time.year(), time.timestamp_subsec_millis());
        if !(0..=9999).contains(&year) {
            return time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        }
        // Each message shows some: chrono's interpreter of formats was 4 % of the CPU of a rebuild.
        let mut iso = *b"0000-00-00T00:00:00.000Z";
        let mut write = |from: usize, digits: usize, mut value: u32| {
            for place in iso[from..from + digits].iter_mut().rev() {
                *place = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        write(0, 4, year as u32);
        write(5, 2, time.month());
        write(8, 2, time.day());
        write(11, 2, time.hour());
        write(14, 2, time.minute());
        write(17, 2, time.second());
        write(20, 3, milli);
        iso.iter().copied().map(char::from).collect()
    }

    /// Reads an ISO 8601 date and time (with an offset), or a date alone (its midnight in UTC), in the
    /// years 1 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let millis = match chrono::DateTime::parse_from_rfc3339(text) {
            Ok(at) => at.timestamp_millis(),
            Err(_) => {
                let date: chrono::NaiveDate = text.parse().ok()?;
                date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()
            }
        };
        Self::of_millis(millis)
    }

    /// So much later, at most as late as a number can say.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// So much earlier, at most as early as a number can say.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// The millisecond after it.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The millisecond before it.
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Whether it is further from another time than a duration, in either direction.
    pub fn is_further_than(self, duration: Duration, from: Self) -> bool {
        u128::from(self.0.abs_diff(from.0)) > duration.as_millis()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Tells the time; a port, so that tests and simulations own it.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// Makes ids and secrets; a port, so that tests and simulations own them.
pub trait Ids: Send + Sync {
    /// 17 characters of [`ID_ALPHABET`]; later ones sort after earlier ones (to the millisecond).
    fn id(&self, now: Timestamp) -> CompactString;

    /// A UUID v7 at `now`.
    fn event_id(&self, now: Timestamp) -> uuid::Uuid;

    /// A secret of `length` characters of [`ID_ALPHABET`], some 5.8 bits each.
    fn secret(&self, length: usize) -> String;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(since.map_or(0, |elapsed| elapsed.as_millis() as i64))
    }
}

/// Ids from the thread's cryptographic generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn id(&self, now: Timestamp) -> CompactString {
        // 8 digits of base 55 hold the milliseconds of 2,600 years; 9 random ones, 52 bits, follow.
        let mut id = [0u8; 17];
        let mut millis = now.0.max(0) as u64;
        for place in id[..8].iter_mut().rev() {
            *place = ID_ALPHABET[(millis % 55) as usize];
            millis /= 55;
        }
        let mut random = rand::rng();
        for place in &mut id[8..] {
            *place = ID_ALPHABET[random.random_range(0..55)];
        }
        CompactString::from_utf8_lossy(&id)
    }

    fn event_id(&self, now: Timestamp) -> uuid::Uuid {
        let random: [u8; 10] = rand::rng().random();
        uuid::Builder::from_unix_timestamp_millis(now.0.max(0) as u64, &random).into_uuid()
    }

    fn secret(&self, length: usize) -> String {
        let mut random = rand::rng();
        (0..length)
            .map(|_| char::from(ID_ALPHABET[random.random_range(0..55)]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let earlier = RandomIds.id(Timestamp(1_700_000_000_000));
        let later = RandomIds.id(Timestamp(1_700_000_000_001));
        assert_eq!(earlier.len(), 17);
        assert!(earlier[..8] < later[..8]);
    }

    #[test]
    fn an_id_from_outside_is_checked() {
        assert!(MessageId::parse("Abc-1_2.3:4|5").is_ok());
        assert_eq!(MessageId::parse(""), Err(InvalidId));
        assert_eq!(MessageId::parse("a b"), Err(InvalidId));
        assert_eq!(MessageId::parse(&"x".repeat(MAX_ID + 1)), Err(InvalidId));
    }

    #[test]
    fn timestamps_read_what_they_write() {
        let at = Timestamp(1_700_000_000_123);
        assert_eq!(at.iso(), "2023-11-14T22:13:20.123Z");
        assert_eq!(Timestamp(-1).iso(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(951_782_400_000).iso(), "2000-02-29T00:00:00.000Z");
        assert_eq!(
            Timestamp(253_402_300_800_000).iso(),
            "+10000-01-01T00:00:00.000Z"
        );
        assert_eq!(Timestamp::parse(&at.iso()), Some(at));
        assert_eq!(Timestamp::parse("1970-01-02"), Some(Timestamp(86_400_000)));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn a_time_that_nobody_can_mean_is_none() {
        for at in [Timestamp::EARLIEST, Timestamp::LATEST] {
            assert_eq!(Timestamp::parse(&at.iso()), Some(at));
            assert_eq!(Timestamp::of_millis(at.0), Some(at));
        }
        for millis in [
            i64::MIN,
            i64::MAX,
            Timestamp::EARLIEST.0 - 1,
            Timestamp::LATEST.0 + 1,
        ] {
            assert_eq!(Timestamp::of_millis(millis), None, "{millis}");
        }
        for text in ["+262142-01-01", "-0001-12-31", "0001-01-01T00:00:00+14:00"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_end_where_numbers_end() {
        let (first, last) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
        assert_eq!((last.next(), first.previous()), (last, first));
        assert_eq!(first.plus(Duration::MAX), Timestamp(-1));
        assert_eq!(last.minus(Duration::MAX), Timestamp(0));
        assert!(last.is_further_than(Duration::from_secs(u64::MAX / 1000), first));
        assert!(!Timestamp(5).is_further_than(Duration::from_millis(3), Timestamp(2)));
    }
}
