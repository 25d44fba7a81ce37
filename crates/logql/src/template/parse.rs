//! From the text of a template to its nodes.

use super::{Node, Term, Value, functions};
use millrace_model::closest;

/// How deep parentheses and conditions may nest.
const MAX_DEPTH: usize = 32;

/// What Go's templates have and these do not.
const UNSUPPORTED: &[&str] = &[
    "range", "with", "define", "block", "template", "break", "continue", "now", "fromJson", "index", "slice",
    "html", "js", "call",
];

pub(super) fn nodes(text: &str) -> Result<Vec<Node>, String> {
    let mut parser = Parser { rest: text, trim: false };
    let (nodes, end) = parser.nodes(0)?;
    match end {
        Ending::Text => Ok(nodes),
        Ending::Else(_) => Err("an `else` has no `if`".to_owned()),
        Ending::End => Err("an `end` has no `if`".to_owned()),
    }
}

/// What ends a run of nodes.
enum Ending {
    Text,
    /// With the condition of an `else if`.
    Else(Option<Term>),
    End,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Label(String),
    Constant(Value),
    Open,
    Close,
    Pipe,
}

struct Parser<'a> {
    rest: &'a str,
    /// Are blanks to be left out of the text that comes next?
    trim: bool,
}

impl Parser<'_> {
    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, Ending), String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        let mut nodes = Vec::new();
        loop {
            let at = self.rest.find("{{");
            let mut text = &self.rest[..at.unwrap_or(self.rest.len())];
            if self.trim {
                text = text.trim_start();
            }
            let inside = at.map(|at| &self.rest[at + 2..]);
            let trimmed = inside.and_then(|inside| {
                inside.strip_prefix('-').filter(|behind| behind.starts_with(char::is_whitespace))
            });
            if trimmed.is_some() {
                text = text.trim_end();
            }
            if !text.is_empty() {
                nodes.push(Node::Text(text.to_owned()));
            }
            let Some(inside) = inside else { return Ok((nodes, Ending::Text)) };
            self.rest = trimmed.unwrap_or(inside);
            let tokens = self.action()?;
            let Some((first, others)) = tokens.split_first() else { continue };
            match first {
                Token::Name(name) if name == "end" && others.is_empty() => return Ok((nodes, Ending::End)),
                Token::Name(name) if name == "else" => {
                    return Ok((nodes, Ending::Else(else_condition(others)?)));
                }
                Token::Name(name) if name == "if" => nodes.push(self.condition(pipeline(others)?, depth)?),
                _ => nodes.push(Node::Output(pipeline(&tokens)?)),
            }
        }
    }

    /// Behind an `if` with its condition.
    fn condition(&mut self, condition: Term, depth: usize) -> Result<Node, String> {
        let mut branches = Vec::new();
        let mut condition = Some(condition);
        loop {
            let (nodes, end) = self.nodes(depth + 1)?;
            let otherwise = match condition.take() {
                Some(term) => {
                    branches.push((term, nodes));
                    None
                }
                None => Some(nodes),
            };
            match end {
                Ending::End => return Ok(Node::If(branches, otherwise.unwrap_or_default())),
                Ending::Else(next) if otherwise.is_none() => condition = next,
                Ending::Else(_) => return Err("nothing but an `end` can follow an `else`".to_owned()),
                Ending::Text => return Err("an `if` has no `{{ end }}`".to_owned()),
            }
        }
    }

    /// The tokens up to the next `}}`.
    fn action(&mut self) -> Result<Vec<Token>, String> {
        let mut tokens = Vec::new();
        if let Some(comment) = self.rest.trim_start().strip_prefix("/*") {
            let end = comment.find("*/").ok_or("a comment in the template is not closed")?;
            self.rest = &comment[end + 2..];
        }
        loop {
            self.rest = self.rest.trim_start();
            for (end, trim) in [("}}", false), ("-}}", true)] {
                if let Some(behind) = self.rest.strip_prefix(end) {
                    (self.rest, self.trim) = (behind, trim);
                    return Ok(tokens);
                }
            }
            let (token, length) = token(self.rest)?;
            tokens.push(token);
            self.rest = &self.rest[length..];
        }
    }
}

fn in_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn token(rest: &str) -> Result<(Token, usize), String> {
    let Some(first) = rest.chars().next() else {
        return Err("a `{{` is not closed by `}}`".to_owned());
    };
    let name_length = |from: usize| rest[from..].find(|c| !in_name(c)).unwrap_or(rest.len() - from);
    match first {
        '(' => Ok((Token::Open, 1)),
        ')' => Ok((Token::Close, 1)),
        '|' => Ok((Token::Pipe, 1)),
        '`' => {
            let end = rest[1..].find('`').ok_or("a text in the template is not closed")?;
            Ok((Token::Constant(Value::Text(rest[1..=end].to_owned())), end + 2))
        }
        '"' => text(rest),
        '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            let length = name_length(1);
            if length == 0 || rest[1 + length..].starts_with('.') {
                return Err("behind a `.` stands the name of one label".to_owned());
            }
            Ok((Token::Label(rest[1..=length].to_owned()), length + 1))
        }
        '$' => Err("a template has no variables here".to_owned()),
        c if c.is_ascii_digit() || matches!(c, '.' | '-' | '+') => number(rest),
        c if in_name(c) => {
            let name = &rest[..name_length(0)];
            let token = match name {
                "true" => Token::Constant(Value::Bool(true)),
                "false" => Token::Constant(Value::Bool(false)),
                _ => Token::Name(name.to_owned()),
            };
            Ok((token, name.len()))
        }
        c => Err(format!("{c:?} does not belong into a template")),
    }
}

fn text(rest: &str) -> Result<(Token, usize), String> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let wrong = || "a text in the template has a wrong escape".to_owned();
                let tokens = crate::token::tokens(&rest[..=at]).map_err(|_| wrong())?;
                let Some(crate::token::Kind::Text(text)) = tokens.into_iter().next().map(|token| token.kind)
                else {
                    return Err(wrong());
                };
                return Ok((Token::Constant(Value::Text(text)), at + 1));
            }
            _ => {}
        }
    }
    Err("a text in the template is not closed".to_owned())
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let signs = usize::from(rest.starts_with(['-', '+']));
    let length = rest[signs..]
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .map_or(rest.len(), |length| signs + length);
    let text = &rest[..length];
    let int = text.parse::<i64>().ok().map(Value::Int);
    let float = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::Float);
    let value = int.or_else(float).ok_or_else(|| format!("{text:?} is no number"))?;
    Ok((Token::Constant(value), length))
}

fn else_condition(tokens: &[Token]) -> Result<Option<Term>, String> {
    match tokens {
        [] => Ok(None),
        [Token::Name(name), condition @ ..] if name == "if" => pipeline(condition).map(Some),
        _ => Err("behind `else` stands nothing or an `if`".to_owned()),
    }
}

fn pipeline(tokens: &[Token]) -> Result<Term, String> {
    let mut tokens = tokens;
    let term = commands(&mut tokens, 0)?;
    if tokens.is_empty() { Ok(term) } else { Err("a `)` in the template was never opened".to_owned()) }
}

/// Commands with `|` between them, up to the end or a `)`.
fn commands(tokens: &mut &[Token], depth: usize) -> Result<Term, String> {
    if depth > MAX_DEPTH {
        return Err(format!("nested more than {MAX_DEPTH} deep"));
    }
    let mut before = None;
    loop {
        let term = command(tokens, before, depth)?;
        match tokens {
            [Token::Pipe, behind @ ..] => *tokens = behind,
            _ => return Ok(term),
        }
        before = Some(term);
    }
}

/// A function with its arguments, of which `last` is the last; or one value.
fn command(tokens: &mut &[Token], last: Option<Term>, depth: usize) -> Result<Term, String> {
    let name = match tokens {
        [Token::Name(name), behind @ ..] if !is_value(name) => {
            *tokens = behind;
            Some(name)
        }
        _ => None,
    };
    let mut arguments = Vec::new();
    while let Some(token) = tokens.first().filter(|token| !matches!(token, Token::Pipe | Token::Close)) {
        *tokens = &tokens[1..];
        arguments.push(operand(token, tokens, depth)?);
    }
    let piped = last.is_some();
    arguments.extend(last);
    match name {
        Some(name) => call(name, arguments),
        None if piped && arguments.len() == 1 => Err("something is missing in the template".to_owned()),
        None if arguments.len() > 1 => Err("only a function has arguments".to_owned()),
        None => arguments.pop().ok_or_else(|| "something is missing in the template".to_owned()),
    }
}

fn is_value(name: &str) -> bool {
    matches!(name, "__line__" | "__timestamp__")
}

fn operand(token: &Token, tokens: &mut &[Token], depth: usize) -> Result<Term, String> {
    match token {
        Token::Label(name) => Ok(Term::Label(name.clone())),
        Token::Constant(value) => Ok(Term::Constant(value.clone())),
        Token::Name(name) => match name.as_str() {
            "__line__" => Ok(Term::Line),
            "__timestamp__" => Ok(Term::Timestamp),
            // A function without arguments, which there is none of.
            name => call(name, Vec::new()),
        },
        Token::Open => {
            let term = commands(tokens, depth + 1)?;
            let [Token::Close, behind @ ..] = tokens else {
                return Err("a `(` in the template is not closed".to_owned());
            };
            *tokens = behind;
            Ok(term)
        }
        Token::Close | Token::Pipe => Err("something is missing in the template".to_owned()),
    }
}

fn call(name: &str, arguments: Vec<Term>) -> Result<Term, String> {
    if UNSUPPORTED.contains(&name) {
        return Err(format!("templates have no `{name}` here"));
    }
    match name {
        "regexReplaceAll" | "regexReplaceAllLiteral" => {
            let [regex, source, replacement] = taken(name, arguments)?;
            let regex = regex_of(name, regex)?;
            let literal = name == "regexReplaceAllLiteral";
            return Ok(Term::Replace { regex, literal, of: Box::new((source, replacement)) });
        }
        "count" => {
            let [regex, source] = taken(name, arguments)?;
            return Ok(Term::Count(regex_of(name, regex)?, Box::new(source)));
        }
        _ => {}
    }
    let Some((_, least, most, function)) = functions::all().find(|(known, ..)| *known == name) else {
        let meant = closest(name, functions::all().map(|(known, ..)| known));
        let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
        return Err(format!("templates have no function `{name}`{meant}"));
    };
    if !(least..=most).contains(&arguments.len()) {
        return Err(format!("`{name}` has {} arguments here", arguments.len()));
    }
    Ok(Term::Call(function, arguments))
}

fn taken<const N: usize>(name: &str, arguments: Vec<Term>) -> Result<[Term; N], String> {
    arguments.try_into().map_err(|_| format!("`{name}` has {N} arguments"))
}

fn regex_of(name: &str, term: Term) -> Result<regex::Regex, String> {
    let Term::Constant(Value::Text(text)) = term else {
        return Err(format!("the expression of `{name}` is a text in quotes"));
    };
    let expression = crate::expression::Expression::new(&text, crate::expression::Anchoring::Part)?;
    Ok(expression.regex().clone())
}
