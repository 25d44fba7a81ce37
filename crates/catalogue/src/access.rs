//! Who may ask: tokens beside those of files, and sessions of people who have logged in. What a token or a session may is not
//! understood here. Each change raises a version, so that a node that has read all of it reads one number to learn that nothing has changed.

use crate::{Catalogue, Error, Transaction, database::storable};
use millrace_model::Timestamp;
use sqlx::FromRow;

/// The most tokens in a catalogue.
pub const MAX_TOKENS: u64 = 1_000;
/// The most sessions in a catalogue.
pub const MAX_SESSIONS: u64 = 10_000;
/// The most sessions of one person; the oldest ends for a new one.
pub const MAX_SESSIONS_OF_ONE: u64 = 20;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Its name.
    pub name: String,
    /// What is kept of its secret.
    pub hash: String,
    /// What may be done with it.
    pub roles: Vec<String>,
    /// In which streams.
    pub streams: Vec<String>,
    /// Until when; `None`: without an end.
    pub expires: Option<Timestamp>,
    /// Since when.
    pub created: Timestamp,
    /// Who made it.
    pub created_by: String,
}

/// Somebody who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSession {
    /// What is kept of what the browser shows.
    pub hash: String,
    /// Whose it is, as the provider tells people apart.
    pub subject: String,
    /// Whose it is, for people.
    pub name: String,
    /// The groups that were seen at the login.
    pub groups: Vec<String>,
    /// Until when.
    pub expires: Timestamp,
    /// Since when.
    pub created: Timestamp,
}

/// All who may ask, at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessList {
    /// Rises with each change.
    pub version: u64,
    /// By name.
    pub tokens: Vec<AccessToken>,
    /// Those whose time is not over, in no particular order.
    pub sessions: Vec<AccessSession>,
}

/// What became of a token or session that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    Yes,
    /// There is one of that name; nothing was changed.
    Exists,
    /// There are as many as there may be; nothing was changed.
    Full,
}

#[derive(FromRow)]
struct StoredToken {
    name: String,
    hash: String,
    roles: String,
    streams: String,
    expires_ns: Option<i64>,
    created_ns: i64,
    created_by: String,
}

#[derive(FromRow)]
struct StoredSession {
    hash: String,
    subject: String,
    name: String,
    member_of: String,
    expires_ns: i64,
    created_ns: i64,
}

fn list(names: &[String]) -> String {
    serde_json::json!(names).to_string()
}

impl Catalogue {
    /// All who may ask, unless nothing has changed since `known`.
    pub async fn access_list(&self, known: Option<u64>) -> Result<Option<AccessList>, Error> {
        let failed = self.failed("read who may ask");
        let mut transaction = self.begin_read("read who may ask").await?;
        let version: Option<i64> = sqlx::query_scalar("SELECT version FROM access_version WHERE id = 0")
            .fetch_optional(&mut *transaction)
            .await
            .map_err(&failed)?;
        let version = version.unwrap_or(0) as u64;
        if known == Some(version) {
            return Ok(None);
        }
        let tokens = self.tokens_in(&mut transaction).await?;
        let sessions: Vec<StoredSession> = sqlx::query_as(
            "SELECT hash, subject, name, member_of, expires_ns, created_ns FROM sessions WHERE expires_ns > $1",
        )
        .bind(self.clock.now().0)
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;
        let sessions = sessions.into_iter().map(|row| {
            Ok(AccessSession {
                hash: row.hash,
                subject: row.subject,
                name: row.name,
                groups: serde_json::from_str(&row.member_of)
                    .map_err(self.unreadable("a session's groups"))?,
                expires: Timestamp(row.expires_ns),
                created: Timestamp(row.created_ns),
            })
        });
        Ok(Some(AccessList { version, tokens, sessions: sessions.collect::<Result<_, Error>>()? }))
    }

    /// The tokens, by name.
    pub async fn tokens(&self) -> Result<Vec<AccessToken>, Error> {
        self.tokens_in(&mut self.begin_read("read tokens").await?).await
    }

    async fn tokens_in(&self, transaction: &mut Transaction) -> Result<Vec<AccessToken>, Error> {
        let rows: Vec<StoredToken> = sqlx::query_as(
            "SELECT name, hash, roles, streams, expires_ns, created_ns, created_by FROM tokens",
        )
        .fetch_all(&mut **transaction)
        .await
        .map_err(self.failed("read tokens"))?;
        let read = |text: &str, what| serde_json::from_str(text).map_err(self.unreadable(what));
        let tokens = rows.into_iter().map(|row| {
            Ok(AccessToken {
                roles: read(&row.roles, "a token's roles")?,
                streams: read(&row.streams, "a token's streams")?,
                name: row.name,
                hash: row.hash,
                expires: row.expires_ns.map(Timestamp),
                created: Timestamp(row.created_ns),
                created_by: row.created_by,
            })
        });
        let mut tokens = tokens.collect::<Result<Vec<_>, Error>>()?;
        // Databases sort texts by languages of their own.
        tokens.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(tokens)
    }

    /// Adds a token, made now; `token.created` says nothing. At most [`MAX_TOKENS`] are kept.
    pub async fn add_token(&self, token: &AccessToken) -> Result<Added, Error> {
        let failed = self.failed("add a token");
        let mut transaction = self.begin("add a token").await?;
        // First of all: whoever counts is alone.
        self.access_changes(&mut transaction).await?;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tokens")
            .fetch_one(&mut *transaction)
            .await
            .map_err(&failed)?;
        let added = sqlx::query(
            "INSERT INTO tokens (name, hash, roles, streams, expires_ns, created_ns, created_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING",
        )
        .bind(&token.name)
        .bind(&token.hash)
        .bind(list(&token.roles))
        .bind(list(&token.streams))
        .bind(token.expires.map(|expires| expires.0))
        .bind(self.clock.now().0)
        .bind(storable(&token.created_by))
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        if added.rows_affected() == 0 {
            return Ok(Added::Exists);
        }
        if count as u64 >= MAX_TOKENS {
            return Ok(Added::Full);
        }
        transaction.commit().await.map_err(failed)?;
        Ok(Added::Yes)
    }

    /// Takes a token out. `false`: there is none of that name.
    pub async fn delete_token(&self, name: &str) -> Result<bool, Error> {
        self.take_out("delete a token", "DELETE FROM tokens WHERE name = $1", name).await
    }

    /// Adds a session, begun now; `session.created` says nothing. Those whose time is over go, and so does the oldest of a person
    /// who has [`MAX_SESSIONS_OF_ONE`].
    pub async fn add_session(&self, session: &AccessSession) -> Result<Added, Error> {
        let failed = self.failed("add a session");
        let now = self.clock.now().0;
        let mut transaction = self.begin("add a session").await?;
        self.access_changes(&mut transaction).await?;
        sqlx::query("DELETE FROM sessions WHERE expires_ns <= $1")
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        sqlx::query(
            "DELETE FROM sessions WHERE hash IN \
             (SELECT hash FROM sessions WHERE subject = $1 ORDER BY created_ns DESC, hash LIMIT $2 OFFSET $3)",
        )
        .bind(storable(&session.subject))
        .bind(MAX_SESSIONS as i64)
        .bind(MAX_SESSIONS_OF_ONE as i64 - 1)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sessions")
            .fetch_one(&mut *transaction)
            .await
            .map_err(&failed)?;
        if count as u64 >= MAX_SESSIONS {
            return Ok(Added::Full);
        }
        let added = sqlx::query(
            "INSERT INTO sessions (hash, subject, name, member_of, expires_ns, created_ns) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(&session.hash)
        .bind(storable(&session.subject))
        .bind(storable(&session.name))
        .bind(list(&session.groups))
        .bind(session.expires.0)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        if added.rows_affected() == 0 {
            return Ok(Added::Exists);
        }
        transaction.commit().await.map_err(failed)?;
        Ok(Added::Yes)
    }

    /// Ends a session. `false`: there is none.
    pub async fn end_session(&self, hash: &str) -> Result<bool, Error> {
        self.take_out("end a session", "DELETE FROM sessions WHERE hash = $1", hash).await
    }

    async fn take_out(
        &self,
        action: &'static str,
        statement: &'static str,
        key: &str,
    ) -> Result<bool, Error> {
        let mut transaction = self.begin(action).await?;
        self.access_changes(&mut transaction).await?;
        let gone = sqlx::query(statement).bind(key).execute(&mut *transaction).await;
        if gone.map_err(self.failed(action))?.rows_affected() == 0 {
            return Ok(false);
        }
        transaction.commit().await.map_err(self.failed(action))?;
        Ok(true)
    }

    /// Raises the version. Until the transaction ends, others that change something wait here.
    async fn access_changes(&self, transaction: &mut Transaction) -> Result<(), Error> {
        let raise = "INSERT INTO access_version (id, version) VALUES (0, 1) \
                     ON CONFLICT (id) DO UPDATE SET version = access_version.version + 1";
        let raised = sqlx::query(raise).execute(&mut **transaction).await;
        raised.map(drop).map_err(self.failed("change who may ask"))
    }
}
