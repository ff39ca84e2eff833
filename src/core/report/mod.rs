//! What a speaker says about itself in the API: which objects are to be there, and what has to be written for it.
//!
//! The objects are `ServiceBGPStatus` and `ServiceL2Status` (who announces a service), `ConfigurationState` (which errors
//! concern this node) and `BGPSessionState` (how the sessions stand). [`Ledger`] holds what is wanted beside what the watches
//! have shown, and gives out one write after the other, at a bounded rate; where nothing differs it gives none. What was
//! written by an earlier process is found by its labels and gone on with. Objects of other nodes aren't touched, but for one
//! case: who owns a service on layer 2 deletes the claims of others, since the owner is one.
//!
//! [`Standing`] keeps what flaps from becoming writes. The texts and shapes of the objects are in `shape`.
//!
//! What this doesn't do: talk to the API server, or know what a session was sent.

mod configuration;
mod ledger;
mod shape;
mod standing;
mod unannounced;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::types::ServiceKey;

pub use configuration::{controller_errors, speaker_errors};
pub use ledger::{Ledger, Outcome, Settings, Write};
pub use shape::{Identity, Kind, Object};
pub use standing::{HOLD, Standing, View};
pub use unannounced::{Telling, UNANNOUNCED, Unannounced};

/// What a status object is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The configuration, as this component judges it.
    Configuration,
    /// The session with a router, by its address and VRF (empty: none); apart, since such are few, and services many.
    Session(Box<(IpAddr, Arc<str>)>),
    /// A service that is announced over BGP.
    ServiceBgp(ServiceKey),
    /// A service that is answered for on layer 2.
    ServiceL2(ServiceKey),
}

impl Subject {
    /// The session with a router, in a VRF (empty: none).
    pub fn session(router: IpAddr, vrf: &str) -> Subject {
        Subject::Session(Box::new((router, vrf.into())))
    }

    /// The kind of its object.
    pub fn kind(&self) -> Kind {
        match self {
            Subject::Configuration => Kind::ConfigurationState,
            Subject::Session(..) => Kind::BgpSessionState,
            Subject::ServiceBgp(_) => Kind::ServiceBgpStatus,
            Subject::ServiceL2(_) => Kind::ServiceL2Status,
        }
    }
}

/// What a status object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing yet, or something that isn't understood.
    Unset,
    /// The configuration's errors, one a line; none: it is valid.
    Configuration(Vec<String>),
    /// Whether the session is established.
    Session(bool),
    /// The peers that have a route of the service.
    ServiceBgp(Names),
    /// The interfaces that answer for the service; empty: all.
    ServiceL2(Names),
}

/// Names of peers or interfaces. Thousands of services mostly have the same ones: a [`Ledger`] keeps equal sets once.
pub type Names = Arc<BTreeSet<Arc<str>>>;

/// What is wanted of a status object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That it says this.
    Content(Content),
    /// That it names these peers, and of the unsettled ones those that it names already.
    Peers {
        /// The peers that have a route of the service.
        sent: Names,
        /// The peers of which it isn't known for long enough.
        unsettled: Names,
    },
}
