//! Rebuilds views that are asked for or that are damaged, one request after the other, and takes away
//! what a node left half built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hansard_domain::journal::Journal;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::feed::Adopt;
use crate::generation::Generation;
use crate::lane::{Lane, Lanes};
use crate::nodes::Duty;
use crate::rebuild::{self, Progress};
use crate::view::ViewError;

/// After a rebuild that failed, while its view has nothing to answer from.
const PAUSE: Duration = Duration::from_secs(2);

/// No node has it.
pub const NO_TERM: i64 = -1;

/// Views that are to be rebuilt from one reading of the log.
pub struct Request {
    pub views: Vec<&'static str>,
    pub done: Option<oneshot::Sender<Result<(), ViewError>>>,
}

/// The number of this node's term; the same for good where no other node could feed.
pub fn term(engine: &Engine) -> i64 {
    engine.term().unwrap_or_default()
}

/// Deletes what rebuilds left that were not finished.
pub async fn remove_others(
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

/// See the module.
pub struct Rebuilder {
    pub journal: Arc<Journal>,
    pub engine: Engine,
    pub catalog: Arc<Catalog>,
    pub lanes: Arc<Lanes>,
    pub duty: watch::Receiver<Duty>,
    /// The term in which what an earlier one left behind was taken away.
    pub tidied: watch::Sender<i64>,
}

impl Rebuilder {
    /// Works until `stop`.
    pub async fn run(
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
