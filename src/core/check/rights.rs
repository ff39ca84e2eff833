//! What each role's account has to be allowed, for the whole of what it does.

use super::cluster::{Access, Role, Rule};

const CORE: &str = "";
const METALLB: &str = "metallb.io";
const READ: &[&str] = &["list", "watch"];
const OWN: &[&str] = &["list", "watch", "create", "delete"];

/// Group, resource, subresource, verbs.
type Right = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// For `/metrics`: who asks, and whether that account may.
const TOKENS: Right = ("authentication.k8s.io", "tokenreviews", "", &["create"]);
const ACCESS: Right = ("authorization.k8s.io", "subjectaccessreviews", "", &["create"]);

const CONTROLLER: [Right; 7] = [
    (CORE, "services", "", READ),
    (CORE, "namespaces", "", READ),
    (CORE, "services", "status", &["patch"]),
    (CORE, "events", "", &["create"]),
    ("apiextensions.k8s.io", "customresourcedefinitions", "", &["create"]),
    TOKENS,
    ACCESS,
];
const CONTROLLER_AT_HOME: [Right; 8] = [
    (METALLB, "ipaddresspools", "", READ),
    (METALLB, "communities", "", READ),
    (METALLB, "configurationstates", "", &["list", "watch", "create"]),
    (METALLB, "ipaddresspools", "status", &["patch"]),
    (METALLB, "configurationstates", "status", &["patch"]),
    ("coordination.k8s.io", "leases", "", &["list", "watch", "create", "patch"]),
    (CORE, "pods", "", &["get"]),
    ("apps", "replicasets", "", READ),
];
const SPEAKER: [Right; 6] = [
    (CORE, "services", "", READ),
    (CORE, "nodes", "", READ),
    ("discovery.k8s.io", "endpointslices", "", READ),
    (CORE, "events", "", &["create"]),
    TOKENS,
    ACCESS,
];
const SPEAKER_AT_HOME: [Right; 18] = [
    (METALLB, "bfdprofiles", "", READ),
    (METALLB, "bgpadvertisements", "", READ),
    (METALLB, "bgppeers", "", READ),
    (METALLB, "communities", "", READ),
    (METALLB, "ipaddresspools", "", READ),
    (METALLB, "l2advertisements", "", READ),
    (CORE, "secrets", "", READ),
    (METALLB, "configurationstates", "", &["list", "watch", "create"]),
    (METALLB, "servicebgpstatuses", "", OWN),
    (METALLB, "servicel2statuses", "", OWN),
    (METALLB, "configurationstates", "status", &["patch"]),
    (METALLB, "servicebgpstatuses", "status", &["patch"]),
    (METALLB, "servicel2statuses", "status", &["patch"]),
    ("frrk8s.metallb.io", "bgpsessionstates", "", OWN),
    ("frrk8s.metallb.io", "bgpsessionstates", "status", &["patch"]),
    ("coordination.k8s.io", "leases", "", &["list", "watch", "create", "patch"]),
    ("apps", "daemonsets", "", READ),
    ("apps", "controllerrevisions", "", READ),
];

const WEBHOOK: [Right; 2] = [
    (CORE, "nodes", "", READ),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "", &["get", "patch"]),
];
const WEBHOOK_AT_HOME: [Right; 6] = [
    (METALLB, "bfdprofiles", "", READ),
    (METALLB, "bgpadvertisements", "", READ),
    (METALLB, "bgppeers", "", READ),
    (METALLB, "l2advertisements", "", READ),
    (CORE, "secrets", "", &["get", "patch"]),
    (CORE, "secrets", "", &["create"]),
];

/// The one object that a right is on, where it is: an account may have no more.
fn name(role: Role, resource: &str, verb: &str) -> &'static str {
    match (role, resource, verb) {
        (Role::Webhook, "validatingwebhookconfigurations", _) => "metallb-webhook-configuration",
        (Role::Webhook, "secrets", "get" | "patch") => "metallb-webhook-cert",
        _ => "",
    }
}

/// All rights that a role needs, one for each verb. Those of the webhook come to those of its controller.
pub fn rights(role: Role) -> Vec<Access> {
    let (everywhere, at_home): (&[Right], &[Right]) = match role {
        Role::Controller => (&CONTROLLER, &CONTROLLER_AT_HOME),
        Role::Webhook => (&WEBHOOK, &WEBHOOK_AT_HOME),
        Role::Speaker => (&SPEAKER, &SPEAKER_AT_HOME),
    };
    let all = everywhere.iter().map(|r| (*r, false)).chain(at_home.iter().map(|r| (*r, true)));
    all.flat_map(|((group, resource, subresource, verbs), namespaced)| {
        verbs.iter().map(move |&verb| Access {
            verb,
            rule: Rule { group, resource, subresource, name: name(role, resource, verb), namespaced },
        })
    })
    .collect()
}
