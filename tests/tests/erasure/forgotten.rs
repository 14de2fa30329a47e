//! Somebody whose account is deleted with all it said is found nowhere any more: in no file of the data
//! directory, in nothing that the record can still read, and in nothing that others are shown.

use hansard_tests::receiver::Receiver;
use hansard_tests::server::{Client, Options, Server, eventually, files_with};
use reqwest::Method;
use serde_json::{Value, json};

const ADDRESS: &str = "203.0.113.77";
const AGENT: &str = "zanzibarium";
const USERNAME: &str = "quillfeather";
const NAME: &str = "Marigold Xylophone";
const EMAIL: &str = "vexillum@example.org";
const PASSWORD: &str = "her own secret, which is long";
const STATUS: &str = "gyroscopic";
const TOKEN: &str = "hemidemisemiquaver";
const TEXT: &str = "wobbegong";
const CALLED: &str = "umlautium-1";
const REACTION: &str = "kookaburra";

/// What is personal about her, or was chosen by her.
const HERS: [&str; 10] = [
    ADDRESS, AGENT, USERNAME, NAME, EMAIL, STATUS, TOKEN, TEXT, CALLED, REACTION,
];

/// Asks from her address, with her browser.
async fn hers(client: &Client, operation: &str, body: Value) -> hansard_tests::server::Answer {
    let path = format!("/api/v1/{operation}");
    let request = client
        .request(Method::POST, &path)
        .header("X-Forwarded-For", ADDRESS)
        .header("User-Agent", AGENT)
        .json(&body);
    client.answer(request).await
}

/// All events, with everything that can still be read in the open.
async fn record(admin: &Client) -> Vec<Value> {
    let (mut events, mut after, mut end) = (Vec::new(), 0, u64::MAX);
    while after < end {
        let path = format!("/api/hansard/v1/events?limit=1000&after={after}");
        let page = admin.get_path(&path).await.expect_ok();
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        // Looking is on the record, too: it has no end but the one that it had at first.
        end = end.min(page["head"].as_u64().unwrap());
        after = page["next"].as_u64().unwrap();
    }
    events
}

fn naming<'a>(shown: &'a [Value], needle: &str) -> Vec<&'a Value> {
    let named = shown.iter().filter(|it| it.to_string().contains(needle));
    named.collect()
}

#[tokio::test]
async fn whoever_is_erased_is_found_in_no_file_and_in_no_event() {
    let options = Options::default()
        .flag("FORWARDED_COUNT", "1")
        .setting("Message_ErasureType", "Delete")
        .setting("Accounts_RegistrationForm", "Public");
    let mut server = Server::start_with(options).await;
    let admin = server.admin().await;
    let joe = admin.member("joe").await;
    let room = admin.channel("attic").await;
    let invite = json!({ "roomId": room, "userId": joe.user_id() });
    admin.post("channels.invite", invite).await.expect_ok();

    let nobody = server.anonymous();
    let register = json!({ "username": USERNAME, "name": NAME, "email": EMAIL, "pass": PASSWORD });
    hers(&nobody, "users.register", register).await.expect_ok();
    let wrong = json!({ "user": USERNAME, "password": "not hers" });
    assert_eq!(hers(&nobody, "login", wrong).await.status, 401);
    let right = json!({ "user": EMAIL, "password": PASSWORD });
    let session = hers(&nobody, "login", right).await.expect_ok();
    let told = |name: &str| session["data"][name].as_str().unwrap();
    let her = server.client(told("userId"), told("authToken"));
    let id = her.user_id().to_owned();

    let status = json!({ "message": STATUS, "status": "busy" });
    hers(&her, "users.setStatus", status).await.expect_ok();
    let token = json!({ "tokenName": TOKEN });
    hers(&her, "users.generatePersonalAccessToken", token)
        .await
        .expect_ok();
    hers(&her, "channels.join", json!({ "roomId": room }))
        .await
        .expect_ok();
    let message = json!({ "_id": CALLED, "rid": room, "msg": TEXT });
    let said = hers(&her, "chat.sendMessage", json!({ "message": message })).await;
    let said = said.expect_ok()["message"].take();
    let joes = joe.say(&room, "good morning").await;
    for message in [&said["_id"], &joes["_id"]] {
        let react = json!({ "messageId": message, "emoji": REACTION });
        hers(&her, "chat.react", react).await.expect_ok();
    }
    let direct = hers(&her, "im.create", json!({ "username": "joe" })).await;
    let direct = direct.expect_ok()["room"]["_id"].take();
    // Somebody looks at what she did, as one does before one erases somebody.
    let whose = [
        format!("actor={USERNAME}"),
        format!("target=@{USERNAME}"),
        format!("origin={ADDRESS}"),
    ];
    for whose in whose {
        let path = format!("/api/hansard/v1/audit?{whose}");
        let found = admin.get_path(&path).await.expect_ok();
        assert_ne!(found["entries"], json!([]), "{whose}");
    }
    let to_joe = json!({ "message": { "rid": direct, "msg": TEXT } });
    hers(&her, "chat.sendMessage", to_joe).await.expect_ok();

    // What others do with her.
    let call = joe.say(&room, &format!("good morning, @{USERNAME}")).await;
    assert_eq!(call["mentions"][0]["username"], USERNAME);
    assert_eq!(call["mentions"][0]["name"], NAME);
    let pin = json!({ "messageId": said["_id"] });
    admin.post("chat.pinMessage", pin).await.expect_ok();
    let whom = json!({ "roomId": room, "userId": id });
    for operation in ["channels.addModerator", "channels.removeModerator"] {
        admin.post(operation, whom.clone()).await.expect_ok();
    }
    for operation in ["rooms.muteUser", "rooms.unmuteUser"] {
        let whom = json!({ "roomId": room, "username": USERNAME });
        admin.post(operation, whom).await.expect_ok();
    }
    for operation in ["channels.kick", "channels.invite"] {
        admin.post(operation, whom.clone()).await.expect_ok();
    }
    hers(&her, "channels.leave", json!({ "roomId": room }))
        .await
        .expect_ok();
    admin.post("channels.invite", whom).await.expect_ok();
    let hook = json!({
        "type": "webhook-incoming",
        "name": "owls",
        "enabled": true,
        "username": USERNAME,
        "channel": "#attic",
        "scriptEnabled": false,
    });
    admin.post("integrations.create", hook).await.expect_ok();

    let history = format!("channels.messages?roomId={room}&count=100");
    let shown = admin.get(&history).await.expect_ok();
    let shown = shown["messages"].as_array().unwrap();
    let kinds: Vec<_> = naming(shown, USERNAME)
        .iter()
        .filter_map(|message| message["t"].as_str())
        .collect();
    for kind in [
        "uj",
        "ul",
        "au",
        "ru",
        "message_pinned",
        "subscription-role-added",
        "subscription-role-removed",
        "user-muted",
        "user-unmuted",
    ] {
        assert!(
            kinds.contains(&kind),
            "the test can fail: {kind}, {kinds:?}"
        );
    }
    let recorded = record(&admin).await;
    for word in HERS.into_iter().filter(|word| *word != CALLED) {
        assert!(
            !naming(&recorded, word).is_empty(),
            "the test can fail: {word}"
        );
    }
    for word in [USERNAME, NAME, EMAIL, STATUS, TEXT, REACTION] {
        let found = files_with(&server.data(), word);
        assert!(!found.is_empty(), "the test can fail: {word}");
    }
    assert!(naming(&recorded, CALLED).is_empty());

    let delete = json!({ "userId": id, "confirmRelinquish": true });
    admin.post("users.delete", delete).await.expect_ok();
    let shown = admin.get(&history).await.expect_ok();
    let shown = shown["messages"].as_array().unwrap();
    for (word, by_others) in [(USERNAME, 1), (NAME, 0), (TEXT, 0), (REACTION, 0)] {
        let named = naming(shown, word);
        assert_eq!(named.len(), by_others, "{word}: {named:?}");
    }
    let found = files_with(&server.data(), REACTION);
    assert!(found.is_empty(), "{found:?}");
    // What stands in his messages goes from the record with them.
    for message in [&call, &joes] {
        let take_back = json!({ "roomId": room, "msgId": message["_id"] });
        joe.post("chat.delete", take_back).await.expect_ok();
    }

    let recorded = record(&admin).await;
    for word in HERS {
        let named = naming(&recorded, word);
        assert!(named.is_empty(), "{word}: {named:#?}");
    }
    server.stop().await;
    for word in HERS {
        let found = files_with(&server.data(), word);
        assert!(found.is_empty(), "{word}: {found:?}");
    }
    let output = server.output();
    for word in HERS {
        assert!(!output.contains(word), "{word}: {output}");
    }
}

/// All deliveries of webhooks that stand so.
async fn deliveries(admin: &Client, state: &str) -> Vec<Value> {
    let path = format!("/api/hansard/v1/deliveries?state={state}&count=0");
    let page = admin.get_path(&path).await.expect_ok();
    page["deliveries"].as_array().unwrap().clone()
}

/// What webhooks told of her, with her name, when something happened to a room, and when she said
/// something in one.
async fn tell(erasure: &str) {
    let options = Options::default()
        .setting("Hansard_Webhook_Allow_Private_Addresses", "true")
        .setting("Message_ErasureType", erasure);
    let mut server = Server::start_with(options).await;
    let admin = server.admin().await;
    let receiver = Receiver::start().await;
    receiver.greet();
    let mut hooks = Vec::new();
    for (event, channel) in [
        ("roomJoined", "all_public_channels"),
        ("roomLeft", "all_public_channels"),
        ("roomCreated", ""),
        ("roomArchived", ""),
        ("sendMessage", "all_public_channels"),
    ] {
        let hook = json!({
            "type": "webhook-outgoing", "name": event, "enabled": true, "event": event,
            "username": "rocket.cat", "channel": channel, "scriptEnabled": false,
            "urls": [receiver.url()],
        });
        let made = admin.post("integrations.create", hook).await.expect_ok();
        hooks.push(made["integration"]["_id"].as_str().unwrap().to_owned());
    }
    let histories = async || {
        let mut histories = Vec::new();
        for hook in &hooks {
            let path = format!("integrations.history?id={hook}&count=0");
            histories.push(admin.get(&path).await.expect_ok()["history"].take());
        }
        histories
    };

    admin.member("joe").await;
    let her = json!({
        "username": USERNAME, "name": NAME, "email": EMAIL, "password": PASSWORD, "verified": true,
    });
    admin.post("users.create", her).await.expect_ok();
    let her = server.login(USERNAME, PASSWORD).await;
    let room = admin.channel("attic").await;
    for operation in ["channels.join", "channels.leave"] {
        let room = json!({ "roomId": room });
        her.post(operation, room).await.expect_ok();
    }
    for operation in ["channels.invite", "channels.kick", "channels.invite"] {
        let whom = json!({ "roomId": room, "userId": her.user_id() });
        admin.post(operation, whom).await.expect_ok();
    }
    her.say(&room, TEXT).await;
    let own = json!({ "name": "cellar", "members": ["joe"] });
    let own = her.post("channels.create", own).await.expect_ok();
    let archive = json!({ "roomId": own["channel"]["_id"] });
    her.post("channels.archive", archive).await.expect_ok();

    eventually("all is told", async || {
        let told = deliveries(&admin, "delivered").await;
        let of = |trigger: &str| {
            told.iter()
                .filter(|told| told["trigger"] == trigger)
                .count()
        };
        let told = ["roomCreated", "roomArchived", "sendMessage"].map(of);
        deliveries(&admin, "pending").await.is_empty()
            && told.iter().all(|count| *count > 0)
            && of("roomJoined") >= 3
            && of("roomLeft") >= 2
    })
    .await;
    let named = receiver.received();
    let named = named
        .iter()
        .filter(|told| told.body["user_name"] == USERNAME);
    assert!(named.count() >= 8, "the receiver is told names");
    for history in histories().await {
        let entries = history.as_array().unwrap();
        let named = naming(entries, USERNAME);
        assert!(!named.is_empty(), "the test can fail: {entries:#?}");
        assert_eq!(named[0]["data"]["user_name"], USERNAME, "{:#?}", named[0]);
    }

    let delete = json!({ "userId": her.user_id(), "confirmRelinquish": true });
    admin.post("users.delete", delete).await.expect_ok();
    let told = deliveries(&admin, "delivered").await;
    let kept = told.iter().filter(|told| told["trigger"] == "sendMessage");
    for told in kept {
        let kept = told["exchange"].to_string().contains(TEXT);
        assert_eq!(kept, erasure == "Unlink", "{told:#?}");
    }
    let recorded = record(&admin).await;
    for word in [USERNAME, NAME] {
        for shown in [&told, &histories().await, &recorded] {
            let named = naming(shown, word);
            assert!(named.is_empty(), "{word}: {named:#?}");
        }
    }
    server.stop().await;
    for word in [USERNAME, NAME] {
        let found = files_with(&server.data(), word);
        assert!(found.is_empty(), "{word}: {found:?}");
    }
}

#[tokio::test]
async fn whoever_is_erased_with_all_it_said_is_not_named_by_what_webhooks_told() {
    tell("Delete").await;
}

#[tokio::test]
async fn whoever_is_erased_is_not_named_by_what_webhooks_told_of_what_stays() {
    tell("Unlink").await;
}
