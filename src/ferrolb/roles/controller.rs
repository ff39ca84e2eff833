//! `ferrolb controller`: gives the Services of a cluster their addresses.
//!
//! Start: watch, and know everything, before anything is decided. Then run for the Lease. Whoever holds it chooses
//! addresses and writes; others follow and choose nothing. What others wrote while this one didn't lead is what it starts
//! from: the watch may not have told the last of it yet, so with the Lease in hand it lists the Services once more. End: the
//! writes under way are finished, and the Lease is given up, so that the next controller has it at once.

mod keeper;
mod webhook;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::beside::{self, Beside};
use ferrolb_core::config::LastValid;
use ferrolb_core::decide::Options;
use ferrolb_core::engine::{Engine, EngineOptions, Outcome};
use ferrolb_core::lease::{Election, Lease, Step, Timing};
use ferrolb_core::status::ServiceStatus;
use ferrolb_core::types::NodeName;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use self::keeper::{Keeper, Target, Wanted};
use crate::cli::{ControllerArgs, WebhookMode};
use crate::roles::issues::Issues;
use crate::roles::pages::{self, Binding};
use crate::roles::start;
use crate::shell::grpc::{self, Desk, Inquirer, Scope};
use crate::shell::kube::kinds::{
    COMMUNITY, CONFIGURATION_STATE, CUSTOM_RESOURCE_DEFINITION, IP_ADDRESS_POOL, LEASE, NAMESPACE, POD,
    REPLICA_SET, SERVICE,
};
use crate::shell::kube::{self as cluster, Act, Answer, Batch, Source, Watch, WatchId, Write};
use crate::shell::sys;
use crate::shell::telemetry::health::Health;
use crate::shell::telemetry::http::Pages;
use crate::shell::telemetry::metrics::Metrics;

/// The Lease that says who leads.
const LEASE_NAME: &str = "ferrolb-controller";
/// How long until a definition that couldn't be made is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The same where the API server said no.
const RETRY_REFUSED: Duration = Duration::from_secs(30);
/// How long until it is seen to again that the definition is there, and again: a quarter of an hour in all. Only after a
/// start is anybody likely to take it away, and what stands still asks for nothing.
const DEFINITION_LOOKS: [Duration; 6] = [
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(240),
    Duration::from_secs(480),
];
/// How long the end may take.
const FAREWELL: Duration = Duration::from_millis(800);

/// Runs until SIGTERM or SIGINT; exit status 2 where it can't start.
pub fn run(args: &ControllerArgs) -> ExitCode {
    start::run(args.log_level, serve(args))
}

async fn serve(args: &ControllerArgs) -> Result<(), String> {
    let ended = start::ending()?;
    for (flag, why) in args.meaningless() {
        warn!(event = "flagWithoutMeaning", flag, "--{flag} is accepted and changes nothing: {why}");
    }
    let namespace = args.namespace.clone().filter(|name| !name.is_empty()).or_else(cluster::own_namespace);
    let namespace: Arc<str> = namespace
        .ok_or("which namespace do configuration objects live in? Outside a pod give --namespace NS, or set METALLB_NAMESPACE")?
        .into();
    let client = cluster::connect(args.kubeconfig.as_deref()).await?;
    work(args, client, namespace, ended).await
}

/// Works until `stopped`, and then ends in order.
async fn work(
    args: &ControllerArgs,
    client: Client,
    namespace: Arc<str>,
    stopped: impl Future<Output = ()>,
) -> Result<(), String> {
    let mut stopped = std::pin::pin!(stopped);
    let me = identity(args);
    let metrics = Arc::new(Metrics::new(&me, SystemTime::now()).map_err(|e| e.to_string())?);
    let (health, mut pings) = Health::new();
    // Until it leads, another one gives the addresses.
    metrics.show_pools(false);
    let everywhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let binding = Binding { metrics: everywhere, checks: (everywhere, args.health_probe_port) };
    let shown = Pages { metrics: metrics.clone(), health: health.clone() };
    let offered = pages::offered(&args.pages)?;
    let mut tasks = pages::serve(&args.pages, &offered, binding, &client, &shown)?;
    if args.webhook.mode == WebhookMode::OnlyWebhook {
        let _webhook = webhook::start(&args.webhook, &offered, &client, &namespace, Some(&health))?;
        info!(event = "startup", %namespace, version = env!("CARGO_PKG_VERSION"), "validating, and nothing else");
        loop {
            tokio::select! {
                Some(ping) = pings.recv() => drop(ping.send(())),
                () = &mut stopped => return Ok(()),
            }
        }
    }
    tasks.spawn(define_sessions(client.clone(), DEFINITION_LOOKS));
    let (mut controller, inquirer) = Controller::new(args, &client, &namespace, &me, metrics);
    let about = grpc::About {
        role: "controller",
        node: me.clone(),
        desk: inquirer,
        wire: None,
        layer2: None,
        health: health.clone(),
    };
    let socket = args.socket.clone().or_else(|| grpc::default_socket("controller", None));
    let _serving = socket.map(|path| grpc::keep_serving(path, about));
    info!(event = "startup", %namespace, identity = me, version = env!("CARGO_PKG_VERSION"), "starting");
    health.supplied_by(controller.source.watches());
    if let Some(pod) = args.pod_name() {
        controller.find_owner(pod);
    }
    let mut webhook: Option<JoinSet<()>> = None;
    let mut tidying = sys::Tidying::default();
    loop {
        let wake = controller.step();
        tokio::select! {
            batch = controller.source.next() => {
                let initial = batch.initial;
                tidying.did(batch.sides.len(), Instant::now());
                controller.take(batch);
                if initial {
                    health.started_alone();
                }
                // Another controller that runs keeps the same certificates.
                if args.webhook.mode == WebhookMode::Enabled && webhook.is_none() && controller.others.is_empty() {
                    webhook = Some(webhook::start(&args.webhook, &offered, &client, &namespace, None)?);
                }
            }
            Some(ended) = controller.writes.join_next(), if !controller.writes.is_empty() => {
                tidying.did(1, Instant::now());
                controller.ended(ended);
            }
            () = tidying.wait() => tidying.tidy(),
            question = controller.desk.next() => controller.desk.answer(question, controller.keeper.engine()),
            Some(ping) = pings.recv() => drop(ping.send(())),
            () = tokio::time::sleep_until(wake) => {}
            () = &mut stopped => break,
        }
    }
    info!(event = "shutdown", "ending");
    controller.farewell().await;
    Ok(())
}

/// Makes the definition of BGPSessionState, which the speakers write, where there is none. It is frr-k8s' kind: a
/// definition that is there is never touched.
///
/// It may go after we came: the upgrade of a release of MetalLB's with frr-k8s in it deletes frr-k8s' definitions last. Nothing
/// that a controller may watch tells of that, so it is made again after each of `looks`, where it has gone.
async fn define_sessions(client: Client, looks: impl IntoIterator<Item = Duration>) {
    let mut looks = looks.into_iter();
    let act = Act::Create(ferrolb_api::bgp_session_state::crd().into());
    let write = Write { kind: &CUSTOM_RESOURCE_DEFINITION, namespace: "".into(), act };
    let mut refused = false;
    loop {
        let answer = write.perform(&client).await;
        if let Answer::Written(_) = answer {
            info!(
                event = "definitionMade",
                kind = "BGPSessionState",
                "speakers tell of their sessions in objects of this kind"
            );
        }
        let wait = match answer {
            Answer::Written(_) | Answer::Conflict => match looks.next() {
                Some(wait) => wait,
                None => return,
            },
            Answer::Unreachable(_) => RETRY,
            answer @ (Answer::Gone | Answer::Refused(_)) => {
                if !refused {
                    warn!(
                        event = "definitionNotMade",
                        kind = "BGPSessionState",
                        answer = %answer,
                        "it may not be made: until it is, speakers don't tell of their sessions in objects"
                    );
                }
                refused = true;
                RETRY_REFUSED
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Everything that the controller needs to know beside the Services, and nothing else: no Nodes, no endpoints, no Pods.
/// ReplicaSets, since those of another controller have pods as long as it runs.
fn watches(namespace: &Arc<str>) -> Vec<Watch> {
    let status: fn(&Value) -> Value = |object| object.get("status").cloned().unwrap_or_default();
    let spec: fn(&Value) -> Value = |object| object.get("spec").cloned().unwrap_or_default();
    vec![
        Watch::all(&NAMESPACE),
        Watch::within(&IP_ADDRESS_POOL, namespace).keeping(status),
        Watch::within(&COMMUNITY, namespace),
        Watch::within(&CONFIGURATION_STATE, namespace).fields("metadata.name=controller").aside(status),
        Watch::within(&LEASE, namespace).fields(&format!("metadata.name={LEASE_NAME}")).aside(spec),
        Watch::within(&REPLICA_SET, namespace).aside(beside::part),
    ]
}

/// The name in the Lease: the pod's, which no other has and a restarted container has again; else one of its own.
fn identity(args: &ControllerArgs) -> String {
    match args.pod_name() {
        Some(name) => name.to_owned(),
        None => {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("{}_{:08x}", host.trim(), rand::random::<u32>())
        }
    }
}

/// A write that ended.
enum Ended {
    Object(Target, Box<Wanted>, Answer),
    Lease(Answer),
    /// The Lease was read anew; when it was asked for.
    LeaseRead(Duration, Answer),
    /// The own Pod was asked for.
    Pod(Answer),
}

/// Whether this controller leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leading {
    No,
    /// It holds the Lease, and lists the Services: those before it may have written what wasn't told yet.
    Lists,
    /// They are listed.
    Listed,
    Yes,
}

struct Controller {
    client: Client,
    source: Source,
    /// The watch of the Services.
    services: WatchId,
    namespace: Arc<str>,
    clock: Instant,
    keeper: Keeper,
    election: Election,
    /// Why the Lease couldn't be written last, as it was said.
    lease_not_written: Option<String>,
    /// Whether everything there is was seen.
    complete: bool,
    leading: Leading,
    /// What is known of controllers that aren't FerroLB's, and those that this one stands back for.
    beside: Beside,
    others: BTreeSet<String>,
    writes: JoinSet<Ended>,
    metrics: Arc<Metrics>,
    desk: Desk,
    issues: Issues,
}

impl Controller {
    fn new(
        args: &ControllerArgs,
        client: &Client,
        namespace: &Arc<str>,
        me: &str,
        metrics: Arc<Metrics>,
    ) -> (Controller, Inquirer) {
        let class: Option<String> = args.class().map(Into::into);
        let options = EngineOptions {
            system_namespace: namespace.clone(),
            class: class.clone(),
            decide: Options::default(),
            node: NodeName::new(me),
            speaker: false,
            keep_routes: false,
            allocate_for_many: true,
        };
        let allocator = Allocator::new(Mode::Allocate, class.clone());
        let engine = Engine::new(options, allocator, LastValid::new(), Default::default());
        let (mut desk, inquirer) =
            Desk::new(Scope { node: NodeName::new(me), namespace: namespace.clone(), class: class.clone() });
        desk.explains_nothing(
            "a controller knows no peers and no endpoints: ask a speaker why a Service is or isn't announced; its events and \
             `ferrolb status` say why it has no address",
        );
        let clock = Instant::now();
        let mut source = Source::new(client.clone(), watches(namespace));
        let services = source.begin(Watch::all(&SERVICE).keeping(ServiceStatus::part));
        let controller = Controller {
            client: client.clone(),
            source,
            services,
            namespace: namespace.clone(),
            clock,
            keeper: Keeper::new(engine, class, namespace.clone(), clock),
            election: Election::new(me, Timing::default()),
            lease_not_written: None,
            complete: false,
            leading: Leading::No,
            beside: Beside::new(namespace.clone()),
            others: BTreeSet::new(),
            writes: JoinSet::new(),
            metrics,
            desk,
            issues: Issues::default(),
        };
        (controller, inquirer)
    }

    fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Asks for the own Pod, which what is written belongs to.
    fn find_owner(&mut self, pod: &str) {
        let read = Write { kind: &POD, namespace: self.namespace.clone(), act: Act::Read(pod.into()) };
        let client = self.client.clone();
        self.writes.spawn(async move { Ended::Pod(read.perform(&client).await) });
    }

    /// Does what is due; when to come back.
    fn step(&mut self) -> tokio::time::Instant {
        let now = self.now();
        let mut wake = Some(now + Duration::from_secs(60));
        if self.complete && self.others.is_empty() {
            match self.election.decide(now, Timestamp::now()) {
                Step::Wait(until) => wake = Some(until),
                Step::Create(spec) => {
                    let metadata = json!({ "namespace": &*self.namespace, "name": LEASE_NAME });
                    let object = json!({
                        "apiVersion": LEASE.api_version(), "kind": LEASE.kind, "metadata": metadata, "spec": spec,
                    });
                    self.write_lease(Act::Create(object.into()));
                }
                Step::Patch { resource_version, spec } => {
                    self.write_lease(lease_patch(&resource_version, &spec))
                }
            }
        }
        self.follow_election(now);
        if self.leading == Leading::Yes {
            let metrics = self.metrics.clone();
            self.keeper.tick(now, || metrics.pools());
            while let Some((target, wanted)) = self.keeper.due(now) {
                let client = self.client.clone();
                self.writes.spawn(async move {
                    let answer = wanted.write().perform(&client).await;
                    Ended::Object(target, Box::new(wanted), answer)
                });
            }
            wake = [wake, self.keeper.wake()].into_iter().flatten().min();
        }
        if self.leading != Leading::No {
            wake = [wake, self.election.leads_until()].into_iter().flatten().min();
        }
        let wake = wake.unwrap_or(now).max(now + Duration::from_millis(1));
        tokio::time::Instant::from_std(self.clock + wake)
    }

    fn write_lease(&mut self, act: Act) {
        let write = Write { kind: &LEASE, namespace: self.namespace.clone(), act };
        let client = self.client.clone();
        self.writes.spawn(async move { Ended::Lease(write.perform(&client).await) });
    }

    /// Leads, or stops leading, as the election says.
    fn follow_election(&mut self, now: Duration) {
        let may = self.others.is_empty() && self.election.leads(now);
        self.leading = match (may, self.leading) {
            (true, Leading::No) => {
                self.source.list_again(self.services);
                Leading::Lists
            }
            (true, Leading::Listed) => Leading::Yes,
            // A list that was under way ends, and counts for nothing.
            (false, Leading::Lists | Leading::Listed | Leading::Yes) => Leading::No,
            (true, Leading::Lists | Leading::Yes) | (false, Leading::No) => return,
        };
        let leads = self.leading == Leading::Yes;
        if leads {
            info!(event = "leading", "this controller gives addresses and writes");
        } else if !may && self.others.is_empty() {
            let holder = self.election.holder().unwrap_or_default();
            warn!(
                event = "notLeading",
                holder, "this controller only follows: its Lease wasn't renewed in time, or is another's"
            );
        }
        self.metrics.show_pools(leads);
        let outcome = self.keeper.lead(leads, now);
        self.tell(&outcome);
    }

    fn take(&mut self, batch: Batch) {
        let now = self.now();
        for problem in &batch.problems {
            error!(event = "objectError", error = %problem, "an object can't be read; what it held before stands");
            self.desk.tell_manifest(problem.to_string(), false);
        }
        for problem in &batch.cleared {
            info!(event = "objectErrorCleared", error = %problem, "this is mended");
            self.desk.tell_manifest(problem.to_string(), true);
        }
        self.metrics.changes(batch.changes.len(), batch.problems.len(), batch.cleared.len());
        for side in batch.sides.iter().filter(|side| *side.kind == LEASE) {
            let lease =
                side.seen.as_ref().map(|seen| Lease::read(&seen.resource_version, &seen.kept.value()));
            match side.seen.as_ref().and_then(|seen| seen.listed) {
                Some(asked) => {
                    self.election.listed(lease, asked.saturating_duration_since(self.clock), now);
                }
                None => self.election.observe(lease, now),
            }
        }
        for side in batch.sides.iter().filter(|side| *side.kind == REPLICA_SET) {
            let part = side.seen.as_ref().map(|seen| seen.kept.value());
            self.beside.saw(beside::Kind::ReplicaSet, &side.name.1, part.as_ref());
        }
        self.look_around();
        if batch.initial {
            self.complete = true;
            if !batch.sides.iter().any(|side| *side.kind == LEASE) {
                self.election.observe(None, now);
            }
        }
        if self.leading == Leading::Lists && batch.completed.contains(&self.services) {
            self.leading = Leading::Listed;
        }
        let outcome = self.keeper.take(batch, now);
        self.tell(&outcome);
    }

    /// Sees which other controllers run, and tells where that differs.
    fn look_around(&mut self) {
        let others = self.beside.others(None).controllers;
        if others == self.others {
            return;
        }
        let names = others.iter().cloned().collect::<Vec<_>>().join(", ");
        if others.is_empty() {
            info!(event = "standingBackOver", "no other controllers run any more");
        } else {
            warn!(
                event = "standingBack",
                others = names,
                "controllers that aren't FerroLB's run: this one gives no address and writes nothing until they are gone"
            );
        }
        self.metrics.standing_back(!others.is_empty(), false);
        self.desk.stands_back_for(others.clone(), false);
        self.others = others;
    }

    /// A write ended.
    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let now = self.now();
        match ended {
            Ok(Ended::Object(target, wanted, answer)) => {
                let (outcome, since) = self.keeper.done(target, *wanted, answer, now);
                since.into_iter().for_each(|since| self.metrics.allocated(since));
                self.tell(&outcome);
            }
            Ok(Ended::Lease(Answer::Written(object))) => {
                self.lease_not_written = None;
                self.election.wrote(Lease::of(&object), now);
            }
            // Another one was faster, or the API server's data is an older one. Until that is known nothing else is tried.
            Ok(Ended::Lease(Answer::Conflict)) => {
                let act = Act::Find(LEASE_NAME.into());
                let read = Write { kind: &LEASE, namespace: self.namespace.clone(), act };
                let client = self.client.clone();
                self.writes.spawn(async move { Ended::LeaseRead(now, read.perform(&client).await) });
            }
            Ok(Ended::LeaseRead(asked, answer @ (Answer::Written(_) | Answer::Gone))) => {
                self.election.failed();
                let lease =
                    if let Answer::Written(object) = &answer { Some(Lease::of(object)) } else { None };
                self.election.listed(lease, asked, now);
            }
            Ok(Ended::Lease(answer) | Ended::LeaseRead(_, answer)) => {
                let why = answer.to_string();
                if self.lease_not_written.as_ref() != Some(&why) {
                    warn!(
                        event = "leaseNotWritten",
                        answer = why,
                        "tried again every 2 s; 10 s after the last renewal this controller stops writing"
                    );
                    self.lease_not_written = Some(why);
                }
                self.election.failed();
            }
            Ok(Ended::Pod(Answer::Written(pod))) => {
                let (name, uid) = (pod.pointer("/metadata/name"), pod.pointer("/metadata/uid"));
                self.keeper.owned_by(json!({ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid }));
            }
            Ok(Ended::Pod(answer)) => {
                warn!(event = "ownPodUnknown", answer = %answer, "the own Pod can't be read: the ConfigurationState gets no owner, and stays when the Pod goes");
            }
            Err(e) => error!(event = "writePanicked", error = %e, "please report this"),
        }
    }

    fn tell(&mut self, outcome: &Outcome) {
        self.metrics.outcome(self.keeper.engine(), outcome);
        if outcome.reconfigured {
            self.issues.tell(self.keeper.engine().config(), &self.desk);
        }
        self.desk.tell_outcome(outcome, self.keeper.engine());
    }

    /// Finishes what is under way, and gives the Lease up.
    async fn farewell(mut self) {
        let finished = async {
            while let Some(ended) = self.writes.join_next().await {
                if let Ok(Ended::Lease(_) | Ended::LeaseRead(..)) = &ended {
                    self.ended(ended);
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL / 2, finished).await;
        let Some((version, spec)) = self.election.release(Timestamp::now()) else { return };
        let act = lease_patch(&version, &spec);
        let write = Write { kind: &LEASE, namespace: self.namespace.clone(), act };
        match tokio::time::timeout(FAREWELL, write.perform(&self.client)).await {
            Ok(Answer::Written(_)) => info!(event = "leaseReleased", "the next controller may lead at once"),
            answer => {
                warn!(event = "leaseNotReleased", answer = ?answer, "the next controller waits until the Lease runs out")
            }
        }
    }
}

fn lease_patch(resource_version: &str, spec: &Value) -> Act {
    let patch = json!({ "metadata": { "resourceVersion": resource_version }, "spec": spec });
    Act::Patch { name: LEASE_NAME.into(), patch: patch.into(), status: false }
}

#[cfg(test)]
mod tests;
