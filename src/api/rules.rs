//! The CEL rules of the schemas. `ferrolb-core` has an evaluator for each that one object can be judged by.

use serde_json::{Value, json};

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

/// The validations of a status field that never changes.
pub(crate) fn immutable() -> Value {
    json!([{"rule": IMMUTABLE, "message": "cannot be changed"}])
}
