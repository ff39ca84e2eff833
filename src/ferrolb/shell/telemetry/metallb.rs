//! What monitors, dashboards and alerts that were made for MetalLB ask for, for tests of what is served.

/// Name, type and labels of metrics.
pub type Table = &'static [(&'static str, &'static str, &'static [&'static str])];

/// Of both roles.
pub const CLIENT: Table = &[
    ("metallb_k8s_client_updates_total", "counter", &[]),
    ("metallb_k8s_client_update_errors_total", "counter", &[]),
    ("metallb_k8s_client_config_loaded_bool", "gauge", &[]),
    ("metallb_k8s_client_config_stale_bool", "gauge", &[]),
];

/// Of a controller that leads.
pub const POOLS: Table = &[
    ("metallb_allocator_addresses_total", "gauge", &["pool"]),
    ("metallb_allocator_ipv4_addresses_total", "gauge", &["pool"]),
    ("metallb_allocator_ipv6_addresses_total", "gauge", &["pool"]),
    ("metallb_allocator_addresses_in_use_total", "gauge", &["pool"]),
    ("metallb_allocator_ipv4_addresses_in_use_total", "gauge", &["pool"]),
    ("metallb_allocator_ipv6_addresses_in_use_total", "gauge", &["pool"]),
];

/// Of a speaker that announces.
pub const SPEAKER: Table = &[("metallb_speaker_announced", "gauge", &["service", "protocol", "node", "ip"])];

/// Of a speaker that answers on layer 2.
pub const LAYER2: Table = &[
    ("metallb_layer2_requests_received", "counter", &["ip"]),
    ("metallb_layer2_responses_sent", "counter", &["ip"]),
    ("metallb_layer2_gratuitous_sent", "counter", &["ip"]),
];

/// Of a speaker with a session: those of its native mode, with the label that its FRR modes have besides, and those of the
/// exporters of these modes, under the names that the shipped monitors give them.
pub const SESSIONS: Table = &[
    ("metallb_bgp_session_up", "gauge", &["peer", "vrf"]),
    ("metallb_bgp_announced_prefixes_total", "gauge", &["peer", "vrf"]),
    ("metallb_bgp_received_prefixes_total", "gauge", &["peer", "vrf"]),
    ("metallb_bgp_pending_prefixes_total", "gauge", &["peer", "vrf"]),
    ("metallb_bgp_opens_sent", "counter", &["peer", "vrf"]),
    ("metallb_bgp_opens_received", "counter", &["peer", "vrf"]),
    ("metallb_bgp_notifications_sent", "counter", &["peer", "vrf"]),
    ("metallb_bgp_updates_total", "counter", &["peer", "vrf"]),
    ("metallb_bgp_updates_total_received", "counter", &["peer", "vrf"]),
    ("metallb_bgp_keepalives_sent", "counter", &["peer", "vrf"]),
    ("metallb_bgp_keepalives_received", "counter", &["peer", "vrf"]),
    ("metallb_bgp_route_refresh_sent", "counter", &["peer", "vrf"]),
    ("metallb_bgp_total_sent", "counter", &["peer", "vrf"]),
    ("metallb_bgp_total_received", "counter", &["peer", "vrf"]),
];

/// Each of the table is in the scrape, with its type, and a series with exactly its labels.
pub fn assert_served(scrape: &str, table: Table) {
    for (name, kind, labels) in table {
        let declared = format!("# TYPE {name} {kind}");
        assert!(scrape.lines().any(|line| line == declared), "{declared} isn't in\n{scrape}");
        let is_series = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        };
        let series =
            scrape.lines().find(is_series).unwrap_or_else(|| panic!("no series of {name} in\n{scrape}"));
        let inner =
            series.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map(|(inner, _)| inner);
        let pairs = inner.into_iter().flat_map(|inner| inner.split("\","));
        let found: Vec<&str> =
            pairs.filter_map(|pair| pair.split_once('=')).map(|(label, _)| label).collect();
        assert_eq!(found, *labels, "{series}");
    }
}
