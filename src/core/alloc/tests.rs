//! Tables, one a rule: given pools and services, which addresses or errors.

use super::fixtures::{PoolExt, Running, ServiceExt, check, ip, key, pool, service};
use super::{Mode, parse_address};
use crate::config::PoolState;
use crate::types::Family;
use crate::world::IpFamilyPolicy;

#[test]
fn first_address_of_a_dual_pool() {
    check([pool("p", "1.2.3.0/24 1000::/120")], [service("a", 1).prefer()], &[("a", "1.2.3.0 1000:: @p")]);
}

#[test]
fn smoke() {
    let mut r = Running::new(Mode::Allocate, [pool("p", "1.2.3.4/31")], [service("a", 1)]);
    assert_eq!(r.apply(service("b", 2)), [key("b")]);
    assert_eq!(r.apply(service("c", 0)), [key("c")]);
    assert_eq!(
        (r.show("a"), r.show("b"), r.show("c")),
        ("1.2.3.4 @p".into(), "1.2.3.5 @p".into(), "!".into())
    );
    assert_eq!(r.delete("a"), [key("a"), key("c")]);
    assert_eq!(r.show("c"), "1.2.3.4 @p");
    let _ = (
        ip("::1"),
        parse_address("::ffff:1.2.3.4"),
        PoolState::Frozen,
        Family::V4,
        IpFamilyPolicy::SingleStack,
    );
}
