//! What one of several nodes does for all: webhooks go out, retention is enforced.
//!
//! A node begins when it comes to lead and ends when it does no longer. What it has not finished its
//! successor takes up, from cursors that both see or by events that say what is done.

use std::sync::Arc;

use hansard_commands::bus::Commands;
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
}

/// See the module.
pub struct Leading {
    retention: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

impl Leading {
    /// Does the duties whenever this node leads, until it is told to stop.
    pub fn start(duties: Duties, leads: watch::Receiver<bool>, stop: CancellationToken) -> Self {
        let (told, retention) = watch::channel(Status::default());
        let task = tokio::spawn(run(duties, leads, told, stop));
        Self { retention, task }
    }

    /// Tells when retention ran here, and runs again.
    pub fn retention(&self) -> watch::Receiver<Status> {
        self.retention.clone()
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
    told: watch::Sender<Status>,
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
        told.send_replace(Status::default());
    }
}

impl Duties {
    /// Does the duties until the token is cancelled.
    fn term(
        &self,
        told: watch::Sender<Status>,
        end: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (commands, index) = (self.commands.clone(), self.index.clone());
        let (state, sender) = (self.state.clone(), self.sender.clone());
        async move {
            let dispatcher = Dispatcher::new(commands.clone(), sender);
            let dispatching = tokio::spawn(dispatcher.run(end.clone()));
            let webhooks = policy::start(
                Arc::new(OutgoingWebhooks),
                commands.clone(),
                state.clone(),
                Position::START,
                end.clone(),
            );
            let webhooks = webhooks.await;
            let retention = Retention::load(commands, index.clone(), index, state);
            let retention = retention.await.start(end.clone());
            let mut status = retention.watch();
            loop {
                told.send_replace(status.borrow_and_update().clone());
                tokio::select! {
                    () = end.cancelled() => break,
                    changed = status.changed() => if changed.is_err() {
                        break;
                    }
                }
            }
            retention.stopped().await;
            webhooks.stopped().await;
            if let Err(error) = dispatching.await {
                tracing::error!(%error, "the deliveries of webhooks ended badly");
            }
        }
    }
}
