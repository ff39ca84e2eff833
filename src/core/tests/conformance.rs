//! `docs/conformance-bgp.md` names tests that exist, and has no row without one or a reason.

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
    for row in document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Section")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_section, _rule, shown_by] = cells.as_slice() else { panic!("not three cells: {row}") };
        let names: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !shown_by.starts_with("n/a: ") {
            wrong.push(format!("neither a test nor a reason: {row}"));
        }
        for name in names {
            if !["fn ", "def "].iter().any(|word| sources.contains(&format!("{word}{name}("))) {
                wrong.push(format!("no such test: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
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
