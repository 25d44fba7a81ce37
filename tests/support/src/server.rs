//! A query node, asked over its API.

use crate::{http, wait};
use serde_json::{Value, json};
use std::time::Duration;

/// The most hits in one answer.
const PAGE: u64 = 10_000;
/// So many hits are better paged through in parts.
const MANY: u64 = 50_000;
/// Later than any record, in epoch milliseconds: the year 2100.
const LATEST: u64 = 4_102_444_800_000;
/// From 1970: whatever a record says of its time.
const ALL_TIME: &str = "0";

/// Where a query node answers.
#[derive(Debug, Clone)]
pub struct Server {
    /// `host:port`.
    pub address: String,
}

impl Server {
    /// At a port of this machine.
    pub fn at(port: u16) -> Self {
        Self { address: format!("127.0.0.1:{port}") }
    }

    /// Its address as a URL, for `--server`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Is it there, and does it say that it is ready?
    pub fn is_ready(&self) -> bool {
        http::get(&self.address, "/readyz").is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// When it is not within that time; says why.
    #[track_caller]
    pub fn wait_until_ready(&self, within: Duration) {
        let begun = std::time::Instant::now();
        let mut last = String::new();
        while begun.elapsed() < within {
            match http::get(&self.address, "/readyz") {
                Ok(answer) if answer.status == 200 => return,
                Ok(answer) => last = answer.text(),
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} is not ready after {within:?}: {last}", self.address);
    }

    /// `POST /api/v1/search`; `None` when nobody answers or it cannot say.
    pub fn try_search(&self, parameters: &Value) -> Option<Value> {
        let answer = http::post(&self.address, "/api/v1/search", &parameters.to_string()).ok()?;
        let found = serde_json::from_slice(&answer.body).ok()?;
        (answer.status == 200).then_some(found)
    }

    /// `POST /api/v1/search`.
    ///
    /// # Panics
    /// When there is no answer, or none of status 200.
    #[track_caller]
    pub fn search(&self, parameters: &Value) -> Value {
        let answer =
            http::post(&self.address, "/api/v1/search", &parameters.to_string()).expect("the server answers");
        assert_eq!(answer.status, 200, "{parameters}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// How many records of all time match, if the answer is whole.
    pub fn whole_total(&self, query: &str) -> Option<u64> {
        let answer = self.try_search(&json!({ "q": query, "from": ALL_TIME, "limit": 0 }))?;
        (answer["partial"] == json!(false)).then(|| answer["total"].as_u64()).flatten()
    }

    /// The newest hits of all time.
    ///
    /// # Panics
    /// As [`Server::search`].
    #[track_caller]
    pub fn hits(&self, query: &str) -> Vec<Value> {
        let answer = self.search(&json!({ "q": query, "from": ALL_TIME, "limit": 100 }));
        answer["hits"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until exactly so many records match in a whole answer. More than that fails at once: they never become
    /// fewer.
    ///
    /// # Panics
    /// When they do not within that time.
    #[track_caller]
    pub fn wait_for_total(&self, query: &str, expected: u64, within: Duration) {
        let begun = std::time::Instant::now();
        let mut last = None;
        while begun.elapsed() < within {
            if let Some(answer) = self.try_search(&json!({ "q": query, "from": ALL_TIME, "limit": 0 })) {
                let total = answer["total"].as_u64().expect("a total");
                assert!(
                    total <= expected,
                    "{total} records match {query}, {expected} expected: some came twice"
                );
                if total == expected && answer["partial"] == json!(false) {
                    return;
                }
                last = Some(answer);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not {expected} records for {query} after {within:?}; the last answer: {last:?}");
    }

    /// Pages through everything that matches, by cursors, oldest first; `each` sees every hit.
    ///
    /// # Panics
    /// As [`Server::search`], and when an answer is partial.
    #[track_caller]
    pub fn each_hit(&self, query: &str, mut each: impl FnMut(&Value)) {
        self.each_hit_within(query, (0, LATEST), &mut each);
    }

    /// Each page counts all that matches: where that is much, half of the time is looked at, and half of that.
    fn each_hit_within(&self, query: &str, (from, to): (u64, u64), each: &mut impl FnMut(&Value)) {
        let (first, end) = (from.to_string(), to.to_string());
        let mut page = json!({ "q": query, "from": first, "to": end, "limit": 0, "sort": "timestamp" });
        let total = self.whole(&page)["total"].as_u64().expect("a total");
        if total > MANY && to - from > 1 {
            let middle = from.midpoint(to);
            self.each_hit_within(query, (from, middle), each);
            self.each_hit_within(query, (middle, to), each);
            return;
        }
        if total == 0 {
            return;
        }
        page["limit"] = json!(PAGE);
        loop {
            let answer = self.whole(&page);
            answer["hits"].as_array().into_iter().flatten().for_each(&mut *each);
            if answer["cursor"].is_null() {
                return;
            }
            page["cursor"] = answer["cursor"].clone();
        }
    }

    /// A whole answer: right after a restart a part may be on its way.
    fn whole(&self, parameters: &Value) -> Value {
        wait::until("a whole answer", Duration::from_secs(30), || {
            self.try_search(parameters).filter(|answer| answer["partial"] == json!(false))
        })
    }

    /// `GET /api/v1/alerts`.
    ///
    /// # Panics
    /// When there is no answer, or none of status 200.
    #[track_caller]
    pub fn alerts(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/alerts");
        answer["alerts"].as_array().cloned().expect("alerts")
    }

    /// `GET` of anything that answers with JSON.
    ///
    /// # Panics
    /// When there is no answer, or none of status 200.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = http::get(&self.address, path).expect("the server answers");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// Waits until an indexer of this process has published a shard.
    ///
    /// # Panics
    /// When it has not in time.
    #[track_caller]
    pub fn wait_for_a_shard(&self, within: Duration) {
        wait::until_true("a shard is published", within, || {
            self.metric("millrace_indexer_shards_total").is_some_and(|shards| shards >= 1.0)
        });
    }

    /// The value of a metric, of all its labels together; `None` where it is not there.
    pub fn metric(&self, name: &str) -> Option<f64> {
        metric(&self.address, name)
    }
}

/// The value of a metric of any role: of all its labels together, or with labels, as it is written, of one series.
pub fn metric(address: &str, name: &str) -> Option<f64> {
    let text = http::get(address, "/metrics").ok()?.text();
    let values: Vec<f64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(series, _)| *series == name || series.split('{').next() == Some(name))
        .filter_map(|(_, value)| value.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}
