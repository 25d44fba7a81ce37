//! The stages of a pipeline.

use super::Parser;
use crate::{
    address::Addresses,
    ast::{
        Chosen, CompareOp, Conversion, FormatValue, JsonField, JsonStep, LabelFilter, LabelFormat,
        LineFilter, LineOp, LineTest, Logfmt, Matcher, Quantity, Stage, Unwrap,
    },
    entry::{ERROR, ERROR_DETAILS},
    expression::Anchoring,
    json,
    pattern::Pattern,
    template::Template,
    token::{Kind, Token},
};
use millrace_filter::ParseError;
use millrace_model::closest;

/// Words that begin a stage, and so no test of a label.
const STAGES: &[&str] = &[
    "decolorize",
    "drop",
    "json",
    "keep",
    "label_format",
    "line_format",
    "logfmt",
    "pattern",
    "regexp",
    "unpack",
    "unwrap",
];

impl Parser<'_> {
    pub(super) fn stages(&mut self) -> Result<Vec<Stage>, ParseError> {
        let mut stages = Vec::new();
        let mut unwrapped = false;
        loop {
            let span = self.here();
            let stage = match self.peek().map(|token| &token.kind) {
                Some(Kind::Sign("|=")) => self.line_filter(LineOp::Contains)?,
                Some(Kind::Sign("!=")) => self.line_filter(LineOp::NotContains)?,
                Some(Kind::Sign("|~")) => self.line_filter(LineOp::Regex)?,
                Some(Kind::Sign("!~")) => self.line_filter(LineOp::NotRegex)?,
                Some(Kind::Sign("|>")) => self.line_filter(LineOp::Pattern)?,
                Some(Kind::Sign("!>")) => self.line_filter(LineOp::NotPattern)?,
                Some(Kind::Sign("|")) => {
                    self.at += 1;
                    self.stage()?
                }
                _ => return Ok(stages),
            };
            if unwrapped && !matches!(stage, Stage::Label(_)) {
                return Err(ParseError::new(span, "only tests of labels can follow an unwrap"));
            }
            unwrapped |= matches!(stage, Stage::Unwrap(_));
            self.part()?;
            stages.push(stage);
        }
    }

    fn line_filter(&mut self, op: LineOp) -> Result<Stage, ParseError> {
        self.at += 1;
        let mut any = vec![self.line_test(op)?];
        while self.take_word("or") {
            self.part()?;
            any.push(self.line_test(op)?);
        }
        Ok(Stage::Line(LineFilter { op, any }))
    }

    fn line_test(&mut self, op: LineOp) -> Result<LineTest, ParseError> {
        let by_text = matches!(op, LineOp::Contains | LineOp::NotContains);
        if self.peek().is_some_and(|token| token.is_word("ip")) {
            let span = self.here();
            let addresses = self.addresses()?;
            return if by_text {
                Ok(LineTest::Addresses(addresses))
            } else {
                Err(ParseError::new(span, "addresses are looked for by `|=` and `!=`"))
            };
        }
        let (text, span) = self.text()?;
        Ok(match op {
            LineOp::Contains | LineOp::NotContains => LineTest::Text(text),
            LineOp::Regex | LineOp::NotRegex => {
                LineTest::Regex(self.expression_of(&text, span, Anchoring::Line)?)
            }
            LineOp::Pattern | LineOp::NotPattern => {
                LineTest::Pattern(Pattern::of_filter(&text).map_err(|why| ParseError::new(span, why))?)
            }
        })
    }

    /// `ip("…")`
    fn addresses(&mut self) -> Result<Addresses, ParseError> {
        self.at += 1;
        self.sign("(")?;
        let (text, span) = self.text()?;
        self.sign(")")?;
        Addresses::parse(&text).ok_or_else(|| {
            ParseError::new(span, "this is neither an address, nor a range, nor a network")
                .suggest("`192.0.2.1`, `192.0.2.1-192.0.2.9` or `192.0.2.0/24`")
        })
    }

    /// Behind the `|`.
    fn stage(&mut self) -> Result<Stage, ParseError> {
        let Some(token) = self.peek() else {
            return Err(ParseError::new(self.here(), "a stage is missing behind the `|`").suggest(known()));
        };
        let Kind::Word(word) = &token.kind else {
            return match &token.kind {
                Kind::Sign("(") => self.any_label(0).map(Stage::Label),
                _ => Err(ParseError::new(token.span.clone(), "this is no stage").suggest(known())),
            };
        };
        if !STAGES.contains(&word.as_str()) {
            return match self.peek_behind().map(|token| &token.kind) {
                Some(Kind::Sign("=" | "!=" | "=~" | "!~" | "==" | ">" | ">=" | "<" | "<=")) => {
                    self.any_label(0).map(Stage::Label)
                }
                _ => Err(no_stage(token, word)),
            };
        }
        self.at += 1;
        match word.as_str() {
            "json" => self.json(),
            "logfmt" => self.logfmt(),
            "pattern" => {
                let (text, span) = self.text()?;
                Pattern::of_parser(&text).map(Stage::Pattern).map_err(|why| ParseError::new(span, why))
            }
            "regexp" => self.regexp(),
            "unpack" => Ok(Stage::Unpack),
            "line_format" => self.template().map(Stage::LineFormat),
            "label_format" => self.label_format(),
            "decolorize" => Ok(Stage::Decolorize),
            "drop" => self.list(Self::chosen).map(Stage::Drop),
            "keep" => self.list(Self::chosen).map(Stage::Keep),
            _ => self.unwrap(),
        }
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T, ParseError>) -> Result<Vec<T>, ParseError> {
        let mut all = vec![one(self)?];
        while self.take_sign(",") {
            self.part()?;
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// Are there labels behind `json` or `logfmt`?
    fn names_labels(&self) -> bool {
        matches!(self.peek().map(|token| &token.kind), Some(Kind::Word(_)))
    }

    fn json(&mut self) -> Result<Stage, ParseError> {
        if !self.names_labels() {
            return Ok(Stage::Json(Vec::new()));
        }
        let field = |parser: &mut Self| {
            let label = parser.word("a label")?;
            if !parser.take_sign("=") {
                return Ok(JsonField {
                    text: label.clone(),
                    path: vec![JsonStep::Field(label.clone())],
                    label,
                });
            }
            let (text, span) = parser.text()?;
            match json::path(&text) {
                Some(path) => Ok(JsonField { label, text, path }),
                None => Err(ParseError::new(span, "this is no way to a value")
                    .suggest("such as `request.headers[\"User-Agent\"]` or `servers[0]`")),
            }
        };
        self.list(field).map(Stage::Json)
    }

    fn logfmt(&mut self) -> Result<Stage, ParseError> {
        let mut logfmt = Logfmt::default();
        loop {
            if self.take_sign("--strict") {
                logfmt.strict = true;
            } else if self.take_sign("--keep-empty") {
                logfmt.keep_empty = true;
            } else {
                break;
            }
        }
        if self.names_labels() {
            logfmt.wanted = self.list(|parser| {
                let label = parser.word("a label")?;
                let key = if parser.take_sign("=") { parser.text()?.0 } else { label.clone() };
                Ok((label, key))
            })?;
        }
        Ok(Stage::Logfmt(logfmt))
    }

    fn regexp(&mut self) -> Result<Stage, ParseError> {
        let (text, span) = self.text()?;
        let expression = self.expression_of(&text, span.clone(), Anchoring::Part)?;
        if expression.regex().capture_names().flatten().next().is_none() {
            return Err(ParseError::new(span, "nothing in the expression has a name")
                .suggest("name a group, `(?P<status>[0-9]+)`"));
        }
        Ok(Stage::Regexp(expression))
    }

    fn template(&mut self) -> Result<Template, ParseError> {
        let (text, span) = self.text()?;
        // Each may compile expressions of its own.
        self.count_expressions(
            text.matches("regexReplaceAll").count() + text.matches("count").count(),
            &span,
        )?;
        Template::parse(&text).map_err(|why| ParseError::new(span, why))
    }

    fn label_format(&mut self) -> Result<Stage, ParseError> {
        let start = self.here().start;
        let formats = self.list(|parser| {
            let span = parser.here();
            let label = parser.word("a label")?;
            if label == ERROR || label == ERROR_DETAILS {
                return Err(ParseError::new(span, format!("{label} cannot be set")));
            }
            parser.sign("=")?;
            let value = match parser.peek().map(|token| &token.kind) {
                Some(Kind::Word(source)) => {
                    parser.at += 1;
                    FormatValue::Rename(source.clone())
                }
                _ => FormatValue::Template(parser.template()?),
            };
            Ok(LabelFormat { label, value })
        })?;
        let twice = (1..formats.len())
            .find(|at| formats[..*at].iter().any(|format| format.label == formats[*at].label));
        match twice {
            Some(at) => Err(ParseError::new(
                start..self.here().start.max(start),
                format!("{} is set twice", formats[at].label),
            )
            .suggest("use two `label_format`")),
            None => Ok(Stage::LabelFormat(formats)),
        }
    }

    fn chosen(&mut self) -> Result<Chosen, ParseError> {
        let label = self.word("a label")?;
        let tested =
            matches!(self.peek().map(|token| &token.kind), Some(Kind::Sign("=" | "!=" | "=~" | "!~" | "==")));
        Ok(Chosen { label, test: if tested { Some(self.text_test()?) } else { None } })
    }

    fn unwrap(&mut self) -> Result<Stage, ParseError> {
        let label = self.word("a label")?;
        let conversion = match label.as_str() {
            "duration" | "duration_seconds" => Conversion::Duration,
            "bytes" => Conversion::Bytes,
            _ => Conversion::Number,
        };
        if self.peek().is_none_or(|token| !token.is_sign("(")) {
            return Ok(Stage::Unwrap(Unwrap { label, conversion: Conversion::Number }));
        }
        if conversion == Conversion::Number {
            return Err(ParseError::new(self.here(), format!("there is no conversion {label}"))
                .suggest("`duration(label)` and `bytes(label)` are"));
        }
        self.at += 1;
        let label = self.word("a label")?;
        self.sign(")")?;
        Ok(Stage::Unwrap(Unwrap { label, conversion }))
    }

    /// Tests with `or` between them.
    fn any_label(&mut self, depth: usize) -> Result<LabelFilter, ParseError> {
        self.check_depth(depth)?;
        let mut left = self.all_labels(depth)?;
        while self.take_word("or") {
            self.part()?;
            left = LabelFilter::Or(Box::new(left), Box::new(self.all_labels(depth)?));
        }
        Ok(left)
    }

    /// Tests with `and`, a comma or nothing between them.
    fn all_labels(&mut self, depth: usize) -> Result<LabelFilter, ParseError> {
        let mut left = self.one_label(depth)?;
        loop {
            let joined = self.take_word("and") || self.take_sign(",");
            let begins = match self.peek().map(|token| &token.kind) {
                Some(Kind::Word(word)) => word != "or",
                Some(Kind::Sign(sign)) => *sign == "(",
                _ => false,
            };
            if !joined && !begins {
                return Ok(left);
            }
            self.part()?;
            left = LabelFilter::And(Box::new(left), Box::new(self.one_label(depth)?));
        }
    }

    fn one_label(&mut self, depth: usize) -> Result<LabelFilter, ParseError> {
        if self.take_sign("(") {
            let inner = self.any_label(depth + 1)?;
            self.sign(")")?;
            return Ok(inner);
        }
        let span = self.here();
        let label = self.word("a test of a label")?;
        if STAGES.contains(&label.as_str()) || matches!(label.as_str(), "and" | "or") {
            return Err(ParseError::new(
                span,
                format!("`{label}` is a word of the language, not a label here"),
            )
            .suggest("a `|` stands before each stage"));
        }
        let op = match self.peek().map(|token| &token.kind) {
            Some(Kind::Sign("=" | "==")) => CompareOp::Equal,
            Some(Kind::Sign("!=")) => CompareOp::NotEqual,
            Some(Kind::Sign(">")) => CompareOp::Greater,
            Some(Kind::Sign(">=")) => CompareOp::GreaterOrEqual,
            Some(Kind::Sign("<")) => CompareOp::Less,
            Some(Kind::Sign("<=")) => CompareOp::LessOrEqual,
            _ => return Ok(LabelFilter::Text(Matcher { label, test: self.text_test()? })),
        };
        match self.peek_behind().map(|token| &token.kind) {
            Some(Kind::Text(_)) if matches!(op, CompareOp::Equal | CompareOp::NotEqual) => {
                Ok(LabelFilter::Text(Matcher { label, test: self.text_test()? }))
            }
            Some(Kind::Text(_)) => {
                self.at += 1;
                Err(ParseError::new(self.here(), "texts have no order").suggest("leave out the quotes"))
            }
            Some(Kind::Word(word)) if word == "ip" => {
                let span = self.here();
                self.at += 1;
                let addresses = self.addresses()?;
                match op {
                    CompareOp::Equal => Ok(LabelFilter::Addresses { label, equal: true, addresses }),
                    CompareOp::NotEqual => Ok(LabelFilter::Addresses { label, equal: false, addresses }),
                    _ => Err(ParseError::new(span, "addresses are compared by `=` and `!=`")),
                }
            }
            _ => {
                self.at += 1;
                Ok(LabelFilter::Compare { label, op, value: self.quantity()? })
            }
        }
    }

    fn quantity(&mut self) -> Result<Quantity, ParseError> {
        let negative = self.take_sign("-");
        let span = self.here();
        match self.next().map(|token| &token.kind) {
            Some(Kind::Number(number)) => Ok(Quantity::Number(if negative { -number } else { *number })),
            Some(Kind::Duration(duration)) => {
                let nanos = if negative { -duration.0 } else { duration.0 };
                Ok(Quantity::Duration(crate::units::Duration(nanos)))
            }
            Some(Kind::Bytes(bytes)) if !negative => Ok(Quantity::Bytes(*bytes)),
            Some(Kind::Word(word)) => {
                Err(ParseError::new(span, "a value was expected").suggest(format!("write \"{word}\"")))
            }
            _ => Err(ParseError::new(span, "a value was expected")
                .suggest("a text in quotes, a number, `5ms` or `10KB`")),
        }
    }
}

fn known() -> String {
    format!("{}, or a test of a label such as `status >= 500`", STAGES.join(", "))
}

fn no_stage(token: &Token, word: &str) -> ParseError {
    let error = ParseError::new(token.span.clone(), format!("there is no stage {word}"));
    error.suggest(match closest(word, STAGES.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => known(),
    })
}
