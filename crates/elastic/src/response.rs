//! What clients are answered: builders of bodies out of plain facts. What the facts are is the caller's to know.

mod caps;
mod cat;
mod cluster;
mod hits;
#[cfg(test)]
mod tests;

pub use caps::{IndexFields, field_caps};
pub use cat::{CatTable, Column, indices};
pub use cluster::{
    IndexFacts, Node, VERSION, aliases, health, info, mappings, nodes, resolve, search_shards, stats,
};
pub use hits::{Answer, Hit, Total, bulk, bulk_item, count, filter_path, multi, written};
