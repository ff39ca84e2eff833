use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::event::{Event, Occasion, SAME_WORDS, ServiceEvent};
use crate::types::Issue;

const SECOND: Duration = Duration::from_secs(1);

fn date() -> Timestamp {
    "2024-05-06T07:08:09Z".parse().unwrap()
}

fn web() -> ServiceKey {
    ServiceKey::new("default", "web")
}

fn event() -> ServiceEvent {
    let event = Event::normal("nodeAssigned", "announcing");
    ServiceEvent { service: web(), uid: None, version: None, event, occasion: Occasion::Own, at: date() }
}

fn peers(names: &[&str]) -> Names {
    Arc::new(names.iter().map(|n| (*n).into()).collect())
}

fn sent(names: &[&str], unsettled: &[&str]) -> Option<Wanted> {
    Some(Wanted::Peers { sent: peers(names), unsettled: peers(unsettled) })
}

/// An API server that keeps status objects, and a ledger beside it.
struct Lab {
    ledger: Ledger,
    now: Instant,
    objects: BTreeMap<(Kind, String), Value>,
    version: u64,
    writes: usize,
}

impl Lab {
    fn new(rate: u32) -> Lab {
        let identity = Identity { node: "n1".into(), node_uid: "u1".into() };
        let mut lab = Lab {
            ledger: Ledger::new(identity, Settings { rate, parallel: 4 }),
            now: Instant::now(),
            objects: BTreeMap::new(),
            version: 0,
            writes: 0,
        };
        for kind in Kind::ALL {
            lab.ledger.listed(kind, vec![]);
            lab.ledger.complete(kind);
        }
        lab
    }

    fn stamp(&mut self, kind: Kind, name: &str, mut object: Value) -> Object {
        self.version += 1;
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(format!("uid-{name}"));
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let read = Object::read(kind, &object).unwrap();
        self.objects.insert((kind, name.to_owned()), object);
        read
    }

    /// Performs a write, as the API server would.
    fn perform(&mut self, write: &Write) -> Outcome {
        self.writes += 1;
        let Some(kind) = write.subject().map(Subject::kind) else { return Outcome::Failed };
        match write {
            Write::Create { body, .. } => {
                let body = body.value();
                let metadata = &body["metadata"];
                let name = match metadata["generateName"].as_str() {
                    Some(prefix) => format!("{prefix}{}", self.version),
                    None => metadata["name"].as_str().unwrap().to_owned(),
                };
                Outcome::Stands(self.stamp(kind, &name, body))
            }
            Write::Status { name, patch, .. } => {
                let mut object = self.objects[&(kind, name.to_string())].clone();
                object["status"] = patch.value()["status"].clone();
                Outcome::Stands(self.stamp(kind, name, object))
            }
            Write::Delete { name, uid, .. } => {
                let object = self.objects.remove(&(kind, name.to_string())).unwrap();
                assert_eq!(object["metadata"]["uid"], json!(uid.to_string()));
                Outcome::Gone
            }
            Write::Event { .. } => Outcome::Failed,
        }
    }

    /// All writes that can be made at this time.
    fn settle(&mut self) -> Vec<Write> {
        let mut made = Vec::new();
        while let Some(write) = self.ledger.next(self.now, date()) {
            let outcome = self.perform(&write);
            self.ledger.done(self.now, &write, outcome);
            made.push(write);
        }
        made
    }

    fn status(&self, kind: Kind) -> Vec<&Value> {
        self.objects.iter().filter(|((k, _), _)| *k == kind).map(|(_, o)| &o["status"]).collect()
    }
}

#[test]
fn an_object_costs_two_writes_and_what_stands_costs_none() {
    let mut lab = Lab::new(100);
    let subject = Subject::ServiceBgp(web());
    lab.ledger.want(subject.clone(), sent(&["b", "a"], &[]));
    let writes = lab.settle();
    let [Write::Create { body, .. }, Write::Status { patch, .. }] = writes.as_slice() else {
        panic!("{writes:?}")
    };
    assert_eq!(
        body.value(),
        json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ServiceBGPStatus",
            "metadata": {
                "generateName": "bgp-",
                "labels": {
                    "metallb.io/node": "n1",
                    "metallb.io/service-name": "web",
                    "metallb.io/service-namespace": "default",
                },
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"}],
            },
        })
    );
    let status =
        json!({"node": "n1", "serviceName": "web", "serviceNamespace": "default", "peers": ["a", "b"]});
    assert_eq!(patch.value(), json!({"status": status}));
    lab.ledger.want(subject.clone(), sent(&["a", "b"], &[]));
    assert_eq!(lab.settle(), vec![]);
    // The watch comes late with what it was before, and then with what it is.
    let (key, object) = lab.objects.first_key_value().unwrap();
    let mut late = object.clone();
    late["metadata"]["resourceVersion"] = json!("1");
    late["status"] = Value::Null;
    for seen in [&late, object] {
        let seen = Object::read(key.0, seen).unwrap();
        lab.ledger.saw(key.0, seen);
    }
    assert_eq!(lab.settle(), vec![]);
    assert_eq!(lab.ledger.next_timeout(lab.now), None);
    lab.ledger.want(subject.clone(), sent(&["b"], &[]));
    assert_eq!(lab.settle().len(), 1);
    assert_eq!(lab.status(Kind::ServiceBgpStatus)[0]["peers"], json!(["b"]));
    lab.ledger.want(subject, None);
    assert!(matches!(lab.settle().as_slice(), [Write::Delete { .. }]));
    assert!(lab.objects.is_empty());
}

#[test]
fn a_list_counts_though_its_versions_have_gone_back_and_a_watch_does_not() {
    let mut lab = Lab::new(100);
    let subject = Subject::ServiceBgp(web());
    lab.version = 1_000;
    lab.ledger.want(subject.clone(), sent(&["a"], &[]));
    lab.settle();
    // The API server's data is restored from a backup of before.
    let ((kind, name), mut object) = lab.objects.pop_first().unwrap();
    lab.version = 7;
    object["status"] = Value::Null;
    let restored = lab.stamp(kind, &name, object);
    lab.ledger.saw(kind, restored.clone());
    assert_eq!(lab.settle(), vec![], "an old word, for all that a watch can tell");
    lab.ledger.saw_listed(kind, restored);
    assert!(matches!(lab.settle().as_slice(), [Write::Status { .. }]));
    assert_eq!(lab.status(kind)[0]["peers"], json!(["a"]));
    // And what the watch says after that is news.
    let ((kind, name), mut object) = lab.objects.pop_first().unwrap();
    object["status"]["peers"] = json!(["b"]);
    let changed = lab.stamp(kind, &name, object);
    lab.ledger.saw(kind, changed);
    assert!(matches!(lab.settle().as_slice(), [Write::Status { .. }]));
}

#[test]
fn what_an_earlier_process_wrote_is_gone_on_with() {
    let mut first = Lab::new(100);
    let gone = ServiceKey::new("default", "gone");
    for service in [web(), gone] {
        first.ledger.want(Subject::ServiceBgp(service), sent(&["a", "b"], &[]));
    }
    first.settle();
    let identity = Identity { node: "n1".into(), node_uid: "u1".into() };
    let mut lab = Lab { ledger: Ledger::new(identity, Settings { rate: 100, parallel: 4 }), ..first };
    // The sessions aren't there yet: nothing is known of them.
    lab.ledger.want(Subject::ServiceBgp(web()), sent(&[], &["a", "b"]));
    assert_eq!(lab.settle(), vec![]);
    let objects: Vec<Object> =
        lab.objects.values().map(|o| Object::read(Kind::ServiceBgpStatus, o).unwrap()).collect();
    lab.ledger.listed(Kind::ServiceBgpStatus, objects);
    assert_eq!(lab.settle(), vec![]);
    lab.ledger.want(Subject::ServiceBgp(web()), sent(&["a"], &["b"]));
    assert_eq!(lab.settle(), vec![]);
    // All that is wanted is known: the other one is surplus.
    lab.ledger.complete(Kind::ServiceBgpStatus);
    assert!(matches!(lab.settle().as_slice(), [Write::Delete { .. }]));
    lab.ledger.want(Subject::ServiceBgp(web()), sent(&["a"], &[]));
    assert_eq!(lab.settle().len(), 1);
    assert_eq!(lab.status(Kind::ServiceBgpStatus)[0]["peers"], json!(["a"]));
    // No peer is left.
    lab.ledger.want(Subject::ServiceBgp(web()), sent(&[], &[]));
    lab.settle();
    assert!(lab.objects.is_empty());
}

#[test]
fn session_states_of_another_program_on_the_same_node_are_not_ours() {
    let state = |owners: Value| {
        json!({"metadata": {"name": "n1-x", "ownerReferences": owners, "labels": {
            (Kind::BgpSessionState.node_label()): "n1", "frrk8s.metallb.io/peer": "192.0.2.1", "frrk8s.metallb.io/vrf": "",
        }}})
    };
    let read = |owners: Value| Object::read(Kind::BgpSessionState, &state(owners)).is_some();
    assert!(read(json!([{"kind": "Node", "name": "n1"}])) && read(json!(null)));
    assert!(!read(json!([{"kind": "Pod", "name": "frr-k8s-7xk2p"}])));
}

#[test]
fn objects_of_others_stay_but_for_claims_on_layer_2() {
    let mut lab = Lab::new(100);
    let object = |kind: Kind, name: &str, node: &str| {
        json!({"metadata": {"name": name, "labels": {
            (kind.node_label()): node, "metallb.io/service-name": "web", "metallb.io/service-namespace": "default",
            "frrk8s.metallb.io/peer": "192.0.2.1", "frrk8s.metallb.io/vrf": "",
        }}})
    };
    for (kind, name, node) in [
        (Kind::ServiceBgpStatus, "bgp-x", "n2"),
        (Kind::BgpSessionState, "n2-x", "n2"),
        (Kind::ServiceL2Status, "l2-x", "n2"),
    ] {
        let seen = lab.stamp(kind, name, object(kind, name, node));
        lab.ledger.saw(kind, seen);
    }
    assert_eq!(lab.settle(), vec![]);
    lab.ledger.want(Subject::ServiceBgp(web()), sent(&["a"], &[]));
    lab.ledger.want(Subject::ServiceL2(web()), Some(Wanted::Content(Content::ServiceL2(peers(&["eth0"])))));
    lab.ledger.want(
        Subject::session("192.0.2.1".parse().unwrap(), ""),
        Some(Wanted::Content(Content::Session(true))),
    );
    let writes = lab.settle();
    let deleted: Vec<_> = writes
        .iter()
        .filter_map(|w| if let Write::Delete { name, .. } = w { Some(&**name) } else { None })
        .collect();
    assert_eq!((writes.len(), deleted), (7, vec!["l2-x"]));
    // An own one that is there twice is there once.
    let mut twin = object(Kind::ServiceBgpStatus, "bgp-z", "n1");
    twin["metadata"]["creationTimestamp"] = json!("2024-01-01T00:00:00Z");
    let seen = lab.stamp(Kind::ServiceBgpStatus, "bgp-z", twin);
    lab.ledger.saw(Kind::ServiceBgpStatus, seen);
    assert!(matches!(lab.settle().as_slice(), [Write::Delete { .. }]));
}

#[test]
fn sessions_and_configuration_have_their_names() {
    let mut lab = Lab::new(100);
    let session = |peer: &str, vrf: &str| Subject::session(peer.parse().unwrap(), vrf);
    lab.ledger.want(session("2001:db8::1", "red"), Some(Wanted::Content(Content::Session(false))));
    lab.ledger.want(Subject::Configuration, Some(Wanted::Content(Content::Configuration(vec![]))));
    lab.settle();
    let of = |kind| lab.objects.iter().find(|((k, _), _)| *k == kind).map(|(_, o)| o).unwrap();
    let state = of(Kind::BgpSessionState);
    assert_eq!(state["apiVersion"], "frrk8s.metallb.io/v1beta1");
    assert_eq!(state["metadata"]["generateName"], "n1-");
    assert_eq!(
        state["metadata"]["labels"],
        json!({
            "frrk8s.metallb.io/node": "n1",
            "frrk8s.metallb.io/peer": "2001-0db8-0000-0000-0000-0000-0000-0001",
            "frrk8s.metallb.io/vrf": "red",
        })
    );
    assert_eq!(
        state["status"],
        json!({"bgpStatus": "Active", "bfdStatus": "N/A", "node": "n1", "peer": "2001:db8::1", "vrf": "red"})
    );
    let configuration = of(Kind::ConfigurationState);
    assert_eq!(configuration["metadata"]["name"], "speaker-n1");
    assert_eq!(
        configuration["metadata"]["labels"],
        json!({"metallb.io/component-type": "speaker", "metallb.io/node-name": "n1"})
    );
    assert_eq!(configuration["status"]["result"], "Valid");
    assert_eq!(configuration["status"]["conditions"][0]["type"], "configReconcilerValid");

    let errors = vec!["one".to_owned(), "two".to_owned()];
    lab.ledger.want(Subject::Configuration, Some(Wanted::Content(Content::Configuration(errors.clone()))));
    assert_eq!(lab.settle().len(), 1);
    let status = lab.status(Kind::ConfigurationState)[0].clone();
    assert_eq!((&status["result"], &status["errorSummary"]), (&json!("Invalid"), &json!("one\ntwo")));
    assert_eq!(
        status["conditions"],
        json!([{"type": "configReconcilerValid", "status": "False", "reason": "ConfigurationError",
                "message": "one\ntwo", "lastTransitionTime": "2024-05-06T07:08:09Z"}])
    );
    // Someone deletes it: it comes back.
    lab.objects.remove(&(Kind::ConfigurationState, "speaker-n1".to_owned()));
    lab.ledger.gone(Kind::ConfigurationState, &"speaker-n1".into());
    assert_eq!(lab.settle().len(), 2);
    assert_eq!(lab.status(Kind::ConfigurationState)[0], &status);
}

#[test]
fn writes_are_bounded_and_can_be_turned_off() {
    let mut lab = Lab::new(10);
    for i in 0..100 {
        let service = ServiceKey::new("default", &format!("s{i}"));
        lab.ledger.want(Subject::ServiceBgp(service), sent(&["a"], &[]));
    }
    assert_eq!(lab.settle().len(), 20);
    let mut seconds = 0;
    while let Some(due) = lab.ledger.next_timeout(lab.now) {
        assert!(due > lab.now && due <= lab.now + SECOND);
        // Asking often doesn't make the time go faster.
        for _ in 0..1000 {
            lab.now += Duration::from_millis(1);
            lab.settle();
        }
        seconds += 1;
        assert!(lab.writes <= 20 + 10 * seconds);
    }
    assert_eq!((lab.writes, seconds), (200, 18));

    lab.now += 2 * SECOND;
    // An event is written once, behind the rest.
    lab.ledger.tell(event());
    lab.ledger.want(Subject::ServiceBgp(web()), sent(&["a"], &[]));
    let writes = lab.settle();
    assert!(matches!(writes.as_slice(), [Write::Create { .. }, Write::Status { .. }, Write::Event { .. }]));
    assert_eq!((lab.settle(), lab.ledger.next_timeout(lab.now)), (vec![], None));

    let mut off = Lab::new(0);
    off.ledger.tell(event());
    off.ledger.want(Subject::ServiceBgp(web()), sent(&["a"], &[]));
    assert_eq!((off.settle(), off.ledger.next_timeout(off.now)), (vec![], None));
}

#[test]
fn an_event_whose_name_is_taken_is_told_under_another_where_it_was_seen_to_happen() {
    let mut lab = Lab::new(100);
    // Each is tried until its name isn't among those that are taken.
    let mut taken = std::collections::BTreeSet::new();
    let mut tell = |lab: &mut Lab, occasion| {
        lab.ledger.tell(ServiceEvent { occasion, ..event() });
        let (mut tries, before) = (0, taken.len());
        while let Some(write) = lab.ledger.next(lab.now, date()) {
            let Write::Event { body, .. } = &write else { panic!("{write:?}") };
            let new = taken.insert(body.value()["metadata"]["name"].to_string());
            lab.ledger.done(lab.now, &write, if new { Outcome::Failed } else { Outcome::Told });
            tries += 1;
            lab.now += SECOND;
        }
        (taken.len() - before, tries)
    };
    // An earlier process has told it; this one finds it so, and then sees it come again and again.
    assert_eq!(tell(&mut lab, Occasion::Found), (1, 1));
    assert_eq!(tell(&mut lab, Occasion::Found), (0, 1));
    for number in 1..usize::from(SAME_WORDS) {
        assert_eq!(tell(&mut lab, Occasion::Seen(0)), (1, number + 1));
    }
    assert_eq!(
        tell(&mut lab, Occasion::Seen(0)),
        (0, usize::from(SAME_WORDS)),
        "a flapping one is left then"
    );
    assert_eq!(lab.ledger.next_timeout(lab.now), None);
}

#[test]
fn failures_are_tried_again_later() {
    let mut lab = Lab::new(100);
    lab.ledger.want(Subject::ServiceBgp(web()), sent(&["a"], &[]));
    let mut pauses = vec![];
    for _ in 0..8 {
        let write = lab.ledger.next(lab.now, date()).unwrap();
        lab.ledger.done(lab.now, &write, Outcome::Failed);
        assert_eq!(lab.ledger.next(lab.now, date()), None);
        let due = lab.ledger.next_timeout(lab.now).unwrap();
        pauses.push((due - lab.now).as_secs());
        lab.now = due;
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
    let write = lab.ledger.next(lab.now, date()).unwrap();
    lab.ledger.done(lab.now, &write, Outcome::Unserved);
    lab.ledger.want(Subject::ServiceBgp(ServiceKey::new("default", "other")), sent(&["a"], &[]));
    assert_eq!(lab.settle(), vec![]);
    lab.now = lab.ledger.next_timeout(lab.now).unwrap();
    let write = lab.ledger.next(lab.now, date()).unwrap();
    lab.ledger.done(lab.now, &write, Outcome::Unreachable);
    lab.ledger.want(Subject::Configuration, Some(Wanted::Content(Content::Configuration(vec![]))));
    assert_eq!(lab.settle(), vec![]);
    lab.ledger.want(Subject::Configuration, None);
    assert_eq!(lab.settle(), vec![]);
    lab.now = lab.ledger.next_timeout(lab.now).unwrap();
    assert_eq!(lab.settle().len(), 4);
    // An object that was deleted behind our back.
    let key = lab.objects.keys().next().unwrap().clone();
    lab.objects.remove(&key);
    lab.ledger.want(Subject::ServiceBgp(web()), sent(&["b"], &[]));
    lab.ledger.want(Subject::ServiceBgp(ServiceKey::new("default", "other")), sent(&["b"], &[]));
    for _ in 0..2 {
        let write = lab.ledger.next(lab.now, date()).unwrap();
        let Write::Status { name, .. } = &write else { panic!("{write:?}") };
        let there = lab.objects.contains_key(&(Kind::ServiceBgpStatus, name.to_string()));
        let outcome = if there { lab.perform(&write) } else { Outcome::Gone };
        lab.ledger.done(lab.now, &write, outcome);
    }
    assert_eq!(lab.settle().len(), 2);
    assert_eq!(lab.objects.len(), 2);
}

#[test]
fn a_flap_of_less_than_thirty_seconds_tells_nothing() {
    let start = Instant::now();
    let at = |seconds: u64| start + seconds as u32 * SECOND;
    let mut session = Standing::new(start);
    assert_eq!((session.view(), session.due()), (View::Unsettled, Some(at(30))));
    session.set(at(2), true);
    assert!(session.settle(at(2)));
    assert_eq!((session.view(), session.due()), (View::Up, None));
    // Away for 29 s, again and again.
    for round in 1..20 {
        session.set(at(100 * round), false);
        assert!(!session.settle(at(100 * round + 29)));
        assert_eq!(session.view(), View::Unsettled);
        session.set(at(100 * round + 29), true);
        assert!(!session.settle(at(100 * round + 29)));
        assert_eq!(session.view(), View::Up);
    }
    session.set(at(3000), false);
    assert_eq!(session.due(), Some(at(3030)));
    assert!(session.settle(at(3030)));
    assert_eq!(session.view(), View::Down);
    // Back at once: not told before half a minute has gone by since the last telling.
    session.set(at(3031), true);
    assert_eq!(
        (session.settle(at(3031)), session.view(), session.due()),
        (false, View::Unsettled, Some(at(3060)))
    );
    session.set(at(3040), false);
    assert_eq!((session.view(), session.due()), (View::Down, None));
    session.set(at(3100), true);
    assert!(session.settle(at(3100)));
    assert_eq!(session.view(), View::Up);
}

#[test]
fn each_component_tells_of_its_own_errors() {
    use crate::manifest;
    use crate::world::World;
    let object = |kind: &str, name: &str, selector: Value| {
        json!({"apiVersion": if kind == "BGPPeer" { "metallb.io/v1beta2" } else { "metallb.io/v1beta1" },
               "kind": kind, "metadata": {"name": name, "namespace": "metallb-system"},
               "spec": {"nodeSelectors": selector}})
    };
    let mine = json!([{"matchLabels": {"host": "n1"}}]);
    let other = json!([{"matchLabels": {"host": "n2"}}]);
    let objects = [
        object("BGPPeer", "all", json!([])),
        object("BGPPeer", "mine", mine.clone()),
        object("BGPPeer", "other", other.clone()),
        object("BGPAdvertisement", "other", other.clone()),
        object("L2Advertisement", "broken", json!([{"matchLabels": {"host": 5}}])),
        object("IPAddressPool", "pool", json!([])),
        object("BFDProfile", "bfd", json!([])),
        object("Community", "names", json!([])),
    ];
    let text: Vec<String> = objects.iter().map(Value::to_string).collect();
    let mut world = World::default();
    let mut errors = vec![];
    for located in manifest::parse("test.json", text.join("\n").as_bytes()).objects {
        if let crate::world::Object::Config(c) = &located.object {
            errors.push(Issue::new(&c.key, None, "x"));
        }
        world.apply(located.object);
    }
    let names = |issues: Vec<&Issue>| -> Vec<String> {
        issues.iter().map(|i| format!("{} {}", i.kind, i.name)).collect()
    };
    let labels = [("host".to_owned(), "n1".to_owned())].into();
    assert_eq!(
        names(speaker_errors(&errors, &world, Some(&labels)).collect()),
        ["BGPPeer all", "BGPPeer mine", "L2Advertisement broken", "BFDProfile bfd"]
    );
    assert_eq!(
        names(speaker_errors(&errors, &world, None).collect()),
        ["BGPPeer all", "L2Advertisement broken", "BFDProfile bfd"]
    );
    assert_eq!(names(controller_errors(&errors).collect()), ["IPAddressPool pool", "Community names"]);
}
