//! A directory of manifests that is watched.
//!
//! A thread owns the state. It hears from the kernel (inotify) which names changed, and looks at these only: a file that was
//! written and closed, renamed, or removed. Where a directory or a link changed, or events were lost, it walks through all, but
//! still reads only files that are others than before. A file that somebody has begun to write is left alone until it is
//! closed. What is there to do at one time is one [`Batch`]; where it would delete something, the thread waits a moment for
//! the other half of a move.
//!
//! Directories are watched by their real path, also those that only a link leads to. Each is watched before it is read, so that
//! nothing is missed between the two.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{EventKind, INotifyWatcher, RecursiveMode, Watcher};

use super::SourceError;
use super::state::{Batch, Content, DirectoryState};
use super::tree::{Tree, Work};
use super::walk::{Found, Inode, Stamp, is_hidden, is_manifest_name, reason, walk};

/// How long a batch that deletes something waits for what may follow at once.
const SETTLE: Duration = Duration::from_millis(2);

/// After this long nobody is writing a file that came with something in it, as long as nobody was heard to.
const UNSURE: Duration = Duration::from_millis(20);

/// How many events may wait; beyond, all is looked at again.
const SIGNALS: usize = 4096;

/// How many files are read before what is in them is parsed: enough to keep every thread busy.
const FILES_AT_ONCE: usize = 512;

/// How many batches may wait; beyond, changes gather into one.
const BATCHES: usize = 4;

/// A directory of manifests; dropped, it is watched no more.
#[derive(Debug)]
pub struct Directory {
    batches: tokio::sync::mpsc::Receiver<Batch>,
    stop: Arc<AtomicBool>,
    signals: SyncSender<Signal>,
}

impl Directory {
    /// Reads all of it, and watches it from then on. The batch holds what is there now.
    ///
    /// # Errors
    /// Where it can't be watched or read at all; what is wrong inside is in the batch.
    pub fn open(root: &Path) -> Result<(Directory, Batch), SourceError> {
        let unwatchable = |error: &notify::Error| SourceError::Unwatchable {
            path: root.display().to_string(),
            reason: notify_reason(error),
        };
        let (signals, heard) = mpsc::sync_channel(SIGNALS);
        let lost = Arc::new(AtomicBool::new(false));
        let listener = Listener { signals: signals.clone(), lost: lost.clone(), last_modified: None };
        let watcher =
            INotifyWatcher::new(listener, notify::Config::default()).map_err(|e| unwatchable(&e))?;
        let mut worker = Worker {
            root: root.to_owned(),
            watches: Watches {
                watcher,
                watched: HashMap::new(),
                needed: HashSet::new(),
                added: HashSet::new(),
                failed: None,
            },
            tree: Tree::default(),
            state: DirectoryState::default(),
            directories: HashMap::new(),
            links: HashSet::new(),
            writing: HashSet::new(),
            unsure: HashMap::new(),
            complained: BTreeSet::new(),
            lost,
        };
        worker.walk(&HashSet::new()).map_err(|error| SourceError::unreadable(root, &error))?;
        if let Some((_, error)) = worker.watches.failed.take() {
            return Err(unwatchable(&error));
        }
        let first = worker.state.take_batch();
        let (batch_sender, batches) = tokio::sync::mpsc::channel(BATCHES);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::Builder::new()
            .name("manifests".to_owned())
            .spawn(move || worker.run(&heard, &batch_sender, &stopped))
            .map_err(|error| SourceError::unreadable(root, &error))?;
        Ok((Directory { batches, stop, signals }, first))
    }

    /// The next changes; never an empty batch. `None` where the directory is watched no more, which only a fault can bring about.
    pub async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Where no more signals fit, there is one to wake up from.
        let _ = self.signals.try_send(Signal::Stop);
    }
}

/// What the kernel tells.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Signal {
    /// A file was made: empty as yet, or a further name of another.
    Created(PathBuf),
    /// It is being written.
    Modified(PathBuf),
    /// It was written, or came by renaming, or went.
    Done(PathBuf),
    /// Its owner or mode changed.
    Allowed(PathBuf),
    /// A directory came or went.
    Directory(PathBuf),
    /// Events were lost.
    Lost,
    Stop,
}

/// Runs on the watcher's thread, and never waits.
struct Listener {
    signals: SyncSender<Signal>,
    lost: Arc<AtomicBool>,
    /// Long files are written in many steps.
    last_modified: Option<PathBuf>,
}

impl notify::EventHandler for Listener {
    fn handle_event(&mut self, event: notify::Result<notify::Event>) {
        let signal = match event {
            Ok(event) if event.need_rescan() => Some(Signal::Lost),
            Ok(event) => signal(event),
            Err(_) => Some(Signal::Lost),
        };
        let Some(signal) = signal else { return };
        if let Signal::Modified(path) = &signal {
            if self.last_modified.as_ref() == Some(path) {
                return;
            }
            self.last_modified = Some(path.clone());
        } else {
            self.last_modified = None;
        }
        if self.signals.try_send(signal).is_err() {
            // The worker has signals to wake up from, and looks at this afterwards.
            self.lost.store(true, Ordering::Release);
        }
    }
}

fn signal(event: notify::Event) -> Option<Signal> {
    let path = event.paths.into_iter().next()?;
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Signal::Done(path)),
        EventKind::Access(_) => None,
        EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder) => {
            Some(Signal::Directory(path))
        }
        EventKind::Create(_) => Some(Signal::Created(path)),
        EventKind::Remove(_) => Some(Signal::Done(path)),
        // Both halves of it were told before.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => None,
        EventKind::Modify(ModifyKind::Name(_)) => Some(Signal::Done(path)),
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Signal::Allowed(path)),
        EventKind::Modify(_) => Some(Signal::Modified(path)),
        _ => Some(Signal::Lost),
    }
}

/// Owns all state.
struct Worker {
    root: PathBuf,
    watches: Watches,
    tree: Tree,
    state: DirectoryState,
    /// The directories of the tree, by real path, and the path by which each was reached.
    directories: HashMap<PathBuf, PathBuf>,
    /// Names on which it depends what the tree is.
    links: HashSet<PathBuf>,
    /// Real paths of files that somebody has begun to write.
    writing: HashSet<PathBuf>,
    /// Real paths of files that came with something in them, or that somebody had begun to write when their directory moved, and
    /// since when: a file that is being written is told of again.
    unsure: HashMap<PathBuf, Instant>,
    /// Paths that can't be read at all.
    complained: BTreeSet<PathBuf>,
    lost: Arc<AtomicBool>,
}

impl Worker {
    fn run(
        mut self,
        heard: &Receiver<Signal>,
        batches: &tokio::sync::mpsc::Sender<Batch>,
        stopped: &AtomicBool,
    ) {
        while let Some(first) = self.hear(heard) {
            self.process(first.into_iter().chain(heard.try_iter()).collect());
            let deadline = Instant::now().checked_add(SETTLE);
            while self.state.deletes() {
                let left = deadline.map_or(Duration::ZERO, |d| d.saturating_duration_since(Instant::now()));
                match heard.recv_timeout(left) {
                    Ok(next) if !left.is_zero() => {
                        self.process(std::iter::once(next).chain(heard.try_iter()).collect());
                    }
                    Ok(next) => {
                        self.process(vec![next]);
                        break;
                    }
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            let batch = self.state.take_batch();
            if !batch.is_empty() && batches.blocking_send(batch).is_err() {
                return;
            }
        }
    }

    /// Waits for the next signals. `None` where there will be none any more.
    fn hear(&mut self, heard: &Receiver<Signal>) -> Option<Vec<Signal>> {
        let Some(since) = self.unsure.values().min() else {
            return heard.recv().ok().map(|signal| vec![signal]);
        };
        match heard.recv_timeout(UNSURE.saturating_sub(since.elapsed())) {
            Ok(signal) => Some(vec![signal]),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let settled = self.unsure.extract_if(|_, since| since.elapsed() >= UNSURE);
                Some(settled.map(|(path, _)| Signal::Done(path)).collect())
            }
        }
    }

    fn process(&mut self, signals: Vec<Signal>) {
        let mut touched: HashSet<PathBuf> = HashSet::new();
        let mut walk = false;
        for signal in signals {
            match signal {
                Signal::Modified(path) if self.concerns(&path) => {
                    self.unsure.remove(&path);
                    self.writing.insert(path);
                }
                Signal::Created(path) if self.concerns(&path) => match fs::symlink_metadata(&path) {
                    // Just made, and will be closed.
                    Ok(metadata) if metadata.is_file() && metadata.len() == 0 => {
                        self.writing.insert(path);
                    }
                    // Just made and written to, which will be told too; or a further name of a file that had another.
                    Ok(metadata)
                        if metadata.is_file()
                            && metadata.nlink() == 1
                            && !self.tree.knows(Stamp::of(&metadata).inode) =>
                    {
                        self.unsure.insert(path, Instant::now());
                    }
                    _ => {
                        touched.insert(path);
                    }
                },
                Signal::Done(path) if self.concerns(&path) => {
                    walk |= self.watches.forget(&path);
                    self.writing.remove(&path);
                    self.unsure.remove(&path);
                    touched.insert(path);
                }
                Signal::Directory(path) => {
                    walk |= self.concerns(&path);
                    self.watches.forget(&path);
                }
                Signal::Allowed(path) => {
                    if self.directories.contains_key(&path) || self.complained.contains(&path) {
                        walk = true;
                    } else if self.tree.leading_to(&path).any(|f| self.complained.contains(&*f.path)) {
                        touched.insert(path);
                    }
                }
                Signal::Lost => {
                    self.writing.clear();
                    walk = true;
                }
                Signal::Created(_) | Signal::Done(_) | Signal::Modified(_) | Signal::Stop => {}
            }
        }
        if self.lost.swap(false, Ordering::AcqRel) {
            self.writing.clear();
            walk = true;
        }
        // Of two writers one may have begun after the other had closed.
        touched.retain(|path| !self.writing.contains(path));
        let changes = if walk { None } else { self.look_at(&touched) };
        match changes {
            Some(changes) => {
                let work = self.tree.change(changes, &touched);
                self.read(work);
            }
            None => {
                if let Err(error) = self.walk(&touched) {
                    self.complain(vec![(self.root.clone(), reason(&error))], true);
                }
                if let Some((directory, error)) = self.watches.failed.take() {
                    let reason = format!("can't be watched: {}", notify_reason(&error));
                    self.complain(vec![(directory, reason)], true);
                }
            }
        }
    }

    /// Whether a real path has to do with the tree: directories that only a link leads to have other names in them too.
    fn concerns(&self, real: &Path) -> bool {
        let inside = || {
            let (Some(directory), Some(name)) = (real.parent(), real.file_name()) else { return false };
            self.directories.contains_key(directory) && !is_hidden(name)
        };
        self.links.contains(real)
            || self.watches.watched.contains_key(real)
            || self.tree.leading_to(real).next().is_some()
            || inside()
    }

    /// What these real paths are now. `None` where the whole tree has to be walked through to know.
    fn look_at(&self, touched: &HashSet<PathBuf>) -> Option<Vec<(Arc<Path>, Option<Found>)>> {
        let mut changes = Vec::new();
        for real in touched {
            if self.links.contains(real) {
                return None;
            }
            let metadata = fs::symlink_metadata(real);
            let file = metadata.as_ref().ok().filter(|m| m.is_file()).map(Stamp::of);
            let mut known = false;
            for found in self.tree.leading_to(real) {
                known = true;
                // The path is a link's, and the link leads nowhere now, or elsewhere.
                let direct = real.parent().and_then(|d| self.directories.get(d)).zip(real.file_name());
                if file.is_none() && direct.is_none_or(|(d, name)| d.join(name) != *found.path) {
                    return None;
                }
                changes.push((found.path.clone(), file.map(|stamp| Found { stamp, ..found.clone() })));
            }
            let (Some(name), Some(directory)) = (real.file_name(), real.parent()) else { continue };
            let Some(directory) = self.directories.get(directory).filter(|_| !is_hidden(name)) else {
                continue;
            };
            match metadata {
                Ok(metadata) if metadata.is_dir() || metadata.is_symlink() => return None,
                Ok(_) if !known && is_manifest_name(name) => {
                    if let Some(stamp) = file {
                        let found = Found::new(&directory.join(name), real, stamp);
                        changes.push((found.path.clone(), Some(found)));
                    }
                }
                _ => {}
            }
        }
        Some(changes)
    }

    /// Walks through everything, and reads what is another than before, and what was `written`.
    fn walk(&mut self, written: &HashSet<PathBuf>) -> io::Result<()> {
        self.watches.needed.clear();
        self.watches.added.clear();
        let watches = &mut self.watches;
        let found = walk(&self.root, &mut |directory| watches.watch(directory));
        let found = match found {
            Ok(found) => found,
            Err((error, links)) => {
                // Everything stays as it was, until the directory is there again.
                self.links.extend(links);
                return Err(error);
            }
        };
        self.watches.drop_others();
        // That a file here was closed may have been told to a watch that is no more; the new one tells if somebody goes on.
        let added = &self.watches.added;
        let unheard = self.writing.extract_if(|path| path.parent().is_some_and(|d| added.contains(d)));
        self.unsure.extend(unheard.map(|path| (path, Instant::now())));
        self.links = found.links;
        self.directories = found.directories.into_iter().collect();
        let unreadable = found.unreadable;
        let mut files = Vec::with_capacity(found.files.len());
        let mut still_written = HashSet::new();
        let mut present = HashSet::with_capacity(found.files.len());
        for file in found.files {
            present.insert(file.path.clone());
            let is_written = self.writing.contains(&*file.real);
            if is_written {
                still_written.insert(file.real.to_path_buf());
            }
            if is_written || self.unsure.contains_key(&*file.real) {
                files.extend(self.tree.at(&file.path).cloned());
            } else {
                files.push(file);
            }
        }
        self.writing = still_written;
        // What is below a directory that can't be read stays as it was.
        let out_of_sight = |f: &&Found| {
            !present.contains(&f.path) && unreadable.iter().any(|(path, _)| f.path.starts_with(path))
        };
        files.extend(self.tree.paths().filter(out_of_sight).cloned());
        let work = self.tree.replace(files, written);
        self.read(work);
        self.complain(unreadable, false);
        Ok(())
    }

    fn read(&mut self, work: Work) {
        // Part by part, so that not all files are in memory at once.
        for part in work.read.chunks(FILES_AT_ONCE) {
            let files = part.iter().filter_map(|(path, real)| self.read_file(path, real)).collect();
            self.state.update(files);
        }
        self.state.update(work.gone.iter().map(|path| (label(path), Content::Gone)).collect());
    }

    /// `None` where it will be told of again.
    fn read_file(&mut self, path: &Path, real: &Path) -> Option<(Arc<str>, Content)> {
        match read_whole(real) {
            Ok(Some(bytes)) => {
                self.complained.remove(path);
                Some((label(path), Content::Bytes(bytes)))
            }
            // It is being written: that it is closed will be told.
            Ok(None) => None,
            // That it went will be told.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.complained.insert(path.to_owned());
                Some((label(path), Content::Unreadable(reason(&error))))
            }
        }
    }

    /// Says of paths that they can't be read, and of all others that were said so before that they can, unless `only_more`.
    fn complain(&mut self, unreadable: Vec<(PathBuf, String)>, only_more: bool) {
        let mut files = Vec::new();
        if !only_more {
            let now: HashSet<&Path> = unreadable.iter().map(|(path, _)| path.as_path()).collect();
            let is_file = |path: &PathBuf| self.tree.at(path).is_some();
            let over: Vec<PathBuf> = self
                .complained
                .iter()
                .filter(|path| !now.contains(path.as_path()) && !is_file(path))
                .cloned()
                .collect();
            for path in over {
                self.complained.remove(&path);
                files.push((label(&path), Content::Gone));
            }
        }
        for (path, reason) in unreadable {
            files.push((label(&path), Content::Unreadable(reason)));
            self.complained.insert(path);
        }
        self.state.update(files);
    }
}

/// As the path is shown to users.
fn label(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

/// `None` where somebody goes on writing to it.
fn read_whole(path: &Path) -> io::Result<Option<Vec<u8>>> {
    for _ in 0..READ_ATTEMPTS {
        let mut file = File::open(path)?;
        let before = file.metadata()?;
        let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or_default());
        file.read_to_end(&mut bytes)?;
        if Stamp::of(&before) == Stamp::of(&file.metadata()?) {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// More than one: a change of its mode or links changes a file's stamp too.
const READ_ATTEMPTS: usize = 3;

/// The directories that are watched.
struct Watches {
    watcher: INotifyWatcher,
    watched: HashMap<PathBuf, Inode>,
    /// Those that were asked for since the last walk began.
    needed: HashSet<PathBuf>,
    /// Those of them that weren't watched until then.
    added: HashSet<PathBuf>,
    failed: Option<(PathBuf, notify::Error)>,
}

impl Watches {
    fn watch(&mut self, directory: &Path) {
        if !self.needed.insert(directory.to_owned()) {
            return;
        }
        let Ok(inode) = fs::metadata(directory).map(|m| Stamp::of(&m).inode) else { return };
        match self.watched.get(directory) {
            Some(watched) if *watched == inode => return,
            Some(_) => {
                // Another directory of the same name: forget the old one first, so that its last events aren't taken for the new
                // one's.
                let _ = self.watcher.unwatch(directory);
            }
            None => {}
        }
        match self.watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(directory.to_owned(), inode);
                self.added.insert(directory.to_owned());
            }
            Err(error) => {
                self.watched.remove(directory);
                self.failed = Some((directory.to_owned(), error));
            }
        }
    }

    /// A directory came or went. Another in its place, even one with the number of the old, has to be watched anew, and so has
    /// what is below it. True where it was watched.
    fn forget(&mut self, directory: &Path) -> bool {
        if !self.watched.contains_key(directory) {
            return false;
        }
        let watcher = &mut self.watcher;
        self.watched.retain(|watched, _| {
            let keep = !watched.starts_with(directory);
            if !keep {
                let _ = watcher.unwatch(watched);
            }
            keep
        });
        true
    }

    /// Ends the watch on those that were not asked for.
    fn drop_others(&mut self) {
        let needed = &self.needed;
        let watcher = &mut self.watcher;
        self.watched.retain(|directory, _| {
            let keep = needed.contains(directory);
            if !keep {
                // It may be gone, and its watch with it.
                let _ = watcher.unwatch(directory);
            }
            keep
        });
    }
}

fn notify_reason(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::Io(error) => reason(error),
        notify::ErrorKind::MaxFilesWatch => {
            "no more inotify watches: raise fs.inotify.max_user_watches".to_owned()
        }
        _ => error.to_string(),
    }
}
