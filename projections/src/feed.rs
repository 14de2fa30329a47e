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
use crate::engine::{Engine, Namespace, TIME};
use crate::generation::Generation;
use crate::nodes::{Announcement, Duty, Nodes};
use crate::rebuild::{Progress, Told};
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

/// After how long without an event a view's write-ahead log is emptied.
const IDLE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 5_000 });

/// How often what was erased is scrubbed at most: each time costs a sync of the file.
const SCRUB: Duration = Duration::from_millis(100);

/// How long readers may be in the way of scrubbing before none is let in for it: where they come without a pause
/// there would never be none.
const IN_THE_WAY: Duration = Duration::from_secs(1);

/// How long those are waited for that were let in: what a statement may take, and a little more.
const LET_OUT: Duration = TIME.saturating_add(Duration::from_secs(1));

/// After how long they are kept out again, where one took longer.
const AGAIN: Duration = Duration::from_secs(30);

/// How often it is looked how large a write-ahead log is, and how large it may become.
const SIZES: Duration = Duration::from_secs(10);
const LARGE: u64 = 256 << 20;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Between two tries to open tables on a server that is away.
const RETRY: Duration = Duration::from_millis(500);

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
    /// Of the rebuild on the node that feeds.
    pub heard: Told,
    pub nodes: Arc<Nodes>,
    pub duty: watch::Receiver<Duty>,
    /// The term of the node whose announcements were heeded last.
    pub term: i64,
    pub stop: CancellationToken,
}

enum Interruption {
    Stop,
    /// This node's duty is another one now.
    Relieved,
    Adopt(Adopt),
}

impl Feed {
    /// Feeds the view or follows who does, until it is stopped.
    pub async fn run(mut self, mut serving: Option<Generation>) {
        let mut farewells = JoinSet::new();
        let mut opened = true;
        loop {
            let duty = *self.duty.borrow_and_update();
            match duty {
                Duty::Feed => {
                    if opened {
                        self.store.fed_here(true);
                    } else {
                        serving = self.engage(&mut farewells).await;
                    }
                    serving = self.feed(serving.take(), &mut farewells).await;
                }
                Duty::Follow => {
                    // Without a last word: another node feeds by now.
                    serving = None;
                    self.store.fed_here(false);
                    self.heed_others(&mut farewells).await;
                }
            }
            opened = false;
            if self.stop.is_cancelled() {
                break;
            }
        }
        self.end(serving, farewells).await;
    }

    /// Feeds the view until it is stopped, or this node's duty changes. Without tables it waits to be
    /// given some.
    async fn feed(
        &mut self,
        mut serving: Option<Generation>,
        farewells: &mut JoinSet<()>,
    ) -> Option<Generation> {
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
                Ok(Interruption::Stop | Interruption::Relieved) => return serving,
                Ok(Interruption::Adopt(adopt)) => {
                    serving = self.adopt(serving, adopt, farewells).await;
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
                        () = self.stop.cancelled() => return serving,
                        Ok(()) = self.duty.changed() => {
                            self.duty.mark_changed();
                            return None;
                        }
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    drop(serving.take());
                    serving = self.engage(farewells).await;
                }
            }
        }
    }

    /// Opens the serving tables, once more or after another node: what an old connection was in the
    /// middle of is undone. `None` if there are none that could be fed.
    async fn engage(&mut self, farewells: &mut JoinSet<()>) -> Option<Generation> {
        // Until it is known that nobody else writes to them.
        self.store.fed_here(false);
        loop {
            let error = match self.open(farewells).await {
                Ok(Some(generation)) => return Some(generation),
                Ok(None) => {
                    self.abandon(None).await;
                    return None;
                }
                Err(ViewError::Elsewhere) => return None,
                Err(error @ ViewError::Unavailable(_)) if self.engine.term().is_some() => error,
                Err(error) => {
                    tracing::error!(view = self.view.name(), %error, "a view can't be opened; rebuilding it");
                    self.abandon(None).await;
                    return None;
                }
            };
            // A file that can't be opened is made anew; a server that is away comes back.
            tracing::warn!(view = self.view.name(), %error, "a view can't be opened; trying again");
            tokio::select! {
                () = self.stop.cancelled() => return None,
                // Seen again by whoever asked.
                Ok(()) = self.duty.changed() => {
                    self.duty.mark_changed();
                    return None;
                }
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn open(&mut self, farewells: &mut JoinSet<()>) -> Result<Option<Generation>, ViewError> {
        let Some(number) = self.catalog.serving().await?.remove(self.view.name()) else {
            return Ok(None);
        };
        let opened =
            Generation::open(&self.engine, &self.journal, self.view.clone(), number).await?;
        let Some(generation) = opened else {
            return Ok(None);
        };
        self.serve(
            generation.namespace().clone(),
            generation.position(),
            farewells,
        )?;
        self.store.lacks(generation.set_aside(), true);
        self.store.fed_here(true);
        self.store.place(generation.position());
        Ok(Some(generation))
    }

    /// Answers from a generation, if it does not yet.
    fn serve(
        &self,
        namespace: Namespace,
        applied: Position,
        farewells: &mut JoinSet<()>,
    ) -> Result<(), ViewError> {
        if self.store.is_serving() && self.store.generation() == namespace.generation {
            return Ok(());
        }
        let readers = self.engine.readers(&namespace)?;
        if let Some(before) = self.store.serve(readers, namespace.generation, applied) {
            farewells.spawn(async move { before.close().await });
        }
        Ok(())
    }

    /// Answers from what another node feeds, until this one's duty changes.
    async fn heed_others(&mut self, farewells: &mut JoinSet<()>) {
        let mut heard = self.nodes.heard();
        loop {
            let announcement = heard.borrow_and_update().clone();
            if let Err(error) = self.heed(&announcement, farewells) {
                tracing::warn!(view = self.view.name(), %error, "what another node feeds can't be read");
            }
            while farewells.try_join_next().is_some() {}
            tokio::select! {
                () = self.stop.cancelled() => return,
                Ok(()) = self.duty.changed() => {
                    self.duty.mark_changed();
                    return;
                }
                Some(adopt) = self.adoptions.recv() => {
                    // Who feeds now deletes the tables.
                    let _ = adopt.generation.discard().await;
                    let _ = adopt.done.send(Err(ViewError::Elsewhere));
                }
                Ok(()) = heard.changed() => {}
            }
        }
    }

    /// Does as the node says that feeds.
    pub fn heed(
        &mut self,
        announcement: &Announcement,
        farewells: &mut JoinSet<()>,
    ) -> Result<(), ViewError> {
        let Some(announced) = announcement.views.get(self.view.name()) else {
            return Ok(());
        };
        let applied = Position(announced.applied);
        // Tables of another version are none that this node's queries could read.
        let same = announced.version == self.view.version();
        match announced.generation.filter(|_| same) {
            Some(generation) => {
                let view = self.view.name().to_owned();
                self.serve(Namespace { view, generation }, applied, farewells)?;
                self.store.lacks(announced.set_aside, false);
                if announcement.term == self.term {
                    self.store.advance(applied);
                } else {
                    self.store.place(applied);
                }
            }
            None => {
                if let Some(readers) = self.store.withdraw() {
                    farewells.spawn(async move { readers.close().await });
                }
            }
        }
        self.term = announcement.term;
        let building = announced.building.map(Position);
        self.heard.send_if_modified(|told| {
            let before = told.map(|progress| progress.position);
            let (since, head) = (Instant::now().into_std(), self.journal.head());
            *told = building.map(|position| Progress {
                position,
                head,
                since: told.map_or(since, |progress| progress.since),
            });
            before != building
        });
        self.scrubbed.send_replace(Position(announced.scrubbed));
        self.gauge(self.store.applied());
        Ok(())
    }

    async fn wait(&mut self) -> Result<Interruption, ViewError> {
        tokio::select! {
            () = self.stop.cancelled() => Ok(Interruption::Stop),
            Ok(()) = self.duty.changed() => {
                self.duty.mark_changed();
                Ok(Interruption::Relieved)
            }
            adopt = self.adoptions.recv() => Ok(adopt.map_or(Interruption::Stop, Interruption::Adopt)),
        }
    }

    /// Applies what arrives, until something else is to be done.
    async fn follow(&mut self, generation: &mut Generation) -> Result<Interruption, ViewError> {
        let mut arriving = Folded::new(self.journal.follow(generation.position()), TRANSACTION);
        let mut scrubs = tokio::time::interval(SCRUB);
        let mut sizes = tokio::time::interval(SIZES);
        // Since when readers are in the way.
        let mut in_the_way: Option<Instant> = None;
        let mut suspicions = view::suspicions();
        let mut wanted = self.store.wanted();
        let mut gathered = Vec::new();
        let gathering = tokio::time::sleep(GATHER);
        tokio::pin!(gathering);
        let resting = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(resting);
        // What came before this process may have left much, too.
        let (mut grown, idle) = (true, tokio::time::sleep(IDLE));
        tokio::pin!(idle);
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
                Ok(()) = self.duty.changed() => {
                    self.duty.mark_changed();
                    return Ok(Interruption::Relieved);
                }
                Some(adopt) = self.adoptions.recv() => return Ok(Interruption::Adopt(adopt)),
                Ok(()) = suspicions.changed() => generation.check().await?,
                _ = scrubs.tick(), if generation.unscrubbed() => {
                    let for_long = in_the_way.is_some_and(|since| since.elapsed() >= IN_THE_WAY);
                    let mut kept_out = None;
                    if for_long && matches!(self.engine, Engine::Sqlite(_)) {
                        kept_out = self.store.without_readers(LET_OUT).await;
                        in_the_way = Some(Instant::now() + AGAIN);
                    }
                    generation.scrub().await?;
                    drop(kept_out);
                    if generation.unscrubbed() {
                        in_the_way.get_or_insert_with(Instant::now);
                    } else {
                        in_the_way = None;
                    }
                    self.publish(generation);
                    scrubs.reset();
                }
                _ = sizes.tick() => {
                    if generation.written_ahead() > LARGE {
                        let _kept_out = self.store.without_readers(LET_OUT).await;
                        if !generation.cut_back().await? {
                            sizes.reset_after(AGAIN);
                        }
                    }
                }
                entries = arriving.next() => {
                    let entries = entries.ok_or_else(|| {
                        ViewError::Unavailable("the journal has ended".to_owned())
                    })??;
                    grown = true;
                    idle.as_mut().reset(Instant::now() + IDLE);
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
                () = &mut idle, if grown && gathered.is_empty() && !generation.unfinished() => {
                    grown = !generation.cut_back().await?;
                    idle.as_mut().reset(Instant::now() + IDLE);
                }
                // Only where nothing else is to be done, and so little at once that whoever comes
                // meanwhile hardly waits. It rests as long as it took, so that half of those who come
                // don't wait at all.
                () = &mut resting, if generation.unfinished() => {
                    let begun = Instant::now();
                    let gone_on = generation.go_on().await;
                    self.store.touched_anywhere();
                    gone_on?;
                    resting.as_mut().reset(Instant::now() + begun.elapsed());
                }
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
        let applied = generation.apply(entries).await;
        match &applied {
            Ok(()) => self.store.touched(&*self.view, entries),
            // A part of it may have been taken in.
            Err(_) => self.store.touched_anywhere(),
        }
        applied?;
        let name = self.view.name();
        metrics::histogram!("hansard_view_apply_seconds", "view" => name)
            .record(started.elapsed().as_secs_f64());
        self.publish(generation);
        Ok(())
    }

    fn publish(&self, generation: &Generation) {
        let position = generation.position();
        self.store.lacks(generation.set_aside(), true);
        self.store.advance(position);
        self.scrubbed.send_if_modified(|scrubbed| {
            let further = *scrubbed < generation.scrubbed();
            *scrubbed = generation.scrubbed().max(*scrubbed);
            further
        });
        self.gauge(position);
    }

    fn gauge(&self, position: Position) {
        let name = self.view.name();
        let lag = self.journal.head().0.saturating_sub(position.0);
        metrics::gauge!("hansard_view_position", "view" => name).set(position.0 as f64);
        metrics::gauge!("hansard_view_lag", "view" => name).set(lag as f64);
        metrics::gauge!("hansard_view_set_aside", "view" => name)
            .set(self.store.lacking().borrow().events as f64);
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
        self.store.fed_here(true);
        // What the tables before had scrubbed says nothing of these.
        self.scrubbed.send_replace(generation.scrubbed());
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
