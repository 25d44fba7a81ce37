//! What a receiver is told, by templates: minijinja's language, in which nothing is made up for what is not there, and which ends.

use super::super::{plan::Message, told::AlertTold};
use minijinja::{
    Environment, UndefinedBehavior, Value, context,
    value::{Enumerator, Object},
};
use std::sync::Arc;

/// How much work a template may be: so many of minijinja's steps.
const FUEL: u64 = 200_000;
/// A longer text is cut off, in bytes.
const LONGEST: usize = 64 << 10;
/// The title, unless one is configured.
const TITLE: &str = "[{{ status|upper }}{% if alerts|length > 1 %}: {{ firing|length }} firing, {{ resolved|length }} resolved\
{% endif %}] {{ alert.title }}{% if repeated %} (still){% endif %}";
/// The body, unless one is configured.
const BODY: &str = "{% for alert in alerts %}{{ alert.state }}: {{ alert.title }} ({{ alert.level }})\n\
{% for name, value in alert.group|items %}  {{ name }}: {{ value }}\n{% endfor %}\
  {{ alert.count }} records, from {{ alert.first }} to {{ alert.last }}\n\
  alert {{ alert.id }}\n{% if not loop.last %}\n{% endif %}{% endfor %}";

/// A title and a body.
#[derive(Debug, Clone)]
pub struct Templates {
    environment: Arc<Environment<'static>>,
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// In one line.
    pub title: String,
    /// In as many as it takes.
    pub body: String,
}

/// A template is wrong: `title` or `body`, and how.
pub type Wrong = (&'static str, String);

impl Templates {
    /// Reads them; `None`: as everybody has it.
    ///
    /// # Errors
    /// Which one is wrong, where and how.
    pub fn read(title: Option<String>, body: Option<String>) -> Result<Self, Wrong> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        for (name, text, usual) in [("title", title, TITLE), ("body", body, BODY)] {
            let text = text.unwrap_or_else(|| usual.to_owned());
            environment.add_template_owned(name, text).map_err(|error| (name, problem(&error)))?;
        }
        let templates = Self { environment: Arc::new(environment) };
        for name in ["title", "body"] {
            templates.render(name, sample()).map_err(|problem| (name, problem))?;
        }
        Ok(templates)
    }

    /// What is to be said. What a template cannot say of these alerts is said as everybody has it.
    pub fn text(&self, message: &Message) -> Text {
        let of = |name: &str, usual: &str| {
            self.render(name, told(message)).unwrap_or_else(|problem| {
                tracing::warn!(
                    receiver = message.receiver,
                    template = name,
                    problem,
                    "a template does not fit an alert"
                );
                usual_of(usual, message)
            })
        };
        let title = of("title", TITLE).split_whitespace().collect::<Vec<_>>().join(" ");
        Text { title, body: of("body", BODY) }
    }

    fn render(&self, name: &str, told: Value) -> Result<String, String> {
        let rendered = self.environment.get_template(name).and_then(|template| template.render(told));
        rendered.map(cut).map_err(|error| problem(&error))
    }
}

fn usual_of(template: &str, message: &Message) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.render_str(template, told(message)).map_or_else(|_| message.alert.alert.title.clone(), cut)
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

fn problem(error: &minijinja::Error) -> String {
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    error.line().map_or_else(|| what.clone(), |line| format!("line {line} of the template: {what}"))
}

fn told(message: &Message) -> Value {
    let some = |over: bool| {
        message.alerts.iter().filter(|alert| alert.is_over() == over).map(value).collect::<Vec<_>>()
    };
    context! {
        id => &message.id,
        status => message.status.name(),
        receiver => &message.receiver,
        group => &message.group,
        repeated => message.repeated,
        alert => value(&message.alert),
        alerts => message.alerts.iter().map(value).collect::<Vec<_>>(),
        firing => some(false),
        resolved => some(true),
    }
}

/// An alert, of which all that it may have is there.
fn value(told: &AlertTold) -> Value {
    let AlertTold { alert, marks, triage } = told;
    let by = |act: &Option<millrace_catalogue::Act>| act.as_ref().map(|act| act.by.clone());
    context! {
        id => &alert.id,
        fingerprint => &alert.fingerprint,
        rule_id => &alert.rule_id,
        title => &alert.title,
        level => &alert.level,
        state => alert.state.name(),
        group => &alert.group,
        first => alert.first.to_string(),
        last => alert.last.to_string(),
        count => alert.count,
        evidence => alert.evidence.iter().map(ToString::to_string).collect::<Vec<_>>(),
        resolved_at => alert.resolved_at.map(|at| at.to_string()),
        acknowledged_by => by(&triage.acknowledged),
        assignee => &triage.assignee,
        closed_by => by(&triage.closed),
        demoted_from => marks.demoted.as_ref().map(|demoted| demoted.from.clone()),
    }
}

/// A group that has whatever is asked for: which fields alerts have is known to their rules alone.
#[derive(Debug)]
struct Anything;

impl Object for Anything {
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from(""))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["host"])
    }
}

/// What templates are tried on when they are read.
fn sample() -> Value {
    let group = || Value::from_object(Anything);
    let alert = context! {
        id => "1", fingerprint => "1", rule_id => "1", title => "A test", level => "high", state => "firing",
        group => group(), first => "2026-01-01T00:00:00Z", last => "2026-01-01T00:00:00Z", count => 1,
        evidence => Vec::<String>::new(), resolved_at => (), acknowledged_by => (), assignee => (), closed_by => (),
        demoted_from => (),
    };
    context! {
        id => "1", status => "firing", receiver => "a", group => group(), repeated => false, alert => alert.clone(),
        alerts => vec![alert.clone()], firing => vec![alert.clone()], resolved => vec![alert],
    }
}
