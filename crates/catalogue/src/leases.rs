//! Leases: which of several nodes is at a piece of work. They spare double work and guard nothing: a holder that was
//! away for longer than its lease, or whose clock is wrong, still believes that it holds it.

use crate::{Catalogue, Error};
use std::time::Duration;

impl Catalogue {
    /// Takes or renews the lease `name` for `holder`, for `length` from now on. `false`: another has it.
    pub async fn lease(&self, name: &str, holder: &str, length: Duration) -> Result<bool, Error> {
        let now = self.clock.now();
        let mut transaction = self.begin("take a lease").await?;
        let taken = sqlx::query(
            "INSERT INTO leases (name, holder, until_ns) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ns = excluded.until_ns \
             WHERE leases.holder = excluded.holder OR leases.until_ns <= $4",
        )
        .bind(name)
        .bind(holder)
        .bind(now.plus(length).0)
        .bind(now.0)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed("take a lease"))?;
        transaction.commit().await.map_err(self.failed("take a lease"))?;
        Ok(taken.rows_affected() == 1)
    }

    /// Gives a lease back, if `holder` still has it.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), Error> {
        let mut transaction = self.begin("give a lease back").await?;
        sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2")
            .bind(name)
            .bind(holder)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed("give a lease back"))?;
        transaction.commit().await.map_err(self.failed("give a lease back"))
    }
}
