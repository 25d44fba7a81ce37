//! A pipeline as a filter that every record matches which the pipeline keeps.
//!
//! | Part | Filter |
//! |---|---|
//! | `\|= "…"`, `!= "…"`, `\|~`, `!~`, `\|>`, `!>` before the line is changed | exact |
//! | `ip("…")` in lines | broader: one address of version 4 must stand in the line; nothing for other ones |
//! | `label="…"`, `label=~"a\|b"` | broader: case is ignored, and numbers are equal that are spelled differently |
//! | `label=~"…"`, `label!=""` | exact for labels of texts |
//! | `label!="…"`, `label!~"…"` | exact where [`LabelFields::is_text`] says so, else nothing |
//! | tests of labels as text, before a stage that makes labels | as in a selector |
//! | everything else | nothing |

use crate::{
    ast::{LabelFilter, LineFilter, LineTest, Matcher, Pipeline, Stage, TextTest},
    expression::Expression,
};
use millrace_filter::{Expr, FieldTest, Literal, Pattern, Predicate, Text};
use millrace_model::FieldRef;

/// The longest part of a text that is looked for, in characters: what is escaped must not be too long for an expression.
const MAX_PART: usize = 400;

/// Which field's value a label is. A label's value is the text of the field's value; a field that is missing, null, an array or
/// a map is no label.
pub trait LabelFields {
    /// The field, as filters name it; `None`: [`label_field`] knows.
    fn field_of(&self, label: &str) -> Option<String>;

    /// Are all values of the field texts, and is the label spelled as they are? Only then can a filter tell what a label is not.
    fn is_text(&self, _label: &str) -> bool {
        false
    }
}

/// Knows no fields but by their labels' names.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainFields;

impl LabelFields for PlainFields {
    fn field_of(&self, _label: &str) -> Option<String> {
        None
    }
}

/// The field that a label stands for, where nothing more is known than its name.
pub fn label_field(label: &str) -> String {
    match label {
        "level" | "detected_level" => "level",
        "stream" => "_stream",
        "service_name" => "service.name",
        other => other,
    }
    .to_owned()
}

impl Pipeline {
    /// The filter. The line must be what bare words of filters look at: [`millrace_filter::value_text`] of the body.
    pub fn lower(&self, fields: &dyn LabelFields) -> Expr {
        let mut terms: Vec<Expr> = self.selector.iter().map(|matcher| selected(matcher, fields)).collect();
        let (mut line_stands, mut labels_stand) = (true, true);
        for stage in &self.stages {
            match stage {
                Stage::Line(filter) if line_stands => terms.push(line(filter)),
                Stage::Label(filter) if labels_stand => terms.push(label(filter, fields)),
                Stage::Line(_) | Stage::Label(_) | Stage::Unwrap(_) => {}
                Stage::LineFormat(_) | Stage::Decolorize => line_stands = false,
                Stage::Unpack => (line_stands, labels_stand) = (false, false),
                Stage::Json(_)
                | Stage::Logfmt(_)
                | Stage::Pattern(_)
                | Stage::Regexp(_)
                | Stage::LabelFormat(_)
                | Stage::Drop(_)
                | Stage::Keep(_) => labels_stand = false,
            }
        }
        all_of(terms)
    }
}

/// `All` says nothing in a conjunction.
fn all_of(terms: Vec<Expr>) -> Expr {
    Expr::all_of(terms.into_iter().filter(|term| *term != Expr::All).collect())
}

/// `All` says everything in a disjunction.
fn any_of(terms: Vec<Expr>) -> Expr {
    if terms.contains(&Expr::All) { Expr::All } else { Expr::any_of(terms) }
}

fn line(filter: &LineFilter) -> Expr {
    if filter.op.is_negative() {
        let without = filter.any.iter().filter_map(|test| match line_test(test) {
            Some((expr, true)) => Some(Expr::Not(Box::new(expr))),
            _ => None,
        });
        return all_of(without.collect());
    }
    any_of(filter.any.iter().map(|test| line_test(test).map_or(Expr::All, |(expr, _)| expr)).collect())
}

/// What every line holds that matches, and whether nothing else does.
fn line_test(test: &LineTest) -> Option<(Expr, bool)> {
    match test {
        LineTest::Text(text) if text.is_empty() => Some((Expr::All, true)),
        LineTest::Text(text) => {
            let part: String = text.chars().take(MAX_PART).collect();
            Some((in_line(&regex::escape(&part))?, part.len() == text.len()))
        }
        LineTest::Regex(expression) => Some((in_line(expression.translated())?, true)),
        LineTest::Addresses(addresses) => {
            let one = addresses.only_version_4()?;
            Some((in_line(&regex::escape(&one.to_string()))?, false))
        }
        LineTest::Pattern(pattern) => Some((in_line(&pattern.as_expression())?, true)),
    }
}

fn in_line(expression: &str) -> Option<Expr> {
    Pattern::new(expression).ok().map(|pattern| Expr::Text(Text::Regex(pattern)))
}

fn label(filter: &LabelFilter, fields: &dyn LabelFields) -> Expr {
    match filter {
        LabelFilter::Text(matcher) => selected(matcher, fields),
        LabelFilter::And(left, right) => all_of(vec![label(left, fields), label(right, fields)]),
        LabelFilter::Or(left, right) => any_of(vec![label(left, fields), label(right, fields)]),
        // They keep what an earlier one could not read.
        LabelFilter::Compare { .. } | LabelFilter::Addresses { .. } => Expr::All,
    }
}

fn selected(matcher: &Matcher, fields: &dyn LabelFields) -> Expr {
    let field = fields.field_of(&matcher.label).unwrap_or_else(|| label_field(&matcher.label));
    let resolved = FieldRef::resolve(&field);
    // Labels of errors are no fields, and these fields are spelled in other ways than labels.
    let unlike = matches!(
        resolved,
        FieldRef::Body | FieldRef::Timestamp | FieldRef::ObservedTimestamp | FieldRef::SeverityNumber
    );
    if unlike || matcher.label.starts_with("__") {
        return Expr::All;
    }
    let is_level = resolved == FieldRef::Level;
    let test = |predicate| Expr::Field(Box::new(FieldTest::new(&field, predicate)));
    let negated = |expression: &str| match Pattern::new(expression) {
        Ok(pattern) if fields.is_text(&matcher.label) && !is_level => {
            Expr::Not(Box::new(test(Predicate::Regex(pattern))))
        }
        _ => Expr::All,
    };
    match &matcher.test {
        TextTest::Equal(value) => equal(value, is_level).map_or(Expr::All, test),
        TextTest::NotEqual(value) if value.is_empty() && !is_level => test(Predicate::Exists),
        TextTest::NotEqual(value) => negated(&format!("^{}$", regex::escape(value))),
        TextTest::Regex(expression) => matching(expression, is_level, &test),
        TextTest::NotRegex(expression) => negated(expression.translated()),
    }
}

/// `None`: something that is not so spelled may still be the label's value.
fn equal(value: &str, is_level: bool) -> Option<Predicate> {
    // Nothing is an empty label, too; an unknown level is called so; a text of JSON may be that of an array.
    let unsure = value.is_empty() || (is_level && value == "unknown") || value.starts_with(['[', '{']);
    (!unsure).then(|| Predicate::Equals(Literal::new(value)))
}

fn matching(expression: &Expression, is_level: bool, test: &impl Fn(Predicate) -> Expr) -> Expr {
    if expression.is_match("") {
        return Expr::All;
    }
    if let Some(values) = expression.alternatives() {
        let any = values.into_iter().map(|value| equal(value, is_level).map_or(Expr::All, test));
        return any_of(any.collect());
    }
    match Pattern::new(expression.translated()) {
        _ if is_level => Expr::All,
        _ if expression.as_str() == ".+" => test(Predicate::Exists),
        Ok(pattern) => test(Predicate::Regex(pattern)),
        Err(_) => Expr::All,
    }
}
