//! The time of the log: what events are recorded at.

use std::sync::Arc;
use std::time::Duration;

use hansard_domain::id::{Clock, Timestamp};

/// A clock that is behind the log by more is told of in the server's output.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// A clock that stays behind is told of again so much later.
const TELL_AGAIN_MILLIS: i64 = 60_000;

/// When something is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub at: Timestamp,
    /// What the node's clock says, where that is not `at`.
    pub clock: Option<Timestamp>,
}

/// Makes times that never fall along the log: those of the node's clock, as long as it is not behind
/// what stands in the log already.
///
/// A clock that was set back, or one that is behind another node's, must not stop time: the log's
/// time then passes at half the clock's speed, until the clock has caught up.
pub(crate) struct LogTime {
    clock: Arc<dyn Clock>,
    /// What was made last, and what the clock said then.
    last: Timestamp,
    said: Timestamp,
    told: Option<Timestamp>,
}

impl LogTime {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        Self {
            clock,
            last: Timestamp(i64::MIN),
            said: now,
            told: None,
        }
    }

    /// A time for what is recorded next, not before `newest`, the time of the newest event.
    pub fn now(&mut self, newest: Timestamp) -> Moment {
        let clock = self.clock.now();
        if newest > self.last {
            (self.last, self.said) = (newest, clock);
        }
        if clock >= self.last {
            (self.last, self.said) = (clock, clock);
            return Moment {
                at: clock,
                clock: None,
            };
        }
        let passed = clock.0.saturating_sub(self.said.0);
        let half = if passed < 0 {
            // Set back while we looked on.
            self.said = clock;
            0
        } else {
            self.said.0 += passed / 2 * 2;
            passed / 2
        };
        self.last = Timestamp(self.last.0.saturating_add(half));
        self.tell(clock);
        Moment {
            at: self.last,
            clock: Some(clock),
        }
    }

    fn tell(&mut self, clock: Timestamp) {
        let behind = self.last.0.abs_diff(clock.0);
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
        assert_eq!(at(&mut time, &hand, 1000, 1000), (1000, None));
        assert_eq!(at(&mut time, &hand, 1001, 1000), (1001, None));
    }

    #[test]
    fn a_clock_that_was_set_back_lets_time_pass_at_half_its_speed_until_it_has_caught_up() {
        let hand = Arc::new(Hand::default());
        let mut time = LogTime::new(hand.clone());
        assert_eq!(at(&mut time, &hand, 10_000, 0), (10_000, None));
        assert_eq!(at(&mut time, &hand, 4000, 10_000), (10_000, Some(4000)));
        // In single milliseconds as well.
        for (clock, expected) in [
            (4001, 10_000),
            (4002, 10_001),
            (4003, 10_001),
            (4004, 10_002),
        ] {
            assert_eq!(at(&mut time, &hand, clock, 10_000), (expected, Some(clock)));
        }
        assert_eq!(at(&mut time, &hand, 8004, 10_000), (12_002, Some(8004)));
        assert_eq!(at(&mut time, &hand, 16_004, 10_000), (16_004, None));
    }

    #[test]
    fn what_another_node_recorded_is_never_undercut() {
        let hand = Arc::new(Hand::default());
        let mut time = LogTime::new(hand.clone());
        assert_eq!(at(&mut time, &hand, 1000, 5000), (5000, Some(1000)));
        assert_eq!(at(&mut time, &hand, 1010, 5000), (5005, Some(1010)));
        assert_eq!(at(&mut time, &hand, 1020, 9000), (9000, Some(1020)));
        assert_eq!(at(&mut time, &hand, 1030, 9000), (9005, Some(1030)));
    }
}
