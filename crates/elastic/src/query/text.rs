//! Queries on words: `match` and its kin.

use super::{
    Reader, all, any,
    compound::COMMON,
    join::at_least,
    leaf::{Leaf, Term},
    minimum::minimum,
    none,
    term::{field_of, value_of},
    words,
};
use crate::{
    Error,
    fields::Kind,
    json::{Object, scalar, token},
};
use millrace_filter::Expr;
use serde_json::Value as Json;

/// Analysers that cut words as ours does, or nearly so.
const ANALYZERS: &[&str] = &["standard", "simple", "default", "stop", "whitespace", "english", "keyword"];

/// What a query on words says besides its text.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the query")]
pub(super) struct Options {
    /// All of the words.
    pub(super) all: bool,
    pub(super) minimum: Option<Json>,
    /// Where there is no word at all, everything is found.
    pub(super) all_of_none: bool,
    pub(super) lenient: bool,
    pub(super) slop: usize,
    /// The text is one word, however it is written.
    pub(super) whole: bool,
}

impl Options {
    fn read(object: &mut Object<'_>) -> Result<Self, Error> {
        object.ignore(COMMON);
        object.ignore(&[
            "auto_generate_synonyms_phrase_query",
            "cutoff_frequency",
            "fuzzy_transpositions",
            "max_expansions",
            "prefix_length",
            "tie_breaker",
            "fuzzy_rewrite",
        ]);
        let all = match object.text("operator")? {
            None => false,
            Some(operator) => match operator.to_ascii_lowercase().as_str() {
                "or" => false,
                "and" => true,
                _ => {
                    return Err(Error::argument(format!(
                        "No enum constant org.elasticsearch.index.query.Operator.{}",
                        operator.to_uppercase()
                    )));
                }
            },
        };
        let all_of_none =
            match object.text("zero_terms_query")?.map(|text| text.to_ascii_lowercase()).as_deref() {
                None | Some("none") => false,
                Some("all") => true,
                Some(other) => {
                    return Err(Error::parsing(format!("Unsupported zero_terms_query value [{other}]")));
                }
            };
        if let Some(fuzziness) = object.text("fuzziness")?
            && fuzziness != "0"
        {
            return Err(Error::argument("[fuzziness] is not supported here"));
        }
        let whole = match object.text("analyzer")? {
            Some(name) if !ANALYZERS.contains(&name.as_str()) => {
                return Err(Error::argument(format!("[match] analyzer [{name}] not found")));
            }
            name => name.as_deref() == Some("keyword"),
        };
        Ok(Self {
            all,
            minimum: object.value("minimum_should_match").cloned(),
            all_of_none,
            lenient: object.flag("lenient")?.unwrap_or(false),
            slop: object.size("slop")?.unwrap_or(0),
            whole,
        })
    }

    fn of_none(&self) -> Expr {
        if self.all_of_none { Expr::All } else { none() }
    }
}

/// How words are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Words,
    Phrase,
    PhrasePrefix,
    /// The last one may go on.
    WordsPrefix,
}

fn given<'b>(body: &'b Json, name: &'b str) -> Result<(&'b str, String, Options), Error> {
    let (field, given) = field_of(body, name)?;
    let (object, value) = value_of(given, name, "query")?;
    let text = scalar(value)
        .ok_or_else(|| Error::parsing(format!("[{name}] unknown token [{}] after [query]", token(value))))?;
    let options = match object {
        Some(mut object) => {
            let options = Options::read(&mut object)?;
            object.finish()?;
            options
        }
        None => Options::default(),
    };
    Ok((field, text, options))
}

pub(super) fn matches(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let (field, text, options) = given(body, "match")?;
    on_field(reader, field, &text, How::Words, &options)
}

pub(super) fn phrase(reader: &mut Reader<'_>, body: &Json, prefix: bool) -> Result<Expr, Error> {
    let (name, how) =
        if prefix { ("match_phrase_prefix", How::PhrasePrefix) } else { ("match_phrase", How::Phrase) };
    let (field, text, options) = given(body, name)?;
    on_field(reader, field, &text, how, &options)
}

pub(super) fn bool_prefix(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let (field, text, options) = given(body, "match_bool_prefix")?;
    on_field(reader, field, &text, How::WordsPrefix, &options)
}

/// A text on one field.
pub(super) fn on_field(
    reader: &mut Reader<'_>,
    field: &str,
    text: &str,
    how: How,
    options: &Options,
) -> Result<Expr, Error> {
    let leaf = reader.leaf(field)?;
    if leaf.field.kind.is_words() {
        return on_words(reader, &leaf, text, how, options);
    }
    let term = Term { text, is_plain: false, any_case: false };
    let found = match how {
        How::PhrasePrefix | How::WordsPrefix if is_text(&leaf.field.kind) => leaf.prefix(text, false),
        _ => leaf.term(&term),
    };
    match found {
        Err(_) if options.lenient => Ok(none()),
        found => found,
    }
}

fn is_text(kind: &Kind) -> bool {
    matches!(kind, Kind::Keyword { .. } | Kind::Unknown | Kind::Level | Kind::Id | Kind::Index)
}

fn on_words(
    reader: &mut Reader<'_>,
    leaf: &Leaf,
    text: &str,
    how: How,
    options: &Options,
) -> Result<Expr, Error> {
    let pieces = if options.whole { vec![text] } else { words::pieces(text) };
    if pieces.is_empty() {
        return Ok(options.of_none());
    }
    reader.clause(pieces.len())?;
    match how {
        How::Phrase => words::sloppy(leaf, text, options.slop),
        How::PhrasePrefix => words::phrase_prefix(leaf, text),
        How::Words | How::WordsPrefix => {
            let last = pieces.len() - 1;
            let word = |(at, piece): (usize, &&str)| {
                if how == How::WordsPrefix && at == last {
                    words::word_prefix(leaf, piece)
                } else {
                    Ok(words::phrase(leaf, piece))
                }
            };
            let words = pieces.iter().enumerate().map(word).collect::<Result<Vec<_>, Error>>()?;
            joined(words, options)
        }
    }
}

fn joined(words: Vec<Expr>, options: &Options) -> Result<Expr, Error> {
    if options.all {
        return Ok(all(words));
    }
    let wanted = match &options.minimum {
        Some(given) => minimum(given, words.len())?.max(1),
        None => 1,
    };
    at_least(words, wanted)
}

/// A name without the weight behind it.
pub(super) fn without_boost(name: &str) -> Result<&str, Error> {
    match name.split_once('^') {
        None => Ok(name),
        Some((name, boost)) if boost.parse::<f64>().is_ok() => Ok(name),
        Some((_, boost)) => Err(Error::number(boost)),
    }
}

/// The fields that are meant by names, which may have wildcards and weights.
pub(super) fn fields_of(reader: &Reader<'_>, names: &[String]) -> Result<Vec<String>, Error> {
    let mut fields: Vec<String> = Vec::new();
    for name in names {
        let name = without_boost(name)?;
        // All fields there are: what is in any of them is in the line.
        let meant = if name == "*" { vec!["*".to_owned()] } else { reader.mapping.names(name) };
        for field in meant {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
    }
    Ok(fields)
}

pub(super) fn multi(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let mut object = Object::of(body, "multi_match", crate::json::Style::Query)?;
    let text = object.required("query")?;
    let names = object.texts("fields")?;
    let kind = object.text("type")?.unwrap_or_else(|| "best_fields".to_owned());
    let options = Options::read(&mut object)?;
    object.finish()?;
    let how = match kind.as_str() {
        "best_fields" | "most_fields" | "cross_fields" => How::Words,
        "phrase" => How::Phrase,
        "phrase_prefix" => How::PhrasePrefix,
        "bool_prefix" => How::WordsPrefix,
        other => {
            return Err(Error::parsing(format!(
                "failed to parse [multi_match] query type [{}]. unknown type.",
                other.chars().take(100).collect::<String>()
            )));
        }
    };
    let names = names.filter(|names| !names.is_empty()).unwrap_or_else(|| vec!["*".to_owned()]);
    let fields = fields_of(reader, &names)?;
    let options = Options { lenient: options.lenient || fields.len() > 1, ..options };
    if kind == "cross_fields" {
        return cross_fields(reader, &fields, &text, &options);
    }
    let found = fields.iter().map(|field| on_field(reader, field, &text, how, &options));
    Ok(any(found.collect::<Result<_, _>>()?))
}

/// Each word in any of the fields, as if they were one.
fn cross_fields(
    reader: &mut Reader<'_>,
    fields: &[String],
    text: &str,
    options: &Options,
) -> Result<Expr, Error> {
    let pieces = words::pieces(text);
    if pieces.is_empty() {
        return Ok(options.of_none());
    }
    let mut words = Vec::new();
    for piece in pieces {
        let found = fields.iter().map(|field| on_field(reader, field, piece, How::Words, options));
        words.push(any(found.collect::<Result<_, _>>()?));
    }
    joined(words, options)
}
