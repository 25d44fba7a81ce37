//! Alerts, and the outbox of what is to be sent about them. Both are written in the transaction that publishes what
//! they rest on, so that neither is lost or made twice by a crash; delivering is somebody else's.

use crate::{Catalogue, Error, Transaction, query::Query};
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Its condition holds, but not for long enough yet.
    Pending,
    /// It holds.
    Firing,
    /// It has ended.
    Resolved,
}

impl AlertState {
    /// Its name in the API and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AlertState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Pending, Self::Firing, Self::Resolved]
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| format!("pending, firing or resolved expected, found {text:?}"))
    }
}

/// What a rule found, over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id; made from the fingerprint.
    pub id: String,
    /// What makes two findings one alert.
    pub fingerprint: String,
    /// The rule.
    pub rule_id: String,
    /// The rule's title.
    pub title: String,
    /// How grave: Sigma's levels.
    pub level: String,
    /// Where it is in its life.
    pub state: AlertState,
    /// The values that the rule groups by.
    pub group: BTreeMap<String, String>,
    /// The first finding's time.
    pub first: Timestamp,
    /// The latest finding's time.
    pub last: Timestamp,
    /// How many findings.
    pub count: u64,
    /// Some of the records that it rests on.
    pub evidence: Vec<RecordId>,
    /// When it ended, if it has.
    pub resolved_at: Option<Timestamp>,
}

/// Something to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Made from alert, receiver and transition: the same one is never sent twice.
    pub id: String,
    /// What it is about. Must be known, or be in the same cut.
    pub alert_id: String,
    /// To whom.
    pub receiver: String,
    /// What is sent.
    pub body: String,
    /// When it was decided.
    pub created: Timestamp,
    /// What it is about: those of one receiver about one thing are due one after another,
    pub about: String,
    /// in the order of these numbers.
    pub sequence: u64,
}

/// A notification that has yet to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNotification {
    /// What is to be sent.
    pub notification: Notification,
    /// How often that has failed.
    pub attempts: u64,
    /// When it became due.
    pub not_before: Timestamp,
}

/// How an attempt to deliver ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it.
    Delivered,
    /// It may work later.
    Failed {
        /// When to try again.
        retry_at: Timestamp,
        /// What went wrong.
        problem: String,
    },
    /// It will never work: not tried again.
    Abandoned {
        /// What went wrong.
        problem: String,
    },
}

#[derive(FromRow)]
pub(crate) struct StoredAlert {
    id: String,
    fingerprint: String,
    rule_id: String,
    title: String,
    level: String,
    state: String,
    grouped_by: String,
    first_ns: i64,
    last_ns: i64,
    occurrences: i64,
    evidence: String,
    resolved_ns: Option<i64>,
}

#[derive(FromRow)]
struct StoredNotification {
    id: String,
    alert_id: String,
    receiver: String,
    body: String,
    created_ns: i64,
    attempts: i64,
    not_before_ns: i64,
    about: String,
    sequence: i64,
}

pub(crate) const ALERT_COLUMNS: &str = "id, fingerprint, rule_id, title, level, state, grouped_by, first_ns, last_ns, \
                                        occurrences, evidence, resolved_ns";

const NOTIFICATION_COLUMNS: &str =
    "n.id, n.alert_id, n.receiver, n.body, n.created_ns, n.attempts, n.not_before_ns, n.about, n.sequence";

fn alerts() -> Query {
    let mut query = Query::new("SELECT ");
    query.push(ALERT_COLUMNS).push(" FROM alerts");
    query
}

impl Catalogue {
    /// Stores alerts, each over what was known under its id.
    pub async fn upsert_alerts(&self, alerts: &[Alert]) -> Result<(), Error> {
        let mut transaction = self.begin("store alerts").await?;
        self.write_alerts(&mut transaction, alerts).await?;
        transaction.commit().await.map_err(self.failed("store alerts"))
    }

    /// Alerts in a state (`None`: any), latest first, at most `limit`.
    pub async fn alerts(&self, state: Option<AlertState>, limit: u32) -> Result<Vec<Alert>, Error> {
        let mut query = alerts();
        if let Some(state) = state {
            query.push(" WHERE state = ").bind(state.name());
        }
        query.push(" ORDER BY last_ns DESC, id LIMIT ").bind(i64::from(limit));
        let rows: Vec<StoredAlert> =
            query.build_as().fetch_all(&self.readers).await.map_err(self.failed("read alerts"))?;
        rows.into_iter().map(|row| self.read_alert(row)).collect()
    }

    /// All alerts of a rule in a state, by id.
    pub async fn alerts_of(&self, rule_id: &str, state: AlertState) -> Result<Vec<Alert>, Error> {
        let mut query = alerts();
        query.push(" WHERE rule_id = ").bind(rule_id).push(" AND state = ").bind(state.name());
        query.push(" ORDER BY id");
        let rows: Vec<StoredAlert> =
            query.build_as().fetch_all(&self.readers).await.map_err(self.failed("read alerts"))?;
        rows.into_iter().map(|row| self.read_alert(row)).collect()
    }

    /// One alert.
    pub async fn alert(&self, id: &str) -> Result<Option<Alert>, Error> {
        let mut query = alerts();
        query.push(" WHERE id = ").bind(id);
        let row: Option<StoredAlert> =
            query.build_as().fetch_optional(&self.readers).await.map_err(self.failed("read an alert"))?;
        row.map(|row| self.read_alert(row)).transpose()
    }

    /// Notifications to a receiver that are neither delivered nor abandoned and whose time has come, oldest first, at most
    /// `limit`. One that is about the same as an earlier one waits for that.
    pub async fn due_notifications(&self, receiver: &str, limit: u32) -> Result<Vec<DueNotification>, Error> {
        let mut query = Query::new("SELECT ");
        query
            .push(NOTIFICATION_COLUMNS)
            .push(" FROM notifications n WHERE n.settled_ns IS NULL AND n.receiver = ");
        query.bind(receiver).push(" AND n.not_before_ns <= ").bind(self.clock.now().0);
        query.push(
            " AND NOT EXISTS (SELECT 1 FROM notifications e WHERE e.settled_ns IS NULL AND e.receiver = n.receiver \
             AND e.about = n.about AND e.sequence < n.sequence) ORDER BY n.created_ns, n.id LIMIT ",
        );
        query.bind(i64::from(limit));
        self.read_notifications(query).await
    }

    /// Notifications that were decided before `before` and are neither delivered nor abandoned, to whomever, at most `limit`.
    pub async fn overdue_notifications(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueNotification>, Error> {
        let mut query = Query::new("SELECT ");
        query
            .push(NOTIFICATION_COLUMNS)
            .push(" FROM notifications n WHERE n.settled_ns IS NULL AND n.created_ns < ");
        query.bind(before.0).push(" ORDER BY n.created_ns, n.id LIMIT ").bind(i64::from(limit));
        self.read_notifications(query).await
    }

    /// Forgets what was settled before `before`. Returns how many those were.
    pub async fn forget_notifications(&self, before: Timestamp) -> Result<u64, Error> {
        let failed = self.failed("forget old notifications");
        let mut transaction = self.begin("forget old notifications").await?;
        let gone = sqlx::query("DELETE FROM notifications WHERE settled_ns IS NOT NULL AND settled_ns < $1")
            .bind(before.0)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn read_notifications(&self, query: Query) -> Result<Vec<DueNotification>, Error> {
        let rows: Vec<StoredNotification> =
            query.build_as().fetch_all(&self.readers).await.map_err(self.failed("read the outbox"))?;
        Ok(rows.into_iter().map(due).collect())
    }

    /// Takes a due notification until `until`: `true` if it is the caller's to deliver now, `false` if another has
    /// taken or settled it. If the caller dies before it says how it went, the notification is due again at `until`.
    pub async fn claim_notification(&self, id: &str, until: Timestamp) -> Result<bool, Error> {
        let mut transaction = self.begin("claim a notification").await?;
        let claimed = sqlx::query(
            "UPDATE notifications SET not_before_ns = $1 \
             WHERE id = $2 AND settled_ns IS NULL AND not_before_ns <= $3",
        )
        .bind(until.0)
        .bind(id)
        .bind(self.clock.now().0)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed("claim a notification"))?;
        transaction.commit().await.map_err(self.failed("claim a notification"))?;
        Ok(claimed.rows_affected() == 1)
    }

    /// Says how an attempt ended. A notification that is settled already stays so.
    pub async fn notified(&self, id: &str, outcome: &Delivery) -> Result<(), Error> {
        let now = self.clock.now();
        let (settled, not_before, problem) = match outcome {
            Delivery::Delivered => (Some(now), now, None),
            Delivery::Failed { retry_at, problem } => (None, *retry_at, Some(problem)),
            Delivery::Abandoned { problem } => (Some(now), now, Some(problem)),
        };
        let mut transaction = self.begin("settle a notification").await?;
        sqlx::query(
            "UPDATE notifications SET settled_ns = $1, not_before_ns = $2, problem = $3, attempts = attempts + $4 \
             WHERE id = $5 AND settled_ns IS NULL",
        )
        .bind(settled.map(|at| at.0))
        .bind(not_before.0)
        .bind(problem)
        .bind(i64::from(problem.is_some()))
        .bind(id)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed("settle a notification"))?;
        transaction.commit().await.map_err(self.failed("settle a notification"))
    }

    pub(crate) async fn write_alerts(
        &self,
        transaction: &mut Transaction,
        alerts: &[Alert],
    ) -> Result<(), Error> {
        let mut alerts: Vec<&Alert> = alerts.iter().collect();
        alerts.sort_unstable_by_key(|alert| &alert.id);
        for alert in alerts {
            let grouped_by =
                serde_json::to_string(&alert.group).map_err(self.unreadable("an alert's group"))?;
            let evidence =
                serde_json::to_string(&alert.evidence).map_err(self.unreadable("an alert's evidence"))?;
            sqlx::query(
                "INSERT INTO alerts (id, fingerprint, rule_id, title, level, state, grouped_by, first_ns, last_ns, \
                 occurrences, evidence, resolved_ns, is_open) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1) \
                 ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, rule_id = excluded.rule_id, \
                 title = excluded.title, level = excluded.level, state = excluded.state, \
                 grouped_by = excluded.grouped_by, first_ns = excluded.first_ns, last_ns = excluded.last_ns, \
                 occurrences = excluded.occurrences, evidence = excluded.evidence, resolved_ns = excluded.resolved_ns, \
                 is_open = CASE WHEN alerts.state = 'resolved' AND excluded.state <> 'resolved' THEN 1 ELSE alerts.is_open END, \
                 revision = alerts.revision + CASE WHEN alerts.state <> excluded.state THEN 1 ELSE 0 END",
            )
            .bind(&alert.id)
            .bind(&alert.fingerprint)
            .bind(&alert.rule_id)
            .bind(&alert.title)
            .bind(&alert.level)
            .bind(alert.state.name())
            .bind(grouped_by)
            .bind(alert.first.0)
            .bind(alert.last.0)
            .bind(alert.count as i64)
            .bind(evidence)
            .bind(alert.resolved_at.map(|at| at.0))
            .execute(&mut **transaction)
            .await
            .map_err(self.failed("store an alert"))?;
        }
        Ok(())
    }

    pub(crate) async fn add_notifications(
        &self,
        transaction: &mut Transaction,
        notifications: &[Notification],
        now: Timestamp,
    ) -> Result<(), Error> {
        for notification in notifications {
            sqlx::query(
                "INSERT INTO notifications (id, alert_id, receiver, body, created_ns, attempts, not_before_ns, about, sequence) \
                 VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8) ON CONFLICT (id) DO NOTHING",
            )
            .bind(&notification.id)
            .bind(&notification.alert_id)
            .bind(&notification.receiver)
            .bind(&notification.body)
            .bind(notification.created.0)
            .bind(now.0)
            .bind(&notification.about)
            .bind(notification.sequence as i64)
            .execute(&mut **transaction)
            .await
            .map_err(self.failed("add to the outbox"))?;
        }
        Ok(())
    }

    pub(crate) fn read_alert(&self, row: StoredAlert) -> Result<Alert, Error> {
        Ok(Alert {
            id: row.id,
            fingerprint: row.fingerprint,
            rule_id: row.rule_id,
            title: row.title,
            level: row.level,
            state: row.state.parse().map_err(self.unreadable("an alert's state"))?,
            group: serde_json::from_str(&row.grouped_by).map_err(self.unreadable("an alert's group"))?,
            first: Timestamp(row.first_ns),
            last: Timestamp(row.last_ns),
            count: row.occurrences as u64,
            evidence: serde_json::from_str(&row.evidence).map_err(self.unreadable("an alert's evidence"))?,
            resolved_at: row.resolved_ns.map(Timestamp),
        })
    }
}

fn due(row: StoredNotification) -> DueNotification {
    DueNotification {
        notification: Notification {
            id: row.id,
            alert_id: row.alert_id,
            receiver: row.receiver,
            body: row.body,
            created: Timestamp(row.created_ns),
            about: row.about,
            sequence: row.sequence as u64,
        },
        attempts: row.attempts as u64,
        not_before: Timestamp(row.not_before_ns),
    }
}
