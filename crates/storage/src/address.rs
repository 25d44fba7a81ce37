//! The url of a store, taken apart. It may hold a secret where none belongs, so errors repeat little of it.

use crate::{Error, key};
use object_store::path::Path;
use std::path::PathBuf;

/// Where bundles lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket of S3-compatible storage; a prefix of whole parts.
    Bucket { bucket: String, prefix: Option<Path> },
}

impl Address {
    pub(crate) fn of(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        match scheme {
            "file" => folder(url, rest),
            "s3" => bucket(url, rest),
            _ => Err(Error::Scheme { scheme: scheme.to_owned() }),
        }
    }
}

fn folder(url: &str, rest: &str) -> Result<Address, Error> {
    let bad = |problem| Error::Url { url: url.to_owned(), problem };
    let folder = rest.strip_prefix("//").ok_or_else(|| bad("expected // after file:"))?;
    if !folder.starts_with('/') {
        return Err(bad("expected an absolute path after file://"));
    }
    Ok(Address::Folder(PathBuf::from(folder)))
}

fn bucket(url: &str, rest: &str) -> Result<Address, Error> {
    let bad = |problem| Error::Url { url: url.to_owned(), problem };
    let rest = rest.strip_prefix("//").ok_or_else(|| bad("expected // after s3:"))?;
    if rest.contains('@') {
        let url = "s3://…".to_owned();
        return Err(Error::Url { url, problem: "credentials do not belong here: use the variables of AWS" });
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(fine) {
        return Err(bad("expected a bucket's name after s3://: 3 to 63 of a-z, 0-9, '-', '_' and '.'"));
    }
    let prefix =
        key::checked_prefix(prefix).map_err(|_| bad("expected a prefix of letters, digits and \"._-/\""))?;
    Ok(Address::Bucket { bucket: bucket.to_owned(), prefix })
}
