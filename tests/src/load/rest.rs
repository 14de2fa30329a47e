//! The calls of Rocket.Chat's REST API that the load program makes, and of their answers what it
//! looks at. Each may be repeated: the second time answers like the first.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::{Answer, Call, Client, ClientError, Credentials};

/// Messages, members and rooms on a page: what Rocket.Chat allows by default.
pub const PAGE: usize = 100;

/// A message as it comes back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StoredMessage {
    #[serde(rename = "_id")]
    pub id: String,
    #[serde(default)]
    pub msg: String,
    pub ts: String,
    pub u: Author,
    /// The kind of a system message; absent for what a person wrote.
    pub t: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Author {
    pub username: String,
}

/// A page of messages, and how far its view was behind.
#[derive(Debug)]
pub struct MessagePage {
    pub messages: Vec<StoredMessage>,
    pub lag: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Room {
    #[serde(rename = "_id")]
    pub id: String,
    pub name: Option<String>,
    #[serde(default)]
    pub msgs: u64,
}

#[derive(Deserialize)]
struct Messages {
    messages: Vec<StoredMessage>,
}

#[derive(Deserialize)]
struct Channel {
    channel: Room,
}

/// Logs in with a password.
pub async fn login(
    client: &mut Client,
    user: &str,
    password: &str,
) -> Result<Credentials, ClientError> {
    let answer = post(
        client,
        None,
        "login",
        &json!({"user": user, "password": password}),
    )
    .await?;
    credentials(&answer)
}

/// A token for somebody else, which spares a password's slow hash a user.
pub async fn create_token(
    client: &mut Client,
    admin: &Credentials,
    user_id: &str,
    secret: Option<&str>,
) -> Result<Credentials, ClientError> {
    let mut body = json!({"userId": user_id});
    if let Some(secret) = secret {
        body["secret"] = secret.into();
    }
    let answer = post(client, Some(admin), "users.createToken", &body).await?;
    credentials(&answer)
}

fn credentials(answer: &Answer) -> Result<Credentials, ClientError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Session {
        user_id: String,
        auth_token: String,
    }
    #[derive(Deserialize)]
    struct Body {
        data: Session,
    }
    let Body { data } = answer.read()?;
    Credentials::new(&data.user_id, &data.auth_token).ok_or_else(|| ClientError::Shape {
        path: answer.path.clone(),
        error: "user id or token don't fit into a header".into(),
        body: String::new(),
    })
}

/// Creates a user and answers its id; of one who is there already, just the id.
pub async fn create_user(
    client: &mut Client,
    admin: &Credentials,
    username: &str,
    name: &str,
    email: &str,
) -> Result<String, ClientError> {
    // Nobody logs in as these people with a password, so the server may choose one.
    let body = json!({
        "username": username, "name": name, "email": email,
        "password": format!("unused-{email}"), "setRandomPassword": true, "verified": true,
    });
    let answer = post(client, Some(admin), "users.create", &body).await?;
    if answer.status == StatusCode::BAD_REQUEST
        && let Ok(user) = user_by_name(client, admin, username).await
    {
        return Ok(user.id);
    }
    Ok(answer.read::<UserBody>()?.user.id)
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    #[serde(rename = "_id")]
    pub id: String,
    pub username: String,
    pub name: Option<String>,
}

#[derive(Deserialize)]
struct UserBody {
    user: User,
}

pub async fn user_by_name(
    client: &mut Client,
    admin: &Credentials,
    username: &str,
) -> Result<User, ClientError> {
    let answer = get(
        client,
        Some(admin),
        format!("users.info?username={username}"),
    )
    .await?;
    Ok(answer.read::<UserBody>()?.user)
}

/// Changes what a user is called; the username stays.
pub async fn rename_user(
    client: &mut Client,
    admin: &Credentials,
    user_id: &str,
    name: &str,
) -> Result<(), ClientError> {
    let body = json!({"userId": user_id, "data": {"name": name}});
    post(client, Some(admin), "users.update", &body)
        .await?
        .read::<UserBody>()
        .map(drop)
}

/// Creates a public channel and answers its id; of one that is there already, just the id.
pub async fn create_channel(
    client: &mut Client,
    admin: &Credentials,
    name: &str,
) -> Result<String, ClientError> {
    let answer = post(
        client,
        Some(admin),
        "channels.create",
        &json!({"name": name}),
    )
    .await?;
    if answer.status == StatusCode::BAD_REQUEST {
        let existing = get(
            client,
            Some(admin),
            format!("channels.info?roomName={name}"),
        )
        .await?;
        if existing.status == StatusCode::OK {
            return Ok(existing.read::<Channel>()?.channel.id);
        }
    }
    Ok(answer.read::<Channel>()?.channel.id)
}

pub async fn join(client: &mut Client, user: &Credentials, room: &str) -> Result<(), ClientError> {
    post(
        client,
        Some(user),
        "channels.join",
        &json!({"roomId": room}),
    )
    .await?
    .read::<Channel>()
    .map(drop)
}

/// Sends a message under an id of ours, so that sending it again changes nothing.
pub async fn send_message(
    client: &mut Client,
    user: &Credentials,
    room: &str,
    id: &str,
    text: &str,
) -> Result<(), ClientError> {
    #[derive(Serialize)]
    struct Message<'a> {
        #[serde(rename = "_id")]
        id: &'a str,
        rid: &'a str,
        msg: &'a str,
    }
    #[derive(Serialize)]
    struct Request<'a> {
        message: Message<'a>,
    }
    #[derive(Deserialize)]
    struct Sent {
        #[serde(rename = "_id")]
        id: String,
        rid: String,
    }
    #[derive(Deserialize)]
    struct Body {
        message: Sent,
    }
    let request = Request {
        message: Message {
            id,
            rid: room,
            msg: text,
        },
    };
    let answer = post(client, Some(user), "chat.sendMessage", &request).await?;
    let sent = answer.read::<Body>()?.message;
    if sent.id != id || sent.rid != room {
        return Err(ClientError::Shape {
            path: answer.path,
            error: format!("message {id} to room {room} was sent, another one acknowledged"),
            body: format!("{} in {}", sent.id, sent.rid),
        });
    }
    Ok(())
}

/// A page of a channel's messages before `latest` (inclusive), newest first.
pub async fn history(
    client: &mut Client,
    admin: &Credentials,
    room: &str,
    latest: Option<&str>,
    offset: usize,
    count: usize,
) -> Result<MessagePage, ClientError> {
    let path = history_path(room, latest, offset, count);
    message_page(&get(client, Some(admin), path).await?)
}

/// The same page, which is not looked at: so what is measured is the server and not who reads.
pub async fn fetch_history(
    client: &mut Client,
    user: &Credentials,
    room: &str,
    latest: Option<&str>,
    count: usize,
) -> Result<(), ClientError> {
    let path = history_path(room, latest, 0, count);
    get(client, Some(user), path).await?.succeeded()
}

fn history_path(room: &str, latest: Option<&str>, offset: usize, count: usize) -> String {
    let page = format!(
        "channels.history?roomId={room}&count={count}&offset={offset}&showThreadMessages=true"
    );
    match latest {
        Some(latest) => format!("{page}&inclusive=true&latest={}", escaped(latest)),
        None => page,
    }
}

/// Everything in a room is read.
pub async fn mark_read(
    client: &mut Client,
    user: &Credentials,
    room: &str,
) -> Result<(), ClientError> {
    let read = json!({ "rid": room });
    post(client, Some(user), "subscriptions.read", &read)
        .await?
        .succeeded()
}

/// The messages of a room that a search finds, at most a page.
pub async fn search(
    client: &mut Client,
    admin: &Credentials,
    room: &str,
    text: &str,
) -> Result<MessagePage, ClientError> {
    let path = format!(
        "chat.search?roomId={room}&searchText={}&count={PAGE}",
        escaped(text)
    );
    message_page(&get(client, Some(admin), path).await?)
}

fn message_page(answer: &Answer) -> Result<MessagePage, ClientError> {
    Ok(MessagePage {
        messages: answer.read::<Messages>()?.messages,
        lag: answer.lag,
    })
}

/// A page of a channel's members, by username.
pub async fn members(
    client: &mut Client,
    admin: &Credentials,
    room: &str,
    offset: usize,
) -> Result<Vec<User>, ClientError> {
    #[derive(Deserialize)]
    struct Body {
        members: Vec<User>,
    }
    let path = format!("channels.members?roomId={room}&offset={offset}&count={PAGE}");
    Ok(get(client, Some(admin), path)
        .await?
        .read::<Body>()?
        .members)
}

/// The server's biggest public channels, at most a page of the first that it lists.
pub async fn channels(client: &mut Client, admin: &Credentials) -> Result<Vec<Room>, ClientError> {
    #[derive(Deserialize)]
    struct Body {
        channels: Vec<Room>,
    }
    let mut channels = get(client, Some(admin), format!("channels.list?count={PAGE}"))
        .await?
        .read::<Body>()?
        .channels;
    channels.sort_by_key(|room| std::cmp::Reverse(room.msgs));
    Ok(channels)
}

/// Usernames, in their order.
pub async fn usernames(
    client: &mut Client,
    admin: &Credentials,
    count: usize,
) -> Result<Vec<String>, ClientError> {
    #[derive(Deserialize)]
    struct Body {
        users: Vec<Author>,
    }
    let sort = escaped(&json!({"username": 1}).to_string());
    let path = format!("users.list?count={count}&sort={sort}");
    let users = get(client, Some(admin), path).await?.read::<Body>()?.users;
    Ok(users.into_iter().map(|user| user.username).collect())
}

/// A look of which only its success counts: `path` with parameters, not escaped yet.
pub async fn look(
    client: &mut Client,
    user: &Credentials,
    path: &str,
    parameters: &[(&str, &str)],
) -> Result<(), ClientError> {
    let parameters = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)));
    let parameters = parameters.collect::<Vec<_>>().join("&");
    get(client, Some(user), format!("{path}?{parameters}"))
        .await?
        .succeeded()
}

/// The cheapest thing the server answers: the yardstick for the rest.
pub async fn info(client: &mut Client) -> Result<(), ClientError> {
    let call = Call {
        method: Method::GET,
        path: "/api/info".into(),
        as_user: None,
        body: Bytes::new(),
    };
    client
        .send(&call)
        .await?
        .read::<serde::de::IgnoredAny>()
        .map(drop)
}

async fn get(
    client: &mut Client,
    as_user: Option<&Credentials>,
    path: String,
) -> Result<Answer, ClientError> {
    client
        .send(&Call {
            method: Method::GET,
            path: format!("/api/v1/{path}"),
            as_user,
            body: Bytes::new(),
        })
        .await
}

async fn post(
    client: &mut Client,
    as_user: Option<&Credentials>,
    path: &str,
    body: &impl Serialize,
) -> Result<Answer, ClientError> {
    let path = format!("/api/v1/{path}");
    let body = serde_json::to_vec(body).map_err(|error| ClientError::Shape {
        path: path.clone(),
        error: error.to_string(),
        body: String::new(),
    })?;
    client
        .send(&Call {
            method: Method::POST,
            path,
            as_user,
            body: body.into(),
        })
        .await
}

/// `text` as the value of a query parameter.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes all that is written");
        }
        escaped
    })
}
