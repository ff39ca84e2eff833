//! `ferrolb allocate`: the controller's work, done once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ferrolb_core::types::ServiceKey;
use ferrolb_core::world::Object;
use serde::Serialize;

use super::args::{AllocateArgs, NodeArgs};
use super::load::{self, Offline};
use super::{print, refuse};

#[derive(Serialize)]
struct Document {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Serialize)]
struct Metadata {
    name: String,
}

#[derive(Serialize)]
struct Spec {
    services: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    namespace: String,
    name: String,
    ips: Vec<String>,
}

/// Prints or writes an Allocations document; exit status 1 where a service got no address or there is an error.
pub fn run(args: &AllocateArgs) -> ExitCode {
    let target = args.write.as_deref();
    // What an earlier run wrote counts as held, wherever it was written to.
    let existing: Vec<PathBuf> = target.filter(|t| t.exists()).map(Path::to_path_buf).into_iter().collect();
    let nodes = NodeArgs { node: None, down: vec![], bgp_down: vec![], ignore_exclude_lb: false };
    let offline = match load::load(&args.input, &existing, &nodes) {
        Ok(offline) => offline,
        Err(message) => return refuse(message),
    };
    let config = offline.engine.config();
    for issue in &config.errors {
        eprintln!("error: {issue}");
    }
    for issue in offline.warnings.iter().chain(&config.warnings) {
        eprintln!("warning: {issue}");
    }
    let mut failed = !config.errors.is_empty();
    let sorted: BTreeMap<_, _> = offline.engine.allocator().iter().collect();
    for (key, allocation) in &sorted {
        if let Some(error) = &allocation.error {
            eprintln!("error: Service {key}: {error}");
            failed = true;
        }
    }
    let written = document(&offline, target).and_then(|d| print::yaml(&d)).and_then(|text| match target {
        None => print::stdout(&text),
        Some(path) => write_atomically(path, &text),
    });
    match written {
        Ok(()) => ExitCode::from(u8::from(failed)),
        Err(message) => refuse(message),
    }
}

/// The addresses of every service, but for those that an Allocations in a file other than `target` gives: an entry in two
/// documents couldn't be read again.
fn document(offline: &Offline, target: Option<&Path>) -> Result<Document, String> {
    let own_file = target.and_then(|t| t.canonicalize().ok());
    let mut elsewhere: BTreeSet<&ServiceKey> = BTreeSet::new();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut name = None;
    for located in &offline.objects {
        let Object::Allocations(allocations) = &located.object else { continue };
        if own_file.is_some() && Path::new(&*located.origin.file).canonicalize().ok() == own_file {
            name.get_or_insert_with(|| allocations.name.to_string());
        } else if target.is_some() {
            taken.insert(&allocations.name);
            elsewhere.extend(allocations.entries.iter().map(|e| &e.service));
        }
    }
    let name = name.unwrap_or_else(|| {
        let candidates =
            std::iter::once("allocations".to_owned()).chain((2..).map(|i: u64| format!("allocations-{i}")));
        candidates.into_iter().find(|c| !taken.contains(c.as_str())).unwrap_or_default()
    });
    let sorted: BTreeMap<_, _> = offline.engine.allocator().iter().collect();
    let services = sorted
        .into_iter()
        .filter(|(key, a)| !a.ips.is_empty() && !elsewhere.contains(key))
        .map(|(key, a)| Entry {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            ips: a.ips.iter().map(ToString::to_string).collect(),
        })
        .collect();
    Ok(Document {
        api_version: "ferrolb.io/v1alpha1",
        kind: "Allocations",
        metadata: Metadata { name },
        spec: Spec { services },
    })
}

/// Through a name that begins with a dot, which is no manifest's.
fn write_atomically(path: &Path, text: &str) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("can't write {}: {e}", path.display());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".ferrolb-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}
