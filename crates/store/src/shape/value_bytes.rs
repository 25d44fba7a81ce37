//! Any value as bytes, exactly: for what no simpler slot can hold.

use crate::bytes::{Malformed, Reader, put_bytes, put_number, put_signed};
use millrace_model::{Attributes, Value};

/// Values nested deeper are refused when they are read; the wire's reader does not let any in.
const MAX_DEPTH: usize = 128;

/// Appends the bytes of `value`.
pub(crate) fn put(into: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => into.push(0),
        Value::Bool(flag) => into.push(1 + u8::from(*flag)),
        Value::Int(number) => {
            into.push(3);
            put_signed(into, *number);
        }
        Value::Double(number) => {
            into.push(4);
            into.extend(number.to_bits().to_le_bytes());
        }
        Value::String(text) => {
            into.push(5);
            put_bytes(into, text.as_bytes());
        }
        Value::Text(text) => {
            into.push(9);
            put_bytes(into, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            into.push(6);
            put_bytes(into, bytes);
        }
        Value::Array(values) => {
            into.push(7);
            put_number(into, values.len() as u64);
            for value in values {
                put(into, value);
            }
        }
        Value::Map(entries) => {
            into.push(8);
            put_attributes(into, entries);
        }
    }
}

/// Appends the bytes of named values.
pub(crate) fn put_attributes(into: &mut Vec<u8>, attributes: &Attributes) {
    put_number(into, attributes.len() as u64);
    for (key, value) in attributes.iter() {
        put_bytes(into, key.as_bytes());
        put(into, value);
    }
}

/// Reads what [`put`] wrote.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, Malformed> {
    read_value(&mut Reader::new(bytes), 0)
}

/// Reads what [`put_attributes`] wrote.
pub(crate) fn read_attributes(bytes: &[u8]) -> Result<Attributes, Malformed> {
    read_attributes_from(&mut Reader::new(bytes))
}

/// The same where more follows.
pub(crate) fn read_attributes_from(reader: &mut Reader<'_>) -> Result<Attributes, Malformed> {
    read_entries(reader, 0)
}

fn read_value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed("a value that is not nested so deep expected"));
    }
    Ok(match reader.byte()? {
        0 => Value::Null,
        1 => Value::Bool(false),
        2 => Value::Bool(true),
        3 => Value::Int(reader.signed()?),
        4 => {
            let bits = reader.take(8)?.try_into().map_err(|_| Malformed("eight bytes expected"))?;
            Value::Double(f64::from_bits(u64::from_le_bytes(bits)))
        }
        5 => Value::String(reader.text()?.to_owned()),
        6 => Value::Bytes(reader.bytes()?.to_vec()),
        7 => {
            let count = reader.count()?;
            Value::Array((0..count).map(|_| read_value(reader, depth + 1)).collect::<Result<_, _>>()?)
        }
        8 => Value::Map(read_entries(reader, depth + 1)?),
        9 => Value::Text(reader.text()?.to_owned()),
        _ => return Err(Malformed("a kind of value expected")),
    })
}

fn read_entries(reader: &mut Reader<'_>, depth: usize) -> Result<Attributes, Malformed> {
    let mut attributes = Attributes::new();
    for _ in 0..reader.count()? {
        let key = reader.text()?.to_owned();
        attributes.push(key, read_value(reader, depth)?);
    }
    Ok(attributes)
}

/// Are two values the same, bit for bit?
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => super::same_attributes(a, b),
        _ => a == b,
    }
}
