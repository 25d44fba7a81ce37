//! Dead letters: a message that was kept aside, and the same message sent again.
//!
//! | header | content |
//! |---|---|
//! | `millrace.dead.reason` | why it was kept aside; absent once it was sent again |
//! | `millrace.dead.topic`, `.partition` | where it lay, or belongs; decimal |
//! | `millrace.dead.offset` | at which offset, decimal; absent where the topic did not take it |
//! | `millrace.dead.topic_id` | in which incarnation of that topic, where that is known |

use super::{Payload, headers::Headers};
use crate::{Partition, TopicId};
use bytes::Bytes;

const REASON: &str = "millrace.dead.reason";
const TOPIC: &str = "millrace.dead.topic";
const TOPIC_ID: &str = "millrace.dead.topic_id";
const PARTITION: &str = "millrace.dead.partition";
const OFFSET: &str = "millrace.dead.offset";
/// All of them, and only they, begin like this.
const PREFIX: &str = "millrace.dead.";

/// Where a dead letter lay first. Names it, however often it is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The topic.
    pub topic: String,
    /// Which incarnation of it.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: Partition,
    /// The offset. `None`: it never lay there, for the topic did not take it.
    pub offset: Option<i64>,
}

/// Where a message lay that was a dead letter once; `None`: it never was, as far as its headers can be read.
pub fn letter(headers: &[(String, Bytes)]) -> Option<Letter> {
    let headers = Headers(headers);
    let text = |name| headers.text(name).ok().flatten();
    Some(Letter {
        topic: text(TOPIC)?.to_owned(),
        topic_id: text(TOPIC_ID).and_then(|id| id.parse().ok()),
        partition: Partition(text(PARTITION)?.parse().ok()?),
        offset: text(OFFSET).map(str::parse).transpose().ok()?,
    })
}

/// Why a message was kept aside.
pub fn reason(headers: &[(String, Bytes)]) -> Option<&str> {
    Headers(headers).text(REASON).ok().flatten()
}

/// The message for the dead-letter topic: key, headers and value as they came, and in front of them why and from where.
pub fn dead_letter(original: Payload, letter: &Letter, reason: &str) -> Payload {
    with_place(original, letter, Some(reason))
}

/// The message for the topic that it was meant for, out of what now can be read.
pub fn revived(message: Payload, letter: &Letter) -> Payload {
    with_place(message, letter, None)
}

fn with_place(message: Payload, letter: &Letter, reason: Option<&str>) -> Payload {
    let own = [
        (REASON, reason.map(str::to_owned)),
        (TOPIC, Some(letter.topic.clone())),
        (TOPIC_ID, letter.topic_id.map(|id| id.to_string())),
        (PARTITION, Some(letter.partition.to_string())),
        (OFFSET, letter.offset.map(|offset| offset.to_string())),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Bytes::from(value?))));
    let others = message.headers.into_iter().filter(|(name, _)| !name.starts_with(PREFIX));
    Payload { headers: own.chain(others).collect(), ..message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_keeps_its_first_place_and_what_it_was() {
        let at = Letter {
            topic: "t".to_owned(),
            topic_id: Some(TopicId(7)),
            partition: Partition(3),
            offset: Some(41),
        };
        let original = Payload {
            key: Bytes::from_static(b"k"),
            headers: vec![("other".to_owned(), Bytes::from_static(b"x"))],
            value: Bytes::from_static(b"not protobuf"),
        };
        let dead = dead_letter(original.clone(), &at, "cannot be read");
        assert_eq!(letter(&dead.headers).as_ref(), Some(&at));
        assert_eq!(reason(&dead.headers), Some("cannot be read"));
        let again = revived(dead, &at);
        assert_eq!((letter(&again.headers), reason(&again.headers)), (Some(at.clone()), None));
        let dead_again = dead_letter(again, &at, "still not");
        assert_eq!(dead_again.headers.iter().filter(|(name, _)| name == OFFSET).count(), 1);
        assert_eq!((dead_again.key, dead_again.value), (original.key.clone(), original.value.clone()));
        assert_eq!(letter(&original.headers), None);
        let nowhere = Letter { offset: None, ..at };
        let refused = dead_letter(original, &nowhere, "refused");
        assert_eq!(letter(&refused.headers), Some(nowhere));
    }
}
