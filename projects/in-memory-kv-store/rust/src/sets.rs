//! Sets: a sorted array while all members are integers and few, else a table; and their commands.

use crate::commands::{Call, NOT_IN_RANGE, Outcome, SYNTAX};
use crate::keys::{Scan, reply_scan};
use crate::memory::footprint;
use crate::numbers::parse_i64;
use crate::resp::Reply;
use crate::store::entry::Object;
use crate::store::record::Record;
use crate::store::table::{Table, hash_of};
use crate::store::{Dice, Kind};

/// Beyond this a set of integers becomes a table, as in Redis.
const MAX_INTEGERS: usize = 512;

#[derive(Clone)]
pub enum Set {
    Integers(Vec<i64>),
    Table(Table<Record<()>>),
}

impl Default for Set {
    fn default() -> Self {
        Self::Integers(Vec::new())
    }
}

impl Kind for Set {
    fn of(object: &Object) -> Option<&Self> {
        match object {
            Object::Set(set) => Some(set),
            _ => None,
        }
    }

    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        match object {
            Object::Set(set) => Some(set),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::Set(Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Set {
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(numbers) => numbers.len(),
            Self::Table(table) => table.len(),
        }
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Integers(_) => "intset",
            Self::Table(_) => "hashtable",
        }
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Self::Integers(numbers) => {
                parse_i64(member).is_some_and(|number| numbers.binary_search(&number).is_ok())
            }
            Self::Table(table) => table.get(member).is_some(),
        }
    }

    /// Adds a member; true: it is new.
    pub fn add(&mut self, member: &[u8]) -> bool {
        if let Self::Integers(numbers) = self {
            let Some(number) = parse_i64(member) else {
                self.make_table();
                return self.add(member);
            };
            let Err(place) = numbers.binary_search(&number) else {
                return false;
            };
            if numbers.len() < MAX_INTEGERS {
                numbers.insert(place, number);
                return true;
            }
            self.make_table();
        }
        let Self::Table(table) = self else {
            return false;
        };
        let hash = hash_of(member);
        let is_new = table.locate(hash, member).is_none();
        if is_new {
            table.insert(hash, Record::new((), [member, b""]));
        }
        is_new
    }

    fn make_table(&mut self) {
        let mut table = Table::default();
        self.for_each(&mut |member| {
            table.insert(hash_of(member), Record::new((), [member, b""]));
        });
        *self = Self::Table(table);
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Integers(numbers) => {
                let number = parse_i64(member);
                let place = number.and_then(|number| numbers.binary_search(&number).ok());
                place.map(|place| numbers.remove(place)).is_some()
            }
            Self::Table(table) => table.remove(member).is_some(),
        }
    }

    pub fn for_each(&self, visit: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Integers(numbers) => {
                let mut digits = itoa::Buffer::new();
                for &number in numbers {
                    visit(digits.format(number).as_bytes());
                }
            }
            Self::Table(table) => table.iter().for_each(|member| visit(member.bytes())),
        }
    }

    fn random(&self, dice: &mut Dice) -> Option<Vec<u8>> {
        match self {
            Self::Integers(numbers) if numbers.is_empty() => None,
            Self::Integers(numbers) => {
                let number = numbers[dice.below(numbers.len())];
                Some(itoa::Buffer::new().format(number).as_bytes().to_vec())
            }
            Self::Table(table) => Some(table.random(|| dice.draw())?.bytes().to_vec()),
        }
    }

    /// So many different members, fewer than there are.
    fn random_many(&self, count: usize, dice: &mut Dice) -> Vec<Vec<u8>> {
        // Draws hit known members too often when many are wanted: then all are shuffled.
        const DRAW_SHARE: usize = 3;
        if count * DRAW_SHARE > self.len() {
            let mut all = Vec::with_capacity(self.len());
            self.for_each(&mut |member| all.push(member.to_vec()));
            for index in 0..count {
                let other = index + dice.below(all.len() - index);
                all.swap(index, other);
            }
            all.truncate(count);
            return all;
        }
        let (mut drawn, mut known) = (Vec::with_capacity(count), Self::default());
        while drawn.len() < count {
            match self.random(dice) {
                Some(member) if known.add(&member) => drawn.push(member),
                Some(_) => {}
                None => break,
            }
        }
        drawn
    }

    pub fn footprint(&self) -> usize {
        match self {
            Self::Integers(numbers) => footprint(numbers.capacity() * size_of::<i64>()),
            Self::Table(table) => {
                table.iter().map(Record::footprint).sum::<usize>() + table.footprint()
            }
        }
    }
}

// --- commands

pub fn sadd(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let set: &mut Set = call.store.edit_or_create(key)?;
    let added = call.args.from(2).filter(|member| set.add(member)).count();
    if added > 0 {
        call.wrote(key);
    }
    call.out.count(added);
    Ok(())
}

pub fn srem(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let mut removed = 0;
    if let Some(set) = call.store.edit_kind::<Set>(key)? {
        removed = call
            .args
            .from(2)
            .filter(|member| set.remove(member))
            .count();
    }
    if removed > 0 {
        call.store.drop_if_empty::<Set>(key);
        call.wrote(key);
    }
    call.out.count(removed);
    Ok(())
}

pub fn sismember(call: &mut Call<'_>) -> Outcome {
    let (key, member) = (call.arg(1), call.arg(2));
    let set = call.store.read_kind::<Set>(key)?;
    call.out.flag(set.is_some_and(|set| set.contains(member)));
    Ok(())
}

pub fn smismember(call: &mut Call<'_>) -> Outcome {
    let set = call.store.read_kind::<Set>(call.args.at(1))?;
    call.out.array(call.args.len() - 2);
    for member in call.args.from(2) {
        call.out.flag(set.is_some_and(|set| set.contains(member)));
    }
    Ok(())
}

pub fn scard(call: &mut Call<'_>) -> Outcome {
    let set = call.store.read_kind::<Set>(call.args.at(1))?;
    call.out.count(set.map_or(0, Set::len));
    Ok(())
}

pub fn smembers(call: &mut Call<'_>) -> Outcome {
    let Some(set) = call.store.read_kind::<Set>(call.args.at(1))? else {
        call.out.array(0);
        return Ok(());
    };
    reply_set(call.out, set);
    Ok(())
}

fn reply_set(out: &mut Reply, set: &Set) {
    out.array(set.len());
    set.for_each(&mut |member| out.bulk(member));
}

pub fn smove(call: &mut Call<'_>) -> Outcome {
    let (source, target, member) = (call.arg(1), call.arg(2), call.arg(3));
    if !call.store.contains(source) {
        call.out.flag(false);
        return Ok(());
    }
    call.store.edit_kind::<Set>(source)?;
    call.store.edit_kind::<Set>(target)?;
    let Some(set) = call.store.edit_kind::<Set>(source)? else {
        return Ok(());
    };
    if source == target || !set.contains(member) {
        call.out.flag(set.contains(member));
        return Ok(());
    }
    set.remove(member);
    call.store.drop_if_empty::<Set>(source);
    call.store.edit_or_create::<Set>(target)?.add(member);
    call.wrote(source);
    call.wrote(target);
    call.out.flag(true);
    Ok(())
}

pub fn spop(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    match call.args.len() {
        2 => pop_one(call, key),
        3 => pop_many(call, key),
        _ => Err(SYNTAX),
    }
}

fn pop_one(call: &mut Call<'_>, key: &[u8]) -> Outcome {
    let Some((set, dice)) = call.store.edit_set(key)? else {
        call.out.null();
        return Ok(());
    };
    let member = set.random(dice).unwrap_or_default();
    set.remove(&member);
    call.store.drop_if_empty::<Set>(key);
    call.out.bulk(&member);
    call.wrote_as(key, &[b"SREM", key, &member]);
    Ok(())
}

fn pop_many(call: &mut Call<'_>, key: &[u8]) -> Outcome {
    const LOGGED_TOGETHER: usize = 1024;
    let count = call.positive(2)?;
    let Some((set, dice)) = call.store.edit_set(key)? else {
        call.out.array(0);
        return Ok(());
    };
    if count == 0 {
        call.out.array(0);
        return Ok(());
    }
    if count >= set.len() {
        reply_set(call.out, set);
        call.store.remove(key);
        call.wrote_as(key, &[b"DEL", key]);
        return Ok(());
    }
    let members = set.random_many(count, dice);
    for member in &members {
        set.remove(member);
    }
    call.out.bulks(members.iter().map(Vec::as_slice));
    for members in members.chunks(LOGGED_TOGETHER) {
        let removed = members.iter().map(Vec::as_slice);
        let command: Vec<_> = [&b"SREM"[..], key].into_iter().chain(removed).collect();
        call.wrote_as(key, &command);
    }
    Ok(())
}

pub fn srandmember(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let count = match call.args.len() {
        2 => None,
        3 => Some(call.integer(2)?),
        _ => return Err(SYNTAX),
    };
    if count == Some(i64::MIN) {
        return Err(NOT_IN_RANGE);
    }
    let Some((set, dice)) = call.store.read_set(key)? else {
        match count {
            Some(_) => call.out.array(0),
            None => call.out.null(),
        }
        return Ok(());
    };
    let Some(count) = count else {
        call.out.bulk_or_null(set.random(dice).as_deref());
        return Ok(());
    };
    let wanted = count.unsigned_abs() as usize;
    if count < 0 {
        call.out.array(wanted);
        for _ in 0..wanted {
            call.out.bulk_or_null(set.random(dice).as_deref());
            if call.out.is_too_long {
                break;
            }
        }
    } else if wanted >= set.len() {
        reply_set(call.out, set);
    } else {
        let members = set.random_many(wanted, dice);
        call.out.bulks(members.iter().map(Vec::as_slice));
    }
    Ok(())
}

/// Looks at all sets of a command, in the order of Redis: types first. None: not there.
fn read_sets<'a>(call: &'a mut Call<'_>) -> Result<Vec<Option<&'a Set>>, crate::commands::Refusal> {
    for key in call.args.from(1) {
        call.store.read_kind::<Set>(key)?;
    }
    let store = &*call.store;
    Ok(call.args.from(1).map(|key| store.glance(key)).collect())
}

pub fn sinter(call: &mut Call<'_>) -> Outcome {
    let mut result = Set::default();
    let sets: Option<Vec<&Set>> = read_sets(call)?.into_iter().collect();
    if let Some(mut sets) = sets {
        sets.sort_by_key(|set| set.len());
        sets[0].for_each(&mut |member| {
            if sets[1..].iter().all(|set| set.contains(member)) {
                result.add(member);
            }
        });
    }
    reply_set(call.out, &result);
    Ok(())
}

pub fn sunion(call: &mut Call<'_>) -> Outcome {
    let mut result = Set::default();
    for set in read_sets(call)?.into_iter().flatten() {
        set.for_each(&mut |member| {
            result.add(member);
        });
    }
    reply_set(call.out, &result);
    Ok(())
}

pub fn sdiff(call: &mut Call<'_>) -> Outcome {
    let mut result = Set::default();
    let sets = read_sets(call)?;
    if let Some(first) = sets[0] {
        first.for_each(&mut |member| {
            if !sets[1..].iter().flatten().any(|set| set.contains(member)) {
                result.add(member);
            }
        });
    }
    reply_set(call.out, &result);
    Ok(())
}

pub fn sscan(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let cursor = Scan::cursor(call.arg(2))?;
    let Some(set) = call.store.read_kind::<Set>(key)? else {
        Scan::reply_end(call.out);
        return Ok(());
    };
    let scan = Scan::parse(call.args, 3, false)?;
    let mut found = Vec::new();
    let next = match set {
        Set::Integers(_) => {
            set.for_each(&mut |member| found.push(member.to_vec()));
            0
        }
        Set::Table(table) => scan.run(table, cursor, &mut |member| {
            found.push(member.bytes().to_vec());
        }),
    };
    found.retain(|member| scan.wants(member));
    reply_scan(call.out, next, found.len(), found.iter().map(Vec::as_slice));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn members(set: &Set) -> HashSet<Vec<u8>> {
        let mut found = HashSet::new();
        set.for_each(&mut |member| {
            found.insert(member.to_vec());
        });
        found
    }

    #[test]
    fn a_set_does_what_a_set_does() {
        for (count, prefix) in [(100, ""), (3000, ""), (100, "m"), (3000, "m")] {
            let (mut set, mut model) = (Set::default(), HashSet::new());
            for step in 0..count * 3 {
                let member = format!("{prefix}{}", step * 7 % count).into_bytes();
                if step % 4 == 3 {
                    assert_eq!(set.remove(&member), model.remove(&member));
                } else {
                    assert_eq!(set.add(&member), model.insert(member.clone()));
                }
                assert_eq!(set.contains(&member), model.contains(&member));
            }
            assert_eq!(members(&set), model);
            assert_eq!(
                set.encoding() == "intset",
                prefix.is_empty() && count <= 512
            );
        }
    }

    #[test]
    fn integers_of_another_form_are_texts() {
        let mut set = Set::default();
        assert!(set.add(b"1") && set.add(b"01") && !set.add(b"1"));
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn draws_are_different_members() {
        let mut dice = Dice::new();
        for size in [5, 100, 1000] {
            let mut set = Set::default();
            (0..size).for_each(|number: usize| assert!(set.add(format!("m{number}").as_bytes())));
            for count in [1, size / 4, size - 1] {
                let drawn: HashSet<_> = set.random_many(count, &mut dice).into_iter().collect();
                assert_eq!(drawn.len(), count);
                assert!(drawn.iter().all(|member| set.contains(member)));
            }
        }
    }
}
