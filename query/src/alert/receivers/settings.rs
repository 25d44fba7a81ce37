//! `[query.alerts.receivers.*]`: who is told, and how.

use super::{email::EmailSettings, template::Templates};
use millrace_config::{Age, Secret, Section, choices};
use millrace_transport::KafkaSettings;
use std::time::Duration;

/// A receiver.
#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    /// What it is: `type`, and what belongs to that.
    pub kind: Kind,
    /// What is said: `title`, `body`.
    pub templates: Templates,
    /// Either of them is configured.
    pub has_templates: bool,
    /// How long it may take: `timeout`, default 10 s.
    pub timeout: Duration,
    /// What could not be delivered for so long is given up: `give_up_after`, default a day.
    pub give_up_after: Duration,
    /// So many notifications a minute at most: `per_minute`, default 60.
    pub per_minute: u32,
}

/// What a receiver is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A JSON POST.
    Webhook {
        /// Where to.
        url: String,
        /// Shown as a bearer token.
        token: Option<Secret>,
    },
    /// A channel of Slack.
    Slack {
        /// Its incoming webhook, which is a secret.
        url: Secret,
    },
    /// A channel of Teams.
    Teams {
        /// Its workflow's webhook, which is a secret.
        url: Secret,
    },
    /// A service of `PagerDuty`.
    PagerDuty {
        /// Where events go.
        url: String,
        /// Its integration's key.
        routing_key: Secret,
    },
    /// An Alertmanager.
    Alertmanager {
        /// What stands before `/api/v2/alerts`.
        url: String,
        /// Shown as a bearer token.
        token: Option<Secret>,
    },
    /// People who read mail.
    Email(EmailSettings),
    /// A topic of Kafka.
    Kafka(KafkaSettings),
    /// A command of this host.
    Command {
        /// The program, and its arguments.
        command: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Name {
    Webhook,
    Slack,
    Teams,
    PagerDuty,
    Alertmanager,
    Email,
    Kafka,
    Command,
}

choices!(Name {
    "webhook" => Name::Webhook,
    "slack" => Name::Slack,
    "teams" => Name::Teams,
    "pagerduty" => Name::PagerDuty,
    "alertmanager" => Name::Alertmanager,
    "email" => Name::Email,
    "kafka" => Name::Kafka,
    "command" => Name::Command,
});

impl ReceiverSettings {
    /// Reads one. `None`: what is wrong is noted.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let name = section.required::<Name>("type")?;
        let kind = Kind::read(section, name);
        let (title, body) = (section.optional::<String>("title"), section.optional::<String>("body"));
        let has_templates = title.is_some() || body.is_some();
        let templates = Templates::read(title, body).map_err(|(key, problem)| section.error(key, problem));
        let timeout = section.or("timeout", Age(Duration::from_secs(10))).0;
        // A claimed notification is another's to send after half a minute.
        if timeout.is_zero() || timeout > Duration::from_secs(25) {
            section.error("timeout", "must be between 1 ms and 25 s");
        }
        let give_up_after = section.or("give_up_after", Age(Duration::from_hours(24))).0;
        let per_minute = section.or("per_minute", 60u32);
        if per_minute == 0 {
            section.error("per_minute", "must be at least 1");
        }
        let templates = templates.ok()?;
        Some(Self {
            kind: kind?,
            templates,
            has_templates,
            timeout,
            give_up_after,
            per_minute: per_minute.max(1),
        })
    }
}

impl Kind {
    fn read(section: &mut Section<'_>, name: Name) -> Option<Self> {
        match name {
            Name::Webhook => {
                let token = section.token("token");
                Some(Self::Webhook { url: url(section)?, token })
            }
            Name::Slack => Some(Self::Slack { url: secret_url(section)? }),
            Name::Teams => Some(Self::Teams { url: secret_url(section)? }),
            Name::PagerDuty => {
                let url =
                    if section.has("url") { url(section) } else { Some(super::pagerduty::URL.to_owned()) };
                let routing_key = section.required("routing_key");
                Some(Self::PagerDuty { url: url?, routing_key: routing_key? })
            }
            Name::Alertmanager => {
                let token = section.token("token");
                Some(Self::Alertmanager { url: url(section)?, token })
            }
            Name::Email => EmailSettings::read(section).map(Self::Email),
            Name::Kafka => {
                if !section.has("name") {
                    section.error_with_help(
                        "name",
                        "is missing: the topic's name",
                        "for example: name = \"alerts\"",
                    );
                }
                KafkaSettings::read(section).map(Self::Kafka)
            }
            Name::Command => {
                let command: Vec<String> = section.required("command")?;
                if command.is_empty() {
                    let help = "for example: command = [\"/usr/local/bin/page\", \"--urgent\"]";
                    section.error_with_help("command", "is empty: a program is needed", help);
                }
                Some(Self::Command { command })
            }
        }
    }
}

fn url(section: &mut Section<'_>) -> Option<String> {
    let url: String = section.required("url")?;
    if is_http(&url) {
        return Some(url);
    }
    section.error("url", format!("{url:?} is not an http or https address"));
    None
}

fn secret_url(section: &mut Section<'_>) -> Option<Secret> {
    let url: Secret = section.required("url")?;
    if is_http(url.expose()) {
        return Some(url);
    }
    section.error("url", "is not an http or https address");
    None
}

fn is_http(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}
