//! `hansard replay`: builds views again from the log, or builds them as they once were.

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use hansard_domain::id::Timestamp;
use hansard_domain::journal::Journal;
use hansard_domain::log::Position;
use hansard_infra::data_dir::DataDirError;
use hansard_projections::rebuild::{Progress, Told};
use hansard_projections::{Answers, Location, Projector, View, replay};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::views;
use crate::workspace::{OpenWorkspaceError, Workspace};

/// How often the progress is drawn.
const DRAW: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct Replay {
    /// The views to build [default: all]
    #[arg(id = "view", value_name = "VIEW")]
    views: Vec<String>,

    /// Build them as they were then: a time (2026-01-31T12:00:00Z, 2026-01-31) or a position of the log
    #[arg(long, value_name = "TIME|POSITION", requires = "into")]
    until: Option<String>,

    /// Build them into this directory, and leave those that serve as they are
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// Why views can't be built as it was asked.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("there is no view '{name}'; there are {known}")]
    UnknownView { name: String, known: String },
    #[error("'{0}' is neither a time (2026-01-31T12:00:00Z, 2026-01-31) nor a position of the log")]
    UnknownTime(String),
    #[error(
        "a server runs on the data directory {path} ({owner}); it can rebuild a view while it \
         serves: POST /api/hansard/v1/views/VIEW/rebuild", path = path.display()
    )]
    Serving { path: PathBuf, owner: String },
}

impl Replay {
    pub async fn run(self, config: &Config) -> Result<(), Box<dyn Error>> {
        let views = self.chosen()?;
        let workspace = match Workspace::open_existing(config).await {
            Err(OpenWorkspaceError::DataDir(DataDirError::InUse { path, owner })) => {
                return Err(ReplayError::Serving { path, owner }.into());
            }
            opened => opened?,
        };
        let journal = workspace.journal.clone();
        let until = match &self.until {
            None => journal.head(),
            Some(until) => position(&journal, until).await?,
        };
        let since = Instant::now();
        match &self.into {
            Some(into) => {
                let told = views
                    .into_iter()
                    .map(|view| (view, Told::default()))
                    .collect();
                build_into(&journal, into.clone(), until, told).await?;
            }
            None => {
                let location = config.views.location(workspace.data.views());
                rebuild(&journal, location, views).await?;
            }
        }
        let seconds = since.elapsed().as_secs_f64();
        println!(
            "Built up to position {until} in {seconds:.1} s, {:.0} events/s.",
            until.0 as f64 / seconds.max(0.001)
        );
        workspace.close().await;
        Ok(())
    }

    fn chosen(&self) -> Result<Vec<Arc<dyn View>>, ReplayError> {
        let all = views::all();
        let names: Vec<_> = all.iter().map(|view| view.name()).collect();
        if let Some(name) = self
            .views
            .iter()
            .find(|name| !names.contains(&name.as_str()))
        {
            return Err(ReplayError::UnknownView {
                name: name.clone(),
                known: names.join(", "),
            });
        }
        let chosen = |view: &Arc<dyn View>| {
            self.views.is_empty() || self.views.iter().any(|name| name == view.name())
        };
        Ok(all.into_iter().filter(chosen).collect())
    }
}

/// The position of the last event at or before what an operator means.
async fn position(journal: &Journal, until: &str) -> Result<Position, Box<dyn Error>> {
    if let Ok(position) = until.parse() {
        return Ok(Position(position).min(journal.head()));
    }
    let at = Timestamp::parse(until).ok_or_else(|| ReplayError::UnknownTime(until.to_owned()))?;
    Ok(journal.position_at(at).await?)
}

async fn build_into(
    journal: &Arc<Journal>,
    into: PathBuf,
    until: Position,
    views: Vec<(Arc<dyn View>, Told)>,
) -> Result<(), Box<dyn Error>> {
    let bars = Bars::new(views.iter().map(|(view, _)| view.name()));
    let told: Vec<_> = views.iter().map(|(_, told)| told.clone()).collect();
    let building = replay::build_until(journal, into, until, views);
    Ok(bars
        .draw_while(building, || {
            told.iter().map(|told| *told.borrow()).collect()
        })
        .await?)
}

/// Builds the next generation of views in the data directory, and lets it serve from the next start.
async fn rebuild(
    journal: &Arc<Journal>,
    location: Location,
    views: Vec<Arc<dyn View>>,
) -> Result<(), Box<dyn Error>> {
    let names: Vec<_> = views.iter().map(|view| view.name()).collect();
    let stop = CancellationToken::new();
    let projector = Projector::start(
        journal.clone(),
        location,
        views,
        Answers::none(),
        stop.clone(),
    )
    .await?;
    let bars = Bars::new(names.iter().copied());
    let progress = || {
        let states = projector.views();
        let of = |name| states.iter().find(|state| state.name == name)?.rebuild;
        names.iter().copied().map(of).collect()
    };
    // Views without usable tables are being built already: once is enough.
    let whole = if projector.ready() {
        bars.draw_while(projector.rebuild(&names), progress).await
    } else {
        bars.draw_while(projector.until_ready(), progress).await;
        Ok(())
    };
    stop.cancel();
    projector.stopped().await;
    Ok(whole?)
}

/// A bar for each view, where there is a terminal to draw them in.
struct Bars {
    bars: Vec<ProgressBar>,
    drawn: MultiProgress,
}

impl Bars {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let drawn = MultiProgress::new();
        if !std::io::stderr().is_terminal() {
            drawn.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let template = "{prefix:>14} [{bar:40}] {pos}/{len} {msg}";
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bars = names.map(|name| {
            drawn
                .add(ProgressBar::new(0))
                .with_style(style.clone())
                .with_prefix(name.to_owned())
        });
        Self {
            bars: bars.collect(),
            drawn,
        }
    }

    async fn draw_while<T>(
        &self,
        work: impl Future<Output = T>,
        progress: impl Fn() -> Vec<Option<Progress>>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut drawing = tokio::time::interval(DRAW);
        loop {
            tokio::select! {
                done = &mut work => {
                    // What is drawn is for those who wait; nobody does any more.
                    let _ = self.drawn.clear();
                    return done;
                }
                _ = drawing.tick() => self.draw(&progress()),
            }
        }
    }

    fn draw(&self, progress: &[Option<Progress>]) {
        for (bar, progress) in self.bars.iter().zip(progress) {
            match progress {
                Some(progress) => {
                    bar.set_length(progress.head.0);
                    bar.set_position(progress.position.0);
                    bar.set_message(format!("{:.0} events/s", progress.events_a_second()));
                }
                None => bar.set_position(bar.length().unwrap_or(0)),
            }
        }
    }
}
