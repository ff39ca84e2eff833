//! What a peer has sent of routes: they are judged, counted and dropped.

use crate::bgp::wire::{Update, Verdict};
use crate::types::FamilySet;

/// Counts of what has been received on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// UPDATEs without a fault, End-of-RIBs included.
    pub accepted: u64,
    /// UPDATEs that would count without one attribute or several (RFC 7606).
    pub attribute_discarded: u64,
    /// UPDATEs whose routes would count as withdrawn (RFC 7606).
    pub treated_as_withdraw: u64,
    /// UPDATEs that ended the session: 0 or 1.
    pub reset: u64,
    /// Prefixes announced, in UPDATEs of the first two kinds.
    pub announced: u64,
    /// Prefixes withdrawn, those that RFC 7606 makes so included.
    pub withdrawn: u64,
    /// The families whose End-of-RIB has come (RFC 4724).
    pub end_of_rib: FamilySet,
}

impl Received {
    /// UPDATEs of all kinds.
    pub fn updates(&self) -> u64 {
        [self.accepted, self.attribute_discarded, self.treated_as_withdraw, self.reset]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// An UPDATE that can't be read at all.
    pub(super) fn count_unreadable(&mut self) {
        self.reset = self.reset.saturating_add(1);
    }

    pub(super) fn count(&mut self, update: &Update, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Accept => &mut self.accepted,
            Verdict::DiscardAttribute => &mut self.attribute_discarded,
            Verdict::TreatAsWithdraw => &mut self.treated_as_withdraw,
            Verdict::Reset => &mut self.reset,
        };
        *counter = counter.saturating_add(1);
        let reached = update.nlri.len() + update.mp_reach.as_ref().map_or(0, |reach| reach.prefixes.len());
        let withdrawn =
            update.withdrawn.len() + update.mp_unreach.as_ref().map_or(0, |unreach| unreach.prefixes.len());
        let (announced, withdrawn) = match verdict {
            Verdict::Accept | Verdict::DiscardAttribute => (reached, withdrawn),
            Verdict::TreatAsWithdraw => (0, withdrawn + reached),
            Verdict::Reset => (0, 0),
        };
        self.announced = self.announced.saturating_add(announced as u64);
        self.withdrawn = self.withdrawn.saturating_add(withdrawn as u64);
        if let Some(family) = update.end_of_rib().and_then(|family| family.family()) {
            self.end_of_rib.insert(family);
        }
    }
}
