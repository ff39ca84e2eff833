//! The gRPC service, and the task that serves it.

use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use tokio::net::UnixStream;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tracing::error;

use super::api::introspection_server::{Introspection, IntrospectionServer};
use super::api::watch_event::Change;
use super::api::{
    ExplainRequest, ExplainResponse, GetStatusRequest, GetStatusResponse, SnapshotEnd, WatchEvent,
    WatchRequest,
};
use super::convert;
use super::desk::{Explained, Inquirer, Standing, Watch, event};
use super::socket::{self, Listener, SocketFile};
use crate::shell::bgp::{SessionStatus, WireObserver};

/// How long the main loop and the wire thread may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nobody is accepted after the system refused to, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);
/// How many questions one connection may have open.
const CONCURRENCY: usize = 16;

/// What a role says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name, such as `standalone`.
    pub role: &'static str,
    /// The node that it announces for.
    pub node: String,
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
pub fn serve(
    path: &Path,
    about: About,
    desk: Inquirer,
    wire: impl Into<Option<WireObserver>>,
) -> Result<Serving, String> {
    let wire = wire.into();
    let Listener { listener, file } = socket::listen(path)?;
    let connections = stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => return Some((Ok::<UnixStream, std::io::Error>(connection), listener)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    let service = Service { about, started: Instant::now(), started_at: Timestamp::now(), desk, wire };
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

struct Service {
    about: About,
    started: Instant,
    started_at: Timestamp,
    desk: Inquirer,
    /// A role without sessions has none.
    wire: Option<WireObserver>,
}

impl Service {
    async fn sessions(&self, routes: bool) -> Result<Vec<SessionStatus>, Status> {
        let Some(wire) = &self.wire else { return Ok(vec![]) };
        let sessions = within("the thread of the BGP sessions", wire.sessions(routes)).await?;
        sessions.map_err(|e| Status::unavailable(e.to_string()))
    }
}

#[tonic::async_trait]
impl Introspection for Service {
    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let GetStatusRequest { routes, peer } = request.into_inner();
        let Standing { config, allocations, manifest_errors } =
            within("the main loop", self.desk.status()).await??;
        let mut sessions = self.sessions(routes).await?;
        if !peer.is_empty() {
            sessions.retain(|s| *s.peer == *peer);
            if sessions.is_empty() {
                return Err(Status::not_found(format!("there is no session with a BGPPeer {peer:?}")));
            }
        }
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
            allocations: allocations.iter().map(|(key, a)| convert::allocation(key, a)).collect(),
            errors: config.errors.iter().map(convert::issue).collect(),
            warnings: config.warnings.iter().map(convert::issue).collect(),
            manifest_errors,
        }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let request = request.into_inner();
        let peer = request.peer.clone();
        let Explained { json, text, fine, own } =
            within("the main loop", self.desk.explain(request)).await??;
        let sent = match own {
            None => vec![],
            Some(ips) => {
                let sessions = self.sessions(true).await?;
                let asked = sessions.iter().filter(|s| peer.is_empty() || *s.peer == *peer);
                asked.map(|s| convert::sent(s, &ips)).collect()
            }
        };
        Ok(Response::new(ExplainResponse { json, text, fine, sent }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchEvent, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let Watch { before, changes } = within("the main loop", self.desk.watch()).await??;
        let sessions = self.sessions(false).await?;
        let sessions = sessions.iter().map(|s| event(convert::session_now(s), true));
        let end = event(Change::SnapshotEnd(SnapshotEnd {}), true);
        let snapshot: Vec<_> = sessions.chain(before).chain([end]).map(Ok).collect();
        let changes = stream::unfold(Some(changes), |changes| async move {
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
