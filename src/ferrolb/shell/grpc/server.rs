//! The gRPC service, and the task that serves it.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tracing::{error, info};

use super::api::introspection_server::{Introspection, IntrospectionServer};
use super::api::watch_event::Change;
use super::api::{
    ExplainRequest, ExplainResponse, FailedCheck, GetStatusRequest, GetStatusResponse, SnapshotEnd,
    WatchEvent, WatchRequest,
};
use super::convert;
use super::desk::{Explained, Inquirer, event};
use super::socket::{self, Listener, SocketFile};
use crate::shell::bgp::{SessionStatus, WireObserver};
use crate::shell::layer2::{AddressStatus, Layer2Observer};
use crate::shell::telemetry::health::Health;

/// How long the main loop and the wire thread may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nobody is accepted after the system refused to, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);
/// How many questions one connection may have open.
const CONCURRENCY: usize = 16;
/// How many services are explained at a time: each takes a processor, and what the engine changes meanwhile is copied.
const EXPLANATIONS: usize = 1;
/// How long until a socket that couldn't be bound is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What a role says of itself, and whom it lets be asked.
#[derive(Clone)]
pub struct About {
    /// Its name, such as `standalone`.
    pub role: &'static str,
    /// The node that it announces for.
    pub node: String,
    /// Its main loop.
    pub desk: Inquirer,
    /// Its wire thread; `None`: a role without sessions.
    pub wire: Option<WireObserver>,
    /// Its layer2 thread; `None`: a role without layer 2.
    pub layer2: Option<Layer2Observer>,
    /// What can't be bound; it is told of the socket too.
    pub health: Health,
}

/// A running server; it ends, and its socket goes, when this is dropped.
pub struct Serving {
    _task: AbortOnDropHandle<()>,
    _file: SocketFile,
}

/// Serves at a Unix socket, with mode 0660.
///
/// # Errors
/// One sentence why the socket can't be bound.
pub fn serve(path: &Path, about: About) -> Result<Serving, String> {
    let Listener { listener, file } = socket::listen(path)?;
    let connections = stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => return Some((Ok::<UnixStream, std::io::Error>(connection), listener)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    let service = Service {
        about,
        started: Instant::now(),
        started_at: Timestamp::now(),
        explaining: Arc::new(Semaphore::new(EXPLANATIONS)),
    };
    let server = Server::builder()
        .concurrency_limit_per_connection(CONCURRENCY)
        .add_service(IntrospectionServer::new(service))
        .serve_with_incoming(connections);
    let task = tokio::spawn(async move {
        if let Err(e) = server.await {
            error!(event = "socketNotServed", error = %e, "nobody can look in any more; announcing goes on");
        }
    });
    Ok(Serving { _task: AbortOnDropHandle::new(task), _file: file })
}

/// Serves at a Unix socket until this is dropped. A socket that can't be bound is an error in the log and a red check, and is
/// tried again; whoever calls this goes on in any case.
pub fn keep_serving(path: PathBuf, about: About) -> AbortOnDropHandle<()> {
    serve_retrying(path, about, RETRY)
}

pub(super) fn serve_retrying(path: PathBuf, about: About, pause: Duration) -> AbortOnDropHandle<()> {
    let mut attempt = serve(&path, about.clone());
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut told = false;
        let _serving = loop {
            match attempt {
                Ok(serving) => break serving,
                Err(why) => {
                    if !told {
                        error!(event = "socketNotBound", error = %why, "nobody can look in; announcing goes on");
                    }
                    told = true;
                    about.health.not_bound("socket", why);
                    tokio::time::sleep(pause).await;
                    attempt = serve(&path, about.clone());
                }
            }
        };
        about.health.bound("socket");
        info!(event = "socketBound", path = %path.display(), "status, explain and watch are answered here");
        std::future::pending().await
    }))
}

struct Service {
    about: About,
    started: Instant,
    started_at: Timestamp,
    explaining: Arc<Semaphore>,
}

impl Service {
    async fn sessions(&self, routes: bool) -> Result<Vec<SessionStatus>, Status> {
        let Some(wire) = &self.about.wire else { return Ok(vec![]) };
        let sessions = within("the thread of the BGP sessions", wire.sessions(routes)).await?;
        sessions.map_err(|e| Status::unavailable(e.to_string()))
    }

    async fn layer2(&self) -> Result<Vec<AddressStatus>, Status> {
        let Some(layer2) = &self.about.layer2 else { return Ok(vec![]) };
        let addresses = within("the thread of layer 2", layer2.addresses()).await?;
        addresses.map_err(|e| Status::unavailable(e.to_string()))
    }
}

#[tonic::async_trait]
impl Introspection for Service {
    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let GetStatusRequest { routes, peer } = request.into_inner();
        let standing = within("the main loop", self.about.desk.standing()).await??;
        let config = standing.engine.config();
        let failed = self.about.health.not_bound_now();
        let mut sessions = self.sessions(routes).await?;
        if !peer.is_empty() {
            sessions.retain(|s| *s.peer == *peer);
            if sessions.is_empty() {
                return Err(Status::not_found(format!("there is no session with a BGPPeer {peer:?}")));
            }
        }
        let layer2 = self.layer2().await?;
        let now = Instant::now();
        Ok(Response::new(GetStatusResponse {
            role: self.about.role.to_owned(),
            node: self.about.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.started_at.as_millisecond(),
            uptime_ms: i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX),
            sessions: sessions
                .iter()
                .map(|s| convert::session(s, config.peer(&s.peer), routes, now))
                .collect(),
            allocations: standing.allocations(),
            errors: config.errors.iter().map(convert::issue).collect(),
            warnings: config.warnings.iter().map(convert::issue).collect(),
            manifest_errors: standing.manifest_errors.iter().cloned().collect(),
            standing_back_for: standing.standing_back_for.iter().cloned().collect(),
            layer2_addresses: layer2.iter().map(convert::layer2_address).collect(),
            failed_checks: failed
                .into_iter()
                .map(|(name, why)| FailedCheck { name: name.to_owned(), why })
                .collect(),
        }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let request = request.into_inner();
        let peer = request.peer.clone();
        // The main loop gives a snapshot away and goes on: trying remedies takes its time.
        let _turn = self.explaining.acquire().await.map_err(|_| Status::unavailable("the role is ending"))?;
        let standing = within("the main loop", self.about.desk.standing()).await??;
        let explained = tokio::task::spawn_blocking(move || standing.explain(&request)).await;
        let Explained { json, text, fine, own } =
            explained.map_err(|e| Status::internal(format!("can't explain: {e}")))??;
        let (mut sent, mut answered) = (vec![], vec![]);
        if let Some(ips) = own {
            let sessions = self.sessions(true).await?;
            let asked = sessions.iter().filter(|s| peer.is_empty() || *s.peer == *peer);
            sent = asked.map(|s| convert::sent(s, &ips)).collect();
            let layer2 = if peer.is_empty() { self.layer2().await? } else { vec![] };
            let of_service = layer2.iter().filter(|status| ips.contains(&status.address));
            answered = of_service.map(convert::layer2_address).collect();
        }
        Ok(Response::new(ExplainResponse { json, text, fine, sent, answered }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchEvent, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let watch = within("the main loop", self.about.desk.watch()).await??;
        let sessions = self.sessions(false).await?;
        let sessions = sessions.iter().map(|s| event(convert::session_now(s), true));
        let end = event(Change::SnapshotEnd(SnapshotEnd {}), true);
        let snapshot: Vec<_> = sessions.chain(watch.before()).chain([end]).map(Ok).collect();
        let changes = stream::unfold(Some(watch.changes), |changes| async move {
            let mut changes = changes?;
            match changes.recv().await {
                Ok(change) => Some((Ok(change), Some(changes))),
                Err(RecvError::Lagged(missed)) => {
                    let message = format!("the reader was too slow and missed {missed} changes; watch again");
                    Some((Err(Status::resource_exhausted(message)), None))
                }
                Err(RecvError::Closed) => Some((Err(Status::unavailable("the role has ended")), None)),
            }
        });
        Ok(Response::new(Box::pin(stream::iter(snapshot).chain(changes))))
    }
}

/// An answer in time.
async fn within<T>(who: &str, answer: impl Future<Output = T>) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded(format!("{who} didn't answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, answer).await.map_err(late)
}
