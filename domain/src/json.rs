//! Reading back what Hansard wrote as JSON itself: events, documents of views, snapshots.
//!
//! What comes from outside is bounded at the door; see [`free`](crate::free). Logs that are older than
//! those bounds hold values that nest as deep as the parser takes (127 levels), and a document or a
//! snapshot wraps some levels around them, which the parser alone would call damaged.

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::error::Category;
use serde_json::{Deserializer, Error, Map, Value};

use crate::free;

/// How deep a text may nest that is read back: twice what a request could ever bring in.
///
/// A level takes some 2 KiB of stack in a debug build, so this fits into a thread of 2 MiB.
pub const DEEPEST: usize = 256;

/// Reads a value that nests at most [`DEEPEST`] levels.
pub fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    serde_json::from_str(text).or_else(|error| again(text.as_bytes(), error))
}

/// Reads a value that nests at most [`DEEPEST`] levels.
pub fn from_slice<'a, T: Deserialize<'a>>(text: &'a [u8]) -> serde_json::Result<T> {
    serde_json::from_slice(text).or_else(|error| again(text, error))
}

/// Reads a value of whatever form that nests at most [`DEEPEST`] levels. Other than the parser's own way
/// it takes no member for anything but what it is: a client could choose its name.
pub fn value(text: &str) -> serde_json::Result<Value> {
    free::read_any(text.as_bytes(), DEEPEST)
}

/// The same for an object.
pub fn object(text: &str) -> serde_json::Result<Map<String, Value>> {
    match value(text)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::custom("it is not an object")),
    }
}

/// The same for a list of objects.
pub fn objects(text: &str) -> serde_json::Result<Vec<Map<String, Value>>> {
    let Value::Array(elements) = value(text)? else {
        return Err(Error::custom("it is not a list"));
    };
    let object = |element| match element {
        Value::Object(members) => Ok(members),
        _ => Err(Error::custom("it is not a list of objects")),
    };
    elements.into_iter().map(object).collect()
}

/// Reads a text that the parser did not take. Its own limit is a syntax error like others; hardly
/// any text comes this far.
fn again<'a, T: Deserialize<'a>>(text: &'a [u8], error: Error) -> serde_json::Result<T> {
    if error.classify() != Category::Syntax || depth(text) > DEEPEST {
        return Err(error);
    }
    let mut deserializer = Deserializer::from_slice(text);
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// How deep a JSON text nests; of a text that is not JSON, at least as deep as a parser goes.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        let (arrays, objects) = (levels / 2, levels - levels / 2);
        format!(
            "{}{}\"[\\\"{{\"{}{}",
            "[".repeat(arrays),
            "{\"a\":".repeat(objects),
            "}".repeat(objects),
            "]".repeat(arrays)
        )
    }

    #[test]
    fn a_text_reads_back_as_deep_as_it_may_be_recorded() {
        for levels in [1, 127, 128, 140, DEEPEST] {
            let text = nested(levels);
            assert_eq!(depth(text.as_bytes()), levels);
            let read: Value = from_str(&text).unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(value(&text).unwrap(), read);
        }
    }

    #[test]
    fn a_text_that_would_exhaust_the_stack_is_refused() {
        for levels in [DEEPEST + 1, 1_000_000] {
            assert!(from_str::<Value>(&nested(levels)).is_err());
            assert!(value(&nested(levels)).is_err());
        }
        assert!(from_str::<Value>(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn a_member_is_what_it_is_whatever_it_is_called() {
        let text = r#"{"a":{"$serde_json::private::RawValue":"not JSON"}}"#;
        assert_eq!(Value::Object(object(text).unwrap()).to_string(), text);
        assert_eq!(objects(&format!("[{text}]")).unwrap().len(), 1);
        assert!(object("[]").is_err() && objects("[[]]").is_err() && value("{} {}").is_err());
    }

    #[test]
    fn a_number_reads_back_to_the_last_digit() {
        for number in [
            0.1,
            1.797_693_134_862_315_7e308,
            5e-324,
            123_456.789_012_345_67,
        ] {
            let text = Value::from(number).to_string();
            assert_eq!(from_str::<Value>(&text).unwrap(), Value::from(number));
        }
        let text = "[9007199254740993.5,2.2250738585072011e-308,7.2057594037927933e16]";
        let read: Value = from_str(text).unwrap();
        assert_eq!(from_str::<Value>(&read.to_string()).unwrap(), read);
    }
}
