//! What changes a document: what has to be so beforehand, and what an update makes of it.

use crate::{
    Error,
    json::{Object, Style},
};
use serde_json::Value as Json;

/// What has to be so for a document to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    /// The number of its last change (`if_seq_no`).
    pub sequence: Option<u64>,
}

impl Condition {
    /// From `if_seq_no` and `if_primary_term`; `is_versioned`: a version of the client's own is said as well.
    ///
    /// # Errors
    /// One of the two is there alone, or what is said is not carried out.
    pub fn new(sequence: Option<i64>, term: Option<i64>, is_versioned: bool) -> Result<Self, Error> {
        if is_versioned {
            let reason = "internal versioning can not be used for optimistic concurrency control. Please use `if_seq_no` and `if_primary_term` instead";
            return Err(Error::validation(&[reason.to_owned()]));
        }
        match (sequence, term) {
            (None, None) => Ok(Self::default()),
            // There has been one primary; what another has seen is not so here.
            (Some(sequence), Some(term)) => {
                let found = u64::try_from(sequence).ok().filter(|_| term == 1);
                Ok(Self { sequence: Some(found.unwrap_or(u64::MAX)) })
            }
            (None, Some(term)) => {
                Err(Error::validation(&[format!("ifSeqNo is unassigned, but primary term is [{term}]")]))
            }
            (Some(sequence), None) => Err(Error::validation(&[format!(
                "ifSeqNo is set, but primary term is [0], sequence number [{sequence}]"
            )])),
        }
    }
}

/// What an update changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Update {
    /// What is put over what is there.
    pub doc: Option<Json>,
    /// What is written where nothing is there.
    pub upsert: Option<Json>,
    /// What would change nothing is written all the same.
    pub always: bool,
}

/// What an update makes of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// It is not there, and nothing is said of that.
    Missing,
    /// It is so already.
    Same,
    /// It becomes this one.
    Document(Json),
}

impl Update {
    /// From the body of an update.
    ///
    /// # Errors
    /// It says what is not carried out.
    pub fn read(given: &Json) -> Result<Self, Error> {
        let mut object = Object::of(given, "UpdateRequest", Style::Content)?;
        object.ignore(&["_source"]);
        for name in ["script", "scripted_upsert"] {
            if object.value(name).is_some_and(|value| *value != Json::Bool(false)) {
                let reason =
                    format!("[{name}] updates are not supported here: send the fields that change in [doc]");
                return Err(Error::argument(reason));
            }
        }
        let doc = object.value("doc").cloned();
        let upsert = object.value("upsert").cloned();
        let upsert = if object.flag("doc_as_upsert")?.unwrap_or(false) { doc.clone() } else { upsert };
        let always = !object.flag("detect_noop")?.unwrap_or(true);
        object.finish()?;
        if doc.is_none() && upsert.is_none() {
            return Err(Error::validation(&["script or doc is missing".to_owned()]));
        }
        if let Some(other) = [&doc, &upsert].into_iter().flatten().find(|part| !part.is_object()) {
            let shown = crate::json::token(other);
            return Err(Error::content(format!("[UpdateRequest] expected an object, found {shown}")));
        }
        Ok(Self { doc, upsert, always })
    }

    /// What becomes of a document; `None`: there is none.
    ///
    /// # Errors
    /// It is there, and the update says only what is written where none is.
    pub fn applied(&self, before: Option<&Json>) -> Result<Applied, Error> {
        match (before, &self.doc, &self.upsert) {
            (None, _, Some(upsert)) => Ok(Applied::Document(upsert.clone())),
            (None, _, None) => Ok(Applied::Missing),
            (Some(before), Some(doc), _) => {
                let mut after = before.clone();
                put_over(&mut after, doc);
                Ok(if self.always || after != *before { Applied::Document(after) } else { Applied::Same })
            }
            (Some(_), None, _) => Err(Error::validation(&["script or doc is missing".to_owned()])),
        }
    }
}

/// Objects become one, field by field; anything else takes the place of what was there.
fn put_over(into: &mut Json, doc: &Json) {
    match (into, doc) {
        (Json::Object(into), Json::Object(doc)) => {
            for (name, value) in doc {
                match into.get_mut(name) {
                    Some(there) => put_over(there, value),
                    None => {
                        into.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (into, doc) => *into = doc.clone(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_update_puts_fields_over_those_that_are_there() {
        let before = json!({ "a": 1, "b": { "c": 2, "d": [1, 2] } });
        let made = |body: Json, before: Option<&Json>| Update::read(&body).unwrap().applied(before);
        let doc = json!({ "doc": { "b": { "d": [3], "e": null } } });
        let after = json!({ "a": 1, "b": { "c": 2, "d": [3], "e": null } });
        assert_eq!(made(doc.clone(), Some(&before)), Ok(Applied::Document(after)));
        assert_eq!(made(doc, None), Ok(Applied::Missing));
        assert_eq!(made(json!({ "doc": { "a": 1 } }), Some(&before)), Ok(Applied::Same));
        let always = json!({ "doc": { "a": 1 }, "detect_noop": false });
        assert_eq!(made(always, Some(&before)), Ok(Applied::Document(before.clone())));
        let upsert = json!({ "doc": { "a": 2 }, "upsert": { "n": 0 } });
        assert_eq!(made(upsert.clone(), None), Ok(Applied::Document(json!({ "n": 0 }))));
        assert_eq!(made(upsert, Some(&json!({}))), Ok(Applied::Document(json!({ "a": 2 }))));
        let as_upsert = json!({ "doc": { "a": 2 }, "doc_as_upsert": true });
        assert_eq!(made(as_upsert, None), Ok(Applied::Document(json!({ "a": 2 }))));
    }

    #[test]
    fn what_is_not_carried_out_is_said() {
        for (body, what) in [
            (json!({ "script": "ctx._source.n++" }), "[script] updates are not supported"),
            (json!({ "doc": {}, "scripted_upsert": true }), "[scripted_upsert] updates are not supported"),
            (json!({}), "script or doc is missing"),
            (json!({ "doc": 1 }), "expected an object"),
            (json!({ "doc": {}, "dok": {} }), "dok"),
        ] {
            let refused = Update::read(&body).unwrap_err();
            assert!(refused.reason.contains(what), "{body}: {}", refused.reason);
        }
    }

    #[test]
    fn a_condition_is_whole_or_an_error() {
        assert_eq!(Condition::new(None, None, false), Ok(Condition::default()));
        assert_eq!(Condition::new(Some(7), Some(1), false), Ok(Condition { sequence: Some(7) }));
        // Of another primary there is nothing here.
        assert_eq!(Condition::new(Some(7), Some(2), false), Ok(Condition { sequence: Some(u64::MAX) }));
        for (sequence, term, is_versioned) in
            [(Some(1), None, false), (None, Some(1), false), (None, None, true)]
        {
            assert_eq!(Condition::new(sequence, term, is_versioned).unwrap_err().status, 400);
        }
    }
}
