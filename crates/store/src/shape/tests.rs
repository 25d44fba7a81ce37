#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::{
    sample,
    shaper::{Fit, Shaper},
    strings::Strings,
};
use millrace_model::{LogRecord, Timestamp};
use proptest::prelude::*;
use std::sync::Arc;

struct Values(Strings);

impl Slots for Values {
    fn slot(&self, number: usize) -> &[u8] {
        self.0.get(number)
    }
}

fn taken(shaper: &Shaper, record: &LogRecord, time: Timestamp, fit: Fit) -> (Arc<Shape>, Values) {
    let mut state = shaper.lock();
    let (shape, _) = state.take(record, time, fit);
    let values = std::mem::take(&mut state.values);
    assert_eq!(values.len(), shape.slots());
    (shape, Values(values))
}

fn back(shape: &Shape, values: &Values, record: &LogRecord, time: Timestamp) -> LogRecord {
    let row = RowFacts { time, observed: record.observed_timestamp, resource: &record.resource };
    shape.record(values, row, &mut Line::default()).unwrap()
}

proptest! {
    /// Whatever a record is, its shape and values give it back, however it was kept; and the key gives the shape back.
    #[test]
    fn records_come_back(rows in sample::rows(12), adjusted in any::<bool>()) {
        let shaper = Shaper::new();
        for hot in &rows {
            let record = &hot.row.record;
            let time = if adjusted { hot.row.time } else { record.time() };
            for fit in [Fit::Close, Fit::Loose] {
                let (shape, values) = taken(&shaper, record, time, fit);
                prop_assert_eq!(format!("{:?}", back(&shape, &values, record, time)), format!("{record:?}"));
                let again = Shape::read_key(shape.key()).unwrap();
                prop_assert_eq!(format!("{again:?}"), format!("{shape:?}"));
            }
        }
    }

    #[test]
    fn any_key_is_read_or_refused(key in prop::collection::vec(any::<u8>(), 0..80)) {
        drop(Shape::read_key(&key));
    }
}
