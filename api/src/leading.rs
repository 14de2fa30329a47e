//! What one of several nodes does for all: webhooks go out, retention is enforced, what deletions leave
//! is erased.
//!
//! A node begins when it comes to lead and ends when it does no longer. What it has not finished its
//! successor takes up, from cursors that both see or by events that say what is done. Where cursors are a
//! node's own one may be long behind; nothing may follow from that.

use std::sync::Arc;

use hansard_commands::bootstrap;
use hansard_commands::bus::Commands;
use hansard_commands::eraser::Eraser;
use hansard_commands::integration::dispatch::Dispatcher;
use hansard_commands::integration::outgoing::OutgoingWebhooks;
use hansard_commands::integration::sender::WebhookSender;
use hansard_commands::policy;
use hansard_commands::retention::{Retention, Status};
use hansard_commands::state::StateStore;
use hansard_domain::log::Position;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rest::rooms::index::Index;

/// What the duties need.
pub struct Duties {
    pub commands: Commands,
    pub index: Arc<Index>,
    pub state: Arc<dyn StateStore>,
    pub sender: Arc<dyn WebhookSender>,
    /// Settings that the environment sets: id and value.
    pub settings: Vec<(String, String)>,
}

/// What the duties tell of themselves; while another node does them, nothing.
#[derive(Clone)]
struct Told {
    retention: Arc<watch::Sender<Status>>,
    erased: Arc<watch::Sender<Position>>,
}

/// See the module.
pub struct Leading {
    told: Told,
    task: JoinHandle<()>,
}

impl Leading {
    /// Does the duties whenever this node leads, until it is told to stop.
    pub fn start(duties: Duties, leads: watch::Receiver<bool>, stop: CancellationToken) -> Self {
        let told = Told {
            retention: Arc::new(watch::Sender::default()),
            erased: Arc::new(watch::Sender::default()),
        };
        let task = tokio::spawn(run(duties, leads, told.clone(), stop));
        Self { told, task }
    }

    /// Tells when retention ran here, and runs again.
    pub fn retention(&self) -> watch::Receiver<Status> {
        self.told.retention.subscribe()
    }

    /// Tells how far the eraser has come here.
    pub fn erased(&self) -> watch::Receiver<Position> {
        self.told.erased.subscribe()
    }

    /// Waits for the duties to end after their token was cancelled.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the duties of a leading node ended badly");
        }
    }
}

async fn run(
    duties: Duties,
    mut leads: watch::Receiver<bool>,
    told: Told,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            led = leads.wait_for(|leads| *leads) => if led.is_err() {
                return;
            }
        }
        let end = stop.child_token();
        let term = tokio::spawn(duties.term(told.clone(), end.clone()));
        tokio::select! {
            () = stop.cancelled() => {}
            // An error means that the one who tells is gone, and the server with it.
            _ = leads.wait_for(|leads| !*leads) => {}
        }
        end.cancel();
        if let Err(error) = term.await {
            tracing::error!(%error, "a duty ended badly");
        }
        told.retention.send_replace(Status::default());
        told.erased.send_replace(Position::START);
    }
}

impl Duties {
    /// Does the duties until the token is cancelled.
    fn term(&self, told: Told, end: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (commands, index) = (self.commands.clone(), self.index.clone());
        let (state, sender) = (self.state.clone(), self.sender.clone());
        let settings = self.settings.clone();
        async move {
            if let Err(error) = bootstrap::overwrite_settings(&commands, settings).await {
                tracing::error!(%error, "the settings of the environment are not set");
            }
            let dispatcher = Dispatcher::new(commands.clone(), sender);
            let dispatching = tokio::spawn(dispatcher.run(end.clone()));
            let outgoing =
                OutgoingWebhooks::new(&*commands.model_at(commands.journal().head()).await);
            let webhooks = policy::start(
                Arc::new(outgoing),
                commands.clone(),
                state.clone(),
                outgoing.first(),
                end.clone(),
            );
            let webhooks = webhooks.await;
            let eraser = policy::start(
                Arc::new(Eraser::new(index.clone())),
                commands.clone(),
                state.clone(),
                Position::START,
                end.clone(),
            );
            let eraser = eraser.await;
            let retention = Retention::load(commands, index.clone(), index, state);
            let retention = retention.await.start(end.clone());
            let mut status = retention.watch();
            let mut erased = eraser.watch();
            loop {
                told.retention
                    .send_replace(status.borrow_and_update().clone());
                told.erased.send_replace(*erased.borrow_and_update());
                tokio::select! {
                    () = end.cancelled() => break,
                    changed = status.changed() => if changed.is_err() {
                        break;
                    },
                    changed = erased.changed() => if changed.is_err() {
                        break;
                    }
                }
            }
            retention.stopped().await;
            eraser.stopped().await;
            webhooks.stopped().await;
            if let Err(error) = dispatching.await {
                tracing::error!(%error, "the deliveries of webhooks ended badly");
            }
        }
    }
}
