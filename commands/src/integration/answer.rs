//! What a receiver answers: posted where the webhook came from, as in Rocket.Chat.

use hansard_domain::free;
use hansard_domain::id::{DeliveryId, ID_ALPHABET, MessageId, UserId};
use hansard_domain::integration::{Cause, Delivery, HeldBack, Integration};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::answerable::{Reach, reach};
use super::incoming::{as_integration, destinations, message, record_refusal};
use super::sender::WebhookResponse;
use super::trigger::still_watches;
use crate::bus::Commands;
use crate::error::CommandError;
use crate::message::{Address, Outgoing, Post, post, resolve};
use crate::model::WriteModel;

/// Content types of an answer that is read.
const JSON: [&str; 4] = [
    "application/json",
    "text/javascript",
    "application/javascript",
    "application/x-javascript",
];

/// Posts an answer that says something, as the integration is by now. A refusal is the receiver's fault,
/// and no reason to call it again: it is logged. Answers why the answer was held back, where the
/// integration is to be saved anew.
pub async fn post_answer(
    commands: &Commands,
    id: &DeliveryId,
    delivery: &Delivery,
    response: &WebhookResponse,
) -> Result<Option<HeldBack>, CommandError> {
    let (Some(answer), Some(cause)) = (read(response), &delivery.cause) else {
        return Ok(None);
    };
    loop {
        // The receiver took its time.
        let model = commands.model();
        let error = match post_as_of(commands, &model, id, delivery, cause, &answer).await {
            Err(
                error @ (CommandError::Refused { .. }
                | CommandError::Denied { .. }
                | CommandError::NotLoggedIn),
            ) => error,
            other => return other,
        };
        let saved = |model: &WriteModel| model.saved(&cause.integration);
        if saved(&commands.model()) == saved(&model) {
            tracing::warn!(delivery = %id, %error, "a webhook's answer was not posted");
            return Ok(None);
        }
        // It was saved meanwhile, maybe by another node, and posts as somebody else now.
    }
}

/// Posts the answer as the integration was in `model`.
async fn post_as_of(
    commands: &Commands,
    model: &WriteModel,
    id: &DeliveryId,
    delivery: &Delivery,
    cause: &Cause,
    answer: &Map<String, Value>,
) -> Result<Option<HeldBack>, CommandError> {
    let Some(integration) = model.integration(&cause.integration) else {
        return Ok(None);
    };
    let user = poster(model, integration, cause);
    let Some(address) = destination(model, integration, cause, &user, answer) else {
        tracing::warn!(delivery = %id, "a webhook's answer has no room to be posted in");
        return Ok(None);
    };
    if address.is_gone(model) {
        return Ok(Some(HeldBack::DestinationGone));
    }
    let elsewhere = !integration.details.target_room.is_empty();
    if !elsewhere && !still_watches(model, integration, cause) {
        tracing::warn!(delivery = %id, "a webhook's answer is for what it does not watch any more");
        return Ok(None);
    }
    let mut message = message(answer, &integration.details, &cause.integration)?;
    message.id = Some(message_id(id, delivery));
    let caller = as_integration(&cause.integration, &user);
    let posted = post(commands, &caller, to(address, message)).await;
    if let Err(error) = &posted {
        record_refusal(commands, &caller, error).await;
    }
    posted?;
    Ok(None)
}

fn to(address: Address, message: Outgoing) -> Post {
    Post {
        to: vec![address],
        message,
    }
}

fn read(response: &WebhookResponse) -> Option<Map<String, Value>> {
    if !JSON.contains(&response.content_type.as_str()) {
        return None;
    }
    let Ok(Value::Object(answer)) = free::read(response.body.as_bytes(), &free::REQUEST) else {
        return None;
    };
    let says = |field: &str| match answer.get(field) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(_)) => true,
        _ => false,
    };
    (says("text") || says("attachments")).then_some(answer)
}

/// Whose name the answer stands under.
fn poster(model: &WriteModel, integration: &Integration, cause: &Cause) -> UserId {
    let impersonated = cause
        .user
        .as_ref()
        .filter(|user| integration.details.impersonate_user && model.account(user).is_some())
        .filter(|_| reach(model, integration) == Ok(Reach::All));
    impersonated.unwrap_or(&integration.user).clone()
}

/// The channel the answer names, that of the integration, or where it all began. An answer names one where
/// the integration may choose, and never for somebody whose name it borrows.
fn destination(
    model: &WriteModel,
    integration: &Integration,
    cause: &Cause,
    user: &UserId,
    answer: &Map<String, Value>,
) -> Option<Address> {
    let began = || {
        let room = cause.room.as_ref()?;
        Some(Address::Named(room.as_str().to_owned()))
    };
    let details = &integration.details;
    let chooses = details.override_destination_channel_enabled && *user == integration.user;
    if let Some(named) = destinations(answer).into_iter().next().filter(|_| chooses) {
        let known = resolve(model, user, &named).is_some();
        return Some(Address::Named(named)).filter(|_| known).or_else(began);
    }
    if details.target_room.is_empty() {
        return began();
    }
    Some(Address::Saved(
        details.target_room.clone(),
        details.target().cloned(),
    ))
}

/// An answer posted twice is one message, unless the delivery was asked for again.
fn message_id(id: &DeliveryId, delivery: &Delivery) -> MessageId {
    let hash = Sha256::digest(format!("{id}/{}", delivery.queued.0));
    let digits = hash.iter().take(17);
    let id: String = digits
        .map(|byte| char::from(ID_ALPHABET[usize::from(*byte) % ID_ALPHABET.len()]))
        .collect();
    MessageId::new(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hansard_domain::id::Timestamp;

    fn answered(content_type: &str, body: &str) -> Option<Map<String, Value>> {
        read(&WebhookResponse {
            status: 200,
            content_type: content_type.into(),
            retry_after: None,
            body: body.into(),
        })
    }

    #[test]
    fn only_json_that_says_something_is_an_answer() {
        assert!(answered("application/json", r#"{"text":"hi"}"#).is_some());
        assert!(answered("application/json", r#"{"attachments":[{}]}"#).is_some());
        for (content_type, body) in [
            ("text/plain", r#"{"text":"hi"}"#),
            ("application/json", r#"{"text":""}"#),
            ("application/json", r#"{"ok":true}"#),
            ("application/json", r#"["text"]"#),
            ("application/json", "hi"),
        ] {
            assert!(answered(content_type, body).is_none(), "{body}");
        }
    }

    #[test]
    fn an_answer_has_the_same_id_until_the_delivery_is_replayed() {
        let mut delivery = Delivery::default();
        let first = message_id(&"hook-1-0".into(), &delivery);
        assert_eq!(first, message_id(&"hook-1-0".into(), &delivery));
        assert_ne!(first, message_id(&"hook-2-0".into(), &delivery));
        delivery.queued = Timestamp(5);
        assert_ne!(first, message_id(&"hook-1-0".into(), &delivery));
        assert!(MessageId::parse(first.as_str()).is_ok());
    }
}
