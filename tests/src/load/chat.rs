//! A chat as steps to play: who joins where, who says what, who is called what from then on.
//!
//! Where its lines come from is told elsewhere: [`archive`](super::archive), [`seeded`](super::seeded).

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::irc::Line;

/// The lines of one room, in order.
#[derive(Debug)]
pub struct Scene {
    pub room: String,
    pub lines: Vec<Line>,
}

/// One thing that somebody does. Rooms and users are indexes into [`Chat::rooms`], [`Chat::nicks`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Join {
        room: usize,
        user: usize,
    },
    Message {
        room: usize,
        user: usize,
        /// Which message of the whole chat it is, from 0.
        number: usize,
        text: String,
    },
    Rename {
        room: usize,
        user: usize,
        name: String,
    },
}

/// A chat to play.
#[derive(Debug, Default)]
pub struct Chat {
    pub rooms: Vec<String>,
    /// Everybody who says or does something, in order of appearance.
    pub nicks: Vec<String>,
    pub steps: Vec<Step>,
    pub summary: Summary,
}

/// What became of the lines.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    pub messages: usize,
    pub actions: usize,
    pub joins_by_line: usize,
    pub joins_by_first_message: usize,
    pub renames: usize,
    /// Join lines of people who are in the room already (leaving is not played).
    pub joined_already: usize,
    /// Joins and renames of nicks that never say anything: they have no user.
    pub silent: usize,
    /// Renames to a nick that is, or is at that time, somebody else's.
    pub renames_taken: usize,
    pub not_played: usize,
}

impl Chat {
    /// Turns lines into steps.
    ///
    /// Every nick that speaks is a user of its own, and joins a room by its first join line or else
    /// right before its first message there. A rename changes what the user is called.
    pub fn compose(scenes: Vec<Scene>) -> Self {
        let (nicks, users) = speakers(&scenes);
        let mut chat = Self {
            nicks,
            ..Self::default()
        };
        let mut inside: HashSet<(usize, usize)> = HashSet::new();
        let mut names = Names {
            users: &users,
            borrowed: HashMap::new(),
        };
        for (room, scene) in scenes.into_iter().enumerate() {
            chat.rooms.push(scene.room);
            for line in scene.lines {
                match line {
                    Line::Said { nick, text } => {
                        chat.summary.messages += 1;
                        chat.speak(&mut inside, room, users[&nick], text);
                    }
                    Line::Acted { nick, text } => {
                        chat.summary.actions += 1;
                        chat.speak(&mut inside, room, users[&nick], format!("_{text}_"));
                    }
                    Line::Joined { nick } => match names.holder(&nick) {
                        None => chat.summary.silent += 1,
                        Some(user) if !inside.insert((room, user)) => {
                            chat.summary.joined_already += 1;
                        }
                        Some(user) => {
                            chat.summary.joins_by_line += 1;
                            chat.steps.push(Step::Join { room, user });
                        }
                    },
                    Line::Renamed { from, to } => match names.rename(&from, &to) {
                        Renamed::Nobody => chat.summary.silent += 1,
                        Renamed::Taken => chat.summary.renames_taken += 1,
                        Renamed::User(user) => {
                            chat.summary.renames += 1;
                            chat.steps.push(Step::Rename {
                                room,
                                user,
                                name: to,
                            });
                        }
                    },
                    Line::Other => chat.summary.not_played += 1,
                }
            }
        }
        chat
    }

    fn speak(
        &mut self,
        inside: &mut HashSet<(usize, usize)>,
        room: usize,
        user: usize,
        text: String,
    ) {
        if inside.insert((room, user)) {
            self.summary.joins_by_first_message += 1;
            self.steps.push(Step::Join { room, user });
        }
        let number = self.summary.messages + self.summary.actions - 1;
        self.steps.push(Step::Message {
            room,
            user,
            number,
            text,
        });
    }

    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Message { text, .. } => Some(text.as_str()),
            _ => None,
        })
    }

    /// The same chat with at most `limit` messages, spread evenly over the rooms (of each its
    /// beginning), and with the people who have something to say in it.
    #[must_use]
    pub fn limited_to(self, limit: usize) -> Self {
        let rooms = self.rooms.len().max(1);
        let mut left: Vec<usize> = (0..rooms)
            .map(|room| limit / rooms + usize::from(room < limit % rooms))
            .collect();
        let mut kept = Self {
            rooms: self.rooms,
            ..Self::default()
        };
        let mut users: HashMap<usize, usize> = HashMap::new();
        let mut steps = Vec::new();
        for step in self.steps {
            let (Step::Join { room, user }
            | Step::Message { room, user, .. }
            | Step::Rename { room, user, .. }) = &step;
            if left[*room] == 0 {
                continue;
            }
            if let Step::Message { .. } = step {
                left[*room] -= 1;
                users.entry(*user).or_insert_with(|| {
                    kept.nicks.push(self.nicks[*user].clone());
                    kept.nicks.len() - 1
                });
            }
            steps.push(step);
        }
        for step in &mut steps {
            let (Step::Join { user, .. } | Step::Message { user, .. } | Step::Rename { user, .. }) =
                step;
            let Some(&new) = users.get(user) else {
                kept.summary.silent += 1;
                continue;
            };
            *user = new;
            match step {
                Step::Join { .. } => kept.summary.joins_by_line += 1,
                Step::Message { .. } => kept.summary.messages += 1,
                Step::Rename { .. } => kept.summary.renames += 1,
            }
            kept.steps.push(step.clone());
        }
        kept
    }
}

fn speakers(scenes: &[Scene]) -> (Vec<String>, HashMap<String, usize>) {
    let mut nicks = Vec::new();
    let mut users = HashMap::new();
    for line in scenes.iter().flat_map(|scene| &scene.lines) {
        if let Line::Said { nick, .. } | Line::Acted { nick, .. } = line
            && !users.contains_key(nick)
        {
            users.insert(nick.clone(), nicks.len());
            nicks.push(nick.clone());
        }
    }
    (nicks, users)
}

/// Who goes by which name at a moment.
struct Names<'a> {
    users: &'a HashMap<String, usize>,
    /// Names that are no speaker's nick, and who carries them.
    borrowed: HashMap<String, usize>,
}

enum Renamed {
    User(usize),
    Nobody,
    Taken,
}

impl Names<'_> {
    fn holder(&self, name: &str) -> Option<usize> {
        self.users
            .get(name)
            .or_else(|| self.borrowed.get(name))
            .copied()
    }

    fn rename(&mut self, from: &str, to: &str) -> Renamed {
        let Some(user) = self.holder(from) else {
            return Renamed::Nobody;
        };
        if self.holder(to).is_some_and(|holder| holder != user) {
            return Renamed::Taken;
        }
        self.borrowed.retain(|_, holder| *holder != user);
        if !self.users.contains_key(to) {
            self.borrowed.insert(to.to_owned(), user);
        }
        Renamed::User(user)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages and {} actions; {} joins by a join line, {} by a first message; {} renames. Not played: {} joins of \
             people already there, {} renames to a taken nick, {} joins and renames of people who say nothing, {} other lines",
            self.messages,
            self.actions,
            self.joins_by_line,
            self.joins_by_first_message,
            self.renames,
            self.joined_already,
            self.renames_taken,
            self.silent,
            self.not_played,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(lines: &[&str]) -> Chat {
        Chat::compose(vec![Scene {
            room: "r".into(),
            lines: lines.iter().map(|line| Line::read(line)).collect(),
        }])
    }

    fn join(user: usize) -> Step {
        Step::Join { room: 0, user }
    }

    fn message(number: usize, user: usize, text: &str) -> Step {
        Step::Message {
            room: 0,
            user,
            number,
            text: text.into(),
        }
    }

    fn rename(user: usize, name: &str) -> Step {
        Step::Rename {
            room: 0,
            user,
            name: name.into(),
        }
    }

    #[test]
    fn a_user_joins_once_by_the_join_line_or_before_the_first_message() {
        let chat = chat(&[
            "=== b [h]  has joined #ubuntu",
            "[00:01] <a> hi",
            "=== a [h]  has joined #ubuntu",
            "[00:02] <b> ho",
            "=== mute [h]  has joined #ubuntu",
        ]);
        assert_eq!(chat.nicks, ["a", "b"]);
        assert_eq!(
            chat.steps,
            [join(1), join(0), message(0, 0, "hi"), message(1, 1, "ho")]
        );
        assert_eq!((chat.summary.joined_already, chat.summary.silent), (1, 1));
    }

    #[test]
    fn a_rename_is_skipped_where_the_nick_is_somebody_elses() {
        let chat = chat(&[
            "[00:01] <a> x",
            "[00:01] <b> y",
            "=== a is now known as b",
            "=== a is now known as a|away",
            "=== b is now known as a|away",
            "=== a|away is now known as a",
            "=== mute is now known as silent",
        ]);
        assert_eq!(chat.steps[4..], [rename(0, "a|away"), rename(0, "a")]);
        assert_eq!((chat.summary.renames_taken, chat.summary.silent), (2, 1));
    }

    #[test]
    fn a_limit_takes_the_beginning_of_every_room_and_only_its_people() {
        let lines = |lines: &[&str]| lines.iter().map(|line| Line::read(line)).collect();
        let scenes = vec![
            Scene {
                room: "one".into(),
                lines: lines(&["[00:01] <a> 1", "[00:01] <b> 2"]),
            },
            Scene {
                room: "two".into(),
                lines: lines(&["[00:01] <c> 3", "[00:01] <a> 4"]),
            },
        ];
        let chat = Chat::compose(scenes).limited_to(2);
        assert_eq!(chat.nicks, ["a", "c"]);
        assert_eq!(chat.messages().collect::<Vec<_>>(), ["1", "3"]);
        assert!(chat.steps.contains(&Step::Join { room: 1, user: 1 }));
    }
}
