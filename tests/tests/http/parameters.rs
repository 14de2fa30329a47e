//! What a parameter can be given: every parameter of every operation takes a value in all the ways that
//! clients write it, and is none the worse for values that nobody means.

use std::collections::BTreeSet;

use hansard_tests::document::{self, Member, Operation, query_string};
use hansard_tests::server::{ADMIN, ADMIN_PASSWORD, Answer, Client};
use hansard_tests::world::World;
use reqwest::Method;
use serde_json::{Map, Value, json};

/// Operations that would end the server's or the administrator's ability to answer the others.
const SPARED: &[&str] = &[
    "POST users.deactivateIdle",
    "POST users.deleteOwnAccount",
    "POST users.updateOwnBasicInfo",
    "POST permissions.update",
];

/// Asks for all operations, as an administrator who logs in again when a session was ended.
struct Asking {
    world: World,
    admin: Client,
}

impl Asking {
    async fn start() -> Self {
        let world = World::start().await;
        let admin = world.admin.clone();
        Self { world, admin }
    }

    fn path(&self, operation: &Operation) -> String {
        let path = operation
            .path
            .replace("{integration}", &self.world.incoming);
        let path = path.replace("{token}", &self.world.incoming_token);
        let path = path
            .replace("{stream}", "room-GENERAL")
            .replace("{view}", "rooms");
        path.replace("{id}", "Site_Name")
            .replace("{user}", "nobody")
    }

    async fn ask(
        &mut self,
        operation: &Operation,
        parameters: &[(String, String)],
        body: Option<&Value>,
    ) -> Answer {
        let path = self.path(operation);
        for _ in 0..2 {
            let path = format!("{path}{}", query_string(parameters));
            let request = self.admin.request(operation.method.clone(), &path);
            let request = match body {
                Some(body) => request.json(body),
                None => request,
            };
            let answer = self.admin.answer(request).await;
            let ended = answer.status == 401 && operation.path != "/api/v1/login";
            if !ended {
                return answer;
            }
            self.admin = self.world.server.login(ADMIN, ADMIN_PASSWORD).await;
        }
        panic!("{} is not for the administrator", operation.name());
    }

    /// The parameters of a query string that name something that is here.
    fn query(&self, operation: &Operation) -> Vec<(String, String)> {
        let known = |name: &String| match self.world.known(&operation.path, name)? {
            Value::String(text) => Some((name.clone(), text)),
            _ => None,
        };
        operation.query.iter().filter_map(known).collect()
    }

    /// A body whose members name something that is here.
    fn body(&self, operation: &Operation) -> Value {
        let mut body = json!({});
        for member in &operation.body {
            let last = member.path.last().map_or("", String::as_str);
            if let Some(known) = self.world.known(&operation.path, last) {
                put(&mut body, &member.path, known);
            }
        }
        body
    }
}

fn put(body: &mut Value, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        *body = value;
        return;
    };
    if !body.is_object() {
        *body = Value::Object(Map::new());
    }
    let members = body.as_object_mut().expect("an object");
    put(members.entry(name).or_insert(Value::Null), rest, value);
}

/// An answer that a client can make something of: never an error of the server's own.
#[track_caller]
fn check(answer: &Answer, what: &str) {
    let status = answer.status;
    assert!(
        !status.is_server_error(),
        "{what}: {status} {}",
        answer.body
    );
    if status.is_client_error() {
        let told = answer.body["success"] == false || answer.body["status"] == "error";
        assert!(told, "{what}: {status} {}", answer.body);
    }
}

fn is_spared(operation: &Operation) -> bool {
    SPARED.contains(&operation.name().as_str())
}

/// What a query string can hold where a value is meant.
fn texts() -> Vec<String> {
    let short = [
        "",
        " ",
        "x",
        "0",
        "5",
        "-1",
        "1.5",
        "1e3",
        "1e999",
        "NaN",
        "Infinity",
        "true",
        "TRUE",
        "null",
        "undefined",
        "[]",
        "{}",
        "[1",
        "{\"a\":",
        "{\"a\":{\"$gt\":1}}",
        "\u{0}",
        "%",
        "a&b=c",
        "😀",
        "9223372036854775807",
        "-9223372036854775808",
        "99999999999999999999",
        "2016-13-45",
        "9999-12-31T23:59:59.999Z",
        "0000-01-01",
        "+275760-09-13T00:00:00.000Z",
        "{\"$serde_json::private::RawValue\":\"1\"}",
    ];
    let long = ["x".repeat(9_000), "[".repeat(2_000), "{\"a\":".repeat(500)];
    short.into_iter().map(str::to_owned).chain(long).collect()
}

#[tokio::test]
async fn no_parameter_of_a_query_string_breaks_an_operation() {
    let mut asking = Asking::start().await;
    for operation in document::operations() {
        if operation.method != Method::GET || is_spared(&operation) {
            continue;
        }
        let base = asking.query(&operation);
        for name in &operation.query {
            let rest = || base.iter().filter(|(known, _)| known != name).cloned();
            for text in texts() {
                let parameters: Vec<_> = rest().chain([(name.clone(), text.clone())]).collect();
                let answer = asking.ask(&operation, &parameters, None).await;
                check(&answer, &format!("{}?{name}={text}", operation.name()));
            }
            for names in [
                [name.clone(), name.clone()],
                [format!("{name}[]"), name.clone()],
            ] {
                let twice = names.map(|name| (name, "5".to_owned()));
                let parameters: Vec<_> = rest().chain(twice).collect();
                let answer = asking.ask(&operation, &parameters, None).await;
                check(&answer, &format!("{}?{name} twice", operation.name()));
            }
        }
        let unknown = [("nobodyKnowsThis".to_owned(), "1".to_owned())];
        let parameters: Vec<_> = base.iter().cloned().chain(unknown).collect();
        let answer = asking.ask(&operation, &parameters, None).await;
        check(&answer, &format!("{}, unknown", operation.name()));
    }
    let output = asking.world.server.output();
    assert!(!output.contains("panicked"), "{output}");
}

/// What a body can hold where a value is meant.
fn values() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!("true"),
        json!(0),
        json!(5),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(""),
        json!(" "),
        json!("x"),
        json!("\u{0}"),
        json!("NaN"),
        json!("2016-13-45"),
        json!([]),
        json!(["x"]),
        json!([null]),
        json!([[["x"]]]),
        json!({}),
        json!({ "$gt": "" }),
        json!({ "$date": i64::MAX }),
        json!({ "$date": -1 }),
    ];
    values.push(json!("x".repeat(300 * 1024)));
    values.push(json!(vec![5; 20_000]));
    values
}

#[tokio::test]
async fn no_member_of_a_body_breaks_an_operation() {
    let mut asking = Asking::start().await;
    for operation in document::operations() {
        if operation.body.is_empty() || is_spared(&operation) {
            continue;
        }
        for member in &operation.body {
            for value in values() {
                let mut body = asking.body(&operation);
                put(&mut body, &member.path, value.clone());
                let answer = asking.ask(&operation, &[], Some(&body)).await;
                let value: String = value.to_string().chars().take(60).collect();
                let what = format!("{} {}: {value}", operation.name(), member.name());
                check(&answer, &what);
            }
        }
        for body in [
            json!(null),
            json!([]),
            json!("x"),
            json!(5),
            json!({ "nobodyKnows": 1 }),
        ] {
            let answer = asking.ask(&operation, &[], Some(&body)).await;
            check(&answer, &format!("{} {body}", operation.name()));
        }
    }
    let output = asking.world.server.output();
    assert!(!output.contains("panicked"), "{output}");
}

/// Ways to write a value of a kind that are not the JSON of that kind.
fn other_forms(member: &Member) -> Vec<Value> {
    match member.kind.as_deref() {
        Some("boolean") => vec![json!("true"), json!("false"), json!(1), json!("0")],
        Some("integer") => vec![json!("5"), json!(5.0), json!(" 5 ")],
        Some("number") => vec![json!("5"), json!("0.5")],
        Some("string") => vec![json!(5), json!(true)],
        _ => vec![],
    }
}

#[tokio::test]
async fn a_value_is_taken_in_every_body_in_all_the_ways_that_clients_write_it() {
    // Texts that are one of several words, or a date, or an id: `5` is none, whatever its form.
    let mut asking = Asking::start().await;
    let mut refused = BTreeSet::new();
    for operation in document::operations() {
        if is_spared(&operation) {
            continue;
        }
        for member in &operation.body {
            for form in other_forms(member) {
                let mut body = asking.body(&operation);
                put(&mut body, &member.path, form.clone());
                let answer = asking.ask(&operation, &[], Some(&body)).await;
                let error = answer.body["error"].as_str().unwrap_or_default();
                let kinds = ["boolean", "integer", "number", "string"];
                if kinds
                    .iter()
                    .any(|kind| error.contains(&format!("must be {kind}")))
                {
                    let name = operation.name();
                    refused.insert(format!("{name} {} {form}: {error}", member.name()));
                }
            }
        }
    }
    assert_eq!(refused, BTreeSet::new());
}

#[tokio::test]
async fn a_parameter_that_is_empty_is_none() {
    let mut asking = Asking::start().await;
    let empty = [
        "sort",
        "fields",
        "query",
        "count",
        "offset",
        "oldest",
        "latest",
        "inclusive",
        "unreads",
        "updatedSince",
        "filter",
        "status",
        "types",
        "type",
    ];
    for operation in document::operations() {
        let known = operation
            .query
            .iter()
            .filter(|name| empty.contains(&name.as_str()));
        if operation.method != Method::GET || is_spared(&operation) {
            continue;
        }
        for name in known {
            let rest = asking.query(&operation);
            let rest: Vec<_> = rest
                .into_iter()
                .filter(|(known, _)| known != name)
                .collect();
            let without = asking.ask(&operation, &rest, None).await;
            if without
                .body
                .to_string()
                .contains("must have required property")
            {
                continue;
            }
            let with = [rest, vec![(name.clone(), String::new())]].concat();
            let with = asking.ask(&operation, &with, None).await;
            let what = format!("{}?{name}=", operation.name());
            assert_eq!(with.status, without.status, "{what}: {}", with.body);
            if without.status.is_client_error() {
                assert_eq!(with.body, without.body, "{what}");
            }
        }
    }
}
