//! Examples for the document of the API, from what the cells of the table asked and got.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::matrix::{Expected, Row};
use super::stage::Asked;

/// How much of a list is shown.
const ENTRIES: usize = 2;

/// Callers whose requests are shown, the most preferred first.
const PREFERRED: [&str; 6] = [
    "member",
    "owner",
    "moderator",
    "admin",
    "outsider",
    "anonymous",
];

/// Where the document takes them from.
pub fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/examples.json")
}

/// The examples of all operations, by method and path. `server` is where they were asked for.
pub fn of<'a>(
    cells: impl IntoIterator<Item = (&'a Row, &'a str, &'a Expected, &'a Asked)>,
    server: &str,
) -> Value {
    let mut best: BTreeMap<String, (usize, &Row, &Asked)> = BTreeMap::new();
    let mut refusals: HashMap<String, BTreeMap<String, BTreeMap<String, Value>>> = HashMap::new();
    for (row, caller, expected, asked) in cells {
        let id = row.operation_id();
        let status = asked.answer.status.as_u16();
        let kind = match expected {
            Expected::Yes | Expected::Audited => 0,
            Expected::Empty | Expected::Idle => 1,
            Expected::Refused { .. } if status == 401 && row.operation != "login" => continue,
            Expected::Refused { .. } => {
                let of_status = refusals.entry(id.clone()).or_default();
                let of_status = of_status.entry(status.to_string()).or_default();
                let answer = || asked.answer.body.clone();
                of_status
                    .entry(what(&asked.answer.body))
                    .or_insert_with(answer);
                2
            }
        };
        let preferred = PREFERRED.iter().position(|name| *name == caller);
        let rank = kind * 100 + preferred.unwrap_or(PREFERRED.len());
        if best.get(&id).is_none_or(|(before, ..)| rank < *before) {
            best.insert(id, (rank, row, asked));
        }
    }
    let mut examples = Map::new();
    for (id, (_, row, asked)) in best {
        let mut example = Map::new();
        let parameters = parameters(row, asked);
        if !parameters.is_empty() {
            example.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(body) = &asked.request.body {
            example.insert("body".to_owned(), body.clone());
        }
        if asked.answer.status.is_success() && !asked.answer.body.is_null() {
            example.insert("answer".to_owned(), shortened(&asked.answer.body));
        }
        if let Some(refusals) = refusals.remove(&id) {
            example.insert("refusals".to_owned(), json!(refusals));
        }
        examples.insert(id, example.into());
    }
    let text = Value::from(examples).to_string();
    let text = text.replace(server, "https://chat.example.org");
    serde_json::from_str(&text).expect("the same with another address")
}

/// What an answer refuses: its code, or else what it says.
fn what(answer: &Value) -> String {
    let text = |name: &str| {
        answer[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let code = || {
        let error = text("error")?;
        let code = error.strip_suffix(']')?.rsplit_once('[')?.1;
        Some(code.to_owned())
    };
    let said = || text("error").or_else(|| text("message"));
    text("errorType")
        .or_else(code)
        .or_else(said)
        .unwrap_or_default()
}

/// What stood in the path and in the query string, by name.
fn parameters(row: &Row, asked: &Asked) -> Map<String, Value> {
    let declared = row.operation.split('/');
    let asked_for = asked.request.path.rsplit('/').collect::<Vec<_>>();
    let mut parameters = Map::new();
    for (at, segment) in declared.rev().enumerate() {
        let name = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        if let Some((name, value)) = name.zip(asked_for.get(at)) {
            parameters.insert(name.to_owned(), (*value).into());
        }
    }
    for pair in asked
        .request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.insert(name.to_owned(), value.into());
    }
    parameters
}

/// A value with the beginning of its lists.
fn shortened(value: &Value) -> Value {
    match value {
        Value::Array(entries) => entries.iter().take(ENTRIES).map(shortened).collect(),
        Value::Object(members) => {
            let members = members.iter();
            Value::Object(
                members
                    .map(|(name, value)| (name.clone(), shortened(value)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}
