//! What a plan does, as people read it: expressions as they could be written, and of each fragment what it reads, does and
//! gathers.

use crate::{
    Fragment, Fragments, Plan,
    ast::{Aggregate, AggregateKind, Named, SortKey},
    expression::Expr,
    extract::Pattern,
    fragment::{Gather, Step},
    functions::{Function, NAMED},
    groups::GroupBy,
    ordered::OrderBy,
    parse::name_of,
    token::UNITS,
};
use millrace_model::Value;
use serde::Serialize;
use std::fmt::{self, Display, Write};

/// What one fragment of a plan does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The columns that it reads.
    pub reads: Vec<String>,
    /// What it does to each row, in this order.
    pub steps: Vec<String>,
    /// What it gathers of all.
    pub gathers: String,
    /// How the store finds that faster than row by row, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<&'static str>,
}

impl Plan {
    /// What each fragment does: the first where records lie, the others at the node that answers.
    pub fn told(&self) -> Vec<Told> {
        self.fragments().iter().map(told).collect()
    }
}

fn told(fragment: &Fragment) -> Told {
    let alone = Fragments::from(vec![fragment.clone()]);
    let shortcut = if alone.latest().is_some() {
        Some("the latest records, as a search without pipes finds them")
    } else if alone.counted_by_time().is_some() {
        Some("a histogram, as a search without pipes makes it")
    } else if alone.counted().is_some() {
        Some("counts of values, which shards have or make without rows")
    } else {
        None
    };
    Told {
        reads: fragment.columns().to_vec(),
        steps: fragment.steps().iter().map(ToString::to_string).collect(),
        gathers: fragment.gather().to_string(),
        shortcut,
    }
}

/// With commas between.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, one) in self.0.iter().enumerate() {
            write!(f, "{}{one}", if number > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// A column's name as it stands in a query: in backquotes where it needs them.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a>(
    /// The name.
    pub &'a str,
);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_word = |text: &str| ["and", "or", "not", "true", "false", "as", "by", "from"].contains(&text);
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '@');
        let begins = self.0.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '@'));
        if begins && self.0.chars().all(plain) && !is_word(&self.0.to_ascii_lowercase()) {
            f.write_str(self.0)
        } else {
            quoted(f, self.0, '`')
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str, mark: char) -> fmt::Result {
    f.write_char(mark)?;
    for c in text.chars() {
        if c == mark || c == '\\' {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char(mark)
}

const fn sign(function: &Function) -> Option<&'static str> {
    Some(match function {
        Function::Add => "+",
        Function::Subtract => "-",
        Function::Multiply => "*",
        Function::Divide => "/",
        Function::Remainder => "%",
        Function::Equal => "=",
        Function::NotEqual => "!=",
        Function::Less => "<",
        Function::LessOrEqual => "<=",
        Function::Greater => ">",
        Function::GreaterOrEqual => ">=",
        Function::And => "and",
        Function::Or => "or",
        _ => return None,
    })
}

/// An operand of an operator: in parentheses where it is one itself.
struct Operand<'a>(&'a Expr);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::Call(Function::Not | Function::Negate, _) => write!(f, "({})", self.0),
            Expr::Call(function, _) if sign(function).is_some() => write!(f, "({})", self.0),
            other => other.fmt(f),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name) => Name(name).fmt(f),
            Self::Constant(Value::String(text) | Value::Text(text)) => quoted(f, text, '"'),
            Self::Constant(value) => value.fmt(f),
            Self::Call(function, of) => match (function, of.as_slice()) {
                (Function::Not, [of]) => write!(f, "not {}", Operand(of)),
                (Function::Negate, [of]) => write!(f, "-{}", Operand(of)),
                (Function::Matches(pattern), [of]) => {
                    write!(f, "matches({of}, /{}/)", pattern.as_str().replace('/', "\\/"))
                }
                (Function::InNetwork(network), [of]) => write!(f, "in_network({of}, \"{network}\")"),
                (Function::Mask, [of]) => write!(f, "mask({of})"),
                (function, [a, b]) if sign(function).is_some() => {
                    write!(f, "{} {} {}", Operand(a), sign(function).unwrap_or_default(), Operand(b))
                }
                (function, of) => {
                    let known = NAMED.iter().find(|(_, known, _)| known == function);
                    write!(f, "{}({})", known.map_or("?", |(name, ..)| name), List(of))
                }
            },
        }
    }
}

impl Display for Named<Expr> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)?;
        match &self.what {
            Expr::Column(name) if *name == self.name => Ok(()),
            _ => write!(f, " as {}", Name(&self.name)),
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            AggregateKind::Percentile(part) => {
                write!(f, "p{}", (part * 1e6).round() / 1e4)?;
            }
            kind => f.write_str(name_of(kind))?,
        }
        match &self.of {
            Some(of) => write!(f, "({of})"),
            None => f.write_str("()"),
        }
    }
}

impl Display for Named<Aggregate> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = self.what.to_string();
        f.write_str(&written)?;
        if written == self.name { Ok(()) } else { write!(f, " as {}", Name(&self.name)) }
    }
}

impl Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.descending { "-" } else { "" }, Name(&self.name))
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Where(condition) => write!(f, "where {condition}"),
            Self::Eval(columns) => {
                let written = |column: &Named<Expr>| format!("{} = {}", Name(&column.name), column.what);
                write!(f, "eval {}", List(&columns.iter().map(written).collect::<Vec<_>>()))
            }
            Self::Extract(extract) => {
                f.write_str("extract ")?;
                match extract.pattern() {
                    Pattern::Pieces(text) => quoted(f, text, '"')?,
                    Pattern::Regex(text) => write!(f, "/{}/", text.replace('/', "\\/"))?,
                }
                write!(f, " from {}", Name(&extract.from))
            }
            Self::Expand { of, different: false } => write!(f, "expand {}", Name(of)),
            Self::Expand { of, different: true } => write!(f, "expand what is different in {}", Name(of)),
            Self::Join(lookup) => {
                let by: Vec<Name<'_>> = lookup.by.iter().map(|name| Name(name)).collect();
                let added: Vec<Name<'_>> = lookup.names().map(Name).collect();
                let kind = if lookup.left { "left" } else { "inner" };
                write!(f, "join {kind} by {}, {} rows: {}", List(&by), lookup.rows(), List(&added))
            }
            Self::Parse { format, from, names } => {
                let names: Vec<Name<'_>> = names.iter().map(|name| Name(name)).collect();
                write!(f, "parse {format} from {}: {}", Name(from), List(&names))
            }
            Self::Share { of, name } => write!(f, "{} = part of the sum of {}", Name(name), Name(of)),
        }
    }
}

impl Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        List(&self.aggregates).fmt(f)?;
        if self.by.is_empty() { Ok(()) } else { write!(f, " by {}", List(&self.by)) }
    }
}

impl Display for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            usize::MAX => f.write_str("all rows")?,
            limit => write!(f, "the first {limit} rows")?,
        }
        if !self.keys.is_empty() {
            write!(f, " by {}", List(&self.keys))?;
        }
        if !self.unique.is_empty() {
            let names: Vec<Name<'_>> = self.unique.iter().map(|name| Name(name)).collect();
            write!(f, ", one of each {}", List(&names))?;
        }
        let names: Vec<Name<'_>> = self.columns.iter().map(|name| Name(name)).collect();
        write!(f, ": {}", List(&names))
    }
}

impl Display for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups(ask) => write!(f, "stats {ask}"),
            Self::Runs(ask) => write!(f, "transaction {} {}", Length(ask.gap), ask.groups),
            Self::Rows(ask) => ask.fmt(f),
        }
    }
}

/// A length of time, in nanoseconds, in the largest unit that says it exactly.
struct Length(i64);

impl Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No time at all is whole in each of them.
        let found =
            UNITS.iter().rev().find(|(unit, size)| self.0 % size == 0 && (self.0 != 0 || *unit == "s"));
        found.map_or(Ok(()), |(unit, size)| write!(f, "{}{unit}", self.0 / size))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::{Context, Pipe, Plan, parse};
    use millrace_model::{TimeRange, Timestamp};

    #[test]
    fn an_expression_is_written_as_it_could_be_read() {
        for (written, printed) in [
            ("a>2*b", "a > (2 * b)"),
            ("not(a=1)or b", "(not (a = 1)) or b"),
            ("`user-agent` = 'a \"b\"'", "`user-agent` = \"a \\\"b\\\"\""),
            (
                "matches(a, /x\\/y/) and in_network(b, '10.0.0.0/8')",
                "matches(a, /x\\/y/) and in_network(b, \"10.0.0.0/8\")",
            ),
            ("if(a, -b, coalesce(c, 1.5, true))", "if(a, -b, coalesce(c, 1.5, true))"),
            ("`a\\`b` + `not` - `1`", "(`a\\`b` + `not`) - `1`"),
        ] {
            let of = |text: &str| match parse(&format!("* | where {text}")).unwrap().pipes.as_slice() {
                [Pipe::Where(condition)] => condition.clone(),
                other => panic!("{other:?}"),
            };
            assert_eq!(of(written).to_string(), printed);
            assert_eq!(of(printed), of(written), "{printed} reads as {written}");
        }
    }

    #[test]
    fn a_plan_says_what_is_done_where() {
        let context = Context { now: Timestamp(5), range: TimeRange::ALL, limit: 10, memory: 1 << 20 };
        let told = |query: &str| Plan::new(&parse(query).unwrap().pipes, &context).unwrap().told();
        let all = told(
            "* | where status >= 400 | stats count(), p99.9(bytes) as `the most` by user | sort -count()",
        );
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].reads, ["status", "user", "bytes"]);
        assert_eq!(all[0].steps, ["where status >= 400"]);
        assert_eq!(all[0].gathers, "stats count(), p99.9(bytes) as `the most` by user");
        assert_eq!(all[1].gathers, "the first 10 rows by -`count()`: user, `count()`, `the most`");
        let gathers = |query: &str| told(query)[0].gathers.clone();
        assert_eq!(gathers("* | session 90m by user"), "transaction 90m count() as count by user");
        assert_eq!(gathers("* | transaction 0s sum(x)"), "transaction 0s sum(x)");
        assert!(told("* | limit 3")[0].shortcut.unwrap().contains("latest"));
        assert!(told("* | timechart 5m count()")[0].shortcut.unwrap().contains("histogram"));
        assert!(told("* | top user")[0].shortcut.unwrap().contains("counts of values"));
        assert_eq!(told("* | stats sum(x)")[0].shortcut, None);
        let steps =
            &told("* | extract \"<a> <b>\" | parse json | eval c = now() | dedup a | fields a, c, d")[0];
        assert_eq!(
            steps.steps,
            ["extract \"<a> <b>\" from body", "parse json from body: a, d", "eval c = 5"]
        );
        assert!(steps.gathers.contains("one of each a"), "{}", steps.gathers);
    }
}
