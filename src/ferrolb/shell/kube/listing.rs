//! All objects of a kind, once.

use std::fmt;

use kube::api::{Api, ListParams};
use kube::discovery::Scope;
use kube::{Client, Error};
use serde_json::Value;

use super::kinds::Kind;
use super::raw::Raw;
use super::watching::reason;

/// How many objects are asked for at a time.
const PAGE: u32 = 500;

/// Why there is no list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// The API server doesn't know the kind.
    NotServed,
    /// It isn't allowed; in the API server's words.
    Forbidden(String),
    /// Something else.
    Failed(String),
}

impl fmt::Display for Unlisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unlisted::NotServed => f.write_str("the API server doesn't know the kind"),
            Unlisted::Forbidden(why) | Unlisted::Failed(why) => f.write_str(why),
        }
    }
}

/// The objects of a kind as the API server has them now, in full: of one namespace, or of all; those with these labels
/// (a selector; empty: all).
///
/// # Errors
/// Why they can't be listed.
pub async fn list(
    client: &Client,
    kind: &Kind,
    namespace: Option<&str>,
    labels: &str,
) -> Result<Vec<Value>, Unlisted> {
    let scope = if kind.namespaced { Scope::Namespaced } else { Scope::Cluster };
    let mut api = Api::<Raw<false>>::dynamic(client.clone(), &kind.api_resource(), &scope);
    if let Some(namespace) = namespace {
        api = api.constrain(namespace);
    }
    let mut parameters = ListParams::default().limit(PAGE);
    if !labels.is_empty() {
        parameters = parameters.labels(labels);
    }
    let mut all = Vec::new();
    loop {
        let page = api.list(&parameters).await.map_err(|e| unlisted(&e))?;
        all.extend(page.items.into_iter().map(|object| complete(object.value(), kind)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn unlisted(error: &Error) -> Unlisted {
    match error {
        Error::Api(status) => match status.code {
            404 => Unlisted::NotServed,
            401 | 403 => Unlisted::Forbidden(status.message.clone()),
            code => Unlisted::Failed(format!("{} ({code})", status.message)),
        },
        other => Unlisted::Failed(reason(other)),
    }
}

/// The items of a list don't say what they are.
fn complete(mut object: Value, kind: &Kind) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".into(), kind.api_version().into());
        fields.insert("kind".into(), kind.kind.into());
    }
    object
}
