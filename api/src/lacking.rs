//! Puts it on the record when a view lacks events that it could not take in.
//!
//! The node that feeds the view does so: when it begins to feed tables that lack some, and when more are
//! set aside; at most once in a while, with how many there are.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hansard_commands::bus::Commands;
use hansard_commands::caller::Caller;
use hansard_domain::audit::AuditEvent;
use hansard_projections::{Lacking, Projector};
use tokio::task::JoinSet;

/// Between two events about one view.
const PAUSE: Duration = Duration::from_secs(10);

/// What is recorded here, by its name.
const RECORDED: &str = "EventsSetAside";

/// Watches all views until it is dropped.
pub async fn record(projector: Arc<Projector>, commands: Commands) {
    let mut watching = JoinSet::new();
    for view in projector.views() {
        watching.spawn(watch(projector.clone(), commands.clone(), view.name));
    }
    while watching.join_next().await.is_some() {}
}

async fn watch(projector: Arc<Projector>, commands: Commands, view: &'static str) {
    let Ok(mut lacking) = projector.lacking(view) else {
        return;
    };
    let mut told = Lacking::default();
    loop {
        let now = *lacking.borrow_and_update();
        let more = now.generation != told.generation || now.events > told.events;
        if now.fed_here && now.events > 0 && more {
            if let Err(error) = tell(&projector, &commands, view, now).await {
                tracing::warn!(view, error, "that a view lacks events can't be recorded");
            }
            tokio::time::sleep(PAUSE).await;
        }
        told = now;
        if lacking.changed().await.is_err() {
            return;
        }
    }
}

async fn tell(
    projector: &Projector,
    commands: &Commands,
    view: &'static str,
    now: Lacking,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let latest = projector.set_aside(view, 1).await?;
    // A view that can't take in what is recorded here would have it recorded again, without an end.
    let Some(latest) = latest.into_iter().find(|latest| latest.event != RECORDED) else {
        return Ok(());
    };
    let caller = Caller::system("views.setAside");
    commands
        .run(&caller, move |decision| {
            decision.audit(AuditEvent::EventsSetAside {
                view: view.to_owned(),
                generation: now.generation,
                events: now.events,
                position: latest.position.0,
                event: latest.event.clone(),
                reason: latest.reason.clone(),
            });
            Ok(())
        })
        .await?;
    Ok(())
}
