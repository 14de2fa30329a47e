//! The operations that `openapi.json` tells of, for tests that ask all of them.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::Value;

/// An operation, with what a request can say.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: Method,
    /// As it is declared: `/api/v1/settings/{id}`.
    pub path: String,
    /// The parameters of its query string.
    pub query: Vec<String>,
    /// The members of its body, those of its objects too.
    pub body: Vec<Member>,
}

/// A member of a body.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// `["message", "msg"]`
    pub path: Vec<String>,
    /// `boolean`, `integer`, `number`, `string`, `array`, `object`; `null` is left out. None where it
    /// may be several things.
    pub kind: Option<String>,
}

impl Operation {
    /// `POST channels.create`, `GET /ready`.
    pub fn name(&self) -> String {
        let short = self.path.strip_prefix("/api/v1/").unwrap_or(&self.path);
        format!("{} {short}", self.method)
    }
}

impl Member {
    pub fn name(&self) -> String {
        self.path.join(".")
    }
}

/// All operations of the document.
pub fn operations() -> Vec<Operation> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/openapi.json");
    let text = std::fs::read_to_string(file).expect("the document of the API");
    let document: Value = serde_json::from_str(&text).expect("the document is JSON");
    let mut operations = Vec::new();
    for (path, methods) in object(&document["paths"]) {
        for (method, operation) in object(methods) {
            operations.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                query: query(operation),
                body: body(&document, operation),
            });
        }
    }
    operations
}

/// `?name=value&…`, or nothing where there are no parameters.
pub fn query_string(parameters: &[(impl AsRef<str>, impl AsRef<str>)]) -> String {
    let encoded =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let pairs: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name.as_ref()), encoded(value.as_ref())))
        .collect();
    match pairs.as_slice() {
        [] => String::new(),
        pairs => format!("?{}", pairs.join("&")),
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn query(operation: &Value) -> Vec<String> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters
        .filter(|parameter| parameter["in"] == "query")
        .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
        .collect()
}

fn body(document: &Value, operation: &Value) -> Vec<Member> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let mut members = BTreeSet::new();
    gather(document, schema, &[], &mut members);
    members.into_iter().collect()
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.trim_start_matches('#');
            let found = document.pointer(pointer).expect("what a reference names");
            resolved(document, found)
        }
        None => schema,
    }
}

/// The schemas that a schema is made of, itself among them.
fn parts<'d>(document: &'d Value, schema: &'d Value) -> Vec<&'d Value> {
    let schema = resolved(document, schema);
    let mut found = vec![schema];
    for combined in ["allOf", "oneOf", "anyOf"] {
        for part in schema[combined].as_array().into_iter().flatten() {
            found.extend(parts(document, part));
        }
    }
    found
}

fn gather(document: &Value, schema: &Value, path: &[String], members: &mut BTreeSet<Member>) {
    for part in parts(document, schema) {
        for (name, member) in object(&part["properties"]) {
            let path: Vec<_> = path.iter().chain([name]).cloned().collect();
            members.insert(Member {
                path: path.clone(),
                kind: kind(document, member),
            });
            gather(document, member, &path, members);
        }
    }
}

fn kind(document: &Value, schema: &Value) -> Option<String> {
    let mut kinds = BTreeSet::new();
    for part in parts(document, schema) {
        match &part["type"] {
            Value::String(kind) => drop(kinds.insert(kind.clone())),
            Value::Array(several) => {
                kinds.extend(
                    several
                        .iter()
                        .filter_map(|kind| kind.as_str().map(str::to_owned)),
                );
            }
            _ => {}
        }
    }
    kinds.remove("null");
    let only = kinds.pop_first()?;
    kinds.is_empty().then_some(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_tells_what_a_request_can_say() {
        let operations = operations();
        let named = |name: &str| {
            operations
                .iter()
                .find(|found| found.name() == name)
                .unwrap()
        };
        assert!(operations.len() > 200);
        let members = |name: &str| -> Vec<_> {
            let members = named(name).body.iter();
            members
                .map(|member| (member.name(), member.kind.clone()))
                .collect()
        };
        let text = || Some("string".to_owned());
        assert!(members("POST channels.setTopic").contains(&("roomId".to_owned(), text())));
        assert!(members("POST chat.sendMessage").contains(&("message.msg".to_owned(), text())));
        assert!(
            named("GET channels.history")
                .query
                .contains(&"latest".to_owned())
        );
    }
}
