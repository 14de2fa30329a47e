//! Names of any script, found and renamed whatever the case of their letters.

use hansard_tests::server::{Options, Server, encoded};
use serde_json::{Value, json};

fn names(list: &Value, field: &str) -> Vec<String> {
    let all = list.as_array().unwrap().iter();
    all.map(|it| it[field].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn people_and_rooms_are_found_whatever_the_case_of_their_names() {
    let options = Options::default()
        .setting("UTF8_Channel_Names_Validation", "[\\p{L}0-9._-]+")
        .setting("UI_Allow_room_names_with_special_chars", "true");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    admin.member("elodie").await;
    let me = admin.get("users.info?username=elodie").await.expect_ok();
    let change = json!({ "userId": me["user"]["_id"], "data": { "name": "Élodie" } });
    admin.post("users.update", change).await.expect_ok();
    let made = json!({ "name": "Été", "members": ["elodie"] });
    let room = admin.post("channels.create", made).await.expect_ok();
    let room = room["channel"]["_id"].as_str().unwrap().to_owned();

    for filter in ["Élodie", "élodie", "ÉLO", "e\u{301}l"] {
        let text = encoded(filter);
        let members = admin
            .get(&format!("channels.members?roomId={room}&filter={text}"))
            .await;
        let members = members.expect_ok();
        assert_eq!(
            names(&members["members"], "username"),
            ["elodie"],
            "{filter}"
        );
        assert_eq!(members["total"], 1);
        let query = encoded(&json!({ "text": filter, "type": "users" }).to_string());
        let directory = admin
            .get(&format!("directory?query={query}"))
            .await
            .expect_ok();
        assert_eq!(
            names(&directory["result"], "username"),
            ["elodie"],
            "{filter}"
        );
        let spotted = admin
            .get(&format!("spotlight?query={text}"))
            .await
            .expect_ok();
        assert_eq!(names(&spotted["users"], "username"), ["elodie"], "{filter}");
        let selector = encoded(&json!({ "term": filter }).to_string());
        let suggested = admin
            .get(&format!("users.autocomplete?selector={selector}"))
            .await;
        assert_eq!(
            names(&suggested.expect_ok()["items"], "username"),
            ["elodie"],
            "{filter}"
        );
    }
    for filter in ["Été", "ÉTÉ", "été"] {
        let query = encoded(&json!({ "text": filter, "type": "channels" }).to_string());
        let directory = admin
            .get(&format!("directory?query={query}"))
            .await
            .expect_ok();
        assert_eq!(
            names(&directory["result"], "_id"),
            [room.as_str()],
            "{filter}"
        );
        let all = admin
            .get(&format!("rooms.adminRooms?filter={}", encoded(filter)))
            .await;
        assert_eq!(
            names(&all.expect_ok()["rooms"], "_id"),
            [room.as_str()],
            "{filter}"
        );
    }
}

#[tokio::test]
async fn a_room_takes_its_own_name_in_other_letters() {
    let options = Options::default().setting("UTF8_Channel_Names_Validation", "[\\p{L}0-9._-]+");
    let server = Server::start_with(options).await;
    let admin = server.admin().await;
    let room = admin.channel("étude").await;
    let rename = |name: &str| {
        let body = json!({ "roomId": room, "name": name });
        let admin = admin.clone();
        async move { admin.post("channels.rename", body).await }
    };
    let renamed = rename("Étude").await.expect_ok();
    assert_eq!(renamed["channel"]["name"], "Étude");
    let taken = json!({ "name": "ÉTUDE" });
    let error = admin
        .post("channels.create", taken.clone())
        .await
        .expect_error(400);
    assert_eq!(error, "error-duplicate-channel-name");
    rename("autre").await.expect_ok();
    admin.post("channels.create", taken).await.expect_ok();
}

#[tokio::test]
async fn nobody_takes_the_name_that_messages_give_to_who_is_gone() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mary = admin.member("mary").await;
    let me = mary.get("me").await.expect_ok();
    let id = me["_id"].as_str().unwrap();
    let room = mary.channel("lobby").await;
    mary.say(&room, "hello").await;
    let attempt = async |username: String| {
        let user = json!({
            "username": username, "name": "x", "email": format!("{username}@example.org"), "password": "x of many words",
        });
        admin.post("users.create", user).await.status.as_u16()
    };
    assert_eq!(attempt(format!("removed-{id}")).await, 400);
    let gone = json!({ "userId": id, "confirmRelinquish": true });
    admin.post("users.delete", gone).await.expect_ok();
    for name in [format!("removed-{id}"), format!("Removed-{id}")] {
        assert_eq!(attempt(name.clone()).await, 400, "{name}");
    }
    assert_eq!(attempt("removed-carpet".to_owned()).await, 200);
}
