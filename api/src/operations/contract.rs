//! The contract of operations, as the OpenAPI document tells it.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::path::{
    HttpMethod, Operation as PathOperation, OperationBuilder, Parameter, ParameterBuilder,
    ParameterIn, Paths,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::{Access, Method, Operation};
use crate::rest::failure::Failure;

/// The schemas of a document, by name.
#[derive(Default)]
pub struct Schemas(BTreeMap<String, RefOr<Schema>>);

impl Schemas {
    /// A reference to the schema of a type, which is taken in with all that it refers to.
    pub fn reference<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let name = T::name().into_owned();
        if !self.0.contains_key(&name) {
            let mut all = vec![(name.clone(), T::schema())];
            T::schemas(&mut all);
            all.iter_mut()
                .for_each(|(_, schema)| forget_null_defaults(schema));
            self.0.extend(all);
        }
        Ref::from_schema_name(name).into()
    }
}

/// Generators of clients take a member with a default for a required one. A default of `null` says no more than
/// that it may be absent.
fn forget_null_defaults(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else {
        return;
    };
    for member in object.properties.values_mut() {
        let default = match member {
            RefOr::T(Schema::Object(member)) => &mut member.default,
            RefOr::T(Schema::Array(member)) => &mut member.default,
            RefOr::T(Schema::OneOf(member)) => &mut member.default,
            _ => continue,
        };
        default.take_if(|default| default.is_null());
    }
}

/// What an operation takes.
#[derive(Default)]
pub struct Contract {
    query: Vec<Parameter>,
    body: Option<fn(&mut Schemas) -> RefOr<Schema>>,
    /// It takes a password as a second proof.
    pub second_proof: bool,
    /// It answers a stream to who asks for one.
    pub streams: bool,
}

impl Contract {
    pub fn query<T: IntoParams>(&mut self) {
        self.query
            .extend(T::into_params(|| Some(ParameterIn::Query)));
    }

    pub fn body<T: ToSchema>(&mut self) {
        self.body = Some(Schemas::reference::<T>);
    }

    /// It takes an object of the client's own making.
    pub fn any_object(&mut self) {
        self.body = Some(|_| Schema::Object(ObjectBuilder::new().build()).into());
    }

    /// The headers that it looks at, and what they say.
    fn headers(&self) -> Vec<(&'static str, &'static str)> {
        let mut headers = Vec::new();
        if self.second_proof {
            headers.push(("x-2fa-method", "`password`."));
            let code = "The caller's password, or the hexadecimal SHA-256 of it.";
            headers.push(("x-2fa-code", code));
        }
        if self.streams {
            headers.push(("Last-Event-ID", "Where a stream is taken up again."));
        }
        headers
    }
}

/// What an operation answers.
pub struct Described {
    pub status: &'static str,
    pub schema: RefOr<Schema>,
}

impl Described {
    pub fn of(schema: RefOr<Schema>) -> Self {
        Self {
            status: "200",
            schema,
        }
    }

    /// The same with `"success": true` beside.
    pub fn successful(schema: RefOr<Schema>) -> Self {
        let success = ObjectBuilder::new()
            .property(
                "success",
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::Boolean))
                    .examples([Value::Bool(true)]),
            )
            .required("success");
        let both = AllOfBuilder::new().item(schema).item(success).build();
        Self::of(Schema::AllOf(both).into())
    }
}

/// Adds operations to a document.
pub fn describe<'a>(document: &mut OpenApi, operations: impl Iterator<Item = &'a Operation>) {
    let mut schemas = Schemas::default();
    let mut paths = std::mem::replace(&mut document.paths, Paths::new());
    for operation in operations {
        let method = match operation.method {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
            Method::Put => HttpMethod::Put,
        };
        let described = described(operation, &mut schemas);
        paths.add_path_operation(operation.route(), vec![method], described);
    }
    document.paths = paths;
    let components = document.components.get_or_insert_default();
    components.schemas.extend(schemas.0);
}

fn described(operation: &Operation, schemas: &mut Schemas) -> PathOperation {
    let contract = operation.contract();
    let answer = operation.answer(schemas);
    let mut responses = Failure::responses();
    let mut said = ResponseBuilder::new()
        .description(operation.summary)
        .content("application/json", Content::new(Some(answer.schema)));
    if contract.streams {
        said = said.content("text/event-stream", Content::new(Some(text())));
    }
    responses.insert(answer.status.to_owned(), said.build().into());
    let mut builder = OperationBuilder::new()
        .operation_id(Some(operation.name()))
        .tag(operation.tag)
        .summary(Some(operation.summary))
        .responses(
            ResponsesBuilder::new()
                .responses_from_iter(responses)
                .build(),
        );
    if !operation.description.is_empty() {
        builder = builder.description(Some(operation.description));
    }
    let headers = contract.headers();
    for parameter in path_parameters(operation).chain(contract.query) {
        builder = builder.parameter(parameter);
    }
    for (name, description) in headers {
        builder = builder.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(description))
                .schema(Some(text())),
        );
    }
    if let Some(body) = contract.body {
        let body = Content::new(Some(body(schemas)));
        builder = builder.request_body(Some(
            RequestBodyBuilder::new()
                .content("application/json", body)
                .required(Some(Required::True))
                .build(),
        ));
    }
    if operation.access == Access::Anybody {
        builder = builder.security(SecurityRequirement::default());
    }
    builder.build()
}

fn path_parameters(operation: &Operation) -> impl Iterator<Item = Parameter> {
    let path = operation.path.unwrap_or_default();
    let names = path
        .split('{')
        .skip(1)
        .filter_map(|part| part.split('}').next());
    names.map(|name| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(text()))
            .build()
    })
}

fn text() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .build()
        .into()
}
