//! The threads that a search may use besides the caller's, and whether it is to go on: who has a pool lends them.

use crate::Error;

/// Threads to be lent.
pub trait Threads: Sync {
    /// Calls `work` on the caller's thread and, at the same time, on as many others as can be had, `most` at most in all.
    /// Returns when all of them are done.
    fn run(&self, most: usize, work: &(dyn Fn() + Sync));

    /// Does nobody wait for the answer any more? Asked some thousand times a second.
    fn is_stopped(&self) -> bool;
}

/// Is the search to go on?
pub(crate) fn go_on(threads: Option<&dyn Threads>) -> Result<(), Error> {
    if threads.is_some_and(Threads::is_stopped) { Err(Error::Stopped) } else { Ok(()) }
}
