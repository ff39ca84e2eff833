use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::cli::WebhookMode;
use crate::shell::kube::fake::Fake;
use crate::shell::tls::certs::provider;

const SECRET_PATH: &str = "/api/v1/namespaces/m/secrets/metallb-webhook-cert";
const CONFIGURATION_PATH: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/metallb-webhook-configuration";
const NAME: &str = "metallb-webhook-service.m.svc";

fn args() -> WebhookArgs {
    WebhookArgs {
        mode: WebhookMode::Enabled,
        port: 0,
        secret: "metallb-webhook-cert".into(),
        service: "metallb-webhook-service".into(),
        disable_cert_rotation: false,
        cert_dir: "/nowhere".into(),
    }
}

fn keeper(fake: &Fake) -> Keeper {
    Keeper {
        client: fake.client(),
        namespace: "m".into(),
        args: args(),
        served: Arc::default(),
        using: Bundle::default(),
        told: String::new(),
    }
}

async fn read(fake: &Fake, kind: &'static crate::shell::kube::kinds::Kind, name: &str) -> Value {
    let namespace = if kind.namespaced { "m" } else { "" };
    match (Write { kind, namespace: namespace.into(), act: Act::Read(name.into()) })
        .perform(&fake.client())
        .await
    {
        Answer::Written(object) => object,
        other => panic!("{other:?}"),
    }
}

fn empty_secret() -> Value {
    json!({"metadata": {"namespace": "m", "name": "metallb-webhook-cert"}})
}

fn configuration(namespace: &str) -> Value {
    let service =
        json!({"service": {"name": "metallb-webhook-service", "namespace": namespace, "path": "/x"}});
    json!({"metadata": {"name": CONFIGURATION}, "webhooks": [{"name": "a", "clientConfig": service}]})
}

/// The answer to a POST, by a client that trusts `cas`.
async fn ask(address: std::net::SocketAddr, cas: &[u8], path: &str, body: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(cas) {
        roots.add(ca.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let mut tls =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| e.to_string())?;
    let request = format!(
        "POST {path}?timeout=10s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).await.unwrap();
    Ok(answer)
}

#[tokio::test]
async fn the_api_server_is_answered_over_the_certificate_that_it_was_given() {
    let fake = Fake::start().await;
    fake.put(SECRET_PATH, empty_secret());
    fake.put(CONFIGURATION_PATH, configuration("m"));
    let pool = json!({"metadata": {"namespace": "m", "name": "old"}, "spec": {"addresses": ["10.0.0.0/24"]}});
    fake.put("/apis/metallb.io/v1beta1/namespaces/m/ipaddresspools/old", pool);
    let mut keeper = keeper(&fake);
    keeper.look().await.unwrap();
    let stored = bundle(&read(&fake, &SECRET, "metallb-webhook-cert").await);
    assert!(stored.holds(NAME, Timestamp::now(), AHEAD));
    let configured = read(&fake, &VALIDATING_WEBHOOK_CONFIGURATION, CONFIGURATION).await;
    let cas: ByteString =
        serde_json::from_value(configured["webhooks"][0]["clientConfig"]["caBundle"].clone()).unwrap();
    assert_eq!(configured["webhooks"][0]["clientConfig"]["service"]["path"], "/x");

    let (sender, world) = watch::channel(Arc::default());
    let judge = Judge { world, namespace: "m".into() };
    let (health, _pings) = Health::new();
    let source = Source::new(fake.client(), watches(&"m".into()));
    let _follow = AbortOnDropHandle::new(tokio::spawn(follow(source, sender, Some(health))));
    let known = || judge.world.borrow().config_objects().count() == 1;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !known() {
        assert!(tokio::time::Instant::now() < deadline, "the pool was never seen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (offered, _) = Offered::new(false, "", "").unwrap();
    let acceptor = offered.acceptor(keeper.served.clone()).unwrap();
    let _server = AbortOnDropHandle::new(tokio::spawn(serve(listener, acceptor, judge.clone())));
    let object = json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "new", "namespace": "m"}, "spec": {"addresses": ["10.0.0.7-10.0.0.9"]}});
    let review = json!({"request": {"uid": "u-1", "operation": "CREATE", "object": object}}).to_string();
    let path = "/validate-metallb-io-v1beta1-ipaddresspool";
    let answer = ask(address, &cas.0, path, &review).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""allowed":false"#) && answer.contains("overlaps the older"), "{answer}");
    for (path, body, status) in [("/other", "{}", 404), (path, "{", 400), (path, "{}", 400)] {
        let answer = ask(address, &cas.0, path, body).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    // Who trusts somebody else isn't served.
    let other = Bundle::generate(NAME, Timestamp::now(), &Bundle::default()).unwrap();
    assert!(ask(address, other.cas(), path, &review).await.is_err());
}

fn new_pool(addresses: &str) -> Value {
    let object = json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "new", "namespace": "m"}, "spec": {"addresses": [addresses]}});
    json!({"request": {"uid": "u-1", "operation": "CREATE", "object": object}})
}

#[tokio::test]
async fn what_is_deleted_while_it_is_judged_denies_nothing() {
    let old = json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "old", "namespace": "m"}, "spec": {"addresses": ["10.0.0.0/24"]}});
    let old = ferrolb_core::manifest::object(old).unwrap().unwrap();
    let id = old.id();
    let (known, world) = watch::channel(Arc::default());
    known.send_modify(|world: &mut Arc<World>| drop(Arc::make_mut(world).apply(old)));
    let judge = Judge { world, namespace: "m".into() };
    let allowed = |answer: &Value| answer["response"]["allowed"] == true;
    // Nothing comes: it stands against it.
    assert!(!allowed(&judge.review(new_pool("10.0.0.7/32")).await.unwrap()));
    let review = judge.review(new_pool("10.0.0.7/32"));
    let delete = async { known.send_modify(|world| drop(Arc::make_mut(world).delete(&id))) };
    // The review is polled first, so it has seen the older pool.
    let (answer, ()) = tokio::join!(biased; review, delete);
    assert!(allowed(&answer.unwrap()));
    // What is wrong in itself stays so.
    assert!(!allowed(&judge.review(new_pool("10.0.0.7")).await.unwrap()));
}

#[tokio::test]
async fn certificates_are_made_once_and_anew_before_they_end() {
    let fake = Fake::start().await;
    fake.refuse(CONFIGURATION_PATH, 404);
    fake.put(SECRET_PATH, empty_secret());
    let mut first = keeper(&fake);
    first.look().await.unwrap();
    // Another replica takes what is there; without a configuration nothing fails.
    let mut second = keeper(&fake);
    second.look().await.unwrap();
    assert_eq!(first.using, second.using);
    // One that ends within 90 days.
    let earlier = Timestamp::now() - jiff::SignedDuration::from_hours(24 * 300);
    let old = Bundle::generate(NAME, earlier, &Bundle::default()).unwrap();
    fake.put(SECRET_PATH, secret_of(&old));
    first.look().await.unwrap();
    assert!(first.using.holds(NAME, Timestamp::now(), AHEAD));
    assert_eq!(CertificateDer::pem_slice_iter(first.using.cas()).count(), 2);
    // A Secret that may not be read is named.
    fake.refuse(SECRET_PATH, 403);
    let problem = first.look().await.unwrap_err();
    assert!(problem.contains("the Secret m/metallb-webhook-cert can't be read"), "{problem}");
}

/// The Secret that holds `bundle`.
fn secret_of(bundle: &Bundle) -> Value {
    let data: BTreeMap<String, ByteString> =
        bundle.data().iter().map(|(k, v)| (k.clone(), ByteString(v.clone()))).collect();
    let mut secret = empty_secret();
    secret["data"] = serde_json::to_value(data).unwrap();
    secret
}

#[tokio::test]
async fn a_new_certificate_is_served_once_the_api_server_trusts_it() {
    let fake = Fake::start().await;
    let earlier = Timestamp::now() - jiff::SignedDuration::from_hours(24 * 300);
    let old = Bundle::generate(NAME, earlier, &Bundle::default()).unwrap();
    fake.put(SECRET_PATH, secret_of(&old));
    let mut configured = configuration("m");
    configured["webhooks"][0]["clientConfig"]["caBundle"] =
        serde_json::to_value(ByteString(old.cas().to_vec())).unwrap();
    fake.put(CONFIGURATION_PATH, configured);
    let mut keeper = keeper(&fake);
    keeper.put_to_use(old.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (offered, _) = Offered::new(false, "", "").unwrap();
    let acceptor = offered.acceptor(keeper.served.clone()).unwrap();
    let judge = Judge { world: watch::channel(Arc::default()).1, namespace: "m".into() };
    let _server = AbortOnDropHandle::new(tokio::spawn(serve(listener, acceptor, judge)));

    // Twice unreachable, which is tried again soon, and then not allowed.
    for code in [503, 503, 403] {
        fake.refuse(CONFIGURATION_PATH, code);
        let looked = keeper.look().await;
        assert_eq!(looked.is_err(), code == 503, "{looked:?}");
        ask(address, old.cas(), "/other", "{}").await.unwrap();
    }
    let new = bundle(&read(&fake, &SECRET, "metallb-webhook-cert").await);
    assert!(new.holds(NAME, Timestamp::now(), AHEAD), "they are made, and wait");
    // Who has just started has no other.
    fake.refuse(CONFIGURATION_PATH, 503);
    let mut started = self::keeper(&fake);
    assert!(started.look().await.is_err());
    assert_eq!(started.served.bundle(), Some(new.clone()));

    fake.refuse(CONFIGURATION_PATH, 200);
    keeper.look().await.unwrap();
    let configured = read(&fake, &VALIDATING_WEBHOOK_CONFIGURATION, CONFIGURATION).await;
    let told: ByteString =
        serde_json::from_value(configured["webhooks"][0]["clientConfig"]["caBundle"].clone()).unwrap();
    assert_eq!(told.0, new.cas());
    assert_eq!(keeper.served.bundle(), Some(new));
    ask(address, &told.0, "/other", "{}").await.unwrap();
    assert!(ask(address, old.cas(), "/other", "{}").await.is_err());
}

#[tokio::test]
async fn another_installations_webhook_is_left_alone() {
    let fake = Fake::start().await;
    fake.put(SECRET_PATH, empty_secret());
    fake.put(CONFIGURATION_PATH, configuration("elsewhere"));
    keeper(&fake).look().await.unwrap();
    let configured = read(&fake, &VALIDATING_WEBHOOK_CONFIGURATION, CONFIGURATION).await;
    assert!(configured["webhooks"][0]["clientConfig"].get("caBundle").is_none());
}

#[tokio::test]
async fn certificates_of_somebody_else_are_taken_from_files() {
    let fake = Fake::start().await;
    let dir = tempfile::tempdir().unwrap();
    let made = Bundle::generate(NAME, Timestamp::now(), &Bundle::default()).unwrap();
    let args = WebhookArgs { disable_cert_rotation: true, cert_dir: dir.path().into(), ..args() };
    let mut keeper = Keeper { args, ..keeper(&fake) };
    assert!(keeper.look().await.is_err_and(|e| e.contains("tls.crt")));
    for name in ["tls.crt", "tls.key"] {
        std::fs::write(dir.path().join(name), &made.data()[name]).unwrap();
    }
    keeper.look().await.unwrap();
}
