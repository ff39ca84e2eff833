//! Golden scenarios: a folder of manifests, and what `ferrolb plan -o json` has to say of them.
//!
//! A scenario is `tests/golden/<area>/<name>/` with
//!
//! - `manifests.yaml`, whose first line is a comment that says which rule is shown;
//! - `args`, where options are needed: one line, run in that folder. With a `-f` of its own `manifests.yaml` isn't given;
//!   it need not be there then, and the comment is the first of two lines of `args`;
//! - `plan.json`, standard output to the letter, or `expected.stderr`, where the input can't be read (exit status 2).
//!
//! `FERROLB_UPDATE=1` writes the last two anew: the review is of their diff. The exit status and standard error of a plan
//! follow from its document, so they are checked without a file.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics is a test that fails")]

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
const PLAN: &str = "plan.json";
const STDERR: &str = "expected.stderr";

#[test]
fn every_scenario_gives_what_is_written_down() {
    let update = std::env::var_os("FERROLB_UPDATE").is_some();
    let scenarios: Vec<PathBuf> = folders(Path::new(ROOT)).iter().flat_map(|area| folders(area)).collect();
    assert!(!scenarios.is_empty(), "there are no scenarios in {ROOT}");
    let failures: Vec<String> = scenarios.iter().filter_map(|s| check(s, update).err()).collect();
    println!("golden: {} scenarios", scenarios.len());
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// What one scenario shows, with everything that is wrong in the message.
fn check(scenario: &Path, update: bool) -> Result<(), String> {
    let run = run(scenario)?;
    let mut faults = Vec::new();
    match serde_json::from_str::<Value>(&run.stdout) {
        Ok(plan) if run.status != Some(2) => {
            expect("the exit status", &exit_status(&plan).to_string(), &shown(run.status), &mut faults);
            expect("standard error", &warning_lines(&plan), &run.stderr, &mut faults);
            against_file(scenario, PLAN, STDERR, &run.stdout, update, &mut faults);
        }
        _ => {
            expect("the exit status", "2", &shown(run.status), &mut faults);
            expect("standard output", "", &run.stdout, &mut faults);
            against_file(scenario, STDERR, PLAN, &run.stderr, update, &mut faults);
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let name = scenario.strip_prefix(ROOT).unwrap_or(scenario).display();
    Err(format!("{name}: {}\n{}", run.rule, faults.join("\n")))
}

/// What the binary said, and of which rule.
struct Run {
    rule: String,
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(scenario: &Path) -> Result<Run, String> {
    let manifests = text(&scenario.join("manifests.yaml"));
    let args = text(&scenario.join("args"));
    let first = manifests.as_deref().or(args.as_deref()).and_then(|t| t.lines().next());
    let rule = first.and_then(|l| l.strip_prefix("# ")).ok_or_else(|| {
        format!("{}: the first line isn't a comment that says the rule", scenario.display())
    })?;
    let options = args.as_deref().unwrap_or_default().lines().filter(|l| !l.starts_with('#'));
    let options: Vec<&str> = options.flat_map(str::split_whitespace).collect();
    let own_files = options.contains(&"-f");
    let output = Command::new(env!("CARGO_BIN_EXE_ferrolb"))
        .current_dir(scenario)
        .arg("plan")
        .args(if own_files { &[][..] } else { &["-f", "manifests.yaml"] })
        .args(["-o", "json"])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    Ok(Run {
        rule: rule.to_owned(),
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
    })
}

/// 1 exactly where the document has an error, its configuration's or a service's.
fn exit_status(plan: &Value) -> u8 {
    let entries = |key: &str| plan.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let failed = |service: &Value| service.get("error").is_some_and(|e| !e.is_null());
    u8::from(!entries("errors").is_empty() || entries("services").iter().any(failed))
}

/// The document's warnings as standard error has them.
fn warning_lines(plan: &Value) -> String {
    let warnings = plan.get("warnings").and_then(Value::as_array).cloned().unwrap_or_default();
    let line = |warning: &Value| {
        let of = |key: &str| warning.get(key).and_then(Value::as_str);
        let namespace = of("namespace").map(|n| format!("{n}/")).unwrap_or_default();
        let field = of("field").map(|f| format!("{f}: ")).unwrap_or_default();
        let text = |key: &str| of(key).unwrap_or_default().to_owned();
        format!("warning: {} {namespace}{}: {field}{}\n", text("kind"), text("name"), text("message"))
    };
    warnings.iter().map(line).collect()
}

/// Compares `found` with the scenario's file, or writes the file; the other one must not be there.
fn against_file(
    scenario: &Path,
    name: &str,
    other: &str,
    found: &str,
    update: bool,
    faults: &mut Vec<String>,
) {
    let (path, other) = (scenario.join(name), scenario.join(other));
    if update {
        fs::write(&path, found).expect("the expected output can be written");
        if let Err(e) = fs::remove_file(&other) {
            assert_eq!(e.kind(), ErrorKind::NotFound, "{}: {e}", other.display());
        }
    } else if other.exists() {
        faults.push(format!("{} is there, but this is what came:\n{found}", other.display()));
    } else {
        expect(name, &text(&path).unwrap_or_default(), found, faults);
    }
}

fn expect(what: &str, expected: &str, found: &str, faults: &mut Vec<String>) {
    if expected != found {
        faults.push(format!("  {what}, - expected, + found:\n{}", diff(expected, found)));
    }
}

/// The lines that differ, each run of them with two lines around it.
fn diff(expected: &str, found: &str) -> String {
    const AROUND: usize = 2;
    let lines = edit_script(&expected.lines().collect::<Vec<_>>(), &found.lines().collect::<Vec<_>>());
    let changed: Vec<usize> =
        lines.iter().enumerate().filter(|(_, (mark, _))| *mark != ' ').map(|(at, _)| at).collect();
    let near = |at: usize| changed.iter().any(|c| c.abs_diff(at) <= AROUND);
    let mut shown = Vec::new();
    let mut hidden = false;
    for (at, (mark, line)) in lines.iter().enumerate() {
        if near(at) {
            shown.push(format!("    {mark} {line}"));
        } else if !hidden {
            shown.push("      ...".to_owned());
        }
        hidden = !near(at);
    }
    shown.join("\n")
}

/// The shortest way from one list of lines to the other, by the longest common subsequence.
fn edit_script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    // common[i][j]: how much old[i..] and new[j..] have in common.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut script = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            script.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            script.push(('-', old[i]));
            i += 1;
        } else {
            script.push(('+', new[j]));
            j += 1;
        }
    }
    script
}

fn shown(status: Option<i32>) -> String {
    status.map_or_else(|| "a signal".to_owned(), |s| s.to_string())
}

fn text(path: &Path) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => panic!("{}: {e}", path.display()),
    }
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
    let paths = entries.map(|e| e.expect("a folder can be listed").path());
    let hidden = |p: &PathBuf| p.file_name().and_then(OsStr::to_str).is_none_or(|n| n.starts_with('.'));
    let mut folders: Vec<PathBuf> = paths.filter(|p| p.is_dir() && !hidden(p)).collect();
    folders.sort();
    folders
}
