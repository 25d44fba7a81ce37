//! Processing pipelines as pySigma has them: they rename fields, change logsources and values, and give placeholders their
//! values, before a rule is compiled.

use super::{
    Source,
    placeholders::{self, Expansion},
};
use crate::{
    document::Document,
    finding::digest,
    rule::{RuleError, RuleFile},
};
use millrace_model::closest;
use rsigma_eval::{Pipeline, parse_pipeline, pipeline::PipelineState, pipeline::Transformation};
use serde_yaml_ng::Value as Yaml;

/// The keys of a pipeline. The last two are for those who make queries of rules, and mean nothing here.
const KEYS: [&str; 7] =
    ["name", "priority", "vars", "transformations", "allowed_backends", "finalizers", "postprocessing"];
/// The keys of transformations, whatever their type.
const TRANSFORMATION_KEYS: [&str; 40] = [
    "id",
    "type",
    "rule_conditions",
    "rule_cond_expression",
    "rule_cond_expr",
    "rule_cond_op",
    "rule_cond_not",
    "detection_item_conditions",
    "detection_item_cond_op",
    "detection_item_cond_not",
    "field_name_conditions",
    "field_name_cond_op",
    "field_name_cond_not",
    "mapping",
    "prefix",
    "suffix",
    "conditions",
    "field_refs",
    "negated",
    "prepend",
    "category",
    "product",
    "service",
    "regex",
    "replacement",
    "skip_special",
    "expression",
    "key",
    "value",
    "val",
    "message",
    "transform_func",
    "valid_hash_algos",
    "field_prefix",
    "drop_algo_prefix",
    "target_type",
    "field",
    "fields",
    "attribute",
    "items",
];
/// pySigma's settings that the Sigma crates pass over in silence: what they ask for would not be done.
const NOT_UNDERSTOOD: [&str; 7] = [
    "rule_cond_op",
    "rule_cond_not",
    "rule_cond_expr",
    "detection_item_cond_op",
    "detection_item_cond_not",
    "field_name_cond_op",
    "include",
];
/// What marks, in a pipeline's own state, that a rule's placeholders are to be filled in.
const EXPANSION: &str = "millrace.placeholders";
const VALUES: &str = "values";
const WILDCARD: &str = "wildcard";

/// Pipelines in the order in which rules go through them: by priority, then as they were given.
#[derive(Default)]
pub struct Pipelines(Vec<Named>);

struct Named {
    pipeline: Pipeline,
    file: String,
    digest: u128,
}

impl std::fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|named| &named.file)).finish()
    }
}

impl Pipelines {
    /// Reads pipelines, one a document. Whatever is wrong is in the second part, by file and line.
    pub fn read(files: &[RuleFile]) -> (Self, Vec<RuleError>) {
        let (mut pipelines, mut errors) = (Vec::new(), Vec::new());
        for file in files {
            for document in Document::read_all(&file.path, &file.text, &mut errors) {
                pipelines.extend(read(&document, &mut errors));
            }
        }
        pipelines.sort_by_key(|named| named.pipeline.priority);
        (Self(pipelines), errors)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends a rule through all of them; returns the digest of those that changed it.
    ///
    /// # Errors
    /// A pipeline refuses the rule; which one, and why.
    pub(crate) fn apply(&self, source: &mut Source) -> Result<Option<u128>, String> {
        let mut changed: Option<u128> = None;
        for Named { pipeline, file, digest: own } in &self.0 {
            let before = source.rule.clone();
            let mut state = PipelineState::new(pipeline.vars.clone());
            let refused = |problem: String| format!("the pipeline {file} refuses it: {problem}");
            pipeline.apply(&mut source.rule, &mut state).map_err(|problem| refused(problem.to_string()))?;
            for (value, expansion) in [(VALUES, Expansion::Values), (WILDCARD, Expansion::Wildcard)] {
                if state.state_matches(&format!("{EXPANSION}.{value}"), value) {
                    placeholders::expand(&mut source.rule, expansion, &pipeline.vars).map_err(refused)?;
                }
            }
            if source.rule != before {
                let parts = [changed.unwrap_or_default(), *own].map(|part| format!("{part:032x}"));
                changed = Some(digest(parts.iter().map(String::as_str)));
            }
        }
        Ok(changed)
    }
}

fn read(document: &Document<'_>, errors: &mut Vec<RuleError>) -> Option<Named> {
    let before = errors.len();
    for key in document.root.keys().filter_map(Yaml::as_str) {
        match key {
            "sources" => errors.push(document.error(&[key], "sources from outside are not understood")),
            _ if KEYS.contains(&key) => {}
            _ => {
                let meant = closest(key, KEYS).map(|meant| format!("; did you mean {meant:?}?"));
                let message = format!("unknown key {key:?} of a pipeline{}", meant.unwrap_or_default());
                errors.push(document.error(&[key], message));
            }
        }
    }
    variables(document, errors);
    match document.root.get("transformations") {
        Some(Yaml::Sequence(items)) => items.iter().for_each(|item| transformation(item, document, errors)),
        None if document.root.contains_key("vars") => {}
        _ => errors.push(document.error(&["transformations"], "transformations: a list expected")),
    }
    if errors.len() > before {
        return None;
    }
    let mut pipeline = match parse_pipeline(document.text) {
        Ok(pipeline) => pipeline,
        Err(problem) => {
            let problem = problem.to_string();
            let word = problem.rsplit([' ', '\'']).find(|word| !word.is_empty());
            errors.push(document.error_near(word, problem.clone()));
            return None;
        }
    };
    if let Some(reference) = pipeline.source_refs.first() {
        let message = format!("{}: values from outside are not understood", reference.raw_template);
        errors.push(document.error_near(Some(&reference.raw_template), message));
        return None;
    }
    for item in &mut pipeline.transformations {
        // Done by `placeholders`: the crates' own expands every percent sign of every rule.
        let value = match item.transformation {
            Transformation::ValuePlaceholders => VALUES,
            Transformation::WildcardPlaceholders => WILDCARD,
            _ => continue,
        };
        item.transformation =
            Transformation::SetState { key: format!("{EXPANSION}.{value}"), value: value.to_owned() };
    }
    Some(Named { pipeline, file: document.file.to_owned(), digest: digest([document.text].into_iter()) })
}

/// Variables are texts or lists of texts; the crates would drop all else.
fn variables(document: &Document<'_>, errors: &mut Vec<RuleError>) {
    let Some(variables) = document.root.get("vars") else { return };
    let Some(variables) = variables.as_mapping() else {
        return errors.push(document.error(&["vars"], "vars: a mapping of texts or lists of texts expected"));
    };
    for (name, value) in variables {
        let name = name.as_str().unwrap_or_default();
        let texts =
            value.is_string() || value.as_sequence().is_some_and(|values| values.iter().all(Yaml::is_string));
        if !texts {
            errors.push(
                document.error(&["vars", name], format!("vars.{name}: a text or a list of texts expected")),
            );
        }
    }
}

/// Keys that nobody knows, and what would silently not be done.
fn transformation(item: &Yaml, document: &Document<'_>, errors: &mut Vec<RuleError>) {
    let Some(map) = item.as_mapping() else {
        return errors.push(document.error(&["transformations"], "a transformation is a mapping"));
    };
    for key in map.keys().filter_map(Yaml::as_str) {
        if NOT_UNDERSTOOD.contains(&key) {
            errors.push(document.error_near(Some(&format!("{key}:")), format!("{key} is not understood")));
        } else if !TRANSFORMATION_KEYS.contains(&key)
            && !["source", "case", "case_type", "transformations"].contains(&key)
        {
            let meant = closest(key, TRANSFORMATION_KEYS).map(|meant| format!("; did you mean {meant:?}?"));
            let message = format!("unknown key {key:?} of a transformation{}", meant.unwrap_or_default());
            errors.push(document.error_near(Some(&format!("{key}:")), message));
        }
    }
    for inner in ["items", "transformations"] {
        if let Some(Yaml::Sequence(items)) = map.get(inner) {
            for item in items {
                transformation(item, document, errors);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{
        RuleSet,
        sigma::tests::{row, rule},
    };

    const HOST: &str = r#"{"host.name":"web1"}"#;

    fn through(files: Vec<RuleFile>, pipelines: &Pipelines) -> (RuleSet, Vec<RuleError>) {
        RuleSet::load_with(files, pipelines, &mut |_| Err(String::new()))
    }

    fn file(text: &str) -> RuleFile {
        RuleFile { path: "p.yml".to_owned(), text: text.to_owned() }
    }

    fn pipelines(text: &str) -> Pipelines {
        let (pipelines, errors) = Pipelines::read(&[file(text)]);
        assert!(errors.is_empty(), "{errors:?}");
        pipelines
    }

    fn matches(rules: &str, pipeline: &str, attributes: &str) -> bool {
        let (set, errors) = through(vec![file(rules)], &pipelines(pipeline));
        assert!(errors.is_empty(), "{errors:?}");
        let mut places = Vec::new();
        set.matching(&row("x", attributes, HOST), &mut places);
        !places.is_empty()
    }

    const MAPPING: &str = "\
name: ours
priority: 10
transformations:
  - id: names
    type: field_name_mapping
    mapping:
      CommandLine: cmd.text
      Image: [cmd.path, cmd.exe]
    rule_conditions:
      - type: logsource
        product: linux
";

    #[test]
    fn fields_are_renamed_for_the_rules_that_are_meant() {
        let exec = rule("r", "product: linux", "CommandLine|contains: needle");
        assert!(matches(&exec, MAPPING, r#"{"cmd.text":"a needle"}"#));
        assert!(!matches(&exec, MAPPING, r#"{"CommandLine":"a needle"}"#), "by the new name alone");
        let other = rule("r", "category: process_creation", "CommandLine|contains: needle");
        assert!(matches(&other, MAPPING, r#"{"CommandLine":"a needle"}"#));
        let several = rule("r", "product: linux", "Image|endswith: /nc");
        assert!(matches(&several, MAPPING, r#"{"cmd.exe":"/bin/nc"}"#));
        assert!(matches(&several, MAPPING, r#"{"cmd.path":"/bin/nc"}"#));
    }

    #[test]
    fn a_later_pipeline_goes_on_with_what_an_earlier_one_made() {
        let second = "name: second\npriority: 20\ntransformations:\n- type: field_name_mapping\n  mapping: { cmd.text: c }\n";
        let exec = rule("r", "product: linux", "CommandLine: needle");
        assert!(matches(&exec, &format!("{second}---\n{MAPPING}"), r#"{"c":"needle"}"#), "by priority");
    }

    #[test]
    fn a_changed_logsource_decides_on_which_records_a_rule_is_tested() {
        let change =
            "name: n\ntransformations:\n- type: change_logsource\n  product: linux\n  service: auth\n";
        let windows = rule("r", "product: windows", "- needle");
        assert!(matches(&windows, change, r#"{"a":"needle"}"#));
        assert!(
            !matches(&windows, change, r#"{"a":"needle","service.name":"nginx"}"#),
            "no file of the family"
        );
    }

    #[test]
    fn placeholders_are_filled_in_where_a_rule_asks_for_it_and_nowhere_else() {
        let values = "name: v\nvars:\n  admins: [ann, 'bob*']\n  tail: s\ntransformations:\n- type: value_placeholders\n";
        let expand = rule("r", "product: linux", "user|expand: '%admins%'");
        assert!(matches(&expand, values, r#"{"user":"ann"}"#));
        assert!(matches(&expand, values, r#"{"user":"bobby"}"#));
        assert!(!matches(&expand, values, r#"{"user":"eve"}"#));
        let contains = rule("r", "product: linux", "user|contains|expand: 'x%admins%%tail%'");
        assert!(matches(&contains, values, r#"{"user":"-xanns-"}"#));
        let percent = rule("r", "product: linux", "q|contains: 'UNION%20SELECT%20'");
        assert!(matches(&percent, values, r#"{"q":"a UNION%20SELECT%20b"}"#));
        let any = "name: w\ntransformations:\n- type: wildcard_placeholders\n";
        assert!(matches(&expand, any, r#"{"user":"eve"}"#));
    }

    #[test]
    fn what_has_no_values_is_warned_of_by_name() {
        let text = rule("r", "product: linux", "user|expand: '%admins%'");
        let (set, errors) = RuleSet::load(vec![file(&text)]);
        assert!(errors.is_empty(), "{errors:?}");
        let [warning] = set.warnings() else { panic!("{:?}", set.warnings()) };
        assert_eq!(warning.line, Some(5));
        assert!(warning.message.contains("%admins%"), "{warning}");
        let values =
            pipelines("name: v\nvars: { admins: ann }\ntransformations: [{ type: value_placeholders }]\n");
        let (set, _) = through(vec![file(&text)], &values);
        assert!(set.warnings().is_empty(), "{:?}", set.warnings());
    }

    #[test]
    fn a_rule_that_a_pipeline_refuses_costs_itself() {
        let fails = "name: n\ntransformations:\n- type: rule_failure\n  message: not here\n  rule_conditions:\n  - type: logsource\n    product: windows\n";
        let rules = [rule("a", "product: windows", "- x"), rule("b", "product: linux", "- x")].join("---\n");
        let (set, errors) = through(vec![file(&rules)], &pipelines(fails));
        assert_eq!(set.rules().iter().map(|rule| rule.title.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].message.contains("not here") && errors[0].line == Some(1), "{errors:?}");
    }

    #[test]
    fn mistakes_are_said_with_their_line() {
        for (text, line, part) in [
            ("name: n\ntransformatons: []\n", 2, "did you mean \"transformations\"?"),
            ("name: n\n", 1, "a list expected"),
            ("name: n\ntransformations:\n- type: field_name_maping\n", 3, "field_name_maping"),
            ("name: n\ntransformations:\n- type: nest\n  items:\n  - typ: x\n", 5, "did you mean \"type\"?"),
            ("name: n\ntransformations:\n- type: regex\n  rule_cond_op: or\n", 4, "not understood"),
            ("name: n\nvars:\n  a: 1\ntransformations: []\n", 3, "vars.a"),
            ("name: n\nvars:\n  a: ${source.x}\ntransformations: []\n", 3, "from outside"),
        ] {
            let (pipelines, errors) = Pipelines::read(&[file(text)]);
            assert!(pipelines.is_empty());
            assert!(
                errors.iter().any(|e| e.line == Some(line) && e.message.contains(part)),
                "{text} {errors:?}"
            );
        }
    }

    #[test]
    fn a_rule_that_a_pipeline_changes_decides_otherwise() {
        let text = rule("r", "product: linux", "CommandLine: x")
            + "id: r\n---\n"
            + &rule("s", "product: linux", "- x")
            + "id: s\n";
        let digests = |pipelines: &Pipelines| {
            let (set, _) = through(vec![file(&text)], pipelines);
            ["r", "s"].map(|id| set.get(id).unwrap().digest)
        };
        let [plain, mapped] = [digests(&Pipelines::default()), digests(&pipelines(MAPPING))];
        assert_ne!(plain[0], mapped[0]);
        assert_eq!(plain[1], mapped[1]);
        assert_eq!(mapped, digests(&pipelines(MAPPING)));
    }
}
