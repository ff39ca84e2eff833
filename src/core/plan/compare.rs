//! How what would be announced differs from what a cluster says is announced now.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Document;

/// What a cluster says of itself: the statuses of Services, ServiceBGPStatus and ServiceL2Status objects. Services are
/// `namespace/name`.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// The addresses of each Service that has some.
    pub addresses: BTreeMap<String, Vec<String>>,
    /// Service, node and peer of each announcement over BGP; `None`: nobody writes that.
    pub bgp: Option<BTreeSet<(String, String, String)>>,
    /// Service and node of each that is answered for on layer 2; `None`: nobody writes that.
    pub layer2: Option<BTreeSet<(String, String)>>,
}

/// One thing that would be other than it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum Difference {
    /// A service would have other addresses.
    Addresses {
        /// `namespace/name`.
        service: String,
        /// Those it has, sorted.
        now: Vec<String>,
        /// Those it would have, sorted.
        planned: Vec<String>,
    },
    /// A node would begin, or cease, to announce a service to a peer.
    Bgp {
        /// `namespace/name`.
        service: String,
        /// The node.
        node: String,
        /// The BGPPeer.
        peer: String,
        /// Whether it would announce it; now it is the other way round.
        planned: bool,
    },
    /// A node would begin, or cease, to answer for a service on layer 2.
    Layer2 {
        /// `namespace/name`.
        service: String,
        /// The node.
        node: String,
        /// Whether it would answer; now it is the other way round.
        planned: bool,
    },
}

impl Difference {
    /// The service that it is about.
    pub fn service(&self) -> &str {
        match self {
            Difference::Addresses { service, .. }
            | Difference::Bgp { service, .. }
            | Difference::Layer2 { service, .. } => service,
        }
    }
}

/// The differences, by service. Only the nodes in the document are looked at where `only_its_nodes`.
pub fn compare(document: &Document, now: &Running, only_its_nodes: bool) -> Vec<Difference> {
    let mut found = addresses(document, now);
    let nodes: BTreeSet<&str> = document.nodes.iter().map(|n| n.name.as_str()).collect();
    let looked_at = |node: &str| !only_its_nodes || nodes.contains(node);
    if let Some(now) = &now.bgp {
        let mut planned = BTreeSet::new();
        for node in &document.nodes {
            for peer in &node.bgp {
                let services = peer.routes.iter().flat_map(|r| &r.services);
                planned.extend(services.map(|s| (s.clone(), node.name.clone(), peer.peer.clone())));
            }
        }
        for (service, node, peer) in planned.symmetric_difference(now).filter(|(_, n, _)| looked_at(n)) {
            let planned = planned.contains(&(service.clone(), node.clone(), peer.clone()));
            found.push(Difference::Bgp {
                service: service.clone(),
                node: node.clone(),
                peer: peer.clone(),
                planned,
            });
        }
    }
    if let Some(now) = &now.layer2 {
        let mut planned = BTreeSet::new();
        for node in &document.nodes {
            let services = node.layer2.iter().flat_map(|l| &l.services);
            planned.extend(services.map(|s| (s.clone(), node.name.clone())));
        }
        for (service, node) in planned.symmetric_difference(now).filter(|(_, n)| looked_at(n)) {
            let planned = planned.contains(&(service.clone(), node.clone()));
            found.push(Difference::Layer2 { service: service.clone(), node: node.clone(), planned });
        }
    }
    found.sort_by(|a, b| (a.service(), a).cmp(&(b.service(), b)));
    found
}

/// Of the services that are managed.
fn addresses(document: &Document, now: &Running) -> Vec<Difference> {
    let mut found = Vec::new();
    for plan in &document.services {
        let service = format!("{}/{}", plan.namespace, plan.name);
        let sorted = |ips: &[String]| ips.iter().cloned().collect::<BTreeSet<String>>().into_iter().collect();
        let planned: Vec<String> = sorted(&plan.ips);
        let now: Vec<String> = sorted(now.addresses.get(&service).map_or(&[], Vec::as_slice));
        if planned != now {
            found.push(Difference::Addresses { service, now, planned });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Layer2Plan, NodePlan, PeerPlan, RoutePlan, ServicePlan};

    fn document() -> Document {
        let service = |name: &str, ip: &str| ServicePlan {
            namespace: "default".into(),
            name: name.into(),
            ips: vec![ip.into()],
            pool: None,
            error: None,
        };
        let route = RoutePlan {
            prefix: "10.0.0.1/32".into(),
            local_pref: None,
            communities: vec![],
            large_communities: vec![],
            as_path_prepend: None,
            services: vec!["default/a".into()],
        };
        let peer = PeerPlan {
            peer: "tor".into(),
            address: None,
            interface: None,
            port: 179,
            my_asn: 1,
            peer_asn: None,
            local_asn: None,
            routes: vec![route],
        };
        let layer2 = Layer2Plan {
            ip: "10.0.0.2".into(),
            interfaces: None,
            service: "default/b".into(),
            services: vec!["default/b".into()],
        };
        let node =
            NodePlan { name: "n1".into(), bgp: vec![peer], layer2: vec![layer2], not_announced: vec![] };
        Document {
            errors: vec![],
            warnings: vec![],
            services: vec![service("a", "10.0.0.1"), service("b", "10.0.0.2")],
            nodes: vec![node],
        }
    }

    fn running() -> Running {
        Running {
            addresses: [("a", "10.0.0.1"), ("b", "10.0.0.2")]
                .into_iter()
                .map(|(name, ip)| (format!("default/{name}"), vec![ip.to_owned()]))
                .collect(),
            bgp: Some([("default/a".into(), "n1".into(), "tor".into())].into()),
            layer2: Some([("default/b".into(), "n1".into())].into()),
        }
    }

    #[test]
    fn what_runs_as_planned_has_no_differences() {
        assert_eq!(compare(&document(), &running(), false), []);
        // What nobody writes isn't compared.
        assert_eq!(compare(&document(), &Running { bgp: None, layer2: None, ..running() }, false), []);
    }

    #[test]
    fn each_difference_is_one_of_a_service_a_node_and_a_peer() {
        let mut now = running();
        now.addresses.insert("default/b".into(), vec!["10.0.0.9".into()]);
        now.bgp = Some([("default/a".into(), "n2".into(), "tor".into())].into());
        now.layer2 = Some([("default/b".into(), "n2".into())].into());
        let (a, b, tor) = (|| "default/a".to_owned(), || "default/b".to_owned(), || "tor".to_owned());
        let bgp =
            |node: &str, planned| Difference::Bgp { service: a(), node: node.into(), peer: tor(), planned };
        let layer2 = |node: &str, planned| Difference::Layer2 { service: b(), node: node.into(), planned };
        let expected = vec![
            bgp("n1", true),
            bgp("n2", false),
            Difference::Addresses {
                service: b(),
                now: vec!["10.0.0.9".into()],
                planned: vec!["10.0.0.2".into()],
            },
            layer2("n1", true),
            layer2("n2", false),
        ];
        assert_eq!(compare(&document(), &now, false), expected);
        // Where only n1 was planned for, what n2 does is no difference.
        assert_eq!(compare(&document(), &now, true).len(), 3);
    }
}
