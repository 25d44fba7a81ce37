//! Waiting for what must come about: a look every few milliseconds, and a deadline that fails the test.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How often a waiting test looks.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is something, and returns it.
///
/// # Panics
/// When there is nothing within that time; `what` says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < within, "after {within:?}, still not: {what}");
        thread::sleep(LOOK);
    }
}

/// Looks until it is so.
///
/// # Panics
/// As [`until`].
#[track_caller]
pub fn until_true(what: &str, within: Duration, mut look: impl FnMut() -> bool) {
    until(what, within, || look().then_some(()));
}

/// Makes sure that it stays so for a while: for what must *not* happen, where only time can tell.
///
/// # Panics
/// As soon as it is not so.
#[track_caller]
pub fn stays(what: &str, during: Duration, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < during {
        assert!(look(), "no longer after {:?}: {what}", begun.elapsed());
        thread::sleep(LOOK);
    }
}
