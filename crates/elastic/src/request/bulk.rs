//! `_bulk`: lines that say what is done, and documents.

use super::{Condition, Update};
use crate::{Error, Wildcard, json};
use serde_json::Value as Json;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Written, over what was there.
    Index,
    /// Written, if it was not there.
    Create,
    /// Changed in part.
    Update,
    /// Removed.
    Delete,
}

impl Action {
    /// As requests and answers call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation<'b> {
    /// What.
    pub action: Action,
    /// In which index.
    pub index: String,
    /// Which document, where it says so.
    pub id: Option<String>,
    /// What has to be so.
    pub condition: Condition,
    /// The document, or what is changed of it, as it was sent. Whether it is JSON is its own matter.
    pub source: Option<&'b str>,
}

impl Operation<'_> {
    /// The document.
    ///
    /// # Errors
    /// It is none.
    pub fn document(&self) -> Result<Json, Error> {
        let source = self.source.unwrap_or_default();
        match serde_json::from_str(source) {
            Ok(document @ Json::Object(_)) => Ok(document),
            Ok(_) => Err(Error::document("failed to parse, document must be an object")),
            Err(error) => Err(Error::document(format!("[1:{}] failed to parse", error.column()))),
        }
    }

    /// What an update says.
    ///
    /// # Errors
    /// It says what is not carried out.
    pub fn update(&self) -> Result<Update, Error> {
        Update::read(&self.document()?)
    }
}

/// The operations of a body; `index` is that of the path.
///
/// # Errors
/// What makes the whole of it unreadable.
pub fn bulk<'b>(body: &'b [u8], index: Option<&str>) -> Result<Vec<Operation<'b>>, Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::argument("the bulk request is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(Error::parsing("request body is required"));
    }
    if !text.ends_with('\n') {
        return Err(Error::argument("The bulk request must be terminated by a newline [\\n]"));
    }
    let (mut operations, mut problems) = (Vec::new(), Vec::new());
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    while let Some((at, line)) = lines.next() {
        let Metadata { action, index: named, id, condition } = metadata(line, at + 1)?;
        let source = if action == Action::Delete { None } else { lines.next().map(|(_, line)| line) };
        if source.is_none() && action != Action::Delete {
            return Err(Error::argument("The bulk request must be terminated by a newline [\\n]"));
        }
        let index = named.or_else(|| index.map(str::to_owned)).unwrap_or_default();
        if index.is_empty() {
            problems.push("index is missing".to_owned());
        }
        if id.is_none() && matches!(action, Action::Delete | Action::Update) {
            problems.push("id is missing".to_owned());
        }
        operations.push(Operation { action, index, id, condition, source });
    }
    if problems.is_empty() {
        Ok(operations)
    } else {
        Err(Error::validation(&problems[..problems.len().min(100)]))
    }
}

/// What the line before a document says.
struct Metadata {
    action: Action,
    index: Option<String>,
    id: Option<String>,
    condition: Condition,
}

fn metadata(line: &str, number: usize) -> Result<Metadata, Error> {
    let malformed =
        |what: String| Error::argument(format!("Malformed action/metadata line [{number}], {what}"));
    let given: Json = serde_json::from_str(line)
        .map_err(|_| malformed("expected START_OBJECT but found something that is not JSON".to_owned()))?;
    let Json::Object(map) = &given else {
        return Err(malformed(format!("expected START_OBJECT but found [{}]", json::token(&given))));
    };
    let Some((name, options)) = json::single(map) else {
        return Err(malformed("expected one action".to_owned()));
    };
    let mut action = match name {
        "index" => Action::Index,
        "create" => Action::Create,
        "update" => Action::Update,
        "delete" => Action::Delete,
        other => {
            let shown: String = other.chars().take(100).collect();
            return Err(malformed(format!(
                "expected field [create], [delete], [index] or [update] but found [{shown}]"
            )));
        }
    };
    let Json::Object(options) = options else {
        return Err(malformed(format!("expected START_OBJECT but found [{}]", json::token(options))));
    };
    let (mut index, mut id) = (None, None);
    let (mut sequence, mut term, mut is_versioned) = (None, None, false);
    let whole = |key: &str, value: &Json| match json::scalar(value).and_then(|text| text.parse::<i64>().ok())
    {
        Some(whole) => Ok(Some(whole)),
        None => Err(malformed(format!("expected a whole number in [{key}]"))),
    };
    for (key, value) in options {
        match key.as_str() {
            "_index" => index = json::scalar(value),
            "_id" => id = json::scalar(value),
            "if_seq_no" => sequence = whole(key, value)?,
            "if_primary_term" => term = whole(key, value)?,
            "version" | "_version" | "version_type" => is_versioned = true,
            "op_type" if action == Action::Index && value == "create" => action = Action::Create,
            "_type"
            | "routing"
            | "_routing"
            | "pipeline"
            | "require_alias"
            | "require_data_stream"
            | "retry_on_conflict"
            | "dynamic_templates"
            | "list_executed_pipelines"
            | "_source"
            | "op_type"
            | "parent" => {}
            other => {
                let shown: String = other.chars().take(100).collect();
                return Err(Error::argument(format!(
                    "Action/metadata line [{number}] contains an unknown parameter [{shown}]"
                )));
            }
        }
    }
    if id.as_ref().is_some_and(|id: &String| id.len() > 512) {
        return Err(Error::validation(&[format!(
            "id [{}…] is too long, must be no longer than 512 bytes",
            &id.unwrap_or_default().chars().take(50).collect::<String>()
        )]));
    }
    let condition = Condition::new(sequence, term, is_versioned)?;
    Ok(Metadata { action, index, id, condition })
}

/// `action.auto_create_index`: which indices are made by writing to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoCreate(Vec<(bool, Wildcard)>);

impl Default for AutoCreate {
    fn default() -> Self {
        Self(vec![(true, Wildcard::new("*"))])
    }
}

impl AutoCreate {
    /// From `true`, `false`, or patterns with commas between; `-` before one refuses.
    pub fn parse(text: &str) -> Self {
        match text {
            "true" => Self::default(),
            "false" => Self(Vec::new()),
            patterns => Self(
                patterns
                    .split(',')
                    .map(str::trim)
                    .filter(|pattern| !pattern.is_empty())
                    .map(|pattern| match pattern.strip_prefix('-') {
                        Some(refused) => (false, Wildcard::new(refused)),
                        None => (true, Wildcard::new(pattern.strip_prefix('+').unwrap_or(pattern))),
                    })
                    .collect(),
            ),
        }
    }

    /// May this one be made?
    pub fn allows(&self, index: &str) -> bool {
        self.0.iter().find(|(_, pattern)| pattern.matches(index)).is_some_and(|(allowed, _)| *allowed)
    }
}
