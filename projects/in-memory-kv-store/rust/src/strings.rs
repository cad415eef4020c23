//! The commands of strings.

use crate::commands::{
    Call, NOT_FINITE, NOT_FLOAT, NOT_INTEGER, Outcome, Refusal, SYNTAX, TOO_LONG, WOULD_OVERFLOW,
    wrong_arity,
};
use crate::numbers::{LongDouble, parse_i64};
use crate::resp::{Args, MAX_BULK_BYTES};
use crate::store::Life;
use crate::store::entry::Entry;

pub fn get(call: &mut Call<'_>) -> Outcome {
    let text = call.store.read_text(call.args.at(1))?;
    call.out.bulk_or_null(text);
    Ok(())
}

pub fn strlen(call: &mut Call<'_>) -> Outcome {
    let text = call.store.read_text(call.args.at(1))?;
    call.out.count(text.map_or(0, <[u8]>::len));
    Ok(())
}

/// A time that a client gave, as it gave it.
#[derive(Clone, Copy)]
pub struct Moment {
    pub is_absolute: bool,
    pub is_seconds: bool,
}

impl Moment {
    /// The word of an option: EX, PX, EXAT or PXAT.
    fn of_word(word: &[u8]) -> Option<Self> {
        let (is_absolute, is_seconds) = match word {
            b"ex" => (false, true),
            b"px" => (false, false),
            b"exat" => (true, true),
            b"pxat" => (true, false),
            _ => return None,
        };
        Some(Self {
            is_absolute,
            is_seconds,
        })
    }

    /// The time in milliseconds since 1970, or none when it has no such form.
    pub fn at_ms(self, number: i64, now_ms: i64) -> Option<i64> {
        let number = if self.is_seconds {
            number.checked_mul(1000)?
        } else {
            number
        };
        if self.is_absolute {
            Some(number)
        } else {
            number.checked_add(now_ms)
        }
    }
}

/// The options of SET and GETEX.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // each is a word of the command
struct Options {
    only_new: bool,
    only_known: bool,
    answers_old: bool,
    keeps_life: bool,
    is_endless: bool,              // PERSIST
    life: Option<(Moment, usize)>, // and the argument with the number
}

impl Options {
    fn parse(args: Args<'_>, first: usize, is_set: bool) -> Result<Self, Refusal> {
        let mut options = Self::default();
        let mut at = first;
        while let Some(word) = args.get(at) {
            let word = word.to_ascii_lowercase();
            match word.as_slice() {
                b"nx" if is_set && !options.only_known => options.only_new = true,
                b"xx" if is_set && !options.only_new => options.only_known = true,
                b"get" if is_set => options.answers_old = true,
                b"keepttl" if is_set && options.life.is_none() => options.keeps_life = true,
                b"persist" if !is_set && options.life.is_none() => options.is_endless = true,
                word => {
                    options.take_life(word, at + 1, args)?;
                    at += 1;
                }
            }
            at += 1;
        }
        Ok(options)
    }

    /// The same unit may be given again, another one may not.
    fn take_life(&mut self, word: &[u8], at: usize, args: Args<'_>) -> Result<(), Refusal> {
        let moment = Moment::of_word(word).ok_or(SYNTAX)?;
        let is_other = self.life.is_some_and(|(old, _)| {
            (old.is_absolute, old.is_seconds) != (moment.is_absolute, moment.is_seconds)
        });
        if self.keeps_life || self.is_endless || is_other || at >= args.len() {
            return Err(SYNTAX);
        }
        self.life = Some((moment, at));
        Ok(())
    }

    fn at_ms(&self, call: &Call<'_>, name: &str) -> Result<Option<i64>, Refusal> {
        let Some((moment, at)) = self.life else {
            return Ok(None);
        };
        let number = call.integer(at)?;
        let at_ms = moment
            .at_ms(number, call.store.now_ms)
            .filter(|_| number > 0);
        at_ms.map(Some).ok_or_else(|| invalid_life(name))
    }
}

pub fn invalid_life(name: &str) -> Refusal {
    Refusal::Made(format!("ERR invalid expire time in '{name}' command").into_bytes())
}

pub fn set(call: &mut Call<'_>) -> Outcome {
    let (key, text) = (call.arg(1), call.arg(2));
    if call.args.len() == 3 {
        call.store.set_text(key, text, Life::Endless);
        call.out.ok();
        call.wrote(key);
        return Ok(());
    }
    let options = Options::parse(call.args, 3, true)?;
    let at_ms = options.at_ms(call, "set")?;
    if options.answers_old {
        let old = call.store.read_text(key)?;
        call.out.bulk_or_null(old);
    }
    let is_known = (options.only_new || options.only_known) && call.store.contains(key);
    if (options.only_new && is_known) || (options.only_known && !is_known) {
        if !options.answers_old {
            call.out.null();
        }
        return Ok(());
    }
    let life = match at_ms {
        Some(at_ms) => Life::Until(at_ms),
        None if options.keeps_life => Life::Keep,
        None => Life::Endless,
    };
    call.store.set_text(key, text, life);
    if !options.answers_old {
        call.out.ok();
    }
    log_set(call, key, text, life, options.answers_old);
    Ok(())
}

/// Logs a SET without what depends on the time or only asks for an answer.
fn log_set(call: &mut Call<'_>, key: &[u8], text: &[u8], life: Life, answers_old: bool) {
    match life {
        Life::Until(at_ms) => {
            let mut digits = itoa::Buffer::new();
            let at_ms = digits.format(at_ms).as_bytes();
            call.wrote_as(key, &[b"SET", key, text, b"PXAT", at_ms]);
        }
        Life::Keep if answers_old => call.wrote_as(key, &[b"SET", key, text, b"KEEPTTL"]),
        Life::Endless if answers_old => call.wrote_as(key, &[b"SET", key, text]),
        Life::Keep | Life::Endless => call.wrote(key),
    }
}

pub fn setnx(call: &mut Call<'_>) -> Outcome {
    let (key, text) = (call.arg(1), call.arg(2));
    let is_new = !call.store.contains(key);
    if is_new {
        call.store.set_text(key, text, Life::Endless);
        call.wrote(key);
    }
    call.out.flag(is_new);
    Ok(())
}

pub fn setex(call: &mut Call<'_>) -> Outcome {
    set_with_life(call, true, "setex")
}

pub fn psetex(call: &mut Call<'_>) -> Outcome {
    set_with_life(call, false, "psetex")
}

fn set_with_life(call: &mut Call<'_>, is_seconds: bool, name: &str) -> Outcome {
    let (key, number, text) = (call.arg(1), call.integer(2)?, call.arg(3));
    let moment = Moment {
        is_absolute: false,
        is_seconds,
    };
    let at_ms = moment
        .at_ms(number, call.store.now_ms)
        .filter(|_| number > 0);
    let life = Life::Until(at_ms.ok_or_else(|| invalid_life(name))?);
    call.store.set_text(key, text, life);
    call.out.ok();
    log_set(call, key, text, life, false);
    Ok(())
}

pub fn getset(call: &mut Call<'_>) -> Outcome {
    let (key, text) = (call.arg(1), call.arg(2));
    let old = call.store.read_text(key)?;
    call.out.bulk_or_null(old);
    call.store.set_text(key, text, Life::Endless);
    call.wrote_as(key, &[b"SET", key, text]);
    Ok(())
}

pub fn getdel(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let old = call.store.read_text(key)?;
    let is_known = old.is_some();
    call.out.bulk_or_null(old);
    if is_known {
        call.store.remove(key);
        call.wrote_as(key, &[b"DEL", key]);
    }
    Ok(())
}

pub fn getex(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let options = Options::parse(call.args, 2, false)?;
    let Some(text) = call.store.read_text(key)? else {
        call.out.null();
        return Ok(());
    };
    call.out.bulk(text);
    let at_ms = options.at_ms(call, "getex")?;
    match at_ms {
        Some(at_ms)
            if options.life.is_some_and(|(moment, _)| moment.is_absolute)
                && at_ms <= call.store.now_ms =>
        {
            call.store.remove(key);
            call.wrote_as(key, &[b"DEL", key]);
        }
        Some(at_ms) => {
            call.store.set_life(key, Life::Until(at_ms));
            let mut digits = itoa::Buffer::new();
            call.wrote_as(key, &[b"PEXPIREAT", key, digits.format(at_ms).as_bytes()]);
        }
        None if options.is_endless && call.store.peek(key).is_some_and(has_deadline) => {
            call.store.set_life(key, Life::Endless);
            call.wrote_as(key, &[b"PERSIST", key]);
        }
        None => {}
    }
    Ok(())
}

pub fn has_deadline(entry: &Entry) -> bool {
    entry.deadline().is_some()
}

pub fn mget(call: &mut Call<'_>) -> Outcome {
    call.out.array(call.args.len() - 1);
    for key in call.args.from(1) {
        let text = call.store.read(key).and_then(Entry::text);
        call.out.bulk_or_null(text);
    }
    Ok(())
}

pub fn mset(call: &mut Call<'_>) -> Outcome {
    set_pairs(call, "mset")?;
    call.out.ok();
    Ok(())
}

pub fn msetnx(call: &mut Call<'_>) -> Outcome {
    let mut keys = call.args.from(1).step_by(2);
    let is_odd = call.args.len().is_multiple_of(2);
    if !is_odd && keys.any(|key| call.store.contains(key)) {
        call.out.flag(false);
        return Ok(());
    }
    set_pairs(call, "msetnx")?;
    call.out.flag(true);
    Ok(())
}

fn set_pairs(call: &mut Call<'_>, name: &str) -> Outcome {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity(name));
    }
    for index in (1..call.args.len()).step_by(2) {
        let (key, text) = (call.arg(index), call.arg(index + 1));
        call.store.set_text(key, text, Life::Endless);
        call.wrote(key);
    }
    Ok(())
}

pub fn incr(call: &mut Call<'_>) -> Outcome {
    increase(call, 1)
}

pub fn decr(call: &mut Call<'_>) -> Outcome {
    increase(call, -1)
}

pub fn incrby(call: &mut Call<'_>) -> Outcome {
    let increment = call.integer(2)?;
    increase(call, increment)
}

pub fn decrby(call: &mut Call<'_>) -> Outcome {
    let decrement = call.integer(2)?;
    let increment = decrement.checked_neg();
    increase(
        call,
        increment.ok_or(Refusal::Text("ERR decrement would overflow"))?,
    )
}

fn increase(call: &mut Call<'_>, increment: i64) -> Outcome {
    let key = call.arg(1);
    let old = match call.store.edit_text(key)? {
        Some(text) => parse_i64(text).ok_or(NOT_INTEGER)?,
        None => 0,
    };
    let sum = old.checked_add(increment).ok_or(WOULD_OVERFLOW)?;
    let mut digits = itoa::Buffer::new();
    call.store
        .set_text(key, digits.format(sum).as_bytes(), Life::Keep);
    call.out.integer(sum);
    call.wrote(key);
    Ok(())
}

pub fn incrbyfloat(call: &mut Call<'_>) -> Outcome {
    let key = call.arg(1);
    let old = match call.store.edit_text(key)? {
        Some(text) => LongDouble::parse(text).ok_or(NOT_FLOAT)?,
        None => LongDouble::ZERO,
    };
    let sum = old.checked_plus(call.long_double(2)?).ok_or(NOT_FINITE)?;
    let text = sum.format();
    call.store.set_text(key, text.as_bytes(), Life::Keep);
    call.out.bulk(text.as_bytes());
    call.wrote_as(key, &[b"SET", key, text.as_bytes(), b"KEEPTTL"]);
    Ok(())
}

pub fn append(call: &mut Call<'_>) -> Outcome {
    let (key, added) = (call.arg(1), call.arg(2));
    let length = if let Some(text) = call.store.edit_text(key)? {
        let length = checked_length(text.len(), added.len())?;
        call.store
            .grow_text(key, |text| text.extend_from_slice(added));
        length
    } else {
        call.store.set_text(key, added, Life::Endless);
        added.len()
    };
    call.out.count(length);
    call.wrote(key);
    Ok(())
}

fn checked_length(start: usize, added: usize) -> Result<usize, Refusal> {
    let length = start.checked_add(added);
    length
        .filter(|&length| length <= MAX_BULK_BYTES)
        .ok_or(TOO_LONG)
}

pub fn setrange(call: &mut Call<'_>) -> Outcome {
    let (key, offset, part) = (call.arg(1), call.integer(2)?, call.arg(3));
    let Ok(offset) = usize::try_from(offset) else {
        return Err(Refusal::Text("ERR offset is out of range"));
    };
    let old_length = call.store.edit_text(key)?.map(<[u8]>::len);
    if part.is_empty() {
        call.out.count(old_length.unwrap_or(0));
        return Ok(());
    }
    let end = checked_length(offset, part.len())?;
    if old_length.is_none() {
        call.store.set_text(key, b"", Life::Endless);
    }
    call.store.grow_text(key, |text| {
        text.resize(text.len().max(end), 0);
        text[offset..end].copy_from_slice(part);
    });
    call.out.count(end.max(old_length.unwrap_or(0)));
    call.wrote(key);
    Ok(())
}

pub fn getrange(call: &mut Call<'_>) -> Outcome {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let text = call.store.read_text(call.args.at(1))?.unwrap_or_default();
    let len = text.len() as i64;
    // Not quite as other ranges: an end before the first byte is the first byte.
    let from_front = |index: i64| {
        if index < 0 {
            (index + len).max(0)
        } else {
            index
        }
    };
    let is_backwards = start < 0 && end < 0 && start > end;
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    if is_backwards || start > end {
        call.out.bulk(b"");
    } else {
        call.out.bulk(&text[start as usize..=end as usize]);
    }
    Ok(())
}
