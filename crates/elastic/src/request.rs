//! What clients send: bodies and parameters, read and bounded. What needs to know an index's fields is made of them later, with its
//! mapping: [`Search::filter`], [`Search::order`], [`Search::aggregations`].

mod after;
mod bulk;
mod multi;
mod order;
mod parameters;
mod search;
mod sort;
#[cfg(test)]
mod tests;

pub use bulk::{Action, AutoCreate, Operation, Update, bulk};
pub use multi::{Header, Item, multi};
pub use order::{Found, Native, Order, Position};
pub use parameters::{Indices, Parameters};
pub use search::{Count, FieldAsked, Highlight, MAX_WINDOW, Pit, Search, TotalHits};
pub use sort::{Missing, SortField, SortKey};
