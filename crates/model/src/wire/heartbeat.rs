//! How an agent is, said every so often in `<topic>.agents`: JSON, with the agent's id as the key.

use super::Payload;
use crate::{AgentId, InstanceId, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the format that this code writes.
const VERSION: u32 = 1;
const HEADER: &str = "millrace.heartbeat";

/// How an agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who it is.
    pub agent: AgentId,
    /// Where its state lives.
    pub instance: InstanceId,
    /// The name of its host, as records show it.
    pub host: String,
    /// The version of the program.
    pub millrace: String,
    /// What its settings come to, in a few characters: the same where they are.
    pub config: String,
    /// When it started, by its own clock.
    pub started: Timestamp,
    /// When this was said, by its own clock.
    pub sent: Timestamp,
    /// The next comes in so many seconds.
    pub interval_seconds: u64,
    /// It is ending: none will come.
    pub stopping: bool,
    /// Open sources, by kind.
    pub sources: BTreeMap<String, u64>,
    /// Bytes that lie there and are not read yet, or wait in spools.
    pub backlog_bytes: u64,
    /// For how long something has lain there unread.
    pub backlog_seconds: u64,
    /// Bytes of records that the topic has not acknowledged yet.
    pub in_flight_bytes: u64,
    /// Records that the topic has acknowledged since the process started.
    pub shipped_records: u64,
    /// What stands in its way, if something does.
    pub problem: Option<String>,
}

impl Heartbeat {
    /// Its message.
    ///
    /// # Errors
    /// None that can be brought about.
    pub fn encode(&self) -> serde_json::Result<Payload> {
        Ok(Payload {
            key: Bytes::from(self.agent.to_string()),
            headers: vec![(HEADER.to_owned(), Bytes::from(VERSION.to_string()))],
            value: serde_json::to_vec(self)?.into(),
        })
    }

    /// Out of a message; `None`: it is none, or of a version that nobody here knows.
    pub fn decode(headers: &[(String, Bytes)], value: &[u8]) -> Option<Self> {
        let (_, version) = headers.iter().find(|(name, _)| name == HEADER)?;
        if **version != *VERSION.to_string().as_bytes() {
            return None;
        }
        serde_json::from_slice(value).ok()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn it_comes_out_as_it_went_in_and_nothing_else_does() {
        let beat = Heartbeat {
            agent: AgentId(1),
            instance: InstanceId(2),
            host: "web1".to_owned(),
            millrace: "0.1.0".to_owned(),
            config: "0123".to_owned(),
            started: Timestamp::from_millis(5),
            sent: Timestamp::from_millis(7),
            interval_seconds: 30,
            stopping: false,
            sources: [("file".to_owned(), 3)].into(),
            backlog_bytes: 9,
            backlog_seconds: 8,
            in_flight_bytes: 7,
            shipped_records: 6,
            problem: Some("the topic is away".to_owned()),
        };
        let Payload { key, mut headers, value } = beat.encode().unwrap();
        assert_eq!(key, Bytes::from(AgentId(1).to_string()));
        assert_eq!(Heartbeat::decode(&headers, &value), Some(beat));
        assert_eq!(Heartbeat::decode(&[], &value), None);
        assert_eq!(Heartbeat::decode(&headers, b"{"), None);
        headers[0].1 = Bytes::from_static(b"2");
        assert_eq!(Heartbeat::decode(&headers, &value), None);
    }
}
