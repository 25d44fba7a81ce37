//! Servers that are started, stopped and killed on command. A supervising shell does it; its standard input is a pipe from
//! this process: when that closes, for whatever reason, the shell kills the server and removes its folder. So no server
//! outlives its tests.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Reads commands, one a line: `start`, or the name of a signal for the server. Each is answered when it is done: the
/// signals that do not end a server at once, the others when it is gone.
const SCRIPT: &str = r#"
trap '' INT
directory=$1; shift
server=
while read -r command; do
  case $command in
    start) "$@" </dev/null >>"$directory/log" 2>&1 & server=$! ;;
    STOP|CONT) kill -s "$command" "$server" ;;
    *) kill -s "$command" "$server"; wait "$server" 2>/dev/null ;;
  esac
  echo "$command"
done
[ -n "$server" ] && kill -s KILL "$server" 2>/dev/null
wait
rm -rf "$directory"
"#;

/// A server that can be started and ended any number of times. Dropped: killed, and its folder removed.
#[derive(Debug)]
pub struct Supervisor {
    directory: PathBuf,
    shell: Mutex<Shell>,
}

#[derive(Debug)]
struct Shell {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// For a server that `program` with `arguments` is, over a folder that is its own from here on. Does not start it.
    ///
    /// # Panics
    /// When there is no shell.
    pub fn new(
        directory: PathBuf,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "supervisor"])
            .arg(&directory)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { directory, shell: Mutex::new(Shell { child, commands, answers }) }
    }

    /// Says `start`, or the name of a signal, and waits until that is done.
    ///
    /// # Panics
    /// When the shell is gone.
    pub fn tell(&self, command: &str) {
        let mut shell = self.shell();
        let commands = shell.commands.as_mut().expect("only dropping takes it");
        writeln!(commands, "{command}").and_then(|()| commands.flush()).expect("the supervising shell");
        let mut answer = String::new();
        shell.answers.read_line(&mut answer).expect("the supervising shell");
        assert_eq!(answer.trim(), command, "the supervising shell's answer");
    }

    /// The server's folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the server has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.join("log")).unwrap_or_default()).into_owned()
    }

    /// Shows the end of what the server has written.
    pub fn show_log(&self) {
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        eprintln!("{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }

    fn shell(&self) -> MutexGuard<'_, Shell> {
        self.shell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let mut shell = self.shell();
        shell.commands = None;
        if let Err(error) = shell.child.wait() {
            eprintln!("the supervising shell of {}: {error}", self.directory.display());
        }
    }
}
