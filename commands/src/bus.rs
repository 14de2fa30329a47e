//! The command bus: the way in for every command.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cqrs_es::Aggregate;
use hansard_domain::called;
use hansard_domain::claim::CLAIMS;
use hansard_domain::event::{Entry, Event};
use hansard_domain::fair::{self, Crowded, Fair, Turn};
use hansard_domain::id::{Clock, DeliveryId, Ids, MessageId, RoomId};
use hansard_domain::integration::Delivery;
use hansard_domain::journal::{Batch, Journal};
use hansard_domain::keyed;
use hansard_domain::log::{Position, Role, StreamId, Version};
use hansard_domain::message::Message;
use hansard_domain::vault::DataKey;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::account::login::Name;
use crate::caller::Caller;
use crate::committer::Committer;
use crate::decision::{Decision, Tools};
use crate::error::CommandError;
use crate::model::{Versioned, WriteModel};
use crate::refusals::Refusals;
use crate::subscription::{Recent, recent};
use crate::time::LogTime;

/// How many commands may wait; one more is answered [`CommandError::Busy`].
const WAITING: usize = 8192;

/// How long a commit takes from the journal to the write model, about.
const MOMENT: Duration = Duration::from_millis(1);

/// How often a refusal is recorded again that found the committer's queue full, and after how long.
const REFUSED_AGAIN: usize = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// How long somebody waits to hear of what other nodes recorded.
const PATIENCE: Duration = Duration::from_secs(2);

/// The stream of a message.
pub fn message_stream(id: &MessageId) -> StreamId {
    StreamId::new(Message::TYPE, id)
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct Done<T> {
    pub answer: T,
    /// The entries that were recorded; `None` if there was nothing to record.
    pub batch: Option<Batch>,
}

impl<T> Done<T> {
    /// What was recorded.
    pub fn entries(&self) -> &[Arc<Entry>] {
        self.batch.as_deref().unwrap_or_default()
    }
}

/// A command on its way through the committer.
pub(crate) trait Job: Send {
    fn caller(&self) -> Arc<Caller>;

    /// How many bytes it records, about.
    fn weight(&self) -> usize {
        LIGHT
    }

    fn decide(&mut self, decision: &mut Decision<'_>) -> Result<(), CommandError>;
    fn answer(self: Box<Self>, outcome: Result<Option<Batch>, CommandError>);
}

struct Command<T, F> {
    caller: Arc<Caller>,
    weight: usize,
    decide: F,
    answer: Option<T>,
    reply: oneshot::Sender<Result<Done<T>, CommandError>>,
}

impl<T, F> Job for Command<T, F>
where
    T: Send,
    F: FnMut(&mut Decision<'_>) -> Result<T, CommandError> + Send,
{
    fn caller(&self) -> Arc<Caller> {
        self.caller.clone()
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn decide(&mut self, decision: &mut Decision<'_>) -> Result<(), CommandError> {
        decision.check_caller()?;
        self.answer = Some((self.decide)(decision)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<Option<Batch>, CommandError>) {
        let Self { answer, reply, .. } = *self;
        let done = outcome.and_then(|batch| {
            let answer = answer.ok_or(CommandError::Stopping)?;
            Ok(Done { answer, batch })
        });
        // Whoever asked may have gone; what was recorded stays recorded.
        let _ = reply.send(done);
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    jobs: mpsc::Sender<Box<dyn Job>>,
    closing: CancellationToken,
    model: Arc<ArcSwap<WriteModel>>,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    /// Hashes what must not stand in the clear.
    secret: DataKey,
    subscriptions: Recent,
    /// In front of the committer.
    line: Fair,
    /// See [`Commands::turn_to_load`].
    loading: Fair,
}

/// How many commands of all clients are with the committer, and how many of one. What is more waits in a
/// line of its client's.
const DECIDING: usize = 4_096;
const DECIDING_OF_ONE: usize = 64;

/// What a command weighs that does not say so.
const LIGHT: usize = 1 << 10;

/// How many streams are read at a time: the pages of one have megabytes while they are opened.
const LOADING: usize = 16;

/// How many of them one client has read.
const LOADING_OF_ONE: usize = 4;

impl Commands {
    /// Starts the committer on a model that holds everything in the journal. The task ends when the
    /// last clone of the bus is gone. Where nodes elect their writer, `address` is what others reach
    /// this one at.
    pub async fn start(
        journal: Arc<Journal>,
        model: WriteModel,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        address: Option<String>,
    ) -> Result<(Self, JoinHandle<()>), CommandError> {
        let claims = journal.keys().secret(CLAIMS).await;
        let claims = claims.map_err(hansard_domain::journal::JournalError::from)?;
        let (sender, jobs) = mpsc::channel(WAITING);
        let closing = CancellationToken::new();
        let model = Arc::new(ArcSwap::from_pointee(model));
        let committer = Committer {
            model: model.clone(),
            tools: Arc::new(Tools {
                ids: ids.clone(),
                journal: journal.clone(),
                claims: claims.clone(),
            }),
            time: LogTime::new(clock.clone()),
            jobs,
            closing: closing.clone(),
            minting: Arc::default(),
            role: journal.watch_role(),
            address,
            refusals: Refusals::default(),
        };
        let task = tokio::spawn(committer.run());
        Ok((
            Self {
                jobs: sender,
                closing,
                model,
                journal,
                clock,
                ids,
                secret: claims,
                subscriptions: recent(),
                line: Fair::new(DECIDING, DECIDING_OF_ONE),
                loading: Fair::new(LOADING, LOADING_OF_ONE),
            },
            task,
        ))
    }

    /// The write model as of the last commit.
    pub fn model(&self) -> Arc<WriteModel> {
        self.model.load_full()
    }

    /// The write model once it holds an event. Who follows the journal hears of a commit a moment
    /// before the model has it.
    pub async fn model_at(&self, position: Position) -> Arc<WriteModel> {
        loop {
            let model = self.model();
            if model.position() >= position {
                return model;
            }
            tokio::time::sleep(MOMENT).await;
        }
    }

    /// Waits until this node knows of everything that any node had recorded when this was called, for
    /// at most two seconds.
    pub async fn caught_up(&self) {
        if self.journal.role() == Role::Sole {
            return;
        }
        let heard = async {
            if let Ok(head) = self.journal.true_head().await {
                self.model_at(head).await;
            }
        };
        // Whoever can't know all goes on with what is known.
        let _ = tokio::time::timeout(PATIENCE, heard).await;
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// What members keep about rooms, as it was loaded last.
    pub(crate) fn subscriptions(&self) -> &Recent {
        &self.subscriptions
    }

    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub fn ids(&self) -> &dyn Ids {
        self.ids.as_ref()
    }

    /// Takes nothing more: what comes is refused with [`CommandError::Stopping`], what came is done.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Has something decided and recorded. `decide` runs in the committer, with nothing decided
    /// beside it: it must be quick and must not wait; it may run twice.
    pub async fn run<T, F>(&self, caller: &Caller, decide: F) -> Result<Done<T>, CommandError>
    where
        T: Send + 'static,
        F: FnMut(&mut Decision<'_>) -> Result<T, CommandError> + Send + 'static,
    {
        self.run_heavy(caller, 0, decide).await
    }

    /// The same for what records so many bytes.
    pub(crate) async fn run_heavy<T, F>(
        &self,
        caller: &Caller,
        weight: usize,
        decide: F,
    ) -> Result<Done<T>, CommandError>
    where
        T: Send + 'static,
        F: FnMut(&mut Decision<'_>) -> Result<T, CommandError> + Send + 'static,
    {
        let _turn = self.line.turn().await?;
        let (reply, outcome) = oneshot::channel();
        let caller = Arc::new(caller.clone());
        let job = Command {
            caller,
            // Whatever it records has an envelope.
            weight: LIGHT.saturating_add(weight),
            decide,
            answer: None,
            reply,
        };
        self.jobs
            .try_send(Box::new(job))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => CommandError::Busy,
                mpsc::error::TrySendError::Closed(_) => CommandError::Stopping,
            })?;
        outcome.await.unwrap_or(Err(CommandError::Stopping))
    }

    /// Puts on the record that a caller was refused for want of a right, where nothing was decided.
    /// [`CommandError::Follower`] where another node has to do it.
    pub async fn refuse(
        &self,
        caller: &Caller,
        permission: Option<String>,
        room: Option<RoomId>,
    ) -> Result<(), CommandError> {
        let refused = move |_: &mut Decision<'_>| {
            Err::<(), _>(CommandError::Denied {
                code: "".into(),
                reason: String::new(),
                permission: permission.clone(),
                room: room.clone(),
                forbidden: true,
                noted: false,
            })
        };
        // What is refused has to be on the record, however much there is to do.
        let caller = &caller.even_if_logged_out();
        for _ in 0..REFUSED_AGAIN {
            match fair::as_the_server(self.run(caller, refused.clone())).await {
                Err(CommandError::Denied { .. }) | Ok(_) => return Ok(()),
                Err(CommandError::Busy) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Err(CommandError::Busy)
    }

    /// The id of the message that a client [calls so](called). Earlier versions kept every id as it
    /// was, so that a log may have a message that goes by it.
    pub async fn message_id(&self, called: MessageId) -> Result<MessageId, CommandError> {
        let id = called::message_id(&self.secret, &called);
        if id != called && self.message(&called).await?.is_some() {
            return Ok(called);
        }
        Ok(id)
    }

    /// What stands on the record for a name that somebody gave in vain who logs in.
    /// Names that are looked up as one are one.
    pub(crate) fn unknown_name(&self, name: &Name) -> String {
        let (of, name) = match name {
            Name::Username(name) => ("login", name),
            Name::Email(address) => ("login by email", address),
        };
        keyed::hex(&self.secret, of, &name.to_lowercase())
    }

    /// A message, from its stream; `None` if there never was one.
    pub async fn message(
        &self,
        id: &MessageId,
    ) -> Result<Option<Versioned<Message>>, CommandError> {
        self.load::<Message>(message_stream(id), |event| match event {
            Event::Message(event) => Some(event.clone()),
            _ => None,
        })
        .await
    }

    /// A delivery, from its stream; `None` if there never was one.
    pub async fn delivery(
        &self,
        id: &DeliveryId,
    ) -> Result<Option<Versioned<Delivery>>, CommandError> {
        self.load::<Delivery>(StreamId::new(Delivery::TYPE, id), |event| match event {
            Event::Delivery(event) => Some(event.clone()),
            _ => None,
        })
        .await
    }

    async fn load<A: Aggregate>(
        &self,
        stream: StreamId,
        event: impl Fn(&Event) -> Option<A::Event> + Send + Sync,
    ) -> Result<Option<Versioned<A>>, CommandError> {
        let _turn = self.turn_to_load().await?;
        let mut loaded: Option<Versioned<A>> = None;
        let fold = |entry: Arc<Entry>| {
            let loaded = loaded.get_or_insert_default();
            loaded.version = entry.version;
            if let Some(event) = event(&entry.event) {
                loaded.state.apply(event);
            }
        };
        self.journal.each(&stream, Version::NONE, fold).await?;
        Ok(loaded)
    }

    /// Waits until a stream may be read into memory; it may until this is dropped.
    pub async fn turn_to_load(&self) -> Result<Turn, Crowded> {
        self.loading.turn().await
    }
}
