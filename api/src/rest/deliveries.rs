//! `/api/hansard/v1/deliveries`: what came of outgoing webhooks, across all of them.

use std::collections::BTreeSet;

use hansard_commands::authorization::sight::Purpose;
use hansard_commands::inspection::{self, Inspection};
use hansard_commands::integration::kept::with_names;
use hansard_commands::integration::{manage, replay};
use hansard_commands::model::WriteModel;
use hansard_domain::id::{DeliveryId, IntegrationId, UserId};
use hansard_domain::integration::Direction;
use hansard_projections::deliveries::{Delivery, Filter, State as DeliveryState};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, Nothing, answer, done};
use super::body::Params;
use super::caller::Caller;
use super::failure::Failure;
use super::paging::Paging;
use crate::app::App;
use crate::operations::Operation;
use crate::operations::request::Path;

pub const OPERATIONS: &[Operation] = &[LIST, GET, REPLAY_DELIVERY];

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of this integration.
    integration: Option<String>,
    /// Only those that are `pending`, `delivered` or `dead`.
    state: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ShownDelivery {
    id: String,
    integration: String,
    #[schema(example = "sendMessage")]
    trigger: String,
    /// Where the event stands in the log that set it off.
    position: u64,
    room: Option<String>,
    message: Option<String>,
    user: Option<String>,
    /// Which of the integration's URLs, from 0.
    url: u32,
    /// `pending`, `delivered` or `dead`.
    state: &'static str,
    attempts: u32,
    queued: String,
    /// When it is tried next.
    due: Option<String>,
    updated: String,
    /// Why it was given up without an attempt: `integrationRemoved`, `urlRemoved`, `unwatched`, `erased`,
    /// `overflow` or `heldBack`.
    abandoned: Option<String>,
    /// The status of the last answer.
    status: Option<u16>,
    /// Why what the receiver answered was posted nowhere: `destinationGone` where the integration's
    /// `targetRoom` is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_held_back: Option<String>,
    /// The last attempt; none once what it carried has been erased.
    exchange: Option<ShownExchange>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ShownExchange {
    url: String,
    /// JSON, without the integration's token, with the names of those who are there as they are now.
    request: String,
    /// The answer, or why there was none; at most 4 KiB.
    response: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Deliveries {
    deliveries: Vec<ShownDelivery>,
    offset: u64,
    count: usize,
    total: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct OneDelivery {
    delivery: ShownDelivery,
}

impl ShownDelivery {
    fn of(model: &WriteModel, viewer: &UserId, delivery: Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            integration: delivery.integration.to_string(),
            trigger: delivery.trigger,
            position: delivery.position.0,
            room: delivery.room.map(|room| room.to_string()),
            message: delivery.message.map(|message| message.to_string()),
            user: delivery.user.map(|user| user.to_string()),
            url: delivery.url,
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            queued: delivery.queued.iso(),
            due: delivery.due.map(hansard_domain::id::Timestamp::iso),
            updated: delivery.updated.iso(),
            abandoned: delivery.abandoned,
            status: delivery.status,
            answer_held_back: delivery.answer_held_back,
            exchange: delivery.exchange.map(|exchange| ShownExchange {
                url: exchange.url,
                request: with_names(model, viewer, &exchange.request),
                response: exchange.response,
            }),
        }
    }
}

pub const LIST: Operation = Operation::get("hansard.deliveries", &list)
    .own("/api/hansard/v1/deliveries")
    .tagged("deliveries")
    .tells("List deliveries of outgoing webhooks, newest first.")
    .notes(
        "Needs `manage-outgoing-integrations`; with `manage-own-outgoing-integrations` alone, name an \
         integration of your own.",
    );

async fn list(
    app: App,
    caller: Caller,
    (Params(which), paging): (Params<Which>, Paging),
) -> Answer<Deliveries> {
    let integration = which.integration.map(IntegrationId::new);
    may_see(&app.commands.model(), &caller, integration.as_ref())?;
    let state = which
        .state
        .map(|name| {
            DeliveryState::parse(&name).ok_or_else(|| {
                Failure::invalid_params("state must be one of pending, delivered, dead")
            })
        })
        .transpose()?;
    let filter = Filter { integration, state };
    let count = paging.count.unwrap_or(u64::MAX);
    let deliveries = &app.views.deliveries;
    let page = deliveries
        .page(&filter, false, paging.offset, count)
        .await?;
    put_on_record(&app, &caller, &page.deliveries).await?;
    let model = app.commands.model();
    let count = page.deliveries.len();
    let deliveries = page.deliveries.into_iter();
    answer(Deliveries {
        offset: paging.offset,
        count,
        total: page.total,
        deliveries: deliveries
            .map(|delivery| ShownDelivery::of(&model, caller.user(), delivery))
            .collect(),
    })
}

pub const GET: Operation = Operation::get("hansard.deliveries.get", &get)
    .own("/api/hansard/v1/deliveries/{id}")
    .tagged("deliveries")
    .tells("Get one delivery.");

async fn get(app: App, caller: Caller, Path(id): Path) -> Answer<OneDelivery> {
    let delivery = find(&app, &caller, &id).await?;
    put_on_record(&app, &caller, std::slice::from_ref(&delivery)).await?;
    answer(OneDelivery {
        delivery: ShownDelivery::of(&app.commands.model(), caller.user(), delivery),
    })
}

pub const REPLAY_DELIVERY: Operation =
    Operation::post("hansard.deliveries.replay", &replay_delivery)
        .own("/api/hansard/v1/deliveries/{id}/replay")
        .tagged("deliveries")
        .tells("Make a delivery again that is delivered or dead.");

async fn replay_delivery(app: App, caller: Caller, Path(id): Path) -> Answer<Nothing> {
    let delivery = find(&app, &caller, &id).await?;
    replay::replay(&app.commands, &caller, delivery.integration, delivery.id).await?;
    done()
}

/// Puts on the record that somebody is shown who said something in rooms it does not see itself, or what.
pub(super) async fn put_on_record(
    app: &App,
    caller: &Caller,
    shown: &[Delivery],
) -> Result<(), Failure> {
    let model = app.commands.model();
    let rooms = shown.iter().filter_map(|delivery| delivery.room.as_ref());
    let unseen = rooms.filter(|room| {
        let sight = model.sight_in_list(caller, room, Purpose::Messages);
        sight.is_none()
    });
    let count = unseen.clone().count() as u64;
    let unseen: BTreeSet<_> = unseen.cloned().collect();
    if unseen.is_empty() {
        return Ok(());
    }
    let [all, own] = manage::permissions(Direction::Outgoing);
    let inspection = Inspection {
        permission: if model.allows(caller, all, None) {
            all
        } else {
            own
        },
        room: None,
        user: None,
        shown: count,
    };
    let unseen: Vec<_> = unseen.into_iter().collect();
    Ok(inspection::record_each(&app.commands, caller, &unseen, inspection).await?)
}

/// A delivery that the caller may see; one that it may not is not there.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<Delivery, Failure> {
    let delivery = app.views.deliveries.delivery(&DeliveryId::new(id)).await?;
    let delivery = delivery.ok_or_else(|| Failure::not_found("There is no such delivery"))?;
    may_see(&app.commands.model(), caller, Some(&delivery.integration))?;
    Ok(delivery)
}

fn may_see(
    model: &WriteModel,
    caller: &Caller,
    integration: Option<&IntegrationId>,
) -> Result<(), Failure> {
    let own = integration
        .and_then(|id| model.integration(id))
        .is_some_and(|integration| manage::may_manage(model, caller, integration));
    let [all, _] = manage::permissions(Direction::Outgoing);
    if own {
        return Ok(());
    }
    Ok(model.require(caller, all, None)?)
}
