//! Addresses and settings: what is taken, what is refused, and that no secret is repeated.

use crate::{Bundles, S3Settings, Settings};
use millrace_config::{Layers, Secret};

#[tokio::test]
async fn urls_and_folders_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = format!("file://{}", file.join("below").display());
    let is_file = format!("file://{}", file.display());
    for (url, expected) in [
        ("gs://key:hunter2@bucket/prefix", "unsupported storage url scheme \"gs\""),
        ("s3://key:hunter2@bucket/prefix", "credentials do not belong here"),
        ("s3:bucket", "expected // after s3:"),
        ("s3://", "expected a bucket's name"),
        ("s3://a", "expected a bucket's name"),
        ("s3://Logs/x", "expected a bucket's name"),
        ("s3://logs/../x", "expected a prefix"),
        ("/var/lib/shards", "unsupported storage url scheme \"\""),
        ("file:shards", "expected // after file:"),
        ("file://shards", "expected an absolute path"),
        (below.as_str(), "cannot use the storage folder"),
        (is_file.as_str(), "cannot use the storage folder"),
    ] {
        let error = Bundles::open(&Settings::new(url, folder.path().join("copies"))).unwrap_err().to_string();
        assert!(error.contains(expected), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_used_is_named_and_no_secret_shown() {
    let folder = tempfile::tempdir().unwrap();
    for endpoint in
        ["ftp://host", "https://", "https://me:hunter2@host", "https://host/path", "host:9000", "http://a b"]
    {
        let s3 = S3Settings { endpoint: Some(endpoint.to_owned()), ..S3Settings::default() };
        let settings = Settings { s3, ..Settings::new("s3://logs", folder.path().join("copies")) };
        let error = Bundles::open(&settings).unwrap_err().to_string();
        assert!(error.contains("s3://logs") && error.contains("endpoint"), "{endpoint}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let s3 = S3Settings {
        endpoint: Some("http://127.0.0.1:9000".to_owned()),
        credentials: Some(("AKIA".to_owned(), Secret::new("hunter2"))),
        ..S3Settings::default()
    };
    let settings = Settings { s3, ..Settings::new("s3://logs/a/b/", folder.path().join("copies")) };
    let bundles = Bundles::open(&settings).unwrap();
    let shown = format!("{bundles:?} {settings:?}");
    assert!(
        shown.contains("s3://logs/a/b at http://127.0.0.1:9000") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_folder_of_copies_is_one_processs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new("s3://logs", folder.path().join("copies"));
    let bundles = Bundles::open(&settings).unwrap();
    let error = Bundles::open(&settings).unwrap_err();
    let told = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("copies") && told.contains("another process"), "{error}: {told}");
    drop(bundles);
    Bundles::open(&settings).unwrap();
}

fn read(text: &str) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("storage.toml");
    std::fs::write(&file, format!("[storage]\n{text}")).unwrap();
    let document = millrace_config::load(&Layers { file: Some(file), ..Layers::default() }).unwrap();
    let settings = Settings::read(&mut document.root().section_or_empty("storage"), None, "/cache".into());
    document.finish().map_err(|report| {
        report.problems().iter().map(|problem| problem.message().to_owned()).collect::<Vec<_>>().join("; ")
    })?;
    Ok(settings.unwrap())
}

#[test]
fn everything_that_can_be_set_is_read() {
    let settings = read("url = \"s3://logs/x\"").unwrap();
    assert_eq!(settings, Settings::new("s3://logs/x", "/cache"));
    let all = "url = \"s3://logs/x\"\nendpoint = \"http://minio:9000\"\nregion = \"eu-1\"\npath_style = false\n\
               timeout = \"3s\"\naccess_key_id = \"AKIA\"\nsecret_access_key = \"s\"\ncache_dir = \"/c\"\n\
               cache_bytes = \"1MiB\"";
    let expected = Settings {
        url: "s3://logs/x".to_owned(),
        s3: S3Settings {
            endpoint: Some("http://minio:9000".to_owned()),
            region: Some("eu-1".to_owned()),
            path_style: Some(false),
            timeout: std::time::Duration::from_secs(3),
            credentials: Some(("AKIA".to_owned(), Secret::new("s"))),
        },
        cache_dir: "/c".into(),
        cache_bytes: 1 << 20,
    };
    assert_eq!(read(all).unwrap(), expected);
}

#[test]
fn mistakes_are_told_where_they_stand() {
    for (text, expected) in [
        ("", "url"),
        ("url = \"gs://x\"", "unsupported storage url scheme"),
        ("url = \"s3://logs\"\nendpoint = \"minio:9000\"", "https:// or http:// expected"),
        ("url = \"s3://logs\"\naccess_key_id = \"AKIA\"", "secret_access_key is missing"),
        ("url = \"s3://logs\"\nsecret_access_key = \"hunter2\"", "access_key_id is missing"),
        ("url = \"s3://logs\"\ntimeout = \"1ms\"", "at least 1s"),
        ("url = \"s3://logs\"\nbucket = \"x\"", "bucket"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
    }
}
