//! Child processes that never outlive their test. Dropped: killed. Should the test process itself be killed, a guarding
//! shell notices that its standard input is closed and kills the child.

use crate::wait;
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Ends with its standard input; then so does the process `$1`.
const GUARD: &str = "trap '' INT TERM HUP; read -r _; kill -s KILL \"$1\" 2>/dev/null";

/// A running child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    guard: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it writes is appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        Self::start_with(command, Stdio::null(), log)
    }

    /// The same with a file as its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_reading(command: &mut Command, input: File, log: &Path) -> Self {
        Self::start_with(command, input.into(), log)
    }

    fn start_with(command: &mut Command, input: Stdio, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        let both = file.try_clone().expect("a log file");
        let child = command.stdin(input).stdout(file).stderr(both).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let guard = guard(child.id());
        Self { child, guard, log: log.to_owned() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name: `STOP`, `CONT`, `TERM`.
    ///
    /// # Panics
    /// When there is no such process any more.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name, &self.id().to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{name} could not be sent to {}", self.id());
    }

    /// How much time of cores it has used so far, in hundredths of a second.
    ///
    /// # Panics
    /// When it is not running.
    pub fn cores_used(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it is running");
        // Behind its name, which may be anything in parentheses.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.release();
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Panics
    /// When it does not end within that time.
    pub fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(within)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not within that time.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let status = wait::until("the process has ended", within, || self.ended());
        self.release();
        status
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child's status")
    }

    /// What it has written.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The guard goes first: the child's id may be another's after it.
    fn release(&mut self) {
        if let Err(error) = self.guard.kill().and_then(|()| self.guard.wait().map(drop)) {
            eprintln!("the guard of a test's process: {error}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.release();
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("a test's process cannot be killed: {error}");
        }
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- the end of {}\n{}\n---", self.log.display(), tail.join("\n"));
        }
    }
}

fn guard(id: u32) -> Child {
    let id = id.to_string();
    Command::new("sh")
        .args(["-c", GUARD, "guard", &id])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("sh")
}

/// How a command ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Panics
/// When it does not start, or does not end within that time.
pub fn run(command: &mut Command, within: Duration) -> Outcome {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let mut guard = guard(child.id());
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let begun = Instant::now();
    while child.try_wait().expect("a child's status").is_none() && begun.elapsed() < within {
        thread::sleep(Duration::from_millis(2));
    }
    let in_time = begun.elapsed() < within;
    guard.kill().and_then(|()| guard.wait()).expect("the guard can be killed");
    if !in_time {
        child.kill().expect("a child can be killed");
    }
    let status = child.wait().expect("a child's status");
    let text = |thread: thread::JoinHandle<String>| thread.join().expect("the reader of a pipe");
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert!(in_time, "{command:?} did not end within {within:?}:\n{stdout}{stderr}");
    Outcome { code: status.code(), stdout, stderr }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.expect("a pipe").read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
