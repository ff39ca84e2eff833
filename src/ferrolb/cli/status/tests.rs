use super::*;
use crate::shell::grpc::api::{Allocation, Counters, FailedCheck, Layer2Address, Route};

fn established() -> Session {
    Session {
        peer: "tor-a".into(),
        remote: "10.0.0.1:179".into(),
        state: SessionState::Established.into(),
        state_ms: 11_045_600,
        local: Some("10.0.0.5:40123".into()),
        local_asn: Some(64512),
        remote_asn: Some(64513),
        remote_id: Some("10.0.0.1".into()),
        families: vec!["IPv4".into(), "IPv6".into()],
        no_next_hop: vec!["IPv6".into()],
        timers: Some(Timers {
            hold_configured: 60,
            hold_offered: Some(180),
            hold: Some(90),
            keepalive_configured_ms: None,
            keepalive_ms: Some(30_000),
            connect_ms: 10_000,
        }),
        capabilities_sent: vec!["IPv4 unicast".into(), "route refresh".into(), "4-octet AS 64512".into()],
        capabilities_received: vec!["IPv4 unicast".into(), "4-octet AS 64513".into(), "FQDN".into()],
        counters: Some(Counters {
            updates_sent: 3,
            updates_received: 1,
            announced: 2,
            withdrawn: 1,
            refused: 0,
            end_of_rib: vec!["IPv4".into()],
            verdicts: Some(Verdicts { treated_as_withdraw: 1, ..Verdicts::default() }),
        }),
        last_error: Some("hold timer expired".into()),
        last_sent: Some(LastNotification { message: "Hold Timer Expired".into(), ago_ms: 11_046_000 }),
        last_received: None,
        pending: vec!["holdTime".into()],
        route_count: Some(1),
        routes: vec![Route {
            prefix: "192.0.2.1/32".into(),
            local_pref: None,
            communities: vec!["64512:7".into()],
            large_communities: vec!["64512:1:2".into()],
            as_path_prepend: 2,
        }],
        routes_pending: Some(4),
        totals: Some(Totals {
            established: 2,
            sent: Some(Messages {
                opens: 3,
                updates: 5,
                notifications: 1,
                keepalives: 400,
                route_refreshes: 0,
            }),
            received: Some(Messages { opens: 2, updates: 4, keepalives: 399, ..Messages::default() }),
            verdicts: Some(Verdicts {
                accepted: 1,
                attribute_discarded: 1,
                treated_as_withdraw: 1,
                session_reset: 1,
            }),
        }),
    }
}

fn down() -> Session {
    Session {
        peer: "tor-b".into(),
        remote: "[2001:db8:ffff:ffff:ffff:ffff:ffff:2]:1790".into(),
        state: SessionState::Active.into(),
        state_ms: 4_200,
        local_asn: Some(64512),
        last_error: Some("connecting failed: Connection refused (os error 111)\u{1b}[31m".into()),
        route_count: Some(0),
        ..Session::default()
    }
}

fn status() -> GetStatusResponse {
    let allocation = |service: &str, ip: Option<&str>, error: Option<&str>| Allocation {
        service: service.into(),
        ips: ip.map(Into::into).into_iter().collect(),
        pool: ip.map(|_| "front".into()),
        error: error.map(Into::into),
    };
    GetStatusResponse {
        role: "standalone".into(),
        node: "n1".into(),
        version: "0.1.0".into(),
        started_ms: 1_795_000_000_000,
        uptime_ms: 183_845_000,
        sessions: vec![established(), down()],
        allocations: vec![
            allocation("default/web", Some("192.0.2.1"), None),
            allocation("default/idle", None, Some("no pool has a free address; add one to a pool")),
        ],
        errors: vec![Issue {
            kind: "BGPPeer".into(),
            namespace: Some("metallb-system".into()),
            name: "tor-c".into(),
            field: Some("spec.holdTime".into()),
            message: "a hold time is 0 or at least 3 s".into(),
        }],
        warnings: vec![],
        layer2_addresses: vec![
            Layer2Address {
                ip: "192.0.2.1".into(),
                interfaces: vec!["eth0".into(), "eth1".into()],
                requests: 9,
                responses: 8,
                gratuitous: 20,
            },
            Layer2Address { ip: "2001:db8::1".into(), ..Layer2Address::default() },
        ],
        manifest_errors: vec!["web.yaml: document 2, line 14: a tab stands where a space is needed".into()],
        failed_checks: vec![FailedCheck {
            name: "metrics".into(),
            why: "127.0.0.1:7472: Address already in use (os error 98)".into(),
        }],
        standing_back_for: vec![],
    }
}

fn show(details: bool, routes: bool, only_sessions: bool) -> Show {
    Show { details, routes, only_sessions }
}

fn narrow_and_clean(text: &str) {
    assert!(text.lines().all(|l| l.chars().count() <= usize::from(table::WIDTH)), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
}

#[test]
fn the_overview_says_what_is_wrong_first() {
    let text = for_people(&status(), show(false, false, false));
    narrow_and_clean(&text);
    assert_eq!(text, include_str!("overview.txt"));
}

#[test]
fn one_session_is_shown_with_everything() {
    let mut one = status();
    one.sessions.truncate(1);
    let text = for_people(&one, show(true, true, true));
    narrow_and_clean(&text);
    assert_eq!(text, include_str!("session.txt"));
}

#[test]
fn the_exit_status_says_whether_something_is_wrong() {
    let mut status = status();
    assert!(!is_fine(&status, show(false, false, false)));
    status.sessions.truncate(1);
    assert!(!is_fine(&status, show(false, false, false)));
    // Asked about one session, only that counts.
    assert!(is_fine(&status, show(true, true, true)));
    status.errors.clear();
    status.manifest_errors.clear();
    assert!(!is_fine(&status, show(false, false, false)));
    status.failed_checks.clear();
    status.allocations.truncate(1);
    assert!(is_fine(&status, show(false, false, false)));
    status.standing_back_for =
        vec!["DaemonSet metallb-system/speaker (quay.io/metallb/speaker:v0.16.1)".into()];
    assert!(!is_fine(&status, show(false, false, false)));
    let text = for_people(&status, show(false, false, false));
    assert!(
        text.contains("Left to these, while they run") && text.contains("metallb-system/speaker"),
        "{text}"
    );
}

#[test]
fn a_state_is_a_name_in_json() {
    let json = serde_json::to_value(status()).unwrap();
    assert_eq!(json["sessions"][0]["state"], "Established");
    assert_eq!(json["sessions"][0]["routeCount"], 1);
    assert_eq!(json["sessions"][0]["routesPending"], 4);
    assert_eq!(json["sessions"][0]["counters"]["verdicts"]["treatedAsWithdraw"], 1);
    assert_eq!(json["sessions"][0]["totals"]["verdicts"]["sessionReset"], 1);
    assert_eq!(json["sessions"][0]["totals"]["sent"]["keepalives"], 400);
    assert_eq!(json["manifestErrors"].as_array().map(Vec::len), Some(1));
}
