//! `/metrics`, `/healthz` and `/readyz`: over plain HTTP for whoever can reach the port, or over HTTPS for those whom a
//! [`Gate`] lets in.
//!
//! Nothing that a client does costs more than its connection: there are few at a time, each serves one request, has little time
//! for it and a small buffer, and nothing is ever read from a request's body. A port that can't be bound is logged, shown
//! by the readiness check of whoever else can be asked, and tried again; the announcing goes on.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{error, info};

use super::gate::{Gate, Refusal};
use super::health::{Health, Report};
use super::metrics::Metrics;
use crate::shell::tls::{Offered, Origin, Served};

/// How many connections are served at a time; others wait to be accepted.
const CONNECTIONS: usize = 8;
/// How long a TLS handshake may take, and then a request's header.
const HEADER: Duration = Duration::from_secs(3);
/// How long a connection may last: the slowest check and a slow reader of a long answer.
const CONNECTION: Duration = Duration::from_secs(15);
/// The first octet of whoever begins a TLS handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// The largest header, in octets, and how many fields it may have.
const BUFFER: usize = 16 << 10;
const FIELDS: usize = 64;
/// How long until a port that couldn't be bound is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Where to serve; `None`: nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress(pub Option<SocketAddr>);

impl FromStr for BindAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<BindAddress, String> {
        if text.is_empty() || text == "off" {
            return Ok(BindAddress(None));
        }
        let wrong = |_| "give an address and a port, as 127.0.0.1:7472 or [::1]:7472, or off".to_owned();
        text.parse().map(|address| BindAddress(Some(address))).map_err(wrong)
    }
}

/// What is served.
#[derive(Clone)]
pub struct Pages {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/healthz` and `/readyz`, and told where the port can't be bound.
    pub health: Health,
}

/// Which of the pages a port has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All of them.
    All,
    /// `/metrics`.
    Metrics,
    /// `/healthz` and `/readyz`.
    Checks,
}

impl Shown {
    fn has(self, path: &str) -> bool {
        match path {
            "/metrics" => self != Shown::Checks,
            "/healthz" | "/readyz" => self != Shown::Metrics,
            _ => false,
        }
    }

    fn list(self) -> &'static str {
        match self {
            Shown::All => "there are /metrics, /healthz and /readyz\n",
            Shown::Metrics => "there is /metrics\n",
            Shown::Checks => "there are /healthz and /readyz\n",
        }
    }
}

/// HTTPS, for those whom the gate lets in.
#[derive(Clone)]
pub struct Secured {
    acceptor: TlsAcceptor,
    certificate: Arc<Served>,
    origin: Origin,
    gate: Arc<Gate>,
}

impl Secured {
    /// With a certificate from there.
    ///
    /// # Errors
    /// One sentence: TLS can't be so.
    pub fn new(offered: &Offered, origin: Origin, gate: Gate) -> Result<Secured, String> {
        let certificate = Arc::new(Served::default());
        let acceptor = offered.acceptor(certificate.clone())?;
        Ok(Secured { acceptor, certificate, origin, gate: Arc::new(gate) })
    }
}

/// Where pages are served, and by what name that goes.
#[derive(Clone)]
pub struct Place {
    /// The name of the readiness check that fails where it can't be bound.
    pub name: &'static str,
    /// The flag that says where.
    pub flag: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Which.
    pub shown: Shown,
    /// Over HTTPS; `None`: over plain HTTP, and for everybody.
    pub secured: Option<Secured>,
}

/// The readiness check that fails where there is no certificate to use.
const CERTIFICATE: &str = "metrics-certificate";

/// Serves until it is dropped.
pub async fn serve(place: Place, pages: Pages) {
    let site = Site { pages: pages.clone(), shown: place.shown, secured: place.secured.clone() };
    let listening = async {
        let listener = listen(&place, &pages.health).await;
        info!(event = "metricsBound", address = %place.address, https = site.secured.is_some(), "serving {}", place.name);
        accept(listener, site).await;
    };
    let Some(Secured { certificate, origin, .. }) = &place.secured else { return listening.await };
    let told = |problem| match problem {
        Some(problem) => pages.health.not_bound(CERTIFICATE, problem),
        None => pages.health.bound(CERTIFICATE),
    };
    tokio::select! {
        () = listening => {}
        never = origin.keep(certificate, told) => match never {},
    }
}

/// The port, once it can be had.
async fn listen(place: &Place, health: &Health) -> TcpListener {
    let Place { name, flag, address, .. } = place;
    let mut told = false;
    loop {
        match bind(*address).await {
            Ok(listener) => {
                health.bound(name);
                return listener;
            }
            Err(problem) => {
                if !told {
                    error!(
                        event = "metricsNotBound",
                        %address,
                        error = %problem,
                        "no {name}: this address can't be listened on; {flag} gives another one, or none"
                    );
                }
                told = true;
                health.not_bound(name, format!("{address}: {problem}"));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Listens; on all addresses of both families where the kernel has them, else on those of IPv4.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(e) if address.ip() == Ipv6Addr::UNSPECIFIED && e.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

/// What connections to one port are served.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) pages: Pages,
    pub(super) shown: Shown,
    pub(super) secured: Option<Secured>,
}

/// Serves whoever connects to `listener`.
pub(super) async fn accept(listener: TcpListener, site: Site) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    // What is being served ends with the server.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, site.clone());
                connections.spawn(async move {
                    // What goes wrong here is the client's affair.
                    let _ = tokio::time::timeout(CONNECTION, connection).await;
                    drop(slot);
                });
            }
            // The client has gone already.
            Err(problem) if problem.kind() == io::ErrorKind::ConnectionAborted => {}
            // The process is out of descriptors: it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, site: Site) {
    let Some(secured) = &site.secured else { return exchange(stream, site).await };
    let opened = async {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1..) if first == [HANDSHAKE] => {
                let stream = secured.acceptor.accept(stream).await.ok()?;
                Some(Opened::Tls(Box::new(stream)))
            }
            Ok(1..) => Some(Opened::Plain(stream)),
            _ => None,
        }
    };
    match tokio::time::timeout(HEADER, opened).await {
        Ok(Some(Opened::Tls(stream))) => exchange(stream, site).await,
        Ok(Some(Opened::Plain(stream))) => {
            let told = "this port speaks HTTPS, and was asked over plain HTTP\n";
            exchange_with(stream, move |_| async move { plain(StatusCode::BAD_REQUEST, told.to_owned()) })
                .await;
        }
        _ => {}
    }
}

/// What a client of an HTTPS port has begun.
enum Opened {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, site: Site) {
    exchange_with(stream, move |request| {
        let site = site.clone();
        async move { site.answer(request).await }
    })
    .await;
}

/// One request and its answer.
async fn exchange_with<A: Future<Output = Response<String>>>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> A,
) {
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(BUFFER)
        .max_headers(FIELDS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // What goes wrong here is the client's affair.
    let _ = served.await;
}

impl Site {
    async fn answer(&self, request: Request<Incoming>) -> Response<String> {
        let (head, _body) = request.into_parts();
        let path = head.uri.path();
        if !self.shown.has(path) {
            return plain(StatusCode::NOT_FOUND, self.shown.list().to_owned());
        }
        if let Some(secured) = &self.secured
            && let Err(refusal) = secured.gate.admit(bearer(&head.headers)).await
        {
            return refused(&refusal);
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "this can only be read\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let health = &self.pages.health;
        match path {
            "/healthz" => check(&health.healthy().await),
            "/readyz" => check(&health.ready().await),
            _ => {
                let mut response = Response::new(self.pages.exposition().await);
                let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, text);
                response
            }
        }
    }
}

impl Pages {
    /// What `/metrics` says now.
    async fn exposition(&self) -> String {
        let (wire, layer2) = tokio::join!(self.health.ask_wire(), self.health.ask_layer2());
        let layer2 = layer2.and_then(Result::ok).unwrap_or_default();
        self.metrics.exposition(wire.as_ref(), &layer2, &self.health.watches())
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refused(refusal: &Refusal) -> Response<String> {
    let status = match refusal {
        Refusal::Unknown => StatusCode::UNAUTHORIZED,
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        Refusal::NotAsked(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = plain(status, format!("{refusal}\n"));
    if *refusal == Refusal::Unknown {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
fn check(report: &Report) -> Response<String> {
    let status = if report.is_good() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = plain(status, report.to_string());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn plain(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
