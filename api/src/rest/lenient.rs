//! Reading typed values from what clients really send.
//!
//! Query strings and forms have only texts, and clients send `"50"` for `50` in JSON too.
//! Rocket.Chat coerces them, so values are read here as the type that is asked for, and what does
//! not fit is told in the words of its validator (`must have required property 'roomId'`).
//!
//! A text or a list that is larger than any may be is refused here, whatever it is for; see
//! [`limit`](hansard_domain::limit).

use std::fmt;

use hansard_domain::free::REQUEST;
use hansard_domain::limit::{self, OutOfBounds, Unit};
use serde::de::value::SeqDeserializer;
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde_json::{Map, Value};

/// What is wrong with a body or a query string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("{0}")]
    Form(String),
    #[error(transparent)]
    OutOfBounds(OutOfBounds),
}

impl Invalid {
    /// Names the field that is out of bounds, where that is not known yet.
    fn within(self, field: &str) -> Self {
        match self {
            Self::OutOfBounds(excess) if excess.field().is_empty() => {
                Self::OutOfBounds(excess.of(field.to_owned()))
            }
            other => other,
        }
    }
}

/// Where values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Body,
    /// An empty text is as good as none.
    Query,
}

/// Reads a `T` from a JSON value.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Invalid> {
    let source = Source::Body;
    T::deserialize(Lenient { value, source })
}

/// Reads a `T` from a query string, where an optional value that is empty is none.
pub fn read_query<T: DeserializeOwned>(encoded: &[u8]) -> Result<T, Invalid> {
    let source = Source::Query;
    let value = pairs(encoded)?;
    T::deserialize(Lenient { value, source })
}

/// What a form says.
pub fn form(encoded: &[u8]) -> Result<Value, Invalid> {
    pairs(encoded)
}

/// Reads a part of an object whose members stand beside those of others; for
/// `#[serde(flatten, deserialize_with = …)]`, whose own way of reading takes nothing for anything else.
pub fn beside<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: de::Deserializer<'de>,
    T: DeserializeOwned,
{
    let members = Map::deserialize(deserializer)?;
    read(Value::Object(members)).map_err(de::Error::custom)
}

/// Reads one of several forms that are made of texts; for `#[serde(deserialize_with = …)]` of an
/// untagged enum, whose own way of reading takes nothing for anything else.
pub fn texts<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: de::Deserializer<'de>,
    T: DeserializeOwned,
{
    let text = |value: &mut Value| {
        if let Value::Number(_) | Value::Bool(_) = value {
            *value = Value::String(value.to_string());
        }
    };
    let mut value = Value::deserialize(deserializer)?;
    text(&mut value);
    if let Value::Object(members) = &mut value {
        members.values_mut().for_each(text);
    }
    read(value).map_err(|_| de::Error::custom("must match a schema in anyOf"))
}

/// `name[]=…` and repeated names are arrays.
fn pairs(encoded: &[u8]) -> Result<Value, Invalid> {
    let mut object = Map::new();
    for (count, (name, text)) in form_urlencoded(encoded).enumerate() {
        if count == REQUEST.values {
            return Err(Invalid::OutOfBounds(OutOfBounds::TooMuch {
                field: "body".into(),
                most: REQUEST.values,
                unit: Unit::Values,
            }));
        }
        let text = Value::String(text);
        let (name, many) = match name.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        limit::FREE_NAME
            .check_count(name.len())
            .map_err(|excess| Invalid::OutOfBounds(excess.of("body")))?;
        match object.get_mut(name) {
            Some(Value::Array(texts)) => texts.push(text),
            Some(first) if !many => *first = Value::Array(vec![first.take(), text]),
            _ if many => drop(object.insert(name.to_owned(), Value::Array(vec![text]))),
            _ => drop(object.insert(name.to_owned(), text)),
        }
    }
    Ok(Value::Object(object))
}

/// `name=text&…` with `+` and percent signs decoded; what is not UTF-8 is replaced.
pub fn form_urlencoded(encoded: &[u8]) -> impl Iterator<Item = (String, String)> + '_ {
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
        Self::Form(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Form(format!("must have required property '{field}'"))
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::Form("must NOT have additional properties".to_owned())
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::Form("must be equal to one of the allowed values".to_owned())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Form(format!("must be {}", name_of(&expected.to_string())))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Form(format!("must be {}", name_of(&expected.to_string())))
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

struct Lenient {
    value: Value,
    source: Source,
}

impl Lenient {
    /// What is wrong with a value, for an error that does not repeat it.
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(_) => Unexpected::Other("a number"),
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }

    fn check_text(&self, text: &str) -> Result<(), Invalid> {
        let most = match self.source {
            Source::Body => limit::TEXT,
            Source::Query => limit::QUERY_TEXT,
        };
        most.check(text)
            .map_err(|excess| Invalid::OutOfBounds(excess.of("")))
    }

    fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::String(text) => self.source == Source::Query && text.is_empty(),
            _ => false,
        }
    }
}

impl IntoDeserializer<'_, Invalid> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The members of an object. An error tells of the member it is about.
struct Members {
    left: serde_json::map::IntoIter,
    current: Option<(String, Value)>,
    source: Source,
}

impl<'de> MapAccess<'de> for Members {
    type Error = Invalid;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Invalid> {
        self.current = self.left.next();
        let name = self.current.as_ref().map(|(name, _)| name.as_str());
        name.map(|name| seed.deserialize(name.into_deserializer()))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Invalid> {
        let (name, value) = self.current.take().unwrap_or_default();
        let source = self.source;
        seed.deserialize(Lenient { value, source })
            .map_err(|error| error.within(&name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

/// A whole number, also where it is written as `5.0`.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
            let read = match &self.value {
                Value::String(text) => text.trim().parse().ok(),
                Value::Number(number) if number.is_f64() => number.as_f64().and_then(whole),
                _ => return self.deserialize_any(visitor),
            };
            match read {
                Some(number) => visitor.visit_i64(number),
                None => Err(de::Error::invalid_type(self.unexpected(), &"i64")),
            }
        }
    )*};
}

macro_rules! floats {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
            let Value::String(text) = &self.value else {
                return self.deserialize_any(visitor);
            };
            // Neither of the texts that Rust takes for numbers and JSON does not: `NaN`, `inf`.
            match text.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => visitor.visit_f64(number),
                _ => Err(de::Error::invalid_type(self.unexpected(), &"f64")),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Lenient {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let source = self.source;
        match self.value {
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
                let values = values.into_iter().map(|value| Lenient { value, source });
                visitor.visit_seq(SeqDeserializer::new(values))
            }
            Value::Object(members) => visitor.visit_map(Members {
                left: members.into_iter(),
                current: None,
                source,
            }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match &self.value {
            Value::String(text) if text == "true" || text == "1" => visitor.visit_bool(true),
            Value::String(text) if text == "false" || text == "0" => visitor.visit_bool(false),
            Value::Number(number) if number.as_u64() == Some(1) => visitor.visit_bool(true),
            Value::Number(number) if number.as_u64() == Some(0) => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    floats! {
        deserialize_f32 deserialize_f64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match &self.value {
            Value::Number(number) => visitor.visit_string(number.to_string()),
            Value::Bool(value) => visitor.visit_string(value.to_string()),
            Value::String(text) => {
                self.check_text(text)?;
                self.deserialize_any(visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        if self.is_nothing() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match &self.value {
            _ if self.source == Source::Query && self.is_nothing() => {
                visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<Self>()))
            }
            // One value where a query string means a list of one.
            Value::String(_) => visitor.visit_seq(SeqDeserializer::new(std::iter::once(self))),
            Value::Array(values) => {
                limit::LIST
                    .check_count(values.len())
                    .map_err(|excess| Invalid::OutOfBounds(excess.of("")))?;
                self.deserialize_any(visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        self.value
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

/// A text or several, for parameters that take either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_u64<E>(self, number: u64) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![number.to_string()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<OneOrMany, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = texts.next_element()? {
                    all.push(text);
                    limit::LIST
                        .check_count(all.len())
                        .map_err(de::Error::custom)?;
                }
                Ok(OneOrMany(all))
            }
        }

        deserializer.deserialize_any(Texts)
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
        read_query(encoded.as_bytes())
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
        let told = |encoded| query(encoded).unwrap_err().to_string();
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

    #[derive(Debug, PartialEq, Deserialize)]
    struct Beside {
        #[serde(flatten, deserialize_with = "beside")]
        query: Query,
        own: Option<bool>,
    }

    #[test]
    fn members_beside_others_are_coerced_like_all() {
        let body = json!({ "roomId": 5, "count": "7", "inclusive": "true", "own": "0" });
        let read: Beside = read(body).unwrap();
        assert_eq!(read.query.room_id, "5");
        assert_eq!(
            (read.query.count, read.query.inclusive, read.own),
            (Some(7), Some(true), Some(false))
        );
    }

    #[test]
    fn an_empty_parameter_is_none_but_an_empty_text_in_a_body_is_one() {
        let read = query("roomId=&count=&inclusive=&users=&kind=").unwrap();
        let expected = Query {
            room_id: String::new(),
            count: None,
            inclusive: None,
            users: vec![],
            kind: None,
        };
        assert_eq!(read, expected);
        let told = super::read::<Query>(json!({ "roomId": "x", "count": "" })).unwrap_err();
        assert_eq!(told.to_string(), "must be integer");
        let read: OneOrMany = super::read(json!("")).unwrap();
        assert_eq!(read.0, [""]);
    }

    #[test]
    fn a_number_is_whole_and_within_its_type() {
        for (count, read) in [
            (json!(7), Some(7)),
            (json!(7.0), Some(7)),
            (json!("7"), Some(7)),
            (json!(7.5), None),
            (json!("7.5"), None),
            (json!(-1), None),
            (json!("-1"), None),
            (json!(1e300), None),
            (json!("1e300"), None),
            (json!("NaN"), None),
            (json!([7, 8]), None),
            (json!({ "$gt": 7 }), None),
        ] {
            let body = json!({ "roomId": "x", "count": count });
            let found = super::read::<Query>(body).ok().and_then(|read| read.count);
            assert_eq!(found, read, "{count}");
        }
        assert!(super::read::<f64>(json!("NaN")).is_err());
        assert_eq!(super::read::<f64>(json!("0.5")), Ok(0.5));
    }

    #[test]
    fn what_is_too_large_is_told_by_its_name() {
        let long = "x".repeat(limit::TEXT.most + 1);
        let told = super::read::<Query>(json!({ "roomId": long })).unwrap_err();
        assert_eq!(
            told.to_string(),
            "The field \"roomId\" takes at most 262144 characters"
        );
        let users = vec!["x"; limit::LIST.most + 1];
        let told = super::read::<Query>(json!({ "roomId": "x", "users": users })).unwrap_err();
        assert_eq!(
            told.to_string(),
            "The field \"users\" takes at most 10000 entries"
        );
        let told = query(&format!("roomId={}", "x".repeat(9000))).unwrap_err();
        assert!(
            told.to_string().starts_with("The field \"roomId\""),
            "{told}"
        );
    }
}
