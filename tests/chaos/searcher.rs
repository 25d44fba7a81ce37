//! Asks all the time while things fail, and holds each answer against what is certain already. An answer that says that it
//! may lack something may lack anything; but never is more found than was written, a line twice, or one that was not asked
//! for.

use crate::random::Random;
use millrace_model::{Clock, SystemClock};
use millrace_test_support::{
    Server, http,
    numbers::{self, number_of},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

/// How many hits are asked for, and how many numbers by name.
const HITS: usize = 1000;
const NAMED: u64 = 20;
/// The stretches of time that are counted by themselves, in milliseconds.
const STRETCH: u64 = 5000;
/// How far back they lie at most.
const STRETCHES: u64 = 60;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// How the questions were answered.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Asked {
    /// In full.
    pub(crate) whole: u64,
    /// In part, and that was said.
    pub(crate) partial: u64,
    /// Not: nobody was there, or could say.
    pub(crate) errors: u64,
}

/// Somebody who asks.
pub(crate) struct Searcher<'a> {
    server: &'a Server,
    /// No more lines than that were written so far.
    written: &'a AtomicU64,
    random: Random,
    asked: Asked,
    /// So many were found at once, in a whole answer.
    total: u64,
    /// Numbers that were found.
    found: Vec<u64>,
    /// How many were found in a stretch of time, by its start, in a whole answer.
    stretches: BTreeMap<u64, u64>,
}

impl<'a> Searcher<'a> {
    pub(crate) fn new(server: &'a Server, written: &'a AtomicU64, random: Random) -> Self {
        let (total, found, stretches) = (0, Vec::new(), BTreeMap::new());
        Self { server, written, random, asked: Asked::default(), total, found, stretches }
    }

    /// Asks until it is over.
    ///
    /// # Panics
    /// When an answer is wrong.
    pub(crate) fn ask_until(mut self, over: &AtomicBool) -> Asked {
        while !over.load(Ordering::SeqCst) {
            match self.random.below(4) {
                0 => self.count_all(),
                1 => self.look_at_the_newest(),
                2 => self.look_for_what_was_found(),
                _ => self.count_a_stretch(),
            }
            thread::sleep(PAUSE);
        }
        self.asked
    }

    /// Whatever a whole answer counted stays.
    fn count_all(&mut self) {
        let asked = json!({ "q": numbers::QUERY, "from": "0", "limit": 0 });
        let Some(answer) = self.ask(&asked) else { return };
        let (total, whole) = (total(&answer), is_whole(&answer));
        right(total <= self.written.load(Ordering::SeqCst), "more than was written", &asked, &answer);
        if whole {
            right(total >= self.total, &format!("there were {}", self.total), &asked, &answer);
            self.total = total;
        }
    }

    fn look_at_the_newest(&mut self) {
        let asked = json!({ "q": numbers::QUERY, "from": "0", "limit": HITS });
        let Some(answer) = self.ask(&asked) else { return };
        let numbers = self.numbers(&asked, &answer);
        right(numbers.len() as u64 == total(&answer).min(HITS as u64), "the count of hits", &asked, &answer);
        for _ in 0..NAMED.min(numbers.len() as u64) {
            let nth = self.random.below(numbers.len() as u64) as usize;
            self.found.extend(numbers.iter().nth(nth));
        }
    }

    /// What was found once is found again, each line once.
    fn look_for_what_was_found(&mut self) {
        if self.found.is_empty() {
            return;
        }
        let named: BTreeSet<u64> =
            (0..NAMED).map(|_| self.found[self.random.below(self.found.len() as u64) as usize]).collect();
        let phrases: Vec<String> =
            named.iter().map(|number| format!("\"line number={number} of\"")).collect();
        let asked = json!({ "q": phrases.join(" OR "), "from": "0", "limit": HITS });
        let Some(answer) = self.ask(&asked) else { return };
        let numbers = self.numbers(&asked, &answer);
        right(numbers.is_subset(&named), "lines that were not asked for", &asked, &answer);
        right(total(&answer) == numbers.len() as u64, "the count of hits", &asked, &answer);
        right(!is_whole(&answer) || numbers == named, "lines that were found before", &asked, &answer);
    }

    /// What was counted in a stretch of time stays.
    fn count_a_stretch(&mut self) {
        let now = SystemClock.now().0 as u64 / 1_000_000;
        let start = (now / STRETCH - 1 - self.random.below(STRETCHES)) * STRETCH;
        let (from, to) = (start.to_string(), (start + STRETCH).to_string());
        let asked = json!({ "q": numbers::QUERY, "from": from, "to": to, "limit": 0 });
        let Some(answer) = self.ask(&asked) else { return };
        let before = self.stretches.get(&start).copied().unwrap_or(0);
        if is_whole(&answer) {
            right(total(&answer) >= before, &format!("there were {before}"), &asked, &answer);
            self.stretches.insert(start, total(&answer));
        }
    }

    /// The numbers of the hits: each once, and written.
    fn numbers(&self, asked: &Value, answer: &Value) -> BTreeSet<u64> {
        let written = self.written.load(Ordering::SeqCst);
        let mut numbers = BTreeSet::new();
        for hit in answer["hits"].as_array().unwrap() {
            let number = number_of(hit);
            right(number < written, "a line that was not written", asked, answer);
            right(numbers.insert(number), &format!("{number} comes twice"), asked, answer);
        }
        numbers
    }

    /// `None`: there is no answer.
    fn ask(&mut self, parameters: &Value) -> Option<Value> {
        let answer = http::post(&self.server.address, "/api/v1/search", &parameters.to_string());
        let answer = answer.ok().filter(|answer| {
            assert!(!(400..500).contains(&answer.status), "{parameters}: {}", answer.text());
            answer.status == 200
        });
        let Some(answer) = answer else {
            self.asked.errors += 1;
            return None;
        };
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        if is_whole(&answer) {
            self.asked.whole += 1;
        } else {
            self.asked.partial += 1;
        }
        Some(answer)
    }
}

fn total(answer: &Value) -> u64 {
    answer["total"].as_u64().unwrap()
}

/// Does the answer say that it lacks nothing?
fn is_whole(answer: &Value) -> bool {
    !answer["partial"].as_bool().unwrap()
}

#[track_caller]
fn right(is: bool, what: &str, asked: &Value, answer: &Value) {
    assert!(is, "a wrong answer ({what}) to {asked}: {answer}");
}
