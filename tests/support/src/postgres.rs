//! A real `PostgreSQL` for tests, from the system's packages: one server with databases of its own, gone with the tests.

use crate::{ports, process, supervisor::Supervisor};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long the server may take to start on a busy machine.
const START: Duration = Duration::from_mins(1);
/// How long one of its tools may take.
const TOOL: Duration = Duration::from_mins(1);
/// Whom the package makes: a server does not run as root.
const ACCOUNT: &str = "postgres";

/// A running server. Dropped: killed, and its data removed.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    programs: PathBuf,
    supervisor: Supervisor,
}

/// The server that all tests of a process share.
///
/// # Panics
/// As [`Postgres::start`].
pub fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start)
}

impl Postgres {
    /// Starts a server on a free port with data of its own, and waits until it answers (a second or two). It does not
    /// sync what it writes: the machine does not lose power in a test. Blocks.
    ///
    /// # Panics
    /// When `PostgreSQL` is missing, or does not come up.
    pub fn start() -> Self {
        let programs = programs();
        let port = ports::free();
        let directory =
            tempfile::Builder::new().prefix("millrace-postgres-").tempdir().expect("a folder").keep();
        let data = directory.join("data");
        if as_root() {
            let id = |flag| run(Command::new("id").args([flag, ACCOUNT]));
            let owner = format!("{}:{}", id("-u").trim(), id("-g").trim());
            run(Command::new("chown").arg(owner).arg(&directory));
        }
        let initdb = programs.join("initdb").display().to_string();
        let path = data.display().to_string();
        let made =
            ["--auth=trust", "--username=millrace", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
        let (program, arguments) = as_account([initdb.as_str(), "-D", &path].into_iter().chain(made));
        run(Command::new(program).args(arguments));
        let server = programs.join("postgres").display().to_string();
        let port_text = port.to_string();
        let settings = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
        ];
        let line = [server.as_str(), "-D", &path, "-p", &port_text].into_iter().chain(settings);
        let (program, arguments) = as_account(line);
        let server = Self { port, programs, supervisor: Supervisor::new(directory, program, arguments) };
        server.restart();
        server
    }

    /// The url of a new, empty database.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn database(&self) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::SeqCst));
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://millrace@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs statements in a database, and returns what they say: a row a line, `|` between columns.
    ///
    /// # Panics
    /// When they fail.
    pub fn execute(&self, database: &str, statements: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "millrace",
            "-h",
            "127.0.0.1",
            "-p",
        ])
        .arg(self.port.to_string())
        .args(["-d", database, "-c", statements]);
        run(&mut psql)
    }

    /// Ends the server as an operator does who does not wait for clients.
    pub fn stop(&self) {
        self.supervisor.tell("INT");
    }

    /// Kills the server with SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        self.supervisor.tell("KILL");
    }

    /// Starts the server again after [`stop`](Self::stop) or [`kill`](Self::kill), on the same port and data, and waits
    /// until it answers.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&self) {
        let begun = Instant::now();
        let ready = || {
            let mut look = Command::new(self.programs.join("pg_isready"));
            look.args(["-q", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string());
            look.status().is_ok_and(|status| status.success())
        };
        // The processes of a killed server may hold its data for a moment: then the new one says so and ends at once.
        // They write into the same log until they have noticed, so that its last lines tell nothing: starts are counted.
        let refused = || self.supervisor.log().matches("pre-existing shared memory").count();
        let mut known = refused();
        self.supervisor.tell("start");
        while !ready() {
            if begun.elapsed() > START {
                self.supervisor.show_log();
                panic!("PostgreSQL did not come up; its log is above");
            }
            thread::sleep(Duration::from_millis(20));
            let now = refused();
            if now > known {
                known = now;
                self.supervisor.tell("start");
            }
        }
    }
}

/// The folder of the newest `PostgreSQL` that is installed.
fn programs() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs.join("initdb").is_file().then_some((version, programs))
        })
        .max();
    newest.map(|(_, programs)| programs).expect("no PostgreSQL: run `make test`, which installs one")
}

/// Are we root?
fn as_root() -> bool {
    fs::metadata(Path::new("/proc/self")).is_ok_and(|process| process.uid() == 0)
}

/// A command line that does not run as root.
fn as_account<'a>(line: impl Iterator<Item = &'a str>) -> (String, Vec<String>) {
    let mut words: Vec<String> = Vec::new();
    if as_root() {
        let switch = ["setpriv", "--reuid", ACCOUNT, "--regid", ACCOUNT, "--init-groups"];
        words.extend(switch.map(str::to_owned));
    }
    words.extend(line.map(str::to_owned));
    (words.remove(0), words)
}

fn run(command: &mut Command) -> String {
    let outcome = process::run(command.current_dir("/"), TOOL);
    assert_eq!(outcome.code, Some(0), "{command:?}:\n{}{}", outcome.stdout, outcome.stderr);
    outcome.stdout
}
