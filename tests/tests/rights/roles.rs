//! Who may do what: each cell of `tests/roles/matrix.txt`, asked for. See [`hansard_tests::roles`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use futures::StreamExt;
use hansard_tests::document;
use hansard_tests::roles::examples;
use hansard_tests::roles::matrix::{Expected, Matrix, Row, Told, read};
use hansard_tests::roles::stage::{Asked, Stage};
use hansard_tests::server::{Client, Options, Server};
use serde_json::Value;

const TABLE: &str = include_str!("../../roles/matrix.txt");

/// How many cells are asked at once.
const AT_ONCE: usize = 12;

/// What is recorded of a refusal.
const OF_REFUSALS: [&str; 3] = ["CommandDenied", "LoginFailed", "UnknownLoginFailed"];

/// What is recorded of a look.
const OF_LOOKS: [&str; 2] = ["RoomsInspected", "RecordInspected"];

/// The table, and only the rows that have `HANSARD_ROLES` in their name where that is set.
fn matrix() -> Matrix {
    let mut matrix = read(TABLE).unwrap_or_else(|wrong| panic!("tests/roles/matrix.txt, {wrong}"));
    if let Ok(wanted) = std::env::var("HANSARD_ROLES") {
        matrix.rows.retain(|row| row.name().contains(&wanted));
    }
    assert!(!matrix.rows.is_empty(), "no row is asked for");
    matrix
}

#[test]
fn every_operation_has_a_row_and_every_row_an_operation() {
    let matrix = read(TABLE).unwrap_or_else(|wrong| panic!("tests/roles/matrix.txt, {wrong}"));
    let rows: BTreeSet<String> = matrix.rows.iter().map(Row::operation_id).collect();
    let operations: BTreeSet<String> = document::operations()
        .iter()
        .map(|operation| format!("{} {}", operation.method, operation.path))
        .collect();
    let missing: Vec<_> = operations.difference(&rows).collect();
    assert!(missing.is_empty(), "without a row: {missing:#?}");
    let unknown: Vec<_> = rows.difference(&operations).collect();
    assert!(unknown.is_empty(), "without an operation: {unknown:#?}");
}

#[test]
fn every_operation_has_an_example() {
    let text = std::fs::read_to_string(examples::file()).expect("the examples");
    let examples: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    let operations = document::operations();
    let names = operations
        .iter()
        .map(|operation| format!("{} {}", operation.method, operation.path));
    let operations: BTreeSet<String> = names.collect();
    let recorded: BTreeSet<String> = examples.into_keys().collect();
    assert_eq!(
        operations, recorded,
        "HANSARD_RECORD_EXAMPLES=1 cargo test -p hansard-tests --test rights roles records them"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_answered_what_the_matrix_says() {
    let matrix = matrix();
    let options = Options::default()
        .setting("API_Enable_Direct_Message_History_EndPoint", "true")
        .setting("Accounts_AllowDeleteOwnAccount", "true")
        // Everybody logs in to the account that nobody may use.
        .setting(
            "Block_Multiple_Failed_Logins_Attempts_Until_Block_by_User",
            "50",
        )
        .setting("API_User_Limit", "100000");
    let server = Server::start_with(options).await;
    let stage = Stage::set(&server).await;

    let cells = matrix.rows.iter().flat_map(|row| {
        let cells = matrix.callers.iter().zip(&row.expected);
        cells.map(move |(caller, expected)| (row, caller, expected))
    });
    let asked = cells.map(|(row, caller, expected)| {
        let (server, stage) = (&server, &stage);
        async move { (row, caller, expected, stage.ask(server, row, caller).await) }
    });
    let mut asked: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;

    let recorded = recorded(&server.admin().await).await;
    let mut wrong: Vec<(usize, String)> = Vec::new();
    for (row, caller, expected, asked) in &asked {
        let events = recorded.get(&asked.id).map_or(&[][..], Vec::as_slice);
        if let Err(told) = holds(row, expected, asked, events) {
            let mut line = String::new();
            let _ = write!(line, "{} for {caller}: {told}", row.name());
            wrong.push((row.line, line));
        }
    }
    wrong.sort();
    let lines: Vec<_> = wrong
        .iter()
        .map(|(line, told)| format!("{line}: {told}"))
        .collect();
    assert!(
        lines.is_empty(),
        "{} of {} cells of tests/roles/matrix.txt do not hold:\n{}",
        lines.len(),
        asked.len(),
        lines.join("\n")
    );
    if std::env::var_os("HANSARD_RECORD_EXAMPLES").is_some() {
        asked.sort_by_key(|(row, caller, ..)| (row.line, *caller));
        let cells = asked
            .iter()
            .map(|(row, caller, expected, asked)| (*row, caller.as_str(), *expected, asked));
        let examples = examples::of(cells, &server.url(""));
        let text = serde_json::to_string_pretty(&examples).expect("JSON");
        std::fs::write(examples::file(), text + "\n").expect("the examples can be written");
    }
}

/// Whether a cell holds; else what is wrong.
fn holds(row: &Row, expected: &Expected, asked: &Asked, events: &[String]) -> Result<(), String> {
    let Asked { answer, seen, .. } = asked;
    let (status, done) = (answer.status.as_u16(), answer.status.is_success());
    let got = || format!("{status} {}", shortened(&answer.body.to_string()));
    let changes: Vec<&str> = events
        .iter()
        .map(String::as_str)
        .filter(|event| !OF_REFUSALS.contains(event) && !OF_LOOKS.contains(event))
        .collect();
    let looks = events.len() - changes.len();
    let only_looks = row.request.method == "GET";
    match expected {
        Expected::Refused {
            word,
            status: due,
            told,
        } => {
            if status != *due || !says(told, answer) {
                return Err(format!("{word} is expected, answered is {}", got()));
            }
            if !changes.is_empty() {
                return Err(format!("it was refused, but {changes:?} is on the record"));
            }
        }
        Expected::Yes | Expected::Audited if !done || !seen => {
            let what = if done { "not seen: " } else { "" };
            return Err(format!("yes is expected, answered is {what}{}", got()));
        }
        Expected::Yes if looks > 0 => {
            return Err(format!("nobody asked for it to be recorded: {events:?}"));
        }
        Expected::Yes if changes.is_empty() && !only_looks && !is_of_a_node(row) => {
            return Err(format!("nothing is on the record of {}", got()));
        }
        Expected::Audited if looks == 0 => {
            return Err("the look is not on the audit".to_owned());
        }
        Expected::Empty if !done || *seen => {
            let what = if done { "it is seen: " } else { "" };
            return Err(format!("empty is expected, answered is {what}{}", got()));
        }
        Expected::Idle if !done => {
            return Err(format!("idle is expected, answered is {}", got()));
        }
        Expected::Idle if !changes.is_empty() => {
            return Err(format!("nothing was to be done, but {changes:?} was"));
        }
        Expected::Yes | Expected::Audited | Expected::Empty | Expected::Idle => {}
    }
    Ok(())
}

/// Operations that change something of the node that is asked, and nothing of the workspace.
fn is_of_a_node(row: &Row) -> bool {
    row.operation.ends_with("/rebuild")
}

fn says(told: &Told, answer: &hansard_tests::server::Answer) -> bool {
    let text = |name: &str| answer.body[name].as_str().unwrap_or_default();
    match told {
        Told::Nothing => true,
        Told::ErrorType(code) => {
            text("errorType") == code || text("error").contains(&format!("[{code}]"))
        }
        Told::Text(part) => text("error").contains(part.as_str()),
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 160;
    text.chars().take(MOST).collect()
}

/// The types of events that were recorded, by the id of the request that they go back to.
async fn recorded(auditor: &Client) -> HashMap<String, Vec<String>> {
    let mut recorded: HashMap<String, Vec<String>> = HashMap::new();
    let mut after = 0;
    loop {
        let path = format!("/api/hansard/v1/events?after={after}&limit=1000");
        let page = auditor.get_path(&path).await.expect_ok();
        for event in page["events"].as_array().into_iter().flatten() {
            if let (Some(request), Some(kind)) =
                (event["correlation"].as_str(), event["type"].as_str())
            {
                let of = recorded.entry(request.to_owned()).or_default();
                of.push(kind.to_owned());
            }
        }
        after = page["next"].as_u64().unwrap_or_default();
        if after >= page["head"].as_u64().unwrap_or_default() {
            return recorded;
        }
    }
}
