//! One of several nodes leads: what must not be done twice at once is done by the one that holds an
//! advisory lock of the database.
//!
//! The lock belongs to a session, so it is free when the leader's connection ends: at once when the
//! node stops or dies, within some eight seconds when its machine or the network is gone (the server
//! finds that out by TCP's keepalives) or when it stands still. The leader asks on that connection all
//! the time whether it still holds the lock, so that a node that is cut off stops leading before
//! another one begins. One that stood still may take itself for the leader for an instant after it
//! goes on, until it is told that its connection is gone.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::postgres::{Database, advice, within};

/// How often the leader makes sure, and the others try.
const BEAT: Duration = Duration::from_millis(500);

/// A leader whose answer is late by this much no longer takes itself for one.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A node that stands still, its connections open, loses the lock: the server ends a session that has
/// not been heard of for ten beats.
const STANDSTILL: &str = "SET idle_session_timeout TO '5s'";

/// The candidacy of one node for one thing to lead in. It ends, and the lock with it, when dropped.
pub struct Leadership {
    leads: watch::Receiver<bool>,
    campaign: JoinSet<()>,
}

impl Leadership {
    /// Runs for it: from now on this node leads whenever nobody else does.
    pub fn campaign(database: &Database, name: &str) -> Self {
        let (announce, leads) = watch::channel(false);
        let candidate = Candidate {
            database: database.clone(),
            name: name.to_owned(),
            lock: database.lock(&format!("leader/{name}")),
            leads: announce,
        };
        let mut campaign = JoinSet::new();
        campaign.spawn(candidate.run());
        Self { leads, campaign }
    }

    /// Tells whether this node leads, now and whenever it changes.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }

    /// Steps down; when it returns this node doesn't lead, and the lock is free within a beat.
    pub async fn resign(mut self) {
        self.campaign.shutdown().await;
    }
}

struct Candidate {
    database: Database,
    name: String,
    lock: i64,
    leads: watch::Sender<bool>,
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.step_down();
    }
}

impl Candidate {
    async fn run(self) {
        loop {
            if let Err(error) = self.hold_office().await {
                let error = advice(&error);
                tracing::debug!(
                    error,
                    name = self.name,
                    "the connection of a candidate failed"
                );
            }
            if self.step_down() {
                tracing::warn!(name = self.name, "this node no longer leads");
            }
            sleep(BEAT).await;
        }
    }

    /// Tries for the lock, and then keeps it for as long as the connection lasts.
    async fn hold_office(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.database.connect().await?;
        let still = sqlx::raw_sql(STANDSTILL);
        within(PATIENCE, still.execute(&mut connection)).await??;
        while !within(PATIENCE, self.take(&mut connection)).await?? {
            sleep(BEAT).await;
        }
        tracing::info!(name = self.name, "this node leads");
        self.leads.send_replace(true);
        loop {
            // The server sleeps instead of this node, which so learns at once when it is cut off.
            let beat = sqlx::query("SELECT pg_sleep($1)").bind(BEAT.as_secs_f64());
            within(BEAT + PATIENCE, beat.execute(&mut connection)).await??;
        }
    }

    async fn take(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(self.lock)
            .fetch_one(connection)
            .await
    }

    /// Whether it had been leading.
    fn step_down(&self) -> bool {
        self.leads.send_if_modified(std::mem::take)
    }
}
