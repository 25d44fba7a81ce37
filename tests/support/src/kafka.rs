//! A real Apache Kafka for tests: one `KRaft` broker from the jars that `tests/kafka/pom.xml` pins.

use crate::supervisor::Supervisor;
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// How long a broker may take to start on a busy machine.
const START: Duration = Duration::from_mins(2);

/// A running broker. Dropped: killed, and its data removed.
#[derive(Debug)]
pub struct Broker {
    /// `host:port`, for clients.
    pub bootstrap: String,
    supervisor: Supervisor,
}

/// The broker that all tests of a process share.
///
/// # Panics
/// As [`Broker::start`].
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(Broker::start)
}

impl Broker {
    /// Starts a broker on free ports with data of its own, and waits until it answers (2 to 5 seconds on an idle
    /// machine). Blocks.
    ///
    /// # Panics
    /// When java or the broker's jars are missing, or it does not come up.
    pub fn start() -> Self {
        let jars = jars();
        // Another process may take a port between our look and the broker's: then it dies at once, and we try again.
        for _ in 0..3 {
            if let Some(broker) = Self::try_start(&jars) {
                return broker;
            }
        }
        panic!("the Kafka broker did not start three times over; its log is above");
    }

    fn try_start(jars: &Path) -> Option<Self> {
        let (port, controller) = (free_port(), free_port());
        let directory =
            tempfile::Builder::new().prefix("millrace-kafka-").tempdir().expect("a folder").keep();
        let properties = directory.join("server.properties");
        let settings = include_str!("../../kafka/server.properties")
            .replace("{broker}", &port.to_string())
            .replace("{controller}", &controller.to_string())
            .replace("{data}", &directory.join("data").display().to_string());
        fs::write(&properties, settings).expect("the broker's settings");
        format_storage(jars, &properties);

        let mut arguments: Vec<String> = java(jars).into();
        arguments.extend(["kafka.Kafka".to_owned(), properties.display().to_string()]);
        let supervisor = Supervisor::new(directory, "java", arguments);
        let broker = Self { bootstrap: format!("127.0.0.1:{port}"), supervisor };
        broker.supervisor.tell("start");
        broker.wait_until_up(1).then_some(broker)
    }

    /// Ends the broker as an operator would, and waits until it is gone.
    pub fn stop(&self) {
        self.supervisor.tell("TERM");
    }

    /// Kills the broker with SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        self.supervisor.tell("KILL");
    }

    /// Starts the broker again after [`Broker::stop`] or [`Broker::kill`], on the same ports and data, and waits until
    /// it answers.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&self) {
        let starts = self.starts();
        self.supervisor.tell("start");
        assert!(self.wait_until_up(starts + 1), "the Kafka broker did not come up again; its log is above");
    }

    /// How often the broker has come up so far, as its log says.
    fn starts(&self) -> usize {
        self.supervisor.log().matches("Kafka Server started").count()
    }

    fn wait_until_up(&self, starts: usize) -> bool {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if self.starts() >= starts {
                return true;
            }
            let log = self.supervisor.log();
            if log.matches("Exiting Kafka").count() >= starts || log.contains("Address already in use") {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.supervisor.show_log();
        false
    }
}

fn jars() -> PathBuf {
    let jars = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kafka/target/dependency");
    let complete = fs::read_dir(&jars).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("kafka_2.13-"))
        })
    });
    assert!(complete, "no Kafka broker in {}: run `make test`, which fetches it with Maven", jars.display());
    let java = Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(
        java.is_ok_and(|status| status.success()),
        "no working java: run `make test`, which installs one"
    );
    jars
}

/// A small heap, and a start that does not wait for the optimising compiler.
fn java(jars: &Path) -> [String; 6] {
    let log4j = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kafka/log4j2.properties");
    [
        "-Xmx512m".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        format!("-Dlog4j2.configurationFile={}", log4j.display()),
        "-cp".to_owned(),
        format!("{}/*", jars.display()),
    ]
}

fn format_storage(jars: &Path, properties: &Path) {
    let output = Command::new("java")
        .args(java(jars))
        .args(["kafka.tools.StorageTool", "format", "-t", "bWlsbHJhY2UtdGVzdC1rYQ", "-c"])
        .arg(properties)
        .output()
        .expect("java");
    assert!(
        output.status.success(),
        "the Kafka broker's storage was not formatted:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("a bound port").port()
}
