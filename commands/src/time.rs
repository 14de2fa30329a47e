//! The time of the log: what events are recorded at.

use std::sync::Arc;
use std::time::Duration;

use hansard_domain::id::{Clock, Timestamp};

/// How far times may be ahead of the clock so that no two batches have the same. Those of messages may
/// be ahead of these.
const LEAD_MILLIS: i64 = 250;

/// A clock that is behind the log by more is told of in the server's output.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// A clock that stays behind is told of again so much later.
const TELL_AGAIN_MILLIS: i64 = 60_000;

/// When something is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub at: Timestamp,
    /// What the node's clock says, while it is behind the log.
    pub clock: Option<Timestamp>,
}

/// Makes times that never fall along the log: those of the node's clock, as long as it is not behind
/// what stands in the log already.
///
/// They rise from batch to batch, so that whoever has read up to a time misses nothing that is recorded
/// later; where there is more than a batch a millisecond they run ahead by a quarter of a second at most,
/// and are the same then.
///
/// A clock that was set back, or one that is behind another node's, must not stop time: the log's
/// time then passes at half the clock's speed, until the clock has caught up.
pub(crate) struct LogTime {
    clock: Arc<dyn Clock>,
    /// What time it is, but for the lead of batches, and what the clock said when that was found.
    time: Timestamp,
    said: Timestamp,
    was_behind: bool,
    told: Option<Timestamp>,
}

impl LogTime {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        Self {
            clock,
            time: Timestamp(i64::MIN),
            said: now,
            was_behind: false,
            told: None,
        }
    }

    /// A time for what is recorded next, after `newest`, the time of the newest event, or the same.
    pub fn now(&mut self, newest: Timestamp) -> Moment {
        let clock = self.clock.now();
        let ahead = |time: Timestamp| newest.0.saturating_sub(time.0);
        if ahead(self.time.max(clock)) > LEAD_MILLIS {
            // Batches alone don't come so far.
            (self.time, self.said) = (newest, clock);
        }
        self.pass(clock);
        let at = if ahead(self.time) < LEAD_MILLIS {
            self.time.max(Timestamp(newest.0.saturating_add(1)))
        } else {
            newest
        };
        let behind = clock < self.time;
        if behind {
            self.tell(clock);
        } else if std::mem::take(&mut self.was_behind) {
            metrics::gauge!("hansard_clock_behind_seconds").set(0.0);
        }
        Moment {
            at,
            clock: behind.then_some(clock),
        }
    }

    fn pass(&mut self, clock: Timestamp) {
        if clock >= self.time {
            (self.time, self.said) = (clock, clock);
            return;
        }
        let passed = clock.0.saturating_sub(self.said.0);
        if passed < 0 {
            // Set back while we looked on.
            self.said = clock;
        } else {
            self.said.0 += passed / 2 * 2;
            self.time.0 = self.time.0.saturating_add(passed / 2);
        }
    }

    fn tell(&mut self, clock: Timestamp) {
        let behind = self.time.0.abs_diff(clock.0);
        self.was_behind = true;
        metrics::gauge!("hansard_clock_behind_seconds").set(behind as f64 / 1000.0);
        let again = self
            .told
            .is_none_or(|told| told.0.abs_diff(clock.0) >= TELL_AGAIN_MILLIS.unsigned_abs());
        if Duration::from_millis(behind) >= WORTH_TELLING && again {
            self.told = Some(clock);
            tracing::warn!(
                behind_seconds = behind / 1000,
                "this node's clock is behind the newest event of the log; events keep the log's time \
                 until it has caught up: check the clocks of all nodes"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Hand(Mutex<i64>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(*self.0.lock())
        }
    }

    fn at(time: &mut LogTime, hand: &Hand, clock: i64, newest: i64) -> (i64, Option<i64>) {
        *hand.0.lock() = clock;
        let moment = time.now(Timestamp(newest));
        (moment.at.0, moment.clock.map(|clock| clock.0))
    }

    #[test]
    fn times_are_the_clock_s_while_it_is_not_behind() {
        let hand = Arc::new(Hand::default());
        let mut time = LogTime::new(hand.clone());
        assert_eq!(at(&mut time, &hand, 1000, 0), (1000, None));
        assert_eq!(at(&mut time, &hand, 1001, 1000), (1001, None));
        // Nothing was recorded at the last.
        assert_eq!(at(&mut time, &hand, 1001, 1000), (1001, None));
    }

    #[test]
    fn times_rise_from_batch_to_batch_and_are_ahead_by_the_lead_at_most() {
        let hand = Arc::new(Hand::default());
        let mut time = LogTime::new(hand.clone());
        let mut newest = 0;
        for ahead in 0..=LEAD_MILLIS {
            newest = at(&mut time, &hand, 5000, newest).0;
            assert_eq!(newest, 5000 + ahead);
        }
        assert_eq!(at(&mut time, &hand, 5000, newest), (newest, None));
        assert_eq!(at(&mut time, &hand, 5001, newest), (newest + 1, None));
    }

    #[test]
    fn a_clock_that_was_set_back_lets_time_pass_at_half_its_speed_until_it_has_caught_up() {
        let hand = Arc::new(Hand::default());
        let mut time = LogTime::new(hand.clone());
        assert_eq!(at(&mut time, &hand, 10_000, 0), (10_000, None));
        // What comes first after that is later, too.
        let mut newest = 10_000;
        assert_eq!(at(&mut time, &hand, 4000, newest), (10_001, Some(4000)));
        // In single milliseconds as well.
        for (clock, expected) in [
            (4001, 10_001),
            (4002, 10_001),
            (4003, 10_001),
            (4004, 10_002),
            (4010, 10_005),
        ] {
            let moment = at(&mut time, &hand, clock, 10_000);
            assert_eq!(moment, (expected, Some(clock)));
            assert!(moment.0 >= newest);
            newest = moment.0;
        }
        assert_eq!(at(&mut time, &hand, 8010, newest), (12_005, Some(8010)));
        assert_eq!(at(&mut time, &hand, 16_004, 12_005), (16_004, None));
    }

    #[test]
    fn batches_lead_no_further_while_the_clock_is_behind() {
        let hand = Arc::new(Hand::default());
        let mut time = LogTime::new(hand.clone());
        let mut newest = at(&mut time, &hand, 10_000, 0).0;
        for _ in 0..5000 {
            let next = at(&mut time, &hand, 4000, newest).0;
            assert!(next > newest || newest == 10_000 + LEAD_MILLIS);
            newest = next;
        }
        assert_eq!(newest, 10_000 + LEAD_MILLIS);
    }

    #[test]
    fn what_another_node_recorded_is_never_undercut() {
        let hand = Arc::new(Hand::default());
        let mut time = LogTime::new(hand.clone());
        assert_eq!(at(&mut time, &hand, 1000, 5000), (5001, Some(1000)));
        assert_eq!(at(&mut time, &hand, 1010, 5000), (5005, Some(1010)));
        assert_eq!(at(&mut time, &hand, 1020, 9000), (9001, Some(1020)));
        assert_eq!(at(&mut time, &hand, 1030, 9000), (9005, Some(1030)));
        // Less than batches may lead by is not held against the clock.
        assert_eq!(at(&mut time, &hand, 10_300, 10_400), (10_401, None));
    }
}
