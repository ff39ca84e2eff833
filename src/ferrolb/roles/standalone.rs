//! `ferrolb standalone`: controller and speaker for one node, from a directory of manifests.
//!
//! Start: lock the state directory, read all manifests, decide everything, and only then dial, so that a restart sends the
//! same set again instead of withdrawing. Running: each batch of changed objects goes through the engine, what differs to the
//! *wire* and *layer2* threads, and then the state to its file. End: the sessions are closed with a Cease and nothing is
//! answered any more, then the state is written.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::decide::Options;
use ferrolb_core::engine::{Engine, EngineOptions, Outcome, SourceChange};
use ferrolb_core::types::NodeName;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::cli::StandaloneArgs;
use crate::roles::announcer::Announcer;
use crate::roles::{answering, sessions, start};
use crate::shell::bgp::{self, WireConfig};
use crate::shell::grpc::{self, Desk, Inquirer, Scope};
use crate::shell::layer2::{self, Layer2Handle};
use crate::shell::net;
use crate::shell::source::{self, Batch, Directory};
use crate::shell::state::{Standing, State, StateDirectory};
use crate::shell::sys;
use crate::shell::telemetry::health::Health;
use crate::shell::telemetry::http::{self, Pages, Place, Shown};
use crate::shell::telemetry::metrics::Metrics;

/// The name of this role.
const ROLE: &str = "standalone";
/// How many events of sessions may wait for the log.
const EVENTS: usize = 1024;
/// How long the state may lag behind: a burst of changes is one write.
const STATE_DELAY: Duration = Duration::from_millis(200);

/// Runs until SIGTERM or SIGINT; exit status 2 where it can't start.
pub fn run(args: &StandaloneArgs) -> ExitCode {
    start::run(args.log_level, serve(args))
}

async fn serve(args: &StandaloneArgs) -> Result<(), String> {
    let ended = start::ending()?;
    tokio::pin!(ended);
    let mut inspect =
        signal(SignalKind::user_defined1()).map_err(|e| format!("signals can't be handled: {e}"))?;
    let (mut state_directory, state) = match &args.state {
        Some(path) => StateDirectory::open(path).map(|(d, s)| (Some(d), s))?,
        None => (None, State::default()),
    };
    let layer2_settings =
        answering::settings(args.excluded_interfaces.as_deref(), args.gratuitous_arp_interval.0)?;
    let (mut directory, first) = Directory::open(&args.manifests)
        .map_err(|e| format!("{e}; give --manifests a directory that is there and can be read"))?;
    let metrics = Metrics::new(&args.node, SystemTime::now()).map_err(|e| e.to_string())?;
    let metrics = Arc::new(metrics);
    let (health, mut pings) = Health::new();
    if let Some(address) = args.metrics_bind_address.0 {
        let flag = "--metrics-bind-address";
        let place = Place { name: "metrics", flag, address, shown: Shown::All, secured: None };
        tokio::spawn(http::serve(place, Pages { metrics: metrics.clone(), health: health.clone() }));
    }
    let (mut standalone, inquirer) = Standalone::new(args, state, metrics);
    info!(event = "startup", node = %args.node, manifests = %args.manifests.display(), version = env!("CARGO_PKG_VERSION"), "starting");
    let initial = standalone.take(first);
    let addresses = net::follow_addresses()
        .await
        .map_err(|e| format!("the addresses of this machine can't be read through netlink: {e}"))?;
    let (events, mut heard) = mpsc::channel(EVENTS);
    let written = standalone.announcer.metrics.clone();
    let wire = bgp::spawn(WireConfig {
        node: standalone.announcer.node.clone(),
        internal_ipv4: sessions::internal_ipv4(&standalone.announcer.engine, &standalone.announcer.node),
        addresses,
        events,
        written: Box::new(move |after| written.converged(after)),
    })
    .map_err(|e| format!("the thread of the BGP sessions can't start: {e}"))?;
    let (layer2_events, mut layer2_heard) = mpsc::channel(EVENTS);
    let layer2 = layer2::spawn(layer2_settings, layer2_events)
        .map_err(|e| format!("the thread of layer 2 can't start: {e}"))?;
    let observer = wire.observer();
    let socket = args.socket.clone().or_else(|| grpc::default_socket(ROLE, args.state.as_deref()));
    let about = grpc::About {
        role: ROLE,
        node: args.node.clone(),
        desk: inquirer,
        wire: Some(wire.observer()),
        layer2: Some(layer2.observer()),
        health: health.clone(),
    };
    let _serving = socket.map(|path| grpc::keep_serving(path, about));
    standalone.announcer.send_everything(&wire, None).await?;
    send_addresses(&layer2, &initial).await?;
    health.answers(layer2.observer());
    health.started(wire.observer());
    sys::return_free_memory();
    let mut tidying = sys::Tidying::default();

    let mut state_due = Some(tokio::time::Instant::now());
    loop {
        let write_state = async {
            match state_due {
                Some(due) if state_directory.is_some() => tokio::time::sleep_until(due).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            batch = directory.next() => {
                let batch = batch.ok_or("the directory of manifests can't be watched any more; start again")?;
                let noticed = Instant::now();
                let kept = !batch.changes.iter().all(SourceChange::is_of_endpoints);
                tidying.did(batch.changes.len(), Instant::now());
                let outcome = standalone.take(batch);
                send_addresses(&layer2, &outcome).await?;
                standalone.announcer.send(&wire, &outcome, Some(noticed)).await?;
                if kept {
                    state_due.get_or_insert_with(|| tokio::time::Instant::now() + STATE_DELAY);
                }
            }
            event = heard.recv() => match event {
                Some(event) => {
                    sessions::log(&event);
                    standalone.announcer.desk.tell_session(&event);
                }
                None => return Err("the thread of the BGP sessions has ended; start again, and report what it logged".to_owned()),
            },
            event = layer2_heard.recv() => match event {
                Some(event) => answering::log(&event),
                None => return Err("the thread of layer 2 has ended; start again, and report what it logged".to_owned()),
            },
            question = standalone.announcer.desk.next() => standalone.announcer.desk.answer(question, &standalone.announcer.engine),
            Some(ping) = pings.recv() => drop(ping.send(())),
            () = tidying.wait() => tidying.tidy(),
            _ = inspect.recv() => sessions::log_all(&observer.sessions(true).await.map_err(|e| e.to_string())?),
            () = write_state => {
                standalone.write_state(state_directory.as_mut());
                state_due = None;
            }
            () = &mut ended => break,
        }
    }
    info!(event = "shutdown", "closing the sessions");
    tokio::join!(wire.shutdown(""), layer2.shutdown());
    standalone.write_state(state_directory.as_mut());
    Ok(())
}

/// Tells the layer2 thread what differs.
async fn send_addresses(layer2: &Layer2Handle, outcome: &Outcome) -> Result<(), String> {
    let changes = answering::changes(outcome);
    if changes.is_empty() {
        return Ok(());
    }
    layer2.apply(changes).await.map_err(|e| e.to_string())
}

struct Standalone {
    announcer: Announcer,
    warned_of_liveness: bool,
}

impl Standalone {
    fn new(args: &StandaloneArgs, state: State, metrics: Arc<Metrics>) -> (Standalone, Inquirer) {
        let node = NodeName::new(&args.node);
        let options = EngineOptions {
            system_namespace: args.namespace.as_str().into(),
            class: args.class().map(Into::into),
            decide: Options { ignore_exclude_lb: args.ignore_exclude_lb, ..Options::default() },
            node: node.clone(),
            speaker: false,
            keep_routes: true,
            allocate_for_many: false,
        };
        let mut allocator = Allocator::new(Mode::Allocate, args.class().map(Into::into));
        allocator.restore(&state.holdings);
        let engine = Engine::new(options, allocator, state.last_valid, state.first_seen);
        let (desk, inquirer) = Desk::new(Scope {
            node: node.clone(),
            namespace: args.namespace.as_str().into(),
            class: args.class().map(Into::into),
        });
        let announcer = Announcer::new(engine, desk, metrics, node).gives_addresses();
        let standalone = Standalone { announcer, warned_of_liveness: false };
        (standalone, inquirer)
    }

    /// Applies a batch, and tells what changed.
    fn take(&mut self, batch: Batch) -> Outcome {
        for problem in &batch.problems {
            error!(event = "manifestError", error = %problem, "a manifest can't be read; what it held before stays");
            self.announcer.desk.tell_manifest(problem.to_string(), false);
        }
        for problem in &batch.cleared {
            info!(event = "manifestErrorCleared", error = %problem, "this is mended");
            self.announcer.desk.tell_manifest(problem.to_string(), true);
        }
        for skipped in source::skipped_warnings(&batch.skipped) {
            warn!(event = "manifestSkipped", object = %skipped.object(), "{}", skipped.message);
        }
        self.announcer.metrics.batch(&batch);
        let outcome = self.announcer.apply(batch.changes, Some(Timestamp::now()));
        if outcome.reconfigured {
            self.warn_of_liveness();
        }
        outcome
    }

    fn warn_of_liveness(&mut self) {
        let engine = &self.announcer.engine;
        let shared = engine.config().has_l2_advertisements && engine.nodes().len() > 1;
        if shared && !self.warned_of_liveness {
            warn!(
                event = "layer2WithoutLiveness",
                nodes = engine.nodes().len(),
                "on layer 2 every Node of the manifests counts as alive: what a dead one owns stays dark until its Node is taken out of the manifests of the others"
            );
        }
        self.warned_of_liveness = shared;
    }

    /// The state as it stands, where there is a place for it.
    fn write_state(&self, directory: Option<&mut StateDirectory>) {
        let Some(directory) = directory else { return };
        let state = Standing {
            holdings: self.announcer.engine.allocator().holdings(),
            last_valid: self.announcer.engine.last_valid(),
            first_seen: self.announcer.engine.first_seen(),
        };
        if let Err(message) = directory.write(&state) {
            error!(event = "stateNotWritten", error = %message, "a restart would forget the latest changes");
        }
    }
}

#[cfg(test)]
mod tests;
