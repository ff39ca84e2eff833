//! What holds after any sequence of edits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::book::Book;
use super::fixtures::{PoolExt, ServiceExt, config, ips, pool, service};
use super::want::Want;
use super::{Allocation, Allocator, Holdings, Mode};
use crate::config::{Pool, PoolState, is_buggy};
use crate::types::{AddressRange, Family, ServiceKey};
use crate::world::{AllocationEntry, Allocations, Object, ObjectId, Service, World};

/// One edit.
#[derive(Clone, Debug)]
enum Edit {
    Apply(Box<Service>),
    Delete(usize),
    Allocate(usize, Vec<IpAddr>),
    Pools(Vec<Pool>),
}

fn name(index: usize) -> String {
    format!("{}/s{}", ["a", "b"][index % 2], index)
}

/// Few services on few addresses, so that they get into each other's way.
fn any_service(count: usize) -> impl Strategy<Value = Service> {
    let identity = (0..count, 0..4_i64, 0..4_u8);
    let asks = (
        select(vec![
            "",
            "",
            "",
            "",
            "10.0.0.1",
            "10.0.0.2",
            "10.0.1.1",
            "10.0.0.1,fd00::1",
            "nonsense",
            "10.0.0.255",
        ]),
        select(vec!["", "", "", "p", "q", "r", "nowhere"]),
    );
    let sharing = (
        select(vec!["", "k", "k", "l"]),
        select(vec!["TCP/80", "TCP/443", "UDP/80", "TCP/80 TCP/443", ""]),
        select(vec!["", "", "x", "y"]),
    );
    let rest = (select(vec!["", "", "10.0.0.1", "10.0.0.3 fd00::2", "fd00::1"]), select(vec!["web", "db"]));
    (identity, asks, sharing, rest).prop_map(
        |((index, age, families), (addresses, from), (key, ports, local), (holds, app))| {
            let s = service(&name(index), age).share(key).ports(ports).app(app).holds(holds);
            let s = if addresses.is_empty() { s } else { s.asks(addresses) };
            let s = if from.is_empty() { s } else { s.from(from) };
            let s = if local.is_empty() { s } else { s.local(local) };
            match families {
                0 => s,
                1 => s.v6(),
                2 => s.prefer(),
                _ => s.require(),
            }
        },
    )
}

fn any_pools() -> impl Strategy<Value = Vec<Pool>> {
    let state = || {
        select(vec![
            PoolState::Accepted,
            PoolState::Accepted,
            PoolState::Accepted,
            PoolState::Frozen,
            PoolState::Invalid,
        ])
    };
    let p = (
        select(vec!["10.0.0.0/30 fd00::/126", "10.0.0.0/30", "10.0.0.1/32 fd00::1/128"]),
        state(),
        any::<bool>(),
    )
        .prop_map(|(a, state, buggy)| pool("p", a).state(state).with(|p| p.avoid_buggy_ips = buggy));
    let q = (select(vec!["10.0.1.0/31 fd01::/127", "fd01::/127"]), state(), any::<bool>())
        .prop_map(|(a, state, auto)| pool("q", a).state(state).with(|p| p.auto_assign = auto));
    let r = (0..4_u8).prop_map(|n| match n {
        0 => pool("r", "10.0.2.0/32").pinned(0, &["a"], None),
        1 => pool("r", "10.0.2.0/32 fd02::/128").pinned(3, &[], Some("web")),
        2 => pool("r", "10.0.2.0/31").pinned(3, &[], Some("web")).for_nobody(),
        _ => pool("r", "10.0.0.2-10.0.0.9 fd02::/127").state(PoolState::Frozen),
    });
    (p, q, r).prop_map(|(p, q, r)| vec![p, q, r])
}

fn any_edit(count: usize) -> impl Strategy<Value = Edit> {
    prop_oneof![
        12 => any_service(count).prop_map(|s| Edit::Apply(Box::new(s))),
        4 => (0..count).prop_map(Edit::Delete),
        2 => (0..count, select(vec!["", "10.0.0.2", "10.0.0.0 fd00::3", "10.0.1.0"])).prop_map(|(i, l)| Edit::Allocate(i, ips(l))),
        1 => any_pools().prop_map(Edit::Pools),
    ]
}

struct Run {
    world: World,
    pools: Vec<Pool>,
    allocator: Allocator,
}

impl Run {
    fn new(mode: Mode, pools: Vec<Pool>) -> Run {
        let mut run = Run { world: World::default(), pools, allocator: Allocator::new(mode, None) };
        run.allocator.reconfigure(config(run.pools.clone()), &run.world);
        run
    }

    fn edit(&mut self, edit: Edit) -> Result<(), TestCaseError> {
        let before = results(&self.allocator);
        let said = match edit {
            Edit::Apply(s) => {
                let key = s.key.clone();
                self.world.apply(Object::Service(*s));
                self.allocator.update(&self.world, &[key])
            }
            Edit::Delete(index) => {
                let key = super::fixtures::key(&name(index));
                self.world.delete(&ObjectId::Service(key.clone()));
                self.allocator.update(&self.world, &[key])
            }
            Edit::Allocate(index, ips) => {
                let service = super::fixtures::key(&name(index));
                let entries = vec![AllocationEntry { service: service.clone(), ips }];
                self.world.apply(Object::Allocations(Allocations {
                    namespace: "default".into(),
                    name: format!("s{index}").into(),
                    entries,
                }));
                self.allocator.update(&self.world, &[service])
            }
            Edit::Pools(pools) => {
                self.pools = pools;
                self.allocator.reconfigure(config(self.pools.clone()), &self.world)
            }
        };
        let after = results(&self.allocator);
        let changed: Vec<ServiceKey> =
            before.keys().chain(after.keys()).filter(|k| before.get(k) != after.get(k)).cloned().collect();
        let changed: Vec<ServiceKey> =
            changed.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        prop_assert_eq!(said, changed);
        self.sound()
    }

    /// No address has two users who may not share it, and all is from one pool. Where status counts alone only the latter is
    /// for the allocator to see to.
    fn sound(&self) -> Result<(), TestCaseError> {
        let wants: BTreeMap<ServiceKey, (Want, &Allocation)> = self
            .allocator
            .iter()
            .filter_map(|(key, a)| Some((key.clone(), (Want::of(self.world.service(key)?), a))))
            .collect();
        let judged = self.allocator.mode() != Mode::StatusOnly;
        for (key, (want, a)) in &wants {
            prop_assert!(a.ips.len() <= 2);
            prop_assert!(!a.ips.is_empty() || (a.error.is_some() && a.pool.is_none()));
            if let [x, y] = *a.ips {
                prop_assert!(Family::of(x) != Family::of(y));
            }
            if let Some(pool) = self.pools.iter().find(|p| Some(&p.name) == a.pool.as_ref()) {
                prop_assert!(pool.state != PoolState::Invalid && a.ips.iter().all(|ip| pool.contains(*ip)));
                prop_assert!(!judged || a.ips.iter().all(|ip| pool.may_give(*ip)));
            }
            for ip in &*a.ips {
                prop_assert!(self.allocator.users_of(*ip).any(|k| k == key));
                for (other, (theirs, b)) in &wants {
                    if judged && other != key && b.ips.contains(ip) {
                        prop_assert!(want.share.is_some() && want.share == theirs.share, "{} {}", key, other);
                        prop_assert!(
                            !want.ports.iter().any(|p| theirs.ports.contains(p)),
                            "{} {}",
                            key,
                            other
                        );
                    }
                }
            }
        }
        Ok(())
    }
}

fn results(allocator: &Allocator) -> BTreeMap<ServiceKey, Allocation> {
    allocator.iter().map(|(k, a)| (k.clone(), a.clone())).collect()
}

/// One that starts anew with what the running one keeps, or with that as Allocations, says the same.
fn restarts(run: &mut Run) -> Result<(), TestCaseError> {
    let fail = |e: serde_json::Error| TestCaseError::fail(e.to_string());
    let holdings = run.allocator.holdings();
    let text = serde_json::to_string(&holdings).map_err(fail)?;
    let read: Holdings = serde_json::from_str(&text).map_err(fail)?;
    prop_assert_eq!(&read, &holdings);

    let mut fresh = Allocator::new(Mode::Allocate, None);
    fresh.restore(&read);
    fresh.reconfigure(config(run.pools.clone()), &run.world);
    prop_assert_eq!(results(&fresh), results(&run.allocator));
    prop_assert_eq!(&fresh.holdings(), &holdings);

    // As Allocations; the pool that an address is from is in an annotation there.
    let mut world = run.world.clone();
    for a in run.world.allocations() {
        world.delete(&ObjectId::Allocations(a.namespace.clone(), a.name.clone()));
    }
    let mut entries = vec![];
    for h in &holdings.services {
        entries.push(AllocationEntry { service: h.service(), ips: h.ips.clone() });
        if let Some(s) = world.service(&h.service()).cloned() {
            let from = h.pool.clone();
            let s = s.as_ref().clone().with(|s| Arc::make_mut(&mut s.annotations).allocated_from_pool = from);
            world.apply(Object::Service(s));
        }
    }
    world.apply(Object::Allocations(Allocations {
        namespace: "default".into(),
        name: "all".into(),
        entries,
    }));
    let mut fresh = Allocator::new(Mode::Allocate, None);
    fresh.reconfigure(config(run.pools.clone()), &world);
    prop_assert_eq!(results(&fresh), results(&run.allocator));

    // And the running one has nothing left to do.
    prop_assert_eq!(run.allocator.reconfigure(config(run.pools.clone()), &run.world), vec![]);
    Ok(())
}

#[test]
fn ten_thousand_edits() -> Result<(), TestCaseError> {
    let mut runner = TestRunner::deterministic();
    let (edits, pools) = (any_edit(14), any_pools());
    let fail = |e: proptest::test_runner::Reason| TestCaseError::fail(e.to_string());
    let first = pools.new_tree(&mut runner).map_err(fail)?.current();
    let mut run = Run::new(Mode::Allocate, first);
    for n in 0..10_000 {
        let edit = edits.new_tree(&mut runner).map_err(fail)?.current();
        run.edit(edit)?;
        if n % 50 == 0 {
            restarts(&mut run)?;
        }
    }
    restarts(&mut run)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn starting_again_changes_nothing(pools in any_pools(), edits in prop::collection::vec(any_edit(9), 1..60)) {
        let mut run = Run::new(Mode::Allocate, pools);
        for edit in edits {
            run.edit(edit)?;
        }
        restarts(&mut run)?;
    }

    /// Without choosing, the result never depends on what was before.
    #[test]
    fn without_choosing_history_does_not_count(
        mode in prop::sample::select(vec![Mode::HeldOnly, Mode::StatusOnly]),
        pools in any_pools(),
        edits in prop::collection::vec(any_edit(9), 1..60),
    ) {
        let mut run = Run::new(mode, pools);
        for edit in edits {
            run.edit(edit)?;
        }
        let mut fresh = Allocator::new(mode, None);
        fresh.reconfigure(config(run.pools.clone()), &run.world);
        prop_assert_eq!(results(&fresh), results(&run.allocator));
    }

    /// The quick search finds the address that asking one after the other finds.
    #[test]
    fn the_lowest_address_is_the_lowest(
        steps in prop::collection::vec((any_service(9), 0..12_u8, any::<bool>()), 1..80),
        buggy in any::<bool>(),
    ) {
        let mut book = Book::default();
        let mut used: Vec<(IpAddr, Want)> = vec![];
        let all: Vec<IpAddr> = (0..12_u8).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        for (s, n, remove) in steps {
            let want = Want::of(&s);
            let holds = used.iter().any(|(_, w)| w.key() == want.key());
            for (first, last) in [(0, 11), (3, 9)] {
                let Some(range) = AddressRange::new(all[first], all[last]).filter(|_| !holds) else { continue };
                let slow = all[first..=last]
                    .iter()
                    .copied()
                    .filter(|ip| !(buggy && is_buggy(*ip)))
                    .find(|ip| book.fits(*ip, &want));
                prop_assert_eq!(book.lowest(&range, buggy, &want), slow);
            }
            let at = usize::from(n) % used.len().max(1);
            if remove && !used.is_empty() {
                let (ip, want) = used.swap_remove(at);
                book.remove(ip, &want);
            } else if !used.iter().any(|(ip, w)| *ip == all[usize::from(n)] && w.key() == want.key())
                && book.admits(all[usize::from(n)], &want).is_ok()
            {
                book.add(all[usize::from(n)], &want);
                used.push((all[usize::from(n)], want));
            }
        }
    }

    /// All at once, in whatever order they are named: the same.
    #[test]
    fn the_order_of_arrival_does_not_count(
        pools in any_pools(),
        services in prop::collection::vec(any_service(9), 1..20),
        seed in any::<u64>(),
    ) {
        let mut world = World::default();
        let mut keys: Vec<ServiceKey> = vec![];
        for s in services {
            keys.push(s.key.clone());
            world.apply(Object::Service(s));
        }
        let mut whole = Allocator::new(Mode::Allocate, None);
        whole.reconfigure(config(pools.clone()), &world);
        let mut batch = Allocator::new(Mode::Allocate, None);
        batch.reconfigure(config(pools), &World::default());
        keys.sort_by_key(|k| seed.rotate_left(u32::try_from(k.name.len()).unwrap_or(1)) ^ u64::from(k.name.as_bytes()[1]));
        batch.update(&world, &keys);
        prop_assert_eq!(results(&batch), results(&whole));
    }
}
