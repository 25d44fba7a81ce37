//! A real Apache Kafka for tests: `KRaft` brokers from the jars that `tests/kafka/pom.xml` pins, one or several.

use crate::{ports, supervisor::Supervisor};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// How long a broker may take to start on a busy machine.
const START: Duration = Duration::from_mins(2);
/// What all brokers of tests call their cluster.
const CLUSTER_ID: &str = "bWlsbHJhY2UtdGVzdC1rYQ";

/// Running brokers that are one cluster, each of which is a controller, too. A topic of theirs has as many replicas as there
/// are brokers, and takes messages as long as all but one are there.
#[derive(Debug)]
pub struct Brokers {
    /// `host:port` of each, with commas between, for clients.
    pub bootstrap: String,
    brokers: Vec<Broker>,
}

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
/// As [`Brokers::start`].
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(Broker::start)
}

impl Brokers {
    /// Starts `count` brokers on free ports with data of their own, and waits until all answer (one: 2 to 5 seconds on an
    /// idle machine). Blocks.
    ///
    /// # Panics
    /// When java or the broker's jars are missing, or one does not come up.
    pub fn start(count: usize) -> Self {
        let jars = jars();
        // Another process may take a port between our look and a broker's: then that dies at once, and we try again.
        for _ in 0..3 {
            if let Some(brokers) = Self::try_start(&jars, count) {
                return brokers;
            }
        }
        panic!("the Kafka brokers did not start three times over; a log is above");
    }

    fn try_start(jars: &Path, count: usize) -> Option<Self> {
        let controllers: Vec<u16> = (0..count).map(|_| ports::free()).collect();
        let brokers: Vec<Broker> = (0..count).map(|nth| Broker::new(jars, nth, &controllers)).collect();
        for broker in &brokers {
            broker.supervisor.tell("start");
        }
        let all: Vec<&str> = brokers.iter().map(|broker| broker.bootstrap.as_str()).collect();
        let bootstrap = all.join(",");
        brokers.iter().all(|broker| broker.wait_until_up(1)).then_some(Self { bootstrap, brokers })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.brokers.len()
    }

    /// One of them.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn nth(&self, nth: usize) -> &Broker {
        &self.brokers[nth]
    }
}

impl Broker {
    /// A cluster of one.
    ///
    /// # Panics
    /// As [`Brokers::start`].
    pub fn start() -> Self {
        Brokers::start(1).brokers.remove(0)
    }

    /// The `nth` of as many as there are ports for controllers. Does not start it.
    fn new(jars: &Path, nth: usize, controllers: &[u16]) -> Self {
        let directory =
            tempfile::Builder::new().prefix("millrace-kafka-").tempdir().expect("a folder").keep();
        let properties = directory.join("server.properties");
        let (port, count) = (ports::free(), controllers.len());
        let voters: Vec<String> =
            (1..).zip(controllers).map(|(id, port)| format!("{id}@127.0.0.1:{port}")).collect();
        let settings = include_str!("../../kafka/server.properties")
            .replace("{id}", &(nth + 1).to_string())
            .replace("{voters}", &voters.join(","))
            .replace("{broker}", &port.to_string())
            .replace("{controller}", &controllers[nth].to_string())
            .replace("{replicas}", &count.to_string())
            .replace("{in_sync}", &(count - 1).max(1).to_string())
            .replace("{data}", &directory.join("data").display().to_string());
        fs::write(&properties, settings).expect("the broker's settings");
        format_storage(jars, &properties);

        let mut arguments: Vec<String> = java(jars, if count == 1 { 512 } else { 320 }).into();
        arguments.extend(["kafka.Kafka".to_owned(), properties.display().to_string()]);
        let supervisor = Supervisor::new(directory, "java", arguments);
        Self { bootstrap: format!("127.0.0.1:{port}"), supervisor }
    }

    /// Ends the broker as an operator would, and waits until it is gone.
    pub fn stop(&self) {
        self.supervisor.tell("TERM");
    }

    /// Kills the broker with SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        self.supervisor.tell("KILL");
    }

    /// The broker stands still, and its connections with it, until [`Broker::resume`].
    pub fn pause(&self) {
        self.supervisor.tell("STOP");
    }

    /// Ends [`Broker::pause`].
    pub fn resume(&self) {
        self.supervisor.tell("CONT");
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

/// A small heap, of so many megabytes, and a start that does not wait for the optimising compiler.
fn java(jars: &Path, heap: usize) -> [String; 6] {
    let log4j = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kafka/log4j2.properties");
    [
        format!("-Xmx{heap}m"),
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        format!("-Dlog4j2.configurationFile={}", log4j.display()),
        "-cp".to_owned(),
        format!("{}/*", jars.display()),
    ]
}

fn format_storage(jars: &Path, properties: &Path) {
    let output = Command::new("java")
        .args(java(jars, 256))
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
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
