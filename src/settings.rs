//! What the user wants, in one piece: every room reads its own section, this nests them. One file may serve all roles.

use crate::cli::{StoredArgs, UpArgs};
use crate::{receive, rehearse::Test};
use millrace_agent::{IngestSettings, SourceKind, SourceSettings};
use millrace_config::{Document, Layers, Secret, Section};
use millrace_indexer::settings::Streams;
use millrace_intake::Process;
use millrace_model::StreamName;
use millrace_store::ClusterKey;
use millrace_transport::{DEFAULT_NAME, EmbeddedSettings, TopicSettings};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Which role is asked for: what it cannot do without is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Agent,
    Indexer,
    Query,
    Up,
    Any,
}

/// Everything.
pub(crate) struct Settings {
    /// What all of it comes to, in a few characters: the same where the settings are.
    pub(crate) fingerprint: String,
    /// Lines, and what must become of them.
    pub(crate) tests: Vec<Test>,
    /// The agent's.
    pub(crate) agent: millrace_agent::Settings,
    /// The indexer's.
    pub(crate) indexer: millrace_indexer::Settings,
    /// The query node's.
    pub(crate) query: millrace_query::Settings,
    /// What nodes prove to one another with that they are of one cluster, if they do.
    pub(crate) cluster: Option<ClusterKey>,
    /// What is taken in where people ask, if anything is: an agent of this process ships it.
    pub(crate) ingest: Option<IngestSettings>,
    /// Where agents of other hosts are received, if they are.
    pub(crate) receive: Option<receive::Settings>,
    /// The topic.
    pub(crate) topic: TopicSettings,
    /// Where the catalogue is: a URL.
    pub(crate) catalogue: String,
    /// Where bundles lie.
    pub(crate) storage: millrace_storage::Settings,
    /// Where an indexer makes its bundles.
    pub(crate) work_directory: PathBuf,
}

/// Where `up` keeps everything, unless it is said.
fn default_data() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match home {
        Some(home) if home != Path::new("/root") => home.join(".local/share/millrace"),
        _ => PathBuf::from("/var/lib/millrace"),
    }
}

/// This host's own logs, where distributions keep them.
const OWN_LOGS: &[&str] =
    &["/var/log/*.log", "/var/log/syslog", "/var/log/messages", "/var/log/secure", "/var/log/*/*.log"];

/// For `millrace up`.
pub(crate) fn up(args: &UpArgs) -> anyhow::Result<Settings> {
    let mut layers = Layers::of_process(args.config.clone());
    if let Some(listen) = args.listen {
        layers.flags.push(("query.listen".to_owned(), listen.to_string()));
    }
    // Without a word on what to read, this host's own logs are read.
    let own = args.watch.is_empty() && args.config.is_none() && !args.journal;
    let watch: Vec<String> =
        if own { OWN_LOGS.iter().map(|&glob| glob.to_owned()).collect() } else { args.watch.clone() };
    if !watch.is_empty() {
        let globs: Vec<String> = watch.iter().map(|glob| toml_string(&absolute(glob))).collect();
        layers.flags.push(("agent.sources.watch.type".to_owned(), "file".to_owned()));
        layers.flags.push(("agent.sources.watch.include".to_owned(), format!("[{}]", globs.join(", "))));
        if own {
            layers.flags.push(("agent.sources.watch.exclude".to_owned(), "[\"*.gz\"]".to_owned()));
        }
    }
    if args.journal || (own && Path::new("/var/log/journal").is_dir()) {
        layers.flags.push(("agent.sources.journal.type".to_owned(), "journald".to_owned()));
    }
    let data = args.data.clone().unwrap_or_else(default_data);
    let data = std::path::absolute(&data).unwrap_or(data);
    read(layers, Role::Up, &data)
}

/// Does the file ask for an embedded topic without saying where? Then it lies with everything else.
fn embedded_without_directory(layers: &Layers) -> anyhow::Result<bool> {
    let document = millrace_config::load(layers)?;
    let Some(mut topic) = document.root().section("topic") else { return Ok(false) };
    Ok(topic.optional::<String>("type").as_deref() == Some("embedded") && !topic.has("directory"))
}

/// A glob is meant from where the command was given.
fn absolute(glob: &str) -> String {
    std::path::absolute(glob).map_or_else(|_| glob.to_owned(), |path| path.display().to_string())
}

fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// For `millrace agent`.
pub(crate) fn agent(file: &Path) -> anyhow::Result<Settings> {
    from_file(file, Role::Agent)
}

/// For `millrace indexer`.
pub(crate) fn indexer(file: &Path) -> anyhow::Result<Settings> {
    from_file(file, Role::Indexer)
}

/// For `millrace query`.
pub(crate) fn query(file: &Path) -> anyhow::Result<Settings> {
    from_file(file, Role::Query)
}

/// For commands that look at what is stored: with `--data` as `millrace up` reads it, else as an indexer does.
pub(crate) fn stored(args: &StoredArgs) -> anyhow::Result<Settings> {
    match &args.data {
        Some(data) => of_data(args.config.clone(), data),
        None => read(Layers::of_process(args.config.clone()), Role::Indexer, Path::new("/var/lib/millrace")),
    }
}

/// As `millrace up` reads it that keeps everything in this folder.
pub(crate) fn of_data(config: Option<PathBuf>, data: &Path) -> anyhow::Result<Settings> {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    read(Layers::of_process(config), Role::Up, &data)
}

/// For `millrace config check`.
pub(crate) fn check(file: &Path) -> anyhow::Result<Settings> {
    from_file(file, Role::Any)
}

fn from_file(file: &Path, role: Role) -> anyhow::Result<Settings> {
    read(Layers::of_process(Some(file.to_owned())), role, Path::new("/var/lib/millrace"))
}

fn read(mut layers: Layers, role: Role, data: &Path) -> anyhow::Result<Settings> {
    if embedded_without_directory(&layers)? {
        layers.flags.push(("topic.directory".to_owned(), data.join("topic").display().to_string()));
    }
    let document: Document = millrace_config::load(&layers)?;
    let mut root = document.root();
    let settings = read_root(&mut root, role, data);
    document.finish()?;
    let settings = settings.ok_or_else(|| anyhow::anyhow!("the configuration is incomplete"))?;
    Ok(Settings { fingerprint: fingerprint(&document), ..settings })
}

/// The beginning of a hash of all that is set, as it is written; of secrets only that they are.
fn fingerprint(document: &Document) -> String {
    let set = document.origins().into_iter().filter(|origin| origin.from != "default");
    let mut hash = openssl::sha::Sha256::new();
    for origin in set {
        hash.update(origin.key.as_bytes());
        hash.update(b" = ");
        hash.update(origin.value.as_bytes());
        hash.update(b"\n");
    }
    millrace_model::fields::hex(&hash.finish()[..6])
}

/// Reads every section, needed or not, so that every mistake is told. `None` only where an error was recorded.
fn read_root(root: &mut Section<'_>, role: Role, data: &Path) -> Option<Settings> {
    let up = role == Role::Up;
    let mut section = root.section_or_empty("agent");
    let keeps_state = section.has("state_dir");
    let mut agent = millrace_agent::Settings::read(&mut section);
    if up && !keeps_state {
        agent.state_dir = data.join("agent");
    }
    let streams = Streams::read(root);
    let cluster = cluster(root.section_or_empty("cluster"));
    let mut section = root.section_or_empty("indexer");
    let mut indexer = millrace_indexer::Settings::read(&mut section, streams, cluster.is_some());
    let mut section = root.section_or_empty("query");
    let query = millrace_query::Settings::read(&mut section);
    let ingest = read_ingest(&mut section.section_or_empty("ingest"), role, query.listen, &mut agent);
    let topic = if up && !root.has("topic") {
        Some(TopicSettings::Embedded(EmbeddedSettings::new(data.join("topic"), DEFAULT_NAME)))
    } else {
        read_topic(&mut root.section_or_empty("topic"), role)
    };
    let receive = receive::Settings::read(root.section("receive"));
    let mut section = root.section_or_empty("catalogue");
    indexer.read_catalogue(&mut section);
    let catalogue = url(
        section,
        &["sqlite://", "postgres://", "postgresql://"],
        role,
        format!("sqlite://{}", data.join("catalogue.db").display()),
    );
    let shards = match role {
        Role::Indexer | Role::Query => None,
        Role::Agent | Role::Up | Role::Any => Some(format!("file://{}", data.join("shards").display())),
    };
    let mut section = root.section_or_empty("storage");
    let storage = millrace_storage::Settings::read(&mut section, shards, data.join("cache"));
    let work_directory = storage.as_ref().map(|storage| match storage.url.strip_prefix("file://") {
        Some(folder) => Path::new(folder).join(".work"),
        // On the disk of the copies: what is stored becomes one by a link.
        None => storage.cache_dir.join("work"),
    });
    let tests = root.or("test", Vec::new());
    Some(Settings {
        fingerprint: String::new(),
        tests,
        agent,
        indexer,
        query,
        cluster,
        ingest,
        receive,
        topic: topic?,
        catalogue: catalogue?,
        storage: storage?,
        work_directory: work_directory?,
    })
}

/// The name of the source of what is taken in where people ask: no other can have it.
const INGEST: &str = "query.ingest";

/// Reads `[query.ingest]`, and makes what is taken in a source of the agent: of that of `up`, or of one that has nothing else.
fn read_ingest(
    section: &mut Section<'_>,
    role: Role,
    listen: SocketAddr,
    agent: &mut millrace_agent::Settings,
) -> Option<IngestSettings> {
    let enabled = section.or("enabled", true);
    let state_dir = section.optional::<PathBuf>("state_dir");
    let settings = IngestSettings::read(section, listen);
    match (role, state_dir) {
        (Role::Up, _) if enabled => {}
        (Role::Query, Some(state_dir)) if enabled => {
            agent.state_dir = state_dir;
            agent.sources.clear();
        }
        _ => return None,
    }
    agent.sources.push(SourceSettings {
        name: INGEST.to_owned(),
        stream: StreamName::default(),
        process: Process::default(),
        kind: SourceKind::Ingest(settings.clone()),
    });
    Some(settings)
}

/// Reads `[topic]`. Whoever reads a topic has it at hand.
fn read_topic(section: &mut Section<'_>, role: Role) -> Option<TopicSettings> {
    let topic = TopicSettings::read(section)?;
    if matches!(topic, TopicSettings::Http(_)) && !matches!(role, Role::Agent | Role::Any) {
        section.error_with_help(
            "type",
            "a topic of another host is only sent to, by an agent; this role reads its topic",
            "use \"kafka\" or \"embedded\" here",
        );
    }
    Some(topic)
}

/// The fewest characters of a secret: what a program makes up has more, what a person makes up is guessed.
const SECRET_CHARACTERS: usize = 16;

/// Reads `[cluster]`: the secret that its nodes share.
fn cluster(mut section: Section<'_>) -> Option<ClusterKey> {
    let secret: Secret = section.optional("secret")?;
    if secret.expose().chars().count() < SECRET_CHARACTERS {
        section.error_with_help(
            "secret",
            format!("at least {SECRET_CHARACTERS} characters expected"),
            "make one with `openssl rand -hex 32`",
        );
    }
    Some(ClusterKey::new(secret.expose()))
}

/// Where something is kept, an address with one of these `starts`; `default` where everything is kept in one folder.
fn url(mut section: Section<'_>, starts: &[&str], role: Role, default: String) -> Option<String> {
    let url = match role {
        Role::Indexer | Role::Query => section.required::<String>("url")?,
        Role::Agent | Role::Up | Role::Any => section.optional::<String>("url").unwrap_or(default),
    };
    if !starts.iter().any(|start| url.starts_with(start)) {
        section.error("url", format!("an address that begins with {} expected", starts.join(" or ")));
    }
    Some(url)
}
