//! Numbers of the configuration, each with the range that makes sense.

use std::str::FromStr;

/// A whole number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number<const LEAST: usize, const MOST: usize>(usize);

/// Threads that work.
pub type Threads = Number<1, 1024>;

/// The size of a request. A smaller limit would refuse logins.
pub type Bytes = Number<1024, { 1 << 30 }>;

/// Memory for what is kept, in MiB.
pub type Mebibytes = Number<0, 1_000_000>;

/// Connections at a time.
pub type Connections = Number<1, 1_000_000>;

/// The time that something may take.
pub type Seconds = Number<1, 86_400>;

/// Proxies one behind the other.
pub type Count = Number<0, 16>;

/// A text that is no such number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it takes a whole number from {least} to {most}")]
pub struct OutOfRange {
    least: usize,
    most: usize,
}

impl<const LEAST: usize, const MOST: usize> Number<LEAST, MOST> {
    pub fn number(self) -> usize {
        self.0
    }
}

impl<const LEAST: usize, const MOST: usize> FromStr for Number<LEAST, MOST> {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        match text.parse() {
            Ok(number) if (LEAST..=MOST).contains(&number) => Ok(Self(number)),
            _ => Err(OutOfRange {
                least: LEAST,
                most: MOST,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_its_range_is_refused() {
        assert_eq!("1".parse::<Threads>().map(Threads::number), Ok(1));
        for text in ["0", "1025", "-1", "", "x"] {
            let refused = text.parse::<Threads>().unwrap_err().to_string();
            assert_eq!(refused, "it takes a whole number from 1 to 1024", "{text}");
        }
    }
}
