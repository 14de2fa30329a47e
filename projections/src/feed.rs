//! Feeds one view: follows the journal, hands the tables over to the next generation, and scrubs
//! what was erased.

use std::sync::Arc;
use std::time::Duration;

use hansard_domain::event::Entry;
use hansard_domain::journal::Journal;
use hansard_domain::log::Position;
use sqlx::AnyPool;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batches::Folded;
use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::generation::Generation;
use crate::rebuild::Told;
use crate::store::Store;
use crate::view::{self, View, ViewError};

/// How many entries one transaction takes in while the view serves.
const TRANSACTION: usize = 2_000;

/// How long entries are gathered that nobody waits for: a transaction costs much the same however
/// many it takes in, so ten views that each took in every commit on its own would cost more than the
/// commits. A reader who waits gets what has been gathered at once.
const GATHER: Duration = Duration::from_millis(50);

/// So many entries are taken in without gathering more.
const ENOUGH: usize = 500;

/// How often what was erased is scrubbed at most: each time costs a sync of the file.
const SCRUB: Duration = Duration::from_millis(100);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long the end waits for readers of tables that have been replaced.
const FAREWELL: Duration = Duration::from_secs(5);

/// A generation that is to serve from now on; `done` when the one before is gone.
pub struct Adopt {
    pub generation: Generation,
    pub done: oneshot::Sender<Result<(), ViewError>>,
}

/// See the module. One task.
pub struct Feed {
    pub view: Arc<dyn View>,
    pub store: Store,
    pub journal: Arc<Journal>,
    pub engine: Engine,
    pub catalog: Arc<Catalog>,
    /// Generations that are to serve; one at most is on its way.
    pub adoptions: mpsc::Receiver<Adopt>,
    /// Names the view when it has to be rebuilt.
    pub repairs: mpsc::UnboundedSender<&'static str>,
    /// Up to where everything that was erased is gone from the serving tables.
    pub scrubbed: watch::Sender<Position>,
    pub told: Told,
    pub stop: CancellationToken,
}

enum Interruption {
    Stop,
    Adopt(Adopt),
}

impl Feed {
    /// Feeds the view until it is stopped. Without tables it waits to be given some.
    pub async fn run(mut self, mut serving: Option<Generation>) {
        let mut farewells = JoinSet::new();
        let mut pause = FIRST_PAUSE;
        loop {
            let started_at = self.store.applied();
            let interruption = match &mut serving {
                Some(generation) => self.follow(generation).await,
                None => self.wait().await,
            };
            if self.store.applied() > started_at {
                pause = FIRST_PAUSE;
            }
            match interruption {
                Ok(Interruption::Stop) => break,
                Ok(Interruption::Adopt(adopt)) => {
                    serving = self.adopt(serving, adopt, &mut farewells).await;
                }
                Err(ViewError::Damaged(reason)) => {
                    tracing::error!(
                        view = self.view.name(),
                        reason,
                        "a view is damaged; rebuilding it"
                    );
                    self.abandon(serving.take()).await;
                }
                Err(error) => {
                    tracing::warn!(view = self.view.name(), %error, "a view could not be fed; trying again");
                    tokio::select! {
                        () = self.stop.cancelled() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    serving = self.reopen(serving.take()).await;
                }
            }
        }
        self.end(serving, farewells).await;
    }

    async fn wait(&mut self) -> Result<Interruption, ViewError> {
        tokio::select! {
            () = self.stop.cancelled() => Ok(Interruption::Stop),
            adopt = self.adoptions.recv() => Ok(adopt.map_or(Interruption::Stop, Interruption::Adopt)),
        }
    }

    /// Applies what arrives, until something else is to be done.
    async fn follow(&mut self, generation: &mut Generation) -> Result<Interruption, ViewError> {
        let mut arriving = Folded::new(self.journal.follow(generation.position()), TRANSACTION);
        let mut scrubs = tokio::time::interval(SCRUB);
        let mut suspicions = view::suspicions();
        let mut wanted = self.store.wanted();
        let mut gathered = Vec::new();
        let gathering = tokio::time::sleep(GATHER);
        tokio::pin!(gathering);
        loop {
            let waited_for = wanted.borrow_and_update().0 > generation.position().0;
            if gathered.len() >= ENOUGH || (waited_for && !gathered.is_empty()) {
                self.apply(generation, &gathered).await?;
                gathered.clear();
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    self.apply(generation, &gathered).await?;
                    return Ok(Interruption::Stop);
                }
                Some(adopt) = self.adoptions.recv() => return Ok(Interruption::Adopt(adopt)),
                Ok(()) = suspicions.changed() => generation.check().await?,
                _ = scrubs.tick(), if generation.unscrubbed() => {
                    generation.scrub().await?;
                    self.publish(generation);
                    scrubs.reset();
                }
                entries = arriving.next() => {
                    let entries = entries.ok_or_else(|| {
                        ViewError::Unavailable("the journal has ended".to_owned())
                    })??;
                    if gathered.is_empty() {
                        gathering.as_mut().reset(Instant::now() + GATHER);
                    }
                    gathered.extend(entries);
                }
                () = &mut gathering, if !gathered.is_empty() => {
                    self.apply(generation, &gathered).await?;
                    gathered.clear();
                }
                Ok(()) = wanted.changed() => {}
            }
        }
    }

    async fn apply(
        &self,
        generation: &mut Generation,
        entries: &[Arc<Entry>],
    ) -> Result<(), ViewError> {
        if entries.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        generation.apply(entries).await?;
        let name = self.view.name();
        metrics::histogram!("hansard_view_apply_seconds", "view" => name)
            .record(started.elapsed().as_secs_f64());
        self.publish(generation);
        Ok(())
    }

    fn publish(&self, generation: &Generation) {
        let position = generation.position();
        self.store.advance(position);
        if !generation.unscrubbed() {
            self.scrubbed.send_replace(position);
        }
        let name = self.view.name();
        let lag = self.journal.head().0.saturating_sub(position.0);
        metrics::gauge!("hansard_view_position", "view" => name).set(position.0 as f64);
        metrics::gauge!("hansard_view_lag", "view" => name).set(lag as f64);
    }

    /// Swaps the tables that serve. What serves afterwards is what did before where that fails.
    async fn adopt(
        &mut self,
        serving: Option<Generation>,
        adopt: Adopt,
        farewells: &mut JoinSet<()>,
    ) -> Option<Generation> {
        let Adopt {
            mut generation,
            done,
        } = adopt;
        let readers = match self.take_over(&mut generation).await {
            Ok(readers) => readers,
            Err(error) => {
                // It is deleted at the next start at the latest.
                let _ = generation.discard().await;
                self.told.send_replace(None);
                let _ = done.send(Err(error));
                return serving;
            }
        };
        let before = self.store.serve(
            readers,
            generation.namespace().generation,
            generation.position(),
        );
        self.publish(&generation);
        let told = self.told.clone();
        farewells.spawn(async move {
            let gone = bid_farewell(before, serving).await;
            told.send_replace(None);
            // Whoever asked may have gone.
            let _ = done.send(gone);
        });
        while farewells.try_join_next().is_some() {}
        Some(generation)
    }

    /// Brings a generation to where the serving one is and enters it into the catalog.
    async fn take_over(&self, generation: &mut Generation) -> Result<AnyPool, ViewError> {
        let goal = self.store.applied();
        let mut missed = Folded::new(self.journal.all(generation.position()), TRANSACTION);
        while generation.position() < goal {
            let Some(entries) = missed.next().await else {
                break;
            };
            generation.apply(&entries?).await?;
        }
        generation.scrub().await?;
        let readers = self.engine.readers(generation.namespace())?;
        self.catalog.serve(generation.namespace()).await?;
        Ok(readers)
    }

    /// Gives damaged tables up and asks for new ones.
    async fn abandon(&mut self, serving: Option<Generation>) {
        let readers = self.store.withdraw();
        if let Err(error) = bid_farewell(readers, serving).await {
            tracing::warn!(view = self.view.name(), %error, "damaged tables could not be deleted");
        }
        // The receiver lives as long as any feed, unless all is about to end.
        let _ = self.repairs.send(self.view.name());
    }

    /// Opens the serving tables anew: what the old connection was in the middle of is undone.
    async fn reopen(&mut self, serving: Option<Generation>) -> Option<Generation> {
        let before = serving?;
        let number = before.namespace().generation;
        drop(before);
        match Generation::open(&self.engine, self.view.clone(), number).await {
            Ok(Some(generation)) => Some(generation),
            Ok(None) => {
                self.abandon(None).await;
                None
            }
            Err(error) => {
                tracing::error!(view = self.view.name(), %error, "a view can't be opened; rebuilding it");
                self.abandon(None).await;
                None
            }
        }
    }

    async fn end(self, serving: Option<Generation>, mut farewells: JoinSet<()>) {
        let all = async { while farewells.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::warn!(
                view = self.view.name(),
                "old tables are still being read; they are deleted at the next start"
            );
        }
        if let Some(readers) = self.store.readers()
            && tokio::time::timeout(FAREWELL, readers.close())
                .await
                .is_err()
        {
            tracing::warn!(view = self.view.name(), "the view is still being read");
        }
        if let Some(generation) = serving
            && let Err(error) = generation.close().await
        {
            tracing::warn!(view = self.view.name(), %error, "a view could not be closed; it is at an earlier event at the next start");
        }
    }
}

/// Waits for the readers of tables that serve no more, and deletes them.
async fn bid_farewell(
    readers: Option<Arc<AnyPool>>,
    tables: Option<Generation>,
) -> Result<(), ViewError> {
    if let Some(readers) = readers {
        readers.close().await;
    }
    match tables {
        Some(tables) => tables.discard().await,
        None => Ok(()),
    }
}
