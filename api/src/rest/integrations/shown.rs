//! How integrations and their deliveries are shown.

use hansard_commands::integration::answerable::reach;
use hansard_commands::integration::kept::with_names;
use hansard_commands::integration::referents::{misses_one, shown};
use hansard_commands::model::WriteModel;
use hansard_domain::id::{IntegrationId, UserId};
use hansard_domain::integration::{Direction, HeldBack, Integration, Trigger};
use hansard_projections::deliveries::{Delivery, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// An integration, with the secrets of it: it is shown to nobody but those who may change it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownIntegration {
    #[serde(rename = "_id")]
    #[schema(value_type = String)]
    id: IntegrationId,
    /// `webhook-incoming` or `webhook-outgoing`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "webhook-incoming")]
    direction: Direction,
    name: String,
    enabled: bool,
    /// Why it does nothing although it is enabled: `makerInactive`, `makerMayNotManage`. Whoever has the
    /// permission for all integrations takes it over by saving it. Or why it does not all that it is there
    /// for: `destinationGone`, where a room that it names was deleted, or an account was deleted or
    /// deactivated; it has to be saved with others.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back: Option<&'static str>,
    username: String,
    #[schema(value_type = String)]
    user_id: UserId,
    /// The rooms and people that were named when it was saved, as they are called now; by their id those
    /// that are gone, and rooms that the caller does not see.
    channel: Vec<String>,
    alias: String,
    avatar: String,
    emoji: String,
    token: String,
    script: String,
    script_enabled: bool,
    script_engine: String,
    /// Of incoming ones alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    override_destination_channel_enabled: Option<bool>,
    /// Of outgoing ones alone, as is all that follows up to `impersonateUser`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "sendMessage")]
    event: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_room: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    urls: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger_words: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger_word_anywhere: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_on_edits: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_failed_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonate_user: Option<bool>,
    #[serde(rename = "_createdAt")]
    created: String,
    #[serde(rename = "_createdBy")]
    created_by: Maker,
    #[serde(rename = "_updatedAt")]
    updated: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IntegrationMaker)]
struct Maker {
    #[serde(rename = "_id")]
    #[schema(value_type = String)]
    id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
}

impl ShownIntegration {
    pub fn of(
        model: &WriteModel,
        viewer: &UserId,
        id: &IntegrationId,
        integration: &Integration,
    ) -> Self {
        let details = integration.details.clone();
        let channels = details.channels.iter();
        let channel = channels.map(|name| shown(model, viewer, name, details.referent(name)));
        let channel = channel.collect();
        let target_room = shown(model, viewer, &details.target_room, details.target());
        let gone = misses_one(model, integration).then_some(HeldBack::DestinationGone);
        let outgoing = integration.direction == Direction::Outgoing;
        let named = |user: &UserId| Some(model.account(user)?.profile.username.clone());
        Self {
            id: id.clone(),
            direction: integration.direction,
            name: details.name,
            enabled: integration.enabled,
            held_back: reach(model, integration)
                .err()
                .or(gone)
                .map(HeldBack::as_str),
            username: named(&integration.user).unwrap_or_default(),
            user_id: integration.user.clone(),
            channel,
            alias: details.alias,
            avatar: details.avatar,
            emoji: details.emoji,
            token: details.token,
            script: details.script,
            script_enabled: details.script_enabled,
            script_engine: details.script_engine,
            override_destination_channel_enabled: (!outgoing)
                .then_some(details.override_destination_channel_enabled),
            event: outgoing.then_some(integration.trigger.map_or("", Trigger::as_str)),
            target_room: outgoing.then_some(target_room),
            urls: outgoing.then_some(details.urls),
            trigger_words: outgoing.then_some(details.trigger_words),
            trigger_word_anywhere: outgoing.then_some(details.trigger_word_anywhere),
            signing_secret: outgoing.then_some(details.signing_secret),
            run_on_edits: outgoing.then_some(details.run_on_edits),
            retry_failed_calls: details.retry_failed_calls.filter(|_| outgoing),
            retry_count: outgoing.then_some(details.retry_count),
            retry_delay: outgoing.then_some(details.retry_delay),
            impersonate_user: outgoing.then_some(details.impersonate_user),
            created: integration.created.iso(),
            created_by: Maker {
                id: integration.created_by.clone(),
                username: named(&integration.created_by),
            },
            updated: integration.updated.iso(),
        }
    }
}

/// A delivery as Rocket.Chat's history shows it, and with what Hansard knows beside.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    #[serde(rename = "_id")]
    id: String,
    /// `outgoing-webhook`
    #[serde(rename = "type")]
    kind: &'static str,
    /// How far it has come, in Rocket.Chat's words where it has one.
    step: String,
    integration: OfIntegration,
    #[schema(example = "sendMessage")]
    event: String,
    #[serde(rename = "_createdAt")]
    created: String,
    #[serde(rename = "_updatedAt")]
    updated: String,
    /// What was sent, without the token, with the names of those who are there as they are now; gone
    /// when what it carried has been erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger_word: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_call_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_error: Option<String>,
    finished: bool,
    error: bool,
    /// `false`: this version runs no scripts.
    ran_prepare_script: bool,
    /// `pending`, `delivered` or `dead`.
    state: &'static str,
    attempts: u32,
    /// The status of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why what the receiver answered was posted nowhere: `destinationGone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_held_back: Option<String>,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OfIntegration {
    #[serde(rename = "_id")]
    id: String,
}

impl HistoryEntry {
    pub fn of(model: &WriteModel, viewer: &UserId, delivery: &Delivery) -> Self {
        let exchange = delivery.exchange.as_ref();
        let request = exchange.map(|exchange| with_names(model, viewer, &exchange.request));
        let data: Option<Value> = request
            .as_ref()
            .and_then(|request| hansard_domain::json::value(request).ok());
        let response = exchange.map(|exchange| exchange.response.clone());
        let answered = delivery.status.is_some();
        Self {
            id: delivery.id.to_string(),
            kind: "outgoing-webhook",
            step: step(delivery),
            integration: OfIntegration {
                id: delivery.integration.to_string(),
            },
            event: delivery.trigger.clone(),
            created: delivery.queued.iso(),
            updated: delivery.updated.iso(),
            trigger_word: data
                .as_ref()
                .and_then(|data| Some(data.get("trigger_word")?.as_str()?.to_owned())),
            data,
            url: exchange.map(|exchange| exchange.url.clone()),
            http_call_data: request,
            http_result: response.clone().filter(|_| answered),
            http_error: response.filter(|_| !answered),
            finished: delivery.state == State::Delivered,
            error: delivery.state == State::Dead,
            ran_prepare_script: false,
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            status: delivery.status,
            answer_held_back: delivery.answer_held_back.clone(),
            due: delivery.due.map(hansard_domain::id::Timestamp::iso),
        }
    }
}

fn step(delivery: &Delivery) -> String {
    match (delivery.state, &delivery.abandoned) {
        (_, Some(reason)) => format!("abandoned-{reason}"),
        (State::Pending, None) if delivery.attempts == 0 => "start-execute-trigger-url".to_owned(),
        (State::Pending, None) => format!("going-to-retry-{}", delivery.attempts),
        (State::Delivered, None) => "url-response-sent-message".to_owned(),
        (State::Dead, None) => "too-many-retries".to_owned(),
    }
}
