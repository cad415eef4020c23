//! The commands of keys of any type.

use crate::commands::{
    Call, NO_SUCH_KEY, NOT_INTEGER, Outcome, Refusal, SYNTAX, Subcommand, c_string, run_subcommand,
};
use crate::glob;
use crate::numbers::parse_i64;
use crate::resp::{Args, Reply};
use crate::store::entry::{Entry, Object, Value};
use crate::store::table::{Keyed, Table};
use crate::store::{Life, Store, copy_of};
use crate::strings::{Moment, has_deadline, invalid_life};

pub fn del(call: &mut Call<'_>) -> Outcome {
    let mut removed = 0;
    for key in call.args.from(1) {
        if call.store.remove(key) {
            removed += 1;
            call.wrote(key);
        }
    }
    call.out.count(removed);
    Ok(())
}

pub fn exists(call: &mut Call<'_>) -> Outcome {
    let keys = call.args.from(1);
    let found = keys.filter(|key| call.store.look(key).is_some()).count();
    call.out.count(found);
    Ok(())
}

pub fn touch(call: &mut Call<'_>) -> Outcome {
    let keys = call.args.from(1);
    let found = keys.filter(|key| call.store.read(key).is_some()).count();
    call.out.count(found);
    Ok(())
}

pub fn type_of(call: &mut Call<'_>) -> Outcome {
    let entry = call.store.look(call.args.at(1));
    call.out.simple(entry.map_or("none", Entry::type_name));
    Ok(())
}

// --- lives

pub fn expire(call: &mut Call<'_>) -> Outcome {
    set_life(call, "expire", false, true)
}

pub fn pexpire(call: &mut Call<'_>) -> Outcome {
    set_life(call, "pexpire", false, false)
}

pub fn expireat(call: &mut Call<'_>) -> Outcome {
    set_life(call, "expireat", true, true)
}

pub fn pexpireat(call: &mut Call<'_>) -> Outcome {
    set_life(call, "pexpireat", true, false)
}

#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // each is a word of the command
struct LifeOptions {
    only_endless: bool,
    only_ending: bool,
    only_later: bool,
    only_sooner: bool,
}

impl LifeOptions {
    fn parse(args: Args<'_>) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for word in args.from(3) {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => options.only_endless = true,
                b"xx" => options.only_ending = true,
                b"gt" => options.only_later = true,
                b"lt" => options.only_sooner = true,
                _ => {
                    return Err(Refusal::Made(
                        [b"ERR Unsupported option ", c_string(word)].concat(),
                    ));
                }
            }
        }
        if options.only_endless
            && (options.only_ending || options.only_later || options.only_sooner)
        {
            return Err(Refusal::Text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if options.only_later && options.only_sooner {
            return Err(Refusal::Text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(options)
    }

    /// Without a deadline a key lives longer than any.
    fn allow(&self, old: Option<i64>, new: i64) -> bool {
        let is_later = old.is_some_and(|old| new > old);
        let is_sooner = old.is_none_or(|old| new < old);
        !((self.only_endless && old.is_some())
            || (self.only_ending && old.is_none())
            || (self.only_later && !is_later)
            || (self.only_sooner && !is_sooner))
    }
}

fn set_life(call: &mut Call<'_>, name: &str, is_absolute: bool, is_seconds: bool) -> Outcome {
    let key = call.arg(1);
    let options = LifeOptions::parse(call.args)?;
    let moment = Moment {
        is_absolute,
        is_seconds,
    };
    let at_ms = moment.at_ms(call.integer(2)?, call.store.now_ms);
    let at_ms = at_ms.ok_or_else(|| invalid_life(name))?;
    let Some(entry) = call.store.peek(key) else {
        call.out.flag(false);
        return Ok(());
    };
    let old = entry.deadline().map(|deadline| deadline.at_ms);
    if !options.allow(old, at_ms) {
        call.out.flag(false);
        return Ok(());
    }
    if at_ms <= call.store.now_ms && !call.store.is_loading {
        call.store.remove(key);
        call.wrote_as(key, &[b"DEL", key]);
    } else {
        call.store.set_life(key, Life::Until(at_ms));
        let mut digits = itoa::Buffer::new();
        let mut command = vec![&b"PEXPIREAT"[..], key, digits.format(at_ms).as_bytes()];
        command.extend(call.args.from(3)); // as Redis logs them; they hold again
        call.wrote_as(key, &command);
    }
    call.out.flag(true);
    Ok(())
}

pub fn ttl(call: &mut Call<'_>) -> Outcome {
    reply_life(call, |at_ms, now_ms| ((at_ms - now_ms).max(0) + 500) / 1000)
}

pub fn pttl(call: &mut Call<'_>) -> Outcome {
    reply_life(call, |at_ms, now_ms| (at_ms - now_ms).max(0))
}

pub fn expiretime(call: &mut Call<'_>) -> Outcome {
    reply_life(call, |at_ms, _| (at_ms.saturating_add(500)) / 1000)
}

pub fn pexpiretime(call: &mut Call<'_>) -> Outcome {
    reply_life(call, |at_ms, _| at_ms)
}

fn reply_life(call: &mut Call<'_>, tell: fn(i64, i64) -> i64) -> Outcome {
    const NO_KEY: i64 = -2;
    const NO_END: i64 = -1;
    let now_ms = call.store.now_ms;
    let life = match call.store.look(call.args.at(1)) {
        None => NO_KEY,
        Some(entry) => match entry.deadline() {
            None => NO_END,
            Some(deadline) => tell(deadline.at_ms, now_ms),
        },
    };
    call.out.integer(life);
    Ok(())
}

pub fn persist(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let had_end = call.store.peek(key).is_some_and(has_deadline);
    if had_end {
        call.store.set_life(key, Life::Endless);
        call.wrote(key);
    }
    call.out.flag(had_end);
    Ok(())
}

// --- names

pub fn rename(call: &mut Call<'_>) -> Outcome {
    rename_to(call, false)
}

pub fn renamenx(call: &mut Call<'_>) -> Outcome {
    rename_to(call, true)
}

fn rename_to(call: &mut Call<'_>, is_only_new: bool) -> Outcome {
    let (source, target) = (call.arg(1), call.arg(2));
    if !call.store.contains(source) {
        return Err(NO_SUCH_KEY);
    }
    let is_refused = is_only_new && call.store.contains(target);
    if !is_refused && source != target {
        call.store.remove(target);
        if let Some(entry) = call.store.take_entry(source) {
            let life = life_of(&entry);
            let text = entry.text().map(<[u8]>::to_vec).unwrap_or_default();
            call.store.put(target, entry.into_object(), &text, life);
        }
        call.wrote(source);
        call.wrote(target);
    }
    if is_only_new {
        call.out.flag(!is_refused);
    } else {
        call.out.ok();
    }
    Ok(())
}

fn life_of(entry: &Entry) -> Life {
    entry
        .deadline()
        .map_or(Life::Endless, |deadline| Life::Until(deadline.at_ms))
}

pub fn copy(call: &mut Call<'_>) -> Outcome {
    let (source, target) = (call.arg(1), call.arg(2));
    let mut is_replaced = false;
    let mut at = 3;
    while let Some(word) = call.args.get(at) {
        match word.to_ascii_lowercase().as_slice() {
            b"replace" => is_replaced = true,
            b"db" if at + 1 < call.args.len() => {
                at += 1;
                check_database(call.arg(at))?;
            }
            _ => return Err(SYNTAX),
        }
        at += 1;
    }
    if source == target {
        return Err(Refusal::Text(
            "ERR source and destination objects are the same",
        ));
    }
    let found = call
        .store
        .read(source)
        .map(|entry| (copy_of(entry), life_of(entry)));
    let Some(((object, text), life)) = found else {
        call.out.flag(false);
        return Ok(());
    };
    if call.store.contains(target) {
        if !is_replaced {
            call.out.flag(false);
            return Ok(());
        }
        call.store.remove(target);
    }
    call.store.put(target, object, &text, life);
    call.out.flag(true);
    call.wrote(target);
    Ok(())
}

/// There is one database, with the number 0.
pub fn check_database(number: &[u8]) -> Outcome {
    let number = parse_i64(number).ok_or(NOT_INTEGER)?;
    match i32::try_from(number) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Refusal::Text("ERR DB index is out of range")),
        Err(_) => Err(Refusal::Text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        )),
    }
}

// --- all keys

pub fn dbsize(call: &mut Call<'_>) -> Outcome {
    call.out.count(call.store.len());
    Ok(())
}

pub fn flushall(call: &mut Call<'_>) -> Outcome {
    let option = call.args.get(1).map(<[u8]>::to_ascii_lowercase);
    let is_async = match (option.as_deref(), call.args.len()) {
        (None | Some(b"sync"), 1 | 2) => false,
        (Some(b"async"), 2) => true,
        _ => return Err(SYNTAX),
    };
    let old = call.store.clear();
    if is_async {
        // Some million frees take a while. Without a thread they are done here.
        let thread = std::thread::Builder::new().name("free".into());
        let _ = thread.spawn(move || drop(old));
    }
    call.out.ok();
    call.wrote_all();
    Ok(())
}

pub fn keys(call: &mut Call<'_>) -> Outcome {
    let pattern = call.arg(1);
    let fits = |entry: &&Entry| glob::matches(pattern, entry.key(), false);
    let found: Vec<_> = call.store.entries().filter(fits).map(Keyed::key).collect();
    call.out.bulks(found.into_iter());
    Ok(())
}

pub fn randomkey(call: &mut Call<'_>) -> Outcome {
    let key = call.store.random_key();
    call.out.bulk_or_null(key.as_deref());
    Ok(())
}

/// The options of the SCAN family.
pub struct Scan<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    type_name: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    const USUAL_COUNT: usize = 10;

    /// As C's `strtoul` reads it, which knows signs.
    pub fn cursor(text: &[u8]) -> Result<u64, Refusal> {
        let text = c_string(text);
        let (is_negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] | digits => (false, digits),
        };
        let is_number = digits.iter().all(u8::is_ascii_digit);
        let number = match std::str::from_utf8(digits) {
            Ok("") if text.is_empty() => Some(0),
            Ok(digits) if is_number => digits.parse::<u64>().ok(),
            _ => None,
        };
        let number = number.ok_or(Refusal::Text("ERR invalid cursor"))?;
        Ok(if is_negative {
            number.wrapping_neg()
        } else {
            number
        })
    }

    pub fn parse(args: Args<'a>, first: usize, has_type: bool) -> Result<Self, Refusal> {
        let mut scan = Self {
            pattern: None,
            count: Self::USUAL_COUNT,
            type_name: None,
        };
        for at in (first..args.len()).step_by(2) {
            let value = args.get(at + 1).ok_or(SYNTAX)?;
            match args.at(at).to_ascii_lowercase().as_slice() {
                b"match" => scan.pattern = Some(value),
                b"type" if has_type => scan.type_name = Some(value),
                b"count" => {
                    let count = parse_i64(value).ok_or(NOT_INTEGER)?;
                    scan.count = usize::try_from(count)
                        .ok()
                        .filter(|&count| count > 0)
                        .ok_or(SYNTAX)?;
                }
                _ => return Err(SYNTAX),
            }
        }
        Ok(scan)
    }

    pub fn wants(&self, text: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, text, false))
    }

    /// Visits buckets of a table until enough items were seen, or for so many buckets that an
    /// empty stretch takes a bounded time.
    pub fn run<'t, T: Keyed>(
        &self,
        table: &'t Table<T>,
        cursor: u64,
        visit: &mut dyn FnMut(&'t T),
    ) -> u64 {
        self.turn(cursor, |cursor, seen| {
            table.scan(cursor, &mut |item| {
                *seen += 1;
                visit(item);
            })
        })
    }

    fn turn(&self, mut cursor: u64, mut step: impl FnMut(u64, &mut usize) -> u64) -> u64 {
        let mut seen = 0;
        for _ in 0..self.count.saturating_mul(10) {
            cursor = step(cursor, &mut seen);
            if cursor == 0 || seen >= self.count {
                break;
            }
        }
        cursor
    }

    /// The reply to a scan of a key that is not there.
    pub fn reply_end(out: &mut Reply) {
        reply_scan(out, 0, 0, std::iter::empty());
    }
}

pub fn reply_scan<'a>(
    out: &mut Reply,
    cursor: u64,
    length: usize,
    texts: impl Iterator<Item = &'a [u8]>,
) {
    out.array(2);
    out.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    out.array(length);
    texts.for_each(|text| out.bulk(text));
}

pub fn scan(call: &mut Call<'_>) -> Outcome {
    let cursor = Scan::cursor(call.arg(1))?;
    let scan = Scan::parse(call.args, 2, true)?;
    let mut found = Vec::new();
    let store: &Store = call.store;
    let next = scan.turn(cursor, |cursor, seen| {
        store.scan(cursor, &mut |entry| {
            *seen += 1;
            let is_type = |name: &[u8]| entry.type_name().as_bytes().eq_ignore_ascii_case(name);
            if scan.wants(entry.key()) && scan.type_name.is_none_or(is_type) {
                found.push(entry.key());
            }
        })
    });
    reply_scan(call.out, next, found.len(), found.iter().copied());
    Ok(())
}

// --- looking inside

pub fn object(call: &mut Call<'_>) -> Outcome {
    const WORDS: &[Subcommand] = &[
        ("encoding", 3, |call| {
            let entry = call.store.look(call.args.at(2));
            call.out
                .bulk_or_null(entry.map(|entry| encoding(entry).as_bytes()));
            Ok(())
        }),
        ("refcount", 3, |call| tell_number(call, |_, _| 1)),
        ("idletime", 3, |call| {
            tell_number(call, |store, clock| store.idle_ms(clock) / 1000)
        }),
    ];
    run_subcommand(call, "object", WORDS)
}

fn tell_number(call: &mut Call<'_>, tell: fn(&Store, u32) -> i64) -> Outcome {
    let clock = call.store.look(call.args.at(2)).map(Entry::clock);
    match clock {
        Some(clock) => call.out.integer(tell(call.store, clock)),
        None => call.out.null(),
    }
    Ok(())
}

/// The names of Redis for what is nearest to them here.
fn encoding(entry: &Entry) -> &'static str {
    const MAX_EMBEDDED_BYTES: usize = 44;
    match entry.value() {
        Value::Text(_) if entry.is_long_text() => "raw",
        Value::Text(text) if parse_i64(text).is_some() => "int",
        Value::Text(text) if text.len() <= MAX_EMBEDDED_BYTES => "embstr",
        Value::Text(_) | Value::Object(Object::Text(_)) => "raw",
        Value::Object(Object::List(_)) => "quicklist",
        Value::Object(Object::Hash(hash)) => hash.encoding(),
        Value::Object(Object::Set(set)) => set.encoding(),
        Value::Object(Object::Zset(zset)) => zset.encoding(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_lives() {
        let options = |words: [bool; 4]| LifeOptions {
            only_endless: words[0],
            only_ending: words[1],
            only_later: words[2],
            only_sooner: words[3],
        };
        for (words, old, new, allowed) in [
            ([false; 4], None, 5, true),
            ([true, false, false, false], None, 5, true),
            ([true, false, false, false], Some(1), 5, false),
            ([false, true, false, false], None, 5, false),
            ([false, true, false, false], Some(1), 5, true),
            ([false, false, true, false], None, 5, false),
            ([false, false, true, false], Some(4), 5, true),
            ([false, false, true, false], Some(5), 5, false),
            ([false, false, false, true], None, 5, true),
            ([false, false, false, true], Some(6), 5, true),
            ([false, false, false, true], Some(5), 5, false),
        ] {
            assert_eq!(options(words).allow(old, new), allowed, "{words:?} {old:?}");
        }
    }

    #[test]
    fn cursors() {
        assert!(matches!(Scan::cursor(b"0"), Ok(0)));
        assert!(matches!(
            Scan::cursor(b"18446744073709551615"),
            Ok(u64::MAX)
        ));
        assert!(matches!(Scan::cursor(b""), Ok(0)) && matches!(Scan::cursor(b"-1"), Ok(u64::MAX)));
        for text in [&b"a"[..], b"-", b"18446744073709551616", b" 1"] {
            assert!(Scan::cursor(text).is_err());
        }
    }
}
