//! Detection: records of the stream through rules ([`watch`]), findings into alerts ([`lifecycle`]), alerts to people: who
//! is told of what is decided at a [`desk`] by a [`plan`], and told by a [`notify::Notifier`] through [`receivers`]. Everything
//! between two commits is made durable in one transaction with the offsets that it rests on, and so is what is decided with
//! what is to be sent. Rules that ask again and again are carried out by a [`schedule`]. [`backtest`] tries a rule over what is kept, and
//! [`propose`] how it would do if it were turned; [`history`] hands rules what was there before them.

pub mod backtest;
pub mod copies;
pub mod desk;
#[cfg(test)]
mod fixtures;
pub mod history;
pub mod judge;
pub mod lifecycle;
pub mod matcher;
pub mod notify;
pub mod plan;
pub mod propose;
pub mod receivers;
pub mod routes;
pub mod rules;
pub mod schedule;
pub mod silence;
pub mod told;
pub mod watch;

pub use desk::{Desk, DeskParts};
pub use history::{Historian, Histories, histories};
pub use notify::Notifier;
pub use rules::RuleBook;
pub use schedule::{Scheduler, SchedulerParts};
pub use watch::{Watch, WatchParts, WatchStatus};
