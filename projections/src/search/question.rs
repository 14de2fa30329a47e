//! What people type into a search, read.
//!
//! `word`, `word*`, `"a phrase"`, `-not`, `from:user`, `in:room`, `before:`, `after:`, `on:` a day
//! (`2026-01-31` or `31/01/2026`, UTC), `has:link|file|image|audio|video|attachment`, `is:pinned`,
//! `is:thread`, `order:asc`. All of it has to hold. What looks like a filter and is none is a word.

use chrono::{Days, NaiveDate};
use hansard_domain::id::Timestamp;

use super::words::beginnings;

/// The longest question that is read, in characters; the rest is left off.
const MAX_LENGTH: usize = 1_000;

/// The most words, phrases and filters that are read, and the most words in all of them.
const MAX_PARTS: usize = 32;

/// The most words of a phrase that are read: where each of them stands in a text is compared.
const MAX_WORDS: usize = 16;

/// The most beginnings of words that are looked for; more of them are taken for words. Each is looked for
/// among all words that there are, whatever the room.
const MAX_PREFIXES: usize = 4;

/// The shortest beginning of a word that is looked for as one: a letter begins too many words.
pub(super) const MIN_PREFIX: usize = 2;

/// A search, before names are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    pub terms: Vec<Term>,
    pub without: Vec<Term>,
    /// Usernames; sent by one of them.
    pub from: Vec<String>,
    /// Names of rooms; in one of them.
    pub rooms: Vec<String>,
    /// Sent at this time or later.
    pub since: Option<Timestamp>,
    /// Sent before this time.
    pub until: Option<Timestamp>,
    pub marks: Vec<Mark>,
    pub oldest_first: bool,
}

/// Something to be found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// A word, or several in this order.
    Phrase(String),
    /// What a word begins with.
    Prefix(String),
}

/// What a message has beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::AsRefStr, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Mark {
    Link,
    File,
    Image,
    Audio,
    Video,
    Attachment,
    Pinned,
    Thread,
}

impl Question {
    pub fn read(text: &str) -> Self {
        let mut question = Self::default();
        let end = text
            .char_indices()
            .nth(MAX_LENGTH)
            .map_or(text.len(), |(end, _)| end);
        for part in parts(&text[..end]).take(MAX_PARTS) {
            question.take(&part);
        }
        question
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn take(&mut self, part: &Part<'_>) {
        if !part.quoted
            && !part.negated
            && let Some((name, value)) = part.text.split_once(':')
            && self.filter(&name.to_lowercase(), value.trim_matches('"'))
        {
            return;
        }
        let Some(mut term) = part.term() else { return };
        if let Term::Prefix(start) = &mut term
            && self.prefixes() >= MAX_PREFIXES
        {
            term = Term::Phrase(std::mem::take(start));
        }
        let left = MAX_PARTS.saturating_sub(self.words());
        if left == 0 {
            return;
        }
        if let Term::Phrase(phrase) = &mut term {
            phrase.truncate(shortened(phrase, left.min(MAX_WORDS)).len());
        }
        let known = if part.negated {
            &self.without
        } else {
            &self.terms
        };
        if known.contains(&term) {
            return;
        }
        if part.negated {
            self.without.push(term);
        } else {
            self.terms.push(term);
        }
    }

    fn words(&self) -> usize {
        let all = self.terms.iter().chain(&self.without);
        let words = all.map(|term| match term {
            Term::Phrase(phrase) => beginnings(phrase).count(),
            Term::Prefix(_) => 1,
        });
        words.sum()
    }

    fn prefixes(&self) -> usize {
        let all = self.terms.iter().chain(&self.without);
        all.filter(|term| matches!(term, Term::Prefix(_))).count()
    }

    /// Takes a filter; `false` if it is none.
    fn filter(&mut self, name: &str, value: &str) -> bool {
        if value.is_empty() {
            return false;
        }
        match name {
            "from" => self.from.push(value.trim_start_matches('@').to_owned()),
            "in" => self.rooms.push(value.trim_start_matches('#').to_owned()),
            "before" => match day(value) {
                Some(day) => self.narrow(None, midnight(day)),
                None => return false,
            },
            "after" => match day(value) {
                Some(day) => self.narrow(next(day), None),
                None => return false,
            },
            "on" => match day(value) {
                Some(day) => self.narrow(midnight(day), next(day)),
                None => return false,
            },
            "has" | "is" => match value.to_lowercase().as_str() {
                "url" => self.marks.push(Mark::Link),
                "pin" => self.marks.push(Mark::Pinned),
                value => match value.parse() {
                    Ok(mark) => self.marks.push(mark),
                    Err(_) => return false,
                },
            },
            "order" => self.oldest_first = value.to_lowercase().starts_with("asc"),
            _ => return false,
        }
        true
    }

    fn narrow(&mut self, since: Option<Timestamp>, until: Option<Timestamp>) {
        self.since = self.since.max(since);
        self.until = match (self.until, until) {
            (Some(earlier), Some(later)) => Some(earlier.min(later)),
            (one, other) => one.or(other),
        };
    }
}

/// A piece of a question between spaces; spaces in quotes belong to it.
struct Part<'a> {
    text: &'a str,
    quoted: bool,
    negated: bool,
}

impl Part<'_> {
    fn term(&self) -> Option<Term> {
        let words = self.text.trim_matches('"');
        beginnings(words).next()?;
        match words.strip_suffix('*') {
            Some(start) if !self.quoted => Some(Term::Prefix(start.to_owned())),
            _ => Some(Term::Phrase(words.to_owned())),
        }
    }
}

/// A phrase up to the end of the last of so many words.
fn shortened(phrase: &str, most: usize) -> &str {
    let rest = beginnings(phrase).nth(most).unwrap_or(phrase.len());
    phrase[..rest].trim_end()
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let negated = rest.len() > 1 && rest.starts_with('-');
        if negated {
            rest = &rest[1..];
        }
        let quoted = rest.starts_with('"');
        let mut inside = false;
        let last_quote = rest.rfind('"').unwrap_or(0);
        let end = rest.char_indices().find(|(at, letter)| {
            // One that is never closed opens nothing.
            if *letter == '"' && (inside || *at < last_quote) {
                inside = !inside;
            }
            letter.is_whitespace() && !inside
        });
        let end = end.map(|(at, _)| at);
        let (text, left) = rest.split_at(end.unwrap_or(rest.len()));
        rest = left;
        Some(Part {
            text,
            quoted,
            negated,
        })
    })
}

/// A day as people write it.
fn day(text: &str) -> Option<NaiveDate> {
    let numbers: Vec<u32> = text
        .split(['-', '/', '.'])
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    match numbers[..] {
        [year @ 1000..=9999, month, day] | [day, month, year @ 1000..=9999] => {
            NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
        }
        _ => None,
    }
}

fn midnight(day: NaiveDate) -> Option<Timestamp> {
    let midnight = day.and_hms_opt(0, 0, 0)?;
    Some(Timestamp(midnight.and_utc().timestamp_millis()))
}

fn next(day: NaiveDate) -> Option<Timestamp> {
    midnight(day.checked_add_days(Days::new(1))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(words: &str) -> Term {
        Term::Phrase(words.to_owned())
    }

    #[test]
    fn words_phrases_prefixes_and_negations_are_told_apart() {
        let question = Question::read("  install \"boot loader\" grub* -windows -\"dual boot\" ");
        assert_eq!(
            question.terms,
            [
                phrase("install"),
                phrase("boot loader"),
                Term::Prefix("grub".into())
            ]
        );
        assert_eq!(question.without, [phrase("windows"), phrase("dual boot")]);
    }

    #[test]
    fn words_of_a_phrase_are_counted_as_the_index_cuts_them() {
        let counts = |words: &str| {
            let question = Question::read(&format!("\"{}\"", words.repeat(100)));
            let Some(Term::Phrase(phrase)) = question.terms.first() else {
                panic!("a phrase is left of {words}");
            };
            crate::search::words::words(phrase).count()
        };
        for words in ["a ", "\u{e000} ", "aⒶ", "का", "a-", "é "] {
            assert_eq!(counts(words), MAX_WORDS, "{words}");
        }
        assert_eq!(counts("e\u{301}"), 1, "a mark does not end a word");
    }

    #[test]
    fn filters_are_read() {
        let question =
            Question::read("from:@mary in:#general has:link is:pinned on:2026-01-31 order:asc x");
        assert_eq!(question.from, ["mary"]);
        assert_eq!(question.rooms, ["general"]);
        assert_eq!(question.marks, [Mark::Link, Mark::Pinned]);
        assert_eq!(question.since, Timestamp::parse("2026-01-31"));
        assert_eq!(question.until, Timestamp::parse("2026-02-01"));
        assert!(question.oldest_first);
        assert_eq!(question.terms, [phrase("x")]);
    }

    #[test]
    fn days_exclude_themselves_before_and_after() {
        let question = Question::read("after:31/12/2025 before:2026.02.01");
        assert_eq!(question.since, Timestamp::parse("2026-01-01"));
        assert_eq!(question.until, Timestamp::parse("2026-02-01"));
        let narrower = Question::read("before:2026-02-01 before:2026-01-01");
        assert_eq!(narrower.until, Timestamp::parse("2026-01-01"));
    }

    #[test]
    fn what_is_no_filter_is_a_word() {
        for text in [
            "http://x.org",
            "has:nothing",
            "before:soon",
            "from:",
            "12:30",
            "on:2026-13-99",
        ] {
            assert_eq!(Question::read(text).terms, [phrase(text)], "{text}");
        }
    }

    #[test]
    fn anything_can_be_typed() {
        for text in ["", "-", "\"", "*", "- - \"\" **", "\"open", ":::", "-\""] {
            let question = Question::read(text);
            assert!(
                question.terms.iter().all(|term| *term == phrase("open")),
                "{text}: {question:?}"
            );
        }
        let many = |begin: &str, end: &str| {
            let words = (10..99).map(|number| format!("{begin}{number}{end} "));
            Question::read(&words.collect::<String>()).terms
        };
        assert_eq!(many("x", "").len(), MAX_PARTS);
        assert_eq!(many("\"x y ", "\"").len(), MAX_PARTS / 3 + 1);
        assert_eq!(Question::read(&"x ".repeat(5_000)).terms, [phrase("x")]);
        for between in [" ", "-", ". "] {
            let long = format!("\"{}\"", ["x"; 300].join(between));
            let [Term::Phrase(read)] = &Question::read(&long).terms[..] else {
                panic!("{long} is a phrase");
            };
            assert_eq!(read.matches('x').count(), MAX_WORDS, "{read}");
        }
        let many = many("xy", "*");
        let prefixes = many.iter().filter(|term| matches!(term, Term::Prefix(_)));
        assert_eq!((many.len(), prefixes.count()), (MAX_PARTS, MAX_PREFIXES));
    }
}
