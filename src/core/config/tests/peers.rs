use std::time::Duration;

use super::*;
use crate::config::{Peer, PeerTarget};
use crate::types::RemoteAs;

fn spec(more: &str) -> String {
    format!("{{myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, {more}}}")
}

fn peer(line: &str) -> Peer {
    let Compiled { config, .. } = compiled(line);
    assert_eq!(config.errors, [], "{line}");
    config.peers.into_iter().next().unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn own_rules() {
    check_fields(
        "BGPPeer",
        &[
            ("{myASN: 0, peerASN: 42, peerAddress: 1.2.3.4}", &["spec.myASN"]),
            ("{peerASN: 42, peerAddress: 1.2.3.4}", &["spec.myASN"]),
            ("{myASN: 1, peerAddress: 1.2.3.4}", &["spec.peerASN"]),
            ("{myASN: 1, peerASN: 0, peerAddress: 1.2.3.4}", &["spec.peerASN"]),
            ("{myASN: 1, peerASN: 0, dynamicASN: external, peerAddress: 1.2.3.4}", &[]),
            ("{myASN: 1, peerASN: 2, dynamicASN: external, peerAddress: 1.2.3.4}", &["spec.dynamicASN"]),
            ("{myASN: 1, dynamicASN: both, peerAddress: 1.2.3.4}", &["spec.dynamicASN"]),
            ("{myASN: 1, peerASN: 1, peerAddress: 1.2.3.4, ebgpMultiHop: true}", &["spec.ebgpMultiHop"]),
            ("{myASN: 1, dynamicASN: internal, peerAddress: 1.2.3.4, ebgpMultiHop: true}", &[]),
            ("{myASN: 1, peerASN: 2}", &["spec.peerAddress"]),
            ("{myASN: 1, peerASN: 2, peerAddress: ''}", &["spec.peerAddress"]),
            ("{myASN: 1, peerASN: 2, peerAddress: 1.2.3.4, interface: eth0}", &["spec.interface"]),
            ("{myASN: 1, peerASN: 2, interface: \"eth0\\n\"}", &["spec.interface"]),
            ("{myASN: 1, peerASN: 2, peerAddress: 1.2.3.04}", &["spec.peerAddress"]),
            ("{myASN: 1, peerASN: 2, peerAddress: 'fe80::1%eth0'}", &["spec.peerAddress"]),
            ("{myASN: 1, peerASN: 2, peerAddress: 1.2.3.4/32}", &["spec.peerAddress"]),
            (&spec("sourceAddress: x, routerID: y"), &["spec.routerID", "spec.sourceAddress"]),
            (&spec("vrf: \"a\\rb\""), &["spec.vrf"]),
            (&spec("peerPort: 16385"), &["spec.peerPort"]),
            (&spec("bfdProfile: none"), &["spec.bfdProfile"]),
            (&spec("connectTime: 1.5s"), &["spec.connectTime"]),
            (&spec("connectTime: 0s"), &["spec.connectTime"]),
            (&spec("connectTime: 65536s"), &["spec.connectTime"]),
            (&spec("nodeSelectors: [{}, {}]"), &["spec.nodeSelectors[1]"]),
        ],
    );
}

#[test]
fn timers() {
    check_fields(
        "BGPPeer",
        &[
            (&spec("holdTime: 0s"), &[]),
            (&spec("holdTime: 500ms"), &[]),
            (&spec("holdTime: 1s"), &["spec.holdTime"]),
            (&spec("holdTime: 2999ms"), &["spec.holdTime"]),
            (&spec("holdTime: -1s"), &["spec.holdTime"]),
            (&spec("holdTime: soon"), &["spec.holdTime"]),
            (&spec("holdTime: 18h12m16s"), &["spec.holdTime"]),
            (&spec("holdTime: 65535s999ms"), &[]),
            (&spec("keepaliveTime: 21845s"), &[]),
            (&spec("keepaliveTime: 21846s"), &["spec.keepaliveTime"]),
            (&spec("keepaliveTime: 900ms"), &["spec.keepaliveTime"]),
            (&spec("keepaliveTime: 2562047h"), &["spec.keepaliveTime"]),
            (&spec("holdTime: 90s, keepaliveTime: 90s"), &[]),
            (&spec("holdTime: 90s, keepaliveTime: 90001ms"), &["spec.keepaliveTime"]),
            (&spec("holdTime: soon, keepaliveTime: 1s"), &["spec.holdTime"]),
        ],
    );
    let timers = |more: &str| {
        let peer = peer(&format!("BGPPeer tor {}", spec(more)));
        (peer.hold_time, peer.keepalive_time, peer.connect_time)
    };
    assert_eq!(timers(""), (None, None, None));
    assert_eq!(timers("holdTime: 90s, connectTime: 1m"), (Some(90), None, Some(Duration::from_secs(60))));
    assert_eq!(timers("keepaliveTime: 2500ms"), (Some(7), Some(Duration::from_millis(2500)), None));
    assert_eq!(
        timers("holdTime: 3900ms, keepaliveTime: 3500ms"),
        (Some(3), Some(Duration::from_secs(3)), None)
    );
    assert_eq!(timers("holdTime: 90s, keepaliveTime: 0s"), (Some(90), None, None));
    assert_eq!(timers("keepaliveTime: 0s"), (Some(0), None, None));
}

#[test]
fn both_versions_have_one_meaning() {
    let old = peer("BGPPeer.v1beta1 tor {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, peerPort: 0}");
    assert_eq!((old.port, old.hold_time, old.keepalive_time), (179, None, None));
    let old = peer("BGPPeer.v1beta1 tor {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 30s}");
    assert_eq!(old.hold_time, Some(30));
    assert_eq!(fields("BGPPeer", &spec("peerPort: 0")), ["spec.peerPort"]);
    assert_eq!(fields("BGPPeer.v1", &spec("")), ["apiVersion"]);
}

#[test]
fn all_fields_arrive() {
    let all = compiled(
        "BFDProfile fast {}
         BGPPeer tor {myASN: 42, dynamicASN: external, peerAddress: '::ffff:1.2.3.4', peerPort: 1179, routerID: 10.20.30.40, sourceAddress: 10.20.30.41, enableGracefulRestart: true, ebgpMultiHop: true, vrf: red, bfdProfile: fast, localASN: 64999, dualStackAddressFamily: true, password: secret}",
    );
    assert_eq!(all.config.errors, []);
    assert_eq!(
        places(&all.config.warnings),
        ["tor: spec.bfdProfile", "tor: spec.enableGracefulRestart", "tor: spec.vrf"]
    );
    let peer = &all.config.peers[0];
    assert_eq!(peer.target, PeerTarget::Address([1, 2, 3, 4].into()));
    assert_eq!((peer.my_asn.get(), peer.local_asn.map(|a| a.get())), (42, Some(64999)));
    assert_eq!((peer.remote_as, peer.port), (RemoteAs::External, 1179));
    assert_eq!(peer.router_id.map(|i| i.to_string()).as_deref(), Some("10.20.30.40"));
    assert_eq!(peer.source_address, Some([10, 20, 30, 41].into()));
    assert_eq!((peer.vrf.as_deref(), peer.bfd_profile.as_deref()), (Some("red"), Some("fast")));
    assert!(peer.graceful_restart && peer.ebgp_multi_hop && peer.dual_stack_address_family);
    assert_eq!(peer.password.as_ref().map(|p| p.octets()), Some(&b"secret"[..]));
}

#[test]
fn what_is_unlikely_to_be_meant_is_a_warning() {
    for (more, field) in [
        ("routerID: '2001:db8::1'", "tor: spec.routerID"),
        ("routerID: 0.0.0.0", "tor: spec.routerID"),
        ("sourceAddress: '2001:db8::1'", "tor: spec.sourceAddress"),
        ("disableMP: true", "tor: spec.disableMP"),
        ("passwordSecret: {namespace: elsewhere}", "tor: spec.passwordSecret"),
    ] {
        let config = compiled(&format!("BGPPeer tor {}", spec(more))).config;
        assert_eq!((places(&config.warnings), config.errors.len()), (vec![field.to_owned()], 0), "{more}");
    }
    let unnumbered = compiled("BGPPeer tor {myASN: 1, peerASN: 2, interface: eth0}").config;
    assert_eq!(places(&unnumbered.warnings), ["tor: spec.interface"]);
}

#[test]
fn passwords() {
    let (fits, long) = ("x".repeat(80), "x".repeat(81));
    let secrets = format!(
        "Secret good {{password: hush}}
         Secret opaque {{type: Opaque, password: hush}}
         Secret other {{}}
         Secret broken {{password: \"hush\\n\"}}
         Secret long {{password: {long}}}"
    );
    let (inline, secret) = ("spec.password", "spec.passwordSecret");
    for (more, expected) in [
        ("passwordSecret: {name: good, namespace: ignored}".to_owned(), vec![]),
        ("passwordSecret: {name: missing}".to_owned(), vec![secret]),
        ("passwordSecret: {name: opaque}".to_owned(), vec![secret]),
        ("passwordSecret: {name: other}".to_owned(), vec![secret]),
        ("passwordSecret: {name: broken}".to_owned(), vec![secret]),
        ("passwordSecret: {name: long}".to_owned(), vec![secret]),
        ("password: hush, passwordSecret: {name: good}".to_owned(), vec![secret]),
        ("password: hush, passwordSecret: {namespace: a}".to_owned(), vec![secret]),
        ("password: hush, passwordSecret: {}".to_owned(), vec![]),
        ("password: hush, passwordSecret: {name: ''}".to_owned(), vec![]),
        ("password: \"hush\\n\"".to_owned(), vec![inline]),
        (format!("password: {fits}"), vec![]),
        (format!("password: {long}"), vec![inline]),
        ("password: 1234".to_owned(), vec![inline]),
    ] {
        let config = compiled(&format!("{secrets}\nBGPPeer tor {}", spec(&more))).config;
        let found: Vec<_> = config.errors.iter().filter_map(|e| e.field.as_deref()).collect();
        assert_eq!(found, expected, "{more}");
        let said = format!("{:?} {:?}", config.errors, config.peers);
        assert!(!said.contains("hush") && !said.contains("xxx") && !said.contains("1234"), "{said}");
    }
}
