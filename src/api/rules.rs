//! The CEL rules of the schemas, which the API server judges every write by, with a webhook or without.
//!
//! `ferrolb-core` has an evaluator for each rule that MetalLB's schemas have too. The others reject only what MetalLB rejects in
//! every mode, and `ferrolb-core` rejects that by rules of its own, with better sentences. What would compare the entries of a
//! list with one another, or look at each, isn't here: the API server bounds what a rule may cost by the longest list that the
//! schema allows, and MetalLB's lists have no limit.
//!
//! A rule on a field isn't asked where the field stays as it is stored. One on a `spec` is, and lets pass what it would have
//! denied before: an invalid object that is stored can be edited elsewhere.

use serde_json::{Value, json};

/// On a BGPPeer's `myASN`.
pub(crate) const AN_AS_NUMBER: &str = "self > 0";

/// On an address; empty is unset. `isIP()` takes no IPv4-mapped address, which Go does: such may be one.
const AN_ADDRESS: &str = "self == '' || isIP(self) || self.matches('^[0-9A-Fa-f:]*:[Ff]{4}:[0-9A-Fa-f.:]+$')";

/// The validation of an address.
pub(crate) fn an_address() -> Value {
    json!([{
        "rule": AN_ADDRESS,
        "message": "not an IP address",
        "messageExpression": "'\"' + self + '\" is not an IP address'",
    }])
}

/// Whether a text is a Go duration. One that isn't would be an error, which the API server raises for stored ones too.
macro_rules! a_duration {
    ($what:literal) => {
        concat!($what, ".matches('^[-+]?(0|([0-9.]+(ns|us|µs|μs|ms|s|m|h))+)$')")
    };
}

/// On a BGPPeer's `holdTime` (RFC 4271 4.2).
pub(crate) const A_HOLD_TIME: &str = concat!(
    a_duration!("self"),
    " && (duration(self).getSeconds() == 0 || duration(self).getSeconds() >= 3)"
);

/// On a BGPPeer's `keepaliveTime`.
pub(crate) const A_KEEPALIVE_TIME: &str =
    concat!(a_duration!("self"), " && duration(self) >= duration('0s')");

/// On the lists that say nothing while they are empty.
pub(crate) const NOT_EMPTY: &str = "size(self) > 0";

/// On a BGPAdvertisement's `aggregationLength`.
pub(crate) const WITHIN_IPV4: &str = "self <= 32";

/// On a BGPAdvertisement's `aggregationLengthV6`.
pub(crate) const WITHIN_IPV6: &str = "self <= 128";

/// The rules on a BGPPeer's `spec`, each about a few fields of it.
pub(crate) fn of_peers() -> Value {
    let rules = [
        (
            "(has(self.peerASN) && self.peerASN != 0) != (has(self.dynamicASN) && self.dynamicASN != '')",
            "set one of peerASN and dynamicASN",
        ),
        (
            "!(has(self.ebgpMultiHop) && self.ebgpMultiHop && has(self.peerASN) && self.peerASN == self.myASN)",
            "ebgpMultiHop is for a peer of another AS: remove it, since an iBGP peer may be any number of hops away",
        ),
        (
            "(has(self.peerAddress) && self.peerAddress != '') != (has(self.interface) && self.interface != '')",
            "set one of peerAddress and interface",
        ),
        (
            concat!(
                "!has(self.keepaliveTime) || !",
                a_duration!("self.keepaliveTime"),
                " || (has(self.holdTime) ? !",
                a_duration!("self.holdTime"),
                " || duration(self.keepaliveTime) <= duration(self.holdTime)",
                " : duration(self.keepaliveTime) >= duration('1s')",
                " || duration(self.keepaliveTime).getMilliseconds() * 3 < 1000)"
            ),
            "keepaliveTime has to be at most holdTime; without one the hold time is three times as long, and 0s or 3s and more",
        ),
        (
            "!(has(self.password) && self.password != '' && has(self.passwordSecret) && has(self.passwordSecret.name) \
             && self.passwordSecret.name != '')",
            "set one of password and passwordSecret",
        ),
    ];
    rules.map(|(rule, message)| of_a_spec(rule, message)).into_iter().collect()
}

/// A rule on a `spec`. An edit may leave it broken, but not break it.
fn of_a_spec(rule: &str, message: &str) -> Value {
    let before = rule.replace("self.", "oldSelf.value().");
    json!({
        "rule": format!("({rule}) || (oldSelf.hasValue() && !({before}))"),
        "message": message,
        "optionalOldSelf": true,
    })
}

/// On a BGPPeer's `connectTime`: no shorter than a second, and what fits into 16 bits.
pub const CONNECT_TIME_RANGE: &str =
    "duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535";

/// On a BGPPeer's `connectTime`.
pub const CONNECT_TIME_WHOLE_SECONDS: &str = "duration(self).getMilliseconds() % 1000 == 0";

/// On a BGPAdvertisement's `spec`: services that share an aggregate couldn't be told apart.
pub const WHOLE_ADDRESSES_WITH_SERVICE_SELECTORS: &str = "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 \
     || ((!has(self.aggregationLength) || self.aggregationLength == 32) \
     && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))";

/// A transition rule: it says something about an edit, not about an object.
pub const IMMUTABLE: &str = "self == oldSelf";

/// The rules that MetalLB's schemas have too.
pub const METALLBS: [&str; 4] =
    [CONNECT_TIME_RANGE, CONNECT_TIME_WHOLE_SECONDS, WHOLE_ADDRESSES_WITH_SERVICE_SELECTORS, IMMUTABLE];

/// The validations of a status field that never changes.
pub(crate) fn immutable() -> Value {
    json!([{"rule": IMMUTABLE, "message": "cannot be changed"}])
}
