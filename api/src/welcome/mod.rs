//! The page at `/`: what this server is, for whoever opens its address in a browser.
//!
//! It loads nothing, runs nothing, and tells nothing that `settings.public` does not.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

use crate::app::App;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// Nothing but the page's own style, which is known by its hash.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

pub fn page() -> Router<App> {
    Router::new().route("/", get(show))
}

async fn show(State(app): State<App>) -> Response {
    let model = app.commands.model();
    let page = written(&model.text("Site_Name"), &model.text("Site_Url"));
    let mut response = page.into_response();
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The page of a workspace of this name that is reached at this URL.
fn written(name: &str, site: &str) -> String {
    let name = if name.trim().is_empty() {
        "Hansard"
    } else {
        name
    };
    let (name, site) = (escaped(name), escaped(site.trim_end_matches('/')));
    let filled = [
        ("{style}", STYLE),
        ("{version}", env!("CARGO_PKG_VERSION")),
        ("{name}", &name),
        ("{site}", &site),
    ];
    // In one pass, so that nothing in a setting is taken for a name of ours.
    let mut page = String::with_capacity(PAGE.len() + 1024);
    let mut rest = PAGE;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        page.push_str(before);
        let known = filled.iter().find(|(mark, _)| from.starts_with(mark));
        let (taken, text) = known.map_or(("{", "{"), |(mark, text)| (*mark, *text));
        page.push_str(text);
        rest = &from[taken.len()..];
    }
    page + rest
}

/// A text as HTML shows it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_shown_as_it_is_and_never_run() {
        let page = written(
            "<script>{site}</script> & {version}",
            "http://\"><b>{name}/",
        );
        assert!(
            page.contains("&lt;script&gt;{site}&lt;/script&gt; &amp; {version}"),
            "{page}"
        );
        assert!(
            page.contains("api=http://&quot;&gt;&lt;b&gt;{name}/api/v1"),
            "{page}"
        );
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains(&format!("<style>{STYLE}</style>")), "{page}");
        assert!(
            page.contains(&format!("({})", env!("CARGO_PKG_VERSION"))),
            "{page}"
        );
        assert!(written("", "http://a").contains("<title>Hansard</title>"));
    }
}
