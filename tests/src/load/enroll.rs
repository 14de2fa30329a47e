//! Makes the people of a chat users of the server, each with a token to act with.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::try_join_all;

use super::chat::Chat;
use super::client::{Client, ClientError, Credentials, Patience};
use super::play::Player;
use super::progress::Progress;
use super::{rest, usernames};

/// Who may create people and rooms.
#[derive(Debug, Clone)]
pub struct Administrator {
    pub user: String,
    pub password: String,
    /// For servers that want `CREATE_TOKENS_FOR_USERS_SECRET` with `users.createToken`.
    pub token_secret: Option<String>,
}

/// A person of the chat with what it takes to act as that person.
#[derive(Debug)]
pub struct Actor {
    pub username: String,
    pub id: String,
    pub credentials: Credentials,
}

impl Player {
    /// Makes every nick a user with a token.
    pub(super) async fn enroll(
        &self,
        admin: &Credentials,
        chat: &Chat,
    ) -> Result<(Vec<Actor>, Patience), ClientError> {
        let next = AtomicUsize::new(0);
        let progress = Progress::new("enrolling", chat.nicks.len() as u64);
        let workers = (0..self.connections.max(1)).map(|_| async {
            let mut client = Client::new(self.connection.clone());
            let mut actors = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(nick) = chat.nicks.get(place) else {
                    break;
                };
                actors.push((place, self.enroll_one(&mut client, admin, nick).await?));
                progress.advance();
            }
            Ok::<_, ClientError>((actors, client.patience))
        });
        let mut actors = Vec::with_capacity(chat.nicks.len());
        let mut patience = Patience::default();
        for (some, waited) in try_join_all(workers).await? {
            actors.extend(some);
            patience += waited;
        }
        progress.finish();
        actors.sort_by_key(|(place, _)| *place);
        Ok((
            actors.into_iter().map(|(_, actor)| actor).collect(),
            patience,
        ))
    }

    async fn enroll_one(
        &self,
        client: &mut Client,
        admin: &Credentials,
        nick: &str,
    ) -> Result<Actor, ClientError> {
        let username = usernames::username(nick, &[&self.administrator.user]);
        let name = match usernames::display_name(nick) {
            blank if blank.is_empty() => username.clone(),
            name => name,
        };
        let id = rest::create_user(client, admin, &username, &name, &email(nick)).await?;
        let secret = self.administrator.token_secret.as_deref();
        let credentials = rest::create_token(client, admin, &id, secret).await?;
        Ok(Actor {
            username,
            id,
            credentials,
        })
    }
}

/// An address of the nick's own; in hexadecimal, since nicks have characters that addresses don't.
fn email(nick: &str) -> String {
    let local = nick.bytes().fold(String::new(), |mut local, byte| {
        write!(local, "{byte:02x}").expect("a string takes all that is written");
        local
    });
    format!("nick{local}@chat.example")
}
