//! The projector: opens the views, feeds each in a task of its own, and rebuilds those that need it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hansard_domain::journal::Journal;
use hansard_domain::log::Position;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::Catalog;
use crate::engine::{Engine, Location};
use crate::feed::{Adopt, Feed};
use crate::generation::Generation;
use crate::nodes::{Announced, Duty, Nodes};
use crate::rebuild::{self, Progress, Told};
use crate::store::Store;
use crate::view::{View, ViewError};

/// After a rebuild that failed, while its view has nothing to answer from.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the node that feeds the views is given to take a rebuild on: a few seconds more than
/// another node needs to take its place.
const TAKING_ON: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

/// No node has it.
const NO_TERM: i64 = -1;

/// See the module. Stops when its token is cancelled; [`Self::stopped`] waits for that.
pub struct Projector {
    journal: Arc<Journal>,
    lanes: Arc<Lanes>,
    nodes: Arc<Nodes>,
    engine: Engine,
    /// Each view stands in it once at most, but for those that this process asks for itself.
    rebuilds: mpsc::UnboundedSender<Request>,
    /// The term that this node has taken away for what an earlier one left behind.
    tidied: watch::Receiver<i64>,
    tasks: TaskTracker,
}

/// How a view is doing.
#[derive(Debug, Clone)]
pub struct ViewState {
    pub name: &'static str,
    pub version: u32,
    /// Of the tables that it answers from; counts how often it was built.
    pub generation: Option<u64>,
    /// Whether there are tables to answer from.
    pub serving: bool,
    pub position: Position,
    /// Events that are committed and not in the tables.
    pub lag: u64,
    /// The rebuild that is going on.
    pub rebuild: Option<Progress>,
}

pub(crate) type Lanes = BTreeMap<&'static str, Lane>;

/// What is known of a view outside of the task that feeds it.
pub(crate) struct Lane {
    view: Arc<dyn View>,
    pub store: Store,
    scrubbed: watch::Receiver<Position>,
    /// The rebuild on this node.
    told: Told,
    /// The rebuild on the node that feeds, while this one follows.
    heard: Told,
    adoptions: mpsc::Sender<Adopt>,
    rebuilds: mpsc::UnboundedSender<Request>,
}

impl Lane {
    /// Has the view rebuilt on this node, unless it is being or about to be.
    pub fn begin_rebuild(&self) {
        let begun = self.told.send_if_modified(|told| {
            let idle = told.is_none();
            if idle {
                *told = Some(Progress::start(self.store.head()));
            }
            idle
        });
        if begun {
            let views = vec![self.view.name()];
            // Nobody waits for it, and a projector that has stopped rebuilds nothing.
            let _ = self.rebuilds.send(Request { views, done: None });
        }
    }

    /// The rebuild on whatever node feeds.
    fn rebuild(&self, duty: Duty) -> Option<Progress> {
        match duty {
            Duty::Feed => *self.told.borrow(),
            Duty::Follow => *self.heard.borrow(),
        }
    }

    /// Whether the node that feeds is building it, as far as this one has heard.
    pub fn is_rebuilt_elsewhere(&self) -> bool {
        self.heard.borrow().is_some()
    }

    /// What other nodes have to know of it.
    pub fn announced(&self) -> Announced {
        Announced {
            version: self.view.version(),
            generation: self.store.is_serving().then(|| self.store.generation()),
            applied: self.store.applied().0,
            scrubbed: self.scrubbed.borrow().0,
            building: self.told.borrow().map(|progress| progress.position.0),
        }
    }
}

struct Request {
    views: Vec<&'static str>,
    done: Option<oneshot::Sender<Result<(), ViewError>>>,
}

impl Projector {
    /// Opens the views and begins to feed them, or to follow the node that does. Views that are
    /// missing, damaged or of another version are rebuilt behind the caller's back; see
    /// [`Self::ready`].
    pub async fn start(
        journal: Arc<Journal>,
        location: impl Into<Location>,
        views: Vec<Arc<dyn View>>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, ViewError> {
        let engine = Engine::open(&location.into()).await?;
        let catalog = Arc::new(Catalog::open(&engine).await?);
        let (nodes, seat) = Nodes::join(&engine).await?;
        let feeds_here = *nodes.duty().borrow() == Duty::Feed;
        let serving = catalog.serving().await?;
        if feeds_here {
            let known = |name: &str| views.iter().any(|view| view.name() == name);
            remove_others(&engine, known, &serving).await?;
        }
        let term = if feeds_here { term(&engine) } else { NO_TERM };
        let (tidied, tidied_in) = watch::channel(term);

        let (tasks, feeds) = (TaskTracker::new(), TaskTracker::new());
        let (repairs, damaged) = mpsc::unbounded_channel();
        let (rebuilds, requests) = mpsc::unbounded_channel();
        let mut lanes = Lanes::new();
        for view in views {
            let store = Store::new(view.name(), journal.clone(), nodes.news());
            let mut generation = None;
            if feeds_here {
                generation = open(&engine, &view, serving.get(view.name()).copied()).await;
                match &generation {
                    Some(generation) => {
                        store.serve(
                            engine.readers(generation.namespace())?,
                            generation.namespace().generation,
                            generation.position(),
                        );
                    }
                    // The receiver is here.
                    None => drop(repairs.send(view.name())),
                }
            }
            let (adoptions, orders) = mpsc::channel(1);
            let scrubbed = watch::Sender::new(Position::START);
            let (told, heard) = (Told::default(), Told::default());
            let lane = Lane {
                view: view.clone(),
                store: store.clone(),
                scrubbed: scrubbed.subscribe(),
                told: told.clone(),
                heard: heard.clone(),
                adoptions,
                rebuilds: rebuilds.clone(),
            };
            lanes.insert(view.name(), lane);
            let mut feed = Feed {
                view,
                store,
                journal: journal.clone(),
                engine: engine.clone(),
                catalog: catalog.clone(),
                adoptions: orders,
                repairs: repairs.clone(),
                scrubbed,
                told,
                heard,
                nodes: nodes.clone(),
                duty: nodes.duty(),
                term: 0,
                stop: stop.clone(),
            };
            if !feeds_here {
                let heard = nodes.heard().borrow().clone();
                feed.heed(&heard, &mut JoinSet::new())?;
            }
            tasks.spawn(feeds.track_future(feed.run(generation)));
        }
        feeds.close();

        let lanes = Arc::new(lanes);
        let rebuilder = Rebuilder {
            journal: journal.clone(),
            engine: engine.clone(),
            catalog,
            lanes: lanes.clone(),
            duty: nodes.duty(),
            tidied,
        };
        let talking = nodes
            .clone()
            .run(engine.clone(), seat, lanes.clone(), feeds, stop.clone());
        tasks.spawn(talking);
        tasks.spawn(rebuilder.run(requests, damaged, stop));
        tasks.close();
        Ok(Arc::new(Self {
            journal,
            lanes,
            nodes,
            engine,
            rebuilds,
            tidied: tidied_in,
            tasks,
        }))
    }

    /// What a view's queries read from.
    pub fn store(&self, view: &str) -> Option<Store> {
        self.lanes.get(view).map(|lane| lane.store.clone())
    }

    /// Whether every view has had tables to answer from.
    pub fn ready(&self) -> bool {
        self.lanes
            .values()
            .all(|lane| *lane.store.served().borrow())
    }

    /// Returns when [`Self::ready`] is true.
    pub async fn until_ready(&self) {
        for lane in self.lanes.values() {
            // The sender lives in the lane's store.
            let _ = lane.store.served().wait_for(|served| *served).await;
        }
    }

    /// How each view is doing, by name.
    pub fn views(&self) -> Vec<ViewState> {
        let head = self.journal.head();
        let duty = *self.nodes.duty().borrow();
        self.lanes
            .values()
            .map(|lane| {
                let position = lane.store.applied();
                ViewState {
                    name: lane.view.name(),
                    version: lane.view.version(),
                    generation: lane.store.is_serving().then(|| lane.store.generation()),
                    serving: lane.store.is_serving(),
                    position,
                    lag: head.0.saturating_sub(position.0),
                    rebuild: lane.rebuild(duty),
                }
            })
            .collect()
    }

    /// Rebuilds views while they go on serving, and swaps them in; the journal is read once for all
    /// of them. Returns when that is done; the first error, where not all could be rebuilt. On a node
    /// that does not feed the views it fails with [`ViewError::Elsewhere`].
    pub async fn rebuild(&self, views: &[&str]) -> Result<(), ViewError> {
        let views = views
            .iter()
            .map(|view| Ok(self.lane(view)?.view.name()))
            .collect::<Result<_, ViewError>>()?;
        let (done, outcome) = oneshot::channel();
        let stopped = || ViewError::Unavailable("the projector has stopped".to_owned());
        let done = Some(done);
        self.rebuilds
            .send(Request { views, done })
            .map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }

    /// Has a view rebuilt by whatever node feeds it, unless it is being. Returns when that node has
    /// taken it on, with [`ViewError::Elsewhere`] where none has within ten seconds;
    /// [`Self::views`] tells how far it is.
    pub async fn begin_rebuild(&self, view: &str) -> Result<(), ViewError> {
        let lane = self.lane(view)?;
        let (mut duty, mut heard) = (self.nodes.duty(), lane.heard.subscribe());
        let before = lane.store.generation();
        let _order = self.nodes.order(lane.view.name());
        let taken_on = async {
            loop {
                if *duty.borrow_and_update() == Duty::Feed {
                    return lane.begin_rebuild();
                }
                // A small one may have been done before it was heard of.
                if heard.borrow_and_update().is_some() || lane.store.generation() > before {
                    return;
                }
                tokio::select! {
                    _ = duty.changed() => {}
                    _ = heard.changed() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        };
        tokio::time::timeout(TAKING_ON, taken_on)
            .await
            .map_err(|_| ViewError::Elsewhere)
    }

    fn lane(&self, view: &str) -> Result<&Lane, ViewError> {
        let lane = self.lanes.get(view);
        lane.ok_or_else(|| ViewError::Unknown(view.to_owned()))
    }

    /// Returns when what was erased up to a position stands in no file of any view any more; call
    /// it when the keys have been shredded. A rebuild that is going on has to pass the position.
    pub async fn scrubbed(&self, position: Position) -> Result<(), ViewError> {
        for lane in self.lanes.values() {
            lane.store.want(position);
        }
        self.nodes.up_to_date().await;
        for lane in self.lanes.values() {
            let stopped = |_| ViewError::Unavailable("the projector has stopped".to_owned());
            let mut scrubbed = lane.scrubbed.clone();
            let gone = scrubbed.wait_for(|scrubbed| *scrubbed >= position).await;
            gone.map_err(stopped)?;
            self.passed(lane, position).await.map_err(stopped)?;
        }
        Ok(())
    }

    /// Returns when no tables are being built, or left half built by a node that died, that an event
    /// at this position or before may have got into and that don't have what came after.
    async fn passed(&self, lane: &Lane, position: Position) -> Result<(), watch::error::RecvError> {
        let (mut told, mut heard) = (lane.told.subscribe(), lane.heard.subscribe());
        let (mut duty, mut tidied) = (self.nodes.duty(), self.tidied.clone());
        loop {
            let feeds = *duty.borrow_and_update();
            let tidy = feeds == Duty::Follow || *tidied.borrow_and_update() == term(&self.engine);
            told.mark_unchanged();
            heard.mark_unchanged();
            let building = lane.rebuild(feeds);
            if tidy && building.is_none_or(|building| building.position >= position) {
                return Ok(());
            }
            tokio::select! {
                changed = duty.changed() => changed?,
                changed = tidied.changed() => changed?,
                changed = told.changed() => changed?,
                changed = heard.changed() => changed?,
            }
        }
    }

    /// Returns when every view is closed, after the token was cancelled.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

/// The number of this node's term; the same for good where no other node could feed.
fn term(engine: &Engine) -> i64 {
    engine.term().unwrap_or_default()
}

/// Deletes what rebuilds left that were not finished.
async fn remove_others(
    engine: &Engine,
    known: impl Fn(&str) -> bool,
    serving: &BTreeMap<String, u64>,
) -> Result<(), ViewError> {
    for namespace in engine.namespaces().await? {
        let serves = serving.get(&namespace.view) == Some(&namespace.generation);
        if known(&namespace.view) && !serves {
            engine.remove(&namespace).await?;
        }
    }
    Ok(())
}

/// Opens a view's tables where they can serve.
async fn open(engine: &Engine, view: &Arc<dyn View>, number: Option<u64>) -> Option<Generation> {
    let name = view.name();
    let Some(number) = number else {
        tracing::info!(view = name, "building a view");
        return None;
    };
    match Generation::open(engine, view.clone(), number).await {
        Ok(Some(generation)) => Some(generation),
        Ok(None) => {
            tracing::info!(
                view = name,
                version = view.version(),
                "a view has changed; rebuilding it"
            );
            None
        }
        Err(error) => {
            tracing::warn!(view = name, %error, "a view can't be opened; rebuilding it");
            None
        }
    }
}

/// Rebuilds views, one request after the other.
struct Rebuilder {
    journal: Arc<Journal>,
    engine: Engine,
    catalog: Arc<Catalog>,
    lanes: Arc<Lanes>,
    duty: watch::Receiver<Duty>,
    /// The term in which what an earlier one left behind was taken away.
    tidied: watch::Sender<i64>,
}

impl Rebuilder {
    async fn run(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Request>,
        mut damaged: mpsc::UnboundedReceiver<&'static str>,
        stop: CancellationToken,
    ) {
        // Views without tables: theirs must be built, however often it takes.
        let mut owed = BTreeSet::new();
        loop {
            while let Ok(view) = damaged.try_recv() {
                owed.insert(view);
            }
            let duty = *self.duty.borrow_and_update();
            match duty {
                // Whoever feeds builds what is missing.
                Duty::Follow => owed.clear(),
                Duty::Feed => tokio::select! {
                    () = stop.cancelled() => return,
                    tidied = self.tidy() => if let Err(error) = tidied {
                        tracing::warn!(%error, "what another node left behind can't be deleted yet");
                        tokio::select! {
                            () = stop.cancelled() => return,
                            () = tokio::time::sleep(PAUSE) => {}
                        }
                        continue;
                    }
                },
            }
            // A rebuild that was asked for may have come first.
            owed.retain(|view| !self.lanes[view].store.is_serving());
            if !owed.is_empty() {
                let views: Vec<_> = owed.iter().copied().collect();
                tokio::select! {
                    () = stop.cancelled() => return,
                    outcome = self.rebuild(&views) => if outcome.is_err() {
                        tokio::select! {
                            () = stop.cancelled() => return,
                            () = tokio::time::sleep(PAUSE) => {}
                        }
                    }
                }
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.duty.changed() => {}
                Some(view) = damaged.recv() => drop(owed.insert(view)),
                Some(request) = requests.recv() => tokio::select! {
                    () = stop.cancelled() => return,
                    outcome = self.rebuild(&request.views) => {
                        // Whoever asked may have gone.
                        let _ = request.done.map(|done| done.send(outcome));
                    }
                },
            }
        }
    }

    async fn rebuild(&self, views: &[&'static str]) -> Result<(), ViewError> {
        if *self.duty.borrow() == Duty::Follow {
            for view in views {
                self.lanes[view].told.send_replace(None);
            }
            return Err(ViewError::Elsewhere);
        }
        let first_error = Mutex::new(None);
        let failed = |lane: &Lane, error: ViewError| {
            tracing::error!(view = lane.view.name(), %error, "a view could not be rebuilt");
            lane.told.send_replace(None);
            first_error.lock().get_or_insert(error);
        };

        let mut lanes = Vec::with_capacity(views.len());
        let mut generations = Vec::with_capacity(views.len());
        for lane in views.iter().map(|view| &self.lanes[view]) {
            match self.create(lane).await {
                Ok(generation) => {
                    // Told before the journal is read: from here on what is erased may get into it.
                    lane.told
                        .send_replace(Some(Progress::start(self.journal.head())));
                    generations.push((generation, lane.told.clone()));
                    lanes.push(lane);
                }
                Err(error) => failed(lane, error),
            }
        }
        let built = rebuild::fill(&self.journal, generations, None).await;
        for (lane, built) in lanes.into_iter().zip(built) {
            match self.hand_over(lane, built).await {
                Ok(()) => tracing::info!(view = lane.view.name(), "a view is rebuilt"),
                Err(error) => failed(lane, error),
            }
        }
        first_error.into_inner().map_or(Ok(()), Err)
    }

    /// Deletes what the node that fed before this one was building when it died.
    async fn tidy(&self) -> Result<(), ViewError> {
        let term = term(&self.engine);
        if *self.tidied.borrow() == term {
            return Ok(());
        }
        let serving = self.catalog.serving().await?;
        let known = |name: &str| self.lanes.contains_key(name);
        remove_others(&self.engine, known, &serving).await?;
        self.tidied.send_replace(term);
        Ok(())
    }

    async fn create(&self, lane: &Lane) -> Result<Generation, ViewError> {
        let mut before = self.engine.namespaces().await?;
        before.retain(|namespace| namespace.view == lane.view.name());
        let last = before
            .iter()
            .map(|namespace| namespace.generation)
            .max()
            .unwrap_or(0);
        // Damaged, of another version, or left by a rebuild that was not finished.
        let serving = lane.store.is_serving().then(|| lane.store.generation());
        for namespace in &before {
            if serving.is_none_or(|serving| namespace.generation > serving) {
                self.engine.remove(namespace).await?;
            }
        }
        Generation::create(&self.engine, lane.view.clone(), last + 1).await
    }

    async fn hand_over(
        &self,
        lane: &Lane,
        built: Result<Generation, ViewError>,
    ) -> Result<(), ViewError> {
        let (done, adopted) = oneshot::channel();
        let stopped = || ViewError::Unavailable("the projector has stopped".to_owned());
        let adopt = Adopt {
            generation: built?,
            done,
        };
        lane.adoptions.send(adopt).await.map_err(|_| stopped())?;
        adopted.await.map_err(|_| stopped())?
    }
}
