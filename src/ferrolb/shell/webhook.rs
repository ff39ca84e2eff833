//! The validating webhook: HTTPS for the API server. A connection costs little: there are few at a time, a request has little
//! time and a bounded size. Anybody may connect, so that nobody keeps others out: where all places are taken, the connection that
//! has been idle for longest gives its own up. What is answered is [`admission`](ferrolb_core::admission)'s.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

/// What connections are held to.
#[derive(Clone, Copy)]
struct Limits {
    /// How many are served at a time. Each API server keeps a few.
    connections: usize,
    /// How long after a connection is there its first request's header must be, and after a request's header its body.
    opening: Duration,
    /// How long a connection may be kept without a request.
    idle: Duration,
    /// How long one that is closed may take to read what it was answered.
    closing: Duration,
}

const LIMITS: Limits = Limits {
    connections: 32,
    opening: Duration::from_secs(5),
    idle: Duration::from_secs(600),
    closing: Duration::from_secs(1),
};

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
    serve_within(LIMITS, listener, acceptor, reviewer).await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    reviewer: impl Reviewer,
) -> Infallible {
    let places = Arc::new(Places::new(limits));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let Some(place) = places.take().await else { continue };
                let (places, acceptor, reviewer) = (places.clone(), acceptor.clone(), reviewer.clone());
                connections.spawn(async move {
                    connection(stream, &places, acceptor, reviewer).await;
                    drop(place);
                });
            }
            // The client has gone already.
            Err(problem) if problem.kind() == io::ErrorKind::ConnectionAborted => {}
            // The process is out of descriptors: it passes.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The places that connections have, and who gives one up.
struct Places {
    limits: Limits,
    free: Arc<Semaphore>,
    /// A permit for whoever is to give its place up. Idle connections wait for one, and get it in the order in which they began.
    wanted: Semaphore,
}

impl Places {
    fn new(limits: Limits) -> Places {
        Places { limits, free: Arc::new(Semaphore::new(limits.connections)), wanted: Semaphore::new(0) }
    }

    /// A place, for which the longest idle connection is closed where none is free; where none is idle, the next that is.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.free.clone().try_acquire_owned() {
            return Some(place);
        }
        self.wanted.add_permits(1);
        let place = self.free.clone().acquire_owned().await;
        // It may come from one that ended by itself.
        self.wanted.forget_permits(1);
        place.ok()
    }

    /// Whether somebody waits for a place and nobody is idle, who would have given one up.
    fn are_wanted(&self) -> bool {
        self.wanted.available_permits() > 0
    }

    /// Comes when a connection is to end: it has been idle for too long, or its place is wanted. `busy`: whether it has a request;
    /// until the first one it has less time.
    async fn end(&self, busy: &watch::Sender<bool>) {
        let mut changes = busy.subscribe();
        let mut until = Instant::now() + self.limits.opening;
        loop {
            let idle = !*changes.borrow_and_update();
            tokio::select! {
                biased;
                // A request goes first. After it one stands in line anew, also where it is over already.
                _ = changes.changed() => until = Instant::now() + self.limits.idle,
                () = sleep_until(until), if idle => return,
                permit = self.wanted.acquire(), if idle => {
                    if let Ok(permit) = permit {
                        permit.forget();
                    }
                    return;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, places: &Places, acceptor: TlsAcceptor, reviewer: impl Reviewer) {
    let (busy, _) = watch::channel(false);
    let mut end = pin!(places.end(&busy));
    // What goes wrong with a client is its affair: the API server says so where it asked in vain.
    let stream = tokio::select! {
        biased;
        accepted = acceptor.accept(stream) => match accepted {
            Ok(stream) => stream,
            Err(_) => return,
        },
        () = &mut end => return,
    };
    let service = service_fn(|request: Request<Incoming>| {
        busy.send_replace(true);
        let (reviewer, busy) = (reviewer.clone(), &busy);
        async move {
            let mut response = answer(request, reviewer, places.limits.opening).await;
            // Who sends the next request before this one is answered wouldn't be seen idle.
            if places.are_wanted() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            busy.send_replace(false);
            Ok::<_, Infallible>(response)
        }
    });
    // `end` knows of the times: hyper has one for all headers, and takes it for that of idling too.
    let mut served =
        pin!(http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        _ = &mut served => return,
        () = &mut end => {}
    }
    // Nothing is under way but, at most, what was answered last.
    served.as_mut().graceful_shutdown();
    let _ = timeout(places.limits.closing, served).await;
}

async fn answer(
    request: Request<Incoming>,
    reviewer: impl Reviewer,
    body_within: Duration,
) -> Response<Full<Bytes>> {
    if !PATHS.contains(&request.uri().path()) {
        return plain(StatusCode::NOT_FOUND, "nothing is validated here");
    }
    if *request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "reviews are POSTed");
    }
    let body = Limited::new(request.into_body(), LARGEST).collect();
    let body = match timeout(body_within, body).await {
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use jiff::Timestamp;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::{TlsConnector, rustls};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::shell::tls::certs::{Bundle, provider};
    use crate::shell::tls::{Offered, Served};

    const NAME: &str = "webhook.m.svc";
    /// Longer than any test, and shorter, with room for a busy machine between it and what is measured.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_secs(1);
    /// When a test has failed.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Says yes: at once, or when there is a permit.
    #[derive(Clone)]
    struct Yes {
        begun: Arc<Semaphore>,
        go: Arc<Semaphore>,
    }

    impl Reviewer for Yes {
        async fn review(&self, _: Value) -> Result<Value, String> {
            self.begun.add_permits(1);
            let _go = self.go.acquire().await.unwrap();
            Ok(json!({"said": "yes"}))
        }
    }

    struct Server {
        address: SocketAddr,
        connector: TlsConnector,
        begun: Arc<Semaphore>,
        go: Arc<Semaphore>,
        _serving: AbortOnDropHandle<Infallible>,
    }

    impl Server {
        async fn start(limits: Limits) -> Server {
            let bundle = Bundle::generate(NAME, Timestamp::now(), &Bundle::default()).unwrap();
            let served = Arc::new(Served::default());
            served.put(&bundle).unwrap();
            let acceptor = Offered::new(false, "", "").unwrap().0.acceptor(served).unwrap();
            let mut roots = RootCertStore::empty();
            for ca in CertificateDer::pem_slice_iter(bundle.cas()) {
                roots.add(ca.unwrap()).unwrap();
            }
            let config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (begun, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(1)));
            let reviewer = Yes { begun: begun.clone(), go: go.clone() };
            let serving = tokio::spawn(serve_within(limits, listener, acceptor, reviewer));
            Server {
                address,
                connector: TlsConnector::from(Arc::new(config)),
                begun,
                go,
                _serving: AbortOnDropHandle::new(serving),
            }
        }

        async fn connect(&self) -> Client {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let connecting = self.connector.connect(ServerName::try_from(NAME).unwrap(), stream);
            Client(timeout(PATIENCE, connecting).await.expect("no handshake").unwrap())
        }
    }

    struct Client(TlsStream<TcpStream>);

    impl Client {
        async fn send(&mut self, text: &str) {
            self.0.write_all(text.as_bytes()).await.unwrap();
        }

        async fn post(&mut self) {
            self.send(&format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}", PATHS[3]))
                .await;
        }

        async fn answer(&mut self) -> String {
            let mut text = String::new();
            while !text.ends_with(r#"{"said":"yes"}"#) {
                let mut octets = [0; 1024];
                let read = timeout(PATIENCE, self.0.read(&mut octets)).await.expect("no answer").unwrap();
                assert_ne!(read, 0, "closed after {text:?}");
                text.push_str(std::str::from_utf8(&octets[..read]).unwrap());
            }
            text
        }

        async fn ask(&mut self) -> String {
            self.post().await;
            self.answer().await
        }

        /// Comes when the server has closed the connection, with an alert or without.
        async fn closed(&mut self) {
            let read = timeout(PATIENCE, self.0.read(&mut [0])).await.expect("it is still open");
            assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        }
    }

    const QUIET: Limits = Limits { connections: 2, opening: LONG, idle: LONG, closing: LONG };

    #[tokio::test]
    async fn the_first_header_must_come_soon_and_later_ones_neednt() {
        let limits = Limits { connections: 8, opening: SHORT, closing: SHORT, ..QUIET };
        let server = Server::start(limits).await;
        let mut kept = server.connect().await;
        kept.ask().await;
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        let mut nothing = server.connect().await;
        let mut half = server.connect().await;
        half.send("POST / HTTP/1.1\r\n").await;
        let read = timeout(PATIENCE, silent.read(&mut [0])).await.expect("it is still open");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        nothing.closed().await;
        half.closed().await;
        // The other has been idle for as long.
        kept.ask().await;
    }

    #[tokio::test]
    async fn a_kept_connection_ends_when_it_has_been_idle_for_too_long() {
        let server = Server::start(Limits { idle: SHORT, ..QUIET }).await;
        let mut kept = server.connect().await;
        kept.ask().await;
        kept.closed().await;
    }

    #[tokio::test]
    async fn connections_without_a_request_keep_nobody_out() {
        let server = Server::start(QUIET).await;
        let _silent = TcpStream::connect(server.address).await.unwrap();
        let _nothing = server.connect().await;
        let _more = [server.connect().await, server.connect().await];
        server.connect().await.ask().await;
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room() {
        let server = Server::start(QUIET).await;
        let (mut first, mut second) = (server.connect().await, server.connect().await);
        first.ask().await;
        second.ask().await;
        // The first to come isn't the longest idle any more.
        first.ask().await;
        let mut third = server.connect().await;
        third.ask().await;
        second.closed().await;
        first.ask().await;
        third.ask().await;
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_before_its_place_is_given_up() {
        let server = Server::start(Limits { connections: 1, ..QUIET }).await;
        let hold = server.go.clone().acquire_owned().await.unwrap();
        let mut first = server.connect().await;
        first.post().await;
        server.begun.acquire().await.unwrap().forget();
        let mut second = None;
        let coming = async { second = Some(server.connect().await) };
        let answered = async {
            // Until the server has accepted the other one, and wants the place.
            sleep(SHORT).await;
            // The client doesn't wait for its answer, so that it is never idle.
            first.post().await;
            drop(hold);
            let answer = first.answer().await;
            assert!(answer.contains("connection: close"), "{answer}");
            first.closed().await;
        };
        tokio::join!(coming, answered);
        second.unwrap().ask().await;
    }
}
