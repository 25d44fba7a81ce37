//! Ports for servers of tests. They lie below the range that the system hands out by itself, so that no connection of
//! somebody else's takes one between our look and the server's start, nor while a killed server is away.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const FIRST: u32 = 12_000;
const COUNT: u32 = 18_000;

/// A port that nobody listens on, and that this process has not been given before.
///
/// # Panics
/// When all are taken.
pub fn free() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let nth = GIVEN.fetch_add(1, Ordering::SeqCst);
        // Processes that run at the same time begin at places of their own.
        let port =
            u16::try_from(FIRST + (process::id().wrapping_mul(131) + nth) % COUNT).expect("below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
