//! The record format: varints, serial types, and rows decoded only as far as they are needed.

use std::cmp::Ordering;

use crate::value::{Collation, Value};

/// A variable-length integer: its value and the number of bytes it took, or None at the end.
#[inline(always)] // two compares in the hottest loops; the call would cost more
pub fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    match bytes {
        [a, ..] if *a < 0x80 => Some((u64::from(*a), 1)),
        [a, b, ..] if *b < 0x80 => Some((u64::from(*a & 0x7f) << 7 | u64::from(*b), 2)),
        _ => long_varint(bytes),
    }
}

#[cold]
fn long_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(8).enumerate() {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    Some((value << 8 | u64::from(*bytes.get(8)?), 9))
}

/// The sizes of serial types 0 to 11; 10 and 11 are not used by any database.
const FIXED_BYTES: [u8; 12] = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0];

/// Bytes of content that a field of this serial type has.
#[inline]
pub fn field_bytes(serial_type: u32) -> usize {
    match FIXED_BYTES.get(serial_type as usize) {
        Some(&bytes) => bytes as usize,
        None => (serial_type as usize - 12) / 2,
    }
}

/// A field's value. `bytes` starts at the field; short bytes (which validated records do not have)
/// give NULL rather than a panic.
#[inline]
pub fn decode(serial_type: u32, bytes: &[u8]) -> Value<'_> {
    match serial_type {
        0 | 10 | 11 => Value::Null,
        7 => match bytes.first_chunk::<8>() {
            Some(b) => Value::real(f64::from_be_bytes(*b)),
            None => Value::Null,
        },
        1..=9 => decode_int(serial_type, bytes).map_or(Value::Null, Value::Int),
        _ => match bytes.get(..field_bytes(serial_type)) {
            Some(b) if serial_type.is_multiple_of(2) => Value::blob(b),
            Some(b) => Value::text(b),
            None => Value::Null,
        },
    }
}

/// The value of an integer serial type (1 to 6, 8, 9).
#[inline]
pub fn decode_int(serial_type: u32, b: &[u8]) -> Option<i64> {
    Some(match serial_type {
        1 => i64::from(*b.first()? as i8),
        2 => i64::from(i16::from_be_bytes(*b.first_chunk()?)),
        3 => {
            let [high, middle, low] = *b.first_chunk()?;
            i64::from(i32::from_be_bytes([high, middle, low, 0]) >> 8)
        }
        4 => i64::from(i32::from_be_bytes(*b.first_chunk()?)),
        5 => {
            let six: [u8; 6] = *b.first_chunk()?;
            let mut wide = [0; 8];
            wide[..6].copy_from_slice(&six);
            i64::from_be_bytes(wide) >> 16
        }
        6 => i64::from_be_bytes(*b.first_chunk()?),
        8 => 0,
        9 => 1,
        _ => return None,
    })
}

/// Bytes of the record's header, as the record says.
pub fn header_bytes(payload: &[u8]) -> Option<usize> {
    varint(payload).map(|(bytes, _)| bytes as usize)
}

/// Where the fields of one record are. Reused from row to row.
#[derive(Default)]
pub struct Fields {
    pub types: Vec<u32>,
    pub starts: Vec<u32>,
    header_at: usize,
    header_bytes: usize,
    next_start: usize,
}

/// What is wrong with a record, for the message.
#[derive(Debug, PartialEq, Eq)]
pub struct BadRecord(pub &'static str);

impl Fields {
    pub fn with_capacity(fields: usize) -> Self {
        Self { types: Vec::with_capacity(fields), starts: Vec::with_capacity(fields), ..Self::default() }
    }

    /// Begins a new record. `payload` must hold the whole header (or the whole record).
    #[inline]
    pub fn start(&mut self, payload: &[u8], record_bytes: usize) -> Result<(), BadRecord> {
        self.types.clear();
        self.starts.clear();
        let (header_bytes, taken) = varint(payload).ok_or(BadRecord("record is empty"))?;
        if header_bytes as usize > payload.len()
            || header_bytes > record_bytes as u64
            || (header_bytes as usize) < taken
        {
            return Err(BadRecord("record header is longer than the record"));
        }
        self.header_at = taken;
        self.header_bytes = header_bytes as usize;
        self.next_start = header_bytes as usize;
        Ok(())
    }

    /// Walks the header until `count` fields are known or the header ends.
    #[inline]
    pub fn extend(&mut self, payload: &[u8], record_bytes: usize, count: usize) -> Result<(), BadRecord> {
        if self.types.len() >= count {
            return Ok(());
        }
        let header = &payload[..self.header_bytes];
        let (mut at, mut start) = (self.header_at, self.next_start);
        while self.types.len() < count && at < header.len() {
            let (serial_type, taken) =
                varint(&header[at..]).ok_or(BadRecord("record header ends inside a serial type"))?;
            let serial_type =
                u32::try_from(serial_type).map_err(|_| BadRecord("serial type is too large"))?;
            at += taken;
            self.types.push(serial_type);
            self.starts.push(start as u32);
            start += field_bytes(serial_type);
            if start > record_bytes {
                return Err(BadRecord("record header promises more than the record holds"));
            }
        }
        (self.header_at, self.next_start) = (at, start);
        Ok(())
    }

    /// One past the last byte of field `index`, or 0 when the record has no such field.
    pub fn end_of(&self, index: usize) -> usize {
        match self.types.get(index) {
            Some(&serial_type) => self.starts[index] as usize + field_bytes(serial_type),
            None => 0,
        }
    }
}

/// How one column of an index is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOrder {
    pub collation: Collation,
    pub descending: bool,
}

/// Compares the first fields of an index record with a key, in the order of the index.
pub fn compare_key(record: &[u8], key: &[Value<'_>], order: &[KeyOrder]) -> Result<Ordering, BadRecord> {
    let (header_bytes, mut header_at) = varint(record).ok_or(BadRecord("record is empty"))?;
    let header =
        record.get(..header_bytes as usize).ok_or(BadRecord("record header is longer than the record"))?;
    let mut start = header.len();
    for (wanted, order) in key.iter().zip(order) {
        let Some((serial_type, taken)) = header.get(header_at..).and_then(varint) else {
            return Err(BadRecord("index record has too few fields"));
        };
        let serial_type = u32::try_from(serial_type).map_err(|_| BadRecord("serial type is too large"))?;
        header_at += taken;
        let end = start + field_bytes(serial_type);
        let field =
            record.get(start..end).ok_or(BadRecord("record header promises more than the record holds"))?;
        let by_value = decode(serial_type, field).compare(wanted, order.collation);
        if by_value != Ordering::Equal {
            return Ok(if order.descending { by_value.reverse() } else { by_value });
        }
        start = end;
    }
    Ok(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints() {
        type Case = (&'static [u8], Option<(u64, usize)>);
        let cases: [Case; 8] = [
            (&[], None),
            (&[0x80], None),
            (&[0x05], Some((5, 1))),
            (&[0x81, 0x00], Some((128, 2))),
            (&[0x82, 0x80, 0x01], Some((32769, 3))),
            (&[0xff; 8], None),
            (&[0xff; 9], Some((u64::MAX, 9))),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x07], Some((7, 9))),
        ];
        for (bytes, expected) in cases {
            assert_eq!(varint(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn serial_types() {
        let cases: [(u32, &[u8], Value); 12] = [
            (0, &[], Value::Null),
            (1, &[0xff], Value::Int(-1)),
            (2, &[0x80, 0], Value::Int(-32768)),
            (3, &[0xff, 0xff, 0xfe], Value::Int(-2)),
            (4, &[0, 1, 0, 0], Value::Int(65536)),
            (5, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xfd], Value::Int(-3)),
            (6, &[0x80, 0, 0, 0, 0, 0, 0, 0], Value::Int(i64::MIN)),
            (7, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Value::Real(1.5)),
            (7, &[0x7f, 0xf8, 0, 0, 0, 0, 0, 0], Value::Null),
            (9, &[], Value::Int(1)),
            (16, &[1, 2], Value::blob(&[1u8, 2][..])),
            (17, b"ab", Value::text(&b"ab"[..])),
        ];
        for (serial_type, bytes, expected) in cases {
            assert_eq!(decode(serial_type, bytes), expected, "{serial_type}");
        }
    }

    #[test]
    fn fields_of_a_record() {
        let record = [4, 1, 0, 15, 42, b'z'];
        let mut fields = Fields::default();
        fields.start(&record, record.len()).unwrap();
        fields.extend(&record, record.len(), 1).unwrap();
        assert_eq!(fields.types, [1]);
        fields.extend(&record, record.len(), 9).unwrap();
        assert_eq!((fields.types.as_slice(), fields.starts.as_slice()), (&[1, 0, 15][..], &[4, 5, 5][..]));
        assert_eq!((fields.end_of(2), fields.end_of(3)), (6, 0));
    }

    #[test]
    fn lying_headers_are_refused() {
        let walk = |record: &[u8]| {
            let mut fields = Fields::default();
            fields.start(record, record.len())?;
            fields.extend(record, record.len(), 9)
        };
        for record in
            [&[][..], &[9, 1], &[0, 1], &[2, 200], &[3, 0x81], &[2, 1], &[7, 0x90, 0x80, 0x80, 0x80, 0x80, 0]]
        {
            assert!(walk(record).is_err(), "{record:?}");
        }
    }
}
