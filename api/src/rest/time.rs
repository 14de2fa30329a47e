//! Times as clients write them. A time outside of the years 1 to 9999 is none.

use hansard_domain::id::Timestamp;
use serde_json::Value;

/// ISO 8601, or milliseconds since 1970.
pub fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| Timestamp::of_millis(text.trim().parse().ok()?))
}

/// The same as a value of JSON: a text, a number, or `{"$date": …}` around one of them.
pub fn time_in(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => time(text),
        Value::Number(number) => Timestamp::of_millis(number.as_i64()?),
        Value::Object(date) => match date.get("$date")? {
            Value::Object(_) => None,
            date => time_in(date),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_a_date_or_milliseconds() {
        let at = Some(Timestamp(1_700_000_000_123));
        assert_eq!(time("2023-11-14T22:13:20.123Z"), at);
        assert_eq!(time(" 1700000000123 "), at);
        for value in [
            json!("2023-11-14T22:13:20.123Z"),
            json!("1700000000123"),
            json!(1_700_000_000_123_i64),
            json!({ "$date": 1_700_000_000_123_i64 }),
            json!({ "$date": "2023-11-14T22:13:20.123Z" }),
        ] {
            assert_eq!(time_in(&value), at, "{value}");
        }
    }

    #[test]
    fn what_no_calendar_holds_is_no_time() {
        for text in [
            "9223372036854775807",
            "-9223372036854775808",
            "1e99",
            "NaN",
            "",
            "soon",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        for value in [
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e300),
            json!(true),
            json!(null),
            json!([]),
            json!({ "$date": { "$date": 5 } }),
        ] {
            assert_eq!(time_in(&value), None, "{value}");
        }
    }
}
