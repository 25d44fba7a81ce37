//! `_msearch`: lines in pairs, of which the first says where and the second what.

use super::{Indices, Parameters, Search, search::json};
use crate::{
    Error,
    json::{Object, Style},
};
use serde_json::Value as Json;

/// The most searches of one request.
const MAX_SEARCHES: usize = 1000;

/// Where one of them searches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// In which indices.
    pub indices: Indices,
}

/// One of them. What is wrong with it is its own answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Where.
    pub header: Header,
    /// What.
    pub search: Result<Search, Error>,
}

/// The searches of a body; `indices` are those of the path.
///
/// # Errors
/// What makes the whole of it unreadable.
pub fn multi(body: &[u8], indices: &Indices, parameters: &Parameters) -> Result<Vec<Item>, Error> {
    parameters.ignore(&[
        "max_concurrent_searches",
        "max_concurrent_shard_requests",
        "pre_filter_shard_size",
        "search_type",
        "ccs_minimize_roundtrips",
    ]);
    let as_number = parameters.flag("rest_total_hits_as_int")?.unwrap_or(false);
    let typed_keys = parameters.flag("typed_keys")?.unwrap_or(false);
    let mut lines = body.split(|byte| *byte == b'\n');
    let mut items = Vec::new();
    while let Some(first) = lines.next() {
        // Blank lines stand for headers that say nothing, but for those at the end.
        let blank = first.iter().all(u8::is_ascii_whitespace);
        let rest = lines.clone();
        if blank && rest.clone().all(|line| line.iter().all(u8::is_ascii_whitespace)) {
            break;
        }
        let header = header(&json(first)?, indices)?;
        let Some(second) = lines.next() else {
            return Err(Error::argument("The msearch request must be terminated by a newline [\n]"));
        };
        if items.len() >= MAX_SEARCHES {
            return Err(Error::argument(format!("more than {MAX_SEARCHES} searches in one request")));
        }
        let body = json(second)?;
        let mut search = Search::body(&body).and_then(Search::checked);
        if let Ok(search) = &mut search {
            (search.total_as_number, search.typed_keys) = (as_number, typed_keys);
        }
        items.push(Item { header, search });
    }
    if items.is_empty() {
        return Err(Error::validation(&["no requests added".to_owned()]));
    }
    Ok(items)
}

fn header(given: &Json, indices: &Indices) -> Result<Header, Error> {
    let mut header = Header { indices: indices.clone() };
    if given.is_null() {
        return Ok(header);
    }
    let mut object = Object::of(given, "msearch", Style::Content)
        .map_err(|_| Error::argument("Malformed msearch header, expected an object"))?;
    object.ignore(&[
        "type",
        "search_type",
        "preference",
        "routing",
        "request_cache",
        "allow_partial_search_results",
        "expand_wildcards",
        "expandWildcards",
        "ignore_throttled",
        "max_concurrent_shard_requests",
        "ccs_minimize_roundtrips",
        "ignoreUnavailable",
        "allowNoIndices",
    ]);
    let named = match object.texts("index")? {
        None => object.texts("indices")?,
        given => {
            object.ignore(&["indices"]);
            given
        }
    };
    if let Some(named) = named {
        header.indices.patterns = named.iter().flat_map(|name| Indices::names(name)).collect();
    }
    if let Some(ignore) = object.flag("ignore_unavailable")? {
        header.indices.ignore_unavailable = ignore;
    }
    if let Some(allow) = object.flag("allow_no_indices")? {
        header.indices.refuse_none = !allow;
    }
    object.finish().map_err(|error| {
        let key = error.reason.rsplit_once('[').map_or("", |(_, key)| key.trim_end_matches(']'));
        Error::argument(format!("key [{key}] is not supported in the metadata section"))
    })?;
    Ok(header)
}
