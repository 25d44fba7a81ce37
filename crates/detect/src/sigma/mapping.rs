//! What the lines of programs that Sigma has rules for say, under the names that those rules use: an auditd record's
//! `exe` is an `Image`, what sudo ran is a `CommandLine`. Each program's own module reads its lines; nothing here fails:
//! a line that is none of its program's says nothing.
//!
//! It is read from the line itself and not from attributes, so that it does not matter who shipped the line and whether
//! they parsed it. What has been parsed goes by conventional names, which [`super::view`] knows.

mod audit;
mod programs;
mod web;

pub(super) use audit::is_record as is_audit_record;

use super::view::{View, is_named};
use millrace_model::{Row, Value};
use std::borrow::Cow;

/// Fields of a record that are not among its attributes, and what kind of event it is.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    /// A name may come several times: then it has several values.
    fields: Vec<(&'a str, Cow<'a, str>)>,
    /// Sigma's category, where the line tells it.
    pub(super) category: Option<&'static str>,
    /// Do these fields stand for attributes of the same names, which are as the program spelled them?
    pub(super) decoded: bool,
}

impl<'a> Said<'a> {
    /// Reads the line of a record whose program is `service`.
    pub(super) fn of(row: &'a Row, view: &View<'a>, service: Option<&str>, web: bool) -> Self {
        let mut said = Self::default();
        let line = match &row.record.body {
            Value::String(line) | Value::Text(line) => line.as_str(),
            _ => "",
        };
        match service {
            Some("auditd") => audit::read(line, &mut said),
            Some("sudo") => programs::sudo(line, &mut said),
            Some("cron") => programs::cron(line, &mut said),
            Some("sshd") => programs::sshd(line, &mut said),
            _ if web => web::read(line, view, &mut said),
            _ => {}
        }
        said
    }

    fn push(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        self.fields.push((name, value.into()));
    }

    /// Values of one name, or none.
    fn extend<V: Into<Cow<'a, str>>>(&mut self, name: &'a str, values: impl IntoIterator<Item = V>) {
        self.fields.extend(values.into_iter().map(|value| (name, value.into())));
    }

    /// Does the line say anything of a name?
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| is_named(known, name))
    }

    /// The first value of a name.
    fn first(&self, name: &str) -> Option<&Cow<'a, str>> {
        self.values(name).next()
    }

    /// All values of a name.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &Cow<'a, str>> {
        self.fields.iter().filter(move |(known, _)| is_named(known, name)).map(|(_, value)| value)
    }

    /// Every name, as often as it has values.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.fields.iter().map(|(name, _)| *name)
    }

    /// The texts that do not stand in the line as they are.
    pub(super) fn made(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter_map(|(_, value)| match value {
            Cow::Owned(text) => Some(text.as_str()),
            Cow::Borrowed(_) => None,
        })
    }
}

/// The first word of a command, if it is a path.
fn program(command: &str) -> Option<&str> {
    command.split_ascii_whitespace().next().filter(|word| word.starts_with('/'))
}

#[cfg(test)]
mod tests;
