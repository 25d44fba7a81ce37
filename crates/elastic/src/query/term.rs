//! Queries on values as they are: `term`, `terms`, `exists`, `prefix`, `wildcard`, `regexp`, `ids`.

use super::{
    Reader, any,
    compound::COMMON,
    leaf::{Leaf, Term},
    none, regexp,
};
use crate::{
    Error,
    json::{Object, Style, scalar, token},
};
use millrace_filter::Expr;
use serde_json::Value as Json;

/// What a query says of one field, and the field.
pub(super) fn field_of<'b>(body: &'b Json, name: &str) -> Result<(&'b str, &'b Json), Error> {
    let Json::Object(map) = body else {
        return Err(Error::parsing(format!("[{name}] query malformed, no start_object after query name")));
    };
    let mut fields = map.iter().filter(|(key, _)| !COMMON.contains(&key.as_str()));
    let Some((field, given)) = fields.next() else {
        return Err(Error::argument("field name is null or empty"));
    };
    if let Some((second, _)) = fields.next() {
        return Err(Error::parsing(format!(
            "[{name}] query doesn't support multiple fields, found [{field}] and [{second}]"
        )));
    }
    Ok((field, given))
}

/// The value of a query on a field, which may be said by itself, and the rest of what it says.
pub(super) fn value_of<'b>(
    given: &'b Json,
    name: &'b str,
    key: &'static str,
) -> Result<(Option<Object<'b>>, &'b Json), Error> {
    match given {
        Json::Object(_) => {
            let mut object = Object::of(given, name, Style::Query)?;
            object.ignore(COMMON);
            let value = object.value(key).ok_or_else(|| Error::argument("value cannot be null"))?;
            Ok((Some(object), value))
        }
        Json::Array(_) => Err(Error::parsing(format!("[{name}] query does not support arrays"))),
        Json::Null => Err(Error::argument("value cannot be null")),
        scalar => Ok((None, scalar)),
    }
}

fn text_of(name: &str, value: &Json) -> Result<String, Error> {
    scalar(value)
        .map(|text| if value.is_f64() { text.strip_suffix(".0").unwrap_or(&text).to_owned() } else { text })
        .ok_or_else(|| Error::parsing(format!("[{name}] query does not support [{}]", token(value))))
}

pub(super) fn term(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let (field, given) = field_of(body, "term")?;
    let (object, value) = value_of(given, "term", "value")?;
    let any_case = flag(object, "case_insensitive")?;
    let text = text_of("term", value)?;
    reader.leaf(field)?.term(&Term { text: &text, is_plain: !value.is_string(), any_case })
}

/// The only thing that is said besides the value.
fn flag(object: Option<Object<'_>>, key: &'static str) -> Result<bool, Error> {
    let Some(mut object) = object else { return Ok(false) };
    object.ignore(&["rewrite"]);
    let flag = object.flag(key)?.unwrap_or(false);
    object.finish()?;
    Ok(flag)
}

pub(super) fn terms(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let (field, given) = field_of(body, "terms")?;
    let values = match given {
        Json::Array(values) => values,
        Json::Object(_) => return Err(Error::argument("[terms] lookups are not supported here")),
        other => return Err(Error::parsing(format!("[terms] query does not support [{}]", token(other)))),
    };
    if values.len() > super::MAX_CLAUSES {
        return Err(Error::argument(format!(
            "The number of terms [{}] used in the Terms Query request has exceeded the allowed maximum of [{}]. This maximum can be set by changing the [index.max_terms_count] index level setting.",
            values.len(),
            super::MAX_CLAUSES
        )));
    }
    reader.clause(values.len())?;
    let leaf = reader.leaf(field)?;
    let texts = values.iter().map(|value| text_of("terms", value)).collect::<Result<Vec<_>, _>>()?;
    let term = |(text, value): (&String, &Json)| {
        leaf.term(&Term { text, is_plain: !value.is_string(), any_case: false })
    };
    Ok(any(texts.iter().zip(values).map(term).collect::<Result<_, _>>()?))
}

pub(super) fn exists(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let mut object = Object::of(body, "exists", Style::Query)?;
    object.ignore(COMMON);
    let field = object.required("field")?;
    object.finish()?;
    let names = reader.mapping.names(&field);
    let tests = names.iter().map(|name| Ok(reader.leaf(name)?.exists())).collect::<Result<_, _>>()?;
    Ok(any(tests))
}

/// `prefix`, `wildcard` and `regexp`.
pub(super) fn pattern(reader: &mut Reader<'_>, body: &Json, name: &str) -> Result<Expr, Error> {
    let (field, given) = field_of(body, name)?;
    let key = if name == "wildcard" && given.get("wildcard").is_some() { "wildcard" } else { "value" };
    let (mut object, value) = value_of(given, name, key)?;
    if let Some(object) = &mut object {
        object.ignore(if name == "regexp" {
            &["flags", "max_determinized_states", "flags_value"]
        } else {
            &["wildcard"]
        });
    }
    let any_case = flag(object, "case_insensitive")?;
    let text = text_of(name, value)?;
    let leaf = reader.leaf(field)?;
    match name {
        "prefix" => leaf.prefix(&text, any_case),
        "wildcard" => leaf.wildcard(&text, any_case),
        _ => regexp::regexp(reader, &leaf, &text, any_case),
    }
}

/// Records by their ids.
pub(super) fn ids(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let mut object = Object::of(body, "ids", Style::Query)?;
    object.ignore(COMMON);
    object.ignore(&["type"]);
    let values = object.texts("values")?.ok_or_else(|| object.lacks("values"))?;
    object.finish()?;
    reader.clause(values.len())?;
    if values.is_empty() {
        return Ok(none());
    }
    let leaf: Leaf = reader.leaf("_id")?;
    Ok(any(values.iter().map(|id| leaf.equals(id)).collect()))
}
