//! Elasticsearch's API over our records, under `/elastic`: the paths, and what each of them asks for.

mod changes;
mod documents;
mod indices;
mod searches;

use super::{Api, ApiError};
use crate::elastic::{Elastic, Failed, Index, unreadable};
use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use millrace_elastic::{
    Error,
    request::{Indices, Parameters},
    response::filter_path,
};
use millrace_listen::{Audited, Caller, Role, Turned, receive};
use millrace_model::StreamName;
use millrace_store::Leaf;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// The largest request, unpacked, in bytes: Elasticsearch's own.
const MAX_BODY: usize = 100 << 20;
const CLUSTER: &str = "millrace";

/// What a request is answered with.
enum Reply {
    Json(StatusCode, Json),
    Text(String),
    /// Yes or no, for `HEAD`.
    Found(bool),
}

/// Why not.
enum Problem {
    Elastic(Error),
    /// No such path, or it takes other methods.
    Path,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Elastic(error)
    }
}

impl From<millrace_catalogue::Error> for Problem {
    fn from(error: millrace_catalogue::Error) -> Self {
        Self::Elastic(unreadable(&error))
    }
}

impl From<Failed> for Problem {
    fn from(error: Failed) -> Self {
        match error {
            Failed::Catalogue(error) => error.into(),
            Failed::Elastic(error) => Self::Elastic(error),
            Failed::TooLarge(error) => Self::Elastic(Error {
                kind: "circuit_breaking_exception",
                status: 429,
                ..Error::unavailable(error.to_string())
            }),
        }
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self::Elastic(Error::unavailable(error.to_string()))
    }
}

type Answered = Result<Reply, Problem>;

impl From<Json> for Reply {
    fn from(body: Json) -> Self {
        Self::Json(StatusCode::OK, body)
    }
}

/// A request, taken apart.
struct Asked<'r, L> {
    api: &'r Api<L>,
    caller: Caller,
    method: Method,
    path: String,
    parameters: Parameters,
    body: Bytes,
}

/// The paths.
pub(super) fn router<L: Leaf + 'static>() -> Router<Arc<Api<L>>> {
    Router::new()
        .route("/elastic", any(answer::<L>))
        .route("/elastic/", any(answer::<L>))
        .route("/elastic/{*path}", any(answer::<L>))
}

async fn answer<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    let filters: Vec<String> = pairs
        .iter()
        .filter(|(name, _)| name == "filter_path")
        .flat_map(|(_, value)| value.split(',').map(str::to_owned))
        .collect();
    let read = async { receive(&parts.headers, body, MAX_BODY).await?.plain() };
    let body = match read.await {
        Ok(body) => body,
        Err(turned) => return with_product(turned_away(&turned)),
    };
    let path = parts.uri.path();
    let encoded = path.strip_prefix("/elastic").unwrap_or(path).trim_matches('/');
    let asked = Asked {
        api: &*api,
        caller: caller.clone(),
        method: parts.method.clone(),
        path: encoded.to_owned(),
        parameters: Parameters::new(pairs),
        body,
    };
    let needed = asked.needed();
    let answered = tokio::time::timeout(api.timeout, asked.admitted(needed));
    let answered = answered.await.unwrap_or_else(|_| {
        Err(Problem::Elastic(Error { status: 504, ..Error::unavailable("the search took too long") }))
    });
    let refused = matches!(&answered, Err(Problem::Elastic(error)) if error.status == 403);
    let mut response = match answered {
        Ok(Reply::Json(status, body)) => with_json(status, &filter_path(body, &filters)),
        Ok(Reply::Text(text)) => {
            ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], text).into_response()
        }
        Ok(Reply::Found(true)) => StatusCode::OK.into_response(),
        Ok(Reply::Found(false)) => StatusCode::NOT_FOUND.into_response(),
        Err(Problem::Elastic(error)) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            with_json(status, &error.body())
        }
        Err(Problem::Path) => {
            let reason = format!("no handler found for uri [/{encoded}] and method [{}]", parts.method);
            with_json(StatusCode::BAD_REQUEST, &json!({ "error": reason }))
        }
    };
    if refused || matches!(needed, Some(Role::Read | Role::Admin)) {
        response.extensions_mut().insert(Audited::of(Some(caller)));
    }
    with_product(response)
}

/// What somebody must be who asks for this; `None`: known. Names of streams are held against the grant where they are used.
/// `is_documents` says of indices whether clients change what is in all of them.
fn needed(method: &Method, segments: &[String], is_documents: impl Fn(&str) -> bool) -> Option<Role> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (method.as_str(), segments.as_slice()) {
        // Clients begin with these, before they know what they may.
        (_, [] | ["_nodes", ..] | ["_cluster", "health", ..]) => None,
        // Whoever may change such documents one by one may delete them by what is in them, if they may also see that.
        ("POST", [names, "_delete_by_query"]) if is_documents(names) => Some(Role::Write),
        ("PUT", ["_cluster", ..]) | ("POST", [_, "_delete_by_query"]) => Some(Role::Admin),
        ("DELETE", [name]) if !name.starts_with('_') || *name == "_all" => Some(Role::Admin),
        (_, ["_bulk"] | [_, "_bulk"] | [_, "_create" | "_update", ..])
        | ("PUT" | "POST" | "DELETE", [_, "_doc", ..])
        | ("PUT" | "POST", [_, "_mapping" | "_mappings"])
        | ("PUT", [_] | [_, "_settings"]) => Some(Role::Write),
        _ => Some(Role::Read),
    }
}

/// Who asks may not.
fn forbidden(turned: Turned) -> Error {
    Error { kind: "security_exception", status: turned.status.as_u16(), ..Error::unavailable(turned.message) }
}

fn turned_away(turned: &Turned) -> Response {
    let body = json!({
        "error": { "root_cause": [], "type": turned.code, "reason": turned.message },
        "status": turned.status.as_u16(),
    });
    with_json(turned.status, &body)
}

fn with_json(status: StatusCode, body: &Json) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Clients refuse to talk to others.
fn with_product(mut response: Response) -> Response {
    response.headers_mut().insert("x-elastic-product", HeaderValue::from_static("Elasticsearch"));
    response
}

impl<L: Leaf> Asked<'_, L> {
    fn segments(&self) -> Vec<String> {
        self.path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect()
    }

    fn needed(&self) -> Option<Role> {
        let collections = self.api.elastic.indices.collections();
        needed(&self.method, &self.segments(), |names| names.split(',').all(|name| collections.holds(name)))
    }

    /// The answer, for those who may ask.
    async fn admitted(&self, needed: Option<Role>) -> Answered {
        if let Some(role) = needed {
            self.caller.may(role).map_err(forbidden)?;
        }
        self.dispatch().await
    }

    /// May they write to this stream?
    fn may_write(&self, stream: &StreamName) -> Result<(), Error> {
        self.caller.may_write(stream).map_err(forbidden)
    }

    async fn dispatch(&self) -> Answered {
        let segments = self.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let method = self.method.as_str();
        match (method, segments.as_slice()) {
            ("GET" | "HEAD", []) => Ok(millrace_elastic::response::info(CLUSTER, CLUSTER, CLUSTER).into()),
            ("GET" | "POST", ["_search"]) => self.search("").await,
            ("GET" | "POST", ["_search", "scroll"]) => self.scroll(None).await,
            ("GET" | "POST", ["_search", "scroll", id]) => self.scroll(Some(id)).await,
            ("DELETE", ["_search", "scroll"]) => Ok(self.close_scrolls(None)),
            ("DELETE", ["_search", "scroll", ids]) => Ok(self.close_scrolls(Some(ids))),
            ("GET" | "POST", ["_msearch"]) => self.multi("").await,
            ("GET" | "POST", ["_count"]) => self.count("").await,
            ("GET" | "POST", ["_mget"]) => self.several(None).await,
            ("DELETE", ["_pit"]) => self.close_pit(),
            ("POST" | "PUT", ["_bulk"]) => self.bulk(None).await,
            ("GET" | "POST", ["_field_caps"]) => self.field_caps("").await,
            ("GET", ["_mapping" | "_mappings"]) => self.mapping("").await,
            ("GET", ["_cat", "indices"]) => self.cat_indices("").await,
            ("GET", ["_cat", "indices", names]) => self.cat_indices(names).await,
            ("GET", ["_cat", "health"]) => self.cat_health().await,
            ("GET", ["_cluster", "health", ..]) => self.health().await,
            ("GET", ["_resolve", "index", names]) => self.resolve(names).await,
            ("GET", ["_alias" | "_aliases"]) => self.aliases("").await,
            ("GET", ["_stats", ..]) => self.stats("").await,
            ("GET", ["_nodes", ..]) => Ok(self.nodes()),
            ("PUT", ["_cluster", "settings"]) => self.cluster_settings().await,
            ("GET", ["_cluster", "settings"]) => Ok(json!({ "persistent": {}, "transient": {} }).into()),
            ("POST" | "GET", ["_refresh" | "_flush"]) => Ok(shards_ok()),
            (_, [name, ..]) if name.starts_with('_') && *name != "_all" => Err(Problem::Path),
            ("HEAD", [names]) => self.exists(names).await,
            ("GET", [names]) => self.describe(names).await,
            ("PUT", [name]) => self.create(name).await,
            ("DELETE", [names]) => self.delete(names).await,
            ("GET" | "POST", [names, "_search"]) => self.search(names).await,
            ("GET" | "POST", [names, "_msearch"]) => self.multi(names).await,
            ("GET" | "POST", [names, "_count"]) => self.count(names).await,
            ("POST", [names, "_pit"]) => self.open_pit(names).await,
            ("POST" | "PUT", [name, "_bulk"]) => self.bulk(Some(name)).await,
            ("POST", [name, "_doc"]) => self.index(name, None, false).await,
            ("PUT" | "POST", [name, "_doc", id]) => self.index(name, Some(id), false).await,
            ("PUT" | "POST", [name, "_create", id]) => self.index(name, Some(id), true).await,
            ("POST", [name, "_update", id]) => self.update(name, id).await,
            ("DELETE", [name, "_doc", id]) => self.remove(name, id).await,
            ("GET" | "POST", [name, "_mget"]) => self.several(Some(name)).await,
            ("GET" | "HEAD", [name, "_doc" | "_source", id]) => self.get(name, id, segments[1]).await,
            ("GET" | "POST", [names, "_field_caps"]) => self.field_caps(names).await,
            ("GET", [names, "_mapping" | "_mappings"]) => self.mapping(names).await,
            ("PUT" | "POST", [name, "_mapping" | "_mappings"]) => self.extend(name).await,
            ("GET", [names, "_alias" | "_aliases"]) => self.aliases(names).await,
            ("GET", [names, "_stats", ..]) => self.stats(names).await,
            ("GET", [names, "_settings"]) => self.settings(names).await,
            // There is nothing in them that would change anything here.
            ("PUT", [names, "_settings"]) => {
                self.named(names).await.map(|_| json!({ "acknowledged": true }).into())
            }
            ("GET" | "POST", [names, "_search_shards"]) => self.search_shards(names).await,
            ("POST", [names, "_delete_by_query"]) => self.delete_by_query(names).await,
            ("POST" | "GET", [_, "_refresh" | "_flush" | "_forcemerge"]) => Ok(shards_ok()),
            _ => Err(Problem::Path),
        }
    }

    fn elastic(&self) -> Elastic<'_, L> {
        Elastic {
            searcher: &self.api.searcher,
            collections: self.api.elastic.indices.collections(),
            sight: self.api.sight(&self.caller),
            memory: self.api.query_memory,
        }
    }

    /// All indices that may be seen.
    async fn all(&self) -> Result<Vec<Index>, Problem> {
        let keeper = &self.api.elastic.indices;
        Ok(keeper.all(&self.api.searcher, self.caller.grant(), self.api.query_memory).await?)
    }

    /// Those that are named.
    async fn named(&self, names: &str) -> Result<Vec<Index>, Problem> {
        let indices = Indices::read(names, &self.parameters)?;
        self.meant(&indices).await
    }

    /// Those that are named, where something is asked of what is in them. Everything is all streams: documents that clients change
    /// are the state of some tool, and their fields mean something else.
    async fn looked_into(&self, indices: &Indices) -> Result<Vec<Index>, Problem> {
        let mut meant = self.meant(indices).await?;
        if indices.is_everything() {
            meant.retain(|index| !index.is_mutable);
        }
        Ok(meant)
    }

    async fn meant(&self, indices: &Indices) -> Result<Vec<Index>, Problem> {
        let keeper = &self.api.elastic.indices;
        let is_mutable = |name: &String| !name.contains('*') && keeper.collections().holds(name);
        // Those who keep their own state here ask for it often: nothing needs to be counted for that.
        let all = if !indices.patterns.is_empty() && indices.patterns.iter().all(is_mutable) {
            keeper.mutable(self.caller.grant()).await?
        } else {
            self.all().await?
        };
        let known: Vec<&str> = all.iter().map(|index| index.stream.as_str()).collect();
        let meant = indices.resolve(&known)?;
        Ok(meant
            .iter()
            .filter_map(|name| all.iter().find(|index| index.stream.as_str() == *name))
            .cloned()
            .collect())
    }
}

/// All shards did what was asked.
fn shards_ok() -> Reply {
    json!({ "_shards": { "total": 1, "successful": 1, "failed": 0 } }).into()
}

/// A segment of a path without its escapes.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
