//! Making, changing and removing integrations, by Rocket.Chat's rules.

use hansard_domain::account::AccountCommand;
use hansard_domain::id::{IntegrationId, UserId};
use hansard_domain::integration::{
    Direction, Integration, IntegrationCommand, IntegrationDetails, Referent, Trigger,
};
use hansard_domain::limit::{self, OutOfBounds};

use super::answerable::{is_own, reach};
use super::referents::referents;
use super::signature;
use super::trigger::{ALL_DIRECT_MESSAGES, ALL_PRIVATE_GROUPS, ALL_PUBLIC_CHANNELS, uses_channels};
use crate::authorization::NO_ROOM;
use crate::authorization::sight::Purpose;
use crate::bus::Commands;
use crate::caller::Caller;
use crate::decision::Decision;
use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};

/// The lengths of the tokens that are made for integrations.
const INCOMING_TOKEN: usize = 48;
const OUTGOING_TOKEN: usize = 24;

/// As in Rocket.Chat, for an integration that is to retry and does not say how.
const RETRY_COUNT: u32 = 4;
const RETRY_DELAY: &str = "powers-of-ten";

/// The engine that Rocket.Chat names where nobody chose one.
const SCRIPT_ENGINE: &str = "isolated-vm";

/// What somebody asks an integration to be. What is `None` stays as it is, or is the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wishes {
    pub name: String,
    pub enabled: bool,
    /// `#channel`, `@user` and the words for all of a kind, with commas in between.
    pub channel: Option<String>,
    /// The account that it posts as.
    pub username: Option<String>,
    pub alias: Option<String>,
    pub avatar: Option<String>,
    pub emoji: Option<String>,
    pub script: Option<String>,
    pub script_enabled: bool,
    pub script_engine: Option<String>,
    pub override_destination_channel_enabled: Option<bool>,
    // Outgoing from here on.
    pub event: Option<String>,
    pub target_room: Option<String>,
    pub urls: Option<Vec<String>>,
    pub trigger_words: Option<Vec<String>>,
    pub trigger_word_anywhere: Option<bool>,
    pub token: Option<String>,
    /// `whsec_…`; made if nobody brings one.
    pub signing_secret: Option<String>,
    pub impersonate_user: Option<bool>,
    pub run_on_edits: Option<bool>,
    pub retry_failed_calls: Option<bool>,
    pub retry_count: Option<i64>,
    pub retry_delay: Option<String>,
}

impl Wishes {
    fn check_size(&self) -> Result<(), OutOfBounds> {
        let texts = [
            (&self.username, limit::USERNAME),
            (&self.alias, limit::ALIAS),
            (&self.avatar, limit::AVATAR),
            (&self.emoji, limit::EMOJI),
            (&self.script, limit::SCRIPT),
            (&self.script_engine, limit::SCRIPT_ENGINE),
            (&self.target_room, limit::TARGET_ROOM),
            (&self.token, limit::INTEGRATION_TOKEN),
            (&self.signing_secret, limit::SIGNING_SECRET),
        ];
        limit::INTEGRATION_NAME.check(&self.name)?;
        for (text, limit) in texts {
            limit.check_given(text.as_deref())?;
        }
        let channels: Vec<_> = self.channel.iter().flat_map(|text| list(text)).collect();
        limit::INTEGRATION_CHANNELS.check_each(&channels, &limit::CHANNEL)?;
        let urls = self.urls.as_deref().unwrap_or_default();
        limit::INTEGRATION_URLS.check_each(urls, &limit::URL)?;
        let words = self.trigger_words.as_deref().unwrap_or_default();
        limit::TRIGGER_WORDS.check_each(words, &limit::TRIGGER_WORD)
    }
}

/// `manage-…-integrations`, and the one for those that the caller made itself.
pub fn permissions(direction: Direction) -> [&'static str; 2] {
    match direction {
        Direction::Incoming => [
            "manage-incoming-integrations",
            "manage-own-incoming-integrations",
        ],
        Direction::Outgoing => [
            "manage-outgoing-integrations",
            "manage-own-outgoing-integrations",
        ],
    }
}

/// Whether the caller may see and change an integration.
pub fn may_manage(model: &WriteModel, caller: &Caller, integration: &Integration) -> bool {
    let [all, own] = permissions(integration.direction);
    model.allows(caller, all, None)
        || caller.user.as_ref() == Some(&integration.created_by) && model.allows(caller, own, None)
}

/// Makes an integration.
pub async fn create(
    commands: &Commands,
    caller: &Caller,
    direction: Direction,
    wishes: Wishes,
) -> Result<IntegrationId, CommandError> {
    wishes.check_size()?;
    let done = commands
        .run(caller, move |decision| {
            may_make(decision, direction)?;
            let mut details = IntegrationDetails {
                script_engine: SCRIPT_ENGINE.to_owned(),
                ..IntegrationDetails::default()
            };
            let (user, trigger) = fill(decision, direction, &mut details, &wishes)?;
            if details.token.is_empty() {
                details.token = decision.secret(match direction {
                    Direction::Incoming => INCOMING_TOKEN,
                    Direction::Outgoing => OUTGOING_TOKEN,
                });
            }
            if direction == Direction::Outgoing && details.signing_secret.is_empty() {
                details.signing_secret = signature::new_secret();
            }
            if direction == Direction::Incoming {
                make_bot(decision, &user)?;
            }
            let id = IntegrationId::new(decision.id());
            let command = IntegrationCommand::Create {
                key: decision.fresh_key()?,
                direction,
                trigger,
                enabled: wishes.enabled,
                user,
                created_by: decision.caller().user_id()?.clone(),
                details,
                at: decision.now(),
            };
            decision.integration(&id, command)?;
            Ok(id)
        })
        .await?;
    Ok(done.answer)
}

/// Changes an integration.
pub async fn update(
    commands: &Commands,
    caller: &Caller,
    id: IntegrationId,
    direction: Direction,
    wishes: Wishes,
) -> Result<(), CommandError> {
    wishes.check_size()?;
    commands
        .run(caller, move |decision| {
            // First, as what else is wrong tells that it is there.
            let integration = managed(decision, &id, direction)?;
            if direction == Direction::Outgoing {
                let token = wishes.token.as_deref().unwrap_or_default();
                if token.trim().is_empty() {
                    return Err(CommandError::refused(
                        "error-invalid-token",
                        "Invalid token",
                    ));
                }
            }
            let mut details = integration.details.clone();
            let mut wishes = wishes.clone();
            if direction == Direction::Incoming {
                // Whom it posts as was said when it was made.
                wishes.username = poster(decision.model(), &integration);
            }
            let (user, trigger) = fill(decision, direction, &mut details, &wishes)?;
            if direction == Direction::Incoming {
                make_bot(decision, &user)?;
            }
            let command = IntegrationCommand::Update {
                trigger,
                enabled: wishes.enabled,
                user,
                taken_over_by: heir(decision, &integration),
                details,
                at: decision.now(),
            };
            decision.integration(&id, command)
        })
        .await?;
    Ok(())
}

/// Removes an integration; its key is shredded and its deliveries are given up.
pub async fn remove(
    commands: &Commands,
    caller: &Caller,
    id: IntegrationId,
    direction: Direction,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            managed(decision, &id, direction)?;
            decision.integration(&id, IntegrationCommand::Remove)
        })
        .await?;
    Ok(())
}

/// Forgets the deliveries of an outgoing webhook that are done.
pub async fn clear_history(
    commands: &Commands,
    caller: &Caller,
    id: IntegrationId,
) -> Result<(), CommandError> {
    commands
        .run(caller, move |decision| {
            managed(decision, &id, Direction::Outgoing)?;
            decision.integration(&id, IntegrationCommand::ClearHistory)
        })
        .await?;
    Ok(())
}

fn may_make(decision: &Decision<'_>, direction: Direction) -> Result<(), CommandError> {
    require_may_make(decision.model(), decision.caller(), direction)
}

/// Refuses those who manage no integrations of a kind.
pub fn require_may_make(
    model: &WriteModel,
    caller: &Caller,
    direction: Direction,
) -> Result<(), CommandError> {
    if permissions(direction)
        .iter()
        .any(|permission| model.allows(caller, permission, None))
    {
        return Ok(());
    }
    caller.user_id()?;
    Err(not_authorized(direction))
}

/// The integration that is to be changed, if the caller may. One that it may not see is none.
pub(super) fn managed(
    decision: &Decision<'_>,
    id: &IntegrationId,
    direction: Direction,
) -> Result<Versioned<Integration>, CommandError> {
    may_make(decision, direction)?;
    let (model, caller) = (decision.model(), decision.caller());
    model
        .integration(id)
        .filter(|found| found.direction == direction && may_manage(model, caller, found))
        .cloned()
        .ok_or_else(|| {
            let refusal = ("error-invalid-integration", "Invalid integration");
            match model.integration(id) {
                // Another's, which the caller may not see.
                Some(_) => CommandError::denied(refusal.0, refusal.1),
                None => CommandError::refused(refusal.0, refusal.1),
            }
        })
}

fn not_authorized(direction: Direction) -> CommandError {
    let [permission, _] = permissions(direction);
    CommandError::Denied {
        code: "not_authorized".into(),
        reason: "Unauthorized".to_owned(),
        permission: Some(permission.to_owned()),
        room: None,
        forbidden: false,
        noted: false,
    }
}

/// The caller, if it may answer for an integration that nobody answers for.
fn heir(decision: &Decision<'_>, integration: &Integration) -> Option<UserId> {
    let (model, caller) = (decision.model(), decision.caller());
    let [all, _] = permissions(integration.direction);
    let takes = reach(model, integration).is_err() && model.allows(caller, all, None);
    caller.user.clone().filter(|_| takes)
}

/// Whoever posts through an incoming webhook is a bot, also, where the caller may give roles.
fn make_bot(decision: &mut Decision<'_>, user: &UserId) -> Result<(), CommandError> {
    let (model, caller) = (decision.model(), decision.caller());
    let account = model.account(user);
    let is_bot = account.is_some_and(|account| account.has_role("bot"));
    if is_bot || !model.allows(caller, "assign-roles", None) {
        return Ok(());
    }
    decision.account(user, AccountCommand::GrantRole("bot".into()))
}

/// Checks what was wished and takes it over; answers whom it posts as and what it waits for.
fn fill(
    decision: &Decision<'_>,
    direction: Direction,
    details: &mut IntegrationDetails,
    wishes: &Wishes,
) -> Result<(UserId, Option<Trigger>), CommandError> {
    let (model, caller) = (decision.model(), decision.caller());
    let trigger = match direction {
        Direction::Incoming => None,
        Direction::Outgoing => Some(trigger(wishes.event.as_deref())?),
    };
    details.name.clone_from(&wishes.name);
    keep(&mut details.alias, wishes.alias.as_ref());
    keep(&mut details.avatar, wishes.avatar.as_ref());
    keep(&mut details.emoji, wishes.emoji.as_ref());
    keep(&mut details.target_room, wishes.target_room.as_ref());
    keep(&mut details.script, wishes.script.as_ref());
    keep(&mut details.script_engine, wishes.script_engine.as_ref());
    // That of an incoming one is the server's own, as long as nobody can guess it.
    if direction == Direction::Outgoing {
        keep(&mut details.token, wishes.token.as_ref());
    }
    keep(&mut details.signing_secret, wishes.signing_secret.as_ref());
    details.script_enabled = wishes.script_enabled;
    if details.script_enabled && !details.script.trim().is_empty() {
        return Err(CommandError::refused(
            "integration-scripts-disabled",
            "This version of Hansard does not run the scripts of integrations; save the script \
             with scriptEnabled false",
        ));
    }
    if let Some(may) = wishes.override_destination_channel_enabled {
        details.override_destination_channel_enabled = may;
    }

    let before = details.referents.take().unwrap_or_default();
    let asked = wishes.channel.as_deref().unwrap_or_default();
    details.channels = match trigger {
        None => incoming_channels(asked)?,
        Some(trigger) => outgoing_channels(model, caller, trigger, asked)?,
    };

    let username = wishes.username.as_deref().unwrap_or_default().trim();
    if username.is_empty() {
        return Err(CommandError::refused(
            "error-invalid-username",
            "Invalid username",
        ));
    }
    let user = model.user_by_name(username).cloned();
    let user = user.ok_or_else(|| CommandError::refused("error-invalid-user", "Invalid user"))?;

    if let Some(trigger) = trigger {
        outgoing_details(trigger, details, wishes)?;
    }
    let mut referents = referents(model, details);
    if wishes.target_room.is_none() {
        referents.target = before.target;
    } else if direction == Direction::Outgoing && !details.target_room.is_empty() {
        may_target(model, caller, referents.target.as_ref())?;
    }
    details.referents = Some(referents);
    may_speak(model, caller, direction, details, &user)?;
    for channel in &details.channels {
        may_reach(model, caller, direction, channel, details.referent(channel))?;
    }
    Ok((user, trigger))
}

/// Refuses who may manage its own integrations alone to have one speak for others.
fn may_speak(
    model: &WriteModel,
    caller: &Caller,
    direction: Direction,
    details: &IntegrationDetails,
    user: &UserId,
) -> Result<(), CommandError> {
    let [all, _] = permissions(direction);
    let own = is_own(model, caller.user_id()?, user) && !details.impersonate_user;
    if own || model.allows(caller, all, None) {
        return Ok(());
    }
    Err(CommandError::Denied {
        code: "error-not-allowed".into(),
        reason: format!("Only who has {all} may have an integration post as another account"),
        permission: Some(all.to_owned()),
        room: None,
        forbidden: false,
        noted: false,
    })
}

/// The username of the account that it posts as.
fn poster(model: &WriteModel, integration: &Integration) -> Option<String> {
    let account = model.account(&integration.user)?;
    Some(account.profile.username.clone())
}

fn keep(field: &mut String, wish: Option<&String>) {
    if let Some(wish) = wish {
        field.clone_from(wish);
    }
}

fn trigger(event: Option<&str>) -> Result<Trigger, CommandError> {
    use Trigger as T;
    [
        T::SendMessage,
        T::FileUploaded,
        T::RoomArchived,
        T::RoomCreated,
        T::RoomJoined,
        T::RoomLeft,
        T::UserCreated,
    ]
    .into_iter()
    .find(|trigger| Some(trigger.as_str()) == event)
    .ok_or_else(|| CommandError::refused("error-invalid-event-type", "Invalid event type"))
}

fn list(channels: &str) -> impl Iterator<Item = String> {
    channels.split(',').map(|channel| channel.trim().to_owned())
}

fn bad_start() -> CommandError {
    CommandError::refused(
        "error-invalid-channel-start-with-chars",
        "Invalid channel. Start with @ or #",
    )
}

fn incoming_channels(asked: &str) -> Result<Vec<String>, CommandError> {
    if asked.trim().is_empty() {
        return Err(CommandError::refused(
            "error-invalid-channel",
            "Invalid channel",
        ));
    }
    let channels: Vec<_> = list(asked).collect();
    let named = |channel: &String| channel.starts_with(['@', '#']);
    if !channels.iter().all(named) {
        return Err(bad_start());
    }
    Ok(channels)
}

fn outgoing_channels(
    model: &WriteModel,
    caller: &Caller,
    trigger: Trigger,
    asked: &str,
) -> Result<Vec<String>, CommandError> {
    if !uses_channels(trigger) {
        // It hears of every room, so it is not for those who manage their own alone.
        return model
            .require_or(
                caller,
                "manage-outgoing-integrations",
                None,
                "error-invalid-permissions",
                "Invalid permission for required Integration creation.",
            )
            .map(|()| Vec::new());
    }
    let channels: Vec<_> = list(asked).filter(|channel| !channel.is_empty()).collect();
    let known = |channel: &String| channel.starts_with(['@', '#']) || stands_for_all(channel);
    if !channels.iter().all(known) {
        return Err(bad_start());
    }
    Ok(channels)
}

fn stands_for_all(channel: &str) -> bool {
    [ALL_PUBLIC_CHANNELS, ALL_PRIVATE_GROUPS, ALL_DIRECT_MESSAGES]
        .iter()
        .any(|all| channel.eq_ignore_ascii_case(all))
}

fn outgoing_details(
    trigger: Trigger,
    details: &mut IntegrationDetails,
    wishes: &Wishes,
) -> Result<(), CommandError> {
    if trigger == Trigger::UserCreated && details.target_room.is_empty() {
        return Err(invalid_target());
    }
    if let Some(urls) = &wishes.urls {
        let urls = urls.iter().map(|url| url.trim());
        details.urls = urls.filter(|url| !url.is_empty()).map(Into::into).collect();
    }
    if details.urls.is_empty() {
        return Err(CommandError::refused("error-invalid-urls", "Invalid URLs"));
    }
    if let Some(words) = &wishes.trigger_words {
        let words = words.iter().filter(|word| !word.trim().is_empty());
        details.trigger_words = words.cloned().collect();
    }
    if trigger != Trigger::SendMessage {
        details.trigger_words.clear();
    }
    if let Some(anywhere) = wishes.trigger_word_anywhere {
        details.trigger_word_anywhere = anywhere;
    }
    if let Some(impersonate) = wishes.impersonate_user {
        details.impersonate_user = impersonate;
    }
    if let Some(run) = wishes.run_on_edits {
        details.run_on_edits = run;
    }
    if let Some(retry) = wishes.retry_failed_calls {
        details.retry_failed_calls = Some(retry);
    }
    if let Some(count) = wishes.retry_count {
        details.retry_count = count.clamp(0, i64::from(u32::MAX)) as u32;
    }
    if let Some(delay) = &wishes.retry_delay {
        details.retry_delay = delay.trim().to_lowercase();
    }
    if details.retry_failed_calls == Some(true) {
        if details.retry_count == 0 {
            details.retry_count = RETRY_COUNT;
        }
        if details.retry_delay.is_empty() {
            RETRY_DELAY.clone_into(&mut details.retry_delay);
        }
    }
    let known = ["", "powers-of-ten", "powers-of-two", "increments-of-two"];
    if !known.contains(&details.retry_delay.as_str()) {
        return Err(CommandError::refused(
            "error-invalid-retry-delay",
            "The integration's retryDelay setting is invalid.",
        ));
    }
    Ok(())
}

fn invalid_target() -> CommandError {
    CommandError::refused("error-invalid-targetRoom", "Invalid Target Room")
}

/// Refuses to have answers posted to what is not there, or what the caller does not know of.
fn may_target(
    model: &WriteModel,
    caller: &Caller,
    target: Option<&Referent>,
) -> Result<(), CommandError> {
    let [all, _] = permissions(Direction::Outgoing);
    let known = match target.ok_or_else(invalid_target)? {
        Referent::Room(room) => {
            model.allows(caller, all, None) || model.sees(caller, room, Purpose::Existence)
        }
        Referent::Person(_) => true,
    };
    known.then_some(()).ok_or_else(invalid_target)
}

/// Whether the caller may let an integration write into, or hear of, a channel.
fn may_reach(
    model: &WriteModel,
    caller: &Caller,
    direction: Direction,
    channel: &str,
    referent: Option<&Referent>,
) -> Result<(), CommandError> {
    let [all, own] = permissions(direction);
    let invalid_channel = || CommandError::Denied {
        code: "error-invalid-channel".into(),
        reason: "Invalid Channel".to_owned(),
        permission: Some(all.to_owned()),
        room: None,
        forbidden: false,
        noted: false,
    };
    let (code, reason) = NO_ROOM;
    let invalid_room = || CommandError::refused(code, reason);
    if stands_for_all(channel) {
        let public = channel.eq_ignore_ascii_case(ALL_PUBLIC_CHANNELS);
        if public || model.allows(caller, all, None) {
            return Ok(());
        }
        return Err(invalid_channel());
    }
    let user = caller.user_id()?;
    let everywhere = model.allows(caller, all, None) && model.allows(caller, own, None);
    let member = match referent {
        Some(Referent::Room(room)) if channel.starts_with('#') => {
            let known = everywhere || model.sees(caller, room, Purpose::Existence);
            let known = model.room(room).filter(|_| known);
            known.map(|room| room.is_member(user))
        }
        Some(Referent::Person(other)) => {
            let between = [user.clone(), other.clone()];
            Some(model.direct_room(&between).is_some())
        }
        _ => None,
    };
    match member {
        Some(member) if everywhere || member => Ok(()),
        Some(_) => Err(invalid_channel()),
        None if everywhere => Err(invalid_room()),
        // Whether there is such a room is not for the caller to know, and its question is recorded.
        None => Err(CommandError::Denied {
            code: code.into(),
            reason: reason.to_owned(),
            permission: Some(all.to_owned()),
            room: None,
            forbidden: false,
            noted: false,
        }),
    }
}
