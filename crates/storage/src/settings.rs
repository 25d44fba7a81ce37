//! What can be set of where bundles lie: `[storage]`. Plain data; [`Bundles::open`](crate::Bundles::open) makes use of it.

use crate::address::Address;
use millrace_config::{Age, ByteSize, Secret, Section};
use std::{path::PathBuf, time::Duration};

/// `[storage]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `file:///absolute/folder` or `s3://bucket/prefix`: `url`.
    pub url: String,
    /// How S3-compatible storage is reached; nothing of it matters to a folder.
    pub s3: S3Settings,
    /// The folder where copies of bundles from S3-compatible storage are kept: `cache_dir`. One process, one folder.
    pub cache_dir: PathBuf,
    /// How many bytes of copies are kept: `cache_bytes`, default 10 GiB; 0: none.
    pub cache_bytes: u64,
}

/// The part of `[storage]` that is for S3-compatible storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// Where to ask, `https://` or `http://` and a host: `endpoint`. `None`: as `AWS_ENDPOINT_URL` says, else Amazon's.
    pub endpoint: Option<String>,
    /// `region`. `None`: as `AWS_REGION` says, else `us-east-1`.
    pub region: Option<String>,
    /// The bucket in the path instead of the host's name: `path_style`, by default where an endpoint is given.
    pub path_style: Option<bool>,
    /// How long one request may take, and how long failed ones are tried again: `timeout`, default 15 s.
    pub timeout: Duration,
    /// `access_key_id` and `secret_access_key`. `None`: as the usual variables of AWS say.
    pub credentials: Option<(String, Secret)>,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: None,
            timeout: Duration::from_secs(15),
            credentials: None,
        }
    }
}

impl Settings {
    /// Bundles at `url`, with defaults for the rest; a folder needs no `cache_dir`.
    pub fn new(url: impl Into<String>, cache_dir: impl Into<PathBuf>) -> Self {
        let (url, cache_dir) = (url.into(), cache_dir.into());
        Self { url, s3: S3Settings::default(), cache_dir, cache_bytes: 10 << 30 }
    }

    /// Reads `[storage]`; what is absent keeps its default, and where there is none for the `url` it is required. `None`:
    /// what is wrong is noted in the document.
    pub fn read(section: &mut Section<'_>, url: Option<String>, cache_dir: PathBuf) -> Option<Self> {
        let url = match url {
            Some(default) => Some(section.optional("url").unwrap_or(default)),
            None => section.required("url"),
        };
        let default = S3Settings::default();
        let endpoint = section.optional::<String>("endpoint");
        let s3 = S3Settings {
            region: section.optional("region"),
            path_style: section.optional("path_style"),
            timeout: section.or("timeout", Age(default.timeout)).0,
            credentials: credentials(section),
            endpoint,
        };
        let cache_dir = section.or("cache_dir", cache_dir);
        let ByteSize(cache_bytes) = section.or("cache_bytes", ByteSize(10 << 30));
        if let Err(problem) = s3.endpoint.as_deref().map_or(Ok(()), check_endpoint) {
            section.error("endpoint", problem);
        }
        if s3.timeout < Duration::from_secs(1) {
            section.error("timeout", "at least 1s expected: each request takes some time");
        }
        if let Err(error) = url.as_deref().map_or(Ok(()), |url| Address::of(url).map(drop)) {
            section.error("url", error.to_string());
        }
        Some(Self { url: url?, s3, cache_dir, cache_bytes })
    }
}

fn credentials(section: &mut Section<'_>) -> Option<(String, Secret)> {
    let id = section.optional::<String>("access_key_id");
    let secret = section.optional::<Secret>("secret_access_key");
    match (id, secret) {
        (Some(id), Some(secret)) => Some((id, secret)),
        (None, None) => None,
        (Some(_), None) => {
            section.error("access_key_id", "secret_access_key is missing beside it");
            None
        }
        (None, Some(_)) => {
            section.error("secret_access_key", "access_key_id is missing beside it");
            None
        }
    }
}

/// Is it a scheme and a host, and nothing that could be a secret?
pub(crate) fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let host = host.ok_or("an address that begins with https:// or http:// expected")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.contains('@') {
        return Err("credentials do not belong here: use access_key_id and secret_access_key");
    }
    if host.is_empty() || host.contains(['/', '?', '#']) || host.chars().any(char::is_whitespace) {
        return Err("a host, and a port if need be, expected after the scheme");
    }
    Ok(())
}
