//! The agent against a topic that can be made to misbehave: every byte of every file is accounted for, whatever happens
//! to files, processes, state and topic.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod crash;
mod files;
mod journal;
mod pending;
mod state;
mod support;
mod topic;
