//! The values of one slot in one chunk: encoding them, and answering from the encoded bytes. Owns the layout of a column;
//! where its parts lie, what its head and its pool are compressed with, and which columns there are is the caller's.
//!
//! A column has three parts. Its *head* says how it is encoded and how long the others are; it is read first, and alone
//! answers what needs no rows. Its *data* is read at random: bit packed numbers, which are never compressed, and zstd
//! frames of long text. Its part of the *pool* is short text and skewed codes, raw.
//!
//! A head begins with a byte: the low three bits say the layout, the others how many pieces its values have.
//!
//! | layout | what follows |
//! |---|---|
//! | constant | the value |
//! | plain | the pieces of the values |
//! | dictionary | how many distinct values, their pieces, the codes of the rows |

mod blob;
mod classes;
mod codes;
mod composite;
mod date_time;
mod digits;
mod distinct;
mod head;
mod hexadecimal;
mod needle;
mod number_plan;
mod numbers;
pub(crate) mod pack;
mod piece;
mod plan;
mod read;
mod shape;
mod token;
mod tokens;
mod values;
mod write;

pub(crate) use classes::ByteClasses;
pub(crate) use distinct::{Coded, Interner};
pub(crate) use head::Head;
pub(crate) use needle::Needle;
pub(crate) use numbers::Numbers;
pub(crate) use read::Column;
pub(crate) use write::ColumnWriter;

/// Where the parts of encoded columns go. `head`s are small and read first (pruning); `data` is read at random;
/// `pool` is small stuff (strings, skewed codes) that the caller compresses together with that of neighbouring columns
/// and chunks.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    /// The heads, one after the other.
    pub(crate) head: Vec<u8>,
    /// The data of the columns, in the order of the heads.
    pub(crate) data: Vec<u8>,
    /// The pool of the columns, in the order of the heads.
    pub(crate) pool: Vec<u8>,
}

#[cfg(test)]
mod tests;
