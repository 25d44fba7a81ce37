//! The threads that a search may use besides the caller's: who has a pool lends them.

/// Threads to be lent.
pub trait Threads: Sync {
    /// Calls `work` on the caller's thread and, at the same time, on as many others as can be had, `most` at most in all.
    /// Returns when all of them are done.
    fn run(&self, most: usize, work: &(dyn Fn() + Sync));
}
