//! From decisions to the layer2 thread: what is to be answered for, and what that thread tells.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ferrolb_core::engine::Outcome;
use ferrolb_core::layer2::{self, Exclusion, Settings, Socket};
use ferrolb_core::types::InterfaceSet;
use tracing::{error, info, warn};

use crate::shell::layer2::Event;

/// What the layer2 thread is set up with.
///
/// # Errors
/// A sentence: the file of excluded interfaces can't be read, or isn't one.
pub fn settings(excluded_interfaces: Option<&Path>, interval: Duration) -> Result<Settings, String> {
    let excluded = match excluded_interfaces {
        None => Exclusion::metallb_default(),
        Some(path) => excluded(path)?,
    };
    Ok(Settings { excluded, gratuitous_interval: (!interval.is_zero()).then_some(interval) })
}

fn excluded(path: &Path) -> Result<Exclusion, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Exclusion::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// What differs, as the thread takes it.
pub fn changes(outcome: &Outcome) -> Vec<(IpAddr, Option<InterfaceSet>)> {
    outcome.addresses.iter().map(|change| (change.address, change.interfaces.clone())).collect()
}

/// One line for each event of the thread.
pub fn log(event: &Event) {
    match event {
        Event::Machine(layer2::Event::Answering { interface, now: true }) => {
            info!(event = "interfaceAnswering", %interface, "answering on layer 2");
        }
        Event::Machine(layer2::Event::Answering { interface, now: false }) => {
            info!(event = "interfaceNotAnswering", %interface, "nothing is answered here on layer 2 any more");
        }
        Event::Machine(layer2::Event::Conflict { interface, address, claimant }) => warn!(
            event = "addressConflict", %interface, ip = %address, mac = %claimant,
            "another station claims this address: traffic for it may go there; the claim was answered with an announcement"
        ),
        Event::Machine(layer2::Event::NoInterface { address, wanted, .. }) => {
            let interfaces = match wanted {
                InterfaceSet::Any => String::new(),
                InterfaceSet::Only(names) => names.iter().map(|name| &**name).collect::<Vec<_>>().join(","),
            };
            warn!(
                event = "announceFailed", ip = %address, protocol = "layer2", interfaces,
                "none of the interfaces of the L2Advertisement can answer on this node: nobody answers for this address"
            );
        }
        Event::SocketFailed { interface, socket, error } => {
            let needs = "it is tried again each second; CAP_NET_RAW is needed";
            error!(event = "layer2SocketFailed", %interface, protocol = protocol(*socket), %error, "not answering here: {needs}");
        }
        Event::SocketOpen { interface, socket } => {
            info!(event = "layer2SocketOpen", %interface, protocol = protocol(*socket), "answering here again");
        }
        Event::GroupFailed { interface, error } => warn!(
            event = "groupNotJoined", %interface, %error,
            "a solicited-node group can't be joined: behind a switch that follows memberships (MLD snooping), questions may not get here"
        ),
        Event::LinksUnknown { error } => {
            error!(event = "interfacesUnknown", %error, "the kernel doesn't tell which interfaces there are; it is asked again each second");
        }
    }
}

const fn protocol(socket: Socket) -> &'static str {
    match socket {
        Socket::Arp => "arp",
        Socket::Ndp => "ndp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_excluded_interfaces_is_read_or_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "announcedInterfacesToExclude: ['^x']").unwrap();
        assert!(excluded(file.path()).unwrap().matches("x1"));
        fs::write(file.path(), "announcedInterfacesToExclude: 7").unwrap();
        let error = excluded(file.path()).unwrap_err();
        assert!(error.starts_with(&file.path().display().to_string()), "{error}");
        assert!(excluded(Path::new("/nowhere/at/all")).is_err());
    }
}
