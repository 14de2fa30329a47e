//! How many requests of one client may be under way behind proxies, where a connection says nothing of
//! whose it is. Without a proxy, connections are counted instead.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::super::caller::client_address;
use super::super::failure::Failure;
use crate::app::App;
use hansard_domain::network::Network;

/// The requests that are under way. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Crowd {
    of: Arc<Mutex<HashMap<Network, usize>>>,
    /// How many a client may have; `None` where they are not counted.
    most: Option<usize>,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
struct UnderWay {
    network: Network,
    crowd: Crowd,
}

impl Crowd {
    pub fn new(most: Option<usize>) -> Self {
        Self {
            of: Arc::default(),
            most,
        }
    }

    /// Counts a request in; `None` if its client has too many already.
    fn enter(&self, network: Network, most: usize) -> Option<UnderWay> {
        let mut of = self.of.lock();
        let count = of.entry(network).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(UnderWay {
            network,
            crowd: self.clone(),
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut of = self.crowd.of.lock();
        if let Some(count) = of.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                of.remove(&self.network);
            }
        }
    }
}

/// Counts a request, or refuses it.
pub async fn limit<N, F>(app: &App, request: Request, next: N) -> Response
where
    N: FnOnce(Request) -> F,
    F: Future<Output = Response>,
{
    let Some(most) = app.crowd.most else {
        return next(request).await;
    };
    let proxies = app.config.forwarded_count;
    let client = client_address(request.headers(), request.extensions(), proxies);
    let Some(under_way) = app.crowd.enter(client.into(), most) else {
        return Failure::too_many_at_once().into_response();
    };
    let response = next(request).await;
    response.map(|body| {
        Body::new(Counted {
            body,
            _under_way: under_way,
        })
    })
}

/// A body whose request is under way until it has been sent.
struct Counted {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_client_has_so_many_requests_under_way_and_no_more() {
        let crowd = Crowd::new(Some(2));
        let enter = |last| crowd.enter(IpAddr::from([192, 0, 2, last]).into(), 2);
        let first = enter(1).unwrap();
        let second = enter(1).unwrap();
        assert!(enter(1).is_none());
        assert!(enter(2).is_some());
        drop(first);
        assert!(enter(1).is_some());
        drop(second);
        assert!(crowd.of.lock().is_empty());
    }
}
