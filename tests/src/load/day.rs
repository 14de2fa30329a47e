//! Measures a day in the life of a workspace: what people do at once, in the proportion in which they do it.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use futures::stream::{self, TryStreamExt as _};

use hansard_domain::id::Timestamp;

use super::bench::Bench;
use super::client::{Client, ClientError, Credentials};
use super::dice::Dice;
use super::latency::{Budget, Table};
use super::message_ids::message_id;
use super::rest;
use super::words::words;

/// For one send there are three pages of history, six rooms marked as read and two polls for what is new in
/// the caller's rooms; for twenty sends there is one search.
const KINDS: [(&str, u64); 5] = [
    ("chat.sendMessage", 20),
    ("channels.history, newest 50", 60),
    ("subscriptions.read", 120),
    ("subscriptions.get, what is new", 40),
    ("chat.search", 1),
];

struct Person {
    credentials: Credentials,
    rooms: Vec<usize>,
}

/// Who there is, and where.
struct Workspace {
    rooms: Vec<String>,
    people: Vec<Person>,
    words: Vec<String>,
}

/// So many people in so many rooms do what people do. The largest room has everybody, the second half of
/// them, the third a third, as in most workspaces, and nobody is in none. The first row is the yardstick.
pub async fn day(
    bench: &Bench,
    people: usize,
    texts: &[&str],
) -> Result<(Table, Option<ClientError>), ClientError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let run = since.map_or(0, |since| since.as_millis() as u64);
    let workspace = &furnish(bench, people.max(1), run, texts).await?;

    let (mut failure, mut table) = (None, Table::default());
    let info = bench.measure(
        "GET /api/info",
        u64::MAX,
        Budget::default(),
        &mut failure,
        async |client, _, _| rest::info(client).await,
    );
    table.0.push(info.await);

    let all: u64 = KINDS.iter().map(|(_, share)| share).sum();
    let dice_of = |turn: u64| Dice::new(run ^ turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let kind_of = |turn: u64| {
        let mut place = dice_of(turn).roll() % all;
        let kind = KINDS.iter().position(|(_, share)| {
            let is_here = place < *share;
            if !is_here {
                place -= share;
            }
            is_here
        });
        kind.unwrap_or_default()
    };
    let kinds = KINDS.map(|(what, _)| (what, Budget::default()));
    let rows = bench.measure_kinds(
        &kinds,
        bench.messages,
        &mut failure,
        kind_of,
        async |client, kind, turn| {
            let mut dice = dice_of(turn);
            dice.roll();
            let Person { credentials, rooms } = dice.pick(&workspace.people);
            let room = &workspace.rooms[*dice.pick(rooms)];
            match kind {
                0 => {
                    let id = message_id(run, turn, &[]);
                    let text = *dice.pick::<&str>(texts);
                    rest::send_message(client, credentials, room, &id, text).await
                }
                1 => rest::fetch_history(client, credentials, room, None, 50).await,
                2 => rest::mark_read(client, credentials, room).await,
                3 => {
                    // Since a moment ago: what happened lately comes back.
                    let since = ago(60_000);
                    let since = [("updatedSince", since.as_str())];
                    rest::look(client, credentials, "subscriptions.get", &since).await
                }
                _ => {
                    let word = dice.pick(&workspace.words);
                    rest::search(client, credentials, room, word)
                        .await
                        .map(drop)
                }
            }
        },
    );
    table.0.extend(rows.await);
    Ok((table, failure))
}

/// The time so many milliseconds ago, in ISO 8601.
fn ago(millis: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let at = now
        .map_or(0, |now| now.as_millis() as u64)
        .saturating_sub(millis);
    Timestamp(at as i64).iso()
}

async fn furnish(
    bench: &Bench,
    people: usize,
    run: u64,
    texts: &[&str],
) -> Result<Workspace, ClientError> {
    let (mut client, admin) = bench.administrator().await?;
    let mut rooms = Vec::new();
    for room in 0..bench.rooms.max(1) {
        let name = format!("day-{run}-{room}");
        rooms.push(rest::create_channel(&mut client, &admin, &name).await?);
    }
    let (admin, rooms_there) = (&admin, &rooms);
    let secret = bench.administrator.token_secret.as_deref();
    let coming = stream::iter(0..people).map(|number| async move {
        let mut client = Client::new(bench.connection.clone());
        let name = format!("day.{run}.{number}");
        let email = format!("{name}@chat.example");
        let id = rest::create_user(&mut client, admin, &name, &name, &email).await?;
        let credentials = rest::create_token(&mut client, admin, &id, secret).await?;
        // Everybody in the first, every second one in the second, every third in the third.
        let mine = (0..rooms_there.len()).filter(|room| number % (room + 1) == 0);
        let mine: Vec<usize> = mine.collect();
        for room in &mine {
            rest::join(&mut client, &credentials, &rooms_there[*room]).await?;
        }
        Ok::<_, ClientError>(Person {
            credentials,
            rooms: mine,
        })
    });
    let people = coming
        .buffer_unordered(bench.connections.max(1))
        .try_collect()
        .await?;
    let mut sought: Vec<String> = texts
        .iter()
        .take(1_000)
        .filter_map(|text| words(text).max_by_key(|word| word.len()))
        .map(str::to_owned)
        .collect();
    sought.sort_unstable();
    sought.dedup();
    if sought.is_empty() {
        sought.push("nothing".to_owned());
    }
    Ok(Workspace {
        rooms,
        people,
        words: sought,
    })
}
