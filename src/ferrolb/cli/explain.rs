//! `ferrolb explain`, offline or of a running role.

use std::process::ExitCode;

use ferrolb_core::plan::{self, Context, Only};
use ferrolb_core::types::{ObjectKey, ServiceKey};

use super::args::{ExplainArgs, Format, NodeArgs, SocketArgs};
use super::{live, load, print, refuse, table};
use crate::shell::grpc::api::{ExplainRequest, ExplainResponse, Route, SentToPeer};
use crate::shell::grpc::names;

/// Prints what becomes of one Service and why; exit status 1 where no node announces it, or where it has an error.
pub fn run(args: &ExplainArgs) -> ExitCode {
    if args.input.files.is_empty() {
        return match ask(args) {
            Ok(fine) => ExitCode::from(u8::from(!fine)),
            Err(message) => refuse(message),
        };
    }
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

/// What the running role says, and what it really sent; whether all is fine.
fn ask(args: &ExplainArgs) -> Result<bool, String> {
    let NodeArgs { node, down, bgp_down, ignore_exclude_lb } = &args.nodes;
    if !down.is_empty() || !bgp_down.is_empty() || *ignore_exclude_lb {
        return Err("--down, --bgp-down and --ignore-exclude-lb are for manifests (-f): a running role isn't asked what if".to_owned());
    }
    let request = ExplainRequest {
        service: args.service.clone(),
        node: node.clone().unwrap_or_default(),
        peer: args.peer.clone().unwrap_or_default(),
    };
    let answer = live::ask(&args.socket, async |client| client.explain(request).await);
    let nowhere = matches!(args.socket, SocketArgs { socket: None, state: None });
    let answer = answer.map_err(|e| if nowhere { format!("{e}; or -f PATH for manifests") } else { e })?;
    let text = match args.output {
        Format::Table => Ok(for_people(&answer)),
        Format::Json => document(&answer).and_then(|d| print::json(&d)),
        Format::Yaml => document(&answer).and_then(|d| print::yaml(&d)),
    }?;
    print::stdout(&text)?;
    Ok(answer.fine)
}

/// The document of `-o json` without a running role, and what was sent.
fn document(answer: &ExplainResponse) -> Result<serde_json::Value, String> {
    let bad = |e| format!("the role's answer can't be read: {e}");
    let mut document: serde_json::Value = serde_json::from_str(&answer.json).map_err(bad)?;
    if let Some(keys) = document.as_object_mut() {
        keys.insert("sent".to_owned(), serde_json::to_value(&answer.sent).map_err(bad)?);
        keys.insert("answered".to_owned(), serde_json::to_value(&answer.answered).map_err(bad)?);
    }
    Ok(document)
}

fn for_people(answer: &ExplainResponse) -> String {
    let mut text = answer.text.clone();
    let rows = answer.sent.iter().flat_map(|SentToPeer { peer, state, routes }| {
        let state = names::of(*state).to_owned();
        let row = |route: Option<&Route>| {
            let prefix = route.map_or("nothing".to_owned(), |r| r.prefix.clone());
            [peer.clone(), state.clone(), prefix, route.map(live::attributes).unwrap_or_default()]
        };
        if routes.is_empty() { vec![row(None)] } else { routes.iter().map(|r| row(Some(r))).collect() }
    });
    table::section(
        &mut text,
        "Sent by this node, and still there",
        ["PEER", "SESSION", "PREFIX", "ATTRIBUTES"],
        rows,
    );
    live::answered(&mut text, "Answered by this node on layer 2", &answer.answered);
    text
}
