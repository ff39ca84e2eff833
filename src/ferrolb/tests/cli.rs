//! The commands as a user runs them: exit status, what is on which stream, what is left on disk.
#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p, namespace: metallb-system}
spec: {addresses: [192.0.2.1-192.0.2.3, 2001:db8::1-2001:db8::3]}
";

fn service(name: &str, dual: bool) -> String {
    let ips = if dual { "[10.96.0.1, 'fd00::1']" } else { "[10.96.0.1]" };
    let policy = if dual { "RequireDualStack" } else { "SingleStack" };
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: LoadBalancer, clusterIPs: {ips}, \
         ipFamilyPolicy: {policy}, ports: [{{port: 80}}]}}\n"
    )
}

fn ferrolb(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferrolb")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn allocate_prints_what_each_service_gets() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.yaml"), POOL.to_owned() + &service("a", false) + &service("b", true))
        .unwrap();
    let out = ferrolb(&["allocate", "-f", folder.path().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let document: serde_json::Value = serde_saphyr::from_str(&text(&out.stdout)).unwrap();
    assert_eq!(document["apiVersion"], "ferrolb.io/v1alpha1");
    assert_eq!(document["kind"], "Allocations");
    let services = serde_json::json!([
        {"namespace": "default", "name": "a", "ips": ["192.0.2.1"]},
        {"namespace": "default", "name": "b", "ips": ["192.0.2.2", "2001:db8::1"]},
    ]);
    assert_eq!(document["spec"]["services"], services);
}

#[test]
fn allocate_writes_beside_the_manifests_and_keeps_what_is_there_when_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let (manifests, target) = (folder.path().join("m.yaml"), folder.path().join("allocations.yaml"));
    let run =
        || ferrolb(&["allocate", "-f", folder.path().to_str().unwrap(), "-w", target.to_str().unwrap()]);
    fs::write(&manifests, POOL.to_owned() + &service("b", false)).unwrap();
    let out = run();
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), String::new()), "{}", text(&out.stderr));
    assert!(fs::read_to_string(&target).unwrap().contains("192.0.2.1"));

    // `a` would come first in a fresh run; `b` keeps its address.
    fs::write(&manifests, POOL.to_owned() + &service("a", false) + &service("b", false)).unwrap();
    assert_eq!(run().status.code(), Some(0));
    let written = fs::read_to_string(&target).unwrap();
    let document: serde_json::Value = serde_saphyr::from_str(&written).unwrap();
    let services = serde_json::json!([
        {"namespace": "default", "name": "a", "ips": ["192.0.2.2"]},
        {"namespace": "default", "name": "b", "ips": ["192.0.2.1"]},
    ]);
    assert_eq!(document["spec"]["services"], services);
    assert_eq!(run().status.code(), Some(0));
    assert_eq!(fs::read_to_string(&target).unwrap(), written, "a third run changes nothing");
    assert_eq!(names(folder.path()), ["allocations.yaml", "m.yaml"], "and leaves nothing else");
}

#[test]
fn allocate_leaves_out_what_another_file_gives() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("allocations.yaml");
    fs::write(folder.path().join("m.yaml"), POOL.to_owned() + &service("a", false) + &service("b", false))
        .unwrap();
    let by_hand = "apiVersion: ferrolb.io/v1alpha1\nkind: Allocations\nmetadata: {name: allocations}\n\
                   spec: {services: [{namespace: default, name: a, ips: [192.0.2.3]}]}\n";
    fs::write(folder.path().join("hand.yaml"), by_hand).unwrap();
    let out = ferrolb(&["allocate", "-f", folder.path().to_str().unwrap(), "-w", target.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let plan = ferrolb(&["plan", "-f", folder.path().to_str().unwrap(), "-o", "json"]);
    assert_eq!(plan.status.code(), Some(0), "the two files can be read together: {}", text(&plan.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["services"][0]["ips"], serde_json::json!(["192.0.2.3"]));
    assert_eq!(plan["services"][1]["ips"], serde_json::json!(["192.0.2.1"]));
}

#[test]
fn allocate_says_which_service_got_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let many: String = (0..4).map(|i| service(&format!("s{i}"), false)).collect();
    fs::write(folder.path().join("m.yaml"), POOL.to_owned() + &many).unwrap();
    let out = ferrolb(&["allocate", "-f", folder.path().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("Service default/s3"), "{}", text(&out.stderr));
}

#[test]
fn the_table_names_services_peers_and_reasons() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.yaml"), POOL.to_owned() + &service("web", false)).unwrap();
    let out = ferrolb(&["plan", "-f", folder.path().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let table = text(&out.stdout);
    for wanted in ["default/web", "192.0.2.1", "local", "noAdvertisement"] {
        assert!(table.contains(wanted), "{wanted} isn't in\n{table}");
    }
    assert!(table.lines().all(|l| l.chars().count() <= 100), "wider than 100 columns:\n{table}");
}

#[test]
fn standalone_that_cannot_start_says_why_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let out = ferrolb(&["standalone", "--manifests", missing.to_str().unwrap(), "--node", "n1"]);
    assert_eq!(out.status.code(), Some(2));
    let error = text(&out.stderr);
    assert!(error.contains(missing.to_str().unwrap()) && error.contains("--manifests"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn the_definitions_are_nine_documents() {
    let out = ferrolb(&["crds"]);
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(text(&out.stdout).matches("kind: CustomResourceDefinition").count(), 9);
}

#[test]
fn standalone_announces_without_its_metrics_port_and_takes_it_when_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.yaml"), POOL.to_owned() + &service("a", false)).unwrap();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ferrolb"))
        .args(["standalone", "--node", "n1", "--manifests", folder.path().to_str().unwrap()])
        .args(["--metrics-bind-address", &address.to_string()])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut refused, mut allocated) = (false, false);
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        refused |= line.contains("\"event\":\"metricsNotBound\"") && line.contains("\"level\":\"error\"");
        allocated |= line.contains("\"event\":\"ipAllocated\"");
        if refused && allocated {
            break;
        }
    }
    assert!(refused && allocated, "it ended: {:?}", child.try_wait());
    // From here on nobody reads its log either.
    drop(occupied);
    let begun = Instant::now();
    let ready = loop {
        let answer = page(address, "/readyz");
        if answer.starts_with("HTTP/1.1 200 ") || begun.elapsed() > Duration::from_secs(30) {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let metrics = page(address, "/metrics");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready.ends_with("ok wire\nok main\nok desired-set\n"), "{ready}");
    assert!(metrics.contains("metallb_allocator_addresses_in_use_total{pool=\"p\"} 1\n"), "{metrics}");
}

/// Up to 50 lines of a batch are lines; beyond, they are one.
#[test]
fn many_services_at_once_are_one_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let pool = POOL.replace("192.0.2.1-192.0.2.3", "192.0.2.0/25");
    let many: String = (0..60).map(|i| service(&format!("s{i}"), false)).collect();
    fs::write(folder.path().join("m.yaml"), pool + &many).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ferrolb"))
        .args(["standalone", "--node", "n1", "--metrics-bind-address", "off"])
        .args(["--manifests", folder.path().to_str().unwrap()])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let summary = lines.by_ref().find(|l| l.contains("\"event\":\"servicesChanged\"")).unwrap();
    assert!(summary.contains("\"allocated\":60,") && summary.contains("\"failed\":0,"), "{summary}");
    fs::write(folder.path().join("one.yaml"), service("one", false)).unwrap();
    // The first that is told of by itself.
    let allocated = lines.by_ref().find(|l| l.contains("\"event\":\"ipAllocated\"")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(allocated.contains("default/one"), "{allocated}");
}

fn page(address: SocketAddr, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
    }
    answer
}
