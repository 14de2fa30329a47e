//! When a delivery that failed is tried again.

use std::time::Duration;

use hansard_domain::id::{DeliveryId, Timestamp};
use hansard_domain::integration::{Delivery, IntegrationDetails};
use sha2::{Digest, Sha256};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The waits that the Standard Webhooks specification suggests, in milliseconds: some three days in
/// all.
const STANDARD: [u64; 9] = [
    5 * SECOND,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
];

/// No wait is longer, whatever an integration or a receiver asks for; in milliseconds.
const LONGEST: u64 = 28 * HOUR;

/// A wait is made longer by up to a tenth of itself, so that deliveries that failed together do not
/// come back together.
const JITTER: f64 = 0.1;

/// When a delivery is due by the clock; `None` where it is already.
///
/// One that was not tried yet waits for nothing. One that was to wait longer than any waits was put down when
/// the clock was ahead.
pub fn due(delivery: &Delivery, now: Timestamp) -> Option<Timestamp> {
    let soon = now.plus(Duration::from_millis(LONGEST));
    let waits = delivery.attempts > 0 && delivery.due > now && delivery.due <= soon;
    waits.then_some(delivery.due)
}

/// How long to wait after attempt `attempt` (from 1) failed; `None` when it was the last.
///
/// `max_attempts` is the workspace's limit; an integration may ask for fewer attempts, or none but
/// the first, and for delays as in Rocket.Chat. A receiver may ask for a longer wait.
pub fn wait(
    id: &DeliveryId,
    details: &IntegrationDetails,
    max_attempts: u32,
    attempt: u32,
    asked: Option<Duration>,
) -> Option<Duration> {
    let (attempts, wait) = match details.retry_failed_calls {
        Some(false) => (1, 0),
        Some(true) => (
            details.retry_count.saturating_add(1),
            chosen(&details.retry_delay, attempt),
        ),
        None => (u32::MAX, standard(attempt)),
    };
    if attempt >= attempts.min(max_attempts.max(1)) {
        return None;
    }
    let jittered = wait as f64 * (1.0 + JITTER * fraction(id, attempt));
    let asked = asked.map_or(0, |asked| asked.as_millis() as u64);
    Some(Duration::from_millis(
        (jittered as u64).max(asked).min(LONGEST),
    ))
}

fn standard(attempt: u32) -> u64 {
    let place = (attempt as usize).saturating_sub(1).min(STANDARD.len() - 1);
    STANDARD[place]
}

/// Rocket.Chat's delays.
fn chosen(delay: &str, attempt: u32) -> u64 {
    match delay {
        "powers-of-two" => SECOND.saturating_mul(2u64.saturating_pow(attempt)),
        "increments-of-two" => 2 * SECOND * u64::from(attempt),
        // powers-of-ten: 0.1 s, 1 s, 10 s, 1 min 40 s, …
        _ => 10u64.saturating_pow(attempt.saturating_add(1)),
    }
}

/// A number from 0 to 1 that looks random, and is the same again for the same attempt.
fn fraction(id: &DeliveryId, attempt: u32) -> f64 {
    let hash = Sha256::digest(format!("{id}/{attempt}"));
    f64::from(u16::from_be_bytes([hash[0], hash[1]])) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(failed_calls: Option<bool>, count: u32, delay: &str) -> IntegrationDetails {
        IntegrationDetails {
            retry_failed_calls: failed_calls,
            retry_count: count,
            retry_delay: delay.into(),
            ..Default::default()
        }
    }

    /// The waits of a delivery that always fails, in whole tenths of their nominal length.
    fn waits(details: &IntegrationDetails, max_attempts: u32) -> Vec<u64> {
        (1..)
            .map_while(|attempt| wait(&"a".into(), details, max_attempts, attempt, None))
            .map(|wait| wait.as_millis() as u64)
            .collect()
    }

    fn within_jitter(waits: &[u64], nominal: &[u64]) {
        assert_eq!(waits.len(), nominal.len(), "{waits:?}");
        for (wait, nominal) in waits.iter().zip(nominal) {
            let most = nominal + nominal / 10;
            assert!((*nominal..=most).contains(wait), "{wait} for {nominal}");
        }
    }

    #[test]
    fn a_clock_that_was_ahead_holds_nothing_up() {
        let now = Timestamp(1_000_000);
        let in_an_hour = now.plus(Duration::from_secs(3_600));
        let delivery = |attempts, due| Delivery {
            attempts,
            due,
            ..Delivery::default()
        };
        assert_eq!(due(&delivery(0, in_an_hour), now), None);
        assert_eq!(due(&delivery(1, in_an_hour), now), Some(in_an_hour));
        assert_eq!(due(&delivery(1, now), now), None);
        let in_a_year = now.plus(Duration::from_secs(365 * 86_400));
        assert_eq!(due(&delivery(1, in_a_year), now), None);
    }

    #[test]
    fn the_workspace_retries_as_the_specification_suggests() {
        within_jitter(&waits(&details(None, 0, ""), 10), &STANDARD);
        within_jitter(&waits(&details(None, 0, ""), 3), &STANDARD[..2]);
    }

    #[test]
    fn an_integration_chooses_its_own_count_and_delay() {
        let tens = details(Some(true), 4, "powers-of-ten");
        within_jitter(&waits(&tens, 10), &[100, 1000, 10_000, 100_000]);
        let twos = details(Some(true), 3, "powers-of-two");
        within_jitter(&waits(&twos, 10), &[2000, 4000, 8000]);
        let steps = details(Some(true), 3, "increments-of-two");
        within_jitter(&waits(&steps, 10), &[2000, 4000, 6000]);
    }

    #[test]
    fn an_integration_never_gets_more_attempts_than_the_workspace_allows() {
        assert_eq!(waits(&details(Some(true), 50, "powers-of-two"), 5).len(), 4);
    }

    #[test]
    fn no_retries_mean_no_retries() {
        assert!(waits(&details(Some(false), 6, "powers-of-ten"), 10).is_empty());
        assert!(waits(&details(None, 0, ""), 1).is_empty());
        assert!(waits(&details(None, 0, ""), 0).is_empty());
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_ever() {
        let standard = details(None, 0, "");
        let asked = |seconds| {
            let asked = Some(Duration::from_secs(seconds));
            wait(&"a".into(), &standard, 10, 1, asked).unwrap()
        };
        assert_eq!(asked(60), Duration::from_secs(60));
        assert!(asked(1) >= Duration::from_secs(5));
        assert_eq!(asked(u64::MAX / 2000), Duration::from_millis(LONGEST));
    }

    #[test]
    fn waits_of_different_deliveries_differ() {
        let standard = details(None, 0, "");
        let one = wait(&"a".into(), &standard, 10, 4, None);
        let other = wait(&"b".into(), &standard, 10, 4, None);
        assert_ne!(one, other);
    }
}
