//! Rates and percentiles, and the table that shows them beside the budgets.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Microseconds, three digits, up to a minute.
const LONGEST: u64 = 60_000_000;

/// How long answers took.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // Constant bounds, which a test makes sure are valid.
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are valid"))
    }
}

impl Latencies {
    pub fn record(&mut self, took: Duration) {
        self.0
            .saturating_record(took.as_micros().try_into().unwrap_or(LONGEST));
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// What `percent` of the answers took at most.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.0.value_at_percentile(percent))
    }
}

impl std::ops::AddAssign<&Self> for Latencies {
    fn add_assign(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }
}

/// What the design asks for.
#[derive(Debug, Default, Clone, Copy)]
pub struct Budget {
    /// Rate, as a part of the rate of the first row.
    pub ratio: Option<f64>,
    pub p99: Option<Duration>,
}

/// A row of the table.
#[derive(Debug)]
pub struct Measured {
    pub what: String,
    pub took: Duration,
    pub latencies: Latencies,
    pub failed: u64,
    pub budget: Budget,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

/// Rows, the first of which is the yardstick.
#[derive(Debug, Default)]
pub struct Table(pub Vec<Measured>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = [
            "what", "answers", "failed", "per s", "p50 ms", "p99 ms", "p99.9 ms", "ratio", "budget",
        ];
        let mut lines = vec![title.map(str::to_owned)];
        let yardstick = self.0.first().map_or(1.0, Measured::rate);
        for row in &self.0 {
            let milliseconds = |percent| {
                format!(
                    "{:.2}",
                    row.latencies.percentile(percent).as_secs_f64() * 1e3
                )
            };
            lines.push([
                row.what.clone(),
                row.latencies.count().to_string(),
                row.failed.to_string(),
                format!("{:.0}", row.rate()),
                milliseconds(50.0),
                milliseconds(99.0),
                milliseconds(99.9),
                format!("{:.2}", row.rate() / yardstick),
                row.budget.to_string(),
            ]);
        }
        let width = |column: usize| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        for line in &lines {
            let last = line.len() - 1;
            let cells: Vec<String> = line
                .iter()
                .enumerate()
                .map(|(column, cell)| match column {
                    0 => format!("{cell:<0$}", width(0)),
                    _ if column == last => cell.clone(),
                    _ => format!("{cell:>0$}", width(column)),
                })
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = self.ratio.map(|ratio| format!("ratio ≥ {ratio}"));
        let p99 = self.p99.map(|p99| format!("p99 < {} ms", p99.as_millis()));
        let parts: Vec<String> = ratio.into_iter().chain(p99).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(
        what: &str,
        milliseconds: std::ops::RangeInclusive<u64>,
        budget: Budget,
    ) -> Measured {
        let mut latencies = Latencies::default();
        milliseconds.for_each(|each| latencies.record(Duration::from_millis(each)));
        Measured {
            what: what.into(),
            took: Duration::from_secs(2),
            latencies,
            failed: 0,
            budget,
        }
    }

    #[test]
    fn percentiles_are_right_within_a_thousandth() {
        let row = measured("x", 1..=1000, Budget::default());
        for (percent, expected) in [(50.0, 0.5), (99.0, 0.99), (99.9, 0.999)] {
            let found = row.latencies.percentile(percent).as_secs_f64();
            assert!(
                (found - expected).abs() <= expected * 0.0015,
                "p{percent} is {found}"
            );
        }
    }

    #[test]
    fn merging_counts_both_and_longer_than_a_minute_counts_as_a_minute() {
        let mut first = measured("x", 1..=10, Budget::default()).latencies;
        let mut second = Latencies::default();
        second.record(Duration::from_mins(3));
        first += &second;
        assert_eq!(first.count(), 11);
        assert!(first.percentile(100.0) < Duration::from_secs(61));
    }

    #[test]
    fn the_table_shows_rates_ratios_and_budgets() {
        let budget = Budget {
            ratio: Some(0.3),
            p99: Some(Duration::from_millis(10)),
        };
        let rows = vec![
            measured("info", 1..=100, Budget::default()),
            measured("sends", 1..=50, budget),
        ];
        let table = Table(rows).to_string();
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| {
                line.split("  ")
                    .filter(|cell| !cell.is_empty())
                    .map(str::trim)
                    .collect()
            })
            .collect();
        assert_eq!(lines[1][..4], ["info", "100", "0", "50"]);
        assert_eq!(lines[2][..4], ["sends", "50", "0", "25"]);
        assert_eq!(lines[2][7..], ["0.50", "ratio ≥ 0.3, p99 < 10 ms"]);
    }
}
