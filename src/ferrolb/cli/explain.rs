//! `ferrolb explain`.

use std::process::ExitCode;

use ferrolb_core::plan::{self, Context, Only};
use ferrolb_core::types::{ObjectKey, ServiceKey};

use super::args::{ExplainArgs, Format};
use super::{load, print, refuse};

/// Prints what becomes of one Service and why; exit status 1 where no node announces it, or where it has an error.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let offline = match load::load(&args.input, &[], &args.nodes) {
        Ok(offline) => offline,
        Err(message) => return refuse(message),
    };
    let (namespace, name) = args.service.split_once('/').unwrap_or(("default", &args.service));
    let key = ServiceKey::new(namespace, name);
    if let Some(peer) = &args.peer {
        let object = ObjectKey::new("BGPPeer", &args.input.namespace, peer);
        if offline.engine.world().config_object(&object).is_none() {
            return refuse(format!("--peer names {peer:?}, and there is no such BGPPeer in the manifests"));
        }
    }
    let context = Context { system_namespace: &args.input.namespace, class: args.input.class() };
    let only = Only { node: offline.only.as_ref(), peer: args.peer.as_deref() };
    let decisions = offline.engine.decisions();
    let Some(explanation) = plan::explain(&decisions, &context, &key, only) else {
        return refuse(format!("there is no Service {key} in the manifests"));
    };
    let text = match args.output {
        Format::Table => Ok(explanation.to_string()),
        Format::Json => print::json(&explanation),
        Format::Yaml => print::yaml(&explanation),
    };
    let fine = explanation.error.is_none() && explanation.is_announced();
    match text.and_then(|t| print::stdout(&t)) {
        Ok(()) => ExitCode::from(u8::from(!fine)),
        Err(message) => refuse(message),
    }
}
