//! Filters that clients write: what they may cost, and that they tell of nothing that is not shown.

use hansard_tests::document::{self, query_string};
use hansard_tests::server::{Answer, Client, Server, encoded};
use hansard_tests::world::World;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn query(client: &Client, operation: &str, query: &Value) -> Answer {
    let parameters = query_string(&[("query", query.to_string())]);
    client.get(&format!("{operation}{parameters}")).await
}

#[tokio::test]
async fn without_a_login_a_query_names_settings_by_their_ids_and_nothing_else() {
    let world = World::start().await;
    let nobody = world.server.anonymous();
    for asked in [
        json!({ "_id": { "$regex": "^Site" } }),
        json!({ "_id": { "$in": ["Site_Name"], "$regex": "a" } }),
        json!({ "$or": [{ "_id": "Site_Name" }] }),
        json!({ "value": true }),
        json!({ "_id": "Site_Name", "public": true }),
    ] {
        let refused = query(&nobody, "settings.public", &asked).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{asked}");
        query(&world.mary, "settings.public", &asked)
            .await
            .expect_ok();
    }
    let ids = |answer: Answer| -> Vec<String> {
        let body = answer.expect_ok();
        let settings = body["settings"].as_array().unwrap().iter();
        settings
            .map(|setting| setting["_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let several = json!({ "_id": { "$in": ["Site_Name", "Language", "SMTP_Password", "None"] } });
    let found = ids(query(&nobody, "settings.public", &several).await);
    assert_eq!(found, ["Language", "Site_Name"]);
    let one = json!({ "_id": "Site_Name" });
    assert_eq!(
        ids(query(&nobody, "settings.public", &one).await),
        ["Site_Name"]
    );
    nobody.get("settings.public").await.expect_ok();
    nobody.get("settings.public?query=").await.expect_ok();
}

#[tokio::test]
async fn a_query_has_so_many_conditions_and_expressions() {
    let world = World::start().await;
    let expression = json!({ "name": { "$regex": "a" } });
    for (operation, asked) in [
        (
            "users.list",
            json!({ "$or": vec![json!({ "name": "a" }); 200] }),
        ),
        ("users.list", json!({ "$or": vec![expression.clone(); 20] })),
        (
            "users.list",
            json!({ "name": { "$regex": "a".repeat(2_000) } }),
        ),
        (
            "users.list",
            json!({ "name": { "$regex": "(a{100}){100}" } }),
        ),
        (
            "channels.list",
            json!({ "$or": vec![expression.clone(); 20] }),
        ),
        (
            "channels.online",
            json!({ "$or": vec![expression.clone(); 20] }),
        ),
        (
            "settings",
            json!({ "$or": vec![json!({ "_id": { "$regex": "a" } }); 20] }),
        ),
    ] {
        let refused = query(&world.admin, operation, &asked).await;
        let refused = (operation, refused.expect_error(400));
        assert_eq!(refused, (operation, "error-invalid-query".to_owned()));
    }
    let conditions = json!({ "$or": vec![expression; 20] });
    let selector = json!({ "term": "a", "conditions": conditions }).to_string();
    let parameters = query_string(&[("selector", selector)]);
    let refused = world
        .admin
        .get(&format!("users.autocomplete{parameters}"))
        .await;
    assert_eq!(refused.expect_error(400), "error-invalid-query");
    // Neither is a text of any length looked at.
    let long = json!({ "name": "a".repeat(9_000) });
    let refused = query(&world.admin, "users.list", &long).await;
    assert_eq!(refused.expect_error(400), "error-field-too-large");
}

#[tokio::test]
async fn a_condition_on_messages_is_met_by_what_is_equal_to_it() {
    let world = World::start().await;
    let room = &world.channel;
    let joe = world.server.user("joe").await;
    let joe = joe.user_id();
    let sent = world.mary.say(room, "@joe look").await;
    let found = async |asked: Value| {
        let query = query_string(&[("roomId", room.clone()), ("query", asked.to_string())]);
        world.mary.get(&format!("channels.messages{query}")).await
    };
    for asked in [
        json!({ "mentions._id": joe }),
        json!({ "mentions._id": { "$in": ["nobody", joe] } }),
    ] {
        let answer = found(asked).await.expect_ok();
        assert_eq!(answer["total"], 1);
        assert_eq!(answer["messages"][0]["_id"], sent["_id"]);
    }
    for asked in [
        json!({ "mentions._id": format!("x|{joe}|y") }),
        json!({ "mentions._id": "|".repeat(8_000) }),
        json!({ "t": "x|uj|y" }),
    ] {
        let answer = found(asked.clone()).await.expect_ok();
        assert_eq!(answer["total"], 0, "{asked}");
    }
    let many = json!({ "mentions._id": { "$in": vec![joe; 20] } });
    assert_eq!(found(many).await.expect_error(400), "error-invalid-query");
    let members = async |status: &[&str]| {
        let status = status.iter().map(|status| ("status[]", *status));
        let query: Vec<_> = [("roomId", room.as_str())]
            .into_iter()
            .chain(status)
            .collect();
        let path = format!("channels.members{}", query_string(&query));
        world.mary.get(&path).await.expect_ok()["total"].clone()
    };
    let all = members(&[]).await;
    let any = ["online", "away", "busy", "offline"];
    assert_eq!(members(&any).await, all);
    assert_eq!(members(&["x,online,away,busy,offline,y"]).await, 0);
    for status in any {
        assert_eq!(members(&[&format!("x,{status},y")]).await, 0, "{status}");
    }
}

#[tokio::test]
async fn queries_that_many_ask_at_once_are_all_answered() {
    let world = World::start().await;
    // Such an expression makes the automaton grow with every letter.
    let expression = json!({ "$regex": format!("(a|x)*a{}", "(a|x)".repeat(60)) });
    let announcement = "ax".repeat(2_000);
    let body = json!({ "roomId": world.channel, "announcement": announcement });
    world
        .admin
        .post("channels.setAnnouncement", body)
        .await
        .expect_ok();
    let asked = json!({ "announcement": expression });
    let all = (0..24).map(|_| query(&world.mary, "channels.list", &asked));
    for answer in futures::future::join_all(all).await {
        let found = answer.expect_ok();
        assert_eq!(found["channels"][0]["_id"], world.channel);
    }
}

#[tokio::test]
async fn a_query_tells_nothing_of_what_its_client_does_not_see() {
    let world = World::start().await;
    let group = json!({
        "rid": world.group, "roomTopic": "xyzzy-topic", "roomAnnouncement": "xyzzy-announcement",
        "roomDescription": "xyzzy-description", "roomName": "xyzzy-name",
        "roomCustomFields": { "f": "xyzzy-field" },
    });
    world
        .admin
        .post("rooms.saveRoomSettings", group)
        .await
        .expect_ok();
    let fields = [
        "name",
        "fname",
        "topic",
        "announcement",
        "description",
        "customFields.f",
        "emails.address",
        "msg",
        "text",
    ];
    let mut asked = 0;
    for operation in document::operations() {
        if operation.method != Method::GET || !operation.query.iter().any(|name| name == "query") {
            continue;
        }
        let Some(name) = operation.path.strip_prefix("/api/v1/") else {
            continue;
        };
        for field in fields {
            for kind in ["", "channels", "users"] {
                let answer = async |looked_for: &str| {
                    let mut wanted = json!({ field: { "$regex": looked_for } });
                    if name == "directory" {
                        wanted = json!({ "text": looked_for, "type": kind });
                    }
                    let mut parameters = vec![("query".to_owned(), wanted.to_string())];
                    for parameter in &operation.query {
                        if let Some(Value::String(known)) = world.known(name, parameter) {
                            parameters.push((parameter.clone(), known));
                        }
                    }
                    let path = format!("{}{}", operation.path, query_string(&parameters));
                    world.mary.get_path(&path).await
                };
                let (hit, miss) = (answer("xyzzy").await, answer("plugh").await);
                let told = |answer: &Answer| answer.body.to_string().replace("xyzzy", "plugh");
                assert_eq!(hit.status, miss.status, "{name} {field}");
                assert_eq!(told(&hit), told(&miss), "{name} {field}");
                asked += 1;
            }
        }
    }
    assert!(asked > 300, "{asked}");
}

#[tokio::test]
async fn a_projection_names_so_many_fields_and_no_more() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let fields = |count: usize| {
        let names: serde_json::Map<_, _> = (0..count)
            .map(|number| (format!("k{number}"), json!(1)))
            .collect();
        encoded(&Value::from(names).to_string())
    };
    for list in [
        "users.list",
        "channels.list",
        "channels.messages?roomId=GENERAL",
    ] {
        let sign = if list.contains('?') { '&' } else { '?' };
        let asked = |count| format!("{list}{sign}fields={}", fields(count));
        admin.get(&asked(64)).await.expect_ok();
        let refused = admin.get(&asked(65)).await.expect_error(400);
        assert_eq!(refused, "error-invalid-fields", "{list}");
    }
}
