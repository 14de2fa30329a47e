//! Interned ids: the two ends of a membership are numbers in memory, as there are millions of them.
//!
//! A number is made when an id is met for the first time, and means that id as long as the process
//! lives. So only ids that the log holds, or is about to, may be interned: whoever could intern what
//! requests say could fill the memory. Numbers differ from process to process, and leave it never.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};

/// Parts of the table, so that threads seldom wait for one another.
const PARTS: usize = 16;

pub static USERS: LazyLock<Interner> = LazyLock::new(Interner::new);
pub static ROOMS: LazyLock<Interner> = LazyLock::new(Interner::new);

/// Texts and their numbers, dense from 0. See the module.
pub struct Interner {
    texts: boxcar::Vec<Box<str>>,
    parts: [RwLock<HashTable<u32>>; PARTS],
    /// Held while a text is added, so that there are never numbers without a text below others.
    adding: Mutex<()>,
    hasher: RandomState,
}

impl Interner {
    fn new() -> Self {
        Self {
            texts: boxcar::Vec::new(),
            parts: std::array::from_fn(|_| RwLock::new(HashTable::new())),
            adding: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// The number of a text that was interned.
    pub fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        let part = self.part(hash).read();
        part.find(hash, |number| self.text(*number) == text)
            .copied()
    }

    /// The number of a text, from now on if it had none.
    pub fn intern(&self, text: &str) -> u32 {
        if let Some(number) = self.find(text) {
            return number;
        }
        let hash = self.hasher.hash_one(text);
        let mut part = self.part(hash).write();
        if let Some(number) = part.find(hash, |number| self.text(*number) == text) {
            return *number;
        }
        // Four billion ids would take more memory than there is.
        let number = {
            let _alone = self.adding.lock();
            self.texts.push(text.into()) as u32
        };
        part.insert_unique(hash, number, |number| {
            self.hasher.hash_one(self.text(*number))
        });
        number
    }

    /// The text of a number that was given out here.
    pub fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }

    /// So many texts have numbers: those from 0 to below it.
    pub fn count(&self) -> usize {
        // One that is being added is counted before it is there.
        let _alone = self.adding.lock();
        self.texts.count()
    }

    fn part(&self, hash: u64) -> &RwLock<HashTable<u32>> {
        // Other bits than those that choose a place within the part.
        &self.parts[(hash >> 32) as usize % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number_whoever_asks_first() {
        let interner = Interner::new();
        let texts: Vec<_> = (0..5_000).map(|number| format!("id-{number}")).collect();
        let given: Vec<Vec<u32>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| texts.iter().map(|text| interner.intern(text)).collect()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        for numbers in &given {
            assert_eq!(numbers, &given[0]);
        }
        for (text, number) in texts.iter().zip(&given[0]) {
            assert_eq!(interner.text(*number), text);
            assert_eq!(interner.find(text), Some(*number));
        }
        assert_eq!(interner.find("somebody else"), None);
    }
}
