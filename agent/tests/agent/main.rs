//! The agent against a topic that can be made to misbehave: every byte of every file is accounted for, whatever happens
//! to files, processes, state and topic.
//!
//! Tests whose names begin with `b` and a number are what went wrong in other shippers, by the numbers of `docs/shippers.md`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod adopt;
mod content;
mod crash;
mod elsewhere;
mod files;
mod follow;
mod heartbeat;
mod journal;
mod packed;
mod pending;
mod pushed;
mod pushed_damage;
mod pushed_http;
mod state;
mod support;
mod topic;
