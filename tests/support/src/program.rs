//! The program under test, in folders of its own.

use crate::{
    ports,
    process::{self, Outcome, Process},
    server::Server,
};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// How long a command may take.
const COMMAND: Duration = Duration::from_mins(1);
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_mins(1);
/// How long an orderly end may take.
const END: Duration = Duration::from_secs(30);

/// A folder with logs, configurations and data, and the binary that works in it.
#[derive(Debug)]
pub struct Site {
    binary: PathBuf,
    folder: TempDir,
}

impl Site {
    /// A new one, empty; `binary` is `env!("CARGO_BIN_EXE_millrace")`, which only the package's own tests know.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn new(binary: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("millrace-test-").tempdir().expect("a folder");
        fs::create_dir(folder.path().join("logs")).expect("a folder");
        Self { binary: binary.into(), folder }
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A log file's path.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path("logs").join(name)
    }

    /// Appends to a log file, in one write.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        append(&self.log(name), bytes.as_ref());
    }

    /// Writes a file, and returns its path as text.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    }

    /// The program with these arguments, without any setting from this process's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MILLRACE") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(self.folder.path()).env("NO_COLOR", "1");
        command
    }

    /// Runs a command of the program to its end.
    ///
    /// # Panics
    /// When it takes longer than a minute.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        process::run(self.command(arguments).stdin(Stdio::null()), COMMAND)
    }

    /// Starts the program in the background; it writes into `<name>.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self, name: &str, arguments: &[&str]) -> Process {
        Process::start(&mut self.command(arguments), &self.path(&format!("{name}.log")))
    }

    /// `millrace up` on this site's data, not started yet. `settings` is added to its configuration.
    pub fn up(&self, settings: &str) -> Up<'_> {
        let port = ports::free();
        let data = self.path("data");
        let config = self.write("up.toml", settings);
        Up { site: self, server: Server::at(port), data, config, process: None }
    }
}

/// Appends to a file, in one write.
///
/// # Panics
/// When it cannot be written.
pub fn append(path: &Path, bytes: &[u8]) {
    let mut file = fs::File::options().create(true).append(true).open(path).expect("a log can be opened");
    file.write_all(bytes).expect("a log can be written");
}

/// `millrace up`: all roles in one process, which may be ended, killed and started again on the same data and port.
#[derive(Debug)]
pub struct Up<'a> {
    site: &'a Site,
    /// It answers here.
    pub server: Server,
    data: PathBuf,
    config: String,
    process: Option<Process>,
}

impl Up<'_> {
    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    pub fn start(&mut self) {
        let (data, listen) = (self.data.display().to_string(), self.server.address.clone());
        let arguments = ["up", "--data", &data, "--listen", &listen, "--config", &self.config];
        self.process = Some(self.site.start("up", &arguments));
        self.server.wait_until_ready(START);
    }

    /// As [`Up::start`], but returns itself: for sites that start once.
    #[must_use]
    #[track_caller]
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Waits until so many records are published; then the audit must say complete, with exit code 0.
    ///
    /// # Panics
    /// When it does not, within a minute.
    #[track_caller]
    pub fn assert_audit_is_complete(&self, records: u64) {
        crate::wait::until_true("everything is published", Duration::from_mins(1), || {
            self.server.get("/api/v1/audit")["records"].as_u64() == Some(records)
        });
        let outcome = self.run(&["audit"]);
        assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.starts_with("complete"), "{}", outcome.stderr);
    }

    /// The running process.
    ///
    /// # Panics
    /// When it is not running.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is running")
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill(&mut self) {
        self.process().kill();
        self.process = None;
    }

    /// Ends it as an operator does.
    ///
    /// # Panics
    /// When it is not running, does not end in time, or ends with an error.
    pub fn stop(&mut self) {
        let status = self.process().terminate(END);
        assert!(status.success(), "it ended with {status}: {}", self.process().log());
        self.process = None;
    }

    /// Runs a client command against it.
    ///
    /// # Panics
    /// As [`Site::run`].
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let url = self.server.url();
        let server = ["--server", url.as_str()];
        self.site.run(&[arguments, &server].concat())
    }
}
