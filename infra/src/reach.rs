//! Whether anything listens where a server is said to be.
//!
//! Clients of brokers and databases try again and again, and tell after a long while that it did not
//! work. An operator who mistyped an address is told at once, and which one.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::plain;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to one of these `host:port`, whichever answers first. The error names each with what is
/// wrong.
pub async fn any(hosts: impl IntoIterator<Item = String>) -> Result<(), String> {
    let mut tries = JoinSet::new();
    for host in hosts {
        tries.spawn(async move {
            let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(&host)).await;
            match connected {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("{host} ({})", plain::io(&error))),
                Err(_) => Err(format!("{host} (no answer in {} s)", PATIENCE.as_secs())),
            }
        });
    }
    let mut failed = Vec::new();
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => failed.push(reason),
            Err(error) => failed.push(error.to_string()),
        }
    }
    failed.sort();
    Err(failed.join(", "))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn one_that_answers_is_enough_and_of_none_all_are_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap().to_string();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let away = gone.local_addr().unwrap().to_string();
        drop(gone);
        assert_eq!(any([away.clone(), there]).await, Ok(()));
        let told = any([away.clone(), "no-such-host.invalid:1".to_owned()]).await;
        let told = told.unwrap_err();
        assert!(
            told.contains(&format!("{away} (connection refused)")),
            "{told}"
        );
        assert!(told.contains("no-such-host.invalid:1 ("), "{told}");
    }
}
