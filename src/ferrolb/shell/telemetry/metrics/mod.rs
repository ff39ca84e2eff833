//! The metrics: MetalLB's, under MetalLB's names, types and labels, and ours beside them.
//!
//! Every metric is in one of the tables below, with how its value is found; `docs/metrics.md` lists them in the same
//! order, and a test compares. Series exist only while a scrape is answered, made from what stands then: so there is no
//! series of a session, pool or service that is gone, and ten thousand services cost no memory in between. What the main
//! loop knows it writes down here as it changes; what the wire and layer2 threads know they are asked.

mod page;
mod pools;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ferrolb_api::ip_address_pool::IPAddressPoolStatus;
use ferrolb_core::bgp::fsm::State;
use ferrolb_core::config::PoolState;
use ferrolb_core::engine::{Engine, Outcome};
use ferrolb_core::report;
use ferrolb_core::types::{Family, NodeName, ServiceKey};
use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{Histogram, HistogramOpts};

use self::page::Page;
use self::pools::{Size, Usage, bounded};
use super::health::{WIRE_LIMIT, WireAnswer};
use crate::shell::bgp::SessionStatus;
use crate::shell::kube::{DELAYS, WatchStatus};
use crate::shell::layer2::AddressStatus;
use crate::shell::source::Batch;

/// A metric as it is declared.
pub(super) struct Declared {
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) labels: &'static [&'static str],
    help: &'static str,
}

/// Metrics of one kind of thing, each with how its value is found.
type Table<T> = &'static [(Declared, fn(&T) -> u64)];

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Declared {
    Declared { name, kind: MetricType::GAUGE, labels, help }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Declared {
    Declared { name, kind: MetricType::COUNTER, labels, help }
}

/// Of a session. MetalLB: the counters of its FRR exporter have these names, with and without `_total`.
const PEER: &[&str] = &["peer", "vrf"];
const SESSIONS: Table<SessionStatus> = &[
    (gauge("metallb_bgp_session_up", PEER, "1 while the session is Established, otherwise 0"), |s| {
        u64::from(s.state == State::Established)
    }),
    (
        gauge(
            "metallb_bgp_announced_prefixes_total",
            PEER,
            "Prefixes that the peer was sent and still has, of both families",
        ),
        |s| s.progress.sent as u64,
    ),
    (gauge("metallb_bgp_received_prefixes_total", PEER, "Prefixes taken from the peer: none, ever"), |_| 0),
    (
        gauge(
            "metallb_bgp_pending_prefixes_total",
            PEER,
            "Prefixes still to be announced to or withdrawn from the peer",
        ),
        |s| s.progress.pending as u64,
    ),
    (counter("metallb_bgp_opens_sent", PEER, "OPENs sent"), |s| s.totals.sent.opens),
    (counter("metallb_bgp_opens_received", PEER, "OPENs received"), |s| s.totals.received.opens),
    (counter("metallb_bgp_notifications_sent", PEER, "NOTIFICATIONs sent"), |s| s.totals.sent.notifications),
    (counter("metallb_bgp_updates_total", PEER, "UPDATEs sent, withdrawals and End-of-RIBs included"), |s| {
        s.totals.sent.updates
    }),
    (
        counter("metallb_bgp_updates_total_received", PEER, "UPDATEs received; their routes are dropped"),
        |s| s.totals.received.updates,
    ),
    (counter("metallb_bgp_keepalives_sent", PEER, "KEEPALIVEs sent"), |s| s.totals.sent.keepalives),
    (counter("metallb_bgp_keepalives_received", PEER, "KEEPALIVEs received"), |s| {
        s.totals.received.keepalives
    }),
    (
        counter(
            "metallb_bgp_route_refresh_sent",
            PEER,
            "ROUTE-REFRESHes sent: marks around what the peer asked for once more",
        ),
        |s| s.totals.sent.route_refreshes,
    ),
    (counter("metallb_bgp_total_sent", PEER, "Messages of all types sent"), |s| s.totals.sent.total()),
    (counter("metallb_bgp_total_received", PEER, "Messages of all types received"), |s| {
        s.totals.received.total()
    }),
    (
        counter("ferrolb_bgp_session_established_total", PEER, "How often the session became Established"),
        |s| s.totals.established,
    ),
    (counter("ferrolb_bgp_notifications_received_total", PEER, "NOTIFICATIONs received"), |s| {
        s.totals.received.notifications
    }),
    (
        gauge(
            "ferrolb_bgp_families_without_next_hop",
            PEER,
            "Agreed address families whose routes aren't sent for want of a next hop",
        ),
        |s| s.no_next_hop.iter().count() as u64,
    ),
];

/// Of a service's address.
const ANNOUNCED: Declared = gauge(
    "metallb_speaker_announced",
    &["service", "protocol", "node", "ip"],
    "1 while the node announces the address of the service",
);

/// Of an address that the node answers for.
const ADDRESS: &[&str] = &["ip"];
const ADDRESSES: Table<AddressStatus> = &[
    (
        counter(
            "metallb_layer2_requests_received",
            ADDRESS,
            "Questions for the address received: ARP requests, Neighbor Solicitations",
        ),
        |a| a.counters.requests,
    ),
    (counter("metallb_layer2_responses_sent", ADDRESS, "Answers to such questions sent"), |a| {
        a.counters.responses
    }),
    (
        counter(
            "metallb_layer2_gratuitous_sent",
            ADDRESS,
            "Frames sent unasked that announce the address: gratuitous ARP, unsolicited Neighbor Advertisements",
        ),
        |a| a.counters.gratuitous,
    ),
    (gauge("ferrolb_layer2_interfaces", ADDRESS, "Interfaces that answer for the address"), |a| {
        a.interfaces.len() as u64
    }),
];

/// Of a pool. MetalLB: gauges, for all their `_total`.
const POOL: &[&str] = &["pool"];
const POOLS: Table<Usage> = &[
    (gauge("metallb_allocator_addresses_total", POOL, "Addresses that the pool may give"), |u| {
        bounded(u.size.v4.saturating_add(u.size.v6))
    }),
    (gauge("metallb_allocator_ipv4_addresses_total", POOL, "IPv4 addresses that the pool may give"), |u| {
        bounded(u.size.v4)
    }),
    (gauge("metallb_allocator_ipv6_addresses_total", POOL, "IPv6 addresses that the pool may give"), |u| {
        bounded(u.size.v6)
    }),
    (gauge("metallb_allocator_addresses_in_use_total", POOL, "Distinct addresses of the pool in use"), |u| {
        u.used.len() as u64
    }),
    (
        gauge(
            "metallb_allocator_ipv4_addresses_in_use_total",
            POOL,
            "Distinct IPv4 addresses of the pool in use",
        ),
        |u| u.used.iter().filter(|ip| ip.is_ipv4()).count() as u64,
    ),
    (
        gauge(
            "metallb_allocator_ipv6_addresses_in_use_total",
            POOL,
            "Distinct IPv6 addresses of the pool in use",
        ),
        |u| u.used.iter().filter(|ip| ip.is_ipv6()).count() as u64,
    ),
];

/// Of the process.
const PROCESS: Table<Board> = &[
    (counter("metallb_k8s_client_updates_total", &[], "Changes of objects that were taken in"), |b| {
        b.updates
    }),
    (
        counter(
            "metallb_k8s_client_update_errors_total",
            &[],
            "Changes that couldn't be taken in: manifests that can't be read, and configurations with errors",
        ),
        |b| b.update_errors,
    ),
    (gauge("metallb_k8s_client_config_loaded_bool", &[], "1 once a configuration was taken in"), |b| {
        u64::from(b.loaded)
    }),
    (
        gauge(
            "metallb_k8s_client_config_stale_bool",
            &[],
            "1 while anything is rejected of the configuration that concerns this process, or can't be read, so that what counts may be older than what is written there",
        ),
        |b| u64::from(b.own_errors + b.manifest_problems > 0),
    ),
    (gauge("ferrolb_config_errors", &[], "Errors of the configuration that stand"), |b| b.config_errors),
    (gauge("ferrolb_config_warnings", &[], "Warnings of the configuration that stand"), |b| {
        b.config_warnings
    }),
    (gauge("ferrolb_manifest_problems", &[], "Files and documents that can't be read"), |b| {
        b.manifest_problems
    }),
];

const BUILD: Declared = gauge("ferrolb_build_info", &["version"], "1, for the version that runs");
const START: Declared =
    gauge("process_start_time_seconds", &[], "When the process started, in seconds since 1970");
const WIRE_UP: Declared = gauge(
    "ferrolb_wire_up",
    &[],
    "1 where the wire thread, which owns the sessions, answered this scrape in time",
);
const WIRE_ANSWER: Declared = gauge(
    "ferrolb_wire_answer_seconds",
    &[],
    "How long the wire thread took to answer this scrape, 2 at most",
);
const CONVERGENCE: Declared = Declared {
    name: "ferrolb_convergence_seconds",
    kind: MetricType::HISTOGRAM,
    labels: &[],
    help: "From a change being noticed until the first session's socket had taken all UPDATEs that followed from it",
};
const ALLOCATION: Declared = Declared {
    name: "ferrolb_allocation_seconds",
    kind: MetricType::HISTOGRAM,
    labels: &[],
    help: "In a controller: from a change being seen until the addresses that follow from it were written to the Service's status",
};
/// Of a kind of object that is watched.
const RESOURCE: &[&str] = &["resource"];
const WATCH_BEHIND: Declared = gauge(
    "ferrolb_watch_behind_seconds",
    RESOURCE,
    "For how long it hasn't been possible to follow what the API server has of this kind, 0 while it is",
);
const WATCH_DELAY: Declared = Declared {
    name: "ferrolb_watch_delay_seconds",
    kind: MetricType::HISTOGRAM,
    labels: RESOURCE,
    help: "How long after an object's change the API server told of it, by the whole seconds in its metadata and by both clocks",
};
/// In seconds: the goal is 2 ms, and 20 ms at the worst.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// All that is declared, in the order in which it is served.
#[cfg(test)]
pub(super) fn declared() -> impl Iterator<Item = &'static Declared> {
    let sessions = SESSIONS.iter().map(|(declared, _)| declared);
    let pools = POOLS.iter().map(|(declared, _)| declared);
    let process = PROCESS.iter().map(|(declared, _)| declared);
    let rest =
        [&BUILD, &START, &WIRE_UP, &WIRE_ANSWER, &CONVERGENCE, &ALLOCATION, &WATCH_BEHIND, &WATCH_DELAY];
    let addresses = ADDRESSES.iter().map(|(declared, _)| declared);
    sessions.chain([&ANNOUNCED]).chain(addresses).chain(pools).chain(process).chain(rest)
}

/// Collects what the metrics are made of.
pub struct Metrics {
    node: String,
    /// Whether this is a speaker, which gives no addresses, and whose share of the configuration is its node's.
    speaker: bool,
    started: f64,
    convergence: Histogram,
    allocation: Histogram,
    board: Mutex<Board>,
}

/// What the main loop has written down.
#[derive(Clone, Default)]
struct Board {
    updates: u64,
    update_errors: u64,
    loaded: bool,
    config_errors: u64,
    /// Those that concern this process.
    own_errors: u64,
    config_warnings: u64,
    manifest_problems: u64,
    /// Whether this process gives no addresses of the pools.
    hides_pools: bool,
    pools: Arc<BTreeMap<Arc<str>, Size>>,
    /// Shared with a scrape while that is answered, so that neither waits for the other.
    services: Arc<BTreeMap<ServiceKey, Shown>>,
}

/// A service that has addresses.
#[derive(Clone)]
struct Shown {
    ips: Box<[IpAddr]>,
    pool: Option<Arc<str>>,
    announced: bool,
    /// Those that the node answers for on layer 2.
    answered: Box<[IpAddr]>,
}

impl Metrics {
    /// Of a process on this node that began at `started`.
    ///
    /// # Errors
    /// A metric is declared wrongly.
    pub fn new(node: &str, started: SystemTime) -> Result<Metrics, prometheus::Error> {
        let histogram = |declared: &Declared| {
            let options = HistogramOpts::new(declared.name, declared.help).buckets(BUCKETS.to_vec());
            Histogram::with_opts(options)
        };
        Ok(Metrics {
            node: node.to_owned(),
            speaker: false,
            started: started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            convergence: histogram(&CONVERGENCE)?,
            allocation: histogram(&ALLOCATION)?,
            board: Mutex::default(),
        })
    }

    /// Of a speaker of a cluster: errors are those that its ConfigurationState tells of, and there are no pools, which
    /// would be in every speaker's scrape as they are in the controller's.
    pub fn for_speaker(self) -> Metrics {
        self.show_pools(false);
        Metrics { speaker: true, ..self }
    }

    /// Whether the pools are shown: by the one process that gives their addresses.
    pub fn show_pools(&self, shown: bool) {
        self.board().hides_pools = !shown;
    }

    /// A batch is about to be applied.
    pub fn batch(&self, batch: &Batch) {
        self.changes(batch.changes.len(), batch.problems.len(), batch.cleared.len());
    }

    /// As many changes are about to be applied, and as many objects can't be read any more, or can be again.
    pub fn changes(&self, updates: usize, problems: usize, cleared: usize) {
        let (problems, cleared) = (problems as u64, cleared as u64);
        let mut board = self.board();
        board.updates += updates as u64;
        board.update_errors += problems;
        board.manifest_problems = (board.manifest_problems + problems).saturating_sub(cleared);
    }

    /// A batch was applied, with this outcome.
    pub fn outcome(&self, engine: &Engine, outcome: &Outcome) {
        let mut board = self.board();
        board.loaded = true;
        board.own_errors =
            if self.speaker { own_errors(engine, &self.node) } else { engine.config().errors.len() } as u64;
        if outcome.reconfigured {
            board.configure(engine);
            // All of them: where the node itself has gone, no service tells of it.
            let services = engine.allocator().iter();
            let shown = services.filter_map(|(key, _)| Some((key.clone(), Shown::of(engine, key)?)));
            board.services = Arc::new(shown.collect());
            return;
        }
        let announcements = outcome.announcements.iter().map(|(key, _)| key);
        // An address changes its owner without its service's reason changing, where the service has another one.
        let sharers = outcome.addresses.iter().flat_map(|change| engine.allocator().users_of(change.address));
        for key in outcome.allocations.iter().chain(announcements).chain(sharers) {
            let services = Arc::make_mut(&mut board.services);
            match Shown::of(engine, key) {
                Some(shown) => services.insert(key.clone(), shown),
                None => services.remove(key),
            };
        }
    }

    /// What followed from a change was written `after` it was noticed.
    pub fn converged(&self, after: Duration) {
        self.convergence.observe(after.as_secs_f64());
    }

    /// How full each usable pool is. MetalLB: counts stop at the greatest signed number.
    pub fn pools(&self) -> BTreeMap<Arc<str>, IPAddressPoolStatus> {
        let count = |usage: &Usage, family: Family| {
            let (used, size) = match family {
                Family::V4 => (usage.used.iter().filter(|ip| ip.is_ipv4()).count(), usage.size.v4),
                Family::V6 => (usage.used.iter().filter(|ip| ip.is_ipv6()).count(), usage.size.v6),
            };
            let used = i64::try_from(used).unwrap_or(i64::MAX);
            let size = i64::try_from(bounded(size)).unwrap_or(i64::MAX);
            (used, size.saturating_sub(used).max(0))
        };
        let usage = self.board().clone().usage();
        let status = |(name, usage): (Arc<str>, Usage)| {
            let (assigned_ipv4, available_ipv4) = count(&usage, Family::V4);
            let (assigned_ipv6, available_ipv6) = count(&usage, Family::V6);
            (name, IPAddressPoolStatus { assigned_ipv4, assigned_ipv6, available_ipv4, available_ipv6 })
        };
        usage.into_iter().map(status).collect()
    }

    /// The addresses that follow from a change seen at `since` are written.
    pub fn allocated(&self, since: Instant) {
        self.allocation.observe(since.elapsed().as_secs_f64());
    }

    /// All metrics in Prometheus' text format. `wire` is what the wire thread said; `None`: it hasn't started. `layer2` is
    /// what the layer2 thread said; nothing, where it says nothing.
    pub fn exposition(
        &self,
        wire: Option<&WireAnswer>,
        layer2: &[AddressStatus],
        watches: &[WatchStatus],
    ) -> String {
        let board = self.board().clone();
        let mut page = Page::default();
        if let Some(WireAnswer::Sessions { sessions, .. }) = wire {
            // By address, as the label is: a session that is about to end has a successor with the same one.
            let sessions: BTreeMap<SocketAddr, &SessionStatus> =
                sessions.iter().map(|session| (session.remote, session)).collect();
            for (declared, value) in SESSIONS {
                let series = sessions.iter().map(|(remote, session)| {
                    (vec![remote.to_string(), "default".to_owned()], value(session) as f64)
                });
                page.put(declared, series);
            }
        }
        let announced = board.services.iter().flat_map(|(key, shown)| {
            let bgp = shown.ips.iter().filter(|_| shown.announced).map(|ip| ("bgp", ip));
            let labels = |(protocol, ip): (&str, &IpAddr)| {
                vec![key.to_string(), protocol.to_owned(), self.node.clone(), ip.to_string()]
            };
            bgp.chain(shown.answered.iter().map(|ip| ("layer2", ip))).map(move |which| (labels(which), 1.0))
        });
        page.put(&ANNOUNCED, announced);
        for (declared, value) in ADDRESSES {
            let series = layer2.iter().map(|a| (vec![a.address.to_string()], value(a) as f64));
            page.put(declared, series);
        }
        let pools = if board.hides_pools { BTreeMap::new() } else { board.usage() };
        for (declared, value) in POOLS {
            page.put(
                declared,
                pools.iter().map(|(pool, usage)| (vec![pool.to_string()], value(usage) as f64)),
            );
        }
        for (declared, value) in PROCESS {
            page.put(declared, [(vec![], value(&board) as f64)]);
        }
        page.put(&BUILD, [(vec![env!("CARGO_PKG_VERSION").to_owned()], 1.0)]);
        page.put(&START, [(vec![], self.started)]);
        if let Some(answer) = wire {
            let (up, after) = match answer {
                WireAnswer::Sessions { after, .. } => (1.0, *after),
                WireAnswer::Silent | WireAnswer::Ended => (0.0, WIRE_LIMIT),
            };
            page.put(&WIRE_UP, [(vec![], up)]);
            page.put(&WIRE_ANSWER, [(vec![], after.as_secs_f64())]);
        }
        page.encode(&self.convergence.collect());
        page.encode(&self.allocation.collect());
        let series = |w: &WatchStatus| vec![w.resource.clone()];
        page.put(&WATCH_BEHIND, watches.iter().map(|w| (series(w), w.behind.as_secs_f64())));
        let told = watches.iter().filter(|w| w.delays.count > 0);
        page.put_histograms(&WATCH_DELAY, &DELAYS, told.map(|w| (series(w), &w.delays)));
        page.0
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many errors the speaker of this node tells of.
fn own_errors(engine: &Engine, node: &str) -> usize {
    let errors = &engine.config().errors;
    if errors.is_empty() {
        return 0;
    }
    let node = engine.nodes().iter().find(|n| n.name == NodeName::new(node));
    report::speaker_errors(errors, engine.world(), node.map(|n| &n.labels)).count()
}

impl Board {
    fn configure(&mut self, engine: &Engine) {
        let config = engine.config();
        self.config_errors = config.errors.len() as u64;
        self.config_warnings = config.warnings.len() as u64;
        self.update_errors += u64::from(!config.errors.is_empty());
        let usable = config.pools.iter().filter(|pool| pool.state != PoolState::Invalid);
        self.pools = Arc::new(usable.map(|pool| (pool.name.clone(), Size::of(pool))).collect());
    }

    fn usage(&self) -> BTreeMap<Arc<str>, Usage> {
        let usage =
            |(name, size): (&Arc<str>, &Size)| (name.clone(), Usage { size: *size, used: BTreeSet::new() });
        let mut pools: BTreeMap<Arc<str>, Usage> = self.pools.iter().map(usage).collect();
        for shown in self.services.values() {
            if let Some(usage) = shown.pool.as_ref().and_then(|pool| pools.get_mut(pool)) {
                usage.used.extend(&shown.ips);
            }
        }
        pools
    }
}

impl Shown {
    /// `None`: the service has no address.
    fn of(engine: &Engine, key: &ServiceKey) -> Option<Shown> {
        let allocation = engine.allocator().get(key).filter(|allocation| !allocation.ips.is_empty())?;
        Some(Shown {
            ips: allocation.ips.as_slice().into(),
            pool: allocation.pool.clone(),
            announced: engine.routes().reason(key) == Some(None),
            answered: allocation
                .ips
                .iter()
                .copied()
                .filter(|ip| engine.addresses().services(*ip).any(|service| service == key))
                .collect(),
        })
    }
}
