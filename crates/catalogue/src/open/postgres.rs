//! A catalogue on a server, for many nodes.

use super::{Opened, Patience, Purpose, Session, bad_url, migrate, pool};
use crate::{Error, database::Database};
use sqlx::{any::AnyConnectOptions, postgres::PgConnectOptions};
use std::time::Duration;

/// Connections of one process.
const CONNECTIONS: u32 = 8;
/// How long a caller waits for one of them, or for a server that cannot be reached.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A node that stopped in the middle of a transaction holds others up no longer than this.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);
/// No statement of ours takes longer, not even the deletion of many rows.
const STATEMENT: Duration = Duration::from_mins(1);

/// Connects to the server.
pub(super) async fn open(url: &str, patience: Patience, purpose: Purpose) -> Result<Opened, Error> {
    let options: PgConnectOptions = url.parse().map_err(|error| unreadable(&error))?;
    let Some(database) = options.get_database() else {
        return Err(bad_url("it names no database: postgres://user@host/database"));
    };
    let place = match options.get_socket() {
        Some(socket) => format!("postgres://{}/{database}", socket.display()),
        None => format!("postgres://{}:{}/{database}", options.get_host(), options.get_port()),
    };
    // What has been committed must survive power loss, whatever the server's default.
    let mut session = format!(
        "SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; SET statement_timeout = {}; \
         SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') = 'off';",
        patience.busy.as_millis(),
        IDLE_IN_TRANSACTION.as_millis(),
        STATEMENT.as_millis(),
    );
    if purpose == Purpose::Read {
        session.push_str(" SET default_transaction_read_only = on;");
    }
    let session: Session = session.into();
    let options: AnyConnectOptions = url.parse().map_err(|error| unreadable(&error))?;
    if purpose != Purpose::Read {
        migrate(&place, Database::Postgres, &options, &session, purpose).await?;
    }
    let connections = pool(CONNECTIONS, ACQUIRE_TIMEOUT, session).connect_lazy_with(options);
    Ok(Opened { place, database: Database::Postgres, writer: connections.clone(), readers: connections })
}

/// The driver's words on a url do not repeat it.
fn unreadable(error: &sqlx::Error) -> Error {
    bad_url(error.to_string())
}
