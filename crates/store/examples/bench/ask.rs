//! The one place where requests are made.

use crate::meter::Outcome;
use millrace_model::TimeRange;
use millrace_store::{LeafRequest, Order};

/// A place among rows: where a page ended.
type After = Option<millrace_store::Place>;

/// The first `limit` matches after a place, of all times.
pub(crate) fn request(query: &str, limit: usize, order: Order, after: After) -> Outcome<LeafRequest> {
    let filter = millrace_filter::parse(query).map_err(|error| format!("{query}: {error}"))?;
    Ok(LeafRequest { filter, range: TimeRange::ALL, limit, order, after, histogram: None, fragments: None })
}
