//! What can be asked of Hansard: a table of operations.
//!
//! An [`Operation`] is a plain async function `(app, caller, request) -> answer` beside a value that
//! describes it. Neither knows HTTP. Doors are derived from the table: the REST routes and the OpenAPI
//! document, and the endpoint that nodes hand operations on to each other by.

pub mod asked;
pub mod contract;
pub mod examples;
mod hidden;
pub mod reply;
pub mod request;

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;

use hansard_commands::caller::Caller as Asking;
use serde::{Deserialize, Serialize};

use self::contract::{Contract, Schemas};
use self::reply::{Answers, Reply};
use self::request::{Asks, BodyKind, Input, Request};
use crate::app::App;
use crate::rest::failure::Failure;

/// How an operation is reached over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    Get,
    Post,
    Put,
}

impl Method {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, logged in or not.
    Anybody,
    /// Whoever is logged in, even if the password has to be changed before anything else.
    Session,
    /// Whoever is logged in and may go on.
    Account,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing. It can be asked again, and on any node.
    Looks,
    /// It records events, so the node that writes the log does it.
    Records,
    /// It changes something of the node that is asked, such as its views.
    OfThisNode,
}

/// What an operation's calls are counted against; see [`rate_limit`](crate::rest::rate_limit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The default of Rocket.Chat's API.
    Usual,
    /// The same. Accounts have no more than addresses, because a password is asked for, or hashed.
    AsksForPassword,
    /// `Rate_Limiter_Limit_RegisterUser`.
    Registration,
    /// Hansard's own.
    Own,
    /// That of everything else, all together: of webhooks that are not there.
    Other,
}

type Running = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

type Function = &'static (dyn Any + Send + Sync);

/// An operation: a function, and what is to be known about it.
#[derive(Clone, Copy)]
pub struct Operation {
    /// What it belongs to: `channels` of `channels.archive`.
    pub resource: &'static str,
    /// What it does there: `archive`. Nothing where the resource has one operation, such as `login`.
    pub action: &'static str,
    pub method: Method,
    /// Where it is other than at `/api/v1/` and its name.
    pub path: Option<&'static str>,
    pub access: Access,
    pub effect: Effect,
    pub limit: Limit,
    /// What it belongs to, in the documents.
    pub tag: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What there is to know beside that.
    pub description: &'static str,
    function: Function,
    run: fn(Function, App, Arc<Asking>, Input) -> Running,
    body: BodyKind,
    describe: fn(&mut Contract),
    answer: fn(&mut Schemas) -> contract::Described,
}

impl Operation {
    /// A look.
    pub const fn get<F, C, Q, A, Fut>(name: &'static str, function: &'static F) -> Self
    where
        F: Fn(App, C, Q) -> Fut + Send + Sync,
        C: Asks,
        Q: Request,
        A: Answers,
        Fut: Future<Output = Result<A, Failure>> + Send + 'static,
    {
        Self::of(name, Method::Get, Effect::Looks, function)
    }

    /// What records something.
    pub const fn post<F, C, Q, A, Fut>(name: &'static str, function: &'static F) -> Self
    where
        F: Fn(App, C, Q) -> Fut + Send + Sync,
        C: Asks,
        Q: Request,
        A: Answers,
        Fut: Future<Output = Result<A, Failure>> + Send + 'static,
    {
        Self::of(name, Method::Post, Effect::Records, function)
    }

    const fn of<F, C, Q, A, Fut>(
        name: &'static str,
        method: Method,
        effect: Effect,
        function: &'static F,
    ) -> Self
    where
        F: Fn(App, C, Q) -> Fut + Send + Sync,
        C: Asks,
        Q: Request,
        A: Answers,
        Fut: Future<Output = Result<A, Failure>> + Send + 'static,
    {
        let (resource, action) = parts(name);
        Self {
            resource,
            action,
            method,
            path: None,
            access: C::ACCESS,
            effect,
            limit: Limit::Usual,
            tag: resource,
            summary: "",
            description: "",
            function,
            run: run::<F, C, Q, A, Fut>,
            body: Q::BODY,
            describe: Q::describe,
            answer: A::describe,
        }
    }

    /// At a path of its own. `{name}` in it is a [`Path`](request::Path) parameter.
    #[must_use]
    pub const fn at(mut self, path: &'static str) -> Self {
        self.path = Some(path);
        self
    }

    /// Of Hansard's own surface, at a path below `/api/hansard/v1/`.
    #[must_use]
    pub const fn own(self, path: &'static str) -> Self {
        self.at(path).limited(Limit::Own)
    }

    /// By `PUT`.
    #[must_use]
    pub const fn by_put(mut self) -> Self {
        self.method = Method::Put;
        self
    }

    /// It changes something of this node alone.
    #[must_use]
    pub const fn of_this_node(mut self) -> Self {
        self.effect = Effect::OfThisNode;
        self
    }

    /// It is asked for by `GET` and records something all the same.
    #[must_use]
    pub const fn records(mut self) -> Self {
        self.effect = Effect::Records;
        self
    }

    #[must_use]
    pub const fn limited(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    #[must_use]
    pub const fn tagged(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// What it does, in a sentence.
    #[must_use]
    pub const fn tells(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// What there is to know beside that.
    #[must_use]
    pub const fn notes(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// The same of another resource.
    #[must_use]
    pub const fn under(mut self, resource: &'static str) -> Self {
        self.resource = resource;
        self.tag = resource;
        self
    }

    /// Rocket.Chat's name of it, such as `channels.archive`.
    pub fn name(&self) -> String {
        match self.action {
            "" => self.resource.to_owned(),
            action => format!("{}.{action}", self.resource),
        }
    }

    /// Its path in the REST API.
    pub fn route(&self) -> String {
        self.path
            .map_or_else(|| format!("/api/v1/{}", self.name()), str::to_owned)
    }

    /// What stands for it on the record: its name, or the path that it has of its own.
    pub fn on_record(&self) -> String {
        match self.path {
            Some(path) => path.strip_prefix("/api/v1/").unwrap_or(path).to_owned(),
            None => self.name(),
        }
    }

    /// What it takes for a body.
    pub const fn body(&self) -> BodyKind {
        self.body
    }

    /// Does it for a caller that was [let in](Self::admit).
    pub async fn run(&self, app: App, asking: Arc<Asking>, input: Input) -> Result<Reply, Failure> {
        (self.run)(self.function, app, asking, input).await
    }

    /// Refuses a caller that may not ask at all.
    pub fn admit(&self, app: &App, asking: &Asking) -> Result<(), Failure> {
        request::admit(self.access, app, asking)
    }

    /// What it takes.
    pub fn contract(&self) -> Contract {
        let mut contract = Contract::default();
        (self.describe)(&mut contract);
        contract
    }

    /// What it answers.
    pub fn answer(&self, schemas: &mut Schemas) -> contract::Described {
        (self.answer)(schemas)
    }
}

/// Runs an operation whose types are forgotten in the table.
fn run<F, C, Q, A, Fut>(
    function: Function,
    app: App,
    asking: Arc<Asking>,
    mut input: Input,
) -> Running
where
    F: Fn(App, C, Q) -> Fut + Send + Sync + 'static,
    C: Asks,
    Q: Request,
    A: Answers,
    Fut: Future<Output = Result<A, Failure>> + Send + 'static,
{
    Box::pin(async move {
        // It is the one that `of` was given.
        let function: &F = function.downcast_ref().ok_or_else(Failure::internal)?;
        let caller = C::of(&asking)?;
        let request = Q::read(&app, &asking, &mut input).await?;
        function(app, caller, request).await?.reply()
    })
}

/// `channels` and `archive` of `channels.archive`.
const fn parts(name: &'static str) -> (&'static str, &'static str) {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != b'.' {
        at += 1;
    }
    let (resource, rest) = name.split_at(at);
    match rest.split_at_checked(1) {
        Some((_, action)) => (resource, action),
        None => (resource, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_two_parts() {
        assert_eq!(parts("channels.archive"), ("channels", "archive"));
        assert_eq!(parts("channels.list.joined"), ("channels", "list.joined"));
        assert_eq!(parts("login"), ("login", ""));
    }
}
