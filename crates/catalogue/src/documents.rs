//! Small documents by kind and key (silences, saved queries, rule state), each changed only by whoever has read its
//! latest version.

use crate::{Catalogue, DocumentWrite, Error, Transaction};
use millrace_model::Timestamp;
use sqlx::FromRow;

/// A stored document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name among those of its kind.
    pub key: String,
    /// Rises by one with each change; begins at 1.
    pub version: u64,
    /// Its text.
    pub body: String,
}

#[derive(FromRow)]
struct Stored {
    document_key: String,
    version: i64,
    body: String,
}

impl Catalogue {
    /// A document's version and text.
    pub async fn document(&self, kind: &str, key: &str) -> Result<Option<(u64, String)>, Error> {
        let row: Option<(i64, String)> =
            sqlx::query_as("SELECT version, body FROM documents WHERE kind = $1 AND document_key = $2")
                .bind(kind)
                .bind(key)
                .fetch_optional(&self.readers)
                .await
                .map_err(self.failed("read a document"))?;
        Ok(row.map(|(version, body)| (version as u64, body)))
    }

    /// All documents of a kind, by key.
    pub async fn documents(&self, kind: &str) -> Result<Vec<Document>, Error> {
        let rows: Vec<Stored> =
            sqlx::query_as("SELECT document_key, version, body FROM documents WHERE kind = $1")
                .bind(kind)
                .fetch_all(&self.readers)
                .await
                .map_err(self.failed("read documents"))?;
        let mut documents: Vec<Document> = rows
            .into_iter()
            .map(|Stored { document_key, version, body }| Document {
                key: document_key,
                version: version as u64,
                body,
            })
            .collect();
        // Databases sort texts by languages of their own.
        documents.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(documents)
    }

    /// Stores a document over the version that was read (`None`: there was none), and returns its new version.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another has changed it since.
    pub async fn put_document(
        &self,
        kind: &str,
        key: &str,
        expected_version: Option<u64>,
        body: &str,
    ) -> Result<u64, Error> {
        let now = self.clock.now();
        let write = DocumentWrite {
            kind: kind.to_owned(),
            key: key.to_owned(),
            expected_version,
            body: body.to_owned(),
        };
        let mut transaction = self.begin("store a document").await?;
        let version = self.write_document(&mut transaction, &write, now).await?;
        transaction.commit().await.map_err(self.failed("store a document"))?;
        Ok(version)
    }

    /// Deletes a document at the version that was read.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another has changed or deleted it since.
    pub async fn delete_document(&self, kind: &str, key: &str, expected_version: u64) -> Result<(), Error> {
        let mut transaction = self.begin("delete a document").await?;
        self.end_document(&mut transaction, kind, key, expected_version).await?;
        transaction.commit().await.map_err(self.failed("delete a document"))
    }

    pub(crate) async fn end_document(
        &self,
        transaction: &mut Transaction,
        kind: &str,
        key: &str,
        expected_version: u64,
    ) -> Result<(), Error> {
        let deleted =
            sqlx::query("DELETE FROM documents WHERE kind = $1 AND document_key = $2 AND version = $3")
                .bind(kind)
                .bind(key)
                .bind(expected_version as i64)
                .execute(&mut **transaction)
                .await
                .map_err(self.failed("delete a document"))?
                .rows_affected();
        if deleted == 0 {
            return Err(self.document_conflict(transaction, kind, key, Some(expected_version)).await?);
        }
        Ok(())
    }

    pub(crate) async fn write_document(
        &self,
        transaction: &mut Transaction,
        write: &DocumentWrite,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let DocumentWrite { kind, key, expected_version, body } = write;
        let statement = match expected_version {
            None => {
                "INSERT INTO documents (kind, document_key, version, body, updated_ns) VALUES ($1, $2, $3 + 1, $4, $5) \
                 ON CONFLICT (kind, document_key) DO NOTHING"
            }
            Some(_) => {
                "UPDATE documents SET version = version + 1, body = $4, updated_ns = $5 \
                 WHERE kind = $1 AND document_key = $2 AND version = $3"
            }
        };
        let written = sqlx::query(statement)
            .bind(kind)
            .bind(key)
            .bind(expected_version.unwrap_or(0) as i64)
            .bind(body)
            .bind(now.0)
            .execute(&mut **transaction)
            .await
            .map_err(self.failed("store a document"))?
            .rows_affected();
        if written == 0 {
            return Err(self.document_conflict(transaction, kind, key, *expected_version).await?);
        }
        Ok(expected_version.unwrap_or(0) + 1)
    }

    async fn document_conflict(
        &self,
        transaction: &mut Transaction,
        kind: &str,
        key: &str,
        expected: Option<u64>,
    ) -> Result<Error, Error> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT version FROM documents WHERE kind = $1 AND document_key = $2")
                .bind(kind)
                .bind(key)
                .fetch_optional(&mut **transaction)
                .await
                .map_err(self.failed("read a document"))?;
        let found = found.map(|version| version as u64);
        Ok(Error::Conflict { kind: kind.to_owned(), key: key.to_owned(), expected, found })
    }
}
