//! The kinds that are watched or written, and how one is asked for.

use std::sync::Arc;

use ferrolb_core::types::{NodeName, ObjectKey, ServiceKey};
use ferrolb_core::world::ObjectId;
use kube::discovery::ApiResource;
use serde_json::Value;

/// A kind of object, as the API server knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version in that group.
    pub version: &'static str,
    /// The kind's name, such as `Service`.
    pub kind: &'static str,
    /// Its name in paths, such as `services`.
    pub plural: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> Kind {
    Kind { group, version, kind, plural, namespaced }
}

/// `v1` Service.
pub static SERVICE: Kind = kind("", "v1", "Service", "services", true);
/// `v1` Namespace.
pub static NAMESPACE: Kind = kind("", "v1", "Namespace", "namespaces", false);
/// `v1` Node.
pub static NODE: Kind = kind("", "v1", "Node", "nodes", false);
/// `v1` Secret.
pub static SECRET: Kind = kind("", "v1", "Secret", "secrets", true);
/// `discovery.k8s.io` EndpointSlice.
pub static ENDPOINT_SLICE: Kind = kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", true);
/// `v1` Event, about objects of its namespace.
pub static EVENT: Kind = kind("", "v1", "Event", "events", true);
/// `v1` Pod: only the own one is ever read.
pub static POD: Kind = kind("", "v1", "Pod", "pods", true);
/// `coordination.k8s.io` Lease.
pub static LEASE: Kind = kind("coordination.k8s.io", "v1", "Lease", "leases", true);
/// `metallb.io` IPAddressPool.
pub static IP_ADDRESS_POOL: Kind = kind("metallb.io", "v1beta1", "IPAddressPool", "ipaddresspools", true);
/// `metallb.io` Community.
pub static COMMUNITY: Kind = kind("metallb.io", "v1beta1", "Community", "communities", true);
/// `metallb.io` BFDProfile.
pub static BFD_PROFILE: Kind = kind("metallb.io", "v1beta1", "BFDProfile", "bfdprofiles", true);
/// `metallb.io` BGPAdvertisement.
pub static BGP_ADVERTISEMENT: Kind =
    kind("metallb.io", "v1beta1", "BGPAdvertisement", "bgpadvertisements", true);
/// `metallb.io` BGPPeer.
pub static BGP_PEER: Kind = kind("metallb.io", "v1beta2", "BGPPeer", "bgppeers", true);
/// `metallb.io` L2Advertisement.
pub static L2_ADVERTISEMENT: Kind =
    kind("metallb.io", "v1beta1", "L2Advertisement", "l2advertisements", true);
/// `metallb.io` ServiceBGPStatus.
pub static SERVICE_BGP_STATUS: Kind =
    kind("metallb.io", "v1beta1", "ServiceBGPStatus", "servicebgpstatuses", true);
/// `metallb.io` ServiceL2Status.
pub static SERVICE_L2_STATUS: Kind =
    kind("metallb.io", "v1beta1", "ServiceL2Status", "servicel2statuses", true);
/// `frrk8s.metallb.io` BGPSessionState.
pub static BGP_SESSION_STATE: Kind =
    kind("frrk8s.metallb.io", "v1beta1", "BGPSessionState", "bgpsessionstates", true);
/// `apiextensions.k8s.io` CustomResourceDefinition: one is made where there is none.
pub static CUSTOM_RESOURCE_DEFINITION: Kind =
    kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false);
/// `metallb.io` ConfigurationState.
pub static CONFIGURATION_STATE: Kind =
    kind("metallb.io", "v1beta1", "ConfigurationState", "configurationstates", true);
/// `v1` ConfigMap.
pub static CONFIG_MAP: Kind = kind("", "v1", "ConfigMap", "configmaps", true);
/// `v1` ServiceAccount.
pub static SERVICE_ACCOUNT: Kind = kind("", "v1", "ServiceAccount", "serviceaccounts", true);
/// `apps` Deployment.
pub static DEPLOYMENT: Kind = kind("apps", "v1", "Deployment", "deployments", true);
/// `apps` DaemonSet.
pub static DAEMON_SET: Kind = kind("apps", "v1", "DaemonSet", "daemonsets", true);
/// `admissionregistration.k8s.io` ValidatingWebhookConfiguration.
pub static VALIDATING_WEBHOOK_CONFIGURATION: Kind = kind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    false,
);
/// `authorization.k8s.io` SubjectAccessReview: a question, asked by creating it.
pub static SUBJECT_ACCESS_REVIEW: Kind =
    kind("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", false);
/// `authentication.k8s.io` TokenReview: a question, asked by creating it.
pub static TOKEN_REVIEW: Kind = kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", false);
/// `metallb.io` MetalLB, of MetalLB's operator.
pub static METALLB: Kind = kind("metallb.io", "v1beta1", "MetalLB", "metallbs", true);
/// `frrk8s.metallb.io` FRRConfiguration, of frr-k8s.
pub static FRR_CONFIGURATION: Kind =
    kind("frrk8s.metallb.io", "v1beta1", "FRRConfiguration", "frrconfigurations", true);

impl Kind {
    /// The group and version together, as objects carry them.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// For kube's API.
    pub fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// The plural with the group, as RBAC and CRDs name it: `services`, `ipaddresspools.metallb.io`.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The name of an object in the world; `None`: the world keeps no objects of this kind.
    pub fn id(&self, namespace: &str, name: &str) -> Option<ObjectId> {
        Some(match (self.group, self.kind) {
            ("", "Service") => ObjectId::Service(ServiceKey::new(namespace, name)),
            ("", "Node") => ObjectId::Node(NodeName::new(name)),
            ("", "Namespace") => ObjectId::Namespace(name.into()),
            ("", "Secret") => ObjectId::Secret(namespace.into(), name.into()),
            ("discovery.k8s.io", _) => ObjectId::EndpointSlice(namespace.into(), name.into()),
            ("metallb.io", kind) => ObjectId::Config(ObjectKey::new(kind, namespace, name)),
            _ => return None,
        })
    }
}

/// What is kept of an object beside its summary in the world, for those who write to it.
pub type Keep = fn(&Value) -> Value;

/// One watch: which objects of a kind, and what becomes of them.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The kind.
    pub kind: &'static Kind,
    /// Only in this namespace.
    pub namespace: Option<Arc<str>>,
    /// A label selector; empty: all.
    pub labels: String,
    /// A field selector; empty: all.
    pub fields: String,
    /// Whether only the metadata is asked for: labels, and nothing of spec and status.
    pub metadata_only: bool,
    /// Whether the objects go into the world.
    pub world: bool,
    /// Whether, and how, a part of each object is handed over beside that: see [`Side`](super::Side).
    pub keep: Option<Keep>,
}

impl Watch {
    /// All objects of a kind, into the world.
    pub fn all(kind: &'static Kind) -> Watch {
        Watch {
            kind,
            namespace: None,
            labels: String::new(),
            fields: String::new(),
            metadata_only: false,
            world: true,
            keep: None,
        }
    }

    /// Those of one namespace, into the world.
    pub fn within(kind: &'static Kind, namespace: &Arc<str>) -> Watch {
        Watch { namespace: Some(namespace.clone()), ..Watch::all(kind) }
    }

    /// Hands over a part of each object beside its summary.
    pub fn keeping(self, keep: Keep) -> Watch {
        Watch { keep: Some(keep), ..self }
    }

    /// Hands over a part of each object, and nothing to the world.
    pub fn aside(self, keep: Keep) -> Watch {
        Watch { world: false, ..self.keeping(keep) }
    }

    /// Only objects whose fields are so.
    pub fn fields(self, selector: &str) -> Watch {
        Watch { fields: selector.to_owned(), ..self }
    }
}
