//! What can be set of a query node: `[query]`.

use crate::login::LoginSettings;
use millrace_config::{Age, ByteSize, Section, Unguarded};
use millrace_listen::{AccessSettings, TlsSettings, read_max_connections};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

/// `[query]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where people and tools ask: `listen`. Other addresses than loopback need `[query.auth]`, or `allow_unauthenticated`.
    pub listen: SocketAddr,
    /// Who may ask for what: `[query.auth]`; `None`: nobody has to say who they are.
    pub auth: Option<AccessSettings>,
    /// How people log in: `[query.auth.oidc]`; `None`: they do not.
    pub login: Option<LoginSettings>,
    /// What is shown to those who connect: `[query.tls]`; `None`: nothing is hidden on the way.
    pub tls: Option<TlsSettings>,
    /// So many connections are served at once: `max_connections`, default 1,000.
    pub max_connections: usize,
    /// How long a search may take: `timeout`, default 30 s.
    pub timeout: Duration,
    /// How much memory each part of a query's pipes may take: `query_memory`, default 256 MiB.
    pub query_memory: usize,
    /// How much memory is kept for what sealed shards have answered: `kept_results`, default 64 MiB; 0: none.
    pub kept_results: usize,
    /// Elasticsearch's API: `[query.elastic]`.
    pub elastic: ElasticSettings,
    /// Rules and receivers: `[query.alerts]`.
    pub alerts: AlertSettings,
}

/// `[query.elastic]`.
#[derive(Debug, Clone)]
pub struct ElasticSettings {
    /// Indices whose documents clients change, by name; `*` stands for any characters: `documents`, default those of `ElastAlert`.
    pub documents: Vec<String>,
    /// Where such an index is full, documents that nobody has written for so long make room: `make_room_after`. `None`, the default:
    /// what does not fit is refused.
    pub make_room_after: Option<Duration>,
}

/// `[query.alerts]`.
#[derive(Debug, Clone)]
pub struct AlertSettings {
    /// Evaluate rules on this node: `enabled`, default true.
    pub enabled: bool,
    /// Files and folders of rules, beside the starter pack: `rules`.
    pub rules: Vec<PathBuf>,
    /// Files and folders of pipelines that Sigma rules go through: `pipelines`.
    pub pipelines: Vec<PathBuf>,
    /// Use the built-in starter pack: `starter`, default true.
    pub starter: bool,
    /// Who is told, by name: `[query.alerts.receivers.*]`.
    pub receivers: BTreeMap<String, Receiver>,
}

/// Somebody who is told of alerts.
#[derive(Debug, Clone)]
pub enum Receiver {
    /// A JSON POST.
    Webhook {
        /// Where to.
        url: String,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            auth: None,
            login: None,
            tls: None,
            max_connections: 1_000,
            timeout: Duration::from_secs(30),
            query_memory: 256 << 20,
            kept_results: 64 << 20,
            elastic: ElasticSettings::default(),
            alerts: AlertSettings::default(),
        }
    }
}

impl Default for ElasticSettings {
    fn default() -> Self {
        Self { documents: ["elastalert", "elastalert_*"].map(str::to_owned).to_vec(), make_room_after: None }
    }
}

impl ElasticSettings {
    fn read(section: &mut Section<'_>) -> Self {
        let documents: Vec<String> = section.or("documents", Self::default().documents);
        if documents.iter().any(|name| name.trim_matches('*').is_empty()) {
            let help = "name the indices, as in [\"elastalert_*\"]";
            section.error_with_help("documents", "what fits every index would hide all streams", help);
        }
        Self { documents, make_room_after: section.optional("make_room_after").map(|Age(age)| age) }
    }
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            rules: Vec::new(),
            pipelines: Vec::new(),
            starter: true,
            receivers: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Reads `[query]`; what is absent keeps its default.
    pub fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let unguarded = Unguarded {
            problem: "nobody has to say who they are",
            help: "name tokens in [query.auth], or listen on 127.0.0.1",
        };
        // A section with a mistake in it is one; the mistake is told.
        let is_guarded = section.keys().any(|key| key == "auth");
        let (auth, login) = section.section("auth").map_or((None, None), |mut auth| {
            let people_log_in = auth.has("oidc");
            let login = auth.section("oidc").and_then(|mut oidc| LoginSettings::read(&mut oidc));
            (AccessSettings::read(&mut auth, people_log_in), login)
        });
        Self {
            auth,
            login,
            tls: section.section("tls").and_then(|mut tls| TlsSettings::read(&mut tls)),
            max_connections: read_max_connections(section, default.max_connections),
            listen: section.listen(default.listen, (!is_guarded).then_some(unguarded)),
            timeout: section.or("timeout", Age(default.timeout)).0,
            query_memory: section.or("query_memory", ByteSize(default.query_memory as u64)).0 as usize,
            kept_results: section.or("kept_results", ByteSize(default.kept_results as u64)).0 as usize,
            elastic: section
                .section("elastic")
                .map_or(default.elastic, |mut elastic| ElasticSettings::read(&mut elastic)),
            alerts: section
                .section("alerts")
                .map_or(default.alerts, |mut alerts| AlertSettings::read(&mut alerts)),
        }
    }
}

impl AlertSettings {
    fn read(section: &mut Section<'_>) -> Self {
        let mut settings = Self {
            enabled: section.or("enabled", true),
            rules: section.or("rules", Vec::new()),
            pipelines: section.or("pipelines", Vec::new()),
            starter: section.or("starter", true),
            receivers: BTreeMap::new(),
        };
        let Some(mut receivers) = section.section("receivers") else { return settings };
        let names: Vec<String> = receivers.keys().map(str::to_owned).collect();
        for name in names {
            let Some(mut receiver) = receivers.section(&name) else { continue };
            let Some(kind) = receiver.required::<String>("type") else { continue };
            if kind != "webhook" {
                receiver.error_with_help(
                    "type",
                    format!("no receiver of type {kind:?} is known"),
                    "use \"webhook\"",
                );
                receiver.ignore_rest();
                continue;
            }
            let Some(url) = receiver.required::<String>("url") else { continue };
            if reqwest::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
                settings.receivers.insert(name, Receiver::Webhook { url });
            } else {
                receiver.error("url", format!("{url:?} is not an http or https address"));
            }
        }
        settings
    }
}
