//! A data folder in which every kind of file lies, as it is after an orderly end and after `kill -9`; and what a start on it
//! comes to when one file is damaged.

use super::kinds::{self, Damage, Kind, Place};
use millrace_test_support::{
    Server, Site, http, ports,
    process::{Outcome, Process},
    wait,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const DEADLINE: Duration = Duration::from_mins(1);
/// Lines of each shard.
const LINES: u64 = 40;
/// Lines that are written after each start.
pub(crate) const FRESH: u64 = 5;

/// How the folder was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// In order: everything is published.
    Stopped,
    /// By `kill -9`, with lines that only the topic has.
    Killed,
}

pub(crate) struct World<'a> {
    site: &'a Site,
    server: Server,
    /// Where input is pushed to.
    push: String,
    /// How many records there are, of each way.
    totals: BTreeMap<&'static str, u64>,
    /// The newest snapshot.
    snapshot: String,
}

/// What a start came to.
#[derive(Debug)]
pub(crate) struct Told {
    /// Why it ended by itself.
    pub(crate) refused: Option<(Option<i32>, String)>,
    /// What it wrote, but for what always comes.
    pub(crate) log: String,
    /// A search for everything.
    pub(crate) search: Value,
    /// How many there should be.
    pub(crate) expected: u64,
    /// Are the lines found that were written after the start?
    pub(crate) fresh: bool,
    /// `millrace audit --verify`.
    pub(crate) audit: Option<Outcome>,
}

fn settings(site: &Site, push: &str, snapshot_every: &str, retention: &str) -> String {
    let source = |name: &str, stream: &str| {
        format!(
            "[agent.sources.{name}]\ntype = \"file\"\ninclude = [\"{}\"]\nstream = \"{stream}\"\n",
            site.log(&format!("{name}.log")).display()
        )
    };
    format!(
        "{}{}[agent.sources.push]\ntype = \"http\"\nlisten = \"{push}\"\n[indexer]\nseal_age = \"1h\"\n[streams.web]\ndaily_quota = \"2KiB\"\n\
         [catalogue]\nsnapshot_every = \"{snapshot_every}\"\n[topic]\ntype = \"embedded\"\nretention = \"{retention}\"\n",
        source("app", "logs"),
        source("web", "web")
    )
}

/// Whether this is what is just being written and gets its name when it is whole.
fn being_written(name: &str) -> bool {
    // The store of objects in a folder adds `#` and a number.
    let of_store = name.rsplit_once('#').is_some_and(|(_, number)| number.parse::<u64>().is_ok());
    of_store || kinds::ends(name, "new") || name.contains("/.")
}

fn lines(text: &str, count: u64) -> String {
    let lines: Vec<String> = (0..count).map(|line| format!("{text} line {line}\n")).collect();
    lines.concat()
}

impl<'a> World<'a> {
    /// Makes the folders.
    pub(crate) fn new(site: &'a Site) -> Self {
        let server = Server::at(ports::free());
        let push = format!("127.0.0.1:{}", ports::free());
        let mut world = Self { site, server, push, totals: BTreeMap::new(), snapshot: String::new() };
        // Segments end after a second.
        site.write("up.toml", &settings(site, &world.push, "300ms", "8s"));
        world.orderly(|world| world.write("app.log", &lines("shard first", LINES), "first", LINES));
        world.orderly(|world| {
            world.write("app.log", &lines("shard second", LINES), "second", LINES);
            wait::until_true("something is beyond the quota", DEADLINE, || {
                site.append(
                    "web.log",
                    lines("a page was asked for and was found, and this is how it looked:", 20),
                );
                let letters = world.server.get("/api/v1/dead-letters");
                !letters["letters"].as_array().is_none_or(Vec::is_empty)
            });
            let roll = || Self::files(&site.path("data")).contains_key(&Kind::OlderSegment);
            wait::until_true("a segment has ended", DEADLINE, roll);
        });
        site.write("up.toml", &settings(site, &world.push, "1h", "24h"));
        world.orderly(|world| {
            world.write("app.log", &lines("shard third", LINES), "third", LINES);
            let answer = http::post(&world.push, "/", &lines("shard pushed", LINES)).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            world.server.wait_for_total("pushed", LINES, DEADLINE);
        });
        let mut process = world.start();
        world.save(Left::Stopped, &mut process, |process| {
            assert!(process.terminate(DEADLINE).success());
        });
        let mut process = world.start();
        world.write("app.log", &lines("shard hot", LINES), "hot", LINES);
        let position = format!("\"position\":{}", fs::metadata(site.log("app.log")).unwrap().len());
        let checkpoint = site.path("data/agent/checkpoint.json");
        wait::until_true("all is delivered", DEADLINE, || {
            fs::read_to_string(&checkpoint).is_ok_and(|text| text.contains(&position))
        });
        world.save(Left::Killed, &mut process, Process::kill);
        world
    }

    fn start(&self) -> Process {
        let (data, config) = (self.site.path("data"), self.site.path("up.toml"));
        let (data, config) = (data.display().to_string(), config.display().to_string());
        let arguments = ["up", "--data", &data, "--listen", &self.server.address, "--config", &config];
        let process = self.site.start("up", &arguments);
        self.server.wait_until_ready(DEADLINE);
        process
    }

    /// From start to end.
    fn orderly(&mut self, work: impl FnOnce(&Self)) {
        let mut process = self.start();
        work(self);
        assert!(process.terminate(DEADLINE).success(), "{}", process.log());
    }

    fn write(&self, log: &str, text: &str, query: &str, count: u64) {
        self.site.append(log, text);
        self.server.wait_for_total(query, count, DEADLINE);
    }

    /// Keeps a copy of the folder as it is left.
    fn save(&mut self, left: Left, process: &mut Process, end: impl FnOnce(&mut Process)) {
        let total = wait::until("a whole answer", DEADLINE, || self.server.whole_total("*"));
        let newest = self.server.get("/api/v1/catalogue")["newest_snapshot"]["key"].clone();
        self.snapshot = format!("shards/{}", newest.as_str().unwrap());
        end(process);
        self.totals.insert(left.name(), total);
        copy(&self.site.path("data"), &self.site.path(left.name()));
        copy(&self.site.path("logs"), &self.site.path(&format!("{}-logs", left.name())));
    }

    /// Puts the folder back as it was left. The agent's folder and the logs stay themselves: it knows them by what they are.
    fn restore(&self, left: Left) {
        let data = self.site.path("data");
        for entry in entries(&data) {
            if entry.ends_with("agent") {
                for path in entries(&entry) {
                    remove(&path);
                }
            } else {
                remove(&entry);
            }
        }
        copy(&self.site.path(left.name()), &data);
        for log in entries(&self.site.path(&format!("{}-logs", left.name()))) {
            let own = self.site.log(log.file_name().unwrap().to_str().unwrap());
            fs::write(own, fs::read(&log).unwrap()).unwrap();
        }
    }

    /// All files below a folder by their kinds, as paths in it; the last of each is the newest.
    fn files(folder: &Path) -> BTreeMap<Kind, Vec<String>> {
        let mut paths = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for path in entries(&next) {
                if path.is_dir() { folders.push(path) } else { paths.push(path) }
            }
        }
        paths.sort();
        let mut kinds: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        for (at, path) in paths.iter().enumerate() {
            let Ok(size) = fs::metadata(path).map(|metadata| metadata.len()) else { continue };
            let is_last = paths.get(at + 1).is_none_or(|next| next.parent() != path.parent());
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let Some(kind) = kinds::kind_of(&name, size, is_last) else {
                assert!(being_written(&name), "{name}: of no kind that this test knows");
                continue;
            };
            kinds.entry(kind).or_default().push(name);
        }
        kinds
    }

    /// The newest file of each kind, as the folder was left.
    pub(crate) fn kinds(&self, left: Left) -> BTreeMap<Kind, String> {
        let files = Self::files(&self.site.path(left.name())).into_iter();
        let mut newest: BTreeMap<Kind, String> =
            files.map(|(kind, mut paths)| (kind, paths.pop().unwrap())).collect();
        // Several of one second are in no order by their names.
        newest.insert(Kind::Snapshot, self.snapshot.clone());
        newest
    }

    /// Starts on the folder as it was left, but for a damaged file, and asks. `None`: there is nothing in the file that could
    /// be damaged so.
    pub(crate) fn try_with(&self, left: Left, file: &str, damage: Damage) -> Option<Told> {
        self.restore(left);
        if !inflict(&self.site.path("data").join(file), damage) {
            return None;
        }
        remove(&self.site.path("up.log"));
        let (data, config) = (self.site.path("data"), self.site.path("up.toml"));
        let (data, config) = (data.display().to_string(), config.display().to_string());
        let arguments = ["up", "--data", &data, "--listen", &self.server.address, "--config", &config];
        let mut process = self.site.start("up", &arguments);
        let ended = wait::until("it is ready or has ended", DEADLINE, || {
            process.ended().map(Some).or_else(|| self.server.is_ready().then_some(None))
        });
        let mut told = Told {
            refused: None,
            log: String::new(),
            search: Value::Null,
            expected: self.totals[left.name()],
            fresh: false,
            audit: None,
        };
        if let Some(status) = ended {
            told.refused = Some((status.code(), process.log()));
        } else {
            told.search = self.settled_search();
            self.site.append("app.log", lines("fresh", FRESH));
            told.fresh = self.finds_fresh();
            told.audit = Some(self.site.run(&["audit", "--verify", "--server", &self.server.url()]));
            assert!(process.terminate(DEADLINE).success(), "{file} {damage:?}: {}", process.log());
        }
        let log = process.log();
        let said = |line: &&str| !line.contains(" INFO ");
        told.log = log.lines().filter(said).collect::<Vec<_>>().join("\n");
        Some(told)
    }

    /// A search for everything, when what the topic has was taken in. What stays partial is so rightly.
    fn settled_search(&self) -> Value {
        let everything = json!({ "q": "*", "from": "0", "limit": 0 });
        let mut answer = self.server.search(&everything);
        for _ in 0..20 {
            if answer["partial"] == json!(false) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            answer = self.server.search(&everything);
        }
        answer
    }

    fn finds_fresh(&self) -> bool {
        let total = || {
            let asked = json!({ "q": "fresh", "from": "0", "limit": 0 }).to_string();
            let answer = http::post(&self.server.address, "/api/v1/search", &asked).ok()?;
            serde_json::from_slice::<Value>(&answer.body).ok()?["total"].as_u64()
        };
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(30));
            total() == Some(FRESH)
        })
    }
}

impl Left {
    fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Killed => "killed",
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    // A folder may go while others are listed.
    let Ok(listed) = fs::read_dir(folder) else { return Vec::new() };
    listed.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in entries(from) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Damages a file; `false`: it has nothing in it that could be.
fn inflict(path: &Path, damage: Damage) -> bool {
    let mut bytes = fs::read(path).unwrap();
    match damage {
        Damage::Flip(_) | Damage::CutShort if bytes.is_empty() => return false,
        Damage::Flip(place) => {
            let at = place_in(&bytes, path, place);
            bytes[at] ^= 0x15;
            fs::write(path, bytes).unwrap();
        }
        Damage::Removed => remove(path),
        Damage::CutShort => fs::write(path, &bytes[..bytes.len() * 3 / 7]).unwrap(),
        Damage::Unreadable => {
            remove(path);
            fs::create_dir(path).unwrap();
        }
    }
    true
}

/// Most of a database's bytes are unused: there, one of a shard's row and one of the trail are meant.
fn place_in(bytes: &[u8], path: &Path, place: Place) -> usize {
    let find = |text: &str| {
        let found = bytes.windows(text.len()).rposition(|part| part == text.as_bytes());
        found.unwrap_or_else(|| panic!("{text} is not in {}", path.display()))
    };
    match place {
        Place::Start => 0,
        Place::Middle if path.ends_with("catalogue.db") => find(".shard") - 5,
        Place::End if path.ends_with("catalogue.db") => find("\"group\":\"indexer\"") + 1,
        Place::Middle => bytes.len() / 2,
        Place::End => bytes.len() - 1,
    }
}
