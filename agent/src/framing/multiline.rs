//! Which lines belong together: a record's first line is told by an expression, or stack traces by how each language writes them.
//!
//! A preset is a small state machine, as Fluent Bit's are: where a trace stands says which lines may come next. A log line that
//! a trace follows takes it in. Records of Linux's audit system belong together by the id of their event.

use regex::bytes::{Regex, RegexBuilder};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, LazyLock},
};

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// After a line that may be anything.
    Line,
    /// In a trace.
    Trace,
    /// After the line with which a trace ends.
    Ended,
    /// After what says that another trace follows.
    Chained,
    /// After the place in the source, which the source's line follows.
    Place,
    /// After the source's line, which a caret follows.
    Source,
    /// After the caret.
    Caret,
    /// In an event of the audit system: a hash of its id.
    Event(u64),
}

/// A line that matches moves a record from one of these states to another. Without a state before it begins a record.
struct Rule {
    from: &'static [State],
    line: Regex,
    to: State,
}

/// How lines are gathered into records.
#[derive(Debug, Clone)]
pub struct Multiline(Rules);

#[derive(Clone)]
enum Rules {
    /// A record begins where this matches.
    Start(Arc<Regex>),
    Preset(&'static str, &'static [Rule]),
    /// Lines that follow one another and are of one event.
    Audit,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start(start) => write!(f, "start {start}"),
            Self::Preset(name, _) => f.write_str(name),
            Self::Audit => f.write_str("audit"),
        }
    }
}

impl PartialEq for Multiline {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Rules::Start(ours), Rules::Start(theirs)) => ours.as_str() == theirs.as_str(),
            (Rules::Preset(ours, _), Rules::Preset(theirs, _)) => ours == theirs,
            (Rules::Audit, Rules::Audit) => true,
            _ => false,
        }
    }
}

impl Multiline {
    /// The presets' names.
    pub const PRESETS: [&'static str; 6] = ["java", "python", "go", "ruby", "node", "audit"];

    /// A record begins with each line that this matches.
    ///
    /// # Errors
    /// It is no regular expression, or too large.
    pub fn start(expression: &str) -> Result<Self, String> {
        let start = Regex::new(expression).map_err(|error| error.to_string())?;
        Ok(Self(Rules::Start(Arc::new(start))))
    }

    /// Stack traces of a language, or events of the audit system; `None` if it is not one of [`Self::PRESETS`].
    pub fn preset(name: &str) -> Option<Self> {
        let rules = match name {
            "java" => &JAVA,
            "python" => &PYTHON,
            "go" => &GO,
            "ruby" => &RUBY,
            "node" => &NODE,
            "audit" => return Some(Self(Rules::Audit)),
            _ => return None,
        };
        let name = Self::PRESETS.iter().find(|preset| **preset == name)?;
        Some(Self(Rules::Preset(name, rules.as_slice())))
    }

    /// The state after a line that begins a record.
    pub(super) fn begin(&self, line: &[u8]) -> State {
        match &self.0 {
            Rules::Start(_) => Line,
            Rules::Preset(_, rules) => {
                let mut begins = rules.iter().filter(|rule| rule.from.is_empty());
                begins.find(|rule| rule.line.is_match(line)).map_or(Line, |rule| rule.to)
            }
            Rules::Audit => audit_event(line).map_or(Line, Event),
        }
    }

    /// The state after a line that goes on with a record; `None`: it begins another.
    pub(super) fn go_on(&self, state: State, line: &[u8]) -> Option<State> {
        match &self.0 {
            Rules::Start(start) => (!start.is_match(line)).then_some(state),
            Rules::Preset(_, rules) => {
                let mut next = rules.iter().filter(|rule| rule.from.contains(&state));
                next.find(|rule| rule.line.is_match(line)).map(|rule| rule.to)
            }
            Rules::Audit => audit_event(line).map(Event).filter(|next| *next == state),
        }
    }
}

/// Which event of the audit system a line is of: `type=PATH msg=audit(1364481363.243:24287): …`, a node's name in front or
/// not.
fn audit_event(line: &[u8]) -> Option<u64> {
    const MARK: &[u8] = b" msg=audit(";
    const LONGEST_HEAD: usize = 512;
    if !line.starts_with(b"type=") && !line.starts_with(b"node=") {
        return None;
    }
    let head = &line[..line.len().min(LONGEST_HEAD)];
    let id = &head[head.windows(MARK.len()).position(|window| window == MARK)? + MARK.len()..];
    let id = &id[..id.iter().position(|byte| *byte == b')')?];
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    Some(hasher.finish())
}

/// Compiles rules; ours are, which a test holds.
fn rules<const N: usize>(rules: [(&'static [State], &str, State); N]) -> Vec<Rule> {
    let compiled = rules.into_iter().filter_map(|(from, line, to)| {
        let line = RegexBuilder::new(line).unicode(false).build().ok()?;
        Some(Rule { from, line, to })
    });
    compiled.collect()
}

use State::{Caret, Chained, Ended, Event, Line, Place, Source, Trace};

static JAVA: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    rules([
        (&[Line, Trace], r"^\s+(?:at |eval |- locked |- waiting )\S", Trace),
        (&[Line, Trace], r"^\s*\.\.\. \d+ (?:more|common frames omitted)", Trace),
        (&[Line, Trace], r"^\s*(?:Caused by|Suppressed|Wrapped by): ", Trace),
        (&[Line], r"^(?:[A-Za-z_$][\w$]*\.)+[\w$]*(?:Exception|Error|Throwable)(?::|\s|$)", Trace),
    ])
});

static PYTHON: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    rules([
        (&[], r"^Traceback \(most recent call last\):", Trace),
        (&[Line, Chained], r"^Traceback \(most recent call last\):", Trace),
        (&[Trace], r"^\s", Trace),
        (&[Trace], r"^[A-Za-z_][\w.]*(?::|$)", Ended),
        (
            &[Ended],
            r"^(?:During handling of the above exception|The above exception was the direct cause)",
            Chained,
        ),
    ])
});

static GO: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    rules([
        (&[], r"^(?:panic: |fatal error: |goroutine \d+ \[)", Trace),
        (
            &[Trace],
            r"^(?:\s|goroutine \d+ \[|created by |\[signal |exit status \d|panic: |\.\.\.additional frames)",
            Trace,
        ),
        (&[Trace], r"^[\w./*()\[\]{}$@~,+\xb7\xc2-]+\(.*\)$", Trace),
    ])
});

static RUBY: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    rules([
        (&[], r"^\S+\.rb:\d+:in [`']", Trace),
        (&[], r"^Traceback \(most recent call last\):", Trace),
        (&[Line, Trace], r"^\s+(?:\d+: )?(?:from )?\S+:\d+:in [`']", Trace),
        (&[Trace], r"^\S+:\d+:in [`'].*(?:Error|Exception)", Trace),
    ])
});

static NODE: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    rules([
        (&[], r"^(?:file://)?/\S+:\d+$", Place),
        (&[Place], r".", Source),
        (&[Source], r"^\s*\^+\s*$", Caret),
        (&[Caret], r"^(?:Uncaught )?[A-Za-z_$][\w$.]*(?:Error|Exception)?\b", Trace),
        (&[Line, Trace], r"^\s+at \S", Trace),
        (&[Trace], r"^(?:\s+\S|\}|Node\.js v\d)", Trace),
    ])
});

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn all_rules_of_all_presets_compile() {
        for (rules, count) in [(&JAVA, 4), (&PYTHON, 5), (&GO, 3), (&RUBY, 4), (&NODE, 6)] {
            assert_eq!(rules.len(), count);
        }
        assert!(Multiline::PRESETS.iter().all(|name| Multiline::preset(name).is_some()));
        assert_eq!(Multiline::preset("cobol"), None);
        assert!(Multiline::start("(").is_err());
        assert_ne!(Multiline::start("a").unwrap(), Multiline::start("b").unwrap());
    }

    #[test]
    fn lines_of_one_audit_event_belong_together() {
        let audit = Multiline::preset("audit").unwrap();
        let line = |kind: &str, id: &str| format!("type={kind} msg=audit({id}): a=1").into_bytes();
        let state = audit.begin(&line("SYSCALL", "1.2:3"));
        assert_eq!(audit.go_on(state, &line("EXECVE", "1.2:3")), Some(state));
        assert_eq!(audit.go_on(state, &line("EXECVE", "1.2:4")), None, "another event");
        assert_eq!(audit.go_on(state, b"type=EXECVE"), None);
        assert_eq!(audit.go_on(state, b"  more"), None);
        assert_eq!(audit.begin(b"anything"), Line);
        assert_eq!(audit.go_on(Line, &line("CWD", "1.2:3")), None, "what stands before belongs to nothing");
        let node = b"node=web1 type=CWD msg=audit(1.2:3): cwd=x";
        assert_eq!(audit.go_on(audit.begin(node), node), Some(state));
    }
}
