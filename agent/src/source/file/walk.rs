//! The walk over the globs: what is new, what was renamed, what is gone. What it finds is the truth.

use super::{
    Ended, FORGET_AFTER, FileIdentity, Fingerprint, OPEN_FILES, PARK_AFTER, Reader,
    content::{Content, is_packed},
    discover::Found,
    generation::Generation,
    packed::Verdict,
};
use crate::{
    budget::Stopped,
    checkpoint::{Entry, FilePlace, Place},
    metrics::SourceName,
    source::Reading,
};
use millrace_model::SourceId;
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Instant,
};

/// The files of folders that were searched for a missing one, each folder read once a walk.
type Searched = HashMap<PathBuf, io::Result<HashMap<FileIdentity, PathBuf>>>;

impl Reader {
    pub(super) fn walk(&mut self) -> Result<(), Stopped> {
        let began = Instant::now();
        self.walks += 1;
        self.walk_asked = false;
        let findings = self.globs.discover();
        self.hints.watch(&findings.folders);
        for (path, error) in &findings.failures {
            self.report_path(path, error);
        }
        if self.walks == 1 {
            self.forgive_devices(&findings.files)?;
        }
        let mut new = Vec::new();
        for found in findings.files {
            if let Some(source) = self.by_identity.get(&found.identity).copied() {
                self.sighted(source, &found)?;
            } else if let Some((entry, content)) = self.begin(&found)? {
                new.push((found.identity, entry, content));
            }
        }
        self.mint(new)?;
        self.look_for_the_others()?;
        self.forget_ended()?;
        self.tell_lag();
        self.last_walk = Instant::now();
        self.walk_took = began.elapsed();
        Ok(())
    }

    fn tell_lag(&mut self) {
        let unread: u64 = self.generations.values().map(Generation::unread_bytes).sum();
        let since = if unread == 0 { None } else { Some(*self.behind.get_or_insert_with(Instant::now)) };
        self.behind = since;
        let shared = &self.context.shared;
        let source = SourceName { source: shared.name.to_string() };
        shared.metrics.lag_bytes.get_or_create(&source).set(unread as i64);
        let seconds = since.map_or(0, |since| since.elapsed().as_secs());
        shared.metrics.lag_seconds.get_or_create(&source).set(seconds as i64);
    }

    /// Device numbers may change while the machine is down: a file that is the same in all else, at the same path, is
    /// the same. Its head and marker are looked at before it is read.
    fn forgive_devices(&mut self, files: &[Found]) -> Result<(), Stopped> {
        let present: HashSet<FileIdentity> = files.iter().map(|found| found.identity).collect();
        for found in files {
            let Some(source) = self.by_path.get(&found.path).copied() else { continue };
            let Some(generation) = self.generations.get_mut(&source) else { continue };
            let (old, new) = (generation.identity, found.identity);
            let same = old.regardless_of_device().is_some_and(|key| new.regardless_of_device() == Some(key));
            if same && old != new && !present.contains(&old) && !self.by_identity.contains_key(&new) {
                generation.identity = new;
                let at = generation.at.clone();
                self.by_identity.remove(&old);
                self.by_identity.insert(new, source);
                let packed = generation.packed;
                self.context.shared.tell(Reading::Moved(source, at, new, packed))?;
            }
        }
        Ok(())
    }

    /// A file that is being read was seen.
    fn sighted(&mut self, source: SourceId, found: &Found) -> Result<(), Stopped> {
        let walk = self.walks;
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(()) };
        generation.walk = walk;
        generation.missing = None;
        generation.seen = found.size;
        // Of several names of one file the one that it is known by counts, as long as it is there.
        if found.path != generation.at && !is_at(&generation.at, found.identity) {
            self.moved(source, found.path.clone())?;
        }
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(()) };
        if generation.at == generation.path {
            generation.leaving = None;
        } else {
            self.leaves_its_path(source);
        }
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(()) };
        if generation.differs_from(found.size) || generation.is_rewritten(found.modified) {
            self.enqueue(source);
        }
        Ok(())
    }

    pub(super) fn moved(&mut self, source: SourceId, to: PathBuf) -> Result<(), Stopped> {
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(()) };
        let from = std::mem::replace(&mut generation.at, to.clone());
        let (identity, packed) = (generation.identity, generation.packed);
        if self.by_path.get(&from) == Some(&source) {
            self.by_path.remove(&from);
        }
        self.by_path.insert(to.clone(), source);
        self.context.shared.tell(Reading::Moved(source, to, identity, packed))
    }

    /// A file that is not being read was seen. `None`: it has ended and not grown since, or cannot be opened.
    fn begin(&mut self, found: &Found) -> Result<Option<(Entry, Content)>, Stopped> {
        if let Some(ended) = self.ended.get_mut(&found.identity) {
            ended.walk = self.walks;
            ended.place.at.clone_from(&found.path);
            if found.size == ended.place.lies_as() {
                return Ok(None);
            }
        }
        let opened = File::open(&found.path).and_then(|file| Ok((FileIdentity::of(&file.metadata()?), file)));
        let file = match opened {
            Ok((identity, file)) if identity == found.identity => file,
            Ok(_) => return Ok(None),
            Err(error) => {
                self.report_path(&found.path, &error);
                return Ok(None);
            }
        };
        if self.troubles.remove(&found.path).is_some() {
            tracing::info!(path = %found.path.display(), "the file can be read now");
        }
        let packed = match is_packed(&found.path, &file) {
            Ok(Some(packed)) => packed,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.report_path(&found.path, &error);
                return Ok(None);
            }
        };
        let known = self.ended.contains_key(&found.identity);
        let mut entry = if packed && !known {
            match self.judge_packed(found, &file)? {
                Verdict::Nothing => return Ok(None),
                Verdict::Begin(entry) => *entry,
            }
        } else {
            self.new_entry(found, packed)
        };
        if let Some(Ended { source, place, .. }) = self.ended.remove(&found.identity) {
            self.context.shared.tell(Reading::Forgotten(vec![source]))?;
            entry.continues = Some(source);
            if found.size < place.lies_as() {
                entry.because = Some("truncated".to_owned());
            } else {
                entry.because = Some("reopened".to_owned());
                (entry.start, entry.position) = (place.size, place.size);
                let packed = place.packed.map(|_| found.size);
                entry.place = Place::File(FilePlace { at: found.path.clone(), packed, ..place });
            }
        } else if let Some(source) = self.truncated.remove(&found.identity) {
            entry.continues = Some(source);
            entry.because = Some("truncated".to_owned());
        }
        Ok(Some((entry, Content::new(file, packed))))
    }

    pub(super) fn new_entry(&self, found: &Found, packed: bool) -> Entry {
        let place = FilePlace {
            path: found.path.clone(),
            at: found.path.clone(),
            identity: found.identity,
            head: Fingerprint::default(),
            marker: Fingerprint::default(),
            size: 0,
            packed: packed.then_some(found.size),
        };
        Entry::new(self.context.shared.name.to_string(), Place::File(place), 0)
    }

    /// All new files become sources at once, so that they are made durable in one write.
    fn mint(&mut self, new: Vec<(FileIdentity, Entry, Content)>) -> Result<(), Stopped> {
        let mut opened = Vec::new();
        let mut generations = Vec::new();
        let mut seen = HashSet::new();
        for (identity, mut entry, mut content) in new {
            let Place::File(place) = &mut entry.place else { continue };
            if !seen.insert(identity) {
                continue;
            }
            if entry.start == 0 {
                place.head = content.head();
            }
            let place = place.clone();
            let source = SourceId::random();
            let mut generation = Generation::new(source, &entry, &place, true, &self.context);
            generation.walk = self.walks;
            if self.open_files + generations.len() < OPEN_FILES {
                generation.hold(content);
            }
            generations.push(generation);
            opened.push((source, entry));
        }
        self.open_all(opened)?;
        for generation in generations {
            self.add(generation);
        }
        Ok(())
    }

    /// What was not seen: rotated away, deleted, or missing. And what has been quiet for long is parked.
    fn look_for_the_others(&mut self) -> Result<(), Stopped> {
        let mut searched = Searched::new();
        let sources: Vec<SourceId> = self.generations.keys().copied().collect();
        for source in sources {
            let Some(generation) = self.generations.get_mut(&source) else { continue };
            let seen = generation.walk == self.walks;
            if !seen {
                match generation.whereabouts() {
                    Some(whereabouts) => self.unsighted_open(source, whereabouts)?,
                    None => self.unsighted(source, &mut searched)?,
                }
            }
            let Some(generation) = self.generations.get_mut(&source) else { continue };
            let (reason, left) =
                generation.leaving.as_ref().map_or(("rotated", 0), |leaving| (leaving.reason, leaving.walk));
            // What follows it, and a compressed copy of it, are waited for.
            let needed = self.heirs.contains_key(&source)
                || (reason == "deleted" && (left == self.walks || !self.recognising.is_empty()));
            if generation.is_quiet(self.context.settings.rotate_wait) && !needed {
                self.close(source, reason, reason != "deleted")?;
            } else if seen
                && generation.is_open()
                && generation.leaving.is_none()
                && (generation.active.elapsed() > PARK_AFTER || self.open_files > OPEN_FILES)
            {
                generation.park();
                self.open_files -= 1;
            }
        }
        Ok(())
    }

    /// An open file that no glob names any longer.
    fn unsighted_open(
        &mut self,
        source: SourceId,
        whereabouts: io::Result<(Option<PathBuf>, u64)>,
    ) -> Result<(), Stopped> {
        let (path, size) = match whereabouts {
            Ok(found) => found,
            Err(error) => {
                self.report(source, &error);
                return Ok(());
            }
        };
        let walk = self.walks;
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(()) };
        let grown = generation.differs_from(size);
        generation.seen = size;
        match path {
            None => generation.leave("deleted", walk),
            Some(path) if path == generation.path => generation.leave("removed", walk),
            Some(path) => {
                self.leaves_its_path(source);
                let Some(generation) = self.generations.get(&source) else { return Ok(()) };
                if path != generation.at {
                    self.moved(source, path)?;
                }
            }
        }
        if grown {
            self.enqueue(source);
        }
        Ok(())
    }

    /// A file that is not open, and that no glob names any longer: looked for under other names in its folder.
    fn unsighted(&mut self, source: SourceId, searched: &mut Searched) -> Result<(), Stopped> {
        let wait = self.context.settings.rotate_wait;
        let walk = self.walks;
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(()) };
        let Some(folder) = generation.at.parent().map(Path::to_owned) else { return Ok(()) };
        match searched.entry(folder.clone()).or_insert_with(|| search(&folder)) {
            Err(error) => {
                let error = io::Error::from(error.kind());
                self.report(source, &error);
            }
            Ok(files) => match files.get(&generation.identity).cloned() {
                Some(path) => {
                    generation.missing = None;
                    if path == generation.path {
                        generation.leave("removed", walk);
                    } else {
                        self.leaves_its_path(source);
                    }
                    let Some(generation) = self.generations.get(&source) else { return Ok(()) };
                    if path != generation.at {
                        self.moved(source, path)?;
                    }
                    self.enqueue(source);
                }
                // Another file system lies there now: the file's own is not mounted.
                None if is_elsewhere(&folder, generation.identity.device) => {
                    self.report(source, &io::Error::other("its file system is not mounted"));
                }
                // It may turn out to be what a compressed file holds.
                None if !self.recognising.is_empty() => {}
                None => {
                    if generation.missing.get_or_insert_with(Instant::now).elapsed() >= wait {
                        self.close(source, "deleted", false)?;
                    }
                }
            },
        }
        Ok(())
    }

    /// Ended sources are remembered as long as their files lie where they were last seen.
    fn forget_ended(&mut self) -> Result<(), Stopped> {
        let mut gone = Vec::new();
        let mut grown = Vec::new();
        for (identity, ended) in &mut self.ended {
            if ended.walk == self.walks {
                ended.missing = None;
                continue;
            }
            match fs::metadata(&ended.place.at) {
                Ok(metadata) if FileIdentity::of(&metadata) == *identity => {
                    ended.missing = None;
                    if metadata.len() > ended.place.lies_as() {
                        grown.push(Found::new(ended.place.at.clone(), &metadata));
                    }
                }
                _ if ended.missing.get_or_insert_with(Instant::now).elapsed() < FORGET_AFTER => {}
                _ => gone.push(*identity),
            }
        }
        let forgotten: Vec<SourceId> = gone
            .iter()
            .filter_map(|identity| self.ended.remove(identity))
            .map(|ended| ended.source)
            .collect();
        if !forgotten.is_empty() {
            self.context.shared.tell(Reading::Forgotten(forgotten))?;
        }
        // Written to after it had ended: no glob names it, but it was ours.
        let mut new = Vec::new();
        for found in grown {
            if let Some((entry, content)) = self.begin(&found)? {
                new.push((found.identity, entry, content));
            }
        }
        self.mint(new)
    }
}

/// All files of a folder; none if there is no such folder.
fn search(folder: &Path) -> io::Result<HashMap<FileIdentity, PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        entries => entries?,
    };
    let mut files = HashMap::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.insert(FileIdentity::of(&metadata), entry.path());
        }
    }
    Ok(files)
}

fn is_at(path: &Path, identity: FileIdentity) -> bool {
    fs::metadata(path).is_ok_and(|metadata| FileIdentity::of(&metadata) == identity)
}

/// Does the folder lie on another device?
fn is_elsewhere(folder: &Path, device: u64) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| metadata.dev() != device)
}
