//! One write to the API server, and what became of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::types::{Json, Uid};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::discovery::Scope;
use kube::{Client, Error, Resource};
use serde_json::Value;

use super::kinds::Kind;
use super::raw::Raw;
use super::watching::reason;

/// How long a write may take, to be answered at all.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the client gives as the reason of an answer that is no Status.
const PLAIN: &str = "Failed to parse error data";
/// Under which name writes go, in `managedFields`.
const MANAGER: &str = "ferrolb";

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The object's kind.
    pub kind: &'static Kind,
    /// Its namespace; empty for kinds without.
    pub namespace: Arc<str>,
    /// What to do.
    pub act: Act,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Delete the object of this name, if it still has this UID.
    Delete {
        /// The object.
        name: Arc<str>,
        /// Its UID.
        uid: Uid,
    },
    /// Read the object of this name: nothing is written, and the answer is as if it had been.
    Read(Arc<str>),
    /// The same by a list, of kinds that may be listed and not read.
    Find(Arc<str>),
    /// Create this object.
    Create(Json),
    /// Merge this into the object of this name. With a `metadata.resourceVersion` in it only if the object has that.
    Patch {
        /// The object.
        name: Arc<str>,
        /// RFC 7396.
        patch: Json,
        /// Whether it goes to the status subresource.
        status: bool,
    },
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is written; the object as it is now.
    Written(Value),
    /// There is no such object (or kind).
    Gone,
    /// The object has changed since, or is there already.
    Conflict,
    /// The API server says no to this one, perhaps for now, in these words.
    Refused(String),
    /// Nobody answered, or takes anything now.
    Unreachable(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answer::Written(_) => "it is written",
            Answer::Gone => "there is no such object",
            Answer::Conflict => "it has changed since",
            Answer::Refused(why) | Answer::Unreachable(why) => why,
        })
    }
}

/// What the API server says that isn't yes.
fn judged(status: Status) -> Answer {
    match status.code {
        404 | 410 => Answer::Gone,
        409 => Answer::Conflict,
        502..=504 => Answer::Unreachable(status.message),
        // One that is overloaded says so in plain words (its priority and fairness). In a Status it is about the one object: too
        // many Events of its namespace, say.
        429 if status.reason == PLAIN => Answer::Unreachable(status.message),
        // With 500 too: a webhook for the object's namespace is down.
        _ => Answer::Refused(status.message),
    }
}

impl Write {
    /// Writes it, within a few seconds.
    pub async fn perform(&self, client: &Client) -> Answer {
        match tokio::time::timeout(PATIENCE, self.ask(client)).await {
            Ok(Ok(Some(object))) => Answer::Written(object.value()),
            Ok(Ok(None)) => Answer::Gone,
            Ok(Err(Error::Api(status))) => judged(*status),
            Ok(Err(error)) => Answer::Unreachable(reason(&error)),
            Err(_) => Answer::Unreachable(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn ask(&self, client: &Client) -> Result<Option<Raw<false>>, Error> {
        let scope = if self.kind.namespaced { Scope::Namespaced } else { Scope::Cluster };
        let mut api = Api::<Raw<false>>::dynamic(client.clone(), &self.kind.api_resource(), &scope);
        if !self.namespace.is_empty() {
            api = api.constrain(&self.namespace);
        }
        let manager = Some(MANAGER.to_owned());
        let object = match &self.act {
            Act::Find(name) => {
                let list = api.list(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
                let is_it = |object: &Raw<false>| object.meta().name.as_deref() == Some(&**name);
                return Ok(list.items.into_iter().find(is_it));
            }
            Act::Read(name) => api.get(name).await,
            Act::Delete { name, uid } => {
                let preconditions = Preconditions { uid: Some(uid.to_string()), ..Preconditions::default() };
                let parameters =
                    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                // The answer is the object that is going, or a Status: either means that it was done.
                api.delete(name, &parameters).await.map(|_| Raw::new(Value::Null))
            }
            Act::Create(object) => {
                let parameters = PostParams { field_manager: manager, ..PostParams::default() };
                api.create(&parameters, &Raw::new(object.value())).await
            }
            Act::Patch { name, patch, status } => {
                let patch = patch.value();
                let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
                if *status {
                    api.patch_status(name, &parameters, &Patch::Merge(&patch)).await
                } else {
                    api.patch(name, &parameters, &Patch::Merge(&patch)).await
                }
            }
        };
        object.map(Some)
    }
}
