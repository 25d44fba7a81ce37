//! What operations do to documents that clients change, and what clients are told of it.

use super::{MAX_DOCUMENT, write::new_id};
use millrace_catalogue::{Became, Change, CollectionDocument, Decide, Edited};
use millrace_elastic::{
    Error,
    fields::{Mapping, record_of},
    request::{Action, Applied, Condition, Operation},
    response,
};
use serde_json::Value as Json;

/// What became of a document, as clients are told.
pub(crate) fn shown(edited: Edited, index: &str, id: &str) -> Json {
    let result = match edited.became {
        Became::Created => "created",
        Became::Updated => "updated",
        Became::Deleted => "deleted",
        Became::Kept => "noop",
        Became::Absent => "not_found",
    };
    response::written(index, id, result, edited.version, edited.sequence)
}

/// What an operation will do: the id of its document, and how that changes.
///
/// # Errors
/// What it says cannot be carried out, whatever is there.
pub(crate) fn decide(operation: &Operation<'_>, mapping: &Mapping) -> Result<(String, Decide<Error>), Error> {
    let id = match &operation.id {
        Some(id) if id.is_empty() || id.len() > 512 || id.contains('\0') => {
            return Err(Error::argument("an id is a text of 1 to 512 bytes, none of them zero"));
        }
        Some(id) => id.clone(),
        None => new_id(),
    };
    let (condition, named) = (operation.condition, id.clone());
    let decide: Decide<Error> = match operation.action {
        Action::Index | Action::Create => {
            let text = checked(mapping, operation.source.unwrap_or_default(), &operation.document()?)?;
            let create = operation.action == Action::Create;
            Box::new(move |before| match before {
                Some(before) if create => Err(Error::conflict(format!(
                    "[{named}]: version conflict, document already exists (current version [{}])",
                    before.version
                ))),
                before => check(condition, &named, before).map(|()| Change::Put(text)),
            })
        }
        Action::Update => {
            let (update, mapping) = (operation.update()?, mapping.clone());
            Box::new(move |before| {
                check(condition, &named, before)?;
                let old: Option<Json> =
                    before.map(|before| serde_json::from_str(&before.body)).transpose().map_err(|error| {
                        Error::internal(format!("[{named}]: what is stored is no document: {error}"))
                    })?;
                match update.applied(old.as_ref())? {
                    Applied::Missing => Err(Error::missing_document(&named)),
                    Applied::Same => Ok(Change::Keep),
                    Applied::Document(new) => Ok(Change::Put(checked(&mapping, &new.to_string(), &new)?)),
                }
            })
        }
        Action::Delete => Box::new(move |before| check(condition, &named, before).map(|()| Change::Delete)),
    };
    Ok((id, decide))
}

/// The text of a document that its index takes.
fn checked(mapping: &Mapping, text: &str, document: &Json) -> Result<String, Error> {
    if text.len() > MAX_DOCUMENT {
        return Err(Error::argument(format!(
            "a document of [{}] bytes is larger than documents that can be changed may be: [{MAX_DOCUMENT}] bytes",
            text.len()
        )));
    }
    record_of(mapping, text, document)?;
    Ok(text.to_owned())
}

fn check(condition: Condition, id: &str, before: Option<&CollectionDocument>) -> Result<(), Error> {
    let Some(wanted) = condition.sequence else { return Ok(()) };
    match before {
        Some(before) if before.sequence == wanted => Ok(()),
        Some(before) => Err(Error::conflict(format!(
            "[{id}]: version conflict, required seqNo [{wanted}], primary term [1]. current document has seqNo [{}] and primary term [1]",
            before.sequence
        ))),
        None => Err(Error::conflict(format!(
            "[{id}]: version conflict, required seqNo [{wanted}], primary term [1]. but no document was found"
        ))),
    }
}
