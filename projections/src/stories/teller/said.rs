//! What is said.

use super::*;

/// Those who are mentioned, as the content of a message names them.
pub(super) fn named(mentions: &Mentions) -> Vec<serde_json::Value> {
    let person = |user| json!({ "_id": user, "type": "user" });
    mentions.users.iter().map(person).collect()
}

impl Teller {
    pub(super) fn content(&mut self) -> Content {
        let words = self.dice.random_range(1..5);
        let words: Vec<_> = (0..words).map(|_| self.one_of(&WORDS)).collect();
        let url = self.chance(6);
        Content {
            text: words.join(" "),
            urls: url
                .then(|| "https://example.org/x".to_owned())
                .into_iter()
                .collect(),
            attachments: self
                .chance(10)
                .then(|| json!({ "title": "a picture", "image_url": "https://example.org/p" }))
                .into_iter()
                .collect::<Vec<_>>()
                .into(),
            alias: self.chance(20).then(|| "Somebody".to_owned()),
            ..Content::default()
        }
    }

    pub(super) fn mentions(&mut self) -> Mentions {
        let mut users = Vec::new();
        while self.chance(4) {
            users.push(self.one_of(&self.users.clone()));
        }
        Mentions {
            users,
            everybody: self.chance(10),
        }
    }

    /// The time that a message shows: its event's, a client's whose clock is wrong, or an import's.
    pub(super) fn shown(&mut self) -> Timestamp {
        let off = match self.dice.random_range(0..20) {
            0..2 => self.dice.random_range(-10_000..10_000),
            2 => -self.dice.random_range(60_001..3_000_000_000_i64),
            _ => 0,
        };
        Timestamp(self.now.0 + off)
    }

    pub(super) fn send(&mut self, room: RoomId, sender: UserId, thread: Option<ThreadReply>) {
        let id = match self.announced.pop().filter(|_| thread.is_none()) {
            Some(id) => id,
            None => MessageId::new(format!("m{:05}", self.messages.len())),
        };
        let (at, mentions, key) = (self.shown(), self.mentions(), self.key());
        let system = (thread.is_none() && self.chance(12)).then(|| self.one_of(&SYSTEM_KINDS));
        let content = match system {
            // Earlier versions recorded the name.
            Some("uj") if self.chance(2) => Content {
                text: sender.to_string(),
                ..Content::default()
            },
            Some("uj" | "ul") => Content {
                about: Some(sender.clone()),
                ..Content::default()
            },
            Some("user-muted") => Content {
                about: Some(self.one_of(&self.users.clone())),
                ..Content::default()
            },
            Some(_) => Content {
                text: room.to_string(),
                ..Content::default()
            },
            None => Content {
                mentions: named(&mentions),
                ..self.content()
            },
        };
        let sent = Sent {
            room: room.clone(),
            sender: sender.clone(),
            system: system.map(str::to_owned),
            thread: thread.clone(),
            mentions: if system.is_some() {
                Mentions::default()
            } else {
                mentions
            },
            integration: None,
            bot: self.chance(30),
            groupable: !self.chance(30),
            discussion: self.chance(40).then(|| RoomId::new("room0")),
            has_files: self.chance(15),
            at,
        };
        self.messages.push(Message {
            id: id.clone(),
            room,
            sender: sender.clone(),
            key,
            at,
            system: system.is_some(),
            thread: thread.map(|thread| thread.parent),
            pinned: false,
            starred: BTreeSet::new(),
            reactions: BTreeSet::new(),
            followers: BTreeSet::new(),
            deleted: false,
            erased: false,
        });
        let content = Private::new(key, content);
        self.on_message(&id, &sender, MessageEvent::MessageSent { sent, content });
    }

    pub(super) fn say(&mut self) {
        if let Some((room, sender)) = self.place() {
            self.send(room, sender, None);
        }
    }

    pub(super) fn thread(&mut self, parent: MessageId, sender: &UserId) -> ThreadReply {
        let mut followers = vec![sender.clone()];
        while self.chance(3) {
            followers.push(self.one_of(&self.users.clone()));
        }
        followers.sort();
        followers.dedup();
        ThreadReply {
            parent,
            shown: self.chance(4),
            followers,
        }
    }

    pub(super) fn reply(&mut self) {
        if !self.settings.threads {
            return;
        }
        let Some((room, sender)) = self.place() else {
            return;
        };
        // A few heads get most of the replies; a place holder may be one.
        let heads: Vec<_> = self
            .messages
            .iter()
            .filter(|message| message.room == room && message.thread.is_none())
            .filter(|message| !message.erased)
            .map(|message| message.id.clone())
            .collect();
        let few = heads.len().min(4);
        if few > 0 {
            let head = self.one_of(&heads[heads.len() - few..]);
            let thread = self.thread(head, &sender);
            self.send(room, sender, Some(thread));
        }
    }

    /// A reply to what nobody has said yet: clients choose ids.
    pub(super) fn announce(&mut self) {
        let Some((room, sender)) = self.place().filter(|_| self.settings.threads) else {
            return;
        };
        let id = MessageId::new(format!("later{}", self.messages.len()));
        if self.chance(2) {
            self.announced.push(id.clone());
        }
        // Nobody follows what is not there.
        let thread = ThreadReply {
            followers: Vec::new(),
            ..self.thread(id, &sender)
        };
        self.send(room, sender, Some(thread));
    }
}
