//! A small filesystem that a test fills up. A guarding shell unmounts it when this process is gone, however that ends.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Mounts, says so, and unmounts with the end of its standard input.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
mount -t tmpfs -o size="$2" tmpfs "$1" || exit 1
echo mounted
read -r _
umount -l "$1"
"#;
/// What takes all the room, in the small disk.
const BALLAST: &str = "ballast";

/// A mounted filesystem of a fixed size. Dropped: unmounted.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    guard: Child,
    /// Open for as long as it is mounted.
    mounted: Option<ChildStdin>,
}

impl SmallDisk {
    /// Mounts a new one of `bytes` at a folder, which is made.
    ///
    /// # Panics
    /// When that is not allowed: it takes root, and the right to mount.
    pub fn mount(path: &Path, bytes: u64) -> Self {
        fs::create_dir_all(path).expect("a folder");
        let mut guard = Command::new("sh")
            .args(["-c", SCRIPT, "small disk"])
            .arg(path)
            .arg(bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mounted = guard.stdin.take();
        let mut answer = String::new();
        let answers = guard.stdout.take().expect("a pipe");
        BufReader::new(answers).read_line(&mut answer).expect("the guarding shell");
        assert_eq!(
            answer.trim(),
            "mounted",
            "a small disk cannot be mounted at {}: that takes root and the right to mount (CAP_SYS_ADMIN)",
            path.display()
        );
        Self { path: path.to_owned(), guard, mounted }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all room there is, and what others free meanwhile, for a while; then gives it back.
    ///
    /// # Panics
    /// When anything but the lack of room keeps it from that.
    pub fn fill(&self, during: Duration) {
        let begun = Instant::now();
        let ballast = self.path.join(BALLAST);
        let mut file = File::create(&ballast).expect("a file");
        while begun.elapsed() < during {
            write_until_full(&mut file).expect("a file can be written");
            thread::sleep(Duration::from_millis(50));
        }
        fs::remove_file(ballast).expect("a file can be removed");
    }
}

fn write_until_full(file: &mut File) -> io::Result<()> {
    loop {
        match file.write_all(&[b'.'; 4096]) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.mounted.take());
        if let Err(error) = self.guard.wait() {
            eprintln!("the guard of {}: {error}", self.path.display());
        }
    }
}
