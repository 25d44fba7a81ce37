//! Rules on two query nodes while those, agents and an indexer are killed: each attack is one alert of each rule, told once and
//! over once, at the API, in the stream `alerts` and at a webhook; and what people do all day is none.
//!
//! `MILLRACE_CHAOS_KILLS` says how many kills there are of all processes together (40), `MILLRACE_CHAOS_EPISODES` how many
//! attacks (10).

use crate::{
    BINARY, DEADLINE,
    random::{Random, number},
    wait_at_most,
};
use millrace_test_support::{
    Plan, Role, Server, Site,
    http::Webhook,
    kafka,
    postgres::{self, Postgres},
    wait,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Between two kills, on average, with what a start takes.
const EVERY: Duration = Duration::from_secs(6);
/// Longer than a group of Kafka's waits for a member that is gone: its partitions are somebody else's by then.
const AWAY: Duration = Duration::from_secs(10);
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_mins(2);
/// Failed passwords of one attack.
const TRIES: u64 = 12;
/// Between two lines of an attack.
const PACE: Duration = Duration::from_millis(400);
/// Hosts are added until their records lie in two partitions, but no more than that.
const MOST_HOSTS: usize = 12;
/// Who logs in all day.
const PEOPLE: [&str; 2] = ["ann", "bob"];

/// How the attacks go, and what groups them.
#[derive(Clone, Copy)]
struct Scene {
    topic: &'static str,
    /// The fields by which attacks are told apart.
    group_by: &'static [&'static str],
    /// Do the lines of one attack come from all hosts in turn, or from one?
    is_spread: bool,
}

/// The alerts of one rule and group, by rule and group.
type Key = (String, BTreeMap<String, String>);

impl Scene {
    /// Three rules that remember different things of a group: times, steps and values.
    fn write_rules(self, site: &Site) {
        fs::create_dir(site.path("rules")).unwrap();
        let common = "level: high\nquery: '\"Failed password\" OR \"Accepted password\"'\n\
                      extract: '(?:Failed|Accepted) password for (?P<user>\\S+) from (?P<source_ip>\\S+) port'\n\
                      resolve_after: 40s\n";
        let group_by = self.group_by.join(", ");
        let rules = [
            ("brute-force", "threshold", common.replace(" OR \"Accepted password\"", ""), {
                format!("threshold: {{ count: 8, window: 2m, group_by: [{group_by}] }}\n")
            }),
            ("guessed", "sequence", common.to_owned(), {
                format!(
                    "sequence: {{ steps: [{{ query: '\"Failed password\"', count: 5 }}, '\"Accepted password\"'], \
                     within: 2m, group_by: [{group_by}] }}\n"
                )
            }),
            ("new-user", "new_term", common.replace("\"Failed password\" OR ", ""), {
                "new_term: { fields: [user], learn: 0s, group_by: [host] }\n".to_owned()
            }),
        ];
        for (id, kind, common, what) in rules {
            let text = format!("title: {id}\nid: {id}\nkind: {kind}\n{common}{what}");
            site.write(&format!("rules/{id}.yml"), &text);
        }
    }

    /// What an attack says, and on which host each line is said.
    fn attack(self, nth: u64, hosts: &[String]) -> Vec<(String, String)> {
        let at = |line: u64| if self.is_spread { nth + line } else { nth };
        let host = |line: u64| hosts[at(line) as usize % hosts.len()].clone();
        let address = address(nth);
        let mut lines: Vec<(String, String)> = (0..TRIES)
            .map(|line| (host(line), format!("Failed password for root from {address} port {line} ssh2")))
            .collect();
        lines.push((host(0), format!("Accepted password for intruder{nth} from {address} port 22 ssh2")));
        lines
    }

    /// The alerts that there must be, each once.
    fn expected(self, episodes: u64, hosts: &[String]) -> BTreeSet<Key> {
        let group = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut expected = BTreeSet::new();
        for nth in 0..episodes {
            let host = &self.attack(nth, hosts).pop().unwrap().0;
            let mut of_attack = group(&[("source_ip", &address(nth)), ("host", host)]);
            of_attack.retain(|name, _| self.group_by.contains(&name.as_str()));
            expected.insert(("brute-force".to_owned(), of_attack.clone()));
            expected.insert(("guessed".to_owned(), of_attack));
            let new = group(&[("user", &format!("intruder{nth}")), ("host", host)]);
            expected.insert(("new-user".to_owned(), new));
        }
        // Nobody is known at first.
        for host in hosts {
            expected
                .extend(PEOPLE.map(|user| ("new-user".to_owned(), group(&[("user", user), ("host", host)]))));
        }
        expected
    }
}

fn address(nth: u64) -> String {
    format!("203.0.113.{nth}")
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn each_attack_on_a_host_is_one_alert_while_nodes_and_agents_are_killed() {
    let scene = Scene { topic: "attacked", group_by: &["source_ip", "host"], is_spread: false };
    prove_each_once(scene);
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn each_attack_over_several_hosts_is_one_alert_while_nodes_and_agents_are_killed() {
    prove_each_once(Scene { topic: "attacked-together", group_by: &["source_ip"], is_spread: true });
}

fn prove_each_once(scene: Scene) {
    let mut random = Random::from_environment();
    let kills = number("MILLRACE_CHAOS_KILLS").unwrap_or(40);
    let episodes = number("MILLRACE_CHAOS_EPISODES").unwrap_or(10);
    println!("{kills} kills, {episodes} attacks");
    let site = Site::new(BINARY);
    scene.write_rules(&site);
    let (webhook, postgres) = (Webhook::start(), postgres::shared());
    let catalogue = postgres.database();
    let plan = Plan { catalogue: &catalogue, ..Plan::new(&kafka::shared().bootstrap, scene.topic) };
    let mut world = World::start(&site, plan, &webhook);
    let hosts: Vec<String> = world.agents.iter().map(|agent| host_of(agent).to_owned()).collect();
    let (over, written) = (&AtomicBool::new(false), &AtomicU64::new(world.written));
    thread::scope(|scope| {
        let days = scope.spawn(|| work_all_day(&site, &hosts, over, written));
        let (site, hosts, during) = (&site, &hosts, EVERY * kills as u32);
        let attacks = scope.spawn(move || {
            for nth in 0..episodes {
                for (host, line) in scene.attack(nth, hosts) {
                    site.append(&format!("{host}.log"), format!("{line}\n"));
                    written.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(PACE);
                }
                let length = PACE * (TRIES as u32 + 1);
                thread::sleep((during / episodes as u32).saturating_sub(length));
            }
        });
        world.kill(kills, &mut random);
        attacks.join().unwrap();
        over.store(true, Ordering::SeqCst);
        days.join().unwrap();
    });
    let expected = scene.expected(episodes, &hosts);
    world.prove(&expected, &webhook, &Outbox { postgres, url: &catalogue }, kills as usize);
    world.queries[0].server().wait_for_total("\"password for\"", written.load(Ordering::SeqCst), DEADLINE);
}

/// What is not to be told of: people log in, mistype a password now and then, and leave.
fn work_all_day(site: &Site, hosts: &[String], over: &AtomicBool, written: &AtomicU64) {
    let begun = Instant::now();
    let mut mistyped = 0;
    while !over.load(Ordering::SeqCst) {
        for (nth, host) in hosts.iter().enumerate() {
            let mut lines = String::new();
            for user in PEOPLE {
                writeln!(lines, "Accepted password for {user} from 10.0.0.{nth} port 22 ssh2").unwrap();
                writeln!(lines, "session of {user} closed").unwrap();
            }
            // Four in two minutes are no attack, nor followed by one that is accepted after five.
            if begun.elapsed().as_secs() / 40 > mistyped {
                writeln!(lines, "Failed password for ann from 10.0.0.{nth} port 22 ssh2").unwrap();
            }
            site.append(&format!("{host}.log"), &lines);
            written.fetch_add(lines.matches("password for").count() as u64, Ordering::SeqCst);
        }
        mistyped = begun.elapsed().as_secs() / 40;
        thread::sleep(Duration::from_millis(250));
    }
}

/// The name of an agent's host: that of its configuration is the cluster's and its own.
fn host_of<'a>(agent: &'a Role<'_>) -> &'a str {
    agent.name().strip_prefix("data-").unwrap()
}

struct World<'a> {
    agents: Vec<Role<'a>>,
    indexers: Vec<Role<'a>>,
    queries: Vec<Role<'a>>,
    /// Lines about passwords so far.
    written: u64,
}

impl<'a> World<'a> {
    /// Starts everything, with as many hosts as it takes to have their records in two partitions.
    fn start(site: &'a Site, plan: Plan<'_>, webhook: &Webhook) -> Self {
        let query = |nth: usize| {
            let name = format!("query-{nth}");
            let more = format!(
                "[query.ingest]\nstate_dir = \"{}\"\n[query.alerts]\nstarter = false\nrules = [\"{}\"]\n\
                 [query.alerts.receivers.ops]\ntype = \"webhook\"\nurl = \"{}\"\nper_minute = 6000\n",
                site.path(&name).display(),
                site.path("rules").display(),
                webhook.url()
            );
            Role::query(site, plan, &name, &more)
        };
        let indexer = |nth: usize| Role::indexer(site, plan, &format!("indexer-{nth}"));
        let mut world = Self {
            agents: Vec::new(),
            indexers: (1..=plan.indexers).map(indexer).collect(),
            queries: (1..=2).map(query).collect(),
            written: 0,
        };
        for role in world.indexers.iter_mut().chain(&mut world.queries) {
            role.start();
        }
        for role in world.indexers.iter().chain(&world.queries) {
            role.server().wait_until_ready(START);
        }
        let server = world.queries[0].server();
        while world.agents.len() < 2 || partitions(&server).len() < 2 {
            assert!(world.agents.len() < MOST_HOSTS, "all hosts share a partition");
            let name = format!("host-{}", world.agents.len() + 1);
            site.append(&format!("{name}.log"), "session of nobody closed\n");
            let mut agent = Role::agent(site, plan, &name, &format!("{name}.log"));
            agent.start();
            world.agents.push(agent);
            let hosts = world.agents.len();
            wait::until_true("the host's line is published", START, || {
                server.get("/api/v1/audit")["records"].as_u64() >= Some(hosts as u64)
            });
        }
        println!("{} hosts, in partitions {:?}", world.agents.len(), partitions(&server));
        world
    }

    /// Query nodes are killed most often, and stay away for longer than their partitions wait for them, or not.
    fn kill(&mut self, kills: u64, random: &mut Random) {
        let mut victims: Vec<u64> = (0..kills).map(|nth| nth % 10).collect();
        random.shuffle(&mut victims);
        let begun = Instant::now();
        for victim in victims {
            wait_at_most(random, EVERY / 2);
            let (role, away) = match victim {
                0..6 => (&mut self.queries[victim as usize % 2], random.time(Duration::ZERO, AWAY)),
                6 | 7 => {
                    let agent = random.below(self.agents.len() as u64) as usize;
                    (&mut self.agents[agent], random.time(Duration::ZERO, EVERY / 3))
                }
                _ => (&mut self.indexers[0], random.time(Duration::ZERO, EVERY / 3)),
            };
            println!("{:6.1} s  {} is killed for {away:?}", begun.elapsed().as_secs_f64(), role.name());
            role.assert_running();
            role.kill();
            thread::sleep(away);
            role.start_supervised();
        }
    }

    /// Whatever was to be found was found once, told once, and is over once.
    fn prove(&mut self, expected: &BTreeSet<Key>, webhook: &Webhook, outbox: &Outbox<'_>, kills: usize) {
        let begun = Instant::now();
        let server = self.queries[0].server();
        let alerts = wait::until("every attack is an alert that is over", DEADLINE, || {
            let answer = server.get("/api/v1/alerts?limit=10000");
            let alerts = answer["alerts"].as_array().cloned().unwrap();
            let found: BTreeSet<Key> = alerts.iter().map(key).collect();
            let strange: Vec<&Key> = found.difference(expected).collect();
            assert!(strange.is_empty(), "nobody did this: {strange:?}");
            assert!(alerts.len() <= expected.len(), "{}", several(&alerts));
            let is_over = alerts.iter().all(|alert| alert["state"] == json!("resolved"));
            let missing: Vec<&Key> = expected.difference(&found).collect();
            if begun.elapsed() > DEADLINE / 2 {
                assert!(missing.is_empty() && is_over, "missing: {missing:?}; there are: {alerts:#?}");
            }
            (missing.is_empty() && is_over).then_some(alerts)
        });
        println!("{} alerts, each once; over {:?} after the last attack", alerts.len(), begun.elapsed());
        wait::until_true("everything is told and noted", DEADLINE, || outbox.waiting() == 0);

        let ids: BTreeSet<String> = alerts.iter().map(|alert| text(&alert["id"])).collect();
        assert_eq!(ids.len(), expected.len());
        let posts: Vec<Value> = webhook
            .posts()
            .iter()
            .map(|post| {
                let header = post.headers.iter().find(|(name, _)| name == "idempotency-key").unwrap();
                let body: Value = serde_json::from_str(&post.body).unwrap();
                assert_eq!(body["id"], json!(header.1));
                body
            })
            .collect();
        let told =
            posts.iter().map(|post| (text(&post["id"]), text(&post["alert"]["id"]), text(&post["status"])));
        assert_each_once("posts", &ids, told, kills);

        // History is written where nodes take records in, and was shipped from there.
        let changes = wait::until("all of it is history", DEADLINE, || {
            let asked = json!({ "q": "alert.id:*", "stream": "alerts", "from": "0", "limit": 10_000 });
            let answer = server.try_search(&asked).filter(|answer| answer["partial"] == json!(false))?;
            let hits = answer["hits"].as_array().cloned().unwrap();
            let changes: Vec<(String, String, String)> = hits
                .iter()
                .map(|hit| {
                    let of = |name: &str| text(&hit["attributes"][name]);
                    let id = of("alert.id");
                    (format!("{id}/{}", hit["attributes"]["alert.revision"]), id, of("alert.state"))
                })
                .collect();
            let over = changes.iter().filter(|(_, _, state)| state == "resolved");
            let over: BTreeSet<&String> = over.map(|(_, id, _)| id).collect();
            (over.len() >= ids.len()).then_some(changes)
        });
        assert_each_once("records of history", &ids, changes.into_iter(), kills);
        for role in self.agents.iter_mut().chain(&mut self.indexers).chain(&mut self.queries) {
            role.assert_running();
        }
    }
}

/// Each alert is told to be over once, by the keys of what was told, and to fire once before that, unless it was over before anybody
/// could say so; and no more came under a key that was there already than processes were killed.
fn assert_each_once(
    what: &str,
    ids: &BTreeSet<String>,
    told: impl Iterator<Item = (String, String, String)>,
    kills: usize,
) {
    let mut keys: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut repeats = 0;
    for (key, id, status) in told {
        if let Some(before) = keys.insert(key.clone(), (id.clone(), status.clone())) {
            assert_eq!(before, (id, status), "{what}: {key} says two things");
            repeats += 1;
        }
    }
    let of = |status: &str| -> Vec<&String> {
        keys.values().filter(|(_, said)| said == status).map(|(id, _)| id).collect()
    };
    let (fires, over) = (of("firing"), of("resolved"));
    assert_eq!(fires.len() + over.len(), keys.len(), "{what}: {keys:#?}");
    for (status, of_status) in [("firing", &fires), ("resolved", &over)] {
        let different: BTreeSet<&String> = of_status.iter().copied().collect();
        assert_eq!(
            different.len(),
            of_status.len(),
            "{what}: an alert is {status} more than once: {keys:#?}"
        );
        assert!(different.iter().all(|id| ids.contains(*id)), "{what}: there is no such alert: {keys:#?}");
    }
    let untold = ids.len() - over.len();
    assert_eq!(untold, 0, "{what}: alerts of which nobody knows that they are over: {keys:#?}");
    let late = ids.len() - fires.len();
    assert!(late * 2 < ids.len(), "{what}: {late} of {} were over before anybody knew", ids.len());
    println!("{what}: {late} alerts were over before anybody could say that they fire");
    println!("{what}: {} keys, {repeats} repeats", keys.len());
    assert!(repeats <= kills, "{what}: {repeats} repeats, {kills} kills");
}

/// What nodes have yet to tell, and to write into history.
struct Outbox<'a> {
    postgres: &'a Postgres,
    url: &'a str,
}

impl Outbox<'_> {
    fn waiting(&self) -> u64 {
        let database = self.url.rsplit('/').next().unwrap();
        let counted = self.postgres.execute(
            database,
            "SELECT (SELECT count(*) FROM notifications WHERE settled_ns IS NULL) \
             + (SELECT count(*) FROM alerts WHERE is_open = 1 OR recorded < revision)",
        );
        counted.trim().parse().unwrap()
    }
}

/// The partitions in which hosts' records lie.
fn partitions(server: &Server) -> BTreeSet<i64> {
    let audit = server.get("/api/v1/audit");
    let sources = audit["sources"].as_array().unwrap().iter();
    let of_hosts = sources.filter(|source| source["stream"] != json!("alerts"));
    of_hosts.map(|source| source["partition"].as_i64().unwrap()).collect()
}

fn key(alert: &Value) -> Key {
    (text(&alert["rule_id"]), serde_json::from_value(alert["group"].clone()).unwrap())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The alerts whose rule and group another has as well.
fn several(alerts: &[Value]) -> String {
    let mut by_key: BTreeMap<Key, Vec<&Value>> = BTreeMap::new();
    for alert in alerts {
        by_key.entry(key(alert)).or_default().push(alert);
    }
    by_key.retain(|_, some| some.len() > 1);
    format!("more than one alert of one attack: {by_key:#?}")
}
