//! Small scripts over numbers: arithmetic, comparisons, conditions and the functions of `Math`, as they stand in `bucket_script`.

use crate::Error;

const MAX_LENGTH: usize = 4096;
const MAX_DEPTH: usize = 40;

/// A script, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Script(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Name(String),
    Call(String, Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Choose(Box<Node>, Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    Less,
    Greater,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Signs, the longer before the shorter, and how tight they bind.
const OPERATORS: &[(&str, Operator, u8)] = &[
    ("||", Operator::Or, 1),
    ("&&", Operator::And, 2),
    ("==", Operator::Equal, 3),
    ("!=", Operator::NotEqual, 3),
    ("<=", Operator::LessOrEqual, 4),
    (">=", Operator::GreaterOrEqual, 4),
    ("<", Operator::Less, 4),
    (">", Operator::Greater, 4),
    ("+", Operator::Add, 5),
    ("-", Operator::Subtract, 5),
    ("*", Operator::Multiply, 6),
    ("/", Operator::Divide, 6),
    ("%", Operator::Remainder, 6),
];

/// Functions of `Math`, and how many arguments they take.
const FUNCTIONS: &[(&str, usize)] = &[
    ("abs", 1),
    ("ceil", 1),
    ("exp", 1),
    ("floor", 1),
    ("log", 1),
    ("log10", 1),
    ("max", 2),
    ("min", 2),
    ("pow", 2),
    ("round", 1),
    ("signum", 1),
    ("sqrt", 1),
];

impl Script {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(100).collect();
            let error = Error::argument(format!("compile error: {why} in [{shown}]"));
            Error { kind: "script_exception", ..error }
        };
        if text.len() > MAX_LENGTH {
            return Err(wrong("the script is too long"));
        }
        let mut parser = Parser { rest: text.trim(), depth: 0 };
        if let Some(rest) = parser.rest.strip_prefix("return ") {
            parser.rest = rest;
        }
        let node = parser.choice().map_err(wrong)?;
        parser.rest = parser.rest.trim_start().trim_start_matches(';').trim_start();
        if parser.rest.is_empty() {
            Ok(Self(node))
        } else {
            Err(wrong("something follows that is not understood"))
        }
    }

    /// What it gives; truth is 1, and what is not true 0. `None`: a name has no value, or there is no result.
    pub(crate) fn run(&self, value: &dyn Fn(&str) -> Option<f64>) -> Option<f64> {
        run(&self.0, value).filter(|result| result.is_finite())
    }
}

#[expect(clippy::float_cmp, reason = "what a script asks for")]
fn run(node: &Node, value: &dyn Fn(&str) -> Option<f64>) -> Option<f64> {
    let truth = |holds: bool| f64::from(u8::from(holds));
    Some(match node {
        Node::Number(number) => *number,
        Node::Name(name) => value(name)?,
        Node::Not(inner) => truth(run(inner, value)? == 0.0),
        Node::Negate(inner) => -run(inner, value)?,
        Node::Choose(condition, yes, no) => {
            return run(if run(condition, value)? == 0.0 { no } else { yes }, value);
        }
        Node::Call(name, arguments) => {
            let of = arguments.iter().map(|argument| run(argument, value)).collect::<Option<Vec<_>>>()?;
            let (first, second) = (of.first().copied()?, of.get(1).copied().unwrap_or_default());
            match name.as_str() {
                "abs" => first.abs(),
                "ceil" => first.ceil(),
                "exp" => first.exp(),
                "floor" => first.floor(),
                "log" => first.ln(),
                "log10" => first.log10(),
                "max" => first.max(second),
                "min" => first.min(second),
                "pow" => first.powf(second),
                "round" => first.round(),
                "signum" => first.signum(),
                _ => first.sqrt(),
            }
        }
        Node::Binary(operator, left, right) => {
            let left = run(left, value)?;
            match operator {
                Operator::And if left == 0.0 => return Some(0.0),
                Operator::Or if left != 0.0 => return Some(1.0),
                _ => {}
            }
            let right = run(right, value)?;
            match operator {
                Operator::Or | Operator::And => truth(right != 0.0),
                Operator::Equal => truth(left == right),
                Operator::NotEqual => truth(left != right),
                Operator::LessOrEqual => truth(left <= right),
                Operator::GreaterOrEqual => truth(left >= right),
                Operator::Less => truth(left < right),
                Operator::Greater => truth(left > right),
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                Operator::Divide => left / right,
                Operator::Remainder => left % right,
            }
        }
    })
}

struct Parser<'s> {
    rest: &'s str,
    depth: usize,
}

impl<'s> Parser<'s> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, sign: &str) -> bool {
        self.blanks();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn choice(&mut self) -> Result<Node, &'static str> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("the script nests too deep");
        }
        let condition = self.binary(0)?;
        let node = if self.take("?") {
            let yes = self.choice()?;
            if !self.take(":") {
                return Err("`:` expected");
            }
            Node::Choose(Box::new(condition), Box::new(yes), Box::new(self.choice()?))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(node)
    }

    fn binary(&mut self, least: u8) -> Result<Node, &'static str> {
        let mut left = self.unary()?;
        loop {
            self.blanks();
            let Some((sign, operator, power)) =
                OPERATORS.iter().find(|(sign, _, power)| *power > least && self.rest.starts_with(sign))
            else {
                return Ok(left);
            };
            self.rest = &self.rest[sign.len()..];
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err("the script nests too deep");
            }
            let right = self.binary(*power)?;
            self.depth -= 1;
            left = Node::Binary(*operator, Box::new(left), Box::new(right));
        }
    }

    fn unary(&mut self) -> Result<Node, &'static str> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("the script nests too deep");
        }
        let node = if self.take("!") {
            Node::Not(Box::new(self.unary()?))
        } else if self.take("-") {
            Node::Negate(Box::new(self.unary()?))
        } else {
            self.atom()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn atom(&mut self) -> Result<Node, &'static str> {
        if self.take("(") {
            let inner = self.choice()?;
            return if self.take(")") { Ok(inner) } else { Err("`)` expected") };
        }
        let first = self.rest.chars().next().ok_or("it ends too early")?;
        if first.is_ascii_digit() || first == '.' {
            let end = self.rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(self.rest.len());
            let number = self.rest[..end].parse().map_err(|_| "a number is wrong")?;
            self.rest = self.rest[end..].trim_start_matches(['L', 'd', 'f']);
            return Ok(Node::Number(number));
        }
        let name = self.name()?;
        match name {
            "params" => self.parameter(),
            "true" => Ok(Node::Number(1.0)),
            "false" => Ok(Node::Number(0.0)),
            "Math" => self.function(),
            other => Ok(Node::Name(other.to_owned())),
        }
    }

    fn name(&mut self) -> Result<&'s str, &'static str> {
        self.blanks();
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        if end == 0 {
            return Err("a name was expected");
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(name)
    }

    /// `params.a`, `params['a']`.
    fn parameter(&mut self) -> Result<Node, &'static str> {
        if self.take(".") {
            return Ok(Node::Name(self.name()?.to_owned()));
        }
        if !self.take("[") {
            return Err("params stand with the name of one");
        }
        self.blanks();
        let quote = self
            .rest
            .chars()
            .next()
            .filter(|c| matches!(c, '\'' | '"'))
            .ok_or("a name in quotes was expected")?;
        let (name, rest) = self.rest[1..].split_once(quote).ok_or("a quote is not closed")?;
        self.rest = rest;
        if self.take("]") { Ok(Node::Name(name.to_owned())) } else { Err("`]` expected") }
    }

    fn function(&mut self) -> Result<Node, &'static str> {
        if !self.take(".") {
            return Err("a function of Math was expected");
        }
        let name = self.name()?;
        let (_, count) =
            FUNCTIONS.iter().find(|(known, _)| *known == name).ok_or("there is no such function")?;
        if !self.take("(") {
            return Err("`(` expected");
        }
        let mut arguments = vec![self.choice()?];
        while self.take(",") {
            arguments.push(self.choice()?);
        }
        if !self.take(")") || arguments.len() != *count {
            return Err("wrong arguments of a function");
        }
        Ok(Node::Call(name.to_owned(), arguments))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn scripts_compute() {
        let value = |name: &str| match name {
            "a" => Some(6.0),
            "b" => Some(4.0),
            _ => None,
        };
        for (text, expected) in [
            ("params.a / params.b", Some(1.5)),
            ("params['a'] + params.b * 2", Some(14.0)),
            ("(a + b) * 2 - -1", Some(21.0)),
            ("return params.a > 5 && b < 5 ? 1 : 0;", Some(1.0)),
            ("Math.max(a, Math.abs(-9))", Some(9.0)),
            ("params.a / 0", None),
            ("params.c + 1", None),
            ("!(a == b)", Some(1.0)),
            ("7 % 4", Some(3.0)),
        ] {
            assert_eq!(Script::parse(text).unwrap().run(&value), expected, "{text}");
        }
        for text in [
            "",
            "a +",
            "(a",
            "Math.nope(1)",
            "params",
            "a; b",
            "doc['x'].value",
            &"(".repeat(5000),
            &"-".repeat(4000),
        ] {
            assert!(Script::parse(text).is_err(), "{text}");
        }
    }
}
