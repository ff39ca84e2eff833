use std::fmt;

/// How an address is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// BGP.
    Bgp,
    /// ARP and NDP.
    Layer2,
}

impl Protocol {
    /// `bgp` or `layer2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Bgp => "bgp",
            Protocol::Layer2 => "layer2",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an address isn't announced. The codes are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The session doesn't carry the address's family.
    AddressFamilyNotCarried,
    /// Advertisements that apply disagree on LOCAL_PREF or AS path prepending.
    ConflictingAdvertisements,
    /// The address is held from a pool that is invalid.
    IpNotAllowed,
    /// No valid advertisement covers the pool.
    NoAdvertisement,
    /// No endpoint can serve, on any node.
    NoEndpoints,
    /// External traffic policy Local, and no endpoint on this node can serve.
    NoLocalEndpoints,
    /// No advertisement selects the service (on layer 2: the service and the node).
    NoMatchingAdvertisement,
    /// The session has no next hop for the family; known only where a session runs.
    NoNextHop,
    /// The node has no valid peer.
    NoPeer,
    /// The node carries the label that excludes it from load balancers.
    NodeLabeledExcludeBalancers,
    /// The node's network is unavailable.
    NodeNetworkUnavailable,
    /// BGP: no advertisement selects this node. Layer 2: another node won the election.
    NotOwner,
    /// The advertisements that apply leave this peer out.
    PeerNotSelected,
    /// Layer 2: a service that shares its address is matched by an advertisement with service selectors.
    SharedIpWithServiceSelector,
}

/// The order in which BGP's reasons are judged; the first that applies is the one that is told.
const BGP_ORDER: [Reason; 13] = [
    Reason::IpNotAllowed,
    Reason::NoAdvertisement,
    Reason::NotOwner,
    Reason::NoMatchingAdvertisement,
    Reason::ConflictingAdvertisements,
    Reason::NodeNetworkUnavailable,
    Reason::NodeLabeledExcludeBalancers,
    Reason::NoLocalEndpoints,
    Reason::NoEndpoints,
    Reason::NoPeer,
    Reason::PeerNotSelected,
    Reason::AddressFamilyNotCarried,
    Reason::NoNextHop,
];

/// The same for layer 2.
const LAYER2_ORDER: [Reason; 9] = [
    Reason::IpNotAllowed,
    Reason::NoAdvertisement,
    Reason::NoEndpoints,
    Reason::SharedIpWithServiceSelector,
    Reason::NoMatchingAdvertisement,
    Reason::NodeNetworkUnavailable,
    Reason::NodeLabeledExcludeBalancers,
    Reason::NoLocalEndpoints,
    Reason::NotOwner,
];

impl Reason {
    /// The code, as `plan` and `explain` print it.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::AddressFamilyNotCarried => "addressFamilyNotCarried",
            Reason::ConflictingAdvertisements => "conflictingAdvertisements",
            Reason::IpNotAllowed => "ipNotAllowed",
            Reason::NoAdvertisement => "noAdvertisement",
            Reason::NoEndpoints => "noEndpoints",
            Reason::NoLocalEndpoints => "noLocalEndpoints",
            Reason::NoMatchingAdvertisement => "noMatchingAdvertisement",
            Reason::NoNextHop => "noNextHop",
            Reason::NoPeer => "noPeer",
            Reason::NodeLabeledExcludeBalancers => "nodeLabeledExcludeBalancers",
            Reason::NodeNetworkUnavailable => "nodeNetworkUnavailable",
            Reason::NotOwner => "notOwner",
            Reason::PeerNotSelected => "peerNotSelected",
            Reason::SharedIpWithServiceSelector => "sharedIPWithServiceSelector",
        }
    }

    /// Of several reasons the one that is judged first under `protocol`.
    pub fn first(protocol: Protocol, reasons: impl IntoIterator<Item = Reason>) -> Option<Reason> {
        reasons.into_iter().min_by_key(|reason| reason.place(protocol))
    }

    /// Of several reasons the one that is judged last under `protocol`.
    pub fn last(protocol: Protocol, reasons: impl IntoIterator<Item = Reason>) -> Option<Reason> {
        reasons.into_iter().max_by_key(|reason| reason.place(protocol))
    }

    fn place(self, protocol: Protocol) -> Option<usize> {
        let order: &[Reason] = match protocol {
            Protocol::Bgp => &BGP_ORDER,
            Protocol::Layer2 => &LAYER2_ORDER,
        };
        order.iter().position(|other| *other == self)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
