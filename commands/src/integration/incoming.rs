//! Incoming webhooks: what is posted to `/hooks/<integration>/<token>` becomes messages.
//!
//! Payloads are those of Slack and Rocket.Chat; what an outgoing webhook's receiver answers is read
//! the same way.

use hansard_domain::event::Origin;
use hansard_domain::free::{FreeList, FreeObject};
use hansard_domain::id::{IntegrationId, MessageId, UserId};
use hansard_domain::integration::{
    Direction, HeldBack, Integration, IntegrationCommand, IntegrationDetails,
};
use hansard_domain::limit::OutOfBounds;
use hansard_domain::log::Actor;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use super::answerable::reach;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::message::{Address, Outgoing, Post, Posted, post};
use crate::model::WriteModel;

/// Names incoming webhooks on the record where the server speaks of them.
const NAME: &str = "incoming-webhooks";

/// Why a payload was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("Invalid integration id or token provided.")]
    Unknown,
    /// It is disabled, or nobody answers for it.
    #[error("Service Unavailable")]
    Disabled,
    #[error("overriding destination channel is disabled for this integration")]
    FixedDestination,
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Refuses whom there is no webhook for, before anything of what it sends is looked at.
pub fn check(commands: &Commands, id: &IntegrationId, token: &str) -> Result<(), HookError> {
    open(&commands.model(), id, token).map(|_| ())
}

/// Posts what came in. A payload that says nothing is taken and posts nothing.
pub async fn receive(
    commands: &Commands,
    id: &IntegrationId,
    token: &str,
    payload: &Map<String, Value>,
    origin: Option<Origin>,
    correlation: Option<&str>,
) -> Result<Vec<Posted>, HookError> {
    let model = commands.model();
    let integration = open(&model, id, token)?;
    if let Err(why) = reach(&model, integration) {
        if !integration.held_back.contains(&why) {
            hold_back(commands, id, why).await?;
        }
        return Err(HookError::Disabled);
    }
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    let details = &integration.details;
    let elsewhere = ["channel", "roomId"]
        .iter()
        .any(|field| payload.get(*field).is_some_and(truthy));
    if elsewhere && !details.override_destination_channel_enabled {
        return Err(HookError::FixedDestination);
    }
    let caller = Caller {
        origin,
        correlation: correlation.map(Into::into),
        ..as_integration(id, &integration.user)
    };
    let named = destinations(payload);
    let to = if named.is_empty() {
        let saved = details.channels.iter();
        let saved = saved.map(|name| Address::Saved(name.clone(), details.referent(name).cloned()));
        saved.collect()
    } else {
        named.into_iter().map(Address::Named).collect()
    };
    let message = message(payload, details, id).map_err(CommandError::from)?;
    let posted = post(commands, &caller, Post { to, message }).await;
    if let Err(error) = &posted {
        record_refusal(commands, &caller, error).await;
    }
    Ok(posted?)
}

/// What an integration is refused for want of a right goes on the record as the integration's. Whoever calls
/// it is not logged in.
pub(super) async fn record_refusal(commands: &Commands, caller: &Caller, error: &CommandError) {
    let CommandError::Denied {
        permission,
        room,
        noted: false,
        ..
    } = error
    else {
        return;
    };
    let refused = commands.refuse(caller, permission.clone(), room.clone());
    if let Err(error) = refused.await {
        tracing::warn!(%error, "a refusal of an integration is not on the record yet");
    }
}

fn open<'a>(
    model: &'a WriteModel,
    id: &IntegrationId,
    token: &str,
) -> Result<&'a Integration, HookError> {
    let integration = known(model, id, token).ok_or(HookError::Unknown)?;
    integration
        .enabled
        .then_some(integration)
        .ok_or(HookError::Disabled)
}

async fn hold_back(
    commands: &Commands,
    id: &IntegrationId,
    why: HeldBack,
) -> Result<(), CommandError> {
    let (id, caller) = (id.clone(), Caller::policy(NAME, None));
    let held = commands.run(&caller, move |decision| {
        let (room, at) = (None, decision.now());
        decision.integration(&id, IntegrationCommand::HoldBack { why, room, at })
    });
    held.await.map(drop)
}

/// The incoming webhook that an id and a token name together.
pub fn known<'a>(
    model: &'a WriteModel,
    id: &IntegrationId,
    token: &str,
) -> Option<&'a Integration> {
    let integration = &model.integration(id)?.state;
    let expected = integration.details.token.as_bytes();
    let same = bool::from(expected.ct_eq(token.as_bytes())) && !expected.is_empty();
    (same && integration.direction == Direction::Incoming).then_some(integration)
}

/// An integration that posts with the rights of an account.
pub(super) fn as_integration(id: &IntegrationId, user: &UserId) -> Caller {
    Caller {
        actor: Actor::Integration(id.clone()),
        ..Caller::user(user.clone(), "hooks")
    }
}

/// Where a payload wants to go; empty where it does not say.
pub(super) fn destinations(payload: &Map<String, Value>) -> Vec<String> {
    let named = ["channel", "roomId"]
        .into_iter()
        .find_map(|field| payload.get(field).filter(|value| truthy(value)));
    match named {
        Some(Value::Array(channels)) => channels
            .iter()
            .filter_map(|channel| channel.as_str().map(ToOwned::to_owned))
            .collect(),
        Some(Value::String(channel)) => vec![channel.clone()],
        _ => Vec::new(),
    }
}

/// The message that a payload means, with what the integration says where it says nothing.
pub(super) fn message(
    payload: &Map<String, Value>,
    details: &IntegrationDetails,
    id: &IntegrationId,
) -> Result<Outgoing, OutOfBounds> {
    let said = |names: [&str; 2]| {
        let mut found = names.iter().filter_map(|name| text(payload.get(*name)?));
        found.find(|text| !text.is_empty())
    };
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let attachments = payload.get("attachments").and_then(Value::as_array);
    // One picture: the payload's own goes before that of the integration, a URL before an emoji.
    let (avatar, emoji) = match (said(["icon_url", "avatar"]), said(["icon_emoji", "emoji"])) {
        (Some(avatar), _) => (Some(avatar), None),
        (None, Some(emoji)) => (None, Some(emoji)),
        (None, None) => match given(&details.avatar) {
            Some(avatar) => (Some(avatar), None),
            None => (None, given(&details.emoji)),
        },
    };
    let flag = |name: &str| payload.get(name).and_then(Value::as_bool);
    let parse_urls = flag("parseUrls").unwrap_or(attachments.is_none());
    let attachments = attachments.into_iter().flatten().cloned().map(attachment);
    let attachments =
        FreeList::parse(attachments.collect()).map_err(|excess| excess.of("attachments"))?;
    let custom_fields = payload.get("customFields").and_then(Value::as_object);
    let custom_fields = custom_fields.cloned().map(FreeObject::parse).transpose();
    Ok(Outgoing {
        text: said(["text", "msg"]).unwrap_or_default().trim().to_owned(),
        alias: said(["username", "alias"]).or_else(|| given(&details.alias)),
        avatar,
        emoji,
        attachments,
        custom_fields: custom_fields.map_err(|excess| excess.of("customFields"))?,
        thread: payload
            .get("tmid")
            .and_then(Value::as_str)
            .and_then(|id| MessageId::parse(id).ok()),
        parse_urls,
        groupable: flag("groupable").unwrap_or(false),
        bot: true,
        integration: Some(id.clone()),
        ..Outgoing::default()
    })
}

/// An attachment's text may be called `msg`.
fn attachment(mut attachment: Value) -> Value {
    if let Some(fields) = attachment.as_object_mut()
        && let Some(said) = fields
            .get("msg")
            .and_then(text)
            .filter(|said| !said.is_empty())
    {
        fields.shift_remove("msg");
        fields.insert("text".into(), said.trim().into());
    }
    attachment
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(payload: Value) -> Outgoing {
        let details = IntegrationDetails {
            alias: "Build".into(),
            emoji: ":robot:".into(),
            ..Default::default()
        };
        message(payload.as_object().unwrap(), &details, &"hook".into()).unwrap()
    }

    #[test]
    fn a_slack_payload_is_understood() {
        let message = read(json!({
            "username": "Jenkins",
            "icon_url": "https://example.com/jenkins.png",
            "icon_emoji": ":ghost:",
            "text": "  done \n",
            "attachments": [{ "fallback": "f", "color": "#36a64f", "msg": " green " }],
        }));
        assert_eq!(message.text, "done");
        assert_eq!(message.alias.as_deref(), Some("Jenkins"));
        assert_eq!(
            message.avatar.as_deref(),
            Some("https://example.com/jenkins.png")
        );
        assert_eq!(message.emoji, None);
        assert_eq!(
            *message.attachments,
            [json!({ "fallback": "f", "color": "#36a64f", "text": "green" })]
        );
        assert!(!message.parse_urls);
        assert!(message.bot && !message.groupable);
        assert_eq!(message.integration, Some("hook".into()));
    }

    #[test]
    fn what_the_payload_does_not_say_the_integration_does() {
        let message = read(json!({ "msg": "hi" }));
        assert_eq!(message.text, "hi");
        assert_eq!(message.alias.as_deref(), Some("Build"));
        assert_eq!(message.emoji.as_deref(), Some(":robot:"));
        assert!(message.parse_urls);
    }

    #[test]
    fn attachments_that_are_no_list_are_left_out() {
        assert_eq!(*read(json!({ "attachments": "none" })).attachments, [0; 0]);
    }

    #[test]
    fn a_destination_is_one_channel_or_several() {
        let read = |payload: Value| destinations(payload.as_object().unwrap());
        assert_eq!(read(json!({ "channel": "#a" })), ["#a"]);
        assert_eq!(read(json!({ "channel": ["#a", "@b"] })), ["#a", "@b"]);
        assert_eq!(read(json!({ "channel": "", "roomId": "c" })), ["c"]);
        assert_eq!(read(json!({})), [""; 0]);
    }
}
