//! A persistent hash table: cloning it costs nothing, and a clone that is changed shares with the
//! other whatever both still have in common.
//!
//! The entries stand in small tables of some hundred entries each, and a change copies the one that it
//! concerns. For the write model of a million accounts that takes a third of the memory of a tree of
//! hash nodes (measured with entries of 32 bytes: 50 against 157 bytes each), and a lookup touches
//! two places in memory, whatever the size. The number of small tables grows with the entries by
//! linear hashing: one is split at a time, so that no insertion has to wait for all.
//!
//! A snapshot keeps a table part by part, and of two tables of one origin only the parts that differ,
//! which are told by their addresses. So an entry's part must be the same after a restart: it goes by a
//! hash whose keys are kept with the parts.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use imbl::Vector;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// So many entries a small table has on average before one is split, where nothing else is said.
const CROWDED: usize = 160;

/// The keys of the hash that a table's entries are placed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HashKeys(u64, u64);

impl HashKeys {
    fn random() -> Self {
        Self(rand::random(), rand::random())
    }
}

impl BuildHasher for HashKeys {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// See the module. `SIZE` entries a small table has on average before one is split.
#[derive(Clone)]
pub(crate) struct Table<K: Clone, V: Clone, const SIZE: usize = CROWDED> {
    /// At least one, once there is an entry.
    parts: Vector<Arc<HashTable<(K, V)>>>,
    len: usize,
    hasher: HashKeys,
}

impl<K: Clone, V: Clone, const SIZE: usize> Default for Table<K, V, SIZE> {
    fn default() -> Self {
        Self {
            parts: Vector::new(),
            len: 0,
            hasher: HashKeys::random(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone, const SIZE: usize> Table<K, V, SIZE> {
    /// Puts a table together again from what [`Self::hash_keys`] and [`Self::part`] told of it. `None` if
    /// an entry is in another part than its own.
    pub fn restore(hasher: HashKeys, parts: Vec<Vec<(K, V)>>) -> Option<Self> {
        let (count, mut len) = (parts.len(), 0);
        let mut restored = Vector::new();
        for (number, entries) in parts.into_iter().enumerate() {
            let mut part = HashTable::with_capacity(entries.len());
            len += entries.len();
            for entry in entries {
                let hash = hasher.hash_one(&entry.0);
                if place(hash, count) != Some(number) {
                    return None;
                }
                part.insert_unique(hash, entry, |(known, _)| hasher.hash_one(known));
            }
            restored.push_back(Arc::new(part));
        }
        Some(Self {
            parts: restored,
            len,
            hasher,
        })
    }

    pub fn hash_keys(&self) -> HashKeys {
        self.hasher
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The entries of a part, in no order.
    pub fn part(&self, number: usize) -> impl Iterator<Item = (&K, &V)> {
        let part = self.parts.get(number).into_iter();
        part.flat_map(|part| part.iter().map(|(key, value)| (key, value)))
    }

    /// The numbers of the parts that are not those of an earlier state of the same table; all, if there is
    /// none.
    pub fn changed(&self, earlier: Option<&Self>) -> Vec<usize> {
        let before = earlier.filter(|earlier| earlier.hasher == self.hasher);
        let changed = self.parts.iter().enumerate().filter(|(number, part)| {
            let before = before.and_then(|before| before.parts.get(*number));
            !before.is_some_and(|before| Arc::ptr_eq(part, before))
        });
        changed.map(|(number, _)| number).collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let part = self.parts.get(place(hash, self.parts.len())?)?;
        let (_, value) = part.find(hash, |(known, _)| known.borrow() == key)?;
        Some(value)
    }

    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(key).is_some()
    }

    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        // Looked up first: a table is not copied for what is not in it.
        self.get(key)?;
        let hash = self.hasher.hash_one(key);
        let part = Arc::make_mut(self.parts.get_mut(place(hash, self.parts.len())?)?);
        let (_, value) = part.find_mut(hash, |(known, _)| known.borrow() == key)?;
        Some(value)
    }

    /// The value of a key, which is the default one if there was none.
    pub fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let (entry, len) = self.entry(&key);
        let entry = match entry {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                *len += 1;
                entry.insert((key, V::default()))
            }
        };
        &mut entry.into_mut().1
    }

    /// Answers what stood there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (entry, len) = self.entry(&key);
        match entry {
            Entry::Occupied(entry) => Some(std::mem::replace(&mut entry.into_mut().1, value)),
            Entry::Vacant(entry) => {
                entry.insert((key, value));
                *len += 1;
                None
            }
        }
    }

    /// Where a key stands, or is to stand, in a part of this table's own; and the number of entries, for
    /// whoever adds one.
    fn entry(&mut self, key: &K) -> (Entry<'_, (K, V)>, &mut usize) {
        self.grow();
        let hasher = self.hasher;
        let hash = hasher.hash_one(key);
        let place = place(hash, self.parts.len()).unwrap_or_default();
        let part = Arc::make_mut(&mut self.parts[place]);
        let entry = part.entry(
            hash,
            |(known, _)| known == key,
            |(known, _)| hasher.hash_one(known),
        );
        (entry, &mut self.len)
    }

    /// Answers what stood there.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(key)?;
        let hash = self.hasher.hash_one(key);
        let part = Arc::make_mut(self.parts.get_mut(place(hash, self.parts.len())?)?);
        let found = part.find_entry(hash, |(known, _)| known.borrow() == key);
        let ((_, value), _) = found.ok()?.remove();
        self.len -= 1;
        Some(value)
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let parts = self.parts.iter().flat_map(|part| part.iter());
        parts.map(|(key, value)| (key, value))
    }

    /// Makes room for one more entry.
    fn grow(&mut self) {
        if self.parts.is_empty() {
            self.parts.push_back(Arc::default());
        }
        if self.len < self.parts.len() * SIZE {
            return;
        }
        // The next one in turn gives the entries away whose place is the new one.
        let new = self.parts.len();
        let from = new - half(new + 1);
        let mut stay = HashTable::new();
        let mut go = HashTable::new();
        let hasher = &self.hasher;
        let hash = |entry: &(K, V)| hasher.hash_one(&entry.0);
        for entry in self.parts[from].iter() {
            let number = hash(entry);
            let part = match place(number, new + 1) {
                Some(place) if place == new => &mut go,
                _ => &mut stay,
            };
            part.insert_unique(number, entry.clone(), hash);
        }
        self.parts.set(from, Arc::new(stay));
        self.parts.push_back(Arc::new(go));
    }
}

/// The greatest power of two below a number, which is 2 or more.
fn half(number: usize) -> usize {
    1 << (usize::BITS - 1 - (number - 1).leading_zeros())
}

/// Which of so many parts an entry is in.
fn place(hash: u64, parts: usize) -> Option<usize> {
    match parts {
        0 => None,
        1 => Some(0),
        _ => {
            // Other bits than the ones that a small table goes by.
            let number = (hash >> 16) as usize;
            let half = half(parts);
            let place = number & (half * 2 - 1);
            Some(if place < parts { place } else { place - half })
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone, const SIZE: usize> FromIterator<(K, V)> for Table<K, V, SIZE> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut table = Self::default();
        table.extend(entries);
        table
    }
}

impl<K: Clone + Eq + Hash, V: Clone, const SIZE: usize> Extend<(K, V)> for Table<K, V, SIZE> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Clone, V: Clone, const SIZE: usize> std::fmt::Debug for Table<K, V, SIZE> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} entries)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn entries(table: &Table<u32, u64>) -> HashMap<u32, u64> {
        table.iter().map(|(key, value)| (*key, *value)).collect()
    }

    #[test]
    fn a_random_story_ends_as_in_a_plain_map_and_earlier_clones_stay_as_they_were() {
        for seed in 0..20 {
            let mut random = StdRng::seed_from_u64(seed);
            let keys = [10, 1_000, 50_000][seed as usize % 3];
            let mut table = Table::default();
            let mut model: HashMap<u32, u64> = HashMap::new();
            let mut kept = Vec::new();
            for step in 0..20_000_u64 {
                let key = random.random_range(0..keys);
                match random.random_range(0..10) {
                    0..5 => assert_eq!(table.insert(key, step), model.insert(key, step)),
                    5 => {
                        *table.get_or_default(key) += 1;
                        *model.entry(key).or_default() += 1;
                    }
                    6 => {
                        if let Some(value) = table.get_mut(&key) {
                            *value = step;
                        }
                        model.entry(key).and_modify(|value| *value = step);
                    }
                    7 => assert_eq!(table.remove(&key), model.remove(&key)),
                    _ => assert_eq!(table.get(&key), model.get(&key)),
                }
                assert_eq!(table.len(), model.len());
                if step % 4_000 == 0 {
                    kept.push((table.clone(), model.clone()));
                }
            }
            kept.push((table.clone(), model));
            for (table, model) in &kept {
                assert_eq!(&entries(table), model, "seed {seed}");
            }
            for pair in kept.windows(2) {
                assert_changes(&pair[0].0, &pair[1].0);
            }
        }
    }

    /// The parts that are said to have changed, put over the earlier ones, make the later table.
    fn assert_changes(earlier: &Table<u32, u64>, later: &Table<u32, u64>) {
        let entries_of = |table: &Table<u32, u64>, part| -> Vec<(u32, u64)> {
            let entries = table.part(part);
            entries.map(|(key, value)| (*key, *value)).collect()
        };
        let mut parts: Vec<_> = (0..earlier.parts())
            .map(|part| entries_of(earlier, part))
            .collect();
        parts.resize(later.parts(), Vec::new());
        for part in later.changed(Some(earlier)) {
            parts[part] = entries_of(later, part);
        }
        let made = Table::restore(later.hash_keys(), parts).unwrap();
        assert_eq!(entries(&made), entries(later));
        assert_eq!(made.len(), later.len());
        for key in later.iter().map(|(key, _)| key) {
            assert_eq!(made.get(key), later.get(key));
        }
        assert!(later.changed(Some(later)).is_empty());
    }

    #[test]
    fn a_table_is_not_put_together_from_parts_that_are_not_its_own() {
        let table: Table<u32, u64> = (0..1_000).map(|key| (key, 1)).collect();
        let parts = || -> Vec<Vec<(u32, u64)>> {
            let parts = (0..table.parts()).map(|part| table.part(part));
            parts
                .map(|part| part.map(|(key, value)| (*key, *value)).collect())
                .collect()
        };
        assert!(Table::<_, _>::restore(table.hash_keys(), parts()).is_some());
        let mut swapped = parts();
        swapped.swap(0, 1);
        assert!(Table::<_, _>::restore(table.hash_keys(), swapped).is_none());
        let other = Table::<u32, u64>::default().hash_keys();
        assert!(Table::<_, _>::restore(other, parts()).is_none());
    }

    #[test]
    fn every_place_is_one_of_the_parts_and_few_entries_move_when_there_is_one_more() {
        for parts in 1..300 {
            for hash in (0..2_000_u64).map(|number| number << 16) {
                let now = place(hash, parts).unwrap();
                assert!(now < parts);
                let then = place(hash, parts + 1).unwrap();
                assert!(
                    then == now || then == parts,
                    "{now} of {parts}, then {then}"
                );
            }
        }
    }
}
