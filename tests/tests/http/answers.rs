//! What all answers have in common, and whom the metrics are shown.

use std::collections::HashMap;

use hansard_tests::server::{Options, Server, free_port};
use reqwest::{Method, StatusCode};

#[tokio::test]
async fn answers_tell_browsers_what_not_to_do() {
    let server = Server::start().await;
    let client = server.anonymous();
    let headers = async |method, path: &str| -> HashMap<String, String> {
        let answer = client.request(method, path).send().await.unwrap();
        let headers = answer.headers().iter();
        headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect()
    };
    for (method, path) in [
        (Method::GET, "/api/info"),
        (Method::GET, "/api/v1/me"),
        (Method::GET, "/no/such/path"),
        (Method::DELETE, "/api/info"),
        (Method::GET, "/api-docs/openapi.json"),
    ] {
        let said = headers(method, path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
        ] {
            let told = said.get(name).map(String::as_str);
            assert_eq!(told, Some(value), "{path}: {name}");
        }
        assert!(!said.contains_key("strict-transport-security"), "{path}");
    }
    let page = headers(Method::GET, "/api-docs/").await;
    assert_eq!(page["cross-origin-opener-policy"], "same-origin");
    let policy = &page["content-security-policy"];
    assert!(policy.contains("script-src 'self';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let script = headers(Method::GET, "/api-docs/swagger-ui-bundle.js").await;
    assert!(!script.contains_key("cache-control"), "{script:?}");
}

#[tokio::test]
async fn metrics_are_shown_to_this_machine_alone() {
    let server = Server::start().await;
    let client = server.anonymous();
    let ask = || client.request(Method::GET, "/metrics");
    let here = ask().send().await.unwrap();
    assert_eq!(here.status(), StatusCode::OK);
    for name in ["X-Forwarded-For", "Forwarded", "Via"] {
        let through_proxy = ask().header(name, "for=192.0.2.1").send().await.unwrap();
        assert_eq!(through_proxy.status(), StatusCode::FORBIDDEN, "{name}");
    }
}

#[tokio::test]
async fn metrics_ask_for_their_token() {
    let token = "a token for the metrics";
    let options = Options::default().flag("METRICS_TOKEN", token);
    let server = Server::start_with(options).await;
    let client = server.anonymous();
    let ask = || client.request(Method::GET, "/metrics");
    let refused = ask().send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    let wrong = ask().bearer_auth("another token for the metrics");
    assert_eq!(
        wrong.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    let right = ask()
        .bearer_auth(token)
        .header("X-Forwarded-For", "192.0.2.1");
    let shown = right.send().await.unwrap();
    assert_eq!(shown.status(), StatusCode::OK);
    assert!(shown.text().await.unwrap().contains("hansard_http_"));
}

#[tokio::test]
async fn metrics_move_to_an_address_of_their_own() {
    let address = format!("127.0.0.1:{}", free_port());
    let options = Options::default().flag("METRICS_LISTEN", &address);
    let mut server = Server::start_with(options).await;
    let client = server.anonymous();
    let here = client.request(Method::GET, "/metrics").send().await;
    assert_eq!(here.unwrap().status(), StatusCode::NOT_FOUND);
    let there = async |path: &str| {
        let url = format!("http://{address}{path}");
        let answer = server.http().get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, metrics) = there("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("hansard_http_"), "{metrics}");
    assert_eq!(there("/ready").await.0, 200);
    assert_eq!(there("/api/info").await.0, 404, "nothing else is there");
    assert!(server.stop().await.success());
}
