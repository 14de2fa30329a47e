//! Which step may be played next: steps of the same lane one after the other, lanes side by side.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Hands out items to any number of workers, in order, at most one of a lane at a time.
///
/// A worker that meets an item of a busy lane leaves it there and takes another one, so all workers
/// stay busy and items start close to their order.
#[derive(Debug)]
pub struct Lanes<K, T, I> {
    items: I,
    /// The lanes that are being worked in, each with the items that wait for it.
    busy: HashMap<K, VecDeque<T>>,
}

impl<K: Copy + Eq + Hash, T, I: Iterator<Item = (K, T)>> Lanes<K, T, I> {
    pub fn new(items: I) -> Self {
        Self {
            items,
            busy: HashMap::new(),
        }
    }

    /// The next item to work on; `done` is the lane of the one just finished. `None`: there is
    /// nothing left for this worker.
    pub fn next(&mut self, done: Option<K>) -> Option<(K, T)> {
        if let Some(lane) = done {
            match self.busy.get_mut(&lane).and_then(VecDeque::pop_front) {
                Some(item) => return Some((lane, item)),
                None => drop(self.busy.remove(&lane)),
            }
        }
        for (lane, item) in self.items.by_ref() {
            if let Some(waiting) = self.busy.get_mut(&lane) {
                waiting.push_back(item);
            } else {
                self.busy.insert(lane, VecDeque::new());
                return Some((lane, item));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_worked_by_one_at_a_time_and_in_order() {
        let mut lanes = Lanes::new([('a', 1), ('a', 2), ('b', 3), ('a', 4), ('c', 5)].into_iter());
        assert_eq!(lanes.next(None), Some(('a', 1)));
        assert_eq!(lanes.next(None), Some(('b', 3)), "2 waits for 1");
        assert_eq!(lanes.next(Some('b')), Some(('c', 5)), "4 waits as well");
        assert_eq!(lanes.next(Some('a')), Some(('a', 2)));
        assert_eq!(lanes.next(Some('c')), None);
        assert_eq!(
            lanes.next(Some('a')),
            Some(('a', 4)),
            "who works in a lane empties it"
        );
        assert_eq!(lanes.next(Some('a')), None);
    }
}
