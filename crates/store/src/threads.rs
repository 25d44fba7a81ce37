//! The threads that a search may use besides the caller's, and whether it is to go on: who has a pool lends them.

use crate::Error;

/// Threads to be lent.
pub trait Threads: Sync {
    /// Calls `work` on the caller's thread and, at the same time, on as many others as can be had, `most` at most in all.
    /// Returns when all of them are done. Without more words there are no others.
    fn run(&self, _most: usize, work: &(dyn Fn() + Sync)) {
        work();
    }

    /// Is the search to go on? If not, nobody waits for the answer any more. Asked some hundred to thousand times a second by
    /// each thread; may take a while, when others have their turn.
    fn go_on(&self) -> bool;
}

/// Is the search to go on?
pub(crate) fn go_on(threads: Option<&dyn Threads>) -> Result<(), Error> {
    if threads.is_none_or(Threads::go_on) { Ok(()) } else { Err(Error::Stopped) }
}
