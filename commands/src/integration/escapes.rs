//! Texts of receivers as they are read, whatever their letters were written as.

/// The readings of a text: as it stands, and with what JSON, URLs and HTML write in place of letters
/// undone, also where such a text stands in another one.
pub fn readings(text: &str) -> [String; 3] {
    let once = undone(text);
    let twice = undone(&once);
    [text.to_owned(), once, twice]
}

/// A text without `\u00fc`, `\/`, `%C3%BC`, `&#252;` and `&#xfc;`. No parser's work: an answer is cut
/// somewhere, and need not be what it says it is.
fn undone(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '%', '&']) {
        let (before, from) = rest.split_at(at);
        plain.extend_from_slice(before.as_bytes());
        let (sign, after) = from.split_at(1);
        let undone = match sign {
            "\\" => backslash(from),
            "%" => percent(after),
            _ => reference(after),
        };
        let (letters, left) = undone.unwrap_or((sign.as_bytes().to_vec(), after));
        plain.extend(letters);
        rest = left;
    }
    plain.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&plain).into_owned()
}

/// What an escape stands for, and what comes behind it; `None` if it is none.
type Undone<'a> = Option<(Vec<u8>, &'a str)>;

fn backslash(from: &str) -> Undone<'_> {
    // Two of them may be one letter.
    let (mut units, mut rest) = (Vec::new(), from);
    while let Some((unit, after)) = rest.strip_prefix("\\u").and_then(|rest| hex(rest, 4)) {
        units.push(unit as u16);
        rest = after;
    }
    if !units.is_empty() {
        return Some((String::from_utf16_lossy(&units).into_bytes(), rest));
    }
    let mut behind = from.chars();
    behind.next()?;
    let letter = match behind.next()? {
        'b' | 'f' | 'n' | 'r' | 't' => ' ',
        letter => letter,
    };
    Some((letter.to_string().into_bytes(), behind.as_str()))
}

fn percent(after: &str) -> Undone<'_> {
    let (byte, rest) = hex(after, 2)?;
    Some((vec![byte as u8], rest))
}

fn reference(after: &str) -> Undone<'_> {
    let (number, rest) = after.strip_prefix('#')?.split_once(';')?;
    let letter = match number.strip_prefix(['x', 'X']) {
        Some(number) => u32::from_str_radix(number, 16),
        None => number.parse(),
    };
    let letter = letter.ok().and_then(char::from_u32)?;
    Some((letter.to_string().into_bytes(), rest))
}

/// A number of so many digits, and what comes behind it.
fn hex(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    let all = number.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u32::from_str_radix(number, 16).ok().filter(|_| all)?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_however_they_were_written() {
        for text in [
            "Jürgens",
            r"J\u00fcrgens",
            "J%C3%BCrgens",
            "J&#252;rgens",
            "J&#xFC;rgens",
            // JSON in JSON.
            r"J\\u00fcrgens",
            "J%25C3%25BCrgens",
        ] {
            let read = readings(text);
            assert!(read.contains(&"Jürgens".to_owned()), "{read:?}");
        }
        assert_eq!(undone(r#"\ud83d\ude00 \"a\/b\"\n"#), "😀 \"a/b\" ");
        for text in ["100 %", "%zz", "a & b", "&#;", "&#x110000;", "ü%", "&"] {
            assert_eq!(undone(text), text);
        }
        assert_eq!(undone(r"C:\users\u00"), "C:usersu00");
        assert_eq!(undone("\\"), "\\");
    }
}
