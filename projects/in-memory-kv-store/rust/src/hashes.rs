//! Hashes: packed while they are small, a table when they are not; and their commands.

use crate::commands::{
    Call, HASH_NOT_FLOAT, HASH_NOT_INTEGER, NOT_FINITE, Outcome, Refusal, WOULD_OVERFLOW,
    wrong_arity,
};
use crate::keys::{Scan, reply_scan};
use crate::memory::footprint;
use crate::numbers::{LongDouble, parse_i64};
use crate::store::Kind;
use crate::store::entry::Object;
use crate::store::record::Record;
use crate::store::table::{Keyed, Table, hash_of};

/// Beyond these a hash becomes a table, as in Redis.
const MAX_PACKED_FIELDS: usize = 512;
const MAX_PACKED_BYTES: usize = 64;

/// A field and its value in one record; the header says where the value begins.
#[derive(Clone)]
pub struct Field(Record<u32>);

impl Field {
    fn new(field: &[u8], value: &[u8]) -> Self {
        Self(Record::new(field.len() as u32, [field, value]))
    }

    fn pair(&self) -> (&[u8], &[u8]) {
        self.0.bytes().split_at(self.0.extra() as usize)
    }
}

impl Keyed for Field {
    fn key(&self) -> &[u8] {
        self.pair().0
    }
}

/// Fields and values one behind the other, each with a byte for its length in front.
#[derive(Clone, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    count: usize,
}

impl Packed {
    fn text_at(&self, offset: usize) -> &[u8] {
        &self.bytes[offset + 1..][..usize::from(self.bytes[offset])]
    }

    /// The offsets of a field's value and of what follows it.
    fn find(&self, field: &[u8]) -> Option<(usize, usize)> {
        let mut offset = 0;
        while offset < self.bytes.len() {
            let found = self.text_at(offset);
            let value = offset + 1 + found.len();
            let end = value + 1 + usize::from(self.bytes[value]);
            if found == field {
                return Some((value, end));
            }
            offset = end;
        }
        None
    }

    fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            if offset == self.bytes.len() {
                return None;
            }
            let field = self.text_at(offset);
            let value = self.text_at(offset + 1 + field.len());
            offset += 2 + field.len() + value.len();
            Some((field, value))
        })
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend_from_slice(text);
    }

    /// Sets a field; true: it is new. Field and value are short.
    fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        let Some((start, end)) = self.find(field) else {
            self.bytes.reserve_exact(2 + field.len() + value.len());
            self.push(field);
            self.push(value);
            self.count += 1;
            return true;
        };
        if end - start - 1 == value.len() {
            self.bytes[start + 1..end].copy_from_slice(value);
        } else {
            let replaced = [&[value.len() as u8], value].concat();
            self.bytes.splice(start..end, replaced);
        }
        false
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        let Some((value, end)) = self.find(field) else {
            return false;
        };
        self.bytes.drain(value - 1 - field.len()..end);
        self.count -= 1;
        true
    }
}

#[derive(Clone)]
pub enum Hash {
    Packed(Packed),
    Table(Table<Field>),
}

impl Default for Hash {
    fn default() -> Self {
        Self::Packed(Packed::default())
    }
}

impl Kind for Hash {
    fn of(object: &Object) -> Option<&Self> {
        match object {
            Object::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        match object {
            Object::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::Hash(Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Hash {
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.count,
            Self::Table(table) => table.len(),
        }
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Table(_) => "hashtable",
        }
    }

    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Packed(packed) => packed.find(field).map(|(value, _)| packed.text_at(value)),
            Self::Table(table) => table.get(field).map(|found| found.pair().1),
        }
    }

    /// Sets a field; true: it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        if let Self::Packed(packed) = self {
            let is_short = field.len().max(value.len()) <= MAX_PACKED_BYTES;
            let has_room = packed.count < MAX_PACKED_FIELDS || packed.find(field).is_some();
            if is_short && has_room {
                return packed.set(field, value);
            }
            self.unpack();
        }
        let Self::Table(table) = self else {
            return false;
        };
        let hash = hash_of(field);
        if let Some(position) = table.locate(hash, field) {
            *table.at_mut(position) = Field::new(field, value);
            return false;
        }
        table.insert(hash, Field::new(field, value));
        true
    }

    fn unpack(&mut self) {
        let mut table = Table::default();
        for (field, value) in self.pairs() {
            table.insert(hash_of(field), Field::new(field, value));
        }
        *self = Self::Table(table);
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Self::Packed(packed) => packed.remove(field),
            Self::Table(table) => table.remove(field).is_some(),
        }
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (packed, table) = match self {
            Self::Packed(packed) => (Some(packed), None),
            Self::Table(table) => (None, Some(table)),
        };
        let packed = packed.into_iter().flat_map(Packed::pairs);
        packed.chain(
            table
                .into_iter()
                .flat_map(|table| table.iter().map(Field::pair)),
        )
    }

    pub fn footprint(&self) -> usize {
        match self {
            Self::Packed(packed) => footprint(packed.bytes.capacity()),
            Self::Table(table) => {
                let fields = table.iter().map(|field| field.0.footprint());
                fields.sum::<usize>() + table.footprint()
            }
        }
    }
}

// --- commands

pub fn hset(call: &mut Call<'_>) -> Outcome {
    let added = set_fields(call, "hset")?;
    call.out.count(added);
    Ok(())
}

pub fn hmset(call: &mut Call<'_>) -> Outcome {
    set_fields(call, "hmset")?;
    call.out.ok();
    Ok(())
}

fn set_fields(call: &mut Call<'_>, name: &str) -> Result<usize, Refusal> {
    let key = call.arg(1);
    if call.args.len() % 2 == 1 {
        return Err(wrong_arity(name));
    }
    let hash: &mut Hash = call.store.edit_or_create(key)?;
    let mut added = 0;
    for index in (2..call.args.len()).step_by(2) {
        added += usize::from(hash.set(call.args.at(index), call.args.at(index + 1)));
    }
    call.wrote(key);
    Ok(added)
}

pub fn hsetnx(call: &mut Call<'_>) -> Outcome {
    let (key, field, value) = (call.arg(1), call.arg(2), call.arg(3));
    let hash: &mut Hash = call.store.edit_or_create(key)?;
    let is_new = hash.get(field).is_none();
    if is_new {
        hash.set(field, value);
        call.wrote(key);
    }
    call.out.flag(is_new);
    Ok(())
}

pub fn hget(call: &mut Call<'_>) -> Outcome {
    let (key, field) = (call.arg(1), call.arg(2));
    let hash = call.store.read_kind::<Hash>(key)?;
    call.out.bulk_or_null(hash.and_then(|hash| hash.get(field)));
    Ok(())
}

pub fn hmget(call: &mut Call<'_>) -> Outcome {
    let hash = call.store.read_kind::<Hash>(call.args.at(1))?;
    call.out.array(call.args.len() - 2);
    for field in call.args.from(2) {
        call.out.bulk_or_null(hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

pub fn hdel(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let mut removed = 0;
    if let Some(hash) = call.store.edit_kind::<Hash>(key)? {
        removed = call.args.from(2).filter(|field| hash.remove(field)).count();
    }
    if removed > 0 {
        call.store.drop_if_empty::<Hash>(key);
        call.wrote(key);
    }
    call.out.count(removed);
    Ok(())
}

pub fn hexists(call: &mut Call<'_>) -> Outcome {
    let (key, field) = (call.arg(1), call.arg(2));
    let hash = call.store.read_kind::<Hash>(key)?;
    call.out
        .flag(hash.is_some_and(|hash| hash.get(field).is_some()));
    Ok(())
}

pub fn hlen(call: &mut Call<'_>) -> Outcome {
    let hash = call.store.read_kind::<Hash>(call.args.at(1))?;
    call.out.count(hash.map_or(0, Hash::len));
    Ok(())
}

pub fn hstrlen(call: &mut Call<'_>) -> Outcome {
    let (key, field) = (call.arg(1), call.arg(2));
    let hash = call.store.read_kind::<Hash>(key)?;
    let value = hash.and_then(|hash| hash.get(field));
    call.out.count(value.map_or(0, <[u8]>::len));
    Ok(())
}

pub fn hkeys(call: &mut Call<'_>) -> Outcome {
    reply_pairs(call, true, false)
}

pub fn hvals(call: &mut Call<'_>) -> Outcome {
    reply_pairs(call, false, true)
}

pub fn hgetall(call: &mut Call<'_>) -> Outcome {
    reply_pairs(call, true, true)
}

fn reply_pairs(call: &mut Call<'_>, with_fields: bool, with_values: bool) -> Outcome {
    let Some(hash) = call.store.read_kind::<Hash>(call.args.at(1))? else {
        call.out.array(0);
        return Ok(());
    };
    let parts = usize::from(with_fields) + usize::from(with_values);
    call.out.array(hash.len() * parts);
    for (field, value) in hash.pairs() {
        if with_fields {
            call.out.bulk(field);
        }
        if with_values {
            call.out.bulk(value);
        }
    }
    Ok(())
}

pub fn hincrby(call: &mut Call<'_>) -> Outcome {
    let (key, field, increment) = (call.arg(1), call.arg(2), call.integer(3)?);
    let hash = call.store.edit_kind::<Hash>(key)?;
    let old = match hash.and_then(|hash| hash.get(field)) {
        Some(value) => parse_i64(value).ok_or(HASH_NOT_INTEGER)?,
        None => 0,
    };
    let sum = old.checked_add(increment).ok_or(WOULD_OVERFLOW)?;
    let hash: &mut Hash = call.store.edit_or_create(key)?;
    hash.set(field, itoa::Buffer::new().format(sum).as_bytes());
    call.out.integer(sum);
    call.wrote(key);
    Ok(())
}

pub fn hincrbyfloat(call: &mut Call<'_>) -> Outcome {
    let (key, field) = (call.arg(1), call.arg(2));
    let increment = call.long_double(3)?;
    if !increment.is_finite() {
        return Err(Refusal::Text("ERR value is NaN or Infinity"));
    }
    let hash = call.store.edit_kind::<Hash>(key)?;
    let old = match hash.and_then(|hash| hash.get(field)) {
        Some(value) => LongDouble::parse(value).ok_or(HASH_NOT_FLOAT)?,
        None => LongDouble::ZERO,
    };
    let sum = old.checked_plus(increment).ok_or(NOT_FINITE)?.format();
    let hash: &mut Hash = call.store.edit_or_create(key)?;
    hash.set(field, sum.as_bytes());
    call.out.bulk(sum.as_bytes());
    call.wrote_as(key, &[b"HSET", key, field, sum.as_bytes()]);
    Ok(())
}

pub fn hscan(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let cursor = Scan::cursor(call.arg(2))?;
    let Some(hash) = call.store.read_kind::<Hash>(key)? else {
        Scan::reply_end(call.out);
        return Ok(());
    };
    let scan = Scan::parse(call.args, 3, false)?;
    let mut found = Vec::new();
    let next = match hash {
        Hash::Packed(packed) => {
            found.extend(packed.pairs());
            0
        }
        Hash::Table(table) => scan.run(table, cursor, &mut |field| found.push(field.pair())),
    };
    found.retain(|(field, _)| scan.wants(field));
    let texts = found.iter().flat_map(|&(field, value)| [field, value]);
    reply_scan(call.out, next, 2 * found.len(), texts);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_hash_does_what_a_map_does() {
        for (fields, value_bytes) in [(10, 8), (100, 64), (40, 71), (3000, 20)] {
            let (mut hash, mut model) = (Hash::default(), HashMap::new());
            for step in 0..fields * 4 {
                let field = (step * 7 % fields).to_string().into_bytes();
                let value = vec![b'0' + (step % 10) as u8; step % value_bytes + 1];
                if step % 5 == 4 {
                    assert_eq!(hash.remove(&field), model.remove(&field).is_some());
                } else {
                    let is_new = model.insert(field.clone(), value.clone()).is_none();
                    assert_eq!(hash.set(&field, &value), is_new);
                }
                assert_eq!(hash.get(&field), model.get(&field).map(Vec::as_slice));
                assert_eq!(hash.len(), model.len());
            }
            let pairs = hash
                .pairs()
                .map(|(field, value)| (field.to_vec(), value.to_vec()));
            assert_eq!(pairs.collect::<HashMap<_, _>>(), model);
            let packed = hash.encoding() == "listpack";
            assert_eq!(packed, fields <= 512 && value_bytes <= 64);
        }
    }
}
