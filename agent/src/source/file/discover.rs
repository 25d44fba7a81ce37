//! Which files the globs name now. Walks only below each pattern's literal prefix, and only as deep as the pattern.

use super::FileIdentity;
use crate::Error;
use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use std::{
    collections::BTreeSet,
    fs::{self, FileType, Metadata},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Folders deeper than this below a pattern's prefix are not looked into.
const MAX_DEPTH: usize = 64;

/// The patterns of one source.
#[derive(Debug)]
pub(crate) struct Globs {
    include: Vec<Include>,
    exclude_paths: GlobSet,
    exclude_names: GlobSet,
}

#[derive(Debug)]
struct Include {
    /// The folder below which matches can lie (or the file itself, if the pattern is a plain path).
    base: PathBuf,
    /// What each level below must match; `None` where the pattern does not say level by level.
    levels: Option<Vec<GlobMatcher>>,
    whole: GlobMatcher,
}

/// A file that a pattern names.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) identity: FileIdentity,
    /// As it lies there.
    pub(crate) size: u64,
    /// When it was last written to, where that is known.
    pub(crate) modified: Option<SystemTime>,
}

/// All that a walk saw.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Sorted by path.
    pub(crate) files: Vec<Found>,
    /// Folders in which a match may appear.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// What could not be looked at.
    pub(crate) failures: Vec<(PathBuf, io::Error)>,
}

impl Globs {
    /// Patterns are paths; relative ones start at the working folder. An exclusion without a `/` is for names.
    pub(crate) fn new(name: &str, include: &[String], exclude: &[String]) -> Result<Self, Error> {
        let bad = |pattern: &str| {
            let (name, pattern) = (name.to_owned(), pattern.to_owned());
            move |source| Error::Glob { name, pattern, source }
        };
        let mut includes = Vec::new();
        for pattern in include {
            includes.push(Include::new(pattern).map_err(bad(pattern))?);
        }
        let (mut paths, mut names) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in exclude {
            if pattern.contains('/') {
                paths.add(glob(&absolute(pattern)).map_err(bad(pattern))?);
            } else {
                names.add(glob(pattern).map_err(bad(pattern))?);
            }
        }
        Ok(Self {
            include: includes,
            exclude_paths: paths.build().map_err(bad("exclude"))?,
            exclude_names: names.build().map_err(bad("exclude"))?,
        })
    }

    /// Would a file of this path be read?
    pub(crate) fn matches(&self, path: &Path) -> bool {
        self.include.iter().any(|include| include.whole.is_match(path)) && !self.excludes(path)
    }

    fn excludes(&self, path: &Path) -> bool {
        self.exclude_paths.is_match(path)
            || path.file_name().is_some_and(|name| self.exclude_names.is_match(name))
    }

    /// Walks. Blocks.
    pub(crate) fn discover(&self) -> Findings {
        let mut findings = Findings::default();
        for include in &self.include {
            if include.levels.as_ref().is_some_and(Vec::is_empty) {
                if let Some(folder) = include.base.parent() {
                    findings.folders.insert(folder.to_owned());
                }
                self.look_at(include.base.clone(), &mut findings);
            } else {
                self.walk(include, &include.base, 0, &mut findings);
            }
        }
        findings.files.sort_by(|a, b| a.path.cmp(&b.path));
        findings.files.dedup_by(|a, b| a.path == b.path);
        findings
    }

    fn walk(&self, include: &Include, folder: &Path, depth: usize, findings: &mut Findings) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    findings.failures.push((folder.to_owned(), error));
                }
                return;
            }
        };
        findings.folders.insert(folder.to_owned());
        for entry in entries {
            let entry = match entry.and_then(|entry| Ok((entry.file_type()?, entry))) {
                Ok(entry) => entry,
                Err(error) => {
                    findings.failures.push((folder.to_owned(), error));
                    continue;
                }
            };
            let (kind, entry) = entry;
            let path = entry.path();
            match include.wants(&path, kind, depth) {
                Wants::Nothing => {}
                Wants::File => self.look_at(path, findings),
                Wants::Folder => self.walk(include, &path, depth + 1, findings),
                Wants::Either => match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_dir() => {
                        if include.is_deeper_than(depth) {
                            self.walk(include, &path, depth + 1, findings);
                        }
                    }
                    _ => self.look_at(path, findings),
                },
            }
        }
    }

    fn look_at(&self, path: PathBuf, findings: &mut Findings) {
        if !self.matches(&path) {
            return;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => findings.files.push(Found::new(path, &metadata)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => findings.failures.push((path, error)),
        }
    }
}

impl Found {
    pub(super) fn new(path: PathBuf, metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok();
        Self { path, identity: FileIdentity::of(metadata), size: metadata.len(), modified }
    }
}

enum Wants {
    Nothing,
    File,
    Folder,
    /// A symbolic link: what it is depends on where it leads.
    Either,
}

impl Include {
    fn new(pattern: &str) -> Result<Self, globset::Error> {
        let pattern = absolute(pattern);
        let whole = glob(&pattern)?.compile_matcher();
        let mut base = PathBuf::from("/");
        let mut rest = pattern.split('/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = rest.next_if(|part| !part.contains(['*', '?', '[', '{', '\\'])) {
            base.push(part);
        }
        let rest: Vec<&str> = rest.collect();
        // `**` spans levels, and so may braces that hold a slash.
        let by_level =
            !rest.contains(&"**") && !rest.iter().any(|part| part.contains('{') != part.contains('}'));
        let levels = by_level.then(|| {
            rest.iter()
                .map(|part| Ok(glob(part)?.compile_matcher()))
                .collect::<Result<Vec<_>, globset::Error>>()
        });
        Ok(Self { base, levels: levels.transpose()?, whole })
    }

    /// May a match lie below a folder of this depth?
    fn is_deeper_than(&self, depth: usize) -> bool {
        self.levels.as_ref().map_or(depth < MAX_DEPTH, |levels| depth + 1 < levels.len())
    }

    fn wants(&self, path: &Path, kind: FileType, depth: usize) -> Wants {
        let name = path.file_name().unwrap_or_default();
        if let Some(levels) = &self.levels
            && !levels.get(depth).is_some_and(|level| level.is_match(name))
        {
            return Wants::Nothing;
        }
        if kind.is_dir() {
            return if self.is_deeper_than(depth) { Wants::Folder } else { Wants::Nothing };
        }
        if kind.is_symlink() {
            // Under `**` links to folders are not followed: they may lead round in circles.
            return if self.levels.is_some() { Wants::Either } else { Wants::File };
        }
        if kind.is_file() && self.levels.as_ref().is_none_or(|levels| depth + 1 == levels.len()) {
            Wants::File
        } else {
            Wants::Nothing
        }
    }
}

fn absolute(pattern: &str) -> String {
    match std::path::absolute(pattern) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => pattern.to_owned(),
    }
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn found(root: &Path, include: &[&str], exclude: &[&str]) -> Vec<String> {
        let include: Vec<String> =
            include.iter().map(|pattern| format!("{}/{pattern}", root.display())).collect();
        let exclude: Vec<String> = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
        let findings = Globs::new("test", &include, &exclude).unwrap().discover();
        let name = |found: &Found| found.path.strip_prefix(root).unwrap().display().to_string();
        findings.files.iter().map(name).collect()
    }

    #[test]
    fn patterns_find_files() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a.log", "a.log.gz", "b.txt", "x/c.log", "x/y/d.log", "x/y/z/e.log", "p/c.log", "{q}"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink(root.path(), root.path().join("x/loop")).unwrap();
        std::os::unix::fs::symlink(root.path().join("b.txt"), root.path().join("link.log")).unwrap();
        std::os::unix::fs::symlink("/nowhere", root.path().join("dangling.log")).unwrap();

        let root = root.path();
        assert_eq!(found(root, &["*.log"], &[]), ["a.log", "link.log"]);
        assert_eq!(found(root, &["a.*"], &["*.gz"]), ["a.log"]);
        assert_eq!(found(root, &["a.log", "a.*"], &[]), ["a.log", "a.log.gz"], "each once");
        assert_eq!(found(root, &["*/*.log"], &[]), ["p/c.log", "x/c.log"]);
        let all = ["a.log", "link.log", "p/c.log", "x/c.log", "x/y/d.log", "x/y/z/e.log"];
        assert_eq!(found(root, &["**/*.log"], &[]), all);
        assert_eq!(found(root, &["{x,p}/c.log"], &[]), ["p/c.log", "x/c.log"]);
        assert_eq!(found(root, &["{x/y,p}/*.log"], &[]), ["p/c.log", "x/y/d.log"]);
        assert_eq!(
            found(root, &["x/*/d.log"], &[&format!("{}/x/y/*", root.display())]),
            Vec::<String>::new()
        );
        assert_eq!(found(root, &["missing/*.log", "x"], &[]), Vec::<String>::new());
        assert!(Globs::new("test", &["/a[".to_owned()], &[]).is_err());
    }
}
