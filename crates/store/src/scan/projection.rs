//! Where the value of a field comes from, for the rows of one shape.

use crate::{
    bytes::Malformed,
    plan::Origin,
    shape::{Body, Place, Read, SeverityNumber, SeverityText, Shape, read_value, severity_of},
};
use millrace_model::{FieldRef, RecordId, Severity, StreamName, Value, ValueRef};
use millrace_pipes::{cell_of, plain};
use std::{cell::OnceCell, rc::Rc};

/// See the module.
pub(crate) struct Projection<'q> {
    pub(crate) field: &'q FieldRef,
    /// What the resource says, by origin, where that comes before all else; empty where no resource says anything.
    pub(crate) resource: Rc<[Option<&'q Value>]>,
    pub(crate) own: Own,
}

/// What is not told by the resource.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Own {
    /// The same for all rows.
    Constant(Option<Value>),
    /// In a slot.
    Slot(usize, Read),
    /// The row says it, not the record.
    Row,
    /// Only the whole record says it.
    Record,
}

/// A field of the rows of one stream and some origins. What does not depend on the shape is worked out once.
pub(crate) struct Projector<'q> {
    field: &'q FieldRef,
    origins: &'q [Origin],
    stream: &'q StreamName,
    /// What the resources say, by origin, of the first paths of the field: by how many these are.
    resources: Vec<OnceCell<Rc<[Option<&'q Value>]>>>,
}

impl<'q> Projector<'q> {
    pub(crate) fn new(field: &'q FieldRef, origins: &'q [Origin], stream: &'q StreamName) -> Self {
        let resources = (0..=field.paths().count()).map(|_| OnceCell::new()).collect();
        Self { field, origins, stream, resources }
    }

    /// For the rows of a shape.
    pub(crate) fn of(&self, shape: &Shape) -> Projection<'q> {
        let field = self.field;
        let at = |place: &Place| match shape.slot_of(place) {
            Some((slot, read)) => Own::Slot(slot, read),
            None if *place == Place::Null => Own::Constant(None),
            None => Own::Record,
        };
        let maybe = |place: Option<&Place>| place.map_or(Own::Constant(None), at);
        let own = match field {
            FieldRef::Body if matches!(shape.body, Body::Absent) => Own::Constant(None),
            FieldRef::Body => Own::Record,
            FieldRef::Level => match &shape.severity_text {
                SeverityText::At(place) => at(place),
                SeverityText::Constant(text) => {
                    let severity = severity_of(shape.severity_number, text);
                    Own::Constant(cell_of(&ValueRef::Level { text, severity }))
                }
            },
            FieldRef::SeverityNumber => match (&shape.severity_text, shape.severity_number) {
                (SeverityText::At(place), SeverityNumber::FromText) => at(place),
                (SeverityText::Constant(text), number) => Own::Constant(number_of(severity_of(number, text))),
                (_, number) => Own::Constant(number_of(severity_of(number, ""))),
            },
            FieldRef::TraceId => maybe(shape.trace_id.as_ref()),
            FieldRef::SpanId => maybe(shape.span_id.as_ref()),
            FieldRef::Stream => Own::Constant(Some(Value::from(self.stream.as_str()))),
            FieldRef::Timestamp
            | FieldRef::ObservedTimestamp
            | FieldRef::Id
            | FieldRef::Source
            | FieldRef::Position => Own::Row,
            FieldRef::AttributeNames => match shape.attribute_names() {
                Some(names) => Own::Constant(Some(Value::String(names))),
                None => Own::Record,
            },
            FieldRef::ResourceNames => {
                let resource = self.origins.iter().map(|origin| Some(&origin.names)).collect();
                // Each row has an origin, which says it.
                return Projection { field, resource, own: Own::Constant(None) };
            }
            FieldRef::Attribute(_) | FieldRef::Resource(_) | FieldRef::Any { .. } => {
                return self.named(shape, at);
            }
        };
        Projection { field, resource: Rc::default(), own }
    }

    /// A field by its path: of each path the attributes come before the resource.
    fn named(&self, shape: &Shape, at: impl Fn(&Place) -> Own) -> Projection<'q> {
        let field = self.field;
        let (mut own, mut paths_before) = (Own::Constant(None), field.paths().count());
        if !matches!(field, FieldRef::Resource(_)) {
            for (number, path) in field.paths().enumerate() {
                match shape.attributes.at(path) {
                    Err(_) => return Projection { field, resource: Rc::default(), own: Own::Record },
                    Ok(None) => {}
                    Ok(Some(place)) => {
                        (own, paths_before) = (at(place), number);
                        break;
                    }
                }
            }
        }
        if matches!(field, FieldRef::Attribute(_)) {
            paths_before = 0;
        }
        Projection { field, resource: self.resource(paths_before), own }
    }

    fn resource(&self, paths: usize) -> Rc<[Option<&'q Value>]> {
        let resource = self.resources[paths].get_or_init(|| {
            let paths = || self.field.paths().take(paths);
            let of = |origin: &'q Origin| paths().find_map(|path| origin.resource.at(path));
            let resource: Rc<[Option<&Value>]> = self.origins.iter().map(of).collect();
            if resource.iter().all(Option::is_none) { Rc::default() } else { resource }
        });
        Rc::clone(resource)
    }
}

impl Projection<'_> {
    /// Does the value in a slot depend on the shape, besides its bytes and how they are read? That of a level does.
    pub(crate) fn needs_shape(&self) -> bool {
        matches!(self.field, FieldRef::Level | FieldRef::SeverityNumber)
    }

    /// The value in a slot.
    pub(crate) fn read(&self, shape: &Shape, read: Read, raw: &[u8]) -> Result<Option<Value>, Malformed> {
        let text = || std::str::from_utf8(raw).map_err(|_| Malformed("text expected"));
        Ok(match self.field {
            FieldRef::TraceId | FieldRef::SpanId => Some(Value::String(text()?.to_ascii_lowercase())),
            FieldRef::Level | FieldRef::SeverityNumber => {
                let value = read_value(read, raw)?;
                let text = value.as_str().unwrap_or_default();
                let severity = severity_of(shape.severity_number, text);
                match self.field {
                    FieldRef::Level => cell_of(&ValueRef::Level { text, severity }),
                    _ => number_of(severity),
                }
            }
            _ => Some(read_value(read, raw)?).filter(|value| *value != Value::Null).map(plain),
        })
    }
}

fn number_of(severity: Severity) -> Option<Value> {
    (severity != Severity::UNKNOWN).then(|| Value::Int(severity.number().into()))
}

/// What `_source`, `_position` or `_id` says of a row, as a cell has it.
pub(crate) fn cell_of_id(field: &FieldRef, id: RecordId) -> Value {
    match field {
        FieldRef::Source => Value::String(id.source.to_string()),
        FieldRef::Position => Value::Int(id.position as i64),
        _ => Value::String(id.to_string()),
    }
}
