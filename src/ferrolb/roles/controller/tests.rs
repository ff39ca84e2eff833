//! Whole controllers against the stand-in for an API server.

use clap::Parser;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::cli::Command;
use crate::shell::kube::fake::Fake;
use crate::shell::telemetry::metallb;
use crate::shell::tls::trusting::{self, free_port, get_plainly};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
const SERVICES: &str = "/api/v1/namespaces/default/services";
/// Where they are listed and watched.
const ALL_SERVICES: &str = "/api/v1/services";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases/ferrolb-controller";
const POOL: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/pool";
const STATE: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/configurationstates/controller";

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), String>>,
}

fn start(fake: &Fake) -> Running {
    start_at(fake, 0, 0)
}

/// With its pages at these ports.
fn start_at(fake: &Fake, metrics: u16, checks: u16) -> Running {
    let (metrics, checks) = (format!("--port={metrics}"), format!("--health-probe-port={checks}"));
    let line = ["ferrolb", "controller", &metrics, &checks];
    let Command::Controller(args) = crate::cli::Cli::parse_from(line).command else {
        panic!("the controller")
    };
    let (stop, stopped) = oneshot::channel();
    let client = fake.client();
    let task = tokio::spawn(async move {
        work(&args, client, "metallb-system".into(), async { drop(stopped.await) }).await
    });
    Running { stop, task }
}

impl Running {
    async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("no panic").expect("an orderly end");
    }
}

fn put_service(fake: &Fake, name: &str) {
    let service = json!({
        "metadata": { "namespace": "default", "name": name, "uid": format!("uid-{name}") },
        "spec": { "type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{ "port": 80 }] },
        "status": { "loadBalancer": {} },
    });
    fake.put(&format!("{SERVICES}/{name}"), service);
}

fn put_pool(fake: &Fake, addresses: &str) {
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "namespace": "metallb-system", "name": "pool", "uid": "uid-pool" },
        "spec": { "addresses": [addresses] },
    });
    fake.put(POOL, pool);
}

fn ip(fake: &Fake, name: &str) -> Option<String> {
    let service = fake.get(&format!("{SERVICES}/{name}"))?;
    Some(service.pointer("/status/loadBalancer/ingress/0/ip")?.as_str()?.to_owned())
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The paths of what was written about Services.
fn service_writes(fake: &Fake) -> Vec<String> {
    fake.writes().into_iter().filter(|w| w.contains("/services/")).collect()
}

#[tokio::test]
async fn a_controller_gives_addresses_counts_and_reports() {
    let fake = Fake::start().await;
    put_pool(&fake, "192.0.2.0/30");
    put_service(&fake, "a");
    let controller = start(&fake);
    until("a has one", || ip(&fake, "a").is_some()).await;
    put_service(&fake, "b");
    until("b has one", || ip(&fake, "b").as_deref() == Some("192.0.2.1")).await;
    let counted = json!({ "assignedIPv4": 2, "assignedIPv6": 0, "availableIPv4": 2, "availableIPv6": 0 });
    until("counted", || fake.get(POOL).is_some_and(|pool| pool["status"] == counted)).await;
    until("reported", || fake.get(STATE).is_some_and(|state| state["status"]["result"] == "Valid")).await;
    controller.stop().await;
    let mut writes = service_writes(&fake);
    writes.sort();
    assert_eq!(writes, [format!("PATCH {SERVICES}/a/status"), format!("PATCH {SERVICES}/b/status")]);
    let events =
        fake.writes().iter().filter(|w| w.starts_with("POST /api/v1/namespaces/default/events")).count();
    assert_eq!(events, 2);
}

#[tokio::test]
async fn the_next_leads_at_once_and_changes_nothing() {
    let fake = Fake::start().await;
    put_pool(&fake, "192.0.2.0/28");
    let first = start(&fake);
    put_service(&fake, "a");
    until("a has one", || ip(&fake, "a").is_some()).await;
    let second = start(&fake);
    put_service(&fake, "b");
    until("b has one", || ip(&fake, "b").is_some()).await;
    first.stop().await;
    let stopped = Instant::now();
    put_service(&fake, "c");
    until("c has one", || ip(&fake, "c").is_some()).await;
    assert!(stopped.elapsed() < Duration::from_secs(5), "after {:?}", stopped.elapsed());
    assert_eq!(service_writes(&fake).len(), 3, "{:?}", service_writes(&fake));
    second.stop().await;
}

/// A leader has stopped that has given `z` an address which the next leader, that has the Lease and knows `a` and `z` without
/// one, can't have heard of: what it asks of all Services is held.
async fn hand_over_unheard(fake: &Fake) -> Running {
    let status = |name: &str| format!("{SERVICES}/{name}/status");
    put_pool(fake, "192.0.2.0/28");
    put_service(fake, "z");
    fake.hold(&status("z"));
    fake.refuse(&status("a"), 422);
    let first = start(fake);
    until("z is being written", || fake.is_awaited(&status("z"))).await;
    put_service(fake, "a");
    let checks = free_port();
    let second = start_at(fake, 0, checks);
    let is_ready = async {
        while !get_plainly(([127, 0, 0, 1], checks).into(), "/readyz").await.starts_with("HTTP/1.1 200 ") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_ready).await.expect("ready in time");
    let holder = |fake: &Fake| fake.get(LEASE).map(|lease| lease["spec"]["holderIdentity"].clone());
    let former = holder(fake);
    fake.hold(ALL_SERVICES);
    fake.end_watches();
    fake.release(&status("z"));
    until("z has one", || ip(fake, "z").is_some()).await;
    first.stop().await;
    fake.refuse(&status("a"), 200);
    until("the second has the Lease", || {
        let holder = holder(fake);
        holder != former && holder != Some("".into())
    })
    .await;
    second
}

#[tokio::test]
async fn what_the_former_leader_wrote_last_is_known_before_an_address_is_given() {
    let fake = Fake::start().await;
    let second = hand_over_unheard(&fake).await;
    let given = ip(&fake, "z");
    // A list that fails keeps it waiting too, and no longer than that.
    fake.refuse(ALL_SERVICES, 503);
    fake.release(ALL_SERVICES);
    until("it has tried again", || fake.refused(ALL_SERVICES) > 2).await;
    assert_eq!(service_writes(&fake), [format!("PATCH {SERVICES}/z/status")]);
    fake.refuse(ALL_SERVICES, 200);
    until("a has one", || ip(&fake, "a").is_some()).await;
    assert_eq!(ip(&fake, "z"), given);
    assert_ne!(ip(&fake, "a"), given);
    second.stop().await;
    assert_eq!(service_writes(&fake).len(), 2, "{:?}", service_writes(&fake));
}

#[tokio::test]
async fn who_loses_the_lease_while_it_lists_does_not_lead() {
    let fake = Fake::start().await;
    let second = hand_over_unheard(&fake).await;
    until("the Services are asked for", || fake.is_awaited(ALL_SERVICES)).await;
    let mut lease = fake.get(LEASE).expect("it is there");
    let won = lease.clone();
    lease["spec"]["holderIdentity"] = "third".into();
    fake.put(LEASE, lease);
    // It has heard of that by then; and what it would write, it would write by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    fake.release(ALL_SERVICES);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(service_writes(&fake), [format!("PATCH {SERVICES}/z/status")]);
    fake.put(LEASE, {
        let mut given_up = won;
        given_up["spec"]["holderIdentity"] = "".into();
        given_up
    });
    until("a has one", || ip(&fake, "a").is_some()).await;
    assert_ne!(ip(&fake, "a"), ip(&fake, "z"));
    second.stop().await;
}

#[tokio::test]
async fn what_happened_while_the_api_server_was_away_is_made_up_for() {
    let mut fake = Fake::start().await;
    put_pool(&fake, "192.0.2.0/28");
    put_service(&fake, "a");
    let controller = start(&fake);
    until("a has one", || ip(&fake, "a").is_some()).await;
    fake.stop();
    put_service(&fake, "b");
    fake.resume().await;
    until("b has one", || ip(&fake, "b").is_some()).await;
    assert_eq!(service_writes(&fake).len(), 2, "{:?}", service_writes(&fake));
    controller.stop().await;
}

#[tokio::test]
async fn a_leader_goes_on_after_the_api_servers_data_was_restored() {
    let mut fake = Fake::start().await;
    put_pool(&fake, "192.0.2.0/28");
    put_service(&fake, "a");
    let controller = start(&fake);
    until("the Lease is held", || fake.get(LEASE).is_some()).await;
    let backup = fake.backup();
    until("a has one", || ip(&fake, "a").is_some()).await;
    // Versions go on, by more than what is written after the restoration.
    for _ in 0..500 {
        put_pool(&fake, "192.0.2.0/28");
    }
    let edited = fake.get(&format!("{SERVICES}/a")).expect("it is there");
    fake.put(&format!("{SERVICES}/a"), edited);
    let renewed = |fake: &Fake| fake.get(LEASE).map(|lease| lease["spec"]["renewTime"].clone());
    let held = renewed(&fake);
    until("the Lease is renewed", || renewed(&fake) != held).await;
    fake.restore(backup).await;
    put_service(&fake, "b");
    until("b has one", || ip(&fake, "b").is_some()).await;
    until("a has one again", || ip(&fake, "a").is_some()).await;
    until("the Lease is renewed again", || renewed(&fake) != held).await;
    controller.stop().await;
    // Whoever ends gives up only what is his.
    assert_eq!(fake.get(LEASE).map(|lease| lease["spec"]["holderIdentity"].clone()), Some("".into()));
}

#[tokio::test]
async fn what_is_refused_is_tried_again_and_the_others_are_served() {
    let fake = Fake::start().await;
    put_pool(&fake, "192.0.2.0/28");
    let path = format!("{SERVICES}/a/status");
    fake.refuse(&path, 422);
    put_service(&fake, "a");
    let controller = start(&fake);
    put_service(&fake, "b");
    until("b has one", || ip(&fake, "b").is_some()).await;
    assert_eq!(ip(&fake, "a"), None);
    fake.refuse(&path, 200);
    until("a has one", || ip(&fake, "a").is_some()).await;
    let seen: Vec<Value> = ["a", "b"].iter().filter_map(|name| ip(&fake, name)).map(Value::from).collect();
    assert_eq!(seen, ["192.0.2.0", "192.0.2.1"]);
    controller.stop().await;
}

#[tokio::test]
async fn what_a_webhook_or_a_limit_refuses_holds_up_nobody_else() {
    const EVENTS: &str = "/api/v1/namespaces/default/events";
    let fake = Fake::start().await;
    put_pool(&fake, "192.0.2.0/28");
    let path = format!("{SERVICES}/a/status");
    fake.refuse(&path, 500);
    fake.refuse(EVENTS, 429);
    put_service(&fake, "a");
    let controller = start(&fake);
    // By then the pauses are long.
    until("a is tried again", || fake.refused(&path) >= 7).await;
    let begin = Instant::now();
    put_service(&fake, "b");
    until("b has one", || ip(&fake, "b").is_some()).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "after {:?}", begin.elapsed());
    until("its event is tried again", || fake.refused(EVENTS) >= 6).await;
    let begin = Instant::now();
    put_service(&fake, "c");
    until("c has one", || ip(&fake, "c").is_some()).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "after {:?}", begin.elapsed());
    fake.refuse(&path, 200);
    fake.refuse(EVENTS, 200);
    until("a has one", || ip(&fake, "a").is_some()).await;
    until("all are told", || fake.objects(EVENTS).len() == 3).await;
    controller.stop().await;
}

#[tokio::test]
async fn a_controller_stands_back_for_metallbs_whenever_that_runs() {
    const SET: &str = "/apis/apps/v1/namespaces/metallb-system/replicasets/controller-1";
    let metallbs = |pods: u32| {
        let container = json!({ "name": "controller", "image": "quay.io/metallb/controller:v0.16.1", "args": ["--port=7472"] });
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": { "name": "controller-1", "namespace": "metallb-system",
                          "ownerReferences": [{ "kind": "Deployment", "name": "controller", "uid": "d" }] },
            "spec": { "template": {
                "metadata": { "labels": { "app": "metallb" } }, "spec": { "containers": [container] },
            } },
            "status": { "replicas": pods },
        })
    };
    let fake = Fake::start().await;
    put_pool(&fake, "192.0.2.0/28");
    put_service(&fake, "a");
    fake.put(SET, metallbs(1));
    let controller = start(&fake);
    // That nothing is written is the point; the webhook's certificate and the definition of a kind are another matter.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ours = ["/services/", "/events", "/leases", "/metallb.io/"];
    let written = || fake.writes().into_iter().filter(move |w| ours.iter().any(|part| w.contains(part)));
    assert_eq!(written().collect::<Vec<_>>(), Vec::<String>::new());
    fake.put(SET, metallbs(0));
    until("a has one", || ip(&fake, "a").is_some()).await;
    // It is back.
    fake.put(SET, metallbs(1));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = written().count();
    put_service(&fake, "b");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((written().count(), ip(&fake, "b")), (before, None));
    fake.delete(SET);
    until("b has one", || ip(&fake, "b").is_some()).await;
    controller.stop().await;
}

#[tokio::test]
async fn what_metallbs_monitors_ask_a_controller_for_is_at_its_ports() {
    let fake = Fake::start().await;
    fake.account("token", "prometheus", true);
    put_pool(&fake, "192.0.2.0/28");
    put_service(&fake, "a");
    let (metrics, checks) = (free_port(), free_port());
    let [metrics_at, checks_at] = [metrics, checks].map(|port| ([127, 0, 0, 1], port).into());
    let controller = start_at(&fake, metrics, checks);
    until("a has one", || ip(&fake, "a").is_some()).await;
    let (scrape, _) = trusting::get(metrics_at, "/metrics", Some("token")).await.unwrap();
    metallb::assert_served(&scrape, metallb::CLIENT);
    metallb::assert_served(&scrape, metallb::POOLS);
    assert!(scrape.contains("metallb_allocator_addresses_in_use_total{pool=\"pool\"} 1\n"), "{scrape}");
    assert!(
        scrape.contains("ferrolb_watch_behind_seconds{resource=\"ipaddresspools.metallb.io\"} 0\n"),
        "{scrape}"
    );
    let unknown = trusting::get(metrics_at, "/metrics", Some("another")).await.unwrap().0;
    assert!(unknown.starts_with("HTTP/1.1 401 "), "{unknown}");
    assert!(get_plainly(checks_at, "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(get_plainly(checks_at, "/metrics").await.starts_with("HTTP/1.1 404 "));

    // Another one, which doesn't lead, shows no pools: sums over all controllers stay right.
    let metrics = free_port();
    let follower = start_at(&fake, metrics, 0);
    let metrics_at = ([127, 0, 0, 1], metrics).into();
    let loaded = async {
        loop {
            // It may not listen yet.
            if let Ok((scrape, _)) = trusting::get(metrics_at, "/metrics", Some("token")).await
                && scrape.contains("metallb_k8s_client_config_loaded_bool 1\n")
            {
                return scrape;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let scrape = tokio::time::timeout(PATIENCE, loaded).await.expect("a scrape in time");
    assert!(!scrape.contains("metallb_allocator_"), "{scrape}");
    controller.stop().await;
    follower.stop().await;
}

const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgpsessionstates.frrk8s.metallb.io";

#[tokio::test]
async fn a_definition_of_session_states_that_is_there_is_left_alone() {
    let fake = Fake::start().await;
    let theirs =
        json!({"metadata": {"name": "bgpsessionstates.frrk8s.metallb.io", "labels": {"of": "frr-k8s"}}});
    fake.put(DEFINITION, theirs);
    let before = fake.get(DEFINITION);
    let defining = define_sessions(fake.client(), [Duration::from_millis(1); 3]);
    tokio::time::timeout(PATIENCE, defining).await.expect("it is content");
    assert_eq!(fake.get(DEFINITION), before);
    assert_eq!(fake.writes().len(), 4, "{:?}", fake.writes());
}

#[tokio::test]
async fn a_definition_of_session_states_that_goes_after_the_start_is_made_again() {
    let fake = Fake::start().await;
    let theirs = json!({"metadata": {"name": "bgpsessionstates.frrk8s.metallb.io"}});
    fake.put(DEFINITION, theirs);
    let looks = std::iter::repeat(Duration::from_millis(10));
    let defining = tokio::spawn(define_sessions(fake.client(), looks));
    until("it was looked at", || !fake.writes().is_empty()).await;
    // Theirs, and then ours.
    for _ in 0..2 {
        fake.delete(DEFINITION);
        until("it is made again", || fake.get(DEFINITION).is_some_and(|it| it.get("spec").is_some())).await;
    }
    defining.abort();
    assert!(DEFINITION_LOOKS.iter().sum::<Duration>() >= Duration::from_secs(15 * 60));
}
