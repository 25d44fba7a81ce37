//! A plain page with a search box, without any script from elsewhere.

use axum::{
    http::header,
    response::{Html, IntoResponse},
};

/// `/`.
pub async fn index() -> impl IntoResponse {
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("page.html")))
}
