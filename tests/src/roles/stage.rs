//! The callers, and what their requests are about.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use super::matrix::{First, Request, Row};
use crate::server::{Answer, Client, Server, at_last};
use crate::world::NOBODY;

/// Nobody's password is guessed here.
const PASSWORD: &str = "nobody guesses this";

/// What is answered to a cell's request, and under which id.
#[derive(Debug)]
pub struct Asked {
    pub id: String,
    pub request: Sent,
    pub answer: Answer,
    /// Whether what was to be seen was.
    pub seen: bool,
}

/// What was asked, with the placeholders filled in.
#[derive(Debug)]
pub struct Sent {
    pub path: String,
    pub query: String,
    pub body: Option<Value>,
}

#[derive(Debug, Clone)]
struct Actor {
    client: Client,
    id: String,
    username: String,
    roles: &'static [&'static str],
}

/// Callers by the names that the table has for them.
pub struct Stage {
    admin: Client,
    anonymous: Client,
    actors: HashMap<&'static str, Actor>,
    next: AtomicUsize,
}

/// Callers with accounts, and the roles they have in the workspace.
const ACTORS: [(&str, &[&str]); 11] = [
    ("revoked", &["user"]),
    ("inactive", &["user"]),
    ("guest", &["guest"]),
    ("guest-in", &["guest"]),
    ("bot", &["bot"]),
    ("outsider", &["user"]),
    ("former", &["user"]),
    ("member", &["user"]),
    ("moderator", &["user"]),
    ("owner", &["user"]),
    ("admin", &["admin"]),
];

/// Who is in the rooms, besides `owner` and the mate.
const INSIDERS: [&str; 4] = ["guest-in", "former", "member", "moderator"];

impl Stage {
    pub async fn set(server: &Server) -> Self {
        let admin = server.admin().await;
        let anonymous = server.anonymous();
        // The owner makes a room for each question; those who may not ask without limit make a thousand.
        let unlimited = json!({
            "_id": "api-bypass-rate-limit", "roles": ["admin", "bot", "app", "user"],
        });
        let unlimited = json!({ "permissions": [unlimited] });
        admin
            .post("permissions.update", unlimited)
            .await
            .expect_ok();
        let mut stage = Self {
            admin,
            anonymous,
            actors: HashMap::new(),
            next: AtomicUsize::new(0),
        };
        for (name, roles) in ACTORS {
            let actor = stage.account(server, name, roles).await;
            stage.actors.insert(name, actor);
        }
        let mate = stage.account(server, "mate", &["user"]).await;
        stage.actors.insert("mate", mate);
        let logout = stage.actors["revoked"].client.post("logout", json!({}));
        logout.await.expect_ok();
        stage.deactivate(server).await;
        stage
    }

    /// The token of an account that is deactivated must not be one that ended with its sessions.
    async fn deactivate(&mut self, server: &Server) {
        let actor = self.actors["inactive"].clone();
        let name = json!({ "tokenName": "mine" });
        let made = actor.client.post("users.generatePersonalAccessToken", name);
        let token = made.await.expect_ok()["token"].take();
        let off = json!({ "userId": actor.id, "activeStatus": false });
        let done = self.admin.post("users.setActiveStatus", off).await;
        done.expect_ok();
        let client = server.client(&actor.id, token.as_str().expect("a token"));
        let actor = Actor { client, ..actor };
        self.actors.insert("inactive", actor);
    }

    /// A name that nothing else has.
    fn unique(&self, what: &str) -> String {
        format!("{what}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    async fn account(&self, server: &Server, name: &str, roles: &'static [&'static str]) -> Actor {
        let username = self.unique(name);
        // Somebody tries to log in as who is not active.
        let password = (name == "inactive").then_some(PASSWORD);
        let id = self.register(&username, roles, password).await;
        let token = self.token(&id).await;
        Actor {
            client: server.client(&id, &token),
            id,
            username,
            roles,
        }
    }

    async fn register(&self, username: &str, roles: &[&str], password: Option<&str>) -> String {
        let mut user = json!({
            "username": username,
            "name": username,
            "email": format!("{username}@example.org"),
            "roles": roles,
            "verified": true,
            "joinDefaultChannels": false,
        });
        match password {
            Some(password) => user["password"] = json!(password),
            // Nobody logs in with a password, so none has to be hashed.
            None => user["setRandomPassword"] = json!(true),
        }
        let made = self.admin.post("users.create", user).await.expect_ok();
        text(&made["user"]["_id"])
    }

    async fn token(&self, id: &str) -> String {
        let of = json!({ "userId": id });
        let made = self.admin.post("users.createToken", of).await.expect_ok();
        let token = made["data"]["authToken"].as_str();
        token.expect("a token").to_owned()
    }

    fn client_of(&self, caller: &str) -> Client {
        let actor = self.actors.get(caller);
        actor.map_or_else(|| self.anonymous.clone(), |actor| actor.client.clone())
    }

    /// Asks what a row says, as a caller.
    pub async fn ask(&self, server: &Server, row: &Row, caller: &str) -> Asked {
        let mut scene = Scene::of(self, server, row, caller).await;
        for First { who, request } in &row.first {
            let client = if who == "me" {
                scene.client.clone()
            } else {
                self.client_of(who)
            };
            let (_, answer) = scene.send(&client, request, None).await;
            assert!(
                who == "me" || answer.status.is_success(),
                "{} for {caller}: what {who} does first: {} {}",
                row.name(),
                answer.status,
                answer.body
            );
        }
        let id = self.unique("ce11-");
        let client = scene.client.clone();
        let watched = match &row.request.seen {
            Some(seen) => Some(scene.fill(seen).await),
            None => None,
        };
        let (request, answer) = scene.send(&client, &row.request, Some(&id)).await;
        let body = answer.body.to_string();
        let seen = watched.is_none_or(|watched| body.contains(&watched));
        Asked {
            id,
            request,
            answer,
            seen,
        }
    }
}

/// What a cell is about; made as far as its requests name it.
struct Scene<'a> {
    stage: &'a Stage,
    server: &'a Server,
    kind: char,
    caller: String,
    client: Client,
    me: Option<Actor>,
    known: HashMap<String, String>,
}

impl<'a> Scene<'a> {
    async fn of(stage: &'a Stage, server: &'a Server, row: &Row, caller: &str) -> Self {
        let mut scene = Self {
            stage,
            server,
            kind: row.kind,
            caller: caller.to_owned(),
            client: stage.client_of(caller),
            me: stage.actors.get(caller).cloned(),
            known: HashMap::new(),
        };
        if row.fresh {
            scene.renew().await;
        }
        scene
    }

    /// Lets an account that is like the caller's take its place: one that may be lost.
    async fn renew(&mut self) {
        let roles = self.me.as_ref().map_or(&["user"][..], |me| me.roles);
        let keeps = ["anonymous", "revoked", "inactive"].contains(&self.caller.as_str());
        let username = self.stage.unique(&self.caller);
        let id = self.stage.register(&username, roles, Some(PASSWORD)).await;
        let token = self.stage.token(&id).await;
        let client = self.server.client(&id, &token);
        if !keeps {
            self.client = client.clone();
        }
        self.me = Some(Actor {
            client,
            id,
            username,
            roles,
        });
    }

    async fn send(
        &mut self,
        client: &Client,
        request: &Request,
        id: Option<&str>,
    ) -> (Sent, Answer) {
        let path = self.fill(&request.path).await;
        let path = if path.starts_with('/') {
            path
        } else {
            format!("/api/v1/{path}")
        };
        let query = self.fill(&request.query).await;
        let method: Method = request.method.parse().expect("a method");
        let mut built = client.request(method, &format!("{path}?{query}"));
        let mut sent = Sent {
            path,
            query,
            body: None,
        };
        if let Some(body) = &request.body {
            let body = self.fill(body).await;
            let body: Value = serde_json::from_str(&body).expect("a JSON body");
            built = built.json(&body);
            sent.body = Some(body);
        }
        if let Some(id) = id {
            built = built.header("X-Request-Id", id);
        }
        (sent, client.answer(built).await)
    }

    /// A text with its placeholders filled in.
    async fn fill(&mut self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            let end = after
                .find(|letter: char| !letter.is_ascii_alphabetic())
                .unwrap_or(after.len());
            filled.push_str(before);
            filled.push_str(&self.value(&after[..end]).await);
            rest = &after[end..];
        }
        filled + rest
    }

    async fn value(&mut self, name: &str) -> String {
        if let Some(value) = self.known.get(name) {
            return value.clone();
        }
        match name {
            "room" | "name" | "topic" | "text" | "message" | "own" | "reply" => {
                self.make_room().await;
            }
            "target" | "targetname" | "targetmail" => self.make_target().await,
            "role" => self.make_role().await,
            "hook" | "hooktoken" | "outgoing" => self.make_integrations().await,
            "delivering" | "delivery" => self.make_delivery().await,
            _ => {
                let value = self.given(name);
                self.known.insert(name.to_owned(), value);
            }
        }
        let value = self.known.get(name);
        value
            .unwrap_or_else(|| panic!("nobody knows '${name}'"))
            .clone()
    }

    fn given(&self, name: &str) -> String {
        let me = |part: fn(&Actor) -> String| self.me.as_ref().map(part).unwrap_or_default();
        let mate = &self.stage.actors["mate"];
        match name {
            "me" => me(|me| me.id.clone()),
            "myname" => me(|me| me.username.clone()),
            "mate" => mate.id.clone(),
            "matename" => mate.username.clone(),
            "offname" => self.stage.actors["inactive"].username.clone(),
            "password" => PASSWORD.to_owned(),
            "digest" => {
                use sha2::{Digest, Sha256};
                let digest = Sha256::digest(PASSWORD.as_bytes());
                digest.iter().map(|byte| format!("{byte:02x}")).collect()
            }
            "unique" => self.stage.unique("unique"),
            other => panic!("nobody knows '${other}'"),
        }
    }

    fn know(&mut self, name: &str, value: impl Into<String>) {
        self.known.insert(name.to_owned(), value.into());
    }

    /// A room of `owner` with its mate, and the caller where it is one of those who are in rooms.
    async fn make_room(&mut self) {
        let owner = self.stage.client_of("owner");
        let mate = self.stage.actors["mate"].clone();
        let inside = INSIDERS.contains(&self.caller.as_str());
        let direct = self.kind == 'd';
        let me = self.me.clone().filter(|_| inside);
        let name = self.stage.unique("room");
        let room = if direct {
            let fresh = self.stage.unique("fresh");
            self.stage.register(&fresh, &["user"], None).await;
            let takes_part = ["guest-in", "member"].contains(&self.caller.as_str());
            let with = me.as_ref().filter(|_| takes_part);
            let names = [Some(&mate), with].into_iter().flatten();
            let names: Vec<_> = names.map(|actor| actor.username.as_str()).collect();
            let names = format!("{},{fresh}", names.join(","));
            let usernames = json!({ "usernames": names });
            let made = owner.post("im.create", usernames).await.expect_ok();
            text(&made["room"]["_id"])
        } else {
            self.make_named_room(&owner, &name, me.as_ref()).await
        };
        let (topic, secret) = (self.stage.unique("topic"), self.stage.unique("text"));
        if !direct {
            let prefix = if self.kind == 'p' {
                "groups"
            } else {
                "channels"
            };
            let about = json!({ "roomId": room, "topic": topic });
            let done = owner.post(&format!("{prefix}.setTopic"), about).await;
            done.expect_ok();
        }
        let message = text(&mate.client.say(&room, &secret).await["_id"]);
        let own = match &me {
            Some(me) if !direct || ["guest-in", "member"].contains(&self.caller.as_str()) => {
                text(&me.client.say(&room, "mine").await["_id"])
            }
            _ if self.caller == "owner" => text(&owner.say(&room, "mine").await["_id"]),
            _ => message.clone(),
        };
        let reply = json!({ "message": { "rid": room, "msg": "reply", "tmid": message } });
        let reply = mate
            .client
            .post("chat.sendMessage", reply)
            .await
            .expect_ok();
        self.know("reply", text(&reply["message"]["_id"]));
        if let Some(me) = me.filter(|_| self.caller == "former" && !direct) {
            let prefix = if self.kind == 'p' {
                "groups"
            } else {
                "channels"
            };
            let left = json!({ "roomId": room });
            let left = me.client.post(&format!("{prefix}.leave"), left).await;
            left.expect_ok();
        }
        for (name, value) in [
            ("room", room),
            ("name", name),
            ("topic", topic),
            ("text", secret),
            ("message", message),
            ("own", own),
        ] {
            self.know(name, value);
        }
    }

    async fn make_named_room(&self, owner: &Client, name: &str, me: Option<&Actor>) -> String {
        let mate = &self.stage.actors["mate"];
        let (prefix, key) = match self.kind {
            'p' => ("groups", "group"),
            _ => ("channels", "channel"),
        };
        let members = [Some(mate), me].into_iter().flatten();
        let members: Vec<_> = members.map(|actor| actor.username.as_str()).collect();
        let wanted = json!({ "name": name, "members": members });
        let made = owner.post(&format!("{prefix}.create"), wanted).await;
        let room = text(&made.expect_ok()[key]["_id"]);
        if let Some(me) = me.filter(|_| self.caller == "moderator") {
            let role = json!({ "roomId": room, "userId": me.id });
            let done = owner.post(&format!("{prefix}.addModerator"), role).await;
            done.expect_ok();
        }
        room
    }

    async fn make_target(&mut self) {
        let username = self.stage.unique("target");
        let id = self.stage.register(&username, &["user"], None).await;
        self.know("target", id);
        self.know("targetmail", format!("{username}@example.org"));
        self.know("targetname", username);
    }

    async fn make_role(&mut self) {
        let role = json!({ "name": self.stage.unique("role"), "scope": "Users" });
        let made = self.stage.admin.post("roles.create", role).await;
        let role = text(&made.expect_ok()["role"]["_id"]);
        self.know("role", role);
    }

    /// A delivery that came to nothing: nobody is at its address.
    async fn make_delivery(&mut self) {
        let admin = &self.stage.admin;
        let name = self.stage.unique("room");
        let room = admin.channel(&name).await;
        let wanted = json!({
            "type": "webhook-outgoing", "name": name, "enabled": true, "username": "rocket.cat",
            "channel": format!("#{name}"), "scriptEnabled": false, "event": "sendMessage",
            "urls": [NOBODY], "retryFailedCalls": false,
        });
        let made = admin.post("integrations.create", wanted).await.expect_ok();
        let integration = text(&made["integration"]["_id"]);
        admin.say(&room, "deliver this").await;
        let path = format!("/api/hansard/v1/deliveries?state=dead&integration={integration}");
        let delivery = at_last("a delivery that came to nothing", async || {
            let page = admin.get_path(&path).await.expect_ok();
            let id = page["deliveries"][0]["id"].as_str();
            id.map(str::to_owned)
        })
        .await;
        self.know("delivering", integration);
        self.know("delivery", delivery);
    }

    async fn make_integrations(&mut self) {
        let incoming = json!({
            "type": "webhook-incoming", "name": self.stage.unique("hook"), "enabled": true,
            "username": "rocket.cat", "channel": "#general", "scriptEnabled": false,
        });
        let outgoing = json!({
            "type": "webhook-outgoing", "name": self.stage.unique("hook"), "enabled": false,
            "username": "rocket.cat", "channel": "#general", "scriptEnabled": false,
            "event": "sendMessage", "urls": ["https://example.org/hook"],
        });
        for (name, wanted) in [("hook", incoming), ("outgoing", outgoing)] {
            let made = self.stage.admin.post("integrations.create", wanted).await;
            let made = made.expect_ok()["integration"].take();
            self.know(name, text(&made["_id"]));
            if name == "hook" {
                self.know("hooktoken", text(&made["token"]));
            }
        }
    }
}

fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}
