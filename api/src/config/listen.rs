//! The address that HTTP is served on, as an operator names it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A host, which is an IP address or a name that stands for some, and a port; port 0 is any that is
/// free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    host: String,
    port: u16,
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 3000,
        }
    }
}

impl ListenAddress {
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it stands for all addresses of the machine, and is itself none to connect to.
    pub fn is_unspecified(&self) -> bool {
        let ip = self.host.parse::<IpAddr>();
        ip.is_ok_and(|ip| ip.is_unspecified())
    }
}

/// A text that is no address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it takes HOST:PORT, as in 127.0.0.1:3000, localhost:3000 or [::]:3000")]
pub struct NoAddress;

impl FromStr for ListenAddress {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        let (host, port) = text.rsplit_once(':').ok_or(NoAddress)?;
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        // What has only digits and dots is an IP address that is wrong.
        let named = host.bytes().any(|byte| byte.is_ascii_alphabetic());
        if !named || !host.bytes().all(of_a_name) {
            return Err(NoAddress);
        }
        let port = port.parse().map_err(|_| NoAddress)?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in [
            "127.0.0.1:3000",
            "localhost:80",
            "[::1]:0",
            "chat.example.org:443",
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        assert!("[::]:1".parse::<ListenAddress>().unwrap().is_unspecified());
        assert!(
            "0.0.0.0:1"
                .parse::<ListenAddress>()
                .unwrap()
                .is_unspecified()
        );
        for text in [
            "localhost",
            "3000",
            ":3000",
            "::1:3000",
            "1.2.3:80",
            "a b:1",
            "a:65536",
            "http://a:1",
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(NoAddress), "{text}");
        }
    }
}
