//! One document's value to the objects in it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::shape::{self, Shape, kind_of};
use super::{Located, ManifestError, Origin, Parsed, Skipped, base64};
use crate::types::{Age, Family, Labels, NodeName, ObjectKey, ServiceKey, shared};
use crate::world::{
    AllocationEntry, Allocations, ConfigObject, Endpoint, EndpointSlice, IpFamilyPolicy, Namespace, Node,
    Object, ObjectId, Secret, Service, ServiceAnnotations, ServicePort, families,
};

type Fields = Map<String, Value>;

/// How deep `List` objects may hold each other.
const MAX_LISTS: usize = 8;

/// Reads a document, or all items of a `List`.
pub(super) fn read_document(value: Value, origin: &Origin, parsed: &mut Parsed) {
    Reader { origin, parsed }.read(value, "", 0);
}

struct Reader<'a> {
    origin: &'a Origin,
    parsed: &'a mut Parsed,
}

impl Reader<'_> {
    /// `at` is the place inside a `List`, such as `items[3]`.
    fn read(&mut self, value: Value, at: &str, depth: usize) {
        let mut object = match value {
            Value::Object(object) => object,
            Value::Null if at.is_empty() => return,
            other => {
                return self.error(
                    at,
                    None,
                    &format!(
                        "a manifest must be an object with apiVersion and kind, not {}",
                        kind_of(&other)
                    ),
                );
            }
        };
        let (api_version, kind) = match (required(&object, "apiVersion"), required(&object, "kind")) {
            (Ok(api_version), Ok(kind)) => (api_version.to_owned(), kind.to_owned()),
            (Err(message), _) | (_, Err(message)) => return self.error(at, None, &message),
        };
        if let Some(item_kind) = kind.strip_suffix("List")
            && (item_kind.is_empty() || object.contains_key("items"))
        {
            match object.remove("items") {
                None | Some(Value::Null) => {}
                Some(Value::Array(items)) => self.read_items(items, &api_version, item_kind, at, depth),
                Some(other) => {
                    self.error(at, None, &format!("items must be a list, not {}", kind_of(&other)));
                }
            }
            return;
        }
        let Some(read_as) = kind_that_is_read(&api_version, &kind) else {
            let text = |field| text(fields(object.get("metadata")), field).map(str::to_owned);
            let (namespace, name) = (text("namespace"), text("name").unwrap_or_default());
            let origin = self.origin.clone();
            return self.parsed.skipped.push(Skipped { api_version, kind, namespace, name, origin });
        };
        match read_object(read_as, &api_version, &kind, object) {
            Ok(Some(object)) => {
                if self.parsed.objects.is_empty() {
                    // Nearly all documents hold one, and a vector would take room for four.
                    self.parsed.objects.reserve_exact(1);
                }
                self.parsed.objects.push(Located { object, origin: self.origin.clone() });
            }
            Ok(None) => {}
            Err(Fault { object, subject, message }) => {
                self.error(at, object, &format!("{kind}{subject}: {message}"));
            }
        }
    }

    fn read_items(&mut self, items: Vec<Value>, api_version: &str, kind: &str, at: &str, depth: usize) {
        if depth >= MAX_LISTS {
            return self.error(at, None, "lists hold each other too deep");
        }
        for (index, mut item) in items.into_iter().enumerate() {
            let at = if at.is_empty() { format!("items[{index}]") } else { format!("{at}.items[{index}]") };
            if item.is_null() {
                self.error(&at, None, "a manifest must be an object, not null");
                continue;
            }
            // The API's own lists don't repeat in each item what it is.
            if let Value::Object(object) = &mut item
                && !kind.is_empty()
                && !object.contains_key("apiVersion")
                && !object.contains_key("kind")
            {
                object.insert("apiVersion".to_owned(), api_version.into());
                object.insert("kind".to_owned(), kind.into());
            }
            self.read(item, &at, depth.saturating_add(1));
        }
    }

    fn error(&mut self, at: &str, object: Option<ObjectId>, message: &str) {
        let message = if at.is_empty() { message.to_owned() } else { format!("{at}: {message}") };
        self.parsed.errors.push(ManifestError::new(self.origin.clone(), object, &message));
    }
}

/// A string that has to be there, at the top level.
fn required<'a>(object: &'a Fields, field: &str) -> Result<&'a str, String> {
    match object.get(field) {
        None | Some(Value::Null) => Err(format!("{field} is missing")),
        Some(Value::String(text)) if text.is_empty() => Err(format!("{field} is empty")),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("{field} must be a string, not {}", kind_of(other))),
    }
}

/// Why an object couldn't be read.
struct Fault {
    object: Option<ObjectId>,
    /// What follows the kind in the message: a blank and the name, where there is one.
    subject: String,
    message: String,
}

/// The kinds that are read.
#[derive(Clone, Copy)]
enum Kind {
    Allocations,
    Config,
    EndpointSlice,
    Namespace,
    Node,
    Secret,
    Service,
}

fn kind_that_is_read(api_version: &str, kind: &str) -> Option<Kind> {
    match (api_version, kind) {
        ("v1", "Namespace") => Some(Kind::Namespace),
        ("v1", "Node") => Some(Kind::Node),
        ("v1", "Secret") => Some(Kind::Secret),
        ("v1", "Service") => Some(Kind::Service),
        ("discovery.k8s.io/v1", "EndpointSlice") => Some(Kind::EndpointSlice),
        ("ferrolb.io/v1alpha1", "Allocations") => Some(Kind::Allocations),
        (
            "metallb.io/v1beta1",
            "BFDProfile" | "BGPAdvertisement" | "BGPPeer" | "Community" | "ConfigurationState"
            | "IPAddressPool" | "L2Advertisement" | "ServiceBGPStatus" | "ServiceL2Status",
        )
        | ("metallb.io/v1beta2", "BGPPeer") => Some(Kind::Config),
        _ => None,
    }
}

/// `None`: there is nothing in it that anything depends on.
fn read_object(
    read_as: Kind,
    api_version: &str,
    kind: &str,
    object: Fields,
) -> Result<Option<Object>, Fault> {
    let nameless = |message: String| Fault { object: None, subject: String::new(), message };
    let metadata = Metadata::read(&object).map_err(nameless)?;
    let (name, namespace) = (metadata.name, metadata.namespace);
    let (id, subject) = match read_as {
        Kind::Allocations => {
            (ObjectId::Allocations(namespace.into(), name.into()), format!(" {namespace}/{name}"))
        }
        Kind::Namespace => (ObjectId::Namespace(name.into()), format!(" {name}")),
        Kind::Node => (ObjectId::Node(NodeName::new(name)), format!(" {name}")),
        Kind::Config => {
            (ObjectId::Config(ObjectKey::new(kind, namespace, name).into()), format!(" {namespace}/{name}"))
        }
        Kind::EndpointSlice => {
            (ObjectId::EndpointSlice(namespace.into(), name.into()), format!(" {namespace}/{name}"))
        }
        Kind::Secret => (ObjectId::Secret(namespace.into(), name.into()), format!(" {namespace}/{name}")),
        Kind::Service => {
            (ObjectId::Service(ServiceKey::new(namespace, name)), format!(" {namespace}/{name}"))
        }
    };
    let fault = |message: String| Fault { object: Some(id.clone()), subject: subject.clone(), message };
    let checked = |shape: &Shape| shape.check(&object).map_err(fault);
    Ok(Some(match read_as {
        Kind::Allocations => {
            checked(&shape::ALLOCATIONS)?;
            Object::Allocations(allocations(&object, &metadata).map_err(fault)?)
        }
        Kind::Config => {
            let version = api_version.rsplit('/').next().unwrap_or_default().to_owned();
            let (created, labels) = (metadata.created(), metadata.labels());
            let key = ObjectKey::new(kind, namespace, name);
            let raw = Arc::new(Value::Object(object));
            Object::Config(ConfigObject { key, version, created, labels, raw })
        }
        Kind::EndpointSlice => {
            checked(&shape::ENDPOINT_SLICE)?;
            match endpoint_slice(&object, &metadata).map_err(fault)? {
                Some(slice) => Object::EndpointSlice(slice),
                None => return Ok(None),
            }
        }
        Kind::Namespace => {
            checked(&shape::NAMESPACE)?;
            Object::Namespace(Namespace { name: name.into(), labels: metadata.labels() })
        }
        Kind::Node => {
            checked(&shape::NODE)?;
            Object::Node(node(&object, &metadata))
        }
        Kind::Secret => {
            checked(&shape::SECRET)?;
            Object::Secret(secret(&object, &metadata).map_err(fault)?)
        }
        Kind::Service => {
            checked(&shape::SERVICE)?;
            Object::Service(service(&object, &metadata).map_err(fault)?)
        }
    }))
}

/// What all kinds have.
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    fields: &'a Fields,
}

impl<'a> Metadata<'a> {
    fn read(object: &'a Fields) -> Result<Metadata<'a>, String> {
        let fields = match object.get("metadata") {
            None | Some(Value::Null) => return Err("metadata.name is missing".to_owned()),
            Some(Value::Object(fields)) => fields,
            Some(other) => return Err(format!("metadata must be an object, not {}", kind_of(other))),
        };
        let name = required(fields, "name").map_err(|message| format!("metadata.{message}"))?;
        let namespace = match fields.get("namespace") {
            None | Some(Value::Null) => "",
            Some(Value::String(text)) => text,
            Some(other) => {
                return Err(format!("metadata.namespace must be a string, not {}", kind_of(other)));
            }
        };
        for (field, text) in [("name", name), ("namespace", namespace)] {
            if text.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
                return Err(format!("metadata.{field} has a character that no name may have"));
            }
        }
        let namespace = if namespace.is_empty() { "default" } else { namespace };
        Ok(Metadata { name, namespace, fields })
    }

    fn created(&self) -> Age {
        self.fields.get("creationTimestamp")?.as_str()?.parse().ok()
    }

    fn labels(&self) -> Labels {
        texts(self.fields.get("labels"))
    }

    fn annotations(&self) -> &'a Fields {
        fields(self.fields.get("annotations"))
    }

    /// The annotation under `metallb.io`, where it is there at all, else under the group's old name.
    fn annotation(&self, name: &str) -> Option<Arc<str>> {
        let annotations = self.annotations();
        let value = ["metallb.io/", "metallb.universe.tf/"]
            .iter()
            .find_map(|prefix| annotations.get(&format!("{prefix}{name}")))?;
        Some(value.as_str().unwrap_or_default().into())
    }
}

fn service(object: &Fields, metadata: &Metadata<'_>) -> Result<Service, String> {
    let spec = fields(object.get("spec"));
    let ip_families = ip_families(spec)?;
    let balancer = fields(fields(object.get("status")).get("loadBalancer"));
    let ingress =
        items(balancer.get("ingress")).iter().filter_map(|entry| address(text(entry.as_object()?, "ip")?));
    Ok(Service {
        key: ServiceKey::new(metadata.namespace, metadata.name),
        created: metadata.created(),
        labels: metadata.labels(),
        load_balancer: text(spec, "type") == Some("LoadBalancer"),
        class: text(spec, "loadBalancerClass").map(Into::into),
        annotations: Arc::new(ServiceAnnotations {
            address_pool: metadata.annotation("address-pool"),
            load_balancer_ips: metadata.annotation("loadBalancerIPs"),
            allow_shared_ip: metadata.annotation("allow-shared-ip"),
            // This one never had another name.
            allocated_from_pool: text(metadata.annotations(), "metallb.io/ip-allocated-from-pool")
                .map(Into::into),
        }),
        load_balancer_ip: text(spec, "loadBalancerIP").filter(|ip| !ip.is_empty()).map(Into::into),
        families: families(&cluster_ips(spec), &ip_families),
        first_family: ip_families.first().copied().unwrap_or(Family::V4),
        ip_family_policy: ip_family_policy(spec)?,
        local: text(spec, "externalTrafficPolicy") == Some("Local"),
        health_check_node_port: spec
            .get("healthCheckNodePort")
            .and_then(Value::as_u64)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0),
        selector: texts(spec.get("selector")),
        ports: ServicePort::list(items(spec.get("ports")).iter().filter_map(Value::as_object).map(port)),
        ingress: shared(ingress.collect()),
    })
}

/// `clusterIPs`, else `clusterIP`, without those that are none.
fn cluster_ips(spec: &Fields) -> Vec<&str> {
    let listed = items(spec.get("clusterIPs"));
    let all = if listed.is_empty() {
        spec.get("clusterIP").map(std::slice::from_ref).unwrap_or_default()
    } else {
        listed
    };
    all.iter().filter_map(Value::as_str).filter(|ip| !matches!(*ip, "" | "None")).collect()
}

fn ip_families(spec: &Fields) -> Result<Vec<Family>, String> {
    let families = items(spec.get("ipFamilies")).iter().enumerate();
    families
        .map(|(index, value)| {
            value
                .as_str()
                .and_then(family)
                .ok_or_else(|| format!("spec.ipFamilies[{index}] must be IPv4 or IPv6"))
        })
        .collect()
}

fn ip_family_policy(spec: &Fields) -> Result<IpFamilyPolicy, String> {
    match text(spec, "ipFamilyPolicy") {
        None | Some("" | "SingleStack") => Ok(IpFamilyPolicy::SingleStack),
        Some("PreferDualStack") => Ok(IpFamilyPolicy::PreferDualStack),
        Some("RequireDualStack") => Ok(IpFamilyPolicy::RequireDualStack),
        Some(_) => {
            Err("spec.ipFamilyPolicy must be SingleStack, PreferDualStack or RequireDualStack".to_owned())
        }
    }
}

fn port(port: &Fields) -> ServicePort {
    let number = port.get("port").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
    let protocol = match text(port, "protocol") {
        None | Some("" | "TCP") => Cow::Borrowed("TCP"),
        Some("UDP") => Cow::Borrowed("UDP"),
        Some("SCTP") => Cow::Borrowed("SCTP"),
        Some(other) => Cow::Owned(other.to_owned()),
    };
    ServicePort { protocol, port: number.unwrap_or_default() }
}

/// `None` for a slice of host names.
fn endpoint_slice(object: &Fields, metadata: &Metadata<'_>) -> Result<Option<EndpointSlice>, String> {
    let family = match text(object, "addressType") {
        Some("FQDN") => return Ok(None),
        None | Some("") => return Err("addressType is missing".to_owned()),
        Some(address_type) => {
            family(address_type).ok_or_else(|| "addressType must be IPv4, IPv6 or FQDN".to_owned())?
        }
    };
    let service = metadata
        .fields
        .get("labels")
        .and_then(|labels| text(labels.as_object()?, "kubernetes.io/service-name"))
        .filter(|name| !name.is_empty())
        .map(|name| ServiceKey::new(metadata.namespace, name));
    let endpoints = exact(items(object.get("endpoints")).iter().filter_map(Value::as_object).map(endpoint));
    Ok(Some(EndpointSlice {
        namespace: metadata.namespace.into(),
        name: metadata.name.into(),
        service,
        family,
        endpoints,
    }))
}

fn endpoint(endpoint: &Fields) -> Endpoint {
    let conditions = fields(endpoint.get("conditions"));
    let condition = |name| conditions.get(name).and_then(Value::as_bool);
    // A terminating endpoint isn't ready, but serves as long as it says so.
    let serves = condition("ready").unwrap_or(true) || condition("serving") == Some(true);
    Endpoint {
        node: text(endpoint, "nodeName").filter(|n| !n.is_empty()).map(NodeName::new),
        usable: serves && !items(endpoint.get("addresses")).is_empty(),
    }
}

fn node(object: &Fields, metadata: &Metadata<'_>) -> Node {
    let status = fields(object.get("status"));
    let entries = |list| items(status.get(list)).iter().filter_map(Value::as_object);
    Node {
        name: NodeName::new(metadata.name),
        labels: metadata.labels(),
        network_unavailable: entries("conditions")
            .any(|c| text(c, "type") == Some("NetworkUnavailable") && text(c, "status") == Some("True")),
        internal_ips: entries("addresses")
            .filter(|a| text(a, "type") == Some("InternalIP"))
            .filter_map(|a| address(text(a, "address")?))
            .collect(),
    }
}

fn secret(object: &Fields, metadata: &Metadata<'_>) -> Result<Secret, String> {
    let plain = text(fields(object.get("stringData")), "password");
    let encoded = text(fields(object.get("data")), "password");
    let password = match (plain, encoded) {
        (Some(plain), _) => Some(plain.as_bytes().to_vec()),
        (None, Some(encoded)) => {
            Some(base64::decode(encoded).ok_or_else(|| "data[password] must be base64".to_owned())?)
        }
        (None, None) => None,
    };
    Ok(Secret {
        namespace: metadata.namespace.into(),
        name: metadata.name.into(),
        type_: text(object, "type").unwrap_or_default().to_owned(),
        password,
    })
}

fn allocations(object: &Fields, metadata: &Metadata<'_>) -> Result<Allocations, String> {
    let list = items(fields(object.get("spec")).get("services"));
    let mut seen = HashSet::new();
    let mut entries = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let at = format!("spec.services[{index}]");
        let Value::Object(entry) = value else { return Err(format!("{at} must be an object, not null")) };
        let name =
            text(entry, "name").filter(|n| !n.is_empty()).ok_or_else(|| format!("{at}.name is missing"))?;
        let namespace = text(entry, "namespace").filter(|n| !n.is_empty()).unwrap_or("default");
        let service = ServiceKey::new(namespace, name);
        if !seen.insert(service.clone()) {
            return Err(format!("{at}: Service {service} has an entry already"));
        }
        let Some(Value::Array(texts)) = entry.get("ips") else {
            return Err(format!("{at}.ips is missing (an empty list says that the Service holds nothing)"));
        };
        let mut ips = Vec::with_capacity(texts.len());
        for (position, text) in texts.iter().enumerate() {
            let ip = text
                .as_str()
                .and_then(address)
                .ok_or_else(|| format!("{at}.ips[{position}] must be an IP address"))?;
            if ips.contains(&ip) {
                return Err(format!("{at}.ips[{position}]: {ip} is there already"));
            }
            ips.push(ip);
        }
        entries.push(AllocationEntry { service, ips });
    }
    Ok(Allocations { namespace: metadata.namespace.into(), name: metadata.name.into(), entries })
}

/// An IPv4-mapped IPv6 address is the IPv4 address.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn family(text: &str) -> Option<Family> {
    match text {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

static NO_FIELDS: LazyLock<Fields> = LazyLock::new(Fields::new);

fn fields(value: Option<&Value>) -> &Fields {
    value.and_then(Value::as_object).unwrap_or(&NO_FIELDS)
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(fields: &'a Fields, field: &str) -> Option<&'a str> {
    fields.get(field).and_then(Value::as_str)
}

/// A list with no room to grow: what is read is kept for long, and mostly is one entry, for which a vector takes room for four.
fn exact<T>(entries: impl Iterator<Item = T>) -> Vec<T> {
    let mut list: Vec<T> = entries.collect();
    list.shrink_to_fit();
    list
}

/// Texts by key. Kubernetes reads a null among them as an empty text.
fn texts(value: Option<&Value>) -> Labels {
    fields(value)
        .iter()
        .filter_map(|(key, value)| match value {
            Value::String(text) => Some((key.as_str(), text.as_str())),
            Value::Null => Some((key.as_str(), "")),
            _ => None,
        })
        .collect()
}
