//! What commands that ask a server take.

use super::{Output, ServerArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// How what was found is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SearchOutput {
    /// For people
    Text,
    /// One document
    Json,
    /// One object a line
    Ndjson,
    /// With a header
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// What to look for, such as `error timeout`, `level:>=warn -host:web1`, `"connection reset"`; and what to make of it:
    /// `error | stats count() by host`
    #[arg(default_value = "*", allow_hyphen_values = true)]
    pub(crate) query: String,
    /// From when: an age (15m, 2d), RFC 3339 or epoch milliseconds
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) since: String,
    /// Until when
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// How many records, the newest first, or rows; 0 counts only
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Only in this stream; several with commas between
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// How to write what is found
    #[arg(long, value_enum, default_value_t = SearchOutput::Text)]
    pub(crate) output: SearchOutput,
    /// With so many records before and after each, of the same file or journal; found ones are marked by `>`
    #[arg(short = 'C', long, value_name = "N")]
    pub(crate) context: Option<usize>,
    /// Instead of what is found, say what was done to find it: how the query was understood, which shards were searched, which were
    /// ruled out and why
    #[arg(long, conflicts_with = "context")]
    pub(crate) explain: bool,
    /// In colours
    #[arg(long = "color", alias = "colour", value_name = "WHEN", value_enum, default_value_t = Colour::Auto)]
    pub(crate) colour: Colour,
    /// Not through a pager (`$MILLRACE_PAGER`, `$PAGER` or `less`), which text for people goes through on a terminal
    #[arg(long)]
    pub(crate) no_pager: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// How records are written that come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailOutput {
    /// For people
    Text,
    /// One object a line
    Ndjson,
}

/// When to write in colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Which records, such as `error timeout`, `level:>=warn -host:web1`; pipes have no place here
    #[arg(default_value = "*", allow_hyphen_values = true)]
    pub(crate) query: String,
    /// Only in this stream; several with commas between
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// How to write what comes
    #[arg(long, value_enum, default_value_t = TailOutput::Text)]
    pub(crate) output: TailOutput,
    /// In colours
    #[arg(long = "color", alias = "colour", value_name = "WHEN", value_enum, default_value_t = Colour::Auto)]
    pub(crate) colour: Colour,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Which records, such as `error timeout`, `level:>=warn -host:web1`; pipes have no place here
    #[arg(default_value = "*", allow_hyphen_values = true)]
    pub(crate) query: String,
    /// From when: an age (15m, 2d), RFC 3339 or epoch milliseconds
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) since: String,
    /// Until when
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// How long the time of a bar is [default: such that they fit]
    #[arg(long, value_name = "AGE")]
    pub(crate) interval: Option<millrace_config::Age>,
    /// Whose values are counted, with commas between or given several times [default: level, host, service]
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    pub(crate) by: Vec<String>,
    /// So many values of each, and patterns
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) top: usize,
    /// Only in this stream; several with commas between
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// In colours
    #[arg(long = "color", alias = "colour", value_name = "WHEN", value_enum, default_value_t = Colour::Auto)]
    pub(crate) colour: Colour,
    /// Not through a pager (`$MILLRACE_PAGER`, `$PAGER` or `less`), which text for people goes through on a terminal
    #[arg(long)]
    pub(crate) no_pager: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The configuration file whose folders, sources, topic, catalogue and storage are looked at
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where `millrace up` keeps everything
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// In colours
    #[arg(long = "color", alias = "colour", value_name = "WHEN", value_enum, default_value_t = Colour::Auto)]
    pub(crate) colour: Colour,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IngestArgs {
    /// Files, packed by gzip or not; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How lines are read: auto, json, logfmt, syslog, access, cef, leef, raw
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub(crate) format: String,
    /// The stream that they belong to [default: logs]
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only sources whose path matches, with `*` and `?`
    #[arg(long, value_name = "GLOB")]
    pub(crate) source: Option<String>,
    /// Recompute the hash chains, and read every published bundle whole: takes as long as that takes
    #[arg(long)]
    pub(crate) verify: bool,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TrafficArgs {
    /// So many days, today among them
    #[arg(long, default_value_t = 7)]
    pub(crate) days: u32,
    /// Added up by `host`, `stream` or `day`
    #[arg(long, default_value = "host")]
    pub(crate) by: String,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HostsArgs {
    /// How to write it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
