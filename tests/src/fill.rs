//! Fills the log of a stopped server with a workspace of any size: accounts, rooms, memberships and
//! messages, years of them.
//!
//! It writes into the log itself, through the journal, so all of it is sealed and stored as the
//! server would have done it; what it leaves out is deciding, which for twenty million events would
//! take hours. Where a server records an event for each member of a room, members that a room began
//! with stand in the event of its creation, which the server does as well. The views are not made:
//! the server builds them when it starts.

use std::path::Path;
use std::sync::Arc;

use hansard_domain::account::{AccountEvent, AccountKind, Email, Profile, Registration};
use hansard_domain::claim::{ClaimEvent, Namespace, claim_key};
use hansard_domain::event::{Event, Origin};
use hansard_domain::id::{
    Clock, Ids, MessageId, RandomIds, RoomId, SystemClock, Timestamp, UserId,
};
use hansard_domain::journal::{Context, Draft, Journal, JournalError, Proposal};
use hansard_domain::log::{Actor, StreamId, Version};
use hansard_domain::message::{Content, Mentions, MessageEvent, Sent};
use hansard_domain::room::{Entry, RoomDetails, RoomEvent, RoomKind, RoomSwitches};
use hansard_domain::seal::Private;
use hansard_domain::vault::{DataKey, KeyId, VaultError};
use hansard_infra::data_dir::{DataDir, DataDirError};
use hansard_infra::log::sqlite::{OpenError, SqliteLog};
use hansard_infra::vault::master_key::{MasterKey, MasterKeyError};
use hansard_infra::vault::sqlite::SqliteVault;

use crate::load::dice::Dice;
use crate::load::progress::Progress;

/// Proposals that are written together.
const BATCH: usize = 2_000;

/// How long ago the first event happened.
const YEARS: i64 = 5;
const YEAR: i64 = 365 * 24 * 60 * 60 * 1_000;

const FIRST_NAMES: [&str; 16] = [
    "Anna", "Ben", "Clara", "David", "Elif", "Finn", "Grete", "Hasan", "Ida", "Jonas", "Klara",
    "Luca", "Mia", "Noah", "Olga", "Paul",
];
const LAST_NAMES: [&str; 16] = [
    "Albrecht", "Bauer", "Celik", "Diaz", "Ebert", "Fischer", "Graf", "Huber", "Ivanova", "Jung",
    "Koch", "Lange", "Meyer", "Nguyen", "Otto", "Peters",
];
const SUBJECTS: [&str; 12] = [
    "analysis",
    "botany",
    "chemistry",
    "didactics",
    "ethics",
    "finance",
    "geology",
    "history",
    "informatics",
    "law",
    "music",
    "statistics",
];

/// What is to be there, besides what is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub accounts: usize,
    pub rooms: usize,
    /// All accounts are in the room that everybody is in; the others are spread over the rooms.
    pub memberships: usize,
    pub messages: usize,
    pub seed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum FillError {
    #[error(
        "{0} has no log: start the server once on this directory, and stop it; that makes the \
         administrator and the keys"
    )]
    NoLog(String),
    #[error("{0}")]
    Plan(&'static str),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error(transparent)]
    Master(#[from] MasterKeyError),
    #[error(transparent)]
    Keys(#[from] VaultError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What was written.
#[derive(Debug, Default)]
pub struct Filled {
    pub events: u64,
    pub memberships: usize,
}

/// Fills the log in a data directory whose server is stopped.
pub async fn fill(directory: &Path, plan: Plan, texts: &[&str]) -> Result<Filled, FillError> {
    if plan.accounts == 0 || texts.is_empty() {
        return Err(FillError::Plan(
            "there must be accounts, and something to say",
        ));
    }
    if plan.memberships < plan.accounts + plan.rooms {
        return Err(FillError::Plan(
            "everybody is in one room, and every room has somebody: ask for more memberships",
        ));
    }
    let data = DataDir::open(directory)?;
    if !data.log().exists() {
        return Err(FillError::NoLog(directory.display().to_string()));
    }
    let log = SqliteLog::open(data.log()).await?;
    let master = MasterKey::load_or_create(data.master_key())?;
    let vault = SqliteVault::open(data.vault(), master).await?;
    let journal = Journal::open(Arc::new(log), Arc::new(vault)).await?;
    let claims = journal.keys().secret("claims").await?;
    let now = SystemClock.now().0;
    let mut filling = Filling {
        journal: &journal,
        claims,
        dice: Dice::new(plan.seed),
        plan,
        general: Version(0),
        begin: now - YEARS * YEAR,
        end: now,
        waiting: Vec::with_capacity(BATCH),
        filled: Filled::default(),
        accounts: Vec::with_capacity(plan.accounts),
    };
    filling.find_general().await?;
    filling.accounts().await?;
    let rooms = filling.rooms().await?;
    filling.messages(&rooms, texts).await?;
    Ok(filling.filled)
}

/// A room to say something in.
struct Made {
    id: RoomId,
    members: Members,
}

/// Some of the accounts, by their numbers: each so many after the one before.
#[derive(Clone, Copy)]
struct Members {
    first: usize,
    step: usize,
    count: usize,
}

impl Members {
    fn number(&self, index: usize, accounts: usize) -> usize {
        (self.first + index * self.step) % accounts
    }
}

struct Filling<'a> {
    journal: &'a Journal,
    claims: DataKey,
    dice: Dice,
    plan: Plan,
    /// The version of the stream of the room that everybody is in.
    general: Version,
    begin: i64,
    end: i64,
    waiting: Vec<Proposal>,
    filled: Filled,
    accounts: Vec<(UserId, KeyId)>,
}

impl Filling<'_> {
    async fn find_general(&mut self) -> Result<(), FillError> {
        let stream = StreamId::new("room", "GENERAL");
        let entries = self.journal.stream(&stream, Version::NONE).await?;
        if let Some(last) = entries.last() {
            self.general = last.version;
            // Times never fall along the log: what comes now comes after what is there.
            self.begin = self.begin.max(last.at.0);
        }
        Ok(())
    }

    /// When the event happens that stands at this part of the whole.
    fn time(&self, part: f64) -> Timestamp {
        Timestamp(self.begin + ((self.end - self.begin) as f64 * part) as i64)
    }

    fn key(&self) -> Result<KeyId, FillError> {
        let key = self.journal.keys().fresh();
        key.ok_or(FillError::Plan("no data keys are left"))
    }

    async fn write(
        &mut self,
        drafts: Vec<Draft>,
        at: Timestamp,
        by: Option<usize>,
    ) -> Result<(), FillError> {
        self.filled.events += drafts
            .iter()
            .map(|draft| draft.events.len() as u64)
            .sum::<u64>();
        let (actor, origin) = match by {
            None => (Actor::System, None),
            Some(number) => {
                let (id, key) = &self.accounts[number];
                let origin = Origin {
                    address: format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
                    user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126 Safari/537.36"
                        .to_owned(),
                };
                (Actor::User(id.clone()), Some(Private::new(*key, origin)))
            }
        };
        let correlation = origin.is_some().then(|| RandomIds.id(at));
        self.waiting.push(Proposal {
            drafts,
            context: Context {
                at,
                clock: None,
                actor,
                correlation,
                causation: None,
                origin,
            },
        });
        if self.waiting.len() >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), FillError> {
        let proposals = std::mem::replace(&mut self.waiting, Vec::with_capacity(BATCH));
        for outcome in self.journal.append(None, proposals).await? {
            if outcome.is_err() {
                return Err(FillError::Plan(
                    "a stream is there already: use a fresh data directory",
                ));
            }
        }
        self.journal.keys().reserve(BATCH * 2).await?;
        Ok(())
    }

    fn claim(&self, namespace: Namespace, name: &str, owner: &str, at: Timestamp) -> Draft {
        let event = ClaimEvent::NameClaimed {
            owner: owner.to_owned(),
        };
        draft(
            "name",
            &claim_key(&self.claims, namespace, name).to_string(),
            Version::NONE,
            at,
            [event.into()],
        )
    }

    async fn accounts(&mut self) -> Result<(), FillError> {
        let progress = Progress::new("accounts", self.plan.accounts as u64);
        self.flush().await?;
        for number in 0..self.plan.accounts {
            // A tenth of the time, as if most had come in the beginning.
            let at = self.time(0.1 * number as f64 / self.plan.accounts as f64);
            let first = *self.dice.pick(&FIRST_NAMES);
            let last = *self.dice.pick(&LAST_NAMES);
            let username = format!("{}.{}{number}", first.to_lowercase(), last.to_lowercase());
            let address = format!("{username}@students.example.org");
            let id = UserId::new(RandomIds.id(at));
            let key = self.key()?;
            let claims = [
                self.claim(Namespace::Username, &username, id.as_str(), at),
                self.claim(Namespace::Email, &address, id.as_str(), at),
            ];
            let registered = AccountEvent::UserRegistered {
                how: Registration::Bootstrap,
                kind: AccountKind::User,
                roles: vec!["user".into()],
                active: true,
                reason: None,
                password_change_required: false,
                profile: Private::new(
                    key,
                    Profile {
                        username,
                        name: Some(format!("{first} {last}")),
                        emails: vec![Email {
                            address,
                            verified: true,
                        }],
                        ..Profile::default()
                    },
                ),
                password: None,
                at,
            };
            let joined = RoomEvent::MemberJoined {
                user: id.clone(),
                entry: Entry::Assigned,
                at,
            };
            let mut drafts = claims.to_vec();
            drafts.push(draft(
                "account",
                id.as_str(),
                Version::NONE,
                at,
                [registered.into()],
            ));
            drafts.push(draft("room", "GENERAL", self.general, at, [joined.into()]));
            self.general = self.general.next();
            self.accounts.push((id, key));
            self.write(drafts, at, None).await?;
            progress.advance();
        }
        self.filled.memberships += self.plan.accounts;
        self.flush().await?;
        progress.finish();
        Ok(())
    }

    /// Makes rooms of very different sizes, as they are: few are large, most are small.
    async fn rooms(&mut self) -> Result<Vec<Made>, FillError> {
        let (rooms, accounts) = (self.plan.rooms, self.plan.accounts);
        let spread = self.plan.memberships - accounts;
        let weight = |rank: usize| 1.0 / (rank as f64 + 10.0).powf(0.6);
        let whole: f64 = (0..rooms).map(weight).sum();
        let progress = Progress::new("rooms", rooms as u64);
        let mut made = Vec::with_capacity(rooms);
        for rank in 0..rooms {
            let at = self.time(0.1 + 0.05 * rank as f64 / rooms as f64);
            let wanted = (spread as f64 * weight(rank) / whole).round() as usize;
            let members = Members {
                first: self.dice.below(accounts),
                step: stride(self.dice.below(accounts), accounts),
                count: wanted.clamp(1, accounts),
            };
            let id = RoomId::new(RandomIds.id(at));
            let key = self.key()?;
            let subject = *self.dice.pick(&SUBJECTS);
            let name = format!("{subject}-{rank}");
            let people = (0..members.count)
                .map(|index| self.accounts[members.number(index, accounts)].0.clone());
            let mut people = people;
            let creator = people.next();
            let created = RoomEvent::RoomCreated {
                kind: if rank % 3 == 2 {
                    RoomKind::Group
                } else {
                    RoomKind::Channel
                },
                creator,
                members: people.collect(),
                switches: RoomSwitches::default(),
                parent: None,
                details: Private::new(
                    key,
                    RoomDetails {
                        name: name.clone(),
                        fname: name.clone(),
                        topic: Some(format!("Everything about {subject}")),
                        ..RoomDetails::default()
                    },
                ),
                at,
            };
            let drafts = vec![
                self.claim(Namespace::Room, &name, id.as_str(), at),
                draft("room", id.as_str(), Version::NONE, at, [created.into()]),
            ];
            self.write(drafts, at, Some(members.first)).await?;
            self.filled.memberships += members.count;
            made.push(Made { id, members });
            progress.advance();
        }
        self.flush().await?;
        progress.finish();
        Ok(made)
    }

    /// Most is said in few rooms.
    async fn messages(&mut self, rooms: &[Made], texts: &[&str]) -> Result<(), FillError> {
        let messages = if rooms.is_empty() {
            0
        } else {
            self.plan.messages
        };
        let progress = Progress::new("messages", messages as u64);
        for number in 0..messages {
            let at = self.time(0.15 + 0.85 * number as f64 / messages as f64);
            let part = self.dice.below(1 << 20) as f64 / f64::from(1 << 20);
            let room = &rooms[((rooms.len() as f64) * part.powi(3)) as usize];
            let (id, members) = (room.id.clone(), room.members);
            let index = self.dice.below(members.count);
            let sender = members.number(index, self.plan.accounts);
            let sent = MessageEvent::MessageSent {
                sent: Sent {
                    room: id,
                    sender: self.accounts[sender].0.clone(),
                    system: None,
                    thread: None,
                    mentions: Mentions::default(),
                    integration: None,
                    bot: false,
                    groupable: true,
                    discussion: None,
                    has_files: false,
                    at,
                },
                content: Private::new(
                    self.key()?,
                    Content {
                        text: (*self.dice.pick(texts)).to_owned(),
                        ..Content::default()
                    },
                ),
            };
            let message = MessageId::new(RandomIds.id(at));
            let drafts = vec![draft(
                "message",
                message.as_str(),
                Version::NONE,
                at,
                [sent.into()],
            )];
            self.write(drafts, at, Some(sender)).await?;
            progress.advance();
        }
        self.flush().await?;
        progress.finish();
        Ok(())
    }
}

fn draft<const N: usize>(
    category: &str,
    id: &str,
    expected: Version,
    at: Timestamp,
    events: [Event; N],
) -> Draft {
    Draft {
        stream: StreamId::new(category, id),
        expected,
        events: events.map(|event| (RandomIds.event_id(at), event)).to_vec(),
    }
}

/// A step that meets every account once before it comes round: one that has no divisor in common with
/// their number.
fn stride(from: usize, accounts: usize) -> usize {
    let common = |mut one: usize, mut other: usize| {
        while other != 0 {
            (one, other) = (other, one % other);
        }
        one
    };
    (from.max(1)..=usize::MAX)
        .find(|step| common(*step, accounts) == 1)
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_room_are_different_people() {
        for accounts in [1, 7, 100, 1_024] {
            let members = Members {
                first: 5 % accounts,
                step: stride(accounts / 3, accounts),
                count: accounts,
            };
            let numbers: std::collections::BTreeSet<_> = (0..accounts)
                .map(|index| members.number(index, accounts))
                .collect();
            assert_eq!(numbers.len(), accounts);
        }
    }
}
