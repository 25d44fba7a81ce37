//! Expressions: a Pratt parser over `or` < `and` < `not` < comparisons < `+ -` < `* / %` < a minus.

use super::{MAX_LIST, Parser, unexpected};
use crate::{
    expression::{Expr, is_time_field},
    functions::{Function, NAMED},
    token::{Kind, Token},
};
use millrace_filter::{Cidr, ParseError, Pattern};
use millrace_model::{Timestamp, Value, closest};

/// How deep parentheses, calls and operators may nest. Expressions travel as JSON, whose readers allow 128 levels: one of ours
/// is three of these.
const MAX_DEPTH: usize = 32;

/// How strongly an operator holds what is on both of its sides.
fn operator(token: &Token) -> Option<(u8, Function)> {
    let of_words = ["or", "and"].iter().find(|word| token.is_word(word));
    let sign = match &token.kind {
        Kind::Sign(sign) => *sign,
        _ => *of_words?,
    };
    Some(match sign {
        "or" | "||" => (1, Function::Or),
        "and" | "&&" => (2, Function::And),
        "=" | "==" => (4, Function::Equal),
        "!=" => (4, Function::NotEqual),
        "<" => (4, Function::Less),
        "<=" => (4, Function::LessOrEqual),
        ">" => (4, Function::Greater),
        ">=" => (4, Function::GreaterOrEqual),
        "+" => (5, Function::Add),
        "-" => (5, Function::Subtract),
        "*" => (6, Function::Multiply),
        "/" => (6, Function::Divide),
        "%" => (6, Function::Remainder),
        _ => return None,
    })
}

const NOT_POWER: u8 = 3;
const COMPARISON_POWER: u8 = 4;

/// All functions, those included that are made by the parser: their second argument is read once.
pub(super) fn function_names<'a>() -> impl Iterator<Item = &'a str> {
    NAMED.iter().map(|(name, ..)| -> &'a str { name }).chain(["in_network", "matches"])
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Result<Expr, ParseError> {
        let from = self.here();
        let expression = self.operators(0)?;
        if depth(&expression) > MAX_DEPTH {
            let end = self.tokens.get(self.at.saturating_sub(1)).map_or(from.end, |token| token.span.end);
            return Err(ParseError::new(
                from.start..end.max(from.end),
                format!("nested more than {MAX_DEPTH} deep"),
            )
            .suggest("a long sum can be made in parts, by `eval`"));
        }
        Ok(expression)
    }

    fn operators(&mut self, least: u8) -> Result<Expr, ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::new(self.here(), format!("nested more than {MAX_DEPTH} deep")));
        }
        let mut left = self.operand()?;
        let mut terms = 1;
        while let Some((power, function)) = self.peek().and_then(operator) {
            if power <= least {
                break;
            }
            let token = self.next();
            let start = self.here();
            let right = self.operators(power)?;
            if power == COMPARISON_POWER {
                let again = self.peek().and_then(operator).is_some_and(|(next, _)| next == COMPARISON_POWER);
                if again && least < COMPARISON_POWER {
                    return Err(ParseError::new(self.here(), "comparisons are not chained")
                        .suggest("write `a < b and b < c`"));
                }
            }
            terms += 1;
            if terms > 4 * MAX_LIST {
                let span = token.map_or(start.clone(), |token| token.span.clone());
                return Err(ParseError::new(span, "the expression is too long"));
            }
            left = match function {
                Function::And | Function::Or => joined(function, left, right),
                comparison if power == COMPARISON_POWER => compared(comparison, left, right, start)?,
                other => Expr::Call(other, vec![left, right]),
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expr, ParseError> {
        let Some(token) = self.next() else {
            return Err(ParseError::new(self.here(), "a value was expected")
                .suggest("a field, a number, a text in quotes or a function"));
        };
        let constant = |value: Value| Ok(Expr::Constant(value));
        match &token.kind {
            Kind::Int(number) => constant(Value::Int(*number)),
            Kind::Duration(length) => constant(Value::Int(*length)),
            Kind::Double(number) => constant(Value::Double(*number)),
            Kind::Text(text) => constant(Value::from(text.as_str())),
            Kind::Quoted(name) => self.column(name, token),
            Kind::Sign("(") => {
                let inner = self.operators(0)?;
                self.sign(")")?;
                Ok(inner)
            }
            Kind::Sign("-") => Ok(match self.operators(6)? {
                Expr::Constant(Value::Int(number)) => Expr::Constant(Value::Int(number.saturating_neg())),
                Expr::Constant(Value::Double(number)) => Expr::Constant(Value::Double(-number)),
                other => Expr::Call(Function::Negate, vec![other]),
            }),
            Kind::Sign("!") => Ok(Expr::Call(Function::Not, vec![self.operators(NOT_POWER)?])),
            Kind::Name(_) if token.is_word("not") => {
                Ok(Expr::Call(Function::Not, vec![self.operators(NOT_POWER)?]))
            }
            Kind::Name(_) if token.is_word("true") => constant(Value::Bool(true)),
            Kind::Name(_) if token.is_word("false") => constant(Value::Bool(false)),
            Kind::Name(name) => {
                // The name of an aggregate is how it is written.
                if let Some((column, tokens)) = self.written_before(token) {
                    self.at += tokens;
                    return Ok(Expr::Column(column));
                }
                if self.peek().is_some_and(|next| next.is_sign("(") && next.span.start == token.span.end) {
                    return self.call(name, token);
                }
                self.column(name, token)
            }
            Kind::Regex(_) => {
                Err(ParseError::new(token.span.clone(), "a regular expression stands in `matches` only")
                    .suggest("write `matches(field, /expression/)`"))
            }
            Kind::Sign(_) | Kind::Inner(_) => {
                Err(unexpected(token)
                    .suggest("a field, a number, a text in quotes or a function was expected"))
            }
        }
    }

    /// A column whose name, as it is written, begins with the token that was just taken, and how many more tokens it has.
    fn written_before(&mut self, token: &Token) -> Option<(String, usize)> {
        debug_assert!(self.at > 0, "a token was taken: {token:?}");
        self.at -= 1;
        let found = self.columns.as_ref().and_then(|columns| self.written(columns));
        self.at += 1;
        found.filter(|(_, tokens)| *tokens > 1).map(|(name, tokens)| (name, tokens - 1))
    }

    fn column(&self, name: &str, token: &Token) -> Result<Expr, ParseError> {
        self.check(name, token.span.clone())?;
        Ok(Expr::Column(name.to_owned()))
    }

    fn call(&mut self, name: &str, token: &Token) -> Result<Expr, ParseError> {
        self.sign("(")?;
        let lower = name.to_ascii_lowercase();
        if lower == "matches" {
            return self.matches();
        }
        let mut arguments = Vec::new();
        if !self.take_sign(")") {
            arguments = self.list(Self::expression)?;
            self.sign(")")?;
        }
        if lower == "in_network" {
            return in_network(arguments, token);
        }
        let Some((_, function, arity)) = NAMED.iter().find(|(known, ..)| *known == lower) else {
            let error = ParseError::new(token.span.clone(), format!("there is no function {name}"));
            // An aggregate of before is called as it is written.
            let columns = self.columns.iter().flatten();
            let mut known: Vec<&str> = columns.filter_map(|column| Some(column.split_once('(')?.0)).collect();
            known.extend(function_names());
            return Err(error.suggest(match closest(&lower, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}", function_names().collect::<Vec<_>>().join(", ")),
            }));
        };
        if !(arity.least..=arity.most).contains(&arguments.len()) {
            let wanted = if arity.least == arity.most {
                arity.least.to_string()
            } else {
                format!("{} to {}", arity.least, arity.most)
            };
            return Err(ParseError::new(
                token.span.clone(),
                format!("{name} takes {wanted} arguments, not {}", arguments.len()),
            ));
        }
        Ok(Expr::Call(function.clone(), arguments))
    }

    /// `matches(field, /expression/)`, behind the parenthesis.
    fn matches(&mut self) -> Result<Expr, ParseError> {
        let of = self.expression()?;
        self.sign(",")?;
        let (text, span) = match self.next() {
            Some(Token { kind: Kind::Regex(text) | Kind::Text(text), span }) => (text, span.clone()),
            _ => {
                return Err(ParseError::new(
                    self.here(),
                    "a regular expression between slashes was expected",
                ));
            }
        };
        self.sign(")")?;
        let pattern = Pattern::new(text)
            .map_err(|why| ParseError::new(span, format!("the regular expression is wrong: {why}")))?;
        Ok(Expr::Call(Function::Matches(pattern), vec![of]))
    }
}

fn in_network(mut arguments: Vec<Expr>, token: &Token) -> Result<Expr, ParseError> {
    let network = match arguments.get(1) {
        Some(Expr::Constant(Value::String(text))) => Cidr::parse(text),
        _ => None,
    };
    let (Some(network), 2) = (network, arguments.len()) else {
        return Err(ParseError::new(token.span.clone(), "in_network takes a field and a network")
            .suggest("write `in_network(client_ip, \"10.0.0.0/8\")`"));
    };
    arguments.truncate(1);
    Ok(Expr::Call(Function::InNetwork(network), arguments))
}

fn depth(expression: &Expr) -> usize {
    match expression {
        Expr::Call(_, arguments) => 1 + arguments.iter().map(depth).max().unwrap_or(0),
        Expr::Column(_) | Expr::Constant(_) => 1,
    }
}

/// Long chains of `and` and `or` are flat.
fn joined(function: Function, left: Expr, right: Expr) -> Expr {
    match left {
        Expr::Call(known, mut arguments) if known == function => {
            arguments.push(right);
            Expr::Call(known, arguments)
        }
        other => Expr::Call(function, vec![other, right]),
    }
}

/// A comparison. Beside a time a text must be one.
fn compared(
    function: Function,
    left: Expr,
    right: Expr,
    at: std::ops::Range<usize>,
) -> Result<Expr, ParseError> {
    let time = |of: Expr, other: &Expr| match of {
        Expr::Constant(Value::String(text)) if other.is_time(&is_time_field) => {
            match text.parse::<Timestamp>() {
                Ok(time) => Ok(Expr::Constant(Value::Int(time.0))),
                Err(_) => Err(ParseError::new(at.clone(), format!("{text:?} is no time"))
                    .suggest("write RFC 3339 in quotes, \"2026-01-31T12:00:00Z\"")),
            }
        }
        other => Ok(other),
    };
    let right = time(right, &left)?;
    let left = time(left, &right)?;
    Ok(Expr::Call(function, vec![left, right]))
}
