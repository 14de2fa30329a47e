//! `integrations.*`: incoming and outgoing webhooks, and the history of the latter.

mod request;
pub mod shown;

use axum::extract::State;
use hansard_commands::integration::manage::{self, may_manage, permissions};
use hansard_commands::integration::replay;
use hansard_commands::model::WriteModel;
use hansard_domain::id::{DeliveryId, IntegrationId, UserId};
use hansard_domain::integration::Direction;
use hansard_projections::deliveries::Filter;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::request::{
    ClearHistory, CreateIntegration, GetIntegration, HistoryOf, RemoveIntegration, ReplayOutgoing,
    UpdateIntegration, direction,
};
use self::shown::{HistoryEntry, ShownIntegration};
use super::answer::{Answer, Nothing, Success, answer, done};
use super::body::{Body, Params};
use super::caller::Caller;
use super::deliveries::put_on_record;
use super::failure::Failure;
use super::paging::{Direction as Order, Paging, PagingParams};
use crate::app::App;
use crate::record::inspected;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(update))
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(history))
        .routes(routes!(clear_history))
        .routes(routes!(replay_outgoing))
        .routes(routes!(remove))
}

#[derive(Debug, Serialize, ToSchema)]
struct OneIntegration {
    integration: ShownIntegration,
}

#[derive(Debug, Serialize, ToSchema)]
struct Integrations {
    #[schema(value_type = Vec<ShownIntegration>)]
    integrations: Vec<Value>,
    offset: u64,
    items: usize,
    count: usize,
    total: usize,
}

#[derive(Debug, Serialize, ToSchema)]
struct History {
    #[schema(value_type = Vec<HistoryEntry>)]
    history: Vec<Value>,
    offset: u64,
    items: usize,
    count: usize,
    total: u64,
}

/// Make an integration.
///
/// Needs `manage-incoming-integrations` or `manage-own-incoming-integrations`, or those for outgoing
/// ones. With one of the two, it may reach no more than the rooms that the caller is in. With that for
/// one's own alone it posts as the caller or as the server's own account, and hears what the caller sees.
/// Rooms and people that it names are kept by their ids: it stays with them whatever they are called later.
#[utoipa::path(
    post, path = "/api/v1/integrations.create", tag = "integrations",
    request_body = CreateIntegration,
    responses((status = 200, body = Success<OneIntegration>), Failure)
)]
async fn create(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<CreateIntegration>,
) -> Answer<OneIntegration> {
    let direction = direction(&request.kind)?;
    let id = manage::create(&app.commands, &caller, direction, request.wishes()).await?;
    answer(shown(&app.commands.model(), &caller, &id)?)
}

/// Change an integration.
///
/// An outgoing one needs its `token` said again. Needs the permissions of `integrations.create`;
/// with that for one's own alone, it must be the caller's. One that is `heldBack` is the caller's
/// from now on.
#[utoipa::path(
    put, path = "/api/v1/integrations.update", tag = "integrations",
    request_body = UpdateIntegration,
    responses((status = 200, body = Success<OneIntegration>), Failure)
)]
async fn update(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<UpdateIntegration>,
) -> Answer<OneIntegration> {
    let direction = direction(&request.kind)?;
    let id = request.which.find(&app.commands.model(), direction)?;
    let wishes = request.wishes();
    manage::update(&app.commands, &caller, id.clone(), direction, wishes).await?;
    answer(shown_on_record(&app, &caller, &id).await?)
}

/// List integrations.
///
/// Those that the caller may change; oldest first. `query` takes plain values of their members. That the
/// tokens of those that others answer for were shown is on the record.
#[utoipa::path(
    get, path = "/api/v1/integrations.list", tag = "integrations",
    params(PagingParams),
    responses((status = 200, body = Success<Integrations>), Failure)
)]
async fn list(caller: Caller, State(app): State<App>, paging: Paging) -> Answer<Integrations> {
    let model = app.commands.model();
    require_any(&model, &caller, &[Direction::Incoming, Direction::Outgoing])?;
    let mut found: Vec<_> = model
        .integrations()
        .filter(|(_, integration)| may_manage(&model, &caller, integration))
        .collect();
    found.sort_unstable_by_key(|(id, integration)| (integration.created, *id));
    let mut found = found
        .into_iter()
        .map(|(id, integration)| {
            object(ShownIntegration::of(&model, caller.user(), id, integration))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(query) = &paging.query {
        found.retain(|shown| query.iter().all(|(name, value)| holds(shown, name, value)));
    }
    sort(&mut found, &paging);
    let total = found.len();
    let page = paging.slice(found);
    let own = json!(caller.user());
    let of_others = page
        .iter()
        .filter(|shown| shown["_createdBy"]["_id"] != own);
    looked(&app, &caller, String::new(), of_others.count()).await?;
    let integrations = project(page, &paging);
    answer(Integrations {
        offset: paging.offset,
        items: integrations.len(),
        count: integrations.len(),
        total,
        integrations,
    })
}

/// Get an integration.
///
/// That the token of one that somebody else answers for was shown is on the record.
#[utoipa::path(
    get, path = "/api/v1/integrations.get", tag = "integrations",
    params(GetIntegration),
    responses((status = 200, body = Success<OneIntegration>), Failure)
)]
async fn get(
    caller: Caller,
    State(app): State<App>,
    Params(request): Params<GetIntegration>,
) -> Answer<OneIntegration> {
    let model = app.commands.model();
    let id = IntegrationId::new(&request.integration_id);
    let maker = request.created_by.map(UserId::new);
    let found = model.integration(&id).filter(|integration| {
        maker
            .as_ref()
            .is_none_or(|maker| *maker == integration.created_by)
    });
    let Some(integration) = found else {
        return Err(Failure::plain("The integration does not exists."));
    };
    if !may_manage(&model, &caller, integration) {
        return Err(Failure::plain("not-authorized").denied(None));
    }
    answer(shown_on_record(&app, &caller, &id).await?)
}

/// The deliveries of an outgoing webhook.
///
/// Newest first. Needs `manage-outgoing-integrations` or `manage-own-outgoing-integrations`; with
/// the latter alone, another's integration has none.
#[utoipa::path(
    get, path = "/api/v1/integrations.history", tag = "integrations",
    params(HistoryOf, PagingParams),
    responses((status = 200, body = Success<History>), Failure)
)]
async fn history(
    caller: Caller,
    State(app): State<App>,
    Params(request): Params<HistoryOf>,
    paging: Paging,
) -> Answer<History> {
    let model = app.commands.model();
    require_any(&model, &caller, &[Direction::Outgoing])?;
    if request.id.trim().is_empty() {
        return Err(Failure::plain("Invalid integration id."));
    }
    let id = IntegrationId::new(&request.id);
    let seen = model
        .integration(&id)
        .is_some_and(|integration| may_manage(&model, &caller, integration));
    let (mut history, mut total) = (Vec::new(), 0);
    if seen {
        let oldest_first = paging
            .sort
            .first()
            .is_some_and(|(_, order)| *order == Order::Ascending);
        let filter = Filter {
            integration: Some(id),
            state: None,
        };
        let count = paging.count.unwrap_or(u64::MAX);
        let page = &app.views.deliveries;
        let page = page
            .page(&filter, oldest_first, paging.offset, count)
            .await?;
        total = page.total;
        put_on_record(&app, &caller, &page.deliveries).await?;
        for delivery in &page.deliveries {
            history.push(object(HistoryEntry::of(
                &app.commands.model(),
                caller.user(),
                delivery,
            ))?);
        }
    }
    let history = project(history, &paging);
    answer(History {
        offset: paging.offset,
        items: history.len(),
        count: history.len(),
        total,
        history,
    })
}

/// Forget the deliveries of an outgoing webhook.
///
/// Those that are under way stay. What was recorded of them stays in the log.
#[utoipa::path(
    post, path = "/api/v1/integrations.clearHistory", tag = "integrations",
    request_body = ClearHistory,
    responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn clear_history(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<ClearHistory>,
) -> Answer<Nothing> {
    let id = IntegrationId::new(&request.integration_id);
    manage::clear_history(&app.commands, &caller, id).await?;
    done()
}

/// Make a delivery again that is delivered or dead.
#[utoipa::path(
    post, path = "/api/v1/integrations.replayOutgoing", tag = "integrations",
    request_body = ReplayOutgoing,
    responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn replay_outgoing(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<ReplayOutgoing>,
) -> Answer<Nothing> {
    let integration = IntegrationId::new(&request.integration_id);
    let delivery = DeliveryId::new(&request.history_id);
    replay::replay(&app.commands, &caller, integration, delivery).await?;
    done()
}

/// Remove an integration.
///
/// Answers it as it was. What was typed into it is erased for good; its deliveries are given up.
#[utoipa::path(
    post, path = "/api/v1/integrations.remove", tag = "integrations",
    request_body = RemoveIntegration,
    responses((status = 200, body = Success<OneIntegration>), Failure)
)]
async fn remove(
    caller: Caller,
    State(app): State<App>,
    Body(request): Body<RemoveIntegration>,
) -> Answer<OneIntegration> {
    let direction = direction(&request.kind)?;
    let model = app.commands.model();
    require_any(&model, &caller, &[Direction::Incoming, Direction::Outgoing])?;
    let id = request.which.find(&model, direction)?;
    let was = shown(&model, &caller, &id)?;
    manage::remove(&app.commands, &caller, id, direction).await?;
    answer(was)
}

/// Refuses those who manage no integrations of any of these kinds, in Rocket.Chat's bare words.
fn require_any(
    model: &WriteModel,
    caller: &Caller,
    directions: &[Direction],
) -> Result<(), Failure> {
    let mut needed = directions.iter().copied().flat_map(permissions);
    if needed.any(|permission| model.allows(caller, permission, None)) {
        return Ok(());
    }
    Err(Failure::forbidden_because("unauthorized"))
}

fn shown(
    model: &WriteModel,
    caller: &Caller,
    id: &IntegrationId,
) -> Result<OneIntegration, Failure> {
    let integration = model.integration(id);
    let integration = integration.ok_or_else(|| Failure::plain("No integration found."))?;
    Ok(OneIntegration {
        integration: ShownIntegration::of(model, caller.user(), id, integration),
    })
}

/// An integration with its token; where somebody else answers for it, that it was shown is on the record.
async fn shown_on_record(
    app: &App,
    caller: &Caller,
    id: &IntegrationId,
) -> Result<OneIntegration, Failure> {
    let model = app.commands.model();
    let found = model.integration(id);
    let of_another = found.is_some_and(|found| found.created_by != *caller.user());
    looked(app, caller, id.to_string(), usize::from(of_another)).await?;
    shown(&model, caller, id)
}

/// Puts on the record how many integrations that others answer for are shown with their tokens.
async fn looked(app: &App, caller: &Caller, which: String, shown: usize) -> Result<(), Failure> {
    if shown == 0 {
        return Ok(());
    }
    inspected(app, caller, "integrations", which, shown as u64).await
}

fn object(shown: impl Serialize) -> Result<Map<String, Value>, Failure> {
    match serde_json::to_value(shown) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(Failure::internal()),
    }
}

/// Whether a member has a value, or holds it in a list.
fn holds(shown: &Map<String, Value>, name: &str, value: &Value) -> bool {
    let mut path = name.split('.');
    let first = path.next().and_then(|name| shown.get(name));
    match path.try_fold(first, |member, name| member.map(|member| member.get(name))) {
        Some(Some(Value::Array(members))) if members.contains(value) => true,
        Some(Some(member)) => member == value,
        _ => value.is_null(),
    }
}

fn sort(found: &mut [Map<String, Value>], paging: &Paging) {
    found.sort_by(|one, other| {
        let mut orders = paging.sort.iter().map(|(name, order)| {
            let compared = compare(one.get(name), other.get(name));
            match order {
                Order::Ascending => compared,
                Order::Descending => compared.reverse(),
            }
        });
        orders
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
}

fn compare(one: Option<&Value>, other: Option<&Value>) -> std::cmp::Ordering {
    match (one, other) {
        (Some(Value::String(one)), Some(Value::String(other))) => one.cmp(other),
        (Some(Value::Bool(one)), Some(Value::Bool(other))) => one.cmp(other),
        (Some(Value::Number(one)), Some(Value::Number(other))) => one
            .as_f64()
            .unwrap_or_default()
            .total_cmp(&other.as_f64().unwrap_or_default()),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

fn project(found: Vec<Map<String, Value>>, paging: &Paging) -> Vec<Value> {
    found
        .into_iter()
        .map(|mut shown| {
            if let Some(fields) = &paging.fields {
                fields.project(&mut shown);
            }
            Value::Object(shown)
        })
        .collect()
}
