//! `query`: the subset of MongoDB's language that lists are filtered with.
//!
//! Comparisons, `$in`, `$exists`, `$regex`, `$and`, `$or` and `$not`, over the members that an
//! endpoint names. Nothing that runs code.
//!
//! Clients write them, so all of a query is bounded: its conditions, its expressions, and the time
//! that it takes. Queries run [aside]. A query is only ever applied to what its client may see: whether something passes
//! tells of what is in it.

use std::cell::Cell;
use std::cmp::Ordering;
use std::time::{Duration, Instant};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::aside;
use super::failure::Failure;
use super::rate_limit::building::Client;
use super::turns::Turn;

/// How large a compiled expression may be, and what it remembers of the texts it looks through, in
/// bytes.
const MAX_EXPRESSION: usize = 64 * 1024;

/// The longest expression, in bytes.
const MAX_PATTERN: usize = 512;

/// How many expressions a query may have.
const MAX_EXPRESSIONS: usize = 8;

/// How many conditions a query may have.
const MAX_CONDITIONS: usize = 64;

/// How deep conditions may be nested.
const MAX_DEPTH: usize = 8;

/// How long a query may look through what there is.
const MAX_TIME: Duration = Duration::from_millis(500);

/// A filter that was read and found harmless, and whose turn it is.
#[derive(Debug)]
pub struct Query {
    condition: Condition,
    turn: Turn,
}

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
    Matches(Box<Regex>),
}

impl Query {
    /// Reads a filter over members that `allowed` names (with what is inside them). Waits until it
    /// may be applied, so read it before what it is to be applied to.
    pub async fn read(
        client: &Client,
        asked: Map<String, Value>,
        allowed: &'static [&'static str],
    ) -> Result<Self, Failure> {
        let turn = aside::query(client).await?;
        let read = tokio::task::spawn_blocking(move || {
            let condition = Reading::of(allowed).object(&asked, 0)?;
            Ok(Self { condition, turn })
        });
        read.await.unwrap_or_else(|_| Err(Failure::internal()))
    }

    /// Leaves of a list what passes; `shown` is what the client sees of each.
    pub async fn filter<T, F>(self, mut list: Vec<T>, shown: F) -> Result<Vec<T>, Failure>
    where
        T: Send + 'static,
        F: Fn(&T) -> Map<String, Value> + Send + 'static,
    {
        let filtered = tokio::task::spawn_blocking(move || {
            let time = Time::until(Instant::now() + MAX_TIME);
            list.retain(|one| !time.is_over() && self.condition.holds(&shown(one), &time));
            drop(self.turn);
            if time.is_over() {
                return Err(too_expensive());
            }
            Ok(list)
        });
        filtered.await.unwrap_or_else(|_| Err(Failure::internal()))
    }
}

/// The time that a query has left.
struct Time {
    until: Instant,
    over: Cell<bool>,
}

impl Time {
    fn until(until: Instant) -> Self {
        let over = Cell::new(false);
        Self { until, over }
    }

    /// Once it is over, it stays over.
    fn is_over(&self) -> bool {
        if !self.over.get() && Instant::now() >= self.until {
            self.over.set(true);
        }
        self.over.get()
    }
}

fn invalid(what: &str) -> Failure {
    Failure::refused(
        "error-invalid-query",
        &format!("Invalid query: {what} is not allowed"),
    )
}

fn too_expensive() -> Failure {
    Failure::refused(
        "error-query-too-expensive",
        "The query takes too long; ask for less, or without $regex",
    )
}

/// One reading of a filter, and what has been found in it so far.
struct Reading {
    allowed: &'static [&'static str],
    conditions: usize,
    expressions: usize,
}

impl Reading {
    fn of(allowed: &'static [&'static str]) -> Self {
        Self {
            allowed,
            conditions: 0,
            expressions: 0,
        }
    }

    fn object(&mut self, query: &Map<String, Value>, depth: usize) -> Result<Condition, Failure> {
        if depth > MAX_DEPTH {
            return Err(invalid("so deep a nesting"));
        }
        let mut conditions = Vec::with_capacity(query.len());
        for (name, value) in query {
            self.count()?;
            conditions.push(match name.as_str() {
                "$and" => self.list(value, depth).map(Condition::All)?,
                "$or" => self.list(value, depth).map(Condition::Any)?,
                _ if name.starts_with('$') => return Err(invalid(&named(name))),
                _ => self.member(name, value, depth)?,
            });
        }
        Ok(Condition::All(conditions))
    }

    fn count(&mut self) -> Result<(), Failure> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(invalid(&format!("more than {MAX_CONDITIONS} conditions")));
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<Vec<Condition>, Failure> {
        let values = value.as_array().ok_or_else(|| invalid("no list there"))?;
        let objects = values.iter().map(|value| match value {
            Value::Object(query) => self.object(query, depth + 1),
            _ => Err(invalid("anything but objects in that list")),
        });
        objects.collect()
    }

    fn member(&mut self, name: &str, value: &Value, depth: usize) -> Result<Condition, Failure> {
        if depth > MAX_DEPTH {
            return Err(invalid("so deep a nesting"));
        }
        let path: Vec<String> = name.split('.').map(str::to_owned).collect();
        if !self.allowed.contains(&path[0].as_str()) {
            return Err(invalid(&named(name)));
        }
        let operators = value
            .as_object()
            .filter(|object| object.keys().any(|key| key.starts_with('$')));
        let Some(operators) = operators else {
            let test = Test::Equals(value.clone());
            return Ok(Condition::Member { path, test });
        };
        let mut tests = Vec::with_capacity(operators.len());
        for (operator, value) in operators {
            if operator == "$options" {
                continue;
            }
            self.count()?;
            let of = |test| Condition::Member {
                path: path.clone(),
                test,
            };
            let not = |condition| Condition::Not(Box::new(condition));
            let compare =
                |orderings: &[Ordering]| of(Test::Compare(orderings.to_vec(), value.clone()));
            tests.push(match operator.as_str() {
                "$eq" => of(Test::Equals(value.clone())),
                "$ne" => not(of(Test::Equals(value.clone()))),
                "$in" => of(Test::In(values(value)?)),
                "$nin" => not(of(Test::In(values(value)?))),
                "$exists" => of(Test::Exists(is_true(value))),
                "$gt" => compare(&[Ordering::Greater]),
                "$gte" => compare(&[Ordering::Greater, Ordering::Equal]),
                "$lt" => compare(&[Ordering::Less]),
                "$lte" => compare(&[Ordering::Less, Ordering::Equal]),
                "$regex" => of(Test::Matches(
                    self.expression(value, operators.get("$options"))?,
                )),
                "$not" => not(self.member(name, value, depth + 1)?),
                _ => return Err(invalid(&named(operator))),
            });
        }
        Ok(Condition::All(tests))
    }

    fn expression(
        &mut self,
        pattern: &Value,
        options: Option<&Value>,
    ) -> Result<Box<Regex>, Failure> {
        self.expressions += 1;
        if self.expressions > MAX_EXPRESSIONS {
            return Err(invalid(&format!("more than {MAX_EXPRESSIONS} $regex")));
        }
        let pattern = pattern.as_str().ok_or_else(|| invalid("that $regex"))?;
        if pattern.len() > MAX_PATTERN {
            return Err(invalid(&format!(
                "a $regex of more than {MAX_PATTERN} bytes"
            )));
        }
        let options = options.and_then(Value::as_str).unwrap_or_default();
        RegexBuilder::new(pattern)
            .case_insensitive(options.contains('i'))
            .multi_line(options.contains('m'))
            .dot_matches_new_line(options.contains('s'))
            .size_limit(MAX_EXPRESSION)
            .dfa_size_limit(MAX_EXPRESSION)
            .build()
            .map(Box::new)
            .map_err(|_| invalid("that $regex"))
    }
}

/// A name as an error repeats it.
fn named(name: &str) -> String {
    name.chars().take(64).collect()
}

fn values(value: &Value) -> Result<Vec<Value>, Failure> {
    let values = value.as_array().cloned();
    values.ok_or_else(|| invalid("no list there"))
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_i64() != Some(0))
}

impl Condition {
    /// Whether an object passes; anything, once the time is over.
    fn holds(&self, object: &Map<String, Value>, time: &Time) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|one| one.holds(object, time)),
            Self::Any(conditions) => conditions.iter().any(|one| one.holds(object, time)),
            Self::Not(condition) => !condition.holds(object, time),
            Self::Member { path, test } => {
                let mut found = Vec::new();
                if let Some(value) = object.get(&path[0]) {
                    gather(value, &path[1..], &mut found);
                }
                test.holds(&found, time)
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
    fn holds(&self, found: &[&Value], time: &Time) -> bool {
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
                .filter_map(|value| value.as_str())
                .any(|text| !time.is_over() && expression.is_match(text)),
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

    fn condition(query: &Value) -> Result<Condition, Failure> {
        Reading::of(ALLOWED).object(query.as_object().unwrap(), 0)
    }

    fn admits(query: Value, object: Value) -> bool {
        let time = Time::until(Instant::now() + Duration::from_secs(60));
        let condition = condition(&query).unwrap();
        condition.holds(object.as_object().unwrap(), &time)
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
            assert!(condition(&query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_query_is_bounded_in_all_that_costs() {
        let any = |conditions: Vec<Value>| json!({ "$or": conditions });
        let equal = |count: usize| any(vec![json!({ "name": "Mary" }); count]);
        assert!(condition(&equal(MAX_CONDITIONS - 1)).is_ok());
        assert!(condition(&equal(MAX_CONDITIONS)).is_err());
        let matching = |count: usize| any(vec![json!({ "name": { "$regex": "a" } }); count]);
        assert!(condition(&matching(MAX_EXPRESSIONS)).is_ok());
        assert!(condition(&matching(MAX_EXPRESSIONS + 1)).is_err());
        let long = |length: usize| json!({ "name": { "$regex": "a".repeat(length) } });
        assert!(condition(&long(MAX_PATTERN)).is_ok());
        assert!(condition(&long(MAX_PATTERN + 1)).is_err());
        let nested = |depth: usize| {
            (0..depth).fold(json!({ "$eq": 1 }), |inner, _| json!({ "$not": inner }))
        };
        assert!(condition(&json!({ "age": nested(MAX_DEPTH) })).is_ok());
        assert!(condition(&json!({ "age": nested(MAX_DEPTH + 1) })).is_err());
    }

    #[test]
    fn expressions_that_people_write_are_small_enough() {
        for pattern in [
            r"^\w+$",
            ".*general.*",
            r"^[\w.-]+@example\.org$",
            "äöü|ÄÖÜ",
            r"\d{4}-\d{2}",
        ] {
            let query = json!({ "name": { "$regex": pattern, "$options": "is" } });
            assert!(condition(&query).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn nothing_passes_an_expression_once_the_time_is_over() {
        let condition = condition(&json!({ "name": { "$regex": "" } })).unwrap();
        let object = json!({ "name": "Mary" });
        let object = object.as_object().unwrap();
        assert!(condition.holds(object, &Time::until(Instant::now() + MAX_TIME)));
        assert!(!condition.holds(object, &Time::until(Instant::now())));
    }

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_refused_and_gives_its_turn_back() {
        let turns = aside::QUERIES.free();
        let asked = json!({ "name": { "$regex": "^M" } });
        let client = Client::Account("mary".into());
        let query = || Query::read(&client, asked.as_object().unwrap().clone(), ALLOWED);
        let object = |name: &&str| json!({ "name": name }).as_object().unwrap().clone();
        let found = query()
            .await
            .unwrap()
            .filter(vec!["Mary", "Joe"], object)
            .await;
        assert_eq!(found.unwrap(), ["Mary"]);

        let slow = move |name: &&str| {
            std::thread::sleep(MAX_TIME);
            object(name)
        };
        let refused = query()
            .await
            .unwrap()
            .filter(vec!["Mary", "Joe"], slow)
            .await;
        assert_eq!(
            refused.unwrap_err().status(),
            axum::http::StatusCode::BAD_REQUEST
        );
        assert_eq!(aside::QUERIES.free(), turns);
    }
}
