//! Who is known, for how long, and who is told when that ends.

use super::*;
use crate::access::{Made, Role, add, make, tokens::split};
use millrace_model::{Grant, ManualClock};
use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn kept(made: &Made) -> KeptToken {
    KeptToken {
        name: made.name.clone(),
        hash: made.hash.clone(),
        roles: made.roles.iter().map(|role| role.name().to_owned()).collect(),
        streams: made.streams.clone(),
        expires: made.expires,
    }
}

/// A catalogue, and how often it was read.
#[derive(Default)]
struct Shelf {
    kept: Mutex<Option<Kept>>,
    looks: AtomicU64,
}

impl Shelf {
    fn look(self: &Arc<Self>) -> Look {
        let shelf = Arc::clone(self);
        Arc::new(move |known| {
            shelf.looks.fetch_add(1, Ordering::Relaxed);
            let kept = guard(&shelf.kept).clone().ok_or_else(|| "it is away".to_owned());
            Box::pin(async move { kept.map(|kept| (known != Some(kept.version)).then_some(kept)) })
        })
    }

    fn put(&self, version: u64, tokens: Vec<KeptToken>, sessions: Vec<KeptSession>) {
        *guard(&self.kept) = Some(Kept { version, tokens, sessions });
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(1_000)))
}

async fn known(callers: &Callers, token: &str) -> Option<Caller> {
    let (name, secret) = split(token).unwrap();
    callers.by_token(&name, &secret).await
}

fn has_ended(caller: &Caller) -> bool {
    let mut ended = Box::pin(caller.ended());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    ended.as_mut().poll(&mut context).is_ready()
}

#[tokio::test]
async fn a_token_is_known_until_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let clock = clock();
    let reader = make("grafana_1", &[Role::Read], &names(&["app"]), None).unwrap();
    let brief = make("brief", &[Role::Write], &names(&["*"]), Some(Timestamp::from_millis(2_000))).unwrap();
    for made in [&reader, &brief] {
        add(&path, made).unwrap();
    }
    assert!(add(&path, &reader).unwrap_err().problem.contains("duplicate key"));
    let callers = Callers::open(Some(&path), None, clock.clone()).unwrap();
    let (name, secret) = split(&reader.token).unwrap();
    assert_eq!(name, "grafana_1");
    // The second time it is not hashed again, and neither is it another's.
    for _ in 0..2 {
        let caller = callers.by_token(&name, &secret).await.unwrap();
        assert_eq!(caller.name(), Some("grafana_1"));
        assert_eq!(*caller.grant(), Grant::Streams(["app".parse().unwrap()].into()));
        assert!(callers.by_token("brief", &secret).await.is_none());
        assert!(callers.by_token(&name, &secret[1..]).await.is_none());
        assert!(callers.by_token("nobody", &secret).await.is_none());
    }
    let caller = known(&callers, &brief.token).await.unwrap();
    assert_eq!(*caller.grant(), Grant::All);
    callers.end_what_is_over();
    assert!(!has_ended(&caller));
    clock.set(Timestamp::from_millis(2_000));
    assert!(known(&callers, &brief.token).await.is_none());
    callers.end_what_is_over();
    assert!(has_ended(&caller));
    assert!(!fs::read_to_string(&path).unwrap().contains(&secret));
}

#[tokio::test]
async fn whoever_is_taken_out_or_changed_is_ended_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let made = |name| make(name, &[Role::Read], &names(&["app"]), None).unwrap();
    let (stays, changed, gone) = (made("stays"), made("changed"), made("gone"));
    let write =
        |all: &[&Made]| fs::write(&path, all.iter().map(|made| made.entry()).collect::<String>()).unwrap();
    write(&[&stays, &changed, &gone]);
    let callers = Callers::open(Some(&path), None, clock()).unwrap();
    let mut before = Vec::new();
    for made in [&stays, &changed, &gone] {
        before.push(known(&callers, &made.token).await.unwrap());
    }
    let entry = changed.entry();
    fs::write(&path, format!("{}{}", stays.entry(), entry.replace("\"app\"", "\"app\", \"web\""))).unwrap();
    callers.read_file(&mut None).await;
    assert_eq!(before.iter().map(has_ended).collect::<Vec<_>>(), [false, true, true]);
    let caller = known(&callers, &changed.token).await.unwrap();
    assert!(!has_ended(&caller) && caller.grant().covers(&"web".parse().unwrap()));
    assert!(known(&callers, &gone.token).await.is_none());
    // What cannot be read changes nothing.
    fs::write(&path, "broken").unwrap();
    callers.read_file(&mut None).await;
    assert!(known(&callers, &stays.token).await.is_some() && !has_ended(&before[0]));
}

#[tokio::test]
async fn the_catalogue_adds_to_the_file_and_its_trouble_locks_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let (filed, first) = (make("filed", &[Role::Admin], &[], None).unwrap(), || {
        make("kept", &[Role::Read], &names(&["app"]), None).unwrap()
    });
    add(&path, &filed).unwrap();
    let shelf = Arc::new(Shelf::default());
    let callers = Callers::open(Some(&path), Some(shelf.look()), clock()).unwrap();
    let token = first();
    assert!(known(&callers, &token.token).await.is_none(), "it is away");
    assert!(known(&callers, &filed.token).await.is_some());
    let broken = KeptToken { hash: "x".to_owned(), ..kept(&first()) };
    let broken = KeptToken { name: "broken".to_owned(), ..broken };
    shelf.put(1, vec![kept(&token), broken], Vec::new());
    let caller = known(&callers, &token.token).await.unwrap();
    assert_eq!(caller.means(), super::super::Means::Token);
    // It is away again: what is known goes on.
    *guard(&shelf.kept) = None;
    callers.look_now().await;
    assert!(known(&callers, &token.token).await.is_some() && !has_ended(&caller));
    // Strangers do not have it read as often as they come.
    let looks = || shelf.looks.load(Ordering::Relaxed);
    let before = looks();
    let mut strangers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let callers = Arc::clone(&callers);
        strangers.spawn(async move { callers.by_token("stranger", "x").await.is_none() });
    }
    assert!(strangers.join_all().await.into_iter().all(|unknown| unknown));
    assert!(looks() - before <= 2, "{}", looks() - before);

    // That of the file holds, and as long as it is there.
    let other = first();
    add(&path, &other).unwrap();
    shelf.put(2, vec![kept(&token)], Vec::new());
    callers.look_now().await;
    assert!(!callers.is_in_file("kept"));
    callers.read_file(&mut None).await;
    assert!(callers.is_in_file("kept") && has_ended(&caller));
    assert!(known(&callers, &token.token).await.is_none());
    assert!(known(&callers, &other.token).await.is_some());
    fs::write(&path, filed.entry()).unwrap();
    callers.read_file(&mut None).await;
    assert!(!has_ended(&known(&callers, &token.token).await.unwrap()));
    shelf.put(3, Vec::new(), Vec::new());
    callers.look_now().await;
    assert!(known(&callers, &token.token).await.is_none());
}

#[tokio::test]
async fn a_session_holds_until_it_is_ended_or_its_grants_are_others() {
    let shelf = Arc::new(Shelf::default());
    let clock = clock();
    let callers = Callers::open(None, Some(shelf.look()), clock.clone()).unwrap();
    let session = |secret: &str| KeptSession {
        hash: session_hash(secret),
        subject: "1".to_owned(),
        name: "ann".to_owned(),
        grants: [(Role::Read, Grant::Streams(["app".parse().unwrap()].into()))].into(),
        expires: Timestamp::from_millis(5_000),
    };
    shelf.put(1, Vec::new(), vec![session("a"), session("b")]);
    let (a, b) = (callers.by_session("a").await.unwrap(), callers.by_session("b").await.unwrap());
    assert!(callers.by_session(&session_hash("a")).await.is_none(), "what is kept is no secret");
    assert_eq!(
        (a.name(), a.subject(), a.until()),
        (Some("ann"), Some("1"), Some(Timestamp::from_millis(5_000)))
    );
    let wider = KeptSession { grants: [(Role::Read, Grant::All)].into(), ..session("b") };
    shelf.put(2, Vec::new(), vec![session("a"), wider]);
    callers.look_now().await;
    assert_eq!((has_ended(&a), has_ended(&b)), (false, true));
    assert_eq!(*callers.by_session("b").await.unwrap().grant(), Grant::All);
    shelf.put(3, Vec::new(), Vec::new());
    callers.look_now().await;
    assert!(has_ended(&a) && callers.by_session("a").await.is_none());
    shelf.put(4, Vec::new(), vec![session("a")]);
    callers.look_now().await;
    let a = callers.by_session("a").await.unwrap();
    clock.set(Timestamp::from_millis(5_000));
    callers.end_what_is_over();
    assert!(has_ended(&a) && callers.by_session("a").await.is_none());
}
