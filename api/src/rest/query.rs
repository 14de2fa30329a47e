//! `query`: the subset of MongoDB's language that lists are filtered with.
//!
//! Comparisons, `$in`, `$exists`, `$regex`, `$and`, `$or` and `$not`, over the members that an
//! endpoint names. Nothing that runs code.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::failure::Failure;

/// How large a compiled expression may be, in bytes; clients write them.
const MAX_EXPRESSION: usize = 256 * 1024;

/// How deep conditions may be nested.
const MAX_DEPTH: usize = 8;

/// A filter that was read and found harmless.
#[derive(Debug)]
pub struct Query(Condition);

#[derive(Debug)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Member { path: Vec<String>, test: Test },
}

#[derive(Debug)]
enum Test {
    Equals(Value),
    In(Vec<Value>),
    Exists(bool),
    Compare(Vec<Ordering>, Value),
    Matches(Regex),
}

impl Query {
    /// Reads a filter over members that `allowed` names (with what is inside them).
    pub fn read(query: &Map<String, Value>, allowed: &[&str]) -> Result<Self, Failure> {
        object(query, allowed, 0).map(Self)
    }

    /// Whether an object passes.
    pub fn admits(&self, object: &Map<String, Value>) -> bool {
        self.0.holds(object)
    }
}

fn invalid(what: &str) -> Failure {
    Failure::refused(
        "error-invalid-query",
        &format!("Invalid query: {what} is not allowed"),
    )
}

fn object(
    query: &Map<String, Value>,
    allowed: &[&str],
    depth: usize,
) -> Result<Condition, Failure> {
    if depth > MAX_DEPTH {
        return Err(invalid("so deep a nesting"));
    }
    let conditions = query.iter().map(|(name, value)| match name.as_str() {
        "$and" => list(value, allowed, depth).map(Condition::All),
        "$or" => list(value, allowed, depth).map(Condition::Any),
        _ if name.starts_with('$') => Err(invalid(name)),
        _ => member(name, value, allowed),
    });
    conditions.collect::<Result<_, _>>().map(Condition::All)
}

fn list(value: &Value, allowed: &[&str], depth: usize) -> Result<Vec<Condition>, Failure> {
    let values = value.as_array().ok_or_else(|| invalid("no list there"))?;
    let objects = values.iter().map(|value| match value {
        Value::Object(query) => object(query, allowed, depth + 1),
        _ => Err(invalid("anything but objects in that list")),
    });
    objects.collect()
}

fn member(name: &str, value: &Value, allowed: &[&str]) -> Result<Condition, Failure> {
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    if !allowed.contains(&path[0].as_str()) {
        return Err(invalid(name));
    }
    let operators = value
        .as_object()
        .filter(|object| object.keys().any(|key| key.starts_with('$')));
    let Some(operators) = operators else {
        let test = Test::Equals(value.clone());
        return Ok(Condition::Member { path, test });
    };
    let tests = operators
        .iter()
        .filter(|(operator, _)| *operator != "$options")
        .map(|(operator, value)| {
            let of = |test| Condition::Member {
                path: path.clone(),
                test,
            };
            let not = |test| Condition::Not(Box::new(of(test)));
            let compare =
                |orderings: &[Ordering]| Ok(of(Test::Compare(orderings.to_vec(), value.clone())));
            match operator.as_str() {
                "$eq" => Ok(of(Test::Equals(value.clone()))),
                "$ne" => Ok(not(Test::Equals(value.clone()))),
                "$in" => values(value).map(|values| of(Test::In(values))),
                "$nin" => values(value).map(|values| not(Test::In(values))),
                "$exists" => Ok(of(Test::Exists(is_true(value)))),
                "$gt" => compare(&[Ordering::Greater]),
                "$gte" => compare(&[Ordering::Greater, Ordering::Equal]),
                "$lt" => compare(&[Ordering::Less]),
                "$lte" => compare(&[Ordering::Less, Ordering::Equal]),
                "$regex" => expression(value, operators.get("$options"))
                    .map(|expression| of(Test::Matches(expression))),
                "$not" => member(name, value, allowed)
                    .map(|condition| Condition::Not(Box::new(condition))),
                _ => Err(invalid(operator)),
            }
        });
    tests.collect::<Result<_, _>>().map(Condition::All)
}

fn values(value: &Value) -> Result<Vec<Value>, Failure> {
    let values = value.as_array().cloned();
    values.ok_or_else(|| invalid("no list there"))
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_i64() != Some(0))
}

fn expression(pattern: &Value, options: Option<&Value>) -> Result<Regex, Failure> {
    let pattern = pattern.as_str().ok_or_else(|| invalid("that $regex"))?;
    let options = options.and_then(Value::as_str).unwrap_or_default();
    RegexBuilder::new(pattern)
        .case_insensitive(options.contains('i'))
        .multi_line(options.contains('m'))
        .dot_matches_new_line(options.contains('s'))
        .size_limit(MAX_EXPRESSION)
        .build()
        .map_err(|_| invalid("that $regex"))
}

impl Condition {
    fn holds(&self, object: &Map<String, Value>) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|one| one.holds(object)),
            Self::Any(conditions) => conditions.iter().any(|one| one.holds(object)),
            Self::Not(condition) => !condition.holds(object),
            Self::Member { path, test } => {
                let mut found = Vec::new();
                if let Some(value) = object.get(&path[0]) {
                    gather(value, &path[1..], &mut found);
                }
                test.holds(&found)
            }
        }
    }
}

/// The values at a path, through lists: a list stands for its elements and for itself.
fn gather<'v>(value: &'v Value, path: &[String], found: &mut Vec<&'v Value>) {
    if let Value::Array(elements) = value {
        for element in elements {
            gather(element, path, found);
        }
    }
    match (path, value) {
        ([], _) => found.push(value),
        ([name, rest @ ..], Value::Object(members)) => {
            if let Some(value) = members.get(name) {
                gather(value, rest, found);
            }
        }
        _ => {}
    }
}

impl Test {
    fn holds(&self, found: &[&Value]) -> bool {
        match self {
            // What is not there equals null, as in MongoDB.
            Self::Equals(Value::Null) => found.iter().all(|value| value.is_null()),
            Self::Equals(wanted) => found.contains(&wanted),
            Self::In(wanted) => found.iter().any(|value| wanted.contains(value)),
            Self::Exists(wanted) => found.is_empty() != *wanted,
            Self::Compare(orderings, bound) => found.iter().any(|value| {
                compare(value, bound).is_some_and(|ordering| orderings.contains(&ordering))
            }),
            Self::Matches(expression) => found
                .iter()
                .any(|value| value.as_str().is_some_and(|text| expression.is_match(text))),
        }
    }
}

fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    // A date is written as text in answers and as `{"$date": …}` in queries.
    let other = other.get("$date").unwrap_or(other);
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALLOWED: &[&str] = &["name", "age", "emails", "customFields"];

    fn admits(query: Value, object: Value) -> bool {
        let query = Query::read(query.as_object().unwrap(), ALLOWED).unwrap();
        query.admits(object.as_object().unwrap())
    }

    #[test]
    fn members_are_compared_also_inside_of_others() {
        let mary = json!({
            "name": "Mary", "age": 40,
            "emails": [{ "address": "m@x.y" }], "customFields": { "team": "a" }
        });
        let holding = [
            json!({ "name": "Mary" }),
            json!({ "emails.address": "m@x.y" }),
            json!({ "customFields.team": { "$in": ["a", "b"] } }),
            json!({ "age": { "$gt": 39, "$lte": 40 } }),
            json!({ "name": { "$regex": "^ma", "$options": "i" } }),
            json!({ "$or": [{ "name": "Joe" }, { "age": 40 }] }),
            json!({ "name": { "$not": { "$regex": "x" } } }),
            json!({ "customFields.other": null }),
        ];
        for query in holding {
            assert!(admits(query.clone(), mary.clone()), "{query}");
        }
        let failing = [
            json!({ "name": "mary" }),
            json!({ "name": { "$ne": "Mary" } }),
            json!({ "age": { "$lt": 40 } }),
            json!({ "customFields.other": { "$exists": true } }),
            json!({ "$and": [{ "name": "Mary" }, { "age": 1 }] }),
        ];
        for query in failing {
            assert!(!admits(query.clone(), mary.clone()), "{query}");
        }
    }

    #[test]
    fn what_is_not_harmless_is_refused() {
        let queries = [
            json!({ "password": 1 }),
            json!({ "$where": "sleep(1)" }),
            json!({ "name": { "$function": {} } }),
            json!({ "name": { "$regex": "(" } }),
            json!({ "name": { "$regex": "((a{100}){100}){100}" } }),
        ];
        for query in queries {
            assert!(
                Query::read(query.as_object().unwrap(), ALLOWED).is_err(),
                "{query}"
            );
        }
    }
}
