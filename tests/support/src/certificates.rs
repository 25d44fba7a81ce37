//! Certificates for tests, by the `openssl` command: an authority, and what it has signed.

use crate::process;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// How long making a key may take.
const MAKING: Duration = Duration::from_mins(1);

/// Makes a folder with `ca.pem`, and with `localhost.pem` and `sender.pem`, which it has signed; each has its key in `*.key`.
///
/// # Panics
/// When `openssl` is missing, or the folder is there.
pub fn make(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    let at = |name: &str| folder.join(name).display().to_string();
    let new = |name: &str, more: &[&str]| {
        let (key, out) = (at(&format!("{name}.key")), at(&format!("{name}.pem")));
        let subject = format!("/CN={name}");
        let common =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let mut command = Command::new("openssl");
        command.args(common).args(["-subj", &subject, "-keyout", &key, "-out", &out]).args(more);
        let outcome = process::run(command.stdin(Stdio::null()), MAKING);
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.stderr);
    };
    new("ca", &[]);
    let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
    let signed = ["-CA", &ca, "-CAkey", &ca_key, "-addext", "basicConstraints=CA:FALSE"];
    new("localhost", &[&signed[..], &["-addext", "subjectAltName=DNS:localhost"]].concat());
    new("sender", &[&signed[..], &["-addext", "subjectAltName=DNS:sender"]].concat());
}
