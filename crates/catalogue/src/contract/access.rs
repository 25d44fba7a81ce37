//! Tokens and sessions: added, bounded, ended, and seen by all.

use super::Bed;
use crate::{AccessSession, AccessToken, Added, MAX_SESSIONS_OF_ONE, MAX_TOKENS};
use millrace_model::{Clock, Timestamp};
use std::time::Duration;

fn token(name: &str) -> AccessToken {
    AccessToken {
        name: name.to_owned(),
        hash: "$argon2id$x".to_owned(),
        roles: vec!["read".to_owned()],
        streams: vec!["app".to_owned(), "web".to_owned()],
        expires: None,
        created: Timestamp(0),
        created_by: "ops".to_owned(),
    }
}

fn session(bed: &Bed, hash: &str, subject: &str) -> AccessSession {
    AccessSession {
        hash: hash.to_owned(),
        subject: subject.to_owned(),
        name: "Ann".to_owned(),
        groups: vec!["sre".to_owned()],
        expires: bed.clock.now().plus(Duration::from_hours(1)),
        created: bed.clock.now(),
    }
}

/// One of each.
pub(crate) async fn fill(bed: &Bed) {
    bed.first.add_token(&token("grafana")).await.unwrap();
    bed.first.add_session(&session(bed, "ab", "ann")).await.unwrap();
}

pub(crate) async fn tokens_are_added_listed_and_revoked(bed: &Bed) {
    assert_eq!(bed.second.access_list(Some(0)).await.unwrap(), None);
    let brief = AccessToken {
        expires: Some(Timestamp::from_millis(2_000_000)),
        created_by: "z\0".to_owned(),
        ..token("a")
    };
    for token in [token("b"), brief.clone()] {
        assert_eq!(bed.first.add_token(&token).await.unwrap(), Added::Yes);
    }
    let other = AccessToken { hash: "other".to_owned(), ..token("b") };
    assert_eq!(bed.second.add_token(&other).await.unwrap(), Added::Exists);
    let created = bed.clock.now();
    let expected = [
        AccessToken { created, created_by: "z\u{fffd}".to_owned(), ..brief },
        AccessToken { created, ..token("b") },
    ];
    assert_eq!(bed.second.tokens().await.unwrap(), expected);
    let list = bed.second.access_list(Some(0)).await.unwrap().unwrap();
    assert_eq!(
        (list.tokens.as_slice(), list.version),
        (expected.as_slice(), 2),
        "what was refused is no change"
    );
    assert_eq!(bed.first.access_list(Some(2)).await.unwrap(), None);

    assert!(bed.second.delete_token("b").await.unwrap());
    assert!(!bed.first.delete_token("b").await.unwrap());
    let list = bed.first.access_list(Some(2)).await.unwrap().unwrap();
    assert_eq!((list.tokens.len(), list.version), (1, 3));
}

pub(crate) async fn tokens_are_bounded(bed: &Bed) {
    for n in 0..MAX_TOKENS {
        assert_eq!(bed.first.add_token(&token(&n.to_string())).await.unwrap(), Added::Yes);
    }
    assert_eq!(bed.second.add_token(&token("one-more")).await.unwrap(), Added::Full);
    assert!(bed.second.delete_token("7").await.unwrap());
    assert_eq!(bed.second.add_token(&token("one-more")).await.unwrap(), Added::Yes);
}

pub(crate) async fn sessions_end_and_their_number_is_bounded(bed: &Bed) {
    let first = session(bed, "00", "ann");
    assert_eq!(bed.first.add_session(&first).await.unwrap(), Added::Yes);
    assert_eq!(bed.second.add_session(&first).await.unwrap(), Added::Exists);
    let read = async || bed.second.access_list(None).await.unwrap().unwrap().sessions;
    assert_eq!(read().await, [first]);
    assert!(bed.second.end_session("00").await.unwrap());
    assert!(!bed.first.end_session("00").await.unwrap());

    bed.first.add_session(&session(bed, "bob", "bob")).await.unwrap();
    for n in 0..MAX_SESSIONS_OF_ONE + 2 {
        bed.clock.advance(Duration::from_secs(1));
        let added = bed.first.add_session(&session(bed, &format!("{n:02}"), "ann")).await.unwrap();
        assert_eq!(added, Added::Yes);
    }
    let mut hashes: Vec<String> = read().await.into_iter().map(|session| session.hash).collect();
    hashes.sort_unstable();
    let newest = (2..MAX_SESSIONS_OF_ONE + 2).map(|n| format!("{n:02}"));
    assert_eq!(hashes, newest.chain(["bob".to_owned()]).collect::<Vec<_>>());

    // What is over is not told, and goes when the next one comes.
    bed.clock.advance(Duration::from_hours(2));
    assert_eq!(read().await, []);
    bed.first.add_session(&session(bed, "new", "ann")).await.unwrap();
    let left: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM sessions").fetch_one(&bed.first.readers).await.unwrap();
    assert_eq!(left, 1);
}
