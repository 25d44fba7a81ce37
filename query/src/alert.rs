//! Detection: records of the stream through rules ([`watch`]), findings into alerts ([`lifecycle`]), alerts to people
//! ([`notify`]). [`backtest`] tries a rule over what is kept. Everything between two commits is made durable in one transaction with the offsets that it rests on.

pub mod backtest;
pub mod lifecycle;
pub mod notify;
pub mod rules;
pub mod watch;

pub use notify::Notifier;
pub use rules::RuleBook;
pub use watch::{Watch, WatchParts, WatchStatus};
