//! Databases of other programs. Nothing is changed in them.

use sqlx::{
    Connection,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};
use std::path::Path;

/// What a query finds in a file of `SQLite`: a text and two whole numbers a row.
///
/// # Errors
/// The file is not there, is none of `SQLite`'s, is locked, or has no such table; in its own words.
pub async fn rows(file: &Path, query: &'static str) -> Result<Vec<(String, i64, i64)>, String> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(|error| error.to_string())?;
    let rows = sqlx::query_as(query).fetch_all(&mut connection).await.map_err(|error| error.to_string())?;
    // Nothing was written: how it is closed does not matter.
    drop(connection.close().await);
    Ok(rows)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sqlx::Executor;

    #[tokio::test]
    async fn rows_are_read_and_what_is_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tail.db");
        let query = "SELECT name, offset, inode FROM in_tail_files ORDER BY id";
        assert!(rows(&file, query).await.is_err());
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        other
            .execute(
                "CREATE TABLE in_tail_files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER, inode INTEGER, \
                 created INTEGER, rotated INTEGER DEFAULT 0); \
                 INSERT INTO in_tail_files (name, offset, inode) VALUES ('/var/log/a.log', 7, 42), ('/var/log/b.log', 0, 43);",
            )
            .await
            .unwrap();
        let expected = vec![("/var/log/a.log".to_owned(), 7, 42), ("/var/log/b.log".to_owned(), 0, 43)];
        assert_eq!(rows(&file, query).await.unwrap(), expected);
        let missing = rows(&file, "SELECT a, b, c FROM nowhere").await.unwrap_err();
        assert!(missing.contains("nowhere"), "{missing}");
        std::fs::write(&file, "no database at all, whatever its name says").unwrap();
        assert!(rows(&file, query).await.is_err());
    }
}
