//! `ferrolb plan`.

use std::process::ExitCode;

use ferrolb_core::plan;

use super::args::{Format, PlanArgs};
use super::{load, print, refuse, table};

/// Prints what every node would announce; exit status 1 where there is an error in the document.
pub fn run(args: &PlanArgs) -> ExitCode {
    let offline = match load::load(&args.input, &[], &args.nodes) {
        Ok(offline) => offline,
        Err(message) => return refuse(message),
    };
    let decisions = offline.engine.decisions();
    let document = plan::build(&decisions, &args.input.namespace, offline.only.as_ref(), offline.warnings);
    for warning in &document.warnings {
        eprintln!("warning: {warning}");
    }
    let text = match args.output {
        Format::Table => Ok(table::plan(&document)),
        Format::Json => print::json(&document),
        Format::Yaml => print::yaml(&document),
    };
    match text.and_then(|t| print::stdout(&t)) {
        Ok(()) => ExitCode::from(u8::from(document.has_errors())),
        Err(message) => refuse(message),
    }
}
