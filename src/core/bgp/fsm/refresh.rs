//! Refreshes that the peer has asked for, and their marks where both sides know them (RFC 7313 section 4).

use super::{Message, Output, RefreshSubtype, RouteRefresh};
use crate::types::{Family, FamilySet};

#[derive(Debug, Default)]
pub(super) struct Refreshes {
    /// The first routes of the session are out, and with them their End-of-RIBs.
    first_sent: bool,
    /// Asked for before that: no Beginning-of-Route-Refresh may stand before the End-of-RIB (RFC 7313 section 4.1).
    waiting: FamilySet,
    /// Begun, and not yet ended.
    under_way: FamilySet,
}

impl Refreshes {
    /// The peer asks for a family once more.
    pub(super) fn requested(&mut self, family: Family, enhanced: bool) -> Vec<Output> {
        if !enhanced {
            return vec![Output::Refresh(family)];
        }
        if !self.first_sent {
            self.waiting.insert(family);
            return Vec::new();
        }
        self.begin(family)
    }

    /// All routes are written, refreshed ones included.
    pub(super) fn routes_sent(&mut self) -> Vec<Output> {
        self.first_sent = true;
        let ended = std::mem::take(&mut self.under_way);
        let mut outputs: Vec<Output> = ended.iter().map(|family| mark(family, RefreshSubtype::End)).collect();
        for family in std::mem::take(&mut self.waiting).iter() {
            outputs.extend(self.begin(family));
        }
        outputs
    }

    pub(super) fn awaits_routes_sent(&self) -> bool {
        !self.first_sent || !self.under_way.is_empty()
    }

    /// One that is under way starts over within its marks: at the end, all has been sent after both requests.
    fn begin(&mut self, family: Family) -> Vec<Output> {
        if self.under_way.contains(family) {
            return vec![Output::Refresh(family)];
        }
        self.under_way.insert(family);
        vec![mark(family, RefreshSubtype::Begin), Output::Refresh(family)]
    }
}

fn mark(family: Family, subtype: RefreshSubtype) -> Output {
    Output::Send(Message::RouteRefresh(RouteRefresh { subtype, ..RouteRefresh::request(family) }))
}
