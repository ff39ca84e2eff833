//! `/metrics`, `/healthz` and `/readyz` over plain HTTP, for whoever can reach the port.
//!
//! Nothing that a client does costs more than its connection: there are few at a time, each serves one request, has little time
//! for it and a small buffer, and nothing is ever read from a request's body. A port that can't be bound is logged, shown
//! by the readiness check of whoever else can be asked, and tried again; the announcing goes on.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{error, info};

use super::health::{Health, Report};
use super::metrics::Metrics;

/// How many connections are served at a time; others wait to be accepted.
const CONNECTIONS: usize = 8;
/// How long a request's header may take.
const HEADER: Duration = Duration::from_secs(3);
/// How long a connection may last: the slowest check and a slow reader of a long answer.
const CONNECTION: Duration = Duration::from_secs(15);
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

/// Where pages are served, and by what name that goes.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The name of the readiness check that fails where it can't be bound.
    pub name: &'static str,
    /// The flag that says where.
    pub flag: &'static str,
    /// Where.
    pub address: SocketAddr,
}

/// Serves until it is dropped.
pub async fn serve(place: Place, pages: Pages) {
    let Place { name, flag, address } = place;
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
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
                pages.health.not_bound(name, format!("{address}: {problem}"));
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    pages.health.bound(name);
    info!(event = "metricsBound", %address, "serving {name}");
    accept(listener, pages).await;
}

/// Serves whoever connects to `listener`.
pub(super) async fn accept(listener: TcpListener, pages: Pages) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, pages.clone());
                tokio::spawn(async move {
                    connection.await;
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

async fn connection(stream: TcpStream, pages: Pages) {
    let service = service_fn(move |request: Request<Incoming>| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(pages.answer(request.method(), request.uri().path()).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(BUFFER)
        .max_headers(FIELDS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // What goes wrong here is the client's affair.
    let _ = tokio::time::timeout(CONNECTION, served).await;
}

impl Pages {
    async fn answer(&self, method: &Method, path: &str) -> Response<String> {
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".to_owned());
        }
        if *method != Method::GET && *method != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "this can only be read\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/healthz" => check(&self.health.healthy().await),
            "/readyz" => check(&self.health.ready().await),
            _ => {
                let (wire, layer2) = tokio::join!(self.health.ask_wire(), self.health.ask_layer2());
                let layer2 = layer2.and_then(Result::ok).unwrap_or_default();
                let mut response = Response::new(self.metrics.exposition(wire.as_ref(), &layer2));
                let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, text);
                response
            }
        }
    }
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
