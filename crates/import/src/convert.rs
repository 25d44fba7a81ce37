//! What every conversion comes to.

use super::{Refused, kafka::Topic, source::Source};
use std::path::PathBuf;

/// A converted configuration.
#[derive(Debug)]
pub(super) struct Converted {
    /// This host's name, where the original gives it one.
    pub(super) host: Option<String>,
    /// What is read, and what is not.
    pub(super) blocks: Vec<Block>,
    /// Where it goes.
    pub(super) topic: Topic,
    /// Where the tool keeps its positions.
    pub(super) registries: Vec<PathBuf>,
}

/// What became of an input.
#[derive(Debug)]
pub(super) enum Block {
    /// A source.
    Source(Box<Source>),
    /// Nothing; this is where it stood.
    Absent(String),
}

impl Converted {
    /// Nothing yet.
    pub(super) fn new(refused: Refused) -> Self {
        let topic = Topic { refused, ..Topic::default() };
        Self { host: None, blocks: Vec::new(), topic, registries: Vec::new() }
    }

    /// Adds a source under a name that no other has.
    pub(super) fn add(&mut self, mut source: Source) {
        let base = slug(&source.name);
        let mut name = base.clone();
        let mut number = 2;
        while self.sources().any(|other| other.name == name) {
            name = format!("{base}-{number}");
            number += 1;
        }
        source.name = name;
        self.blocks.push(Block::Source(Box::new(source)));
    }

    /// Notes that nothing came of an input.
    pub(super) fn absent(&mut self, at: &str) {
        self.blocks.push(Block::Absent(at.to_owned()));
    }

    /// All sources.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Source(source) => Some(&**source),
            Block::Absent(_) => None,
        })
    }

    /// All sources, to add to them.
    pub(super) fn sources_mut(&mut self) -> impl Iterator<Item = &mut Source> {
        self.blocks.iter_mut().filter_map(|block| match block {
            Block::Source(source) => Some(&mut **source),
            Block::Absent(_) => None,
        })
    }

    /// Is standard input read already?
    pub(super) fn reads_stdin(&self) -> bool {
        self.sources().any(|source| source.kind == "stdin")
    }
}

/// A name as tables have it without quotes.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in super::variables::replaced(name, "").chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(60);
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "source".to_owned() } else { slug.to_owned() }
}
