//! The rules for the fields of one stream's records in one time bucket: what is declared of them, and how many names of
//! fields get columns. Shared by all hot shards of that stream and bucket, so that what one has seen the others know.
//!
//! A record that brings more names than there is room for is kept whole: all of it is there and found as ever, but it has
//! no columns of its own, and costs a search more.

#[cfg(test)]
mod tests;

use crate::shape::{Place, Shape};
use hashbrown::HashSet;
use millrace_model::{Declarations, ShardFields};
use std::{
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError},
};

/// See the module. Cloning shares it.
#[derive(Debug, Clone)]
pub struct FieldRules {
    declared: Arc<Declarations>,
    most: usize,
    /// Hashes of names: that two of them meet now and then does no harm.
    names: Arc<Mutex<HashSet<u64>>>,
}

/// Nothing is declared, and any number of fields may come.
impl Default for FieldRules {
    fn default() -> Self {
        Self::new(Arc::default(), usize::MAX)
    }
}

impl FieldRules {
    /// These declarations, and columns for at most so many names of fields.
    pub fn new(declared: Arc<Declarations>, most: usize) -> Self {
        Self { declared, most, names: Arc::default() }
    }

    pub(crate) fn declared(&self) -> &Declarations {
        &self.declared
    }

    /// What is said of the fields of a shard without rows.
    pub(crate) fn fields(&self) -> ShardFields {
        let declared = Some(&*self.declared).filter(|declared| !declared.is_empty());
        ShardFields { declared: declared.into_iter().cloned().collect(), ..ShardFields::default() }
    }

    /// Is there room for all of a shape's fields? Then they have it from here on.
    pub(crate) fn admit(&self, shape: &Shape) -> bool {
        if self.most == usize::MAX {
            return true;
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::new();
        shape.attributes.each(&mut |path, place| {
            if !matches!(place, Place::Map(_)) {
                let name = names.hasher().hash_one(path);
                if !names.contains(&name) {
                    new.push(name);
                }
            }
        });
        // A record that brings nothing new is welcome whatever came before.
        if !new.is_empty() && names.len() + new.len() > self.most {
            return false;
        }
        names.extend(new);
        true
    }
}
