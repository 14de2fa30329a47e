//! How often things may be asked for: everything is limited, each by its own measure.

use futures::future::join_all;
use hansard_tests::server::{Client, Options, Server};
use reqwest::{Method, Response};
use serde_json::json;

const CALLS: &str = "API_Enable_Rate_Limiter_Limit_Calls_Default";

async fn server(settings: &[(&str, &str)]) -> Server {
    let options = Options {
        rate_limited: true,
        ..Options::default()
    };
    let settings = settings.iter();
    let options = settings.fold(options, |options, (id, value)| options.setting(id, value));
    Server::start_with(options).await
}

async fn ask(client: &Client, method: Method, path: &str) -> Response {
    client.request(method, path).send().await.unwrap()
}

async fn statuses(client: &Client, paths: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for path in paths {
        statuses.push(ask(client, Method::GET, path).await.status().as_u16());
    }
    statuses
}

#[tokio::test]
async fn a_member_looks_at_the_record_only_so_often() {
    let server = server(&[("Hansard_Rate_Limiter_Limit_Calls", "2")]).await;
    let mary = server.user("mary").await;
    let audit = "/api/hansard/v1/audit";
    assert_eq!(
        statuses(&mary, &[audit, audit, audit]).await,
        [403, 403, 429]
    );
    assert_eq!(
        statuses(&mary, &["/api/hansard/v1/events"]).await,
        [403],
        "endpoints are counted apart"
    );
    let refused = ask(&mary, Method::GET, audit).await;
    assert_eq!(refused.headers()["x-ratelimit-limit"], "2");
    assert_eq!(refused.headers()["x-ratelimit-remaining"], "0");
    let seconds: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds));
    // The administrator may bypass it.
    let admin = server.admin().await;
    assert_eq!(
        statuses(&admin, &[audit, audit, audit]).await,
        [200, 200, 200]
    );
}

#[tokio::test]
async fn pages_and_paths_that_there_are_not_are_counted_together_and_probes_are_not() {
    let server = server(&[("Hansard_Rate_Limiter_Limit_Calls_Other", "4")]).await;
    let client = server.anonymous();
    let paths = [
        "/",
        "/api/v1/no.such.endpoint",
        "/metrics",
        "/api-docs/",
        "/no/such/path",
        "/metrics",
    ];
    let answered = statuses(&client, &paths).await;
    assert!(!answered[..4].contains(&429), "{answered:?}");
    assert_eq!(answered[4..], [429, 429]);
    for _ in 0..20 {
        assert_eq!(statuses(&client, &["/health", "/ready"]).await, [200, 200]);
    }
}

#[tokio::test]
async fn words_that_are_no_methods_are_counted_as_one() {
    let server = server(&[(CALLS, "2")]).await;
    let client = server.anonymous();
    let mut answered = Vec::new();
    for word in ["ONE", "TWO", "THREE"] {
        let method = Method::from_bytes(word.as_bytes()).unwrap();
        answered.push(ask(&client, method, "/api/v1/me").await.status().as_u16());
    }
    assert_eq!(answered, [405, 405, 429]);
}

#[tokio::test]
async fn asking_for_the_head_of_an_answer_counts_as_asking_for_it() {
    let server = server(&[(CALLS, "2")]).await;
    let client = server.anonymous();
    let mut answered = Vec::new();
    for method in [Method::GET, Method::HEAD, Method::GET, Method::HEAD] {
        answered.push(ask(&client, method, "/api/v1/me").await.status().as_u16());
    }
    assert_eq!(answered, [401, 401, 429, 429]);
}

#[tokio::test]
async fn each_webhook_is_counted_for_itself() {
    let settings = [
        (CALLS, "2"),
        ("Hansard_Rate_Limiter_Limit_Calls_Other", "3"),
    ];
    let server = server(&settings).await;
    let (admin, client) = (server.admin().await, server.anonymous());
    let mut hooks = Vec::new();
    for name in ["one", "other"] {
        let asked = json!({
            "type": "webhook-incoming", "name": name, "channel": "#general", "username": "admin",
            "enabled": true, "scriptEnabled": false,
        });
        let made = admin.post("integrations.create", asked).await.expect_ok();
        let made = &made["integration"];
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        hooks.push((text("_id"), text("token")));
    }
    let path = |(id, token): &(String, String)| format!("/hooks/{id}/{token}");
    let (one, other) = (path(&hooks[0]), path(&hooks[1]));
    let (id, token) = &hooks[0];
    // However its path is written.
    let first = token.bytes().next().unwrap();
    let written = format!("/hooks/{id}/%{first:02x}{}", &token[1..]);
    let older = format!("/hooks/{id}/anything/{token}");
    let paths = [&one, &written, &older, &one, &other].map(String::as_str);
    assert_eq!(statuses(&client, &paths).await, [200, 200, 429, 429, 200]);
    // Nobody is logged in on a webhook, whatever its headers say.
    assert_eq!(statuses(&admin, &[&one]).await, [429]);
    // Those that there are not are counted together.
    let unknown = ["/hooks/a/b", "/hooks/a/c", "/hooks/d/e/f", "/hooks/g/h"];
    assert_eq!(statuses(&client, &unknown).await, [404, 404, 404, 429]);
}

#[tokio::test]
async fn an_account_is_counted_wherever_it_comes_from() {
    let mut options = Options {
        rate_limited: true,
        ..Options::default()
    };
    let proxied = ("HANSARD_FORWARDED_COUNT".to_owned(), "1".to_owned());
    options.environment.push(proxied);
    let server = Server::start_with(options.setting(CALLS, "4")).await;
    let admin = server.admin().await;
    let (mary, john) = (admin.member("mary").await, admin.member("john").await);
    let ask = async |client: &Client, operation: &str, network: u8| {
        let asked = client
            .request(Method::POST, &format!("/api/v1/{operation}"))
            .header("X-Forwarded-For", format!("2001:db8:7:{network:x}::1"))
            .json(&json!({}));
        asked.send().await.unwrap()
    };
    for operation in [
        "users.update",
        "users.updateOwnBasicInfo",
        "users.deleteOwnAccount",
    ] {
        for network in 1..=4 {
            let answer = ask(&mary, operation, network).await;
            assert_eq!(answer.status(), 400, "{operation} from {network}");
            let remaining = (4 - network).to_string();
            assert_eq!(answer.headers()["x-ratelimit-remaining"], *remaining);
        }
        let refused = ask(&mary, operation, 5).await;
        assert_eq!(refused.status(), 429, "{operation}");
        assert!(refused.headers().contains_key("retry-after"));
        let other = ask(&john, operation, 5).await;
        assert_eq!(other.status(), 400, "{operation} of somebody else");
    }
    // What asks for none may be asked for from five networks as often as from one.
    for network in 1..=5 {
        for _ in 0..4 {
            let answer = ask(&mary, "users.setStatus", network).await;
            assert_ne!(answer.status(), 429, "from {network}");
        }
        assert_eq!(ask(&mary, "users.setStatus", network).await.status(), 429);
    }
    assert_eq!(ask(&mary, "users.setStatus", 6).await.status(), 429);
    assert_ne!(ask(&john, "users.setStatus", 6).await.status(), 429);

    // A webhook as well, whether it is posted to or asked for.
    let incoming = json!({
        "type": "webhook-incoming", "name": "in", "enabled": true, "username": "rocket.cat",
        "channel": "#general", "scriptEnabled": false,
    });
    let made = admin
        .post("integrations.create", incoming)
        .await
        .expect_ok();
    let part = |name: &str| made["integration"][name].as_str().unwrap().to_owned();
    let hook = format!("/hooks/{}/{}", part("_id"), part("token"));
    let client = server.anonymous();
    let post = async |method: Method, network: u8| {
        let asked = client
            .request(method, &hook)
            .header("X-Forwarded-For", format!("2001:db8:7:{network:x}::1"))
            .json(&json!({ "text": "hello" }));
        asked.send().await.unwrap().status()
    };
    for network in 1..=5 {
        for method in [Method::POST, Method::GET, Method::POST, Method::GET] {
            assert_eq!(post(method, network).await, 200, "from {network}");
        }
        assert_eq!(post(Method::GET, network).await, 429);
    }
    assert_eq!(post(Method::POST, 6).await, 429);
}

#[tokio::test]
async fn the_limiter_follows_its_settings() {
    let server = server(&[(CALLS, "1"), ("Rate_Limiter_Limit_RegisterUser", "2")]).await;
    let client = server.anonymous();
    let register = async || {
        let status = client.post("users.register", json!({})).await.status;
        status.as_u16()
    };
    let registered = [register().await, register().await, register().await];
    assert_eq!(registered, [400, 400, 429]);
    let info = "/api/v1/info";
    assert_eq!(statuses(&client, &[info, info]).await, [200, 429]);

    let admin = server.admin().await;
    let set = async |id: &str, value| {
        let body = json!({ "value": value });
        admin
            .post(&format!("settings/{id}"), body)
            .await
            .expect_ok();
    };
    set(CALLS, json!(0)).await;
    let free = ask(&client, Method::GET, info).await;
    assert_eq!(free.status(), 200, "a limit of 0 is none");
    assert!(!free.headers().contains_key("x-ratelimit-limit"));
    set(CALLS, json!(1)).await;
    assert_eq!(statuses(&client, &[info]).await, [429]);
    set("API_Enable_Rate_Limiter", json!(false)).await;
    assert_eq!(statuses(&client, &[info, info]).await, [200, 200]);
}

#[tokio::test]
async fn positions_that_nobody_wrote_keep_few_strangers_waiting_and_no_probe() {
    let server = Server::start().await;
    // Whether it waited in vain.
    let waits = |path: &str| {
        let asked = server.http().get(server.url(path));
        let asked = asked.header("hansard-position", "99999999");
        async move {
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.headers().contains_key("hansard-lag")
        }
    };
    let waited = join_all((0..200).map(|_| waits("/api/info"))).await;
    let waited = waited.into_iter().filter(|waited| *waited).count();
    assert!(waited < 100, "{waited} of 200 waited");
    assert!(!waits("/health").await);
    assert!(!waits("/ready").await);
}
