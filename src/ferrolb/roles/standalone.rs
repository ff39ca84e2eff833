//! `ferrolb standalone`: controller and speaker for one node, from a directory of manifests.
//!
//! Start: lock the state directory, read all manifests, decide everything, and only then dial, so that a restart sends the
//! same set again instead of withdrawing. Running: each batch of changed objects goes through the engine, what differs to the
//! *wire* and *layer2* threads, and then the state to its file. End: the sessions are closed with a Cease and nothing is
//! answered any more, then the state is written.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::decide::Options;
use ferrolb_core::engine::{Engine, EngineOptions, Outcome, SourceChange};
use ferrolb_core::types::{GroupId, NodeName, ServiceKey};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::cli::StandaloneArgs;
use crate::roles::issues::Issues;
use crate::roles::{answering, services, sessions};
use crate::shell::bgp::{self, Update, WireConfig, WireHandle};
use crate::shell::grpc::{self, Desk, Inquirer, Scope};
use crate::shell::layer2::{self, Layer2Handle};
use crate::shell::net;
use crate::shell::source::{self, Batch, Directory};
use crate::shell::state::{Standing, State, StateDirectory};
use crate::shell::sys;
use crate::shell::telemetry::health::Health;
use crate::shell::telemetry::http::{self, Pages, Place, Shown};
use crate::shell::telemetry::log;
use crate::shell::telemetry::metrics::Metrics;

/// The name of this role.
const ROLE: &str = "standalone";
/// How many events of sessions may wait for the log.
const EVENTS: usize = 1024;
/// How long the state may lag behind: a burst of changes is one write.
const STATE_DELAY: Duration = Duration::from_millis(200);

/// Runs until SIGTERM or SIGINT; exit status 2 where it can't start.
pub fn run(args: &StandaloneArgs) -> ExitCode {
    sys::keep_few_arenas();
    log::init(args.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(serve(args)),
        Err(e) => Err(format!("the runtime can't start: {e}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ferrolb: {message}");
            ExitCode::from(2)
        }
    }
}

async fn serve(args: &StandaloneArgs) -> Result<(), String> {
    let signals = |kind| signal(kind).map_err(|e| format!("signals can't be handled: {e}"));
    let (mut terminate, mut interrupt) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut inspect = signals(SignalKind::user_defined1())?;
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
    let written = standalone.metrics.clone();
    let wire = bgp::spawn(WireConfig {
        node: standalone.node.clone(),
        internal_ipv4: sessions::internal_ipv4(&standalone.engine, &standalone.node),
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
    standalone.send_everything(&wire, None).await?;
    send_addresses(&layer2, &initial).await?;
    health.answers(layer2.observer());
    health.started(wire.observer());
    sys::return_free_memory();

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
                let outcome = standalone.take(batch);
                send_addresses(&layer2, &outcome).await?;
                standalone.send(&wire, &outcome, noticed).await?;
                if kept {
                    state_due.get_or_insert_with(|| tokio::time::Instant::now() + STATE_DELAY);
                }
            }
            event = heard.recv() => match event {
                Some(event) => {
                    sessions::log(&event);
                    standalone.desk.tell_session(&event);
                }
                None => return Err("the thread of the BGP sessions has ended; start again, and report what it logged".to_owned()),
            },
            event = layer2_heard.recv() => match event {
                Some(event) => answering::log(&event),
                None => return Err("the thread of layer 2 has ended; start again, and report what it logged".to_owned()),
            },
            question = standalone.desk.next() => standalone.desk.answer(question, &standalone.engine),
            Some(ping) = pings.recv() => drop(ping.send(())),
            _ = inspect.recv() => sessions::log_all(&observer.sessions(true).await.map_err(|e| e.to_string())?),
            () = write_state => {
                standalone.write_state(state_directory.as_mut());
                state_due = None;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
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
    engine: Engine,
    /// Where those who look in ask and are told.
    desk: Desk,
    metrics: Arc<Metrics>,
    node: NodeName,
    /// What is wrong with the configuration, as last told.
    issues: Issues,
    /// Services of which it was told that they have no address, and why.
    told_services: BTreeMap<ServiceKey, String>,
    /// The groups that the wire thread was told of.
    groups: BTreeSet<GroupId>,
    warned_of_node: bool,
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
        let standalone = Standalone {
            engine,
            desk,
            metrics,
            node,
            issues: Issues::default(),
            told_services: BTreeMap::new(),
            groups: BTreeSet::new(),
            warned_of_node: false,
            warned_of_liveness: false,
        };
        (standalone, inquirer)
    }

    /// Applies a batch, and tells what changed.
    fn take(&mut self, batch: Batch) -> Outcome {
        for problem in &batch.problems {
            error!(event = "manifestError", error = %problem, "a manifest can't be read; what it held before stays");
            self.desk.tell_manifest(problem.to_string(), false);
        }
        for problem in &batch.cleared {
            info!(event = "manifestErrorCleared", error = %problem, "this is mended");
            self.desk.tell_manifest(problem.to_string(), true);
        }
        for skipped in source::skipped_warnings(&batch.skipped) {
            warn!(event = "manifestSkipped", object = %skipped.object(), "{}", skipped.message);
        }
        self.metrics.batch(&batch);
        let outcome = self.engine.apply(batch.changes, Some(Timestamp::now()));
        self.metrics.outcome(&self.engine, &outcome);
        if outcome.reconfigured {
            self.tell_configuration();
        }
        services::log(&outcome, self.engine.allocator(), &mut self.told_services);
        self.desk.tell_outcome(&outcome, &self.engine);
        outcome
    }

    fn tell_configuration(&mut self) {
        self.issues.tell(self.engine.config(), &self.desk);
        let known = self.engine.nodes().iter().any(|n| n.name == self.node);
        if !known && !self.warned_of_node {
            warn!(event = "nodeUnknown", node = %self.node, "no Node of this name in the manifests: nothing is announced until there is, or --node names another");
        }
        self.warned_of_node = !known;
        let shared = self.engine.config().has_l2_advertisements && self.engine.nodes().len() > 1;
        if shared && !self.warned_of_liveness {
            warn!(
                event = "layer2WithoutLiveness",
                nodes = self.engine.nodes().len(),
                "on layer 2 every Node of the manifests counts as alive: what a dead one owns stays dark until its Node is taken out of the manifests of the others"
            );
        }
        self.warned_of_liveness = shared;
    }

    /// Sessions and routes as they should be, whatever the wire thread has.
    async fn send_everything(&mut self, wire: &WireHandle, noticed: Option<Instant>) -> Result<(), String> {
        let update = sessions::everything(&self.engine, &self.node, &mut self.groups);
        wire.apply(Update { noticed, ..update }).await.map_err(|e| e.to_string())
    }

    /// What follows from a change that was noticed then.
    async fn send(&mut self, wire: &WireHandle, outcome: &Outcome, noticed: Instant) -> Result<(), String> {
        let noticed = Some(noticed);
        if outcome.reconfigured {
            self.send_everything(wire, noticed).await?;
        } else if !outcome.routes.is_empty() {
            let update = Update { noticed, ..sessions::changes(&outcome.routes) };
            wire.apply(update).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// The state as it stands, where there is a place for it.
    fn write_state(&self, directory: Option<&mut StateDirectory>) {
        let Some(directory) = directory else { return };
        let state = Standing {
            holdings: self.engine.allocator().holdings(),
            last_valid: self.engine.last_valid(),
            first_seen: self.engine.first_seen(),
        };
        if let Err(message) = directory.write(&state) {
            error!(event = "stateNotWritten", error = %message, "a restart would forget the latest changes");
        }
    }
}

#[cfg(test)]
mod tests;
