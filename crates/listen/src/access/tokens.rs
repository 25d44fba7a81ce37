//! What a token is: a name, what it may, and an Argon2id hash of its secret; how one is made; and the file that they lie in.
//!
//! ```toml
//! [tokens.grafana]
//! hash = "$argon2id$v=19$m=19456,t=2,p=1$…"
//! roles = ["read"]
//! streams = ["app", "web"]             # or ["*"]; an administrator needs none
//! expires = "2027-01-01T00:00:00Z"     # or never
//! ```

use super::{Caller, KeptToken, Role};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use millrace_model::{Grant, StreamName, Timestamp, fields::hex};
use openssl::rand::rand_bytes;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// How a token begins: whoever finds one somewhere knows what it is.
const PREFIX: &str = "millrace_";
/// Bytes of a secret.
const SECRET: usize = 32;

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
pub(super) struct Token {
    pub(super) hash: String,
    roles: Vec<Role>,
    grant: Grant,
    pub(super) caller: Caller,
    /// What SHA-256 makes of name and secret that were held against the hash, and held: the hash is slow on purpose, and clients ask often.
    pub(super) held: Mutex<Option<[u8; 32]>>,
}

impl Token {
    fn new(name: &str, hash: &str, roles: &[Role], grant: &Grant, expires: Option<Timestamp>) -> Self {
        let caller = Caller::of_token(name, roles, grant, expires);
        let (roles, grant) = (roles.to_vec(), grant.clone());
        Self { hash: hash.to_owned(), roles, grant, caller, held: Mutex::default() }
    }

    /// One that begins to hold.
    pub(super) fn begun(&self) -> Self {
        let Self { hash, roles, grant, caller, .. } = self;
        Self::new(caller.name().unwrap_or_default(), hash, roles, grant, caller.until())
    }

    /// Is nothing changed?
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        (&self.hash, &self.roles, &self.grant, self.caller.until())
            == (&other.hash, &other.roles, &other.grant, other.caller.until())
    }

    /// As a catalogue has it; what is wrong with it.
    pub(super) fn of_catalogue(kept: &KeptToken) -> Result<Self, String> {
        let role = |name: &String| Role::of(name).ok_or_else(|| format!("roles: {name:?} is none"));
        let roles = kept.roles.iter().map(role).collect::<Result<Vec<_>, _>>()?;
        let streams = (!kept.streams.is_empty()).then_some(kept.streams.as_slice());
        token(&kept.name, &kept.hash, &roles, streams, kept.expires)
    }
}

pub(super) fn holds(hash: &str, secret: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok()
}

/// The text of a file, and its tokens by name. Blocks.
pub(super) fn read(path: &Path) -> Result<(String, BTreeMap<String, Token>), Unreadable> {
    let unreadable = |problem: String| Unreadable { path: path.to_owned(), problem };
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let tokens = understand(&text).map_err(unreadable)?;
    Ok((text, tokens))
}

fn understand(text: &str) -> Result<BTreeMap<String, Token>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let tokens = file.tokens.into_iter().map(|(name, Entry { hash, roles, streams, expires })| {
        let wrong = |problem: String| format!("[tokens.{name}] {problem}");
        let expires = expires.as_deref().map(str::parse::<Timestamp>).transpose();
        let expires = expires.map_err(|error| wrong(format!("expires: {error}")))?;
        let token = token(&name, &hash, &roles, streams.as_deref(), expires).map_err(wrong)?;
        Ok((name, token))
    });
    tokens.collect()
}

fn token(
    name: &str,
    hash: &str,
    roles: &[Role],
    streams: Option<&[String]>,
    expires: Option<Timestamp>,
) -> Result<Token, String> {
    check_name(name)?;
    PasswordHash::new(hash).map_err(|error| format!("hash: {error}: `millrace token` makes one"))?;
    Ok(Token::new(name, hash, roles, &granted(roles, streams)?, expires))
}

/// The streams of whoever has these roles, or what is wrong with them. `None`: nothing is said of streams.
///
/// # Errors
/// There is no role, no stream where one is needed, or a name that is none.
pub fn granted(roles: &[Role], streams: Option<&[String]>) -> Result<Grant, String> {
    if roles.is_empty() {
        return Err("roles: at least one of read, write, admin expected".to_owned());
    }
    let is_admin = roles.contains(&Role::Admin);
    let grant = match streams {
        None if is_admin => Grant::All,
        None => return Err("streams: names, or [\"*\"] for all, expected".to_owned()),
        Some(names) => grant(names)?,
    };
    if is_admin && grant != Grant::All {
        return Err("streams: an administrator sees all; leave it out, or leave out the role".to_owned());
    }
    Ok(grant)
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
    /// Its name.
    pub name: String,
    /// What is kept of its secret.
    pub hash: String,
    /// What may be done with it.
    pub roles: Vec<Role>,
    /// In which streams; nothing: an administrator's.
    pub streams: Vec<String>,
    /// Until when.
    pub expires: Option<Timestamp>,
}

impl Made {
    /// What a file of tokens says of it.
    pub fn entry(&self) -> String {
        let quoted =
            |names: Vec<&str>| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let roles = quoted(self.roles.iter().map(|role| role.name()).collect());
        let streams = quoted(self.streams.iter().map(String::as_str).collect());
        let lines = [
            Some(format!("[tokens.\"{}\"]", self.name)),
            Some(format!("hash = \"{}\"", self.hash)),
            Some(format!("roles = [{roles}]")),
            (!streams.is_empty()).then(|| format!("streams = [{streams}]")),
            self.expires.map(|expires| format!("expires = \"{expires}\"")),
        ];
        lines.into_iter().flatten().map(|line| line + "\n").collect()
    }
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
    check_name(name)?;
    granted(roles, (!streams.is_empty()).then_some(streams))?;
    let secret = secret()?;
    let hash = Argon2::default().hash_password(secret.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Made {
        token: format!("{PREFIX}{name}_{secret}"),
        name: name.to_owned(),
        hash: hash.to_string(),
        roles: roles.to_vec(),
        streams: streams.to_vec(),
        expires,
    })
}

/// What nobody guesses, in hexadecimal digits.
///
/// # Errors
/// The system has no randomness.
pub fn secret() -> Result<String, String> {
    let mut bytes = [0; SECRET];
    rand_bytes(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    Ok(hex(&bytes))
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
    let added = format!("{gap}{}", made.entry());
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

    fn problem(text: &str) -> String {
        understand(text).err().unwrap()
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said() {
        let hash = make("a", &[Role::Admin], &[], None).unwrap().entry();
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
        assert!(understand("").unwrap().is_empty());
    }
}
