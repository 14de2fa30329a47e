//! `hansard serve`: opens everything, serves, and closes it again.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use hansard_commands::account::guessing::FailedLogins;
use hansard_commands::account::password;
use hansard_commands::bootstrap::{self, Administrator, BootstrapError, Founding};
use hansard_commands::bus::Commands;
use hansard_commands::error::CommandError;
use hansard_commands::policy::{self, RunningPolicy};
use hansard_commands::shredder::Shredder;
use hansard_commands::snapshot::Snapshots;
use hansard_domain::id::{RandomIds, SystemClock};
use hansard_domain::log::{Position, Role};
use hansard_infra::http_out::HttpWebhookSender;
use hansard_projections::Projector;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Parts};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::erasure::Erasure;
use crate::greeting::{self, Greeting};
use crate::handover::Outcomes;
use crate::http_in::{self, Limits, Listeners, Tls};
use crate::leading::{Duties, Leading};
use crate::monitoring::Behind;
use crate::monitoring::metrics::Access;
use crate::rest::rate_limit::RateLimiter;
use crate::rest::rate_limit::crowd::Crowd;
use crate::rest::rate_limit::waiting::Waiting;
use crate::rest::rooms::index::Index;
use crate::views::Views;
use crate::workspace::Workspace;
use crate::{lacking, monitoring, rest};

/// How often a node looks whether another one has founded the workspace.
const FOUNDING: Duration = Duration::from_millis(50);

/// How long requests under way may take to finish once the server was told to stop.
const GRACE: Duration = Duration::from_secs(30);

/// How long the committer may take to record what it was given, when nobody can ask any more.
const DRAIN: Duration = Duration::from_secs(10);

pub async fn run(config: Config) -> Result<(), Box<dyn Error>> {
    let signals = Signals::listen()?;
    bootstrap::check_settings(overwritten())?;
    let metrics_access = Access::of(&config)?;
    let door = Door::open(&config).await?;
    let cluster = Cluster::of(&config)?.map(Arc::new);
    let workspace = Workspace::open(&config).await?;
    let warming = tokio::spawn(password::warm_up());
    let running = Running::start(&workspace, cluster.as_deref()).await?;
    let leads = workspace.leads();
    let founding = set_up(&running.commands, &config, leads.clone()).await?;
    let stop_views = CancellationToken::new();
    let views = Views::start(
        workspace.journal.clone(),
        config.views.location(workspace.data.views()),
        config.answers(),
        stop_views.clone(),
    )
    .await?;
    let projector = views.projector.clone();
    let index = Arc::new(Index {
        messages: views.messages.clone(),
        retention: views.retention.clone(),
    });
    let duties = Duties {
        commands: running.commands.clone(),
        index: index.clone(),
        state: workspace.shared.clone(),
        sender: Arc::new(HttpWebhookSender::new()?),
        settings: overwritten(),
    };
    let leading = Leading::start(duties, leads, running.stop_policies.clone());

    let failed_logins = Arc::new(FailedLogins::default());
    let counting = {
        let (failed_logins, journal) = (failed_logins.clone(), workspace.journal.clone());
        let (model, now) = (running.commands.model(), running.commands.clock().now());
        tokio::spawn(async move { failed_logins.follow(&journal, &model, now).await })
    };

    let recording = tokio::spawn(lacking::record(projector.clone(), running.commands.clone()));
    let greeting = Greeting::new(&config, door.listeners.addresses(), workspace.data.path());
    let greeting = tokio::spawn(greet(
        greeting,
        founding,
        projector.clone(),
        running.commands.clone(),
        workspace.data.path().to_owned(),
    ));

    let stop = CancellationToken::new();
    let app = App::new(Parts {
        config,
        commands: running.commands.clone(),
        copying: workspace.copying(),
        cluster,
        failed_logins: failed_logins.clone(),
        index,
        erasure: Erasure {
            erased: leading.erased(),
            cursors: workspace.shared.clone(),
            shredded: running.shredded.clone(),
            projector: projector.clone(),
        },
        retention: leading.retention(),
        stop: stop.clone(),
        views,
        behind: Behind::default(),
        limiter: RateLimiter::new(),
        outcomes: Outcomes::default(),
        crowd: Crowd::new(door.limits.per_client),
        waiting: Waiting::default(),
        metrics: monitoring::gather()?,
        metrics_access,
    });
    let upkeep = tokio::spawn(tend(app.metrics.clone()));
    for address in door.listeners.addresses() {
        tracing::info!(%address, "serving");
    }
    let served = door.serve(app, signals, stop).await;

    greeting.abort();
    upkeep.abort();
    recording.abort();
    counting.abort();
    warming.abort();
    running.stop(leading).await;
    stop_views.cancel();
    projector.stopped().await;
    workspace.close().await;
    tracing::info!("stopped");
    served
}

/// Prints the greeting once every view answers.
async fn greet(
    greeting: Greeting,
    founding: Founding,
    projector: Arc<Projector>,
    commands: Commands,
    data: PathBuf,
) {
    projector.until_ready().await;
    let (made, note) = match founding {
        Founding::Now(made) => (made, None),
        Founding::Before => {
            let given = administrator();
            let note = greeting::unread_password(&commands.model(), &given, &data).await;
            (None, note)
        }
    };
    greeting.print(made.as_ref(), note.as_deref());
}

/// Where clients come in.
struct Door {
    listeners: Listeners,
    /// Where the metrics have an address of their own.
    metrics: Option<Listeners>,
    limits: Limits,
    tls: Option<Arc<Tls>>,
}

impl Door {
    /// Refuses what can't work before anything else is begun.
    async fn open(config: &Config) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            tls: Tls::of(config)?,
            limits: Limits::of(config)?,
            listeners: Listeners::bind(&config.listen, &config.place("listen")).await?,
            metrics: match &config.metrics_listen {
                Some(address) => {
                    Some(Listeners::bind(address, &config.place("metrics-listen")).await?)
                }
                None => None,
            },
        })
    }

    /// Serves until a signal says to stop, then finishes what is under way.
    async fn serve(
        self,
        app: App,
        mut signals: Signals,
        stop: CancellationToken,
    ) -> Result<(), Box<dyn Error>> {
        let router = rest::service(app.clone())?;
        let metrics = self.metrics.map(|listeners| {
            let router = monitoring::service(app);
            let limits = self.limits.of_operators();
            http_in::serve(listeners, router, limits, self.tls.clone(), stop.clone())
        });
        let serving = http_in::serve(self.listeners, router, self.limits, self.tls, stop.clone());
        let serving = async {
            tokio::join!(serving, OptionFuture::from(metrics));
        };
        let told = async {
            signals.stop().await;
            tracing::info!("stopping");
            stop.cancel();
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            () = serving => {}
            () = told => tracing::warn!("requests under way did not finish in time"),
        }
        Ok(())
    }
}

/// Folds what was measured into its buckets, so that it takes no more room.
async fn tend(metrics: metrics_exporter_prometheus::PrometheusHandle) {
    let mut interval = tokio::time::interval(monitoring::UPKEEP);
    loop {
        interval.tick().await;
        metrics.run_upkeep();
    }
}

/// Founds the workspace at the first start, and sets what the environment says. Of several nodes one
/// does it; the others wait until the workspace is there.
async fn set_up(
    commands: &Commands,
    config: &Config,
    leads: watch::Receiver<bool>,
) -> Result<Founding, Box<dyn Error>> {
    loop {
        if *leads.borrow() {
            match set_up_here(commands, config).await {
                Err(BootstrapError::Command(CommandError::Follower)) => {}
                done => return Ok(done?),
            }
        }
        if commands.model().workspace_id().is_some() {
            // Where all nodes write the settings can be set by any; else by the one that leads.
            return match commands.journal().role() {
                Role::Follower => Ok(Founding::Before),
                Role::Sole | Role::Shared => Ok(set_up_here(commands, config).await?),
            };
        }
        tokio::time::sleep(FOUNDING).await;
    }
}

async fn set_up_here(commands: &Commands, config: &Config) -> Result<Founding, BootstrapError> {
    let founding = bootstrap::found(commands, administrator(), config.address()).await?;
    bootstrap::overwrite_settings(commands, overwritten()).await?;
    Ok(founding)
}

/// The first administrator, as the environment has it.
fn administrator() -> Administrator {
    let given = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Administrator {
        username: given("ADMIN_USERNAME"),
        name: given("ADMIN_NAME"),
        email: given("ADMIN_EMAIL"),
        password: given("ADMIN_PASS"),
    }
}

/// The settings that the environment sets.
fn overwritten() -> Vec<(String, String)> {
    std::env::vars()
        .filter_map(|(name, value)| {
            Some((name.strip_prefix("OVERWRITE_SETTING_")?.to_owned(), value))
        })
        .collect()
}

/// The write side at work.
struct Running {
    commands: Commands,
    committer: JoinHandle<()>,
    /// Each node has its own: its keys at hand and its snapshot are its own.
    shredder: RunningPolicy,
    /// How far the shredder has come.
    shredded: watch::Receiver<Position>,
    keeper: JoinHandle<()>,
    stop_policies: CancellationToken,
    stop_keeper: CancellationToken,
}

impl Running {
    async fn start(
        workspace: &Workspace,
        cluster: Option<&Cluster>,
    ) -> Result<Self, Box<dyn Error>> {
        let journal = &workspace.journal;
        let state = workspace.own.clone();
        let snapshots = Arc::new(Snapshots::open(workspace.snapshot.clone(), journal).await?);
        let model = snapshots.restore(journal).await?;
        let (commands, committer) = Commands::start(
            journal.clone(),
            model,
            Arc::new(SystemClock),
            Arc::new(RandomIds),
            cluster.map(|cluster| cluster.address.clone()),
        )
        .await?;
        let stop_policies = CancellationToken::new();
        let shredder = policy::start(
            Arc::new(Shredder::new(snapshots.clone())),
            commands.clone(),
            state.clone(),
            Position::START,
            stop_policies.clone(),
        );
        let shredder = shredder.await;
        let shredded = shredder.watch();
        let stop_keeper = CancellationToken::new();
        let keeping = (snapshots, commands.clone(), stop_keeper.clone());
        let keeper = tokio::spawn(async move {
            let (snapshots, commands, stop) = keeping;
            snapshots.keep(commands, stop).await;
        });
        Ok(Self {
            commands,
            committer,
            shredder,
            shredded,
            keeper,
            stop_policies,
            stop_keeper,
        })
    }

    /// Stops what reacts, then saves the write model, then lets the committer finish.
    async fn stop(self, leading: Leading) {
        self.stop_policies.cancel();
        leading.stopped().await;
        self.shredder.stopped().await;
        self.stop_keeper.cancel();
        if let Err(error) = self.keeper.await {
            tracing::error!(%error, "the snapshot was not saved");
        }
        self.commands.close();
        if tokio::time::timeout(DRAIN, self.committer).await.is_err() {
            tracing::warn!("the log does not take what is still to be recorded; it is left behind");
        }
    }
}

/// SIGTERM and SIGINT, listened to from the start.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
