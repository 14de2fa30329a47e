//! The entries recorded last, in memory, for those who follow the journal at its head.
//!
//! They are open, as nobody has to decrypt what was just written. So what is erased is taken out of
//! them at once.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::event::Entry;
use crate::journal::Batch;
use crate::log::Position;
use crate::seal::Confidential;
use crate::vault::KeyId;

/// How many entries are kept.
const ENTRIES: usize = 8192;

/// How much is kept in bytes, as it stands in the log.
const BYTES: usize = 16 * 1024 * 1024;

/// An entry on its way to those who follow.
#[derive(Debug, Clone)]
pub struct Published {
    pub entry: Arc<Entry>,
    pub weight: Weight,
}

/// What has to be known of an entry beside itself.
#[derive(Debug, Clone, Default)]
pub struct Weight {
    /// The keys of its confidential parts.
    pub keys: Vec<KeyId>,
    /// Its payload as it stands in the log.
    pub bytes: usize,
}

/// What follows a position.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// More than is kept here; the log has it.
    InTheLog,
    /// Nothing so far.
    Nothing,
    Batch(Batch),
}

/// The batches committed last, without a gap: everything after `after`.
#[derive(Debug)]
pub struct Recent {
    after: Position,
    batches: VecDeque<Kept>,
    entries: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    batch: Batch,
    /// Each key with the place of an entry that has a part under it.
    keys: Vec<(KeyId, usize)>,
    bytes: usize,
}

impl Recent {
    /// Keeps what comes after a position.
    pub fn after(position: Position) -> Self {
        Self {
            after: position,
            batches: VecDeque::new(),
            entries: 0,
            bytes: 0,
        }
    }

    /// Adds a batch, and drops the oldest ones that are too much.
    pub fn push(&mut self, published: Vec<Published>) {
        if published.is_empty() {
            return;
        }
        let keys = published.iter().enumerate().flat_map(|(place, published)| {
            let keys = published.weight.keys.iter();
            keys.map(move |key| (*key, place))
        });
        let keys: Vec<_> = keys.collect();
        let bytes = published
            .iter()
            .map(|published| published.weight.bytes + size_of::<Entry>())
            .sum();
        let batch: Batch = published
            .into_iter()
            .map(|published| published.entry)
            .collect();
        self.entries += batch.len();
        self.bytes += bytes;
        self.batches.push_back(Kept { batch, keys, bytes });
        while self.entries > ENTRIES || self.bytes > BYTES {
            let Some(dropped) = self.batches.pop_front() else {
                break;
            };
            self.entries -= dropped.batch.len();
            self.bytes -= dropped.bytes;
            if let Some(last) = dropped.batch.last() {
                self.after = last.position;
            }
        }
    }

    /// The first batch after a position, or its rest.
    pub fn next(&self, after: Position) -> Next {
        if after < self.after {
            return Next::InTheLog;
        }
        let first = self.first_after(after);
        self.batches
            .get(first)
            .map_or(Next::Nothing, |kept| Next::Batch(rest(&kept.batch, after)))
    }

    /// All batches after a position; `None` when that is further back than they reach.
    pub fn since(&self, after: Position) -> Option<Vec<Batch>> {
        if after < self.after {
            return None;
        }
        let batches = self.batches.range(self.first_after(after)..);
        Some(batches.map(|kept| rest(&kept.batch, after)).collect())
    }

    /// Takes out what is sealed under these keys.
    pub fn erase(&mut self, erased: &HashSet<KeyId>) {
        for kept in &mut self.batches {
            let mut places: Vec<usize> = kept
                .keys
                .iter()
                .filter(|(key, _)| erased.contains(key))
                .map(|(_, place)| *place)
                .collect();
            if places.is_empty() {
                continue;
            }
            places.dedup();
            let mut entries = kept.batch.to_vec();
            for place in places {
                entries[place] = Arc::new(without(&entries[place], |key| erased.contains(&key)));
            }
            kept.batch = entries.into();
            kept.keys.retain(|(key, _)| !erased.contains(key));
        }
    }

    fn first_after(&self, after: Position) -> usize {
        self.batches
            .partition_point(|kept| kept.batch.last().is_none_or(|last| last.position <= after))
    }
}

fn rest(batch: &Batch, after: Position) -> Batch {
    match batch.first() {
        Some(first) if first.position > after => batch.clone(),
        _ => batch
            .iter()
            .filter(|entry| entry.position > after)
            .cloned()
            .collect(),
    }
}

/// An entry without the parts under keys that are erased.
pub fn without(entry: &Entry, erased: impl Fn(KeyId) -> bool) -> Entry {
    let mut entry = entry.clone();
    entry.parts(&mut |part| {
        if erased(part.key()) {
            part.erase();
        }
    });
    entry
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::audit::AuditEvent;
    use crate::event::Event;
    use crate::id::Timestamp;
    use crate::log::{Actor, StreamId, Version};
    use crate::seal::Private;

    fn published(position: u64, key: u64, bytes: usize) -> Published {
        let name = Private::new(KeyId(key), "hush".to_owned());
        let entry = Entry {
            position: Position(position),
            stream: StreamId::new("audit", position),
            version: Version(1),
            id: Uuid::nil(),
            at: Timestamp(0),
            clock: None,
            actor: Actor::Anonymous,
            correlation: None,
            causation: None,
            origin: None,
            fault: None,
            event: AuditEvent::UnknownLoginFailed { name }.into(),
        };
        let weight = Weight {
            keys: vec![KeyId(key)],
            bytes,
        };
        Published {
            entry: Arc::new(entry),
            weight,
        }
    }

    fn is_open(entry: &Entry) -> bool {
        let Event::Audit(AuditEvent::UnknownLoginFailed { name }) = &entry.event else {
            panic!("{entry:?}");
        };
        name.value().is_some()
    }

    fn positions(batch: &Batch) -> Vec<u64> {
        batch.iter().map(|entry| entry.position.0).collect()
    }

    #[test]
    fn what_follows_a_position_is_here_or_in_the_log() {
        let mut recent = Recent::after(Position(4));
        recent.push(vec![published(5, 1, 1), published(6, 2, 1)]);
        recent.push(vec![published(9, 3, 1)]);
        let next = |after| match recent.next(Position(after)) {
            Next::Batch(batch) => positions(&batch),
            Next::Nothing => Vec::new(),
            Next::InTheLog => vec![0],
        };
        assert_eq!(next(3), [0]);
        assert_eq!(next(4), [5, 6]);
        assert_eq!(next(5), [6]);
        assert_eq!(next(7), [9]);
        assert!(next(9).is_empty());
        assert_eq!(recent.since(Position(3)), None);
        assert_eq!(recent.since(Position(5)).unwrap().len(), 2);
    }

    #[test]
    fn entries_are_kept_up_to_a_number_and_up_to_so_many_bytes() {
        let mut recent = Recent::after(Position(0));
        for position in 1..=ENTRIES as u64 + 7 {
            recent.push(vec![published(position, 1, 1)]);
        }
        assert_eq!(recent.next(Position(6)), Next::InTheLog);
        assert!(matches!(recent.next(Position(7)), Next::Batch(_)));

        let mut recent = Recent::after(Position(0));
        for position in 1..=40 {
            recent.push(vec![published(position, 1, BYTES / 8)]);
        }
        assert_eq!(recent.next(Position(30)), Next::InTheLog);
        assert!(matches!(recent.next(Position(35)), Next::Batch(_)));
        // What alone is too large is read from the log, too.
        recent.push(vec![published(41, 1, BYTES + 1)]);
        assert_eq!(recent.next(Position(40)), Next::InTheLog);
        assert_eq!(recent.next(Position(41)), Next::Nothing);
    }

    #[test]
    fn what_is_erased_is_taken_out_and_nothing_else() {
        let mut recent = Recent::after(Position(0));
        recent.push(vec![
            published(1, 7, 1),
            published(2, 8, 1),
            published(3, 7, 1),
        ]);
        recent.push(vec![published(4, 7, 1), published(5, 9, 1)]);
        recent.erase(&HashSet::from([KeyId(7)]));
        let kept = recent.since(Position(0)).unwrap().concat();
        let open: Vec<_> = kept.iter().map(|entry| is_open(entry)).collect();
        assert_eq!(open, [false, true, false, false, true]);
    }
}
