//! The cookie that a browser shows for a session, and proof that what it asks for comes from a page of this server.

use crate::Turned;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
};

/// The cookies of a server that is reached at one address. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookies {
    origin: String,
}

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// The session.
    Session,
    /// A login that has begun.
    Login,
}

impl Cookies {
    /// `origin`: scheme, host and port at which browsers reach the server, as they say it.
    pub fn new(origin: impl Into<String>) -> Self {
        Self { origin: origin.into() }
    }

    fn is_secure(&self) -> bool {
        self.origin.starts_with("https://")
    }

    fn name(&self, cookie: Cookie) -> &'static str {
        // Browsers take such a name from this host alone, and over TLS alone.
        match (cookie, self.is_secure()) {
            (Cookie::Session, true) => "__Host-millrace",
            (Cookie::Session, false) => "millrace",
            (Cookie::Login, true) => "__Host-millrace-login",
            (Cookie::Login, false) => "millrace-login",
        }
    }

    /// What a browser shows.
    pub fn shown(&self, headers: &HeaderMap, cookie: Cookie) -> Option<String> {
        let name = self.name(cookie);
        let all = headers.get_all(header::COOKIE).into_iter().filter_map(|all| all.to_str().ok());
        let mut pairs = all.flat_map(|all| all.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    /// Has a browser keep a value for so many seconds; 0: it forgets what it has. `value` is of letters, digits, `.`, `-` and `_`.
    pub fn set(&self, cookie: Cookie, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let name = self.name(cookie);
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// Refuses what changes something, or opens a socket, unless a page of this server asks for it: browsers show cookies by
    /// themselves.
    pub(super) fn of_another_page(&self, request: &Request) -> Option<Turned> {
        if !changes(request) {
            return None;
        }
        let headers = request.headers();
        let value = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let is_ours = match value("sec-fetch-site") {
            Some(site) => matches!(site, "same-origin" | "none"),
            None => value("origin").is_some_and(|origin| origin == self.origin || is_host(origin, request)),
        };
        let why = "with a cookie, this is answered to pages of this server alone (sec-fetch-site or origin)";
        (!is_ours).then(|| Turned::new(StatusCode::FORBIDDEN, "cross_site", why))
    }
}

/// Does a request change something, or open a socket?
pub(super) fn changes(request: &Request) -> bool {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    !reads || request.headers().contains_key(header::UPGRADE)
}

/// Is that where the request was sent to?
fn is_host(origin: &str, request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
    let origin = origin.split_once("://").map(|(_, rest)| rest);
    origin.is_some() && origin == host
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn over_tls_a_cookie_is_this_hosts_alone() {
        let cookies = Cookies::new("https://logs.example.com");
        let set = cookies.set(Cookie::Session, "ab", 60);
        let expected = "__Host-millrace=ab; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(set.to_str().unwrap(), expected);
        let plain = Cookies::new("http://127.0.0.1:7700").set(Cookie::Login, "", 0);
        assert_eq!(plain.to_str().unwrap(), "millrace-login=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=b; millrace=no; __Host-millrace=yes".parse().unwrap());
        headers.append("cookie", "__Host-millrace-login=l".parse().unwrap());
        assert_eq!(cookies.shown(&headers, Cookie::Session).as_deref(), Some("yes"));
        assert_eq!(cookies.shown(&headers, Cookie::Login).as_deref(), Some("l"));
    }

    #[test]
    fn what_changes_something_comes_from_a_page_of_this_server() {
        let cookies = Cookies::new("https://logs.example.com");
        let refused = |method: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri("/x").header("host", "10.0.0.1:7700");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            cookies.of_another_page(&request.body(Body::empty()).unwrap()).is_some()
        };
        for headers in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://logs.example.com")],
            &[("origin", "http://10.0.0.1:7700")],
        ] {
            assert!(!refused("POST", headers), "{headers:?}");
        }
        for headers in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site"), ("origin", "https://logs.example.com")],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://logs.example.com.evil.example")],
        ] {
            assert!(refused("POST", headers) && refused("DELETE", headers), "{headers:?}");
            assert!(!refused("GET", headers), "{headers:?}");
            assert!(refused("GET", &[headers, &[("upgrade", "websocket")]].concat()), "{headers:?}");
        }
    }
}
