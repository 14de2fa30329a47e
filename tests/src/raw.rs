//! HTTP byte by byte, for what no HTTP client would send.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::server::Server;

/// How long an answer, or the end of a connection, is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a server.
#[derive(Debug)]
pub struct Raw(BufReader<TcpStream>);

/// An answer, with its header names in lower case.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl RawAnswer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Raw {
    pub async fn connect(server: &Server) -> Self {
        Self::connect_from(server, 1).await
    }

    /// Connects from 127.0.0.`last`.
    pub async fn connect_from(server: &Server, last: u8) -> Self {
        Self::try_from(server, last)
            .await
            .expect("the server takes a connection")
    }

    async fn try_from(server: &Server, last: u8) -> io::Result<Self> {
        let address: SocketAddr = server.address().parse().expect("an address");
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends something; fails if the server has closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref()).await
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the server is there");
    }

    /// The next answer; `None` if the server closes instead.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        tokio::time::timeout(PATIENCE, self.read(true))
            .await
            .expect("an answer, or the end")
    }

    /// The next answer to a `HEAD`.
    pub async fn answer_without_body(&mut self) -> Option<RawAnswer> {
        tokio::time::timeout(PATIENCE, self.read(false))
            .await
            .expect("an answer, or the end")
    }

    async fn read(&mut self, with_body: bool) -> Option<RawAnswer> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1)?.parse().expect("a status");
        let mut headers = HashMap::new();
        while let Some(line) = self.line().await.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').expect("a header");
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut answer = RawAnswer {
            status,
            headers,
            body: String::new(),
        };
        if !with_body || status < 200 {
            return Some(answer);
        }
        let length = answer.headers.get("content-length");
        let mut body = Vec::new();
        if let Some(length) = length {
            body.resize(length.parse().expect("a length"), 0);
            self.0.read_exact(&mut body).await.ok()?;
        } else if answer.header("transfer-encoding") != "chunked" {
            self.0.read_to_end(&mut body).await.ok()?;
        } else {
            panic!("chunks are not read here: {answer:?}");
        }
        answer.body = String::from_utf8(body).expect("a text");
        Some(answer)
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // A connection that is broken off has ended, too.
        let read = self.0.read_line(&mut line).await.unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Waits until the server has closed; answers what it still sent.
    pub async fn closed(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        let read = self.0.read_to_end(&mut sent);
        // Broken off is closed, too.
        let _ = tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the server closes");
        sent
    }

    /// Whether the server closes within some time; what it still sent then.
    pub async fn closes_within(&mut self, time: Duration) -> Option<Vec<u8>> {
        let mut sent = Vec::new();
        let read = self.0.read_to_end(&mut sent);
        tokio::time::timeout(time, read).await.ok()?.ok();
        Some(sent)
    }

    /// The next answer if it begins within some time.
    pub async fn answer_within(&mut self, time: Duration) -> Option<RawAnswer> {
        let begun = tokio::time::timeout(time, self.0.fill_buf()).await;
        begun.ok()?.ok()?;
        self.answer().await
    }
}
