//! A line as its template and its variables. Lines only: how records are stored is not known here. No I/O.
//!
//! [`Scan`] cuts a line once, from left to right, at the borders of words ([`millrace_model::text`]): what varies from
//! line to line becomes *variables*, the rest stays as the *mask*, the line's bytes with each variable replaced by one
//! NUL byte. [`rebuild`] is the way back.
//!
//! **Invariants:**
//! - `rebuild(mask, variables)` is the line, byte for byte, for every line.
//! - The mask is a function of the line alone, and [`TemplateId`] one of the mask alone: every node, replay and rule
//!   agrees on both.
//! - A variable begins and ends at the border of a word (or with the sign before it), so the words of a line are those
//!   of its mask's constant pieces and those of its variables; of a JSON line too, whose words are those of its raw text.
//! - A mask reads as a JSON object's ([`json_leaves`]) exactly if its line is one JSON object.

mod bits;
mod contents;
mod id;
mod json;
mod leaves;
mod merge;
mod mine;
mod scan;
mod shapes;
mod slots;
mod text;
mod unescape;

pub use id::{InvalidTemplateId, TemplateId};
pub use leaves::{Leaf, LeafKind, json_leaves};
pub use merge::{Cover, Merge, variables_under};
pub use mine::{Canonical, Limits, Miner};
pub use scan::{FREE_TEXT, MAX_VARIABLES, Scan, rebuild};
pub use unescape::unescape;
