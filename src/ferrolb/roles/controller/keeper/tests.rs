//! The keeper with a stand-in for the API server's store: objects by kind and name, versions, merge patches.

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::config::LastValid;
use ferrolb_core::decide::Options;
use ferrolb_core::engine::EngineOptions;
use ferrolb_core::event::SAME_WORDS;
use ferrolb_core::types::NodeName;

use super::*;
use crate::shell::kube::Watch;
use crate::shell::kube::fake::merge;
use crate::shell::kube::fold::{Folded, Folder};
use crate::shell::kube::kinds::Kind;

const NS: &str = "metallb-system";

/// A keeper and its cluster.
struct Lab {
    keeper: Keeper,
    now: Duration,
    clock: Instant,
    version: u64,
    objects: BTreeMap<(&'static str, String), Value>,
    folders: Vec<(&'static Kind, Folder)>,
    /// What is said to whoever would make an Event, but yes.
    no_events: Option<Answer>,
    /// The Events that there are: names and messages.
    events: BTreeMap<String, String>,
    /// All writes that were answered.
    written: Vec<(Target, Write)>,
}

fn keeper(clock: Instant) -> Keeper {
    let options = EngineOptions {
        system_namespace: NS.into(),
        class: None,
        decide: Options::default(),
        node: NodeName::new("controller"),
        speaker: false,
        keep_routes: false,
        allocate_for_many: true,
    };
    let engine =
        Engine::new(options, Allocator::new(Mode::Allocate, None), LastValid::new(), BTreeMap::new());
    Keeper::new(engine, None, NS.into(), clock)
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "namespace": "default", "name": name, "uid": format!("uid-{name}") },
        "spec": { "type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{ "port": 80 }] },
        "status": { "loadBalancer": {} },
    })
}

fn pool(name: &str, addresses: &str) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "namespace": NS, "name": name, "uid": format!("uid-{name}") },
        "spec": { "addresses": [addresses] },
    })
}

impl Lab {
    /// One that leads, with a pool `p` of these addresses.
    fn leading(addresses: &str) -> Lab {
        let mut lab = Lab::new();
        lab.put(pool("p", addresses));
        lab.lead();
        lab
    }

    fn new() -> Lab {
        let status: fn(&Value) -> Value = |object| object["status"].clone();
        let ns: Arc<str> = NS.into();
        let watches = [
            Watch::all(&SERVICE).keeping(ServiceStatus::part),
            Watch::within(&IP_ADDRESS_POOL, &ns).keeping(status),
            Watch::within(&CONFIGURATION_STATE, &ns).aside(status),
        ];
        let clock = Instant::now();
        Lab {
            keeper: keeper(clock),
            now: Duration::from_secs(100),
            clock,
            version: 1,
            objects: BTreeMap::new(),
            folders: watches.into_iter().map(|w| (w.kind, Folder::new(w))).collect(),
            no_events: None,
            events: BTreeMap::new(),
            written: vec![],
        }
    }

    /// Stores an object, and has the watch tell it.
    fn put(&mut self, object: Value) {
        let object = self.store(object);
        self.hear(&object);
    }

    fn store(&mut self, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        let kind = self.kind(&object);
        if kind == &SERVICE {
            // As the API server does.
            let ingress = object.pointer_mut("/status/loadBalancer/ingress").and_then(Value::as_array_mut);
            ingress.into_iter().flatten().for_each(|entry| entry["ipMode"] = "VIP".into());
        }
        self.objects.insert((kind.kind, name), object.clone());
        object
    }

    fn kind(&self, object: &Value) -> &'static Kind {
        self.folders.iter().map(|(kind, _)| *kind).find(|k| object["kind"] == k.kind).expect("a known kind")
    }

    fn hear(&mut self, object: &Value) {
        let kind = self.kind(object);
        let folder = self.folders.iter_mut().find(|(k, _)| *k == kind).map(|(_, f)| f).expect("known");
        let folded = folder.applied(object.clone()).into_iter().collect();
        self.take(kind, folded);
    }

    /// Has the watch of Services list what there is, as it was when that was asked for.
    fn list(&mut self, asked: Duration, services: Vec<Value>) {
        let folder = &mut self.folders[0].1;
        folder.list_begins(self.clock + asked);
        services.into_iter().for_each(|service| folder.listed(service));
        let folded = folder.list_ends();
        self.take(&SERVICE, folded);
    }

    fn delete(&mut self, name: &str) {
        let object = self.objects.remove(&("Service", name.to_owned())).expect("it is there");
        let folded = self.folders[0].1.deleted(&object).into_iter().collect();
        self.take(&SERVICE, folded);
    }

    fn take(&mut self, kind: &'static Kind, folded: Vec<Folded>) {
        let mut batch = Batch {
            initial: false,
            changes: vec![],
            sides: vec![],
            problems: vec![],
            cleared: vec![],
            completed: vec![],
            noticed: std::time::Instant::now(),
        };
        for Folded { name, change, side, .. } in folded {
            batch.changes.extend(change);
            batch.sides.extend(side.map(|seen| Side { kind, name, seen }));
        }
        self.keeper.take(batch, self.now);
    }

    /// Writes what is wanted, once a second for so long.
    fn run_for(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.run();
            self.now += Duration::from_secs(1);
        }
    }

    /// Writes all that is wanted, as the API server would; the watch tells it afterwards.
    fn run(&mut self) {
        loop {
            self.keeper.tick(self.now, BTreeMap::new);
            let Some((target, wanted)) = self.keeper.due(self.now) else { return };
            let write = wanted.write().into_owned();
            let answer = self.answer(&write);
            self.written.push((target.clone(), write));
            let object = match &answer {
                Answer::Written(object) if target_is_heard(&target) => Some(object.clone()),
                _ => None,
            };
            self.keeper.done(target, wanted, answer, self.now);
            if let Some(object) = object {
                self.hear(&object);
            }
        }
    }

    fn answer(&mut self, write: &Write) -> Answer {
        match &write.act {
            Act::Read(_) | Act::Find(_) | Act::Delete { .. } => Answer::Gone,
            Act::Create(object) if write.kind == &EVENT => {
                if let Some(answer) = &self.no_events {
                    return answer.clone();
                }
                let object = object.value();
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let (name, message) = (text(&object["metadata"]["name"]), text(&object["message"]));
                if self.events.insert(name, message).is_some() {
                    return Answer::Conflict;
                }
                Answer::Written(object)
            }
            Act::Create(object) => Answer::Written(self.store(object.value())),
            Act::Patch { name, patch, .. } => {
                let patch = patch.value();
                let Some(mut object) = self.objects.get(&(write.kind.kind, name.to_string())).cloned() else {
                    return Answer::Gone;
                };
                let asked = patch["metadata"]["resourceVersion"].as_str();
                if asked.is_some_and(|version| object["metadata"]["resourceVersion"] != version) {
                    return Answer::Conflict;
                }
                merge(&mut object, &patch);
                Answer::Written(self.store(object))
            }
        }
    }

    fn lead(&mut self) {
        self.keeper.lead(true, self.now);
        self.run();
    }

    /// Another controller leads after this one.
    fn successor(&self) -> Lab {
        let mut next = Lab { version: self.version, events: self.events.clone(), ..Lab::new() };
        next.objects = self.objects.clone();
        for object in self.objects.values() {
            next.hear(object);
        }
        next.lead();
        next
    }

    /// Has the Service ask for a pool that isn't there, or for none.
    fn ask_for_pool(&mut self, name: &str, pool: Option<&str>) {
        self.edit(name, |s| {
            let annotations = s["metadata"]["annotations"].as_object_mut().expect("it has some");
            annotations.remove("metallb.io/address-pool");
            annotations.extend(pool.map(|pool| ("metallb.io/address-pool".to_owned(), pool.into())));
        });
        self.run();
    }

    /// How many Events name that pool.
    fn told_of(&self, pool: &str) -> usize {
        self.events.values().filter(|message| message.contains(pool)).count()
    }

    /// How often each kind of thing was written since the last time: services, and the events' reasons.
    fn writes(&mut self) -> (Vec<String>, Vec<String>) {
        let (mut services, mut events) = (vec![], vec![]);
        for (target, write) in self.written.drain(..) {
            match (target, write.act) {
                (Target::Service(key), _) => services.push(key.name.to_string()),
                (Target::Event(_), Act::Create(object)) => {
                    events.push(object.value()["reason"].as_str().expect("a reason").to_owned());
                }
                _ => {}
            }
        }
        (services, events)
    }

    fn ip(&self, name: &str) -> Value {
        self.objects[&("Service", name.to_owned())]["status"]["loadBalancer"]["ingress"][0]["ip"].clone()
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.objects[&("Service", name.to_owned())].clone();
        edit(&mut object);
        self.put(object);
    }
}

fn target_is_heard(target: &Target) -> bool {
    !matches!(target, Target::Event(_))
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|t| (*t).to_owned()).collect()
}

#[test]
fn a_service_costs_one_patch_and_one_event_and_nothing_after_that() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.written.clear();
    lab.put(service("web"));
    lab.run();
    assert_eq!(lab.ip("web"), "192.0.2.0");
    let annotation = &lab.objects[&("Service", "web".to_owned())]["metadata"]["annotations"];
    assert_eq!(annotation["metallb.io/ip-allocated-from-pool"], "p");
    assert_eq!(lab.writes(), (texts(&["web"]), texts(&["IPAllocated"])));
    lab.edit("web", |s| s["metadata"]["labels"] = json!({ "a": "b" }));
    lab.run();
    assert_eq!(lab.writes(), (vec![], vec![]));
}

#[test]
fn a_restart_writes_nothing_and_tells_nothing_again() {
    let mut lab = Lab::leading("192.0.2.0/31");
    for name in ["a", "b", "c"] {
        lab.put(service(name));
        lab.run();
    }
    let failed = |lab: &Lab| {
        let events = lab.written.iter().filter_map(|(_, w)| match &w.act {
            Act::Create(object) => Some(object.value()).filter(|event| event["reason"] == "AllocationFailed"),
            _ => None,
        });
        events.map(|event| event["metadata"]["name"].clone()).collect::<Vec<_>>()
    };
    let before = failed(&lab);
    assert_eq!(before.len(), 1);
    let mut after = Lab::new();
    after.version = lab.version;
    for object in lab.objects.values() {
        after.hear(object);
    }
    after.objects = lab.objects.clone();
    after.lead();
    assert_eq!(failed(&after), before, "the same name: the API server has it already");
    let (services, events) = after.writes();
    assert_eq!((services, events), (vec![], texts(&["AllocationFailed"])));
    assert_eq!(after.objects, lab.objects);
}

#[test]
fn what_stands_is_not_told_again_by_who_leads_next_whatever_was_told_before_it() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.put(service("web"));
    lab.run();
    for pool in ["pool-a", "pool-b", "pool-a"] {
        lab.ask_for_pool("web", Some(pool));
    }
    assert_eq!((lab.told_of("pool-a"), lab.told_of("pool-b")), (2, 1));
    let mut next = lab.successor();
    assert_eq!(next.events, lab.events);
    // What the next one sees happen it tells, though the same was told before.
    next.ask_for_pool("web", Some("pool-b"));
    assert_eq!((next.told_of("pool-a"), next.told_of("pool-b")), (2, 2));
    // One that has led before, and does again, finds what happened in between.
    lab.keeper.lead(false, lab.now);
    lab.events = next.events.clone();
    lab.version = next.version;
    let web = next.objects[&("Service", "web".to_owned())].clone();
    lab.put(web);
    lab.lead();
    assert_eq!(lab.events, next.events);
}

#[test]
fn what_comes_back_is_told_again_and_a_flapping_service_some_times() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.put(service("web"));
    lab.run();
    lab.ask_for_pool("web", Some("pool-x"));
    lab.ask_for_pool("web", None);
    assert_eq!(lab.told_of("pool-x"), 1);
    let mut next = lab.successor();
    for flaps in 0..2 * usize::from(SAME_WORDS) {
        next.ask_for_pool("web", Some("pool-x"));
        assert_eq!(next.told_of("pool-x"), (flaps + 2).min(SAME_WORDS.into()));
        next.ask_for_pool("web", None);
    }
    assert_eq!((next.keeper.outbox.len(), next.keeper.events_waiting), (0, 0));
}

#[test]
fn an_event_that_may_have_been_written_is_not_told_twice() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.no_events = Some(Answer::Unreachable("no answer in time".to_owned()));
    lab.put(service("web"));
    lab.run();
    let telling = lab.written.iter().find_map(|(_, write)| match &write.act {
        Act::Create(object) if write.kind == &EVENT => Some(object.value()),
        _ => None,
    });
    lab.no_events = None;
    // It was.
    lab.answer(&Write {
        kind: &EVENT,
        namespace: "default".into(),
        act: Act::Create(telling.expect("tried").into()),
    });
    lab.now += Duration::from_secs(10);
    lab.run();
    assert_eq!(lab.events.len(), 1);
}

#[test]
fn a_freed_address_goes_to_who_waits_at_once() {
    let mut lab = Lab::leading("192.0.2.7/32");
    lab.put(service("a"));
    lab.run();
    lab.put(service("b"));
    lab.run();
    assert_eq!((lab.ip("a"), lab.ip("b")), ("192.0.2.7".into(), Value::Null));
    lab.writes();
    lab.delete("a");
    lab.run();
    assert_eq!(lab.ip("b"), "192.0.2.7");
    assert_eq!(lab.writes(), (texts(&["b"]), texts(&["IPAllocated"])));
}

#[test]
fn a_service_that_is_no_load_balancer_any_more_is_cleared() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.put(service("web"));
    lab.run();
    lab.edit("web", |s| s["spec"]["type"] = "ClusterIP".into());
    lab.run();
    let web = &lab.objects[&("Service", "web".to_owned())];
    assert_eq!(web["metadata"]["annotations"], json!({}));
    assert_eq!(web["status"]["loadBalancer"], json!({}));
}

#[test]
fn who_does_not_lead_writes_nothing_and_takes_over_what_the_leader_gave() {
    let mut lab = Lab::new();
    lab.put(pool("p", "192.0.2.0/28"));
    lab.put(service("a"));
    lab.put(service("b"));
    lab.run();
    assert!(lab.written.is_empty());
    // The leader gives in another order.
    lab.edit("b", |s| s["status"]["loadBalancer"] = json!({ "ingress": [{ "ip": "192.0.2.0" }] }));
    lab.lead();
    assert_eq!((lab.ip("a"), lab.ip("b")), ("192.0.2.1".into(), "192.0.2.0".into()));
    let (services, _) = lab.writes();
    // The second one lacks only the annotation.
    assert_eq!(services, ["a", "b"]);
    lab.keeper.lead(false, lab.now);
    lab.put(service("c"));
    lab.run();
    assert!(lab.written.is_empty());
}

#[test]
fn an_old_word_of_a_watch_after_our_write_is_passed_over() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.put(service("web"));
    let old = lab.objects[&("Service", "web".to_owned())].clone();
    lab.run();
    lab.writes();
    lab.hear(&old);
    lab.run();
    assert_eq!(lab.writes(), (vec![], vec![]));
}

#[test]
fn a_list_of_restored_services_counts_though_their_versions_have_gone_back() {
    let mut lab = Lab::new();
    lab.version = 1_000;
    lab.put(pool("p", "192.0.2.0/28"));
    lab.lead();
    lab.put(service("web"));
    let before = lab.objects[&("Service", "web".to_owned())].clone();
    lab.run();
    assert_eq!(lab.ip("web"), "192.0.2.0");
    lab.writes();
    // A list that was asked for before our write is an old word as well.
    lab.list(lab.now, vec![before]);
    lab.run();
    assert_eq!(lab.writes(), (vec![], vec![]));
    // The API server's data is restored from a backup of before the Service had an address, and the Events are gone.
    lab.events.clear();
    lab.now += Duration::from_secs(60);
    lab.version = 7;
    let restored = lab.store(service("web"));
    lab.list(lab.now - Duration::from_secs(1), vec![restored]);
    lab.run();
    assert_eq!(lab.ip("web"), "192.0.2.0");
    let (services, events) = lab.writes();
    assert_eq!((services, events), (texts(&["web"]), texts(&["IPAllocated"])), "and nobody overwrote it");
    // And so with what happens to it after that.
    lab.edit("web", |s| s["metadata"]["annotations"] = json!({ "metallb.io/loadBalancerIPs": "192.0.2.9" }));
    lab.run();
    assert_eq!(lab.ip("web"), "192.0.2.9");
}

#[test]
fn a_conflict_is_written_again_with_what_is_there_now() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.put(service("web"));
    // Somebody edits it before our write arrives, and the watch is late.
    let mut edited = lab.objects[&("Service", "web".to_owned())].clone();
    edited["metadata"]["labels"] = json!({ "a": "b" });
    let edited = lab.store(edited);
    lab.run();
    assert_eq!(lab.ip("web"), Value::Null);
    lab.hear(&edited);
    lab.now += Duration::from_secs(1);
    lab.run();
    assert_eq!(lab.ip("web"), "192.0.2.0");
    assert_eq!(lab.objects[&("Service", "web".to_owned())]["metadata"]["labels"]["a"], "b");
}

#[test]
fn what_the_watch_shows_before_the_answer_is_told_once_and_not_written_again() {
    let answers: [fn(Value) -> Answer; 4] = [
        Answer::Written,
        |_| Answer::Conflict,
        |_| Answer::Refused("no".to_owned()),
        |_| Answer::Unreachable("no answer in time".to_owned()),
    ];
    for answer in answers {
        for shown_first in [true, false] {
            let mut lab = Lab::leading("192.0.2.0/28");
            lab.written.clear();
            lab.put(service("web"));
            let (target, wanted) = lab.keeper.due(lab.now).expect("its status");
            let Answer::Written(object) = lab.answer(&wanted.write()) else { panic!("it is written") };
            if shown_first {
                lab.hear(&object);
            }
            let (_, since) = lab.keeper.done(target, wanted, answer(object.clone()), lab.now);
            let is_written = matches!(answer(Value::Null), Answer::Written(_));
            assert_eq!(since.is_some(), shown_first || is_written);
            if !shown_first {
                lab.hear(&object);
            }
            lab.run_for(60);
            assert_eq!(lab.writes(), (vec![], texts(&["IPAllocated"])), "{:?}", answer(Value::Null));
            assert_eq!((lab.ip("web"), lab.keeper.outbox.len()), ("192.0.2.0".into(), 0));
        }
    }
}

#[test]
fn what_is_not_wanted_any_more_while_it_is_under_way_is_not_written_again() {
    for answer in [Answer::Conflict, Answer::Unreachable("no answer in time".to_owned())] {
        let mut lab = Lab::leading("192.0.2.0/28");
        lab.written.clear();
        lab.put(service("web"));
        let (target, wanted) = lab.keeper.due(lab.now).expect("its status");
        lab.edit("web", |s| s["spec"]["type"] = "ClusterIP".into());
        lab.keeper.done(target, wanted, answer, lab.now);
        lab.run_for(60);
        assert_eq!(lab.writes(), (vec![], vec![]));
        assert_eq!(lab.keeper.outbox.len(), 0);
    }
}

#[test]
fn that_another_program_rewrites_a_status_is_told_though_the_write_fails_at_first() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.put(service("web"));
    lab.run();
    lab.writes();
    lab.edit("web", |s| s["status"]["loadBalancer"] = json!({ "ingress": [{ "hostname": "mine" }] }));
    let (target, wanted) = lab.keeper.due(lab.now).expect("its status");
    lab.keeper.done(target, wanted, Answer::Unreachable("away".to_owned()), lab.now);
    lab.edit("web", |s| s["metadata"]["labels"] = json!({ "a": "b" }));
    lab.now += Duration::from_secs(1);
    lab.run();
    assert_eq!(lab.writes(), (texts(&["web"]), texts(&["StatusOverwritten"])));
}

#[test]
fn a_war_of_rewrites_is_told_once_and_ends() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.put(service("web"));
    lab.run();
    lab.writes();
    let mut answers = 0;
    for _ in 0..20 {
        lab.edit("web", |s| s["status"]["loadBalancer"] = json!({ "ingress": [{ "hostname": "mine" }] }));
        lab.run();
        answers += usize::from(lab.ip("web") == "192.0.2.0");
        lab.now += Duration::from_secs(1);
    }
    assert_eq!(answers, 3);
    let (services, events) = lab.writes();
    assert_eq!((services.len(), events), (3, texts(&["StatusOverwritten"])));
    // What is wanted anew is written in any case.
    lab.edit("web", |s| s["metadata"]["annotations"] = json!({ "metallb.io/loadBalancerIPs": "192.0.2.9" }));
    lab.run();
    assert_eq!(lab.ip("web"), "192.0.2.9");
}

#[test]
fn counters_are_written_once_a_second_at_most_and_only_where_they_differ() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.written.clear();
    let counters = |assigned: i64| {
        let status = IPAddressPoolStatus {
            assigned_ipv4: assigned,
            available_ipv4: 16 - assigned,
            ..Default::default()
        };
        BTreeMap::from([(Arc::<str>::from("p"), status)])
    };
    let mut written = 0;
    for i in 0..40 {
        lab.put(service(&format!("s{i}")));
        lab.now += Duration::from_millis(100);
        lab.keeper.tick(lab.now, || counters(1 + i64::from(i) / 20));
        while let Some((target, wanted)) = lab.keeper.due(lab.now) {
            written += usize::from(matches!(target, Target::Pool(_)));
            let answer = lab.answer(&wanted.write());
            let object = answer.clone();
            lab.keeper.done(target.clone(), wanted, answer, lab.now);
            if let (Answer::Written(object), true) = (object, target_is_heard(&target)) {
                lab.hear(&object);
            }
        }
    }
    assert_eq!(written, 2, "four seconds, and two values");
}

#[test]
fn the_configuration_state_is_made_and_says_what_is_wrong() {
    let mut lab = Lab::new();
    lab.keeper.owned_by(json!({ "apiVersion": "v1", "kind": "Pod", "name": "c", "uid": "u" }));
    lab.put(pool("p", "192.0.2.0/28"));
    lab.lead();
    let state = |lab: &Lab| lab.objects[&("ConfigurationState", "controller".to_owned())].clone();
    assert_eq!(state(&lab)["metadata"]["ownerReferences"][0]["name"], "c");
    assert_eq!(state(&lab)["metadata"]["labels"]["metallb.io/component-type"], "controller");
    assert_eq!(state(&lab)["status"]["result"], "Valid");
    lab.put(pool("bad", "192.0.2.0"));
    lab.run();
    assert_eq!(state(&lab)["status"]["result"], "Invalid");
    let summary = state(&lab)["status"]["errorSummary"].as_str().expect("a text").to_owned();
    assert!(summary.starts_with("IPAddressPool metallb-system/bad: spec.addresses[0]"), "{summary}");
    lab.written.clear();
    lab.put(service("web"));
    lab.run();
    assert!(lab.written.iter().all(|(target, _)| *target != Target::State));
}

#[test]
fn the_configuration_state_is_made_when_its_kind_comes_later() {
    let mut lab = Lab::new();
    lab.keeper.lead(true, lab.now);
    let mut tries = 0;
    for _ in 0..60 {
        lab.now += Duration::from_secs(1);
        while let Some((target, wanted)) = lab.keeper.due(lab.now) {
            assert_eq!(target, Target::State);
            tries += 1;
            lab.keeper.done(target, wanted, Answer::Gone, lab.now);
        }
    }
    assert!((10..=20).contains(&tries), "{tries} tries in a minute");
    lab.now += Duration::from_secs(5);
    lab.run();
    assert_eq!(lab.objects[&("ConfigurationState", "controller".to_owned())]["status"]["result"], "Valid");
    // One that was deleted meanwhile is another matter: the watch says so.
    lab.put(pool("bad", "192.0.2.0"));
    let (target, wanted) = lab.keeper.due(lab.now).expect("its status");
    lab.keeper.done(target, wanted, Answer::Gone, lab.now);
    assert_eq!(lab.keeper.outbox.len(), 0);
}

#[test]
fn many_services_are_written_once_each_and_standing_ones_cost_nothing() {
    let mut lab = Lab::leading("198.18.0.0/16");
    for i in 0..300 {
        lab.put(service(&format!("s{i}")));
    }
    lab.run();
    let (services, events) = lab.writes();
    assert_eq!((services.len(), events.len()), (300, 300));
    let before = lab.keeper.engine().allocator().visited();
    lab.put(service("one-more"));
    lab.run();
    let visited = lab.keeper.engine().allocator().visited() - before;
    assert!(visited <= 2, "{visited} visits for one service");
    assert_eq!(lab.writes().0, ["one-more"]);
}

#[test]
fn refused_events_are_given_up_and_do_not_keep_later_ones_from_being_told() {
    let mut lab = Lab::leading("198.18.0.0/16");
    lab.writes();
    lab.no_events = Some(Answer::Refused("exceeded quota".to_owned()));
    lab.put(service("web"));
    let mut tried_for = |seconds: u32| {
        lab.run_for(seconds);
        (lab.writes().1.len(), lab.keeper.outbox.len(), lab.keeper.events_waiting)
    };
    let (tries, ..) = tried_for(90);
    assert!(tries > 15, "{tries}");
    assert_eq!(tried_for(90), (REFUSALS as usize - tries, 0, 0));
    lab.no_events = None;
    lab.put(service("shop"));
    lab.run();
    assert_eq!(lab.writes().1, texts(&["IPAllocated"]));
}

#[test]
fn the_events_that_wait_are_counted_right_while_nobody_answers_and_are_bounded() {
    let mut lab = Lab::leading("192.0.2.0/28");
    lab.put(service("web"));
    lab.run();
    lab.no_events = Some(Answer::Unreachable("away".to_owned()));
    let key = ServiceKey::new("default", "web");
    for round in 0..EVENTS + 100 {
        lab.keeper.tell(&key, Event::normal("IPAllocated", "assigned"), Occasion::Seen(0));
        if round % 100 == 0 {
            lab.now += Duration::from_secs(10);
            lab.run();
        }
    }
    assert_eq!((lab.keeper.outbox.len(), lab.keeper.events_waiting), (EVENTS, EVENTS));
    // What is under way when this one leads no more isn't taken up again.
    lab.now += Duration::from_secs(10);
    let (target, wanted) = lab.keeper.due(lab.now).expect("one is tried");
    lab.keeper.lead(false, lab.now);
    lab.keeper.done(target, wanted, Answer::Refused("no".to_owned()), lab.now);
    assert_eq!((lab.keeper.outbox.len(), lab.keeper.events_waiting), (0, 0));
}
