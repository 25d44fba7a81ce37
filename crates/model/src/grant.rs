//! What somebody who asks may see. It travels in the request that nodes sign, and every leaf holds its rows against it.

use crate::{Masks, StreamName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The streams that may be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// All of them, also those that are yet to come.
    All,
    /// These alone.
    Streams(BTreeSet<StreamName>),
}

impl Grant {
    /// May this stream be seen?
    pub fn covers(&self, stream: &StreamName) -> bool {
        match self {
            Self::All => true,
            Self::Streams(streams) => streams.contains(stream),
        }
    }

    /// Is this stream looked into, where these are asked for? `None` is all of them but what Millrace tells of itself, which is
    /// looked into only where it is named: it quotes what was searched for, and what was found.
    pub fn shows(&self, asked: Option<&[StreamName]>, stream: &StreamName) -> bool {
        self.covers(stream) && asked.map_or(!stream.is_own(), |asked| asked.contains(stream))
    }

    /// What is left of the streams that are asked for; `None` is all streams, before and after.
    pub fn within(&self, asked: Option<&[StreamName]>) -> Option<Vec<StreamName>> {
        match (self, asked) {
            (Self::All, None) => None,
            (Self::Streams(streams), None) => Some(streams.iter().cloned().collect()),
            (grant, Some(asked)) => {
                Some(asked.iter().filter(|stream| grant.covers(stream)).cloned().collect())
            }
        }
    }
}

/// All that somebody who asks may see: of some streams, records without what is hidden of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The streams.
    pub grant: Grant,
    /// What is hidden.
    pub masks: Masks,
}

impl Sight {
    /// Of these streams, whole.
    pub fn whole(grant: Grant) -> Self {
        Self { grant, masks: Masks::default() }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_grant_takes_away_and_never_adds() {
        let names =
            |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<StreamName>>();
        let some = Grant::Streams(names(&["app", "web"]).into_iter().collect());
        let none = Grant::Streams(BTreeSet::new());
        let asked = names(&["web", "audit"]);
        assert_eq!(Grant::All.within(None), None);
        assert_eq!(Grant::All.within(Some(&asked)), Some(asked.clone()));
        assert_eq!(some.within(None), Some(names(&["app", "web"])));
        assert_eq!(some.within(Some(&asked)), Some(names(&["web"])));
        assert_eq!(none.within(None), Some(Vec::new()));
        assert_eq!(none.within(Some(&asked)), Some(Vec::new()));
        for own in [StreamName::AUDIT, StreamName::ALERTS] {
            let own: StreamName = own.parse().unwrap();
            assert!(own.is_own() && Grant::All.covers(&own) && !Grant::All.shows(None, &own));
            assert!(Grant::All.shows(Some(std::slice::from_ref(&own)), &own));
            assert!(!some.shows(Some(std::slice::from_ref(&own)), &own));
        }
        assert!(some.shows(None, &names(&["app"])[0]) && !names(&["app"])[0].is_own());
        assert!(some.covers(&asked[0]) && !some.covers(&asked[1]) && Grant::All.covers(&asked[1]));
    }
}
