//! Examples of what operations are asked and answer: real ones, which the test of the roles records.
//!
//! `openapi/examples.json` holds them by method and path. See `tests/src/roles/examples.rs`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, PathItem};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder};

use crate::rest::failure;

const RECORDED: &str = include_str!("../../../openapi/examples.json");

#[derive(Deserialize)]
struct Example {
    /// Of the path and the query string.
    #[serde(default)]
    parameters: Map<String, Value>,
    body: Option<Value>,
    answer: Option<Value>,
    /// By status, and by what is refused.
    #[serde(default)]
    refusals: BTreeMap<String, BTreeMap<String, Value>>,
}

/// Adds the examples to a document.
pub fn add(document: &mut OpenApi) -> serde_json::Result<()> {
    let mut examples: BTreeMap<String, Example> = serde_json::from_str(RECORDED)?;
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            if let Some(example) = examples.remove(&format!("{method} {path}")) {
                example.add(operation);
            }
        }
    }
    Ok(())
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("GET", &mut item.get),
        ("POST", &mut item.post),
        ("PUT", &mut item.put),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

impl Example {
    fn add(mut self, operation: &mut Operation) {
        for parameter in operation.parameters.iter_mut().flatten() {
            if let RefOr::T(parameter) = parameter
                && let Some(given) = self.parameters.shift_remove(&parameter.name)
            {
                let given = typed(parameter, given);
                let builder = ParameterBuilder::from(std::mem::take(parameter));
                *parameter = builder.example(Some(given)).build();
            }
        }
        if let (Some(RefOr::T(body)), Some(example)) = (&mut operation.request_body, self.body)
            && let Some(RefOr::T(content)) = body.content.get_mut("application/json")
        {
            content.example = Some(example);
        }
        let responses = &mut operation.responses.responses;
        if let Some(answer) = self.answer {
            let done = responses
                .iter_mut()
                .find(|(status, _)| status.starts_with('2'));
            if let Some((_, RefOr::T(done))) = done
                && let Some(RefOr::T(content)) = done.content.get_mut("application/json")
            {
                content.example = Some(answer);
            }
        }
        for (status, refusals) in self.refusals {
            if let Some(description) = failure::description(&status) {
                let response = refused(failure::schema(&status), description, refusals);
                responses.insert(status, response);
            }
        }
    }
}

/// A response with what an operation refuses in its own words.
fn refused(
    schema: Ref,
    description: &str,
    refusals: BTreeMap<String, Value>,
) -> RefOr<utoipa::openapi::Response> {
    let examples = refusals.into_iter().map(|(what, answer)| {
        let example = ExampleBuilder::new().value(Some(answer)).build();
        (what, example)
    });
    let mut content = Content::new(Some(schema));
    content.examples = examples
        .map(|(what, example)| (what, example.into()))
        .collect();
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
        .build()
        .into()
}

/// A value of a query string as what its parameter is.
fn typed(parameter: &Parameter, given: Value) -> Value {
    let is_text = match &parameter.schema {
        Some(RefOr::T(Schema::Object(object))) => match &object.schema_type {
            SchemaType::Type(kind) => *kind == Type::String,
            SchemaType::Array(kinds) => kinds.contains(&Type::String),
            SchemaType::AnyValue => true,
        },
        _ => true,
    };
    match given.as_str() {
        Some(text) if !is_text => serde_json::from_str(text).unwrap_or(given),
        _ => given,
    }
}
