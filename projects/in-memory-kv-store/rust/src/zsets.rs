//! Sorted sets: the members in order, in chunks of a bounded length, and beside them a table by
//! member once they are many; and their commands.
//!
//! Chunks of sorted arrays take less memory than a skip list and are read in order at the speed
//! of the cache. A change moves at most one chunk; a rank adds up the lengths of the chunks
//! before, some thousand numbers for a million members.

use std::cmp::Ordering;
use std::ops::Range;

use crate::commands::{
    Call, NOT_A_NUMBER, NOT_FLOAT, Outcome, Refusal, SYNTAX, c_string, slice_range,
};
use crate::memory::footprint;
use crate::numbers::parse_f64;
use crate::resp::Args;
use crate::store::Kind;
use crate::store::entry::Object;
use crate::store::record::Record;
use crate::store::table::{Table, hash_of};

/// Beyond these a sorted set gets a table, as in Redis.
const MAX_SMALL_MEMBERS: usize = 128;
const MAX_SMALL_BYTES: usize = 64;
const CHUNK_ITEMS: usize = 256;
/// A chunk with fewer items is joined to its neighbour if both fit into half a chunk.
const LEAST_ITEMS: usize = CHUNK_ITEMS / 8;

/// A member in the order. The score stands beside the record, so that a search need not look
/// at the record.
struct Item {
    score: f64,
    member: Record<f64>,
}

impl Item {
    fn order(&self, score: f64, member: &[u8]) -> Ordering {
        let by_score = self.score.partial_cmp(&score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| self.member.bytes().cmp(member))
    }
}

#[derive(Default)]
pub struct Zset {
    chunks: Vec<Vec<Item>>, // none is empty
    len: usize,
    members: Option<Table<Record<f64>>>,
}

impl Kind for Zset {
    fn of(object: &Object) -> Option<&Self> {
        match object {
            Object::Zset(zset) => Some(zset),
            _ => None,
        }
    }

    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        match object {
            Object::Zset(zset) => Some(zset),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::Zset(Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Clone for Zset {
    /// Members in order go to the end, so this takes linear time.
    fn clone(&self) -> Self {
        let mut copy = Self {
            members: self.members.as_ref().map(|_| Table::default()),
            ..Self::default()
        };
        for (score, member) in self.iter() {
            copy.insert(score, member);
        }
        copy
    }
}

impl Zset {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn encoding(&self) -> &'static str {
        match self.members {
            None => "listpack",
            Some(_) => "skiplist", // the name that clients know for the larger one
        }
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        if let Some(table) = &self.members {
            return table.get(member).map(Record::extra);
        }
        let mut items = self.chunks.iter().flatten();
        let found = items.find(|item| item.member.bytes() == member);
        found.map(|item| item.score)
    }

    /// Where an item is, or belongs: the chunk and the place there.
    fn place_of(&self, score: f64, member: &[u8]) -> (usize, usize) {
        let is_before = |item: &Item| item.order(score, member) == Ordering::Less;
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(is_before));
        let chunk = chunk.min(self.chunks.len().saturating_sub(1));
        let items = self.chunks.get(chunk).map_or(&[][..], Vec::as_slice);
        (chunk, items.partition_point(is_before))
    }

    /// Adds a member that is not there.
    fn insert(&mut self, score: f64, member: &[u8]) {
        let is_small = self.len < MAX_SMALL_MEMBERS && member.len() <= MAX_SMALL_BYTES;
        if self.members.is_none() && !is_small {
            let mut table = Table::default();
            for item in self.chunks.iter().flatten() {
                table.insert(hash_of(item.member.bytes()), item.member.share());
            }
            self.members = Some(table);
        }
        let score = self.kept(score);
        let record = Record::new(score, [member, b""]);
        if let Some(table) = &mut self.members {
            table.insert(hash_of(member), record.share());
        }
        self.put(score, record);
        self.len += 1;
    }

    /// A small sorted set of Redis keeps whole scores as integers: it forgets the sign of zero.
    fn kept(&self, score: f64) -> f64 {
        if self.members.is_none() {
            score + 0.0
        } else {
            score
        }
    }

    /// Puts an item where it belongs in the order.
    fn put(&mut self, score: f64, member: Record<f64>) {
        let (number, place) = self.place_of(score, member.bytes());
        let item = Item { score, member };
        let Some(chunk) = self.chunks.get_mut(number) else {
            self.chunks.push(vec![item]);
            return;
        };
        chunk.insert(place, item);
        if chunk.len() > CHUNK_ITEMS {
            // Members that come in order leave full chunks behind.
            let is_last = number + 1 == self.chunks.len() && place == CHUNK_ITEMS;
            let kept = if is_last {
                CHUNK_ITEMS
            } else {
                CHUNK_ITEMS / 2
            };
            let rest = self.chunks[number].split_off(kept);
            self.chunks.insert(number + 1, rest);
        }
    }

    /// Takes an item out of the order.
    fn pull(&mut self, number: usize, place: usize) -> Item {
        let item = self.chunks[number].remove(place);
        if self.chunks[number].is_empty() {
            self.chunks.remove(number);
        } else if self.chunks[number].len() < LEAST_ITEMS && number + 1 < self.chunks.len() {
            let both = self.chunks[number].len() + self.chunks[number + 1].len();
            if both <= CHUNK_ITEMS / 2 {
                let next = self.chunks.remove(number + 1);
                self.chunks[number].extend(next);
            }
        }
        item
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        let Some(score) = self.score(member) else {
            return false;
        };
        let (number, place) = self.place_of(score, member);
        self.pull(number, place);
        self.forget(member);
        true
    }

    fn forget(&mut self, member: &[u8]) {
        if let Some(table) = &mut self.members {
            table.remove(member);
        }
        self.len -= 1;
    }

    /// Gives a member another score.
    fn change(&mut self, member: &[u8], old: f64, new: f64) {
        let (number, place) = self.place_of(old, member);
        let item = self.pull(number, place);
        let new = self.kept(new);
        item.member.set_extra(new);
        self.put(new, item.member);
    }

    fn pop(&mut self, is_max: bool) -> Option<(f64, Record<f64>)> {
        let number = if is_max {
            self.chunks.len().checked_sub(1)?
        } else {
            0
        };
        let items = self.chunks.get(number)?;
        let item = self.pull(number, if is_max { items.len() - 1 } else { 0 });
        self.forget(item.member.bytes());
        Some((item.score, item.member))
    }

    fn rank(&self, score: f64, member: &[u8]) -> usize {
        let (number, place) = self.place_of(score, member);
        self.chunks[..number].iter().map(Vec::len).sum::<usize>() + place
    }

    /// The ranks of the members whose scores lie between two bounds.
    fn ranks_of(&self, bounds: &ScoreBounds) -> Range<usize> {
        let rank = |is_before: &dyn Fn(&Item) -> bool| {
            let before = |chunk: &Vec<Item>| chunk.last().is_some_and(is_before);
            let number = self.chunks.partition_point(before);
            let place = self
                .chunks
                .get(number)
                .map(|chunk| chunk.partition_point(is_before));
            let whole = self.chunks[..number].iter().map(Vec::len).sum::<usize>();
            whole + place.unwrap_or(0)
        };
        let (least, most) = (&bounds.least, &bounds.most);
        let start =
            rank(&|item| item.score < least.score || (least.is_open && item.score == least.score));
        let end =
            rank(&|item| item.score < most.score || (!most.is_open && item.score == most.score));
        start..end.max(start)
    }

    /// The members of some ranks, in order.
    fn range(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = &Item> {
        let (first, start) = self.find(range.start);
        let (last, end) = self.find(range.end);
        (first..=last).flat_map(move |number| {
            let items = self.chunks.get(number).map_or(&[][..], Vec::as_slice);
            let from = if number == first { start } else { 0 };
            let to = if number == last { end } else { items.len() };
            items[from..to.max(from)].iter()
        })
    }

    /// The chunk of a rank and the place there; behind the last chunk for the length.
    fn find(&self, rank: usize) -> (usize, usize) {
        let mut rest = rank;
        for (number, chunk) in self.chunks.iter().enumerate() {
            if rest < chunk.len() {
                return (number, rest);
            }
            rest -= chunk.len();
        }
        (self.chunks.len(), 0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (f64, &[u8])> {
        let items = self.chunks.iter().flatten();
        items.map(|item| (item.score, item.member.bytes()))
    }

    pub fn footprint(&self) -> usize {
        let items = |chunk: &Vec<Item>| footprint(chunk.capacity() * size_of::<Item>());
        let chunks = self.chunks.iter().map(items).sum::<usize>();
        let records = self
            .chunks
            .iter()
            .flatten()
            .map(|item| item.member.footprint());
        let list = footprint(self.chunks.capacity() * size_of::<Vec<Item>>());
        chunks + list + records.sum::<usize>() + self.members.as_ref().map_or(0, Table::footprint)
    }
}

// --- commands

/// The options of ZADD.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // each is a word of the command
struct AddOptions {
    only_new: bool,
    only_known: bool,
    only_greater: bool,
    only_less: bool,
    counts_changed: bool,
    is_increment: bool,
}

impl AddOptions {
    /// Reads the options of ZADD; answers where the scores begin.
    fn parse(args: Args<'_>) -> (Self, usize) {
        let mut options = Self::default();
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let option = match word.to_ascii_lowercase().as_slice() {
                b"nx" => &mut options.only_new,
                b"xx" => &mut options.only_known,
                b"gt" => &mut options.only_greater,
                b"lt" => &mut options.only_less,
                b"ch" => &mut options.counts_changed,
                b"incr" => &mut options.is_increment,
                _ => break,
            };
            *option = true;
            at += 1;
        }
        (options, at)
    }

    fn check(&self, pairs: usize) -> Result<(), Refusal> {
        if self.only_new && self.only_known {
            return Err(Refusal::Text(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        let exclusive = [self.only_new, self.only_greater, self.only_less];
        if exclusive.iter().filter(|&&option| option).count() > 1 {
            return Err(Refusal::Text(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.is_increment && pairs > 1 {
            return Err(Refusal::Text(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }
}

/// What became of a member.
enum Added {
    New(f64),
    Changed(f64),
    Same(f64),
    Refused,
}

impl Zset {
    fn add(&mut self, score: f64, member: &[u8], options: &AddOptions) -> Result<Added, Refusal> {
        let Some(old) = self.score(member) else {
            if options.only_known {
                return Ok(Added::Refused);
            }
            self.insert(score, member);
            return Ok(Added::New(score));
        };
        if options.only_new {
            return Ok(Added::Refused);
        }
        let new = if options.is_increment {
            old + score
        } else {
            score
        };
        if new.is_nan() {
            return Err(NOT_A_NUMBER);
        }
        if (options.only_less && new >= old) || (options.only_greater && new <= old) {
            return Ok(Added::Refused);
        }
        if new == old {
            return Ok(Added::Same(old));
        }
        self.change(member, old, new);
        Ok(Added::Changed(new))
    }
}

pub fn zadd(call: &mut Call<'_>) -> Outcome {
    let (options, first) = AddOptions::parse(call.args);
    add_members(call, &options, first)
}

pub fn zincrby(call: &mut Call<'_>) -> Outcome {
    // Redis reads the options of ZADD here too.
    let (mut options, first) = AddOptions::parse(call.args);
    options.is_increment = true;
    add_members(call, &options, first)
}

fn add_members(call: &mut Call<'_>, options: &AddOptions, first: usize) -> Outcome {
    let key = call.arg(1);
    let words = call.args.len() - first;
    if words == 0 || words % 2 == 1 {
        return Err(SYNTAX);
    }
    options.check(words / 2)?;
    let pairs = (first..call.args.len()).step_by(2);
    let pairs = pairs.map(|at| {
        Ok((
            call.args.at(at + 1),
            parse_f64(call.args.at(at)).ok_or(NOT_FLOAT)?,
        ))
    });
    let pairs: Vec<(&[u8], f64)> = pairs.collect::<Result<_, Refusal>>()?;
    if options.only_known && call.store.edit_kind::<Zset>(key)?.is_none() {
        if options.is_increment {
            call.out.null();
        } else {
            call.out.integer(0);
        }
        return Ok(());
    }
    let zset: &mut Zset = call.store.edit_or_create(key)?;
    let (mut added, mut changed, mut last) = (0, 0, Added::Refused);
    for (member, score) in pairs {
        last = zset.add(score, member, options)?;
        match last {
            Added::New(_) => added += 1,
            Added::Changed(_) => changed += 1,
            Added::Same(_) | Added::Refused => {}
        }
    }
    if added + changed > 0 {
        call.wrote(key);
    }
    match last {
        _ if !options.is_increment => {
            call.out.count(if options.counts_changed {
                added + changed
            } else {
                added
            });
        }
        Added::New(score) | Added::Changed(score) | Added::Same(score) => {
            call.out.bulk_double(score);
        }
        Added::Refused => call.out.null(),
    }
    Ok(())
}

pub fn zrem(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let mut removed = 0;
    if let Some(zset) = call.store.edit_kind::<Zset>(key)? {
        removed = call
            .args
            .from(2)
            .filter(|member| zset.remove(member))
            .count();
    }
    if removed > 0 {
        call.store.drop_if_empty::<Zset>(key);
        call.wrote(key);
    }
    call.out.count(removed);
    Ok(())
}

pub fn zcard(call: &mut Call<'_>) -> Outcome {
    let zset = call.store.read_kind::<Zset>(call.args.at(1))?;
    call.out.count(zset.map_or(0, Zset::len));
    Ok(())
}

pub fn zscore(call: &mut Call<'_>) -> Outcome {
    let (key, member) = (call.arg(1), call.arg(2));
    let zset = call.store.read_kind::<Zset>(key)?;
    match zset.and_then(|zset| zset.score(member)) {
        Some(score) => call.out.bulk_double(score),
        None => call.out.null(),
    }
    Ok(())
}

pub fn zrank(call: &mut Call<'_>) -> Outcome {
    let (key, member) = (call.arg(1), call.arg(2));
    let zset = call.store.read_kind::<Zset>(key)?;
    let rank = zset.and_then(|zset| Some(zset.rank(zset.score(member)?, member)));
    match rank {
        Some(rank) => call.out.count(rank),
        None => call.out.null(),
    }
    Ok(())
}

pub fn zpopmin(call: &mut Call<'_>) -> Outcome {
    pop(call, false)
}

pub fn zpopmax(call: &mut Call<'_>) -> Outcome {
    pop(call, true)
}

fn pop(call: &mut Call<'_>, is_max: bool) -> Outcome {
    let key = call.arg(1);
    let count = match call.args.len() {
        2 => 1,
        3 => call.positive(2)?,
        _ => return Err(SYNTAX),
    };
    let Some(zset) = call.store.edit_kind::<Zset>(key)? else {
        call.out.array(0);
        return Ok(());
    };
    let taken = count.min(zset.len());
    call.out.array(2 * taken);
    for _ in 0..taken {
        if let Some((score, member)) = zset.pop(is_max) {
            call.out.bulk(member.bytes());
            call.out.bulk_double(score);
        }
    }
    if taken > 0 {
        call.store.drop_if_empty::<Zset>(key);
        call.wrote(key);
    }
    Ok(())
}

struct Bound {
    score: f64,
    is_open: bool,
}

struct ScoreBounds {
    least: Bound,
    most: Bound,
}

const NOT_A_BOUND: Refusal = Refusal::Text("ERR min or max is not a float");

/// A score, or `(` and a score that is itself left out. Redis takes the text as a C string and
/// does not mind spaces in front, nothing at all, and numbers out of range.
fn parse_bound(text: &[u8]) -> Result<Bound, Refusal> {
    let (is_open, number) = match c_string(text) {
        [b'(', number @ ..] => (true, number),
        number => (false, number),
    };
    let trimmed = number.trim_ascii_start();
    let score = if number.is_empty() {
        Some(0.0)
    } else {
        let plain = std::str::from_utf8(trimmed).ok();
        let decimal = plain.and_then(|text| text.parse::<f64>().ok());
        decimal
            .or_else(|| parse_f64(trimmed))
            .filter(|score| !score.is_nan())
    };
    let score = score.ok_or(NOT_A_BOUND)?;
    Ok(Bound { score, is_open })
}

/// The options of ZRANGE and its older relatives.
#[derive(Default)]
struct RangeOptions {
    with_scores: bool,
    is_reversed: bool,
    by_score: bool,
    limit: Option<(i64, i64)>,
}

impl RangeOptions {
    /// Reads the words behind the range into the options that the command itself stands for.
    /// Only ZRANGE can be told the kind and the direction of its range.
    fn parse(mut self, call: &Call<'_>, is_zrange: bool) -> Result<Self, Refusal> {
        let options = &mut self;
        let mut at = 4;
        while let Some(word) = call.args.get(at) {
            match word.to_ascii_lowercase().as_slice() {
                b"withscores" => options.with_scores = true,
                b"limit" if at + 2 < call.args.len() => {
                    options.limit = Some((call.integer(at + 1)?, call.integer(at + 2)?));
                    at += 2;
                }
                b"rev" if is_zrange && !options.is_reversed => options.is_reversed = true,
                b"byscore" if is_zrange && !options.by_score => options.by_score = true,
                _ => return Err(SYNTAX),
            }
            at += 1;
        }
        if options.limit.is_some() && !options.by_score {
            return Err(Refusal::Text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        Ok(self)
    }
}

pub fn zrange(call: &mut Call<'_>) -> Outcome {
    let options = RangeOptions::default().parse(call, true)?;
    reply_range(call, &options)
}

pub fn zrevrange(call: &mut Call<'_>) -> Outcome {
    let options = RangeOptions {
        is_reversed: true,
        ..RangeOptions::default()
    };
    let options = options.parse(call, false)?;
    reply_range(call, &options)
}

pub fn zrangebyscore(call: &mut Call<'_>) -> Outcome {
    let options = RangeOptions {
        by_score: true,
        ..RangeOptions::default()
    };
    let options = options.parse(call, false)?;
    reply_range(call, &options)
}

/// Finds the ranks that a client asks for.
type RangeOf = dyn Fn(&Zset) -> Range<usize>;

fn reply_range(call: &mut Call<'_>, options: &RangeOptions) -> Outcome {
    let range: Box<RangeOf> = if options.by_score {
        let (first, second) = (call.arg(2), call.arg(3));
        let (least, most) = if options.is_reversed {
            (second, first)
        } else {
            (first, second)
        };
        let bounds = ScoreBounds {
            least: parse_bound(least)?,
            most: parse_bound(most)?,
        };
        Box::new(move |zset| zset.ranks_of(&bounds))
    } else {
        let (start, end) = (call.integer(2)?, call.integer(3)?);
        let is_reversed = options.is_reversed;
        Box::new(move |zset| {
            let range = slice_range(start, end, zset.len());
            if is_reversed {
                zset.len() - range.end..zset.len() - range.start
            } else {
                range
            }
        })
    };
    let Some(zset) = call.store.read_kind::<Zset>(call.args.at(1))? else {
        call.out.array(0);
        return Ok(());
    };
    let range = limited(range(zset), options);
    call.out
        .array(range.len() * if options.with_scores { 2 } else { 1 });
    let mut show = |item: &Item| {
        call.out.bulk(item.member.bytes());
        if options.with_scores {
            call.out.bulk_double(item.score);
        }
    };
    if options.is_reversed {
        zset.range(range).rev().for_each(&mut show);
    } else {
        zset.range(range).for_each(&mut show);
    }
    Ok(())
}

/// Leaves out what LIMIT does, which counts in the direction of the reply.
fn limited(range: Range<usize>, options: &RangeOptions) -> Range<usize> {
    let Some((offset, count)) = options.limit else {
        return range;
    };
    let skipped = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(range.len());
    let kept = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(range.len() - skipped);
    if options.is_reversed {
        let end = range.end - skipped;
        end - kept..end
    } else {
        let start = range.start + skipped;
        start..start + kept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sorted(model: &BTreeMap<Vec<u8>, f64>) -> Vec<(f64, Vec<u8>)> {
        let mut all: Vec<_> = model
            .iter()
            .map(|(member, &score)| (score, member.clone()))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        all
    }

    #[test]
    fn a_sorted_set_keeps_its_order() {
        for members in [10_u64, 128, 400, 5000] {
            let (mut zset, mut model) = (Zset::default(), BTreeMap::new());
            let mut state = 3_u64;
            for step in 0..members * 3 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let member = format!("m{}", (state >> 33) % members).into_bytes();
                let score = ((state >> 20) % 50) as f64;
                if step % 4 == 3 {
                    assert_eq!(zset.remove(&member), model.remove(&member).is_some());
                } else {
                    let old = model.insert(member.clone(), score);
                    let added = zset.add(score, &member, &AddOptions::default());
                    assert_eq!(matches!(added, Ok(Added::New(_))), old.is_none());
                }
            }
            let expected = sorted(&model);
            let found: Vec<_> = zset
                .iter()
                .map(|(score, member)| (score, member.to_vec()))
                .collect();
            assert_eq!(found, expected);
            assert_eq!(zset.clone().iter().count(), expected.len());
            for (rank, (score, member)) in expected.iter().enumerate() {
                assert_eq!(zset.score(member), Some(*score));
                assert_eq!(zset.rank(*score, member), rank);
            }
            let middle = expected.len() / 3..expected.len() / 2;
            let part: Vec<_> = zset
                .range(middle.clone())
                .rev()
                .map(|item| item.score)
                .collect();
            let wanted: Vec<_> = expected[middle]
                .iter()
                .rev()
                .map(|(score, _)| *score)
                .collect();
            assert_eq!(part, wanted);
            let bounds = ScoreBounds {
                least: parse_bound(b"(10").unwrap_or_else(|_| panic!("a bound")),
                most: parse_bound(b"20").unwrap_or_else(|_| panic!("a bound")),
            };
            let ranks = zset.ranks_of(&bounds);
            let inside = expected
                .iter()
                .filter(|(score, _)| *score > 10.0 && *score <= 20.0);
            assert_eq!(ranks.len(), inside.count());
            while let Some((score, member)) = zset.pop(false) {
                assert_eq!(model.remove(member.bytes()), Some(score));
            }
            assert!(model.is_empty() && zset.len() == 0);
        }
    }

    #[test]
    fn bounds_as_redis_reads_them() {
        for (text, bound) in [
            ("1.5", Some((1.5, false))),
            ("(1", Some((1.0, true))),
            ("(", Some((0.0, true))),
            ("", Some((0.0, false))),
            (" 2", Some((2.0, false))),
            ("+inf", Some((f64::INFINITY, false))),
            ("(-inf", Some((f64::NEG_INFINITY, true))),
            ("1e400", Some((f64::INFINITY, false))),
            (" ", None),
            ("nan", None),
            ("1x", None),
        ] {
            let found = parse_bound(text.as_bytes()).ok();
            assert_eq!(
                found.map(|found| (found.score, found.is_open)),
                bound,
                "{text}"
            );
        }
    }
}
