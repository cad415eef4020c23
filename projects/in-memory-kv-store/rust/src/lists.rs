//! Lists: a deque of nodes of packed elements, and their commands.
//!
//! A node holds up to 8 KiB of elements one behind the other, each with its length in front and
//! behind, so that it can be read from both ends: two bytes more than a short element has. There
//! is a gap in front of the elements, so pushing and popping take constant time at both ends.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;

use crate::commands::{
    Call, INDEX_OUT_OF_RANGE, NO_SUCH_KEY, Outcome, SYNTAX, slice_range, wrong_arity,
};
use crate::memory::footprint;
use crate::store::Kind;
use crate::store::entry::Object;

/// Elements that do not fit into a node of this size together get nodes of their own.
const NODE_BYTES: usize = 8192;
/// The smallest gap that is made in front of the elements of a node.
const LEAST_GAP_BYTES: usize = 64;
/// Lengths from here on take five bytes: this mark and the length.
const LONG_MARK: u8 = 0xfe;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Front,
    Back,
}

#[derive(Clone, Default)]
struct Node {
    bytes: Vec<u8>,
    start: usize, // of the elements; before it is the gap
    count: usize,
}

fn header_bytes(length: usize) -> usize {
    if length < usize::from(LONG_MARK) {
        1
    } else {
        5
    }
}

fn packed_bytes(element: &[u8]) -> usize {
    element.len() + 2 * header_bytes(element.len())
}

/// The length in front of an element, or behind it: the bytes of the latter are reversed.
fn header(length: usize) -> ([u8; 5], usize) {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    if length < usize::from(LONG_MARK) {
        ([d, 0, 0, 0, 0], 1)
    } else {
        ([LONG_MARK, a, b, c, d], 5)
    }
}

fn pack(element: &[u8], place: &mut [u8]) {
    let (mut length, size) = header(element.len());
    let length = &mut length[..size];
    place[..size].copy_from_slice(length);
    place[size..size + element.len()].copy_from_slice(element);
    length.reverse();
    place[size + element.len()..].copy_from_slice(length);
}

fn packed(element: &[u8]) -> Vec<u8> {
    let mut place = vec![0; packed_bytes(element)];
    pack(element, &mut place);
    place
}

impl Node {
    fn used_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn has_room_for(&self, element: &[u8]) -> bool {
        self.used_bytes() + packed_bytes(element) <= NODE_BYTES
    }

    /// The element that begins at an offset.
    fn element_at(&self, offset: usize) -> &[u8] {
        let (length, size) = match self.bytes[offset] {
            LONG_MARK => {
                let length = self.bytes[offset + 1..].first_chunk().copied();
                (u32::from_be_bytes(length.unwrap_or_default()) as usize, 5)
            }
            short => (usize::from(short), 1),
        };
        &self.bytes[offset + size..][..length]
    }

    /// The offset of the element that ends before an offset.
    fn offset_before(&self, end: usize) -> usize {
        let length = match self.bytes[end - 1] {
            LONG_MARK => {
                let length = self.bytes[end - 5..].first_chunk().copied();
                u32::from_le_bytes(length.unwrap_or_default()) as usize
            }
            short => usize::from(short),
        };
        end - length - 2 * header_bytes(length)
    }

    fn push_back(&mut self, element: &[u8]) {
        let size = packed_bytes(element);
        if self.bytes.len() + size > self.bytes.capacity() && self.start >= self.used_bytes() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let end = self.bytes.len();
        if element.len() < usize::from(LONG_MARK) {
            let length = element.len() as u8;
            self.bytes.reserve(size);
            self.bytes.push(length);
            self.bytes.extend_from_slice(element);
            self.bytes.push(length);
        } else {
            self.bytes.resize(end + size, 0);
            pack(element, &mut self.bytes[end..]);
        }
        self.count += 1;
    }

    fn push_front(&mut self, element: &[u8]) {
        let size = packed_bytes(element);
        if self.start < size {
            let gap = self.used_bytes().max(LEAST_GAP_BYTES).max(size);
            let mut bytes = Vec::with_capacity(gap + self.used_bytes());
            bytes.resize(gap, 0);
            bytes.extend_from_slice(&self.bytes[self.start..]);
            (self.bytes, self.start) = (bytes, gap);
        }
        let end = self.start;
        self.start -= size;
        pack(element, &mut self.bytes[self.start..end]);
        self.count += 1;
    }

    fn end_element(&self, end: End) -> &[u8] {
        match end {
            End::Front => self.element_at(self.start),
            End::Back => self.element_at(self.offset_before(self.bytes.len())),
        }
    }

    fn drop_element(&mut self, end: End) {
        self.count -= 1;
        match end {
            End::Front => self.start += packed_bytes(self.element_at(self.start)),
            End::Back => self.bytes.truncate(self.offset_before(self.bytes.len())),
        }
    }

    /// Walks from the nearer end.
    fn offset_of(&self, index: usize) -> usize {
        if index <= self.count / 2 {
            let mut offset = self.start;
            for _ in 0..index {
                offset += packed_bytes(self.element_at(offset));
            }
            offset
        } else {
            let mut offset = self.bytes.len();
            for _ in index..self.count {
                offset = self.offset_before(offset);
            }
            offset
        }
    }

    fn iter_from(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        let mut offset = self.offset_of(index);
        std::iter::from_fn(move || {
            if offset == self.bytes.len() {
                return None;
            }
            let element = self.element_at(offset);
            offset += packed_bytes(element);
            Some(element)
        })
    }

    fn insert(&mut self, index: usize, element: &[u8]) {
        let offset = self.offset_of(index);
        self.bytes.splice(offset..offset, packed(element));
        self.count += 1;
    }

    fn replace(&mut self, index: usize, element: &[u8]) {
        let offset = self.offset_of(index);
        let end = offset + packed_bytes(self.element_at(offset));
        self.bytes.splice(offset..end, packed(element));
    }

    /// Moves the elements from an index on to a node of their own.
    fn split_off(&mut self, index: usize) -> Self {
        let offset = self.offset_of(index);
        let count = self.count - index;
        self.count = index;
        Self {
            bytes: self.bytes.split_off(offset),
            start: 0,
            count,
        }
    }
}

#[derive(Clone, Default)]
pub struct List {
    nodes: VecDeque<Node>,
    len: usize,
}

impl Kind for List {
    fn of(object: &Object) -> Option<&Self> {
        match object {
            Object::List(list) => Some(list),
            _ => None,
        }
    }

    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        match object {
            Object::List(list) => Some(list),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::List(Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl List {
    pub fn len(&self) -> usize {
        self.len
    }

    fn end_node(&self, end: End) -> Option<&Node> {
        match end {
            End::Front => self.nodes.front(),
            End::Back => self.nodes.back(),
        }
    }

    fn end_node_mut(&mut self, end: End) -> Option<&mut Node> {
        match end {
            End::Front => self.nodes.front_mut(),
            End::Back => self.nodes.back_mut(),
        }
    }

    pub fn push(&mut self, end: End, element: &[u8]) {
        if !self
            .end_node(end)
            .is_some_and(|node| node.has_room_for(element))
        {
            if self.nodes.capacity() == 0 {
                self.nodes.reserve_exact(1); // most lists have one node
            }
            match end {
                End::Front => self.nodes.push_front(Node::default()),
                End::Back => self.nodes.push_back(Node::default()),
            }
        }
        if let Some(node) = self.end_node_mut(end) {
            match end {
                End::Front => node.push_front(element),
                End::Back => node.push_back(element),
            }
            self.len += 1;
        }
    }

    /// The element at an end.
    pub fn peek(&self, end: End) -> Option<&[u8]> {
        self.end_node(end).map(|node| node.end_element(end))
    }

    /// Removes the element at an end.
    pub fn drop_end(&mut self, end: End) {
        let Some(node) = self.end_node_mut(end) else {
            return;
        };
        node.drop_element(end);
        if node.count == 0 {
            match end {
                End::Front => self.nodes.pop_front(),
                End::Back => self.nodes.pop_back(),
            };
        }
        self.len -= 1;
    }

    /// Removes so many elements from an end, whole nodes at once.
    fn drop_many(&mut self, end: End, mut count: usize) {
        while count > 0 {
            let Some(whole) = self.end_node(end).map(|node| node.count) else {
                return;
            };
            if whole <= count {
                match end {
                    End::Front => self.nodes.pop_front(),
                    End::Back => self.nodes.pop_back(),
                };
                self.len -= whole;
                count -= whole;
            } else {
                self.drop_end(end);
                count -= 1;
            }
        }
    }

    /// The node of an element, and the place of the element there. The index is below `len`.
    fn find(&self, index: usize) -> (usize, usize) {
        if index <= self.len / 2 {
            let mut rest = index;
            for (number, node) in self.nodes.iter().enumerate() {
                if rest < node.count {
                    return (number, rest);
                }
                rest -= node.count;
            }
        } else {
            let mut rest = self.len - index;
            for (number, node) in self.nodes.iter().enumerate().rev() {
                if rest <= node.count {
                    return (number, node.count - rest);
                }
                rest -= node.count;
            }
        }
        unreachable!("an index below the length")
    }

    pub fn get(&self, index: usize) -> Option<&[u8]> {
        if index >= self.len {
            return None;
        }
        let (node, place) = self.find(index);
        let node = &self.nodes[node];
        Some(node.element_at(node.offset_of(place)))
    }

    pub fn set(&mut self, index: usize, element: &[u8]) {
        let (node, place) = self.find(index);
        self.nodes[node].replace(place, element);
    }

    pub fn range(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let (node, place) = if range.start < self.len {
            self.find(range.start)
        } else {
            (self.nodes.len(), 0)
        };
        let first = self.nodes.get(node).map(|node| node.iter_from(place));
        let others = self
            .nodes
            .iter()
            .skip(node + 1)
            .flat_map(|node| node.iter_from(0));
        first.into_iter().flatten().chain(others).take(range.len())
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.range(0..self.len)
    }

    /// Puts an element before or behind the first one that equals the pivot.
    fn insert_at_pivot(&mut self, pivot: &[u8], is_behind: bool, element: &[u8]) -> bool {
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            let found = node.iter_from(0).position(|other| other == pivot);
            if let Some(place) = found {
                node.insert(place + usize::from(is_behind), element);
                self.len += 1;
                if node.used_bytes() > 2 * NODE_BYTES && node.count > 1 {
                    let rest = node.split_off(node.count / 2);
                    self.nodes.insert(number + 1, rest);
                }
                return true;
            }
        }
        false
    }

    /// Removes elements that equal a value: not the first `skipped`, and at most `limit`.
    fn remove_equal(&mut self, value: &[u8], mut skipped: usize, limit: usize) -> usize {
        let mut removed = 0;
        for node in &mut self.nodes {
            if removed == limit {
                break;
            }
            if !node.iter_from(0).any(|element| element == value) {
                continue;
            }
            let mut kept = Node::default();
            for element in node.iter_from(0) {
                if element == value && skipped == 0 && removed < limit {
                    removed += 1;
                } else {
                    skipped -= usize::from(element == value && skipped > 0);
                    kept.push_back(element);
                }
            }
            *node = kept;
        }
        self.nodes.retain(|node| node.count > 0);
        self.len -= removed;
        removed
    }

    pub fn footprint(&self) -> usize {
        let nodes = self
            .nodes
            .iter()
            .map(|node| footprint(node.bytes.capacity()));
        nodes.sum::<usize>() + footprint(self.nodes.capacity() * size_of::<Node>())
    }
}

// --- commands

pub fn lpush(call: &mut Call<'_>) -> Outcome {
    push(call, End::Front, true)
}

pub fn rpush(call: &mut Call<'_>) -> Outcome {
    push(call, End::Back, true)
}

pub fn lpushx(call: &mut Call<'_>) -> Outcome {
    push(call, End::Front, false)
}

pub fn rpushx(call: &mut Call<'_>) -> Outcome {
    push(call, End::Back, false)
}

fn push(call: &mut Call<'_>, end: End, is_created: bool) -> Outcome {
    let key = call.arg(1);
    if !is_created && call.store.edit_kind::<List>(key)?.is_none() {
        call.out.integer(0);
        return Ok(());
    }
    let list: &mut List = call.store.edit_or_create(key)?;
    for element in call.args.from(2) {
        list.push(end, element);
    }
    call.out.count(list.len());
    call.wrote(key);
    Ok(())
}

pub fn lpop(call: &mut Call<'_>) -> Outcome {
    pop(call, End::Front, "lpop")
}

pub fn rpop(call: &mut Call<'_>) -> Outcome {
    pop(call, End::Back, "rpop")
}

fn pop(call: &mut Call<'_>, end: End, name: &str) -> Outcome {
    let key = call.arg(1);
    let count = match call.args.len() {
        2 => None,
        3 => Some(call.positive(2)?),
        _ => return Err(wrong_arity(name)),
    };
    let Some(list) = call.store.edit_kind::<List>(key)? else {
        match count {
            Some(_) => call.out.null_array(),
            None => call.out.null(),
        }
        return Ok(());
    };
    let taken = count.unwrap_or(1).min(list.len());
    if count.is_some() {
        call.out.array(taken);
    }
    for _ in 0..taken {
        call.out.bulk_or_null(list.peek(end));
        list.drop_end(end);
    }
    if taken > 0 {
        call.store.drop_if_empty::<List>(key);
        call.wrote(key);
    }
    Ok(())
}

pub fn llen(call: &mut Call<'_>) -> Outcome {
    let list = call.store.read_kind::<List>(call.args.at(1))?;
    call.out.count(list.map_or(0, List::len));
    Ok(())
}

pub fn lrange(call: &mut Call<'_>) -> Outcome {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let Some(list) = call.store.read_kind::<List>(call.args.at(1))? else {
        call.out.array(0);
        return Ok(());
    };
    let range = slice_range(start, end, list.len());
    call.out.array(range.len());
    list.range(range).for_each(|element| call.out.bulk(element));
    Ok(())
}

/// The index that a client means, who counts from the end with negative numbers.
fn real_index(index: i64, len: usize) -> Option<usize> {
    let real = if index < 0 { index + len as i64 } else { index };
    usize::try_from(real).ok().filter(|&real| real < len)
}

pub fn lindex(call: &mut Call<'_>) -> Outcome {
    let index = call.integer(2);
    let list = call.store.read_kind::<List>(call.args.at(1))?;
    let Some(list) = list else {
        call.out.null();
        return Ok(());
    };
    let index = real_index(index?, list.len());
    call.out
        .bulk_or_null(index.and_then(|index| list.get(index)));
    Ok(())
}

pub fn lset(call: &mut Call<'_>) -> Outcome {
    let (key, element) = (call.arg(1), call.arg(3));
    let index = call.integer(2);
    let list = call.store.edit_kind::<List>(key)?.ok_or(NO_SUCH_KEY)?;
    let index = real_index(index?, list.len()).ok_or(INDEX_OUT_OF_RANGE)?;
    list.set(index, element);
    call.out.ok();
    call.wrote(key);
    Ok(())
}

pub fn linsert(call: &mut Call<'_>) -> Outcome {
    let (key, pivot, element) = (call.arg(1), call.arg(3), call.arg(4));
    let is_behind = match call.arg(2).to_ascii_lowercase().as_slice() {
        b"before" => false,
        b"after" => true,
        _ => return Err(SYNTAX),
    };
    let Some(list) = call.store.edit_kind::<List>(key)? else {
        call.out.integer(0);
        return Ok(());
    };
    if list.insert_at_pivot(pivot, is_behind, element) {
        call.out.count(list.len());
        call.wrote(key);
    } else {
        call.out.integer(-1);
    }
    Ok(())
}

pub fn lrem(call: &mut Call<'_>) -> Outcome {
    let (key, count, value) = (call.arg(1), call.integer(2)?, call.arg(3));
    let Some(list) = call.store.edit_kind::<List>(key)? else {
        call.out.integer(0);
        return Ok(());
    };
    let wanted = count.unsigned_abs() as usize;
    let (skipped, limit) = match count.cmp(&0) {
        Ordering::Greater => (0, wanted),
        Ordering::Equal => (0, usize::MAX),
        Ordering::Less => {
            let equal = list.iter().filter(|element| *element == value).count();
            (equal.saturating_sub(wanted), wanted)
        }
    };
    let removed = list.remove_equal(value, skipped, limit);
    call.out.count(removed);
    if removed > 0 {
        call.store.drop_if_empty::<List>(key);
        call.wrote(key);
    }
    Ok(())
}

pub fn ltrim(call: &mut Call<'_>) -> Outcome {
    let (key, start, end) = (call.arg(1), call.integer(2)?, call.integer(3)?);
    if let Some(list) = call.store.edit_kind::<List>(key)? {
        let kept = slice_range(start, end, list.len());
        let behind = list.len() - kept.end;
        list.drop_many(End::Back, behind);
        list.drop_many(End::Front, kept.start.min(list.len()));
        call.store.drop_if_empty::<List>(key);
        call.wrote(key);
    }
    call.out.ok();
    Ok(())
}

pub fn lmove(call: &mut Call<'_>) -> Outcome {
    let end = |name: &[u8]| match name.to_ascii_lowercase().as_slice() {
        b"left" => Ok(End::Front),
        b"right" => Ok(End::Back),
        _ => Err(SYNTAX),
    };
    let (from, to) = (end(call.arg(3))?, end(call.arg(4))?);
    move_element(call, from, to)
}

pub fn rpoplpush(call: &mut Call<'_>) -> Outcome {
    move_element(call, End::Back, End::Front)
}

fn move_element(call: &mut Call<'_>, from: End, to: End) -> Outcome {
    let (source, target) = (call.arg(1), call.arg(2));
    let found = call.store.edit_kind::<List>(source)?;
    let Some(element) = found.and_then(|list| list.peek(from).map(<[u8]>::to_vec)) else {
        call.out.null();
        return Ok(());
    };
    call.store.edit_kind::<List>(target)?; // of another type: nothing may have changed
    if let Some(list) = call.store.edit_kind::<List>(source)? {
        list.drop_end(from);
    }
    call.store
        .edit_or_create::<List>(target)?
        .push(to, &element);
    call.store.drop_if_empty::<List>(source);
    call.out.bulk(&element);
    call.wrote(source);
    call.wrote(target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements of all kinds of lengths.
    fn element(number: usize) -> Vec<u8> {
        let length = [0, 3, 20, 253, 254, 255, 300, 9000][number % 8];
        let mut text = number.to_string().into_bytes();
        text.resize(length.max(text.len()), b'.');
        text
    }

    fn contents(list: &List) -> Vec<Vec<u8>> {
        list.iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn a_list_does_what_a_deque_does() {
        let (mut list, mut model) = (List::default(), VecDeque::new());
        let mut state = 7_usize;
        for number in 0..6000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let choice = state >> 40;
            let end = if choice & 1 == 0 {
                End::Front
            } else {
                End::Back
            };
            // Grows for the first half, then shrinks.
            if (choice >> 1) % 8 < if number < 3000 { 6 } else { 2 } {
                list.push(end, &element(number));
                match end {
                    End::Front => model.push_front(element(number)),
                    End::Back => model.push_back(element(number)),
                }
            } else {
                let popped = match end {
                    End::Front => model.pop_front(),
                    End::Back => model.pop_back(),
                };
                assert_eq!(list.peek(end), popped.as_deref());
                list.drop_end(end);
            }
            assert_eq!(list.len(), model.len());
            let probe = number % (model.len() + 1);
            assert_eq!(list.get(probe), model.get(probe).map(Vec::as_slice));
        }
        assert_eq!(contents(&list), Vec::from(model));
    }

    #[test]
    fn elements_in_the_middle() {
        let mut list = List::default();
        let mut model: Vec<_> = (0..500).map(element).collect();
        for element in &model {
            list.push(End::Back, element);
        }
        for index in [0, 1, 250, 498, 499] {
            let replaced = element(index + 3);
            list.set(index, &replaced);
            model[index] = replaced;
        }
        assert_eq!(contents(&list), model);
        for number in 0..200 {
            assert!(list.insert_at_pivot(&element(9), number % 2 == 0, &element(number)));
            let pivot = model
                .iter()
                .position(|element| *element == super::tests::element(9))
                .expect("the pivot");
            model.insert(pivot + usize::from(number % 2 == 0), element(number));
        }
        assert!(!list.insert_at_pivot(b"absent", true, b"x"));
        assert_eq!(contents(&list), model);
        for range in [0..0, 0..700, 3..4, 600..700, 699..700, 100..300] {
            let found: Vec<_> = list.range(range.clone()).map(<[u8]>::to_vec).collect();
            assert_eq!(found, model[range]);
        }
        list.drop_many(End::Front, 321);
        list.drop_many(End::Back, 100);
        assert_eq!(contents(&list), model[321..600]);
    }

    #[test]
    fn equal_elements_are_removed_from_either_end() {
        let mut list = List::default();
        for number in 0..4000 {
            list.push(End::Back, if number % 4 == 0 { b"x" } else { b"other" });
        }
        assert_eq!(list.remove_equal(b"x", 0, 10), 10);
        assert_eq!(list.get(29), Some(&b"other"[..]));
        assert_eq!(list.remove_equal(b"x", 980, 10), 10);
        assert_eq!(list.iter().filter(|element| *element == b"x").count(), 980);
        assert_eq!(list.remove_equal(b"x", 0, usize::MAX), 980);
        assert_eq!(list.len(), 3000);
    }

    #[test]
    fn a_queue_stays_small() {
        let mut list = List::default();
        for _ in 0..100_000 {
            list.push(End::Back, b"element");
            if list.len() > 10 {
                list.drop_end(End::Front);
            }
        }
        assert!(list.footprint() < 2000, "{}", list.footprint());
        for _ in 0..100_000 {
            list.push(End::Front, b"element");
            list.drop_end(End::Back);
        }
        assert!(list.footprint() < 2000, "{}", list.footprint());
    }
}
