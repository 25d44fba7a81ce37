//! A row for each element of an array.

use crate::{
    ABSENT, Cells,
    frame::{Frame, Rows, Visit},
    key::Key,
};
use hashbrown::HashSet;
use millrace_model::Value;
use std::rc::Rc;

/// Calls `visit` with the rows of a frame, some at a time: where the column has an array, one for each of its elements (of those
/// that are equal one, if only what is `different` is wanted), and how many these are more. What has no array, or an empty one,
/// stays a row; of an empty one it has no value.
pub(crate) fn each_part<'r, R: Rows>(
    mut frame: Frame<'r, R>,
    of: &str,
    different: bool,
    visit: &mut Visit<'_, 'r, R>,
) -> Result<(), R::Error> {
    let cells = frame.cells(of)?;
    if !cells.values.iter().any(|value| matches!(value, Value::Array(_))) {
        return visit(frame, 0);
    }
    let mut elements = Cells::default();
    let places: Vec<Vec<u32>> =
        cells.values.iter().map(|value| add(&mut elements, value, different)).collect();
    // An array's elements are no more than its record holds, but those of many arrays of one record multiply.
    let multiplies = frame.repeats();
    let beside = |row: u32| {
        let code = cells.codes.get(row as usize).copied().unwrap_or(ABSENT);
        places.get(code as usize).map_or(&[ABSENT][..], Vec::as_slice)
    };
    let put = |part: &mut Frame<'r, R>, places: &[u32]| part.put(of, Rc::new(elements.pick(places)));
    frame.spread(beside, put, &mut |part, added| visit(part, if multiplies { added } else { 0 }))
}

/// Adds the elements of a value, and says where they are.
fn add(elements: &mut Cells, value: &Value, different: bool) -> Vec<u32> {
    let Value::Array(values) = value else { return one(elements, value) };
    let mut seen = HashSet::new();
    let is_new = |value: &&Value| !different || seen.insert(Key::of(value));
    let places: Vec<u32> = values.iter().filter(is_new).flat_map(|value| one(elements, value)).collect();
    if places.is_empty() { vec![ABSENT] } else { places }
}

fn one(elements: &mut Cells, value: &Value) -> Vec<u32> {
    let place = elements.rows() as u32;
    elements.push(Some(value.clone()));
    vec![place]
}
