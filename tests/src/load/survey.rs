//! Measures what depends on how large a workspace is: the lists of rooms and of people, what is found of
//! them, and making accounts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::bench::Bench;
use super::client::ClientError;
use super::latency::{Budget, Table};
use super::rest;

/// The person that looks is in so many rooms.
const ROOMS: usize = 50;

/// A page, as clients ask for it.
const PAGE: &str = "50";

/// How many people are looked for, by their whole names and by how these begin.
const SOUGHT: usize = 50;
const BEGINNING: usize = 3;

/// Runs all measurements. The first row is the yardstick.
pub async fn survey(bench: &Bench) -> Result<(Table, Option<ClientError>), ClientError> {
    let (mut client, admin) = bench.administrator().await?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let run = since.map_or(0, |since| since.as_millis());

    let name = format!("survey.{run}");
    let email = format!("{name}@chat.example");
    let id = rest::create_user(&mut client, &admin, &name, &name, &email).await?;
    let secret = bench.administrator.token_secret.as_deref();
    let person = rest::create_token(&mut client, &admin, &id, secret).await?;
    for room in 0..ROOMS {
        let room =
            rest::create_channel(&mut client, &admin, &format!("survey-{run}-{room}")).await?;
        rest::join(&mut client, &person, &room).await?;
    }
    let names = rest::usernames(&mut client, &admin, SOUGHT).await?;
    let terms: Vec<String> = names
        .iter()
        .map(|name| name.chars().take(BEGINNING).collect())
        .chain(names.iter().cloned())
        .collect();
    let term = |turn: u64| terms[turn as usize % terms.len()].as_str();

    let (mut failure, mut table) = (None, Table::default());
    let info = bench.measure(
        "GET /api/info",
        u64::MAX,
        Budget::default(),
        &mut failure,
        async |client, _, _| rest::info(client).await,
    );
    table.0.push(info.await);
    let budget = Budget {
        ratio: None,
        p99: Some(Duration::from_millis(20)),
    };
    let by_name = json!({"username": 1}).to_string();
    for (path, what) in [
        ("rooms.get", ""),
        ("subscriptions.get", ""),
        ("users.list", ""),
        ("directory", "users"),
        ("directory", "channels"),
        ("spotlight", ""),
        ("users.autocomplete", ""),
    ] {
        let title = [path, what].join(" ");
        let asked = bench.measure(
            title.trim_end(),
            u64::MAX,
            budget,
            &mut failure,
            async |client, _, turn| match path {
                "rooms.get" | "subscriptions.get" => rest::look(client, &person, path, &[]).await,
                "users.list" => {
                    let page = [("count", PAGE), ("sort", by_name.as_str())];
                    rest::look(client, &admin, path, &page).await
                }
                "directory" => {
                    let query = json!({"text": term(turn), "type": what, "workspace": "local"});
                    let query = [("query", &*query.to_string()), ("count", PAGE)];
                    rest::look(client, &person, path, &query).await
                }
                "spotlight" => rest::look(client, &person, path, &[("query", term(turn))]).await,
                _ => {
                    let selector = json!({"term": term(turn)}).to_string();
                    rest::look(client, &person, path, &[("selector", &selector)]).await
                }
            },
        );
        table.0.push(asked.await);
    }
    let made = bench.measure(
        "users.create",
        bench.messages,
        Budget::default(),
        &mut failure,
        async |client, worker, turn| {
            let name = format!("made.{run}.{worker}.{turn}");
            let email = format!("{name}@chat.example");
            let made = rest::create_user(client, &admin, &name, &name, &email);
            made.await.map(drop)
        },
    );
    table.0.push(made.await);
    Ok((table, failure))
}
