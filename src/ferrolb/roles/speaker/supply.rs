//! What a speaker watches: as little as its decisions need.
//!
//! The own Node always, in full. The others only where something depends on them: as labels while a peer or an advertisement
//! has node selectors, so that every node comes to the same verdict on a configuration; in full while there is layer 2,
//! whose election is between nodes, and where this speaker tells of Services for all: see `nodes`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::beside::{self, Beside};
use ferrolb_core::engine::{Engine, SourceChange};
use ferrolb_core::report::{self, Object};
use ferrolb_core::types::{NodeName, ServiceKey};
use ferrolb_core::world::{Object as WorldObject, ObjectId};
use serde_json::{Value, json};

use super::leases::{self, Leases};
use super::nodes::{OtherNodes, Others};
use super::teller::{self, Teller};
use crate::roles::reports::Reports;
use crate::shell::kube::kinds::{self, Kind, Watch};
use crate::shell::kube::{Batch, ObjectProblem, Seen, Side, Source, WatchId, Watches};

/// How long the other Nodes are watched after they were needed.
const LINGER: Duration = Duration::from_secs(60);

/// See the module.
pub struct Supply {
    source: Source,
    node: NodeName,
    namespace: Arc<str>,
    session_namespace: Arc<str>,
    others: OtherNodes,
    others_watch: Option<WatchId>,
    /// Whether the other Nodes aren't watched any more, and that wasn't given yet.
    forgotten: bool,
    /// Whether the first of all was given.
    begun: bool,
    /// The watches of status objects of which not all have come yet.
    unlisted: BTreeMap<WatchId, report::Kind>,
    /// The watch of the teller's Lease.
    teller: Option<WatchId>,
    /// The watch of the leases of all speakers.
    leases: Option<WatchId>,
}

/// What came together.
#[derive(Default)]
pub struct Supplied {
    /// Changes of the world.
    pub changes: Vec<SourceChange>,
    /// What else is known of objects.
    pub sides: Sides,
    /// The problems that weren't there before.
    pub problems: Vec<ObjectProblem>,
    /// The problems that are there no more.
    pub cleared: Vec<ObjectProblem>,
    /// When the first of it arrived.
    pub noticed: Option<Instant>,
    /// Whether objects of the configuration came, to be decided now or not.
    pub configures: bool,
    /// Whether all other Nodes are among the changes: what isn't among them is gone, or isn't to be known any more.
    other_nodes: bool,
}

/// What is known of objects beside their summaries.
#[derive(Default)]
pub struct Sides {
    sides: Vec<Side>,
    /// Kinds of status objects that are completely known with this.
    listed: Vec<report::Kind>,
    /// Whether it is known with this whether the teller's Lease is there.
    teller_listed: bool,
    /// Whether the leases of all speakers are known with this.
    leases_listed: bool,
}

impl Supply {
    /// Begins to watch what is always needed. `session_namespace` is where BGPSessionState objects are.
    pub fn new(
        client: ::kube::Client,
        node: &NodeName,
        namespace: &Arc<str>,
        session_namespace: &Arc<str>,
    ) -> Supply {
        let nothing: fn(&Value) -> Value = |_| Value::Null;
        let mut slices = Watch::all(&kinds::ENDPOINT_SLICE);
        slices.labels = "kubernetes.io/service-name".to_owned();
        let configuration = [
            &kinds::BFD_PROFILE,
            &kinds::BGP_ADVERTISEMENT,
            &kinds::BGP_PEER,
            &kinds::COMMUNITY,
            &kinds::IP_ADDRESS_POOL,
            &kinds::L2_ADVERTISEMENT,
            &kinds::SECRET,
        ];
        let watches = [
            Watch::all(&kinds::SERVICE).keeping(nothing),
            slices,
            Watch::all(&kinds::NODE).keeping(nothing).fields(&format!("metadata.name={node}")),
        ];
        let watches = watches.into_iter().chain(configuration.map(|kind| Watch::within(kind, namespace)));
        let makers = [&kinds::DAEMON_SET, &kinds::CONTROLLER_REVISION];
        let watches = watches.chain(makers.map(|kind| Watch::within(kind, namespace).aside(beside::part)));
        Supply {
            source: Source::new(client, watches),
            node: node.clone(),
            namespace: namespace.clone(),
            session_namespace: session_namespace.clone(),
            others: OtherNodes::new(LINGER),
            others_watch: None,
            forgotten: false,
            begun: false,
            unlisted: BTreeMap::new(),
            teller: None,
            leases: None,
        }
    }

    /// How the watches are doing.
    pub fn watches(&self) -> Watches {
        self.source.watches()
    }

    /// Whether everything was given that decisions need at present.
    pub fn is_complete(&self) -> bool {
        self.begun && self.others.is_complete()
    }

    /// What is decided is announced from now on: what needs more of the other Nodes than is known is withheld until that is.
    pub fn announces(&mut self) {
        self.others.announces();
    }

    /// What has changed; first, all there is, but for the other Nodes, which follow. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Supplied {
        loop {
            if std::mem::take(&mut self.forgotten) {
                return Supplied { other_nodes: true, ..Supplied::default() };
            }
            tokio::select! {
                batch = self.source.next() => return self.take(batch),
                () = super::until(self.others.next_timeout()) => self.adjust(),
            }
        }
    }

    /// What a watch lists comes together with the word that it is all: known objects that aren't in it are gone, and must not
    /// be taken for that a moment too early or too late.
    fn take(&mut self, batch: Batch) -> Supplied {
        self.begun = true;
        let mut supplied = Supplied::default();
        for id in &batch.completed {
            supplied.other_nodes |= self.others_watch == Some(*id);
            supplied.sides.listed.extend(self.unlisted.remove(id));
            supplied.sides.teller_listed |= self.teller == Some(*id);
            supplied.sides.leases_listed |= self.leases == Some(*id);
        }
        let Batch { changes, sides, problems, cleared, noticed, .. } = batch;
        supplied.configures = changes.iter().any(is_configuration);
        supplied.changes = self.others.sift(changes, supplied.other_nodes);
        supplied.sides.sides = sides;
        (supplied.problems, supplied.cleared, supplied.noticed) = (problems, cleared, Some(noticed));
        supplied
    }

    /// Watches what this configuration needs, and what waits for other Nodes.
    pub fn follow(&mut self, engine: &Engine) {
        self.others.follow(engine);
        self.adjust();
    }

    /// Watches all Nodes in full as long as this speaker tells of Services; whether it does, and they are known.
    pub fn tells(&mut self, telling: bool) -> bool {
        self.others.tells(telling);
        self.adjust();
        telling && self.others.known() == Others::Full
    }

    fn adjust(&mut self) {
        let Some(others) = self.others.step(Instant::now()) else { return };
        if let Some(before) = self.others_watch.take() {
            // The next one has the same objects, and where there is none they are given as gone.
            self.source.forget(before);
        }
        self.forgotten = others == Others::None;
        if others != Others::None {
            let mut watch = Watch::all(&kinds::NODE).fields(&format!("metadata.name!={}", self.node));
            watch.metadata_only = others == Others::Labels;
            self.others_watch = Some(self.source.begin(watch));
        }
    }

    /// Watches the leases of all speakers.
    pub fn begin_leases(&mut self) {
        let mut watch = Watch::within(&kinds::LEASE, &self.namespace)
            .aside(|object| object.get("spec").cloned().unwrap_or_default());
        let (label, value) = leases::LABEL;
        watch.labels = format!("{label}={value}");
        self.leases = Some(self.source.begin(watch));
    }

    /// Watches the status objects that a speaker writes, and who tells of Services.
    pub fn begin_reports(&mut self) {
        let watch = Watch::within(&kinds::LEASE, &self.namespace)
            .fields(&format!("metadata.name={}", teller::NAME))
            .aside(|object| object.get("spec").cloned().unwrap_or_default());
        self.teller = Some(self.source.begin(watch));
        for kind in report::Kind::ALL {
            let namespace = match kind {
                report::Kind::BgpSessionState => &self.session_namespace,
                _ => &self.namespace,
            };
            let mut watch = Watch::within(kube_kind(kind), namespace).aside(|object| {
                let part = |name: &str| object.get(name).cloned().unwrap_or_default();
                json!({"metadata": part("metadata"), "status": part("status")})
            });
            // On layer 2 the owner of a service deletes the claims of others.
            if kind != report::Kind::ServiceL2Status {
                watch.labels = format!("{}={}", kind.node_label(), self.node);
            }
            let id = self.source.begin(watch);
            self.unlisted.insert(id, kind);
        }
    }
}

/// Who takes what is known beside the world.
pub struct Takers<'a> {
    /// Status objects, and the UIDs of Services.
    pub reports: &'a mut Reports,
    /// The leases of speakers.
    pub leases: &'a mut Leases,
    /// The Lease of who tells of Services.
    pub teller: &'a mut Teller,
    /// DaemonSets.
    pub beside: &'a mut Beside,
}

fn is_configuration(change: &SourceChange) -> bool {
    matches!(change, SourceChange::Apply(WorldObject::Config(_)) | SourceChange::Delete(ObjectId::Config(_)))
}

fn is_tellers(side: &Side) -> bool {
    *side.kind == kinds::LEASE && *side.name.1 == *teller::NAME
}

/// The kind of a status object, as it is watched and written.
pub fn kube_kind(kind: report::Kind) -> &'static Kind {
    match kind {
        report::Kind::BgpSessionState => &kinds::BGP_SESSION_STATE,
        report::Kind::ConfigurationState => &kinds::CONFIGURATION_STATE,
        report::Kind::ServiceBgpStatus => &kinds::SERVICE_BGP_STATUS,
        report::Kind::ServiceL2Status => &kinds::SERVICE_L2_STATUS,
    }
}

impl Supplied {
    /// How many objects it is of, at least.
    pub fn len(&self) -> usize {
        self.changes.len().max(self.sides.sides.len())
    }

    /// Where all other Nodes have come, those that are known and haven't are gone.
    pub fn remove_old_nodes(&mut self, engine: &Engine, own: &NodeName) {
        if !self.other_nodes {
            return;
        }
        let there: BTreeSet<NodeName> = self
            .changes
            .iter()
            .filter_map(|change| match change {
                SourceChange::Apply(WorldObject::Node(node)) => Some(node.name.clone()),
                _ => None,
            })
            .collect();
        let known = engine.world().nodes().map(|node| &node.name);
        let gone = known.filter(|name| *name != own && !there.contains(*name)).cloned();
        self.changes.extend(gone.map(|name| SourceChange::Delete(ObjectId::Node(name))).collect::<Vec<_>>());
    }
}

impl Sides {
    /// Hands all of it over, once the engine knows the objects.
    pub fn give(self, node: &NodeName, engine: &Engine, to: &mut Takers<'_>) {
        let Takers { reports, leases, teller, beside } = to;
        let part = |seen: &Option<Seen>| seen.as_ref().map(|seen| seen.kept.value());
        if self.teller_listed && !self.sides.iter().any(is_tellers) {
            teller.saw(None);
        }
        // The last word on each status object; `None`: it is gone.
        let mut objects: BTreeMap<(report::Kind, Arc<str>), Option<Object>> = BTreeMap::new();
        let mut relisted: BTreeSet<(report::Kind, Arc<str>)> = BTreeSet::new();
        for Side { kind, name: (namespace, name), seen } in self.sides {
            if *kind == kinds::SERVICE {
                let key = ServiceKey::of(namespace, name);
                // The one that all others hold.
                let key = engine.world().service(&key).map_or(key, |service| service.key.clone());
                reports.service(key, seen.map(|seen| seen.uid));
            } else if *kind == kinds::NODE {
                if let Some(seen) = seen.filter(|_| *name == *node.as_str()) {
                    leases.owned_by(seen.uid.clone());
                    reports.ledger().owned_by(seen.uid);
                }
            } else if *kind == kinds::LEASE && *name == *teller::NAME {
                teller.saw(seen.as_ref());
            } else if *kind == kinds::LEASE {
                leases.saw(Instant::now(), &name, part(&seen).as_ref());
            } else if *kind == kinds::DAEMON_SET {
                beside.saw(beside::Kind::DaemonSet, &name, part(&seen).as_ref());
            } else if *kind == kinds::CONTROLLER_REVISION {
                beside.saw(beside::Kind::ControllerRevision, &name, part(&seen).as_ref());
            } else if let Some(of) = report::Kind::ALL.into_iter().find(|of| kube_kind(*of) == kind) {
                let mut object = part(&seen).and_then(|part| Object::read(of, &part));
                if let Some(object) = &mut object {
                    // In memory once: the watch keeps it too.
                    object.name = name.clone();
                }
                if seen.is_some_and(|seen| seen.listed.is_some()) {
                    relisted.insert((of, name.clone()));
                }
                objects.insert((of, name), object);
            }
        }
        if self.leases_listed {
            leases.listed();
        }
        for kind in self.listed {
            let of_kind = objects.extract_if(.., |(of, _), _| *of == kind);
            reports.listed(kind, of_kind.filter_map(|(_, object)| object).collect());
        }
        for (key, object) in objects {
            let is_listed = relisted.contains(&key);
            let (kind, name) = key;
            match object {
                Some(object) if is_listed => reports.ledger().saw_listed(kind, object),
                Some(object) => reports.ledger().saw(kind, object),
                None => reports.ledger().gone(kind, &name),
            }
        }
    }
}

#[cfg(test)]
mod tests;
