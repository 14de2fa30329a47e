//! A receiver of webhooks, which fails, keeps silent or answers as a test wants it to.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::server::eventually;

/// One delivery as a receiver gets it.
#[derive(Debug, Clone)]
pub struct Received {
    pub id: String,
    pub timestamp: String,
    pub signature: String,
    pub text: String,
    pub body: Value,
}

/// A receiver of webhooks on this machine.
#[derive(Clone)]
pub struct Receiver {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    /// Answers so many with 503 before anything else.
    failing: usize,
    /// Answers nothing, and keeps the connection open.
    silent: bool,
    /// What it answers with 200.
    answer: String,
    /// Answers with the names that it is told.
    greets: bool,
    /// Answers nothing until it is told to go on.
    held: watch::Sender<bool>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
        };
        let serving = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(socket).await });
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    async fn serve(&self, socket: TcpStream) {
        let mut socket = BufReader::new(socket);
        let mut headers: Vec<(String, String)> = Vec::new();
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_lowercase(), value.trim().to_owned()));
                }
                None if line.trim().is_empty() => break,
                None => {}
            }
        }
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let mut body = vec![0; header("content-length").parse().unwrap()];
        socket.read_exact(&mut body).await.unwrap();
        let mut held = self.state.lock().unwrap().held.subscribe();
        let (silent, status, answer) = {
            let mut state = self.state.lock().unwrap();
            state.received.push(Received {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: header("webhook-signature"),
                body: serde_json::from_slice(&body).unwrap(),
                text: String::from_utf8(body).unwrap(),
            });
            if state.failing > 0 {
                state.failing -= 1;
                (false, "503 Service Unavailable", "not now".to_owned())
            } else {
                let answer = if state.greets {
                    greeting(&state.received)
                } else {
                    state.answer.clone()
                };
                (state.silent, "200 OK", answer)
            }
        };
        if silent {
            // Until the sender hangs up.
            let _ = socket.read_u8().await;
            return;
        }
        let _ = held.wait_for(|held| !held).await;
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        let _ = socket.write_all(answer.as_bytes()).await;
    }

    pub fn fail(&self, times: usize) {
        self.state.lock().unwrap().failing = times;
    }

    pub fn keep_silent(&self) {
        self.state.lock().unwrap().silent = true;
    }

    /// Keeps back every answer until this is called with `false`.
    pub fn hold(&self, held: bool) {
        self.state.lock().unwrap().held.send_replace(held);
    }

    pub fn answer(&self, answer: &Value) {
        self.state.lock().unwrap().answer = answer.to_string();
    }

    pub fn greet(&self) {
        self.state.lock().unwrap().greets = true;
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    pub fn texts(&self) -> Vec<String> {
        let received = self.received();
        let text = |received: &Received| received.body["text"].as_str().map(ToOwned::to_owned);
        received.iter().filter_map(text).collect()
    }

    pub async fn has(&self, count: usize) {
        eventually(&format!("{count} deliveries arrived"), async || {
            self.received().len() >= count
        })
        .await;
    }
}

fn greeting(received: &[Received]) -> String {
    let newest = received.last().map(|newest| &newest.body);
    newest.map_or_else(String::new, |told| {
        let (name, full) = (&told["user_name"], &told["user"]["name"]);
        json!({ "greeting": format!("Welcome, {full} ({name})!") }).to_string()
    })
}
