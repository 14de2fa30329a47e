//! `query`: a safe subset of MongoDB's filters, applied to rooms as they are answered.

use regex::RegexBuilder;
use serde_json::{Map, Value};

use crate::rest::failure::Failure;

/// The longest pattern that is compiled, in bytes.
const LONGEST_PATTERN: usize = 256;

/// How deep a filter may be nested.
const DEEPEST: usize = 4;

/// Whether an object passes a filter. An error for what is not understood: to leave it out would let
/// through more than was asked for.
pub fn matches(filter: &Map<String, Value>, object: &Map<String, Value>) -> Result<bool, Failure> {
    all(filter, object, 0)
}

fn invalid(what: &str) -> Failure {
    Failure::refused(
        "error-invalid-query",
        &format!("Invalid query parameter provided: \"{what}\""),
    )
}

fn all(
    filter: &Map<String, Value>,
    object: &Map<String, Value>,
    depth: usize,
) -> Result<bool, Failure> {
    if depth > DEEPEST {
        return Err(invalid("nested too deep"));
    }
    for (name, wanted) in filter {
        let passes = match name.as_str() {
            "$and" => each(wanted, object, depth)?.into_iter().all(|it| it),
            "$or" => each(wanted, object, depth)?.into_iter().any(|it| it),
            "$nor" => !each(wanted, object, depth)?.into_iter().any(|it| it),
            name if name.starts_with('$') => return Err(invalid(name)),
            path => field(wanted, at(object, path))?,
        };
        if !passes {
            return Ok(false);
        }
    }
    Ok(true)
}

fn each(filters: &Value, object: &Map<String, Value>, depth: usize) -> Result<Vec<bool>, Failure> {
    let filters = filters
        .as_array()
        .ok_or_else(|| invalid("a list of filters is needed"))?;
    filters
        .iter()
        .map(|filter| match filter {
            Value::Object(filter) => all(filter, object, depth + 1),
            _ => Err(invalid("a filter is an object")),
        })
        .collect()
}

fn at<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = object.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

fn field(wanted: &Value, found: Option<&Value>) -> Result<bool, Failure> {
    let Value::Object(operators) = wanted else {
        return Ok(equals(wanted, found));
    };
    if !operators.keys().any(|name| name.starts_with('$')) {
        return Ok(found == Some(wanted));
    }
    for (name, wanted) in operators {
        let list = || wanted.as_array().ok_or_else(|| invalid(name));
        let passes = match name.as_str() {
            "$eq" => equals(wanted, found),
            "$ne" => !equals(wanted, found),
            "$in" => list()?.iter().any(|wanted| equals(wanted, found)),
            "$nin" => !list()?.iter().any(|wanted| equals(wanted, found)),
            "$exists" => found.is_some() == wanted.as_bool().unwrap_or(true),
            "$gt" => ordered(wanted, found).is_some_and(|order| order.is_gt()),
            "$gte" => ordered(wanted, found).is_some_and(|order| order.is_ge()),
            "$lt" => ordered(wanted, found).is_some_and(|order| order.is_lt()),
            "$lte" => ordered(wanted, found).is_some_and(|order| order.is_le()),
            "$not" => !field(wanted, found)?,
            "$regex" => {
                let options = operators.get("$options").and_then(Value::as_str);
                pattern(wanted, options.unwrap_or_default(), found)?
            }
            "$options" => true,
            _ => return Err(invalid(name)),
        };
        if !passes {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A list equals what it holds; null equals what is not there.
fn equals(wanted: &Value, found: Option<&Value>) -> bool {
    match found {
        None => wanted.is_null(),
        Some(Value::Array(values)) => values.contains(wanted) || found == Some(wanted),
        Some(value) => value == wanted,
    }
}

fn ordered(wanted: &Value, found: Option<&Value>) -> Option<std::cmp::Ordering> {
    match (found?, wanted) {
        (Value::Number(found), Value::Number(wanted)) => {
            found.as_f64()?.partial_cmp(&wanted.as_f64()?)
        }
        (Value::String(found), Value::String(wanted)) => Some(found.cmp(wanted)),
        // A date, as JSON of MongoDB writes it.
        (Value::String(found), Value::Object(wanted)) => {
            Some(found.as_str().cmp(wanted.get("$date")?.as_str()?))
        }
        _ => None,
    }
}

fn pattern(wanted: &Value, options: &str, found: Option<&Value>) -> Result<bool, Failure> {
    let wanted = wanted
        .as_str()
        .filter(|pattern| pattern.len() <= LONGEST_PATTERN);
    let wanted = wanted.ok_or_else(|| invalid("$regex"))?;
    let Some(Value::String(found)) = found else {
        return Ok(false);
    };
    let pattern = RegexBuilder::new(wanted)
        .case_insensitive(options.contains('i'))
        .multi_line(options.contains('m'))
        .size_limit(1 << 20)
        .build()
        .map_err(|_| invalid("$regex"))?;
    Ok(pattern.is_match(found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passes(filter: Value) -> bool {
        let object = json!({
            "_id": "r1", "name": "General", "msgs": 7, "u": { "_id": "mary" }, "muted": ["joe"],
        });
        matches(filter.as_object().unwrap(), object.as_object().unwrap()).unwrap()
    }

    #[test]
    fn filters_are_those_of_mongodb() {
        assert!(passes(json!({})));
        assert!(passes(json!({ "name": "General", "u._id": "mary" })));
        assert!(passes(
            json!({ "name": { "$regex": "^gen", "$options": "i" } })
        ));
        assert!(passes(
            json!({ "msgs": { "$gt": 6, "$lte": 7 }, "topic": { "$exists": false } })
        ));
        assert!(passes(
            json!({ "$or": [{ "_id": "x" }, { "muted": "joe" }] })
        ));
        assert!(!passes(json!({ "_id": { "$in": ["x", "y"] } })));
        assert!(!passes(json!({ "$nor": [{ "_id": "r1" }] })));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for filter in [
            json!({ "$where": "1" }),
            json!({ "name": { "$near": 1 } }),
            json!({ "$or": 1 }),
        ] {
            assert!(
                matches(filter.as_object().unwrap(), &Map::new()).is_err(),
                "{filter}"
            );
        }
    }
}
