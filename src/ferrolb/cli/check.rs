//! `ferrolb check`: this machine, and what manifests want of it.

use std::process::ExitCode;

use ferrolb_core::check::{Finding, Plans, Severity, node};
use serde::Serialize;

use super::args::{CheckArgs, Format, NodeArgs};
use super::{load, print, refuse, table};
use crate::shell::facts;

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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("can't start: {e}"))?;
    let facts = runtime
        .block_on(facts::gather())
        .map_err(|e| format!("can't ask the kernel for this machine's interfaces: {e}"))?;
    if args.input.files.is_empty() {
        return Ok(node(&facts, None));
    }
    let nodes =
        NodeArgs { node: args.node.clone(), down: vec![], bgp_down: vec![], ignore_exclude_lb: false };
    let offline = load::load(&args.input, &[], &nodes)?;
    let here = match (&offline.only, offline.engine.nodes()) {
        (None, [only]) => only,
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|n| n.name.as_str()).collect();
            return Err(format!(
                "the manifests have several Nodes ({}): say with --node which of them this machine is",
                names.join(", ")
            ));
        }
        (Some(name), nodes) => {
            nodes.iter().find(|n| n.name == *name).ok_or_else(|| format!("there is no Node {name}"))?
        }
    };
    let plans = Plans { config: offline.engine.config(), node: here, namespace: &args.input.namespace };
    Ok(node(&facts, Some(plans)))
}

fn for_people(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing found that would keep FerroLB from working here.\n".to_owned();
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
