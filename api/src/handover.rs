//! Operations that only the node can do that writes the log: a node that does not hands them over to it, by
//! their name, with all that was asked.
//!
//! Whatever records something is handed over at once. What only looks is tried here first, and handed over
//! if it turns out to record something (an auditor's look), or to need a session that this node has not
//! heard of. While no node writes, a request waits for one that does.
//!
//! What was handed over has a number of its own. A node whose answer was lost asks once more under the same
//! number: the node that writes gives the same answer again, or, where another one writes by now, sees in
//! the log whether it was done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _, Shared};
use hansard_commands::caller::Caller as Asking;
use hansard_domain::fair;
use hansard_domain::log::{Position, Role};
use hansard_domain::network::Network;
use hansard_infra::http_out::peer::{Method, PeerAnswer, PeerError, PeerRequest};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::cluster::{Cluster, FOLLOWS, PATIENCE, SECRET};
use crate::operations::asked::Asked;
use crate::operations::reply::Reply;
use crate::operations::{self, Effect, Operation};
use crate::rest::exchange::{self, REQUEST_ID, number_of};
use crate::rest::failure::Failure;
use crate::rest::{body, operation_called, rate_limit};

/// Where nodes ask each other.
pub const PATH: &str = "/api/hansard/node/operations";

/// How long a request waits before it is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// How long, and of how many, answers are kept for nodes that did not get them.
const KEPT_FOR: Duration = Duration::from_secs(60);
const KEPT: u64 = 4_096;

/// The largest of them, in bytes: all together take 64 MiB at most.
const LARGEST_KEPT: usize = 16 << 10;

/// What is handed over beside the body of a request, at most: its query and what its client says of itself.
const BESIDE: usize = 1 << 20;

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

/// An operation as it is handed over.
#[derive(Serialize, Deserialize)]
struct Handed {
    method: operations::Method,
    operation: String,
    /// The same for each attempt.
    number: String,
    /// The end of the log when it was handed over first.
    after: Position,
    /// An answer to it was lost.
    again: bool,
    asked: Asked,
}

/// What was answered.
#[derive(Clone)]
struct Outcome {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        (self.status, self.headers, self.body).into_response()
    }
}

/// The answers that nodes may have lost. Cheap to clone.
#[derive(Clone)]
pub struct Outcomes(Cache<String, Shared<BoxFuture<'static, Outcome>>>);

impl Default for Outcomes {
    fn default() -> Self {
        Self(
            Cache::builder()
                .max_capacity(KEPT)
                .time_to_live(KEPT_FOR)
                .build(),
        )
    }
}

/// Answers here, or has the node that writes answer, where nodes elect one. `admitted` is what this node
/// makes of the caller.
pub async fn answer(
    app: &App,
    operation: &'static Operation,
    asked: Asked,
    admitted: Result<Arc<Asking>, Failure>,
) -> Response {
    let looks = operation.effect != Effect::Records;
    let Some(cluster) = &app.cluster else {
        return match admitted {
            Ok(asking) => written(asked.perform_once(app, operation, asking).await),
            Err(failure) => failure.into_response(),
        };
    };
    if looks || app.commands.journal().role() != Role::Follower {
        match perform_for(app, operation, &asked, admitted).await {
            Err(failure) if failure.is_elsewhere() => {}
            done => return written(done),
        }
    }
    let now = app.commands.clock().now();
    let mut handed = Handed {
        method: operation.method,
        operation: operation.name(),
        number: app.commands.ids().id(now).to_string(),
        after: app.commands.journal().head(),
        again: false,
        asked,
    };
    let since = Instant::now();
    loop {
        if app.commands.journal().role() == Role::Follower {
            match ask(app, cluster, &handed).await {
                Ok(response) => return response,
                Err(PeerError::Unanswered(error)) => {
                    tracing::warn!(error, "what was handed over was not answered");
                    handed.again = true;
                }
                Err(PeerError::Unreached(_)) => {}
            }
        } else if let Some(lost) = lost(app, &handed).await {
            return lost.into_response();
        } else {
            let admitted = handed.asked.admit(app, operation).await;
            match perform_for(app, operation, &handed.asked, admitted).await {
                Err(failure) if failure.is_elsewhere() => {}
                done => return written(done),
            }
        }
        if since.elapsed() > PATIENCE {
            let failure = if handed.again && !looks {
                Failure::outcome_unknown()
            } else {
                Failure::elsewhere()
            };
            return failure.into_response();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn perform_for(
    app: &App,
    operation: &Operation,
    asked: &Asked,
    admitted: Result<Arc<Asking>, Failure>,
) -> Result<Reply, Failure> {
    asked.perform(app, operation, admitted?).await
}

fn written(done: Result<Reply, Failure>) -> Response {
    match done {
        Ok(reply) => reply.into_response(),
        Err(failure) => failure.into_response(),
    }
}

/// Has the node that writes do it. It did not get it where it does not write any more.
async fn ask(app: &App, cluster: &Cluster, handed: &Handed) -> Result<Response, PeerError> {
    let model = app.commands.model();
    let writer = model
        .writer()
        .filter(|writer| *writer != cluster.address)
        .ok_or_else(|| PeerError::Unreached("nobody is elected".to_owned()))?;
    let unwritable = |error: serde_json::Error| PeerError::Unreached(error.to_string());
    let body = serde_json::to_vec(handed).map_err(unwritable)?;
    let mut headers = HeaderMap::new();
    let id = HeaderValue::from_str(&handed.asked.request_id).ok();
    for (name, value) in [(SECRET, cluster.secret()), (REQUEST_ID, id)] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    let request = PeerRequest {
        method: Method::POST,
        url: format!("{writer}{PATH}"),
        headers,
        body: body.into(),
        timeout: app.config.request_timeout(),
    };
    let PeerAnswer {
        status,
        headers,
        body,
    } = cluster.peers.send(request).await?;
    if headers.contains_key(FOLLOWS) {
        let follows = "it does not write any more";
        return Err(PeerError::Unreached(follows.to_owned()));
    }
    // Whoever goes on asking here is to see what was done there.
    if let Some(position) = exchange::position(&headers) {
        exchange::heard(app, position).await;
    }
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    let mut headers = headers;
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    *response.headers_mut() = headers;
    Ok(response)
}

/// The door for other nodes.
pub fn routes() -> Router<App> {
    Router::new().route(PATH, post(take))
}

async fn take(State(app): State<App>, request: Request) -> Response {
    let Some(cluster) = app.cluster.clone() else {
        return Failure::no_endpoint().into_response();
    };
    match cluster.handed_on(request.headers()) {
        Some(true) => {}
        Some(false) => return Failure::no_endpoint().into_response(),
        None => {
            let wrong = "The secret of the nodes is another one [error-node-secret]";
            return Failure::forbidden_because(wrong).into_response();
        }
    }
    // JSON of JSON: what is escaped once more.
    let most = app
        .config
        .body_limit
        .saturating_mul(2)
        .saturating_add(BESIDE);
    let handed = match body::read(request.into_body(), most).await {
        Ok(bytes) => serde_json::from_slice::<Handed>(&bytes),
        Err(failure) => return failure.into_response(),
    };
    let handed = match handed {
        Ok(handed) => handed,
        Err(error) => return Failure::plain(error.to_string()).into_response(),
    };
    let Some(operation) = operation_called(handed.method, &handed.operation) else {
        // Nodes of two versions.
        return Failure::no_endpoint().into_response();
    };
    let client = number_of(&Network::from(handed.asked.address));
    let answer = async {
        match operation.effect {
            Effect::Records => outcome(&app, operation, handed).await.into_response(),
            // It may be asked again, and answer a stream.
            Effect::Looks | Effect::OfThisNode => perform(&app, operation, handed.asked).await,
        }
    };
    fair::on_behalf_of(client, answer).await
}

/// What comes of it, or came of it before.
async fn outcome(app: &App, operation: &'static Operation, handed: Handed) -> Outcome {
    let number = handed.number.clone();
    let again = handed.again;
    let doing = app.outcomes.0.get_with(number.clone(), || {
        let doing = do_it(app.clone(), operation, handed).boxed().shared();
        // It goes on, whether or not somebody still waits for it.
        tokio::spawn(doing.clone());
        doing
    });
    let outcome = doing.await;
    // Where nothing was done another attempt may find the node writing. Of a large answer whoever lost it is
    // told that it was done.
    if outcome.headers.contains_key(FOLLOWS) || outcome.body.len() > LARGEST_KEPT {
        app.outcomes.0.invalidate(&number);
    }
    if again {
        tracing::debug!(number, "an answer was asked for again");
    }
    outcome
}

async fn do_it(app: App, operation: &'static Operation, handed: Handed) -> Outcome {
    let writes = app.commands.journal().role() != Role::Follower;
    let response = if !writes {
        follows(Failure::elsewhere())
    } else if let Some(lost) = lost(&app, &handed).await {
        lost.into_response()
    } else {
        perform(&app, operation, handed.asked).await
    };
    let (parts, body) = response.into_parts();
    // It was made whole.
    let body = axum::body::to_bytes(body, usize::MAX).await;
    Outcome {
        status: parts.status,
        headers: parts.headers,
        body: body.unwrap_or_default(),
    }
}

/// Does it, or tells that this node does not write.
async fn perform(app: &App, operation: &'static Operation, asked: Asked) -> Response {
    if let Some(refused) = rate_limit::count_handed(app, operation, &asked) {
        return refused;
    }
    let done = match asked.admit(app, operation).await {
        Ok(asking) => asked.perform_once(app, operation, asking).await,
        Err(failure) => Err(failure),
    };
    match done {
        Err(failure) if failure.is_elsewhere() => follows(failure),
        done => written(done),
    }
}

/// Tells the node that asks that this one does not write, and that nothing was done.
fn follows(failure: Failure) -> Response {
    let mut response = failure.into_response();
    let value = HeaderValue::from_static("true");
    response.headers_mut().insert(FOLLOWS, value);
    response
}

/// What is to be said of what an earlier attempt did, or may have done: `None` where it did nothing. The log
/// knows, by events after it was handed over first that name its request.
async fn lost(app: &App, handed: &Handed) -> Option<Failure> {
    if !handed.again {
        return None;
    }
    let id = handed.asked.request_id.as_str();
    let mut batches = app.commands.journal().all(handed.after);
    while let Some(batch) = batches.next().await {
        let entries = match batch {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "whether something was done can't be read");
                return Some(Failure::outcome_unknown());
            }
        };
        let mut named = entries.iter().map(|entry| entry.correlation.as_deref());
        if named.any(|correlation| correlation == Some(id)) {
            return Some(Failure::answer_lost());
        }
    }
    None
}
