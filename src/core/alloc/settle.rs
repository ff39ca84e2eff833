//! The rules for one service: what it may keep, and what it gets.
//!
//! Both are functions of the configuration, the service and who uses what. Judging a service again when nothing changed
//! changes nothing.

use std::net::IpAddr;
use std::sync::Arc;

use super::Mode;
use super::book::Book;
use super::pools::{PoolId, Pools, takes};
use super::refusal::Refusal;
use super::want::Want;
use crate::config::{Pool, PoolState, is_buggy};
use crate::types::{Family, FamilySet, shared};

/// What a service holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Its addresses, in the order of its status.
    pub(super) ips: Arc<[IpAddr]>,
    /// The pool that they are all from; none without addresses.
    pub(super) home: Option<PoolId>,
    /// Whether it just lost an address of a family that it still has.
    pub(super) lost: bool,
}

/// What came of judging a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Its addresses from now on.
    pub(super) ips: Vec<IpAddr>,
    /// The pool that they are all from.
    pub(super) home: Option<PoolId>,
    /// Why it didn't get what it asks for.
    pub(super) error: Option<Refusal>,
    /// What could help it.
    pub(super) waits: Vec<Wait>,
}

/// What could help a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    /// This address freed, or used by others.
    Address(IpAddr),
    /// Any address of this pool and family freed.
    Pool(PoolId, Family),
    /// An address freed of any pool that gives automatically.
    Automatic,
}

/// What `want` may keep of the addresses that it wishes to hold. `from` is the pool that they are said to be from.
pub(super) fn claim(
    pools: &Pools,
    book: &Book,
    want: &Want,
    wishes: &Arc<[IpAddr]>,
    from: Option<&str>,
) -> Held {
    if want.lacks_family() {
        return Held::default();
    }
    let need = want.families.clone().unwrap_or(FamilySet::BOTH);
    let admitted: Vec<IpAddr> =
        wishes.iter().copied().filter(|ip| need.contains(Family::of(*ip)) && book.fits(*ip, want)).collect();
    let pairs = admitted.iter().enumerate().flat_map(|(i, a)| {
        let rest = admitted.iter().skip(i.saturating_add(1));
        rest.filter(|b| Family::of(**b) != Family::of(*a)).map(|b| vec![*a, *b])
    });
    let kept = pairs
        .map(|pair| (pools.home(&pair, want, from), pair))
        .chain(admitted.iter().map(|ip| (pools.usable_home(&[*ip], want), vec![*ip])))
        .chain(admitted.iter().map(|ip| (pools.home(&[*ip], want, from), vec![*ip])))
        .find(|(home, _)| home.is_some());
    let Some((home, ips)) = kept else { return Held::default() };
    let ips = if *ips == **wishes { wishes.clone() } else { shared(ips) };
    let lost = wishes
        .iter()
        .map(|ip| Family::of(*ip))
        .any(|f| need.contains(f) && !ips.iter().any(|ip| Family::of(*ip) == f));
    Held { ips, home, lost }
}

/// What `want` has where its status counts alone, which says `said`: all of that where one pool contains it, or else the first
/// address that one does, rather a pool that is no invalid one.
pub(super) fn told(pools: &Pools, want: &Want, said: &[IpAddr]) -> Outcome {
    if said.is_empty() {
        return Outcome { error: Some(Refusal::NotGiven), ..Outcome::default() };
    }
    let from = want.from_pool.as_deref();
    let held = |ips| pools.containing(ips, from).map(|home| (home, ips));
    let mut usable = said.chunks(1).filter_map(held).filter(|(home, _)| !pools.is_invalid(*home));
    let found = held(said).or_else(|| usable.next()).or_else(|| said.chunks(1).find_map(held));
    let Some((id, ips)) = found else {
        return Outcome { error: Some(Refusal::NotAllowed { ips: said.to_vec() }), ..Outcome::default() };
    };
    let error = match pools.get(id).filter(|_| pools.is_invalid(id)) {
        Some(pool) => Some(Refusal::HeldFromInvalid { ips: ips.to_vec(), pool: pool.name.clone() }),
        None if ips.len() < said.len() => Some(Refusal::NotAllowed { ips: said.to_vec() }),
        None => None,
    };
    Outcome { ips: ips.to_vec(), home: Some(id), error, waits: vec![] }
}

/// What `want`, who holds `held`, gets.
pub(super) fn settle(pools: &mut Pools, book: &mut Book, mode: Mode, want: &Want, held: &Held) -> Outcome {
    Settling { pools, book, mode, want, held }.outcome()
}

/// Why not, and what could help.
type Refused = (Refusal, Vec<Wait>);

struct Settling<'a> {
    pools: &'a mut Pools,
    book: &'a mut Book,
    mode: Mode,
    want: &'a Want,
    held: &'a Held,
}

impl Settling<'_> {
    fn outcome(&mut self) -> Outcome {
        let want = self.want;
        if let Some(pool) = self.home_pool()
            && pool.state == PoolState::Invalid
        {
            let error = Refusal::HeldFromInvalid { ips: self.held.ips.to_vec(), pool: pool.name.clone() };
            return Outcome { error: Some(error), ..self.keep() };
        }
        let need = match &want.families {
            Ok(has) if want.lacks_family() => return self.refuse((Refusal::NotDual { has: *has }, vec![])),
            Ok(need) => *need,
            Err(reason) => return self.refuse((Refusal::NoFamily { reason: reason.to_string() }, vec![])),
        };
        let result = match &want.addresses {
            Err(refusal) => Err(((**refusal).clone(), vec![])),
            Ok(Some(ips)) => self.requested(ips, need),
            Ok(None) => self.chosen(need),
        };
        result.unwrap_or_else(|refused| self.refuse(refused))
    }

    /// It asks for these addresses.
    fn requested(&self, ips: &[IpAddr], need: FamilySet) -> Result<Outcome, Refused> {
        let want = self.want;
        let fits = ips.iter().map(|ip| Family::of(*ip)).collect::<FamilySet>() == need;
        let mut held = self.held.ips.to_vec();
        held.sort();
        if held == ips && (fits || want.prefers_dual()) {
            let home = self.home_pool().map(|p| p.name.clone());
            return match (&want.pool, home) {
                (Some(asked), Some(home)) if *asked != home => {
                    Err((self.other_pool(ips, asked, home), vec![]))
                }
                _ => Ok(self.keep()),
            };
        }
        if !fits {
            return Err((Refusal::WrongFamily { ips: ips.to_vec(), has: need }, vec![]));
        }
        let (home, pool) = self.giving_pool(ips).map_err(|refusal| (refusal, vec![]))?;
        if let Some(asked) = &want.pool
            && *asked != pool.name
        {
            return Err((self.other_pool(ips, asked, pool.name.clone()), vec![]));
        }
        for ip in ips {
            self.book
                .admits(*ip, want)
                .map_err(|refusal| (refusal, ips.iter().copied().map(Wait::Address).collect()))?;
        }
        Ok(Outcome { ips: ips.to_vec(), home: Some(home), ..Outcome::default() })
    }

    /// The pool that may give it all of these addresses, as far as the configuration says.
    fn giving_pool(&self, ips: &[IpAddr]) -> Result<(PoolId, &Pool), Refusal> {
        let accepted = ips.first().and_then(|ip| self.pools.accepted(*ip));
        let Some((id, pool)) = accepted.filter(|(id, _)| self.pools.all_accepted(*id, ips)) else {
            return Err(match self.pools.rejected(ips) {
                Some(pool) => rejected(pool),
                None => Refusal::NotAllowed { ips: ips.to_vec() },
            });
        };
        if let Some(ip) = ips.iter().find(|ip| pool.avoid_buggy_ips && is_buggy(**ip)) {
            return Err(Refusal::Buggy { ip: *ip, pool: pool.name.clone() });
        }
        if !takes(pool, self.want) {
            return Err(Refusal::Incompatible { pool: pool.name.clone() });
        }
        Ok((id, pool))
    }

    fn other_pool(&self, ips: &[IpAddr], asked: &Arc<str>, actual: Arc<str>) -> Refusal {
        match self.pools.named(asked) {
            Some(_) => Refusal::OtherPool { ips: ips.to_vec(), pool: asked.clone(), actual },
            None => Refusal::UnknownPool { pool: asked.clone() },
        }
    }

    /// It asks for no address, perhaps for a pool.
    fn chosen(&mut self, need: FamilySet) -> Result<Outcome, Refused> {
        let held = self.held_families();
        let home = self.home_pool().map(|p| &p.name);
        match &self.want.pool {
            Some(asked) if Some(asked) != home => self.in_named_pool(need),
            None if held.is_empty() => self.in_any_pool(need),
            _ if need.iter().all(|f| held.contains(f)) => Ok(self.keep()),
            _ => self.second(need),
        }
    }

    /// From the pool that it asks for.
    fn in_named_pool(&mut self, need: FamilySet) -> Result<Outcome, Refused> {
        let Some(name) = &self.want.pool else { return self.in_any_pool(need) };
        let home = self.home_pool().map(|p| &p.name);
        let id = match self.pools.named(name) {
            None => Err(Refusal::UnknownPool { pool: name.clone() }),
            Some((_, pool)) if pool.state != PoolState::Accepted => Err(rejected(pool)),
            Some((_, pool)) if !takes(pool, self.want) => Err(Refusal::Incompatible { pool: name.clone() }),
            Some(_) if self.mode == Mode::HeldOnly && home.is_some_and(|h| h != name) => {
                Err(Refusal::NotMoved { pool: name.clone() })
            }
            Some(_) if self.mode == Mode::HeldOnly => Err(Refusal::NotChosen),
            Some((id, _)) => Ok(id),
        }
        .map_err(|refusal| (refusal, vec![]))?;
        // MetalLB: a service that names its pool falls back to IPv4 first, whatever its first family is.
        self.pick(&[id], need, Family::V4).ok_or_else(|| {
            let has = need.iter().any(|f| self.pools.has(id, FamilySet::only(f)));
            let refusal = Refusal::PoolFull { pool: name.clone(), need, has };
            (refusal, need.iter().map(|f| Wait::Pool(id, f)).collect())
        })
    }

    /// From any pool that gives automatically: first those pinned to it, then those for everybody.
    fn in_any_pool(&mut self, need: FamilySet) -> Result<Outcome, Refused> {
        if self.mode == Mode::HeldOnly {
            return Err((Refusal::NotChosen, vec![]));
        }
        for list in self.lists() {
            if let Some(outcome) = self.pick(&list, need, self.want.first_family) {
                return Ok(outcome);
            }
        }
        let refusal = if self.pools.any_accepted() { Refusal::NoneLeft { need } } else { Refusal::NoPools };
        Err((refusal, vec![Wait::Automatic]))
    }

    /// It has two families and holds an address of one.
    fn second(&mut self, need: FamilySet) -> Result<Outcome, Refused> {
        let want = self.want;
        let held = self.held_families();
        let missing = need.iter().find(|f| !held.contains(*f)).unwrap_or(Family::V6);
        let mut waits = vec![];
        let home = self.held.home.filter(|_| self.mode == Mode::Allocate);
        if let Some(id) = home
            && self.pools.get(id).is_some_and(|p| p.state == PoolState::Accepted && takes(p, want))
        {
            if let Some(ip) = self.pools.lowest(id, missing, want, self.book) {
                let mut outcome = self.keep();
                outcome.ips.push(ip);
                return Ok(outcome);
            }
            waits.push(Wait::Pool(id, missing));
        }
        let family_gone = self.held.home.is_some_and(|id| !self.pools.has(id, FamilySet::only(missing)));
        if want.prefers_dual() {
            // It doesn't jump to a pool that could give both, unless its own took one away.
            if self.held.lost && family_gone && want.pool.is_none() && self.mode == Mode::Allocate {
                for list in self.lists() {
                    if let Some(outcome) = self.pick_all(&list, need) {
                        return Ok(outcome);
                    }
                }
            }
            return Ok(Outcome { waits, ..self.keep() });
        }
        self.in_named_pool(need)
    }

    /// The first pool that gives addresses of all families; for a PreferDualStack service else the first that gives one.
    fn pick(&mut self, list: &[PoolId], need: FamilySet, first: Family) -> Option<Outcome> {
        if let Some(outcome) = self.pick_all(list, need) {
            return Some(outcome);
        }
        if need.len() < 2 || !self.want.prefers_dual() {
            return None;
        }
        for family in [first, first.other()] {
            for id in list {
                if let Some(ip) = self.pools.lowest(*id, family, self.want, self.book) {
                    // The other family may be freed there later.
                    let waits = vec![Wait::Pool(*id, family.other())];
                    return Some(Outcome { ips: vec![ip], home: Some(*id), waits, error: None });
                }
            }
        }
        None
    }

    fn pick_all(&mut self, list: &[PoolId], need: FamilySet) -> Option<Outcome> {
        list.iter().filter(|id| self.pools.has(**id, need)).copied().collect::<Vec<_>>().into_iter().find_map(
            |id| {
                let ips = need
                    .iter()
                    .map(|f| self.pools.lowest(id, f, self.want, self.book))
                    .collect::<Option<Vec<_>>>()?;
                Some(Outcome { ips, home: Some(id), ..Outcome::default() })
            },
        )
    }

    fn lists(&self) -> [Vec<PoolId>; 2] {
        self.pools.lists().map(|list| {
            let takes = |id: &&PoolId| self.pools.get(**id).is_some_and(|p| takes(p, self.want));
            list.iter().filter(takes).copied().collect()
        })
    }

    fn keep(&self) -> Outcome {
        Outcome { ips: self.held.ips.to_vec(), home: self.held.home, ..Outcome::default() }
    }

    /// It keeps what it has, unless that is half of what its policy requires.
    fn refuse(&self, (refusal, waits): Refused) -> Outcome {
        let half = self.want.dual() && !self.want.prefers_dual() && self.held.ips.len() < 2;
        let kept = if half || self.want.lacks_family() { Outcome::default() } else { self.keep() };
        Outcome { error: Some(refusal), waits, ..kept }
    }

    fn held_families(&self) -> FamilySet {
        self.held.ips.iter().map(|ip| Family::of(*ip)).collect()
    }

    fn home_pool(&self) -> Option<&Pool> {
        self.pools.get(self.held.home?)
    }
}

fn rejected(pool: &Pool) -> Refusal {
    match pool.state {
        PoolState::Frozen => Refusal::FrozenPool { pool: pool.name.clone() },
        _ => Refusal::InvalidPool { pool: pool.name.clone() },
    }
}
