//! Whether answers are what `openapi.json` says: each one that a test gets is held against it.
//!
//! A schema alone lets members through that it does not name. Here they are refused, so that whatever is
//! answered is documented.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use jsonschema::{Registry, Validator};
use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

/// The document's own name, which references to its parts begin with.
const DOCUMENT: &str = "urn:hansard:openapi";

/// See the module.
struct Contract {
    registry: Registry<'static>,
    /// Operations by method and path; a path is in its segments, `{…}` for a parameter.
    operations: Vec<Operation>,
    /// By the pointer to a schema.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

struct Operation {
    method: Method,
    segments: Vec<String>,
    /// The pointers to the schemas of its answers, by status; none where the answer is no JSON.
    answers: HashMap<u16, Option<String>>,
}

/// Says what is wrong with an answer. What no operation answers is not looked at.
///
/// # Errors
/// The status is not documented, or the body does not follow its schema.
pub fn check(method: &Method, path: &str, status: StatusCode, body: &[u8]) -> Result<(), String> {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    let contract = CONTRACT.get_or_init(Contract::read);
    contract.check(method, path, status, body)
}

impl Contract {
    fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/openapi.json");
        let text = std::fs::read_to_string(file).expect("the document of the API");
        let mut document: Value = serde_json::from_str(&text).expect("the document is JSON");
        let operations = operations(&document);
        let original = document.clone();
        Strict(&original).document(&mut document);
        let registry = Registry::new()
            .add(DOCUMENT, document)
            .and_then(jsonschema::RegistryBuilder::prepare)
            .expect("the document can be referred to");
        Self {
            registry,
            operations,
            validators: Mutex::default(),
        }
    }

    fn check(
        &self,
        method: &Method,
        path: &str,
        status: StatusCode,
        body: &[u8],
    ) -> Result<(), String> {
        let segments: Vec<_> = path.split('/').collect();
        let found = self
            .operations
            .iter()
            .find(|operation| operation.is(method, &segments));
        let Some(operation) = found else {
            return Ok(());
        };
        let Some(answer) = operation.answers.get(&status.as_u16()) else {
            return Err(format!("{method} {path}: {status} is not documented"));
        };
        let Some(pointer) = answer else {
            return Ok(());
        };
        let body: Value = hansard_domain::json::from_slice(body)
            .map_err(|error| format!("{method} {path}: {status} is not JSON: {error}"))?;
        let validator = self.validator(pointer);
        let wrong: Vec<String> = validator
            .iter_errors(&body)
            .map(|error| format!("{} at {}", error, error.instance_path()))
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let wrong = wrong.join("\n  ");
        Err(format!(
            "{method} {path}: {status} is not as documented:\n  {wrong}\nin {body}"
        ))
    }

    fn validator(&self, pointer: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock();
        let validator = validators.entry(pointer.to_owned()).or_insert_with(|| {
            let schema = json!({ "$ref": format!("{DOCUMENT}#{}", fragment(pointer)) });
            let built = jsonschema::options()
                .with_registry(&self.registry)
                .build(&schema);
            built.expect("a schema of the document").into()
        });
        validator.clone()
    }
}

impl Operation {
    fn is(&self, method: &Method, segments: &[&str]) -> bool {
        let fits =
            |(declared, given): (&String, &&str)| declared == given || is_parameter(declared);
        self.method == *method
            && self.segments.len() == segments.len()
            && self.segments.iter().zip(segments).all(fits)
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in members(&document["paths"]) {
        for (method, operation) in members(methods) {
            let at = format!("/paths/{}/{method}/responses", escaped(path));
            let answers = members(&operation["responses"]).map(|(status, response)| {
                let pointer = match response["$ref"].as_str() {
                    Some(reference) => reference.trim_start_matches('#').to_owned(),
                    None => format!("{at}/{status}"),
                };
                let schema = format!("{pointer}/content/application~1json/schema");
                let schema = document.pointer(&schema).map(|_| schema);
                (status.parse().expect("a status"), schema)
            });
            operations.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                segments: path.split('/').map(str::to_owned).collect(),
                answers: answers.collect(),
            });
        }
    }
    // What has no parameter comes first.
    operations.sort_by_key(|operation| operation.segments.iter().any(|part| is_parameter(part)));
    operations
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A segment of a JSON pointer (RFC 6901).
fn escaped(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// A JSON pointer as the fragment of a reference.
fn fragment(pointer: &str) -> String {
    pointer.replace('{', "%7B").replace('}', "%7D")
}

/// Closes the objects of a document: members that a schema does not name are refused.
///
/// They are closed where they are used. What an `allOf` is made of stays open: each part knows its own members
/// alone.
struct Strict<'d>(&'d Value);

impl Strict<'_> {
    fn document(&self, document: &mut Value) {
        for schema in within(&mut document["components"]["schemas"]) {
            self.parts(schema);
        }
        for response in within(&mut document["components"]["responses"]) {
            self.response(response);
        }
        for methods in within(&mut document["paths"]) {
            for operation in within(methods) {
                within(&mut operation["responses"]).for_each(|response| self.response(response));
            }
        }
    }

    fn response(&self, response: &mut Value) {
        if let Some(schema) = response.pointer_mut("/content/application~1json/schema") {
            self.used(schema);
        }
    }

    /// A schema that stands for a whole value.
    fn used(&self, schema: &mut Value) {
        self.parts(schema);
        if !self.is_open(schema) {
            schema["unevaluatedProperties"] = Value::Bool(false);
        }
    }

    /// The values that a schema's value is made of.
    fn parts(&self, schema: &mut Value) {
        let Some(schema) = schema.as_object_mut() else {
            return;
        };
        for (keyword, value) in schema {
            match keyword.as_str() {
                "properties" => within(value).for_each(|member| self.used(member)),
                "items" | "additionalProperties" if value.is_object() => self.used(value),
                "prefixItems" => each(value).for_each(|item| self.used(item)),
                "oneOf" | "anyOf" | "allOf" => each(value).for_each(|part| self.parts(part)),
                _ => {}
            }
        }
    }

    /// Whether a schema means to let members through that it does not name.
    fn is_open(&self, schema: &Value) -> bool {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.trim_start_matches('#');
            let named = self.0.pointer(pointer).expect("what a reference names");
            return self.is_open(named);
        }
        let parts = ["oneOf", "anyOf", "allOf"].map(|combined| &schema[combined]);
        let mut parts = parts
            .into_iter()
            .filter_map(Value::as_array)
            .flatten()
            .peekable();
        let is_anything = parts.peek().is_none() && schema.get("type").is_none();
        is_anything
            || schema.get("additionalProperties").is_some()
            || parts.any(|part| self.is_open(part))
    }
}

fn within(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_object_mut().into_iter().flat_map(Map::values_mut)
}

fn each(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_array_mut().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_the_document_does_not_tell_is_a_breach() {
        let check = |path: &str, status, body: Value| {
            let status = StatusCode::from_u16(status).unwrap();
            check(&Method::GET, path, status, body.to_string().as_bytes())
        };
        let name = "rooms.nameExists";
        let path = &format!("/api/v1/{name}");
        check(path, 200, json!({ "exists": true, "success": true })).unwrap();
        let unknown = json!({ "exists": true, "success": true, "more": 1 });
        assert!(check(path, 200, unknown).unwrap_err().contains("more"));
        let other = json!({ "exists": "yes", "success": true });
        assert!(check(path, 200, other).unwrap_err().contains("boolean"));
        assert!(check(path, 200, json!({ "success": true })).is_err());
        assert!(check(path, 418, json!({})).unwrap_err().contains("418"));
        let inner = json!({ "messages": [{ "_id": "a", "more": 1 }], "success": true });
        let search = "/api/v1/chat.search";
        assert!(check(search, 200, inner).unwrap_err().contains("more"));
        check("/elsewhere", 418, json!({})).unwrap();
    }
}
