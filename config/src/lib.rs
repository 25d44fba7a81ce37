//! How settings are read: TOML in layers, with units, secrets, and errors that show file, line and column.
//!
//! [`load`] merges the layers (file, sibling `conf.d/*.toml` in name order, environment, flags) into a [`Document`];
//! each room reads its own [`Section`] of it and holds its own defaults. What any room may set is no business of
//! this crate.
//!
//! **Invariant:** no error ends the reading. Bad values, missing and unknown keys, unset variables are collected,
//! and [`Document::finish`] shows all of them at once, in the order in which they stand.

mod choices;
mod document;
mod expand;
mod from_value;
mod listen;
mod load;
mod min_free;
mod parse;
mod report;
mod secret;
mod section;
mod units;
mod value;

pub use document::{Document, Origin};
pub use from_value::{FromValue, Wrong};
pub use listen::Unguarded;
pub use load::{Layers, load};
pub use min_free::{MinFree, Shortage, Space, Watermark};
pub use report::{Problem, Report};
pub use secret::Secret;
pub use section::Section;
pub use units::{Age, ByteSize, UnitError};
pub use value::{Place, Value};

#[cfg(test)]
mod tests;
