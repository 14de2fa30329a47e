//! Every answer is typed: what has a shape says so in the document of the API.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// What has no shape, as people or the events of the log give it one.
const OPEN: &[&str] = &[
    "AuditEntry.details",
    "HistoryEntry.data",
    "Message.attachments",
    "Message.blocks",
    "Message.customFields",
    "Room.customFields",
    "ShownEvent.payload",
    "User.customFields",
    "UserPreferences.preferences",
    "UserSettings.preferences",
];

#[test]
fn answers_leave_nothing_open_but_what_has_no_shape() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/openapi.json");
    let text = std::fs::read_to_string(file).expect("the document of the API");
    let document: Value = serde_json::from_str(&text).expect("the document is JSON");
    let mut answers = Answers {
        document: &document,
        seen: BTreeSet::new(),
        open: BTreeSet::new(),
    };
    for (path, methods) in members(&document["paths"]) {
        for (_, operation) in members(methods) {
            for (status, response) in members(&operation["responses"]) {
                let content = &response["content"]["application/json"];
                if status.starts_with('2') && !content.is_null() {
                    answers.look(&content["schema"], path);
                }
            }
        }
    }
    let open: Vec<&str> = answers.open.iter().map(String::as_str).collect();
    assert_eq!(open, OPEN);
}

struct Answers<'d> {
    document: &'d Value,
    seen: BTreeSet<&'d str>,
    open: BTreeSet<String>,
}

impl<'d> Answers<'d> {
    fn look(&mut self, schema: &'d Value, at: &str) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            let named = self.document.pointer(reference.trim_start_matches('#'));
            let named = named.expect("what a reference names");
            // It is there beside `success` alone.
            if name == "Nothing" {
                return;
            }
            if is_any(named) {
                self.open.insert(at.to_owned());
            } else if self.seen.insert(name) {
                self.look(named, name);
            }
            return;
        }
        if is_any(schema) {
            self.open.insert(at.to_owned());
        }
        for (name, member) in members(&schema["properties"]) {
            self.look(member, &format!("{at}.{name}"));
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                self.look(&schema[inner], at);
            }
        }
        for combined in ["oneOf", "anyOf", "allOf"] {
            for part in schema[combined].as_array().into_iter().flatten() {
                self.look(part, at);
            }
        }
    }
}

/// Whether a schema lets anything be, or any members.
fn is_any(schema: &Value) -> bool {
    let says = |keyword| schema.get(keyword).is_some();
    let is = |kind: &str| match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        one => one == kind,
    };
    let combined = ["$ref", "oneOf", "anyOf", "allOf"].into_iter().any(says);
    let any_members = match schema.get("additionalProperties") {
        Some(Value::Object(members)) => members.is_empty(),
        Some(others) => others == true,
        None => !says("properties") && !combined,
    };
    let nothing = !says("type") && !combined;
    nothing || (is("object") && any_members) || (is("array") && !says("items"))
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
