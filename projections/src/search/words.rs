//! Texts cut into words the way FTS5's tokenizer `unicode61` with `remove_diacritics 2` cuts them, so
//! that a search finds the same on either database: letters and digits make words, without their case
//! and, where they are Latin, without their marks.

use unicode_normalization::char::{compose, decompose_canonical, is_combining_mark};

/// A longer word is cut, where it stands and where it is looked for: PostgreSQL takes 2 KiB at most.
const MAX_BYTES: usize = 1_000;

/// The words of a text, in order.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    let mut letters = text.chars();
    std::iter::from_fn(move || {
        let first = letters.find(|letter| in_word(*letter))?;
        let mut word = String::new();
        word.push(fold(first));
        for letter in letters.by_ref() {
            if in_word(letter) {
                let letter = fold(letter);
                if word.len() + letter.len_utf8() <= MAX_BYTES {
                    word.push(letter);
                }
            } else if !is_mark(letter) {
                break;
            }
        }
        Some(word)
    })
}

/// Where the words of a text begin.
pub(super) fn beginnings(text: &str) -> impl Iterator<Item = usize> {
    let mut inside = false;
    text.char_indices().filter_map(move |(at, letter)| {
        let begins = in_word(letter) && !inside;
        inside = in_word(letter) || (inside && is_mark(letter));
        begins.then_some(at)
    })
}

/// Unicode's categories of letters, of numbers, and of what is for private use.
fn in_word(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_alphanumeric();
    }
    match letter {
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}' => true,
        // Letters in circles and squares are symbols.
        '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}' => false,
        _ => letter.is_alphanumeric() && !is_combining_mark(letter),
    }
}

/// A mark that is set on Latin letters.
fn is_mark(letter: char) -> bool {
    // All that can be set on a letter so that the two are one.
    ('\u{300}'..='\u{331}').contains(&letter)
        && ('A'..='Z')
            .chain('a'..='z')
            .any(|latin| compose(latin, letter).is_some())
}

fn fold(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    let small = in_small(letter);
    let (mut first, mut parts) = (small, 0);
    decompose_canonical(small, |part| {
        if parts == 0 {
            first = part;
        }
        parts += 1;
    });
    if first.is_ascii_alphabetic() {
        first.to_ascii_lowercase()
    } else {
        small
    }
}

/// By way of the capital: two small letters can have one capital, as the two forms of sigma.
fn in_small(letter: char) -> char {
    if letter == 'ı' {
        return letter;
    }
    let small = single(letter.to_lowercase(), letter);
    let capital = single(small.to_uppercase(), small);
    single(capital.to_lowercase(), small)
}

fn single(mut letters: impl Iterator<Item = char>, otherwise: char) -> char {
    match (letters.next(), letters.next()) {
        (Some(letter), None) => letter,
        _ => otherwise,
    }
}
