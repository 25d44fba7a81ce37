//! Requests to the other host, and what its answers mean.

use super::{Answer, Description, PATH, parcel};
use crate::{Error, HttpSettings};
use millrace_config::Secret;
use millrace_model::chain;
use reqwest::{
    Certificate, Identity, Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use std::{fs, path::Path, time::Duration};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a description may take.
const DESCRIBE: Duration = Duration::from_secs(10);
/// How long a parcel may take with its answer. The other side answers sooner, whatever its topic does.
const DELIVER: Duration = Duration::from_mins(3);
/// A connection over which nothing comes is asked so often whether it still is one.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// So much of an answer that makes no sense is repeated.
const WORDS: usize = 200;

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) problem: String,
    /// The other side takes less at once.
    pub(super) too_large: bool,
}

impl Trouble {
    /// It may be tried again.
    pub(super) fn passing(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), too_large: false }
    }
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        // The address is said by whoever tells of it.
        Self::passing(chain(&error.without_url()))
    }
}

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    topic: Url,
    messages: Url,
    token: Option<HeaderValue>,
}

impl Client {
    /// Reads certificates, and asks nobody yet.
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, Error> {
        let refused = |problem: String| Error::Refused { topic: settings.url.clone(), reason: problem };
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .tcp_keepalive(KEEPALIVE)
            .redirect(Policy::none())
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")));
        let tls = &settings.tls;
        if let Some(path) = &tls.ca {
            let authorities = Certificate::from_pem_bundle(&read(path).map_err(refused)?);
            let authorities = authorities.map_err(|error| refused(of_file(path, &error)))?;
            if authorities.is_empty() {
                return Err(refused(format!("{}: there is no certificate in it", path.display())));
            }
            for authority in authorities {
                builder = builder.add_root_certificate(authority);
            }
        }
        if let Some((certificate, key)) = &tls.identity {
            let (own, secret) = (read(certificate).map_err(refused)?, read(key).map_err(refused)?);
            let identity = Identity::from_pkcs8_pem(&own, &secret).map_err(|error| {
                refused(format!("{} and {}: {}", certificate.display(), key.display(), chain(&error)))
            })?;
            builder = builder.identity(identity);
        }
        let http = builder.build().map_err(|error| refused(chain(&error)))?;
        let at = |path: &str| {
            let url = format!("{}{PATH}{}{path}", settings.url.trim_end_matches('/'), settings.path());
            Url::parse(&url).map_err(|error| refused(error.to_string()))
        };
        let token = settings.token.as_ref().map(bearer).transpose().map_err(refused)?;
        Ok(Self { http, topic: at("")?, messages: at("/messages")?, token })
    }

    pub(super) async fn describe(&self) -> Result<Description, Trouble> {
        let response = self.request(Method::GET, &self.topic).timeout(DESCRIBE).send().await?;
        read_answer(response).await
    }

    pub(super) async fn deliver(&self, parcel: Vec<u8>) -> Result<Answer, Trouble> {
        let request = self.request(Method::POST, &self.messages).timeout(DELIVER);
        let response = request.header(CONTENT_TYPE, parcel::CONTENT_TYPE).body(parcel).send().await?;
        read_answer(response).await
    }

    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let request = self.http.request(method, url.clone());
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        }
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, String> {
    let header = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
    let mut header = header.map_err(|_| "the token cannot stand in a header".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| of_file(path, &error))
}

fn of_file(path: &Path, error: &(dyn std::error::Error + 'static)) -> String {
    format!("{}: {}", path.display(), chain(error))
}

async fn read_answer<T: serde::de::DeserializeOwned>(response: Response) -> Result<T, Trouble> {
    let status = response.status();
    let body = response.bytes().await?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&body)
            .map_err(|error| Trouble::passing(format!("its answer makes no sense: {error}")));
    }
    let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let said = said.as_ref().and_then(|said| said["error"]["message"].as_str());
    let words = match (said, status) {
        (Some(words), _) => words.to_owned(),
        (None, StatusCode::NOT_FOUND) => {
            "nothing there takes messages: is it a Millrace, and this new?".to_owned()
        }
        (None, _) => String::from_utf8_lossy(&body).chars().take(WORDS).collect(),
    };
    Err(Trouble { problem: format!("{status}: {words}"), too_large: status == StatusCode::PAYLOAD_TOO_LARGE })
}
