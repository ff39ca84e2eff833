//! `ferrolb plan`.

use std::process::ExitCode;

use ferrolb_core::plan::{self, Difference, Running};
use serde::Serialize;

use super::args::{Format, PlanArgs};
use super::load::Offline;
use super::{cluster, load, print, refuse, table};

/// The differences from what runs.
#[derive(Serialize)]
struct Differences {
    differences: Vec<Difference>,
}

/// Prints what every node would announce, or how that differs from what runs; exit status 1 where there is an error in the
/// document, or a difference.
pub fn run(args: &PlanArgs) -> ExitCode {
    match planned(args) {
        Ok(fine) => ExitCode::from(u8::from(!fine)),
        Err(message) => refuse(message),
    }
}

fn planned(args: &PlanArgs) -> Result<bool, String> {
    let (offline, running) = if args.cluster.cluster {
        from_cluster(args)?
    } else {
        (load::load(&args.input, &[], &args.nodes)?, None)
    };
    let decisions = offline.engine.decisions();
    let document = plan::build(&decisions, &args.input.namespace, offline.only.as_ref(), offline.warnings);
    for warning in &document.warnings {
        eprintln!("warning: {warning}");
    }
    if let (true, Some(running)) = (args.compare, &running) {
        let limited = offline.only.is_some();
        let differences = Differences { differences: plan::compare(&document, running, limited) };
        let text = match args.output {
            Format::Table => table::differences(&differences.differences),
            Format::Json => print::json(&differences)?,
            Format::Yaml => print::yaml(&differences)?,
        };
        print::stdout(&text)?;
        return Ok(differences.differences.is_empty());
    }
    let text = match args.output {
        Format::Table => table::plan(&document),
        Format::Json => print::json(&document)?,
        Format::Yaml => print::yaml(&document)?,
    };
    print::stdout(&text)?;
    Ok(!document.has_errors())
}

/// Reads the cluster, and decides.
fn from_cluster(args: &PlanArgs) -> Result<(Offline, Option<Running>), String> {
    let snapshot = cluster::runtime()?.block_on(async {
        let client = cluster::connect(&args.cluster).await?;
        cluster::read(&client, &args.input.namespace).await?.whole()
    })?;
    let uncompared = snapshot.uncompared.iter().filter(|_| args.compare);
    for note in snapshot.notes.iter().chain(uncompared) {
        eprintln!("warning: {note}");
    }
    let (engine, only) = load::decide(&args.input, &args.nodes, snapshot.objects, "the cluster")?;
    Ok((Offline { engine, only, warnings: vec![], objects: vec![] }, Some(snapshot.running)))
}
