//! When retention policies are enforced: by Rocket.Chat's settings, in UTC.

use std::str::FromStr;

use chrono::DateTime;
use croner::Cron;
use hansard_domain::id::Timestamp;

use crate::model::WriteModel;

/// Every half hour, hour, six hours, day: `RetentionPolicy_Precision`.
const PRECISIONS: [&str; 4] = ["*/30 * * * *", "0 * * * *", "0 */6 * * *", "0 0 * * *"];

/// Times in the form of cron: minute, hour, day of month, month, day of week.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

impl Schedule {
    /// What the settings say; `None` while retention is switched off.
    pub fn of(model: &WriteModel) -> Option<Self> {
        if !model.flag("RetentionPolicy_Enabled") {
            return None;
        }
        if model.flag("RetentionPolicy_Advanced_Precision") {
            let text = model.text("RetentionPolicy_Advanced_Precision_Cron");
            match Self::parse(&text) {
                Ok(schedule) => return Some(schedule),
                Err(reason) => tracing::debug!(
                    text,
                    reason,
                    "the schedule of retention can't be read; its plain precision holds"
                ),
            }
        }
        let precision = usize::try_from(model.number("RetentionPolicy_Precision")).unwrap_or(0);
        Self::parse(PRECISIONS.get(precision).copied().unwrap_or(PRECISIONS[0])).ok()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let cron = Cron::from_str(text).map_err(|error| error.to_string())?;
        let text = text.to_owned();
        Ok(Self { text, cron })
    }

    /// In the form of cron.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after another; `None` if there is none (the 30th of February).
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = DateTime::from_timestamp_millis(at.0)?;
        let next = self.cron.find_next_occurrence(&at, false).ok()?;
        Some(Timestamp(next.timestamp_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, after: &str) -> String {
        let after = Timestamp::parse(after).unwrap();
        let next = Schedule::parse(cron).unwrap().next_after(after).unwrap();
        next.iso()
    }

    #[test]
    fn precisions_are_times_of_the_day() {
        let after = "2026-03-01T10:15:30.500Z";
        let expected = [
            "2026-03-01T10:30:00.000Z",
            "2026-03-01T11:00:00.000Z",
            "2026-03-01T12:00:00.000Z",
            "2026-03-02T00:00:00.000Z",
        ];
        for (precision, expected) in PRECISIONS.iter().zip(expected) {
            assert_eq!(next(precision, after), expected);
        }
    }

    #[test]
    fn the_next_time_is_later_than_now() {
        assert_eq!(
            next("0 * * * *", "2026-03-01T11:00:00.000Z"),
            "2026-03-01T12:00:00.000Z"
        );
    }

    #[test]
    fn nonsense_is_no_schedule() {
        assert!(Schedule::parse("whenever").is_err());
        assert!(Schedule::parse("").is_err());
    }
}
