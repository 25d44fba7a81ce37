//! What people found alerts to be. What follows from it is decided elsewhere.

use crate::{Catalogue, Error, Transaction, database::storable};
use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use std::{collections::BTreeMap, str::FromStr};

/// What an alert was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// What the rule looks for.
    TruePositive,
    /// Not what the rule looks for.
    FalsePositive,
    /// What the rule looks for, and no harm.
    Benign,
}

/// What a verdict says something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictScope {
    /// This alert alone: it counts for the rule, and nothing else follows.
    #[default]
    This,
    /// What the rule finds of the same group, and of groups like it.
    Fingerprint,
    /// Whatever the rule finds.
    Rule,
}

macro_rules! named {
    ($type:ty { $($value:path => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Its name in the API and in the database.
            pub const fn name(self) -> &'static str {
                match self { $($value => $name),+ }
            }
        }
        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok($value),)+
                    _ => Err(format!("one of {:?} expected, found {text:?}", [$($name),+])),
                }
            }
        }
    };
}

named!(VerdictKind {
    VerdictKind::TruePositive => "true_positive",
    VerdictKind::FalsePositive => "false_positive",
    VerdictKind::Benign => "benign",
});
named!(VerdictScope {
    VerdictScope::This => "this",
    VerdictScope::Fingerprint => "fingerprint",
    VerdictScope::Rule => "rule",
});

/// What somebody found an alert to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The alert.
    pub alert_id: String,
    /// Its rule.
    pub rule_id: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its group.
    pub group: BTreeMap<String, String>,
    /// What it was.
    pub verdict: VerdictKind,
    /// Why, in words.
    pub reason: String,
    /// What else it says something of.
    pub scope: VerdictScope,
    /// Nothing follows from it any more from then on; `None`: without an end. It counts for the rule all the same.
    pub expires: Option<Timestamp>,
    /// When it was given.
    pub given: Timestamp,
    /// Who gave it; empty: nobody that has a name.
    pub given_by: String,
}

#[derive(FromRow)]
struct Stored {
    alert_id: String,
    rule_id: String,
    fingerprint: String,
    grouped_by: String,
    verdict: String,
    reason: String,
    scope: String,
    expires_ns: Option<i64>,
    given_ns: i64,
    given_by: String,
}

const VERDICTS: &str = "SELECT alert_id, rule_id, fingerprint, grouped_by, verdict, reason, scope, expires_ns, given_ns, \
                        given_by FROM verdicts";

impl Catalogue {
    /// Gives a verdict, in place of the one that the alert had. `false`: there is no such alert.
    pub async fn give_verdict(&self, verdict: &Verdict) -> Result<bool, Error> {
        let failed = self.failed("store a verdict");
        let mut transaction = self.begin("store a verdict").await?;
        if !self.alert_changes(&mut transaction, &verdict.alert_id).await? {
            return Ok(false);
        }
        let group = serde_json::to_string(&verdict.group).map_err(self.unreadable("an alert's group"))?;
        sqlx::query(
            "INSERT INTO verdicts (alert_id, rule_id, fingerprint, grouped_by, verdict, reason, scope, expires_ns, given_ns, \
             given_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (alert_id) DO UPDATE SET \
             verdict = excluded.verdict, reason = excluded.reason, scope = excluded.scope, \
             expires_ns = excluded.expires_ns, given_ns = excluded.given_ns, given_by = excluded.given_by",
        )
        .bind(&verdict.alert_id)
        .bind(&verdict.rule_id)
        .bind(&verdict.fingerprint)
        .bind(group)
        .bind(verdict.verdict.name())
        .bind(storable(&verdict.reason))
        .bind(verdict.scope.name())
        .bind(verdict.expires.map(|expires| expires.0))
        .bind(verdict.given.0)
        .bind(storable(&verdict.given_by))
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        self.verdict_changes(&mut transaction, &verdict.alert_id).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    /// Takes a verdict back. `false`: the alert has none.
    pub async fn take_back_verdict(&self, alert_id: &str) -> Result<bool, Error> {
        let failed = self.failed("take a verdict back");
        let mut transaction = self.begin("take a verdict back").await?;
        if !self.alert_changes(&mut transaction, alert_id).await? {
            return Ok(false);
        }
        let gone = sqlx::query("DELETE FROM verdicts WHERE alert_id = $1")
            .bind(alert_id)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        if gone.rows_affected() == 0 {
            return Ok(false);
        }
        self.verdict_changes(&mut transaction, alert_id).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    /// What people found the alerts of a rule to be, the earliest first.
    pub async fn verdicts_of(&self, rule_id: &str) -> Result<Vec<Verdict>, Error> {
        let text = format!("{VERDICTS} WHERE rule_id = $1 ORDER BY given_ns, alert_id");
        let rows: Vec<Stored> = sqlx::query_as(sqlx::AssertSqlSafe(text))
            .bind(rule_id)
            .fetch_all(&self.readers)
            .await
            .map_err(self.failed("read verdicts"))?;
        rows.into_iter().map(|row| self.read_verdict(row)).collect()
    }

    /// The alerts whose verdict, or that they have none any more, is to be copied, at most `limit`, and at which revision.
    pub async fn uncopied_verdicts(&self, limit: u32) -> Result<Vec<(String, u64)>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT id, verdict_revision FROM alerts WHERE verdict_copied < verdict_revision ORDER BY id LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(self.failed("look for verdicts to be copied"))?;
        Ok(rows.into_iter().map(|(id, revision)| (id, revision as u64)).collect())
    }

    /// A verdict was copied as it was at a revision, or later. `false`: another has copied it meanwhile, and whose copy is the last one
    /// is not known; it is to be copied once more.
    pub async fn verdict_copied(&self, alert_id: &str, revision: u64) -> Result<bool, Error> {
        let failed = self.failed("note that a verdict was copied");
        let mut transaction = self.begin("note that a verdict was copied").await?;
        let noted =
            sqlx::query("UPDATE alerts SET verdict_copied = $1 WHERE id = $2 AND verdict_copied < $1")
                .bind(revision as i64)
                .bind(alert_id)
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        let is_first = noted.rows_affected() == 1;
        if !is_first {
            self.verdict_changes(&mut transaction, alert_id).await?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(is_first)
    }

    async fn verdict_changes(&self, transaction: &mut Transaction, alert_id: &str) -> Result<(), Error> {
        sqlx::query("UPDATE alerts SET verdict_revision = verdict_revision + 1 WHERE id = $1")
            .bind(alert_id)
            .execute(&mut **transaction)
            .await
            .map_err(self.failed("change a verdict"))?;
        Ok(())
    }

    /// What an alert was found to be.
    pub async fn verdict(&self, alert_id: &str) -> Result<Option<Verdict>, Error> {
        let row: Option<Stored> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("{VERDICTS} WHERE alert_id = $1")))
                .bind(alert_id)
                .fetch_optional(&self.readers)
                .await
                .map_err(self.failed("read a verdict"))?;
        row.map(|row| self.read_verdict(row)).transpose()
    }

    /// The false positives that say something of other alerts now, the earliest first.
    pub async fn false_positives(&self) -> Result<Vec<Verdict>, Error> {
        let text = format!(
            "{VERDICTS} WHERE verdict = 'false_positive' AND scope <> 'this' AND (expires_ns IS NULL OR expires_ns > $1) \
             ORDER BY given_ns, alert_id"
        );
        let rows: Vec<Stored> = sqlx::query_as(sqlx::AssertSqlSafe(text))
            .bind(self.clock.now().0)
            .fetch_all(&self.readers)
            .await
            .map_err(self.failed("read verdicts"))?;
        rows.into_iter().map(|row| self.read_verdict(row)).collect()
    }

    /// How many verdicts of each kind each rule has.
    pub async fn verdict_counts(&self) -> Result<BTreeMap<String, BTreeMap<VerdictKind, u64>>, Error> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT rule_id, verdict, COUNT(*) FROM verdicts GROUP BY rule_id, verdict")
                .fetch_all(&self.readers)
                .await
                .map_err(self.failed("count verdicts"))?;
        let mut counts: BTreeMap<String, BTreeMap<VerdictKind, u64>> = BTreeMap::new();
        for (rule, verdict, count) in rows {
            let kind = verdict.parse().map_err(self.unreadable("a verdict"))?;
            counts.entry(rule).or_default().insert(kind, count as u64);
        }
        Ok(counts)
    }

    fn read_verdict(&self, row: Stored) -> Result<Verdict, Error> {
        Ok(Verdict {
            alert_id: row.alert_id,
            rule_id: row.rule_id,
            fingerprint: row.fingerprint,
            group: serde_json::from_str(&row.grouped_by).map_err(self.unreadable("an alert's group"))?,
            verdict: row.verdict.parse().map_err(self.unreadable("a verdict"))?,
            reason: row.reason,
            scope: row.scope.parse().map_err(self.unreadable("a verdict's scope"))?,
            expires: row.expires_ns.map(Timestamp),
            given: Timestamp(row.given_ns),
            given_by: row.given_by,
        })
    }
}
