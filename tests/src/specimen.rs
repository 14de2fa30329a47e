//! One of every event there is, with everything in it at its limits.
//!
//! The events make sense one after the other, so that every view and the write model take them in. An
//! event without a specimen fails [`story`]'s own test; a field without a value does not compile.

pub mod values;

use std::net::{IpAddr, Ipv6Addr};

use hansard_domain::account::{
    AccountEvent, AccountKind, DeactivationReason, Email, LoginMethod, MessageErasure,
    PasswordHash, PersonalAccessToken, Presence, Profile, Registration, Session, TokenHash,
};
use hansard_domain::audit::{AuditEvent, Denied};
use hansard_domain::claim::ClaimEvent;
use hansard_domain::event::{Event, Origin};
use hansard_domain::free;
use hansard_domain::free::KeptList;
use hansard_domain::id::{IntegrationId, MAX_ID, MessageId, RoleId, RoomId, Timestamp, UserId};
use hansard_domain::integration::{
    Abandonment, Cause, DeliveryEvent, Direction, Exchange, HeldBack, IntegrationDetails,
    IntegrationEvent, Referent, Referents, Trigger,
};
use hansard_domain::limit::{self, Limit};
use hansard_domain::log::{Position, StreamId};
use hansard_domain::message::{Content, Mentions, MessageEvent, Sent, ThreadReply};
use hansard_domain::network::Network;
use hansard_domain::node::NodeEvent;
use hansard_domain::permission::{DEFAULT_GRANTS, RoleScope};
use hansard_domain::role::{PermissionEvent, RoleDetails, RoleEvent};
use hansard_domain::room::{
    Entry, Parent, PruneCriteria, PruneReason, Pruned, RetentionOverride, RoomDetails, RoomEvent,
    RoomKind, RoomSwitches,
};
use hansard_domain::seal::Private;
use hansard_domain::setting::SettingEvent;
use hansard_domain::subscription::SubscriptionEvent;
use hansard_domain::vault::KeyId;
use serde_json::{Map, json};

use self::values::{Shape, Values};
use crate::load::dice::Dice;

/// Events of one stream, from its beginning.
#[derive(Debug, Clone)]
pub struct Told {
    pub stream: StreamId,
    pub events: Vec<Event>,
}

/// The first and the last moment that a client can name.
const FIRST: Timestamp = Timestamp(-62_135_596_800_000);
const LAST: Timestamp = Timestamp(253_402_300_799_999);

/// Tells a story in one shape; those of different shapes go beside each other. `fresh` hands out keys.
pub fn story(
    shape: Shape,
    dice: &mut Dice,
    now: Timestamp,
    fresh: &mut dyn FnMut() -> KeyId,
) -> Vec<Told> {
    let mut teller = Teller {
        values: Values::new(shape, dice),
        fresh,
        now,
        told: Vec::new(),
        name: format!("{shape:?}"),
    };
    teller.accounts();
    teller.rooms();
    teller.messages();
    teller.subscriptions();
    teller.workspace();
    teller.integrations();
    teller.record();
    teller.told
}

/// Where a request came from, at its limits.
pub fn origin(key: KeyId) -> Private<Origin> {
    let origin = Origin {
        address: "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".to_owned(),
        user_agent: "\u{fffd}".repeat(limit::USER_AGENT.most),
    };
    Private::new(key, origin)
}

struct Teller<'t> {
    values: Values<'t>,
    fresh: &'t mut dyn FnMut() -> KeyId,
    now: Timestamp,
    told: Vec<Told>,
    /// Stands in ids, so that stories differ.
    name: String,
}

impl Teller<'_> {
    /// An id as long as one can be, or a plain one.
    fn id(&self, what: &str) -> String {
        if self.values.shape == Shape::Plain {
            return what.to_owned();
        }
        let id = format!("{what}.{}.", self.name);
        let fill = MAX_ID - id.len();
        format!(
            "{id}{}",
            "-_.:|z"
                .repeat(MAX_ID)
                .chars()
                .take(fill)
                .collect::<String>()
        )
    }

    fn user(&self) -> UserId {
        UserId::new(self.id("joe"))
    }

    fn room(&self) -> RoomId {
        RoomId::new(self.id("room"))
    }

    fn message(&self) -> MessageId {
        MessageId::new(self.id("message"))
    }

    fn integration(&self) -> IntegrationId {
        IntegrationId::new(self.id("hook"))
    }

    fn tell(&mut self, stream: StreamId, events: Vec<impl Into<Event>>) {
        let events = events.into_iter().map(Into::into).collect();
        self.told.push(Told { stream, events });
    }

    fn profile(&mut self) -> Profile {
        let values = &mut self.values;
        Profile {
            username: format!("{}{}", self.name, values.text(&limit::USERNAME)),
            name: Some(values.text(&limit::NAME)),
            emails: vec![Email {
                address: values.text(&limit::EMAIL),
                verified: true,
            }],
            nickname: Some(values.text(&limit::NICKNAME)),
            bio: Some(values.text(&limit::BIO)),
            status_text: values.text(&limit::STATUS_TEXT),
            custom_fields: values.object(&limit::ACCOUNT_FIELDS).into(),
        }
    }

    fn registered(&mut self, key: KeyId, active: bool) -> AccountEvent {
        AccountEvent::UserRegistered {
            how: Registration::SelfService,
            kind: AccountKind::User,
            roles: vec!["user".into()],
            active,
            reason: Some(Private::new(key, self.values.text(&limit::REASON))),
            password_change_required: true,
            profile: Private::new(key, self.profile()),
            password: Some(Private::new(key, PasswordHash("$argon2id$".to_owned()))),
            at: self.now,
        }
    }

    fn accounts(&mut self) {
        let key = (self.fresh)();
        let token = TokenHash(self.id("token"));
        let session = Session {
            since: self.now,
            expires: Some(LAST),
        };
        let personal = PersonalAccessToken {
            hash: TokenHash(self.id("personal")),
            created: self.now,
            last_six: "123456".to_owned(),
            bypass_two_factor: true,
        };
        let network = Network::from(IpAddr::from(Ipv6Addr::from_bits(u128::MAX)));
        let role = RoleId::new(self.id("role"));
        let events = vec![
            self.registered(key, false),
            AccountEvent::UserActivated {},
            AccountEvent::UserProfileChanged {
                profile: Private::new(key, self.profile()),
            },
            AccountEvent::UserPasswordChanged {
                password: Private::new(key, PasswordHash("$argon2id$".to_owned())),
                change_required: false,
            },
            AccountEvent::UserPreferencesChanged {
                preferences: Private::new(key, self.values.object(&limit::PREFERENCES)),
            },
            AccountEvent::UserPresenceChosen {
                presence: Presence::Busy,
            },
            AccountEvent::RoleGranted { role: role.clone() },
            AccountEvent::RoleRevoked { role },
            AccountEvent::UserLoggedIn {
                method: LoginMethod::Password,
                token: token.clone(),
                session,
                from: Some(Private::new(key, network)),
            },
            AccountEvent::UserLoggedOut {
                token: token.clone(),
            },
            AccountEvent::LoginFailed {
                at: self.now,
                from: Some(Private::new(key, network)),
                operation: Some("users.updateOwnBasicInfo".to_owned()),
                by_email: true,
            },
            AccountEvent::PersonalAccessTokenCreated {
                name: Private::new(key, self.values.text(&limit::TOKEN_NAME)),
                token: personal.clone(),
            },
            AccountEvent::PersonalAccessTokenRemoved {
                hash: personal.hash,
            },
            AccountEvent::SessionsEnded {
                kept: Some(token),
                personal_access_tokens: true,
            },
        ];
        self.tell(StreamId::new("account", self.user()), events);

        let key = (self.fresh)();
        let gone = vec![
            self.registered(key, true),
            AccountEvent::UserDeactivated {
                reason: DeactivationReason::Idle,
            },
            AccountEvent::UserDeleted {
                key,
                messages: MessageErasure::Unlink,
            },
        ];
        self.tell(StreamId::new("account", self.id("gone")), gone);
    }

    fn details(&mut self) -> RoomDetails {
        let values = &mut self.values;
        RoomDetails {
            name: format!("{}{}", self.name, values.text(&limit::ROOM_NAME)),
            fname: values.text(&limit::ROOM_NAME),
            topic: Some(values.text(&limit::TOPIC)),
            description: Some(values.text(&limit::DESCRIPTION)),
            announcement: Some(values.text(&limit::ANNOUNCEMENT)),
            join_code: Some(values.text(&limit::JOIN_CODE)),
            custom_fields: values.object(&limit::ROOM_FIELDS).into(),
        }
    }

    fn switches(&mut self) -> RoomSwitches {
        let hidden = (&limit::SYSTEM_MESSAGES, &limit::SYSTEM_MESSAGE);
        RoomSwitches {
            read_only: true,
            react_when_read_only: true,
            broadcast: false,
            encrypted: true,
            featured: true,
            favourite: true,
            default: false,
            hidden_system_messages: Some(self.values.texts(hidden.0, hidden.1)),
            join_code_required: true,
        }
    }

    fn created(&mut self, key: KeyId) -> RoomEvent {
        RoomEvent::RoomCreated {
            kind: RoomKind::Channel,
            creator: Some(self.user()),
            members: vec!["rocket.cat".into()],
            switches: self.switches(),
            parent: Some(Parent {
                room: "GENERAL".into(),
                message: Some(self.message()),
            }),
            details: Private::new(key, self.details()),
            at: self.now,
        }
    }

    fn rooms(&mut self) {
        let key = (self.fresh)();
        let (user, cat) = (self.user(), UserId::new("rocket.cat"));
        let mut events = vec![self.created(key)];
        let changed: [fn(Private<RoomDetails>) -> RoomEvent; 6] = [
            |details| RoomEvent::RoomRenamed { details },
            |details| RoomEvent::TopicChanged { details },
            |details| RoomEvent::DescriptionChanged { details },
            |details| RoomEvent::AnnouncementChanged { details },
            |details| RoomEvent::JoinCodeChanged {
                details,
                required: true,
            },
            |details| RoomEvent::CustomFieldsChanged { details },
        ];
        for change in changed {
            events.push(change(Private::new(key, self.details())));
        }
        let role = RoleId::new("leader");
        events.extend([
            RoomEvent::RoomTypeChanged {
                kind: RoomKind::Group,
            },
            RoomEvent::RoomTypeChanged {
                kind: RoomKind::Channel,
            },
            RoomEvent::RoomSwitchesChanged {
                switches: self.switches(),
            },
            RoomEvent::RetentionOverridden {
                retention: Some(RetentionOverride {
                    enabled: false,
                    override_global: true,
                    max_age: i64::MAX,
                    exclude_pinned: true,
                    files_only: true,
                    ignore_threads: true,
                }),
            },
            RoomEvent::MemberLeft { user: cat.clone() },
            RoomEvent::MemberJoined {
                user: cat.clone(),
                entry: Entry::Added { by: user.clone() },
                at: self.now,
            },
            RoomEvent::MemberMuted { user: cat.clone() },
            RoomEvent::MemberUnmuted { user: cat.clone() },
            RoomEvent::RoomRoleGranted {
                user: cat.clone(),
                role: role.clone(),
            },
            RoomEvent::RoomRoleRevoked {
                user: cat.clone(),
                role,
            },
            RoomEvent::MemberRemoved {
                user: cat,
                by: Some(user.clone()),
            },
            RoomEvent::RoomArchived {},
            RoomEvent::RoomUnarchived {},
            RoomEvent::ChannelPruned {
                reason: PruneReason::Requested,
                criteria: PruneCriteria {
                    latest: LAST,
                    oldest: FIRST,
                    inclusive: true,
                    exclude_pinned: true,
                    ignore_discussion: true,
                    files_only: true,
                    ignore_threads: true,
                    users: vec![user; limit::PRUNED_USERS.most],
                    limit: u64::MAX,
                },
                pruned: vec![Pruned {
                    message: MessageId::new(self.id("pruned")),
                    key: (self.fresh)(),
                }],
            },
        ]);
        self.tell(StreamId::new("room", self.room()), events);

        let key = (self.fresh)();
        let gone = vec![self.created(key), RoomEvent::RoomDeleted { key }];
        self.tell(StreamId::new("room", self.id("gone")), gone);
    }

    /// Content that is as large as a message can be, as far as its shape goes.
    fn content(&mut self) -> Content {
        let values = &mut self.values;
        let mut content = Content {
            text: String::new(),
            alias: Some(values.text(&limit::ALIAS)),
            emoji: Some(values.text(&limit::EMOJI)),
            avatar: Some(values.text(&limit::AVATAR)),
            attachments: KeptList::default(),
            blocks: vec![values.object_within(&limit::MESSAGE_FIELDS, 1).into()].into(),
            urls: vec!["https://example.org/".to_owned(); limit::LINKS.most.min(20)],
            previews: Some(vec!["https://example.org/".to_owned()]),
            mentions: vec![
                json!({ "_id": "all", "username": "all" }),
                json!({ "_id": "rocket.cat", "type": "user" }),
            ],
            channels: vec![json!({ "_id": "GENERAL", "name": "general" })],
            custom_fields: values.object(&limit::MESSAGE_FIELDS).into(),
            system: Map::from_iter([("role".to_owned(), json!("owner"))]),
            about: None,
        };
        // The list around it is a level of its own.
        let attachments = Limit {
            most: 64 * 1024,
            ..limit::FREE_BYTES
        };
        content.attachments = match values.shape {
            Shape::Widest => vec![json!({}); limit::ATTACHMENTS.most].into(),
            _ => vec![values.object_within(&attachments, 1).into()].into(),
        };
        content.text = match values.shape {
            Shape::Longest => "x".repeat(limit::MESSAGE.most / 2),
            _ => values.text(&limit::MESSAGE_TEXT),
        };
        let large = values.shape != Shape::Older && free::size(&content) > limit::MESSAGE.most;
        assert!(!large, "a message that is not taken");
        content
    }

    fn sent(&self) -> Sent {
        Sent {
            room: self.room(),
            sender: self.user(),
            system: None,
            thread: None,
            mentions: Mentions {
                users: vec![self.user(); 3],
                everybody: true,
            },
            integration: Some(self.integration()),
            bot: true,
            groupable: false,
            discussion: Some("GENERAL".into()),
            has_files: true,
            at: self.now,
        }
    }

    fn messages(&mut self) {
        let key = (self.fresh)();
        let (room, user) = (self.room(), self.user());
        let reaction = format!(":{}:", "😀".repeat(limit::REACTION.most / 2 - 1));
        let events = vec![
            MessageEvent::MessageSent {
                sent: self.sent(),
                content: Private::new(key, self.content()),
            },
            MessageEvent::MessageEdited {
                room: room.clone(),
                editor: user.clone(),
                mentions: Mentions {
                    users: vec![user.clone()],
                    everybody: false,
                },
                content: Private::new(key, self.content()),
                at: self.now,
            },
            MessageEvent::ReactionAdded {
                room: room.clone(),
                user: user.clone(),
                reaction: Private::new(key, reaction.clone()),
            },
            MessageEvent::ReactionRemoved {
                room: room.clone(),
                user: "rocket.cat".into(),
                reaction: Private::new(key, reaction),
            },
            MessageEvent::MessagePinned {
                room: room.clone(),
                by: user.clone(),
                at: self.now,
            },
            MessageEvent::MessageUnpinned {
                room: room.clone(),
                by: user.clone(),
            },
            MessageEvent::MessageStarred {
                room: room.clone(),
                user: user.clone(),
            },
            MessageEvent::MessageUnstarred {
                room: room.clone(),
                user: user.clone(),
            },
            MessageEvent::ThreadFollowed {
                room: room.clone(),
                user: user.clone(),
            },
            MessageEvent::ThreadUnfollowed {
                room: room.clone(),
                user: user.clone(),
            },
            MessageEvent::MessageReported {
                room: room.clone(),
                by: user.clone(),
                reason: Private::new(key, self.values.text(&limit::REPORT)),
            },
        ];
        self.tell(StreamId::new("message", self.message()), events);

        let key = (self.fresh)();
        let reply = ThreadReply {
            parent: self.message(),
            shown: true,
            followers: vec![user.clone()],
        };
        let gone = vec![
            MessageEvent::MessageSent {
                sent: Sent {
                    thread: Some(reply),
                    ..self.sent()
                },
                content: Private::new(key, self.content()),
            },
            MessageEvent::MessageDeleted {
                room,
                by: user,
                erased: None,
                show_deleted: true,
                at: self.now,
            },
        ];
        self.tell(StreamId::new("message", self.id("deleted")), gone);
    }

    fn subscriptions(&mut self) {
        let user = self.user();
        let preferences = ["desktopNotifications", "audioNotificationValue"];
        let preferences = preferences.map(|name| {
            let text = self.values.text(&limit::NOTIFICATION);
            (name.to_owned(), json!(text))
        });
        let events = vec![
            SubscriptionEvent::RoomHidden {},
            SubscriptionEvent::RoomOpened {},
            SubscriptionEvent::RoomFavourited {},
            SubscriptionEvent::RoomUnfavourited {},
            SubscriptionEvent::RoomRead {
                at: self.now,
                threads: true,
            },
            SubscriptionEvent::RoomMarkedUnread { from: FIRST },
            SubscriptionEvent::UserIgnored {
                user: "rocket.cat".into(),
            },
            SubscriptionEvent::UserUnignored {
                user: "rocket.cat".into(),
            },
            SubscriptionEvent::NotificationsChanged {
                preferences: preferences.into_iter().collect(),
            },
        ];
        let key = format!("{}/{user}", self.room());
        self.tell(StreamId::new("subscription", key), events);
    }

    fn workspace(&mut self) {
        let mut details = || RoleDetails {
            name: format!("{}{}", self.name, self.values.text(&limit::ROLE_NAME)),
            scope: RoleScope::Subscriptions,
            description: self.values.text(&limit::ROLE_DESCRIPTION),
            mandatory_2fa: true,
        };
        let events = vec![
            RoleEvent::RoleCreated { details: details() },
            RoleEvent::RoleChanged { details: details() },
            RoleEvent::RoleDeleted {},
        ];
        self.tell(StreamId::new("role", self.id("role")), events);

        // The permissions that are granted last in the list, each story another one.
        let place = Shape::ALL
            .iter()
            .position(|shape| *shape == self.values.shape);
        let (permission, _) = DEFAULT_GRANTS[DEFAULT_GRANTS.len() - 1 - place.unwrap_or_default()];
        let count = match self.values.shape {
            Shape::Plain => 1,
            _ => limit::WORKSPACE_ROLES.most,
        };
        let roles = (0..count).map(|number| {
            let role = format!("{number}{}", self.id("role"));
            RoleId::new(&role[..role.len().min(MAX_ID)])
        });
        let roles = [RoleId::new("admin"), RoleId::new("user")]
            .into_iter()
            .chain(roles);
        let granted = vec![PermissionEvent::PermissionGrantsChanged {
            roles: roles.collect(),
        }];
        self.tell(StreamId::new("permission", permission), granted);

        // Settings of which nothing else depends on what they hold; each is a story's own.
        let (text, code, asset) = match self.values.shape {
            Shape::Deepest => ("Layout_Home_Title", "Layout_Home_Body", "Assets_logo"),
            Shape::Widest => (
                "Layout_Terms_of_Service",
                "Layout_Legal_Notice",
                "Assets_background",
            ),
            Shape::Longest => ("Site_Name", "theme-custom-css", "Assets_favicon_ico"),
            Shape::Mixed => (
                "Layout_Privacy_Policy",
                "Custom_Script_On_Logout",
                "Assets_favicon",
            ),
            Shape::Older => (
                "Layout_Login_Terms",
                "Custom_Script_Logged_Out",
                "Assets_favicon_16",
            ),
            Shape::Plain => (
                "Layout_Home_Title",
                "Custom_Script_Logged_In",
                "Assets_favicon_32",
            ),
        };
        let values = [
            (text, json!(self.values.text(&limit::SETTING_TEXT))),
            (code, json!(self.values.text(&limit::SETTING_CODE))),
            (asset, self.values.object(&limit::SETTING_ASSET).into()),
        ];
        for (setting, value) in values {
            let value = Private::new((self.fresh)(), value);
            let changed = vec![SettingEvent::SettingChanged { value }];
            self.tell(StreamId::new("setting", setting), changed);
        }
    }

    fn integrations(&mut self) {
        let key = (self.fresh)();
        let user = UserId::new("rocket.cat");
        let created = |teller: &mut Self, key| IntegrationEvent::IntegrationCreated {
            direction: Direction::Outgoing,
            trigger: Some(Trigger::SendMessage),
            enabled: false,
            user: user.clone(),
            created_by: user.clone(),
            details: Private::new(key, teller.integration_details()),
            at: teller.now,
        };
        let events = vec![
            created(self, key),
            IntegrationEvent::IntegrationUpdated {
                trigger: Some(Trigger::SendMessage),
                enabled: false,
                user: user.clone(),
                taken_over_by: Some(self.user()),
                details: Private::new(key, self.integration_details()),
                at: self.now,
            },
            IntegrationEvent::IntegrationHeldBack {
                why: HeldBack::RoomOutOfSight,
                room: Some(self.room()),
                at: self.now,
            },
            IntegrationEvent::DeliveryHistoryCleared {},
        ];
        self.tell(StreamId::new("integration", self.integration()), events);
        self.deliveries();
        let key = (self.fresh)();
        let removed = vec![
            created(self, key),
            IntegrationEvent::IntegrationRemoved { key },
        ];
        self.tell(StreamId::new("integration", self.id("removed")), removed);
    }

    fn integration_details(&mut self) -> IntegrationDetails {
        let (room, person) = (self.room(), self.user());
        let values = &mut self.values;
        let name = values.text(&limit::INTEGRATION_NAME);
        let channels = values.texts(&limit::INTEGRATION_CHANNELS, &limit::CHANNEL);
        let named = channels.iter().cloned();
        IntegrationDetails {
            name,
            referents: Some(Referents {
                channels: named
                    .map(|name| (name, Referent::Room(room.clone())))
                    .collect(),
                target: Some(Referent::Person(person)),
            }),
            channels,
            alias: values.text(&limit::ALIAS),
            avatar: values.text(&limit::AVATAR),
            emoji: values.text(&limit::EMOJI),
            token: values.text(&limit::INTEGRATION_TOKEN),
            signing_secret: values.text(&limit::SIGNING_SECRET),
            script: values.text(&limit::SCRIPT),
            script_enabled: false,
            script_engine: values.text(&limit::SCRIPT_ENGINE),
            override_destination_channel_enabled: true,
            urls: values.texts(&limit::INTEGRATION_URLS, &limit::URL),
            trigger_words: values.texts(&limit::TRIGGER_WORDS, &limit::TRIGGER_WORD),
            trigger_word_anywhere: true,
            target_room: values.text(&limit::TARGET_ROOM),
            impersonate_user: true,
            run_on_edits: true,
            retry_failed_calls: Some(true),
            retry_count: u32::MAX,
            retry_delay: "increments-of-two".to_owned(),
        }
    }

    fn deliveries(&mut self) {
        let key = (self.fresh)();
        let cause = Cause {
            integration: self.integration(),
            trigger: Trigger::SendMessage,
            position: Position(1),
            room: Some(self.room()),
            message: Some(self.message()),
            user: Some(self.user()),
            url: 0,
        };
        let exchange = Exchange {
            url: self.values.text(&limit::URL),
            request: self.values.text(&limit::TEXT),
            response: "\u{fffd}".repeat(4 * 1024),
        };
        let exchange = || Private::new(key, exchange.clone());
        let queued = || DeliveryEvent::WebhookQueued {
            cause: cause.clone(),
            at: self.now,
        };
        let made = vec![
            queued(),
            DeliveryEvent::WebhookFailed {
                status: Some(u16::MAX),
                attempt: 1,
                exchange: exchange(),
                at: self.now,
                retry_at: None,
            },
            DeliveryEvent::WebhookReplayed {
                by: self.user(),
                cause: cause.clone(),
                at: self.now,
            },
            DeliveryEvent::WebhookDelivered {
                status: u16::MAX,
                attempt: u32::MAX,
                exchange: exchange(),
                answer_held_back: Some(HeldBack::DestinationGone),
                at: self.now,
            },
        ];
        let abandoned = vec![
            queued(),
            DeliveryEvent::WebhookAbandoned {
                reason: Abandonment::Overflow,
                at: self.now,
            },
        ];
        self.tell(StreamId::new("delivery", self.id("made")), made);
        self.tell(StreamId::new("delivery", self.id("abandoned")), abandoned);
    }

    fn record(&mut self) {
        let name = format!("username-{}", self.name);
        let events = vec![
            ClaimEvent::NameClaimed {
                owner: self.id("owner"),
            },
            ClaimEvent::NameReleased {},
        ];
        self.tell(StreamId::new("name", name), events);

        let several = Denied {
            action: "rooms.cleanHistory".to_owned(),
            room: Some(self.room()),
            times: u64::MAX,
        };
        let denied = AuditEvent::CommandDenied {
            several: vec![several],
            action: "rooms.cleanHistory".to_owned(),
            permission: Some("clean-channel-history".to_owned()),
            user: Some(self.user()),
            room: Some(self.room()),
            times: u64::MAX,
            since: Some(FIRST),
        };
        let failed = AuditEvent::UnknownLoginFailed {
            name: Private::new((self.fresh)(), self.values.text(&limit::LOGIN_NAME)),
        };
        let seen = AuditEvent::RoomsInspected {
            action: "im.messages.others".to_owned(),
            permission: "view-room-administration".to_owned(),
            room: Some(self.room()),
            user: Some(self.user()),
            shown: u64::MAX,
        };
        let looked = AuditEvent::RecordInspected {
            what: self.id("stream"),
            filter: Private::new((self.fresh)(), self.values.text(&limit::QUERY_TEXT)),
            shown: u64::MAX,
        };
        let lacking = AuditEvent::EventsSetAside {
            view: "messages".to_owned(),
            generation: u64::MAX,
            events: u64::MAX,
            position: u64::MAX,
            event: "MessageSent".to_owned(),
            reason: "a fold of events panicked".to_owned(),
        };
        for (what, event) in [
            ("lacking", lacking),
            ("denied", denied),
            ("failed", failed),
            ("seen", seen),
            ("looked", looked),
        ] {
            self.tell(StreamId::new("audit", self.id(what)), vec![event]);
        }
        let elected = NodeEvent::WriterElected {
            address: "http://127.0.0.1:3000".to_owned(),
        };
        self.tell(StreamId::new("node", self.id("node")), vec![elected]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Recorded by the first start of a server, and by no other.
    const FOUNDING: &str = "WorkspaceFounded";

    #[test]
    fn there_is_a_specimen_of_every_event() {
        for shape in Shape::ALL {
            let mut keys = 0;
            let mut fresh = || {
                keys += 1;
                KeyId(keys)
            };
            let told = story(shape, &mut Dice::new(1), Timestamp(0), &mut fresh);
            let events = told.iter().flat_map(|told| &told.events);
            let kinds: BTreeSet<_> = events.map(Event::kind).chain([FOUNDING]).collect();
            assert_eq!(kinds, Event::kinds().collect::<BTreeSet<_>>(), "{shape:?}");
        }
    }
}
