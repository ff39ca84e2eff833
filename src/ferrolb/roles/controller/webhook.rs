//! The admission webhook of a controller: what it knows, its certificates, its server. Every replica serves; none needs to
//! lead. Nothing else of the controller depends on it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::admission;
use ferrolb_core::config::Settings;
use ferrolb_core::engine::SourceChange;
use ferrolb_core::world::World;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::{error, info, warn};

use crate::cli::WebhookArgs;
use crate::shell::kube::kinds::{
    BFD_PROFILE, BGP_ADVERTISEMENT, BGP_PEER, COMMUNITY, IP_ADDRESS_POOL, L2_ADVERTISEMENT, NAMESPACE, NODE,
    SECRET, VALIDATING_WEBHOOK_CONFIGURATION,
};
use crate::shell::kube::{Act, Answer, Source, Watch, Write};
use crate::shell::telemetry::health::Health;
use crate::shell::tls::certs::{AHEAD, Bundle};
use crate::shell::tls::{Offered, Served};
use crate::shell::webhook::{Reviewer, serve};

/// The configuration by which the API server asks us.
const CONFIGURATION: &str = "metallb-webhook-configuration";
/// How often the certificates are looked at: another replica may have made them anew.
const LOOK: Duration = Duration::from_secs(30);
/// How long an object that others stand against waits for news of them before it is denied: what was deleted or mended a
/// moment ago may be on its way here.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long until a port that couldn't be bound, or a certificate that couldn't be had, is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long after the API server was told of new CAs it goes by them: its own watch of the configuration comes first.
const HEARD: Duration = Duration::from_secs(1);

/// Starts it; it ends when the tasks are dropped. `health`, where there is nothing else to be ready for.
///
/// # Errors
/// One sentence.
pub fn start(
    args: &WebhookArgs,
    offered: &Offered,
    client: &Client,
    namespace: &Arc<str>,
    health: Option<&Health>,
) -> Result<JoinSet<()>, String> {
    let served = Arc::new(Served::default());
    let acceptor = offered.acceptor(served.clone())?;
    let mut tasks = JoinSet::new();
    let (known, world) = watch::channel(Arc::default());
    let judge = Judge { world, namespace: namespace.clone() };
    let source = Source::new(client.clone(), watches(namespace));
    if let Some(health) = health {
        health.supplied_by(source.watches());
    }
    tasks.spawn(follow(source, known, health.cloned()));
    let keeper = Keeper {
        client: client.clone(),
        namespace: namespace.clone(),
        args: args.clone(),
        served,
        using: Bundle::default(),
        told: String::new(),
    };
    tasks.spawn(keeper.keep());
    tasks.spawn(listen(args.port, acceptor, judge));
    Ok(tasks)
}

fn watches(namespace: &Arc<str>) -> Vec<Watch> {
    let configuration =
        [&IP_ADDRESS_POOL, &BFD_PROFILE, &COMMUNITY, &BGP_PEER, &BGP_ADVERTISEMENT, &L2_ADVERTISEMENT];
    let mut all: Vec<Watch> = configuration.into_iter().map(|kind| Watch::within(kind, namespace)).collect();
    for kind in [&NODE, &NAMESPACE] {
        all.push(Watch { metadata_only: true, ..Watch::all(kind) });
    }
    all
}

/// Keeps the world as the API server has it.
async fn follow(mut source: Source, known: watch::Sender<Arc<World>>, health: Option<Health>) {
    loop {
        let batch = source.next().await;
        known.send_modify(|world| {
            let world = Arc::make_mut(world);
            for change in batch.changes {
                match change {
                    SourceChange::Apply(object) => drop(world.apply(object)),
                    SourceChange::Delete(id) => drop(world.delete(&id)),
                }
            }
        });
        if let (true, Some(health)) = (batch.initial, &health) {
            health.started_alone();
        }
    }
}

/// Judges by what is known. At the start, before anything is, that is the object alone.
#[derive(Clone)]
struct Judge {
    world: watch::Receiver<Arc<World>>,
    namespace: Arc<str>,
}

impl Judge {
    async fn judge(&self, world: Arc<World>, review: &Arc<Value>) -> Result<Value, String> {
        let settings = Settings {
            system_namespace: self.namespace.clone(),
            nodes: world.nodes().cloned().collect(),
            namespaces: true,
        };
        let review = review.clone();
        // A large configuration takes milliseconds, twice.
        let judged =
            tokio::task::spawn_blocking(move || admission::respond(&world, &settings, &review)).await;
        judged.map_err(|e| format!("it couldn't be judged: {e}"))?
    }
}

impl Reviewer for Judge {
    async fn review(&self, review: Value) -> Result<Value, String> {
        let (review, mut known) = (Arc::new(review), self.world.clone());
        let patient_until = Instant::now() + PATIENCE;
        loop {
            let world = known.borrow_and_update().clone();
            let answer = self.judge(world, &review).await?;
            if answer.pointer("/response/allowed") != Some(&Value::Bool(false))
                || Instant::now() >= patient_until
                // Whatever others say, it is wrong in itself.
                || self.judge(Arc::default(), &review).await? == answer
                || !matches!(timeout_at(patient_until, known.changed()).await, Ok(Ok(())))
            {
                return Ok(answer);
            }
        }
    }
}

async fn listen(port: u16, acceptor: TlsAcceptor, judge: Judge) {
    let address = (std::net::Ipv6Addr::UNSPECIFIED, port);
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(problem) => {
                if !told {
                    error!(event = "webhookNotBound", port, error = %problem, "no admission webhook: this port can't be listened on; --webhook-port gives another one");
                }
                told = true;
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    info!(event = "webhookBound", port, "validating what is written");
    let _: Infallible = serve(listener, acceptor, judge).await;
}

/// Sees to it that there is a certificate, and that the API server trusts it.
struct Keeper {
    client: Client,
    namespace: Arc<str>,
    args: WebhookArgs,
    served: Arc<Served>,
    using: Bundle,
    /// What was last said of the configuration, which is said once.
    told: String,
}

impl Keeper {
    async fn keep(mut self) {
        let mut problem = String::new();
        loop {
            match self.look().await {
                Ok(()) => {
                    problem.clear();
                    tokio::time::sleep(LOOK).await;
                }
                Err(now) => {
                    if now != problem {
                        error!(event = "webhookCertificates", error = %now, "the certificates of the admission webhook can't be seen to; tried again every few seconds");
                    }
                    problem = now;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), String> {
        if self.args.disable_cert_rotation {
            let bundle = Bundle::from_directory(&self.args.cert_dir).await?;
            return self.put_to_use(bundle);
        }
        let bundle = self.stored().await?;
        let (name, now) = (self.server_name(), Timestamp::now());
        if !self.using.holds(&name, now, Duration::ZERO) {
            // Whoever trusts it already is served, whatever becomes of telling the others.
            self.put_to_use(bundle)?;
            return self.tell_the_api_server(&self.using.clone()).await.map(drop);
        }
        // What is in use is trusted. The new one is only once its CA is, and the CA before is told beside it.
        let told = self.tell_the_api_server(&bundle).await?;
        if told && bundle != self.using {
            if bundle.vouches_for(&self.using, &name, now) {
                tokio::time::sleep(HEARD).await;
            }
            self.put_to_use(bundle)?;
        }
        Ok(())
    }

    fn put_to_use(&mut self, bundle: Bundle) -> Result<(), String> {
        if self.served.put(&bundle)? {
            info!(event = "webhookCertificate", "a certificate is in use");
        }
        self.using = bundle;
        Ok(())
    }

    /// The certificates in the Secret, made anew where they don't hold for long any more.
    async fn stored(&self) -> Result<Bundle, String> {
        let (name, now) = (self.server_name(), Timestamp::now());
        let secret = self.secret(Act::Read(self.args.secret.as_str().into())).await;
        let (before, version) = match secret {
            Answer::Written(object) => {
                let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
                (bundle(&object), Some(version))
            }
            Answer::Gone => (Bundle::default(), None),
            answer => return Err(self.secret_problem("read", answer)),
        };
        if before.holds(&name, now, AHEAD) {
            return Ok(before);
        }
        let made = Bundle::generate(&name, now, &before)?;
        let data: BTreeMap<&String, ByteString> =
            made.data().iter().map(|(key, pem)| (key, ByteString(pem.clone()))).collect();
        let mut metadata = json!({ "namespace": &*self.namespace, "name": self.args.secret });
        let act = match version {
            Some(version) => {
                let patch = json!({ "metadata": { "resourceVersion": version }, "data": data });
                Act::Patch { name: self.args.secret.as_str().into(), patch: patch.into(), status: false }
            }
            None => {
                if let Some(fields) = metadata.as_object_mut() {
                    fields.insert("labels".into(), json!({ "app": "metallb" }));
                }
                Act::Create(json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data,
                }).into())
            }
        };
        match self.secret(act).await {
            Answer::Written(_) => {
                info!(
                    event = "webhookCertificatesMade",
                    secret = self.args.secret,
                    "new certificates are in the Secret"
                );
                Ok(made)
            }
            answer => Err(self.secret_problem("written", answer)),
        }
    }

    async fn secret(&self, act: Act) -> Answer {
        Write { kind: &SECRET, namespace: self.namespace.clone(), act }.perform(&self.client).await
    }

    fn secret_problem(&self, what: &str, answer: Answer) -> String {
        let why = match answer {
            Answer::Refused(why) | Answer::Unreachable(why) => why,
            // Another replica was first: what it made counts.
            Answer::Conflict | Answer::Gone | Answer::Written(_) => "it has just changed".to_owned(),
        };
        format!("the Secret {}/{} can't be {what}: {why}", self.namespace, self.args.secret)
    }

    fn server_name(&self) -> String {
        format!("{}.{}.svc", self.args.service, self.namespace)
    }

    /// Puts the CAs of `bundle` into the webhook configuration, where there is one; whether nobody goes by others any more.
    ///
    /// # Errors
    /// It is to be tried again soon: one sentence.
    async fn tell_the_api_server(&mut self, bundle: &Bundle) -> Result<bool, String> {
        let unreachable =
            |why| Err(format!("the ValidatingWebhookConfiguration {CONFIGURATION} can't be seen to: {why}"));
        let write = |act| Write { kind: &VALIDATING_WEBHOOK_CONFIGURATION, namespace: "".into(), act };
        let there = write(Act::Read(CONFIGURATION.into())).perform(&self.client).await;
        let object = match there {
            Answer::Written(object) => object,
            Answer::Unreachable(why) => return unreachable(why),
            answer => {
                self.tell_once(&answer);
                return Ok(answer == Answer::Gone);
            }
        };
        let ours = |webhook: &Value| {
            let is = |pointer, text: &str| webhook.pointer(pointer).and_then(Value::as_str) == Some(text);
            is("/clientConfig/service/name", &self.args.service)
                && is("/clientConfig/service/namespace", &self.namespace)
        };
        let trusted = serde_json::to_value(ByteString(bundle.cas().to_vec())).map_err(|e| e.to_string())?;
        let before = object.get("webhooks").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut after = before.clone();
        for webhook in after.iter_mut().filter(|w| ours(w)) {
            if let Some(config) = webhook.get_mut("clientConfig").and_then(Value::as_object_mut) {
                config.insert("caBundle".into(), trusted.clone());
            }
        }
        if after == before {
            return Ok(true);
        }
        let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
        let patch = json!({ "metadata": { "resourceVersion": version }, "webhooks": after });
        let act = Act::Patch { name: CONFIGURATION.into(), patch: patch.into(), status: false };
        match write(act).perform(&self.client).await {
            Answer::Written(_) => {
                info!(
                    event = "webhookConfigured",
                    "the API server is to trust the certificate of the webhook"
                );
                self.told.clear();
                Ok(true)
            }
            Answer::Unreachable(why) => unreachable(why),
            // Another replica did the same, or it is gone: seen at the next look.
            Answer::Conflict | Answer::Gone => Ok(false),
            answer => {
                self.tell_once(&answer);
                Ok(false)
            }
        }
    }

    fn tell_once(&mut self, answer: &Answer) {
        let text = answer.to_string();
        if text == self.told {
            return;
        }
        match answer {
            Answer::Gone => {
                info!(
                    event = "webhookNotConfigured",
                    "there is no ValidatingWebhookConfiguration {CONFIGURATION}: nothing is validated when it is written, and everything else works"
                )
            }
            _ => {
                warn!(event = "webhookNotConfigured", answer = %answer, "the ValidatingWebhookConfiguration {CONFIGURATION} can't be seen to: where it is there, the API server may not trust this webhook")
            }
        }
        self.told = text;
    }
}

/// What is in a Secret, as far as it can be read.
fn bundle(secret: &Value) -> Bundle {
    let data = secret.get("data").and_then(Value::as_object).into_iter().flatten();
    let decoded = data.filter_map(|(key, text)| {
        let bytes: ByteString = serde_json::from_value(text.clone()).ok()?;
        Some((key.clone(), bytes.0))
    });
    Bundle::new(decoded.collect())
}

#[cfg(test)]
mod tests;
