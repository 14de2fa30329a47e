//! Answers that are kept in memory: what a view was asked and has answered, until something touches what
//! the answer is about.
//!
//! Each batch that is taken in has a number. It says what it touched before its position is announced, so
//! whoever waited for that position meets no answer from before it. An answer has the number of the last
//! batch before its statements began, and holds as long as nothing that it is about was touched after that:
//! a batch that is committed while the statements run spoils the answer, never the other way round.
//!
//! What was touched is kept as the last number for each of [`SUBJECTS`] hashes. Two rooms with the same hash
//! spoil one another's answers, and nothing else.

use std::any::Any;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hansard_domain::account::AccountEvent;
use hansard_domain::event::{Entry, Event};
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::room::RoomEvent;
use moka::sync::Cache;
use serde_json::{Map, Value};

use crate::generation::erases;

/// Of each view.
const SUBJECTS: usize = 1 << 14;

/// An answer that takes more than one in so many of all bytes is not kept.
const PART: u64 = 64;

/// What an answer takes beside its own bytes and its question's: about what the map needs for it.
const ENTRY_BYTES: usize = 200;

/// The answers of all views, bounded in bytes.
pub struct Answers {
    /// Replaced as a whole where all are forgotten: so nothing of them stays.
    kept: ArcSwap<Cache<Question, Kept>>,
    /// All of them take so many bytes at most; none are kept where that is 0.
    most: u64,
}

/// What was asked of a view: the name of its tables, and the query with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub view: &'static str,
    pub asked: Arc<str>,
    /// Whose answer it is, where it is not the same for everybody.
    pub viewer: Option<UserId>,
}

#[derive(Clone)]
struct Kept {
    answer: Arc<dyn Any + Send + Sync>,
    /// The hashes of what it is about.
    about: Arc<[u16]>,
    /// The last batch before its statements began.
    after: u64,
    bytes: usize,
}

/// An answer, and what it is about: as long as no event touches that, it is the same.
pub(crate) struct Answer<T> {
    pub value: T,
    /// It is the viewer's alone.
    pub own: bool,
    /// How much memory it takes, about.
    pub bytes: usize,
    pub about: Vec<Subject>,
}

/// What events touch and answers are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Room(RoomId),
    Account(UserId),
    /// By its key; see [`hansard_domain::subscription::Subscription::key`].
    Subscription(String),
}

impl Answers {
    /// Keeps so many bytes at most; none where that is 0.
    pub fn new(most: u64) -> Arc<Self> {
        let kept = ArcSwap::from_pointee(empty(most));
        Arc::new(Self { kept, most })
    }

    /// Keeps none.
    pub fn none() -> Arc<Self> {
        Self::new(0)
    }

    /// Forgets all answers of all views: they may hold what was erased.
    fn forget(&self) {
        if self.most > 0 {
            self.kept.store(Arc::new(empty(self.most)));
        }
    }
}

fn empty(most: u64) -> Cache<Question, Kept> {
    let weight = |question: &Question, kept: &Kept| {
        let bytes = question.asked.len() + 2 * kept.about.len() + kept.bytes + ENTRY_BYTES;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    };
    Cache::builder().max_capacity(most).weigher(weight).build()
}

/// What the batches of one view have touched.
pub(crate) struct Touches {
    answers: Arc<Answers>,
    hasher: RandomState,
    /// Whether the view is fed by this process: of what others do to its tables nothing is known.
    fed_here: AtomicBool,
    /// How many batches were taken in.
    batches: AtomicU64,
    /// The last one that may have touched anything.
    anything: AtomicU64,
    /// The last one that touched a subject, by the subject's hash.
    subjects: Box<[AtomicU64]>,
}

/// The moment before an answer is read.
#[derive(Clone, Copy)]
pub(crate) struct Before(u64);

impl Touches {
    pub fn new(answers: Arc<Answers>) -> Self {
        let subjects = if answers.most > 0 { SUBJECTS } else { 0 };
        Self {
            answers,
            hasher: RandomState::new(),
            fed_here: AtomicBool::new(false),
            batches: AtomicU64::new(0),
            anything: AtomicU64::new(0),
            subjects: (0..subjects).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Says whether this process feeds the view; only then answers are kept. Whoever fed it before may have
    /// touched or erased anything until then.
    pub fn feed_here(&self, fed_here: bool) {
        self.fed_here.store(fed_here, Ordering::SeqCst);
        self.anything();
        self.answers.forget();
    }

    fn keeps(&self) -> bool {
        !self.subjects.is_empty() && self.fed_here.load(Ordering::SeqCst)
    }

    fn hash(&self, subject: &Subject) -> u16 {
        (self.hasher.hash_one(subject) % SUBJECTS as u64) as u16
    }

    /// A batch was committed that may have touched anything.
    pub fn anything(&self) {
        let number = self.batches.load(Ordering::SeqCst) + 1;
        self.anything.store(number, Ordering::SeqCst);
        self.batches.store(number, Ordering::SeqCst);
    }

    /// A batch of these events was committed. Called before its position is announced, by the one task
    /// that feeds the view.
    pub fn batch<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) {
        if self.subjects.is_empty() {
            return;
        }
        let number = self.batches.load(Ordering::SeqCst) + 1;
        let mut erased = false;
        for entry in entries {
            erased |= erases(&entry.event);
            let known = touched(entry, |subject| {
                if let Some(last) = self.subjects.get(usize::from(self.hash(&subject))) {
                    last.store(number, Ordering::SeqCst);
                }
            });
            if !known {
                self.anything.store(number, Ordering::SeqCst);
            }
        }
        self.batches.store(number, Ordering::SeqCst);
        if erased {
            self.answers.forget();
        }
    }

    /// To be called before the statements of an answer begin.
    pub fn before(&self) -> Before {
        Before(self.batches.load(Ordering::SeqCst))
    }

    fn holds(&self, kept: &Kept) -> bool {
        let untouched = |last: &AtomicU64| last.load(Ordering::SeqCst) <= kept.after;
        let subjects = kept.about.iter();
        let mut subjects = subjects.filter_map(|hash| self.subjects.get(usize::from(*hash)));
        untouched(&self.anything) && subjects.all(untouched)
    }

    /// The answer to a question, if it is kept and holds still.
    pub fn kept<T: Send + Sync + 'static>(&self, question: &Question) -> Option<Arc<T>> {
        if !self.keeps() {
            return None;
        }
        let kept = self.answers.kept.load().get(question)?;
        let held = self.holds(&kept);
        held.then(|| kept.answer.downcast().ok()).flatten()
    }

    /// Keeps an answer that was read after that moment.
    pub fn keep<T: Send + Sync + 'static>(
        &self,
        question: Question,
        Before(after): Before,
        answer: Answer<T>,
    ) -> Arc<T> {
        let value = Arc::new(answer.value);
        if !self.keeps() || answer.bytes as u64 > self.answers.most / PART {
            return value;
        }
        let mut about: Vec<u16> = answer.about.iter().map(|it| self.hash(it)).collect();
        about.sort_unstable();
        about.dedup();
        let kept = Kept {
            answer: value.clone(),
            about: about.into(),
            after,
            bytes: answer.bytes,
        };
        let all = self.answers.kept.load();
        all.insert(question.clone(), kept.clone());
        // It may hold what was erased meanwhile, and was not there yet when all were forgotten.
        if !self.holds(&kept) {
            all.invalidate(&question);
        }
        value
    }
}

/// About how much memory the members of a JSON object take.
pub(crate) fn object_bytes(members: &Map<String, Value>) -> usize {
    let names: usize = members.keys().map(|name| name.len() + MEMBER_BYTES).sum();
    names + members.values().map(value_bytes).sum::<usize>()
}

fn value_bytes(value: &Value) -> usize {
    let held = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(value_bytes).sum(),
        Value::Object(members) => object_bytes(members),
    };
    size_of::<Value>() + held
}

/// What a member of an object takes beside its name and its value.
const MEMBER_BYTES: usize = 64;

/// Tells what an event touches; `false` where that may be anything.
fn touched(entry: &Entry, mut touch: impl FnMut(Subject)) -> bool {
    let key = entry.stream.key();
    match &entry.event {
        Event::Message(event) => touch(Subject::Room(event.room().clone())),
        Event::Subscription(_) => touch(Subject::Subscription(key.to_owned())),
        Event::Room(event) => {
            touch(Subject::Room(RoomId::new(key)));
            match event {
                RoomEvent::RoomCreated {
                    creator, members, ..
                } => {
                    for user in members.iter().chain(creator) {
                        touch(Subject::Account(user.clone()));
                    }
                }
                RoomEvent::MemberJoined { user, .. }
                | RoomEvent::MemberLeft { user }
                | RoomEvent::MemberRemoved { user, .. } => {
                    touch(Subject::Account(user.clone()));
                }
                RoomEvent::RoomDeleted { .. } => return false,
                RoomEvent::RoomRenamed { .. }
                | RoomEvent::TopicChanged { .. }
                | RoomEvent::DescriptionChanged { .. }
                | RoomEvent::AnnouncementChanged { .. }
                | RoomEvent::JoinCodeChanged { .. }
                | RoomEvent::CustomFieldsChanged { .. }
                | RoomEvent::RoomTypeChanged { .. }
                | RoomEvent::RoomSwitchesChanged { .. }
                | RoomEvent::RetentionOverridden { .. }
                | RoomEvent::MemberMuted { .. }
                | RoomEvent::MemberUnmuted { .. }
                | RoomEvent::RoomRoleGranted { .. }
                | RoomEvent::RoomRoleRevoked { .. }
                | RoomEvent::RoomArchived {}
                | RoomEvent::RoomUnarchived {}
                | RoomEvent::ChannelPruned { .. } => {}
            }
        }
        Event::Account(event) => match event {
            // Names stand in any answer.
            AccountEvent::UserProfileChanged { .. } | AccountEvent::UserDeleted { .. } => {
                return false;
            }
            AccountEvent::UserRegistered { .. }
            | AccountEvent::UserPasswordChanged { .. }
            | AccountEvent::UserPreferencesChanged { .. }
            | AccountEvent::UserPresenceChosen { .. }
            | AccountEvent::UserActivated {}
            | AccountEvent::UserDeactivated { .. }
            | AccountEvent::RoleGranted { .. }
            | AccountEvent::RoleRevoked { .. }
            | AccountEvent::UserLoggedIn { .. }
            | AccountEvent::UserLoggedOut { .. }
            | AccountEvent::SessionsEnded { .. }
            | AccountEvent::LoginFailed { .. }
            | AccountEvent::PersonalAccessTokenCreated { .. }
            | AccountEvent::PersonalAccessTokenRemoved { .. } => {
                touch(Subject::Account(UserId::new(key)));
            }
        },
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use hansard_domain::id::Timestamp;
    use hansard_domain::message::MessageEvent;
    use hansard_domain::vault::KeyId;

    use super::*;
    use crate::testing::Story;

    fn touches(bytes: u64) -> Touches {
        let touches = Touches::new(Answers::new(bytes));
        touches.feed_here(true);
        touches
    }

    fn question(asked: &str) -> Question {
        Question {
            view: "messages",
            asked: asked.into(),
            viewer: None,
        }
    }

    /// What is answered about a room.
    fn about(room: &str, bytes: usize) -> Answer<String> {
        Answer {
            value: format!("what is said in {room}"),
            own: false,
            bytes,
            about: vec![Subject::Room(RoomId::new(room))],
        }
    }

    fn keep(touches: &Touches, room: &str) -> Arc<String> {
        touches.keep(question(room), touches.before(), about(room, 100))
    }

    fn is_kept(touches: &Touches, room: &str) -> bool {
        touches.kept::<String>(&question(room)).is_some()
    }

    fn take(touches: &Touches, story: &Story) {
        touches.batch(story.entries.iter().map(Arc::as_ref));
    }

    fn said(room: &str) -> Story {
        let mut story = Story::default();
        story.said("m1", room, "joe");
        story
    }

    #[test]
    fn an_answer_is_kept_until_what_it_is_about_is_touched() {
        let touches = touches(1 << 20);
        assert!(!is_kept(&touches, "hall"));
        keep(&touches, "hall");
        keep(&touches, "attic");
        assert!(is_kept(&touches, "hall") && is_kept(&touches, "attic"));
        take(&touches, &said("hall"));
        assert!(!is_kept(&touches, "hall") && is_kept(&touches, "attic"));
        keep(&touches, "hall");
        assert!(is_kept(&touches, "hall"));
        touches.anything();
        assert!(!is_kept(&touches, "hall") && !is_kept(&touches, "attic"));
    }

    #[test]
    fn what_is_committed_while_an_answer_is_read_spoils_it() {
        let touches = touches(1 << 20);
        let before = touches.before();
        take(&touches, &said("hall"));
        touches.keep(question("hall"), before, about("hall", 100));
        touches.keep(question("attic"), before, about("attic", 100));
        assert!(!is_kept(&touches, "hall") && is_kept(&touches, "attic"));
    }

    #[test]
    fn what_may_hold_what_was_erased_is_forgotten() {
        let touches = touches(1 << 20);
        let before = touches.before();
        let kept = Arc::downgrade(&keep(&touches, "attic"));
        assert!(kept.upgrade().is_some());
        let mut story = said("hall");
        let deleted = MessageEvent::MessageDeleted {
            room: RoomId::new("hall"),
            by: UserId::new("joe"),
            erased: Some(KeyId(3)),
            show_deleted: false,
            at: Timestamp(5),
        };
        story.on("m1", deleted);
        take(&touches, &story);
        assert!(kept.upgrade().is_none(), "it is gone from memory");
        // What was read before, and comes after.
        touches.keep(question("hall"), before, about("hall", 100));
        let answers = touches.answers.kept.load();
        assert!(!answers.contains_key(&question("hall")));
    }

    #[test]
    fn nothing_is_kept_where_it_may_not_be() {
        let elsewhere = touches(1 << 20);
        elsewhere.feed_here(false);
        keep(&elsewhere, "hall");
        assert!(!is_kept(&elsewhere, "hall"));
        elsewhere.feed_here(true);
        assert!(!is_kept(&elsewhere, "hall"));

        let off = touches(0);
        keep(&off, "hall");
        take(&off, &said("hall"));
        assert!(!is_kept(&off, "hall"));

        let small = touches(64_000);
        small.keep(question("hall"), small.before(), about("hall", 1_001));
        assert!(!is_kept(&small, "hall"));
        small.keep(question("hall"), small.before(), about("hall", 1_000));
        assert!(is_kept(&small, "hall"));
    }

    #[test]
    fn all_answers_take_no_more_than_they_may() {
        let touches = touches(64_000);
        for number in 0..1_000 {
            keep(&touches, &format!("room-{number}"));
        }
        let answers = touches.answers.kept.load();
        answers.run_pending_tasks();
        assert!(answers.weighted_size() <= 64_000);
        assert!(answers.entry_count() > 50);
    }
}
