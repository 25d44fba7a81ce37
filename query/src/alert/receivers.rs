//! Who can be told of alerts, and how each kind is spoken to. A kind is a file; what is configured is read in [`settings`].

mod alertmanager;
mod chat;
mod command;
mod email;
mod http;
mod kafka;
mod pagerduty;
pub mod settings;
pub mod template;

use super::{plan::Message, told::AlertTold};
use kafka::KafkaReceiver;
use millrace_catalogue::{Alert, AlertState, Marks, Triage};
use millrace_model::{Clock, Timestamp};
use settings::{Kind, ReceiverSettings};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How telling somebody went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// They have it.
    Delivered,
    /// It may work later.
    Later {
        /// What went wrong.
        problem: String,
        /// How long they want to be left alone.
        after: Option<Duration>,
    },
    /// It will never work.
    Never {
        /// What is wrong.
        problem: String,
    },
}

impl Outcome {
    fn later(problem: String) -> Self {
        Self::Later { problem, after: None }
    }
}

/// Somebody who is told of alerts.
pub struct Receiver {
    settings: ReceiverSettings,
    kafka: Option<KafkaReceiver>,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
}

/// All of them, by name.
pub type Receivers = BTreeMap<String, Arc<Receiver>>;

/// Makes them of what is configured.
///
/// # Errors
/// TLS cannot be used here.
pub fn open(
    settings: BTreeMap<String, ReceiverSettings>,
    clock: &Arc<dyn Clock>,
) -> Result<Receivers, reqwest::Error> {
    // Where a receiver sends us to is not who was configured.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let one = |(name, settings): (String, ReceiverSettings)| {
        let kafka = match &settings.kind {
            Kind::Kafka(topic) => Some(KafkaReceiver::new(topic.clone(), Arc::clone(clock))),
            _ => None,
        };
        (name, Arc::new(Receiver { settings, kafka, client: client.clone(), clock: Arc::clone(clock) }))
    };
    Ok(settings.into_iter().map(one).collect())
}

/// How often a receiver of this kind must be told that an alert goes on, if it would forget it otherwise.
pub fn refresh(kind: &Kind) -> Option<Duration> {
    matches!(kind, Kind::Alertmanager { .. }).then_some(alertmanager::REFRESH)
}

impl Receiver {
    /// What is configured of it.
    pub fn settings(&self) -> &ReceiverSettings {
        &self.settings
    }

    /// Does a repetition of this age say nothing any more, because a later one is on its way?
    pub fn is_stale(&self, message: &Message, age: Duration) -> bool {
        message.repeated && refresh(&self.settings.kind).is_some_and(|refresh| age > refresh)
    }

    /// Tells it. `about`: what all notifications about the same have in common.
    pub async fn tell(&self, message: &Message, about: &str) -> Outcome {
        let now = self.clock.now();
        let text = || self.settings.templates.text(message);
        let post = |url: &str| self.client.post(url).timeout(self.settings.timeout);
        let json = || serde_json::to_value(message).unwrap_or_default();
        match &self.settings.kind {
            Kind::Webhook { url, token } => {
                let mut request = post(url);
                if let Some(token) = token {
                    request = request.bearer_auth(token.expose());
                }
                let mut body = json();
                if self.settings.has_templates {
                    let text = text();
                    body["title"] = text.title.into();
                    body["body"] = text.body.into();
                }
                http::post(request, &message.id, &body, now).await
            }
            Kind::Slack { url } => {
                http::post(post(url.expose()), &message.id, &chat::slack(&text()), now).await
            }
            Kind::Teams { url } => {
                http::post(post(url.expose()), &message.id, &chat::teams(&text()), now).await
            }
            Kind::PagerDuty { url, routing_key } => {
                for alert in changed(message) {
                    let event = pagerduty::event(alert, routing_key.expose());
                    match http::post(post(url), &message.id, &event, now).await {
                        Outcome::Delivered => {}
                        other => return other,
                    }
                }
                Outcome::Delivered
            }
            Kind::Alertmanager { url, token } => {
                let mut request = post(&format!("{}/api/v2/alerts", url.trim_end_matches('/')));
                if let Some(token) = token {
                    request = request.bearer_auth(token.expose());
                }
                let body = alertmanager::alerts(message.alerts.iter(), &text(), now);
                http::post(request, &message.id, &body, now).await
            }
            Kind::Email(settings) => email::send(settings, &message.id, text(), self.settings.timeout).await,
            Kind::Kafka(_) => match &self.kafka {
                Some(kafka) => {
                    kafka.send(&message.id, about, &json().to_string(), self.settings.timeout).await
                }
                None => Outcome::later("it is not open".to_owned()),
            },
            Kind::Command { command } => {
                command::run(command, &message.id, &json().to_string(), self.settings.timeout).await
            }
        }
    }

    /// Tells it something that is no alert, to see whether it can be told.
    pub async fn test(&self, name: &str) -> Outcome {
        let now = self.clock.now();
        let firing = sample(name, now, AlertState::Firing);
        match self.tell(&firing, &firing.alert.alert.id).await {
            Outcome::Delivered => {
                let over = sample(name, now, AlertState::Resolved);
                self.tell(&over, &over.alert.alert.id).await
            }
            other => other,
        }
    }
}

/// What is to be told where each alert is told of by itself: those that have changed, or, of a repetition, all.
fn changed(message: &Message) -> impl Iterator<Item = &AlertTold> {
    message
        .alerts
        .iter()
        .filter(|told| message.changed.is_empty() || message.changed.contains(&told.alert.id))
}

fn sample(receiver: &str, now: Timestamp, state: AlertState) -> Message {
    let id = format!("test-{:x}", now.0);
    let alert = Alert {
        id: id.clone(),
        fingerprint: "test".to_owned(),
        rule_id: "test".to_owned(),
        title: "This is a test of a receiver, no alert".to_owned(),
        level: "informational".to_owned(),
        state,
        group: BTreeMap::new(),
        first: now,
        last: now,
        count: 1,
        evidence: Vec::new(),
        resolved_at: (state == AlertState::Resolved).then_some(now),
    };
    let alert = AlertTold { alert, marks: Marks::default(), triage: Triage::default() };
    Message {
        version: "1".to_owned(),
        id: format!("{id}/{receiver}/{state}"),
        status: state,
        receiver: receiver.to_owned(),
        group: BTreeMap::new(),
        repeated: false,
        changed: vec![id],
        alert: alert.clone(),
        alerts: vec![alert],
    }
}

#[cfg(test)]
mod tests;
