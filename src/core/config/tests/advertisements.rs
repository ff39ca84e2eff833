use super::*;
use crate::config::BgpAdvertisement;

const POOLS: &str = "IPAddressPool v4 {addresses: [10.20.30.40/24, 1.2.3.0/28]} | {side: edge}
    IPAddressPool range {addresses: [3.3.3.2-3.3.3.254]}
    IPAddressPool dual {addresses: [10.9.0.0/24, '2001:db8::/64']} | {side: edge}
    IPAddressPool broken {addresses: [oops]} | {side: edge}";

fn with_pools(more: &str) -> Compiled {
    compiled(&format!("{POOLS}\n{more}"))
}

/// The fields of the errors of the one BGPAdvertisement.
fn errors(more: &str) -> Vec<String> {
    let errors = with_pools(more).config.errors.into_iter();
    errors.filter(|e| e.kind == "BGPAdvertisement").map(|e| e.field.unwrap_or_default()).collect()
}

fn advertisement(more: &str) -> BgpAdvertisement {
    assert_eq!(errors(more), [""; 0], "{more}");
    with_pools(more).config.bgp_advertisements.into_iter().next().unwrap_or_else(|| panic!("{more}"))
}

#[test]
fn own_rules() {
    check_fields(
        "BGPAdvertisement",
        &[
            ("{}", &[]),
            ("{ipAddressPools: [p, q, p]}", &["spec.ipAddressPools[2]"]),
            ("{peers: [p, p]}", &["spec.peers[1]"]),
            ("{communities: ['1:1', '1:1']}", &["spec.communities[1]"]),
            ("{aggregationLength: 0}", &["spec.aggregationLength"]),
            ("{aggregationLength: 33}", &["spec.aggregationLength"]),
            ("{aggregationLengthV6: -1}", &["spec.aggregationLengthV6"]),
            ("{aggregationLengthV6: 129}", &["spec.aggregationLengthV6"]),
            ("{aggregationLengthV6: 0}", &[]),
            ("{localPref: -1}", &["spec.localPref"]),
            ("{localPref: 4294967295}", &[]),
            ("{localPref: 4294967296}", &["spec.localPref"]),
            ("{asPathPrepend: 0}", &["spec.asPathPrepend"]),
            ("{asPathPrepend: 11}", &["spec.asPathPrepend"]),
            ("{asPathPrepend: 10}", &[]),
            ("{serviceSelectors: [{}], aggregationLength: 32, aggregationLengthV6: 128}", &[]),
            ("{serviceSelectors: [{}], aggregationLength: 24}", &["spec.serviceSelectors"]),
        ],
    );
}

#[test]
fn an_aggregate_fits_into_every_entry_of_accepted_pools() {
    let (v4, v6) = ("spec.aggregationLength", "spec.aggregationLengthV6");
    for (spec, expected) in [
        ("{aggregationLength: 28, ipAddressPools: [v4]}", vec![]),
        ("{aggregationLength: 27, ipAddressPools: [v4]}", vec![v4]),
        ("{aggregationLength: 26, ipAddressPools: [range]}", vec![]),
        ("{aggregationLength: 25, ipAddressPools: [range]}", vec![v4]),
        ("{aggregationLengthV6: 64, ipAddressPools: [dual]}", vec![]),
        ("{aggregationLength: 23, aggregationLengthV6: 63, ipAddressPools: [dual]}", vec![v4, v6]),
        ("{aggregationLengthV6: 63, ipAddressPools: [v4]}", vec![]),
        ("{aggregationLength: 8, aggregationLengthV6: 8, ipAddressPools: [broken]}", vec![]),
    ] {
        assert_eq!(errors(&format!("BGPAdvertisement a {spec}")), expected, "{spec}");
    }
    let frozen = compiled(
        "IPAddressPool old@1 {addresses: [10.0.0.0/24]}
         IPAddressPool young@2 {addresses: [10.0.0.240-10.0.1.15]}
         BGPAdvertisement a {aggregationLength: 26}",
    );
    assert_eq!(places(&frozen.config.errors), ["young: spec.addresses[0]"]);
}

#[test]
fn pools_are_chosen_by_name_and_by_label() {
    let pools = |spec: &str| {
        let advertisement = advertisement(&format!("BGPAdvertisement a {spec}"));
        advertisement.pools.0.iter().map(|p| p.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(pools("{}"), "broken dual range v4");
    assert_eq!(pools("{ipAddressPools: [range]}"), "range");
    assert_eq!(pools("{ipAddressPools: [nowhere]}"), "");
    assert_eq!(pools("{ipAddressPoolSelectors: [{matchLabels: {side: edge}}]}"), "broken dual v4");
    assert_eq!(pools("{ipAddressPoolSelectors: [{matchLabels: {side: core}}]}"), "");
    assert_eq!(pools("{ipAddressPoolSelectors: [{}]}"), "broken dual range v4");
    let both = "{ipAddressPools: [range], ipAddressPoolSelectors: [{matchLabels: {side: edge}}]}";
    assert_eq!(pools(both), "broken dual range v4");
}

#[test]
fn names_that_do_not_exist_are_warnings_and_rejected_ones_are_not() {
    let all = with_pools(
        "BGPPeer bad {myASN: 0}
         BGPAdvertisement a {ipAddressPools: [nowhere, broken], peers: [bad, nobody]}
         L2Advertisement b {ipAddressPools: [broken, nowhere]}",
    );
    let expected = ["a: spec.ipAddressPools[0]", "a: spec.peers[1]", "b: spec.ipAddressPools[1]"];
    assert_eq!(places(&all.config.warnings), expected);
    assert_eq!((all.config.bgp_advertisements.len(), all.config.l2_advertisements.len()), (1, 1));
}

#[test]
fn communities_are_aliases_first_then_literals() {
    let aliases =
        "Community c {communities: [{name: big, value: 'large:4294967295:0:1'}, {name: '1:1', value: '2:2'}]}
        Community bad {communities: [{name: lost, value: no-export}]}";
    let ad = advertisement(&format!(
        "{aliases}\nBGPAdvertisement a {{communities: [big, '1:1', '65535:65281', 'large:1:2:3']}}"
    ));
    let standard: Vec<_> = ad.attributes.communities.iter().map(|c| c.to_string()).collect();
    let large: Vec<_> = ad.attributes.large_communities.iter().map(|c| c.to_string()).collect();
    assert_eq!(
        (standard, large),
        (vec!["2:2".into(), "65535:65281".into()], vec!["1:2:3".into(), "4294967295:0:1".into()])
    );
    for text in
        ["no-export", "1:2:3", "65536:1", "1:x", "large:1:2", "big:1:2:3", "large:1:2:4294967296", "lost", ""]
    {
        let found = errors(&format!("{aliases}\nBGPAdvertisement a {{communities: ['1:1', '{text}']}}"));
        assert_eq!(found, ["spec.communities[1]"], "{text}");
    }
    let many = |n: usize| {
        let list: Vec<_> = (0..n)
            .map(|i| if i % 2 == 0 { format!("'1:{i}'") } else { format!("'large:1:1:{i}'") })
            .collect();
        errors(&format!("BGPAdvertisement a {{communities: [{}]}}", list.join(", ")))
    };
    assert_eq!((many(63), many(64)), (vec![], vec!["spec.communities".to_owned()]));
}

#[test]
fn values_of_aliases() {
    check_fields(
        "Community",
        &[
            ("{}", &[]),
            ("{communities: [{name: a, value: '1:2'}, {name: b, value: '1:2'}]}", &[]),
            ("{communities: [{name: a, value: '12345:12345:12345'}]}", &["spec.communities[0].value"]),
            ("{communities: [{name: a, value: 1234}]}", &["spec.communities[0].value"]),
            ("{communities: [{name: a}]}", &["spec.communities[0].value"]),
            (
                "{communities: [{name: a, value: '1:2'}, {name: a, value: '1:2'}]}",
                &["spec.communities[1].name"],
            ),
        ],
    );
}

#[test]
fn zero_is_unset() {
    let ad = advertisement("BGPAdvertisement a {localPref: 0}");
    assert_eq!((ad.attributes.local_pref, ad.attributes.as_path_prepend), (None, 0));
    assert_eq!((ad.aggregation_length, ad.aggregation_length_v6), (32, 128));
}

#[test]
fn bfd_echo_and_ipv6_pools_are_not_joined() {
    let base = "BFDProfile echo {echoMode: true}
        BFDProfile plain {}
        BGPPeer tor {myASN: 42, peerASN: 142, peerAddress: 1.2.3.4, bfdProfile: echo}
        BGPPeer spine {myASN: 42, peerASN: 142, peerAddress: 1.2.3.5, bfdProfile: plain}";
    for (spec, expected) in [
        ("{}", vec!["spec.peers"]),
        ("{ipAddressPools: [dual], peers: [tor]}", vec!["spec.peers"]),
        ("{ipAddressPools: [v4]}", vec![]),
        ("{peers: [spine]}", vec![]),
    ] {
        assert_eq!(errors(&format!("{base}\nBGPAdvertisement a {spec}")), expected, "{spec}");
    }
}

#[test]
fn prepending_within_the_as_is_one_warning() {
    let warnings = |spec: &str| {
        let all = compiled(&format!(
            "BGPPeer in1 {{myASN: 1, peerASN: 1, peerAddress: 1.2.3.4, nodeSelectors: [{{matchLabels: {{host: n1}}}}]}}
             BGPPeer in2 {{myASN: 1, dynamicASN: internal, peerAddress: 1.2.3.5, nodeSelectors: [{{matchLabels: {{host: n1}}}}]}}
             BGPPeer out {{myASN: 1, peerASN: 2, peerAddress: 1.2.3.6}}
             BGPAdvertisement a {spec}"
        ));
        places(&all.config.warnings)
    };
    assert_eq!(warnings("{asPathPrepend: 3}"), ["a: spec.asPathPrepend"]);
    assert_eq!(warnings("{asPathPrepend: 3, peers: [in2]}"), ["a: spec.asPathPrepend"]);
    assert_eq!(warnings("{asPathPrepend: 3, peers: [out]}"), [""; 0]);
    assert_eq!(warnings("{asPathPrepend: 3, nodeSelectors: [{matchLabels: {host: n2}}]}"), [""; 0]);
    assert_eq!(warnings("{}"), [""; 0]);
}
