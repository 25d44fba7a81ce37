//! Mail, over SMTP: one to all who are named. Sending blocks, so it is done beside.

use super::{Outcome, template::Text};
use lettre::{
    Message, SmtpTransport, Transport,
    message::{Mailbox, header::ContentType},
    transport::smtp::{authentication::Credentials, client::Tls},
};
use millrace_config::{Secret, Section, choices};
use millrace_model::chain;
use std::time::Duration;

/// How the way to the server is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Once both have said that they can: `starttls`.
    StartTls,
    /// From the first byte on: `tls`.
    Tls,
    /// Not at all: `none`.
    None,
}

choices!(Security { "starttls" => Security::StartTls, "tls" => Security::Tls, "none" => Security::None });

/// Where mail goes, and how.
#[derive(Debug, Clone)]
pub struct EmailSettings {
    /// The server: `host`.
    pub host: String,
    /// Its port: `port`; by default that of its security.
    pub port: u16,
    /// `security`, default `starttls`.
    pub security: Security,
    /// Who we are to the server: `username` and `password`.
    pub credentials: Option<(String, Secret)>,
    /// Who it is from: `from`.
    pub from: Mailbox,
    /// Who it goes to: `to`.
    pub to: Vec<Mailbox>,
}

impl EmailSettings {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let host: Option<String> = section.required("host");
        let security = section.optional("security").unwrap_or(Security::StartTls);
        let usual = match security {
            Security::StartTls => 587u16,
            Security::Tls => 465,
            Security::None => 25,
        };
        let port = section.or("port", usual);
        let (username, password) =
            (section.optional::<String>("username"), section.optional::<Secret>("password"));
        let credentials = match (username, password) {
            (Some(name), Some(password)) => Some((name, password)),
            (None, None) => None,
            (Some(_), None) => {
                section.error("username", "has no password beside it");
                None
            }
            (None, Some(_)) => {
                section.error("password", "has no username beside it");
                None
            }
        };
        if credentials.is_some() && security == Security::None {
            let help = "use security = \"starttls\" or \"tls\"";
            section.error_with_help("security", "a password would be shown to everybody on the way", help);
        }
        let from: Option<String> = section.required("from");
        let to: Option<Vec<String>> = section.required("to");
        let from = from.and_then(|text| mailbox(section, "from", &text));
        if to.as_ref().is_some_and(Vec::is_empty) {
            section.error("to", "is empty: name at least one address");
        }
        let to: Vec<Mailbox> = to?.iter().filter_map(|text| mailbox(section, "to", text)).collect();
        Some(Self { host: host?, port, security, credentials, from: from?, to })
    }
}

fn mailbox(section: &mut Section<'_>, key: &str, text: &str) -> Option<Mailbox> {
    let wrong =
        |_| section.error(key, format!("{text:?} is no address: ops@example.com or Ops <ops@example.com>"));
    text.parse().map_err(wrong).ok()
}

/// Sends one mail.
pub(super) async fn send(settings: &EmailSettings, id: &str, text: Text, timeout: Duration) -> Outcome {
    let settings = settings.clone();
    let id = id.to_owned();
    let sent = tokio::task::spawn_blocking(move || deliver(&settings, &id, &text, timeout));
    sent.await.unwrap_or_else(|_| Outcome::later("sending broke off".to_owned()))
}

fn deliver(settings: &EmailSettings, id: &str, text: &Text, timeout: Duration) -> Outcome {
    let message = match message(settings, id, text) {
        Ok(message) => message,
        Err(problem) => return Outcome::Never { problem },
    };
    let builder = match settings.security {
        Security::StartTls => SmtpTransport::starttls_relay(&settings.host),
        Security::Tls => SmtpTransport::relay(&settings.host),
        Security::None => Ok(SmtpTransport::builder_dangerous(&settings.host).tls(Tls::None)),
    };
    let mut builder = match builder {
        Ok(builder) => builder.port(settings.port).timeout(Some(timeout)),
        Err(error) => return Outcome::later(chain(&error)),
    };
    if let Some((name, password)) = &settings.credentials {
        builder = builder.credentials(Credentials::new(name.clone(), password.expose().to_owned()));
    }
    match builder.build().send(&message) {
        Ok(_) => Outcome::Delivered,
        Err(error) if error.is_permanent() => Outcome::Never { problem: chain(&error) },
        Err(error) => Outcome::later(chain(&error)),
    }
}

fn message(settings: &EmailSettings, id: &str, text: &Text) -> Result<Message, String> {
    // The same one, sent twice, has the same id: mail servers and readers know it by that.
    let id: String =
        id.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '.' }).collect();
    let mut message = Message::builder()
        .from(settings.from.clone())
        .subject(text.title.clone())
        .message_id(Some(format!("<{}@millrace>", id.trim_matches('.'))))
        .header(ContentType::TEXT_PLAIN);
    for to in &settings.to {
        message = message.to(to.clone());
    }
    message.body(text.body.clone()).map_err(|error| chain(&error))
}
