//! What clients ask of integrations.

use hansard_commands::integration::manage::{Wishes, may_manage};
use hansard_commands::model::WriteModel;
use hansard_domain::id::IntegrationId;
use hansard_domain::integration::Direction;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::lenient;

/// A new integration. Which fields count depends on `type`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateIntegration {
    /// `webhook-incoming` or `webhook-outgoing`.
    #[serde(rename = "type")]
    #[schema(example = "webhook-incoming")]
    pub kind: String,
    /// Posts as this account.
    #[schema(example = "rocket.cat")]
    pub username: String,
    /// `#channel`s and `@user`s with commas in between; for outgoing ones also
    /// `all_public_channels`, `all_private_groups` and `all_direct_messages`.
    #[schema(example = "#general")]
    pub channel: String,
    /// Whether the script runs. This version runs none, and refuses a script that is enabled.
    pub script_enabled: bool,
    pub name: String,
    pub enabled: bool,
    #[serde(flatten, deserialize_with = "lenient::beside")]
    pub more: More,
}

/// An integration as it shall be; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateIntegration {
    /// `webhook-incoming` or `webhook-outgoing`.
    #[serde(rename = "type")]
    #[schema(example = "webhook-incoming")]
    pub kind: String,
    #[serde(flatten, deserialize_with = "lenient::beside")]
    pub which: Which,
    /// Outgoing: posts as this account.
    pub username: Option<String>,
    #[schema(example = "#general")]
    pub channel: String,
    /// Whether the script runs. This version runs none, and refuses a script that is enabled.
    pub script_enabled: bool,
    pub name: String,
    pub enabled: bool,
    #[serde(flatten, deserialize_with = "lenient::beside")]
    pub more: More,
}

/// Which integration: by id, or an outgoing one by one of its URLs.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Which {
    #[serde(rename = "integrationId")]
    pub integration_id: Option<String>,
    pub target_url: Option<String>,
}

/// What may be said of an integration.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct More {
    pub alias: Option<String>,
    pub avatar: Option<String>,
    pub emoji: Option<String>,
    pub script: Option<String>,
    /// `isolated-vm` or `vm2`; kept for clients.
    pub script_engine: Option<String>,
    /// Incoming: a payload may name another channel.
    pub override_destination_channel_enabled: Option<bool>,
    /// Outgoing: `sendMessage`, `fileUploaded`, `roomArchived`, `roomCreated`, `roomJoined`,
    /// `roomLeft` or `userCreated`.
    #[schema(example = "sendMessage")]
    pub event: Option<String>,
    /// Outgoing: where answers are posted, other than where it began. A room or a person that is there.
    pub target_room: Option<String>,
    pub urls: Option<Vec<String>>,
    pub trigger_words: Option<Vec<String>>,
    pub trigger_word_anywhere: Option<bool>,
    /// Outgoing: sent along, so that the receiver knows us; made here if it is left out.
    pub token: Option<String>,
    /// Outgoing: signs deliveries as in the Standard Webhooks specification; `whsec_` and base64.
    /// Made here if it is left out.
    pub signing_secret: Option<String>,
    pub run_on_edits: Option<bool>,
    /// Outgoing: `true` for `retryCount` and `retryDelay`, `false` for one attempt; the workspace's
    /// schedule if it is left out.
    pub retry_failed_calls: Option<bool>,
    pub retry_count: Option<i64>,
    /// `powers-of-ten`, `powers-of-two` or `increments-of-two`.
    pub retry_delay: Option<String>,
    /// Outgoing: answers are posted as whoever set the webhook off.
    pub impersonate_user: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct RemoveIntegration {
    /// `webhook-incoming` or `webhook-outgoing`.
    #[serde(rename = "type")]
    #[schema(example = "webhook-incoming")]
    pub kind: String,
    #[serde(flatten, deserialize_with = "lenient::beside")]
    pub which: Which,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct GetIntegration {
    pub integration_id: String,
    /// Only if it was made by this user.
    pub created_by: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryOf {
    /// The integration.
    pub id: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClearHistory {
    pub integration_id: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayOutgoing {
    pub integration_id: String,
    /// The `_id` of a delivery in `integrations.history`.
    pub history_id: String,
}

/// Which kind of integration `type` names. A name with something around it is answered as
/// Rocket.Chat does, whose first check looks for the name anywhere.
pub fn direction(kind: &str) -> Result<Direction, Failure> {
    match kind {
        "webhook-incoming" => Ok(Direction::Incoming),
        "webhook-outgoing" => Ok(Direction::Outgoing),
        _ if kind.contains("webhook-incoming") || kind.contains("webhook-outgoing") => {
            Err(Failure::plain("Invalid integration type."))
        }
        _ => Err(Failure::invalid_params(
            "must match exactly one schema in oneOf",
        )),
    }
}

impl Which {
    /// The integration that is meant, if there is one. By its URL the caller finds those that it may change.
    pub fn find(
        &self,
        model: &WriteModel,
        caller: &Caller,
        direction: Direction,
    ) -> Result<IntegrationId, Failure> {
        let none = || Failure::plain("No integration found.");
        if let Some(url) = self.target_url.as_ref().filter(|url| !url.is_empty())
            && direction == Direction::Outgoing
        {
            let mut found = model.integrations().filter(|(_, integration)| {
                integration.direction == direction
                    && integration.details.urls.contains(url)
                    && may_manage(model, caller, integration)
            });
            return found.next().map(|(id, _)| id.clone()).ok_or_else(none);
        }
        let Some(id) = &self.integration_id else {
            return Err(Failure::invalid_params(
                "must have required property 'integrationId'",
            ));
        };
        let id = IntegrationId::new(id);
        let found = model.integration(&id);
        match found.filter(|integration| integration.direction == direction) {
            Some(_) => Ok(id),
            None => Err(none()),
        }
    }
}

impl CreateIntegration {
    pub fn wishes(self) -> Wishes {
        Wishes {
            name: self.name,
            enabled: self.enabled,
            channel: Some(self.channel),
            username: Some(self.username),
            script_enabled: self.script_enabled,
            ..self.more.wishes()
        }
    }
}

impl UpdateIntegration {
    pub fn wishes(self) -> Wishes {
        Wishes {
            name: self.name,
            enabled: self.enabled,
            channel: Some(self.channel),
            username: self.username,
            script_enabled: self.script_enabled,
            ..self.more.wishes()
        }
    }
}

impl More {
    fn wishes(self) -> Wishes {
        Wishes {
            alias: self.alias,
            avatar: self.avatar,
            emoji: self.emoji,
            script: self.script,
            script_engine: self.script_engine,
            override_destination_channel_enabled: self.override_destination_channel_enabled,
            event: self.event,
            target_room: self.target_room,
            urls: self.urls,
            trigger_words: self.trigger_words,
            trigger_word_anywhere: self.trigger_word_anywhere,
            token: self.token,
            signing_secret: self.signing_secret,
            impersonate_user: self.impersonate_user,
            run_on_edits: self.run_on_edits,
            retry_failed_calls: self.retry_failed_calls,
            retry_count: self.retry_count,
            retry_delay: self.retry_delay,
            ..Wishes::default()
        }
    }
}
