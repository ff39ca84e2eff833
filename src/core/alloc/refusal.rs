//! Why a service gets no address, or not the one that it asks for: one sentence each, with the remedy.
//!
//! A sentence depends on the configuration, the service, and who uses the addresses it asks for by name; never on how the
//! state came about, so that a restarted role says the same.

use std::net::IpAddr;
use std::sync::Arc;

use crate::types::{Family, FamilySet, ServiceKey};
use crate::world::ServicePort;

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// A requested address can't be read.
    #[error("invalid IP {text:?} requested: write an IPv4 or IPv6 address without zone or leading zeros")]
    NoAddress { text: String },
    /// Both ways of asking at once.
    #[error(
        "addresses are requested by both the annotation metallb.io/loadBalancerIPs and spec.loadBalancerIP: remove one of the two"
    )]
    RequestedTwice,
    /// Two requested addresses of one family.
    #[error("the requested IPs {} have the same family: ask for one IPv4 and one IPv6 address", list(ips))]
    SameFamily { ips: Vec<IpAddr> },
    /// More than two requested.
    #[error("more than two addresses requested ({}): ask for at most one of each family", list(ips))]
    TooMany { ips: Vec<IpAddr> },
    /// A request for other families than the service has.
    #[error("requested IPs {} do not match the service family {}: ask for one address of each of its families", list(ips), families(*.has))]
    WrongFamily { ips: Vec<IpAddr>, has: FamilySet },
    /// The service's own families can't be told.
    #[error("{reason}: its IP family can't be told, correct spec.clusterIPs")]
    NoFamily { reason: String },
    /// RequireDualStack with one family.
    #[error(
        "ipFamilyPolicy is RequireDualStack, but it has not enough cluster IPs: only {}; give it one of each family, or another policy",
        families(*.has)
    )]
    NotDual { has: FamilySet },
    /// No pool has this address, or these together.
    #[error("{} not allowed in config: no IPAddressPool contains {}; ask for an address of a pool, or add it to one", list(ips), if ips.len() == 1 { "it" } else { "both together" })]
    NotAllowed { ips: Vec<IpAddr> },
    /// The pool leaves this one out.
    #[error(
        "{ip} not allowed in config: pool {pool:?} avoids addresses that end in .0 or .255 (avoidBuggyIPs); ask for another"
    )]
    Buggy { ip: IpAddr, pool: Arc<str> },
    /// The pool isn't for this service.
    #[error(
        "pool {pool:?} is not compatible for ip assignment to this service: its serviceAllocation takes other namespaces or services; change that, or ask for another pool"
    )]
    Incompatible { pool: Arc<str> },
    /// The addresses aren't of the pool that is asked for too.
    #[error(
        "requested IPs {} are not compatible with the requested pool {pool:?}: they are in pool {actual:?}; correct one of the two requests",
        list(ips)
    )]
    OtherPool { ips: Vec<IpAddr>, pool: Arc<str>, actual: Arc<str> },
    /// The pool isn't there.
    #[error(
        "unknown pool {pool:?}: no IPAddressPool has this name; create it, or correct the annotation metallb.io/address-pool"
    )]
    UnknownPool { pool: Arc<str> },
    /// The pool was rejected for overlapping an older one.
    #[error(
        "pool {pool:?} gives no new address while it overlaps an older pool: correct its addresses, or ask for another pool"
    )]
    FrozenPool { pool: Arc<str> },
    /// The pool was rejected otherwise.
    #[error("pool {pool:?} is invalid and gives no address: correct it (its error says what is wrong)")]
    InvalidPool { pool: Arc<str> },
    /// What is held is from an invalid pool.
    #[error(
        "it holds {} from pool {pool:?}, which is invalid: kept, but not announced until that pool is corrected or removed",
        list(ips)
    )]
    HeldFromInvalid { ips: Vec<IpAddr>, pool: Arc<str> },
    /// The address is another's who doesn't share, or not with this one.
    #[error(
        "can't use {ip}: it is also used by {}, and this service cannot change sharing key there: those on one address need \
         the same metallb.io/allow-shared-ip, the same externalTrafficPolicy and, where that is Local, the same selector; \
         ask for another address, or make these equal",
        names(users)
    )]
    Shared { ip: IpAddr, users: Vec<ServiceKey> },
    /// A port of the address is another's.
    #[error(
        "can't use {ip}: port {port} is already in use on \"{ip}\" by {user}; change the port, or ask for another address"
    )]
    Port { ip: IpAddr, port: ServicePort, user: ServiceKey },
    /// The pool that it asks for is full, or has no such addresses.
    #[error("no available IPs in pool {pool:?} for family {}: {}; free one, enlarge the pool, or ask for another", families(*.need), if *.has { "all are in use" } else { "it has no such addresses" })]
    PoolFull { pool: Arc<str>, need: FamilySet, has: bool },
    /// No pool has a free one.
    #[error("no available IPs: no IPAddressPool that may give this service {} has a free one{}; add a pool, or enlarge one", families(*.need), if need.len() == 2 { " of each (both come from one pool)" } else { "" })]
    NoneLeft { need: FamilySet },
    /// There is no pool at all.
    #[error("no available IPs: there is no valid IPAddressPool; create one")]
    NoPools,
    /// Nobody chooses here.
    #[error(
        "no address is given to it: with several nodes standalone chooses none by itself; `ferrolb allocate` gives it one"
    )]
    NotChosen,
    /// Another role gives addresses, and hasn't.
    #[error(
        "its status has no address: the controller gives it one, or says why not in an event of the Service"
    )]
    NotGiven,
    /// It should move, and nobody chooses here.
    #[error(
        "it holds an address outside pool {pool:?}, which it asks for: with several nodes standalone chooses none by itself; `ferrolb allocate` gives it another"
    )]
    NotMoved { pool: Arc<str> },
}

fn list(ips: &[IpAddr]) -> String {
    ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

fn families(set: FamilySet) -> String {
    set.iter().map(|f: Family| f.to_string()).collect::<Vec<_>>().join(" and ")
}

/// The first few by name: an address may have thousands of users.
fn names(users: &[ServiceKey]) -> String {
    users.iter().map(ServiceKey::to_string).collect::<Vec<_>>().join(", ")
}
