//! Aliases of templates: the masks of merged templates, learned on one node and read by all. Rows are only ever added, and
//! there are never more than [`MAX_ALIASES`]. What a mask means and how its id is made is not known here.

use crate::{Catalogue, Error, Transaction, database::Lock};
use millrace_model::Timestamp;
use sqlx::FromRow;
use std::sync::atomic::Ordering;

/// The most aliases that a catalogue takes.
pub const MAX_ALIASES: u64 = 20_000;
/// The longest mask, in bytes.
pub const MAX_MASK_BYTES: usize = 32 << 10;

/// The most aliases that one reading hands out: at worst 32 MiB.
const ALIASES_A_READING: i64 = 1_000;

/// A merged mask under its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The template's id: 16 hexadecimal digits, lower case.
    pub id: String,
    /// The mask.
    pub mask: Vec<u8>,
}

#[derive(FromRow)]
struct Stored {
    id: String,
    mask: Vec<u8>,
    version: i64,
}

impl Catalogue {
    /// The aliases that came after `version` (0: from the first), in the order in which they came, and the version that
    /// the next reading goes on from. At most 1,000 at once: there may be more until none comes.
    ///
    /// Cheap where there is nothing new: one look into an index.
    pub async fn aliases_since(&self, version: u64) -> Result<(u64, Vec<Alias>), Error> {
        let rows: Vec<Stored> = sqlx::query_as(
            "SELECT id, mask, version FROM template_aliases WHERE version > $1 ORDER BY version LIMIT $2",
        )
        .bind(i64::try_from(version).unwrap_or(i64::MAX))
        .bind(ALIASES_A_READING)
        .fetch_all(&self.readers)
        .await
        .map_err(self.failed("read aliases of templates"))?;
        let last = rows.last().map_or(version, |row| row.version as u64);
        Ok((last, rows.into_iter().map(|Stored { id, mask, .. }| Alias { id, mask }).collect()))
    }

    /// How many aliases were refused through this handle and its clones since it was opened: there were [`MAX_ALIASES`]
    /// already, the mask was longer than [`MAX_MASK_BYTES`], or another mask has the id. Only what was written with a
    /// transaction that came to be is counted, each time that it was.
    pub fn refused_aliases(&self) -> u64 {
        self.refused_aliases.load(Ordering::Relaxed)
    }

    /// Adds those that are not there yet; returns how many were refused. A refused alias is no error: what is
    /// published with it is worth more.
    pub(crate) async fn add_aliases(
        &self,
        transaction: &mut Transaction,
        aliases: &[Alias],
        now: Timestamp,
    ) -> Result<u64, Error> {
        if aliases.is_empty() {
            return Ok(0);
        }
        self.lock(transaction, Lock::Aliases).await?;
        let last: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM template_aliases")
            .fetch_one(&mut **transaction)
            .await
            .map_err(self.failed("read aliases of templates"))?;
        let (mut last, mut refused) = (last.unwrap_or(0) as u64, 0);
        for alias in aliases {
            if alias.mask.len() <= MAX_MASK_BYTES {
                if last < MAX_ALIASES && self.add_alias(transaction, alias, last + 1, now).await? {
                    last += 1;
                    continue;
                }
                if self.has_alias(transaction, alias).await? {
                    continue;
                }
            }
            refused += 1;
        }
        Ok(refused)
    }

    /// `false`: there is a mask under its id already.
    async fn add_alias(
        &self,
        transaction: &mut Transaction,
        alias: &Alias,
        version: u64,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let added = sqlx::query(
            "INSERT INTO template_aliases (id, mask, version, added_ns) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&alias.id)
        .bind(&alias.mask)
        .bind(version as i64)
        .bind(now.0)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("store an alias of a template"))?;
        Ok(added.rows_affected() == 1)
    }

    /// Is that very mask there?
    async fn has_alias(&self, transaction: &mut Transaction, alias: &Alias) -> Result<bool, Error> {
        let mask: Option<Vec<u8>> = sqlx::query_scalar("SELECT mask FROM template_aliases WHERE id = $1")
            .bind(&alias.id)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.failed("read an alias of a template"))?;
        Ok(mask.as_ref() == Some(&alias.mask))
    }

    /// To be called once the transaction has come to be.
    pub(crate) fn count_refused_aliases(&self, refused: u64) {
        self.refused_aliases.fetch_add(refused, Ordering::Relaxed);
    }
}

/// Says what is wrong with the ids: a bug of whoever made them.
pub(crate) fn check(aliases: &[Alias]) -> Result<(), String> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match aliases.iter().find(|alias| alias.id.len() != 16 || !alias.id.bytes().all(is_digit)) {
        Some(alias) => Err(format!("{:?} is no id of a template: 16 hexadecimal digits expected", alias.id)),
        None => Ok(()),
    }
}
