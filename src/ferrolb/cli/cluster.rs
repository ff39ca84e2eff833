//! The objects of a cluster, read once, for the commands that decide once.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use ferrolb_core::manifest;
use ferrolb_core::plan::Running;
use ferrolb_core::world::{Object, Secret};
use futures::future::try_join_all;
use kube::Client;
use serde_json::Value;

use super::args::ClusterArgs;
use crate::shell::kube::kinds::{
    BFD_PROFILE, BGP_ADVERTISEMENT, BGP_PEER, COMMUNITY, ENDPOINT_SLICE, IP_ADDRESS_POOL, Kind,
    L2_ADVERTISEMENT, NAMESPACE, NODE, SECRET, SERVICE, SERVICE_BGP_STATUS, SERVICE_L2_STATUS,
};
use crate::shell::kube::{self as cluster, Unlisted, list};

/// The kinds that decisions depend on, and whether only those in the namespace of the configuration do.
static KINDS: [(&Kind, bool); 10] = [
    (&SERVICE, false),
    (&NAMESPACE, false),
    (&NODE, false),
    (&ENDPOINT_SLICE, false),
    (&IP_ADDRESS_POOL, true),
    (&BGP_PEER, true),
    (&BGP_ADVERTISEMENT, true),
    (&L2_ADVERTISEMENT, true),
    (&COMMUNITY, true),
    (&BFD_PROFILE, true),
];

/// What a cluster has.
pub struct Snapshot {
    /// The objects that decisions depend on.
    pub objects: Vec<Object>,
    /// What is left out, each a sentence.
    pub notes: Vec<String>,
    /// The kinds that may not be listed, and why.
    pub forbidden: Vec<(String, String)>,
    /// What there is nothing to compare with, each a sentence.
    pub uncompared: Vec<String>,
    /// What the cluster says is announced now.
    pub running: Running,
}

/// A client of the cluster that the arguments name.
///
/// # Errors
/// One sentence.
pub async fn connect(args: &ClusterArgs) -> Result<Client, String> {
    let home = || {
        let path = PathBuf::from(std::env::var_os("HOME")?).join(".kube/config");
        path.exists().then(|| path.into_os_string())
    };
    let files = match (args.kubeconfig(), is_pod()) {
        (None, false) => home(),
        (given, _) => given.map(OsStr::to_owned),
    };
    cluster::connect(files.as_deref()).await
}

/// Whether this process is in a pod, as far as its environment says so.
pub fn is_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

impl Snapshot {
    /// The same, where every kind could be listed: there is no deciding with half of what counts.
    ///
    /// # Errors
    /// One sentence, with the first kind that may not be listed.
    pub fn whole(self) -> Result<Snapshot, String> {
        match self.forbidden.first() {
            Some((kind, why)) => Err(format!("{kind} can't be read: {why}")),
            None => Ok(self),
        }
    }
}

/// Reads a cluster whose configuration is in `namespace`, as far as that is allowed.
///
/// # Errors
/// One sentence, where a kind that is needed can't be read for another reason.
pub async fn read(client: &Client, namespace: &str) -> Result<Snapshot, String> {
    let mut notes = Vec::new();
    let lists = KINDS.iter().map(|(kind, at_home)| async move {
        match list(client, kind, at_home.then_some(namespace), "").await {
            Ok(objects) => Ok((objects, None)),
            Err(Unlisted::NotServed) => Ok((vec![], None)),
            Err(Unlisted::Forbidden(why)) => Ok((vec![], Some((kind.resource(), why)))),
            Err(why) => Err(format!("{} can't be read: {why}", kind.resource())),
        }
    });
    let (values, forbidden): (Vec<_>, Vec<_>) = try_join_all(lists).await?.into_iter().unzip();
    let mut values: Vec<Value> = values.into_iter().flatten().collect();
    let secrets = list(client, &SECRET, Some(namespace), "").await;
    let stand_in = secrets.is_err();
    match secrets {
        Ok(secrets) => values.extend(secrets),
        Err(why) => {
            notes.push(format!("Secrets can't be read, so passwordSecrets are taken to be right: {why}"))
        }
    }
    let mut objects = Vec::new();
    let mut addresses = BTreeMap::new();
    for value in values {
        addresses.extend(shown(&value));
        match manifest::object(value) {
            Ok(object) => objects.extend(object),
            Err(why) => notes.push(format!("an object is left out: {why}")),
        }
    }
    if stand_in {
        let secrets = referred_secrets(&objects, namespace);
        objects.extend(secrets);
    }
    let mut uncompared = Vec::new();
    let running = Running {
        addresses,
        bgp: statuses(client, &SERVICE_BGP_STATUS, &mut uncompared)
            .await
            .map(|all| all.iter().flat_map(sent).collect()),
        layer2: statuses(client, &SERVICE_L2_STATUS, &mut uncompared)
            .await
            .map(|all| all.iter().filter_map(placed).collect()),
    };
    Ok(Snapshot { objects, notes, forbidden: forbidden.into_iter().flatten().collect(), uncompared, running })
}

/// What passwords refer to, with something in it.
fn referred_secrets(objects: &[Object], namespace: &str) -> Vec<Object> {
    let names: BTreeSet<&str> = objects
        .iter()
        .filter_map(|object| match object {
            Object::Config(peer) if peer.key.kind == "BGPPeer" => {
                peer.raw.pointer("/spec/passwordSecret/name")?.as_str()
            }
            _ => None,
        })
        .collect();
    let secret = |name: &str| Secret {
        namespace: namespace.into(),
        name: name.into(),
        type_: "kubernetes.io/basic-auth".into(),
        password: Some("unread".into()),
    };
    names.into_iter().map(|name| Object::Secret(secret(name))).collect()
}

/// A Service that shows addresses, and these as they are written.
fn shown(object: &Value) -> Option<(String, Vec<String>)> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    if text("/kind") != Some(SERVICE.kind) {
        return None;
    }
    let name = format!("{}/{}", text("/metadata/namespace")?, text("/metadata/name")?);
    let ingress = object.pointer("/status/loadBalancer/ingress")?.as_array()?.iter();
    let ips: Vec<String> = ingress
        .filter_map(|entry| entry.get("ip")?.as_str())
        .filter(|ip| !ip.is_empty())
        .map(str::to_owned)
        .collect();
    (!ips.is_empty()).then_some((name, ips))
}

/// The status objects of a kind, `None` where there are none at all: then nobody writes them.
async fn statuses(client: &Client, kind: &Kind, notes: &mut Vec<String>) -> Option<Vec<Value>> {
    let found = list(client, kind, None, "").await;
    let why = match found {
        Ok(found) if !found.is_empty() => return Some(found),
        Ok(_) | Err(Unlisted::NotServed) => "there are none".to_owned(),
        Err(why) => why.to_string(),
    };
    notes.push(format!("no {} can be compared with: {why}", kind.kind));
    None
}

/// Service, node and peer of each announcement that a ServiceBGPStatus tells of.
fn sent(object: &Value) -> Vec<(String, String, String)> {
    let Some((service, node)) = placed(object) else { return vec![] };
    let peers = object.pointer("/status/peers").and_then(Value::as_array).into_iter().flatten();
    peers.filter_map(Value::as_str).map(|peer| (service.clone(), node.clone(), peer.to_owned())).collect()
}

/// Service and node of a status object.
fn placed(object: &Value) -> Option<(String, String)> {
    let text = |field| object.get("status")?.get(field)?.as_str();
    let service = format!("{}/{}", text("serviceNamespace")?, text("serviceName")?);
    Some((service, text("node")?.to_owned()))
}

/// Whether the world has a node of this name.
pub fn has_node(objects: &[Object], name: &str) -> bool {
    objects.iter().any(|object| matches!(object, Object::Node(node) if node.name.as_str() == name))
}

/// A runtime for one command.
///
/// # Errors
/// One sentence.
pub fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("can't start: {e}"))
}

#[cfg(test)]
mod tests {
    use ferrolb_core::types::ObjectKey;
    use serde_json::json;

    use super::*;
    use crate::shell::kube::fake::Fake;

    #[tokio::test]
    async fn a_cluster_is_read_once_with_what_it_says_of_itself() {
        let fake = Fake::start().await;
        fake.put(
            "/api/v1/namespaces/default/services/web",
            json!({"metadata": {"namespace": "default", "name": "web"},
                   "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9"},
                   "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}}),
        );
        fake.put("/api/v1/nodes/n1", json!({"metadata": {"name": "n1"}}));
        let home = "/apis/metallb.io";
        fake.put(
            &format!("{home}/v1beta2/namespaces/m/bgppeers/tor"),
            json!({"metadata": {"namespace": "m", "name": "tor"}, "spec": {"passwordSecret": {"name": "s"}}}),
        );
        let status =
            json!({"node": "n1", "serviceNamespace": "default", "serviceName": "web", "peers": ["tor"]});
        fake.put(
            &format!("{home}/v1beta1/namespaces/m/servicebgpstatuses/bgp-1"),
            json!({"metadata": {"namespace": "m", "name": "bgp-1"}, "status": status}),
        );
        fake.refuse("/api/v1/namespaces/m/secrets", 403);
        fake.refuse("/apis/metallb.io/v1beta1/namespaces/m/bfdprofiles", 404);
        let snapshot = read(&fake.client(), "m").await.unwrap();
        assert!(has_node(&snapshot.objects, "n1") && !has_node(&snapshot.objects, "n2"));
        let key = ObjectKey::new("BGPPeer", "m", "tor");
        assert!(snapshot.objects.iter().any(|o| matches!(o, Object::Config(c) if c.key == key)));
        assert!(snapshot.objects.iter().any(|o| matches!(o, Object::Secret(s) if &*s.name == "s")));
        assert_eq!(snapshot.running.addresses["default/web"], ["10.0.0.1"]);
        let bgp = BTreeSet::from([("default/web".to_owned(), "n1".to_owned(), "tor".to_owned())]);
        assert_eq!(snapshot.running.bgp, Some(bgp));
        assert_eq!(snapshot.running.layer2, None);
        assert_eq!((snapshot.notes.len(), snapshot.uncompared.len()), (1, 1), "{:?}", snapshot.notes);
        fake.refuse("/api/v1/services", 403);
        let snapshot = read(&fake.client(), "m").await.unwrap();
        assert!(has_node(&snapshot.objects, "n1"), "what may be read is there");
        assert_eq!(snapshot.forbidden.len(), 1);
        assert!(snapshot.whole().is_err_and(|e| e.starts_with("services can't be read")));
    }
}
