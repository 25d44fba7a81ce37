//! A bucket of S3-compatible storage as an object store: where it is, who asks, and how long it is waited for.

use crate::{
    Error,
    crypto::OpenSsl,
    settings::{S3Settings, check_endpoint},
};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
    prefix::PrefixStore,
};
use std::{sync::Arc, time::Duration};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a request that failed is made again, within the settings' time. Callers try for ever; they are to hear of
/// trouble soon.
const RETRIES: usize = 3;

/// The store below a prefix, and how it is named to people. Asks nobody yet.
pub(crate) fn open(
    bucket: &str,
    prefix: Option<Path>,
    settings: &S3Settings,
) -> Result<(Arc<dyn ObjectStore>, String), Error> {
    let mut builder = AmazonS3Builder::from_env();
    let given = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let endpoint =
        settings.endpoint.clone().or_else(|| given.iter().find_map(|key| builder.get_config_value(key)));
    let name = format!("s3://{bucket}/{}", prefix.as_ref().map_or("", Path::as_ref));
    let name = match &endpoint {
        Some(endpoint) => format!("{name} at {endpoint}"),
        None => name,
    };
    let refused = |problem: String| Error::Bucket { place: name.clone(), problem };
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some((id, secret)) = &settings.credentials {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
    }
    let path_style = settings.path_style.unwrap_or(endpoint.is_some());
    let options = ClientOptions::new()
        .with_connect_timeout(CONNECT.min(settings.timeout))
        .with_timeout(settings.timeout)
        .with_allow_http(endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")));
    if let Some(endpoint) = endpoint {
        check_endpoint(&endpoint).map_err(|problem| {
            // What is wrong with it may be that a secret stands in it.
            Error::Bucket { place: format!("s3://{bucket}"), problem: format!("its endpoint: {problem}") }
        })?;
        let endpoint = if path_style { endpoint } else { with_host_prefix(&endpoint, bucket) };
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    let store = builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(!path_style)
        .with_client_options(options)
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: RETRIES,
            retry_timeout: settings.timeout,
        })
        // One object a request: what every compatible storage understands.
        .with_disable_bulk_delete(true)
        .with_crypto_provider(Arc::new(OpenSsl))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    let store: Arc<dyn ObjectStore> = match prefix {
        Some(prefix) => Arc::new(PrefixStore::new(store, prefix)),
        None => Arc::new(store),
    };
    Ok((store, name))
}

/// `https://host` → `https://bucket.host`.
fn with_host_prefix(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_can_stand_in_the_hosts_name() {
        assert_eq!(
            with_host_prefix("https://s3.example.com:9000", "logs"),
            "https://logs.s3.example.com:9000"
        );
    }
}
