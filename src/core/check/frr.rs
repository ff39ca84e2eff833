//! What in a cluster is for FRR, which MetalLB's other modes run and FerroLB doesn't.

use serde_json::Value;

use super::cluster::{ClusterFacts, list, name, release, text};
use super::{Finding, Severity};

/// What only FRR could do, and what of it goes on without MetalLB. `speaks`: speakers of MetalLB's are there.
pub(super) fn frr(facts: &ClusterFacts, namespace: &str, speaks: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut left = Vec::new();
    for object in &facts.frr_configurations {
        let place = text(object, "/metadata/namespace").unwrap_or_default();
        let host = text(object, "/spec/nodeSelector/matchLabels/kubernetes.io~1hostname");
        // MetalLB names its own by their node, and selects it; which nodes there are may not be known.
        let by_metallb = list(object, "/metadata/ownerReferences")
            .iter()
            .any(|o| text(o, "/kind") == Some("DaemonSet") || text(o, "/kind") == Some("Pod"))
            || name(object)
                .strip_prefix("metallb-")
                .is_some_and(|node| facts.nodes.contains(node) || host == Some(node));
        if by_metallb {
            left.push(format!("{place}/{}", name(object)));
            continue;
        }
        let mut lost: Vec<String> = Vec::new();
        for (i, router) in list(object, "/spec/bgp/routers").iter().enumerate() {
            for (j, neighbor) in list(router, "/neighbors").iter().enumerate() {
                let at = format!("spec.bgp.routers[{i}].neighbors[{j}]");
                let who = text(neighbor, "/address").unwrap_or("unnumbered");
                for part in ["toReceive", "toAdvertise"] {
                    if neighbor.get(part).is_some_and(|v| v.as_object().is_some_and(|o| !o.is_empty())) {
                        lost.push(format!("{at}.{part} ({who})"));
                    }
                }
            }
            if !list(router, "/imports").is_empty() {
                lost.push(format!("spec.bgp.routers[{i}].imports"));
            }
        }
        if let Some(raw) = text(object, "/spec/raw/rawConfig") {
            lost.push(format!("spec.raw.rawConfig: {}", lines(raw)));
        }
        let what = if lost.is_empty() { "its routers and neighbours".to_owned() } else { lost.join("; ") };
        let goes = facts.crds.iter().find(|c| name(c) == FRR_CONFIGURATIONS).and_then(release);
        let first = match goes {
            Some((release, false)) => format!(
                "its definition, and frr-k8s where that is a part of it, go with the Helm release {release}, by an upgrade to FerroLB's chart too: first kubectl annotate crd {FRR_CONFIGURATIONS} helm.sh/resource-policy=keep, and install frr-k8s as a release of its own; then "
            ),
            Some((_, true)) | None => String::new(),
        };
        found.push(Finding::new(
            Severity::Warning,
            format!("FRRConfiguration {place}/{}", name(object)),
            format!("MetalLB didn't write it, and FerroLB has no FRR to give it to; lost would be: {what}"),
            format!("{first}keep frr-k8s for it beside FerroLB, with a sourceAddress of its own where both peer with one router, or do without it"),
        ));
    }
    if !speaks && !left.is_empty() {
        let daemons: Vec<String> = facts
            .workloads
            .iter()
            .filter(|w| runs_frr(w))
            .map(|w| format!("{}/{}", text(w, "/metadata/namespace").unwrap_or_default(), name(w)))
            .collect();
        let (severity, who) = match daemons.as_slice() {
            [] => (Severity::Warning, "where frr-k8s runs, it goes on".to_owned()),
            daemons => (Severity::Error, format!("the DaemonSet {} goes on", daemons.join(", "))),
        };
        found.push(Finding::new(
            severity,
            format!("FRRConfiguration {}", left.join(", ")),
            format!("MetalLB wrote it, and no speaker of MetalLB's is there any more: {who} announcing what was last in it, from the address that FerroLB's sessions need"),
            "delete these objects, and the DaemonSet of frr-k8s unless somebody else uses it; docs/migrate.md",
        ));
    }
    for map in facts.config_maps.iter().filter(|m| name(m) == "bgpextras") {
        if let Some(extras) = text(map, "/data/extras") {
            found.push(Finding::new(
                Severity::Warning,
                format!("ConfigMap {namespace}/bgpextras"),
                format!("its lines went into FRR's configuration, and FerroLB has no FRR; lost would be: {}", lines(extras)),
                "see whether a field of BGPPeer or BGPAdvertisement does the same; otherwise the lines have no equivalent",
            ));
        }
    }
    for _ in facts.config_maps.iter().filter(|m| name(m) == "config") {
        found.push(Finding::new(
            Severity::Info,
            format!("ConfigMap {namespace}/config"),
            "MetalLB before 0.13 was configured by this; neither MetalLB since then nor FerroLB reads it",
            "delete it once its pools and peers stand as objects",
        ));
    }
    found
}

pub(super) const FRR_CONFIGURATIONS: &str = "frrconfigurations.frrk8s.metallb.io";

/// Whether a workload is frr-k8s' DaemonSet.
fn runs_frr(workload: &Value) -> bool {
    text(workload, "/kind") == Some("DaemonSet")
        && list(workload, "/spec/template/spec/containers")
            .iter()
            .any(|c| text(c, "/image").is_some_and(|image| image.contains("frr-k8s")))
}

/// Lines that say something, at most a few.
fn lines(text: &str) -> String {
    const MOST: usize = 10;
    let all: Vec<&str> =
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with(['!', '#'])).collect();
    let shown = all.iter().take(MOST).map(|l| format!("{l:?}")).collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(MOST) {
        Some(more) if more > 0 => format!("{shown} and {more} more lines"),
        _ => shown,
    }
}
