//! How texts are compared whatever their case, on either database: views keep them folded beside what
//! is shown, and what is looked for is folded in the same way. Databases fold but ASCII (SQLite), or by
//! a locale that nobody chose (PostgreSQL).

use unicode_normalization::UnicodeNormalization;

/// A text without its case: composed, and each letter by way of its capital to its small form, so
/// that letters with one capital are one (`ς` and `σ`).
pub(crate) fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfc()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// A `LIKE` pattern, with `\` to escape, for folded texts that have this one in them; empty for an
/// empty text.
pub(crate) fn containing(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut pattern = String::from("%");
    for character in folded(text).chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_any_script_lose_their_case() {
        for (one, other) in [
            ("Mary", "mARY"),
            ("Élodie", "ÉLODIE"),
            // Composed, and of a letter and a mark.
            ("Élodie", "e\u{301}lodie"),
            ("Ольга", "ОЛЬГА"),
            ("ΟΔΟΣ", "οδος"),
            ("ΟΔΟΣ", "οδοσ"),
            ("Straße", "STRASSE"),
        ] {
            assert_eq!(folded(one), folded(other));
        }
        assert_ne!(folded("Élodie"), folded("Elodie"));
    }

    #[test]
    fn a_pattern_means_what_it_says() {
        assert_eq!(containing("100%_\\É"), "%100\\%\\_\\\\é%");
        assert_eq!(containing(""), "");
    }
}
