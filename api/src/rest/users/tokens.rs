//! Tokens and sessions.

use hansard_commands::account::{login, token};
use hansard_domain::id::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::UserParam;
use crate::app::App;
use crate::operations::Operation;
use crate::operations::request::Token as Own;
use crate::rest::answer::{Answer, Nothing, answer, done};
use crate::rest::body::Body;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;

pub const OPERATIONS: &[Operation] = &[
    CREATE_TOKEN,
    GENERATE,
    REGENERATE,
    LIST,
    REMOVE,
    LOG_OUT_OTHERS,
    REMOVE_OTHERS,
    LOG_OUT_USER,
];

#[derive(Debug, Serialize, ToSchema)]
struct Issued {
    data: IssuedToken,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct IssuedToken {
    user_id: String,
    auth_token: String,
}

pub const CREATE_TOKEN: Operation = Operation::post("users.createToken", &create_token)
    .tells("Make a token for a user.")
    .notes("For another account than the caller's it needs `user-generate-access-token`.");

async fn create_token(app: App, caller: Caller, Body(request): Body<UserParam>) -> Answer<Issued> {
    let user = request.find(&app)?;
    let opened = token::issue(&app.commands, &caller, user).await?;
    answer(Issued {
        data: IssuedToken {
            user_id: opened.user.to_string(),
            auth_token: opened.token.0,
        },
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenName {
    token_name: Option<String>,
    #[serde(default)]
    bypass_two_factor: bool,
}

impl TokenName {
    fn name(self) -> Result<String, Failure> {
        let name = self.token_name.filter(|name| !name.is_empty());
        name.ok_or_else(|| Failure::plain("The 'tokenName' param is required"))
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct NewToken {
    /// Shown this once.
    token: String,
}

pub const GENERATE: Operation = Operation::post("users.generatePersonalAccessToken", &generate)
    .tells("Make a personal access token: one that does not expire.")
    .notes("Needs `create-personal-access-tokens`, as do all operations on them.");

async fn generate(app: App, caller: Caller, Body(request): Body<TokenName>) -> Answer<NewToken> {
    let bypass = request.bypass_two_factor;
    let name = request.name()?;
    let token = token::create_personal(&app.commands, &caller, name, bypass).await?;
    answer(NewToken { token: token.0 })
}

pub const REGENERATE: Operation =
    Operation::post("users.regeneratePersonalAccessToken", &regenerate)
        .tells("Make another personal access token under the name of an old one, which ends.");

async fn regenerate(app: App, caller: Caller, Body(request): Body<TokenName>) -> Answer<NewToken> {
    let name = request.name()?;
    let token = token::regenerate_personal(&app.commands, &caller, name).await?;
    answer(NewToken { token: token.0 })
}

#[derive(Debug, Serialize, ToSchema)]
struct Tokens {
    tokens: Vec<Token>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Token {
    name: String,
    created_at: String,
    /// Its last six characters.
    last_token_part: String,
    bypass_two_factor: bool,
}

pub const LIST: Operation = Operation::get("users.getPersonalAccessTokens", &list)
    .tells("The caller's personal access tokens.");

async fn list(app: App, caller: Caller, (): ()) -> Answer<Tokens> {
    let model = app.commands.model();
    token::check_may_have_tokens(&model, &caller)?;
    let account = model.account(caller.user());
    let tokens = account
        .into_iter()
        .flat_map(|account| &account.personal_access_tokens)
        .map(|(name, token)| Token {
            name: name.clone(),
            created_at: token.created.iso(),
            last_token_part: token.last_six.clone(),
            bypass_two_factor: token.bypass_two_factor,
        });
    answer(Tokens {
        tokens: tokens.collect(),
    })
}

pub const REMOVE: Operation = Operation::post("users.removePersonalAccessToken", &remove)
    .tells("End a personal access token.");

async fn remove(app: App, caller: Caller, Body(request): Body<TokenName>) -> Answer<Nothing> {
    token::remove_personal(&app.commands, &caller, request.name()?).await?;
    done()
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeptToken {
    token: String,
    /// Empty for a token that does not expire.
    token_expires: String,
}

pub const LOG_OUT_OTHERS: Operation = Operation::post("users.logoutOtherClients", &log_out_others)
    .tells("End the caller's other sessions; personal access tokens stay.");

async fn log_out_others(app: App, caller: Caller, Own(token): Own) -> Answer<KeptToken> {
    let expires = login::log_out_others(&app.commands, &caller).await?;
    answer(KeptToken {
        token: token.unwrap_or_default(),
        token_expires: expires.map(Timestamp::iso).unwrap_or_default(),
    })
}

pub const REMOVE_OTHERS: Operation = Operation::post("users.removeOtherTokens", &remove_others)
    .tells("End the caller's other sessions; personal access tokens stay.");

async fn remove_others(app: App, caller: Caller, (): ()) -> Answer<Nothing> {
    login::log_out_others(&app.commands, &caller).await?;
    done()
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LogOutUser {
    /// The caller, if it is not said.
    user_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Notice)]
struct Message {
    message: String,
}

pub const LOG_OUT_USER: Operation = Operation::post("users.logout", &log_out_user)
    .tells("End all sessions of a user.")
    .notes("For another account than the caller's it needs `logout-other-user`.");

async fn log_out_user(
    app: App,
    caller: Caller,
    Body(request): Body<LogOutUser>,
) -> Answer<Message> {
    let user = request.user_id.filter(|id| !id.is_empty());
    let user = user.map_or_else(|| caller.user().clone(), UserId::new);
    login::log_out_everywhere(&app.commands, &caller, user.clone()).await?;
    let message = format!("User {user} has been logged out!");
    answer(Message { message })
}
