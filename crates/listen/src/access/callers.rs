//! All who are known: the tokens of a file, and what a catalogue keeps, which is handed in as plain values: tokens and sessions. Both are
//! looked at again and again. What a token is made of is [`tokens`](super::tokens)' matter.
//!
//! **Invariant.** Whoever does not hold any more is ended ([`Caller::ended`]), whatever the reason; what cannot be read changes nothing.

use super::{
    Caller, Grants,
    tokens::{self, Token, Unreadable},
};
use millrace_model::{Clock, Timestamp, fields::hex};
use openssl::sha::sha256;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// So many secrets are hashed at once; each takes 19 MiB for some milliseconds.
const AT_ONCE: usize = 2;
/// How often is looked whether something has changed.
const LOOK: Duration = Duration::from_secs(1);
/// Whoever is not known has the catalogue looked at, but no more often than this.
const LOOK_FOR_STRANGERS: Duration = Duration::from_millis(200);
/// How long a stranger waits for that.
const PATIENCE: Duration = Duration::from_secs(2);

/// A token of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptToken {
    /// Its name.
    pub name: String,
    /// What Argon2id makes of its secret.
    pub hash: String,
    /// The names of its roles.
    pub roles: Vec<String>,
    /// The names of its streams; `*`: all.
    pub streams: Vec<String>,
    /// Until when.
    pub expires: Option<Timestamp>,
}

/// A session of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSession {
    /// What [`session_hash`] makes of what the browser shows.
    pub hash: String,
    /// What the provider calls the person.
    pub subject: String,
    /// The person's name.
    pub name: String,
    /// What they may do, and where.
    pub grants: Grants,
    /// Until when.
    pub expires: Timestamp,
}

/// All that the catalogue keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Rises when something changes.
    pub version: u64,
    /// The tokens.
    pub tokens: Vec<KeptToken>,
    /// The sessions.
    pub sessions: Vec<KeptSession>,
}

/// Reads what the catalogue keeps, unless that has still the version that is known; or says why it cannot be read.
pub type Look = Arc<
    dyn Fn(Option<u64>) -> Pin<Box<dyn Future<Output = Result<Option<Kept>, String>> + Send>> + Send + Sync,
>;

/// What is kept of the secret of a session, in hexadecimal digits.
pub fn session_hash(secret: &str) -> String {
    hex(&sha256(secret.as_bytes()))
}

/// What was read, and what holds of it.
#[derive(Default)]
struct Said {
    file: BTreeMap<String, Token>,
    kept: BTreeMap<String, Token>,
    /// Those of the file before those of the catalogue.
    tokens: BTreeMap<String, Arc<Token>>,
    /// Names that both have.
    clashes: BTreeSet<String>,
    sessions: HashMap<String, (KeptSession, Caller)>,
}

/// How far the catalogue was read.
#[derive(Default)]
struct Looked {
    version: Option<u64>,
    /// When the last look began.
    at: Option<Instant>,
    /// The trouble that was told.
    told: Option<String>,
}

/// All who are known.
pub struct Callers {
    path: Option<PathBuf>,
    look: Option<Look>,
    clock: Arc<dyn Clock>,
    said: RwLock<Said>,
    looked: tokio::sync::Mutex<Looked>,
    /// What of the file is in use.
    text: Mutex<String>,
    hashing: Semaphore,
}

impl Callers {
    /// Those of this file, and those of a catalogue, if either is there. Blocks on the file; the catalogue is read by [`keep_up`](Self::keep_up).
    ///
    /// # Errors
    /// The file is not there, or says what cannot be.
    pub fn open(
        path: Option<&Path>,
        look: Option<Look>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Unreadable> {
        let (text, file) = path.map(tokens::read).transpose()?.unwrap_or_default();
        let callers = Self {
            path: path.map(Path::to_owned),
            look,
            clock,
            said: RwLock::default(),
            looked: tokio::sync::Mutex::default(),
            text: Mutex::new(text),
            hashing: Semaphore::new(AT_ONCE),
        };
        callers.change(|said| said.file = file);
        Ok(Arc::new(callers))
    }

    /// Looks at the file and at the catalogue again and again until the stop: what they say holds within two seconds. What cannot be used
    /// changes nothing, and is told.
    pub async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        let file = async {
            let mut told = None;
            loop {
                self.read_file(&mut told).await;
                self.end_what_is_over();
                sleep(LOOK).await;
            }
        };
        let catalogue = async {
            loop {
                self.look(&mut *self.looked.lock().await).await;
                sleep(LOOK).await;
            }
        };
        let _ = stop.run_until_cancelled(async { tokio::join!(file, catalogue) }).await;
    }

    async fn read_file(&self, told: &mut Option<String>) {
        let Some(path) = self.path.clone() else { return };
        let Ok(found) = tokio::task::spawn_blocking(move || tokens::read(&path)).await else { return };
        match found {
            Ok((text, file)) => {
                *told = None;
                if *guard(&self.text) != text {
                    tracing::info!(tokens = file.len(), "the file of tokens was read again");
                    self.change(|said| said.file = file);
                    *guard(&self.text) = text;
                }
            }
            Err(error) if told.as_ref() != Some(&error.problem) => {
                tracing::error!(%error, "the tokens stay as they were");
                *told = Some(error.problem);
            }
            Err(_) => {}
        }
    }

    /// Looks at the catalogue now: whoever has changed something there sees it hold here.
    pub async fn look_now(&self) {
        self.look(&mut *self.looked.lock().await).await;
    }

    async fn look(&self, looked: &mut Looked) {
        let Some(look) = &self.look else { return };
        looked.at = Some(Instant::now());
        let found = look(looked.version).await;
        match found {
            Ok(None) => looked.told = None,
            Ok(Some(Kept { version, tokens, sessions })) => {
                let tokens = tokens.into_iter().filter_map(understood).collect();
                self.change(|said| {
                    said.kept = tokens;
                    said.keep_sessions(sessions);
                });
                (looked.version, looked.told) = (Some(version), None);
            }
            Err(problem) if looked.told.as_ref() != Some(&problem) => {
                let why = "the catalogue's tokens and sessions stay as they were";
                tracing::error!(problem, "{why}");
                looked.told = Some(problem);
            }
            Err(_) => {}
        }
    }

    /// Somebody is not known: what came just now may be in the catalogue.
    async fn look_for_a_stranger(&self) {
        if self.look.is_none() {
            return;
        }
        let came = Instant::now();
        let in_time = timeout(PATIENCE, async {
            let mut looked = self.looked.lock().await;
            // A look that began before they came may not have seen what they bring.
            if looked.at.is_none_or(|at| at < came) {
                if let Some(at) = looked.at {
                    sleep_until(at + LOOK_FOR_STRANGERS).await;
                }
                self.look(&mut looked).await;
            }
        })
        .await;
        if in_time.is_err() {
            tracing::warn!("the catalogue does not say who somebody is");
        }
    }

    /// Changes what was read; whoever does not hold then is ended.
    fn change(&self, change: impl FnOnce(&mut Said)) {
        let mut said = self.said.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut said);
        said.settle();
    }

    fn end_what_is_over(&self) {
        let said = self.said.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let callers = said.tokens.values().map(|token| &token.caller);
        for caller in callers.chain(said.sessions.values().map(|(_, caller)| caller)) {
            if is_over(caller, now) {
                caller.end();
            }
        }
    }

    /// Is there a token of this name in the file?
    pub fn is_in_file(&self, name: &str) -> bool {
        self.said.read().unwrap_or_else(PoisonError::into_inner).file.contains_key(name)
    }

    fn token(&self, name: &str) -> Option<Arc<Token>> {
        self.said.read().unwrap_or_else(PoisonError::into_inner).tokens.get(name).cloned()
    }

    /// Whose secret this is.
    pub(super) async fn by_token(&self, name: &str, secret: &str) -> Option<Caller> {
        let token = if let Some(token) = self.token(name) {
            token
        } else {
            self.look_for_a_stranger().await;
            self.token(name)?
        };
        if is_over(&token.caller, self.clock.now()) {
            return None;
        }
        let shown = sha256(format!("{name}:{secret}").as_bytes());
        if *guard(&token.held) != Some(shown) {
            let (hash, secret) = (token.hash.clone(), secret.to_owned());
            let _place = self.hashing.acquire().await.ok()?;
            if !tokio::task::spawn_blocking(move || tokens::holds(&hash, &secret)).await.unwrap_or(false) {
                return None;
            }
            *guard(&token.held) = Some(shown);
        }
        Some(token.caller.clone())
    }

    fn session(&self, hash: &str) -> Option<Caller> {
        let said = self.said.read().unwrap_or_else(PoisonError::into_inner);
        said.sessions.get(hash).map(|(_, caller)| caller.clone())
    }

    /// Whose session this is.
    pub async fn by_session(&self, secret: &str) -> Option<Caller> {
        let hash = session_hash(secret);
        let caller = if let Some(caller) = self.session(&hash) {
            caller
        } else {
            self.look_for_a_stranger().await;
            self.session(&hash)?
        };
        (!is_over(&caller, self.clock.now())).then_some(caller)
    }
}

impl Said {
    /// What holds of tokens: what is as it was goes on as it is.
    fn settle(&mut self) {
        let clashes: BTreeSet<String> =
            self.kept.keys().filter(|name| self.file.contains_key(*name)).cloned().collect();
        for name in clashes.difference(&self.clashes) {
            tracing::warn!(name, "the token is in the file and in the catalogue: that of the file holds");
        }
        let mut before = std::mem::take(&mut self.tokens);
        let kept = self.kept.iter().filter(|(name, _)| !clashes.contains(*name));
        for (name, token) in self.file.iter().chain(kept) {
            let token = match before.remove(name) {
                Some(known) if known.says_the_same(token) => known,
                changed => {
                    if let Some(known) = changed {
                        known.caller.end();
                    }
                    Arc::new(token.begun())
                }
            };
            self.tokens.insert(name.clone(), token);
        }
        for token in before.values() {
            token.caller.end();
        }
        self.clashes = clashes;
    }

    fn keep_sessions(&mut self, sessions: Vec<KeptSession>) {
        let mut before = std::mem::take(&mut self.sessions);
        for session in sessions {
            let KeptSession { hash, subject, name, grants, expires } = &session;
            let caller = match before.remove(hash) {
                Some((known, caller)) if known == session => caller,
                changed => {
                    if let Some((_, caller)) = changed {
                        caller.end();
                    }
                    Caller::of_session(name, subject, grants, *expires)
                }
            };
            self.sessions.insert(hash.clone(), (session, caller));
        }
        for (_, caller) in before.values() {
            caller.end();
        }
    }
}

/// One of the catalogue, if it says what can be.
fn understood(kept: KeptToken) -> Option<(String, Token)> {
    match Token::of_catalogue(&kept) {
        Ok(token) => Some((kept.name, token)),
        Err(problem) => {
            tracing::error!(name = kept.name, problem, "a token of the catalogue is not understood");
            None
        }
    }
}

fn is_over(caller: &Caller, now: Timestamp) -> bool {
    caller.until().is_some_and(|until| until <= now)
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "callers/tests.rs"]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
