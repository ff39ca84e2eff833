//! What standalone keeps over a restart, in one file of its state directory, locked for as long as the process runs.
//!
//! Addresses, the last valid form of each configuration object, and when objects without a timestamp were first seen. A
//! BGPPeer with a password in it isn't kept: no secret is ever written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs::{File, TryLockError};
use std::hash::BuildHasher;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferrolb_core::alloc::Holdings;
use ferrolb_core::config::LastValid;
use ferrolb_core::types::{ObjectKey, ServiceKey};
use ferrolb_core::world::{ConfigObject, ObjectId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A state directory that this process has to itself.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
    /// The hash of what the file holds, so that an unchanged state isn't written again.
    written: Option<u64>,
    hasher: RandomState,
}

/// What is kept.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Who holds which address.
    pub holdings: Holdings,
    /// The last valid forms.
    pub last_valid: LastValid,
    /// First-seen times.
    pub first_seen: BTreeMap<ObjectId, Timestamp>,
}

/// What is to be kept, where it stands: at thousands of services a copy would be most of a peak in memory.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// Who holds which address.
    pub holdings: Holdings,
    /// The last valid forms.
    pub last_valid: &'a LastValid,
    /// First-seen times.
    pub first_seen: &'a BTreeMap<ObjectId, Timestamp>,
}

/// The format of the file. A file of another version isn't read.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateFile<'a> {
    version: u32,
    holdings: Cow<'a, Holdings>,
    last_valid: Vec<KeptObject>,
    first_seen: Vec<FirstSeen<'a>>,
}

#[derive(Serialize, Deserialize)]
struct KeptObject {
    version: String,
    created: Option<Timestamp>,
    raw: Arc<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct FirstSeen<'a> {
    kind: Cow<'a, str>,
    namespace: Cow<'a, str>,
    name: Cow<'a, str>,
    time: Timestamp,
}

impl StateDirectory {
    /// Locks the directory, made where it isn't there, and reads what it holds.
    ///
    /// # Errors
    /// One sentence with the remedy.
    pub fn open(path: &Path) -> Result<(StateDirectory, State), String> {
        std::fs::create_dir_all(path).map_err(|e| {
            format!("the state directory {} can't be made: {e}; give --state a directory that this user can write", path.display())
        })?;
        let lock_path = path.join("lock");
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(|e| {
            format!(
                "{} can't be opened: {e}; give --state a directory that this user can write",
                lock_path.display()
            )
        })?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => format!(
                "another ferrolb runs with the state directory {}: stop it, or give this one another --state",
                path.display()
            ),
            TryLockError::Error(e) => format!("{} can't be locked: {e}", lock_path.display()),
        })?;
        let file = path.join("state.json");
        let hasher = RandomState::new();
        let (written, state) = match std::fs::read(&file) {
            Ok(bytes) => {
                let state = decode(&bytes).map_err(|e| {
                    format!(
                        "{} can't be read: {e}; move it away to start without what it remembers",
                        file.display()
                    )
                })?;
                (Some(hasher.hash_one(&bytes)), state)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => (None, State::default()),
            Err(e) => return Err(format!("{} can't be read: {e}", file.display())),
        };
        Ok((StateDirectory { path: path.to_owned(), _lock: lock, written, hasher }, state))
    }

    /// Writes the state, through a temporary file, where it differs from what is there.
    ///
    /// # Errors
    /// One sentence.
    pub fn write(&mut self, state: &Standing<'_>) -> Result<(), String> {
        let bytes = encode(state).map_err(|e| format!("the state can't be written as JSON: {e}"))?;
        let hash = Some(self.hasher.hash_one(&bytes));
        if hash == self.written {
            return Ok(());
        }
        let target = self.path.join("state.json");
        let fail = |e: std::io::Error| format!("{} can't be written: {e}", target.display());
        let mut file = tempfile::Builder::new().prefix(".state-").tempfile_in(&self.path).map_err(fail)?;
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        file.persist(&target).map_err(|e| fail(e.error))?;
        self.written = hash;
        Ok(())
    }
}

fn encode(state: &Standing<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let last_valid = state.last_valid.values().filter(|o| !holds_password(o));
    let mut bytes = serde_json::to_vec(&StateFile {
        version: VERSION,
        holdings: Cow::Borrowed(&state.holdings),
        last_valid: last_valid
            .map(|o| KeptObject { version: o.version.clone(), created: o.created, raw: without_password(o) })
            .collect(),
        first_seen: state.first_seen.iter().filter_map(|(id, time)| first_seen(id, *time)).collect(),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Whether it has a password of its own. One that a Secret gives is remembered beside the reference.
fn holds_password(object: &ConfigObject) -> bool {
    object.raw.pointer("/spec/password").is_some()
        && object.raw.pointer("/spec/passwordSecret/name").is_none()
}

fn without_password(object: &ConfigObject) -> Arc<serde_json::Value> {
    let mut raw = object.raw.clone();
    if raw.pointer("/spec/password").is_some()
        && let Some(spec) = Arc::make_mut(&mut raw).pointer_mut("/spec").and_then(|s| s.as_object_mut())
    {
        spec.remove("password");
    }
    raw
}

fn first_seen(id: &ObjectId, time: Timestamp) -> Option<FirstSeen<'_>> {
    let (kind, namespace, name) = match id {
        ObjectId::Service(key) => ("Service", &*key.namespace, &*key.name),
        ObjectId::Config(key) => (key.kind.as_str(), key.namespace.as_str(), key.name.as_str()),
        _ => return None,
    };
    Some(FirstSeen { kind: kind.into(), namespace: namespace.into(), name: name.into(), time })
}

fn decode(bytes: &[u8]) -> Result<State, String> {
    let file: StateFile<'_> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if file.version != VERSION {
        return Err(format!("it is of version {}, and this program knows version {VERSION}", file.version));
    }
    let last_valid =
        file.last_valid.into_iter().filter_map(kept_object).map(|o| (o.key.clone(), Arc::new(o)));
    let first_seen = file.first_seen.into_iter().map(|f| {
        let id = match &*f.kind {
            "Service" => ObjectId::Service(ServiceKey::new(&f.namespace, &f.name)),
            kind => ObjectId::Config(ObjectKey::new(kind, &f.namespace, &f.name).into()),
        };
        (id, f.time)
    });
    Ok(State {
        holdings: file.holdings.into_owned(),
        last_valid: last_valid.collect(),
        first_seen: first_seen.collect(),
    })
}

fn kept_object(kept: KeptObject) -> Option<ConfigObject> {
    let text = |pointer| kept.raw.pointer(pointer).and_then(serde_json::Value::as_str);
    let key = ObjectKey::new(
        text("/kind")?,
        text("/metadata/namespace").unwrap_or("default"),
        text("/metadata/name")?,
    );
    let labels = kept.raw.pointer("/metadata/labels").and_then(serde_json::Value::as_object);
    let labels = labels.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    Some(ConfigObject {
        key,
        version: kept.version,
        created: kept.created,
        labels: labels.collect(),
        raw: kept.raw,
    })
}

#[cfg(test)]
mod tests {
    use ferrolb_core::alloc::Holding;
    use serde_json::json;

    use super::*;

    fn object(kind: &str, spec: serde_json::Value) -> (ObjectKey, Arc<ConfigObject>) {
        let raw = json!({"apiVersion": "metallb.io/v1beta1", "kind": kind,
            "metadata": {"name": "x", "namespace": "metallb-system", "labels": {"tier": "a"}}, "spec": spec});
        let key = ObjectKey::new(kind, "metallb-system", "x");
        let labels = [("tier".to_owned(), "a".to_owned())].into();
        let version = "v1beta1".to_owned();
        (key.clone(), Arc::new(ConfigObject { key, version, created: None, labels, raw: Arc::new(raw) }))
    }

    impl State {
        fn standing(&self) -> Standing<'_> {
            let State { holdings, last_valid, first_seen } = self;
            Standing { holdings: holdings.clone(), last_valid, first_seen }
        }
    }

    fn state() -> State {
        let holding = Holding {
            namespace: "default".into(),
            name: "web".into(),
            ips: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            pool: Some("p".into()),
            source: vec![],
        };
        let seen = Timestamp::from_second(1_700_000_000).unwrap();
        State {
            holdings: Holdings { services: vec![holding] },
            last_valid: [object("IPAddressPool", json!({"addresses": ["192.0.2.0/24"]}))].into(),
            first_seen: [
                (ObjectId::Service(ServiceKey::new("default", "web")), seen),
                (ObjectId::Config(ObjectKey::new("BGPPeer", "metallb-system", "tor").into()), seen),
            ]
            .into(),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut directory, empty) = StateDirectory::open(&path).unwrap();
        assert_eq!(empty.holdings, Holdings::default());
        directory.write(&state().standing()).unwrap();
        drop(directory);
        let (_, again) = StateDirectory::open(&path).unwrap();
        assert_eq!(again.holdings, state().holdings);
        assert_eq!(again.last_valid, state().last_valid);
        assert_eq!(again.first_seen, state().first_seen);
    }

    #[test]
    fn a_second_process_is_refused_until_the_first_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = StateDirectory::open(folder.path()).unwrap();
        let error = StateDirectory::open(folder.path()).unwrap_err();
        assert!(error.contains("another ferrolb") && error.contains("--state"), "{error}");
        drop(first);
        StateDirectory::open(folder.path()).unwrap();
    }

    #[test]
    fn a_peer_with_a_password_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (mut directory, _) = StateDirectory::open(folder.path()).unwrap();
        let peers = [object("BGPPeer", json!({"password": "sesame"})), object("IPAddressPool", json!({}))];
        directory.write(&State { last_valid: peers.into(), ..state() }.standing()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("state.json")).unwrap();
        assert!(text.contains("IPAddressPool") && !text.contains("sesame"), "{text}");
        // What a Secret said isn't either, but the peer is.
        let referring = json!({"password": "sesame", "passwordSecret": {"name": "login"}});
        directory
            .write(&State { last_valid: [object("BGPPeer", referring)].into(), ..state() }.standing())
            .unwrap();
        let text = std::fs::read_to_string(folder.path().join("state.json")).unwrap();
        assert!(text.contains("login") && !text.contains("sesame"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.json");
        for broken in ["", "{", r#"{"version":2,"holdings":{"services":[]},"lastValid":[],"firstSeen":[]}"#] {
            std::fs::write(&file, broken).unwrap();
            let error = StateDirectory::open(folder.path()).unwrap_err();
            assert!(error.contains("state.json") && error.contains("move it away"), "{error}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), broken);
        }
    }
}
