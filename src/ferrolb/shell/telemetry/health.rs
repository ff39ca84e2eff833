//! Whether this process does its work: what `/healthz` and `/readyz` answer.
//!
//! Health asks the threads themselves, at the time of the question: the *wire* thread for its sessions, the *layer2* thread for
//! its addresses, the main loop for a sign of life. Before the start is done there is nothing to ask, and that is healthy, but not ready. Ready means
//! that the desired set was computed and handed to the wire thread; whether any router answers doesn't count, since a
//! router that is away must not take the process out of service.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::shell::bgp::{SessionStatus, WireEnded, WireObserver};
use crate::shell::kube::{WatchStatus, Watches};
use crate::shell::layer2::{AddressStatus, Layer2Ended, Layer2Observer};

/// How long the wire thread may take to answer.
pub const WIRE_LIMIT: Duration = Duration::from_secs(2);
/// How long the main loop may take to answer: it may be deciding about many thousands of services.
pub const MAIN_LIMIT: Duration = Duration::from_secs(5);

/// The wire thread, as far as it can be asked where it stands.
pub trait WireProbe: Send + Sync {
    /// The sessions, without their routes.
    fn sessions(&self) -> BoxFuture<'_, Result<Vec<SessionStatus>, WireEnded>>;
}

impl WireProbe for WireObserver {
    fn sessions(&self) -> BoxFuture<'_, Result<Vec<SessionStatus>, WireEnded>> {
        Box::pin(self.sessions(false))
    }
}

/// The layer2 thread, as far as it can be asked where it stands.
pub trait Layer2Probe: Send + Sync {
    /// The addresses that are answered for.
    fn addresses(&self) -> BoxFuture<'_, Result<Vec<AddressStatus>, Layer2Ended>>;
}

impl Layer2Probe for Layer2Observer {
    fn addresses(&self) -> BoxFuture<'_, Result<Vec<AddressStatus>, Layer2Ended>> {
        Box::pin(self.addresses())
    }
}

/// A question to the main loop whether it is alive; sending anything back is the answer.
pub type Ping = oneshot::Sender<()>;

/// What the wire thread had to say.
#[derive(Debug)]
pub enum WireAnswer {
    /// It answered.
    Sessions {
        /// Where the sessions stand.
        sessions: Vec<SessionStatus>,
        /// How long it took.
        after: Duration,
    },
    /// Nothing within [`WIRE_LIMIT`].
    Silent,
    /// It has ended.
    Ended,
}

/// Asks after everybody's health; cheap to clone.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    /// Set once the start is done; a role without sessions has no wire thread.
    wire: OnceLock<Option<Box<dyn WireProbe>>>,
    /// How a role that lives from Kubernetes is supplied.
    watches: OnceLock<Watches>,
    /// Set before the wire thread, where the role has layer 2.
    layer2: OnceLock<Box<dyn Layer2Probe>>,
    main: mpsc::Sender<Ping>,
    /// Sockets and ports for looking in that can't be bound, and why.
    unbound: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// Of a process that has just begun, and the questions that its main loop has to answer.
    pub fn new() -> (Health, mpsc::Receiver<Ping>) {
        let (main, pings) = mpsc::channel(8);
        let inner = Inner {
            wire: OnceLock::new(),
            watches: OnceLock::new(),
            layer2: OnceLock::new(),
            main,
            unbound: Mutex::default(),
        };
        (Health(Arc::new(inner)), pings)
    }

    /// The role has layer 2, and its desired set has been handed to this layer2 thread.
    pub fn answers(&self, layer2: impl Layer2Probe + 'static) {
        // A second layer2 thread isn't a thing.
        let _ = self.0.layer2.set(Box::new(layer2));
    }

    /// The desired set has been handed to this wire thread, and the main loop begins.
    pub fn started(&self, wire: impl WireProbe + 'static) {
        // A second wire thread isn't a thing.
        let _ = self.0.wire.set(Some(Box::new(wire)));
    }

    /// All objects were seen and everything was decided, in a role without a wire thread; the main loop begins.
    pub fn started_alone(&self) {
        let _ = self.0.wire.set(None);
    }

    /// Objects come from these watches: as long as any has nothing to give, the process isn't ready.
    pub fn supplied_by(&self, watches: Watches) {
        let _ = self.0.watches.set(watches);
    }

    /// How far behind each watch is, where objects come from any.
    pub fn watches(&self) -> Vec<WatchStatus> {
        self.0.watches.get().map(|watches| watches.status(Instant::now())).unwrap_or_default()
    }

    /// A socket or port for looking in can't be bound. The process goes on and isn't ready.
    pub fn not_bound(&self, what: &'static str, why: String) {
        self.unbound().insert(what, why);
    }

    /// It is bound after all.
    pub fn bound(&self, what: &'static str) {
        self.unbound().remove(what);
    }

    /// What can't be bound now, and why.
    pub fn not_bound_now(&self) -> BTreeMap<&'static str, String> {
        self.unbound().clone()
    }

    /// Asks the wire thread; `None`: it hasn't started.
    pub async fn ask_wire(&self) -> Option<WireAnswer> {
        let asked = Instant::now();
        let wire = self.0.wire.get()?.as_ref()?;
        Some(match timeout(WIRE_LIMIT, wire.sessions()).await {
            Ok(Ok(sessions)) => WireAnswer::Sessions { sessions, after: asked.elapsed() },
            Ok(Err(WireEnded)) => WireAnswer::Ended,
            Err(_) => WireAnswer::Silent,
        })
    }

    /// Asks the layer2 thread; `None`: it hasn't started.
    ///
    /// # Errors
    /// A sentence: it doesn't answer within [`WIRE_LIMIT`], or has ended.
    pub async fn ask_layer2(&self) -> Option<Result<Vec<AddressStatus>, String>> {
        let layer2 = self.0.layer2.get()?;
        Some(match timeout(WIRE_LIMIT, layer2.addresses()).await {
            Ok(answer) => answer.map_err(|ended| ended.to_string()),
            Err(_) => Err(format!("no answer from the layer2 thread for {} s", WIRE_LIMIT.as_secs())),
        })
    }

    /// Whether the process should be left running.
    pub async fn healthy(&self) -> Report {
        let (wire, layer2, main) = tokio::join!(self.ask_wire(), self.ask_layer2(), self.ask_main());
        let wire = match wire {
            Some(WireAnswer::Sessions { .. }) => Check::ok("wire"),
            Some(WireAnswer::Silent) => Check::failed(
                "wire",
                format!("no answer from the wire thread for {} s", WIRE_LIMIT.as_secs()),
            ),
            Some(WireAnswer::Ended) => Check::failed("wire", WireEnded.to_string()),
            None if self.0.wire.get().is_none() => return Report(vec![Check::ok("starting")]),
            None => Check::ok("wire"),
        };
        let main = if main {
            Check::ok("main")
        } else {
            Check::failed("main", format!("no answer from the main loop for {} s", MAIN_LIMIT.as_secs()))
        };
        let layer2 = layer2.map(|answer| match answer {
            Err(why) => Check::failed("layer2", why),
            Ok(_) => Check::ok("layer2"),
        });
        Report([Some(wire), layer2, Some(main)].into_iter().flatten().collect())
    }

    /// Whether the process announces what it should, and can be looked into.
    pub async fn ready(&self) -> Report {
        let mut missing = Vec::new();
        if let Some(watches) = self.0.watches.get() {
            missing = watches.missing();
        }
        let missing = missing.into_iter().map(|(kind, why)| Check::failed(kind.plural, why));
        if self.0.wire.get().is_none() {
            let why = "what to do is being decided; nothing is announced or written yet";
            let desired = Check::failed("desired-set", why.to_owned());
            return Report(std::iter::once(desired).chain(missing).collect());
        }
        let mut report = self.healthy().await;
        report.0.push(Check::ok("desired-set"));
        report.0.extend(missing);
        report.0.extend(self.unbound().iter().map(|(what, why)| Check::failed(what, why.clone())));
        report
    }

    async fn ask_main(&self) -> bool {
        if self.0.wire.get().is_none() {
            return true;
        }
        let (ping, answered) = oneshot::channel();
        let asked = async { self.0.main.send(ping).await.is_ok() && answered.await.is_ok() };
        timeout(MAIN_LIMIT, asked).await.unwrap_or(false)
    }

    fn unbound(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.unbound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What is wrong with it.
    pub failure: Option<String>,
}

impl Check {
    fn ok(name: &'static str) -> Check {
        Check { name, failure: None }
    }

    fn failed(name: &'static str, why: String) -> Check {
        Check { name, failure: Some(why) }
    }
}

/// All that was looked at; shown as one line a check, `ok NAME` or `failed NAME: why`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report(pub Vec<Check>);

impl Report {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.0.iter().all(|check| check.failure.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { name, failure } in &self.0 {
            match failure {
                None => writeln!(f, "ok {name}")?,
                Some(why) => writeln!(f, "failed {name}: {why}")?,
            }
        }
        Ok(())
    }
}
