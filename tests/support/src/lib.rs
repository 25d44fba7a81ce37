//! What tests need around them and the product does not: servers of other makers, started on free ports and gone when
//! the test process is gone, however it ends. A part that is missing is a panic that says how to get it, never a skip.

pub mod kafka;
