//! Values for `%placeholders%` of items with the modifier `expand`, out of a pipeline's variables. Only such items are
//! touched: a percent sign means nothing anywhere else.

use rsigma_parser::{DetectionItem, Modifier, SigmaRule, SigmaString, SigmaValue};
use std::collections::HashMap;

/// The most values that one item may become.
const MAX_VALUES: usize = 10_000;

/// What becomes of placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expansion {
    /// The values of the variable.
    Values,
    /// Whatever stands there.
    Wildcard,
}

/// Fills in what has values; items of which a placeholder has none stay as they are.
///
/// # Errors
/// There would be too many values.
pub(super) fn expand(
    rule: &mut SigmaRule,
    expansion: Expansion,
    variables: &HashMap<String, Vec<String>>,
) -> Result<(), String> {
    let mut result = Ok(());
    for detection in rule.detection.named.values_mut() {
        super::each_item_mut(detection, &mut |item| {
            if item.field.modifiers.contains(&Modifier::Expand) {
                match values(item, expansion, variables) {
                    Ok(Some(values)) => {
                        item.values = values;
                        item.field.modifiers.retain(|modifier| *modifier != Modifier::Expand);
                    }
                    Ok(None) => {}
                    Err(problem) => result = Err(problem),
                }
            }
        });
    }
    result
}

/// The placeholders of a rule that nothing was filled in for.
pub(super) fn left(rule: &SigmaRule) -> Vec<String> {
    let mut left = Vec::new();
    for detection in rule.detection.named.values() {
        super::each_item(detection, &mut |item| {
            if item.field.modifiers.contains(&Modifier::Expand) {
                let names = item.values.iter().filter_map(text).flat_map(|text| pieces(text).into_iter());
                left.extend(names.filter_map(|piece| match piece {
                    Piece::Placeholder(name) => Some(name.to_owned()),
                    Piece::Text(_) => None,
                }));
            }
        });
    }
    left.sort();
    left.dedup();
    left
}

/// The values of an item with everything filled in; `None`: something has no values.
fn values(
    item: &DetectionItem,
    expansion: Expansion,
    variables: &HashMap<String, Vec<String>>,
) -> Result<Option<Vec<SigmaValue>>, String> {
    let mut all = Vec::new();
    for value in &item.values {
        let Some(original) = text(value) else {
            all.push(value.clone());
            continue;
        };
        let mut texts = vec![String::new()];
        for piece in pieces(original) {
            let choices = match (piece, expansion) {
                (Piece::Text(text), _) => vec![text],
                (Piece::Placeholder(_), Expansion::Wildcard) => vec!["*"],
                (Piece::Placeholder(name), Expansion::Values) => match variables.get(name) {
                    Some(values) if !values.is_empty() => values.iter().map(String::as_str).collect(),
                    _ => return Ok(None),
                },
            };
            if texts.len() * choices.len() + all.len() > MAX_VALUES {
                return Err(format!("{original:?} would become more than {MAX_VALUES} values"));
            }
            texts = texts
                .iter()
                .flat_map(|text| choices.iter().map(move |choice| format!("{text}{choice}")))
                .collect();
        }
        all.extend(texts.into_iter().map(|text| SigmaValue::String(SigmaString::new(&text))));
    }
    Ok(Some(all))
}

fn text(value: &SigmaValue) -> Option<&str> {
    match value {
        SigmaValue::String(text) => Some(&text.original),
        _ => None,
    }
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// A text cut at its `%names%`.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('%') {
        let name = after.split_once('%');
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        if let Some((name, after)) = name.filter(|(name, _)| is_name(name)) {
            pieces.extend([Piece::Text(before), Piece::Placeholder(name)]);
            rest = after;
        } else {
            pieces.push(Piece::Text(&rest[..=before.len()]));
            rest = after;
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}
