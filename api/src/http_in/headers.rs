//! What answers tell browsers, so that a page of somebody else's can do nothing with them.
//!
//! A handler that needs something else sets the header itself; what it set stays.

use hyper::HeaderMap;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// An answer is what its content type says: a message that looks like a script is none.
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");

/// Paths hold ids of rooms, and those of webhooks a token: no other server is told them.
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

/// Nobody lays our pages under theirs, to catch clicks. Old browsers know this form alone.
const NO_FRAMES: HeaderValue = HeaderValue::from_static("DENY");

/// A page that opens ours in a window gets no hold of it.
const OWN_WINDOWS: HeaderValue = HeaderValue::from_static("same-origin");

/// Pages of others can't load answers as images or scripts. Those that CORS lets in may read them: for
/// them this says nothing.
const OWN_RESOURCES: HeaderValue = HeaderValue::from_static("same-origin");

/// Answers are no pages: whatever stands in them loads and runs nothing.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Our own pages run the scripts that come with the server and no others, and speak to it alone. Their
/// styles may stand in the page, and their images, too: Swagger UI does that.
const OWN_PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'",
);

/// What was said in private lies in no cache, of the browser or of a proxy.
const NOT_STORED: HeaderValue = HeaderValue::from_static("no-store");

/// A browser that came over TLS once comes so for a year. Other names below this one are not ours to
/// speak for.
const TLS_ALONE: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// So many headers are added at most.
const MOST: usize = 8;

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Adds what an answer does not say yet.
pub fn protect(headers: &mut HeaderMap, secure: bool) {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let begins = |with: &str| kind.is_some_and(|kind| kind.starts_with(with.as_bytes()));
    let page = begins("text/html");
    // What a page consists of comes from the binary and is the same for everybody.
    let part_of_page = [
        "text/css",
        "text/javascript",
        "application/javascript",
        "image/",
    ]
    .into_iter()
    .any(begins);
    let policy = if page { OWN_PAGE } else { NO_PAGE };
    headers.reserve(MOST);
    let mut add = |name: HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    add(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    add(REFERRER_POLICY, NO_REFERRER);
    add(X_FRAME_OPTIONS, NO_FRAMES);
    add(RESOURCE_POLICY, OWN_RESOURCES);
    add(CONTENT_SECURITY_POLICY, policy);
    if page {
        add(OPENER_POLICY, OWN_WINDOWS);
    }
    if !part_of_page {
        add(CACHE_CONTROL, NOT_STORED);
    }
    if secure {
        add(STRICT_TRANSPORT_SECURITY, TLS_ALONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected(kind: &'static str, secure: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        protect(&mut headers, secure);
        headers
    }

    #[test]
    fn an_answer_is_no_page_and_lies_in_no_cache() {
        let headers = protected("application/json", false);
        assert_eq!(headers[CONTENT_SECURITY_POLICY], NO_PAGE);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn a_page_runs_its_own_scripts_alone() {
        let headers = protected("text/html; charset=utf-8", true);
        assert_eq!(headers[CONTENT_SECURITY_POLICY], OWN_PAGE);
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], TLS_ALONE);
        let script = protected("text/javascript", true);
        assert!(!script.contains_key(CACHE_CONTROL));
    }

    #[test]
    fn what_a_handler_says_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        protect(&mut headers, false);
        assert_eq!(headers[CACHE_CONTROL], "max-age=60");
    }
}
