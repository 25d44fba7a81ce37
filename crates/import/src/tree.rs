//! A configuration as it was read, whatever it was written in. Each place in it remembers what became of it, so that in the end
//! everything that nobody took is told.

use super::{LeftOut, variables};
use std::cell::{Cell, RefCell};

mod read;
pub(super) use read::{Builder, json, toml, yaml};

/// A place in a configuration.
#[derive(Debug)]
pub(super) struct Node {
    /// Its path.
    at: String,
    data: Data,
    /// Why it cannot be said in Millrace's configuration.
    odd: Option<String>,
    /// It was taken over; what is in it speaks for itself.
    taken: Cell<bool>,
    /// All that is in it was taken over, or the reason why not is among the notes.
    whole: Cell<bool>,
    notes: RefCell<Vec<String>>,
}

/// What stands there.
#[derive(Debug)]
pub(super) enum Data {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// A text, its variables marked.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Names and values, in order; a name may come twice where the format allows that.
    Map(Vec<(String, Node)>),
}

/// Why keys of a tool are not taken over: by the end of their path, without indices and in lower-case.
pub(super) type Reasons = &'static [(&'static str, &'static str)];

impl Node {
    /// Its path, such as `filebeat.inputs[0].paths`.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// All values of a key that may come several times.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Self> {
        self.entries().iter().filter(move |(name, _)| name == key).map(|(_, node)| node)
    }

    /// What lies under a dotted path.
    pub(super) fn find(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| node.get(key))
    }

    /// Names and values; none if it is no map.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        if let Data::Map(entries) = &self.data { entries } else { &[] }
    }

    /// The one entry of a map that has one.
    pub(super) fn only(&self) -> Option<(&str, &Self)> {
        match self.entries() {
            [(name, node)] => Some((name, node)),
            _ => None,
        }
    }

    /// The items of a list; a value that is no list is its own only item, as most tools have it.
    pub(super) fn items(&self) -> &[Self] {
        match &self.data {
            Data::List(items) => items,
            Data::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// Is it a list?
    pub(super) fn is_list(&self) -> bool {
        matches!(self.data, Data::List(_))
    }

    /// Is it a map?
    pub(super) fn is_map(&self) -> bool {
        matches!(self.data, Data::Map(_))
    }

    /// Does nothing stand there?
    pub(super) fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// What stands there.
    pub(super) fn data(&self) -> &Data {
        &self.data
    }

    /// It was taken over. What is in it has to be taken by itself.
    pub(super) fn take(&self) {
        self.taken.set(true);
    }

    /// It was taken over, with all that is in it.
    pub(super) fn take_all(&self) {
        self.take();
        self.whole.set(true);
    }

    /// It is not taken over, with all that is in it, for this reason.
    pub(super) fn leave(&self, why: impl Into<String>) {
        self.whole.set(true);
        self.remark(why);
    }

    /// It is not quite taken over, for this reason. What is in it has to be taken by itself.
    pub(super) fn remark(&self, why: impl Into<String>) {
        self.take();
        let why = variables::shown(&why.into());
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&why) {
            notes.push(why);
        }
    }

    /// As [`Self::leave`], where an error says why.
    pub(super) fn ok<T>(&self, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.leave(why)).ok()
    }

    /// The text that stands there; numbers and booleans as they are written. What is none is left out.
    pub(super) fn text(&self) -> Option<String> {
        let text = match &self.data {
            Data::Text(text) => text.clone(),
            Data::Bool(flag) => flag.to_string(),
            Data::Integer(number) => number.to_string(),
            Data::Float(number) => number.to_string(),
            Data::Null | Data::List(_) | Data::Map(_) => {
                self.leave("a text was expected here");
                return None;
            }
        };
        self.take();
        match &self.odd {
            Some(odd) => {
                self.leave(odd.as_str());
                None
            }
            None => Some(text),
        }
    }

    /// The text without a variable, for what must be known now.
    pub(super) fn plain(&self) -> Option<String> {
        let text = self.text()?;
        if variables::are_in(&text) {
            self.leave("a variable stands here, and what it stands for must be known: put it in");
            return None;
        }
        Some(text)
    }

    /// Yes or no, in any of the ways in which these tools say it.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.plain()?.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "y" | "1" => Some(true),
            "false" | "off" | "no" | "n" | "0" => Some(false),
            other => {
                self.leave(format!("neither yes nor no: {other:?}"));
                None
            }
        }
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self) -> Option<u64> {
        let text = self.plain()?;
        self.ok(text.trim().parse().map_err(|_| format!("no whole number: {text:?}")))
    }

    /// A number.
    pub(super) fn number(&self) -> Option<f64> {
        let text = self.plain()?;
        let number = text.trim().parse().ok().filter(|number| f64::is_finite(*number));
        self.ok(number.ok_or_else(|| format!("no number: {text:?}")))
    }

    /// The texts of a list, or of one value.
    pub(super) fn texts(&self) -> Vec<String> {
        if !self.is_map() {
            self.take();
        }
        self.items().iter().filter_map(Self::text).collect()
    }

    /// The leaves below it that are no maps, with their dotted names.
    pub(super) fn leaves(&self) -> Vec<(String, &Self)> {
        let mut leaves = Vec::new();
        for (name, node) in self.entries() {
            if node.is_map() && !node.entries().is_empty() {
                leaves.extend(node.leaves().into_iter().map(|(rest, leaf)| (format!("{name}.{rest}"), leaf)));
            } else {
                leaves.push((name.clone(), node));
            }
        }
        leaves
    }

    /// Everything that was not taken over, in the order of the original.
    pub(super) fn left_out(&self, reasons: Reasons) -> Vec<LeftOut> {
        let mut left_out = Vec::new();
        self.report(false, reasons, &mut left_out);
        left_out
    }

    fn report(&self, covered: bool, reasons: Reasons, left_out: &mut Vec<LeftOut>) {
        let said = |why: &String| LeftOut { at: self.at.clone(), why: why.clone() };
        left_out.extend(self.notes.borrow().iter().map(said));
        let covered = covered || self.whole.get();
        if !covered && !self.is_touched() && !self.is_known_in_parts(reasons) {
            let at = if self.at.is_empty() { "(the whole file)" } else { &self.at };
            let why = reason(&self.at, reasons).unwrap_or("Millrace has no such setting");
            left_out.push(LeftOut { at: at.to_owned(), why: why.to_owned() });
            return;
        }
        for child in self.children() {
            child.report(covered, reasons, left_out);
        }
    }

    /// Did anybody look at something in it?
    fn is_touched(&self) -> bool {
        self.taken.get() || self.children().any(Self::is_touched)
    }

    /// Are there reasons for parts of it, and none for the whole?
    fn is_known_in_parts(&self, reasons: Reasons) -> bool {
        let is_known =
            |child: &Self| reason(&child.at, reasons).is_some() || child.is_known_in_parts(reasons);
        let root = self.at.is_empty() && self.children().next().is_some();
        root || (reason(&self.at, reasons).is_none() && self.children().any(is_known))
    }

    /// The paths of all places in it.
    #[cfg(test)]
    pub(super) fn paths(&self) -> Vec<String> {
        let below = self.children().flat_map(Self::paths);
        std::iter::once(self.at.clone()).chain(below).collect()
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        let items = if let Data::List(items) = &self.data { items.as_slice() } else { &[] };
        items.iter().chain(self.entries().iter().map(|(_, node)| node))
    }
}

/// Why a key that nobody took is left out: the reason with the longest match.
fn reason(at: &str, reasons: Reasons) -> Option<&'static str> {
    let path = without_indices(at).to_lowercase();
    let fits =
        |key: &str| path.strip_suffix(key).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    let fitting = reasons.iter().filter(|(key, _)| fits(key));
    fitting.max_by_key(|(key, _)| key.len()).map(|(_, why)| *why)
}

fn without_indices(at: &str) -> String {
    let mut depth = 0;
    let keep = |c: &char| {
        depth += i32::from(*c == '[');
        let kept = depth == 0;
        depth -= i32::from(*c == ']');
        kept
    };
    at.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests;
