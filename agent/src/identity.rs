//! Who this agent is: its id (minted once, kept in the state folder), the instance (machine and folder: a copied folder
//! is another instance), the epoch (raised durably at each start) and the boot. Holds the folder's lock.

use crate::{
    Error,
    checkpoint::Checkpoint,
    durable::{Durable, Loaded},
    source::file::FileIdentity,
};
use millrace_model::{AgentId, BootId, InstanceId, SourceId, wire::Sender};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
    sync::Arc,
};

const MACHINE_ID: &str = "/etc/machine-id";

/// What is kept in `agent.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    agent: AgentId,
    epoch: u64,
}

/// The state folder of a running agent. While it lives, no other agent can open the folder.
#[derive(Debug)]
pub(crate) struct StateFolder {
    pub(crate) sender: Sender,
    /// What was known of the sources when the agent last stopped, already under this instance.
    pub(crate) checkpoint: Checkpoint,
    pub(crate) store: Durable,
    /// Whoever may still write into the folder holds it.
    pub(crate) lock: Arc<File>,
}

impl StateFolder {
    /// Opens (or makes) the folder, locks it, and raises the epoch. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(|source| Error::file(path, "make", source))?;
        let lock = lock(path)?;
        let (ids, store) = (Durable::new(path, "agent.json"), Durable::new(path, "checkpoint.json"));
        let known = match ids.load::<Known>()? {
            Loaded::Latest(known) | Loaded::Previous(known) => Some(known),
            Loaded::Nothing | Loaded::Damaged => None,
        };
        let checkpoint = match store.load::<Checkpoint>()? {
            Loaded::Latest(checkpoint) => Some(checkpoint),
            Loaded::Previous(checkpoint) => {
                tracing::error!("the checkpoint before the last is used: some lines will be sent again");
                Some(checkpoint)
            }
            Loaded::Damaged => {
                tracing::error!(
                    "no checkpoint is whole: every file is read from its beginning, as new sources"
                );
                None
            }
            Loaded::Nothing => None,
        };

        if known.is_none() && checkpoint.is_some() {
            let path = path.join("agent.json");
            tracing::warn!(path = %path.display(), "it is missing; the checkpoint says who this agent is");
        }
        // Either document alone is enough to go on under the same name.
        let agent = known.as_ref().map(|k| k.agent).or_else(|| checkpoint.as_ref().map(|c| c.agent));
        let agent = agent.unwrap_or_else(AgentId::random);
        let last_epoch = known.map_or(0, |k| k.epoch).max(checkpoint.as_ref().map_or(0, |c| c.epoch));
        let instance = instance(path)?;
        let sender = Sender { agent, instance, epoch: last_epoch + 1, boot: BootId::random() };

        let mut checkpoint = checkpoint.unwrap_or_else(|| Checkpoint::new(agent, instance));
        checkpoint.epoch = sender.epoch;
        if checkpoint.instance != instance {
            tracing::warn!(
                "the state folder was copied or moved: its sources go on as new ones from where they were"
            );
            checkpoint.adopt(instance);
        }
        ids.store(&Known { agent, epoch: sender.epoch })?;
        store.store(&checkpoint)?;
        Ok(Self { sender, checkpoint, store, lock: Arc::new(lock) })
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let name = path.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|source| Error::file(&name, "open", source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(Error::file(&name, "lock", source)),
    }
}

/// The machine and the folder itself. Device numbers change between boots, so they count only where the file system
/// does not say when the folder was made.
fn instance(path: &Path) -> Result<InstanceId, Error> {
    let machine = match fs::read(MACHINE_ID) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|source| Error::file(Path::new(MACHINE_ID), "read", source))?,
    };
    let folder = fs::metadata(path).map_err(|source| Error::file(path, "look at", source))?;
    let FileIdentity { device, inode, born } = FileIdentity::of(&folder);
    let place = born.unwrap_or(device as i64);
    let parts: [&[u8]; 3] = [machine.trim_ascii(), &inode.to_le_bytes(), &place.to_le_bytes()];
    Ok(InstanceId(SourceId::derived(&parts).0))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::checkpoint::{Entry, JournalPlace, Place};

    fn entry(position: u64) -> Entry {
        Entry::new(
            "j".to_owned(),
            Place::Journal(JournalPlace { sequence: "00".to_owned(), journal: "j".to_owned() }),
            position,
        )
    }

    #[test]
    fn the_id_stays_and_the_epoch_rises() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateFolder::open(folder.path()).unwrap().sender;
        let second = StateFolder::open(folder.path()).unwrap().sender;
        assert_eq!((first.agent, first.instance), (second.agent, second.instance));
        assert_eq!((first.epoch, second.epoch), (1, 2));
        assert_ne!(first.boot, second.boot);

        // Either file may be lost.
        fs::remove_file(folder.path().join("checkpoint.json")).unwrap();
        fs::remove_file(folder.path().join("checkpoint.json.1")).unwrap();
        assert_eq!(StateFolder::open(folder.path()).unwrap().sender.epoch, 3);
        fs::remove_file(folder.path().join("agent.json")).unwrap();
        fs::remove_file(folder.path().join("agent.json.1")).unwrap();
        let fourth = StateFolder::open(folder.path()).unwrap().sender;
        assert_eq!((fourth.agent, fourth.epoch), (first.agent, 4));
    }

    #[test]
    fn two_agents_cannot_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateFolder::open(folder.path()).unwrap();
        assert!(matches!(StateFolder::open(folder.path()), Err(Error::InUse { .. })));
        drop(first);
        StateFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn a_copied_folder_goes_on_under_new_sources() {
        let parent = tempfile::tempdir().unwrap();
        let (one, two) = (parent.path().join("one"), parent.path().join("two"));
        let mut folder = StateFolder::open(&one).unwrap();
        let old = SourceId::random();
        folder.checkpoint.sources.insert(old, entry(77));
        folder.store.store(&folder.checkpoint).unwrap();
        let sender = folder.sender;
        drop(folder);
        fs::create_dir(&two).unwrap();
        for file in fs::read_dir(&one).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), two.join(file.file_name())).unwrap();
        }

        let copy = StateFolder::open(&two).unwrap();
        assert_eq!(copy.sender.agent, sender.agent);
        assert_ne!(copy.sender.instance, sender.instance);
        let (id, entry) = copy.checkpoint.sources.iter().next().unwrap();
        assert_ne!(*id, old);
        assert_eq!((entry.start, entry.position), (77, 77));
        assert_eq!((entry.continues, entry.because.as_deref()), (Some(old), Some("instance")));
        // The original is still itself, and so is the copy from now on.
        let original = StateFolder::open(&one).unwrap();
        assert!(original.checkpoint.sources.contains_key(&old));
        drop(copy);
        let again = StateFolder::open(&two).unwrap();
        assert!(again.checkpoint.sources.values().all(|entry| entry.continues == Some(old)));
    }
}
