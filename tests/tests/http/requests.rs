//! Requests as they stand on the wire: what is refused is answered so that its client can read it, and
//! nobody else's request is mistaken for part of it.

use hansard_tests::raw::{Raw, RawAnswer};
use hansard_tests::server::{Options, Server};

const INFO: &str = "GET /api/info HTTP/1.1\r\nHost: hansard\r\n\r\n";

/// The head of an upload of so many bytes.
fn upload(method: &str, path: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: hansard\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
}

/// Sends a head, then its body in a packet of its own, and only then looks for the answer, as clients do.
async fn send_all(raw: &mut Raw, head: &str, length: usize) -> RawAnswer {
    raw.send(head).await;
    raw.send(vec![b'x'; length]).await;
    raw.answer().await.expect("an answer")
}

async fn limited() -> Server {
    let options = Options {
        rate_limited: true,
        ..Options::default()
    };
    Server::start_with(options.setting("API_Enable_Rate_Limiter_Limit_Calls_Default", "1")).await
}

#[tokio::test]
async fn a_small_upload_that_is_refused_is_answered_and_the_connection_goes_on() {
    let server = limited().await;
    let mut raw = Raw::connect(&server).await;
    let expected = [
        ("POST", "/api/v1/rooms.saveNotification", 401),
        ("POST", "/api/v1/rooms.saveNotification", 429),
        ("POST", "/api/v1/no.such.endpoint", 404),
        ("DELETE", "/api/info", 405),
        ("POST", "/hooks/none/none", 404),
    ];
    for (method, path, status) in expected {
        // More than arrives with the head, and than a server reads ahead.
        for length in [5, 200_000] {
            let answer = send_all(&mut raw, &upload(method, path, length), length).await;
            let allowed = if status == 401 {
                [401, 429]
            } else {
                [status, 429]
            };
            assert!(
                allowed.contains(&answer.status),
                "{method} {path}: {answer:?}"
            );
            assert_eq!(answer.header("connection"), "", "{answer:?}");
        }
    }
    raw.send(INFO).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_large_upload_that_is_refused_is_told_that_the_connection_ends_and_gets_its_answer() {
    let server = limited().await;
    for (method, path, length, status) in [
        ("POST", "/api/v1/rooms.saveNotification", 4 << 20, 401),
        ("POST", "/api/v1/rooms.saveNotification", 4 << 20, 429),
        ("POST", "/api/v1/no.such.endpoint", 4 << 20, 404),
        ("DELETE", "/api/info", 4 << 20, 405),
        ("POST", "/api/v1/login", 24 << 20, 413),
    ] {
        let mut raw = Raw::connect(&server).await;
        let answer = send_all(&mut raw, &upload(method, path, length), length).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("connection"), "close");
        assert!(answer.body.starts_with('{'), "{answer:?}");
        assert!(raw.closed().await.is_empty());
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_at_once() {
    let server = Server::start().await;
    let head = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: hansard\r\nContent-Length: 2\r\n\
             Expect: 100-continue\r\n\r\n"
        )
    };
    let mut refused = Raw::connect(&server).await;
    refused.send(head("/api/v1/rooms.saveNotification")).await;
    let answer = refused.answer().await.unwrap();
    assert_eq!(
        answer.status, 401,
        "it is not asked to send what nobody reads"
    );
    assert_eq!(answer.header("connection"), "close");

    let mut taken = Raw::connect(&server).await;
    taken.send(head("/api/v1/login")).await;
    assert_eq!(taken.answer().await.unwrap().status, 100);
    taken.send("{}").await;
    assert_eq!(taken.answer().await.unwrap().status, 401);
    taken.send(INFO).await;
    assert_eq!(taken.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_with_two_lengths_hides_no_request() {
    let server = Server::start().await;
    let hidden = format!("0\r\n\r\n{INFO}");
    let length = format!("Content-Length: {}\r\n", hidden.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    for lengths in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
        let mut raw = Raw::connect(&server).await;
        let head = format!("POST /api/v1/login HTTP/1.1\r\nHost: hansard\r\n{lengths}\r\n");
        raw.send(format!("{head}{hidden}")).await;
        let answer = raw.answer().await.unwrap();
        assert!([400, 401].contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("connection"), "close");
        assert!(raw.closed().await.is_empty(), "{lengths}");
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let server = Server::start().await;
    let mut raw = Raw::connect(&server).await;
    let missing = INFO.replace("/api/info", "/api/v1/no.such.endpoint");
    let upload = format!("{}xxxxx", upload("POST", "/api/v1/me", 5));
    raw.send([INFO, &upload, &missing, INFO].concat()).await;
    for status in [200, 405, 404, 200] {
        assert_eq!(raw.answer().await.unwrap().status, status);
    }
}

#[tokio::test]
async fn heads_have_a_size() {
    let server = Server::start().await;
    let large = format!(
        "GET /health HTTP/1.1\r\nX-Large: {}\r\n",
        "x".repeat(300 << 10)
    );
    let many = format!(
        "GET /health HTTP/1.1\r\n{}\r\n",
        "X-Many: x\r\n".repeat(200)
    );
    for head in [large, many] {
        let mut raw = Raw::connect(&server).await;
        raw.send(head).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, 431);
        assert_eq!(answer.header("connection"), "close");
    }
    let mut raw = Raw::connect(&server).await;
    let usual = format!(
        "GET /health HTTP/1.1\r\nX-Large: {}\r\n\r\n",
        "x".repeat(30 << 10)
    );
    raw.send(usual).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn older_and_newer_versions_are_told_apart() {
    let server = Server::start().await;
    let mut older = Raw::connect(&server).await;
    older.send("GET /health HTTP/1.0\r\n\r\n").await;
    assert_eq!(older.answer().await.unwrap().body, r#"{"status":"ok"}"#);
    assert!(older.closed().await.is_empty());

    let mut kept = Raw::connect(&server).await;
    for _ in 0..2 {
        let head = "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        kept.send(head).await;
        assert_eq!(
            kept.answer().await.unwrap().header("connection"),
            "keep-alive"
        );
    }

    // HTTP/2 begins with a frame of settings from either side.
    let mut newer = Raw::connect(&server).await;
    newer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    newer.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    let told = newer.closed().await;
    assert!(
        told.is_empty() || told.starts_with(b"HTTP/1.1 400"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_head_alone_and_the_options_are_answered() {
    let server = Server::start().await;
    let mut raw = Raw::connect(&server).await;
    raw.send(INFO.replace("GET", "HEAD")).await;
    let head = raw.answer_without_body().await.unwrap();
    assert_eq!(head.status, 200);
    assert_ne!(head.header("content-length"), "0");
    raw.send(INFO.replace("GET", "OPTIONS")).await;
    let options = raw.answer().await.unwrap();
    assert_eq!((options.status, options.header("allow")), (405, "GET,HEAD"));
    raw.send(INFO).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
}
