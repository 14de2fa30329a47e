//! Reading typed values from what clients really send.
//!
//! Query strings and forms have only texts, and clients send `"50"` for `50` in JSON too.
//! Rocket.Chat coerces them, so values are read here as the type that is asked for, and what does
//! not fit is told in the words of its validator (`must have required property 'roomId'`).

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Map, Value};

/// What is wrong with a body or a query string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Reads a `T` from a JSON value.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Invalid> {
    T::deserialize(Lenient(value))
}

/// Reads a `T` from a query string or a form. `name[]=…` and repeated names are arrays.
pub fn read_pairs<T: DeserializeOwned>(encoded: &[u8]) -> Result<T, Invalid> {
    let mut object = Map::new();
    for (name, text) in form_urlencoded(encoded) {
        let text = Value::String(text);
        let Some(name) = name.strip_suffix("[]") else {
            match object.get_mut(&name) {
                None => drop(object.insert(name, text)),
                Some(Value::Array(texts)) => texts.push(text),
                Some(first) => *first = Value::Array(vec![first.take(), text]),
            }
            continue;
        };
        match object.get_mut(name) {
            Some(Value::Array(texts)) => texts.push(text),
            _ => drop(object.insert(name.to_owned(), Value::Array(vec![text]))),
        }
    }
    read(Value::Object(object))
}

/// `name=text&…` with `+` and percent signs decoded; what is not UTF-8 is replaced.
fn form_urlencoded(encoded: &[u8]) -> impl Iterator<Item = (String, String)> + '_ {
    encoded
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, text) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            (decode(name), decode(text))
        })
}

fn decode(encoded: &[u8]) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while let Some(&byte) = encoded.get(at) {
        at += 1;
        match (byte, digit(encoded.get(at)), digit(encoded.get(at + 1))) {
            (b'+', ..) => decoded.push(b' '),
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

impl de::Error for Invalid {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self(format!("must have required property '{field}'"))
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self("must NOT have additional properties".to_owned())
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self("must be equal to one of the allowed values".to_owned())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("must be {}", name_of(&expected.to_string())))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("must be {}", name_of(&expected.to_string())))
    }
}

/// The JSON name of a type that serde describes in Rust's words.
fn name_of(expected: &str) -> &str {
    match expected {
        "a boolean" => "boolean",
        "a string" | "a borrowed string" | "a character" => "string",
        "f32" | "f64" => "number",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => {
            "integer"
        }
        _ if expected.starts_with("a sequence") => "array",
        _ if expected.starts_with("struct ") || expected.starts_with("a map") => "object",
        _ => expected,
    }
}

struct Lenient(Value);

impl IntoDeserializer<'_, Invalid> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(_) => Unexpected::Other("a number"),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

macro_rules! numbers {
    ($($method:ident => $visit:ident, $type:ty);* $(;)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
            match &self.0 {
                Value::String(text) => match text.trim().parse::<$type>() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => Err(de::Error::invalid_type(unexpected(&self.0), &visitor)),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Lenient {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (_, _, Some(number)) => visitor.visit_f64(number),
                _ => Err(de::Error::custom("must be number")),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(values) => {
                visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(Lenient)))
            }
            Value::Object(members) => visitor.visit_map(MapDeserializer::new(
                members
                    .into_iter()
                    .map(|(name, value)| (name, Lenient(value))),
            )),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match &self.0 {
            Value::String(text) if text == "true" || text == "1" => visitor.visit_bool(true),
            Value::String(text) if text == "false" || text == "0" => visitor.visit_bool(false),
            Value::Number(number) if number.as_u64() == Some(1) => visitor.visit_bool(true),
            Value::Number(number) if number.as_u64() == Some(0) => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    numbers! {
        deserialize_i8 => visit_i64, i64;
        deserialize_i16 => visit_i64, i64;
        deserialize_i32 => visit_i64, i64;
        deserialize_i64 => visit_i64, i64;
        deserialize_u8 => visit_i64, i64;
        deserialize_u16 => visit_i64, i64;
        deserialize_u32 => visit_i64, i64;
        deserialize_u64 => visit_i64, i64;
        deserialize_f32 => visit_f64, f64;
        deserialize_f64 => visit_f64, f64;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self.0 {
            Value::Number(number) => visitor.visit_string(number.to_string()),
            Value::Bool(value) => visitor.visit_string(value.to_string()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self.0 {
            // One value where a query string means a list of one.
            Value::String(_) => visitor.visit_seq(SeqDeserializer::new(std::iter::once(self))),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        self.0
            .deserialize_enum(name, variants, visitor)
            .map_err(|error| {
                let text = error.to_string();
                if text.starts_with("unknown variant") {
                    de::Error::unknown_variant("", variants)
                } else {
                    de::Error::custom(text)
                }
            })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Query {
        room_id: String,
        count: Option<u32>,
        inclusive: Option<bool>,
        #[serde(default)]
        users: Vec<String>,
        kind: Option<Kind>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Public,
        Private,
    }

    fn query(encoded: &str) -> Result<Query, Invalid> {
        read_pairs(encoded.as_bytes())
    }

    #[test]
    fn texts_become_what_is_asked_for() {
        let expected = Query {
            room_id: "a b&c".into(),
            count: Some(50),
            inclusive: Some(true),
            users: vec!["x".into(), "y".into()],
            kind: Some(Kind::Private),
        };
        let read = query("roomId=a+b%26c&count=50&inclusive=true&users[]=x&users[]=y&kind=private");
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_told_as_the_validator_does() {
        let told = |encoded| query(encoded).unwrap_err().0;
        assert_eq!(told("count=1"), "must have required property 'roomId'");
        assert_eq!(told("roomId=x&count=many"), "must be integer");
        assert_eq!(told("roomId=x&inclusive=perhaps"), "must be boolean");
        assert_eq!(
            told("roomId=x&kind=odd"),
            "must be equal to one of the allowed values"
        );
    }

    #[test]
    fn json_is_coerced_too() {
        let read: Query = read(json!({ "roomId": 5, "count": "7", "inclusive": null })).unwrap();
        assert_eq!(
            (read.room_id.as_str(), read.count, read.inclusive),
            ("5", Some(7), None)
        );
    }

    #[test]
    fn a_single_name_may_be_a_list() {
        assert_eq!(query("roomId=x&users=y").unwrap().users, ["y"]);
        assert_eq!(query("roomId=x&users=y&users=z").unwrap().users, ["y", "z"]);
    }

    #[test]
    fn a_broken_percent_sign_stands_for_itself() {
        assert_eq!(decode(b"100%"), "100%");
        assert_eq!(decode(b"%zz%41"), "%zzA");
    }
}
