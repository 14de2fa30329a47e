//! `hansard serve`: opens everything, serves, and closes it again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::rest;

/// How long requests under way may take to finish once the server was told to stop.
const GRACE: Duration = Duration::from_secs(30);

/// Why the server does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the address {0} is in use already; stop what listens there, or say --listen ADDRESS")]
    AddressInUse(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    NotListening {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    #[error("serving ended: {0}")]
    Serving(io::Error),
}

pub async fn run(config: Config) -> Result<(), ServeError> {
    let listener = listen(config.listen).await?;
    let app = App {
        config: Arc::new(config),
    };
    let service = rest::service(app).into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| {
        // Answers are written whole; waiting for more to send would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is not set to send at once");
        }
    });
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let mut stopping = stopped.clone();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
        // An error means that the sender is gone, which is the end too.
        let _ = stopped.wait_for(|stop| *stop).await;
    });
    let told = told_to_stop()?;
    let deadline = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::spawn(async move {
        told.await;
        stop.send_replace(true);
    });
    tokio::select! {
        served = serving => served.map_err(ServeError::Serving)?,
        () = deadline => tracing::warn!("requests under way did not finish in time"),
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::AddressInUse(address),
            _ => ServeError::NotListening { address, source },
        })
}

/// Ends at the first SIGTERM or SIGINT.
fn told_to_stop() -> Result<impl Future<Output = ()>, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    })
}
