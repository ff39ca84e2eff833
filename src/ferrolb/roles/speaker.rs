//! `ferrolb speaker`: announces from one node of a Kubernetes cluster.
//!
//! Start: everything is read, everything is decided, kube-proxy is waited for where the node has just booted, and only then
//! sessions are dialled, so that a restart sends the same set again. Running: each batch of changes goes through the engine,
//! what differs to the *wire* thread, and then to the reports. A Service that comes to this node waits for the node's proxy.
//! End: the sessions are closed with a Cease. While the API server is away, nothing changes.

mod leases;
mod nodes;
mod supply;
mod teller;
mod writes;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::beside::{Beside, Others};
use ferrolb_core::decide::Options;
use ferrolb_core::engine::{Engine, EngineOptions, Outcome};
use ferrolb_core::proxy::{self, LOCAL_LIMIT, Probe, Start};
use ferrolb_core::types::{NodeName, ServiceKey};
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use self::leases::Leases;
use self::supply::{Supplied, Supply, Takers};
use self::teller::Teller;
use self::writes::Writes;
use crate::cli::SpeakerArgs;
use crate::roles::announcer::Announcer;
use crate::roles::pages::{self, Binding};
use crate::roles::reports::{Question, Reports};
use crate::roles::{answering, sessions, start};
use crate::shell::bgp::{self, Holding, WireConfig, WireEnded, WireHandle, WireObserver};
use crate::shell::grpc::{self, Desk, Inquirer, Scope};
use crate::shell::layer2::{self, Layer2Handle};
use crate::shell::telemetry::health::Health;
use crate::shell::telemetry::http::Pages;
use crate::shell::telemetry::metrics::Metrics;
use crate::shell::{kube as cluster, net, proxy as node_proxy, sys};

const ROLE: &str = "speaker";
/// How many events of sessions may wait for the log.
const EVENTS: usize = 1024;
/// How long between two questions to the node's proxy.
const PROXY_PAUSE: Duration = Duration::from_millis(100);
/// How many of them may be under way.
const PROXY_QUESTIONS: usize = 16;

/// Runs until SIGTERM or SIGINT; exit status 2 where it can't start.
pub fn run(args: &SpeakerArgs) -> ExitCode {
    start::run(args.log_level, serve(args))
}

async fn serve(args: &SpeakerArgs) -> Result<(), String> {
    let ended = start::ending()?;
    tokio::pin!(ended);
    let namespace = args.namespace.clone().filter(|n| !n.is_empty()).or_else(cluster::own_namespace);
    let namespace: Arc<str> = namespace
        .ok_or("the namespace of the configuration objects isn't known: give --namespace, or set METALLB_NAMESPACE")?
        .into();
    let node = NodeName::new(&args.node_name);
    info!(event = "startup", %node, %namespace, version = env!("CARGO_PKG_VERSION"), "starting");
    for (flag, why) in args.meaningless() {
        info!(event = "flagWithoutMeaning", flag, "this flag changes nothing here: {why}");
    }
    let client = cluster::connect(args.kubeconfig.as_deref()).await?;
    let metrics = Metrics::new(&args.node_name, SystemTime::now()).map_err(|e| e.to_string())?;
    let metrics = Arc::new(metrics.for_speaker());
    let (health, mut pings) = Health::new();
    let binding = Binding {
        metrics: Ipv4Addr::UNSPECIFIED.into(),
        checks: (Ipv4Addr::LOCALHOST.into(), args.health_probe_port),
    };
    let shown = Pages { metrics: metrics.clone(), health: health.clone() };
    let _pages = pages::serve(&args.pages, &pages::offered(&args.pages)?, binding, &client, &shown)?;
    let (mut speaker, inquirer) = Speaker::new(args, &node, &namespace, metrics);
    let session_namespace = args.frrk8s_namespace.as_deref().filter(|n| !n.is_empty());
    let session_namespace: Arc<str> = session_namespace.map_or_else(|| namespace.clone(), Into::into);
    let mut supply = Supply::new(client.clone(), &node, &namespace, &session_namespace);
    health.supplied_by(supply.watches());
    let mut leases = Leases::new(client.clone(), &namespace, &node);
    let mut teller = Teller::new(client.clone(), &namespace, &node);
    let mut writes = Writes::new(client, &session_namespace, &namespace);
    let mut reports = Reports::new(node.clone(), Writes::ledger(&node, args.status_writes));

    // Nothing is decided before everything is known.
    let started = async {
        while !supply.is_complete() {
            let supplied = supply.next().await;
            speaker.take(supplied, &mut reports, &mut leases, &mut teller, &mut supply);
        }
        if args.wait_for_kube_proxy {
            let addresses = speaker.proxy_addresses();
            wait_for_kube_proxy(&addresses, node_proxy::KUBE_PROXY, node_proxy::uptime).await;
        }
    };
    tokio::select! {
        () = started => {}
        () = &mut ended => return Ok(()),
        _ = answer_pings(&mut pings) => {}
    }
    let addresses = net::follow_addresses()
        .await
        .map_err(|e| format!("the addresses of this machine can't be read through netlink: {e}"))?;
    let (events, mut heard) = mpsc::channel(EVENTS);
    let written = speaker.announcer.metrics.clone();
    let wire = bgp::spawn(WireConfig {
        node: node.clone(),
        internal_ipv4: sessions::internal_ipv4(&speaker.announcer.engine, &node),
        addresses,
        events,
        written: Box::new(move |after| written.converged(after)),
    })
    .map_err(|e| format!("the thread of the BGP sessions can't start: {e}"))?;
    let (layer2_events, mut layer2_heard) = mpsc::channel(EVENTS);
    let settings = answering::settings(args.excluded_interfaces(), args.gratuitous_arp_interval.0)?;
    let layer2 = layer2::spawn(settings, layer2_events)
        .map_err(|e| format!("the thread of layer 2 can't start: {e}"))?;
    let observer = wire.observer();
    let about = grpc::About {
        role: ROLE,
        node: args.node_name.clone(),
        desk: inquirer,
        wire: Some(wire.observer()),
        layer2: Some(layer2.observer()),
        health: health.clone(),
    };
    let socket = args.socket.clone().or_else(|| grpc::default_socket("speaker", None));
    let _serving = socket.map(|path| grpc::keep_serving(path, about));
    speaker.announcer.set_silent(!speaker.others.here.is_empty());
    leases.stand_back(!speaker.others.anywhere.is_empty());
    supply.announces();
    speaker.announcer.send_everything(&wire, None).await?;
    health.answers(layer2.observer());
    health.started(wire.observer());
    if args.wait_for_kube_proxy {
        speaker.announcer.engine.hold_new_locals();
    }
    if !speaker.announcer.is_silent() {
        reports.start(Instant::now(), &speaker.announcer.engine);
    }
    if args.status_writes > 0 {
        supply.begin_reports();
    }
    sys::return_free_memory();
    let mut tidying = sys::Tidying::default();

    let mut asked: Option<BoxFuture<'static, Asked>> = None;
    loop {
        let now = Instant::now();
        let mut timer = None;
        // Who leaves announcing to others leaves telling to them too: their objects have the same names.
        if !speaker.announcer.is_silent() {
            reports.handle_timeout(now, &speaker.announcer.engine);
            if asked.is_none() {
                asked = reports.question(now, &speaker.announcer.engine).map(|q| ask(observer.clone(), q));
            }
            let tells = args.status_writes > 0 && teller.step(&speaker.announcer.engine);
            if supply.tells(tells) {
                for telling in teller.due(now, &speaker.announcer.engine) {
                    reports.not_announced(&telling);
                }
            }
            writes.begin(reports.ledger(), now);
            let timers = [reports.next_timeout(now, asked.is_some()), teller.next_timeout()];
            timer = timers.into_iter().flatten().min();
        } else {
            supply.tells(false);
        }
        tokio::select! {
            supplied = supply.next() => {
                let noticed = supplied.noticed;
                tidying.did(supplied.len(), Instant::now());
                let outcome = speaker.take(supplied, &mut reports, &mut leases, &mut teller, &mut supply);
                teller.decided(&speaker.announcer.engine, &outcome);
                speaker.send(&wire, &layer2, &outcome, noticed, &mut reports).await?;
                speaker.stand_back(&wire, &mut leases, &mut reports).await?;
                // Others may have come or gone.
                speaker.follow(&leases, &wire, &layer2, &mut reports).await?;
            }
            key = released(&mut speaker.waiting) => {
                let outcome = speaker.announcer.engine.release(&key);
                speaker.announcer.tell(&outcome);
                speaker.send(&wire, &layer2, &outcome, None, &mut reports).await?;
            }
            () = leases.next() => speaker.follow(&leases, &wire, &layer2, &mut reports).await?,
            event = layer2_heard.recv() => match event {
                Some(event) => {
                    answering::log(&event);
                    if let layer2::Event::Machine(event) = &event {
                        reports.layer2_happened(&speaker.announcer.engine, event);
                    }
                }
                None => return Err("the thread of layer 2 has ended; start again, and report what it logged".to_owned()),
            },
            event = heard.recv() => match event {
                Some(event) => {
                    sessions::log(&event);
                    speaker.announcer.desk.tell_session(&event);
                    reports.happened(Instant::now(), &speaker.announcer.engine, &event);
                }
                None => return Err("the thread of the BGP sessions has ended; start again, and report what it logged".to_owned()),
            },
            (question, holdings) = answer(&mut asked) => {
                asked = None;
                let holdings = holdings.map_err(|e| e.to_string())?;
                reports.answered(Instant::now(), question, &holdings);
            }
            () = writes.ended(reports.ledger()) => tidying.did(1, Instant::now()),
            () = teller.next() => {}
            () = tidying.wait() => tidying.tidy(),
            question = speaker.announcer.desk.next() => speaker.announcer.desk.answer(question, &speaker.announcer.engine),
            Some(ping) = pings.recv() => drop(ping.send(())),
            () = until(timer) => {}
            () = &mut ended => break,
        }
    }
    info!(event = "shutdown", "closing the sessions");
    // The others take over while the sessions are being closed.
    tokio::join!(leases.give_up(), layer2.shutdown(), wire.shutdown(""));
    Ok(())
}

type Asked = (Question, Result<Vec<Holding>, WireEnded>);

fn ask(observer: WireObserver, question: Question) -> BoxFuture<'static, Asked> {
    Box::pin(async move {
        let holdings = observer.holdings(question.prefixes.clone()).await;
        (question, holdings)
    })
}

async fn answer(asked: &mut Option<BoxFuture<'static, Asked>>) -> Asked {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Whoever asks for a sign of life during the start gets it.
async fn answer_pings(pings: &mut mpsc::Receiver<tokio::sync::oneshot::Sender<()>>) {
    while let Some(ping) = pings.recv().await {
        // Whoever asked may have gone.
        let _ = ping.send(());
    }
}

/// Waits until the node's proxy is healthy and has written rules, where the node has just booted; for some seconds at most.
async fn wait_for_kube_proxy(
    addresses: &[IpAddr],
    ports: node_proxy::Ports,
    uptime: impl Fn() -> Option<Duration>,
) {
    let begun = Instant::now();
    let mut probe = Probe::Silent;
    loop {
        match proxy::may_announce(uptime(), begun.elapsed(), probe) {
            Start::Go(why) => {
                info!(
                    event = "announcing",
                    waited_ms = begun.elapsed().as_millis() as u64,
                    why,
                    "sessions are dialled"
                );
                return;
            }
            Start::Wait => probe = node_proxy::ask_kube_proxy(addresses, ports).await,
        }
        if probe != Probe::Status(200) {
            tokio::time::sleep(PROXY_PAUSE).await;
        }
    }
}

/// A service that needn't wait for the node's proxy any longer.
async fn released(waiting: &mut JoinSet<ServiceKey>) -> ServiceKey {
    loop {
        match waiting.join_next().await {
            Some(Ok(key)) => return key,
            // It can't fail but by a fault of ours, which the runtime has told.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }
}

struct Speaker {
    announcer: Announcer,
    /// What is known of speakers that aren't FerroLB's, and those that this one stands back for.
    beside: Beside,
    others: Others,
    /// Services that wait for the node's proxy.
    waiting: JoinSet<ServiceKey>,
    questions: Arc<Semaphore>,
}

impl Speaker {
    fn new(
        args: &SpeakerArgs,
        node: &NodeName,
        namespace: &Arc<str>,
        metrics: Arc<Metrics>,
    ) -> (Speaker, Inquirer) {
        let class: Option<String> = args.class().map(Into::into);
        let options = EngineOptions {
            system_namespace: namespace.clone(),
            class: class.clone(),
            decide: Options { ignore_exclude_lb: args.ignore_exclude_lb, ..Options::default() },
            node: node.clone(),
            speaker: true,
            keep_routes: true,
            allocate_for_many: false,
        };
        let allocator = Allocator::new(Mode::StatusOnly, class.clone());
        let mut engine = Engine::new(options, allocator, Default::default(), Default::default());
        // Nobody is alive on layer 2 before that is known.
        engine.set_live(Some(BTreeSet::new()));
        let (desk, inquirer) = Desk::new(Scope { node: node.clone(), namespace: namespace.clone(), class });
        let speaker = Speaker {
            announcer: Announcer::new(engine, desk, metrics, node.clone()),
            beside: Beside::new(namespace.clone()),
            others: Others::default(),
            waiting: JoinSet::new(),
            questions: Arc::new(Semaphore::new(PROXY_QUESTIONS)),
        };
        (speaker, inquirer)
    }

    /// Applies what came, and tells what changed.
    fn take(
        &mut self,
        mut supplied: Supplied,
        reports: &mut Reports,
        leases: &mut Leases,
        teller: &mut Teller,
        supply: &mut Supply,
    ) -> Outcome {
        for problem in &supplied.problems {
            error!(event = "objectError", error = %problem, "an object can't be read; what it was before stays");
            self.announcer.desk.tell_manifest(problem.to_string(), false);
        }
        for problem in &supplied.cleared {
            info!(event = "objectErrorCleared", error = %problem, "this is mended");
            self.announcer.desk.tell_manifest(problem.to_string(), true);
        }
        let metrics = &self.announcer.metrics;
        metrics.changes(supplied.changes.len(), supplied.problems.len(), supplied.cleared.len());
        supplied.remove_old_nodes(&self.announcer.engine, &self.announcer.node);
        let configures = supplied.configures;
        let outcome = self.announcer.apply(supplied.changes, None);
        let mut takers = Takers { reports, leases, teller, beside: &mut self.beside };
        supplied.sides.give(&self.announcer.node, &self.announcer.engine, &mut takers);
        self.look_around();
        if outcome.reconfigured || configures {
            supply.follow(&self.announcer.engine);
            if self.announcer.engine.config().has_l2_advertisements && !leases.in_use() {
                leases.begin();
                supply.begin_leases();
            }
        }
        outcome
    }

    /// Sees who else announces, and tells where that differs.
    fn look_around(&mut self) {
        let Announcer { engine, node, metrics, desk, .. } = &mut self.announcer;
        let labels = engine.world().nodes().find(|n| n.name == *node).map(|n| &n.labels);
        let others = self.beside.others(labels);
        if others == self.others {
            return;
        }
        let names = others.anywhere.iter().cloned().collect::<Vec<_>>().join(", ");
        match (others.here.is_empty(), others.anywhere.is_empty()) {
            (false, _) => {
                warn!(
                    event = "standingBack",
                    others = names,
                    "speakers that aren't FerroLB's run on this node: it announces nothing until they are gone"
                );
            }
            (true, false) => {
                warn!(
                    event = "standingBack",
                    others = names,
                    protocol = "layer2",
                    "speakers that aren't FerroLB's run on other nodes: this one answers for nothing on layer 2 until they are gone; over BGP it announces"
                );
            }
            (true, true) => info!(event = "standingBackOver", "no other speakers run any more"),
        }
        metrics.standing_back(!others.anywhere.is_empty(), !others.here.is_empty());
        desk.stands_back_for(others.anywhere.clone(), !others.here.is_empty());
        self.others = others;
    }

    /// Leaves to those speakers what is theirs, or begins.
    async fn stand_back(
        &mut self,
        wire: &WireHandle,
        leases: &mut Leases,
        reports: &mut Reports,
    ) -> Result<(), String> {
        leases.stand_back(!self.others.anywhere.is_empty());
        let silent = !self.others.here.is_empty();
        if silent != self.announcer.is_silent() {
            self.announcer.set_silent(silent);
            self.announcer.send_everything(wire, None).await?;
            if !silent {
                reports.begin_again(Instant::now(), &self.announcer.engine);
            }
        }
        Ok(())
    }

    /// Layer 2 is between the speakers that are alive now.
    async fn follow(
        &mut self,
        leases: &Leases,
        wire: &WireHandle,
        layer2: &Layer2Handle,
        reports: &mut Reports,
    ) -> Result<(), String> {
        let settled = leases.is_settled();
        if leases.in_use() {
            let outcome = self.announcer.engine.set_live(leases.alive());
            if !outcome.layer2_announcements.is_empty() {
                self.announcer.tell(&outcome);
            }
            self.send(wire, layer2, &outcome, None, reports).await?;
        }
        if settled {
            reports.layer2_settled();
        }
        Ok(())
    }

    /// What differs goes to the wire thread, and then it is to be told.
    async fn send(
        &mut self,
        wire: &WireHandle,
        layer2: &Layer2Handle,
        outcome: &Outcome,
        noticed: Option<Instant>,
        reports: &mut Reports,
    ) -> Result<(), String> {
        self.announcer.send(wire, outcome, noticed).await?;
        let changes = answering::changes(outcome);
        if !changes.is_empty() {
            layer2.apply(changes).await.map_err(|e| e.to_string())?;
        }
        reports.layer2_decided(&self.announcer.engine, outcome);
        reports.decided(Instant::now(), &self.announcer.engine, outcome);
        for key in &outcome.held {
            self.wait_for(key);
        }
        Ok(())
    }

    /// Asks the node's proxy for a service's local endpoints until it has some, for a bounded time.
    fn wait_for(&mut self, key: &ServiceKey) {
        let service = self.announcer.engine.world().service(key);
        let Some(port) = service.and_then(|s| s.health_check_node_port) else { return };
        let (key, questions, addresses) = (key.clone(), self.questions.clone(), self.proxy_addresses());
        self.waiting.spawn(async move {
            let asking = async {
                loop {
                    // It is never closed.
                    let turn = questions.acquire().await;
                    let probe = node_proxy::ask(&addresses, port, "/").await;
                    drop(turn);
                    if proxy::local_answer(probe) {
                        return;
                    }
                    tokio::time::sleep(PROXY_PAUSE).await;
                }
            };
            if tokio::time::timeout(LOCAL_LIMIT, asking).await.is_err() {
                info!(event = "proxyNotWaitedFor", service = %key, port, "the node's service proxy reports no local endpoint in time; the service is announced all the same");
            }
            key
        });
    }

    /// Where the node's proxy may listen: on the node's own addresses, or on the loopback.
    fn proxy_addresses(&self) -> Vec<IpAddr> {
        let node = self.announcer.engine.nodes().iter().find(|n| n.name == self.announcer.node);
        let own = node.map(|n| n.internal_ips.clone()).unwrap_or_default();
        own.into_iter().chain([IpAddr::V4(Ipv4Addr::LOCALHOST)]).collect()
    }
}

#[cfg(test)]
mod tests;
