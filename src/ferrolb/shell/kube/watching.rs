//! One watch: a task that lists, follows, and goes on whatever happens.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use hyper::Request;
use jiff::Timestamp;
use kube::api::Api;
use kube::client::Body;
use kube::core::Status;
use kube::discovery::Scope;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Error};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::fold::{Folded, Folder};
use super::kinds::Watch;
use super::raw::Raw;
use super::source::WatchId;
use super::standing::{Standing, Watches};

/// How long the API server holds a watch open, in seconds; 5 s more without a word, and the connection counts as dead.
const WATCH_SECONDS: u32 = 55;
/// The first pause after a failure, which doubles up to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// After how many refusals in a row to go on from where it was a watch lists again: that place may never come back, where
/// the API server's data was restored from a backup.
const REFUSALS: u32 = 4;

/// When a kind counts as not served.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotServed {
    /// How long a kind with objects has to be unknown to the API server, without any other word, until it counts as one without:
    /// its definitions are read again when it starts.
    pub(super) after: Duration,
    /// The pause after the API server said that it doesn't know the kind.
    pub(super) pause: Duration,
}

impl Default for NotServed {
    fn default() -> NotServed {
        NotServed { after: Duration::from_secs(30), pause: Duration::from_secs(5) }
    }
}

/// What a watch has to tell.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) id: WatchId,
    /// When the API server's word arrived.
    pub(super) noticed: Instant,
    pub(super) changes: Vec<Folded>,
    /// How many lists had been asked for when the last one that this is from, or goes on from, began.
    pub(super) lists: u64,
}

pub(super) struct Task {
    pub(super) client: Client,
    pub(super) watch: Watch,
    pub(super) id: WatchId,
    pub(super) out: mpsc::Sender<Told>,
    pub(super) watches: Watches,
    pub(super) not_served: NotServed,
    /// How many lists were asked for beyond those that the watch makes by itself: each has it list again.
    pub(super) lists: watch::Receiver<u64>,
    /// Ends the watch.
    pub(super) stop: CancellationToken,
}

impl Task {
    /// Runs until it is stopped, or nobody listens any more.
    pub(super) async fn run(self) {
        let mut folder = Folder::new(self.watch.clone());
        let followed = async {
            if self.watch.metadata_only {
                self.follow::<true>(&mut folder).await;
            } else {
                self.follow::<false>(&mut folder).await;
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = followed => {}
        }
    }

    async fn follow<const METADATA_ONLY: bool>(&self, folder: &mut Folder) {
        let mut progress = Progress::default();
        let mut lists = self.lists.clone();
        loop {
            progress.lists = *lists.borrow_and_update();
            let scope = if self.watch.kind.namespaced { Scope::Namespaced } else { Scope::Cluster };
            let resource = self.watch.kind.api_resource();
            let mut api =
                Api::<Raw<METADATA_ONLY>>::dynamic(self.noting_client(&progress.begun), &resource, &scope);
            if let Some(namespace) = &self.watch.namespace {
                api = api.constrain(namespace);
            }
            let mut stream = pin!(watcher(api, self.config()));
            loop {
                let event = tokio::select! {
                    event = stream.next() => event,
                    // Where nobody can ask any more, the watch ends.
                    Ok(()) = lists.changed() => break,
                };
                let went_on = match event {
                    None => break,
                    Some(Ok(event)) => self.take(event, folder, &mut progress).await,
                    Some(Err(problem)) => self.failed(&problem, folder, &mut progress).await,
                };
                match went_on {
                    Ok(ControlFlow::Continue(())) => {}
                    // From the list again.
                    Ok(ControlFlow::Break(())) => break,
                    Err(Closed) => return,
                }
            }
        }
    }

    /// The client, but that a watch was begun is noted: a kind that goes on without a change gives no event that says so.
    fn noting_client(&self, begun: &Begun) -> Client {
        let (client, watches, id) = (self.client.clone(), self.watches.clone(), self.id);
        let begun = begun.clone();
        let namespace = client.default_namespace().to_owned();
        let noting = move |request: Request<Body>| {
            let (client, watches, begun) = (client.clone(), watches.clone(), begun.clone());
            async move {
                let begins =
                    request.uri().query().is_some_and(|q| q.split('&').any(|p| p.starts_with("watch=")));
                let response = client.send(request).await?;
                if begins && response.status().is_success() {
                    begun.note();
                    watches.resumed(id);
                }
                Ok::<_, Error>(response)
            }
        };
        Client::new(tower::service_fn(noting), namespace)
    }

    fn config(&self) -> watcher::Config {
        let selector = |text: &str| Some(text).filter(|t| !t.is_empty()).map(str::to_owned);
        watcher::Config {
            label_selector: selector(&self.watch.labels),
            field_selector: selector(&self.watch.fields),
            timeout: Some(WATCH_SECONDS),
            ..watcher::Config::default()
        }
    }

    async fn take<const METADATA_ONLY: bool>(
        &self,
        event: Event<Raw<METADATA_ONLY>>,
        folder: &mut Folder,
        progress: &mut Progress,
    ) -> Result<ControlFlow<()>, Closed> {
        match event {
            // It says nothing of the API server yet, which is asked next.
            Event::Init => {
                folder.list_begins(Instant::now());
                return Ok(ControlFlow::Continue(()));
            }
            Event::InitApply(object) => folder.listed(object.value()),
            Event::InitDone => {
                let changes = folder.list_ends();
                if progress.knows_all() || !changes.is_empty() {
                    self.tell(changes, progress).await?;
                }
                self.watches.set(self.id, Standing::Synced);
            }
            Event::Apply(object) => {
                self.watches.set(self.id, Standing::Synced);
                if let Some(changed) = object.changed {
                    self.watches.told(self.id, since(changed));
                }
                let changes: Vec<Folded> = folder.applied(object.value()).into_iter().collect();
                if !changes.is_empty() {
                    self.tell(changes, progress).await?;
                }
            }
            Event::Delete(object) => {
                self.watches.set(self.id, Standing::Synced);
                let changes: Vec<Folded> = folder.deleted(&object.value()).into_iter().collect();
                if !changes.is_empty() {
                    self.tell(changes, progress).await?;
                }
            }
        }
        progress.worked();
        Ok(ControlFlow::Continue(()))
    }

    async fn failed(
        &self,
        problem: &watcher::Error,
        folder: &mut Folder,
        progress: &mut Progress,
    ) -> Result<ControlFlow<()>, Closed> {
        let failure = Failure::of(problem);
        progress.failed(&failure, Instant::now());
        let mut again = ControlFlow::Continue(());
        let pause = match failure {
            // The place to go on from is forgotten: that is how watches work.
            Failure::Expired => {
                again = ControlFlow::Break(());
                progress.pause()
            }
            Failure::NotServed => {
                let since = *progress.not_served.get_or_insert_with(Instant::now);
                if folder.len() == 0 || since.elapsed() >= self.not_served.after {
                    let changes = folder.clear();
                    if progress.knows_all() || !changes.is_empty() {
                        self.tell(changes, progress).await?;
                    }
                    self.watches.set(self.id, Standing::NotServed);
                    again = ControlFlow::Break(());
                }
                self.not_served.pause
            }
            Failure::Forbidden(why) => {
                self.watches.set(self.id, Standing::Forbidden(why));
                PAUSE.1
            }
            Failure::Interrupted(why) => {
                progress.failures = progress.failures.saturating_add(1);
                // A watch is closed now and then, with an error or without: that is told only when going on fails too.
                if progress.failures > 1 {
                    self.watches.set(self.id, Standing::Failing(why));
                }
                progress.pause()
            }
            Failure::Refused(why) => {
                self.watches.set(self.id, Standing::Failing(why));
                progress.refusals = progress.refusals.saturating_add(1);
                if progress.refusals >= REFUSALS {
                    progress.refusals = 0;
                    again = ControlFlow::Break(());
                }
                progress.pause()
            }
        };
        tokio::time::sleep(pause).await;
        Ok(again)
    }

    async fn tell(&self, changes: Vec<Folded>, progress: &Progress) -> Result<(), Closed> {
        let told = Told { id: self.id, noticed: Instant::now(), changes, lists: progress.lists };
        self.out.send(told).await.map_err(|_| Closed)
    }
}

/// How long ago that was, by the clock of this machine; none where that clock is behind the API server's.
fn since(changed: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(changed)).unwrap_or_default()
}

/// Nobody listens any more.
struct Closed;

/// When a watch was first begun since the last failure, if one was.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<Option<Instant>>>);

impl Begun {
    fn note(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }

    fn take(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How it went so far.
#[derive(Default)]
struct Progress {
    /// How many lists had been asked for when the present one began.
    lists: u64,
    /// The same of the last one that was complete.
    complete: Option<u64>,
    begun: Begun,
    /// How many failures in a row.
    failures: u32,
    refusals: u32,
    not_served: Option<Instant>,
    pause: Option<Duration>,
}

impl Progress {
    fn worked(&mut self) {
        *self = Progress {
            lists: self.lists,
            complete: self.complete,
            begun: self.begun.clone(),
            ..Progress::default()
        };
    }

    /// All there is is known; whether somebody waits for that.
    fn knows_all(&mut self) -> bool {
        self.complete.replace(self.lists) != Some(self.lists)
    }

    /// It has failed so. What comes before counts only where this is of the same kind: objects of which none changes give no
    /// event when they can be watched again.
    fn failed(&mut self, failure: &Failure, now: Instant) {
        let begun = self.begun.take();
        // One that is begun and fails at once, again and again, hasn't worked: it would never pause, nor list again.
        if begun.is_some_and(|begun| now.saturating_duration_since(begun) >= PAUSE.1) {
            self.worked();
        }
        // Who watches a kind knows it; and who doesn't answer, or says something else, doesn't say that there is none.
        if begun.is_some() || *failure != Failure::NotServed {
            self.not_served = None;
        }
    }

    /// The next pause: each twice the last one, a quarter of it left to chance.
    fn pause(&mut self) -> Duration {
        let pause = self.pause.unwrap_or(PAUSE.0);
        self.pause = Some((pause * 2).min(PAUSE.1));
        pause.mul_f64(rand::random_range(0.75..=1.0))
    }
}

/// What kind of failure.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Expired,
    NotServed,
    Forbidden(String),
    /// The API server can't be reached.
    Interrupted(String),
    /// It can, and says no.
    Refused(String),
}

impl Failure {
    fn of(problem: &watcher::Error) -> Failure {
        let said = |status: &Status| match status.code {
            410 => Failure::Expired,
            404 => Failure::NotServed,
            401 | 403 => Failure::Forbidden(words(status)),
            code => Failure::Refused(format!("{} ({code})", words(status))),
        };
        match problem {
            watcher::Error::WatchError(status) => said(status),
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => match error {
                Error::Api(status) => said(status),
                other => Failure::Interrupted(reason(other)),
            },
            watcher::Error::NoResourceVersion => Failure::Refused(problem.to_string()),
        }
    }
}

fn words(status: &Status) -> String {
    if status.message.is_empty() { status.reason.clone() } else { status.message.clone() }
}

/// The innermost cause, which is the one that says something.
pub(super) fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAY: fn() -> Failure = || Failure::Interrupted("away".into());

    /// One that has failed a while ago, and was begun again that long before `now`.
    fn begun_again(before: Duration, now: Instant) -> Progress {
        let mut progress = Progress { complete: Some(0), failures: 1, refusals: 3, ..Progress::default() };
        progress.not_served = Some(now);
        progress.pause = Some(PAUSE.1);
        *progress.begun.0.lock().unwrap() = now.checked_sub(before);
        progress
    }

    #[test]
    fn after_a_watch_has_stood_a_failure_is_the_first_one() {
        let now = Instant::now();
        let mut progress = begun_again(PAUSE.1, now);
        progress.failed(&AWAY(), now);
        assert_eq!(progress.complete, Some(0));
        assert_eq!((progress.failures, progress.refusals, progress.not_served), (0, 0, None));
        assert!(progress.pause() <= PAUSE.0);
        // It counts once.
        progress.failures = 1;
        progress.failed(&AWAY(), now);
        assert_eq!(progress.failures, 1);
    }

    #[test]
    fn a_watch_that_is_begun_and_fails_at_once_pauses_longer_and_lists_again_in_the_end() {
        let now = Instant::now();
        let mut progress = begun_again(Duration::from_millis(10), now);
        progress.failed(&Failure::Refused("no".into()), now);
        assert_eq!((progress.failures, progress.refusals), (1, 3));
        assert!(progress.pause() > PAUSE.1 / 2);
    }

    #[test]
    fn a_kind_is_unknown_for_as_long_as_nothing_else_is_said() {
        let now = Instant::now();
        let mut progress = Progress { not_served: Some(now), ..Progress::default() };
        progress.failed(&Failure::NotServed, now);
        assert_eq!(progress.not_served, Some(now));
        progress.failed(&AWAY(), now);
        assert_eq!(progress.not_served, None);
        let mut progress = begun_again(Duration::ZERO, now);
        progress.failed(&Failure::NotServed, now);
        assert_eq!(progress.not_served, None);
    }
}
