//! Values whose shape a client chooses: custom fields, attachments, preferences, payloads of webhooks.
//!
//! [`read`] is the one way in for JSON from outside, and [`FreeObject`] and [`FreeList`] are what use
//! cases take: they can only be made of values within the bounds, so whatever is recorded of them can
//! be read back, however many levels a document or a snapshot wraps around it. Events hold plain
//! values, because what stands in the log is not judged again.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::json;
use crate::limit::{self, Limit, OutOfBounds, Unit};

/// What the parser of JSON begins the names of members with that it reads something else into.
const RESERVED: &str = "$serde_json::private::";

/// How large a JSON text from outside may be, beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub levels: usize,
    /// Members and elements, at whatever depth.
    pub values: usize,
}

/// A request, whose own objects stand around the values that clients choose.
pub const REQUEST: Bounds = Bounds {
    levels: limit::FREE_LEVELS.most + 8,
    values: 50_000,
};

/// Why a text was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the text is not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error(transparent)]
    OutOfBounds(OutOfBounds),
}

/// Reads JSON from outside.
pub fn read(text: &[u8], bounds: &Bounds) -> Result<Value, Unreadable> {
    let reading = Reading {
        left: RefCell::new(*bounds),
        bounds,
        any_name: false,
        exceeded: RefCell::new(None),
    };
    let value = reading.whole(text);
    value.map_err(|error| match reading.exceeded.into_inner() {
        Some(exceeded) => Unreadable::OutOfBounds(exceeded),
        None => Unreadable::NotJson(error),
    })
}

/// Reads JSON of so many levels, whatever its members are called.
pub(crate) fn read_any(text: &[u8], levels: usize) -> serde_json::Result<Value> {
    let bounds = Bounds {
        levels,
        values: usize::MAX,
    };
    let reading = Reading {
        left: RefCell::new(bounds),
        bounds: &bounds,
        any_name: true,
        exceeded: RefCell::new(None),
    };
    reading.whole(text)
}

/// One reading of a text. The parser's own errors have no types, so a bound that is exceeded is put
/// down here.
struct Reading<'b> {
    bounds: &'b Bounds,
    left: RefCell<Bounds>,
    /// Nobody minds what members are called.
    any_name: bool,
    exceeded: RefCell<Option<OutOfBounds>>,
}

impl Reading<'_> {
    fn whole(&self, text: &[u8]) -> serde_json::Result<Value> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        // The bounds say how deep it may be.
        deserializer.disable_recursion_limit();
        let value = self.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    }

    fn refuse<E: serde::de::Error>(&self, exceeded: OutOfBounds) -> E {
        let error = E::custom(&exceeded);
        self.exceeded.replace(Some(exceeded));
        error
    }

    /// Counts a member or an element.
    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        let mut left = self.left.borrow_mut();
        left.values = left
            .values
            .checked_sub(1)
            .ok_or_else(|| self.refuse(too_much(self.bounds.values, Unit::Values)))?;
        Ok(())
    }

    /// Goes one level down.
    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        let mut left = self.left.borrow_mut();
        left.levels = left
            .levels
            .checked_sub(1)
            .ok_or_else(|| self.refuse(too_much(self.bounds.levels, Unit::Levels)))?;
        Ok(())
    }

    fn leave(&self) {
        self.left.borrow_mut().levels += 1;
    }
}

fn too_much(most: usize, unit: Unit) -> OutOfBounds {
    OutOfBounds::TooMuch {
        field: "body".into(),
        most,
        unit,
    }
}

impl<'de> DeserializeSeed<'de> for &Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            self.count()?;
            list.push(element);
        }
        self.leave();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.count()?;
            if !self.any_name {
                check_name(&name).map_err(|exceeded| self.refuse(exceeded.of("body")))?;
            }
            object.insert(name, members.next_value_seed(self)?);
        }
        self.leave();
        Ok(Value::Object(object))
    }
}

fn check_name(name: &str) -> Result<(), OutOfBounds> {
    if name.starts_with(RESERVED) {
        let field = limit::FREE_NAME.field.into();
        return Err(OutOfBounds::ReservedName { field });
    }
    limit::FREE_NAME.check_count(name.len())
}

/// What is left of the bounds of a value.
struct Left {
    values: usize,
}

impl Left {
    fn check(&mut self, value: &Value, level: usize) -> Result<(), OutOfBounds> {
        match value {
            Value::Array(elements) => {
                self.enter(elements.len(), level)?;
                elements
                    .iter()
                    .try_for_each(|element| self.check(element, level + 1))
            }
            Value::Object(members) => self.check_object(members, level),
            _ => Ok(()),
        }
    }

    fn check_object(
        &mut self,
        members: &Map<String, Value>,
        level: usize,
    ) -> Result<(), OutOfBounds> {
        self.enter(members.len(), level)?;
        members.iter().try_for_each(|(name, value)| {
            check_name(name)?;
            self.check(value, level + 1)
        })
    }

    fn enter(&mut self, values: usize, level: usize) -> Result<(), OutOfBounds> {
        limit::FREE_LEVELS.check_count(level)?;
        self.values = self
            .values
            .checked_sub(values)
            .ok_or_else(|| limit::FREE_VALUES.exceeded())?;
        Ok(())
    }
}

const WHOLE: Left = Left {
    values: limit::FREE_VALUES.most,
};

/// How many bytes a value has as JSON.
pub fn size(value: &impl Serialize) -> usize {
    struct Count(usize);

    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        // What can't be written is never small enough.
        Err(_) => usize::MAX,
    }
}

/// Taken apart, a value has up to a hundred bytes for each that it has as JSON: for so many bytes that a
/// field takes it takes one member or element.
const BYTES_PER_VALUE: usize = 64;

/// How many members and elements a field takes.
pub const fn values_within(limit: &Limit) -> usize {
    limit.most / BYTES_PER_VALUE
}

macro_rules! free {
    ($($(#[$doc:meta])* $name:ident($inner:ty) by $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Takes a value from outside.
            pub fn parse(value: $inner) -> Result<Self, OutOfBounds> {
                let check: fn(&mut Left, &$inner) -> Result<(), OutOfBounds> = $check;
                check(&mut { WHOLE }, &value)?;
                limit::FREE_BYTES.check_count(size(&value))?;
                Ok(Self(value))
            }

            /// Refuses a value that has more bytes than a field takes, or more members and elements.
            pub fn check(&self, limit: &Limit) -> Result<(), OutOfBounds> {
                limit.check_count(size(&self.0))?;
                let check: fn(&mut Left, &$inner) -> Result<(), OutOfBounds> = $check;
                let values = values_within(limit);
                let checked = check(&mut Left { values }, &self.0);
                checked.map_err(|_| too_much(values, Unit::Values).of(limit.field))
            }

            pub fn into_inner(self) -> $inner {
                self.0
            }
        }

        impl Deref for $name {
            type Target = $inner;

            fn deref(&self) -> &$inner {
                &self.0
            }
        }
    )*};
}

free! {
    /// An object of a client's own making, within the bounds.
    FreeObject(Map<String, Value>) by |left, members| left.check_object(members, 1);
    /// A list of a client's own making, within the bounds.
    FreeList(Vec<Value>) by |left, elements| {
        left.enter(elements.len(), 1)?;
        elements.iter().try_for_each(|element| left.check(element, 2))
    };
    /// Any value of a client's own making, within the bounds.
    FreeValue(Value) by |left, value| left.check(value, 1);
}

/// A list or an object of a client's making as it is kept in memory for long: as its JSON, which has a small
/// part of the bytes that it has taken apart. Written and read it is what it stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept<T> {
    /// Nothing for an empty one.
    json: Option<Arc<str>>,
    value: PhantomData<fn() -> T>,
}

pub type KeptObject = Kept<Map<String, Value>>;
pub type KeptList = Kept<Vec<Value>>;

/// What can be kept so.
pub trait Keepable: Serialize + DeserializeOwned + Default {
    /// Its JSON where there is nothing in it.
    const EMPTY: &str;
}

impl Keepable for Map<String, Value> {
    const EMPTY: &str = "{}";
}

impl Keepable for Vec<Value> {
    const EMPTY: &str = "[]";
}

impl<T> Kept<T> {
    pub fn is_empty(&self) -> bool {
        self.json.is_none()
    }

    /// How many bytes of JSON it has.
    pub fn size(&self) -> usize {
        self.json.as_deref().map_or(0, str::len)
    }
}

impl<T: Keepable> Kept<T> {
    fn new(json: &str) -> Self {
        Self {
            json: (json != T::EMPTY).then(|| json.into()),
            value: PhantomData,
        }
    }

    /// Takes it apart.
    pub fn read(&self) -> T {
        // It was written by the same library.
        let read = |json: &str| json::from_str(json).ok();
        self.json.as_deref().and_then(read).unwrap_or_default()
    }
}

impl<T: Keepable> From<T> for Kept<T> {
    fn from(value: T) -> Self {
        // JSON can be written of whatever was made of JSON.
        Self::new(&serde_json::to_string(&value).unwrap_or_default())
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            json: None,
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.json.as_deref().unwrap_or_default())
    }
}

impl<T: Keepable> Serialize for Kept<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.json {
            // Into JSON it goes as it is.
            Some(json) if serializer.is_human_readable() => {
                let raw: &RawValue = serde_json::from_str(json).map_err(S::Error::custom)?;
                raw.serialize(serializer)
            }
            _ => self.read().serialize(serializer),
        }
    }
}

impl<'de, T: Keepable> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return T::deserialize(deserializer).map(Self::from);
        }
        // It is not taken apart, only looked through.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with(&T::EMPTY[..1]) {
            return Ok(Self::new(raw.get()));
        }
        let expected = format!("expected something like {}", T::EMPTY);
        Err(serde::de::Error::custom(expected))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!([]), |inner, level| {
            if level % 2 == 0 {
                json!([inner])
            } else {
                json!({ "a": inner })
            }
        })
    }

    fn refusal(text: &str, bounds: Bounds) -> String {
        read(text.as_bytes(), &bounds).unwrap_err().to_string()
    }

    #[test]
    fn a_text_within_the_bounds_is_read_as_it_is() {
        let value = json!({ "a": [1, -2, 0.5, true, null, "ü", {}], "b": { "c": [] } });
        let text = value.to_string();
        assert_eq!(read(text.as_bytes(), &REQUEST).unwrap(), value);
    }

    #[test]
    fn a_text_out_of_bounds_is_refused_as_soon_as_that_shows() {
        let small = Bounds {
            levels: 3,
            values: 4,
        };
        assert!(read(b"[[[1]],2]", &small).is_ok());
        assert_eq!(
            refusal("[[[[", small),
            "The field \"body\" takes at most 3 levels of nesting"
        );
        assert_eq!(
            refusal("[1,2,3,4,5", small),
            "The field \"body\" takes at most 4 values"
        );
        let name = "n".repeat(limit::FREE_NAME.most + 1);
        assert!(refusal(&json!({ name: 1 }).to_string(), REQUEST).contains("name of a member"));
        assert!(matches!(
            read(b"{} {}", &REQUEST),
            Err(Unreadable::NotJson(_))
        ));
    }

    #[test]
    fn nothing_is_taken_that_the_parser_reads_something_else_into() {
        let value = json!({ "a": { "$serde_json::private::RawValue": "[[1]]" } });
        assert!(refusal(&value.to_string(), REQUEST).contains("$serde_json"));
        let Value::Object(object) = value else {
            unreachable!()
        };
        assert!(FreeObject::parse(object).is_err());
    }

    #[test]
    fn a_field_takes_a_value_for_so_many_bytes() {
        let field = &limit::ROOM_FIELDS;
        let most = values_within(field);
        let object = |values: usize| {
            let object = json!({ "a": vec![0; values - 1] });
            FreeObject::parse(object.as_object().unwrap().clone()).unwrap()
        };
        object(most).check(field).unwrap();
        let refused = object(most + 1).check(field).unwrap_err().to_string();
        assert!(
            refused.contains("customFields") && refused.contains("values"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_kept_is_written_and_read_as_what_it_stands_for() {
        let list = json!([1, { "b": [], "a": "\u{1}" }, null]);
        let kept: KeptList = serde_json::from_value(list.clone()).unwrap();
        assert_eq!(Value::Array(kept.read()), list);
        assert_eq!(json!({ "kept": kept }), json!({ "kept": list }));
        assert_eq!(serde_json::to_string(&kept).unwrap(), list.to_string());
        assert_eq!(kept.size(), list.to_string().len());
        let empty: KeptObject = serde_json::from_str("{}").unwrap();
        assert!(empty.is_empty());
        assert_eq!(serde_json::to_string(&empty).unwrap(), "{}");
    }

    #[test]
    fn a_free_value_is_bounded_in_depth_number_and_size() {
        let levels = limit::FREE_LEVELS.most;
        assert!(FreeValue::parse(nested(levels)).is_ok());
        let deeper = FreeValue::parse(nested(levels + 1)).unwrap_err();
        assert_eq!(deeper, limit::FREE_LEVELS.exceeded());

        let many = vec![Value::Null; limit::FREE_VALUES.most];
        assert!(FreeList::parse(many.clone()).is_ok());
        let more = FreeList::parse([many, vec![Value::Null]].concat()).unwrap_err();
        assert_eq!(more, limit::FREE_VALUES.exceeded());

        // The quotes count, too.
        let long = "x".repeat(limit::FREE_BYTES.most - 2);
        assert!(FreeValue::parse(json!(long)).is_ok());
        let longer = FreeValue::parse(json!(format!("{long}x"))).unwrap_err();
        assert_eq!(longer, limit::FREE_BYTES.exceeded());
    }
}
