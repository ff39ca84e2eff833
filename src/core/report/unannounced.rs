use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::decide::{Protocol, Reason};
use crate::types::ServiceKey;

/// For how long nobody has to announce a service until that is told: endpoints may come a moment after their service.
pub const UNANNOUNCED: Duration = Duration::from_secs(5);

/// Services that have an address and that no node announces, and what was told of them: one telling for each change.
///
/// One speaker of a cluster keeps this, and another begins it anew when that one ends. So a telling says whether it is of what stood
/// already when this was begun: that is no second event, while a change that was seen is.
#[derive(Clone, Debug, Default)]
pub struct Unannounced {
    services: BTreeMap<ServiceKey, Known>,
    /// Whether all services have been judged once.
    begun: bool,
}

#[derive(Clone, Debug)]
struct Known {
    why: Vec<(Protocol, Reason)>,
    since: Instant,
    told: Vec<(Protocol, Reason)>,
    /// What stood when this was begun, until something else is told or the service is announced; empty: nothing.
    stood: Vec<(Protocol, Reason)>,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Of which service.
    pub service: ServiceKey,
    /// Why, for each protocol; never empty.
    pub why: Vec<(Protocol, Reason)>,
    /// Whether it stood already when this was begun.
    pub stood: bool,
}

impl Telling {
    /// The reason codes, each with its protocol.
    pub fn text(&self) -> String {
        let each = self.why.iter().map(|(protocol, reason)| format!("{reason} (protocol \"{protocol}\")"));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Unannounced {
    /// Why no node announces a service; empty: one does, or the service has no address.
    pub fn judge(&mut self, now: Instant, service: &ServiceKey, why: Vec<(Protocol, Reason)>) {
        match self.services.get_mut(service) {
            Some(known) if known.why == why => {}
            Some(known) => {
                // Announced, and so the next time is news.
                if why.is_empty() {
                    known.told.clear();
                    known.stood.clear();
                }
                known.why = why;
                known.since = now;
            }
            None if why.is_empty() => {}
            None => {
                let stood = if self.begun { vec![] } else { why.clone() };
                let known = Known { why, since: now, told: vec![], stood };
                self.services.insert(service.clone(), known);
            }
        }
    }

    /// A service is gone.
    pub fn gone(&mut self, service: &ServiceKey) {
        self.services.remove(service);
    }

    /// What is to be told now. Before the first time all services have to be judged.
    pub fn due(&mut self, now: Instant) -> Vec<Telling> {
        self.begun = true;
        let mut due = Vec::new();
        for (service, known) in &mut self.services {
            if known.due().is_none_or(|due| due > now) {
                continue;
            }
            known.told.clone_from(&known.why);
            let stood = std::mem::take(&mut known.stood) == known.why;
            due.push(Telling { service: service.clone(), why: known.why.clone(), stood });
        }
        due
    }

    /// When there is something to tell, if nothing happens before.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.services.values().filter_map(Known::due).min()
    }
}

impl Known {
    fn due(&self) -> Option<Instant> {
        (!self.why.is_empty() && self.why != self.told).then(|| self.since.checked_add(UNANNOUNCED)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_that_stands_is_told_once() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let web = ServiceKey::new("default", "web");
        let none = |reason| vec![(Protocol::Bgp, reason)];
        let mut all = Unannounced::default();
        let mut told = Vec::new();
        let mut run = |all: &mut Unannounced, from: u64, to: u64| {
            for second in from..to {
                for telling in all.due(at(second)) {
                    let stood = if telling.stood { " (stood)" } else { "" };
                    told.push(format!("{second} {}{stood}", telling.text()));
                }
            }
            std::mem::take(&mut told)
        };
        // A service whose endpoints come a little later.
        all.judge(at(0), &web, none(Reason::NoEndpoints));
        assert_eq!(all.next_timeout(), Some(at(5)));
        assert_eq!(run(&mut all, 0, 3), Vec::<String>::new());
        all.judge(at(3), &web, vec![]);
        assert_eq!((run(&mut all, 3, 20), all.next_timeout()), (vec![], None));
        // One that stays so is told of once, however often it is looked at.
        for second in 20..60 {
            all.judge(at(second), &web, none(Reason::NoEndpoints));
        }
        assert_eq!(run(&mut all, 20, 60), ["25 noEndpoints (protocol \"bgp\")"]);
        // For another reason.
        all.judge(at(60), &web, none(Reason::NoPeer));
        assert_eq!(run(&mut all, 60, 100), ["65 noPeer (protocol \"bgp\")"]);
        // A reason that comes and goes within the time is no change.
        all.judge(at(100), &web, none(Reason::NoEndpoints));
        all.judge(at(102), &web, none(Reason::NoPeer));
        assert_eq!((run(&mut all, 100, 140), all.next_timeout()), (vec![], None));
        // Announced, and then no more.
        all.judge(at(140), &web, vec![]);
        all.judge(at(141), &web, none(Reason::NoPeer));
        assert_eq!(run(&mut all, 140, 180), ["146 noPeer (protocol \"bgp\")"]);
        all.gone(&web);
        assert_eq!(all.next_timeout(), None);
        // A successor finds what stands, and sees what changes after that.
        let mut all = Unannounced::default();
        all.judge(at(200), &web, none(Reason::NoPeer));
        all.judge(at(200), &ServiceKey::new("default", "shop"), vec![]);
        assert_eq!(run(&mut all, 200, 202), Vec::<String>::new());
        all.judge(at(202), &web, none(Reason::NoEndpoints));
        all.judge(at(203), &web, none(Reason::NoPeer));
        assert_eq!(run(&mut all, 203, 220), ["208 noPeer (protocol \"bgp\") (stood)"]);
        all.judge(at(220), &ServiceKey::new("default", "shop"), none(Reason::NoPeer));
        all.judge(at(220), &web, none(Reason::NoEndpoints));
        let both = ["225 noPeer (protocol \"bgp\")", "225 noEndpoints (protocol \"bgp\")"];
        assert_eq!(run(&mut all, 220, 230), both);
        all.judge(at(230), &web, none(Reason::NoPeer));
        assert_eq!(run(&mut all, 230, 240), ["235 noPeer (protocol \"bgp\")"]);
    }
}
