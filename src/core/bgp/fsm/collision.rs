//! Two connections with one peer: which of them stays (RFC 4271 6.8).

use super::State;
use crate::types::{Asn, RouterId};

/// Which of two connections stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivor {
    /// The one that we dialled.
    Dialled,
    /// The one that the peer dialled.
    Accepted,
}

/// Which connection stays when the peer's OPEN has come on one of them; the other gets a Cease with Connection Collision
/// Resolution. `standing` is the state of the older connection and `which` it is; `ours` and `theirs` are identifier and
/// AS. `None`: there is no collision, since the older one has no OPEN yet to be compared.
///
/// Both sides come to the same result: the connection stays that the side with the higher identifier has dialled; where
/// the identifiers are equal, that with the higher AS (RFC 6286 section 2.3). One that is Established stays in any case.
pub fn survivor(
    standing: State,
    which: Survivor,
    ours: (RouterId, Asn),
    theirs: (RouterId, Asn),
) -> Option<Survivor> {
    match standing {
        State::Established => Some(which),
        State::OpenConfirm => {
            let key = |(id, asn): (RouterId, Asn)| (u32::from(id.get()), asn.get());
            Some(if key(ours) > key(theirs) { Survivor::Dialled } else { Survivor::Accepted })
        }
        State::Idle | State::Connect | State::Active | State::OpenSent => None,
    }
}
