//! What other shippers' configurations say, said as Millrace's: `millrace config import`. What cannot be said is told, each
//! setting with its place and a reason; nothing is passed over.

mod charset;
mod convert;
mod emit;
mod filebeat;
mod fluent_bit;
mod glob;
mod kafka;
mod positions;
mod promtail;
mod query;
mod source;
mod times;
mod tree;
mod units;
mod variables;
mod vector;

pub use positions::{FLUENT_BIT_QUERY, Position, Positions, from_rows, positions};

use convert::Converted;
use std::path::{Path, PathBuf};

/// Keys, and why they are refused.
pub type Refused = &'static [(&'static str, &'static str)];

/// Whose configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Elastic's Filebeat: YAML.
    Filebeat,
    /// Grafana's Promtail: YAML.
    Promtail,
    /// Fluent Bit: its own format, or YAML.
    FluentBit,
    /// Vector: TOML, YAML or JSON.
    Vector,
}

impl Tool {
    /// The name that its makers write.
    pub fn title(self) -> &'static str {
        match self {
            Self::Filebeat => "Filebeat",
            Self::Promtail => "Promtail",
            Self::FluentBit => "Fluent Bit",
            Self::Vector => "Vector",
        }
    }

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filebeat => "filebeat",
            Self::Promtail => "promtail",
            Self::FluentBit => "fluent-bit",
            Self::Vector => "vector",
        }
    }
}

/// What became of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The configuration, as TOML with comments; what could not be taken over stands in it as a comment beside its place.
    pub toml: String,
    /// What was not taken over, in the order of the original.
    pub left_out: Vec<LeftOut>,
    /// Where the tool keeps its read positions by this configuration's word (or by its default), if it keeps them.
    pub registry: Option<PathBuf>,
    /// The others, where a tool keeps them in several places (Fluent Bit: one database an input).
    pub more_registries: Vec<PathBuf>,
}

/// Something that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it stood in the original, such as `filebeat.inputs[0].processors[1].dissect`.
    pub at: String,
    /// Why, or what to do instead.
    pub why: String,
}

/// What cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The configuration is not in the tool's format.
    #[error("{}{}: {message}", file.display(), place.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line and column, from 1, where the parser knows them.
        place: Option<(usize, usize)>,
        /// What is wrong there.
        message: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ImportError {
    /// Something is wrong with the file as a whole.
    pub(crate) fn whole(file: &Path, message: impl Into<String>) -> Self {
        Self::Syntax { file: file.to_owned(), place: None, message: message.into() }
    }
}

/// Converts a configuration. `file` is where `text` was read, for messages, and for the format where that goes by the name. `refused`: the
/// keys of librdkafka that a configuration may not set.
///
/// # Errors
/// The text is not in the tool's format.
pub fn import(tool: Tool, text: &str, file: &Path, refused: Refused) -> Result<Imported, ImportError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut converted = Converted::new(refused);
    let (root, reasons) = convert(tool, text, file, &mut converted)?;
    let left_out = root.left_out(reasons);
    let mut registries = converted.registries.iter().cloned();
    Ok(Imported {
        toml: emit::write(tool, file, &converted, &left_out),
        left_out,
        registry: registries.next(),
        more_registries: registries.collect(),
    })
}

fn convert(
    tool: Tool,
    text: &str,
    file: &Path,
    converted: &mut Converted,
) -> Result<(tree::Node, tree::Reasons), ImportError> {
    match tool {
        Tool::Filebeat => filebeat::convert(text, file, converted),
        Tool::Promtail => promtail::convert(text, file, converted),
        Tool::FluentBit => fluent_bit::convert(text, file, converted),
        Tool::Vector => vector::convert(text, file, converted),
    }
}

#[cfg(test)]
mod tests;
