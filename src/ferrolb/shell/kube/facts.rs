//! What `ferrolb check` looks at in a cluster. Nothing is written, but for questions about access rights, which are asked by
//! creating them.

use ferrolb_core::check::{Access, Account, ClusterFacts, Rule, accounts, rights};
use futures::future::join_all;
use kube::Client;
use serde_json::{Value, json};

use super::kinds::{
    CONFIG_MAP, CUSTOM_RESOURCE_DEFINITION, DAEMON_SET, DEPLOYMENT, ENDPOINT_SLICE, FRR_CONFIGURATION, Kind,
    METALLB, NODE, SERVICE_ACCOUNT, SUBJECT_ACCESS_REVIEW, VALIDATING_WEBHOOK_CONFIGURATION,
};
use super::listing::{Unlisted, list};
use super::write::{Act, Answer, Write};

/// The labels that MetalLB's manifests and its chart give to workloads.
const LABELS: [&str; 2] = ["app=metallb", "app.kubernetes.io/name=metallb"];

/// Reads everything that may be read. A kind that the API server doesn't know has no objects.
pub async fn gather(client: &Client, namespace: &str) -> ClusterFacts {
    let mut reader = Reader { client, unread: vec![] };
    let mut crds = reader.all(&CUSTOM_RESOURCE_DEFINITION, None, "").await;
    crds.retain(|crd| {
        let group = crd.pointer("/spec/group").and_then(Value::as_str);
        matches!(group, Some("metallb.io" | "frrk8s.metallb.io"))
    });
    let mut workloads: Vec<Value> = Vec::new();
    for kind in [&DEPLOYMENT, &DAEMON_SET] {
        for labels in LABELS {
            let found = reader.all(kind, None, labels).await;
            workloads.extend(found.into_iter().filter(|w| labels == LABELS[0] || !has_label(w, LABELS[0])));
        }
        // A release may have other labels.
        let here = reader.all(kind, Some(namespace), "").await;
        workloads.extend(here.into_iter().filter(|w| LABELS.iter().all(|label| !has_label(w, label))));
    }
    let slices = reader.all(&ENDPOINT_SLICE, Some(namespace), "").await;
    let there = reader.all(&SERVICE_ACCOUNT, Some(namespace), "").await;
    let mut facts = ClusterFacts {
        crds,
        webhooks: reader.all(&VALIDATING_WEBHOOK_CONFIGURATION, None, "").await,
        workloads,
        served: slices.iter().filter_map(served).collect(),
        operators: reader.all(&METALLB, None, "").await,
        nodes: reader.all(&NODE, None, "").await.iter().map(|node| name(node).to_owned()).collect(),
        frr_configurations: reader.all(&FRR_CONFIGURATION, None, "").await,
        config_maps: reader.all(&CONFIG_MAP, Some(namespace), "").await,
        access: vec![],
        unread: vec![],
    };
    for account in accounts(&facts, namespace) {
        // Of one that isn't there, the pods that can't be made tell.
        if there.iter().any(|a| name(a) == account.name) {
            reader.access(&account, namespace, &mut facts.access).await;
        }
    }
    facts.unread = reader.unread;
    facts
}

struct Reader<'a> {
    client: &'a Client,
    unread: Vec<(String, String)>,
}

impl Reader<'_> {
    async fn all(&mut self, kind: &Kind, namespace: Option<&str>, labels: &str) -> Vec<Value> {
        match list(self.client, kind, namespace, labels).await {
            Ok(objects) => objects,
            Err(Unlisted::NotServed) => vec![],
            Err(why) => {
                self.note(&kind.resource(), &why.to_string());
                vec![]
            }
        }
    }

    fn note(&mut self, what: &str, why: &str) {
        if !self.unread.iter().any(|(known, _)| known == what) {
            self.unread.push((what.to_owned(), why.to_owned()));
        }
    }

    /// Asks for each right that an account needs; after the first question that may not be asked, for none.
    async fn access(&mut self, account: &Account, namespace: &str, found: &mut Vec<(Account, Access, bool)>) {
        let wanted = rights(account.role);
        let may = |client, access| may(client, access, namespace, &account.name);
        let (Some(first), rest) = (wanted.first(), wanted.get(1..).unwrap_or_default()) else { return };
        let first = (*first, may(self.client, *first).await);
        let mut answers = vec![first];
        if answers.iter().all(|(_, answer)| answer.is_ok()) {
            let client = self.client;
            let rest = rest.iter().map(|right| async move { (*right, may(client, *right).await) });
            answers.extend(join_all(rest).await);
        }
        for (right, answer) in answers {
            match answer {
                Ok(allowed) => found.push((account.clone(), right, allowed)),
                Err(why) => self.note(&format!("rights of the ServiceAccount {}", account.name), &why),
            }
        }
    }
}

/// Whether an account of this namespace may do that.
async fn may(client: &Client, access: Access, namespace: &str, account: &str) -> Result<bool, String> {
    let Rule { group, resource, subresource, name, namespaced } = access.rule;
    let place = if namespaced { namespace } else { "" };
    let question = json!({
        "apiVersion": SUBJECT_ACCESS_REVIEW.api_version(),
        "kind": SUBJECT_ACCESS_REVIEW.kind,
        "metadata": {},
        "spec": {
            "user": format!("system:serviceaccount:{namespace}:{account}"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
            "resourceAttributes": {
                "namespace": place, "verb": access.verb, "group": group, "resource": resource, "subresource": subresource,
                "name": name,
            },
        },
    });
    let write =
        Write { kind: &SUBJECT_ACCESS_REVIEW, namespace: "".into(), act: Act::Create(question.into()) };
    match write.perform(client).await {
        Answer::Written(answer) => Ok(answer.pointer("/status/allowed") == Some(&Value::Bool(true))),
        Answer::Refused(why) | Answer::Unreachable(why) => Err(why),
        Answer::Gone | Answer::Conflict => Err("the API server takes no such question".to_owned()),
    }
}

/// The Service of a slice that has an endpoint that is ready; an unset condition counts as true.
fn served(slice: &Value) -> Option<String> {
    let endpoints = slice.get("endpoints")?.as_array()?;
    let ready = |e: &Value| e.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
    let service = slice.pointer("/metadata/labels/kubernetes.io~1service-name")?.as_str()?;
    endpoints.iter().any(ready).then(|| service.to_owned())
}

fn has_label(object: &Value, label: &str) -> bool {
    let Some((key, value)) = label.split_once('=') else { return false };
    object.get("metadata").and_then(|m| m.get("labels")?.get(key)?.as_str()) == Some(value)
}

fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::shell::kube::fake::Fake;

    #[tokio::test]
    async fn what_is_there_is_read_and_what_is_forbidden_named() {
        let fake = Fake::start().await;
        let put = |path: &str, object: Value| fake.put(path, object);
        let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        put(&format!("{crds}/a"), json!({"metadata": {"name": "a"}, "spec": {"group": "metallb.io"}}));
        put(&format!("{crds}/b"), json!({"metadata": {"name": "b"}, "spec": {"group": "example.org"}}));
        let slices = "/apis/discovery.k8s.io/v1/namespaces/m/endpointslices";
        let slice = |service: &str, ready: bool| {
            json!({"metadata": {"name": service, "namespace": "m", "labels": {"kubernetes.io/service-name": service}},
                   "endpoints": [{"conditions": {"ready": ready}}]})
        };
        put(&format!("{slices}/up"), slice("up", true));
        put(&format!("{slices}/down"), slice("down", false));
        put(
            "/api/v1/namespaces/m/serviceaccounts/lb-speaker",
            json!({"metadata": {"name": "lb-speaker", "namespace": "m"}}),
        );
        let container = json!({"name": "speaker", "image": "localhost/ferrolb:1", "args": ["speaker"]});
        put(
            "/apis/apps/v1/namespaces/m/daemonsets/lb-speaker",
            json!({"metadata": {"name": "lb-speaker", "namespace": "m"},
                   "spec": {"template": {"spec": {"serviceAccountName": "lb-speaker", "containers": [container]}}}}),
        );
        fake.refuse("/apis/metallb.io/v1beta1/metallbs", 404);
        fake.refuse("/apis/admissionregistration.k8s.io", 403);
        fake.refuse("/apis/authorization.k8s.io", 403);
        let facts = gather(&fake.client(), "m").await;
        assert_eq!(facts.crds.len(), 1);
        assert_eq!(facts.served, BTreeSet::from(["up".to_owned()]));
        assert!(facts.operators.is_empty() && facts.webhooks.is_empty() && facts.access.is_empty());
        let unread: Vec<&str> = facts.unread.iter().map(|(what, _)| what.as_str()).collect();
        assert_eq!(
            unread,
            [
                "validatingwebhookconfigurations.admissionregistration.k8s.io",
                "rights of the ServiceAccount lb-speaker"
            ]
        );
    }
}
