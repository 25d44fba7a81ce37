//! Documents that clients write, change and delete one by one, in collections. What a change is, is for the caller to
//! decide, who is shown the document as it stands in the transaction that changes it; here it is numbered, bounded and made
//! durable.
//!
//! **Invariants:**
//! - The changes of a collection are numbered without two of the same number, in the order in which they happened; a document
//!   bears the number of its last one.
//! - `documents` and `bytes` of a collection are those of its documents.
//! - A document goes only when somebody asks for that, or when [`Bounds::room_after`] says so and there is no room.

use crate::{Catalogue, Error, Transaction};
use millrace_model::Timestamp;
use sqlx::FromRow;
use std::time::Duration;

/// A collection, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// The number that its next change gets. The first is 0.
    pub next_sequence: u64,
    /// How many documents it has.
    pub documents: u64,
    /// How many bytes they are, their ids included.
    pub bytes: u64,
    /// Since when it is there. One that is deleted and made again is another.
    pub created: Timestamp,
}

/// A document of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionDocument {
    /// Its name in the collection.
    pub id: String,
    /// Rises by one with each change; begins at 1.
    pub version: u64,
    /// The number of its last change among those of the collection.
    pub sequence: u64,
    /// Its text.
    pub body: String,
    /// When it was last written.
    pub written: Timestamp,
}

/// What a collection may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// So many documents.
    pub documents: u64,
    /// So many bytes of them.
    pub bytes: u64,
    /// Where there is no room, documents that nobody has written for so long make some, those first that were written longest
    /// ago. `None`: no document ever goes for another.
    pub room_after: Option<Duration>,
}

/// What becomes of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// It has this text from now on.
    Put(String),
    /// It goes.
    Delete,
}

/// Decides what becomes of a document that is as shown, or not there.
pub type Decide<E> = Box<dyn FnOnce(Option<&CollectionDocument>) -> Result<Change, E> + Send>;

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was not there before.
    Created,
    /// It has another text.
    Updated,
    /// It is gone.
    Deleted,
    /// It is as it was.
    Kept,
    /// It was not there and is not.
    Absent,
}

/// A change that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edited {
    /// What became of it.
    pub became: Became,
    /// Its version; that of a deletion is one more than the document had.
    pub version: u64,
    /// The number of the change; where nothing changed, that of the last one.
    pub sequence: u64,
}

/// A change that did not happen. Others of the same call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotEdited<E> {
    /// Whoever decided said no.
    Refused(E),
    /// There is no room, and nothing old enough to make some.
    Full,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edits<E> {
    /// What became of each, in the order in which they were given.
    pub each: Vec<Result<Edited, NotEdited<E>>>,
    /// How many old documents went to make room.
    pub let_go: u64,
}

#[derive(FromRow)]
struct StoredCollection {
    name: String,
    next_sequence: i64,
    documents: i64,
    bytes: i64,
    created_ns: i64,
}

#[derive(FromRow)]
struct StoredDocument {
    id: String,
    version: i64,
    sequence: i64,
    body: String,
    written_ns: i64,
}

impl From<StoredCollection> for Collection {
    fn from(row: StoredCollection) -> Self {
        Self {
            name: row.name,
            next_sequence: row.next_sequence as u64,
            documents: row.documents as u64,
            bytes: row.bytes as u64,
            created: Timestamp(row.created_ns),
        }
    }
}

impl From<StoredDocument> for CollectionDocument {
    fn from(row: StoredDocument) -> Self {
        Self {
            id: row.id,
            version: row.version as u64,
            sequence: row.sequence as u64,
            body: row.body,
            written: Timestamp(row.written_ns),
        }
    }
}

/// The bytes that a document counts for.
fn bytes(id: &str, body: &str) -> u64 {
    (id.len() + body.len()) as u64
}

impl Catalogue {
    /// All collections, by name.
    pub async fn collections(&self) -> Result<Vec<Collection>, Error> {
        let rows: Vec<StoredCollection> =
            sqlx::query_as("SELECT name, next_sequence, documents, bytes, created_ns FROM collections")
                .fetch_all(&self.readers)
                .await
                .map_err(self.failed("read collections"))?;
        let mut collections: Vec<Collection> = rows.into_iter().map(Collection::from).collect();
        // Databases sort texts by languages of their own.
        collections.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(collections)
    }

    /// A document of a collection.
    pub async fn collection_document(
        &self,
        collection: &str,
        id: &str,
    ) -> Result<Option<CollectionDocument>, Error> {
        let row: Option<StoredDocument> = sqlx::query_as(
            "SELECT id, version, sequence, body, written_ns FROM collection_documents WHERE collection = $1 AND id = $2",
        )
        .bind(collection)
        .bind(id)
        .fetch_optional(&self.readers)
        .await
        .map_err(self.failed("read a collection's document"))?;
        Ok(row.map(CollectionDocument::from))
    }

    /// A collection, and those of its documents whose last change has this number or a later one, in the order of these
    /// changes; all of one instant. `None`: there is no such collection.
    pub async fn collection_since(
        &self,
        name: &str,
        sequence: u64,
    ) -> Result<Option<(Collection, Vec<CollectionDocument>)>, Error> {
        let failed = self.failed("read a collection");
        let mut transaction = self.begin_read("read a collection").await?;
        let collection: Option<StoredCollection> = sqlx::query_as(
            "SELECT name, next_sequence, documents, bytes, created_ns FROM collections WHERE name = $1",
        )
        .bind(name)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(&failed)?;
        let Some(collection) = collection else { return Ok(None) };
        let rows: Vec<StoredDocument> = sqlx::query_as(
            "SELECT id, version, sequence, body, written_ns FROM collection_documents \
             WHERE collection = $1 AND sequence >= $2 ORDER BY sequence",
        )
        .bind(name)
        .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        Ok(Some((collection.into(), rows.into_iter().map(CollectionDocument::from).collect())))
    }

    /// Changes documents of a collection, one after another in one transaction: each decision sees what came of those before
    /// it. A collection that is not there is made by what is put into it.
    pub async fn edit_collection<E>(
        &self,
        name: &str,
        bounds: &Bounds,
        edits: Vec<(String, Decide<E>)>,
    ) -> Result<Edits<E>, Error> {
        let failed = self.failed("change a collection");
        let mut transaction = self.begin("change a collection").await?;
        // The row is this transaction's from here on: others who change the collection wait.
        let stored: StoredCollection = sqlx::query_as(
            "INSERT INTO collections (name, next_sequence, documents, bytes, created_ns) VALUES ($1, 0, 0, 0, $2) \
             ON CONFLICT (name) DO UPDATE SET next_sequence = collections.next_sequence \
             RETURNING name, next_sequence, documents, bytes, created_ns",
        )
        .bind(name)
        .bind(self.clock.now().0)
        .fetch_one(&mut *transaction)
        .await
        .map_err(&failed)?;
        let mut collection = Collection::from(stored);
        let before = collection.clone();
        let mut all = Edits { each: Vec::with_capacity(edits.len()), let_go: 0 };
        for (id, decide) in edits {
            let edited = self.edit(&mut transaction, &mut collection, bounds, &id, decide, &mut all.let_go);
            all.each.push(edited.await?);
        }
        if collection == before {
            return Ok(all);
        }
        sqlx::query("UPDATE collections SET next_sequence = $2, documents = $3, bytes = $4 WHERE name = $1")
            .bind(name)
            .bind(collection.next_sequence as i64)
            .bind(collection.documents as i64)
            .bind(collection.bytes as i64)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(all)
    }

    /// One change.
    async fn edit<E>(
        &self,
        transaction: &mut Transaction,
        collection: &mut Collection,
        bounds: &Bounds,
        id: &str,
        decide: Decide<E>,
        let_go: &mut u64,
    ) -> Result<Result<Edited, NotEdited<E>>, Error> {
        let row: Option<StoredDocument> = sqlx::query_as(
            "SELECT id, version, sequence, body, written_ns FROM collection_documents WHERE collection = $1 AND id = $2",
        )
        .bind(&collection.name)
        .bind(id)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(self.failed("read a collection's document"))?;
        let before = row.map(CollectionDocument::from);
        let change = match decide(before.as_ref()) {
            Ok(change) => change,
            Err(refused) => return Ok(Err(NotEdited::Refused(refused))),
        };
        let (version, sequence) = before.as_ref().map_or((0, 0), |before| (before.version, before.sequence));
        let old = before.as_ref().map_or(0, |before| bytes(id, &before.body));
        let became = match (change, before.is_some()) {
            (Change::Keep, true) => {
                return Ok(Ok(Edited { became: Became::Kept, version, sequence }));
            }
            (Change::Keep | Change::Delete, false) => {
                return Ok(Ok(Edited { became: Became::Absent, version: version + 1, sequence }));
            }
            (Change::Delete, true) => {
                self.remove_document(transaction, &collection.name, id).await?;
                collection.documents -= 1;
                collection.bytes -= old;
                Became::Deleted
            }
            (Change::Put(body), is_there) => {
                let new = bytes(id, &body);
                collection.documents += u64::from(!is_there);
                collection.bytes = collection.bytes - old + new;
                let made = self.make_room_in(transaction, collection, bounds, id).await?;
                *let_go += made;
                if collection.documents > bounds.documents || collection.bytes > bounds.bytes {
                    collection.documents -= u64::from(!is_there);
                    collection.bytes = collection.bytes + old - new;
                    return Ok(Err(NotEdited::Full));
                }
                let written = (version + 1, collection.next_sequence, new);
                self.put(transaction, &collection.name, id, &body, written).await?;
                if is_there { Became::Updated } else { Became::Created }
            }
        };
        let sequence = collection.next_sequence;
        collection.next_sequence += 1;
        Ok(Ok(Edited { became, version: version + 1, sequence }))
    }

    async fn put(
        &self,
        transaction: &mut Transaction,
        collection: &str,
        id: &str,
        body: &str,
        (version, sequence, bytes): (u64, u64, u64),
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO collection_documents (collection, id, version, sequence, body, bytes, written_ns) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (collection, id) DO UPDATE SET version = excluded.version, \
             sequence = excluded.sequence, body = excluded.body, bytes = excluded.bytes, written_ns = excluded.written_ns",
        )
        .bind(collection)
        .bind(id)
        .bind(version as i64)
        .bind(sequence as i64)
        .bind(body)
        .bind(bytes as i64)
        .bind(self.clock.now().0)
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("write a collection's document"))?;
        Ok(())
    }

    async fn remove_document(
        &self,
        transaction: &mut Transaction,
        collection: &str,
        id: &str,
    ) -> Result<(), Error> {
        sqlx::query("DELETE FROM collection_documents WHERE collection = $1 AND id = $2")
            .bind(collection)
            .bind(id)
            .execute(&mut **transaction)
            .await
            .map_err(self.failed("delete a collection's document"))?;
        Ok(())
    }

    /// Lets old documents go, but for `id`, where the bounds say so, until what the collection says it holds is within them, or none
    /// is left that is old enough. Returns how many went.
    async fn make_room_in(
        &self,
        transaction: &mut Transaction,
        collection: &mut Collection,
        bounds: &Bounds,
        id: &str,
    ) -> Result<u64, Error> {
        let mut gone = 0;
        let Some(age) = bounds.room_after else { return Ok(gone) };
        // Some more than are in the way, so that not each write has to look for one.
        let some = (bounds.documents / 64).max(1) as i64;
        while collection.documents > bounds.documents || collection.bytes > bounds.bytes {
            let sizes: Vec<i64> = sqlx::query_scalar(
                "DELETE FROM collection_documents WHERE collection = $1 AND id IN (SELECT id FROM collection_documents \
                 WHERE collection = $1 AND id <> $2 AND written_ns < $3 ORDER BY sequence LIMIT $4) RETURNING bytes",
            )
            .bind(&collection.name)
            .bind(id)
            .bind(self.clock.now().minus(age).0)
            .bind(some)
            .fetch_all(&mut **transaction)
            .await
            .map_err(self.failed("make room in a collection"))?;
            if sizes.is_empty() {
                break;
            }
            collection.documents -= sizes.len() as u64;
            collection.bytes -= sizes.iter().sum::<i64>() as u64;
            gone += sizes.len() as u64;
        }
        Ok(gone)
    }

    /// Deletes a collection with all that is in it. `false`: there was none.
    pub async fn delete_collection(&self, name: &str) -> Result<bool, Error> {
        let failed = self.failed("delete a collection");
        let mut transaction = self.begin("delete a collection").await?;
        // Its row first: whoever changes it has that.
        let deleted = sqlx::query("DELETE FROM collections WHERE name = $1")
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        sqlx::query("DELETE FROM collection_documents WHERE collection = $1")
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(deleted.rows_affected() == 1)
    }
}
