//! One who watches: at its own pace, from its own cursor.

use super::{
    Cursor,
    feed::{Feed, Inner},
    ring::{Batch, Look, Place},
};
use millrace_filter::Filter;
use millrace_ledger::{Ledger, Place as MessagePlace, read};
use millrace_model::{Partition, Row, Sight, StreamName};
use millrace_transport::Page;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::sync::watch;

/// So many messages of a page are read at once.
const PAGE: usize = 1000;
/// So many messages before its cursor are read again, to know what agents sent again behind it.
const BEFORE: i64 = 2000;

/// What a watcher sees next.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// A record that matches, and where the watcher stands behind it.
    Record(Box<Row>, Cursor),
    /// Records were not shown: it was too slow, or the topic does not have them any more.
    PassedOver {
        /// How many records, where that is known.
        records: Option<u64>,
        /// How many messages, where only that is known.
        messages: Option<i64>,
        /// Why.
        reason: &'static str,
    },
}

/// See the module. Dropping it ends it.
pub struct Watcher {
    inner: Arc<Inner>,
    filter: Filter,
    streams: Option<Vec<StreamName>>,
    sight: Sight,
    cursor: Cursor,
    /// How far was read; what of it was not shown is in `ready`.
    reading: Cursor,
    /// Where it goes on in the ring; `None`: it has yet to get there.
    place: Option<Place>,
    news: watch::Receiver<u64>,
    /// What was read and not shown yet.
    ready: VecDeque<Seen>,
    /// Of what is read of the topic itself, before the ring; and where that goes on.
    ledger: Ledger,
    behind: BTreeMap<Partition, i64>,
}

const SLOW: &str = "it was taken too slowly";
const GONE: &str = "the topic does not have it any more";

impl Watcher {
    pub(super) fn new(
        feed: &Feed,
        filter: Filter,
        streams: Option<Vec<StreamName>>,
        sight: Sight,
        from: Option<Cursor>,
    ) -> Self {
        let inner = feed.inner();
        let news = inner.news.subscribe();
        let (cursor, place) = match from {
            Some(cursor) => (cursor, None),
            None => inner.now(),
        };
        let (ready, ledger, behind) = (VecDeque::new(), Ledger::new(), BTreeMap::new());
        let reading = cursor.clone();
        Self { inner, filter, streams, sight, cursor, reading, place, news, ready, ledger, behind }
    }

    /// Where it stands: all before was shown, or did not match, or was passed over.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// What comes next. Cancel-safe.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub async fn next(&mut self) -> Result<Seen, millrace_transport::Error> {
        loop {
            if let Some(seen) = self.ready.pop_front() {
                if let Seen::Record(_, cursor) = &seen {
                    self.cursor = cursor.clone();
                }
                return Ok(seen);
            }
            self.cursor.clone_from(&self.reading);
            match self.place {
                Some(place) => self.follow(place).await,
                None => self.catch_up().await?,
            }
        }
    }

    async fn follow(&mut self, place: Place) {
        self.news.borrow_and_update();
        let look = self.inner.look(place);
        match look {
            Look::Batch(batch, next) => {
                self.place = Some(next);
                self.show(&batch);
                // Others want to get on, too.
                tokio::task::yield_now().await;
            }
            Look::Lost(records, next) => {
                self.place = Some(next);
                for (partition, (from, _)) in self.inner.held() {
                    self.reading.passed(partition, from);
                }
                if records > 0 {
                    let seen = Seen::PassedOver { records: Some(records), messages: None, reason: SLOW };
                    self.ready.push_back(seen);
                }
            }
            // The feed lives as long as its watchers.
            Look::Nothing => drop(self.news.changed().await),
        }
    }

    /// Reads the topic itself until what follows is in the ring.
    async fn catch_up(&mut self) -> Result<(), millrace_transport::Error> {
        let (held, start) = self.inner.held_from();
        for (partition, (from, to)) in held {
            // A partition that was not there yet was begun since: all of it is new.
            let next = self.reading.next.get(&partition).copied().unwrap_or(0);
            if (from..=to).contains(&next) {
                continue;
            }
            let at = self.behind.get(&partition).copied().unwrap_or_else(|| (next - BEFORE).max(0));
            let page = self.inner.parts.topic.page(partition, at, PAGE).await?;
            // Another node's feed may have been ahead of this one.
            if next < from || next > page.end {
                self.take_page(partition, next, page);
                return Ok(());
            }
        }
        self.ledger = Ledger::new();
        self.behind.clear();
        self.place = Some(start);
        Ok(())
    }

    fn take_page(&mut self, partition: Partition, next: i64, page: Page) {
        if next > page.end {
            // The topic was made anew.
            self.reading.next.insert(partition, page.low);
            self.reading.within.remove(&partition);
            let seen = Seen::PassedOver { records: None, messages: None, reason: GONE };
            self.ready.push_back(seen);
            return;
        }
        if next < page.low {
            let messages = Some(page.low - next);
            self.ready.push_back(Seen::PassedOver { records: None, messages, reason: GONE });
        }
        for message in page.messages {
            let reading = read(&message.headers, &message.value);
            let place = MessagePlace {
                topic: self.inner.parts.topic.name(),
                topic_id: None,
                partition,
                offset: message.offset,
                timestamp: message.timestamp,
            };
            while let Some(source) = self.ledger.missing_for(place, &reading) {
                self.ledger.load(source, partition, None);
            }
            let rows = self.inner.rows(self.ledger.account(place, reading));
            self.show(&Batch { partition, offset: message.offset, rows });
        }
        self.reading.passed(partition, page.next);
        self.behind.insert(partition, page.next);
    }

    /// Has those of a message's records that match, and were not seen, ready to be shown.
    fn show(&mut self, batch: &Batch) {
        let at = (batch.partition, batch.offset);
        let before = self.ready.len();
        for row in &batch.rows {
            if self.reading.is_past(at, row.id) || !self.may_see(&row.stream) {
                continue;
            }
            // Who may not see all of a record is shown what matches of the rest.
            let row = self.sight.masks.shown(row);
            if !self.filter.matches(&row.placed()) {
                continue;
            }
            self.reading.saw(at, row.id);
            self.ready.push_back(Seen::Record(Box::new(row.into_owned()), self.reading.clone()));
        }
        self.reading.passed(batch.partition, batch.offset + 1);
        // With the last of them all of the message was seen.
        if self.ready.len() > before
            && let Some(Seen::Record(_, behind)) = self.ready.back_mut()
        {
            behind.clone_from(&self.reading);
        }
    }

    fn may_see(&self, stream: &StreamName) -> bool {
        self.sight.grant.shows(self.streams.as_deref(), stream)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.inner.leave();
    }
}
