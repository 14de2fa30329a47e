//! What a play did to the server, for checking it later: as JSON Lines in a file, one entry a line.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A message that was sent. The two ticks are readings of one clock of the whole play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub id: String,
    pub room: String,
    /// The sender's username.
    pub user: String,
    pub text: String,
    /// Read before the first attempt.
    pub sent: u64,
    /// Read after the acknowledgement; `None` where there was none, so the message may be there or not.
    pub acked: Option<u64>,
}

/// Somebody who joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub room: String,
    pub user: String,
}

/// What somebody was called last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    pub user: String,
    pub name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Entry {
    Message(Sent),
    Member(Member),
    Name(Name),
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub messages: Vec<Sent>,
    pub members: Vec<Member>,
    pub names: Vec<Name>,
}

impl Manifest {
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        let messages = self.messages.iter().cloned().map(Entry::Message);
        let members = self.members.iter().cloned().map(Entry::Member);
        let names = self.names.iter().cloned().map(Entry::Name);
        for entry in messages.chain(members).chain(names) {
            serde_json::to_writer(&mut file, &entry)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    }

    pub fn read(path: &Path) -> io::Result<Self> {
        let mut manifest = Self::default();
        for line in BufReader::new(File::open(path)?).lines() {
            match serde_json::from_str(&line?)? {
                Entry::Message(message) => manifest.messages.push(message),
                Entry::Member(member) => manifest.members.push(member),
                Entry::Name(name) => manifest.names.push(name),
            }
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sent = |acked| Sent {
            id: "a".into(),
            room: "r".into(),
            user: "u".into(),
            text: "\"żółć\"\t\n".into(),
            sent: 1,
            acked,
        };
        let manifest = Manifest {
            messages: vec![sent(Some(2)), sent(None)],
            members: vec![Member {
                room: "r".into(),
                user: "u".into(),
            }],
            names: vec![Name {
                user: "u".into(),
                name: "n".into(),
            }],
        };
        manifest.write(file.path()).unwrap();
        assert_eq!(Manifest::read(file.path()).unwrap(), manifest);
    }
}
