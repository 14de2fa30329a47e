//! Turns that are taken in order: so many at a time, and of one client one at a time. So many of a client
//! wait for it at most.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Cheap to clone.
#[derive(Debug)]
pub struct Turns<K> {
    all: Arc<Semaphore>,
    /// The line of a client. Whoever waits in it or has its turn holds it, nobody else.
    of: Arc<Mutex<HashMap<K, Weak<Semaphore>>>>,
    waiting: usize,
}

impl<K> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self {
            all: self.all.clone(),
            of: self.of.clone(),
            waiting: self.waiting,
        }
    }
}

/// It lasts until this is dropped.
#[derive(Debug)]
pub struct Turn {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_client: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    pub fn new(at_a_time: usize, waiting: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_a_time)),
            of: Arc::default(),
            waiting,
        }
    }

    /// Waits until it is the client's turn; `None` if enough of it wait.
    pub async fn enter(&self, client: &K) -> Option<Turn> {
        let own = {
            let mut of = self.of.lock();
            of.retain(|_, line| line.strong_count() > 0);
            match of.get(client) {
                Some(line) if line.strong_count() > self.waiting => return None,
                Some(line) => line.upgrade(),
                None => None,
            }
            .unwrap_or_else(|| {
                let line = Arc::new(Semaphore::new(1));
                of.insert(client.clone(), Arc::downgrade(&line));
                line
            })
        };
        // First its own line: it takes no place from others while it waits. Neither is ever closed.
        let of_client = own.acquire_owned().await.ok();
        Some(Turn {
            _of_client: of_client,
            _of_all: self.all.clone().acquire_owned().await.ok(),
        })
    }

    /// How many more could be taken now.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.all.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn so_many_are_taken_at_a_time_and_one_by_a_client() {
        let turns = Turns::new(4, 4);
        let enter = async |client: &'static str| turns.enter(&client).await;
        let first = enter("a").await.unwrap();
        let mut second = Box::pin(enter("a"));
        assert!((&mut second).now_or_never().is_none(), "one for a client");
        let mut others = Vec::new();
        for other in ["b", "c", "d"] {
            others.push(enter(other).await.unwrap());
        }
        let mut late = Box::pin(enter("late"));
        assert!((&mut late).now_or_never().is_none(), "so many altogether");
        drop(first);
        // Who waits in the line of all comes before who has only come to it.
        let late = late.await.unwrap();
        assert!((&mut second).now_or_never().is_none());
        drop(late);
        let second = second.await.unwrap();
        drop((second, others));
        let last = enter("e").await.unwrap();
        assert_eq!(
            turns.of.lock().len(),
            1,
            "nothing is left of those who went"
        );
        drop(last);
        assert_eq!(turns.free(), 4);
    }

    #[tokio::test]
    async fn so_many_of_a_client_wait_and_others_are_told_to_come_again() {
        let (at_a_time, most) = (4, 4);
        let turns = Turns::new(at_a_time, most);
        let enter = |client: &'static str| {
            let turns = turns.clone();
            Box::pin(async move { turns.enter(&client).await })
        };
        let first = enter("a").await.unwrap();
        let mut waiting: Vec<_> = (0..most).map(|_| enter("a")).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none(), "it waits");
        }
        assert!(enter("a").await.is_none(), "enough wait");
        assert!(enter("b").await.is_some(), "whoever else waits");
        // Who goes away leaves its place to another.
        waiting.pop();
        let mut another = enter("a");
        assert!((&mut another).now_or_never().is_none());
        assert!(enter("a").await.is_none());
        drop(first);
        assert!(waiting.remove(0).await.is_some());
    }
}
