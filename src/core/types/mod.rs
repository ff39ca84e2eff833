//! The vocabulary that all modules share: values that are right by construction.

mod asn;
mod community;
mod copies;
mod family;
mod interfaces;
mod issue;
mod json;
mod labels;
mod names;
mod password;
mod range;
mod route;
mod selector;
mod uid;

pub use asn::{Asn, RemoteAs, RouterId};
pub use community::{Community, CommunityError, LargeCommunity, StandardCommunity};
pub use copies::{Copies, shared};
pub use family::{Family, FamilySet};
pub use interfaces::InterfaceSet;
pub use issue::{Issue, ObjectKey};
pub use json::Json;
pub use labels::Labels;
pub use names::{NodeName, ServiceKey, ServiceName};
pub use password::Password;
pub use range::AddressRange;
pub use route::{GroupId, RouteAttributes};
pub use selector::{AnyOf, Mismatch, Operator, Requirement, Selector};
pub use uid::Uid;

/// When an object was created: `None` sorts first, since an object without a timestamp counts as oldest.
pub type Age = Option<jiff::Timestamp>;
