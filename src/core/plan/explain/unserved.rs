//! What would give a service without an address one.

use serde_json::json;

use super::Context;
use super::edit::{Edit, Path};
use super::manifests;
use super::remedy::{Remedy, append, remove, service_key, set};
use super::trial::Trial;
use crate::alloc::Mode;
use crate::decide::Decisions;
use crate::types::ObjectKey;
use crate::world::{IpFamilyPolicy, Service};

/// Why a service isn't managed at all, and what would change that.
pub(super) fn unmanaged(context: &Context<'_>, service: &Service) -> (String, Remedy) {
    if !service.load_balancer {
        let edit = set(service_key(&service.key), Path::keys(["spec", "type"]), "LoadBalancer".into());
        let remedy = Remedy { text: "set its spec.type to LoadBalancer".into(), edits: vec![edit] };
        return ("it isn't of type LoadBalancer".into(), remedy);
    }
    let ours = |class: Option<&str>| match class {
        Some(class) => format!("the loadBalancerClass {class:?}"),
        None => "no loadBalancerClass".to_owned(),
    };
    let why = format!(
        "it has {}, and what is managed here are Services with {}",
        ours(service.class.as_deref()),
        ours(context.class)
    );
    let how = match service.class.as_deref() {
        Some(class) => format!("run with --lb-class={class}"),
        None => "run without --lb-class".to_owned(),
    };
    (why, Remedy::words(format!("{how}, or create the Service again with another class: it can't be edited")))
}

/// What would give a service its address.
pub(super) fn remedy(decisions: &Decisions<'_>, context: &Context<'_>, service: &Service) -> Remedy {
    match decisions.allocator.mode() {
        Mode::Allocate => {}
        Mode::HeldOnly => {
            return Remedy::words("`ferrolb allocate -f DIR -w FILE` chooses addresses, once for all nodes");
        }
        Mode::StatusOnly => {
            let (namespace, name) = (&service.key.namespace, &service.key.name);
            return Remedy::words(format!(
                "`kubectl describe service -n {namespace} {name}` shows what the controller says"
            ));
        }
    }
    let served =
        |p: &Remedy| Trial::of(decisions, context, &p.edits).is_some_and(|t| t.is_served(&service.key));
    let found = proposals(decisions, context, service).into_iter().find(served);
    found.unwrap_or_else(|| Remedy::words("the error says what has to change"))
}

/// What to try: less of what the service asks for, then another pool.
fn proposals(decisions: &Decisions<'_>, context: &Context<'_>, service: &Service) -> Vec<Remedy> {
    let object = service_key(&service.key);
    let mut all = requests(service);
    // All of them together: what is left to try in the end.
    let asked = Remedy {
        text: format!("let Service {} do without its requests", service.key),
        edits: all.iter().flat_map(|r| r.edits.clone()).collect(),
    };
    if service.ip_family_policy == IpFamilyPolicy::RequireDualStack {
        let edit = set(object, Path::keys(["spec", "ipFamilyPolicy"]), "PreferDualStack".into());
        let text = format!("let Service {} do without a second address where there is none", service.key);
        all.push(Remedy { text, edits: vec![edit] });
    }
    let namespace = context.system_namespace;
    if let Some(pool) = service.annotations.address_pool.as_deref()
        && decisions.config.pool(pool).is_some()
    {
        let object = ObjectKey::new("IPAddressPool", namespace, pool);
        all.extend(manifests::EXAMPLE_RANGES.map(|addresses| {
            Remedy {
                text: format!("enlarge IPAddressPool {pool}; the addresses of the edits are examples"),
                edits: addresses
                    .map(|range| append(object.clone(), Path::keys(["spec", "addresses"]), range.into()))
                    .to_vec(),
            }
        }));
    }
    let name = manifests::free_name(decisions.world, &ObjectKey::new("IPAddressPool", namespace, "pool"));
    let new_pools = manifests::EXAMPLE_RANGES.map(|addresses| {
        let spec = json!({"addresses": addresses});
        let manifest = manifests::config("metallb.io/v1beta1", "IPAddressPool", namespace, &name, &spec);
        Edit::Create { manifest }
    });
    for edit in new_pools {
        let text = "create an IPAddressPool or enlarge one; the addresses of the edit are examples";
        all.push(Remedy { text: text.into(), edits: vec![edit.clone()] });
        if !asked.edits.is_empty() {
            let edits = asked.edits.iter().cloned().chain([edit]).collect();
            all.push(Remedy { text: format!("{}, and {text}", asked.text), edits });
        }
    }
    all
}

/// Takes back what a service asks for, each request by itself.
fn requests(service: &Service) -> Vec<Remedy> {
    let object = service_key(&service.key);
    let asks_less = |what: &str, edit: Edit| Remedy {
        text: format!("let Service {} do without {what}", service.key),
        edits: vec![edit],
    };
    let mut all = Vec::new();
    if service.load_balancer_ip.is_some() {
        let path = Path::keys(["spec", "loadBalancerIP"]);
        all.push(asks_less("spec.loadBalancerIP", remove(object.clone(), path)));
    }
    let annotations = [
        ("metallb.io/loadBalancerIPs", &service.annotations.load_balancer_ips),
        ("metallb.io/address-pool", &service.annotations.address_pool),
    ];
    for (name, _) in annotations.into_iter().filter(|(_, value)| value.is_some()) {
        // An empty one takes the place of the older spelling of its name too.
        let edit = set(object.clone(), Path::keys(["metadata", "annotations", name]), "".into());
        all.push(asks_less(&format!("the annotation {name}"), edit));
    }
    all
}
