//! The kinds of this group, and their CustomResourceDefinitions.

use serde_json::{Map, Value, json};

use crate::bfd_profile::BFDProfileSpec;
use crate::bgp_advertisement::BGPAdvertisementSpec;
use crate::bgp_peer::BGPPeerSpec;
use crate::community::CommunitySpec;
use crate::configuration_state::ConfigurationStateStatus;
use crate::ip_address_pool::{IPAddressPoolSpec, IPAddressPoolStatus};
use crate::l2_advertisement::L2AdvertisementSpec;
use crate::service_bgp_status::ServiceBGPStatusStatus;
use crate::service_l2_status::ServiceL2StatusStatus;
use crate::{GROUP, bgp_peer, schema};

/// A kind of this group. All are namespaced and have a status subresource.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name, such as `BGPPeer`.
    pub name: &'static str,
    /// Its name in URLs, such as `bgppeers`.
    pub plural: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// Its versions, oldest first; all are served, and the last is stored.
    pub versions: &'static [Version],
    /// Whether an object without `spec` is refused.
    pub spec_required: bool,
    /// The schema of `status`; `None`: an object without fields.
    status: Option<fn() -> Value>,
    /// What `kubectl get` shows besides the name.
    columns: &'static [Column],
}

/// A version of a [`Kind`].
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// Its name, such as `v1beta1`.
    pub name: &'static str,
    /// What the API server says to who uses it, where it is deprecated.
    pub deprecation: Option<&'static str>,
    /// The schema of `spec`; `None`: there is no `spec`.
    spec: Option<fn() -> Value>,
}

/// A printer column: its name, type, JSON path, and priority.
type Column = (&'static str, &'static str, &'static str, u32);

/// Every kind of this group, by name.
pub const KINDS: [Kind; 9] = [
    Kind {
        name: "BFDProfile",
        plural: "bfdprofiles",
        description: "The settings of BFD sessions that run beside BGP sessions.",
        versions: &[v1beta1(schema::of::<BFDProfileSpec>)],
        spec_required: false,
        status: None,
        columns: &[
            ("Passive Mode", "boolean", ".spec.passiveMode", 0),
            ("Transmit Interval", "integer", ".spec.transmitInterval", 0),
            ("Receive Interval", "integer", ".spec.receiveInterval", 0),
            ("Multiplier", "integer", ".spec.detectMultiplier", 0),
        ],
    },
    Kind {
        name: "BGPAdvertisement",
        plural: "bgpadvertisements",
        description: "How the addresses of some pools are announced over BGP.",
        versions: &[v1beta1(schema::of::<BGPAdvertisementSpec>)],
        spec_required: false,
        status: None,
        columns: &[
            ("IPAddressPools", "string", ".spec.ipAddressPools", 0),
            ("IPAddressPool Selectors", "string", ".spec.ipAddressPoolSelectors", 0),
            ("Peers", "string", ".spec.peers", 0),
            ("Node Selectors", "string", ".spec.nodeSelectors", 10),
        ],
    },
    Kind {
        name: "BGPPeer",
        plural: "bgppeers",
        description: "A router that the speakers peer with.",
        versions: &[
            Version {
                name: "v1beta1",
                deprecation: Some("metallb.io/v1beta1 BGPPeer is deprecated: write metallb.io/v1beta2"),
                spec: Some(bgp_peer::v1beta1_schema),
            },
            Version { name: "v1beta2", deprecation: None, spec: Some(schema::of::<BGPPeerSpec>) },
        ],
        spec_required: false,
        status: None,
        columns: &[
            ("Address", "string", ".spec.peerAddress", 0),
            ("ASN", "string", ".spec.peerASN", 0),
            ("BFD Profile", "string", ".spec.bfdProfile", 0),
            ("Multi Hops", "string", ".spec.ebgpMultiHop", 0),
        ],
    },
    Kind {
        name: "Community",
        plural: "communities",
        description: "Names for BGP communities, which advertisements can use.",
        versions: &[v1beta1(schema::of::<CommunitySpec>)],
        spec_required: false,
        status: None,
        columns: &[],
    },
    Kind {
        name: "ConfigurationState",
        plural: "configurationstates",
        description: "What one controller or speaker says about the configuration; it writes this itself.",
        versions: &[Version { name: "v1beta1", deprecation: None, spec: None }],
        spec_required: false,
        status: Some(schema::of::<ConfigurationStateStatus>),
        columns: &[
            ("Result", "string", ".status.result", 0),
            ("ErrorSummary", "string", ".status.errorSummary", 0),
            ("Age", "date", ".metadata.creationTimestamp", 0),
        ],
    },
    Kind {
        name: "IPAddressPool",
        plural: "ipaddresspools",
        description: "Addresses to give to services of type LoadBalancer.",
        versions: &[v1beta1(schema::of::<IPAddressPoolSpec>)],
        spec_required: true,
        status: Some(schema::of::<IPAddressPoolStatus>),
        columns: &[
            ("Auto Assign", "boolean", ".spec.autoAssign", 0),
            ("Avoid Buggy IPs", "boolean", ".spec.avoidBuggyIPs", 0),
            ("Addresses", "string", ".spec.addresses", 0),
        ],
    },
    Kind {
        name: "L2Advertisement",
        plural: "l2advertisements",
        description: "Which addresses are answered for with ARP and NDP, and from where.",
        versions: &[v1beta1(schema::of::<L2AdvertisementSpec>)],
        spec_required: false,
        status: None,
        columns: &[
            ("IPAddressPools", "string", ".spec.ipAddressPools", 0),
            ("IPAddressPool Selectors", "string", ".spec.ipAddressPoolSelectors", 0),
            ("Interfaces", "string", ".spec.interfaces", 0),
            ("Node Selectors", "string", ".spec.nodeSelectors", 10),
        ],
    },
    Kind {
        name: "ServiceBGPStatus",
        plural: "servicebgpstatuses",
        description: "The peers to which one node announces one service; speakers write it.",
        versions: &[v1beta1(no_fields)],
        spec_required: false,
        status: Some(schema::of::<ServiceBGPStatusStatus>),
        columns: &[
            ("Node", "string", ".status.node", 0),
            ("Service Name", "string", ".status.serviceName", 0),
            ("Service Namespace", "string", ".status.serviceNamespace", 0),
        ],
    },
    Kind {
        name: "ServiceL2Status",
        plural: "servicel2statuses",
        description: "The node that answers for one service on layer 2; speakers write it.",
        versions: &[v1beta1(no_fields)],
        spec_required: false,
        status: Some(schema::of::<ServiceL2StatusStatus>),
        columns: &[
            ("Allocated Node", "string", ".status.node", 0),
            ("Service Name", "string", ".status.serviceName", 0),
            ("Service Namespace", "string", ".status.serviceNamespace", 0),
        ],
    },
];

impl Kind {
    /// The kind of that name.
    pub fn find(name: &str) -> Option<&'static Kind> {
        const { &KINDS }.iter().find(|k| k.name == name)
    }

    /// The CustomResourceDefinition's name, such as `bgppeers.metallb.io`.
    pub fn crd_name(&self) -> String {
        format!("{}.{GROUP}", self.plural)
    }

    /// The schema of a whole object of `version`, one of [`Kind::versions`].
    #[expect(clippy::indexing_slicing, reason = "assigns to a key of a JSON object made here")]
    pub fn schema(&self, version: &Version) -> Value {
        let mut properties = Map::new();
        let text = |description: &str| json!({"type": "string", "description": description});
        properties.insert("apiVersion".into(), text("The group and version of the object."));
        properties.insert("kind".into(), text("The kind of the object."));
        properties.insert("metadata".into(), json!({"type": "object"}));
        if let Some(spec) = version.spec {
            properties.insert("spec".into(), spec());
        }
        let status = self.status.map_or_else(no_fields, |status| status());
        properties.insert("status".into(), status);
        let mut whole = json!({
            "type": "object",
            "description": self.description,
            "properties": properties,
        });
        if self.spec_required {
            whole["required"] = json!(["spec"]);
        }
        whole
    }

    /// The CustomResourceDefinition.
    pub fn crd(&self) -> Value {
        let stored = self.versions.last().map(|v| v.name);
        let versions: Vec<Value> =
            self.versions.iter().map(|v| self.crd_version(v, stored == Some(v.name))).collect();
        let spec = json!({
            "group": GROUP,
            // The null takes away what an earlier installation may have left there, which wouldn't go with this strategy.
            "conversion": {"strategy": "None", "webhook": null},
            "names": {
                "kind": self.name,
                "listKind": format!("{}List", self.name),
                "plural": self.plural,
                "singular": self.name.to_lowercase(),
            },
            "scope": "Namespaced",
            "versions": versions,
        });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.crd_name()},
            "spec": spec,
        })
    }

    /// The CustomResourceDefinition as YAML.
    pub fn crd_yaml(&self) -> String {
        // Only a map with a key that isn't text, or a broken writer, makes this fail.
        serde_saphyr::to_string(&self.crd()).unwrap_or_default()
    }

    #[expect(clippy::indexing_slicing, reason = "assigns to a key of a JSON object made here")]
    fn crd_version(&self, version: &Version, storage: bool) -> Value {
        let mut out = json!({
            "name": version.name,
            "served": true,
            "storage": storage,
            "schema": {"openAPIV3Schema": self.schema(version)},
            "subresources": {"status": {}},
        });
        if let Some(warning) = version.deprecation {
            out["deprecated"] = json!(true);
            out["deprecationWarning"] = json!(warning);
        }
        if !self.columns.is_empty() {
            out["additionalPrinterColumns"] = self.columns.iter().map(column).collect();
        }
        out
    }
}

/// The CustomResourceDefinitions of all kinds, by kind.
pub fn all() -> Vec<Value> {
    KINDS.iter().map(Kind::crd).collect()
}

/// The CustomResourceDefinitions as one YAML stream, as `kubectl apply -f -` takes it.
pub fn yaml() -> String {
    let documents: Vec<String> = KINDS.iter().map(Kind::crd_yaml).collect();
    documents.join("---\n")
}

const fn v1beta1(spec: fn() -> Value) -> Version {
    Version { name: "v1beta1", deprecation: None, spec: Some(spec) }
}

fn no_fields() -> Value {
    schema::empty("Has no fields.")
}

#[expect(clippy::indexing_slicing, reason = "assigns to a key of a JSON object made here")]
fn column(&(name, type_, path, priority): &Column) -> Value {
    let mut column = json!({"name": name, "type": type_, "jsonPath": path});
    if priority != 0 {
        column["priority"] = json!(priority);
    }
    column
}

#[cfg(test)]
mod tests;
