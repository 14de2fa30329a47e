//! Requests that only the node can do that writes the log: a node that does not hands them on to it.
//!
//! Whatever changes something is handed on at once; what only looks is tried here first, and handed
//! on if it turns out to record something (an auditor's look), or to need a session that this node
//! has not heard of. So is what changes this node's own views alone. While no node writes, a request
//! waits for one that does.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hansard_domain::log::Role;
use hansard_infra::http_out::peer::{PeerAnswer, PeerError, PeerRequest};

use super::body;
use super::caller::client_address;
use super::exchange::{self, RequestId};
use super::failure::{Elsewhere, Failure};
use crate::app::App;
use crate::cluster::{CLIENT, Cluster, FOLLOWS, PATIENCE, SECRET};

/// How long a request waits before it is tried again.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The paths of requests that concern the views of the node that is asked.
const OWN_VIEWS: &str = "/api/hansard/v1/views/";

/// What belongs to a connection and not to what goes through it.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// A request that may be done more than once: here, and on other nodes.
#[derive(Clone)]
struct Kept {
    parts: Parts,
    body: Bytes,
}

/// Answers a request here, or has it answered by the node that writes, where nodes elect one.
pub async fn hand_on<N, F>(app: &App, mut request: Request, next: N) -> Response
where
    N: FnOnce(Request) -> F + Clone,
    F: Future<Output = Response>,
{
    let Some(cluster) = app.cluster.clone() else {
        return next(request).await;
    };
    match cluster.handed_on(request.headers()) {
        Some(false) => {}
        Some(true) => {
            adopt(&mut request);
            let mut response = next(request).await;
            if response.extensions().get::<Elsewhere>().is_some() {
                response
                    .headers_mut()
                    .insert(FOLLOWS, HeaderValue::from_static("true"));
            }
            return response;
        }
        None => {
            let wrong = "The secret of the nodes is another one [error-node-secret]";
            return Failure::forbidden_because(wrong).into_response();
        }
    }
    let (parts, body) = request.into_parts();
    let body = match body::read(body, app.config.body_limit).await {
        Ok(body) => body,
        Err(failure) => return failure.into_response(),
    };
    let kept = Kept { parts, body };
    let looks = kept.parts.method.is_safe();
    let here_first = looks || kept.parts.uri.path().starts_with(OWN_VIEWS);
    if here_first || app.commands.journal().role() != Role::Follower {
        let response = next.clone()(kept.clone().into()).await;
        if response.extensions().get::<Elsewhere>().is_none() {
            return response;
        }
    }
    let since = Instant::now();
    loop {
        let answer = if app.commands.journal().role() == Role::Follower {
            ask(app, &cluster, &kept).await
        } else {
            Ok(next.clone()(kept.clone().into()).await)
        };
        match answer {
            Ok(response) if response.extensions().get::<Elsewhere>().is_none() => return response,
            Err(PeerError::Unanswered(error)) if !looks => {
                tracing::warn!(error, "a request was handed on and not answered");
                let unknown = "The node that writes did not answer; whether it was done is not \
                               known [error-unavailable]";
                return Failure::unavailable(unknown).into_response();
            }
            Ok(_) | Err(_) if since.elapsed() > PATIENCE => {
                return Failure::elsewhere().into_response();
            }
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

impl From<Kept> for Request {
    fn from(kept: Kept) -> Self {
        Self::from_parts(kept.parts, Body::from(kept.body))
    }
}

/// Takes a request that another node handed on as if its client had sent it here.
fn adopt(request: &mut Request) {
    let headers = request.headers_mut();
    headers.remove(SECRET);
    let client = headers.remove(CLIENT);
    let client = client.and_then(|client| client.to_str().ok()?.parse::<IpAddr>().ok());
    if let Some(client) = client {
        headers.remove("x-forwarded-for");
        let client = ConnectInfo(SocketAddr::new(client, 0));
        request.extensions_mut().insert(client);
    }
}

/// Has the node that writes do it. The answer is marked where that one doesn't write either.
async fn ask(app: &App, cluster: &Cluster, kept: &Kept) -> Result<Response, PeerError> {
    let model = app.commands.model();
    let writer = model
        .writer()
        .filter(|writer| *writer != cluster.address)
        .ok_or_else(|| PeerError::Unreached("nobody is elected".to_owned()))?;
    let Kept { parts, body } = kept;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let client = client_address(
        &parts.headers,
        &parts.extensions,
        app.config.forwarded_count,
    );
    let mut headers = passed_on(&parts.headers);
    let id = parts.extensions.get().map(RequestId::as_str);
    for (name, value) in [
        (SECRET, cluster.secret()),
        (CLIENT, HeaderValue::from_str(&client.to_string()).ok()),
        (
            exchange::REQUEST_ID,
            id.and_then(|id| HeaderValue::from_str(id).ok()),
        ),
    ] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    let request = PeerRequest {
        method: parts.method.clone(),
        url: format!("{writer}{path}"),
        headers,
        body: body.clone(),
        timeout: app.config.request_timeout(),
    };
    let PeerAnswer {
        status,
        headers,
        body,
    } = cluster.peers.send(request).await?;
    if headers.contains_key(FOLLOWS) {
        return Err(PeerError::Unreached(
            "it does not write any more".to_owned(),
        ));
    }
    // Whoever goes on asking here is to see what was done there.
    if let Some(position) = exchange::position(&headers) {
        exchange::heard(app, position).await;
    }
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    *response.headers_mut() = passed_on(&headers);
    Ok(response)
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}
