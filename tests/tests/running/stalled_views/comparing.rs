//! Compares what two servers answered that were told the same.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

/// What only a view knows; see `api/src/rest/decided.rs`.
const OF_VIEWS: [&str; 6] = ["msgs", "lm", "lastMessage", "tcount", "tlm", "replies"];

/// What is random, and no id.
const SECRETS: [&str; 2] = ["token", "signingSecret"];

/// What differs between two servers that were told the same, by its form.
pub struct Forms {
    ids: Regex,
    times: Regex,
    ports: Regex,
}

impl Forms {
    pub fn new() -> Self {
        let form = |form| Regex::new(form).unwrap();
        Self {
            // A direct room's id is two users' ids, and a token is longer than an id.
            ids: form(
                r"[A-Za-z0-9_-]{48}|[A-Za-z0-9_-]{43}|[23456789A-Za-z]{34}|\b[23456789A-Za-z]{17}\b",
            ),
            times: form(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z|\b1[67]\d{11}\b"),
            ports: form(r"127\.0\.0\.1:\d+"),
        }
    }

    /// A body with ids and times by their form, and without what only views know.
    pub fn of(&self, body: &Value) -> Value {
        match body {
            Value::String(text) => {
                let text = self.times.replace_all(text, "<time>");
                let text = self.ports.replace_all(&text, "<address>");
                Value::from(self.ids.replace_all(&text, "<id>"))
            }
            Value::Number(number) if self.times.is_match(&number.to_string()) => "<time>".into(),
            Value::Array(all) => all.iter().map(|one| self.of(one)).collect(),
            Value::Object(fields) => {
                let kept = fields
                    .iter()
                    .filter(|(name, _)| !OF_VIEWS.contains(&name.as_str()));
                let kept = kept.map(|(name, value)| match value {
                    Value::String(_) if SECRETS.contains(&name.as_str()) => {
                        (name.clone(), "<secret>".into())
                    }
                    value => (name.clone(), self.of(value)),
                });
                Value::Object(kept.collect())
            }
            other => other.clone(),
        }
    }
}

/// Lists where two bodies differ.
pub fn compare(place: &str, right: &Value, late: &Value, differences: &mut Vec<String>) {
    match (right, late) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for name in names {
                let (right, late) = (&right[name.as_str()], &late[name.as_str()]);
                compare(&format!("{place}/{name}"), right, late, differences);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (number, (right, late)) in one.iter().zip(other).enumerate() {
                compare(&format!("{place}/{number}"), right, late, differences);
            }
        }
        _ if right == late => {}
        _ => differences.push(format!("{place}: {right} but {late}")),
    }
}
