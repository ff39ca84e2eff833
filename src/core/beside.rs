//! Standing back: whether a controller or a speaker that isn't FerroLB's runs beside this one.
//!
//! Two controllers would give one address to two services, and two speakers on one node, or two owners on layer 2, would
//! announce one address twice. So a FerroLB that finds itself in a cluster where MetalLB still runs does nothing, and begins at
//! once when MetalLB is gone.
//!
//! No Pods are read for that. Who runs is told by what makes the pods, in the namespace of the configuration:
//! - A ReplicaSet counts its own pods, and has one template for all: exact, in the middle of a rollout too.
//! - A DaemonSet counts the nodes that it runs on, and how many of them have the newest template already; older templates
//!   are its ControllerRevisions. So MetalLB's DaemonSet that was replaced by FerroLB's of the same name still counts as
//!   MetalLB's *somewhere* until the last node is updated, and not on a node that runs FerroLB's pod already.
//!
//! Whose a template is: FerroLB is one program for all roles, so its container is told which, `controller` or `speaker`, before
//! any flag. MetalLB's programs have nothing but flags. The image's name, which a private registry may change, needn't say it.
//!
//! What this doesn't see: MetalLB in another namespace (`ferrolb check --cluster` does), and node affinity of a foreign
//! DaemonSet, which counts as running on each node that its node selector matches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::types::Labels;

/// The kinds that are looked at, all of `apps/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What makes the pods of a Deployment.
    ReplicaSet,
    /// What makes the speakers.
    DaemonSet,
    /// A template that a DaemonSet has or had.
    ControllerRevision,
}

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Gives addresses.
    Controller,
    /// Announces them.
    Speaker,
}

impl Component {
    const fn container(self) -> &'static str {
        match self {
            Component::Controller => "controller",
            Component::Speaker => "speaker",
        }
    }
}

/// What a pod template runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What it does.
    pub component: Component,
    /// Whether it is FerroLB's.
    pub ours: bool,
    /// The image.
    pub image: String,
}

/// What a pod template runs, `None`: nothing of this kind. MetalLB's is known by its labels or its image's name.
pub fn program(template: &Value) -> Option<Program> {
    let containers = template.pointer("/spec/containers").and_then(Value::as_array)?;
    [Component::Controller, Component::Speaker].into_iter().find_map(|component| {
        let name = component.container();
        let container = containers.iter().find(|c| c.get("name").and_then(Value::as_str) == Some(name))?;
        let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
        let words = ["command", "args"]
            .into_iter()
            .filter_map(|key| container.get(key).and_then(Value::as_array))
            .flatten()
            .filter_map(Value::as_str);
        let ours = words.take_while(|word| !word.starts_with('-')).any(|word| word == name);
        let labels = template.pointer("/metadata/labels");
        let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        // MetalLB's frr-k8s has a container of the same name.
        let is_metallb = (image.contains("metallb") && !image.contains("frr-k8s"))
            || label("app") == Some("metallb")
            || label("app.kubernetes.io/name") == Some("metallb");
        (ours || is_metallb).then(|| Program { component, ours, image: image.to_owned() })
    })
}

/// The part of an object that matters here, for a watch that keeps no more.
pub fn part(object: &Value) -> Value {
    let at = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    let container = |container: &Value| {
        let of = |key: &str| container.get(key).cloned().unwrap_or_default();
        json!({"name": of("name"), "image": of("image"), "command": of("command"), "args": of("args")})
    };
    let template = |pointer: &str| {
        let template = object.pointer(pointer)?;
        let containers = template.pointer("/spec/containers").and_then(Value::as_array)?;
        let containers: Vec<Value> = containers.iter().map(container).collect();
        let of = |pointer: &str| template.pointer(pointer).cloned().unwrap_or_default();
        let spec = json!({"containers": containers, "nodeSelector": of("/spec/nodeSelector")});
        Some(json!({"metadata": {"labels": of("/metadata/labels")}, "spec": spec}))
    };
    let template = template("/spec/template").or_else(|| template("/data/spec/template"));
    let metadata = json!({
        "uid": at("/metadata/uid"),
        "generation": at("/metadata/generation"),
        "ownerReferences": at("/metadata/ownerReferences"),
    });
    json!({"metadata": metadata, "template": template, "revision": at("/revision"), "status": at("/status")})
}

/// What runs beside this process.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    namespace: Arc<str>,
    replica_sets: BTreeMap<Arc<str>, ReplicaSet>,
    daemon_sets: BTreeMap<Arc<str>, DaemonSet>,
    revisions: BTreeMap<Arc<str>, Revision>,
}

#[derive(Clone, Debug)]
struct ReplicaSet {
    program: Program,
    deployment: String,
    pods: u64,
}

#[derive(Clone, Debug)]
struct DaemonSet {
    uid: String,
    program: Program,
    selector: BTreeMap<String, String>,
    /// Whether the status is about this template.
    observed: bool,
    /// Nodes that are to run it, that run it, that run it and aren't to, and that run this template of it.
    desired: u64,
    current: u64,
    stray: u64,
    updated: u64,
}

#[derive(Clone, Debug)]
struct Revision {
    owner: String,
    number: u64,
    ours: bool,
}

/// What is to be left to others. The texts name each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Controllers: while there are any, no address is given.
    pub controllers: BTreeSet<String>,
    /// Speakers that may run on this node: while there are any, nothing is announced from it.
    pub here: BTreeSet<String>,
    /// Speakers that may run on any node: while there are any, nothing is answered for on layer 2, whose owner is one for all
    /// nodes.
    pub anywhere: BTreeSet<String>,
}

impl Beside {
    /// Nothing is known yet of this namespace.
    pub fn new(namespace: Arc<str>) -> Beside {
        Beside { namespace, ..Beside::default() }
    }

    /// An object is there, as [`part`] has left it, or is gone.
    pub fn saw(&mut self, kind: Kind, name: &Arc<str>, part: Option<&Value>) {
        match kind {
            Kind::ReplicaSet => keep(&mut self.replica_sets, name, part.and_then(ReplicaSet::read)),
            Kind::DaemonSet => keep(&mut self.daemon_sets, name, part.and_then(DaemonSet::read)),
            Kind::ControllerRevision => keep(&mut self.revisions, name, part.and_then(Revision::read)),
        }
    }

    /// Who runs beside this process, on a node with these labels (`None`: they aren't known).
    pub fn others(&self, node: Option<&Labels>) -> Others {
        let mut others = Others::default();
        let controllers =
            self.replica_sets.values().filter(|set| set.program.component == Component::Controller);
        for set in controllers.filter(|set| !set.program.ours && set.pods > 0) {
            let text = format!("Deployment {}/{} ({})", self.namespace, set.deployment, set.program.image);
            others.controllers.insert(text);
        }
        let speakers = self.daemon_sets.iter().filter(|(_, set)| set.program.component == Component::Speaker);
        for (name, set) in speakers {
            let running = self.running(set, node);
            let text = || format!("DaemonSet {}/{name} ({})", self.namespace, set.program.image);
            let text = match running {
                Running::Nowhere => continue,
                Running::Replaced => format!(
                    "DaemonSet {}/{name}, whose pods of before are still on {} of {} nodes",
                    self.namespace,
                    set.current.saturating_sub(set.updated),
                    set.current
                ),
                Running::Elsewhere | Running::Here => text(),
            };
            if running == Running::Here {
                others.here.insert(text.clone());
            }
            others.anywhere.insert(text);
        }
        others
    }

    /// Where a DaemonSet runs pods that aren't FerroLB's.
    fn running(&self, set: &DaemonSet, node: Option<&Labels>) -> Running {
        let mut revisions: Vec<&Revision> = self.revisions.values().filter(|r| r.owner == set.uid).collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
        if set.program.ours {
            // Of the templates before this one only the last can still have pods, but for someone who edits in a hurry.
            let replaces = revisions.get(1).is_some_and(|before| !before.ours);
            let done = set.observed && set.updated >= set.current;
            return if replaces && !done { Running::Replaced } else { Running::Nowhere };
        }
        let covers = node.is_none_or(|labels| {
            set.selector.iter().all(|(key, value)| labels.get(key).is_some_and(|has| has == value))
        });
        if revisions.iter().any(|revision| revision.ours) {
            // FerroLB's own DaemonSet that becomes MetalLB's. On a node where this process still runs it hasn't yet.
            return match (set.observed, set.updated) {
                (false, _) | (true, 0) => Running::Nowhere,
                (true, updated) if updated >= set.desired && covers => Running::Here,
                (true, _) => Running::Elsewhere,
            };
        }
        let runs = !set.observed || set.desired > 0 || set.current > 0 || set.stray > 0;
        match (runs, covers) {
            (false, _) => Running::Nowhere,
            (true, true) => Running::Here,
            (true, false) => Running::Elsewhere,
        }
    }
}

/// Where a DaemonSet runs foreign pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    Nowhere,
    Elsewhere,
    /// The template is FerroLB's; on other nodes pods of before are left.
    Replaced,
    Here,
}

impl ReplicaSet {
    fn read(part: &Value) -> Option<ReplicaSet> {
        Some(ReplicaSet {
            program: program(part.get("template")?)?,
            deployment: owner(part, "name").unwrap_or_default(),
            pods: count(part, "replicas"),
        })
    }
}

impl DaemonSet {
    fn read(part: &Value) -> Option<DaemonSet> {
        let template = part.get("template")?;
        let selector = template.pointer("/spec/nodeSelector").and_then(Value::as_object);
        let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        let generation = part.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or(0);
        Some(DaemonSet {
            uid: part.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned(),
            program: program(template)?,
            selector: selector.into_iter().flatten().filter_map(text).collect(),
            observed: count(part, "observedGeneration") >= generation,
            desired: count(part, "desiredNumberScheduled"),
            current: count(part, "currentNumberScheduled"),
            stray: count(part, "numberMisscheduled"),
            updated: count(part, "updatedNumberScheduled"),
        })
    }
}

impl Revision {
    fn read(part: &Value) -> Option<Revision> {
        Some(Revision {
            owner: owner(part, "uid")?,
            number: part.get("revision").and_then(Value::as_u64).unwrap_or(0),
            ours: program(part.get("template")?)?.ours,
        })
    }
}

fn keep<T>(all: &mut BTreeMap<Arc<str>, T>, name: &Arc<str>, known: Option<T>) {
    match known {
        Some(known) => drop(all.insert(name.clone(), known)),
        None => drop(all.remove(name)),
    }
}

fn owner(part: &Value, field: &str) -> Option<String> {
    let owners = part.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    Some(owners.first()?.get(field)?.as_str()?.to_owned())
}

fn count(part: &Value, field: &str) -> u64 {
    part.get("status").and_then(|status| status.get(field)).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(name: &str, image: &str, args: &[&str], selector: &Value) -> Value {
        json!({
            "metadata": {"labels": {"app": "metallb", "component": name}},
            "spec": {
                "nodeSelector": selector,
                "containers": [{"name": "frr", "image": "frr"}, {"name": name, "image": image, "args": args}],
            },
        })
    }

    fn metallbs(name: &str) -> Value {
        let image = format!("quay.io/metallb/{name}:v0.16.1");
        template(name, &image, &["--port=7472", "--log-level=info"], &json!({"kubernetes.io/os": "linux"}))
    }

    fn ours(name: &str) -> Value {
        template(name, "registry.example/lb:1", &[name, "--port=9120"], &json!({"kubernetes.io/os": "linux"}))
    }

    fn labels() -> Labels {
        [("kubernetes.io/os".to_owned(), "linux".to_owned()), ("rack".to_owned(), "1".to_owned())].into()
    }

    struct Lab(Beside);

    impl Lab {
        fn new() -> Lab {
            Lab(Beside::new("metallb-system".into()))
        }

        fn saw(&mut self, kind: Kind, name: &str, object: &Value) {
            self.0.saw(kind, &name.into(), Some(&part(object)));
        }

        fn replica_set(&mut self, name: &str, template: &Value, pods: u64) {
            let owner = json!([{"kind": "Deployment", "name": "controller", "uid": "d"}]);
            let object = json!({
                "metadata": {"uid": name, "ownerReferences": owner},
                "spec": {"template": template}, "status": {"replicas": pods},
            });
            self.saw(Kind::ReplicaSet, name, &object);
        }

        /// Desired, current, updated; the generation is 2, and so is the observed one, unless they say otherwise.
        fn daemon_set(&mut self, template: &Value, [desired, current, updated]: [u64; 3], observed: u64) {
            let object = json!({
                "metadata": {"uid": "ds", "generation": 2},
                "spec": {"template": template},
                "status": {
                    "observedGeneration": observed, "desiredNumberScheduled": desired,
                    "currentNumberScheduled": current, "updatedNumberScheduled": updated, "numberMisscheduled": 0,
                },
            });
            self.saw(Kind::DaemonSet, "speaker", &object);
        }

        fn revision(&mut self, number: u64, template: &Value) {
            let object = json!({
                "metadata": {"ownerReferences": [{"kind": "DaemonSet", "name": "speaker", "uid": "ds"}]},
                "data": {"spec": {"template": template}}, "revision": number,
            });
            self.saw(Kind::ControllerRevision, &format!("speaker-{number}"), &object);
        }

        /// How many controllers, speakers here and speakers anywhere.
        fn seen(&self) -> [usize; 3] {
            let Others { controllers, here, anywhere } = self.0.others(Some(&labels()));
            [controllers.len(), here.len(), anywhere.len()]
        }
    }

    #[test]
    fn a_program_is_known_by_what_it_is_told_to_do() {
        let whose = |template: &Value| program(template).map(|p| (p.component, p.ours));
        assert_eq!(whose(&ours("speaker")), Some((Component::Speaker, true)));
        assert_eq!(whose(&metallbs("speaker")), Some((Component::Speaker, false)));
        assert_eq!(whose(&ours("controller")), Some((Component::Controller, true)));
        assert_eq!(whose(&metallbs("controller")), Some((Component::Controller, false)));
        let mut by_command = metallbs("speaker");
        by_command["spec"]["containers"][1]["command"] = json!(["/ferrolb", "speaker"]);
        assert_eq!(whose(&by_command), Some((Component::Speaker, true)));
        // A flag's value is no order.
        let flags = template("speaker", "metallb/speaker", &["--ml-labels", "speaker"], &json!({}));
        assert_eq!(whose(&flags), Some((Component::Speaker, false)));
        // Helm's labels, and an image from a mirror.
        let helm = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "metallb"}},
            "spec": {"containers": [{"name": "controller", "image": "mirror/x:1", "args": ["--port=7472"]}]},
        });
        assert_eq!(whose(&helm), Some((Component::Controller, false)));
        // Somebody else's, and a part of MetalLB that does neither.
        let frr = json!({"metadata": {"labels": {"app": "frr-k8s"}},
                         "spec": {"containers": [{"name": "controller", "image": "quay.io/metallb/frr-k8s:v0.0.25"}]}});
        assert_eq!(whose(&frr), None);
        let other = json!({"metadata": {"labels": {"app": "ingress"}},
                           "spec": {"containers": [{"name": "controller", "image": "ingress:1"}]}});
        assert_eq!((whose(&other), whose(&json!({})), whose(&json!(7))), (None, None, None));
    }

    #[test]
    fn a_controller_counts_while_it_has_pods() {
        let mut lab = Lab::new();
        lab.replica_set("controller-1", &metallbs("controller"), 1);
        assert_eq!(lab.seen(), [1, 0, 0]);
        let others = lab.0.others(None);
        assert_eq!(
            others.controllers.first().map(String::as_str),
            Some("Deployment metallb-system/controller (quay.io/metallb/controller:v0.16.1)")
        );
        // FerroLB's takes its place.
        lab.replica_set("controller-2", &ours("controller"), 1);
        assert_eq!(lab.seen(), [1, 0, 0]);
        lab.replica_set("controller-1", &metallbs("controller"), 0);
        assert_eq!(lab.seen(), [0, 0, 0]);
        lab.replica_set("controller-1", &metallbs("controller"), 1);
        lab.0.saw(Kind::ReplicaSet, &"controller-1".into(), None);
        assert_eq!(lab.seen(), [0, 0, 0]);
        // Two versions of FerroLB are no strangers.
        lab.replica_set("controller-3", &ours("controller"), 1);
        assert_eq!(lab.seen(), [0, 0, 0]);
    }

    #[test]
    fn a_foreign_daemon_set_is_where_its_node_selector_says() {
        let mut lab = Lab::new();
        lab.daemon_set(&metallbs("speaker"), [3, 3, 3], 2);
        assert_eq!(lab.seen(), [0, 1, 1]);
        // Not looked at yet by who makes its pods.
        lab.daemon_set(&metallbs("speaker"), [0, 0, 0], 1);
        assert_eq!(lab.seen(), [0, 1, 1]);
        // The others' racks are still MetalLB's: node by node.
        let elsewhere = template("speaker", "metallb/speaker", &["--port=7472"], &json!({"rack": "2"}));
        lab.daemon_set(&elsewhere, [1, 1, 1], 2);
        assert_eq!(lab.seen(), [0, 0, 1]);
        assert_eq!(lab.0.others(None).here.len(), 1, "a node of which nothing is known");
        // A selector that nothing matches.
        lab.daemon_set(&elsewhere, [0, 0, 0], 2);
        assert_eq!(lab.seen(), [0, 0, 0]);
    }

    #[test]
    fn a_daemon_set_that_was_replaced_counts_until_its_last_node() {
        let mut lab = Lab::new();
        lab.revision(1, &metallbs("speaker"));
        lab.revision(2, &ours("speaker"));
        lab.daemon_set(&ours("speaker"), [3, 3, 3], 1);
        assert_eq!(lab.seen(), [0, 0, 1], "the counts are of before");
        lab.daemon_set(&ours("speaker"), [3, 3, 1], 2);
        assert_eq!(lab.seen(), [0, 0, 1]);
        let others = lab.0.others(Some(&labels()));
        let text = others.anywhere.first().map(String::as_str);
        assert_eq!(
            text,
            Some("DaemonSet metallb-system/speaker, whose pods of before are still on 2 of 3 nodes")
        );
        lab.daemon_set(&ours("speaker"), [3, 3, 3], 2);
        assert_eq!(lab.seen(), [0, 0, 0]);
        // The next version of FerroLB, in the middle of its rollout.
        lab.revision(3, &ours("speaker"));
        lab.daemon_set(&ours("speaker"), [3, 3, 1], 2);
        assert_eq!(lab.seen(), [0, 0, 0]);
    }

    #[test]
    fn on_the_way_back_a_node_announces_until_it_is_its_turn() {
        let mut lab = Lab::new();
        lab.revision(1, &ours("speaker"));
        lab.revision(2, &metallbs("speaker"));
        lab.daemon_set(&metallbs("speaker"), [3, 3, 3], 1);
        assert_eq!(lab.seen(), [0, 0, 0]);
        lab.daemon_set(&metallbs("speaker"), [3, 3, 0], 2);
        assert_eq!(lab.seen(), [0, 0, 0]);
        // The first of MetalLB's elects itself on layer 2.
        lab.daemon_set(&metallbs("speaker"), [3, 3, 1], 2);
        assert_eq!(lab.seen(), [0, 0, 1]);
        // All of them: this process is another DaemonSet's.
        lab.daemon_set(&metallbs("speaker"), [3, 3, 3], 2);
        assert_eq!(lab.seen(), [0, 1, 1]);
    }
}
