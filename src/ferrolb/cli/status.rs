//! `ferrolb status`.

use std::process::ExitCode;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::args::{Format, StatusArgs};
use super::{live, print, refuse, table};
use crate::shell::grpc::api::{
    GetStatusRequest, GetStatusResponse, Issue, LastNotification, Messages, Session, SessionState, Timers,
    Totals, Verdicts,
};
use crate::shell::grpc::names;

/// Prints how a running role stands; exit status 1 where something is wrong.
pub fn run(args: &StatusArgs) -> ExitCode {
    let routes = args.routes || args.peer.is_some();
    let request = GetStatusRequest { routes, peer: args.peer.clone().unwrap_or_default() };
    let show =
        Show { details: args.details || args.peer.is_some(), only_sessions: args.peer.is_some(), routes };
    let printed =
        live::ask(&args.socket, async |client| client.get_status(request).await).and_then(|status| {
            let text = match args.output {
                Format::Table => Ok(for_people(&status, show)),
                Format::Json => print::json(&status),
                Format::Yaml => print::yaml(&status),
            }?;
            print::stdout(&text)?;
            Ok(is_fine(&status, show))
        });
    match printed {
        Ok(fine) => ExitCode::from(u8::from(!fine)),
        Err(message) => refuse(message),
    }
}

/// What of it.
#[derive(Clone, Copy)]
struct Show {
    details: bool,
    routes: bool,
    only_sessions: bool,
}

fn is_fine(status: &GetStatusResponse, show: Show) -> bool {
    let objects = status.errors.is_empty()
        && status.failed_checks.is_empty()
        && status.standing_back_for.is_empty()
        && status.manifest_errors.is_empty()
        && status.allocations.iter().all(|a| a.error.is_none());
    status.sessions.iter().all(is_up) && (show.only_sessions || objects)
}

fn is_up(session: &Session) -> bool {
    session.state() == SessionState::Established
}

fn for_people(status: &GetStatusResponse, show: Show) -> String {
    let mut out = String::new();
    let GetStatusResponse { role, node, version, uptime_ms, sessions, allocations, .. } = status;
    table::heading(
        &mut out,
        &format!("{role} on node {node}, version {version}, up {}", live::ago(*uptime_ms)),
    );
    if !show.only_sessions {
        let others = status.standing_back_for.iter().map(|other| [other.clone()]);
        table::section(&mut out, "Left to these, while they run", ["WHO ISN'T FERROLB"], others);
        let manifests = status.manifest_errors.iter().map(|m| [m.clone()]);
        table::section(&mut out, "Manifests that can't be read", ["WHERE AND WHY"], manifests);
        let checks = status.failed_checks.iter().map(|c| [c.name.clone(), c.why.clone()]);
        table::section(&mut out, "Can't be bound", ["WHAT", "WHY"], checks);
        issues(&mut out, "Errors", &status.errors);
        issues(&mut out, "Warnings", &status.warnings);
    }
    if sessions.is_empty() {
        table::heading(&mut out, "No BGP sessions");
    }
    let header = ["PEER", "ADDRESS", "AS", "STATE", "SINCE", "ROUTES", "NOTES"];
    table::section(&mut out, "Sessions", header, sessions.iter().map(summary));
    for session in sessions.iter().filter(|_| show.details) {
        details(&mut out, session);
    }
    for session in sessions.iter().filter(|_| show.routes) {
        let rows = session.routes.iter().map(|r| [r.prefix.clone(), live::attributes(r)]);
        let title = format!("Routes sent to {}", session.peer);
        if session.routes.is_empty() {
            table::heading(&mut out, &format!("{title}: none"));
        }
        table::section(&mut out, &title, ["PREFIX", "ATTRIBUTES"], rows);
    }
    if !show.only_sessions {
        let held = allocations.iter().filter(|a| !a.ips.is_empty());
        let rows = held.map(|a| [a.service.clone(), a.ips.join(" "), a.pool.clone().unwrap_or_default()]);
        table::section(&mut out, "Services", ["SERVICE", "ADDRESSES", "POOL"], rows);
        live::answered(&mut out, "Answering on layer 2", &status.layer2_addresses);
        let failed = allocations.iter().filter_map(|a| Some([a.service.clone(), a.error.clone()?]));
        table::section(&mut out, "Services that don't get what they ask for", ["SERVICE", "WHY"], failed);
    }
    out
}

fn issues(out: &mut String, title: &str, issues: &[Issue]) {
    let rows = issues.iter().map(|issue| {
        let Issue { kind, namespace, name, field, message } = issue;
        table::issue_row(kind, namespace.as_deref(), name, field.as_deref(), message)
    });
    table::issue_rows(out, title, rows);
}

/// One line of a session, with what an operator has to know.
fn summary(session: &Session) -> [String; 7] {
    let mut notes = Vec::new();
    if let Some(error) = session.last_error.as_ref().filter(|_| !is_up(session)) {
        notes.push(error.clone());
    }
    if !session.no_next_hop.is_empty() {
        notes.push(format!("no next hop for {}", session.no_next_hop.join(", ")));
    }
    if !session.pending.is_empty() {
        notes.push(format!("pending: {}", session.pending.join(", ")));
    }
    [
        session.peer.clone(),
        session.remote.clone(),
        session.remote_asn.map(|asn| asn.to_string()).unwrap_or_default(),
        names::of(session.state).to_owned(),
        live::ago(session.state_ms),
        session.route_count.map(|n| n.to_string()).unwrap_or_default(),
        notes.join("; "),
    ]
}

fn details(out: &mut String, session: &Session) {
    let mut facts: Vec<(&str, String)> = Vec::new();
    let remote_asn = session.remote_asn.map_or("not known yet".to_owned(), |asn| asn.to_string());
    let local_asn = session.local_asn.map_or("?".to_owned(), |asn| asn.to_string());
    facts.push(("state", format!("{} for {}", names::of(session.state), live::ago(session.state_ms))));
    match &session.local {
        Some(local) => facts.push(("addresses", format!("{local} to {}", session.remote))),
        None => facts.push(("address", session.remote.clone())),
    }
    facts.push(("AS", format!("{local_asn} to {remote_asn}")));
    facts.extend(session.remote_id.as_ref().map(|id| ("peer's router ID", id.clone())));
    facts.extend(session.timers.as_ref().map(|t| ("timers", timers(t))));
    facts.extend(list("families", &session.families));
    facts.extend(list("no next hop", &session.no_next_hop));
    facts.extend(list("we offer", &session.capabilities_sent));
    facts.extend(list("peer offers", &session.capabilities_received));
    if let Some(counters) = &session.counters {
        let c = counters;
        let sent = format!(
            "{}: {} prefixes announced, {} withdrawn, {} that don't fit",
            c.updates_sent, c.announced, c.withdrawn, c.refused
        );
        facts.push(("UPDATEs sent", sent));
        facts.extend(list("End-of-RIB sent", &c.end_of_rib));
        let judged = c.verdicts.as_ref().map(verdicts).unwrap_or_default();
        facts.push(("UPDATEs received", format!("{}, dropped{judged}", c.updates_received)));
    }
    if let (Some(sent), Some(pending)) = (session.route_count, session.routes_pending) {
        facts.push(("routes", format!("{sent} sent, {pending} still to be announced or withdrawn")));
    }
    if let Some(totals) = &session.totals {
        let Totals { established, sent, received, verdicts: judged } = totals;
        facts.push((
            "came up",
            if *established == 1 { "once".to_owned() } else { format!("{established} times") },
        ));
        facts.extend(sent.as_ref().map(|m| ("all messages sent", messages(m))));
        facts.extend(received.as_ref().map(|m| ("all received", messages(m))));
        let judged = judged.as_ref().map(verdicts).unwrap_or_default();
        if !judged.is_empty() {
            facts.push(("faulty UPDATEs", judged.trim_start_matches(": ").to_owned()));
        }
    }
    facts.extend(session.last_error.as_ref().map(|e| ("last error", e.clone())));
    let notification = |n: &LastNotification| format!("{} ({} ago)", n.message, live::ago(n.ago_ms));
    facts.extend(session.last_sent.as_ref().map(|n| ("NOTIFICATION sent", notification(n))));
    facts.extend(session.last_received.as_ref().map(|n| ("NOTIFICATION received", notification(n))));
    if !session.pending.is_empty() {
        facts.push(("pending", format!("{}, from the next connection on", session.pending.join(", "))));
    }
    table::heading(out, &format!("Session {}", session.peer));
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(table::WIDTH);
    for (name, value) in facts {
        table.add_row([name.to_owned(), table::printable(&value)]);
    }
    out.push_str(&table.trim_fmt());
    out.push('\n');
}

/// What RFC 7606 makes of faulty UPDATEs; empty where there were none.
fn verdicts(verdicts: &Verdicts) -> String {
    let faults = [
        (verdicts.attribute_discarded, "without an attribute"),
        (verdicts.treated_as_withdraw, "treated as withdrawal"),
        (verdicts.session_reset, "ended the session"),
    ];
    let told: Vec<String> = faults
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) }
}

fn messages(messages: &Messages) -> String {
    let Messages { opens, updates, notifications, keepalives, route_refreshes } = messages;
    format!(
        "{opens} OPEN, {updates} UPDATE, {keepalives} KEEPALIVE, {notifications} NOTIFICATION, {route_refreshes} ROUTE-REFRESH"
    )
}

fn timers(timers: &Timers) -> String {
    let seconds = |ms: u32| format!("{} s", f64::from(ms) / 1000.0);
    // An older role doesn't tell what it offered.
    let offered = timers.hold_offered.unwrap_or(timers.hold_configured);
    let hold = match timers.hold {
        None => format!("hold {offered} s offered"),
        Some(0) => format!("no hold time ({offered} s offered)"),
        Some(hold) => format!("hold {hold} s ({offered} s offered)"),
    };
    let keepalive = match (timers.keepalive_ms, timers.keepalive_configured_ms) {
        (Some(0), _) => ", no keepalives".to_owned(),
        (Some(ms), _) => format!(", a keepalive every {}", seconds(ms)),
        (None, Some(ms)) => format!(", keepalives every {} at most", seconds(ms)),
        (None, None) => String::new(),
    };
    format!("{hold}{keepalive}, retries every {} at most", seconds(timers.connect_ms))
}

fn list(name: &'static str, all: &[String]) -> Option<(&'static str, String)> {
    (!all.is_empty()).then(|| (name, all.join(", ")))
}

#[cfg(test)]
mod tests;
