//! What a Service asks of the allocator: everything that the rules need of it, parsed once per change.

use std::net::IpAddr;
use std::sync::Arc;

use super::refusal::Refusal;
use crate::types::{Age, Family, FamilySet, Labels, ServiceKey};
use crate::world::{IpFamilyPolicy, Service, ServicePort};

/// The order in which services are served: older first, then by namespace and name.
pub(super) type Order = (Age, ServiceKey);

/// Services may use one address together where this is equal (and their ports differ).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShareKey {
    /// The value of `allow-shared-ip`, not empty.
    pub(super) sharing: String,
    /// Under `externalTrafficPolicy: Local` the selector: the same pods must stand behind all of them.
    pub(super) backend: Labels,
}

/// What a Service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    /// When it is served.
    pub(super) order: Order,
    /// Its labels.
    pub(super) labels: Labels,
    /// The families that it has, or why that can't be said.
    pub(super) families: Result<FamilySet, Box<str>>,
    /// Its policy.
    pub(super) policy: IpFamilyPolicy,
    /// Which family is tried first where a PreferDualStack service can only have one.
    pub(super) first_family: Family,
    /// The addresses that it asks for (one, or one of each family, IPv4 first), or what is wrong with the request.
    pub(super) addresses: Result<Option<Box<[IpAddr]>>, Box<Refusal>>,
    /// The pool that it asks for.
    pub(super) pool: Option<Arc<str>>,
    /// With whom it shares; `None`: with nobody.
    pub(super) share: Option<Arc<ShareKey>>,
    /// Its ports, sorted.
    pub(super) ports: Arc<[ServicePort]>,
    /// The pool that its addresses are from, as an annotation says.
    pub(super) from_pool: Option<Arc<str>>,
}

impl Want {
    /// Of this service.
    pub(super) fn of(service: &Service) -> Want {
        let annotations = &service.annotations;
        let text = |t: &Option<Arc<str>>| t.clone().filter(|t| !t.is_empty());
        Want {
            order: (service.created, service.key.clone()),
            labels: service.labels.clone(),
            families: service.families.clone(),
            policy: service.ip_family_policy,
            first_family: service.first_family,
            addresses: requested(
                annotations.load_balancer_ips.as_deref().filter(|t| !t.is_empty()),
                service.load_balancer_ip.as_deref().filter(|t| !t.is_empty()),
            )
            .map_err(Box::new),
            pool: text(&annotations.address_pool),
            share: service.sharing_key().map(|key| {
                // MetalLB: Local without a selector shares like Cluster; so it does here.
                let backend = if service.local { service.selector.clone() } else { Labels::new() };
                Arc::new(ShareKey { sharing: key.to_owned(), backend })
            }),
            ports: service.ports.clone(),
            from_pool: text(&annotations.allocated_from_pool),
        }
    }

    /// Its name.
    pub(super) fn key(&self) -> &ServiceKey {
        &self.order.1
    }

    /// Whether it has both families.
    pub(super) fn dual(&self) -> bool {
        self.families == Ok(FamilySet::BOTH)
    }

    /// Whether one address is enough where it has both families.
    pub(super) fn prefers_dual(&self) -> bool {
        self.policy == IpFamilyPolicy::PreferDualStack
    }

    /// Whether its policy asks for two families and it has one: it gets nothing.
    pub(super) fn lacks_family(&self) -> bool {
        self.policy == IpFamilyPolicy::RequireDualStack && self.families.as_ref().is_ok_and(|f| f.len() < 2)
    }

    /// Whether `other` looks the same to those who share an address with it.
    pub(super) fn shares_like(&self, other: &Want) -> bool {
        self.share == other.share && self.ports == other.ports
    }
}

/// Reads an address as MetalLB does: no zone, no leading zeros, IPv4-mapped IPv6 is IPv4.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

fn requested(annotation: Option<&str>, field: Option<&str>) -> Result<Option<Box<[IpAddr]>>, Refusal> {
    let parse = |text: &str| parse_address(text).ok_or_else(|| Refusal::NoAddress { text: text.to_owned() });
    match (annotation, field) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Refusal::RequestedTwice),
        (None, Some(text)) => Ok(Some([parse(text)?].into())),
        (Some(list), None) => {
            let mut ips = list.split(',').map(|item| parse(item.trim())).collect::<Result<Vec<_>, _>>()?;
            match *ips.as_slice() {
                [_] => {}
                [a, b] if Family::of(a) != Family::of(b) => {}
                [_, _] => return Err(Refusal::SameFamily { ips }),
                _ => return Err(Refusal::TooMany { ips }),
            }
            ips.sort();
            Ok(Some(ips.into()))
        }
    }
}
