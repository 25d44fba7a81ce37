//! The file of tokens: names, what each may, and what is kept of its secret, an Argon2id hash. It is read again when it changes.
//!
//! ```toml
//! [tokens.grafana]
//! hash = "$argon2id$v=19$m=19456,t=2,p=1$…"
//! roles = ["read"]
//! streams = ["app", "web"]             # or ["*"]; an administrator needs none
//! expires = "2027-01-01T00:00:00Z"     # or never
//! ```

use super::{Caller, Role};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use millrace_model::{Clock, Grant, StreamName, Timestamp, fields::hex};
use openssl::{rand::rand_bytes, sha::sha256};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How a token begins: whoever finds one somewhere knows what it is.
const PREFIX: &str = "millrace_";
/// Bytes of a secret.
const SECRET: usize = 32;
/// So many secrets are hashed at once; each takes 19 MiB for some milliseconds.
const AT_ONCE: usize = 2;
/// How often is looked whether the file has changed.
const LOOK: Duration = Duration::from_secs(2);

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct Unreadable {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong, and where.
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tokens: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    hash: String,
    roles: Vec<Role>,
    streams: Option<Vec<String>>,
    expires: Option<String>,
}

/// A token as it is known.
struct Token {
    hash: String,
    caller: Caller,
    expires: Option<Timestamp>,
}

/// What a file says.
#[derive(Default)]
struct Said {
    tokens: BTreeMap<String, Token>,
    /// Secrets that were held against their hash, by what SHA-256 makes of name and secret: a hash is slow on purpose, and clients ask
    /// often. Only those that held are here, so there are as many as tokens at most.
    held: Mutex<HashMap<[u8; 32], String>>,
}

/// The tokens that are known.
pub struct Tokens {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    said: RwLock<Arc<Said>>,
    hashing: Semaphore,
}

impl Tokens {
    /// Reads the file. Blocks on it.
    ///
    /// # Errors
    /// It is not there, or says what cannot be.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Unreadable> {
        let said = read(path)?.1;
        let hashing = Semaphore::new(AT_ONCE);
        Ok(Arc::new(Self { path: path.to_owned(), clock, said: RwLock::new(Arc::new(said)), hashing }))
    }

    /// Looks at the file again and again until the stop: what it says of tokens holds within seconds. One that cannot be used changes
    /// nothing, and is told.
    pub async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        let mut before = None;
        let mut told = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let path = self.path.clone();
            let Ok(found) = tokio::task::spawn_blocking(move || read(&path)).await else { continue };
            match found {
                Ok((text, said)) => {
                    told = None;
                    let changed = before.as_ref().is_some_and(|before| *before != text);
                    if changed {
                        tracing::info!(path = %self.path.display(), tokens = said.tokens.len(), "tokens were read again");
                    }
                    // The first look may find what was written since the start.
                    if changed || before.is_none() {
                        *self.said.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(said);
                        before = Some(text);
                    }
                }
                Err(error) if told.as_ref() != Some(&error.problem) => {
                    tracing::error!(%error, "the tokens stay as they were");
                    told = Some(error.problem);
                }
                Err(_) => {}
            }
        }
    }

    /// Whose secret this is.
    pub(super) async fn caller(&self, name: &str, secret: &str) -> Option<Caller> {
        let said = Arc::clone(&self.said.read().unwrap_or_else(PoisonError::into_inner));
        let token = said.tokens.get(name)?;
        if token.expires.is_some_and(|expires| expires <= self.clock.now()) {
            return None;
        }
        let shown = sha256(format!("{name}:{secret}").as_bytes());
        let held = || said.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held().contains_key(&shown) {
            let (hash, secret) = (token.hash.clone(), secret.to_owned());
            let _place = self.hashing.acquire().await.ok()?;
            if !tokio::task::spawn_blocking(move || holds(&hash, &secret)).await.unwrap_or(false) {
                return None;
            }
            held().insert(shown, name.to_owned());
        }
        Some(token.caller.clone())
    }
}

fn holds(hash: &str, secret: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok()
}

fn read(path: &Path) -> Result<(String, Said), Unreadable> {
    let unreadable = |problem: String| Unreadable { path: path.to_owned(), problem };
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let said = understand(&text).map_err(unreadable)?;
    Ok((text, said))
}

fn understand(text: &str) -> Result<Said, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let tokens = file.tokens.into_iter().map(|(name, entry)| {
        let token = token(&name, &entry).map_err(|problem| format!("[tokens.{name}] {problem}"))?;
        Ok((name, token))
    });
    Ok(Said { tokens: tokens.collect::<Result<_, String>>()?, held: Mutex::default() })
}

fn token(name: &str, entry: &Entry) -> Result<Token, String> {
    check_name(name)?;
    PasswordHash::new(&entry.hash).map_err(|error| format!("hash: {error}: `millrace token` makes one"))?;
    if entry.roles.is_empty() {
        return Err("roles: at least one of read, write, admin expected".to_owned());
    }
    let is_admin = entry.roles.contains(&Role::Admin);
    let grant = match &entry.streams {
        None if is_admin => Grant::All,
        None => return Err("streams: names, or [\"*\"] for all, expected".to_owned()),
        Some(names) => grant(names)?,
    };
    if is_admin && grant != Grant::All {
        return Err("streams: an administrator sees all; leave it out, or leave out the role".to_owned());
    }
    let expires = entry.expires.as_deref().map(str::parse::<Timestamp>).transpose();
    let expires = expires.map_err(|error| format!("expires: {error}"))?;
    Ok(Token { hash: entry.hash.clone(), caller: Caller::named(name, &entry.roles, &grant), expires })
}

fn grant(names: &[String]) -> Result<Grant, String> {
    if names.iter().any(|name| name == "*") {
        return Ok(Grant::All);
    }
    let names = names.iter().map(|name| name.parse::<StreamName>());
    Ok(Grant::Streams(names.collect::<Result<_, _>>().map_err(|error| format!("streams: {error}"))?))
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(format!("a name of 1 to 64 lower-case letters, digits, '-', '_' or '.' expected, found {name:?}"))
}

/// Name and secret of a token.
pub(super) fn split(token: &str) -> Option<(String, String)> {
    let (name, secret) = token.strip_prefix(PREFIX)?.rsplit_once('_')?;
    Some((name.to_owned(), secret.to_owned()))
}

/// A token that was made.
#[derive(Debug)]
pub struct Made {
    /// What is shown. Nobody can find it again.
    pub token: String,
    /// What a file of tokens says of it.
    pub entry: String,
}

/// Makes a token. Computes for some milliseconds.
///
/// # Errors
/// What is asked for cannot be.
pub fn make(
    name: &str,
    roles: &[Role],
    streams: &[String],
    expires: Option<Timestamp>,
) -> Result<Made, String> {
    let mut bytes = [0; SECRET];
    rand_bytes(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    let secret = hex(&bytes);
    let hash = Argon2::default().hash_password(secret.as_bytes()).map_err(|error| error.to_string())?;
    let quoted =
        |names: Vec<&str>| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let roles = quoted(roles.iter().map(|role| role.name()).collect());
    let streams = quoted(streams.iter().map(String::as_str).collect());
    let lines = [
        Some(format!("[tokens.\"{name}\"]")),
        Some(format!("hash = \"{hash}\"")),
        Some(format!("roles = [{roles}]")),
        (!streams.is_empty()).then(|| format!("streams = [{streams}]")),
        expires.map(|expires| format!("expires = \"{expires}\"")),
    ];
    let entry = lines.into_iter().flatten().map(|line| line + "\n").collect::<String>();
    // What is wrong with it is said as it would be when it is read.
    check_name(name)?;
    understand(&entry)?;
    Ok(Made { token: format!("{PREFIX}{name}_{secret}"), entry })
}

/// Adds a token to the end of a file, which is made if it is not there, for its owner alone. Blocks.
///
/// # Errors
/// The file is none of tokens, has one of that name, or cannot be written.
pub fn add(path: &Path, made: &Made) -> Result<(), Unreadable> {
    let unreadable = |problem: String| Unreadable { path: path.to_owned(), problem };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let gap = if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" };
    let added = format!("{gap}{}", made.entry);
    understand(&format!("{text}{added}")).map_err(unreadable)?;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(added.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_model::ManualClock;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn problem(text: &str) -> String {
        understand(text).err().unwrap()
    }

    #[tokio::test]
    async fn a_token_is_known_until_its_time_is_over_or_the_file_forgets_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
        let reader = make("grafana_1", &[Role::Read], &names(&["app"]), None).unwrap();
        let brief =
            make("brief", &[Role::Write], &names(&["*"]), Some(Timestamp::from_millis(2_000))).unwrap();
        for made in [&reader, &brief] {
            add(&path, made).unwrap();
        }
        assert!(add(&path, &reader).unwrap_err().problem.contains("duplicate key"));
        let tokens = Tokens::open(&path, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let (name, secret) = split(&reader.token).unwrap();
        assert_eq!(name, "grafana_1");
        // The second time it is not hashed again, and neither is it another's.
        for _ in 0..2 {
            let caller = tokens.caller(&name, &secret).await.unwrap();
            assert_eq!(caller.name(), Some("grafana_1"));
            assert_eq!(*caller.grant(), Grant::Streams(["app".parse().unwrap()].into()));
            assert_eq!(tokens.caller("brief", &secret).await, None);
            assert_eq!(tokens.caller(&name, &secret[1..]).await, None);
            assert_eq!(tokens.caller("nobody", &secret).await, None);
        }
        let (name, secret) = split(&brief.token).unwrap();
        assert_eq!(*tokens.caller(&name, &secret).await.unwrap().grant(), Grant::All);
        clock.set(Timestamp::from_millis(2_000));
        assert_eq!(tokens.caller(&name, &secret).await, None);
        assert!(!fs::read_to_string(&path).unwrap().contains(&secret));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said() {
        let hash = make("a", &[Role::Admin], &[], None).unwrap().entry;
        let hash = hash.lines().nth(1).unwrap().to_owned();
        for (entry, wrong) in [
            ("hash = \"x\"\nroles = [\"read\"]\nstreams = [\"*\"]", "[tokens.a] hash"),
            ("{hash}\nroles = []\nstreams = [\"*\"]", "at least one of read, write, admin"),
            ("{hash}\nroles = [\"read\"]", "streams: names, or [\"*\"]"),
            ("{hash}\nroles = [\"admin\"]\nstreams = [\"app\"]", "an administrator sees all"),
            ("{hash}\nroles = [\"read\"]\nstreams = [\"App\"]", "streams: a stream name"),
            ("{hash}\nroles = [\"root\"]", "unknown variant `root`"),
            ("{hash}\nroles = [\"admin\"]\nstream = \"x\"", "unknown field `stream`"),
            ("{hash}\nroles = [\"admin\"]\nexpires = \"soon\"", "expires"),
        ] {
            let problem = problem(&format!("[tokens.a]\n{}\n", entry.replace("{hash}", &hash)));
            assert!(problem.contains(wrong), "{wrong} in {problem}");
        }
        let named = problem(&format!("[tokens.\"A b\"]\n{hash}\nroles = [\"admin\"]\n"));
        assert!(named.contains("lower-case letters"), "{named}");
        assert!(make("x", &[Role::Read], &[], None).unwrap_err().contains("streams"));
        assert!(understand("").unwrap().tokens.is_empty());
    }
}
