use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::decide::{Protocol, Reason};
use crate::types::ServiceKey;

/// For how long nobody has to announce a service until that is told: endpoints may come a moment after their service.
pub const UNANNOUNCED: Duration = Duration::from_secs(5);

/// Services that have an address and that no node announces, and what was told of them: one telling for each change.
///
/// One speaker of a cluster keeps this, and another begins it anew when that one ends. So a telling has a number: the same again,
/// from a successor, has the same one, and is no second event.
#[derive(Clone, Debug, Default)]
pub struct Unannounced {
    services: BTreeMap<ServiceKey, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    why: Vec<(Protocol, Reason)>,
    since: Instant,
    told: Vec<(Protocol, Reason)>,
    tellings: u32,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Of which service.
    pub service: ServiceKey,
    /// Why, for each protocol; never empty.
    pub why: Vec<(Protocol, Reason)>,
    /// How many came before it of this service.
    pub number: u32,
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
                }
                known.why = why;
                known.since = now;
            }
            None if why.is_empty() => {}
            None => {
                let known = Known { why, since: now, told: vec![], tellings: 0 };
                self.services.insert(service.clone(), known);
            }
        }
    }

    /// A service is gone.
    pub fn gone(&mut self, service: &ServiceKey) {
        self.services.remove(service);
    }

    /// What is to be told now.
    pub fn due(&mut self, now: Instant) -> Vec<Telling> {
        let mut due = Vec::new();
        for (service, known) in &mut self.services {
            if known.due().is_none_or(|due| due > now) {
                continue;
            }
            known.told.clone_from(&known.why);
            due.push(Telling { service: service.clone(), why: known.why.clone(), number: known.tellings });
            known.tellings = known.tellings.saturating_add(1);
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
                    told.push(format!("{second} {} #{}", telling.text(), telling.number));
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
        assert_eq!(run(&mut all, 20, 60), ["25 noEndpoints (protocol \"bgp\") #0"]);
        // For another reason.
        all.judge(at(60), &web, none(Reason::NoPeer));
        assert_eq!(run(&mut all, 60, 100), ["65 noPeer (protocol \"bgp\") #1"]);
        // A reason that comes and goes within the time is no change.
        all.judge(at(100), &web, none(Reason::NoEndpoints));
        all.judge(at(102), &web, none(Reason::NoPeer));
        assert_eq!((run(&mut all, 100, 140), all.next_timeout()), (vec![], None));
        // Announced, and then no more.
        all.judge(at(140), &web, vec![]);
        all.judge(at(141), &web, none(Reason::NoPeer));
        assert_eq!(run(&mut all, 140, 180), ["146 noPeer (protocol \"bgp\") #2"]);
        all.gone(&web);
        assert_eq!(all.next_timeout(), None);
    }
}
