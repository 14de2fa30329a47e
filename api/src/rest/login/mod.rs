//! `login`, `logout`, `me`.

use hansard_commands::account::login::{self, LoginError, Name};
use hansard_commands::account::password::Secret;
use hansard_commands::account::token::Opened;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::{Answer, answer};
use super::body::Body;
use super::caller::{Caller, LoggedIn, MaybeCaller};
use super::failure::Failure;
use super::users::{User, row};
use super::{decided, lenient};
use crate::app::App;
use crate::operations::Operation;
use crate::operations::reply::{OnceOnly, Plain};

pub const OPERATIONS: &[Operation] = &[LOG_IN, LOG_OUT, LOG_OUT_BY_GET, ME];

/// Who logs in: `user` (a name or an address) or `username` or `email`, and a password; or `resume`,
/// the token of a session.
#[derive(Debug, Deserialize, ToSchema)]
struct LogIn {
    #[serde(default, deserialize_with = "lenient::texts")]
    user: Option<Who>,
    username: Option<String>,
    email: Option<String>,
    #[serde(default, deserialize_with = "lenient::texts")]
    password: Option<Password>,
    resume: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Who {
    /// A username, or an address if there is an `@` in it.
    Either(String),
    Username {
        username: String,
    },
    Email {
        email: String,
    },
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Password {
    Plain(String),
    /// The hexadecimal SHA-256 of the password; `algorithm` can only be `sha-256`.
    Digest {
        digest: String,
        #[allow(dead_code, reason = "there is one algorithm")]
        algorithm: Option<String>,
    },
    Hashed {
        hashed: String,
    },
}

impl LogIn {
    fn name(&self) -> Option<Name> {
        let either = |name: &String| {
            if name.contains('@') {
                Name::Email(name.clone())
            } else {
                Name::Username(name.clone())
            }
        };
        match &self.user {
            Some(Who::Either(name)) => return Some(either(name)),
            Some(Who::Username { username }) => return Some(Name::Username(username.clone())),
            Some(Who::Email { email }) => return Some(Name::Email(email.clone())),
            None => {}
        }
        let username = self.username.clone().map(Name::Username);
        username.or_else(|| self.email.clone().map(Name::Email))
    }

    fn secret(&self) -> Option<Secret> {
        match self.password.as_ref()? {
            Password::Plain(password) => Some(Secret::of(password)),
            Password::Digest { digest: hashed, .. } | Password::Hashed { hashed } => {
                // What is no digest is a wrong password, not a malformed request.
                Some(Secret::of_digest(hashed).unwrap_or_else(|| Secret::of(hashed)))
            }
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LoggedIn)]
struct LoginAnswer {
    #[schema(example = "success")]
    status: &'static str,
    data: Login,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Login {
    user_id: String,
    /// For the header `X-Auth-Token`; shown this once.
    auth_token: String,
    me: User,
}

pub const LOG_IN: Operation = Operation::post("login", &log_in).tells("Log in.").notes(
    "What is wrong about a login that fails is not told: an unknown name and a wrong password are \
         answered alike.",
);

async fn log_in(
    app: App,
    caller: MaybeCaller,
    Body(request): Body<LogIn>,
) -> Result<Plain<LoginAnswer>, Failure> {
    let opened = open(&app, &caller, request).await?;
    let row = decided::account(&app, &opened.account).await;
    let me = User::own(&app.commands.model(), &row);
    let logged_in = LoginAnswer {
        status: "success",
        data: Login {
            user_id: opened.user.to_string(),
            auth_token: opened.token.0,
            me,
        },
    };
    Ok(Plain(logged_in))
}

async fn open(app: &App, caller: &MaybeCaller, request: LogIn) -> Result<Opened, Failure> {
    let opened = if let Some(token) = request.resume {
        login::resume(&app.commands, caller, token).await
    } else if let (Some(name), Some(secret)) = (request.name(), request.secret()) {
        login::with_password(&app.commands, &app.failed_logins, caller, name, secret).await
    } else {
        let reason = "Match failed";
        return Err(Failure::login_refused("400", reason, Value::Null));
    };
    opened.map_err(|error| match error {
        LoginError::Unauthorized => {
            Failure::login_refused("Unauthorized", "Incorrect password", Value::Null)
        }
        LoginError::Refused { code, reason } => Failure::login_refused(code, reason, Value::Null),
        LoginError::Command(error) => error.into(),
    })
}

#[derive(Debug, Serialize, ToSchema)]
struct LoggedOut {
    #[schema(example = "success")]
    status: &'static str,
    data: Goodbye,
}

#[derive(Debug, Serialize, ToSchema)]
struct Goodbye {
    message: &'static str,
}

async fn leave(app: &App, caller: &Caller) -> Result<OnceOnly<Plain<LoggedOut>>, Failure> {
    login::log_out(&app.commands, caller).await?;
    let data = Goodbye {
        message: "You've been logged out!",
    };
    let logged_out = LoggedOut {
        status: "success",
        data,
    };
    // The session that asked is not there any more, as it should be.
    Ok(OnceOnly(Plain(logged_out)))
}

pub const LOG_OUT: Operation = Operation::post("logout", &log_out)
    .tagged("login")
    .tells("End the session of the caller.");

async fn log_out(
    app: App,
    LoggedIn(caller): LoggedIn,
    (): (),
) -> Result<OnceOnly<Plain<LoggedOut>>, Failure> {
    leave(&app, &caller).await
}

pub const LOG_OUT_BY_GET: Operation = Operation::get("logout.byGet", &log_out_by_get)
    .at("/api/v1/logout")
    .records()
    .tagged("login")
    .tells("End the session of the caller, for clients that still ask by GET.");

async fn log_out_by_get(
    app: App,
    LoggedIn(caller): LoggedIn,
    (): (),
) -> Result<OnceOnly<Plain<LoggedOut>>, Failure> {
    leave(&app, &caller).await
}

pub const ME: Operation = Operation::get("me", &me)
    .tagged("login")
    .tells("Who the caller is, with all preferences.");

async fn me(app: App, LoggedIn(caller): LoggedIn, (): ()) -> Answer<User> {
    let row = row(&app, caller.user()).await?;
    answer(User::own(&app.commands.model(), &row))
}
