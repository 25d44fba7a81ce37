//! The rules in use: the starter pack and what lies in the configured files and folders, through the configured pipelines,
//! read again when any of it changes. A change with a mistake in it changes nothing but the list of mistakes.

use super::history::PastState;
use crate::{Metrics, settings::AlertSettings};
use millrace_detect::{Dial, Pipelines, Rule, RuleError, RuleFile, RuleSet, starter};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
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
    read: RuleTexts,
    /// How it stands with what rules that remember are handed; `None`: nothing is watched here.
    pasts: Option<BTreeMap<&'static str, BTreeMap<String, PastState>>>,
}

/// What rules are made of: all that was read of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleTexts {
    files: Vec<RuleFile>,
    pipelines: Vec<RuleFile>,
    /// Files of lists that rules name, or why they cannot be read.
    lists: BTreeMap<String, Result<String, String>>,
    errors: Vec<RuleError>,
}

impl RuleTexts {
    /// What lies in these files and folders, by name, and the starter pack in front; and these processing pipelines. Blocks on files.
    pub fn read(paths: &[PathBuf], pipelines: &[PathBuf], with_starter: bool) -> Self {
        let mut texts = Self { files: if with_starter { starter() } else { Vec::new() }, ..Self::default() };
        for path in paths {
            read_path(path, 0, &mut texts.files, &mut texts.errors);
        }
        for path in pipelines {
            read_path(path, 0, &mut texts.pipelines, &mut texts.errors);
        }
        texts
    }

    /// The rules, and all that is wrong with them. Blocks on the files of lists.
    pub fn load(&mut self) -> (RuleSet, Vec<RuleError>) {
        let mut errors = self.errors.clone();
        let (pipelines, wrong) = Pipelines::read(&self.pipelines);
        errors.extend(wrong);
        let lists = &mut self.lists;
        let mut read = |name: &str| lists.entry(name.to_owned()).or_insert_with(|| read_list(name)).clone();
        let (rules, wrong) = RuleSet::load_with(self.files.clone(), &pipelines, &mut read);
        errors.extend(wrong);
        (rules, errors)
    }

    /// One rule and those that it refers to, by its id.
    fn one(&self, id: &str) -> Option<RuleSet> {
        let (pipelines, _) = Pipelines::read(&self.pipelines);
        let mut read = |name: &str| match self.lists.get(name) {
            Some(list) => list.clone(),
            None => Err("it has not been read".to_owned()),
        };
        RuleSet::load_one(self.files.clone(), &pipelines, &mut read, id)
    }

    /// Does a file of a list say something else by now?
    fn lists_changed(&self) -> bool {
        self.lists.iter().any(|(name, text)| read_list(name) != *text)
    }
}

fn read_list(name: &str) -> Result<String, String> {
    std::fs::read_to_string(name).map_err(|error| error.to_string())
}

impl RuleBook {
    /// Reads the rules. Blocks on files. What is wrong is kept and said; the rest is in use.
    pub fn open(settings: &AlertSettings, metrics: Metrics) -> Self {
        let mut read = RuleTexts::read(&settings.rules, &settings.pipelines, settings.starter);
        let (rules, errors) = read.load();
        let book = Self {
            paths: settings.rules.clone(),
            pipelines: settings.pipelines.clone(),
            starter: settings.starter,
            metrics,
            state: Mutex::new(State { rules: Arc::new(rules), errors, read, pasts: None }),
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

    /// Is nothing wrong with any rule? Else rules may be gone that are only broken.
    pub fn is_whole(&self) -> bool {
        self.lock().errors.is_empty()
    }

    /// Reads the files again: the new rules, if they changed and are all good. Blocks on files.
    pub fn reload(&self) -> Option<Arc<RuleSet>> {
        let mut read = RuleTexts::read(&self.paths, &self.pipelines, self.starter);
        let mut state = self.lock();
        let same = read.files == state.read.files
            && read.pipelines == state.read.pipelines
            && read.errors == state.read.errors;
        if same && !state.read.lists_changed() {
            return None;
        }
        let (rules, errors) = read.load();
        state.read = read;
        state.errors = errors;
        if state.errors.is_empty() {
            for gone in state.rules.rules().iter().filter(|rule| rules.get(&rule.id).is_none()) {
                self.metrics.forget_rule(gone);
            }
            state.rules = Arc::new(rules);
            // How it stands with these is not known yet.
            state.pasts = state.pasts.take().map(|_| BTreeMap::new());
            self.say(&state);
            return Some(Arc::clone(&state.rules));
        }
        self.say(&state);
        tracing::warn!("the changed rules are not taken; those before stay in use");
        None
    }

    /// One rule and those that it refers to, without the others. CPU only.
    pub fn one(&self, id: &str) -> Option<RuleSet> {
        let texts = self.lock().read.clone();
        texts.one(id)
    }

    /// How it stands with what rules that remember are handed, on this node, by one of those who hand it over.
    pub fn set_pasts(&self, who: &'static str, pasts: BTreeMap<String, PastState>) {
        self.lock().pasts.get_or_insert_default().insert(who, pasts);
    }

    /// The line of its file on which a number of a rule stands, or the mapping that it stands in.
    pub fn line_of(&self, rule: &Rule, dial: &Dial) -> usize {
        let state = self.lock();
        let file = state.read.files.iter().find(|file| file.path == rule.file);
        file.map_or(rule.line, |file| rule.line_of(file, dial))
    }

    /// As JSON, for the API: each rule with what it did on this node since it started.
    pub fn describe(&self) -> Value {
        let state = self.lock();
        let described = state.rules.rules().iter().map(|rule| {
            let mut described = json!(rule);
            described["activity"] = json!(self.metrics.activity(rule));
            if let Some(pasts) = &state.pasts
                && rule.remembers()
            {
                described["past"] = json!(
                    pasts.values().find_map(|pasts| pasts.get(&rule.id)).unwrap_or(&PastState::Pending)
                );
            }
            described
        });
        json!({
            "rules": described.collect::<Vec<_>>(),
            "errors": state.errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
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
    fn a_changed_list_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("bad.txt");
        std::fs::write(&list, "mallory\n# nobody\n").unwrap();
        let rule = "title: l\nid: l\nkind: list\nquery: '*'\nlist: { field: user, deny_file: bad.txt }\n";
        std::fs::write(folder.path().join("a.yml"), rule).unwrap();
        let settings =
            AlertSettings { rules: vec![folder.path().into()], starter: false, ..AlertSettings::default() };
        let book = RuleBook::open(&settings, Metrics::default());
        let entries = || book.describe()["rules"][0]["entries"].clone();
        assert_eq!(entries(), 1);
        assert!(book.reload().is_none());
        std::fs::write(&list, "mallory\neve\n10.0.0.0/8\n").unwrap();
        assert!(book.reload().is_some());
        assert_eq!(entries(), 3);
        assert!(book.one("l").is_some() && book.one("m").is_none());
        std::fs::remove_file(&list).unwrap();
        assert!(book.reload().is_none(), "the last good one stays");
        assert!(book.describe()["errors"][0].as_str().unwrap().contains("bad.txt"));
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
