//! `ferrolb watch`.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use jiff::Timestamp;

use super::args::{LineFormat, WatchArgs};
use super::{live, refuse, table};
use crate::shell::grpc::api::watch_event::Change;
use crate::shell::grpc::api::{Issue, WatchEvent, WatchRequest};
use crate::shell::grpc::{client, names};

/// Prints a line for each change until the role ends or nobody reads any more.
pub fn run(args: &WatchArgs) -> ExitCode {
    let result = live::connected(&args.socket, async |mut client| {
        let stream = client.watch(WatchRequest {}).await.map_err(|s| client::refusal(&s))?;
        let mut stream = stream.into_inner();
        loop {
            let event = match stream.message().await {
                Ok(Some(event)) => event,
                Ok(None) => return Err("the role has ended".to_owned()),
                Err(status) => return Err(format!("the watch has ended: {}", client::refusal(&status))),
            };
            let line = match args.output {
                LineFormat::Text => text(&event),
                LineFormat::Json => {
                    serde_json::to_string(&event).map_err(|e| format!("can't write JSON: {e}"))?
                }
            };
            let mut out = std::io::stdout().lock();
            match writeln!(out, "{line}").and_then(|()| out.flush()) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(e) => return Err(format!("can't write to standard output: {e}")),
            }
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => refuse(message),
    }
}

/// A change for people; empty for the end of the snapshot.
fn text(event: &WatchEvent) -> String {
    let what = match &event.change {
        None => "a change that this version doesn't know".to_owned(),
        Some(Change::SnapshotEnd(_)) => return String::new(),
        Some(Change::Session(c)) => {
            let reason = if c.reason.is_empty() { String::new() } else { format!(" ({})", c.reason) };
            match c.old {
                Some(old) => {
                    format!("session {}: {} -> {}{reason}", c.peer, names::of(old), names::of(c.new))
                }
                None => format!("session {}: {}{reason}", c.peer, names::of(c.new)),
            }
        }
        Some(Change::NextHop(c)) if c.present => {
            format!("session {}: {} has a next hop again", c.peer, c.family)
        }
        Some(Change::NextHop(c)) => {
            format!("session {}: no next hop for {}, which isn't sent", c.peer, c.family)
        }
        Some(Change::Announcement(c)) if c.announced => {
            format!("service {}: announced over {}", c.service, c.protocol)
        }
        Some(Change::Announcement(c)) => {
            format!("service {}: not announced over {} ({})", c.service, c.protocol, c.reason)
        }
        Some(Change::Allocation(c)) => {
            let held = if c.ips.is_empty() { "no address".to_owned() } else { c.ips.join(" ") };
            let pool = c.pool.as_ref().map(|p| format!(" from {p}")).unwrap_or_default();
            let error = c.error.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
            format!("service {}: {held}{pool}{error}", c.service)
        }
        Some(Change::Issue(c)) => {
            let kind = if c.error { "error" } else { "warning" };
            let cleared = if c.cleared { " cleared" } else { "" };
            format!("{kind}{cleared}: {}", c.issue.as_ref().map(issue).unwrap_or_default())
        }
        Some(Change::Manifest(c)) if c.cleared => format!("manifest mended: {}", c.message),
        Some(Change::Manifest(c)) => format!("manifest can't be read: {}", c.message),
    };
    let time = Timestamp::from_millisecond(event.time_ms).unwrap_or_default();
    table::printable(&format!("{time:.3} {what}"))
}

fn issue(issue: &Issue) -> String {
    let namespace = issue.namespace.as_ref().map(|n| format!("{n}/")).unwrap_or_default();
    let field = issue.field.as_ref().map(|f| format!("{f}: ")).unwrap_or_default();
    format!("{} {namespace}{}: {field}{}", issue.kind, issue.name, issue.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::grpc::api::{Allocation, SessionChange, SessionState, SnapshotEnd};

    #[test]
    fn each_change_is_one_line() {
        let event = |change| WatchEvent { time_ms: 1_795_000_000_123, initial: false, change: Some(change) };
        let session = event(Change::Session(SessionChange {
            peer: "tor".into(),
            old: Some(SessionState::OpenConfirm.into()),
            new: SessionState::Established.into(),
            reason: "KEEPALIVE\nreceived".into(),
        }));
        assert_eq!(
            text(&session),
            "2026-11-18T11:06:40.123Z session tor: OpenConfirm -> Established (KEEPALIVE?received)"
        );
        let json = serde_json::to_string(&session).unwrap();
        assert_eq!(
            json,
            r#"{"timeMs":1795000000123,"initial":false,"change":{"session":{"peer":"tor","old":"OpenConfirm","new":"Established","reason":"KEEPALIVE\nreceived"}}}"#
        );
        let allocation = event(Change::Allocation(Allocation {
            service: "default/web".into(),
            ips: vec![],
            pool: None,
            error: Some("no pool has room".into()),
        }));
        assert!(text(&allocation).ends_with("Z service default/web: no address: no pool has room"));
        assert_eq!(text(&event(Change::SnapshotEnd(SnapshotEnd {}))), "");
    }
}
