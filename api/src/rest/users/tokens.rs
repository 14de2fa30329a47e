//! Tokens and sessions.

use axum::extract::State;
use axum::http::HeaderMap;
use hansard_commands::account::{login, token};
use hansard_domain::id::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::UserParam;
use crate::app::App;
use crate::rest::answer::{Answer, Nothing, Success, answer, done};
use crate::rest::body::Body;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_token))
        .routes(routes!(generate))
        .routes(routes!(regenerate))
        .routes(routes!(list))
        .routes(routes!(remove))
        .routes(routes!(log_out_others))
        .routes(routes!(remove_others))
        .routes(routes!(log_out_user))
}

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

/// Make a token for a user.
///
/// For another account than the caller's it needs `user-generate-access-token`.
#[utoipa::path(
    post, path = "/api/v1/users.createToken", tag = "users",
    request_body = UserParam, responses((status = 200, body = Success<Issued>), Failure)
)]
async fn create_token(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<UserParam>,
) -> Answer<Issued> {
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

/// Make a personal access token: one that does not expire.
///
/// Needs `create-personal-access-tokens`, as do all operations on them.
#[utoipa::path(
    post, path = "/api/v1/users.generatePersonalAccessToken", tag = "users",
    request_body = TokenName, responses((status = 200, body = Success<NewToken>), Failure)
)]
async fn generate(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<TokenName>,
) -> Answer<NewToken> {
    let bypass = request.bypass_two_factor;
    let name = request.name()?;
    let token = token::create_personal(&app.commands, &caller, name, bypass).await?;
    answer(NewToken { token: token.0 })
}

/// Make another personal access token under the name of an old one, which ends.
#[utoipa::path(
    post, path = "/api/v1/users.regeneratePersonalAccessToken", tag = "users",
    request_body = TokenName, responses((status = 200, body = Success<NewToken>), Failure)
)]
async fn regenerate(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<TokenName>,
) -> Answer<NewToken> {
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

/// The caller's personal access tokens.
#[utoipa::path(
    get, path = "/api/v1/users.getPersonalAccessTokens", tag = "users",
    responses((status = 200, body = Success<Tokens>), Failure)
)]
async fn list(caller: Caller, State(app): State<App>) -> Answer<Tokens> {
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

/// End a personal access token.
#[utoipa::path(
    post, path = "/api/v1/users.removePersonalAccessToken", tag = "users",
    request_body = TokenName, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn remove(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<TokenName>,
) -> Answer<Nothing> {
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

/// End the caller's other sessions; personal access tokens stay.
#[utoipa::path(
    post, path = "/api/v1/users.logoutOtherClients", tag = "users",
    responses((status = 200, body = Success<KeptToken>), Failure)
)]
async fn log_out_others(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
) -> Answer<KeptToken> {
    let expires = login::log_out_others(&app.commands, &caller).await?;
    let token = headers.get("x-auth-token");
    let token = token.and_then(|token| token.to_str().ok());
    answer(KeptToken {
        token: token.unwrap_or_default().to_owned(),
        token_expires: expires.map(Timestamp::iso).unwrap_or_default(),
    })
}

/// End the caller's other sessions; personal access tokens stay.
#[utoipa::path(
    post, path = "/api/v1/users.removeOtherTokens", tag = "users",
    responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn remove_others(caller: Caller, State(app): State<App>) -> Answer<Nothing> {
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

/// End all sessions of a user.
///
/// For another account than the caller's it needs `logout-other-user`.
#[utoipa::path(
    post, path = "/api/v1/users.logout", tag = "users",
    request_body = LogOutUser, responses((status = 200, body = Success<Message>), Failure)
)]
async fn log_out_user(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<LogOutUser>,
) -> Answer<Message> {
    let user = request.user_id.filter(|id| !id.is_empty());
    let user = user.map_or_else(|| caller.user().clone(), UserId::new);
    login::log_out_everywhere(&app.commands, &caller, user.clone()).await?;
    let message = format!("User {user} has been logged out!");
    answer(Message { message })
}
