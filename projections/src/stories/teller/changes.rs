//! What happens to what was said.

use super::said::named;
use super::*;

impl Teller {
    /// A message whose stream is still open, the place of it in the list, and somebody.
    pub(super) fn some_message(&mut self) -> Option<(usize, UserId)> {
        let open: Vec<usize> = (0..self.messages.len())
            .filter(|place| {
                let message = &self.messages[*place];
                let live = !self.rooms[&message.room].deleted;
                live && !message.deleted && !message.erased
            })
            .collect();
        // Mostly what was said lately.
        let few = open.len().min(40);
        let lately = &open[open.len() - few..];
        let place = if self.chance(5) {
            *open.choose(&mut self.dice)?
        } else {
            *lately.choose(&mut self.dice)?
        };
        Some((place, self.one_of(&self.users.clone())))
    }

    pub(super) fn edit(&mut self) {
        let Some((place, user)) = self.some_message() else {
            return;
        };
        if self.messages[place].system {
            return;
        }
        let (mut content, mentions, at) = (self.content(), self.mentions(), self.now);
        content.mentions = named(&mentions);
        let message = &self.messages[place];
        let (id, room) = (message.id.clone(), message.room.clone());
        let content = Private::new(message.key, content);
        let event = MessageEvent::MessageEdited {
            room,
            editor: user.clone(),
            mentions,
            content,
            at,
        };
        self.on_message(&id, &user, event);
    }

    pub(super) fn delete(&mut self) {
        let Some((place, user)) = self.some_message() else {
            return;
        };
        self.delete_at(place, &user);
    }

    pub(super) fn delete_at(&mut self, place: usize, user: &UserId) {
        let id = self.messages[place].id.clone();
        let has_replies = self
            .messages
            .iter()
            .any(|reply| reply.thread.as_ref() == Some(&id) && !reply.deleted && !reply.erased);
        let Settings {
            show_deleted,
            keep_history,
            ..
        } = self.settings;
        // Now and then the one who asked did not know of a reply.
        let show_deleted = show_deleted || (has_replies && !self.chance(10));
        let message = &mut self.messages[place];
        message.deleted = true;
        message.erased |= !keep_history;
        let event = MessageEvent::MessageDeleted {
            room: message.room.clone(),
            by: user.clone(),
            erased: (!keep_history).then_some(message.key),
            show_deleted,
            at: self.now,
        };
        self.on_message(&id, user, event);
    }

    pub(super) fn react(&mut self) {
        let Some((place, user)) = self.some_message() else {
            return;
        };
        let reaction = self.one_of(&REACTIONS).to_owned();
        let message = &mut self.messages[place];
        let (id, room, key) = (message.id.clone(), message.room.clone(), message.key);
        let given = (reaction.clone(), user.clone());
        let event = if message.reactions.remove(&given) {
            MessageEvent::ReactionRemoved {
                room,
                user: user.clone(),
                reaction: Private::new(key, reaction),
            }
        } else {
            message.reactions.insert(given);
            MessageEvent::ReactionAdded {
                room,
                user: user.clone(),
                reaction: Private::new(key, reaction),
            }
        };
        self.on_message(&id, &user, event);
    }

    pub(super) fn pin(&mut self) {
        let Some((place, user)) = self.some_message() else {
            return;
        };
        let at = self.now;
        let message = &mut self.messages[place];
        message.pinned = !message.pinned;
        let (id, room, by) = (message.id.clone(), message.room.clone(), user.clone());
        let event = if message.pinned {
            MessageEvent::MessagePinned { room, by, at }
        } else {
            MessageEvent::MessageUnpinned { room, by }
        };
        self.on_message(&id, &user, event);
    }

    pub(super) fn star(&mut self) {
        let Some((place, user)) = self.some_message() else {
            return;
        };
        let message = &mut self.messages[place];
        let (id, room) = (message.id.clone(), message.room.clone());
        let event = if message.starred.remove(&user) {
            MessageEvent::MessageUnstarred {
                room,
                user: user.clone(),
            }
        } else {
            message.starred.insert(user.clone());
            MessageEvent::MessageStarred {
                room,
                user: user.clone(),
            }
        };
        self.on_message(&id, &user, event);
    }

    pub(super) fn follow(&mut self) {
        let Some((place, user)) = self.some_message() else {
            return;
        };
        let stops = self.chance(2);
        let message = &mut self.messages[place];
        let (id, room) = (message.id.clone(), message.room.clone());
        let event = if stops {
            message.followers.remove(&user);
            MessageEvent::ThreadUnfollowed {
                room,
                user: user.clone(),
            }
        } else if message.followers.insert(user.clone()) {
            MessageEvent::ThreadFollowed {
                room,
                user: user.clone(),
            }
        } else {
            return;
        };
        self.on_message(&id, &user, event);
    }

    pub(super) fn prune(&mut self) {
        let Some((room, _)) = self.place() else {
            return;
        };
        let (oldest, most) = (self.dice.random_bool(0.5), self.dice.random_range(1..30));
        let mut found: Vec<usize> = (0..self.messages.len())
            .filter(|place| {
                let message = &self.messages[*place];
                // Place holders go, too, whether their text is gone already or not.
                message.room == room && (!message.erased || message.deleted)
            })
            .collect();
        found.sort_by_key(|place| self.messages[*place].at);
        if !oldest {
            found.reverse();
        }
        found.truncate(most);
        self.name_in_prune(&room, &found);
    }

    pub(super) fn name_in_prune(&mut self, room: &RoomId, found: &[usize]) {
        let mut pruned = Vec::new();
        for place in found {
            let message = &mut self.messages[*place];
            message.erased = true;
            pruned.push(Pruned {
                message: message.id.clone(),
                key: message.key,
            });
        }
        if pruned.is_empty() {
            return;
        }
        let reason = self.one_of(&[PruneReason::Requested, PruneReason::Retention]);
        let criteria = PruneCriteria::default();
        self.on_room(
            room,
            RoomEvent::ChannelPruned {
                reason,
                criteria,
                pruned,
            },
        );
    }

    /// What happens when two do something at once.
    pub(super) fn race(&mut self) {
        let Some((room, user)) = self.place() else {
            return;
        };
        match self.dice.random_range(0..5) {
            // Two prunes name the same message, or one names what a person deleted meanwhile.
            0 => {
                let found: Vec<usize> = (0..self.messages.len())
                    .filter(|place| self.messages[*place].room == room)
                    .collect();
                let few = found.len().min(3);
                self.name_in_prune(&room, &found[found.len() - few..]);
            }
            // Something happens to a message that a prune named a moment ago.
            1 => {
                let pruned: Vec<usize> = (0..self.messages.len())
                    .filter(|place| {
                        let message = &self.messages[*place];
                        message.erased && !message.deleted
                    })
                    .collect();
                if let Some(place) = pruned.choose(&mut self.dice).copied() {
                    let (id, room) = {
                        let message = &self.messages[place];
                        (message.id.clone(), message.room.clone())
                    };
                    if self.chance(2) {
                        self.delete_at(place, &user);
                    } else {
                        let event = MessageEvent::MessageStarred {
                            room,
                            user: user.clone(),
                        };
                        self.messages[place].starred.insert(user.clone());
                        self.on_message(&id, &user, event);
                    }
                }
            }
            // A reply to a message that is gone.
            2 => {
                let gone: Vec<MessageId> = self
                    .messages
                    .iter()
                    .filter(|message| message.room == room && message.erased)
                    .map(|message| message.id.clone())
                    .collect();
                if let Some(parent) = gone.choose(&mut self.dice).cloned() {
                    let thread = self.thread(parent, &user);
                    self.send(room, user, Some(thread));
                }
            }
            // Another node lets a message through into a room that is gone.
            3 => {
                let gone = self.rooms.iter().filter(|(_, room)| room.deleted);
                let gone: Vec<RoomId> = gone.map(|(id, _)| id.clone()).collect();
                if let Some(room) = gone.choose(&mut self.dice).cloned() {
                    self.send(room.clone(), user, None);
                    if self.chance(2) {
                        self.erase(move |message| message.room == room && !message.erased);
                    }
                }
            }
            // A crowd in one moment.
            _ => {
                for _ in 0..self.dice.random_range(2..8) {
                    let now = self.now;
                    self.send(room.clone(), user.clone(), None);
                    self.now = now;
                }
            }
        }
    }

    /// What the eraser does after a room or an account is deleted.
    pub(super) fn erase(&mut self, which: impl Fn(&Message) -> bool) {
        let mut by_room: BTreeMap<RoomId, Vec<Pruned>> = BTreeMap::new();
        for message in self.messages.iter_mut().filter(|message| which(message)) {
            message.erased = true;
            by_room
                .entry(message.room.clone())
                .or_default()
                .push(Pruned {
                    message: message.id.clone(),
                    key: message.key,
                });
        }
        for (room, pruned) in by_room {
            let (reason, criteria) = (PruneReason::Deletion, PruneCriteria::default());
            self.on_room(
                &room,
                RoomEvent::ChannelPruned {
                    reason,
                    criteria,
                    pruned,
                },
            );
        }
    }
}
