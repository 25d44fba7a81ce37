//! The contract over a folder and over a bucket, and what only one of them can do or get wrong.

mod bucket;
mod caching;
mod folder;
mod settings;

use crate::contract::Bed;
use crate::{Bundles, S3Settings, Settings};
use millrace_config::Secret;
use millrace_test_support::s3::{self, S3Server};
use std::{path::Path, sync::atomic::AtomicUsize, time::Duration};

fn folder() -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a").join("shards");
    let settings = Settings::new(format!("file://{}", root.display()), "");
    let (bundles, other) = (Bundles::open(&settings).unwrap(), Bundles::open(&settings).unwrap());
    Bed { bundles, other, folder, root, server: None, files: AtomicUsize::new(0) }
}

/// Settings for the server's bucket, with copies in a folder of that name.
fn bucket_settings(server: &S3Server, folder: &Path, name: &str) -> Settings {
    let s3 = S3Settings {
        endpoint: Some(server.endpoint()),
        region: Some("us-east-1".to_owned()),
        path_style: None,
        timeout: Duration::from_secs(5),
        credentials: Some((s3::ACCESS_KEY_ID.to_owned(), Secret::new(s3::SECRET_ACCESS_KEY))),
    };
    Settings { s3, ..Settings::new(format!("s3://{}/a/shards", s3::BUCKET), folder.join(name)) }
}

fn bucket_with(change: impl Fn(&mut Settings)) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let open = |name: &str| {
        let mut settings = bucket_settings(&server, folder.path(), name);
        change(&mut settings);
        Bundles::open(&settings).unwrap()
    };
    let (bundles, other) = (open("copies"), open("other-copies"));
    let root = server.bucket().join("a").join("shards");
    std::fs::create_dir_all(&root).unwrap();
    Bed { bundles, other, folder, root, server: Some(server), files: AtomicUsize::new(0) }
}

fn bucket() -> Bed {
    bucket_with(|_| {})
}

mod contract_of_a_folder {
    crate::contract::tests!(super::folder);
}

mod contract_of_a_bucket {
    crate::contract::tests!(super::bucket);
}

mod contract_of_a_bucket_without_copies {
    fn bucket() -> crate::contract::Bed {
        super::bucket_with(|settings| settings.cache_bytes = 0)
    }
    crate::contract::tests!(bucket);
}

mod contract_of_a_bucket_with_little_room_for_copies {
    fn bucket() -> crate::contract::Bed {
        super::bucket_with(|settings| settings.cache_bytes = 600_000)
    }
    crate::contract::tests!(bucket);
}
