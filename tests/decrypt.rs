//! What is encrypted on its way, with the real binary: nobody finds it, and who holds the key reads it.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::Site;
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "{output:?}");
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![fs::read(path).unwrap()] })
        .collect()
}

#[test]
fn the_holder_of_the_key_reads_what_nobody_else_does() {
    let site = Site::new(BINARY);
    let path = |name: &str| site.path(name).display().to_string();
    openssl(&["genpkey", "-algorithm", "X25519", "-out", &path("key.pem")]);
    openssl(&["pkey", "-in", &path("key.pem"), "-pubout", "-out", &path("key.pub")]);
    openssl(&["genpkey", "-algorithm", "X25519", "-out", &path("other.pem")]);
    let settings = format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[agent.redact]\nkinds = [\"email\", \"ipv4\"]\naction = \"encrypt\"\n\
         encrypt_key = {{ file = \"{}\" }}\nactions = {{ ipv4 = \"mask\" }}\n",
        site.path("logs").display(),
        path("key.pub"),
    );
    let mut up = site.up(&settings).started();
    site.append(
        "a.log",
        "{\"user\":\"ann@example.com\",\"from\":\"192.0.2.7\"}\nmail to bob@example.com sent\n",
    );
    up.server.wait_for_total("*", 2, Duration::from_mins(1));

    let outcome = up.run(&["search", "*", "--since", "100000d", "--output", "ndjson"]);
    assert_eq!(outcome.stdout.matches("[encrypted:email:1.").count(), 3, "{}", outcome.stdout);
    let hits = site.write("hits.ndjson", &outcome.stdout);
    let decrypt = |key: &str| site.run(&["decrypt", "--key", &path(key), &hits]);
    let clear = decrypt("key.pem");
    assert_eq!(clear.code, Some(0), "{}", clear.stderr);
    assert!(clear.stderr.starts_with("3 values opened, 0 are for other keys"), "{}", clear.stderr);
    let records: Vec<Value> = clear.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let user = records.iter().find(|record| record["attributes"]["user"] == json!("ann@example.com"));
    assert_eq!(user.unwrap()["attributes"]["from"], "[redacted:ipv4]");
    assert!(records.iter().any(|record| record["body"] == "mail to bob@example.com sent"));

    let foreign = decrypt("other.pem");
    assert_eq!((foreign.code, &foreign.stdout), (Some(0), &outcome.stdout));
    assert!(foreign.stderr.contains("3 are for other keys"), "{}", foreign.stderr);
    // One that was tampered with stays, and is said.
    let at = outcome.stdout.find("[encrypted:email").unwrap();
    let end = at + outcome.stdout[at..].find(']').unwrap();
    let mut damaged = outcome.stdout.clone();
    damaged.replace_range(end - 8..end - 6, "AA");
    site.write("hits.ndjson", &damaged);
    let damaged = decrypt("key.pem");
    assert_eq!(damaged.code, Some(1), "{}", damaged.stderr);
    assert!(
        damaged.stderr.contains("2 values opened, 0 are for other keys, 1 for this key"),
        "{}",
        damaged.stderr
    );
    assert_eq!(site.run(&["decrypt", "--key", &path("key.pub"), &hits]).code, Some(1));

    up.stop();
    for bytes in files(&site.path("data")) {
        for secret in ["ann@example", "bob@example"] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} is stored");
        }
    }
}
