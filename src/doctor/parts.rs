//! What the configuration names beside this machine: the topic, the catalogue, where bundles lie.

use super::Check;
use crate::settings::Settings;
use millrace_catalogue::Catalogue;
use millrace_model::{SystemClock, chain};
use millrace_storage::Bundles;
use millrace_transport::{TopicSettings, glance};
use std::{io::Write, sync::Arc, time::Instant};

/// Looks at all of it.
pub(super) async fn look(settings: &Settings) -> Vec<Check> {
    let mut checks = vec![topic(settings).await];
    // Who ships to another host has neither.
    if !matches!(settings.topic, TopicSettings::Http(_)) {
        checks.extend([catalogue(settings).await, storage(settings).await]);
    }
    checks
}

async fn topic(settings: &Settings) -> Check {
    let (name, wanted) = match &settings.topic {
        TopicSettings::Kafka(kafka) => {
            (format!("{} at {}", kafka.name, kafka.brokers.join(", ")), kafka.partitions)
        }
        TopicSettings::Embedded(own) => {
            (format!("{} in {}", own.name, own.directory.display()), own.partitions)
        }
        TopicSettings::Http(other) => (format!("that of {}", other.url), 0),
    };
    let began = Instant::now();
    let found = match glance(&settings.topic).await {
        Ok(found) => found,
        Err(error) => {
            let repair = match &settings.topic {
                TopicSettings::Kafka(_) => {
                    "are the brokers up, and are address, TLS and SASL ([topic.librdkafka]) right?"
                }
                TopicSettings::Embedded(_) => "may this user read the folder?",
                TopicSettings::Http(_) => {
                    "is `millrace up` running there, with [receive], and is the token right?"
                }
            };
            return Check::problem("topic", format!("{name}: {}", chain(&error)), repair);
        }
    };
    let took = began.elapsed().as_millis();
    if found.partitions == 0 {
        return Check::ok("topic", format!("{name}: is not there yet; it is made with {wanted} partitions"));
    }
    let list = |partitions: &[millrace_model::Partition]| {
        partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    if !found.without_leader.is_empty() {
        let text = format!("{name}: no broker leads partitions {}", list(&found.without_leader));
        return Check::problem(
            "topic",
            text,
            "start the brokers that hold them; until then their agents wait",
        );
    }
    if !found.behind.is_empty() {
        let text = format!("{name}: copies of partitions {} are not up to date", list(&found.behind));
        return Check::warning(
            "topic",
            text,
            "is a broker down? What acks=all promises needs min.insync.replicas",
        );
    }
    let brokers = found.brokers.map_or_else(String::new, |brokers| format!(", {brokers} brokers"));
    let fewer = if wanted > 0 && found.partitions != wanted {
        format!(" ({wanted} are configured, which only counts when it is made)")
    } else {
        String::new()
    };
    Check::ok("topic", format!("{name}: {} partitions{fewer}{brokers}, in {took} ms", found.partitions))
}

async fn catalogue(settings: &Settings) -> Check {
    let place = place(&settings.catalogue);
    if let Some(file) = settings.catalogue.strip_prefix("sqlite://")
        && !std::path::Path::new(file).exists()
    {
        return Check::ok("catalogue", format!("{place}: is not there yet; it is made at the first start"));
    }
    let began = Instant::now();
    match Catalogue::open_to_read(&settings.catalogue, Arc::new(SystemClock)).await {
        Ok(catalogue) => {
            let counted = catalogue.summary(millrace_query::INDEXER_GROUP).await;
            catalogue.close().await;
            match counted {
                Ok(summary) => Check::ok(
                    "catalogue",
                    format!(
                        "{place}: schema {}, in {} ms",
                        summary.schema_version,
                        began.elapsed().as_millis()
                    ),
                ),
                Err(error) => Check::problem(
                    "catalogue",
                    format!("{place}: {}", chain(&error)),
                    "an older or newer program made it: the version that refuses it names what to do",
                ),
            }
        }
        Err(error) => Check::problem(
            "catalogue",
            format!("{place}: {}", chain(&error)),
            "is the database up, and are its address and password right?",
        ),
    }
}

/// An address without its password.
fn place(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => url.to_owned(),
    }
}

/// A folder is looked at with the others of this machine. In a bucket an object is put, read and deleted.
async fn storage(settings: &Settings) -> Check {
    let url = &settings.storage.url;
    if url.starts_with("file://") {
        return Check::ok("storage", format!("{url}: a folder"));
    }
    let began = Instant::now();
    match try_bucket(settings).await {
        Ok(()) => {
            let took = began.elapsed().as_millis();
            Check::ok("storage", format!("{url}: an object was put, read and deleted, in {took} ms"))
        }
        Err(error) => Check::problem(
            "storage",
            format!("{url}: {error:#}"),
            "is the bucket there, and may these credentials put, get, list and delete in it?",
        ),
    }
}

async fn try_bucket(settings: &Settings) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("millrace-doctor-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    // Copies are another process's.
    let mut storage = settings.storage.clone();
    storage.cache_dir = folder.join("copies");
    let outcome = async {
        let file = folder.join("object");
        std::fs::File::create(&file)?.write_all(b"millrace doctor")?;
        let bundles = tokio::task::spawn_blocking(move || Bundles::open(&storage)).await??;
        let key = format!("doctor/{}", std::process::id());
        bundles.put(&key, &file).await?;
        let read = bundles.copy_to(&key, &folder.join("back")).await;
        bundles.delete(&key).await?;
        read?;
        anyhow::Ok(())
    }
    .await;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_told() {
        assert_eq!(place("postgres://u:p@ss@db:5432/x"), "postgres://…@db:5432/x");
        assert_eq!(place("sqlite:///var/c.db"), "sqlite:///var/c.db");
    }
}
