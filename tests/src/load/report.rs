//! What a play did, in figures.

use std::fmt;
use std::time::Duration;

use super::client::Patience;
use super::latency::Latencies;

#[derive(Debug, Default)]
pub struct Report {
    pub people: usize,
    pub rooms: usize,
    pub acknowledged: usize,
    pub joins: usize,
    pub renames: usize,
    /// Steps that the server refused, and the first few of its answers.
    pub refused: usize,
    pub first_refusals: Vec<String>,
    pub patience: Patience,
    pub enrolling_took: Duration,
    pub playing_took: Duration,
    pub sends: Latencies,
}

impl Report {
    /// Requests a second while playing: messages, joins and renames.
    pub fn rate(&self) -> f64 {
        (self.acknowledged + self.joins + self.renames) as f64
            / self.playing_took.as_secs_f64().max(f64::EPSILON)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |percent| self.sends.percentile(percent).as_secs_f64() * 1e3;
        writeln!(
            f,
            "enrolled {} people, {} rooms in {:.1} s",
            self.people,
            self.rooms,
            self.enrolling_took.as_secs_f64()
        )?;
        writeln!(
            f,
            "played {} messages, {} joins, {} renames in {:.1} s: {:.0} a second",
            self.acknowledged,
            self.joins,
            self.renames,
            self.playing_took.as_secs_f64(),
            self.rate(),
        )?;
        let (p50, p99, p999) = (milliseconds(50.0), milliseconds(99.0), milliseconds(99.9));
        writeln!(
            f,
            "sends took p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms"
        )?;
        let Patience {
            sent_again,
            told_to_wait,
        } = self.patience;
        write!(
            f,
            "refused {}, sent again after a lost connection {sent_again}, told to wait {told_to_wait}",
            self.refused
        )
    }
}
