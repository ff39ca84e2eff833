//! An explanation as text of at most 100 columns, for people.

use std::fmt::{self, Write};

use serde_json::Value;

use super::{
    Edit, Explanation, Layer2Explanation, NodeExplanation, PeerExplanation, Remedy, RouteExplanation, WhyNot,
};

const WIDTH: usize = 100;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Text::default();
        text.explanation(self);
        f.write_str(&text.0)
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn explanation(&mut self, e: &Explanation) {
        let holds = match (e.ips.is_empty(), &e.pool) {
            (true, _) => "no address".to_owned(),
            (false, Some(pool)) => format!("{}, from IPAddressPool {pool}", e.ips.join(", ")),
            (false, None) => e.ips.join(", "),
        };
        self.wrapped(0, &format!("Service {}/{}: {holds}", e.namespace, e.name));
        if let Some(error) = &e.error {
            self.wrapped(2, &format!("error: {error}"));
        }
        if let Some(remedy) = &e.remedy {
            self.remedy(2, remedy);
        }
        for node in &e.nodes {
            self.0.push('\n');
            self.node(node);
        }
    }

    fn node(&mut self, node: &NodeExplanation) {
        self.wrapped(0, &format!("Node {}", node.name));
        if node.bgp.is_empty() && node.layer2.is_none() {
            self.wrapped(2, "no session with the BGPPeer that is asked for");
        }
        let mut peers: &[PeerExplanation] = &node.bgp;
        while let Some((first, others)) = peers.split_first() {
            // Neighbours with the same to say share it.
            let same = others
                .iter()
                .take_while(|p| p.routes == first.routes && p.not_announced == first.not_announced)
                .count();
            let (alike, rest) = others.split_at(same);
            self.peers(first, alike);
            peers = rest;
        }
        if let Some(layer2) = &node.layer2 {
            self.layer2(layer2);
        }
    }

    fn peers(&mut self, first: &PeerExplanation, alike: &[PeerExplanation]) {
        let name = |p: &PeerExplanation| {
            let target = p.address.as_ref().or(p.interface.as_ref());
            match (&p.peer, target) {
                (Some(peer), Some(target)) => format!("{peer} ({target})"),
                (Some(peer), None) => peer.clone(),
                (None, _) => "no peer".to_owned(),
            }
        };
        let names: Vec<String> = std::iter::once(first).chain(alike).map(name).collect();
        self.wrapped(2, &format!("BGP, {}:", names.join(", ")));
        for route in &first.routes {
            self.route(route);
        }
        self.why_not(&first.not_announced);
    }

    fn route(&mut self, explained: &RouteExplanation) {
        let route = &explained.route;
        let mut line = format!("announced: {}", route.prefix);
        if explained.aggregate {
            let _ = write!(line, ", an aggregate with {}", explained.ips.join(", "));
        }
        if let Some(value) = route.local_pref {
            let _ = write!(line, ", local preference {value}");
        }
        if let Some(count) = route.as_path_prepend {
            let _ = write!(line, ", AS path prepended {count} times");
        }
        let communities: Vec<&str> =
            route.communities.iter().chain(&route.large_communities).map(String::as_str).collect();
        if !communities.is_empty() {
            let _ = write!(line, ", communities {}", communities.join(" "));
        }
        let _ = write!(line, " (BGPAdvertisement {})", explained.advertisements.join(", "));
        self.wrapped(4, &line);
        if route.services.len() > 1 {
            self.wrapped(6, &format!("with the services {}", some(&route.services)));
        }
    }

    fn layer2(&mut self, layer2: &Layer2Explanation) {
        self.wrapped(2, "Layer 2:");
        if !layer2.addresses.is_empty() {
            let interfaces = layer2.interfaces.as_ref().map_or("any interface".to_owned(), |i| i.join(", "));
            let by = layer2.advertisements.join(", ");
            let addresses = layer2.addresses.join(", ");
            self.wrapped(4, &format!("answers for {addresses} on {interfaces} (L2Advertisement {by})"));
        }
        self.why_not(&layer2.not_announced);
    }

    fn why_not(&mut self, all: &[WhyNot]) {
        for why in all {
            self.wrapped(4, &format!("not announced ({}): {}", why.reason, why.ips.join(", ")));
            self.wrapped(6, &why.message);
            self.remedy(6, &why.remedy);
        }
    }

    fn remedy(&mut self, indent: usize, remedy: &Remedy) {
        self.wrapped(indent, &format!("-> {}", remedy.text));
        let deeper = indent.saturating_add(3);
        for edit in &remedy.edits {
            match edit {
                Edit::Append { object, path, value } => {
                    self.wrapped(deeper, &format!("{object}, append to {path}:"));
                    self.yaml(deeper, &Value::Array(vec![value.clone()]));
                }
                Edit::Create { manifest } => {
                    self.wrapped(deeper, "create:");
                    self.manifest(deeper, manifest);
                }
                Edit::Remove { object, path } => self.wrapped(deeper, &format!("{object}, remove {path}")),
                Edit::Set { object, path, value } => {
                    self.wrapped(deeper, &format!("{object}, set {path}: {value}"));
                }
            }
        }
    }

    /// An object in the order in which people write one.
    fn manifest(&mut self, indent: usize, manifest: &Value) {
        const FIRST: [&str; 3] = ["apiVersion", "kind", "metadata"];
        let Some(members) = manifest.as_object() else { return self.yaml(indent, manifest) };
        let others = members.keys().map(String::as_str).filter(|k| !FIRST.contains(k));
        for key in FIRST.into_iter().chain(others) {
            if let Some(value) = members.get(key) {
                self.yaml(indent, &serde_json::json!({key: value}));
            }
        }
    }

    /// A value as YAML, two columns further in.
    fn yaml(&mut self, indent: usize, value: &Value) {
        let text = serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string());
        let indent = indent.saturating_add(2);
        for line in text.lines() {
            self.line(indent, line);
        }
    }

    /// Words, broken where they would reach beyond the width; further lines are two columns further in.
    fn wrapped(&mut self, indent: usize, text: &str) {
        let (mut line, mut at) = (String::new(), indent);
        for word in text.split_whitespace() {
            let length = at.saturating_add(line.chars().count()).saturating_add(word.chars().count());
            if !line.is_empty() && length >= WIDTH {
                self.line(at, &line);
                line.clear();
                at = indent.saturating_add(2);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(at, &line);
    }

    fn line(&mut self, indent: usize, line: &str) {
        let _ = writeln!(self.0, "{:indent$}{line}", "");
    }
}

/// The first few: a prefix may have thousands.
fn some(names: &[String]) -> String {
    const MOST: usize = 5;
    let mut text = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(MOST).filter(|n| *n > 0) {
        let _ = write!(text, " and {more} more");
    }
    text
}
