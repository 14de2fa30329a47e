//! Guessing passwords: what it takes to be blocked, who is blocked, and what is on the record.

use std::time::Duration;

use futures::future::join_all;
use hansard_tests::server::{ADMIN, ADMIN_PASSWORD, Answer, Client, Options, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.1";

/// A server behind a proxy, so that clients can come from different addresses.
async fn server(options: Options) -> Server {
    let proxied = ("HANSARD_FORWARDED_COUNT".to_owned(), "1".to_owned());
    let mut options = options;
    options.environment.push(proxied);
    Server::start_with(options).await
}

async fn log_in(server: &Server, from: &str, user: &str, password: &str) -> Answer {
    let client = server.anonymous();
    let request = client
        .request(Method::POST, "/api/v1/login")
        .header("X-Forwarded-For", from)
        .json(&json!({ "user": user, "password": password }));
    client.answer(request).await
}

/// `done`, or the error that the login was refused with.
async fn outcome(server: &Server, from: &str, user: &str, password: &str) -> String {
    let answer = log_in(server, from, user, password).await;
    let error = answer.body["error"].as_str();
    error.unwrap_or("done").to_owned()
}

fn own_password(username: &str) -> String {
    format!("{username}'s own secret")
}

/// The hexadecimal SHA-256 of a password, as clients give it again.
fn digest(password: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(password.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

const BY_IP: &str = "Block_Multiple_Failed_Logins_By_Ip";
const ATTEMPTS_BY_IP: &str = "Block_Multiple_Failed_Logins_Attempts_Until_Block_By_Ip";

#[tokio::test]
async fn logging_in_oneself_does_not_make_up_for_guesses_about_others() {
    let server = server(Options::default().setting(ATTEMPTS_BY_IP, "6")).await;
    let admin = server.admin().await;
    for name in ["eve", "anna", "bert", "carl"] {
        admin.member(name).await;
    }
    let eves = own_password("eve");
    for victim in ["anna", "bert", "carl"] {
        for _ in 0..2 {
            assert_eq!(
                outcome(&server, ELSEWHERE, victim, "wrong").await,
                "Unauthorized"
            );
            let own = outcome(&server, ELSEWHERE, "eve", &eves).await;
            assert!(own == "done" || own == "error-login-blocked-for-ip");
        }
    }
    let blocked = "error-login-blocked-for-ip";
    assert_eq!(outcome(&server, ELSEWHERE, "anna", "wrong").await, blocked);
    assert_eq!(outcome(&server, ELSEWHERE, "eve", &eves).await, blocked);
    // The whole network of an IPv6 address is one.
    assert_eq!(outcome(&server, "2001:db8::1", "eve", &eves).await, "done");
}

#[tokio::test]
async fn what_was_guessed_while_nobody_counted_is_not_held_against_anybody() {
    let options = Options::default().setting(ATTEMPTS_BY_IP, "2");
    let server = server(options).await;
    let admin = server.admin().await;
    let count = async |on: bool| {
        let body = json!({ "value": on });
        admin.post(&format!("settings/{BY_IP}"), body).await
    };
    count(false).await.expect_ok();
    for _ in 0..3 {
        assert_eq!(
            outcome(&server, ELSEWHERE, "x", "wrong").await,
            "Unauthorized"
        );
    }
    count(true).await.expect_ok();
    for _ in 0..2 {
        assert_eq!(
            outcome(&server, ELSEWHERE, "y", "wrong").await,
            "Unauthorized"
        );
    }
    let blocked = "error-login-blocked-for-ip";
    assert_eq!(outcome(&server, ELSEWHERE, "y", "wrong").await, blocked);
}

#[tokio::test]
async fn strangers_who_keep_the_server_hashing_keep_nobody_out_who_was_here_before() {
    let server = server(Options::default()).await;
    server.admin().await.member("mary").await;
    let marys = own_password("mary");
    assert_eq!(outcome(&server, HOME, "mary", &marys).await, "done");
    // Everybody of a /48, and more than may wait.
    let cores = std::thread::available_parallelism().unwrap().get();
    let crowd = (0..160 * cores).map(|number| {
        let client = server.anonymous();
        let login = client
            .request(Method::POST, "/api/v1/login")
            .header("X-Forwarded-For", format!("2001:db8:0:{number:x}::1"))
            .json(&json!({ "user": format!("nobody{number}"), "password": "wrong" }));
        async {
            let answer = login.send().await.unwrap();
            (
                answer.status(),
                answer.headers().get("retry-after").cloned(),
            )
        }
    });
    let (crowd, mary) = tokio::join!(join_all(crowd), outcome(&server, HOME, "mary", &marys));
    assert_eq!(mary, "done");
    let refused: Vec<_> = crowd.iter().filter(|(status, _)| *status == 503).collect();
    assert!(!refused.is_empty(), "not all of them can wait");
    assert!(refused.iter().all(|(_, again)| again.is_some()));
    let wrong = crowd.iter().filter(|(status, _)| *status == 401).count();
    assert_eq!(wrong + refused.len(), crowd.len());
    // There is nothing left of the line.
    assert_eq!(outcome(&server, ELSEWHERE, "mary", &marys).await, "done");
}

#[tokio::test]
async fn the_right_password_makes_up_for_mistakes() {
    let server = server(Options::default().setting(ATTEMPTS_BY_IP, "4")).await;
    server.admin().await.member("mary").await;
    let marys = own_password("mary");
    for _ in 0..3 {
        for _ in 0..3 {
            let wrong = outcome(&server, HOME, "mary", "wrong").await;
            assert_eq!(wrong, "Unauthorized");
        }
        assert_eq!(outcome(&server, HOME, "mary", &marys).await, "done");
    }
}

#[tokio::test]
async fn strangers_lock_nobody_out_of_where_it_is_at_home_also_after_a_restart() {
    let mut server = server(Options::default().setting(BY_IP, "false")).await;
    assert_eq!(outcome(&server, HOME, ADMIN, ADMIN_PASSWORD).await, "done");
    let guess = async |server: &Server, number: usize| {
        let from = format!("198.51.100.{number}");
        outcome(server, &from, ADMIN, "wrong").await
    };
    for number in 0..10 {
        assert_eq!(guess(&server, number).await, "Unauthorized");
    }
    let blocked = "error-login-blocked-for-user";
    assert_eq!(guess(&server, 99).await, blocked);
    assert_eq!(
        outcome(&server, "203.0.113.1", ADMIN, ADMIN_PASSWORD).await,
        blocked
    );
    assert_eq!(outcome(&server, HOME, ADMIN, ADMIN_PASSWORD).await, "done");
    // That login was at home: it gives strangers no new attempts.
    assert_eq!(guess(&server, 99).await, blocked);

    assert!(server.stop().await.success());
    server.launch();
    server.ready().await;
    assert_eq!(guess(&server, 99).await, blocked);
    assert_eq!(outcome(&server, HOME, ADMIN, ADMIN_PASSWORD).await, "done");
    // At home mistakes count as well.
    for _ in 0..10 {
        assert_eq!(outcome(&server, HOME, ADMIN, "wrong").await, "Unauthorized");
    }
    assert_eq!(outcome(&server, HOME, ADMIN, ADMIN_PASSWORD).await, blocked);
}

#[tokio::test]
async fn many_guesses_at_once_are_no_more_than_one_after_the_other() {
    let server = server(Options::default().setting(BY_IP, "false")).await;
    let admin = server.admin().await;
    admin.member("mary").await;
    for name in ["mary", "nobody"] {
        let guesses = (0..40).map(|number| {
            let wrong = format!("guess {number}");
            let server = &server;
            async move { outcome(server, ELSEWHERE, name, &wrong).await }
        });
        let outcomes = join_all(guesses).await;
        let looked_at = outcomes.iter().filter(|outcome| *outcome == "Unauthorized");
        assert_eq!(looked_at.count(), 10, "{name}: {outcomes:?}");
    }
}

async fn own(client: &Client, password: &str, operation: &str) -> Answer {
    let password = digest(password);
    match operation {
        "users.deleteOwnAccount" => client.post(operation, json!({ "password": password })),
        "users.updateOwnBasicInfo" => {
            let data = json!({ "email": "new@example.org", "currentPassword": password });
            client.post(operation, json!({ "data": data }))
        }
        other => panic!("{other} asks for no password"),
    }
    .await
}

#[tokio::test]
async fn the_password_that_is_asked_for_again_is_not_guessed_either() {
    let options = Options::default().setting("Accounts_AllowDeleteOwnAccount", "true");
    let server = server(options).await;
    let admin = server.admin().await;
    for (name, operation, refusal) in [
        ("anna", "users.deleteOwnAccount", "error-invalid-password"),
        ("bert", "users.updateOwnBasicInfo", "totp-invalid"),
    ] {
        let somebody = admin.member(name).await;
        let blocked = "error-login-blocked-for-user";
        let (mut looked_at, mut waited) = (0, true);
        while waited {
            let guesses = (0..20).map(|number| {
                let somebody = &somebody;
                async move { own(somebody, &format!("guess {number}"), operation).await }
            });
            waited = false;
            for answer in join_all(guesses).await {
                // Few of one account wait for their turn.
                if answer.status == 429 {
                    waited = true;
                    continue;
                }
                let refused = answer.expect_error(400);
                looked_at += u32::from(refused == refusal);
                assert!(refused == refusal || refused == blocked, "{refused}");
            }
        }
        assert_eq!(looked_at, 10, "{operation}");
        let right = own(&somebody, &own_password(name), operation).await;
        assert_eq!(right.expect_error(400), blocked);

        let path = format!("/api/hansard/v1/audit?type=LoginFailed&target=@{name}");
        let failed = admin.get_path(&path).await.expect_ok()["entries"].take();
        assert_eq!(failed.as_array().map(Vec::len), Some(10));
        assert_eq!(failed[0]["outcome"], "failed");
        assert_eq!(failed[0]["details"]["operation"], operation);
        assert_eq!(failed[0]["username"], name);
    }
}

/// A new password that is refused because it is that of now tells what that is: where nothing comes of the
/// change, it was a guess.
#[tokio::test]
async fn a_change_that_is_cut_short_is_a_guess() {
    let options = Options::default().setting("Accounts_TwoFactorAuthentication_Enabled", "false");
    let server = server(options).await;
    let admin = server.admin().await;
    admin.member("mary").await;
    let mut failed = 0;
    for number in 0..4 {
        let session = server.login("mary", &own_password("mary")).await;
        let data = json!({ "newPassword": format!("guess number {number}") });
        let guess = async {
            let changed = session.post("users.updateOwnBasicInfo", json!({ "data": data }));
            changed.await.status
        };
        let leave = async {
            tokio::time::sleep(Duration::from_millis(8)).await;
            session.post("logout", json!({})).await
        };
        let (guessed, _) = tokio::join!(guess, leave);
        failed += usize::from(guessed == 401);
    }
    assert!(failed > 0, "no session ended in the middle");
    let path = "/api/hansard/v1/audit?type=LoginFailed&target=@mary";
    let counted = admin.get_path(path).await.expect_ok()["entries"].take();
    assert_eq!(counted.as_array().map(Vec::len), Some(failed), "{counted}");
    assert_eq!(
        counted[0]["details"]["operation"],
        "users.updateOwnBasicInfo"
    );
}

#[tokio::test]
async fn a_change_goes_on_when_its_client_goes_away() {
    let options = Options::default().setting("Accounts_TwoFactorAuthentication_Enabled", "false");
    let server = server(options).await;
    let admin = server.admin().await;
    let mary = admin.member("mary").await;
    let data = json!({ "newPassword": "a guess that is wrong" });
    let change = mary.post("users.updateOwnBasicInfo", json!({ "data": data }));
    let gone = tokio::time::timeout(Duration::from_millis(8), change).await;
    assert!(gone.is_err(), "it was answered at once: {gone:?}");
    eventually("whoever guessed has changed the password", async || {
        outcome(&server, HOME, "mary", "a guess that is wrong").await == "done"
    })
    .await;
}

#[tokio::test]
async fn the_address_of_ones_own_account_is_changed_with_its_password_however_it_is_asked_for() {
    let server = server(Options::default()).await;
    let admin = server.admin().await;
    let mary = admin.member("mary").await;
    let email_of = async || {
        let me = mary.get("me").await.expect_ok();
        me["emails"][0]["address"].clone()
    };
    let update = json!({ "userId": mary.user_id(), "data": { "email": "thief@example.org" } });
    let refused = mary.post("users.update", update.clone()).await;
    assert_eq!(refused.expect_error(400), "totp-required");
    assert_eq!(email_of().await, "mary@example.org");

    let with = async |client: &Client, update: &Value, password: &str| {
        let request = client
            .request(Method::POST, "/api/v1/users.update")
            .header("X-2fa-Method", "password")
            .header("X-2fa-Code", digest(password))
            .json(update);
        client.answer(request).await
    };
    let wrong = with(&mary, &update, "wrong").await;
    assert_eq!(wrong.expect_error(400), "totp-invalid");
    with(&mary, &update, &own_password("mary"))
        .await
        .expect_ok();
    assert_eq!(email_of().await, "thief@example.org");

    // An administrator is asked about its own account, and not about others.
    let own = json!({ "userId": admin.user_id(), "data": { "password": "another one" } });
    let refused = admin.post("users.update", own.clone()).await;
    assert_eq!(refused.expect_error(400), "totp-required");
    with(&admin, &own, ADMIN_PASSWORD).await.expect_ok();
    let name = json!({ "userId": admin.user_id(), "data": { "name": "Somebody" } });
    admin.post("users.update", name).await.expect_ok();
    admin.post("users.update", update).await.expect_ok();
}

#[tokio::test]
async fn a_wrong_join_code_is_on_the_audit() {
    let server = server(Options::default()).await;
    let admin = server.admin().await;
    let mary = admin.member("mary").await;
    let room = admin.channel("club").await;
    let code = json!({ "roomId": room, "joinCode": "sesame" });
    admin
        .post("channels.setJoinCode", code.clone())
        .await
        .expect_ok();
    let wrong = json!({ "roomId": room, "joinCode": "barley" });
    let refused = mary.post("channels.join", wrong).await;
    assert_eq!(refused.expect_error(400), "error-code-invalid");
    let path = "/api/hansard/v1/audit?outcome=denied&actor=@mary";
    let denied = admin.get_path(path).await.expect_ok();
    assert_eq!(denied["entries"][0]["target"]["id"], "channels.join");
    mary.post("channels.join", code).await.expect_ok();
}

#[tokio::test]
async fn what_is_blocked_tells_nobody_whose_a_name_or_an_address_is() {
    let server = server(Options::default().setting(BY_IP, "false")).await;
    let admin = server.admin().await;
    for name in ["anna", "bert", "carl", "dora", "eve"] {
        admin.member(name).await;
    }
    let guess = async |user: Value| {
        let client = server.anonymous();
        let request = client
            .request(Method::POST, "/api/v1/login")
            .header("X-Forwarded-For", ELSEWHERE)
            .json(&json!({ "user": user, "password": "wrong" }));
        let answer = client.answer(request).await;
        answer.body["error"].as_str().unwrap_or("done").to_owned()
    };
    let address = |name: &str| json!({ "email": format!("{name}@example.org") });
    let username = |name: &str| json!({ "username": name });
    let stories = [
        // Whether anybody has it.
        [address("anna"), username("anna@example.org")],
        [address("nobody"), username("nobody@example.org")],
        [username("bert"), username("bert ")],
        [username("nobody"), username("nobody ")],
        [username("carl"), address("carl")],
        // Whose it is.
        [username("dora"), address("eve")],
        [username("eve"), address("noone")],
    ];
    for [often, once] in stories {
        for _ in 0..9 {
            assert_eq!(guess(often.clone()).await, "Unauthorized");
        }
        guess(once.clone()).await;
        let tenth = guess(often.clone()).await;
        assert_eq!(tenth, "Unauthorized", "{often} after {once}");
        let blocked = guess(often.clone()).await;
        assert_eq!(blocked, "error-login-blocked-for-user", "{often}");
    }
}

#[tokio::test]
async fn a_session_that_ends_meanwhile_hides_no_guess() {
    let server = server(Options::default().setting(BY_IP, "false")).await;
    let admin = server.admin().await;
    let mary = admin.member("mary").await;
    admin.member("eve").await;
    let guess = async || {
        let request = mary
            .request(Method::POST, "/api/v1/login")
            .header("X-Forwarded-For", ELSEWHERE)
            .json(&json!({ "user": "eve", "password": "wrong" }));
        mary.answer(request).await.status
    };
    let log_out = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        mary.post("logout", json!({})).await.expect_ok();
    };
    let (statuses, ()) = tokio::join!(join_all((0..10).map(|_| guess())), log_out);
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    assert_eq!(
        outcome(&server, ELSEWHERE, "eve", &own_password("eve")).await,
        "error-login-blocked-for-user"
    );
}
