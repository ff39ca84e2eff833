//! The objects that remedies add.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::types::{Family, ObjectKey, ServiceKey};
use crate::world::World;

/// Ranges for documentation (RFC 5737, RFC 3849): what an example pool may have.
pub(super) const EXAMPLE_RANGES: [[&str; 2]; 3] = [
    ["192.0.2.0/24", "2001:db8:0:1::/112"],
    ["198.51.100.0/24", "2001:db8:0:2::/112"],
    ["203.0.113.0/24", "2001:db8:0:3::/112"],
];

/// A configuration object.
pub(super) fn config(api_version: &str, kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// The name itself, or with the first number that makes it free.
pub(super) fn free_name(world: &World, wanted: &ObjectKey) -> String {
    let mut key = wanted.clone();
    let mut number = 2u32;
    while world.config_object(&key).is_some() {
        key.name = format!("{}-{number}", wanted.name);
        number = number.saturating_add(1);
    }
    key.name
}

/// The spec of a peer whose session carries the families of these addresses.
#[expect(clippy::indexing_slicing, reason = "assigns to a key of a JSON object made here")]
pub(super) fn example_peer(ips: &[IpAddr]) -> Value {
    let v4 = ips.iter().any(IpAddr::is_ipv4);
    let mut spec = json!({
        "myASN": 64512,
        "peerASN": 64513,
        "peerAddress": if v4 { "198.51.100.1" } else { "2001:db8::1" },
    });
    if v4 && ips.iter().any(IpAddr::is_ipv6) {
        spec["dualStackAddressFamily"] = true.into();
    }
    spec
}

/// An EndpointSlice with one ready endpoint; its address is an example.
#[expect(clippy::indexing_slicing, reason = "assigns to a key of a JSON object made here")]
pub(super) fn slice(service: &ServiceKey, family: Family, node: Option<&str>) -> Value {
    let (address_type, address) = match family {
        Family::V4 => ("IPv4", "198.51.100.10"),
        Family::V6 => ("IPv6", "2001:db8::10"),
    };
    let mut endpoint = json!({"addresses": [address], "conditions": {"ready": true}});
    if let Some(node) = node {
        endpoint["nodeName"] = node.into();
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-{}-example", service.name, address_type.to_lowercase()),
            "namespace": &*service.namespace,
            "labels": {"kubernetes.io/service-name": &*service.name},
        },
        "addressType": address_type,
        "endpoints": [endpoint],
        "ports": [],
    })
}

/// An address as an entry of a pool.
pub(super) fn host_prefix(ip: IpAddr) -> String {
    format!("{ip}/{}", Family::of(ip).max_prefix_len())
}
