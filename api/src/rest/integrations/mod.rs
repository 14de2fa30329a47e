//! `integrations.*`: incoming and outgoing webhooks, and the history of the latter.

mod request;
pub mod shown;

use hansard_commands::integration::manage::{self, may_manage, permissions};
use hansard_commands::integration::replay;
use hansard_commands::model::WriteModel;
use hansard_domain::id::{DeliveryId, IntegrationId, UserId};
use hansard_domain::integration::Direction;
use hansard_projections::deliveries::Filter;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use self::request::{
    ClearHistory, CreateIntegration, GetIntegration, HistoryOf, RemoveIntegration, ReplayOutgoing,
    UpdateIntegration, direction,
};
use self::shown::{HistoryEntry, ShownIntegration};
use super::answer::{Answer, Nothing, answer, done};
use super::body::{Body, Params};
use super::caller::Caller;
use super::deliveries::put_on_record;
use super::failure::Failure;
use super::paging::{Direction as Order, Paging};
use crate::app::App;
use crate::operations::Operation;
use crate::record::inspected;

pub const OPERATIONS: &[Operation] = &[
    CREATE,
    UPDATE,
    LIST,
    GET,
    HISTORY,
    CLEAR_HISTORY,
    REPLAY_OUTGOING,
    REMOVE,
];

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

pub const CREATE: Operation = Operation::post("integrations.create", &create)
    .tells("Make an integration.")
    .notes(
        "Needs `manage-incoming-integrations` or `manage-own-incoming-integrations`, or those for \
         outgoing ones. With one of the two, it may reach no more than the rooms that the caller is in. \
         With that for one's own alone it posts as the caller or as the server's own account, and hears \
         what the caller sees. Rooms and people that it names are kept by their ids: it stays with them \
         whatever they are called later.",
    );

async fn create(
    app: App,
    caller: Caller,
    Body(request): Body<CreateIntegration>,
) -> Answer<OneIntegration> {
    let direction = direction(&request.kind)?;
    let id = manage::create(&app.commands, &caller, direction, request.wishes()).await?;
    answer(shown(&app.commands.model(), &caller, &id)?)
}

pub const UPDATE: Operation = Operation::post("integrations.update", &update)
    .by_put()
    .tells("Change an integration.")
    .notes(
        "An outgoing one needs its `token` said again. Needs the permissions of `integrations.create`; \
         with that for one's own alone, it must be the caller's. One that is `heldBack` is the caller's \
         from now on.",
    );

async fn update(
    app: App,
    caller: Caller,
    Body(request): Body<UpdateIntegration>,
) -> Answer<OneIntegration> {
    let direction = direction(&request.kind)?;
    let model = app.commands.model();
    // Before it is looked for: whether it is there is not for everybody to know.
    manage::require_may_make(&model, &caller, direction)?;
    let id = request.which.find(&model, &caller, direction)?;
    let wishes = request.wishes();
    manage::update(&app.commands, &caller, id.clone(), direction, wishes).await?;
    answer(shown_on_record(&app, &caller, &id).await?)
}

pub const LIST: Operation = Operation::get("integrations.list", &list)
    .tells("List integrations.")
    .notes(
        "Those that the caller may change; oldest first. `query` takes plain values of their members. \
         That the tokens of those that others answer for were shown is on the record.",
    );

async fn list(app: App, caller: Caller, paging: Paging) -> Answer<Integrations> {
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

pub const GET: Operation = Operation::get("integrations.get", &get)
    .tells("Get an integration.")
    .notes("That the token of one that somebody else answers for was shown is on the record.");

async fn get(
    app: App,
    caller: Caller,
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

pub const HISTORY: Operation = Operation::get("integrations.history", &history)
    .tells("The deliveries of an outgoing webhook.")
    .notes(
        "Newest first. Needs `manage-outgoing-integrations` or `manage-own-outgoing-integrations`; with \
         the latter alone, another's integration has none.",
    );

async fn history(
    app: App,
    caller: Caller,
    (Params(request), paging): (Params<HistoryOf>, Paging),
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

pub const CLEAR_HISTORY: Operation = Operation::post("integrations.clearHistory", &clear_history)
    .tells("Forget the deliveries of an outgoing webhook.")
    .notes("Those that are under way stay. What was recorded of them stays in the log.");

async fn clear_history(
    app: App,
    caller: Caller,
    Body(request): Body<ClearHistory>,
) -> Answer<Nothing> {
    let id = IntegrationId::new(&request.integration_id);
    manage::clear_history(&app.commands, &caller, id).await?;
    done()
}

pub const REPLAY_OUTGOING: Operation =
    Operation::post("integrations.replayOutgoing", &replay_outgoing)
        .tells("Make a delivery again that is delivered or dead.");

async fn replay_outgoing(
    app: App,
    caller: Caller,
    Body(request): Body<ReplayOutgoing>,
) -> Answer<Nothing> {
    let integration = IntegrationId::new(&request.integration_id);
    let delivery = DeliveryId::new(&request.history_id);
    replay::replay(&app.commands, &caller, integration, delivery).await?;
    done()
}

pub const REMOVE: Operation = Operation::post("integrations.remove", &remove)
    .tells("Remove an integration.")
    .notes(
        "Answers it as it was. What was typed into it is erased for good; its deliveries are given up.",
    );

async fn remove(
    app: App,
    caller: Caller,
    Body(request): Body<RemoveIntegration>,
) -> Answer<OneIntegration> {
    let direction = direction(&request.kind)?;
    let model = app.commands.model();
    require_any(&model, &caller, &[Direction::Incoming, Direction::Outgoing])?;
    let id = request.which.find(&model, &caller, direction)?;
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
