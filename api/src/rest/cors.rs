//! Calls from web pages of other origins, by the settings `API_Enable_CORS` and `API_CORS_Origin`.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, HEAD, PATCH");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Origin, X-Requested-With, Content-Type, Accept, X-User-Id, X-Auth-Token, x-visitor-token, \
     Authorization",
);

/// Answers preflight requests, and lets browsers hand answers to the pages that asked for them.
pub async fn share<N, F>(app: &App, request: Request, next: N) -> Response
where
    N: FnOnce(Request) -> F,
    F: Future<Output = Response>,
{
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return next(request).await;
    };
    let model = app.commands.model();
    let allowed = model
        .flag("API_Enable_CORS")
        .then(|| allowed(&origin, &model.text("API_CORS_Origin")));
    let preflight = request.method() == Method::OPTIONS;
    if preflight && allowed.is_none() {
        let reason = "CORS not enabled. Go to \"Admin > General > REST Api\" to enable it.";
        return (StatusCode::METHOD_NOT_ALLOWED, reason).into_response();
    }
    let mut response = if preflight {
        StatusCode::OK.into_response()
    } else {
        next(request).await
    };
    if let Some(Some(allowed)) = allowed {
        permit(response.headers_mut(), allowed);
    }
    response
}

/// What `Access-Control-Allow-Origin` says to an origin; `None` for one that is not listed.
fn allowed(origin: &HeaderValue, listed: &str) -> Option<HeaderValue> {
    if listed.trim() == "*" {
        return Some(HeaderValue::from_static("*"));
    }
    let asked = origin.to_str().ok()?;
    let known = listed
        .split(',')
        .any(|known| known.trim().eq_ignore_ascii_case(asked));
    known.then(|| origin.clone())
}

fn permit(headers: &mut HeaderMap, origin: HeaderValue) {
    if origin != "*" {
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_let_in() {
        let origin = HeaderValue::from_static("https://chat.example.org");
        assert_eq!(allowed(&origin, "*").unwrap(), "*");
        assert_eq!(
            allowed(&origin, "https://a.org, https://Chat.example.org").unwrap(),
            origin
        );
        assert_eq!(allowed(&origin, "https://example.org"), None);
    }
}
