//! How long a peer may keep us waiting for bytes that it sends or takes.

use std::time::{Duration, Instant};

/// The slowest that counts as moving at all: bytes a second.
const SLOWEST: u32 = 1024;

/// What a peer owes of the time it made us wait. Bytes that move pay for it, at [`SLOWEST`]; more than
/// the debt is never paid, so nobody sends a lot in order to be slow afterwards.
#[derive(Debug)]
pub struct Pace {
    patience: Duration,
    owed: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            owed: Duration::ZERO,
            waiting_since: None,
        }
    }

    /// We have to wait. Answers when patience is at an end, if nothing moves until then.
    pub fn wait(&mut self) -> Instant {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        since + self.patience.saturating_sub(self.owed)
    }

    /// Bytes moved.
    pub fn moved(&mut self, bytes: usize) {
        if let Some(since) = self.waiting_since.take() {
            self.owed += since.elapsed();
        }
        if !self.owed.is_zero() {
            let worth = Duration::from_secs(bytes as u64) / SLOWEST;
            self.owed = self.owed.saturating_sub(worth);
        }
    }

    /// Whether the wait has ended, or none was needed, and nothing is owed.
    pub fn is_even(&self) -> bool {
        self.waiting_since.is_none() && self.owed.is_zero()
    }

    /// Whether patience is at an end.
    pub fn is_over(&self) -> bool {
        let waited = self.waiting_since.map(|since| since.elapsed());
        self.owed + waited.unwrap_or_default() >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pace whose peer has kept us waiting for so long.
    fn after(seconds: u64) -> Pace {
        let mut pace = Pace::new(Duration::from_secs(10));
        let since = Instant::now().checked_sub(Duration::from_secs(seconds));
        pace.waiting_since = Some(since.unwrap());
        pace
    }

    #[test]
    fn silence_ends_patience() {
        assert!(!after(9).is_over());
        assert!(after(10).is_over());
    }

    #[test]
    fn bytes_pay_for_the_time_they_took() {
        let mut slow = after(6);
        slow.moved(1);
        slow.waiting_since = after(6).waiting_since;
        assert!(slow.is_over(), "a byte in six seconds is not worth it");

        let mut fast = after(6);
        fast.moved(6 * 1024 + 1024);
        assert!(fast.is_even());
        fast.waiting_since = after(6).waiting_since;
        assert!(!fast.is_over());
    }

    #[test]
    fn bytes_that_come_one_by_one_are_worth_as_much() {
        let mut pace = after(6);
        for _ in 0..7 * 1024 {
            pace.moved(1);
        }
        assert!(pace.is_even());
    }

    #[test]
    fn nobody_pays_ahead() {
        let mut pace = after(1);
        pace.moved(1 << 30);
        pace.waiting_since = after(10).waiting_since;
        assert!(pace.is_over());
    }
}
