//! `ferrolb check`: this machine, what manifests or a cluster want of it, and the cluster itself.

use std::process::ExitCode;

use ferrolb_core::check::{self, Finding, NodeFacts, Plans, Severity, node};
use ferrolb_core::engine::Engine;
use serde::Serialize;

use super::args::{CheckArgs, Format, NodeArgs};
use super::{cluster, load, print, refuse, table};
use crate::shell::facts;
use crate::shell::kube::facts as cluster_facts;

#[derive(Serialize)]
struct Document {
    findings: Vec<Finding>,
}

/// Prints what was found; exit status 1 where that holds an error or a warning.
pub fn run(args: &CheckArgs) -> ExitCode {
    match findings(args).and_then(|findings| {
        let fine = findings.iter().all(|f| f.severity == Severity::Info);
        let document = Document { findings };
        let text = match args.output {
            Format::Table => for_people(&document.findings),
            Format::Json => print::json(&document)?,
            Format::Yaml => print::yaml(&document)?,
        };
        print::stdout(&text)?;
        Ok(fine)
    }) {
        Ok(fine) => ExitCode::from(u8::from(!fine)),
        Err(message) => refuse(message),
    }
}

fn findings(args: &CheckArgs) -> Result<Vec<Finding>, String> {
    let runtime = cluster::runtime()?;
    let from_files = !args.input.files.is_empty();
    let asks_cluster =
        args.cluster.cluster || !from_files && (args.cluster.kubeconfig().is_some() || cluster::is_pod());
    let mut found = Vec::new();
    let mut engine = None;
    let nodes =
        NodeArgs { node: args.node.clone(), down: vec![], bgp_down: vec![], ignore_exclude_lb: false };
    if asks_cluster {
        let namespace = &args.input.namespace;
        let (mut facts, snapshot) = runtime.block_on(async {
            let client = cluster::connect(&args.cluster).await?;
            let facts = cluster_facts::gather(&client, namespace).await;
            cluster::read(&client, namespace).await.map(|snapshot| (facts, snapshot))
        })?;
        for note in &snapshot.notes {
            eprintln!("warning: {note}");
        }
        for (kind, why) in snapshot.forbidden {
            if facts.unread.iter().all(|(known, _)| *known != kind) {
                facts.unread.push((kind, why));
            }
        }
        // This machine may be none of the nodes: it is looked at all the same, without what they are to do.
        let known = args.node.as_deref().is_some_and(|name| cluster::has_node(&snapshot.objects, name));
        let nodes = if known { nodes.clone() } else { NodeArgs { node: None, ..nodes.clone() } };
        let (decided, _) = load::decide(&args.input, &nodes, snapshot.objects, "the cluster")?;
        found.extend(check::cluster(&facts, decided.config(), namespace));
        engine = known.then_some(decided);
    }
    if from_files {
        engine = Some(load::load(&args.input, &[], &nodes)?.engine);
    }
    if !args.cluster.cluster || args.node.is_some() {
        let facts = runtime
            .block_on(facts::gather())
            .map_err(|e| format!("can't ask the kernel for this machine's interfaces: {e}"))?;
        found.extend(here(args, &facts, engine.as_ref())?);
    }
    found.sort();
    Ok(found)
}

/// What is said of this machine, with `engine` of what it is to do.
fn here(args: &CheckArgs, facts: &NodeFacts, engine: Option<&Engine>) -> Result<Vec<Finding>, String> {
    let Some(engine) = engine else { return Ok(node(facts, None)) };
    let here = match (&args.node, engine.nodes()) {
        (None, [only]) => only,
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|n| n.name.as_str()).collect();
            return Err(format!(
                "the manifests have several Nodes ({}): say with --node which of them this machine is",
                names.join(", ")
            ));
        }
        (Some(name), nodes) => nodes
            .iter()
            .find(|n| n.name.as_str() == name)
            .ok_or_else(|| format!("there is no Node {name}"))?,
    };
    let plans = Plans { config: engine.config(), node: here, namespace: &args.input.namespace };
    Ok(node(facts, Some(plans)))
}

fn for_people(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing found that would keep FerroLB from working.\n".to_owned();
    }
    let mut out = String::new();
    for finding in findings {
        let Finding { severity, subject, message, remedy } = finding;
        table::heading(&mut out, &format!("{}: {subject}", severity.as_str()));
        table::paragraph(&mut out, message);
        table::paragraph(&mut out, &format!("Remedy: {remedy}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_paragraphs_that_fit() {
        let finding = Finding {
            severity: Severity::Warning,
            subject: "rp_filter".into(),
            message: "word ".repeat(60).trim_end().to_owned(),
            remedy: "sysctl -w x=\u{1b}1".into(),
        };
        let text = for_people(&[finding]);
        assert!(text.starts_with("warning: rp_filter\n  word word"), "{text}");
        assert!(text.ends_with("  Remedy: sysctl -w x=?1\n"), "{text}");
        assert!(text.lines().all(|l| l.len() <= usize::from(table::WIDTH)), "{text}");
        assert!(for_people(&[]).starts_with("Nothing found"));
    }
}
