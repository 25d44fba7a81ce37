//! Files that a container's runtime writes: known by their place, which says whose they are.

use crate::framing::Envelope;
use millrace_model::LogRecord;
use std::path::{Component, Path};

/// Is this where container runtimes write?
pub(super) fn is_place(path: &Path) -> bool {
    of_path(path).next().is_some()
}

/// What the path says of a container, by OpenTelemetry's names.
///
/// - `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`, as the kubelet has it
/// - `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`, its links
/// - `/var/lib/docker/containers/ID/ID-json.log`
pub(super) fn of_path(path: &Path) -> impl Iterator<Item = (&'static str, String)> {
    facts(path).unwrap_or_default().into_iter()
}

fn facts(path: &Path) -> Option<Vec<(&'static str, String)>> {
    let parts: Vec<&str> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => Some(""),
        })
        .collect::<Option<_>>()?;
    let own = |facts: &[(&'static str, &str)]| {
        Some(facts.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    };
    match parts[..] {
        [.., "log", "pods", pod, container, file] => {
            let mut names = pod.splitn(3, '_');
            let (namespace, pod, uid) = (names.next()?, names.next()?, names.next()?);
            let restarts = file.split('.').next().filter(|count| count.parse::<u32>().is_ok())?;
            own(&[
                ("k8s.namespace.name", namespace),
                ("k8s.pod.name", pod),
                ("k8s.pod.uid", uid),
                ("k8s.container.name", container),
                ("k8s.container.restart_count", restarts),
            ])
        }
        [.., "log", "containers", file] => {
            let mut names = file.strip_suffix(".log")?.splitn(3, '_');
            let (pod, namespace) = (names.next()?, names.next()?);
            let (container, id) = names.next()?.rsplit_once('-')?;
            is_id(id).then_some(())?;
            own(&[
                ("k8s.namespace.name", namespace),
                ("k8s.pod.name", pod),
                ("k8s.container.name", container),
                ("container.id", id),
            ])
        }
        [.., "containers", id, file] if file.starts_with(id) && file[id.len()..].starts_with("-json.log") => {
            is_id(id).then_some(())?;
            own(&[("container.id", id)])
        }
        _ => None,
    }
}

/// 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Adds what the runtime says of a line. A time that the line itself tells is kept.
pub(super) fn describe(record: &mut LogRecord, envelope: &Envelope) {
    record.timestamp = record.timestamp.or(envelope.time);
    record.attributes.set("log.iostream", envelope.output.name());
    for (name, value) in &envelope.labels {
        record.attributes.set(format!("container.label.{name}"), value.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_file_says_whose_it_is() {
        let told = |path: &str| {
            of_path(Path::new(path))
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(
            told("/var/log/pods/shop_web-7d4b_1a-2b/nginx/3.log"),
            "k8s.namespace.name=shop k8s.pod.name=web-7d4b k8s.pod.uid=1a-2b k8s.container.name=nginx k8s.container.restart_count=3"
        );
        assert!(is_place(Path::new("/var/log/pods/shop_web_1/nginx/3.log.20260101-000000")));
        assert_eq!(
            told(&format!("/var/log/containers/web-7d4b_shop_nginx-proxy-{id}.log")),
            format!(
                "k8s.namespace.name=shop k8s.pod.name=web-7d4b k8s.container.name=nginx-proxy container.id={id}"
            )
        );
        assert_eq!(
            told(&format!("/var/lib/docker/containers/{id}/{id}-json.log.1")),
            format!("container.id={id}")
        );
        for other in [
            "/var/log/syslog",
            "/var/log/containers/a.log",
            "/var/log/pods/a/b/c.log",
            "/x/containers/a/a-json.log",
        ] {
            assert_eq!(told(other), "", "{other}");
        }
    }
}
