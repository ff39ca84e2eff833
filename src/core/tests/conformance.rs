//! `docs/conformance-bgp.md` names tests that exist, has no row without one or a reason, and no RFC without a row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const RFCS: [&str; 19] = [
    "1997", "2918", "4271", "4486", "4724", "4760", "5492", "6286", "6608", "6793", "7313", "7606", "7607",
    "8092", "8654", "8950", "9003", "9072", "9687",
];

#[test]
fn each_row_of_the_conformance_table_names_a_test_that_exists() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = String::new();
    for directory in ["src", "testbed"] {
        gather(&root.join(directory), &mut sources);
    }
    let document = fs::read_to_string(root.join("docs/conformance-bgp.md")).unwrap();
    let headings: Vec<&str> = document.lines().filter(|line| line.starts_with("## ")).collect();
    for rfc in RFCS {
        assert!(headings.iter().any(|heading| heading.contains(rfc)), "RFC {rfc} has no section");
    }
    let mut wrong = Vec::new();
    let mut without_row: BTreeSet<&str> = RFCS.into();
    let mut section_of = "";
    for line in document.lines() {
        if line.starts_with("## ") {
            section_of = line;
        }
        if !line.starts_with("| ") || line.starts_with("| Section") {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [section, _rule, shown_by] = cells.as_slice() else { panic!("not three cells: {line}") };
        // A heading of several RFCs has rows that say which one they are of.
        let of: Vec<&str> = RFCS.into_iter().filter(|rfc| section_of.contains(rfc)).collect();
        without_row.retain(|rfc| !(of == [*rfc] || of.contains(rfc) && section.contains(rfc)));
        let names: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !shown_by.starts_with("n/a: ") {
            wrong.push(format!("neither a test nor a reason: {line}"));
        }
        wrong.extend(
            names.iter().filter(|name| !is_test(&sources, name)).map(|n| format!("no such test: {n}")),
        );
    }
    wrong.extend(without_row.iter().map(|rfc| format!("RFC {rfc} has no row")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether a function of this name is a test, of Rust or Python.
fn is_test(sources: &str, name: &str) -> bool {
    let python = name.starts_with("test_") && sources.contains(&format!("def {name}("));
    let rust = |(at, _): (usize, &str)| {
        let before = sources.get(..at).unwrap_or_default().rsplit('\n').skip(1);
        let mut attributes = before.map(str::trim).take_while(|line| line.starts_with(['#', '/']));
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    python || sources.match_indices(&format!("fn {name}(")).any(rust)
}

/// All that is written in Rust and Python below a directory.
#[expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]
fn gather(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
