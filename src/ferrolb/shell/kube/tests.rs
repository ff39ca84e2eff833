//! The source against the stand-in API server of `fake`; the real one is the Kubernetes lab's.

use std::time::Duration;

use ferrolb_core::engine::SourceChange;
use ferrolb_core::world::Object;
use serde_json::{Value, json};

use super::fake::Fake;
use super::kinds::{IP_ADDRESS_POOL, NAMESPACE, SERVICE};
use super::standing::Standing;
use super::watching::NotServed;
use super::{Act, Answer, Batch, Source, Watch, Watches, Write};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

const SERVICES: &str = "/api/v1/namespaces/default/services";
const POOLS: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools";

fn service(name: &str) -> Value {
    json!({
        "metadata": { "namespace": "default", "name": name },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
    })
}

fn put_service(fake: &Fake, name: &str) {
    fake.put(&format!("{SERVICES}/{name}"), service(name));
}

fn put_pool(fake: &Fake, name: &str) {
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "namespace": "metallb-system", "name": name },
        "spec": { "addresses": ["192.0.2.0/28"] },
    });
    fake.put(&format!("{POOLS}/{name}"), pool);
}

fn watches() -> [Watch; 3] {
    let keep: fn(&Value) -> Value = |object| object["metadata"]["name"].clone();
    [
        Watch::all(&SERVICE).keeping(keep),
        Watch::all(&NAMESPACE),
        Watch::within(&IP_ADDRESS_POOL, &"metallb-system".into()),
    ]
}

async fn next(source: &mut Source) -> Batch {
    tokio::time::timeout(PATIENCE, source.next()).await.expect("a batch in time")
}

/// Each change as `+KIND name` or `-KIND name`.
fn told(batch: &Batch) -> Vec<String> {
    let one = |change: &SourceChange| match change {
        SourceChange::Apply(object) => format!("+{}", Object::id(object)),
        SourceChange::Delete(id) => format!("-{id}"),
    };
    batch.changes.iter().map(one).collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn standing(watches: &Watches, plural: &str) -> Standing {
    let all = watches.all();
    all.into_iter().find(|(kind, _)| kind.plural == plural).expect("a watch").1
}

#[tokio::test]
async fn all_there_is_comes_at_once_and_then_what_changes() {
    let fake = Fake::start().await;
    put_service(&fake, "a");
    put_pool(&fake, "p");
    let mut source = Source::new(fake.client(), watches());
    let first = next(&mut source).await;
    assert!(first.initial);
    let mut there = told(&first);
    there.sort();
    assert_eq!(there, ["+IPAddressPool metallb-system/p", "+Service default/a"]);
    assert_eq!(first.sides.len(), 1);
    assert!(source.watches().missing().is_empty());
    put_service(&fake, "b");
    let second = next(&mut source).await;
    assert_eq!((second.initial, told(&second)), (false, vec!["+Service default/b".to_owned()]));
    fake.delete(&format!("{SERVICES}/b"));
    let third = next(&mut source).await;
    assert_eq!(told(&third), ["-Service default/b"]);
    assert_eq!(third.sides[0].seen, None);
}

#[tokio::test]
async fn nothing_is_given_while_a_kind_is_forbidden_and_that_is_named() {
    let fake = Fake::start().await;
    put_service(&fake, "a");
    fake.refuse("/api/v1/namespaces", 403);
    let mut source = Source::new(fake.client(), watches());
    let states = source.watches();
    {
        // The source has to be polled for anything to be taken from the watches.
        let waiting = tokio::time::timeout(PATIENCE, source.next());
        let named = until("forbidden", || matches!(standing(&states, "namespaces"), Standing::Forbidden(_)));
        tokio::select! {
            batch = waiting => panic!("given: {batch:?}"),
            () = named => {}
        }
    }
    let missing = states.missing();
    assert!(
        missing.iter().any(|(kind, why)| kind.plural == "namespaces" && why.contains("allow")),
        "{missing:?}"
    );
    fake.refuse("/api/v1/namespaces", 200);
    assert!(next(&mut source).await.initial);
    assert!(states.missing().is_empty());
}

#[tokio::test]
async fn a_watch_that_may_go_on_is_whole_again_though_nothing_changes() {
    let mut fake = Fake::start().await;
    put_service(&fake, "a");
    let mut source = Source::new(fake.client(), watches());
    let states = source.watches();
    next(&mut source).await;
    fake.refuse("/api/v1/namespaces", 403);
    fake.end_watches();
    until("forbidden", || matches!(standing(&states, "namespaces"), Standing::Forbidden(_))).await;
    fake.refuse("/api/v1/namespaces", 200);
    until("allowed", || standing(&states, "namespaces") == Standing::Synced).await;
    fake.stop();
    until("failing", || matches!(standing(&states, "services"), Standing::Failing(_))).await;
    fake.resume().await;
    until("back", || states.all().iter().all(|(_, standing)| *standing == Standing::Synced)).await;
    let behind = states.status(std::time::Instant::now());
    assert!(behind.iter().all(|status| status.behind.is_zero()), "{behind:?}");
}

#[tokio::test]
async fn a_kind_that_is_not_served_counts_as_empty_until_it_is() {
    let fake = Fake::start().await;
    put_service(&fake, "a");
    put_pool(&fake, "p");
    fake.refuse("/apis/metallb.io", 404);
    let mut source = Source::new(fake.client(), watches());
    let first = next(&mut source).await;
    assert_eq!(told(&first), ["+Service default/a"]);
    assert_eq!(standing(&source.watches(), "ipaddresspools"), Standing::NotServed);
    assert!(source.watches().missing().is_empty());
    fake.refuse("/apis/metallb.io", 200);
    assert_eq!(told(&next(&mut source).await), ["+IPAddressPool metallb-system/p"]);
}

#[tokio::test]
async fn what_was_not_served_for_a_moment_now_and_long_ago_stands() {
    const ENOUGH: NotServed =
        NotServed { after: Duration::from_millis(300), pause: Duration::from_millis(20) };
    let fake = Fake::start().await;
    put_pool(&fake, "p");
    let mut source = Source::new(fake.client(), []);
    source.not_served = ENOUGH;
    source.begin(Watch::within(&IP_ADDRESS_POOL, &"metallb-system".into()));
    assert_eq!(told(&next(&mut source).await), ["+IPAddressPool metallb-system/p"]);
    // Refused once or twice, and then watched again, of which nothing is told.
    for _ in 0..2 {
        let refused = std::time::Instant::now();
        fake.refuse(POOLS, 404);
        fake.end_watches();
        until("refused", || fake.refused(POOLS) > 0).await;
        fake.hold(POOLS);
        fake.refuse(POOLS, 200);
        until("asked for again", || fake.is_awaited(POOLS)).await;
        fake.release(POOLS);
        // That so much time goes by in between is the point.
        tokio::time::sleep(ENOUGH.after.saturating_sub(refused.elapsed()) + ENOUGH.pause).await;
    }
    put_pool(&fake, "q");
    assert_eq!(told(&next(&mut source).await), ["+IPAddressPool metallb-system/q"]);
    assert_eq!(standing(&source.watches(), "ipaddresspools"), Standing::Synced);
    // Without another word for so long, it is gone.
    fake.refuse(POOLS, 404);
    fake.end_watches();
    let mut gone = told(&next(&mut source).await);
    gone.sort();
    assert_eq!(gone, ["-IPAddressPool metallb-system/p", "-IPAddressPool metallb-system/q"]);
    assert!(fake.refused(POOLS) > 2, "it was asked for until then");
}

#[tokio::test]
async fn an_api_server_that_was_away_brings_true_differences_only() {
    let mut fake = Fake::start().await;
    put_service(&fake, "a");
    put_service(&fake, "b");
    let mut source = Source::new(fake.client(), watches());
    let states = source.watches();
    next(&mut source).await;
    fake.stop();
    until("failing", || matches!(standing(&states, "services"), Standing::Failing(_))).await;
    assert!(states.missing().is_empty(), "what was known stands: {:?}", states.missing());
    fake.delete(&format!("{SERVICES}/a"));
    put_service(&fake, "c");
    // And nobody can go on from where he was.
    fake.forget();
    fake.resume().await;
    let mut world = ferrolb_core::world::World::default();
    put_service(&fake, "last");
    let mut seen = Vec::new();
    while !seen.contains(&"+Service default/last".to_owned()) {
        let batch = next(&mut source).await;
        assert!(!batch.initial);
        seen.extend(told(&batch));
        for change in batch.changes {
            if let SourceChange::Apply(object) = change {
                world.apply(object);
            }
        }
    }
    assert_eq!(seen.first().map(String::as_str), Some("-Service default/a"), "{seen:?}");
    assert!(seen.contains(&"+Service default/c".to_owned()), "{seen:?}");
    until("resumed", || standing(&states, "services") == Standing::Synced).await;
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_named_and_the_others_come() {
    let fake = Fake::start().await;
    put_service(&fake, "a");
    let mut broken = service("b");
    broken["spec"]["ports"] = json!("none");
    fake.put(&format!("{SERVICES}/b"), broken);
    let mut source = Source::new(fake.client(), watches());
    let first = next(&mut source).await;
    assert_eq!(told(&first), ["+Service default/a"]);
    assert_eq!(first.problems.len(), 1);
    assert!(first.problems[0].to_string().starts_with("Service default/b: "), "{}", first.problems[0]);
    put_service(&fake, "b");
    let second = next(&mut source).await;
    assert_eq!(second.cleared, first.problems);
    assert_eq!(told(&second), ["+Service default/b"]);
}

#[tokio::test]
async fn a_watch_that_is_forgotten_says_nothing_more() {
    let fake = Fake::start().await;
    put_service(&fake, "a");
    let mut source = Source::new(fake.client(), [Watch::all(&SERVICE)]);
    next(&mut source).await;
    put_pool(&fake, "p");
    let pools = source.begin(Watch::all(&IP_ADDRESS_POOL));
    let listed = next(&mut source).await;
    assert_eq!(
        (told(&listed), listed.completed),
        (vec!["+IPAddressPool metallb-system/p".to_owned()], vec![pools])
    );
    // It may have been heard already.
    put_pool(&fake, "q");
    source.forget(pools);
    assert_eq!(source.watches().all().len(), 1);
    for name in ["b", "c"] {
        put_service(&fake, name);
        assert_eq!(told(&next(&mut source).await), [format!("+Service default/{name}")]);
    }
}

#[tokio::test]
async fn a_watch_that_is_to_list_again_is_complete_when_it_has() {
    const ALL: &str = "/api/v1/services";
    let fake = Fake::start().await;
    put_service(&fake, "a");
    put_service(&fake, "b");
    let mut source = Source::new(fake.client(), []);
    let services = source.begin(Watch::all(&SERVICE).keeping(|object| object["spec"].clone()));
    assert_eq!(next(&mut source).await.completed, [services]);
    fake.hold(ALL);
    fake.end_watches();
    until("asked for", || fake.is_awaited(ALL)).await;
    // It isn't heard of that.
    fake.delete(&format!("{SERVICES}/a"));
    source.list_again(services);
    fake.release(ALL);
    let batch = next(&mut source).await;
    assert_eq!((batch.completed, batch.sides.len()), (vec![services], 2));
    assert_eq!(batch.sides.iter().filter(|side| side.seen.is_none()).count(), 1, "a is gone");
    // Without a change it is said too; and what a watch says by itself isn't that.
    source.list_again(services);
    assert_eq!(next(&mut source).await.completed, [services]);
    put_service(&fake, "c");
    let batch = next(&mut source).await;
    assert_eq!((told(&batch), batch.completed), (vec!["+Service default/c".to_owned()], vec![]));
    put_service(&fake, "d");
    until("d waits", || source.waiting() > 0).await;
    fake.hold(ALL);
    source.list_again(services);
    let before = next(&mut source).await;
    assert_eq!((told(&before), before.completed), (vec!["+Service default/d".to_owned()], vec![]));
    fake.release(ALL);
    assert_eq!(next(&mut source).await.completed, [services]);
}

#[tokio::test]
async fn an_object_is_found_by_its_name_in_a_list() {
    let fake = Fake::start().await;
    put_service(&fake, "a");
    put_service(&fake, "b");
    let find = |name: &str| {
        let write = Write { kind: &SERVICE, namespace: "default".into(), act: Act::Find(name.into()) };
        let client = fake.client();
        async move { write.perform(&client).await }
    };
    let Answer::Written(found) = find("b").await else { panic!("it is there") };
    assert_eq!(found["metadata"]["name"], "b");
    assert!(found["metadata"]["resourceVersion"].is_string());
    assert_eq!(find("c").await, Answer::Gone);
}

#[tokio::test]
async fn what_is_said_of_one_object_is_no_word_on_whether_the_api_server_answers() {
    let mut fake = Fake::start().await;
    put_service(&fake, "a");
    let write = Write { kind: &SERVICE, namespace: "default".into(), act: Act::Read("a".into()) };
    let path = format!("{SERVICES}/a");
    for code in [403, 422, 429, 500] {
        fake.refuse(&path, code);
        assert_eq!(
            write.perform(&fake.client()).await,
            Answer::Refused(format!("the stand-in says {code}")),
            "{code}"
        );
    }
    for code in [502, 503, 504] {
        fake.refuse(&path, code);
        assert!(matches!(write.perform(&fake.client()).await, Answer::Unreachable(_)), "{code}");
    }
    fake.refuse(&path, 200);
    fake.overload(true);
    let turned_away = Answer::Unreachable("Too many requests, please try again later.".to_owned());
    assert_eq!(write.perform(&fake.client()).await, turned_away);
    fake.overload(false);
    assert!(matches!(write.perform(&fake.client()).await, Answer::Written(_)));
    fake.stop();
    assert!(matches!(write.perform(&fake.client()).await, Answer::Unreachable(_)));
}
