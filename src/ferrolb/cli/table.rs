//! The document of `ferrolb plan` for people: plain text of at most 100 columns, what is wrong first.

use std::fmt::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, LineStyle, Table};
use ferrolb_core::plan::{Difference, Document, NodePlan, PeerPlan, RoutePlan};
use ferrolb_core::types::Issue;

pub(super) const WIDTH: u16 = 100;

/// The whole document.
pub fn plan(document: &Document) -> String {
    let mut out = String::new();
    issues(&mut out, "Errors", &document.errors);
    issues(&mut out, "Warnings", &document.warnings);
    services(&mut out, document);
    for node in &document.nodes {
        self::node(&mut out, node);
    }
    if out.is_empty() {
        out.push_str("Nothing to plan: there are no Services of type LoadBalancer, and no nodes.\n");
    }
    out
}

/// How what is planned differs from what runs.
pub fn differences(differences: &[Difference]) -> String {
    let row = |difference: &Difference| {
        let change = |planned: &bool| if *planned { "would begin" } else { "would end" }.to_owned();
        match difference {
            Difference::Addresses { service, now, planned } => {
                let list = |ips: &[String]| if ips.is_empty() { "none".to_owned() } else { ips.join(" ") };
                [
                    service.clone(),
                    String::new(),
                    "address".to_owned(),
                    format!("{} would be {}", list(now), list(planned)),
                ]
            }
            Difference::Bgp { service, node, peer, planned } => {
                [service.clone(), node.clone(), format!("bgp {peer}"), change(planned)]
            }
            Difference::Layer2 { service, node, planned } => {
                [service.clone(), node.clone(), "layer2".to_owned(), change(planned)]
            }
        }
    };
    if differences.is_empty() {
        return "No differences: what is planned is what runs.\n".to_owned();
    }
    let mut out = String::new();
    section(
        &mut out,
        "Differences from what runs",
        ["SERVICE", "NODE", "TO", "DIFFERENCE"],
        differences.iter().map(row),
    );
    out
}

fn issues(out: &mut String, title: &str, issues: &[Issue]) {
    let rows = issues.iter().map(|issue| {
        let Issue { kind, namespace, name, field, message } = issue;
        issue_row(kind, namespace.as_deref(), name, field.as_deref(), message)
    });
    issue_rows(out, title, rows);
}

/// What is wrong with objects.
pub(super) fn issue_rows(out: &mut String, title: &str, rows: impl Iterator<Item = [String; 3]>) {
    section(out, title, ["OBJECT", "FIELD", "WHAT IS WRONG"], rows);
}

/// A row of [`issue_rows`].
pub(super) fn issue_row(
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    field: Option<&str>,
    message: &str,
) -> [String; 3] {
    let object = match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    };
    [object, field.unwrap_or_default().to_owned(), message.to_owned()]
}

fn services(out: &mut String, document: &Document) {
    let name = |namespace: &str, name: &str| format!("{namespace}/{name}");
    let rows = document
        .services
        .iter()
        .map(|s| [name(&s.namespace, &s.name), s.ips.join(" "), s.pool.clone().unwrap_or_default()]);
    section(out, "Services", ["SERVICE", "ADDRESSES", "POOL"], rows);
    let failed =
        document.services.iter().filter_map(|s| Some([name(&s.namespace, &s.name), s.error.clone()?]));
    section(out, "Services that don't get what they ask for", ["SERVICE", "WHY"], failed);
}

fn node(out: &mut String, node: &NodePlan) {
    for peer in &node.bgp {
        let title = format!("Node {}: {}", node.name, peer_title(peer));
        if peer.routes.is_empty() {
            heading(out, &title);
            out.push_str(" no routes\n");
            continue;
        }
        let rows = peer.routes.iter().map(|r| [r.prefix.clone(), attributes(r), some(&r.services)]);
        section(out, &title, ["PREFIX", "ATTRIBUTES", "SERVICES"], rows);
    }
    let rows = node.layer2.iter().map(|l| {
        let interfaces = l.interfaces.as_ref().map_or("any".to_owned(), |i| i.join(" "));
        [l.ip.clone(), interfaces, some(&l.services)]
    });
    section(out, &format!("Node {}: layer 2", node.name), ["ADDRESS", "INTERFACES", "SERVICES"], rows);
    let rows = node.not_announced.iter().map(|n| {
        let to = match (&n.peer, n.protocol) {
            (Some(peer), protocol) => format!("{protocol} {peer}"),
            (None, protocol) => protocol.to_owned(),
        };
        [n.service.clone(), n.ips.join(" "), to, n.reason.to_owned()]
    });
    let title = format!("Node {}: not announced (`ferrolb explain SERVICE` says why)", node.name);
    section(out, &title, ["SERVICE", "ADDRESSES", "TO", "REASON"], rows);
    if node.bgp.is_empty() && node.layer2.is_empty() && node.not_announced.is_empty() {
        heading(out, &format!("Node {}", node.name));
        out.push_str(" no peers, and nothing to announce\n");
    }
}

fn peer_title(peer: &PeerPlan) -> String {
    let target = peer.address.as_ref().or(peer.interface.as_ref()).map_or("", String::as_str);
    let mut title = format!("BGP to {} ({target}", peer.peer);
    if peer.port != 179 {
        let _ = write!(title, " port {}", peer.port);
    }
    let remote = peer.peer_asn.map_or("its own".to_owned(), |asn| asn.to_string());
    let _ = write!(title, "), AS {} to {remote}", peer.local_asn.unwrap_or(peer.my_asn));
    title
}

fn attributes(route: &RoutePlan) -> String {
    let mut all = Vec::new();
    if let Some(value) = route.local_pref {
        all.push(format!("local preference {value}"));
    }
    if let Some(count) = route.as_path_prepend {
        all.push(format!("prepended {count} times"));
    }
    all.extend(route.communities.iter().chain(&route.large_communities).cloned());
    all.join(", ")
}

/// The first few: an aggregate may have thousands.
fn some(names: &[String]) -> String {
    const MOST: usize = 5;
    let mut text = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(" ");
    if let Some(more) = names.len().checked_sub(MOST).filter(|n| *n > 0) {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// A title and a table; nothing where there are no rows.
pub(super) fn section<const N: usize>(
    out: &mut String,
    title: &str,
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    heading(out, title);
    let mut table = Table::new();
    table
        .load_style(NOTHING.header_separator(LineStyle::none().fill('-').junction(' ')))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    out.push_str(&table.trim_fmt());
    out.push('\n');
}

pub(super) fn heading(out: &mut String, title: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&printable(title));
    out.push('\n');
}

/// Indented text, broken between words; a word that is too long has a line of its own.
pub(super) fn paragraph(out: &mut String, text: &str) {
    const INDENT: &str = "  ";
    let mut column = 0;
    for word in printable(text).split_whitespace() {
        let length = word.chars().count();
        let fits = column + 1 + length <= usize::from(WIDTH);
        if column > 0 && fits {
            out.push(' ');
            column += 1;
        } else {
            if column > 0 {
                out.push('\n');
            }
            out.push_str(INDENT);
            column = INDENT.len();
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

/// Names come from files: nothing in them may control a terminal.
pub(super) fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use ferrolb_core::plan::{NotAnnounced, ServicePlan};
    use ferrolb_core::types::ObjectKey;

    use super::*;

    fn document() -> Document {
        let long = "a sentence that goes on and on, so that it has to be broken somewhere ".repeat(3);
        let service = |name: &str, error: Option<&str>| ServicePlan {
            namespace: "default".into(),
            name: name.into(),
            ips: error.map_or_else(|| vec!["192.0.2.1".into()], |_| vec![]),
            pool: error.map_or_else(|| Some("p1".into()), |_| None),
            error: error.map(Into::into),
        };
        let route = RoutePlan {
            prefix: "192.0.2.0/24".into(),
            local_pref: None,
            communities: vec!["65535:65281".into()],
            large_communities: vec!["64512:1:2".into()],
            as_path_prepend: Some(2),
            services: (0..9).map(|i| format!("default/web{i}")).collect(),
        };
        let peer = PeerPlan {
            peer: "tor".into(),
            address: Some("10.0.0.1".into()),
            interface: None,
            port: 1790,
            my_asn: 64512,
            peer_asn: Some(64513),
            local_asn: None,
            routes: vec![route],
        };
        let not_announced = NotAnnounced {
            service: "default/idle".into(),
            ips: vec!["192.0.2.2".into()],
            protocol: "bgp",
            peer: Some("tor".into()),
            reason: "noEndpoints",
        };
        let object = ObjectKey::new("BGPPeer", "metallb-system", "bad\u{1b}[31m");
        Document {
            errors: vec![Issue::new(&object, Some("spec.myASN"), long.clone())],
            warnings: vec![],
            services: vec![service("web", None), service("idle", Some(&long))],
            nodes: vec![NodePlan {
                name: "n1".into(),
                bgp: vec![peer],
                layer2: vec![],
                not_announced: vec![not_announced],
            }],
        }
    }

    #[test]
    fn errors_come_first_and_every_line_fits() {
        let text = plan(&document());
        assert!(text.starts_with("Errors\n"), "{text}");
        let titles = [
            "Errors",
            "Services",
            "Node n1: BGP to tor (10.0.0.1 port 1790), AS 64512 to 64513",
            "Node n1: not",
        ];
        let places: Vec<_> = titles.iter().map(|title| text.find(title)).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= usize::from(WIDTH)), "{text}");
        assert!(text.contains("prepended 2 times, 65535:65281,"), "{text}");
        assert!(text.contains("and 4 more"), "{text}");
        assert!(text.contains("noEndpoints"), "{text}");
    }

    #[test]
    fn nothing_from_a_file_controls_the_terminal() {
        assert!(plan(&document()).chars().all(|c| c == '\n' || !c.is_control()));
    }
}
