//! Tells a server everything that it answers to with what was recorded.

use hansard_tests::server::{Answer, Client, Server};
use reqwest::Method;
use serde_json::{Value, json};

/// What was answered to an operation.
#[derive(Debug)]
pub struct Told {
    /// As in the document: `POST channels.create`.
    pub operation: String,
    pub status: u16,
    pub body: Value,
    /// Whether events were missing from it.
    pub behind: bool,
}

/// Tells a server things, and keeps what it answers.
#[derive(Default)]
pub struct Teller {
    pub told: Vec<Told>,
}

impl Teller {
    /// The whole body, for ids to go on with.
    async fn tell(&mut self, client: &Client, operation: &str, body: Value) -> Value {
        let answer = client.post(operation, body).await;
        self.keep(format!("POST {operation}"), answer)
    }

    /// The same where something else is said than how the operation is declared.
    async fn tell_at(
        &mut self,
        client: &Client,
        (method, path): (Method, &str),
        operation: &str,
        body: Value,
    ) -> Value {
        let name = format!("{method} {operation}");
        let answer = client
            .answer(client.request(method, path).json(&body))
            .await;
        self.keep(name, answer)
    }

    fn keep(&mut self, operation: String, answer: Answer) -> Value {
        self.told.push(Told {
            operation,
            status: answer.status.as_u16(),
            body: answer.body.clone(),
            behind: answer.behind,
        });
        answer.body
    }
}

/// The people and things that are there before the views stand still.
pub struct Before {
    pub admin: Client,
    mary: Client,
    paul: Client,
    spare: Client,
    leaver: Client,
    attic: String,
    den: String,
    said: String,
    thread: String,
    keeper: String,
}

fn id(body: &Value, path: &str) -> String {
    let found = body.pointer(path).and_then(Value::as_str);
    found
        .unwrap_or_else(|| panic!("no {path} in {body}"))
        .to_owned()
}

/// A password as clients send it that do not send its text.
fn digest(password: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(password.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A body with more members.
fn with(body: &Value, more: &Value) -> Value {
    let members = [body, more].into_iter().filter_map(Value::as_object);
    let members = members.flatten();
    Value::Object(members.map(|(k, v)| (k.clone(), v.clone())).collect())
}

pub async fn prepare(server: &Server) -> Before {
    let admin = server.admin().await;
    let mary = server.user("mary").await;
    let attic = admin.channel("attic").await;
    let invited = json!({ "roomId": attic, "userId": mary.user_id() });
    admin.post("channels.invite", invited).await.expect_ok();
    let den = json!({ "name": "den" });
    let den = admin.post("groups.create", den).await.expect_ok();
    let said = admin.say(&attic, "first words").await;
    let thread = id(&admin.say(&attic, "a thread hangs here").await, "/_id");
    let reply = json!({ "message": { "rid": attic, "msg": "reply", "tmid": thread } });
    mary.post("chat.sendMessage", reply).await.expect_ok();
    let keeper = json!({ "name": "keeper" });
    let keeper = admin.post("roles.create", keeper).await.expect_ok();
    Before {
        paul: server.user("paul").await,
        spare: server.user("spare").await,
        leaver: server.user("leaver").await,
        den: id(&den, "/group/_id"),
        said: id(&said, "/_id"),
        keeper: id(&keeper, "/role/_id"),
        admin,
        mary,
        attic,
        thread,
    }
}

/// Every operation that records, but those that wait for an erasure.
pub async fn tell_everything(server: &Server, there: &Before, told: &mut Teller) {
    let otto = tell_of_accounts(server, there, told).await;
    let warden = tell_of_roles(there, told).await;
    for (kind, name, old) in [
        ("channels", "new-channel", &there.attic),
        ("groups", "new-group", &there.den),
    ] {
        tell_of_rooms(there, &otto, kind, (name, old), told).await;
    }
    let direct = tell_of_conversations(there, told).await;
    tell_of_messages(there, &direct, told).await;
    tell_of_webhooks(server, there, told).await;
    let admin = &there.admin;
    let path = (Method::POST, "/api/v1/settings/Site_Name");
    let value = json!({ "value": "The Owls" });
    told.tell_at(admin, path, "settings/{id}", value).await;
    let unused = json!({ "roleId": warden });
    told.tell(admin, "roles.delete", unused).await;
    tell_of_sessions(server, &otto, told).await;
}

/// Answers somebody that no view knows.
async fn tell_of_accounts(server: &Server, there: &Before, told: &mut Teller) -> Client {
    let Before { admin, paul, .. } = there;
    let nobody = server.anonymous();
    let new = json!({
        "username": "ottoline", "name": "Ottoline", "email": "ottoline@example.org",
        "password": "pass word", "roles": ["user", "bot"], "verified": true,
        "bio": "Hostess", "nickname": "Otto", "statusText": "in",
    });
    let made = told.tell(admin, "users.create", new).await;
    let ottoline = id(&made, "/user/_id");
    let new = json!({
        "username": "virginia", "name": "Virginia", "email": "v@example.org", "pass": "pass word",
    });
    told.tell(&nobody, "users.register", new).await;
    let login = json!({ "user": "ottoline", "password": "pass word" });
    let login = told.tell(&nobody, "login", login).await;
    let token = id(&login, "/data/authToken");
    let resumed = json!({ "resume": token });
    told.tell(&nobody, "login", resumed).await;

    let otto = server.client(&ottoline, &token);
    let data = json!({
        "name": "Lady Ottoline", "username": "lady.o", "statusText": "out", "bio": "Host",
    });
    let data = json!({ "data": data });
    told.tell(&otto, "users.updateOwnBasicInfo", data).await;
    let data = json!({ "data": { "sidebarViewMode": "condensed" } });
    told.tell(&otto, "users.setPreferences", data).await;
    let away = json!({ "message": "away", "status": "away" });
    told.tell(&otto, "users.setStatus", away).await;
    let changes = [
        json!({ "name": "O.", "email": "o@example.org", "roles": ["user", there.keeper] }),
        json!({}),
    ];
    for data in changes {
        let change = json!({ "userId": ottoline, "data": data });
        told.tell(admin, "users.update", change).await;
    }
    for active in [false, true] {
        let state = json!({ "userId": paul.user_id(), "activeStatus": active });
        told.tell(admin, "users.setActiveStatus", state).await;
    }
    let idle = json!({ "daysIdle": 100 });
    told.tell(admin, "users.deactivateIdle", idle).await;
    let whose = json!({ "userId": ottoline });
    told.tell(admin, "users.createToken", whose).await;
    for operation in ["generate", "regenerate", "remove"] {
        let operation = format!("users.{operation}PersonalAccessToken");
        let token = json!({ "tokenName": "ci" });
        told.tell(&otto, &operation, token).await;
    }
    otto
}

async fn tell_of_sessions(server: &Server, otto: &Client, told: &mut Teller) {
    told.tell(otto, "users.logoutOtherClients", json!({})).await;
    told.tell(otto, "users.removeOtherTokens", json!({})).await;
    let login = json!({ "user": "lady.o", "password": "pass word" });
    let login = told.tell(&server.anonymous(), "login", login).await;
    let other = server.client(otto.user_id(), &id(&login, "/data/authToken"));
    told.tell(&other, "logout", json!({})).await;
    told.tell(otto, "users.logout", json!({})).await;
}

/// Answers a role that nobody has.
async fn tell_of_roles(there: &Before, told: &mut Teller) -> String {
    let admin = &there.admin;
    let new = json!({ "name": "warden", "description": "of it" });
    let made = told.tell(admin, "roles.create", new).await;
    let warden = id(&made, "/role/_id");
    let change = json!({ "roleId": warden, "name": "warden", "description": "of all" });
    told.tell(admin, "roles.update", change).await;
    for operation in ["roles.addUserToRole", "roles.removeUserFromRole"] {
        let mary = json!({ "roleId": warden, "username": "mary" });
        told.tell(admin, operation, mary).await;
    }
    let granted = json!({ "permissions": [{ "_id": "view-logs", "roles": ["admin", warden] }] });
    let all = told.tell(admin, "permissions.update", granted).await;
    let all = all["permissions"].as_array().map_or(0, Vec::len);
    assert!(all > 50, "{all} permissions");
    warden
}

/// Of a room that is new, and of one that the views have known.
async fn tell_of_rooms(
    there: &Before,
    otto: &Client,
    kind: &str,
    (name, old): (&str, &str),
    told: &mut Teller,
) {
    let Before { admin, paul, .. } = there;
    let of = |operation: &str| format!("{kind}.{operation}");
    let new = json!({
        "name": name, "members": ["mary", "nobody"], "readOnly": true,
        "extraData": { "topic": "owls", "description": "what owls do" }, "customFields": { "a": 1 },
    });
    let made = told.tell(admin, &of("create"), new).await;
    let one = kind.trim_end_matches('s');
    let new = id(&made, &format!("/{one}/_id"));
    for room in [new.as_str(), old] {
        let this = json!({ "roomId": room });
        let mut tell = async |client: &Client, operation: &str, more: Value| {
            told.tell(client, operation, with(&this, &more)).await;
        };
        let somebody = json!({ "userId": otto.user_id() });
        tell(admin, &of("invite"), somebody.clone()).await;
        tell(admin, &of("addAll"), json!({})).await;
        let sent_away = json!({ "userId": paul.user_id() });
        tell(admin, &of("kick"), sent_away).await;
        for role in ["Owner", "Moderator", "Leader"] {
            tell(admin, &of(&format!("add{role}")), somebody.clone()).await;
            tell(admin, &of(&format!("remove{role}")), somebody.clone()).await;
        }
        let renamed = format!("{name}-{}", if room == old { "old" } else { "renamed" });
        tell(admin, &of("rename"), json!({ "name": renamed })).await;
        let texts = [
            ("setTopic", json!({ "topic": "nests" })),
            ("setDescription", json!({ "description": "of nests" })),
            ("setPurpose", json!({ "purpose": "none" })),
            ("setAnnouncement", json!({ "announcement": "hoo" })),
            ("setCustomFields", json!({ "customFields": { "b": 2 } })),
            ("setReadOnly", json!({ "readOnly": room == old })),
        ];
        for (operation, text) in texts {
            tell(admin, &of(operation), text).await;
        }
        if kind == "channels" {
            tell(admin, &of("setDefault"), json!({ "default": true })).await;
            let code = json!({ "joinCode": "tuwit" });
            tell(admin, &of("setJoinCode"), code.clone()).await;
            tell(otto, &of("leave"), json!({})).await;
            tell(otto, &of("join"), code).await;
            tell(otto, "rooms.leave", json!({})).await;
        } else {
            tell(otto, &of("leave"), json!({})).await;
            tell(admin, &of("setEncrypted"), json!({ "encrypted": true })).await;
            tell(admin, &of("setEncrypted"), json!({ "encrypted": false })).await;
        }
        for operation in ["close", "open", "archive", "unarchive"] {
            tell(admin, &of(operation), json!({})).await;
        }
        for action in ["archive", "unarchive"] {
            let state = json!({ "rid": room, "action": action });
            tell(admin, "rooms.changeArchivationState", state).await;
        }
        let mary = json!({ "username": "mary" });
        tell(admin, "rooms.muteUser", mary.clone()).await;
        tell(admin, &of("setTopic"), json!({ "topic": "silence" })).await;
        tell(admin, "rooms.unmuteUser", mary).await;
        tell(admin, "rooms.favorite", json!({ "favorite": true })).await;
        let quiet = json!({ "notifications": { "disableNotifications": "1" } });
        tell(admin, "rooms.saveNotification", quiet).await;
        let retention = json!({
            "rid": room, "retentionEnabled": true, "retentionOverrideGlobal": true,
            "retentionMaxAge": 9, "systemMessages": ["uj"],
        });
        let other = if kind == "channels" { "p" } else { "c" };
        tell(admin, &of("setType"), json!({ "type": other })).await;
        told.tell(admin, "rooms.saveRoomSettings", retention).await;
    }
}

/// Answers a room that no view knows.
async fn tell_of_conversations(there: &Before, told: &mut Teller) -> String {
    let admin = &there.admin;
    let mut direct = String::new();
    for (kind, other) in [("dm", "paul"), ("im", "mary")] {
        let of = |operation: &str| format!("{kind}.{operation}");
        let new = json!({ "username": other });
        let made = told.tell(admin, &of("create"), new).await;
        direct = id(&made, "/room/_id");
        let this = json!({ "roomId": direct });
        told.tell(admin, &of("close"), this.clone()).await;
        told.tell(admin, &of("open"), this.clone()).await;
        let topic = with(&this, &json!({ "topic": "us" }));
        told.tell(admin, &of("setTopic"), topic).await;
    }
    let three = json!({ "usernames": "mary,paul" });
    told.tell(admin, "im.create", three).await;
    direct
}

/// Of messages that the views know, and of such as they do not.
async fn tell_of_messages(there: &Before, direct: &str, told: &mut Teller) {
    let Before { admin, mary, .. } = there;
    let Before { attic, said, .. } = there;
    let new = json!({
        "message": { "_id": "chosenByTheClient", "rid": direct, "msg": "hello @mary" },
    });
    let sent = told.tell(admin, "chat.sendMessage", new.clone()).await;
    let fresh = id(&sent, "/message/_id");
    told.tell(admin, "chat.sendMessage", new).await;
    let posted = json!({ "channel": "@mary", "text": "posted" });
    told.tell(admin, "chat.postMessage", posted).await;
    let reply = json!({ "message": { "rid": direct, "msg": "reply", "tmid": fresh } });
    told.tell(mary, "chat.sendMessage", reply).await;
    for (message, room) in [
        (fresh.as_str(), direct),
        (said, attic),
        (&there.thread, attic),
    ] {
        let this = json!({ "messageId": message });
        let owl = with(&this, &json!({ "emoji": ":owl:" }));
        told.tell(admin, "chat.react", owl).await;
        told.tell(admin, "chat.starMessage", this.clone()).await;
        told.tell(admin, "chat.pinMessage", this.clone()).await;
        told.tell(admin, "chat.pinMessage", this.clone()).await;
        let edit = json!({ "roomId": room, "msgId": message, "text": "other words, @mary" });
        told.tell(admin, "chat.update", edit.clone()).await;
        told.tell(admin, "chat.unStarMessage", this.clone()).await;
        told.tell(admin, "chat.update", edit).await;
        let head = json!({ "mid": message });
        told.tell(admin, "chat.followMessage", head.clone()).await;
        told.tell(admin, "chat.unfollowMessage", head).await;
        told.tell(admin, "chat.unPinMessage", this.clone()).await;
        let rude = with(&this, &json!({ "description": "rude" }));
        told.tell(admin, "chat.reportMessage", rude).await;
        let unread = json!({ "firstUnreadMessage": { "_id": message } });
        told.tell(mary, "subscriptions.unread", unread).await;
        let read = json!({ "rid": room });
        told.tell(mary, "subscriptions.read", read).await;
    }
    for (room, message) in [(direct, fresh.as_str()), (attic, said)] {
        let gone = json!({ "roomId": room, "msgId": message });
        told.tell(admin, "chat.delete", gone).await;
    }
}

async fn tell_of_webhooks(server: &Server, there: &Before, told: &mut Teller) {
    let admin = &there.admin;
    let hook = json!({
        "type": "webhook-incoming", "name": "hook", "enabled": true, "username": "admin",
        "channel": "@mary", "scriptEnabled": false,
    });
    let made = told.tell(admin, "integrations.create", hook.clone()).await;
    let (incoming, token) = (
        id(&made, "/integration/_id"),
        id(&made, "/integration/token"),
    );
    let nobody = server.anonymous();
    for (path, operation) in [
        (
            format!("/hooks/{incoming}/{token}"),
            "/hooks/{integration}/{token}",
        ),
        (
            format!("/hooks/{incoming}/{}/{token}", admin.user_id()),
            "/hooks/{integration}/{user}/{token}",
        ),
    ] {
        let posted = json!({ "text": "from outside" });
        let path = (Method::POST, path.as_str());
        told.tell_at(&nobody, path, operation, posted).await;
    }
    let change = json!({ "integrationId": incoming, "name": "other", "enabled": false });
    let change = with(&hook, &change);
    let path = (Method::PUT, "/api/v1/integrations.update");
    told.tell_at(admin, path, "integrations.update", change)
        .await;
    let gone = json!({ "type": "webhook-incoming", "integrationId": incoming });
    told.tell(admin, "integrations.remove", gone).await;

    let hook = json!({
        "type": "webhook-outgoing", "name": "out", "enabled": false, "username": "admin",
        "channel": "@mary", "scriptEnabled": false, "event": "sendMessage",
        "urls": ["http://example.org/"],
    });
    let made = told.tell(admin, "integrations.create", hook).await;
    let outgoing = json!({ "integrationId": id(&made, "/integration/_id") });
    told.tell(admin, "integrations.clearHistory", outgoing)
        .await;
}

/// What waits a while for an erasure that no view takes part in; all at once.
pub async fn tell_of_deletions(there: &Before) -> Vec<(&'static str, Answer)> {
    let Before { admin, leaver, .. } = there;
    let mut rooms = Vec::new();
    for (kind, name) in [
        ("channels", "doomed"),
        ("channels", "lost"),
        ("groups", "gone"),
    ] {
        let new = json!({ "name": name });
        let made = admin.post(&format!("{kind}.create"), new).await.expect_ok();
        let path = format!("/{}/_id", kind.trim_end_matches('s'));
        rooms.push(id(&made, &path));
    }
    for other in ["paul", "mary"] {
        let new = json!({ "username": other });
        let made = admin.post("im.create", new).await.expect_ok();
        rooms.push(id(&made, "/room/_id"));
    }
    let room = |number: usize| json!({ "roomId": rooms[number] });
    let own = json!({ "password": digest("leaver's own secret"), "confirmRelinquish": true });
    let deletions = [
        (admin, "channels.delete", room(0)),
        (admin, "rooms.delete", room(1)),
        (admin, "groups.delete", room(2)),
        (admin, "im.delete", room(3)),
        (admin, "dm.delete", room(4)),
        (
            admin,
            "users.delete",
            json!({ "userId": there.spare.user_id() }),
        ),
        (leaver, "users.deleteOwnAccount", own),
    ];
    let deletions = deletions.map(|(client, operation, body)| async move {
        (operation, client.post(operation, body).await)
    });
    futures::future::join_all(deletions).await
}
