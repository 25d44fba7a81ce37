//! The topic: brokers, and what is passed through to librdkafka.

use super::{Refused, emit::Toml, tree::Node, variables};

/// The topic as an original has it.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Paths of what it was made from.
    pub(super) at: Vec<String>,
    /// `host:port` of brokers; none: the original ships elsewhere.
    pub(super) brokers: Vec<String>,
    /// The original's topic.
    pub(super) theirs: Option<String>,
    /// librdkafka's keys.
    pub(super) librdkafka: Vec<(String, Toml)>,
    /// Those that a configuration may not set.
    pub(super) refused: Refused,
}

/// Keys that are librdkafka's callbacks or choose how messages are spread: of no use in a file, or not what Millrace promises.
const OF_NO_USE: &[(&str, &str)] = &[
    ("partitioner", "the records of one source stay in order, in one partition"),
    ("plugin.library.paths", "Millrace loads no plugins"),
];

impl Topic {
    /// Sets one of librdkafka's keys.
    pub(super) fn set(&mut self, key: &str, value: Toml) {
        match self.librdkafka.iter_mut().find(|(there, _)| there == key) {
            Some((_, there)) => *there = value,
            None => self.librdkafka.push((key.to_owned(), value)),
        }
    }

    /// Sets it to the text that stands somewhere.
    pub(super) fn text(&mut self, key: &str, node: Option<&Node>) {
        if let Some(text) = node.and_then(Node::text) {
            self.set(key, Toml::Text(text));
        }
    }

    /// Passes a key of librdkafka on, unless it is one that Millrace keeps to itself.
    pub(super) fn pass(&mut self, key: &str, node: &Node) {
        let refused = self.refused.iter().chain(OF_NO_USE).find(|(ours, _)| *ours == key);
        match refused {
            Some((_, why)) => node.leave(format!("{key} is not for configuration: {why}")),
            None => self.text(key, Some(node)),
        }
    }

    /// Reads a list of brokers, or one text with commas.
    pub(super) fn brokers(&mut self, node: &Node) {
        let texts = node.texts();
        self.brokers.extend(texts.iter().flat_map(|text| variables::parts(text, ',')));
    }

    /// Reads the topic's name, which must not depend on the record (`dynamic` is how that begins).
    pub(super) fn name(&mut self, node: &Node, dynamic: &str) {
        let Some(name) = node.text() else { return };
        if name.contains(dynamic) {
            node.leave("Millrace has one topic for all records; [streams.NAME] topic gives a stream another");
        } else {
            node.leave(format!(
                "Millrace's messages have a format of their own, which those who read {name:?} do not understand: \
                 the topic is called after it"
            ));
            self.theirs = Some(name);
        }
    }

    /// How brokers are spoken to.
    pub(super) fn protocol(&mut self, tls: bool, sasl: bool) {
        let protocol = match (tls, sasl) {
            (true, true) => "SASL_SSL",
            (true, false) => "SSL",
            (false, true) => "SASL_PLAINTEXT",
            (false, false) => return,
        };
        self.set("security.protocol", Toml::text(protocol));
    }

    /// The name of Millrace's topic.
    pub(super) fn ours(&self) -> Option<String> {
        let theirs = self.theirs.as_ref()?;
        let legal = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
        let plain = variables::replaced(theirs, "x");
        let fits = !plain.is_empty()
            && plain.chars().all(|c| legal(&c))
            && !plain.starts_with('.')
            && plain.len() <= 200;
        fits.then(|| format!("{theirs}.millrace"))
    }
}
