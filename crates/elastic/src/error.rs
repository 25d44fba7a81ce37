//! What goes wrong, by Elasticsearch's names and with its status.

use serde_json::{Value as Json, json};

/// An error as a client is told it. Its JSON is [`Error::body`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}: {reason}")]
pub struct Error {
    /// Elasticsearch's name for what happened.
    pub kind: &'static str,
    /// What is wrong.
    pub reason: String,
    /// The HTTP status.
    pub status: u16,
    /// The index that is meant, where it is one.
    pub index: Option<String>,
    /// What lies behind it.
    pub cause: Option<Box<Error>>,
}

impl Error {
    fn new(kind: &'static str, status: u16, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), status, index: None, cause: None }
    }

    /// The shape of a request is wrong.
    pub fn parsing(reason: impl Into<String>) -> Self {
        Self::new("parsing_exception", 400, reason)
    }

    /// A part of a request that Elasticsearch reads by its object parsers is wrong.
    pub fn content(reason: impl Into<String>) -> Self {
        Self::new("x_content_parse_exception", 400, reason)
    }

    /// An argument is wrong.
    pub fn argument(reason: impl Into<String>) -> Self {
        Self::new("illegal_argument_exception", 400, reason)
    }

    /// A query that reads well cannot be carried out on these fields.
    pub fn query(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let cause = Self::new("query_shard_exception", 400, reason.clone());
        Self { cause: Some(Box::new(cause)), ..Self::new("search_phase_execution_exception", 400, reason) }
    }

    /// A text that should be a number is none.
    pub fn number(text: &str) -> Self {
        let shown: String = text.chars().take(100).collect();
        Self::new("number_format_exception", 400, format!("For input string: \"{shown}\""))
    }

    /// A time that is none.
    pub fn date(text: &str, format: &str) -> Self {
        let shown: String = text.chars().take(100).collect();
        let reason = format!("failed to parse date field [{shown}] with format [{format}]");
        Self::new("parse_exception", 400, reason)
    }

    /// More clauses than are carried out.
    pub fn too_many_clauses(most: usize) -> Self {
        Self::new("too_many_clauses", 400, format!("maxClauseCount is set to {most}"))
    }

    /// More buckets than are answered.
    pub fn too_many_buckets(most: usize, count: usize) -> Self {
        let reason = format!(
            "Trying to create too many buckets. Must be less than or equal to: [{most}] but was [{count}]. This limit can be set by changing the [search.max_buckets] cluster level setting."
        );
        Self::new("too_many_buckets_exception", 400, reason)
    }

    /// There is no such index.
    pub fn no_index(name: &str) -> Self {
        let reason = format!("no such index [{name}]");
        Self { index: Some(name.to_owned()), ..Self::new("index_not_found_exception", 404, reason) }
    }

    /// There is such an index already.
    pub fn index_exists(name: &str) -> Self {
        let reason = format!("index [{name}] already exists");
        Self { index: Some(name.to_owned()), ..Self::new("resource_already_exists_exception", 400, reason) }
    }

    /// No index can be called so.
    pub fn index_name(name: &str, why: &str) -> Self {
        let reason = format!("Invalid index name [{name}], {why}");
        Self { index: Some(name.to_owned()), ..Self::new("invalid_index_name_exception", 400, reason) }
    }

    /// A scroll or a point in time that is not there any more.
    pub fn no_context(id: &str) -> Self {
        let shown: String = id.chars().take(100).collect();
        Self::new(
            "search_context_missing_exception",
            404,
            format!("No search context found for id [{shown}]"),
        )
    }

    /// A request that lacks something.
    pub fn validation(problems: &[String]) -> Self {
        let numbered = problems.iter().enumerate().map(|(at, problem)| format!(" {}: {problem};", at + 1));
        let all = numbered.collect::<Vec<_>>().concat();
        Self::new("action_request_validation_exception", 400, format!("Validation Failed:{all}"))
    }

    /// A document that does not fit its index.
    pub fn document(reason: impl Into<String>) -> Self {
        Self::new("document_parsing_exception", 400, reason)
    }

    /// Something is there already.
    pub fn conflict(reason: impl Into<String>) -> Self {
        Self::new("version_conflict_engine_exception", 409, reason)
    }

    /// A document that is to be changed is not there.
    pub fn missing_document(id: &str) -> Self {
        Self::new("document_missing_exception", 404, format!("[{id}]: document missing"))
    }

    /// An index takes nothing more.
    pub fn full(index: &str, why: &str) -> Self {
        let reason = format!("index [{index}] blocked by: {why}");
        Self { index: Some(index.to_owned()), ..Self::new("cluster_block_exception", 429, reason) }
    }

    /// More than may be there.
    pub fn limit(reason: impl Into<String>) -> Self {
        Self::new("validation_exception", 400, reason)
    }

    /// Something does not go at present.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new("es_rejected_execution_exception", 429, reason)
    }

    /// What is ours to mend: parts that do not fit each other.
    pub fn internal(reason: impl Into<String>) -> Self {
        Self::new("illegal_state_exception", 500, reason)
    }

    /// The same, behind another that says where.
    #[must_use]
    pub fn within(self, outer: Self) -> Self {
        Self { status: self.status, cause: Some(Box::new(self)), ..outer }
    }

    /// Its name, its reason and what lies behind it.
    pub fn shown(&self) -> Json {
        let mut shown = json!({ "type": self.kind, "reason": self.reason });
        if let Some(index) = &self.index {
            shown["index"] = json!(index);
            shown["index_uuid"] = json!("_na_");
            shown["resource.type"] = json!("index_or_alias");
            shown["resource.id"] = json!(index);
        }
        if let Some(cause) = &self.cause {
            shown["caused_by"] = cause.shown();
        }
        shown
    }

    /// The body of the answer.
    pub fn body(&self) -> Json {
        let root = self.cause.as_deref().map_or_else(|| self.shown(), Self::shown);
        let mut error = self.shown();
        error["root_cause"] = json!([root]);
        if self.kind == "search_phase_execution_exception" {
            error["phase"] = json!("query");
            error["grouped"] = json!(true);
            let failed = self.cause.as_deref().map_or_else(|| json!({}), Self::shown);
            error["failed_shards"] = json!([{ "shard": 0, "index": null, "node": null, "reason": failed }]);
        }
        json!({ "error": error, "status": self.status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_root() {
        let body = Error::argument("wrong").body();
        assert_eq!(body["status"], 400);
        assert_eq!(body["error"]["type"], "illegal_argument_exception");
        assert_eq!(body["error"]["root_cause"][0]["reason"], "wrong");
        assert_eq!(
            Error::validation(&["index is missing".to_owned()]).reason,
            "Validation Failed: 1: index is missing;"
        );
        let body = Error::query("bad").body();
        assert_eq!(body["error"]["failed_shards"][0]["reason"]["type"], "query_shard_exception");
    }
}
