//! The rules in use: the starter pack and what lies in the configured files and folders, through the configured pipelines,
//! read again when any of it changes. A change with a mistake in it changes nothing but the list of mistakes.

use crate::{Metrics, settings::AlertSettings};
use millrace_detect::{Pipelines, RuleError, RuleFile, RuleSet, starter};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Folders nest no deeper than this.
const MAX_DEPTH: usize = 8;

/// The rules in use, and what is wrong with the others.
#[derive(Debug)]
pub struct RuleBook {
    paths: Vec<PathBuf>,
    pipelines: Vec<PathBuf>,
    starter: bool,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rules: Arc<RuleSet>,
    errors: Vec<RuleError>,
    /// What was read last, whether or not it was good.
    read: Files,
}

/// What rules are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    rules: Vec<RuleFile>,
    pipelines: Vec<RuleFile>,
}

impl Files {
    /// The rules in these files, and what is wrong with the others.
    fn load(&self) -> (RuleSet, Vec<RuleError>) {
        let (pipelines, mut errors) = Pipelines::read(&self.pipelines);
        let (rules, wrong) = RuleSet::load_through(self.rules.clone(), &pipelines);
        errors.extend(wrong);
        (rules, errors)
    }
}

impl RuleBook {
    /// Reads the rules. Blocks on files. What is wrong is kept and said; the rest is in use.
    pub fn open(settings: &AlertSettings, metrics: Metrics) -> Self {
        let (paths, pipelines) = (settings.rules.clone(), settings.pipelines.clone());
        let (files, mut errors) = read_all(&paths, &pipelines, settings.starter);
        let (rules, wrong) = files.load();
        errors.extend(wrong);
        let book = Self {
            paths,
            pipelines,
            starter: settings.starter,
            metrics,
            state: Mutex::new(State { rules: Arc::new(rules), errors, read: files }),
        };
        book.say(&book.lock());
        book
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, state: &State) {
        self.metrics.rules.set(state.rules.len() as i64);
        self.metrics.broken_rules.set(state.errors.len() as i64);
        for error in &state.errors {
            tracing::error!("{error}");
        }
        tracing::info!(rules = state.rules.len(), broken = state.errors.len(), "rules in use");
    }

    /// The rules in use.
    pub fn current(&self) -> Arc<RuleSet> {
        Arc::clone(&self.lock().rules)
    }

    /// Reads the files again: the new rules, if they changed and are all good. Blocks on files.
    pub fn reload(&self) -> Option<Arc<RuleSet>> {
        let (files, mut errors) = read_all(&self.paths, &self.pipelines, self.starter);
        let mut state = self.lock();
        if files == state.read {
            return None;
        }
        let (rules, wrong) = files.load();
        errors.extend(wrong);
        state.read = files;
        state.errors = errors;
        if state.errors.is_empty() {
            state.rules = Arc::new(rules);
            self.say(&state);
            return Some(Arc::clone(&state.rules));
        }
        self.say(&state);
        tracing::warn!("the changed rules are not taken; those before stay in use");
        None
    }

    /// As JSON, for the API.
    pub fn describe(&self) -> Value {
        let state = self.lock();
        json!({
            "rules": state.rules.rules(),
            "errors": state.errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

/// All files that rules are made of.
fn read_all(paths: &[PathBuf], pipelines: &[PathBuf], with_starter: bool) -> (Files, Vec<RuleError>) {
    let (rules, mut errors) = read_files(paths, with_starter);
    let (pipelines, wrong) = read_files(pipelines, false);
    errors.extend(wrong);
    (Files { rules, pipelines }, errors)
}

/// All rule files under `paths`, by name, and the starter pack in front.
pub fn read_files(paths: &[PathBuf], with_starter: bool) -> (Vec<RuleFile>, Vec<RuleError>) {
    let mut files = if with_starter { starter() } else { Vec::new() };
    let mut errors = Vec::new();
    for path in paths {
        read_path(path, 0, &mut files, &mut errors);
    }
    (files, errors)
}

fn read_path(path: &Path, depth: usize, files: &mut Vec<RuleFile>, errors: &mut Vec<RuleError>) {
    let name = path.display().to_string();
    let read = if path.is_dir() {
        std::fs::read_dir(path).and_then(|entries| {
            let mut inside = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
            inside.sort();
            for path in
                inside.into_iter().filter(|path| depth < MAX_DEPTH && (path.is_dir() || is_rule(path)))
            {
                read_path(&path, depth + 1, files, errors);
            }
            Ok(())
        })
    } else {
        std::fs::read_to_string(path).map(|text| files.push(RuleFile { path: name.clone(), text }))
    };
    if let Err(error) = read {
        errors.push(RuleError { file: name, line: None, title: None, message: error.to_string() });
    }
}

fn is_rule(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const RULE: &str = "title: Errors\nid: errors\nkind: threshold\nquery: 'level:error'\nthreshold:\n  count: 3\n  window: 1m\n";

    #[test]
    fn a_changed_file_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yml");
        std::fs::write(&file, RULE).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no rule").unwrap();
        let settings =
            AlertSettings { rules: vec![folder.path().into()], starter: false, ..AlertSettings::default() };
        let book = RuleBook::open(&settings, Metrics::default());
        assert_eq!(book.current().len(), 1);
        assert!(book.reload().is_none());

        std::fs::write(&file, RULE.replace("count: 3", "count: 4")).unwrap();
        assert_eq!(book.reload().unwrap().len(), 1);

        std::fs::write(&file, RULE.replace("query:", "qery:")).unwrap();
        assert!(book.reload().is_none());
        assert_eq!(book.current().len(), 1);
        assert!(!book.describe()["errors"].as_array().unwrap().is_empty());

        std::fs::write(&file, RULE).unwrap();
        assert!(book.reload().is_some());
        assert!(book.describe()["errors"].as_array().unwrap().is_empty());
    }

    #[test]
    fn rules_go_through_pipelines_and_those_are_read_again_too() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "r.yml",
            "title: r\nlogsource: {}\ndetection:\n  s: { user|expand: '%admins%' }\n  condition: s\n",
        );
        write("p.yaml", "name: p\nvars: { admins: ann }\ntransformations: [{ type: value_placeholders }]\n");
        let settings = AlertSettings {
            rules: vec![folder.path().join("r.yml")],
            pipelines: vec![folder.path().join("p.yaml")],
            starter: false,
            ..AlertSettings::default()
        };
        let book = RuleBook::open(&settings, Metrics::default());
        assert!(book.current().warnings().is_empty(), "{:?}", book.current().warnings());
        assert!(book.reload().is_none());

        write("p.yaml", "name: p\nvars: { others: bob }\ntransformations: [{ type: value_placeholders }]\n");
        let reloaded = book.reload().unwrap();
        assert_eq!(reloaded.warnings().len(), 1, "the placeholder has no values any more");

        write("p.yaml", "name: p\ntransformations: [{ typ: value_placeholders }]\n");
        assert!(book.reload().is_none());
        let errors = book.describe()["errors"].to_string();
        assert!(errors.contains("p.yaml:2") && errors.contains("did you mean"), "{errors}");
    }

    #[test]
    fn a_missing_path_is_an_error() {
        let settings = AlertSettings {
            rules: vec!["/does/not/exist.yml".into()],
            starter: false,
            ..AlertSettings::default()
        };
        let book = RuleBook::open(&settings, Metrics::default());
        assert!(book.describe()["errors"][0].as_str().unwrap().contains("/does/not/exist.yml"));
    }
}
