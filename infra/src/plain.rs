//! Errors of the operating system in the words that an operator reads.

use std::io;

/// What went wrong, without its number: `connection refused`, `no such file or directory`.
pub fn io(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full; make room and try again".to_owned(),
        io::ErrorKind::QuotaExceeded => {
            "the disk quota is used up; make room and try again".to_owned()
        }
        _ => error.to_string(),
    };
    let text = match text.rfind(" (os error ") {
        Some(number) => &text[..number],
        None => &text,
    };
    let mut letters = text.chars();
    // A word that is an abbreviation stays as it is.
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// What went wrong with a database, without the words that only say that it is one.
pub fn database(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => io(error),
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => "no connection became free in time".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_has_no_number() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(io(&refused), "connection refused");
        assert_eq!(io(&io::Error::other("TLS failed")), "TLS failed");
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(io(&full).contains("disk is full"));
    }
}
