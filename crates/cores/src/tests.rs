#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use std::sync::{
    Barrier, Mutex,
    atomic::{AtomicBool, AtomicUsize},
};
use tokio::task;

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn no_more_cores_are_lent_than_are_free() {
    let cores = Cores::of(3);
    let (search, _guard) = cores.search();
    let turn = search.turn(Piece::Near).await;
    task::spawn_blocking(move || {
        let (barrier, ran) = (Barrier::new(3), AtomicUsize::new(0));
        turn.run(9, &|| {
            // Passes only if the caller and two others are here at once.
            barrier.wait();
            ran.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.into_inner(), 3);
        let ran = AtomicUsize::new(0);
        turn.run(1, &|| {
            ran.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.into_inner(), 1);
    })
    .await
    .unwrap();
    assert_eq!(cores.near.available_permits(), 3, "all of them came back");
}

#[tokio::test]
async fn a_search_is_stopped_when_its_guard_goes_and_others_are_not() {
    let cores = Cores::of(2);
    let ((one, guard), (other, _other_guard)) = (cores.search(), cores.search());
    let (one, other) = (one.turn(Piece::Near).await, other.turn(Piece::Far).await);
    assert!(one.go_on() && other.go_on());
    drop(guard);
    assert!(!one.go_on() && other.go_on());
}

#[tokio::test]
async fn a_small_search_waits_for_few_pieces_of_a_large_one() {
    let cores = Cores::of(1);
    let ((large, _large), (small, _small)) = (cores.search(), cores.search());
    let began = Arc::new(Mutex::new(Vec::new()));
    let mut pieces = task::JoinSet::new();
    let mut add = |name: &'static str, search: &Search| {
        let (search, began) = (search.clone(), Arc::clone(&began));
        pieces.spawn(async move {
            let _turn = search.turn(Piece::Near).await;
            began.lock().unwrap().push(name);
            task::yield_now().await;
        });
    };
    (0..20).for_each(|_| add("large", &large));
    add("small", &small);
    while pieces.join_next().await.is_some() {}
    let began = began.lock().unwrap();
    assert_eq!(began.len(), 21);
    let place = began.iter().position(|name| *name == "small").unwrap();
    assert!(place <= 2, "it was the {place}th: {began:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_piece_lets_others_have_the_core() {
    let cores = Cores::of(1);
    let ((long, _long), (short, _short)) = (cores.search(), cores.search());
    let served = Arc::new(AtomicBool::new(false));
    let (turn, told) = (long.turn(Piece::Near).await, Arc::clone(&served));
    let working = task::spawn_blocking(move || {
        let started = Instant::now();
        while !told.load(Ordering::Relaxed) && started.elapsed() < PATIENCE {
            assert!(turn.go_on());
        }
    });
    let turn = tokio::time::timeout(PATIENCE / 2, short.turn(Piece::Near)).await.unwrap();
    served.store(true, Ordering::Relaxed);
    drop(turn);
    working.await.unwrap();
    assert_eq!(cores.near.available_permits(), 1, "it came back, once");
}
