//! Files read once; the state without any file; and real directories, whose changes are waited for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::world::{Object, ObjectId};
use tempfile::TempDir;

use super::state::{Content, DirectoryState};
use ferrolb_core::engine::SourceChange;

use super::{Batch, Directory, load};

/// A Service whose class tells its versions apart.
fn service(name: &str, class: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  loadBalancerClass: c/{class}\n"
    )
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What an object is, short: `+web=1` or `-web`.
fn short(change: &SourceChange) -> String {
    match change {
        SourceChange::Apply(Object::Service(s)) => {
            format!("+{}={}", s.key.name, s.class.as_deref().unwrap_or_default().trim_start_matches("c/"))
        }
        SourceChange::Apply(other) => format!("+{}", other.id()),
        SourceChange::Delete(ObjectId::Service(key)) => format!("-{}", key.name),
        SourceChange::Delete(other) => format!("-{other}"),
    }
}

fn changes(batch: &Batch) -> Vec<String> {
    batch.changes.iter().map(short).collect()
}

mod once {
    use super::*;

    fn names(directory: &TempDir, paths: &[&str]) -> Result<Vec<String>, String> {
        let paths: Vec<PathBuf> = paths.iter().map(|p| directory.path().join(p)).collect();
        let loaded = load(&paths).map_err(|error| error.to_string())?;
        Ok(loaded.objects.iter().map(|o| short(&SourceChange::Apply(o.object.clone()))).collect())
    }

    #[test]
    fn a_directory_is_read_by_the_rules() {
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        for (path, name) in [
            ("b.yaml", "b"),
            ("a/z.yml", "z"),
            ("a/deep/er/y.yaml", "y"),
            (".hidden.yaml", "hidden"),
            (".dir/x.yaml", "x"),
            ("kustomization.yaml", "k1"),
            ("a/kustomization.yml", "k2"),
            ("notes.txt", "notes"),
            ("old.yaml.bak", "bak"),
            ("..2026/m.yaml", "m"),
            ("n.yaml/n.yaml", "n"),
        ] {
            write(&d.join(path), &service(name, "1"));
        }
        write(&d.join("c.json"), r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"c"}}"#);
        symlink("..2026", d.join("..data")).unwrap();
        symlink("..data/m.yaml", d.join("m.yaml")).unwrap();
        symlink("b.yaml", d.join("again.yaml")).unwrap();
        fs::hard_link(d.join("b.yaml"), d.join("d.yaml")).unwrap();
        symlink("..", d.join("a/up")).unwrap();
        symlink(".", d.join("here")).unwrap();
        symlink("loop", d.join("loop")).unwrap();
        symlink("nowhere", d.join("gone")).unwrap();
        let expected = ["+y=1", "+z=1", "+b=1", "+c=", "+m=1", "+n=1"];
        assert_eq!(names(&directory, &[""]).unwrap(), expected);
        assert_eq!(names(&directory, &["", "b.yaml", "a"]).unwrap(), expected);
        // A path itself may have any name.
        assert_eq!(
            names(&directory, &[".hidden.yaml", ".dir", "notes.txt"]).unwrap(),
            ["+hidden=1", "+x=1", "+notes=1"]
        );
        symlink("nowhere", d.join("link.yaml")).unwrap();
        let error = names(&directory, &[""]).unwrap_err();
        assert!(error.ends_with("link.yaml: No such file or directory"), "{error}");
    }

    #[test]
    fn the_first_error_is_one_line_with_the_file() {
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        write(&d.join("a.yaml"), &service("a", "1"));
        write(&d.join("b.yaml"), &format!("{}---\nkind: [\n", service("b", "1")));
        let error = names(&directory, &[""]).unwrap_err();
        assert!(error.contains("b.yaml: document 2, line ") && !error.contains('\n'), "{error}");
        write(&d.join("b.yaml"), &service("a", "2"));
        let error = names(&directory, &[""]).unwrap_err();
        assert!(
            error.contains("b.yaml: document 1, line 2: Service default/a is there already, in "),
            "{error}"
        );
        assert!(error.contains("a.yaml: document 1"), "{error}");
        assert!(
            names(&directory, &["missing.yaml"])
                .unwrap_err()
                .ends_with("missing.yaml: No such file or directory")
        );
    }

    #[test]
    fn a_kind_that_is_not_read_is_one_warning() {
        let directory = TempDir::new().unwrap();
        let text = "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: a, namespace: x}\n---\nkind: Deployment\napiVersion: apps/v1\nmetadata: {name: b}\n---\nkind: Pod\napiVersion: v1\n";
        write(&directory.path().join("a.yaml"), text);
        let loaded = load(&[directory.path().to_owned()]).unwrap();
        assert_eq!(
            loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "Deployment x/a: apps/v1 Deployment isn't a kind that is read: all of them are skipped",
                "Pod : v1 Pod isn't a kind that is read: all of them are skipped"
            ]
        );
    }

    #[test]
    fn many_documents_keep_their_order() {
        let directory = TempDir::new().unwrap();
        let text: String = (0..3000).map(|i| service(&format!("s{i}"), "1")).collect();
        write(&directory.path().join("all.yaml"), &text);
        for i in 0..100 {
            write(&directory.path().join(format!("b{i:03}.yaml")), &service(&format!("t{i}"), "1"));
        }
        let expected: Vec<String> =
            (0..3000).map(|i| format!("+s{i}=1")).chain((0..100).map(|i| format!("+t{i}=1"))).collect();
        assert_eq!(names(&directory, &[""]).unwrap(), expected);
    }
}

mod state {
    use super::*;

    /// Applies new contents; `None`: the file is gone.
    fn update(state: &mut DirectoryState, files: &[(&str, Option<&str>)]) -> Batch {
        let files = files
            .iter()
            .map(|(name, text)| {
                (Arc::from(*name), text.map_or(Content::Gone, |t| Content::Bytes(t.as_bytes().to_vec())))
            })
            .collect();
        state.update(files);
        state.take_batch()
    }

    fn said(batch: &Batch) -> (Vec<String>, Vec<String>) {
        let texts = |list: &[super::super::state::Problem]| list.iter().map(ToString::to_string).collect();
        (texts(&batch.problems), texts(&batch.cleared))
    }

    #[test]
    fn only_documents_that_changed_are_applied() {
        let mut state = DirectoryState::default();
        let text = |b: &str| format!("{}{}{}", service("a", "1"), service("b", b), service("c", "1"));
        assert_eq!(changes(&update(&mut state, &[("x", Some(&text("1")))])), ["+a=1", "+b=1", "+c=1"]);
        assert_eq!(changes(&update(&mut state, &[("x", Some(&text("2")))])), ["+b=2"]);
        assert!(update(&mut state, &[("x", Some(&format!("# why\n{}", text("2"))))]).is_empty());
        assert_eq!(changes(&update(&mut state, &[("x", Some(&service("b", "2")))])), ["-a", "-c"]);
        assert_eq!(changes(&update(&mut state, &[("x", None)])), ["-b"]);
        assert_eq!(changes(&update(&mut state, &[("x", None)])), [""; 0]);
    }

    #[test]
    fn an_object_that_moves_is_not_deleted() {
        for order in [["x", "y"], ["y", "x"]] {
            let mut state = DirectoryState::default();
            update(&mut state, &[("x", Some(&service("a", "1"))), ("y", Some(""))]);
            let new = BTreeMap::from([("x", String::new()), ("y", service("a", "1"))]);
            let files: Vec<_> = order.iter().map(|f| (*f, new.get(f).map(String::as_str))).collect();
            let batch = update(&mut state, &files);
            assert_eq!(changes(&batch), ["+a=1"]);
            assert!(batch.problems.is_empty());
        }
    }

    #[test]
    fn of_duplicates_the_first_seen_stands_until_it_goes() {
        let mut state = DirectoryState::default();
        update(&mut state, &[("y", Some(&service("a", "1")))]);
        let batch = update(&mut state, &[("b", Some(&service("a", "2"))), ("c", Some(&service("a", "3")))]);
        assert_eq!(changes(&batch), [""; 0]);
        let duplicate = |file: &str| {
            format!(
                "{file}: document 1, line 2: Service default/a is there already, in y: document 1, line 2: keep one of them"
            )
        };
        assert_eq!(said(&batch), (vec![duplicate("b"), duplicate("c")], vec![]));
        // The one that stands may change; the others may too, without effect.
        assert_eq!(changes(&update(&mut state, &[("y", Some(&service("a", "4")))])), ["+a=4"]);
        assert_eq!(changes(&update(&mut state, &[("b", Some(&service("a", "5")))])), [""; 0]);
        let batch = update(&mut state, &[("y", None)]);
        assert_eq!(changes(&batch), ["+a=5"]);
        assert_eq!(said(&batch).1, [duplicate("b"), duplicate("c")]);
        assert_eq!(batch.problems.len(), 1);
        let batch = update(&mut state, &[("c", None)]);
        assert_eq!((changes(&batch).len(), batch.problems.len(), batch.cleared.len()), (0, 0, 1));
        assert_eq!(changes(&update(&mut state, &[("b", None)])), ["-a"]);
    }

    #[test]
    fn twice_in_one_file_the_first_stands() {
        let mut state = DirectoryState::default();
        let batch =
            update(&mut state, &[("x", Some(&format!("{}{}", service("a", "1"), service("a", "2"))))]);
        assert_eq!(changes(&batch), ["+a=1"]);
        assert_eq!(
            said(&batch).0,
            [
                "x: document 2, line 9: Service default/a is there already, in x: document 1, line 2: keep one of them"
            ]
        );
        let batch = update(&mut state, &[("x", Some(&service("a", "2")))]);
        assert_eq!((changes(&batch), batch.cleared.len()), (vec!["+a=2".to_owned()], 1));
    }

    #[test]
    fn a_broken_document_keeps_what_it_gave() {
        let mut state = DirectoryState::default();
        let all = format!("{}{}", service("a", "1"), service("b", "1"));
        update(&mut state, &[("x", Some(&all)), ("y", Some(&service("c", "1")))]);
        // Which of them it was isn't known: both stay.
        let batch = update(&mut state, &[("x", Some(&format!("---\nkind: [\n{}", service("d", "1"))))]);
        assert_eq!(changes(&batch), ["+d=1"]);
        assert_eq!(batch.problems.len(), 1);
        // Another file has one of them now.
        assert_eq!(changes(&update(&mut state, &[("y", Some(&service("b", "2")))])), ["+b=2", "-c"]);
        let batch = update(&mut state, &[("x", Some(&service("d", "1")))]);
        assert_eq!((changes(&batch), batch.cleared.len()), (vec!["-a".to_owned()], 1));
        assert_eq!(changes(&update(&mut state, &[("y", None)])), ["-b"]);
    }

    #[test]
    fn a_wrong_type_keeps_its_own_object_only() {
        let mut state = DirectoryState::default();
        let wrong = service("a", "1").replace("c/1", "5");
        update(&mut state, &[("x", Some(&format!("{}{}", service("a", "1"), service("b", "1"))))]);
        let batch = update(&mut state, &[("x", Some(&wrong))]);
        assert_eq!(changes(&batch), ["-b"]);
        assert!(said(&batch).0[0].contains("spec.loadBalancerClass must be a string"));
        // Broken again in the same way: nothing new to say.
        assert!(update(&mut state, &[("x", Some(&wrong))]).is_empty());
        let batch = update(&mut state, &[("x", Some(&service("a", "1")))]);
        assert_eq!((changes(&batch), batch.cleared.len()), (vec!["+a=1".to_owned()], 1));
        update(&mut state, &[("x", Some(&wrong))]);
        assert_eq!(changes(&update(&mut state, &[("x", None)])), ["-a"]);
    }

    #[test]
    fn allocations_of_one_service_in_two_objects_are_said() {
        let allocations = |name: &str| {
            format!(
                "{{apiVersion: ferrolb.io/v1alpha1, kind: Allocations, metadata: {{name: {name}}}, spec: {{services: [{{name: web, ips: []}}]}}}}"
            )
        };
        let mut state = DirectoryState::default();
        let batch = update(&mut state, &[("x", Some(&allocations("a"))), ("z", Some(&allocations("b")))]);
        assert_eq!(changes(&batch), ["+Allocations default/a", "+Allocations default/b"]);
        assert_eq!(
            said(&batch).0,
            [
                "z: document 1, line 1: Allocations default/b has an entry for Service default/web, and so has x: document 1, line 1: keep one of the two entries"
            ]
        );
        assert_eq!(update(&mut state, &[("x", None)]).cleared.len(), 1);
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(256))]

        /// Whatever was edited, and however broken files were in between: what was handed out is what the files hold.
        #[test]
        fn what_was_handed_out_is_what_the_files_hold(
            edits in proptest::collection::vec(
                proptest::collection::vec(
                    (0..3_usize, proptest::option::of(proptest::collection::vec((0..4_u8, 0..3_u8, 0..8_u8), 0..4))),
                    1..3,
                ),
                1..12,
            ),
        ) {
            let names = ["x", "y", "z"];
            let text = |documents: &[(u8, u8, u8)], whole: bool| -> String {
                documents
                    .iter()
                    .map(|(name, class, broken)| match broken {
                        0 if !whole => "---\nkind: [\n".to_owned(),
                        1 if !whole => service(&format!("s{name}"), "1").replace("c/1", "5"),
                        _ => service(&format!("s{name}"), &class.to_string()),
                    })
                    .collect()
            };
            let mut state = DirectoryState::default();
            let mut world: BTreeMap<String, String> = BTreeMap::new();
            let mut problems: Vec<String> = vec![];
            let mut files: BTreeMap<&str, Vec<(u8, u8, u8)>> = BTreeMap::new();
            let mut take = |batch: Batch| {
                for change in changes(&batch) {
                    match change.strip_prefix('+').and_then(|c| c.split_once('=')) {
                        Some((name, class)) => drop(world.insert(name.to_owned(), class.to_owned())),
                        None => assert!(world.remove(change.trim_start_matches('-')).is_some(), "{change}"),
                    }
                }
                let (new, cleared) = said(&batch);
                problems.extend(new);
                for problem in cleared {
                    let at = problems.iter().position(|p| *p == problem).expect("said before");
                    problems.remove(at);
                }
                (world.clone(), problems.len())
            };
            for edit in &edits {
                let edit: BTreeMap<&str, &Option<Vec<_>>> = edit.iter().map(|(f, c)| (names[*f], c)).collect();
                let texts: Vec<_> =
                    edit.iter().map(|(name, c)| (*name, c.as_ref().map(|d| text(d, false)))).collect();
                let updates: Vec<_> = texts.iter().map(|(name, t)| (*name, t.as_deref())).collect();
                take(update(&mut state, &updates));
                for (name, documents) in edit {
                    match documents {
                        Some(documents) => drop(files.insert(name, documents.clone())),
                        None => drop(files.remove(name)),
                    }
                }
            }
            // All is mended.
            let texts: Vec<_> = files.iter().map(|(name, documents)| (*name, text(documents, true))).collect();
            let updates: Vec<_> = texts.iter().map(|(name, t)| (*name, Some(t.as_str()))).collect();
            let (world, problems) = take(update(&mut state, &updates));
            let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (name, class, _) in files.values().flatten() {
                held.entry(format!("s{name}")).or_default().push(class.to_string());
            }
            let duplicates: usize = held.values().map(|classes| classes.len() - 1).sum();
            assert_eq!(problems, duplicates);
            assert_eq!(world.keys().collect::<Vec<_>>(), held.keys().collect::<Vec<_>>());
            for (name, class) in &world {
                assert!(held[name].contains(class), "{name} is {class}, of {:?}", held[name]);
            }
        }
    }

    #[test]
    fn other_kinds_are_said_once() {
        let mut state = DirectoryState::default();
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}}";
        assert_eq!(update(&mut state, &[("x", Some(pod))]).skipped.len(), 1);
        assert!(update(&mut state, &[("y", Some(pod))]).is_empty());
    }
}

mod watched {
    use super::*;

    /// Long enough for a machine that is busy with other tests.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Watched {
        runtime: tokio::runtime::Runtime,
        directory: Directory,
        world: BTreeMap<String, String>,
        problems: Vec<String>,
        batches: Vec<Vec<String>>,
    }

    impl Watched {
        fn open(root: &Path) -> Watched {
            let (directory, first) = Directory::open(root).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let mut watched =
                Watched { runtime, directory, world: BTreeMap::new(), problems: vec![], batches: vec![] };
            watched.take(first);
            watched.batches.clear();
            watched
        }

        fn take(&mut self, batch: Batch) {
            for change in changes(&batch) {
                match change.strip_prefix('+').and_then(|c| c.split_once('=')) {
                    Some((name, class)) => self.world.insert(name.to_owned(), class.to_owned()),
                    None => self.world.remove(change.trim_start_matches('-')),
                };
            }
            self.problems.extend(batch.problems.iter().map(ToString::to_string));
            for cleared in &batch.cleared {
                self.problems.retain(|p| *p != cleared.to_string());
            }
            self.batches.push(changes(&batch));
        }

        fn shows(&self) -> String {
            self.world.iter().map(|(name, class)| format!("{name}={class}")).collect::<Vec<_>>().join(" ")
        }

        fn wait_until(&mut self, done: impl Fn(&Watched) -> bool) {
            let deadline = Instant::now() + PATIENCE;
            while !done(self) {
                let left = deadline.saturating_duration_since(Instant::now());
                let next =
                    self.runtime.block_on(async { tokio::time::timeout(left, self.directory.next()).await });
                match next {
                    Ok(batch) => self.take(batch.expect("the watching thread runs")),
                    Err(_) => panic!("shows {:?}, problems {:?}", self.shows(), self.problems),
                }
            }
        }

        /// Waits until these are the Services.
        fn expect(&mut self, services: &str) {
            self.wait_until(|w| w.shows() == services);
        }
    }

    #[test]
    fn files_that_come_change_and_go() {
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        write(&d.join("a.yaml"), &service("a", "1"));
        let mut watched = Watched::open(d);
        assert_eq!(watched.shows(), "a=1");
        write(&d.join("b.yaml"), &service("b", "1"));
        watched.expect("a=1 b=1");
        write(&d.join("a.yaml"), &service("a", "2"));
        watched.expect("a=2 b=1");
        // As editors and careful programs write.
        write(&d.join(".a.yaml.tmp"), &service("a", "3"));
        fs::rename(d.join(".a.yaml.tmp"), d.join("a.yaml")).unwrap();
        watched.expect("a=3 b=1");
        fs::remove_file(d.join("b.yaml")).unwrap();
        watched.expect("a=3");
        fs::hard_link(d.join("a.yaml"), d.join("h.yaml")).unwrap();
        fs::remove_file(d.join("a.yaml")).unwrap();
        write(&d.join("z.yaml"), &service("z", "1"));
        watched.expect("a=3 z=1");
        // As programs do that never want to replace a file.
        write(&d.join(".l.tmp"), &service("l", "1"));
        fs::hard_link(d.join(".l.tmp"), d.join("l.yaml")).unwrap();
        fs::remove_file(d.join(".l.tmp")).unwrap();
        watched.expect("a=3 l=1 z=1");
        fs::remove_file(d.join("l.yaml")).unwrap();
        write(&d.join("notes.txt"), "no: [");
        write(&d.join(".b.yaml"), "no: [");
        fs::rename(d.join("z.yaml"), d.join("z.txt")).unwrap();
        watched.expect("a=3");
        assert_eq!(watched.problems, [""; 0]);
        assert!(watched.batches.iter().all(|b| b != &["-a"]), "{:?}", watched.batches);
    }

    #[test]
    fn a_rename_is_no_flap() {
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        write(&d.join("a.yaml"), &service("a", "1"));
        let mut watched = Watched::open(d);
        for (from, to) in [("a.yaml", "sub.yaml"), ("sub.yaml", "b.yml")] {
            fs::rename(d.join(from), d.join(to)).unwrap();
            write(&d.join("mark.yaml"), &service("mark", to));
            watched.expect(&format!("a=1 mark={to}"));
        }
        assert!(!watched.batches.concat().contains(&"-a".to_owned()), "{:?}", watched.batches);
    }

    #[test]
    fn a_file_is_not_read_before_it_is_closed() {
        use std::io::Write;
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        write(&d.join("a.yaml"), &format!("{}{}", service("a", "1"), service("b", "1")));
        let mut watched = Watched::open(d);
        let mut file = fs::File::create(d.join("a.yaml")).unwrap();
        file.write_all(service("a", "2").as_bytes()).unwrap();
        // Other things that happen at the time, a walk through all among them, leave it alone.
        write(&d.join("new/c.yaml"), &service("c", "1"));
        watched.expect("a=1 b=1 c=1");
        file.write_all(service("b", "2").as_bytes()).unwrap();
        drop(file);
        watched.expect("a=2 b=2 c=1");
        assert!(!watched.batches.concat().contains(&"-b".to_owned()), "{:?}", watched.batches);
    }

    #[test]
    fn a_config_map_is_swapped_as_one() {
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        let version = |n: &str, second: &str| {
            write(&d.join(format!("..v{n}/a.yaml")), &service("a", n));
            write(&d.join(format!("..v{n}/{second}.yaml")), &service(second, n));
        };
        version("1", "b");
        symlink("..v1", d.join("..data")).unwrap();
        symlink("..data/a.yaml", d.join("a.yaml")).unwrap();
        symlink("..data/b.yaml", d.join("b.yaml")).unwrap();
        let mut watched = Watched::open(d);
        assert_eq!(watched.shows(), "a=1 b=1");
        version("2", "b");
        symlink("..v2", d.join("..data_tmp")).unwrap();
        fs::rename(d.join("..data_tmp"), d.join("..data")).unwrap();
        fs::remove_dir_all(d.join("..v1")).unwrap();
        watched.expect("a=2 b=2");
        assert_eq!(watched.batches, [["+a=2", "+b=2"]]);
        // A name less: its link is removed afterwards.
        write(&d.join("..v3/a.yaml"), &service("a", "3"));
        symlink("..v3", d.join("..data_tmp")).unwrap();
        fs::rename(d.join("..data_tmp"), d.join("..data")).unwrap();
        fs::remove_file(d.join("b.yaml")).unwrap();
        watched.expect("a=3");
        assert_eq!(watched.problems, [""; 0]);
    }

    #[test]
    fn directories_and_links_that_come_and_go() {
        let directory = TempDir::new().unwrap();
        let outside = TempDir::new().unwrap();
        let (d, o) = (directory.path(), outside.path());
        write(&o.join("one/o.yaml"), &service("o", "1"));
        let mut watched = Watched::open(d);
        // Made in one go: what is in it before it is watched counts.
        write(&d.join("x/y/z/a.yaml"), &service("a", "1"));
        watched.expect("a=1");
        write(&d.join("x/y/b.yaml"), &service("b", "1"));
        watched.expect("a=1 b=1");
        fs::rename(d.join("x/y"), d.join("moved")).unwrap();
        write(&d.join("moved/z/a.yaml"), &service("a", "2"));
        watched.expect("a=2 b=1");
        fs::rename(d.join("moved"), o.join("away")).unwrap();
        watched.expect("");
        fs::rename(o.join("away"), d.join("back")).unwrap();
        watched.expect("a=2 b=1");
        fs::remove_dir_all(d.join("back")).unwrap();
        watched.expect("");
        // Through links: to a directory, and to a file, changed where they are.
        symlink(o.join("one"), d.join("link")).unwrap();
        watched.expect("o=1");
        write(&o.join("one/o.yaml"), &service("o", "2"));
        watched.expect("o=2");
        write(&o.join("one/p.yaml"), &service("p", "1"));
        watched.expect("o=2 p=1");
        fs::remove_file(d.join("link")).unwrap();
        watched.expect("");
        symlink(o.join("one/o.yaml"), d.join("l.yaml")).unwrap();
        watched.expect("o=2");
        write(&o.join("one/o.yaml"), &service("o", "3"));
        watched.expect("o=3");
        write(&o.join("one/new"), &service("o", "4"));
        fs::rename(o.join("one/new"), o.join("one/o.yaml")).unwrap();
        watched.expect("o=4");
        fs::remove_file(o.join("one/o.yaml")).unwrap();
        watched.wait_until(|w| w.problems.iter().any(|p| p.contains("l.yaml: No such file")));
        write(&o.join("one/o.yaml"), &service("o", "5"));
        watched.wait_until(|w| w.shows() == "o=5" && w.problems.is_empty());
    }

    #[test]
    fn a_directory_that_comes_back_at_once_is_watched_again() {
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        write(&d.join("s/t/a.yaml"), &service("a", "0"));
        let mut watched = Watched::open(d);
        for round in 1..20 {
            if round % 2 == 0 {
                fs::remove_dir_all(d.join("s")).unwrap();
            } else {
                fs::rename(d.join("s"), d.join(".away")).unwrap();
                fs::rename(d.join(".away"), d.join("s")).unwrap();
            }
            write(&d.join("s/t/a.yaml"), &service("a", &round.to_string()));
            if round % 3 == 0 {
                watched.expect(&format!("a={round}"));
            }
        }
        watched.expect("a=19");
        write(&d.join("s/t/a.yaml"), &service("a", "20"));
        watched.expect("a=20");
        write(&d.join("s/b.yaml"), &service("b", "1"));
        watched.expect("a=20 b=1");
    }

    #[test]
    fn a_broken_file_is_said_and_changes_nothing_else() {
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        write(&d.join("a.yaml"), &service("a", "1"));
        let mut watched = Watched::open(d);
        write(&d.join("a.yaml"), "---\nkind: [\n");
        watched.wait_until(|w| w.problems.len() == 1);
        assert!(watched.problems[0].contains("a.yaml: document 1, line "), "{:?}", watched.problems);
        write(&d.join("b.yaml"), &service("b", "1"));
        watched.expect("a=1 b=1");
        write(&d.join("a.yaml"), &service("a", "2"));
        watched.wait_until(|w| w.shows() == "a=2 b=1" && w.problems.is_empty());
    }

    #[test]
    fn the_directory_itself_may_be_a_link_or_go() {
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        write(&d.join("v1/a.yaml"), &service("a", "1"));
        write(&d.join("v2/a.yaml"), &service("a", "2"));
        symlink("v1", d.join("current")).unwrap();
        let mut watched = Watched::open(&d.join("current"));
        symlink("v2", d.join("next")).unwrap();
        fs::rename(d.join("next"), d.join("current")).unwrap();
        watched.expect("a=2");
        // Without it everything stays as it was.
        fs::rename(d.join("v2"), d.join("gone")).unwrap();
        watched.wait_until(|w| w.problems.len() == 1);
        assert_eq!(watched.shows(), "a=2");
        write(&d.join("gone/b.yaml"), &service("b", "1"));
        fs::rename(d.join("gone"), d.join("v2")).unwrap();
        watched.wait_until(|w| w.shows() == "a=2 b=1" && w.problems.is_empty());
        assert!(Directory::open(&d.join("nothing")).is_err());
    }

    #[test]
    fn a_burst_beyond_all_queues_is_not_lost() {
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        let mut watched = Watched::open(d);
        for round in 0..4 {
            for i in 0..600 {
                fs::write(d.join(format!("s{i}.yaml")), service(&format!("s{i}"), &round.to_string()))
                    .unwrap();
            }
        }
        watched.wait_until(|w| w.world.len() == 600 && w.world.values().all(|class| class == "3"));
    }

    #[test]
    fn a_file_that_may_not_be_read_keeps_what_it_gave() {
        // The superuser may read everything: then there is nothing to see here but the change.
        let directory = TempDir::new().unwrap();
        let d = directory.path();
        write(&d.join("a.yaml"), &service("a", "1"));
        let mut watched = Watched::open(d);
        fs::set_permissions(d.join("a.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
        write(&d.join("b.yaml"), &service("b", "1"));
        watched.expect("a=1 b=1");
        fs::set_permissions(d.join("a.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
        write(&d.join("a.yaml"), &service("a", "2"));
        watched.wait_until(|w| w.shows() == "a=2 b=1" && w.problems.is_empty());
    }
}
