//! The projector: opens the views, feeds each in a task of its own, and rebuilds those that need it.

use std::sync::Arc;
use std::time::Duration;

use hansard_domain::journal::Journal;
use hansard_domain::log::Position;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answers::Answers;
use crate::catalog::Catalog;
use crate::engine::{Engine, Location};
use crate::feed::Feed;
use crate::generation::Generation;
use crate::lane::{Lane, Lanes};
use crate::nodes::{Duty, Nodes};
use crate::rebuild::{Progress, Told};
use crate::rebuilder::{NO_TERM, Rebuilder, Request, remove_others, term};
use crate::set_aside::{self, SetAside};
use crate::store::{Lacking, Store};
use crate::view::{View, ViewError};

/// How long the node that feeds the views is given to take a rebuild on: a few seconds more than
/// another node needs to take its place.
const TAKING_ON: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

/// A view that takes nothing in for so long, although there is something, stands still.
const STANDS_STILL: Duration = Duration::from_secs(60);

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
    /// Events up to `position` that are not in the tables because they could not be taken in; see
    /// [`Projector::set_aside`].
    pub set_aside: u64,
    /// The rebuild that is going on.
    pub rebuild: Option<Progress>,
}

impl Projector {
    /// Opens the views and begins to feed them, or to follow the node that does. Views that are
    /// missing, damaged or of another version are rebuilt behind the caller's back; see
    /// [`Self::ready`]. What they answer is kept in `answers`.
    pub async fn start(
        journal: Arc<Journal>,
        location: impl Into<Location>,
        views: Vec<Arc<dyn View>>,
        answers: Arc<Answers>,
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
            let news = nodes.news();
            let store = Store::new(
                view.name(),
                journal.clone(),
                news,
                engine.reader_count(),
                answers.clone(),
            );
            let mut generation = None;
            if feeds_here {
                generation =
                    open(&engine, &journal, &view, serving.get(view.name()).copied()).await;
                match &generation {
                    Some(generation) => {
                        store.serve(
                            engine.readers(generation.namespace())?,
                            generation.namespace().generation,
                            generation.position(),
                        );
                        store.lacks(generation.set_aside(), true);
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

    /// Returns when a view holds everything that was committed when this was called, however long that takes;
    /// fails where it takes nothing in for a minute.
    pub async fn until_caught_up(&self, view: &str) -> Result<(), ViewError> {
        let store = &self.lane(view)?.store;
        let head = self.journal.head();
        store.want(head);
        let mut applied = store.watch_applied();
        while *applied.borrow_and_update() < head {
            let changed = tokio::time::timeout(STANDS_STILL, applied.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let lag = head.0.saturating_sub(store.applied().0);
                return Err(ViewError::Unavailable(format!(
                    "{view} is {lag} events behind the log, and stands still"
                )));
            }
        }
        Ok(())
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
                    set_aside: lane.store.lacking().borrow().events,
                    rebuild: lane.rebuild(duty),
                }
            })
            .collect()
    }

    /// How much a view's tables lack, as it changes; see [`Self::set_aside`].
    pub fn lacking(&self, view: &str) -> Result<watch::Receiver<Lacking>, ViewError> {
        Ok(self.lane(view)?.store.lacking())
    }

    /// The events that a view's tables lack because they could not be taken in, `most` at most, the
    /// latest first. A rebuild tries them again.
    pub async fn set_aside(&self, view: &str, most: u32) -> Result<Vec<SetAside>, ViewError> {
        let mut reading = self.lane(view)?.store.read().await?;
        set_aside::list(&mut reading, most).await
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

/// Opens a view's tables where they can serve.
async fn open(
    engine: &Engine,
    journal: &Journal,
    view: &Arc<dyn View>,
    number: Option<u64>,
) -> Option<Generation> {
    let name = view.name();
    let Some(number) = number else {
        tracing::info!(view = name, "building a view");
        return None;
    };
    match Generation::open(engine, journal, view.clone(), number).await {
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
