//! A stand-in for an API server, for tests: lists, watches, creation and merge patches of JSON objects over plain HTTP on
//! loopback. It knows no schemas, defaults or permissions, and of selectors only that of a name; what the real one does with our requests the Kubernetes lab
//! shows.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The server.
pub struct Fake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    running: Option<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct State {
    version: u64,
    /// By the path of the object: `/api/v1/namespaces/default/services/web`.
    objects: BTreeMap<String, Value>,
    /// What happened, by version: the object's path, the type of event, the object.
    log: Vec<(u64, String, &'static str, Value)>,
    watchers: Vec<mpsc::UnboundedSender<(u64, String, &'static str, Value)>>,
    /// Statuses that paths under a prefix are answered with.
    refusals: BTreeMap<String, u16>,
    /// How often each of these was asked for.
    refused: BTreeMap<String, usize>,
    /// Whether there is too much to do for anything else.
    overloaded: bool,
    /// What isn't answered yet: prefixes as those, and how often each was asked for.
    held: BTreeMap<String, usize>,
    /// Watches that begin before this version are told that it is gone.
    forgotten: u64,
    writes: Vec<String>,
    /// By token: the account, and whether it may do whatever is asked.
    accounts: BTreeMap<String, (String, bool)>,
    /// What the last SubjectAccessReview asked.
    last_review: Option<Value>,
}

impl Fake {
    pub async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State { version: 1, ..State::default() }));
        let running = Some(serve(listener, state.clone()));
        Fake { address, state, running }
    }

    /// The server goes away, with all connections.
    pub fn stop(&mut self) {
        self.running = None;
        self.state().watchers.clear();
    }

    /// Every watch ends; it may be begun again.
    pub fn end_watches(&self) {
        self.state().watchers.clear();
    }

    /// It is back, at the same place.
    pub async fn resume(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.running = Some(serve(listener, self.state.clone()));
    }

    pub fn client(&self) -> Client {
        let mut config = Config::new(format!("http://{}", self.address).parse().expect("a URI"));
        config.default_retry = false;
        Client::try_from(config).expect("a client")
    }

    /// Where it is, for a kubeconfig.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The objects whose path begins so.
    pub fn objects(&self, prefix: &str) -> Vec<Value> {
        let state = self.state();
        state.objects.iter().filter(|(path, _)| path.starts_with(prefix)).map(|(_, o)| o.clone()).collect()
    }

    /// Creates or replaces an object at its path.
    pub fn put(&self, path: &str, object: Value) {
        self.state().put(path, object);
    }

    pub fn delete(&self, path: &str) {
        self.state().delete(path);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// A token, whose account it is, and whether that may do whatever is asked.
    pub fn account(&self, token: &str, user: &str, may: bool) {
        self.state().accounts.insert(token.to_owned(), (user.to_owned(), may));
    }

    /// What the last SubjectAccessReview asked.
    pub fn last_review(&self) -> Option<Value> {
        self.state().last_review.clone()
    }

    /// What was written by others so far, as `METHOD PATH`.
    pub fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }

    /// Paths that begin so are answered with this status; 200 ends that. What is selected by a field follows the path, after a
    /// question mark; a method before the path, and a space, are for that method alone.
    pub fn refuse(&self, prefix: &str, status: u16) {
        let mut state = self.state();
        if status == 200 {
            state.refusals.remove(prefix);
        } else {
            state.refusals.insert(prefix.to_owned(), status);
        }
    }

    /// How often that was refused so far.
    pub fn refused(&self, prefix: &str) -> usize {
        self.state().refused.get(prefix).copied().unwrap_or_default()
    }

    /// Whoever asks for anything is turned away, as by priority and fairness.
    pub fn overload(&self, overloaded: bool) {
        self.state().overloaded = overloaded;
    }

    /// Paths that begin so, as for [`refuse`](Self::refuse), aren't answered until they are [released](Self::release).
    pub fn hold(&self, prefix: &str) {
        self.state().held.insert(prefix.to_owned(), 0);
    }

    /// Whether anybody waits for an answer to what is held.
    pub fn is_awaited(&self, prefix: &str) -> bool {
        self.state().held.get(prefix).is_some_and(|asked| *asked > 0)
    }

    pub fn release(&self, prefix: &str) {
        self.state().held.remove(prefix);
    }

    /// What there is and how far its versions have come, for [`restore`](Fake::restore).
    pub fn backup(&self) -> (u64, BTreeMap<String, Value>) {
        let state = self.state();
        (state.version, state.objects.clone())
    }

    /// It has this again, and is stopped in between as it has to be.
    pub async fn restore(&mut self, (version, objects): (u64, BTreeMap<String, Value>)) {
        self.stop();
        {
            let mut state = self.state();
            (state.version, state.objects) = (version, objects);
            state.log.clear();
        }
        self.resume().await;
    }

    /// What happened so far can't be watched any more: whoever comes back has to list.
    pub fn forget(&self) {
        let mut state = self.state();
        state.version += 1;
        state.forgotten = state.version;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }
}

impl State {
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let known = self.objects.insert(path.to_owned(), object.clone());
        self.tell(path, if known.is_some() { "MODIFIED" } else { "ADDED" }, &object);
        object
    }

    fn delete(&mut self, path: &str) {
        if let Some(mut object) = self.objects.remove(path) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.tell(path, "DELETED", &object);
        }
    }

    fn tell(&mut self, path: &str, what: &'static str, object: &Value) {
        let event = (self.version, path.to_owned(), what, object.clone());
        self.log.push(event.clone());
        self.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
    }

    fn refusal(&mut self, asked: &str) -> Option<u16> {
        let (prefix, status) = self.refusals.iter().find(|(prefix, _)| is_of(asked, prefix))?;
        *self.refused.entry(prefix.clone()).or_default() += 1;
        Some(*status)
    }
}

fn serve(listener: TcpListener, state: Arc<Mutex<State>>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let state = state.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let state = state.clone();
                    async move { Ok::<_, Infallible>(answer(request, &state).await) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }))
}

/// Whether what is asked for, `METHOD PATH`, begins so, with the method or without.
fn is_of(asked: &str, prefix: &str) -> bool {
    asked.starts_with(prefix) || asked.split_once(' ').is_some_and(|(_, path)| path.starts_with(prefix))
}

/// Waits as long as this is held.
async fn released(state: &Mutex<State>, asked: &str) {
    let mut first = true;
    loop {
        {
            let mut state = state.lock().expect("no test panics with it");
            let held = state.held.iter_mut().find(|(prefix, _)| is_of(asked, prefix));
            let Some((_, count)) = held else { return };
            *count += usize::from(std::mem::take(&mut first));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let parameter = |name: &str| {
        query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let field = parameter("fieldSelector").unwrap_or_default().replace("%21", "!").replace("%3D", "=");
    let asked = format!("{} {path}?{field}", head.method);
    released(state, &asked).await;
    let mut state = state.lock().expect("no test panics with it");
    if state.overloaded {
        return with_status(429, "Too many requests, please try again later.\n".to_owned());
    }
    if let Some(code) = state.refusal(&asked) {
        return refusal(code);
    }
    if head.method != Method::GET {
        state.writes.push(format!("{} {path}", head.method));
    }
    match head.method {
        Method::GET if parameter("watch").is_some() => {
            let since = parameter("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
            watch(&mut state, &path, &field, since)
        }
        Method::GET if state.objects.contains_key(&path) => json_body(200, &state.objects[&path]),
        Method::GET => {
            let listed = state.objects.iter().filter(|(at, _)| within(at, &path) && selected(at, &field));
            let items: Vec<&Value> = listed.map(|(_, o)| o).collect();
            let version = state.version.to_string();
            json_body(200, &json!({ "metadata": { "resourceVersion": version }, "items": items }))
        }
        Method::POST if path.ends_with("reviews") => json_body(201, &review(&mut state, body)),
        Method::POST => {
            let mut body = body;
            let metadata = &mut body["metadata"];
            if let Some(prefix) = metadata["generateName"].as_str() {
                metadata["name"] = format!("{prefix}{}", state.version).into();
            }
            metadata["uid"] = format!("uid-{}", state.version).into();
            let path = format!("{path}/{}", metadata["name"].as_str().unwrap_or_default());
            if state.objects.contains_key(&path) {
                return refusal(409);
            }
            json_body(201, &state.put(&path, body))
        }
        Method::PATCH => {
            let path = path.strip_suffix("/status").unwrap_or(&path);
            let Some(mut object) = state.objects.get(path).cloned() else { return refusal(404) };
            let asked = body["metadata"]["resourceVersion"].as_str();
            if asked.is_some_and(|version| object["metadata"]["resourceVersion"] != version) {
                return refusal(409);
            }
            merge(&mut object, &body);
            json_body(200, &state.put(path, object))
        }
        Method::DELETE if state.objects.contains_key(&path) => {
            state.delete(&path);
            json_body(200, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
        }
        Method::DELETE => refusal(404),
        _ => refusal(405),
    }
}

/// A question, with its answer.
fn review(state: &mut State, mut question: Value) -> Value {
    let spec = question["spec"].clone();
    question["status"] = match spec["token"].as_str() {
        Some(token) => match state.accounts.get(token) {
            Some((user, _)) => json!({
                "authenticated": true,
                "user": {"username": user, "uid": "u", "groups": ["system:authenticated"]},
            }),
            None => json!({"error": "unknown"}),
        },
        None => {
            let may = state.accounts.values().any(|(user, may)| *may && spec["user"] == **user);
            state.last_review = Some(spec);
            json!({"allowed": may})
        }
    };
    question
}

/// Whether an object at `at` is in the collection at `collection`, of one namespace or of all.
fn within(at: &str, collection: &str) -> bool {
    let Some((parent, _)) = at.rsplit_once('/') else { return false };
    if parent == collection {
        return true;
    }
    let Some((start, rest)) = parent.split_once("/namespaces/") else { return false };
    rest.split_once('/').is_some_and(|(_, plural)| format!("{start}/{plural}") == collection)
}

/// Whether a field selector, of which only that of a name is known, selects the object at `at`.
fn selected(at: &str, field: &str) -> bool {
    let name = at.rsplit('/').next().unwrap_or_default();
    match field.strip_prefix("metadata.name") {
        Some(rest) => match rest.strip_prefix("!=") {
            Some(other) => name != other,
            None => rest.strip_prefix('=') == Some(name),
        },
        None => true,
    }
}

fn watch(state: &mut State, path: &str, field: &str, since: u64) -> Response<Body> {
    let (sender, receiver) = mpsc::unbounded_channel();
    if since < state.forgotten {
        let gone = status(410);
        let line = format!("{}\n", json!({ "type": "ERROR", "object": gone }));
        return stream(futures::stream::iter([line]).boxed());
    }
    if since > state.version {
        return refusal(504);
    }
    for event in state.log.iter().filter(|(version, ..)| *version > since) {
        let _ = sender.send(event.clone());
    }
    state.watchers.push(sender);
    let (path, field) = (path.to_owned(), field.to_owned());
    let events =
        futures::stream::unfold(
            receiver,
            |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
        );
    let lines = events.filter_map(move |(_, at, what, object)| {
        let within = within(&at, &path) && selected(&at, &field);
        let line = within.then(|| format!("{}\n", json!({ "type": what, "object": object })));
        async { line }
    });
    stream(lines.boxed())
}

fn stream(lines: futures::stream::BoxStream<'static, String>) -> Response<Body> {
    let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(Bytes::from(line))));
    Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)))
}

fn status(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "Refused", "message": format!("the stand-in says {code}"),
    })
}

fn refusal(code: u16) -> Response<Body> {
    json_body(code, &status(code))
}

fn json_body(code: u16, value: &Value) -> Response<Body> {
    with_status(code, value.to_string())
}

fn with_status(code: u16, text: String) -> Response<Body> {
    let mut response = Response::new(BodyExt::boxed_unsync(Full::new(Bytes::from(text))));
    *response.status_mut() = StatusCode::from_u16(code).expect("a status");
    response
}

/// RFC 7396.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().expect("made so");
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}
