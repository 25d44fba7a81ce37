//! `/api/v1/openapi.json`: the API, described. Each handler says beside it what it takes and gives; this puts it together, with what holds
//! for all of them. Loki's and Elasticsearch's APIs have documents of their own.

use super::{
    Api, ApiError, alerts, audit, catalogue, context, dead_letters, described, error::ErrorAnswer, export,
    fields, hosts, login, parameters, pipeline, proposals, reprocess, rules, search, silences, streams,
    summaries, tail, tokens, traffic, triage,
};
use axum::{Json, extract::State};
use millrace_store::Leaf;
use serde_json::Value;
use std::sync::Arc;
use utoipa::{
    OpenApi,
    openapi::{
        Components, Content, Info, LicenseBuilder, Ref, RefOr, ResponseBuilder,
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

/// What the document says of itself.
const ABOUT: &str = "Search, export and follow logs; hand them in; see how agents, topic, indexers, rules and the catalogue are. \
Times are RFC 3339, epoch milliseconds, `now`, or an age such as `15m`. An answer that may lack something says `partial`, and names what in \
`missing`.\n\n\
Beside this API the same address speaks two others, which their own documents describe: Loki's under `/loki/api/v1` \
(https://grafana.com/docs/loki/latest/reference/loki-http-api/), and Elasticsearch's under `/elastic` \
(https://www.elastic.co/docs/api/doc/elasticsearch/).";

#[derive(OpenApi)]
#[openapi(
    paths(
        search::get,
        search::post,
        search::record,
        context::context,
        export::export,
        tail::tail,
        fields::list,
        summaries::values,
        summaries::patterns,
        streams::list,
        streams::delete,
        streams::deletions,
        streams::hold,
        streams::release,
        alerts::list,
        alerts::one,
        alerts::rules,
        rules::backtest,
        proposals::show,
        rules::coverage,
        triage::acknowledge,
        triage::unacknowledge,
        triage::assign,
        triage::close,
        triage::judge,
        triage::unjudge,
        silences::list,
        silences::add,
        silences::preview,
        silences::end,
        silences::test,
        hosts::list,
        pipeline::show,
        traffic::list,
        audit::audit,
        catalogue::show,
        reprocess::list,
        reprocess::ask,
        dead_letters::list,
        dead_letters::one,
        dead_letters::replay,
        tokens::list,
        tokens::add,
        tokens::revoke,
        login::begin,
        login::back,
        login::end,
        login::me,
        show,
    ),
    // Those that only parameters name.
    components(schemas(
        ErrorAnswer,
        described::When,
        described::AlertState,
        parameters::Sort,
        export::Format,
        traffic::By
    )),
    tags(
        (name = "search", description = "Records, and what is made of them"),
        (name = "ingest", description = "Handing records in: what is acknowledged is durable"),
        (name = "streams", description = "Streams, holds, deletion by query"),
        (name = "detection", description = "Rules, alerts, what people do with them, silences, receivers"),
        (name = "state", description = "Agents, where lines wait, the ledger, the catalogue, what was kept aside"),
        (name = "access", description = "Who may ask: tokens, logins"),
        (name = "process", description = "Probes, metrics, version"),
    ),
)]
struct Described;

/// This document, with what others describe that answer at the same address.
pub fn document(beside: impl IntoIterator<Item = utoipa::openapi::OpenApi>) -> utoipa::openapi::OpenApi {
    let mut all = Described::openapi();
    beside.into_iter().for_each(|other| all.merge(other));
    let mut info = Info::new("Millrace", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    info.license = Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build());
    all.info = info;
    let schemes = [
        ("token", HttpAuthScheme::Bearer, "A token, where `[query.auth]` says that one is needed"),
        (
            "password",
            HttpAuthScheme::Basic,
            "The same: a token's name and its secret, or the whole token as the password",
        ),
    ];
    let components = all.components.get_or_insert_with(Components::new);
    for (name, scheme, about) in schemes {
        let mut http = Http::new(scheme);
        http.description = Some(about.to_owned());
        components.add_security_scheme(name, SecurityScheme::Http(http));
    }
    let cookie = ApiKeyValue::with_description(
        "__Host-millrace",
        "Of whoever has logged in; without TLS it is called `millrace`",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    for (path, item) in &mut all.paths.paths {
        for operation in operations(item) {
            for_all(path, operation);
        }
    }
    all
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, .. } = item;
    [get, put, post, delete].into_iter().flatten()
}

/// They answer whoever asks, whatever is the matter.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/version"];
/// Who logs in has nothing to show yet.
const OPEN: [&str; 2] = ["/auth/login", "/auth/callback"];

/// What can come of any question. Where nobody has to show a token, none of these is about one.
const ERRORS: [(&str, &str); 5] = [
    ("401", "A token is needed, or this one is not known"),
    ("403", "The token does not grant this"),
    ("429", "Too much is asked at once"),
    ("431", "The head of the request is too long"),
    ("503", "Something that the answer needs cannot be reached, or nothing is taken in now"),
];

fn for_all(path: &str, operation: &mut Operation) {
    if PROBES.contains(&path) {
        operation.security = Some(Vec::new());
        return;
    }
    let nothing = SecurityRequirement::default();
    let shown = ["token", "password", "session"];
    let shown = shown.map(|name| SecurityRequirement::new(name, Vec::<String>::new()));
    let is_open = OPEN.contains(&path);
    operation.security =
        Some(if is_open { Vec::new() } else { shown.into_iter().chain([nothing]).collect() });
    let takes =
        operation.request_body.is_some() || operation.parameters.as_ref().is_some_and(|all| !all.is_empty());
    let wrong = takes.then_some(("400", "A parameter, the query or the body is wrong"));
    let large = operation.request_body.is_some().then_some(("413", "The body is too large"));
    let asked: &[(&str, &str)] = if is_search(operation) {
        &[("422", "What the query gathers would take too much memory"), ("504", "The search took too long")]
    } else {
        &[]
    };
    for (status, about) in ERRORS.iter().chain(&wrong).chain(&large).chain(asked) {
        let error = Content::new(Some(RefOr::Ref(Ref::from_schema_name("ErrorAnswer"))));
        let response = ResponseBuilder::new().description(*about).content("application/json", error).build();
        let responses = &mut operation.responses.responses;
        responses.entry((*status).to_owned()).or_insert_with(|| response.into());
    }
}

fn is_search(operation: &Operation) -> bool {
    operation.tags.iter().flatten().any(|tag| tag == "search")
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "process",
    responses((status = 200, description = "This document", body = Object))
)]
pub(super) async fn show<L: Leaf + 'static>(State(api): State<Arc<Api<L>>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(Value::clone(&api.described)))
}

#[cfg(test)]
mod tests;
