//! Clients that take the server's connections and keep them: the others get in all the same.

use std::process::Command;
use std::time::Duration;

use hansard_tests::raw::Raw;
use hansard_tests::server::{Client, Options, Server, command, eventually};
use reqwest::{Method, StatusCode};

const HALF: &str = "GET /api/info HTTP/1.1\r\nHost: hans";
const INFO: &str = "GET /api/info HTTP/1.1\r\nHost: hansard\r\n\r\n";
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: hansard\r\n\r\n";

/// A request whose body does not come.
const WITHOUT_BODY: &str =
    "POST /api/v1/login HTTP/1.1\r\nHost: hansard\r\nContent-Length: 100\r\n\r\n";

/// A connection whose request is being answered and waits for nothing of its client: an event feed.
async fn busy(server: &Server, client: &Client, last: u8) -> Raw {
    let mut raw = Raw::connect_from(server, last).await;
    let (id, token) = (client.user_id(), client.token());
    raw.send(format!(
        "GET /api/hansard/v1/events HTTP/1.1\r\nHost: hansard\r\nAccept: text/event-stream\r\n\
         X-User-Id: {id}\r\nX-Auth-Token: {token}\r\n\r\n"
    ))
    .await;
    assert_eq!(raw.answer_without_body().await.unwrap().status, 200);
    raw
}

/// How long it is listened whether a connection was closed, before more is sent on it.
const LISTEN: Duration = Duration::from_millis(50);

fn options(flags: &[(&str, &str)]) -> Options {
    flags
        .iter()
        .fold(Options::default(), |options, (name, value)| {
            options.flag(name, value)
        })
}

/// A server that may open so many files.
fn with_files(files: u32, mut options: Options) -> Options {
    let limit = format!(r#"ulimit -n {files} && exec "$@""#);
    options.through = ["sh", "-c", &limit, "sh"].map(str::to_owned).into();
    options
}

/// How many connections the server has ended for a reason.
async fn ended(client: &Client, reason: &str) -> u64 {
    let metrics = client.request(Method::GET, "/metrics").send().await;
    let metrics = metrics.unwrap().text().await.unwrap();
    let name = format!(r#"hansard_http_connections_ended_total{{reason="{reason}"}} "#);
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn hundreds_of_half_sent_requests_keep_nobody_out() {
    let server = Server::start_with(with_files(800, options(&[]))).await;
    let mut half_open = Vec::new();
    for number in 0..800_u32 {
        let mut raw = Raw::connect_from(&server, 2 + (number % 8) as u8).await;
        // It may have had to leave already.
        let _ = raw.try_send(HALF).await;
        half_open.push(raw);
    }
    let admin = server.admin().await;
    admin.say("GENERAL", "here I am").await;
    let mut same_address = Raw::connect_from(&server, 2).await;
    same_address.send(INFO).await;
    assert_eq!(same_address.answer().await.unwrap().status, 200);
    assert!(ended(&admin, "made-room").await > 0);
}

#[tokio::test]
async fn where_nobody_can_leave_there_is_still_room_to_ask_for_the_servers_health() {
    let server = Server::start_with(options(&[
        ("MAX_CONNECTIONS", "2"),
        ("CONNECTIONS_PER_ADDRESS", "2"),
    ]))
    .await;
    let admin = server.admin().await;
    let inside = [
        busy(&server, &admin, 2).await,
        busy(&server, &admin, 2).await,
    ];
    let mut late = Raw::connect_from(&server, 2).await;
    late.send(INFO).await;
    let answer = late.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (503, "close"));
    assert_eq!(answer.header("retry-after"), "1");
    let mut probe = Raw::connect_from(&server, 3).await;
    probe.send(HEALTH).await;
    assert_eq!(probe.answer().await.unwrap().body, r#"{"status":"ok"}"#);
    drop(inside);
    eventually("the next one gets in", || async {
        let mut late = Raw::connect_from(&server, 2).await;
        late.send(INFO).await;
        late.answer().await.unwrap().status == 200
    })
    .await;
}

#[tokio::test]
async fn one_address_leaves_room_for_others() {
    let server = Server::start_with(options(&[("CONNECTIONS_PER_ADDRESS", "3")])).await;
    let admin = server.admin().await;
    let mut inside = Vec::new();
    for _ in 0..3 {
        inside.push(busy(&server, &admin, 2).await);
    }
    let mut late = Raw::connect_from(&server, 2).await;
    late.send(INFO).await;
    assert_eq!(late.answer().await.unwrap().status, 503);
    let mut other = Raw::connect_from(&server, 3).await;
    other.send(INFO).await;
    assert_eq!(other.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn behind_proxies_clients_are_counted_and_not_their_connections() {
    let server = Server::start_with(options(&[
        ("FORWARDED_COUNT", "1"),
        ("CONNECTIONS_PER_ADDRESS", "2"),
        ("BODY_TIMEOUT", "600"),
        ("REQUEST_TIMEOUT", "600"),
    ]))
    .await;
    let of = |request: &str, client: &str| {
        request.replace("Host", &format!("X-Forwarded-For: {client}\r\nHost"))
    };
    let ask = async |client: &str| {
        let mut raw = Raw::connect(&server).await;
        raw.send(of(INFO, client)).await;
        raw.answer().await.unwrap()
    };
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::connect(&server).await;
        let expecting = WITHOUT_BODY.replace("Host", "Expect: 100-continue\r\nHost");
        raw.send(of(&expecting, "192.0.2.1")).await;
        assert_eq!(raw.answer().await.unwrap().status, 100);
        inside.push(raw);
    }
    let refused = ask("192.0.2.1").await;
    assert_eq!(refused.status, 429);
    assert!(
        refused.body.contains("error-too-many-requests"),
        "{refused:?}"
    );
    assert_eq!(ask("192.0.2.2").await.status, 200);
    drop(inside);
    eventually("it is let in again", || async {
        ask("192.0.2.1").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let server = Server::start_with(options(&[("HEADER_TIMEOUT", "1")])).await;
    let mut first = Raw::connect(&server).await;
    let mut second = Raw::connect(&server).await;
    second.send(HEALTH).await;
    assert_eq!(second.answer().await.unwrap().status, 200);
    for raw in [&mut first, &mut second] {
        raw.send("GET /").await;
        while raw.closes_within(LISTEN).await.is_none() {
            // It may close at this very moment.
            let _ = raw.try_send("x").await;
        }
    }
    let client = server.anonymous();
    eventually("both are counted", || async {
        ended(&client, "head-timeout").await == 2
    })
    .await;
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_not_waited_for() {
    let server = Server::start_with(options(&[("BODY_TIMEOUT", "1")])).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(WITHOUT_BODY).await;
    let answer = loop {
        if let Some(answer) = raw.answer_within(LISTEN).await {
            break answer;
        }
        raw.send(" ").await;
    };
    assert_eq!(answer.status, 408);
    assert_eq!(answer.header("connection"), "close");
    assert!(answer.body.contains("error-request-timeout"), "{answer:?}");
    raw.closed().await;
}

#[tokio::test]
async fn an_idle_connection_ends_and_an_event_feed_does_not() {
    let server = Server::start_with(options(&[
        ("IDLE_TIMEOUT", "1"),
        ("HEADER_TIMEOUT", "1"),
        ("BODY_TIMEOUT", "1"),
        ("WRITE_TIMEOUT", "1"),
    ]))
    .await;
    let admin = server.admin().await;
    let mut feed = admin
        .request(Method::GET, "/api/hansard/v1/events?types=MessageSent")
        .header("Accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(feed.status(), StatusCode::OK);
    let mut idle = Raw::connect(&server).await;
    idle.send(HEALTH).await;
    assert_eq!(idle.answer().await.unwrap().header("connection"), "");
    assert!(idle.closed().await.is_empty());
    eventually("it is counted", || async {
        ended(&admin, "idle-timeout").await > 0
    })
    .await;
    admin.say("GENERAL", "is anybody there?").await;
    let mut told = String::new();
    while !told.contains("is anybody there?") {
        let chunk = feed.chunk().await.unwrap().expect("the feed goes on");
        told.push_str(&String::from_utf8_lossy(&chunk));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_not_kept() {
    let server = Server::start_with(options(&[("WRITE_TIMEOUT", "1")])).await;
    let mut raw = Raw::connect(&server).await;
    // Some hundred megabytes: more than the system takes in for a client.
    let document = INFO.replace("/api/info", "/api-docs/openapi.json");
    raw.send(document.repeat(100)).await;
    let client = server.anonymous();
    eventually("the client is given up", || async {
        ended(&client, "write-timeout").await == 1
    })
    .await;
}

#[tokio::test]
async fn a_system_without_room_for_connections_ends_nothing() {
    let server = Server::start_with(options(&[])).await;
    let limit = |files: &str| {
        let process = server.pid().to_string();
        let limited = Command::new("prlimit")
            .args(["--pid", &process, &format!("--nofile={files}:20000")])
            .status();
        assert!(limited.unwrap().success());
    };
    limit("8");
    let mut kept_out = Raw::connect(&server).await;
    kept_out.send(HEALTH).await;
    eventually("it is told", || async {
        server.output().contains("connections can't be accepted")
    })
    .await;
    limit("20000");
    assert_eq!(kept_out.answer().await.unwrap().status, 200);
    let complaints = server.output().matches("can't be accepted").count();
    assert!(complaints < 10, "{complaints} lines for one thing");
}

#[tokio::test]
async fn clients_that_have_nothing_to_say_do_not_hold_up_the_end() {
    let mut server = Server::start().await;
    let mut half = Raw::connect(&server).await;
    half.send(HALF).await;
    let silent = Raw::connect(&server).await;
    let mut idle = Raw::connect(&server).await;
    idle.send(HEALTH).await;
    idle.answer().await.unwrap();
    assert!(server.stop().await.success());
    let output = server.output();
    assert!(!output.contains("did not finish in time"), "{output}");
    drop((half, silent, idle));
}

#[tokio::test]
async fn bodies_that_come_byte_by_byte_make_room_and_do_not_hold_up_the_end() {
    let mut server = Server::start_with(options(&[
        ("MAX_CONNECTIONS", "2"),
        ("BODY_TIMEOUT", "600"),
        ("REQUEST_TIMEOUT", "600"),
    ]))
    .await;
    let slow = async |last| {
        let mut raw = Raw::connect_from(&server, last).await;
        let expecting = WITHOUT_BODY.replace("Host", "Expect: 100-continue\r\nHost");
        raw.send(expecting).await;
        assert_eq!(raw.answer().await.unwrap().status, 100);
        raw
    };
    let mut inside = [slow(2).await, slow(3).await];
    let mut late = Raw::connect_from(&server, 4).await;
    late.send(INFO).await;
    assert_eq!(late.answer().await.unwrap().status, 200);
    drop(late);

    let again = slow(2).await;
    let dripping = tokio::spawn(async move {
        let mut again = again;
        while again.closes_within(LISTEN).await.is_none() && again.try_send(" ").await.is_ok() {}
    });
    assert!(server.stop().await.success());
    dripping.await.unwrap();
    let output = server.output();
    assert!(!output.contains("did not finish in time"), "{output}");
    for raw in &mut inside {
        raw.closed().await;
    }
}

#[test]
fn limits_that_cannot_be_kept_are_refused_at_the_start() {
    let refused = |files: &str, arguments: &[&str]| {
        let limit = format!(r#"ulimit -n {files} && exec "$@""#);
        let data = tempfile::tempdir().unwrap();
        let output = command(&["timeout", "60", "sh", "-c", &limit, "sh"])
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data.path().join("data"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
        assert!(!data.path().join("data").exists(), "nothing is made");
        String::from_utf8(output.stderr).unwrap()
    };
    let few = refused("100", &[]);
    assert!(few.contains("may have 100 file descriptors"), "{few}");
    let many = refused("2000", &["--max-connections", "5000"]);
    assert!(
        many.contains("--max-connections is 5000, which needs 5608 file descriptors"),
        "{many}"
    );
    let none = refused("2000", &["--max-connections", "0"]);
    assert!(none.contains("from 1 to 1000000"), "{none}");
}
