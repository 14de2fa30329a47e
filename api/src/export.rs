//! `hansard export`: a room's messages as JSON Lines or CSV, the oldest first.

use std::error::Error;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use hansard_commands::snapshot::Snapshots;
use hansard_domain::id::{RoomId, Timestamp, UserId};
use hansard_projections::messages::{Filter, Messages, MessagesView, Order, Slice};
use hansard_projections::{Answers, Projector, View, ViewError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::table::cell;
use crate::workspace::Workspace;

/// How many messages are read at a time.
const PAGE: u64 = 1000;

/// Who may read an exported file: its owner.
const PRIVATE: u32 = 0o600;

#[derive(Debug, Args)]
pub struct Export {
    /// The room, by its id or its name
    #[arg(value_name = "ROOM")]
    room: String,

    /// What to write: one JSON object a line, or a table
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,

    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

/// Why nothing is exported.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("there is no room with the id or the name '{0}'")]
    NoRoom(String),
    #[error("cannot write {path}: {source}", path = path.display())]
    NotWritten { path: PathBuf, source: io::Error },
    #[error(
        "the message {0} has no time, so what comes after it can't be found; build the view anew with \
             'hansard replay messages'"
    )]
    NoTime(String),
    #[error(
        "{events} events could not be taken into the view of messages, so the export would lack what they \
         say; build the view anew with 'hansard replay messages', and look at the server's log if that \
         does not help"
    )]
    Lacking { events: u64 },
}

impl Export {
    pub async fn run(self, config: &Config) -> Result<(), Box<dyn Error>> {
        let workspace = Workspace::open_existing(config).await?;
        let journal = &workspace.journal;
        let model = Snapshots::open(workspace.snapshot.clone(), journal)
            .await?
            .restore(journal)
            .await?;
        let room = model.room_called(&self.room);
        let room = room.ok_or_else(|| ExportError::NoRoom(self.room.clone()))?;
        let output = self.open()?;

        let stop = CancellationToken::new();
        let views: Vec<Arc<dyn View>> = vec![Arc::new(MessagesView)];
        let location = config.views.location(workspace.data.views());
        let projector = Projector::start(
            journal.clone(),
            location,
            views,
            Answers::none(),
            stop.clone(),
        )
        .await?;
        let written = match caught_up(&projector).await {
            Ok(messages) => write(&messages, &room, self.format, output).await,
            Err(error) => Err(error),
        };
        stop.cancel();
        projector.stopped().await;
        workspace.close().await;
        written
    }

    fn open(&self) -> Result<Box<dyn Write>, ExportError> {
        let Some(path) = &self.output else {
            return Ok(Box::new(BufWriter::new(io::stdout().lock())));
        };
        let file = private(path).map_err(|source| ExportError::NotWritten {
            path: path.clone(),
            source,
        })?;
        Ok(Box::new(BufWriter::new(file)))
    }
}

/// The view of messages, once it holds all that the log does: it may have been off for long, and a page waits
/// for two seconds at most.
async fn caught_up(projector: &Projector) -> Result<Messages, Box<dyn Error>> {
    projector.until_ready().await;
    let name = MessagesView.name();
    projector.until_caught_up(name).await?;
    let events = projector.lacking(name)?.borrow().events;
    if events > 0 {
        return Err(ExportError::Lacking { events }.into());
    }
    let store = projector.store(name);
    let store = store.ok_or_else(|| ViewError::Unknown(name.to_owned()))?;
    Ok(Messages::new(store))
}

/// Opens a file that only its owner may read, also if it was there before and others could.
fn private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE)
        .open(path)?;
    // A pipe or a device is not a place where an export is kept.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(PRIVATE))?;
    }
    Ok(file)
}

/// What of a message stands in a column of its own.
#[derive(Debug, Deserialize)]
struct Columns {
    #[serde(rename = "_id")]
    id: String,
    ts: String,
    #[serde(default)]
    u: Author,
    #[serde(default)]
    msg: String,
    t: Option<String>,
    tmid: Option<String>,
    #[serde(rename = "editedAt")]
    edited: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Author {
    #[serde(rename = "_id", default)]
    id: String,
    username: Option<String>,
    name: Option<String>,
}

async fn write(
    messages: &Messages,
    room: &RoomId,
    format: Format,
    output: Box<dyn Write>,
) -> Result<(), Box<dyn Error>> {
    let mut writer = match format {
        Format::Jsonl => Writer::Lines(output),
        Format::Csv => Writer::Table(csv::Writer::from_writer(output)),
    };
    writer.head()?;
    // Goes on from the time of the last message, past those of that time that are written already:
    // messages that are deleted or arrive meanwhile move no other out of the way.
    let (mut from, mut seen) = (None, 0);
    loop {
        let filter = Filter {
            oldest: from,
            ..Filter::default()
        };
        let slice = Slice {
            offset: seen,
            count: Some(PAGE),
        };
        let nobody = UserId::default();
        let page = messages
            .list(&nobody, room, &filter, Order::OldestFirst, slice)
            .await?;
        let rows: Vec<&RawValue> = hansard_domain::json::from_str(&page.json)?;
        // A page may be shorter than was asked for because it is as large as a page may be.
        if rows.is_empty() {
            return Ok(writer.end()?);
        }
        for row in &rows {
            let columns: Columns = hansard_domain::json::from_str(row.get())?;
            let at = Timestamp::parse(&columns.ts);
            if at.is_none() {
                return Err(ExportError::NoTime(columns.id).into());
            }
            seen = if at == from { seen + 1 } else { 1 };
            from = at;
            writer.message(row, &columns)?;
        }
    }
}

enum Writer {
    Lines(Box<dyn Write>),
    Table(csv::Writer<Box<dyn Write>>),
}

impl Writer {
    fn head(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Table(table) => Ok(table.write_record([
                "id", "at", "userId", "username", "name", "kind", "thread", "editedAt", "text",
            ])?),
        }
    }

    fn message(&mut self, row: &RawValue, columns: &Columns) -> io::Result<()> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        match self {
            Self::Lines(lines) => writeln!(lines, "{}", row.get()),
            Self::Table(table) => {
                let cells = [
                    columns.id.clone(),
                    columns.ts.clone(),
                    columns.u.id.clone(),
                    text(&columns.u.username),
                    text(&columns.u.name),
                    text(&columns.t),
                    text(&columns.tmid),
                    text(&columns.edited),
                    columns.msg.clone(),
                ];
                Ok(table.write_record(cells.map(cell))?)
            }
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Lines(mut lines) => lines.flush(),
            Self::Table(mut table) => table.flush(),
        }
    }
}
