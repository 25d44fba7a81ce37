//! What a partition's rules hand on to others, said in `<topic>.matches`: where it came from in headers, what it is in the value, which
//! belongs to whoever carries out rules.
//!
//! | header | content |
//! |---|---|
//! | `millrace.matches` | the version of all this |
//! | `millrace.matches.partition`, `.offset` | the message of the topic that it came of; decimal |
//! | `millrace.matches.topic_id` | in which incarnation of the topic, where that is known |
//! | `millrace.matches.piece` | which piece of what came of that message, from 0; decimal. Absent: it comes of time that has passed, and may come again beside another message |
//! | `millrace.matches.behind` | nanoseconds since 1970: that partition is not read to its end, but up to what was heard then. Absent: it is read to its end |

use super::{DecodeError, Payload, headers::Headers};
use crate::{Partition, Timestamp, TopicId};
use bytes::Bytes;

/// The version of the format that this code writes.
const VERSION: u32 = 1;
const HEADER: &str = "millrace.matches";
const PARTITION: &str = "millrace.matches.partition";
const OFFSET: &str = "millrace.matches.offset";
const TOPIC_ID: &str = "millrace.matches.topic_id";
const PIECE: &str = "millrace.matches.piece";
const BEHIND: &str = "millrace.matches.behind";

/// Where matches come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchOrigin {
    /// The partition of the topic.
    pub partition: Partition,
    /// In which incarnation of it.
    pub topic_id: Option<TopicId>,
    /// The offset of the message that they came of.
    pub offset: i64,
    /// Which piece of what came of that message. `None`: it comes of time that has passed, and may come again beside another one.
    pub piece: Option<u32>,
    /// That partition is read up to what was heard then. `None`: to its end.
    pub behind: Option<Timestamp>,
}

impl MatchOrigin {
    /// Its message.
    pub fn encode(&self, value: Bytes) -> Payload {
        let own = [
            (HEADER, Some(VERSION.to_string())),
            (PARTITION, Some(self.partition.to_string())),
            (OFFSET, Some(self.offset.to_string())),
            (TOPIC_ID, self.topic_id.map(|id| id.to_string())),
            (PIECE, self.piece.map(|piece| piece.to_string())),
            (BEHIND, self.behind.map(|heard| heard.0.to_string())),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Bytes::from(value?))));
        Payload { key: Bytes::from(self.partition.to_string()), headers: own.collect(), value }
    }

    /// Out of a message's headers. `None`: it is another kind of message, the topic's own marker for one.
    ///
    /// # Errors
    /// A header is missing, cannot be read, or of a version that nobody here knows.
    pub fn decode(headers: &[(String, Bytes)]) -> Result<Option<Self>, DecodeError> {
        let headers = Headers(headers);
        let Some(version) = headers.text(HEADER)? else { return Ok(None) };
        if version != VERSION.to_string() {
            return Err(DecodeError::Version(version.chars().take(20).collect()));
        }
        Ok(Some(Self {
            partition: Partition(headers.parsed(PARTITION)?),
            topic_id: headers.text(TOPIC_ID)?.map(|_| headers.parsed(TOPIC_ID)).transpose()?,
            offset: headers.parsed(OFFSET)?,
            piece: headers.text(PIECE)?.map(|_| headers.parsed(PIECE)).transpose()?,
            behind: headers.text(BEHIND)?.map(|_| headers.parsed(BEHIND).map(Timestamp)).transpose()?,
        }))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn it_comes_out_as_it_went_in_and_what_is_wrong_says_so() {
        let origin = MatchOrigin {
            partition: Partition(3),
            topic_id: Some(TopicId(7)),
            offset: 41,
            piece: Some(2),
            behind: Some(Timestamp(1_700_000_000_000_000_001)),
        };
        let mark = MatchOrigin { piece: None, topic_id: None, behind: None, ..origin };
        for origin in [origin, mark] {
            let payload = origin.encode(Bytes::from_static(b"{}"));
            assert_eq!(MatchOrigin::decode(&payload.headers).unwrap(), Some(origin));
            assert_eq!(payload.value, Bytes::from_static(b"{}"));
            for name in [PARTITION, OFFSET] {
                let without: Vec<_> = payload.headers.iter().filter(|(n, _)| n != name).cloned().collect();
                assert!(MatchOrigin::decode(&without).unwrap_err().to_string().contains(name));
            }
        }
        assert_eq!(MatchOrigin::decode(&[]).unwrap(), None);
        let newer = [(HEADER.to_owned(), Bytes::from_static(b"2"))];
        assert!(MatchOrigin::decode(&newer).is_err());
    }
}
