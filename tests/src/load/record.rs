//! Compares what a room's history says with what was sent to it. Pure; the reading is done in
//! [`verify`](super::verify).

use std::collections::HashMap;
use std::fmt;

use super::manifest::Sent;
use super::rest::StoredMessage;

/// Something that is not as it was played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Lost {
        room: String,
        id: String,
        text: String,
    },
    Doubled {
        room: String,
        id: String,
    },
    Altered {
        room: String,
        id: String,
        sent: String,
        stored: String,
    },
    Author {
        room: String,
        id: String,
        sent: String,
        stored: String,
    },
    /// `first` was acknowledged before `second` was sent, and stands after it.
    Order {
        room: String,
        first: String,
        second: String,
    },
    /// Nobody sent this.
    Foreign {
        room: String,
        id: String,
        text: String,
    },
    NotMember {
        room: String,
        user: String,
    },
    Name {
        user: String,
        expected: String,
        found: String,
    },
    NotFound {
        room: String,
        word: String,
        id: String,
    },
    /// A search for a word that stands nowhere found something.
    FoundNothing {
        room: String,
        word: String,
        id: String,
    },
}

/// Compares one room: `sent` in any order, `stored` from the oldest on, without system messages.
///
/// Every acknowledged message has to be there once, with its text and author. Of two messages of
/// which one was acknowledged before the other was sent, the first has to stand before; that covers
/// each sender's messages (sent one by one) and, where the whole room was sent one by one, gives the
/// exact order.
pub fn compare(room: &str, sent: &[&Sent], stored: &[StoredMessage]) -> Vec<Difference> {
    let room = || room.to_owned();
    let expected: HashMap<&str, &Sent> = sent
        .iter()
        .map(|message| (message.id.as_str(), *message))
        .collect();
    let mut times_seen: HashMap<&str, usize> = HashMap::new();
    let mut latest_so_far: Option<&Sent> = None;
    let mut differences = Vec::new();
    for found in stored {
        let id = || found.id.clone();
        let Some(&message) = expected.get(found.id.as_str()) else {
            differences.push(Difference::Foreign {
                room: room(),
                id: id(),
                text: found.msg.clone(),
            });
            continue;
        };
        let times = times_seen.entry(&message.id).or_default();
        *times += 1;
        if *times > 1 {
            if *times == 2 {
                differences.push(Difference::Doubled {
                    room: room(),
                    id: id(),
                });
            }
            continue;
        }
        if found.msg != message.text {
            let (sent, stored) = (message.text.clone(), found.msg.clone());
            differences.push(Difference::Altered {
                room: room(),
                id: id(),
                sent,
                stored,
            });
        }
        if found.u.username != message.user {
            let (sent, stored) = (message.user.clone(), found.u.username.clone());
            differences.push(Difference::Author {
                room: room(),
                id: id(),
                sent,
                stored,
            });
        }
        if let (Some(latest), Some(acked)) = (latest_so_far, message.acked)
            && latest.sent > acked
        {
            differences.push(Difference::Order {
                room: room(),
                first: id(),
                second: latest.id.clone(),
            });
        }
        if latest_so_far.is_none_or(|latest| latest.sent < message.sent) {
            latest_so_far = Some(message);
        }
    }
    let lost = sent
        .iter()
        .filter(|message| message.acked.is_some() && !times_seen.contains_key(message.id.as_str()));
    differences.extend(lost.map(|message| Difference::Lost {
        room: room(),
        id: message.id.clone(),
        text: message.text.clone(),
    }));
    differences
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { room, id, text } => write!(f, "lost: {id} in {room}: {text:?}"),
            Self::Doubled { room, id } => write!(f, "there twice: {id} in {room}"),
            Self::Altered {
                room,
                id,
                sent,
                stored,
            } => {
                write!(
                    f,
                    "altered: {id} in {room} was sent as {sent:?} and is {stored:?}"
                )
            }
            Self::Author {
                room,
                id,
                sent,
                stored,
            } => {
                write!(
                    f,
                    "wrong author: {id} in {room} was sent by {sent} and is by {stored}"
                )
            }
            Self::Order {
                room,
                first,
                second,
            } => {
                write!(
                    f,
                    "out of order: in {room}, {first} was acknowledged before {second} was sent, and stands after it"
                )
            }
            Self::Foreign { room, id, text } => {
                write!(f, "sent by nobody: {id} in {room}: {text:?}")
            }
            Self::NotMember { room, user } => write!(f, "not a member: {user} joined {room}"),
            Self::Name {
                user,
                expected,
                found,
            } => write!(f, "wrong name: {user} is {found:?} instead of {expected:?}"),
            Self::NotFound { room, word, id } => {
                write!(f, "not found: {word:?} stands in {id} in {room}")
            }
            Self::FoundNothing { room, word, id } => {
                write!(
                    f,
                    "found by mistake: {word:?} stands nowhere, a search in {room} gives {id}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::rest::Author;

    /// Three messages: b is sent while a is on its way, c after both were acknowledged.
    fn sent() -> Vec<Sent> {
        [("a", 1, 3), ("b", 2, 4), ("c", 5, 6)]
            .map(|(id, sent, acked)| Sent {
                id: id.into(),
                room: "r".into(),
                user: format!("user-{id}"),
                text: format!("text {id}"),
                sent,
                acked: Some(acked),
            })
            .into()
    }

    fn stored(ids: &[&str]) -> Vec<StoredMessage> {
        ids.iter()
            .map(|id| StoredMessage {
                id: (*id).into(),
                msg: format!("text {id}"),
                ts: String::new(),
                u: Author {
                    username: format!("user-{id}"),
                },
                t: None,
            })
            .collect()
    }

    fn differences(sent: &[Sent], stored: &[StoredMessage]) -> Vec<Difference> {
        compare("r", &sent.iter().collect::<Vec<_>>(), stored)
    }

    #[test]
    fn messages_that_overlapped_may_stand_either_way() {
        assert_eq!(differences(&sent(), &stored(&["a", "b", "c"])), []);
        assert_eq!(differences(&sent(), &stored(&["b", "a", "c"])), []);
    }

    #[test]
    fn a_swap_of_messages_that_did_not_overlap_is_seen() {
        let order = |first: &str| Difference::Order {
            room: "r".into(),
            first: first.into(),
            second: "c".into(),
        };
        assert_eq!(
            differences(&sent(), &stored(&["a", "c", "b"])),
            [order("b")]
        );
        assert_eq!(
            differences(&sent(), &stored(&["c", "a", "b"])),
            [order("a"), order("b")]
        );
    }

    #[test]
    fn a_lost_message_is_seen_and_one_never_acknowledged_may_be_missing() {
        let lost = Difference::Lost {
            room: "r".into(),
            id: "b".into(),
            text: "text b".into(),
        };
        assert_eq!(differences(&sent(), &stored(&["a", "c"])), [lost]);
        let mut unsure = sent();
        unsure[1].acked = None;
        assert_eq!(differences(&unsure, &stored(&["a", "c"])), []);
        assert_eq!(differences(&unsure, &stored(&["a", "c", "b"])), []);
    }

    #[test]
    fn a_doubled_message_is_seen() {
        let doubled = Difference::Doubled {
            room: "r".into(),
            id: "a".into(),
        };
        assert_eq!(
            differences(&sent(), &stored(&["a", "a", "b", "c", "a"])),
            [doubled]
        );
    }

    #[test]
    fn an_altered_text_or_author_is_seen() {
        let mut history = stored(&["a", "b", "c"]);
        history[1].msg.push(' ');
        history[2].u.username = "user-a".into();
        let altered = Difference::Altered {
            room: "r".into(),
            id: "b".into(),
            sent: "text b".into(),
            stored: "text b ".into(),
        };
        let author = Difference::Author {
            room: "r".into(),
            id: "c".into(),
            sent: "user-c".into(),
            stored: "user-a".into(),
        };
        assert_eq!(differences(&sent(), &history), [altered, author]);
    }

    #[test]
    fn a_message_that_nobody_sent_is_seen() {
        let foreign = Difference::Foreign {
            room: "r".into(),
            id: "x".into(),
            text: "text x".into(),
        };
        assert_eq!(
            differences(&sent(), &stored(&["a", "x", "b", "c"])),
            [foreign]
        );
    }
}
