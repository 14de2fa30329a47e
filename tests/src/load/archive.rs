//! Reads a chat from an archive of IRC logs: a `.tar.gz` of `….txt` files, each named after its day
//! (`2008-04-27.train-a.raw.txt`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::chat::{Chat, Scene};
use super::irc::Line;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("there is no archive at {0}")]
    Missing(PathBuf),
    #[error("the archive {0} can't be read: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("the archive {0} holds no log files named yyyy-mm-dd….txt")]
    Empty(PathBuf),
}

impl Chat {
    /// The chat in the archive at `path`, in the order of the days, a room for each year.
    pub fn from_archive(path: &Path) -> Result<Self, ArchiveError> {
        if !path.is_file() {
            return Err(ArchiveError::Missing(path.to_owned()));
        }
        let mut days =
            read_days(path).map_err(|error| ArchiveError::Unreadable(path.to_owned(), error))?;
        if days.is_empty() {
            return Err(ArchiveError::Empty(path.to_owned()));
        }
        days.sort();
        let mut scenes: Vec<Scene> = Vec::new();
        for (name, log) in &days {
            let room = format!("ubuntu-{}", &name[..4]);
            let lines = log.lines().map(Line::read);
            match scenes.last_mut() {
                Some(scene) if scene.room == room => scene.lines.extend(lines),
                _ => scenes.push(Scene {
                    room,
                    lines: lines.collect(),
                }),
            }
        }
        Ok(Self::compose(scenes))
    }
}

fn read_days(path: &Path) -> io::Result<Vec<(String, String)>> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path)?));
    let mut days = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let Some(name) = entry
            .path()?
            .file_name()
            .and_then(|name| name.to_str())
            .map(str::to_owned)
        else {
            continue;
        };
        if !is_a_day(&name) {
            continue;
        }
        let mut log = String::new();
        entry.read_to_string(&mut log)?;
        days.push((name, log));
    }
    Ok(days)
}

fn is_a_day(name: &str) -> bool {
    let day = name.as_bytes();
    let is_dated = day.len() > 10
        && day[..10]
            .iter()
            .enumerate()
            .all(|(place, byte)| match place {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
    is_dated
        && Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "txt")
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::load::Step;

    fn archive_of(files: &[(&str, &str)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut builder =
            tar::Builder::new(GzEncoder::new(file.reopen().unwrap(), Compression::fast()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, name, content.as_bytes())
                .unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        file
    }

    #[test]
    fn days_are_played_in_order_and_years_are_rooms() {
        let archive = archive_of(&[
            ("irc/2005-01-02.train-a.raw.txt", "[00:01] <b> third\n"),
            (
                "irc/2004-12-25.train-c.raw.txt",
                "[00:01] <a> first\n[00:02]  * a waves\n",
            ),
            ("irc/README.txt", "[00:01] <c> not a log\n"),
        ]);
        let chat = Chat::from_archive(archive.path()).unwrap();
        assert_eq!(chat.rooms, ["ubuntu-2004", "ubuntu-2005"]);
        let texts: Vec<&str> = chat
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Message { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(texts, ["first", "_waves_", "third"]);
    }

    #[test]
    fn a_missing_archive_says_so() {
        assert!(matches!(
            Chat::from_archive(Path::new("/nowhere.tar.gz")),
            Err(ArchiveError::Missing(_))
        ));
    }
}
