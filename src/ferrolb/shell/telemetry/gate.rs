//! Who may read the metrics of a role in a cluster: whom the API server knows by its bearer token (TokenReview), and lets `get`
//! the path `/metrics` (SubjectAccessReview).
//!
//! What it said is known for a minute, a refusal for ten seconds, so that a monitor costs it two questions a minute. While it
//! can't be asked, whoever was let in is let in for five minutes from then; others are told why not, within seconds. Tokens
//! aren't kept, only their SHA-256.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::shell::kube::kinds::{Kind, SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW};
use crate::shell::kube::{Act, Answer, Write};

/// How long an answer is as good as asking again.
const ALLOWED: Duration = Duration::from_secs(60);
const REFUSED: Duration = Duration::from_secs(10);
/// How long who was let in is let in while the API server can't be asked.
const WITHOUT_ANSWER: Duration = Duration::from_secs(300);
/// How many of those who were let in, and of those who weren't, are known at most.
const KNOWN: usize = 64;
/// How long both questions together may take: monitors wait for ten seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// How many questions may be under way: a flood of wrong tokens is no flood at the API server.
const ASKING: usize = 2;
/// What is asked for.
const PATH: &str = "/metrics";

/// Why somebody isn't let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token, or the API server doesn't know it.
    Unknown,
    /// This account may not.
    Forbidden(Arc<str>),
    /// The API server can't be asked, for this reason.
    NotAsked(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown => {
                f.write_str("send a bearer token of an account of this cluster: Authorization: Bearer TOKEN")
            }
            Refusal::Forbidden(account) => {
                write!(f, "{account:?} may not: allow it the verb get on the nonResourceURL {PATH}")
            }
            Refusal::NotAsked(why) => write!(f, "the API server can't be asked who you are: {why}"),
        }
    }
}

/// What the API server said of a token.
type Verdict = Result<(), Refusal>;
/// The SHA-256 of a token.
type Key = [u8; 32];

/// See the module.
pub struct Gate {
    client: Client,
    known: Mutex<Known>,
    asking: Semaphore,
    patience: Duration,
    /// What was last logged of why the API server can't be asked.
    told: Mutex<Option<String>>,
}

impl Gate {
    /// Asks this API server.
    pub fn new(client: Client) -> Gate {
        Gate {
            client,
            known: Mutex::default(),
            asking: Semaphore::new(ASKING),
            patience: PATIENCE,
            told: Mutex::default(),
        }
    }

    /// Whether the bearer of this token may read the metrics.
    ///
    /// # Errors
    /// Why not.
    pub async fn admit(&self, token: Option<&str>) -> Verdict {
        let token = token.filter(|token| !token.is_empty()).ok_or(Refusal::Unknown)?;
        let key = Sha256::digest(token.as_bytes()).into();
        if let Some(verdict) = self.known().fresh(&key, Instant::now()) {
            return verdict;
        }
        let problem = match timeout(self.patience, self.ask(&key, token)).await {
            Ok(Ok(verdict)) => {
                self.tell(None);
                return verdict;
            }
            Ok(Err(problem)) => problem,
            Err(_) => format!("no answer within {} s", self.patience.as_secs()),
        };
        self.tell(Some(&problem));
        if self.known().may_without_answer(&key, Instant::now()) {
            return Ok(());
        }
        Err(Refusal::NotAsked(problem))
    }

    async fn ask(&self, key: &Key, token: &str) -> Result<Verdict, String> {
        // It is never closed.
        let _turn = self.asking.acquire().await;
        if let Some(verdict) = self.known().fresh(key, Instant::now()) {
            return Ok(verdict);
        }
        let verdict = self.question(token).await?;
        self.known().learn(*key, verdict.clone(), Instant::now());
        Ok(verdict)
    }

    async fn question(&self, token: &str) -> Result<Verdict, String> {
        let answer = self.review(&TOKEN_REVIEW, json!({ "token": token })).await?;
        if answer.pointer("/status/authenticated") != Some(&Value::Bool(true)) {
            return Ok(Err(Refusal::Unknown));
        }
        let user = answer.pointer("/status/user").cloned().unwrap_or_default();
        let part = |name: &str| user.get(name).cloned().unwrap_or_default();
        let name: Arc<str> = part("username").as_str().unwrap_or_default().into();
        let spec = json!({
            "user": &*name, "uid": part("uid"), "groups": part("groups"), "extra": part("extra"),
            "nonResourceAttributes": { "path": PATH, "verb": "get" },
        });
        let answer = self.review(&SUBJECT_ACCESS_REVIEW, spec).await?;
        let allowed = answer.pointer("/status/allowed") == Some(&Value::Bool(true));
        Ok(if allowed { Ok(()) } else { Err(Refusal::Forbidden(name)) })
    }

    async fn review(&self, kind: &'static Kind, mut spec: Value) -> Result<Value, String> {
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        let question = json!({
            "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {}, "spec": spec,
        });
        let write = Write { kind, namespace: "".into(), act: Act::Create(question.into()) };
        match write.perform(&self.client).await {
            Answer::Written(answer) => Ok(answer),
            Answer::Refused(why) => {
                Err(format!("{why}; allow this role's service account to create {}", kind.resource()))
            }
            Answer::Unreachable(why) => Err(why),
            Answer::Gone | Answer::Conflict => Err(format!("it takes no {}", kind.kind)),
        }
    }

    /// Says so when whether, or why, the API server can't be asked changes.
    fn tell(&self, problem: Option<&str>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_deref() == problem {
            return;
        }
        *told = problem.map(str::to_owned);
        match problem {
            Some(error) => {
                warn!(
                    event = "metricsAccessUnknown",
                    error, "the API server can't be asked who may read /metrics"
                );
            }
            None => {
                info!(event = "metricsAccessKnown", "the API server can be asked again who may read /metrics")
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the API server said, and when. Those who were let in and the others have room of their own, so that no flood of wrong
/// tokens pushes a monitor out.
#[derive(Default)]
struct Known {
    allowed: HashMap<Key, Instant>,
    refused: HashMap<Key, (Refusal, Instant)>,
}

impl Known {
    /// What needn't be asked again.
    fn fresh(&self, key: &Key, now: Instant) -> Option<Verdict> {
        if self.allowed.get(key).is_some_and(|said| now.saturating_duration_since(*said) < ALLOWED) {
            return Some(Ok(()));
        }
        let (refusal, said) = self.refused.get(key)?;
        (now.saturating_duration_since(*said) < REFUSED).then(|| Err(refusal.clone()))
    }

    fn may_without_answer(&self, key: &Key, now: Instant) -> bool {
        self.allowed.get(key).is_some_and(|said| now.saturating_duration_since(*said) < WITHOUT_ANSWER)
    }

    fn learn(&mut self, key: Key, verdict: Verdict, now: Instant) {
        self.allowed.remove(&key);
        self.refused.remove(&key);
        match verdict {
            Ok(()) => {
                make_room(&mut self.allowed, |said| *said);
                self.allowed.insert(key, now);
            }
            Err(refusal) => {
                make_room(&mut self.refused, |(_, said)| *said);
                self.refused.insert(key, (refusal, now));
            }
        }
    }
}

/// Forgets the oldest where there are too many.
fn make_room<T>(known: &mut HashMap<Key, T>, said: impl Fn(&T) -> Instant) {
    if known.len() >= KNOWN {
        let oldest = known.iter().min_by_key(|(_, entry)| said(entry)).map(|(key, _)| *key);
        oldest.and_then(|key| known.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::shell::kube::fake::Fake;

    const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

    fn asked(fake: &Fake) -> usize {
        fake.writes().iter().filter(|write| write.ends_with("reviews")).count()
    }

    #[tokio::test]
    async fn the_api_server_says_who_may_and_is_asked_once_a_minute() {
        let fake = Fake::start().await;
        fake.account("good", "system:serviceaccount:monitoring:prometheus", true);
        fake.account("poor", "system:serviceaccount:default:default", false);
        let gate = Gate::new(fake.client());
        assert_eq!(gate.admit(Some("good")).await, Ok(()));
        assert_eq!(asked(&fake), 2);
        let forbidden = Refusal::Forbidden("system:serviceaccount:default:default".into());
        assert_eq!(gate.admit(Some("poor")).await, Err(forbidden));
        assert_eq!(gate.admit(Some("bad")).await, Err(Refusal::Unknown));
        assert_eq!(asked(&fake), 5);
        for none in [None, Some("")] {
            assert_eq!(gate.admit(none).await, Err(Refusal::Unknown));
        }
        for token in ["good", "poor", "bad"] {
            assert_eq!(gate.admit(Some(token)).await.is_ok(), token == "good");
        }
        assert_eq!(asked(&fake), 5, "all of that was known");
        let spec = fake.last_review().unwrap();
        assert_eq!(spec["nonResourceAttributes"], json!({"path": "/metrics", "verb": "get"}));
        assert_eq!(spec["groups"], json!(["system:authenticated"]));
    }

    #[tokio::test]
    async fn without_an_api_server_only_who_was_let_in_is() {
        let mut fake = Fake::start().await;
        fake.account("good", "a", true);
        let gate = Gate::new(fake.client());
        assert_eq!(gate.admit(Some("good")).await, Ok(()));
        fake.stop();
        // As if it were two minutes later, and then six.
        for (minutes, may) in [(2, true), (6, false)] {
            let said = Instant::now().checked_sub(Duration::from_secs(60 * minutes));
            gate.known().allowed.values_mut().for_each(|at| *at = said.expect("the machine runs for longer"));
            assert_eq!(gate.admit(Some("good")).await.is_ok(), may, "{minutes}");
        }
        assert!(matches!(gate.admit(Some("bad")).await, Err(Refusal::NotAsked(_))));
        fake.resume().await;
        assert_eq!(gate.admit(Some("good")).await, Ok(()));
        assert_eq!(gate.admit(Some("bad")).await, Err(Refusal::Unknown));
    }

    #[tokio::test]
    async fn a_right_of_our_own_that_is_missing_is_named() {
        let fake = Fake::start().await;
        fake.account("good", "a", true);
        fake.refuse(REVIEWS, 403);
        let refused = Gate::new(fake.client()).admit(Some("good")).await.unwrap_err().to_string();
        assert!(refused.contains("to create tokenreviews.authentication.k8s.io"), "{refused}");
    }

    #[tokio::test]
    async fn an_api_server_that_says_nothing_holds_nobody_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let mut gate = Gate::new(Client::try_from(config).unwrap());
        gate.patience = Duration::from_millis(100);
        let gate = Arc::new(gate);
        // More at a time than may ask.
        let many = (0..6).map(|n| {
            let gate = gate.clone();
            tokio::spawn(async move { gate.admit(Some(&format!("token {n}"))).await })
        });
        for answer in timeout(Duration::from_secs(20), futures::future::join_all(many)).await.unwrap() {
            assert!(matches!(answer.unwrap(), Err(Refusal::NotAsked(_))));
        }
    }

    #[test]
    fn what_is_known_is_known_for_a_while_and_is_bounded() {
        let mut known = Known::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        known.learn([1; 32], Ok(()), start);
        known.learn([2; 32], Err(Refusal::Unknown), start);
        assert_eq!((known.fresh(&[1; 32], at(59)), known.fresh(&[1; 32], at(60))), (Some(Ok(())), None));
        assert_eq!(known.fresh(&[2; 32], at(9)), Some(Err(Refusal::Unknown)));
        assert_eq!(known.fresh(&[2; 32], at(10)), None);
        assert!(known.may_without_answer(&[1; 32], at(299)) && !known.may_without_answer(&[1; 32], at(300)));
        assert!(!known.may_without_answer(&[2; 32], at(1)));
        for n in 0..=255u8 {
            known.learn([n; 32], Err(Refusal::Unknown), at(u64::from(n)));
        }
        assert_eq!((known.allowed.len(), known.refused.len()), (0, KNOWN));
        assert!(known.refused.contains_key(&[255; 32]));
        // Who isn't allowed any more isn't so without an answer either.
        assert!(!known.may_without_answer(&[1; 32], at(1)));
    }
}
