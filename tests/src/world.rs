//! A server that has one of everything, for tests that ask it about all of that.

use serde_json::{Map, Value, json};

use crate::server::{Client, Options, Server};

/// See the module.
pub struct World {
    pub server: Server,
    pub admin: Client,
    /// A plain user.
    pub mary: Client,
    /// A channel, and a private group of the administrator's.
    pub channel: String,
    pub group: String,
    /// A conversation of the administrator with mary.
    pub direct: String,
    /// A message of the administrator in the channel, on which a thread hangs.
    pub message: String,
    /// A role of the workspace's own.
    pub role: String,
    pub incoming: String,
    pub incoming_token: String,
    pub outgoing: String,
}

const CUSTOM_FIELDS: &str = r#"{"properties":{"f":{"type":"string"}}}"#;

/// A receiver that nobody is at.
pub const NOBODY: &str = "http://127.0.0.1:9/hook";

fn id(answer: &Value, member: &str) -> String {
    answer[member]["_id"].as_str().expect("an id").to_owned()
}

impl World {
    /// Starts a server and fills it. Messages may have a custom field `f`.
    pub async fn start() -> Self {
        let options = Options::default()
            .setting("Message_CustomFields_Enabled", "true")
            .setting("Message_CustomFields", CUSTOM_FIELDS);
        let server = Server::start_with(options).await;
        let admin = server.admin().await;
        let mary = server.user("mary").await;
        let channel = admin.channel("talk").await;
        let post = async |operation: &str, body: Value| {
            let answer = admin.post(operation, body).await;
            answer.expect_ok()
        };
        let group = post("groups.create", json!({ "name": "closed" })).await;
        let direct = post("im.create", json!({ "username": "mary" })).await;
        let message = admin.say(&channel, "hello").await;
        let message = message["_id"].as_str().expect("an id").to_owned();
        let reply = json!({ "rid": channel, "tmid": message, "msg": "hello, too" });
        post("chat.sendMessage", json!({ "message": reply })).await;
        let role = post("roles.create", json!({ "name": "archivist" })).await;
        let incoming = post("integrations.create", incoming()).await;
        let outgoing = post("integrations.create", outgoing()).await;
        Self {
            group: id(&group, "group"),
            direct: id(&direct, "room"),
            role: id(&role, "role"),
            incoming: id(&incoming, "integration"),
            incoming_token: incoming["integration"]["token"]
                .as_str()
                .expect("a token")
                .to_owned(),
            outgoing: id(&outgoing, "integration"),
            server,
            admin,
            mary,
            channel,
            message,
        }
    }

    /// What a parameter of this name can name here, so that a request gets as far as it can.
    pub fn known(&self, operation: &str, name: &str) -> Option<Value> {
        let room = match operation {
            _ if operation.contains("groups.") => &self.group,
            _ if operation.contains("im.") || operation.contains("dm.") => &self.direct,
            _ => &self.channel,
        };
        let known = match name {
            "roomId" | "rid" | "room" => json!(room),
            "userId" | "user" => json!(self.mary.user_id()),
            "username" => json!("mary"),
            "messageId" | "msgId" | "mid" | "tmid" | "_id" => json!(self.message),
            "roleId" | "roleName" | "role" => json!(self.role),
            "integrationId" | "id" | "integration" => json!(self.outgoing),
            "searchText" | "text" | "msg" | "emoji" => json!("hello"),
            "latest" => json!("2999-01-01T00:00:00.000Z"),
            "oldest" | "lastUpdate" | "updatedSince" | "since" => {
                json!("2000-01-01T00:00:00.000Z")
            }
            "selector" => json!("{\"term\":\"ma\"}"),
            "roomName" => json!("talk"),
            "rids" => json!([room]),
            _ => return None,
        };
        Some(known)
    }

    /// A request of an operation that is taken as it is; the path stands behind `/api/v1/`.
    pub fn request(&self, operation: &str) -> Value {
        let room = json!({ "roomId": self.channel });
        let with = |base: Value, more: Value| {
            let mut whole: Map<String, Value> = base.as_object().cloned().unwrap_or_default();
            whole.extend(more.as_object().cloned().unwrap_or_default());
            Value::Object(whole)
        };
        match operation {
            "users.create" => json!({
                "username": "joe", "name": "Joe", "email": "joe@example.org", "password": "secret",
            }),
            "users.register" => json!({
                "username": "ann", "name": "Ann", "email": "ann@example.org", "pass": "secret",
            }),
            "users.update" => json!({ "userId": self.mary.user_id(), "data": { "bio": "b" } }),
            "users.updateOwnBasicInfo" => json!({ "data": { "bio": "b" } }),
            "users.setPreferences" => json!({ "data": {} }),
            "users.generatePersonalAccessToken" => json!({ "tokenName": "laptop" }),
            "login" => json!({ "user": "nobody", "password": "secret" }),
            "chat.sendMessage" => json!({ "message": { "rid": self.channel, "msg": "m" } }),
            "chat.postMessage" => json!({ "channel": "#talk", "text": "m" }),
            "chat.update" => {
                json!({ "roomId": self.channel, "msgId": self.message, "text": "other" })
            }
            "chat.react" => json!({ "messageId": self.message, "emoji": "smile" }),
            "chat.reportMessage" => json!({ "messageId": self.message, "description": "rude" }),
            "channels.create" | "groups.create" => json!({ "name": "other" }),
            "channels.invite" => with(room, json!({ "userIds": [self.mary.user_id()] })),
            "im.setTopic" | "dm.setTopic" => json!({ "roomId": self.direct, "topic": "t" }),
            "rooms.saveRoomSettings" => json!({ "rid": self.channel }),
            "rooms.saveNotification" => with(
                room,
                json!({ "notifications": { "desktopNotifications": "all" } }),
            ),
            "rooms.cleanHistory" => with(
                room,
                json!({ "latest": "2000-01-02", "oldest": "2000-01-01" }),
            ),
            "roles.create" => json!({ "name": "other" }),
            "roles.update" => json!({ "roleId": self.role, "name": "archivist" }),
            "integrations.create" => outgoing(),
            "integrations.update" => with(
                outgoing(),
                json!({ "integrationId": self.outgoing, "token": "t" }),
            ),
            _ if operation.starts_with("hooks/") => json!({ "text": "m" }),
            _ if operation.starts_with("groups.") => json!({ "roomId": self.group }),
            _ => room,
        }
    }

    /// Where the incoming webhook is, behind `/`.
    pub fn hook(&self) -> String {
        format!("hooks/{}/{}", self.incoming, self.incoming_token)
    }

    /// The position of the last event that is known of.
    pub async fn head(&self) -> u64 {
        let page = "/api/hansard/v1/events?limit=1";
        let page = self.admin.get_path(page).await.expect_ok();
        page["head"].as_u64().expect("a position")
    }

    /// The types of the events recorded after a position, but for those that tell of refusals and of
    /// looks at the record.
    pub async fn recorded_after(&self, position: u64) -> Vec<String> {
        const AUDIT: [&str; 4] = [
            "CommandDenied",
            "RecordInspected",
            "UnknownLoginFailed",
            "LoginFailed",
        ];
        let page = format!("/api/hansard/v1/events?limit=1000&after={position}");
        let page = self.admin.get_path(&page).await.expect_ok();
        let events = page["events"].as_array().into_iter().flatten();
        events
            .filter_map(|event| event["type"].as_str())
            .filter(|kind| !AUDIT.contains(kind))
            .map(str::to_owned)
            .collect()
    }
}

fn incoming() -> Value {
    json!({
        "type": "webhook-incoming", "name": "in", "enabled": true, "scriptEnabled": false,
        "username": "rocket.cat", "channel": "#talk", "overrideDestinationChannelEnabled": true,
    })
}

fn outgoing() -> Value {
    json!({
        "type": "webhook-outgoing", "name": "out", "enabled": false, "scriptEnabled": false,
        "username": "rocket.cat", "channel": "#talk", "event": "sendMessage", "urls": [NOBODY],
    })
}
