//! Alerts with what became of them: what was found out when somebody was to be told, and what people did. Both lie beside
//! what rules say, so that neither writes over the other.

use crate::{
    Alert, AlertState, Catalogue, DocumentWrite, Error, Notification, Transaction,
    alerts::{ALERT_COLUMNS, StoredAlert},
    query::Query,
};
use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

/// Why nobody is told of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hushed {
    /// A silence covers it.
    Silenced,
    /// Another alert says it already.
    Inhibited,
    /// Its like was found to be a false positive.
    Suppressed,
}

impl Hushed {
    /// Its name in history.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silenced => "silenced",
            Self::Inhibited => "inhibited",
            Self::Suppressed => "suppressed",
        }
    }
}

/// An alert is like one that was found to be a false positive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demoted {
    /// The level that the rule gives it.
    pub from: String,
    /// The level that it has now.
    pub to: String,
    /// The alert that it is like.
    pub similar_to: String,
}

/// What was found out about an alert when somebody was to be told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Marks {
    /// Why nobody is told now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hushed: Option<Hushed>,
    /// The silences that have covered it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silences: Vec<String>,
    /// The alert that inhibits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inhibited_by: Option<String>,
    /// The alert whose verdict suppresses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<String>,
    /// It has a lower level than its rule gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demoted: Option<Demoted>,
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// Who; empty: nobody that has a name.
    pub by: String,
    /// What they said to it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What people did with an alert.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Triage {
    /// Somebody has seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Act>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Somebody says that it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Act>,
}

/// An alert with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAlert {
    /// What rules say.
    pub alert: Alert,
    /// What was found out.
    pub marks: Marks,
    /// What people did.
    pub triage: Triage,
    /// Rises with each change that history tells of.
    pub revision: u64,
}

impl KeptAlert {
    /// Where it is in its life: what somebody has closed is over.
    pub fn state(&self) -> AlertState {
        if self.triage.closed.is_some() { AlertState::Resolved } else { self.alert.state }
    }

    /// When it ended, if it has.
    pub fn ended(&self) -> Option<Timestamp> {
        let closed = self.triage.closed.as_ref().map(|act| act.at);
        self.alert.resolved_at.into_iter().chain(closed).min()
    }

    /// The level that it has now.
    pub fn level(&self) -> &str {
        self.marks.demoted.as_ref().map_or(&self.alert.level, |demoted| &demoted.to)
    }
}

/// What is decided about open alerts, together: who is told what, and what is noted of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dispatch {
    /// How far receivers have been told, each over the version that was read.
    pub documents: Vec<DocumentWrite>,
    /// Documents that nobody needs any more, with the versions that were read.
    pub ended: Vec<(String, String, u64)>,
    /// What is to be sent.
    pub notifications: Vec<Notification>,
    /// What was found out about alerts.
    pub marks: Vec<(String, Marks)>,
    /// Alerts that are over, and of which nobody has to be told any more.
    pub settled: Vec<String>,
}

#[derive(FromRow)]
struct StoredKept {
    #[sqlx(flatten)]
    alert: StoredAlert,
    marks: String,
    triage: String,
    revision: i64,
}

fn kept(rest: &str) -> Query {
    let mut query = Query::new("SELECT ");
    query.push(ALERT_COLUMNS).push(", marks, triage, revision FROM alerts ").push(rest);
    query
}

impl Catalogue {
    /// Alerts in a state (`None`: any), latest first, at most `limit`.
    pub async fn kept_alerts(&self, state: Option<AlertState>, limit: u32) -> Result<Vec<KeptAlert>, Error> {
        let mut query = kept("");
        if state == Some(AlertState::Resolved) {
            query.push("WHERE (state = 'resolved' OR closed_ns IS NOT NULL)");
        } else if let Some(state) = state {
            query.push("WHERE closed_ns IS NULL AND state = ").bind(state.name());
        }
        query.push(" ORDER BY last_ns DESC, id LIMIT ").bind(i64::from(limit));
        self.read_kept(query).await
    }

    /// One alert.
    pub async fn kept_alert(&self, id: &str) -> Result<Option<KeptAlert>, Error> {
        let mut query = kept("WHERE id = ");
        query.bind(id);
        Ok(self.read_kept(query).await?.pop())
    }

    /// Alerts of which somebody may still have to be told, by id.
    pub async fn open_alerts(&self) -> Result<Vec<KeptAlert>, Error> {
        let mut open = self.read_kept(kept("WHERE is_open = 1")).await?;
        open.sort_unstable_by(|a, b| a.alert.id.cmp(&b.alert.id));
        Ok(open)
    }

    /// Alerts that have changed since history last told of them, at most `limit`.
    pub async fn unrecorded_alerts(&self, limit: u32) -> Result<Vec<KeptAlert>, Error> {
        let mut query = kept("WHERE recorded < revision ORDER BY id LIMIT ");
        query.bind(i64::from(limit));
        self.read_kept(query).await
    }

    /// History tells of these as they were at these revisions.
    pub async fn recorded(&self, alerts: &[(String, u64)]) -> Result<(), Error> {
        let failed = self.failed("note what is in history");
        let mut transaction = self.begin("note what is in history").await?;
        for (id, revision) in alerts {
            sqlx::query("UPDATE alerts SET recorded = $1 WHERE id = $2 AND recorded < $1")
                .bind(*revision as i64)
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Stores what people did with an alert, if it still is as `before` has it. `false`: it is not.
    pub async fn triage(&self, before: &KeptAlert, triage: &Triage) -> Result<bool, Error> {
        let failed = self.failed("store what became of an alert");
        let text = serde_json::to_string(triage).map_err(self.unreadable("an alert's triage"))?;
        let mut transaction = self.begin("store what became of an alert").await?;
        let changed = sqlx::query(
            "UPDATE alerts SET triage = $1, closed_ns = $2, revision = revision + 1 WHERE id = $3 AND revision = $4",
        )
        .bind(text)
        .bind(triage.closed.as_ref().map(|act| act.at.0))
        .bind(&before.alert.id)
        .bind(before.revision as i64)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(changed.rows_affected() == 1)
    }

    /// Carries out what was decided, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Conflict`] where somebody else has decided meanwhile: whoever asks looks again.
    pub async fn dispatch(&self, dispatch: &Dispatch) -> Result<(), Error> {
        let failed = self.failed("note who is told");
        let now = self.clock.now();
        let mut transaction = self.begin("note who is told").await?;
        let mut marks: Vec<_> = dispatch.marks.iter().collect();
        marks.sort_unstable_by_key(|(id, _)| id);
        for (id, marks) in marks {
            let text = serde_json::to_string(marks).map_err(self.unreadable("an alert's marks"))?;
            sqlx::query("UPDATE alerts SET marks = $1, revision = revision + 1 WHERE id = $2")
                .bind(text)
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        let mut settled: Vec<_> = dispatch.settled.iter().collect();
        settled.sort_unstable();
        for id in settled {
            sqlx::query(
                "UPDATE alerts SET is_open = 0 WHERE id = $1 AND (state = 'resolved' OR closed_ns IS NOT NULL)",
            )
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        for document in &dispatch.documents {
            self.write_document(&mut transaction, document, now).await?;
        }
        for (kind, key, version) in &dispatch.ended {
            self.end_document(&mut transaction, kind, key, *version).await?;
        }
        self.add_notifications(&mut transaction, &dispatch.notifications, now).await?;
        transaction.commit().await.map_err(failed)
    }

    /// History has something new to tell of an alert. `false`: there is no such alert.
    pub(crate) async fn alert_changes(&self, transaction: &mut Transaction, id: &str) -> Result<bool, Error> {
        let changed = sqlx::query("UPDATE alerts SET revision = revision + 1 WHERE id = $1")
            .bind(id)
            .execute(&mut **transaction)
            .await
            .map_err(self.failed("change an alert"))?;
        Ok(changed.rows_affected() == 1)
    }

    async fn read_kept(&self, query: Query) -> Result<Vec<KeptAlert>, Error> {
        let rows: Vec<StoredKept> =
            query.build_as().fetch_all(&self.readers).await.map_err(self.failed("read alerts"))?;
        let read = rows.into_iter().map(|row| {
            Ok(KeptAlert {
                alert: self.read_alert(row.alert)?,
                marks: serde_json::from_str(&row.marks).map_err(self.unreadable("an alert's marks"))?,
                triage: serde_json::from_str(&row.triage).map_err(self.unreadable("an alert's triage"))?,
                revision: row.revision as u64,
            })
        });
        read.collect()
    }
}
