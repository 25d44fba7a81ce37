//! `_mget`: which documents are wanted, by their ids.

use crate::{
    Error,
    json::{Object, Style, scalar, token},
};
use serde_json::Value as Json;

/// How many at once.
const MAX: usize = 10_000;

/// The index and the id of each; `index` is that of the path.
///
/// # Errors
/// The body says something else, or not all of that.
pub fn several(body: &[u8], index: Option<&str>) -> Result<Vec<(String, String)>, Error> {
    let given: Json = serde_json::from_slice(body).map_err(|error| Error::content(error.to_string()))?;
    let mut object = Object::of(&given, "mget", Style::Content)?;
    let (documents, ids) = (object.value("docs"), object.value("ids"));
    object.finish()?;
    let list = |given: Option<&Json>| match given {
        None => Ok(Vec::new()),
        Some(Json::Array(all)) if all.len() <= MAX => Ok(all.clone()),
        Some(Json::Array(all)) => Err(Error::argument(format!(
            "[{}] documents are asked for, [{MAX}] are given at once",
            all.len()
        ))),
        Some(other) => Err(Error::parsing(format!("expected an array, found {}", token(other)))),
    };
    let mut wanted = Vec::new();
    for id in list(ids)? {
        wanted.push((index.map(str::to_owned), scalar(&id)));
    }
    for document in list(documents)? {
        let named = document.get("_index").and_then(scalar).or_else(|| index.map(str::to_owned));
        wanted.push((named, document.get("_id").and_then(scalar)));
    }
    let mut problems = Vec::new();
    let mut whole = Vec::with_capacity(wanted.len());
    for (at, (index, id)) in wanted.into_iter().enumerate() {
        match (index, id) {
            (Some(index), Some(id)) => whole.push((index, id)),
            (None, _) => problems.push(format!("index is missing for doc {at}")),
            (_, None) => problems.push(format!("id is missing for doc {at}")),
        }
    }
    if whole.is_empty() && problems.is_empty() {
        problems.push("no documents to get".to_owned());
    }
    if problems.is_empty() { Ok(whole) } else { Err(Error::validation(&problems[..problems.len().min(100)])) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn documents_are_named_by_ids_or_one_by_one() {
        let pair = |index: &str, id: &str| (index.to_owned(), id.to_owned());
        let read = |body: &str, index| several(body.as_bytes(), index);
        assert_eq!(read(r#"{"ids":["1",2]}"#, Some("a")).unwrap(), [pair("a", "1"), pair("a", "2")]);
        let docs = r#"{"docs":[{"_index":"b","_id":"1","_source":true},{"_id":"2"}]}"#;
        assert_eq!(read(docs, Some("a")).unwrap(), [pair("b", "1"), pair("a", "2")]);
        for (body, what) in [
            ("{}", "no documents to get"),
            (r#"{"ids":["1"]}"#, "index is missing for doc 0"),
            (r#"{"docs":[{"_index":"b"}]}"#, "id is missing for doc 0"),
            (r#"{"docs":{}}"#, "expected an array"),
            (r#"{"dokz":[]}"#, "dokz"),
            ("", "EOF"),
        ] {
            let refused = read(body, None).unwrap_err().reason;
            assert!(refused.contains(what), "{body}: {refused}");
        }
    }
}
