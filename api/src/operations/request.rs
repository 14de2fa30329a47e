//! What an operation is given: who asks, and what for.

use std::ops::Deref;
use std::sync::Arc;

use hansard_commands::caller::Caller as Asking;
use hansard_domain::id::UserId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Access;
use super::contract::Contract;
use crate::app::App;
use crate::rest::failure::Failure;
use crate::rest::lenient;
use crate::rest::rate_limit::building::{Builder, Client};

/// A request as a door has it, not yet read as what the operation takes. It has no `Debug`, as it may hold a
/// password.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Input {
    /// The query string, percent-encoded.
    pub query: String,
    /// The body: JSON, or what a form says.
    pub body: Value,
    /// The body as it came, where the operation reads it itself.
    pub payload: Payload,
    /// What stands for each `{name}` in the path.
    pub path: Vec<String>,
    /// The password that the client gives once more, as a second proof.
    pub proof: Option<String>,
    /// The token that it asks with.
    pub token: Option<String>,
    /// The client takes a stream that goes on.
    pub follow: Option<Follow>,
}

/// What an operation takes for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// None: nothing of it is read.
    None,
    /// JSON or a form.
    Value,
    /// Its bytes.
    Payload,
}

impl BodyKind {
    const fn or(self, other: Self) -> Self {
        match self {
            Self::None => other,
            one => one,
        }
    }
}

/// A body as it came.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Payload {
    /// What is not UTF-8 in it is replaced.
    pub text: String,
    /// It says that it is a form.
    pub is_form: bool,
}

/// All parameters of the path, in their order.
#[derive(Debug)]
pub struct Paths(pub Vec<String>);

impl Request for Paths {
    async fn read(_: &App, _: &Asking, input: &mut Input) -> Result<Self, Failure> {
        Ok(Self(std::mem::take(&mut input.path)))
    }

    fn describe(_: &mut Contract) {}
}

impl Request for Payload {
    const BODY: BodyKind = BodyKind::Payload;

    async fn read(_: &App, _: &Asking, input: &mut Input) -> Result<Self, Failure> {
        Ok(std::mem::take(&mut input.payload))
    }

    fn describe(contract: &mut Contract) {
        contract.any_object();
    }
}

/// What an operation takes.
pub trait Request: Sized + Send + 'static {
    /// What it takes for a body.
    const BODY: BodyKind = BodyKind::None;

    /// Reads it. Whatever part of it is read first is refused first.
    fn read(
        app: &App,
        asking: &Asking,
        input: &mut Input,
    ) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Tells the contract of it.
    fn describe(contract: &mut Contract);
}

/// The body.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// Parameters of the query string.
#[derive(Debug)]
pub struct Params<T>(pub T);

/// A parameter of the path.
#[derive(Debug)]
pub struct Path(pub String);

/// The password that the client gives once more, if it does.
#[derive(Debug)]
pub struct Proof(pub Option<String>);

/// The token that the caller asks with.
#[derive(Debug)]
pub struct Token(pub Option<String>);

impl Request for Token {
    async fn read(_: &App, _: &Asking, input: &mut Input) -> Result<Self, Failure> {
        Ok(Self(input.token.take()))
    }

    fn describe(_: &mut Contract) {}
}

/// A client that wants to be told of what is yet to come.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Follow {
    /// What it was told of last.
    pub last: Option<String>,
}

impl Request for Option<Follow> {
    async fn read(_: &App, _: &Asking, input: &mut Input) -> Result<Self, Failure> {
        Ok(input.follow.take())
    }

    fn describe(contract: &mut Contract) {
        contract.streams = true;
    }
}

impl Request for () {
    async fn read(_: &App, _: &Asking, _: &mut Input) -> Result<Self, Failure> {
        Ok(())
    }

    fn describe(_: &mut Contract) {}
}

impl<T: DeserializeOwned + ToSchema + Send + 'static> Request for Body<T> {
    const BODY: BodyKind = BodyKind::Value;

    async fn read(_: &App, _: &Asking, input: &mut Input) -> Result<Self, Failure> {
        Ok(Self(lenient::read(input.body.take())?))
    }

    fn describe(contract: &mut Contract) {
        contract.body::<T>();
    }
}

impl<T: DeserializeOwned + IntoParams + Send + 'static> Request for Params<T> {
    async fn read(_: &App, _: &Asking, input: &mut Input) -> Result<Self, Failure> {
        Ok(Self(lenient::read_query(input.query.as_bytes())?))
    }

    fn describe(contract: &mut Contract) {
        contract.query::<T>();
    }
}

impl Request for Path {
    async fn read(_: &App, _: &Asking, input: &mut Input) -> Result<Self, Failure> {
        let given = input.path.first_mut().map(std::mem::take);
        given.map(Self).ok_or_else(Failure::no_endpoint)
    }

    fn describe(_: &mut Contract) {}
}

impl Request for Proof {
    async fn read(_: &App, _: &Asking, input: &mut Input) -> Result<Self, Failure> {
        Ok(Self(input.proof.take()))
    }

    fn describe(contract: &mut Contract) {
        contract.second_proof = true;
    }
}

impl Request for Builder {
    async fn read(app: &App, asking: &Asking, _: &mut Input) -> Result<Self, Failure> {
        Ok(Self::of(app, Client::of(asking)))
    }

    fn describe(_: &mut Contract) {}
}

impl<P: Request, Q: Request> Request for (P, Q) {
    const BODY: BodyKind = P::BODY.or(Q::BODY);

    async fn read(app: &App, asking: &Asking, input: &mut Input) -> Result<Self, Failure> {
        let first = P::read(app, asking, input).await?;
        Ok((first, Q::read(app, asking, input).await?))
    }

    fn describe(contract: &mut Contract) {
        P::describe(contract);
        Q::describe(contract);
    }
}

impl<P: Request, Q: Request, R: Request> Request for (P, Q, R) {
    const BODY: BodyKind = P::BODY.or(Q::BODY).or(R::BODY);

    async fn read(app: &App, asking: &Asking, input: &mut Input) -> Result<Self, Failure> {
        let (first, second) = <(P, Q)>::read(app, asking, input).await?;
        Ok((first, second, R::read(app, asking, input).await?))
    }

    fn describe(contract: &mut Contract) {
        <(P, Q)>::describe(contract);
        R::describe(contract);
    }
}

/// A caller as an operation takes it, which says who may ask.
pub trait Asks: Sized + Send + 'static {
    const ACCESS: Access;

    /// Of a caller that was let in.
    fn of(asking: &Arc<Asking>) -> Result<Self, Failure>;
}

/// A caller who is logged in.
#[derive(Debug, Clone)]
pub struct Caller {
    asking: Arc<Asking>,
    user: UserId,
}

/// A caller who is logged in, although the password may have to be changed: for the few operations that
/// lead there, and out again.
#[derive(Debug, Clone)]
pub struct LoggedIn(pub Caller);

/// A caller who may be logged in or not.
#[derive(Debug, Clone)]
pub struct MaybeCaller(Arc<Asking>);

impl Caller {
    /// The user who is logged in.
    pub fn user(&self) -> &UserId {
        &self.user
    }
}

impl Deref for Caller {
    type Target = Asking;

    fn deref(&self) -> &Asking {
        &self.asking
    }
}

impl Deref for MaybeCaller {
    type Target = Asking;

    fn deref(&self) -> &Asking {
        &self.0
    }
}

impl Asks for Caller {
    const ACCESS: Access = Access::Account;

    fn of(asking: &Arc<Asking>) -> Result<Self, Failure> {
        let LoggedIn(caller) = LoggedIn::of(asking)?;
        Ok(caller)
    }
}

impl Asks for LoggedIn {
    const ACCESS: Access = Access::Session;

    fn of(asking: &Arc<Asking>) -> Result<Self, Failure> {
        let user = asking.user.clone().ok_or_else(Failure::not_logged_in)?;
        Ok(Self(Caller {
            asking: asking.clone(),
            user,
        }))
    }
}

impl Asks for MaybeCaller {
    const ACCESS: Access = Access::Anybody;

    fn of(asking: &Arc<Asking>) -> Result<Self, Failure> {
        Ok(Self(asking.clone()))
    }
}

/// Refuses a caller that an operation is not for: 401, or 403 before the password is changed.
pub fn admit(access: Access, app: &App, asking: &Asking) -> Result<(), Failure> {
    let user = match (access, &asking.user) {
        (Access::Anybody, _) | (Access::Session, Some(_)) => return Ok(()),
        (_, None) => return Err(Failure::not_logged_in()),
        (Access::Account, Some(user)) => user,
    };
    let model = app.commands.model();
    let account = model.account(user);
    if account.is_some_and(|account| account.must_change_password()) {
        return Err(Failure::password_change_required());
    }
    Ok(())
}
