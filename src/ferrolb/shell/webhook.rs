//! The validating webhook: HTTPS for the API server. A connection costs little: there are few at a time, a request has little
//! time and a bounded size. What is answered is [`admission`](ferrolb_core::admission)'s.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How many connections are served at a time; others wait to be accepted. Each API server keeps a few.
const CONNECTIONS: usize = 32;
/// How long the handshake, and a request's header, may take.
const OPENING: Duration = Duration::from_secs(5);
/// How long a connection may last; API servers keep theirs, and open new ones.
const CONNECTION: Duration = Duration::from_secs(600);
/// The largest review: two objects of the greatest size that etcd takes.
const LARGEST: usize = 8 << 20;

/// The paths of MetalLB's webhook configuration. What is asked says itself which object it is about.
const PATHS: [&str; 6] = [
    "/validate-metallb-io-v1beta1-bfdprofile",
    "/validate-metallb-io-v1beta1-bgpadvertisement",
    "/validate-metallb-io-v1beta1-community",
    "/validate-metallb-io-v1beta1-ipaddresspool",
    "/validate-metallb-io-v1beta1-l2advertisement",
    "/validate-metallb-io-v1beta2-bgppeer",
];

/// Answers reviews.
pub trait Reviewer: Clone + Send + Sync + 'static {
    /// The answer to an AdmissionReview.
    ///
    /// # Errors
    /// Why it is none.
    fn review(&self, review: Value) -> impl Future<Output = Result<Value, String>> + Send;
}

/// Serves whoever connects to `listener`, until it is dropped.
pub async fn serve(listener: TcpListener, acceptor: TlsAcceptor, reviewer: impl Reviewer) -> Infallible {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().acquire_owned().await else { continue };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, reviewer) = (acceptor.clone(), reviewer.clone());
                connections.spawn(async move {
                    connection(stream, acceptor, reviewer).await;
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

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, reviewer: impl Reviewer) {
    // What goes wrong with a client is its affair: the API server says so where it asked in vain.
    let Ok(Ok(stream)) = tokio::time::timeout(OPENING, acceptor.accept(stream)).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let reviewer = reviewer.clone();
        async move { Ok::<_, Infallible>(answer(request, reviewer).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(CONNECTION, served).await;
}

async fn answer(request: Request<Incoming>, reviewer: impl Reviewer) -> Response<Full<Bytes>> {
    if !PATHS.contains(&request.uri().path()) {
        return plain(StatusCode::NOT_FOUND, "nothing is validated here");
    }
    if *request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "reviews are POSTed");
    }
    let body = Limited::new(request.into_body(), LARGEST).collect();
    let body = match tokio::time::timeout(OPENING, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(problem)) => {
            return plain(StatusCode::BAD_REQUEST, &format!("the review can't be read: {problem}"));
        }
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the review didn't come in time"),
    };
    let review: Value = match serde_json::from_slice(&body) {
        Ok(review) => review,
        Err(problem) => return plain(StatusCode::BAD_REQUEST, &format!("this is no JSON: {problem}")),
    };
    match reviewer.review(review).await {
        Ok(answer) => {
            let mut response = Response::new(Full::from(answer.to_string()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(problem) => plain(StatusCode::BAD_REQUEST, &format!("this is no AdmissionReview: {problem}")),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
}
