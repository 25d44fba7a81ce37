//! Every role as a process of its own, over one Kafka topic, one catalogue and one store of shards.

use crate::{Site, http, ports, process::Process, server, server::Server, wait};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_mins(1);

/// How long a session of a killed member, a rebalance and a cut may take on a busy machine.
const COMPLETE: Duration = Duration::from_mins(2);

/// Of every topic of a cluster.
const PARTITIONS: usize = 4;

/// The site's file with the secret that its nodes share; read at each start.
pub const SECRET_FILE: &str = "cluster.secret";

/// What a cluster is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The brokers, `host:port`, with commas between: as many as a topic has replicas.
    pub brokers: &'a str,
    /// The topic's name.
    pub topic: &'a str,
    /// Names the catalogue and the shards: clusters of one site with the same name share them.
    pub name: &'a str,
    /// How many indexers there are.
    pub indexers: usize,
    /// When hot rows are sealed.
    pub seal_age: &'a str,
    /// The lines of `[storage]`; empty: shards lie in a folder of the site.
    pub storage: &'a str,
    /// The url of the catalogue; empty: a file of the site.
    pub catalogue: &'a str,
}

impl<'a> Plan<'a> {
    /// Two indexers that seal after a second, with everything else in the site's folder `data`.
    pub fn new(brokers: &'a str, topic: &'a str) -> Self {
        Self { brokers, topic, name: "data", indexers: 2, seal_age: "1s", storage: "", catalogue: "" }
    }
}

/// One process of a cluster.
#[derive(Debug)]
pub struct Role<'a> {
    site: &'a Site,
    name: String,
    kind: &'static str,
    config: String,
    /// Its probes and metrics: `host:port`.
    pub address: String,
    process: Option<Process>,
}

/// An agent, some indexers and a query node. None runs until it is started.
#[derive(Debug)]
pub struct Cluster<'a> {
    /// Reads everything in the site's folder of logs.
    pub agent: Role<'a>,
    /// All equal.
    pub indexers: Vec<Role<'a>>,
    /// Answers.
    pub query: Role<'a>,
    /// How it is asked.
    pub server: Server,
}

impl<'a> Cluster<'a> {
    /// Writes the configurations.
    pub fn new(site: &'a Site, plan: Plan<'_>) -> Self {
        let query = Role::query(site, plan, "query", "");
        let server = query.server();
        let indexers = (1..=plan.indexers).map(|nth| Role::indexer(site, plan, &format!("indexer-{nth}")));
        let indexers = indexers.collect();
        Self { agent: Role::agent(site, plan, "agent", "*"), indexers, query, server }
    }

    /// Starts everything and waits until all of it is ready, and every indexer has its share of the topic: one that is let into the
    /// group later takes partitions away from the others, and while they change hands answers lack what is in memory.
    pub fn start(&mut self) {
        for indexer in &mut self.indexers {
            indexer.start();
        }
        self.query.start();
        self.agent.start();
        self.wait_until_ready();
        wait::until_true("the topic is shared out", START, || {
            let shares: Vec<usize> = self.indexers.iter().map(Role::partitions).collect();
            shares.iter().all(|share| *share > 0) && shares.iter().sum::<usize>() == PARTITIONS
        });
    }

    /// Waits until every role says that it is ready.
    ///
    /// # Panics
    /// When one does not within a minute.
    pub fn wait_until_ready(&self) {
        for role in self.indexers.iter().chain([&self.query, &self.agent]) {
            role.server().wait_until_ready(START);
        }
    }

    /// Waits until so many records are published, and the audit says complete and sound with exit code 0: while partitions change hands it
    /// says what it cannot account for.
    ///
    /// # Panics
    /// When it does not come to that: with what the audit says.
    #[track_caller]
    pub fn assert_audit_is_complete(&self, records: u64) {
        let begun = Instant::now();
        loop {
            let published = self.server.get("/api/v1/audit")["records"].as_u64() == Some(records);
            let outcome = self.query.site.run(&["audit", "--verify", "--server", &self.server.url()]);
            if published && outcome.code == Some(0) {
                return;
            }
            let said = format!("{}{}", outcome.stdout, outcome.stderr);
            assert!(begun.elapsed() < COMPLETE, "not complete with {records} records: {said}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The indexer that has taken in the most records.
    ///
    /// # Panics
    /// When there is none.
    pub fn busiest(&self) -> usize {
        let records =
            |role: &Role<'_>| server::metric(&role.address, "millrace_indexer_records_total").unwrap_or(0.0);
        let busiest = (0..self.indexers.len())
            .max_by(|a, b| records(&self.indexers[*a]).total_cmp(&records(&self.indexers[*b])));
        busiest.expect("there are indexers")
    }
}

impl<'a> Role<'a> {
    /// The agent of a host `<name>`, with a state folder of that name, which reads those of the site's logs whose names match a glob.
    pub fn agent(site: &'a Site, plan: Plan<'_>, name: &str, logs: &str) -> Self {
        let more = format!(
            "host = \"{name}\"\nstate_dir = \"{}\"\n[agent.sources.all]\ntype = \"file\"\ninclude = [\"{}\"]\n",
            site.path(name).display(),
            site.log(logs).display()
        );
        Self::new(site, plan, "agent", name, &more)
    }

    /// An indexer.
    pub fn indexer(site: &'a Site, plan: Plan<'_>, name: &str) -> Self {
        Self::new(site, plan, "indexer", name, &format!("seal_age = \"{}\"\n", plan.seal_age))
    }

    /// A query node; `more` is what stands in `[query]` and in the sections below it.
    pub fn query(site: &'a Site, plan: Plan<'_>, name: &str, more: &str) -> Self {
        Self::new(site, plan, "query", name, more)
    }

    fn new(site: &'a Site, plan: Plan<'_>, kind: &'static str, name: &str, more: &str) -> Self {
        let address = format!("127.0.0.1:{}", ports::free());
        let data = site.path(plan.name);
        let folder = format!("url = \"file://{}/shards\"\n", data.display());
        let storage = if plan.storage.is_empty() { &folder } else { plan.storage };
        let file = format!("sqlite://{}/catalogue.db", data.display());
        let catalogue = if plan.catalogue.is_empty() { &file } else { plan.catalogue };
        let secret = site.path(SECRET_FILE);
        if !secret.exists() {
            site.write(SECRET_FILE, "the secret of this cluster\n");
        }
        let brokers: Vec<&str> = plan.brokers.split(',').collect();
        let config = format!(
            "[cluster]\nsecret = {{ file = \"{2}\" }}\n[{kind}]\nlisten = \"{address}\"\n{more}\
             [topic]\ntype = \"kafka\"\nbrokers = {brokers:?}\nname = \"{0}\"\npartitions = {PARTITIONS}\nreplication = {1}\n\
             [topic.librdkafka]\nsession.timeout.ms = 6000\nheartbeat.interval.ms = 1000\n\
             [catalogue]\nurl = \"{catalogue}\"\n[storage]\n{storage}",
            plan.topic,
            brokers.len(),
            secret.display(),
        );
        let name = format!("{}-{name}", plan.name);
        let config = site.write(&format!("{name}.toml"), &config);
        Self { site, name, kind, config, address, process: None }
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// When it ends instead, or does not within a minute.
    pub fn start(&mut self) {
        assert!(self.try_start(), "{} ended: {}", self.name, self.log());
    }

    /// Starts it as a service manager does: when it ends instead of answering, again after half a second. Returns how often
    /// that was.
    ///
    /// # Panics
    /// When it has not answered after twenty times.
    pub fn start_supervised(&mut self) -> u32 {
        let mut ended = 0;
        while !self.try_start() {
            ended += 1;
            assert!(ended < 20, "{} ended: {}", self.name, self.log());
            thread::sleep(Duration::from_millis(500));
        }
        ended
    }

    /// Starts it, and waits until it answers or has ended. Does it answer?
    fn try_start(&mut self) -> bool {
        let mut process = self.site.start(&self.name, &[self.kind, "--config", &self.config]);
        let answers = wait::until(&format!("{} answers", self.name), START, || {
            if process.ended().is_some() {
                return Some(false);
            }
            http::get(&self.address, "/healthz").is_ok_and(|answer| answer.status == 200).then_some(true)
        });
        self.process = answers.then_some(process);
        answers
    }

    /// Makes sure that it has not ended by itself.
    ///
    /// # Panics
    /// When it has.
    pub fn assert_running(&mut self) {
        let ended = self.process().ended();
        assert_eq!(ended, None, "{} ended: {}", self.name, self.log());
    }

    /// How it is asked.
    pub fn server(&self) -> Server {
        Server { address: self.address.clone() }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has written, all its lives.
    pub fn log(&self) -> String {
        let log = self.site.path(&format!("{}.log", self.name));
        String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
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
        let status = self.process().terminate(Duration::from_secs(30));
        let log = self.process().log();
        assert!(status.success(), "{} ended with {status}: {log}", self.name);
        self.process = None;
    }

    /// How many partitions this indexer has: it tells the lag of each.
    fn partitions(&self) -> usize {
        let answer = http::get(&self.address, "/metrics").map(|answer| answer.text()).unwrap_or_default();
        answer.lines().filter(|line| line.starts_with("millrace_indexer_lag_messages{")).count()
    }

    /// The value of one of its metrics.
    pub fn metric(&self, name: &str) -> f64 {
        server::metric(&self.address, name).unwrap_or(0.0)
    }
}
