//! The command line: what can be asked, and what it exits with. Data goes to stdout, everything else to stderr.

mod asking;

pub(crate) use asking::{
    AuditArgs, Colour, DoctorArgs, HostsArgs, IngestArgs, SearchArgs, SearchOutput, StatsArgs, TailArgs,
    TailOutput, TrafficArgs,
};

use crate::{
    catalogue, client, dead_letters, decrypt, doctor, hosts, import, ingest, manual, rehearse, reprocess,
    roles, rules, search, settings, stats, streams, tail, telemetry, token,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{ExitCode, Termination},
    sync::Arc,
};

/// Agents, indexers and a query service for logs, in one binary.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, max_term_width = 110, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All roles in one process: nothing else to install
    Up(UpArgs),
    /// Read this host's logs and ship them to the topic
    Agent(AgentArgs),
    /// Take records from the topic and make them searchable
    Indexer(ConfigArgs),
    /// Answer searches and evaluate rules
    Query(ConfigArgs),
    /// Find records
    Search(SearchArgs),
    /// Show records as they come in, until interrupted
    Tail(TailArgs),
    /// When records came and of which levels, and their most frequent values and patterns
    Stats(StatsArgs),
    /// Bring lines of files to a server: backfill, or a pipe
    Ingest(IngestArgs),
    /// What of every source is indexed, dropped or missing
    Audit(AuditArgs),
    /// What lies in each stream; put streams on hold, delete from them
    #[command(subcommand)]
    Streams(StreamsCommand),
    /// Messages that could not be taken in: list them, mend them, send them again
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Who brings how much, and what of it was beyond a quota
    Traffic(TrafficArgs),
    /// The hosts whose agents ship here, and how they are
    Hosts(HostsArgs),
    /// Look into the catalogue; make it again out of a snapshot, or shards out of the topic
    #[command(subcommand)]
    Catalogue(CatalogueCommand),
    /// Check rules, and try them on records
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Look at a configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Read what agents encrypted ([agent.redact] action = "encrypt"), with the private key
    Decrypt(DecryptArgs),
    /// Make a token for those who ask a server, in its catalogue or in its file ([query.auth]); list and revoke those of the catalogue
    Token(TokenArgs),
    /// Whether this machine, what a configuration names, and a server are as they must be
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages
    Man {
        /// The folder that they are written into
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where everything is kept [default: /var/lib/millrace for root, else ~/.local/share/millrace]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where people and tools ask [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// A configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Files to read, as a glob; may be given several times [default: this host's own logs]
    #[arg(long, value_name = "GLOB")]
    pub(crate) watch: Vec<String>,
    /// Read the systemd journal too
    #[arg(long)]
    pub(crate) journal: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DecryptArgs {
    /// The private key: X25519, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// What is read: hits, logs, anything of text; none or `-`: standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Its name: what the audit trail calls whoever shows it
    #[arg(value_name = "NAME", required_unless_present_any = ["list", "revoke"])]
    pub(crate) name: Option<String>,
    /// The file that it is added to; made if it is not there [default: it is made by the server, and lies in the catalogue]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "revoke"])]
    pub(crate) file: Option<PathBuf>,
    /// What may be done with it; may be given several times
    #[arg(long, value_name = "ROLE", required_unless_present_any = ["list", "revoke"])]
    pub(crate) role: Vec<RoleName>,
    /// In which streams, with commas between or given several times; `*` is all. An administrator needs none
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) stream: Vec<String>,
    /// For how long: 90d, 1y [default: without an end]
    #[arg(long, value_name = "AGE")]
    pub(crate) expires: Option<String>,
    /// List the tokens of the catalogue
    #[arg(long, conflicts_with_all = ["name", "role", "stream", "expires", "revoke"])]
    pub(crate) list: bool,
    /// Take a token out of the catalogue: it is not known any more
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "role", "stream", "expires"])]
    pub(crate) revoke: Option<String>,
    /// How to write the list
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What may be done with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Search
    Read,
    /// Hand records in
    Write,
    /// All of it, in all streams
    Admin,
    /// See what is hidden from others ([query.auth] masked)
    Unmask,
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Print what would be shipped of a file, as NDJSON, and count the rest; ships nothing and remembers nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) dry_run: Option<PathBuf>,
    /// The source that reads it, where its path does not tell
    #[arg(long, value_name = "NAME", requires = "dry_run")]
    pub(crate) source: Option<String>,
}

const DEFAULT_SERVER: &str = "http://127.0.0.1:7700";

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Whom to ask
    #[arg(long, value_name = "URL", env = "MILLRACE_SERVER", default_value = DEFAULT_SERVER)]
    pub(crate) server: String,
    #[arg(
        long,
        value_name = "FILE",
        help = "A file with the token that is shown to it [default: what MILLRACE_TOKEN holds, if anything]"
    )]
    pub(crate) token_file: Option<PathBuf>,
}

impl ServerArgs {
    /// Has nobody said whom to ask?
    pub(crate) fn is_default(&self) -> bool {
        self.server == DEFAULT_SERVER
    }
}

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// One document
    Json,
    /// One object a line
    Ndjson,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StreamsCommand {
    /// All streams: what lies in them, how long it is kept
    List(StreamsListArgs),
    /// Keep everything in a stream until the hold is ended
    Hold {
        /// The stream
        name: String,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// End a hold
    Release {
        /// The stream
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete the records that match: hidden at once, then removed
    Delete(StreamsDeleteArgs),
    /// What was deleted from a stream, and how far that has come
    Deletions {
        /// The stream
        name: String,
        /// How to write it
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// All that lie there, and which of them still wait
    List {
        /// Only those that wait
        #[arg(long)]
        waiting: bool,
        /// How to write it
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// What one letter says, as JSON
    Show {
        /// Its number, as `list` shows it
        number: i64,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Send letters again; what was mended becomes searchable, once
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Their numbers, as `list` shows them
    #[arg(required_unless_present = "all")]
    pub(crate) numbers: Vec<i64>,
    /// All that wait
    #[arg(long, conflicts_with = "numbers")]
    pub(crate) all: bool,
    /// What the one letter should have said: a file, a record a line; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// The value is lines, not OTLP: read them by these parsers
    #[arg(long, value_name = "PARSER", value_delimiter = ',')]
    pub(crate) parse: Option<Vec<String>>,
    /// The stream that the records belong to, where no agent has said it
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StreamsListArgs {
    /// How to write it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StreamsDeleteArgs {
    /// The stream
    pub(crate) name: String,
    /// Which of its records, such as `user:ann`; `*` is everything
    #[arg(allow_hyphen_values = true)]
    pub(crate) query: String,
    /// Only from when on: an age (15m, 2d), RFC 3339 or epoch milliseconds
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only until when
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Why, for the receipt
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Return only when it is removed, not just hidden
    #[arg(long)]
    pub(crate) wait: bool,
    /// How to write the receipt
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum CatalogueCommand {
    /// What a server's catalogue holds, in a few numbers
    Show(CatalogueShowArgs),
    /// Everything that is stored, as NDJSON: rows, records, snapshots, messages of an embedded topic
    Dump(StoredArgs),
    /// Make a lost catalogue again out of a snapshot; what came later is read again from the topic
    Rebuild(RebuildArgs),
    /// Make live shards again of what the topic says: lost and damaged ones, or all after a change
    Reprocess(ReprocessArgs),
    /// Take the catalogue's schema back to an earlier version, for a program that knows no later one
    Downgrade(DowngradeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReprocessArgs {
    /// Only shards of this stream
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// Only shards with records since then: an age (15m, 2d), RFC 3339 or epoch milliseconds
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only shards with records until then
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Only this shard, by its id; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(crate) shards: Vec<String>,
    /// Return only when no shard waits any more; exit 1 where one stays as it is
    #[arg(long)]
    pub(crate) wait: bool,
    /// Ask for nothing: tell what was asked for, and how far that has come
    #[arg(long, conflicts_with_all = ["stream", "from", "to", "shards", "wait"])]
    pub(crate) list: bool,
    /// How to write the receipt
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CatalogueShowArgs {
    /// How to write it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Where everything is, for commands that need no server.
#[derive(Debug, Args)]
pub(crate) struct StoredArgs {
    /// The configuration file of an indexer, or of `millrace up`
    #[arg(long, value_name = "FILE", required_unless_present = "data")]
    pub(crate) config: Option<PathBuf>,
    /// Where `millrace up` keeps everything
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DowngradeArgs {
    #[command(flatten)]
    pub(crate) stored: StoredArgs,
    /// The version, as the earlier program names it when it refuses the catalogue
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: i64,
}

#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    #[command(flatten)]
    pub(crate) stored: StoredArgs,
    /// This snapshot, by its key in storage, and not the newest that can be read
    #[arg(long, value_name = "KEY")]
    pub(crate) snapshot: Option<String>,
    /// Replace what the catalogue holds; refused while a node is alive
    #[arg(long)]
    pub(crate) replace_catalogue: bool,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Read rules and say what is wrong with them
    Check(RulesArgs),
    /// Run the lines that rules bring along, or try the rules on records
    Test(RulesTestArgs),
    /// Say in words what rules look for
    Explain(RulesArgs),
    /// Try a rule of a server's over the records that it keeps
    Backtest(RulesBacktestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// Files and folders
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Sigma's processing pipelines that Sigma rules go through; may be given several times
    #[arg(long = "pipeline", value_name = "FILE|DIR")]
    pub(crate) pipelines: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RulesTestArgs {
    #[command(flatten)]
    pub(crate) rules: RulesArgs,
    /// Records to try the rules on: a file or folder of NDJSON or lines
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) events: Option<PathBuf>,
    /// How to write findings
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Write the outcome of the rules' own lines to this file, too, in the form of `JUnit`
    #[arg(long, value_name = "FILE", conflicts_with = "events")]
    pub(crate) junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RulesBacktestArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The rule's id
    pub(crate) id: String,
    /// The first instant: RFC 3339, or an age such as 7d [default: 7d before the last]
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// The first instant after [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read a configuration and say what is wrong with it
    Check(ConfigArgs),
    /// Say another shipper's configuration as one of an agent; what cannot be said is told on standard error
    Import(ImportArgs),
    /// Let an agent go on where another shipper has stopped; neither of them may be running
    ImportPositions(ImportPositionsArgs),
}

/// The shippers whose configurations are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shipper {
    Filebeat,
    Promtail,
    FluentBit,
    Vector,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Whose configuration it is
    pub(crate) shipper: Shipper,
    /// The configuration
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportPositionsArgs {
    /// Whose positions they are
    pub(crate) shipper: Shipper,
    /// Where it keeps them: Filebeat's registry, Promtail's positions.yaml, Fluent Bit's DB, Vector's folder of data
    #[arg(required = true)]
    pub(crate) registries: Vec<PathBuf>,
    /// The agent's configuration
    #[arg(long)]
    pub(crate) config: PathBuf,
}

/// What the process exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Ok = 0,
    Findings = 1,
    Usage = 2,
    Invalid = 3,
    Unreachable = 4,
    Partial = 5,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl Termination for Code {
    fn report(self) -> ExitCode {
        self.into()
    }
}

/// An error with the code that it exits with.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn with(code: Code, message: impl Into<String>) -> anyhow::Error {
        Self { code, message: message.into() }.into()
    }
}

impl Code {
    /// What an error exits with: what it says itself, 3 for a configuration, else 1.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if error.downcast_ref::<millrace_config::Report>().is_some() {
            return Self::Invalid;
        }
        // Only librdkafka knows which of its keys there are.
        if let Some(millrace_transport::Error::Setting { .. }) = error.downcast_ref() {
            return Self::Invalid;
        }
        error.downcast_ref::<Failure>().map_or(Self::Findings, |failure| failure.code)
    }
}

/// Tells the user what went wrong.
pub(crate) fn complain(error: &anyhow::Error) {
    if let Some(report) = error.downcast_ref::<millrace_config::Report>() {
        eprintln!("{report}");
    } else {
        eprintln!("millrace: {error:#}");
    }
}

/// A closed pipe is no error: whoever reads has seen enough.
pub(crate) fn written(outcome: std::io::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Does what was asked.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Code> {
    match cli.command {
        Command::Up(args) => {
            let reread = Arc::new(move || settings::up(&args));
            serve(reread()?, |settings| Box::pin(roles::up(settings, reread)))
        }
        Command::Agent(AgentArgs { config, dry_run: Some(file), source }) => {
            rehearse::dry_run(&settings::agent(&config)?, &file, source.as_deref())
        }
        Command::Agent(args) => {
            let reread = Arc::new(move || settings::agent(&args.config));
            serve(reread()?, |settings| Box::pin(roles::agent(settings, reread)))
        }
        Command::Indexer(args) => {
            serve(settings::indexer(&args.config)?, |settings| Box::pin(roles::indexer(settings)))
        }
        Command::Query(args) => {
            let reread = Arc::new(move || settings::query(&args.config));
            serve(reread()?, |settings| Box::pin(roles::query(settings, reread)))
        }
        Command::Search(args) => runtime()?.block_on(search::run(&args)),
        Command::Tail(args) => runtime()?.block_on(tail::run(&args)),
        Command::Stats(args) => runtime()?.block_on(stats::run(&args)),
        Command::Ingest(args) => runtime()?.block_on(ingest::run(&args)),
        Command::Audit(args) => runtime()?.block_on(client::audit(&args)),
        Command::Streams(command) => runtime()?.block_on(streams::run(&command)),
        Command::Traffic(args) => runtime()?.block_on(streams::traffic(&args)),
        Command::Hosts(args) => runtime()?.block_on(hosts::run(&args)),
        Command::DeadLetters(command) => runtime()?.block_on(dead_letters::run(&command)),
        Command::Catalogue(CatalogueCommand::Show(args)) => runtime()?.block_on(client::catalogue(&args)),
        Command::Catalogue(CatalogueCommand::Dump(args)) => {
            runtime()?.block_on(catalogue::dump(&settings::stored(&args)?))
        }
        Command::Catalogue(CatalogueCommand::Rebuild(args)) => {
            telemetry::start();
            runtime()?.block_on(catalogue::rebuild(&settings::stored(&args.stored)?, &args))
        }
        Command::Catalogue(CatalogueCommand::Downgrade(args)) => {
            runtime()?.block_on(catalogue::downgrade(&settings::stored(&args.stored)?, args.to))
        }
        Command::Catalogue(CatalogueCommand::Reprocess(args)) => runtime()?.block_on(reprocess::run(&args)),
        Command::Rules(RulesCommand::Check(args)) => rules::check(&args),
        Command::Rules(RulesCommand::Test(args)) => rules::test(&args),
        Command::Rules(RulesCommand::Explain(args)) => rules::explain(&args),
        Command::Rules(RulesCommand::Backtest(args)) => runtime()?.block_on(rules::backtest(&args)),
        Command::Doctor(args) => runtime()?.block_on(doctor::run(&args)),
        Command::Decrypt(args) => decrypt::decrypt(&args),
        Command::Token(args) => runtime()?.block_on(token::run(&args)),
        Command::Completion { shell } => manual::completion(shell),
        Command::Man { directory } => manual::man(&directory),
        Command::Config(ConfigCommand::Check(args)) => {
            let settings = settings::check(&args.config)?;
            let passed = rehearse::run_tests(&settings)?;
            let tests = match passed {
                0 => String::new(),
                1 => ", and its test passes".to_owned(),
                _ => format!(", and its {passed} tests pass"),
            };
            eprintln!("{}: nothing is wrong with it{tests}", args.config.display());
            Ok(Code::Ok)
        }
        Command::Config(ConfigCommand::Import(args)) => import::configuration(&args),
        Command::Config(ConfigCommand::ImportPositions(args)) => {
            runtime()?.block_on(import::read_positions(&args))
        }
    }
}

type Role = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// Runs a role until it is told to stop.
fn serve<S>(settings: S, role: impl FnOnce(S) -> Role) -> anyhow::Result<Code> {
    telemetry::start();
    runtime()?.block_on(role(settings))?;
    Ok(Code::Ok)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
