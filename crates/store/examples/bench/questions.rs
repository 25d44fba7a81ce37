//! What is asked of the large corpus, what it may cost, and what the best peer takes. Costs are CPU milliseconds over
//! 2,000,000 lines; the peers are `VictoriaLogs`, Elasticsearch and Quickwit, whichever took least on the same machine.

use crate::naive::{Line, infix, phrase, word};

/// How an answer is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Count,
    /// The latest 20 with all of their fields; the count comes with them.
    Latest,
    /// Counts of each ten minutes.
    Histogram,
}

impl Ask {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Latest => "latest 20",
            Self::Histogram => "by 10 minutes",
        }
    }
}

/// A query, and a test of a line that was written without the store.
pub(crate) struct Query {
    pub(crate) text: &'static str,
    /// Only the hours from … to … of the corpus's day.
    pub(crate) hours: Option<(u64, u64)>,
    pub(crate) matches: fn(&Line<'_>) -> bool,
    /// How it is asked, the most that it may cost, and what the best peer takes.
    pub(crate) asks: &'static [(Ask, Option<f64>, Option<f64>)],
}

const fn of_all_times(
    text: &'static str,
    matches: fn(&Line<'_>) -> bool,
    asks: &'static [(Ask, Option<f64>, Option<f64>)],
) -> Query {
    Query { text, hours: None, matches, asks }
}

const WORD: (Ask, Option<f64>, Option<f64>) = (Ask::Count, Some(1.0), Some(2.5));
const LATEST: (Ask, Option<f64>, Option<f64>) = (Ask::Latest, Some(2.0), Some(7.0));
const SMALL_INTEGER: (Ask, Option<f64>, Option<f64>) = (Ask::Count, Some(5.0), None);
const PLAIN: (Ask, Option<f64>, Option<f64>) = (Ask::Count, None, None);
const PLAIN_LATEST: (Ask, Option<f64>, Option<f64>) = (Ask::Latest, None, None);
const BY_TIME: (Ask, Option<f64>, Option<f64>) = (Ask::Histogram, Some(5.0), Some(6.0));

/// All of them, in the order of the table.
pub(crate) const QUERIES: &[Query] = &[
    of_all_times("*", |_| true, &[PLAIN, PLAIN_LATEST, (Ask::Histogram, Some(5.0), Some(18.0))]),
    of_all_times("50010", |line| word(line.folded, "50010"), &[WORD, LATEST, BY_TIME]),
    of_all_times("zk8q1w7x", |line| word(line.folded, "zk8q1w7x"), &[WORD, LATEST]),
    of_all_times("failure", |line| word(line.folded, "failure"), &[WORD, LATEST, BY_TIME]),
    of_all_times("1", |line| word(line.folded, "1"), &[SMALL_INTEGER, PLAIN_LATEST]),
    of_all_times("11", |line| word(line.folded, "11"), &[SMALL_INTEGER, PLAIN_LATEST]),
    of_all_times("192", |line| word(line.folded, "192"), &[SMALL_INTEGER, PLAIN_LATEST]),
    Query {
        text: "failure root",
        hours: Some((6, 12)),
        matches: |line| word(line.folded, "failure") && word(line.folded, "root"),
        asks: &[(Ask::Count, Some(2.0), Some(9.0)), PLAIN_LATEST],
    },
    of_all_times(
        "\"authentication failure\"",
        |line| phrase(line.folded, "authentication", "failure"),
        &[(Ask::Count, Some(1.0), Some(9.0))],
    ),
    of_all_times(
        "*ddStoredBloc*",
        |line| infix(line.folded, "ddstoredbloc"),
        &[(Ask::Count, Some(45.0), Some(40.0))],
    ),
    of_all_times("*8q1w7*", |line| infix(line.folded, "8q1w7"), &[(Ask::Count, Some(45.0), Some(40.0))]),
    of_all_times(
        "*Block\\ blk_*",
        |line| infix(line.folded, "block blk_"),
        &[(Ask::Count, Some(45.0), Some(204.0))],
    ),
    of_all_times("/blk_-?[0-9]{5}7/", |line| crate::naive::block_with_seven(line.text), &[PLAIN]),
    of_all_times("host:web-011", |line| infix(line.text, "\"host\":\"web-011\""), &[PLAIN, PLAIN_LATEST]),
    of_all_times(
        "level:error service:HDFS",
        |line| infix(line.text, "\"level\":\"error\"") && infix(line.text, "\"service\":\"HDFS\""),
        &[PLAIN, PLAIN_LATEST],
    ),
    of_all_times(
        "level:error service:OpenSSH",
        |line| infix(line.text, "\"level\":\"error\"") && infix(line.text, "\"service\":\"OpenSSH\""),
        &[PLAIN, PLAIN_LATEST],
    ),
    of_all_times("severity_number:[13 TO 16]", |line| infix(line.text, "\"level\":\"warn\""), &[PLAIN]),
    of_all_times("NOT failure", |line| !word(line.folded, "failure"), &[PLAIN, PLAIN_LATEST]),
];
