//! Templates of `line_format` and `label_format`: Go's `text/template` with Loki's functions, as far as lines need it. Texts,
//! labels, the line and its time, functions and pipelines, `if`, `else` and `end`, comments and trimmed blanks. No variables,
//! no `range`, no `with`; times are in UTC.

mod format;
mod functions;
mod math;
mod parse;
mod strings;
mod time;

use regex::Regex;

/// The longest text that a template may make, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// A template, read. Two are equal when they are written alike.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Debug, Clone)]
enum Node {
    Text(String),
    Output(Term),
    /// The first branch whose condition holds, else the last nodes.
    If(Vec<(Term, Vec<Node>)>, Vec<Node>),
}

#[derive(Debug, Clone)]
enum Term {
    Label(String),
    Line,
    Timestamp,
    Constant(Value),
    Call(Function, Vec<Term>),
    /// `regexReplaceAll` and its literal kin: in the first term, the second one for each match.
    Replace {
        regex: Regex,
        literal: bool,
        of: Box<(Term, Term)>,
    },
    /// `count`
    Count(Regex, Box<Term>),
}

type Function = fn(&[Value]) -> Result<Value, String>;

/// What a term is.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// In nanoseconds since the epoch.
    Time(i64),
}

impl Value {
    /// As a condition.
    fn holds(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Bool(flag) => *flag,
            Self::Time(_) => true,
        }
    }
}

/// What a template can see.
pub(crate) struct Scope<'a> {
    pub(crate) label: &'a dyn Fn(&str) -> Option<&'a str>,
    pub(crate) line: &'a str,
    /// In nanoseconds since the epoch.
    pub(crate) timestamp: i64,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), nodes: parse::nodes(text)? })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text that it makes; why it makes none.
    pub(crate) fn render(&self, scope: &Scope<'_>) -> Result<String, String> {
        let mut out = String::new();
        render(&self.nodes, scope, &mut out)?;
        Ok(out)
    }
}

fn render(nodes: &[Node], scope: &Scope<'_>, out: &mut String) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Output(term) => format::display(&value(term, scope)?, out),
            Node::If(branches, otherwise) => {
                let mut chosen = otherwise;
                for (condition, nodes) in branches {
                    if value(condition, scope)?.holds() {
                        chosen = nodes;
                        break;
                    }
                }
                render(chosen, scope, out)?;
            }
        }
        bounded(out.len())?;
    }
    Ok(())
}

/// An error where a text would be longer than texts may be.
fn bounded(length: usize) -> Result<(), String> {
    if length > MAX_TEXT { Err(format!("a text has {MAX_TEXT} bytes at most")) } else { Ok(()) }
}

fn value(term: &Term, scope: &Scope<'_>) -> Result<Value, String> {
    Ok(match term {
        Term::Label(name) => Value::Text((scope.label)(name).unwrap_or_default().to_owned()),
        Term::Line => Value::Text(scope.line.to_owned()),
        Term::Timestamp => Value::Time(scope.timestamp),
        Term::Constant(value) => value.clone(),
        Term::Call(function, arguments) => {
            let arguments: Vec<Value> =
                arguments.iter().map(|argument| value(argument, scope)).collect::<Result<_, _>>()?;
            function(&arguments)?
        }
        Term::Replace { regex, literal, of } => {
            let source = functions::text(&value(&of.0, scope)?);
            let replacement = functions::text(&value(&of.1, scope)?);
            Value::Text(replace_all(regex, &source, &replacement, *literal)?)
        }
        Term::Count(regex, of) => {
            Value::Int(regex.find_iter(&functions::text(&value(of, scope)?)).count() as i64)
        }
    })
}

fn replace_all(regex: &Regex, source: &str, replacement: &str, literal: bool) -> Result<String, String> {
    let mut out = String::with_capacity(source.len());
    let mut from = 0;
    for captures in regex.captures_iter(source) {
        let Some(found) = captures.get(0) else { continue };
        out.push_str(&source[from..found.start()]);
        if literal {
            out.push_str(replacement);
        } else {
            captures.expand(replacement, &mut out);
        }
        from = found.end();
        bounded(out.len())?;
    }
    out.push_str(&source[from..]);
    Ok(out)
}

#[cfg(test)]
#[path = "template/tests.rs"]
mod tests;
