//! Knowing the newest position, whichever node wrote it.

use std::time::Duration;

use hansard_domain::log::Position;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{announce, reader};
use crate::postgres::{Database, advice};

/// How often to ask, should a notification have been lost.
const ASKING: Duration = Duration::from_millis(500);

/// The pauses between attempts to listen grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Asks for the newest position from time to time, until the database is closed.
pub async fn ask(database: Database, newest: watch::Sender<Position>) {
    let mut ticks = interval(ASKING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut away = false;
    loop {
        ticks.tick().await;
        match reader::head(&database).await {
            Ok(head) => {
                if std::mem::take(&mut away) {
                    tracing::info!("the event log in PostgreSQL is back");
                }
                announce(&newest, head);
            }
            Err(sqlx::Error::PoolClosed) => return,
            Err(error) if !std::mem::replace(&mut away, true) => {
                let error = advice(&error);
                tracing::warn!(error, "the event log in PostgreSQL is away");
            }
            Err(_) => {}
        }
    }
}

/// Hears of the newest position as soon as it is written, until the database is closed.
pub async fn listen(database: Database, newest: watch::Sender<Position>) {
    let mut pause = Duration::from_millis(100);
    loop {
        match hear(&database, &newest, &mut pause).await {
            Ok(()) => tracing::debug!("the connection that listens was lost"),
            Err(sqlx::Error::PoolClosed) => return,
            Err(error) => tracing::debug!(%error, "listening to PostgreSQL failed"),
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Listens until the connection is lost.
async fn hear(
    database: &Database,
    newest: &watch::Sender<Position>,
    pause: &mut Duration,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(database.pool()).await?;
    listener.eager_reconnect(false);
    listener.listen(&database.channel()).await?;
    *pause = Duration::from_millis(100);
    // What was written before anybody listened.
    announce(newest, reader::head(database).await?);
    while let Some(heard) = listener.try_recv().await? {
        if let Ok(position) = heard.payload().parse() {
            announce(newest, Position(position));
        }
    }
    Ok(())
}
