//! A key and its value in one allocation behind one word.
//!
//! ```text
//! head (8 bytes) | object (24, if not a short string) | deadline (12, if any) | key | short string
//! ```
//!
//! A key of 16 bytes with a value of 16 takes a block of 40 bytes: 48 with the allocator's word.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

use super::table::Keyed;
use crate::hashes::Hash;
use crate::lists::List;
use crate::memory::{footprint, rounded_up};
use crate::sets::Set;
use crate::zsets::Zset;

/// A value that is no short string.
#[derive(Clone)]
pub enum Object {
    Text(Vec<u8>), // long, or grown by APPEND or SETRANGE
    List(Box<List>),
    Hash(Box<Hash>),
    Set(Box<Set>),
    Zset(Box<Zset>),
}

pub enum Value<'a> {
    Text(&'a [u8]),
    Object(&'a Object),
}

impl Object {
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::Zset(_) => "zset",
        }
    }

    pub fn footprint(&self) -> usize {
        match self {
            Self::Text(text) => footprint(text.capacity()),
            Self::List(list) => footprint(size_of::<List>()) + list.footprint(),
            Self::Hash(hash) => footprint(size_of::<Hash>()) + hash.footprint(),
            Self::Set(set) => footprint(size_of::<Set>()) + set.footprint(),
            Self::Zset(zset) => footprint(size_of::<Zset>()) + zset.footprint(),
        }
    }
}

/// When a key ends, and where it stands in the store's list of such keys.
#[derive(Clone, Copy)]
pub struct Deadline {
    pub at_ms: i64,
    pub index: u32,
}

#[repr(C)]
struct Head {
    clock_and_flags: Cell<u32>, // the time of the last access in the upper 24 bits
    /// A short string: 16 bits each for the key (low) and the value. Else: the key.
    lengths: Cell<u32>,
}

const IS_SHORT: u32 = 1;
const HAS_DEADLINE: u32 = 2;
const FLAG_BITS: u32 = 8;
const FLAGS: u32 = (1 << FLAG_BITS) - 1;
/// The access clock counts in this many bits and then starts again.
pub const CLOCK_BITS: u32 = 32 - FLAG_BITS;

const HEAD_BYTES: usize = size_of::<Head>();
const OBJECT_BYTES: usize = size_of::<Object>();
const DEADLINE_BYTES: usize = 12;
/// Lengths of short strings and their keys have 16 bits.
const MAX_SHORT_BYTES: usize = u16::MAX as usize;
const ALIGNMENT: usize = 8;

/// The owner of the block.
pub struct Entry(NonNull<Head>);

// SAFETY: an entry owns all that it points to; aliases and shared records stay within a store,
// which moves as a whole or gives up its list of aliases first.
unsafe impl Send for Entry {}

/// What a new block is filled with besides the key.
enum Content<'a> {
    Short(&'a [u8]),
    Object(Object),
}

/// Where the parts of a block begin.
struct Parts {
    is_short: bool,
    deadline: Option<usize>,
    key: usize,
    value: usize,
    end: usize,
}

impl Parts {
    fn new(is_short: bool, has_deadline: bool, key: usize, value: usize) -> Self {
        let after_object = HEAD_BYTES + if is_short { 0 } else { OBJECT_BYTES };
        let key_start = after_object + if has_deadline { DEADLINE_BYTES } else { 0 };
        let value_start = key_start + key;
        Self {
            is_short,
            deadline: has_deadline.then_some(after_object),
            key: key_start,
            value: value_start,
            end: value_start + value,
        }
    }

    /// Blocks are as large as the allocator makes them anyway, so that a value can be replaced
    /// in place by one of about the same length.
    fn layout(&self) -> Layout {
        Layout::from_size_align(rounded_up(self.end), ALIGNMENT).expect("below 513 MiB")
    }
}

impl Keyed for Entry {
    fn key(&self) -> &[u8] {
        let parts = self.parts();
        self.bytes(parts.key, parts.value)
    }
}

impl Entry {
    pub fn with_text(key: &[u8], text: &[u8], deadline: Option<Deadline>, clock: u32) -> Self {
        Self::build(key, content_of(key, text), deadline, clock)
    }

    /// Where the block is; nothing of it is read.
    pub fn address(&self) -> *const u8 {
        self.0.as_ptr().cast_const().cast()
    }

    pub fn with_object(key: &[u8], object: Object, deadline: Option<Deadline>, clock: u32) -> Self {
        Self::build(key, Content::Object(object), deadline, clock)
    }

    #[allow(clippy::cast_ptr_alignment)] // the block is aligned to 8, and so is the head's end
    fn build(key: &[u8], content: Content<'_>, deadline: Option<Deadline>, clock: u32) -> Self {
        let short: &[u8] = if let Content::Short(text) = content {
            text
        } else {
            b""
        };
        let is_short = matches!(content, Content::Short(_));
        let parts = Parts::new(is_short, deadline.is_some(), key.len(), short.len());
        let mut flags = 0;
        if is_short {
            flags |= IS_SHORT;
        }
        if deadline.is_some() {
            flags |= HAS_DEADLINE;
        }
        let value_bits = if is_short {
            (short.len() as u32) << 16
        } else {
            0
        };
        let layout = parts.layout();
        // SAFETY: the layout has at least the size of the head, which is not zero.
        let block = unsafe { alloc(layout) };
        let Some(head) = NonNull::new(block.cast::<Head>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the block is new and aligned to 8; `parts` keeps all writes inside of it and
        // apart. The object stands behind the head, so it is aligned; the deadline is written
        // as bytes.
        unsafe {
            head.write(Head {
                clock_and_flags: Cell::new((clock << FLAG_BITS) | flags),
                lengths: Cell::new(key.len() as u32 | value_bits),
            });
            if let Content::Object(object) = content {
                block.add(HEAD_BYTES).cast::<Object>().write(object);
            }
            block
                .add(parts.key)
                .copy_from_nonoverlapping(key.as_ptr(), key.len());
            block
                .add(parts.value)
                .copy_from_nonoverlapping(short.as_ptr(), short.len());
        }
        let mut entry = Self(head);
        if let Some(deadline) = deadline {
            entry.write_deadline(deadline);
        }
        entry
    }

    fn head(&self) -> &Head {
        // SAFETY: the block lives as long as its owner, and begins with the head.
        unsafe { self.0.as_ref() }
    }

    fn flags(&self) -> u32 {
        self.head().clock_and_flags.get() & FLAGS
    }

    fn is_short(&self) -> bool {
        self.flags() & IS_SHORT != 0
    }

    fn has_deadline(&self) -> bool {
        self.flags() & HAS_DEADLINE != 0
    }

    #[inline]
    fn parts(&self) -> Parts {
        let (is_short, lengths) = (self.is_short(), self.head().lengths.get());
        let (key, value) = if is_short {
            (lengths & 0xffff, lengths >> 16)
        } else {
            (lengths, 0)
        };
        Parts::new(is_short, self.has_deadline(), key as usize, value as usize)
    }

    /// A part of the block that holds bytes; the bounds are of `parts`.
    #[inline]
    fn bytes(&self, start: usize, end: usize) -> &[u8] {
        // SAFETY: both bounds lie inside of the block, and `build` has written what is between.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<u8>().add(start), end - start) }
    }

    #[inline]
    fn bytes_mut(&mut self, start: usize, end: usize) -> &mut [u8] {
        // SAFETY: as in `bytes`; nobody else can see the block meanwhile.
        unsafe {
            std::slice::from_raw_parts_mut(self.0.as_ptr().cast::<u8>().add(start), end - start)
        }
    }

    pub fn value(&self) -> Value<'_> {
        let parts = self.parts();
        if parts.is_short {
            return Value::Text(self.bytes(parts.value, parts.end));
        }
        // SAFETY: without the flag, `build` has put an object behind the head.
        match unsafe { self.0.add(1).cast::<Object>().as_ref() } {
            Object::Text(text) => Value::Text(text),
            object => Value::Object(object),
        }
    }

    pub fn text(&self) -> Option<&[u8]> {
        match self.value() {
            Value::Text(text) => Some(text),
            Value::Object(_) => None,
        }
    }

    pub fn object(&self) -> Option<&Object> {
        match self.value() {
            Value::Text(_) => None,
            Value::Object(object) => Some(object),
        }
    }

    /// What is behind the head when the value is no short string.
    pub fn object_mut(&mut self) -> Option<&mut Object> {
        // SAFETY: without the flag, `build` has put an object behind the head.
        (!self.is_short()).then(|| unsafe { self.0.add(1).cast::<Object>().as_mut() })
    }

    pub fn type_name(&self) -> &'static str {
        self.object().map_or("string", Object::type_name)
    }

    /// Whether the text stands in a buffer of its own, which can grow.
    pub fn is_long_text(&self) -> bool {
        !self.is_short() && self.text().is_some()
    }

    pub fn deadline(&self) -> Option<Deadline> {
        let start = self.parts().deadline?;
        let (at_ms, index) = self.bytes(start, start + DEADLINE_BYTES).split_at(8);
        Some(Deadline {
            at_ms: i64::from_ne_bytes(at_ms.try_into().ok()?),
            index: u32::from_ne_bytes(index.try_into().ok()?),
        })
    }

    /// Overwrites the deadline of an entry that has one.
    pub fn write_deadline(&mut self, deadline: Deadline) {
        let start = self.parts().deadline.expect("an entry with a deadline");
        let place = self.bytes_mut(start, start + DEADLINE_BYTES);
        place[..8].copy_from_slice(&deadline.at_ms.to_ne_bytes());
        place[8..].copy_from_slice(&deadline.index.to_ne_bytes());
    }

    /// Gives the entry a deadline, another one, or none. The block may move.
    pub fn set_deadline(&mut self, deadline: Option<Deadline>) {
        if let (Some(deadline), true) = (deadline, self.has_deadline()) {
            self.write_deadline(deadline);
        } else if deadline.is_some() || self.has_deadline() {
            let content = match self.take_object() {
                Some(object) => Content::Object(object),
                None => Content::Short(self.text().unwrap_or_default()),
            };
            *self = Self::build(self.key(), content, deadline, self.clock());
        }
    }

    /// Replaces the value, whatever it was; the deadline stays. The block may move.
    pub fn set_text(&mut self, text: &[u8]) {
        let parts = self.parts();
        let length = parts.value - parts.key;
        let end = parts.value + text.len();
        if parts.is_short
            && text.len() <= MAX_SHORT_BYTES
            && rounded_up(end) == rounded_up(parts.end)
        {
            self.head()
                .lengths
                .set(length as u32 | (text.len() as u32) << 16);
            self.bytes_mut(parts.value, end).copy_from_slice(text);
        } else if let Some(Object::Text(old)) =
            self.object_mut().filter(|_| text.len() > MAX_SHORT_BYTES)
        {
            old.clear();
            old.extend_from_slice(text);
            old.shrink_to_fit();
        } else {
            let content = content_of(self.key(), text);
            *self = Self::build(self.key(), content, self.deadline(), self.clock());
        }
    }

    /// Replaces the value by an object; the deadline stays. The block may move.
    pub fn set_object(&mut self, object: Object) {
        if let Some(old) = self.object_mut() {
            *old = object;
        } else {
            let content = Content::Object(object);
            *self = Self::build(self.key(), content, self.deadline(), self.clock());
        }
    }

    /// The text as a buffer that can grow. The block may move; only strings come here.
    pub fn text_mut(&mut self) -> Option<&mut Vec<u8>> {
        if self.is_short() {
            let text = self.text().unwrap_or_default().to_vec();
            self.set_object(Object::Text(text));
        }
        match self.object_mut() {
            Some(Object::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Moves the object out and leaves an empty text.
    fn take_object(&mut self) -> Option<Object> {
        let object = self.object_mut()?;
        Some(std::mem::replace(object, Object::Text(Vec::new())))
    }

    pub fn into_object(mut self) -> Option<Object> {
        self.take_object()
    }

    pub fn clock(&self) -> u32 {
        self.head().clock_and_flags.get() >> FLAG_BITS
    }

    /// Notes an access. Most are as recent as the last one: then the line stays clean.
    pub fn touch(&self, clock: u32) {
        let head = &self.head().clock_and_flags;
        if head.get() >> FLAG_BITS != clock {
            head.set((clock << FLAG_BITS) | (head.get() & FLAGS));
        }
    }

    pub fn footprint(&self) -> usize {
        let object = self.is_short().then_some(0);
        let object = object.unwrap_or_else(|| match self.value() {
            Value::Text(text) => footprint(text.len()),
            Value::Object(object) => object.footprint(),
        });
        footprint(self.parts().end) + object
    }

    /// A second name of the block, for the list of keys with deadlines.
    pub fn alias(&self) -> Alias {
        Alias(self.0)
    }
}

/// Chooses between the two homes of a text.
fn content_of<'a>(key: &[u8], text: &'a [u8]) -> Content<'a> {
    if key.len() <= MAX_SHORT_BYTES && text.len() <= MAX_SHORT_BYTES {
        Content::Short(text)
    } else {
        Content::Object(Object::Text(text.to_vec()))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let layout = self.parts().layout();
        if let Some(object) = self.object_mut() {
            // SAFETY: the object is whole, and nobody looks at it after this.
            unsafe { std::ptr::drop_in_place(object) };
        }
        // SAFETY: the block was made with this layout: in-place changes keep the rounded size.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) };
    }
}

/// A name of an entry that does not own it. The store renews it when the block moves and
/// removes it before the entry goes.
#[derive(Clone, Copy)]
pub struct Alias(NonNull<Head>);

impl Alias {
    /// # Safety
    /// The entry must be alive, and nobody may change it through its owner meanwhile.
    pub unsafe fn with<R>(self, look: impl FnOnce(&mut Entry) -> R) -> R {
        let mut entry = std::mem::ManuallyDrop::new(Entry(self.0));
        look(&mut entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Option<Deadline> = Some(Deadline {
        at_ms: i64::MAX - 1,
        index: 7,
    });

    #[test]
    fn the_parts_survive_every_change() {
        let (long, longer) = (vec![b'w'; 66_000], vec![b'w'; 70_000]);
        let long_key = vec![b'k'; MAX_SHORT_BYTES + 1];
        for key in [&b""[..], b"key", &long_key] {
            for text in [&b""[..], b"value", &[b'v'; 300], &longer] {
                let mut entry = Entry::with_text(key, text, None, 5);
                let check = |entry: &Entry, text: &[u8], life: Option<i64>| {
                    assert_eq!((entry.key(), entry.text()), (key, Some(text)));
                    assert_eq!(entry.deadline().map(|deadline| deadline.at_ms), life);
                    assert_eq!(entry.clock(), 5);
                };
                check(&entry, text, None);
                entry.set_deadline(LIFE);
                check(&entry, text, Some(i64::MAX - 1));
                for other in [&b"x"[..], b"", text, &long, b"value"] {
                    entry.set_text(other);
                    check(&entry, other, Some(i64::MAX - 1));
                }
                entry.text_mut().expect("a text").extend_from_slice(b"more");
                check(&entry, b"valuemore", Some(i64::MAX - 1));
                entry.set_deadline(None);
                check(&entry, b"valuemore", None);
                entry.set_object(Object::Set(Box::default()));
                entry.set_deadline(LIFE);
                assert_eq!((entry.key(), entry.type_name()), (key, "set"));
                entry.set_text(b"back");
                check(&entry, b"back", Some(i64::MAX - 1));
            }
        }
    }

    #[test]
    fn small_entries_are_small() {
        let entry = Entry::with_text(&[b'k'; 16], &[b'v'; 16], None, 0);
        assert_eq!(entry.footprint(), 48);
    }

    #[test]
    fn a_value_of_the_same_size_stays_in_place() {
        let mut entry = Entry::with_text(b"key", b"abc", None, 0);
        let before = entry.alias().0;
        entry.set_text(b"defg");
        entry.touch(9);
        assert!(entry.alias().0 == before && entry.clock() == 9);
        assert_eq!(entry.text(), Some(&b"defg"[..]));
    }
}
