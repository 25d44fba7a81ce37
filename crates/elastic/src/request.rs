//! What clients send: bodies and parameters, read and bounded. What needs to know an index's fields is made of them later, with its
//! mapping: [`Search::filter`], [`Search::order`], [`Search::aggregations`].

mod after;
mod bulk;
mod mixed;
mod multi;
mod order;
mod parameters;
mod search;
mod several;
mod sort;
#[cfg(test)]
mod tests;
mod update;

pub use bulk::{Action, AutoCreate, Operation, bulk};
pub use multi::{Header, Item, multi};
pub use order::{Found, Native, Order, Position};
pub use parameters::{Indices, Parameters};
pub use search::{Count, FieldAsked, Highlight, MAX_WINDOW, Pit, Search, TotalHits};
pub use several::several;
pub use sort::{Missing, SortField, SortKey};
pub use update::{Applied, Condition, Update};
