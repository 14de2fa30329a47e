//! HTTP as it comes in: the connections, what clients may take of them, TLS, and the headers that all
//! answers have. What is asked and answered is not here.
//!
//! Only HTTP/1 is spoken, with TLS or without. The limits, all of which hold for everybody who can reach
//! the address:
//!
//! | what | limit | flag |
//! | --- | --- | --- |
//! | connections | 10,000, or what the limit of open files leaves (which is raised as far as it may be); beyond it those leave that wait for their client and have used up most of their time | `--max-connections` |
//! | connections of one address, or of one IPv6 /64 | an eighth of all, at least 64; behind proxies requests under way of one client instead | `--connections-per-address` |
//! | the reserve beyond both | 16, four of an address, for `/health` and `/ready` alone; everything else gets 503 there | |
//! | the head of a request | 32 KiB, 100 fields (431 beyond) | |
//! | the time until it is there, TLS included | 10 s from the connection or its first byte; 3 s in the reserve | `--header-timeout` |
//! | a body | 10 MiB (413 beyond) | `--body-limit` |
//! | the time that a body keeps the server waiting | 10 s, less a second for each KiB that arrived (408 beyond) | `--body-timeout` |
//! | all bodies in memory | 256 MiB, or four of the largest (503 beyond) | |
//! | a request, until its answer begins | 30 s (503 beyond) | `--request-timeout` |
//! | the time that a client does not take its answer | 30 s, less a second for each KiB that it took | `--write-timeout` |
//! | a connection between two requests | 75 s | `--idle-timeout` |
//! | what is taken in of a body that nobody read | 256 KiB and 1 s; more ends the connection, which is said in the answer | |
//! | what is thrown away before a connection closes | 3 s of silence, 30 s altogether | |
//! | a peer that is gone without a word | 60 s | |
//! | a page of messages, whatever its `count` | 32 MiB, on to the end of a time; clients read on | |
//! | answers of more than 100 things, or of all there are, that are made at a time | 4, one of them for an account; others wait for their turn, four of an account (429 beyond) | |
//! | passwords that are hashed at a time | a core less than there are, at least one; 64 for each of them wait, those of a site or an account in turn, whoever was here before first (503 beyond) | |
//! | answers of more than 64 KiB that wait to be taken | 512 MiB, half of it for a network, an eighth for an account, in 60 s and a second for each 64 KiB | |
//! | requests at a time, and requests in a time | see [`rate_limit`](crate::rest::rate_limit) | settings |
//!
//! An event feed is an answer that does not end: it counts as a connection, and may be silent for as
//! long as it likes, but its client has to take what comes.

mod accept;
pub mod body;
mod connection;
mod connections;
mod headers;
mod limits;
mod listen;
mod pace;
mod service;
mod stream;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;

use self::accept::Acceptor;
use self::body::Memory;
pub use self::connection::{Ending, Reason};
use self::connections::Connections;
pub use self::limits::Limits;
pub use self::listen::Listeners;
use self::service::Requests;
pub use self::tls::Tls;

/// How often it is looked which connections took too long.
const SWEEP: Duration = Duration::from_millis(250);

/// How long clients that have begun to ask may take for it once the server was told to stop.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long clients may take then for what they send and what they are being sent.
const LAST_BYTES: Duration = Duration::from_secs(4);

/// Serves until it is told to stop, and then until every connection has ended.
pub async fn serve(
    listeners: Listeners,
    router: Router,
    limits: Limits,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
) {
    let connections = Connections::new(limits.clone());
    let requests = Arc::new(Requests {
        router,
        memory: Memory::new(limits.bodies),
        limits,
        secure: tls.is_some(),
    });
    let following = tls.clone().map(|tls| {
        let stop = stop.clone();
        tokio::spawn(async move { tls.follow(stop).await })
    });
    let sweeping = tokio::spawn(sweep(connections.clone()));
    let acceptor = Acceptor {
        connections: connections.clone(),
        requests,
        tls,
        stop,
    };
    acceptor.run(listeners).await;
    connections.finish();
    let last_call = tokio::time::timeout(LAST_CALL, connections.emptied());
    if last_call.await.is_err() {
        connections.dismiss_waiting();
        let mut wait = LAST_BYTES;
        while tokio::time::timeout(wait, connections.emptied())
            .await
            .is_err()
        {
            connections.dismiss_slow();
            wait = SWEEP;
        }
    }
    sweeping.abort();
    if let Some(following) = following
        && let Err(error) = following.await
    {
        tracing::error!(%error, "the certificate was not followed any more");
    }
}

async fn sweep(connections: Arc<Connections>) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        connections.sweep();
    }
}
