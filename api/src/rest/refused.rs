//! What was refused for want of a right goes on the record, whoever refused it.
//!
//! The committer records what it refuses itself. Much is refused before anything is decided, most of all
//! looks; those answers say so of themselves, and are recorded here.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hansard_commands::caller::Caller as Asking;
use hansard_commands::error::CommandError;
use hansard_domain::id::UserId;
use parking_lot::Mutex;

use super::failure::{Failure, Refusal};
use crate::app::App;

/// Who asks, once it is known. Every request carries one.
#[derive(Debug, Clone, Default)]
pub struct AskedBy(Arc<Mutex<Option<Arc<Asking>>>>);

impl AskedBy {
    /// A request that is begun again is asked by whoever it is then.
    pub fn tell(&self, asking: &Arc<Asking>) {
        *self.0.lock() = Some(asking.clone());
    }

    /// The one who asks; `None` where nobody was interested.
    pub fn asking(&self) -> Option<Arc<Asking>> {
        self.0.lock().clone()
    }

    /// Whose session it is, where it is one.
    pub fn user(&self) -> Option<UserId> {
        self.0.lock().as_ref()?.user.clone()
    }
}

/// Records a refusal, or has the node that writes answer where this one can't.
pub async fn record<N, F>(app: &App, request: Request, next: N) -> Response
where
    N: FnOnce(Request) -> F,
    F: Future<Output = Response>,
{
    let asked_by = request.extensions().get::<AskedBy>().cloned();
    let response = next(request).await;
    let Some(Refusal { permission, room }) = response.extensions().get().cloned() else {
        return response;
    };
    let Some(asking) = asked_by.as_ref().and_then(AskedBy::asking) else {
        return response;
    };
    match app.commands.refuse(&asking, permission, room).await {
        Ok(()) => response,
        Err(CommandError::Follower) => Failure::elsewhere().into_response(),
        Err(error) => {
            tracing::warn!(%error, "a refusal is not on the record yet");
            response
        }
    }
}
