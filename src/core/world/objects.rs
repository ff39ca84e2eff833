//! The summaries: what decisions need of each kind of object, and nothing else.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::ObjectId;
use crate::types::{Age, Family, FamilySet, Labels, NodeName, ObjectKey, ServiceKey, shared};

/// The label key that keeps load balancer traffic off a node, whatever its value.
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// An object of a kind that the world keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// `v1` Service.
    Service(Service),
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// `v1` Node.
    Node(Node),
    /// `v1` Namespace.
    Namespace(Namespace),
    /// `v1` Secret.
    Secret(Secret),
    /// Any `metallb.io` kind.
    Config(ConfigObject),
    /// `ferrolb.io/v1alpha1` Allocations.
    Allocations(Allocations),
}

impl Object {
    /// The object's name among all.
    pub fn id(&self) -> ObjectId {
        match self {
            Object::Service(s) => ObjectId::Service(s.key.clone()),
            Object::EndpointSlice(s) => ObjectId::EndpointSlice(s.namespace.clone(), s.name.clone()),
            Object::Node(n) => ObjectId::Node(n.name.clone()),
            Object::Namespace(n) => ObjectId::Namespace(n.name.clone()),
            Object::Secret(s) => ObjectId::Secret(s.namespace.clone(), s.name.clone()),
            Object::Config(c) => ObjectId::Config(Box::new(c.key.clone())),
            Object::Allocations(a) => ObjectId::Allocations(a.namespace.clone(), a.name.clone()),
        }
    }
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: ServiceKey,
    /// `metadata.creationTimestamp`.
    pub created: Age,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Whether `spec.type` is `LoadBalancer`.
    pub load_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<Arc<str>>,
    /// The annotations that matter.
    pub annotations: Arc<ServiceAnnotations>,
    /// `spec.loadBalancerIP`, where not empty.
    pub load_balancer_ip: Option<Box<str>>,
    /// The families of `spec.clusterIPs`, else of `spec.clusterIP`, else those of `spec.ipFamilies`, else IPv4; see
    /// [`families`].
    pub families: Result<FamilySet, Box<str>>,
    /// The first of `spec.ipFamilies`; IPv4 where there are none.
    pub first_family: Family,
    /// `spec.ipFamilyPolicy`; unset is `SingleStack`.
    pub ip_family_policy: IpFamilyPolicy,
    /// Whether `spec.externalTrafficPolicy` is `Local`.
    pub local: bool,
    /// `spec.healthCheckNodePort`, where it is set: where the node's service proxy says whether it has local endpoints.
    pub health_check_node_port: Option<u16>,
    /// `spec.selector`.
    pub selector: Labels,
    /// `spec.ports`, as far as sharing an address depends on it: sorted, each once, as [`ServicePort::list`] makes it.
    pub ports: Arc<[ServicePort]>,
    /// The `ip` of each entry of `status.loadBalancer.ingress`, as far as it is an address; an IPv4-mapped one is IPv4.
    pub ingress: Arc<[IpAddr]>,
}

/// The annotations of a Service that matter. `metallb.io/X` wins over `metallb.universe.tf/X` where present, even if empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceAnnotations {
    /// `address-pool`.
    pub address_pool: Option<Arc<str>>,
    /// `loadBalancerIPs`.
    pub load_balancer_ips: Option<Arc<str>>,
    /// `allow-shared-ip`.
    pub allow_shared_ip: Option<Arc<str>>,
    /// `metallb.io/ip-allocated-from-pool`.
    pub allocated_from_pool: Option<Arc<str>>,
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpFamilyPolicy {
    /// One family.
    #[default]
    SingleStack,
    /// Both where possible.
    PreferDualStack,
    /// Both, or none.
    RequireDualStack,
}

/// What identifies a port among the services that share an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePort {
    /// `TCP`, `UDP` or `SCTP`; unset is `TCP`.
    pub protocol: Cow<'static, str>,
    /// The port number.
    pub port: u16,
}

impl ServicePort {
    /// Such a list as a Service has: sorted, each once.
    pub fn list(ports: impl IntoIterator<Item = ServicePort>) -> Arc<[ServicePort]> {
        let mut ports: Vec<ServicePort> = ports.into_iter().collect();
        ports.sort();
        ports.dedup();
        shared(ports)
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.port)
    }
}

impl Service {
    /// Whether a load balancer that manages `class` (none: the services without a class) manages this service.
    pub fn managed_by(&self, class: Option<&str>) -> bool {
        self.load_balancer && self.class.as_deref() == class
    }

    /// The sharing key, where not empty.
    pub fn sharing_key(&self) -> Option<&str> {
        self.annotations.allow_shared_ip.as_deref().filter(|k| !k.is_empty())
    }
}

/// The families of a Service with these cluster IPs (`None` and empty ones left out), and these in `spec.ipFamilies`.
///
/// # Errors
/// A sentence, where a cluster IP is no address, or there are two of one family.
pub fn families(cluster_ips: &[&str], ip_families: &[Family]) -> Result<FamilySet, Box<str>> {
    if cluster_ips.is_empty() {
        let set: FamilySet = ip_families.iter().copied().collect();
        return Ok(if set.is_empty() { FamilySet::only(Family::V4) } else { set });
    }
    let family = |text: &&str| {
        text.parse().map(Family::of).map_err(|_| format!("its cluster IP {text:?} is no address"))
    };
    let families: FamilySet = cluster_ips.iter().map(family).collect::<Result<_, _>>()?;
    if families.len() < cluster_ips.len() {
        let list = cluster_ips.join(", ");
        return Err(format!("its cluster IPs {list} are more than one of a family").into());
    }
    Ok(families)
}

/// An EndpointSlice with an address type of IPv4 or IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The service that it belongs to, by the label `kubernetes.io/service-name`.
    pub service: Option<ServiceKey>,
    /// Its address type.
    pub family: Family,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The node that it runs on.
    pub node: Option<NodeName>,
    /// Whether it has an address and can serve: `ready` is true or unset, or `serving` is true.
    pub usable: bool,
}

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its labels.
    pub labels: Labels,
    /// Whether its condition `NetworkUnavailable` is true.
    pub network_unavailable: bool,
    /// Its addresses of type `InternalIP`.
    pub internal_ips: Vec<IpAddr>,
}

impl Node {
    /// Whether it carries the label that excludes it from load balancers.
    pub fn excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE_LABEL)
    }
}

/// A Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
}

/// A Secret, as far as a peer's password needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub type_: String,
    /// The value of the key `password`.
    pub password: Option<Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A `metallb.io` object, raw.
#[derive(Clone, PartialEq)]
pub struct ConfigObject {
    /// Kind, namespace and name.
    pub key: ObjectKey,
    /// The version, such as `v1beta1`.
    pub version: String,
    /// `metadata.creationTimestamp`, or when a running role first saw the object.
    pub created: Age,
    /// `metadata.labels`.
    pub labels: Labels,
    /// The whole object.
    pub raw: Arc<serde_json::Value>,
}

impl fmt::Debug for ConfigObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `raw` may hold a password.
        f.debug_struct("ConfigObject")
            .field("key", &self.key)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What Services hold, where nobody writes their status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocations {
    /// Its namespace, which says nothing of the services'.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// One entry for each service.
    pub entries: Vec<AllocationEntry>,
}

/// What one Service holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationEntry {
    /// The service.
    pub service: ServiceKey,
    /// Its addresses, in the order of its status.
    pub ips: Vec<IpAddr>,
}
