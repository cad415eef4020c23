//! The scalar functions.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::eval::{Context, Expr, check_length};
use crate::like::{char_bytes, until_nul};
use crate::number::round_to;
use crate::value::{Collation, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Abs,
    Coalesce,
    Hex,
    Iif,
    Instr,
    Length,
    Lower,
    LeftTrim,
    Max,
    Min,
    NullIf,
    Replace,
    Round,
    RightTrim,
    Substr,
    Trim,
    TypeOf,
    Unicode,
    Upper,
}

/// Name, function, and the number of arguments it takes.
const FUNCTIONS: [(&str, Function, std::ops::RangeInclusive<usize>); 21] = [
    ("abs", Function::Abs, 1..=1),
    ("coalesce", Function::Coalesce, 2..=127),
    ("hex", Function::Hex, 1..=1),
    ("ifnull", Function::Coalesce, 2..=2),
    ("iif", Function::Iif, 3..=3),
    ("instr", Function::Instr, 2..=2),
    ("length", Function::Length, 1..=1),
    ("lower", Function::Lower, 1..=1),
    ("ltrim", Function::LeftTrim, 1..=2),
    ("max", Function::Max, 2..=127),
    ("min", Function::Min, 2..=127),
    ("nullif", Function::NullIf, 2..=2),
    ("replace", Function::Replace, 3..=3),
    ("round", Function::Round, 1..=2),
    ("rtrim", Function::RightTrim, 1..=2),
    ("substr", Function::Substr, 2..=3),
    ("substring", Function::Substr, 2..=3),
    ("trim", Function::Trim, 1..=2),
    ("typeof", Function::TypeOf, 1..=1),
    ("unicode", Function::Unicode, 1..=1),
    ("upper", Function::Upper, 1..=1),
];

pub fn lookup(name: &str, arguments: usize) -> Result<Function> {
    let found = FUNCTIONS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
    let (_, function, count) = found.ok_or_else(|| Error::input(format!("no such function: {name}")))?;
    if !count.contains(&arguments) {
        return Err(Error::input(format!("wrong number of arguments to function {name}()")));
    }
    Ok(*function)
}

pub fn call<'r>(
    function: Function,
    collation: Collation,
    arguments: &'r [Expr],
    context: &Context<'r>,
) -> Result<Value<'r>> {
    match function {
        // The lazy ones first: they do not evaluate all of their arguments.
        Function::Coalesce => {
            for argument in arguments {
                let value = argument.eval(context)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            return Ok(Value::Null);
        }
        Function::Iif => {
            let holds = arguments[0].eval(context)?.truth() == Some(true);
            return arguments[if holds { 1 } else { 2 }].eval(context);
        }
        Function::Max | Function::Min => {
            return extreme(function == Function::Max, collation, arguments, context);
        }
        _ => {}
    }
    let first = arguments[0].eval(context)?;
    let mut rest = arguments[1..].iter().map(|a| a.eval(context));
    let (second, third) = (rest.next().transpose()?, rest.next().transpose()?);
    if function == Function::TypeOf {
        return Ok(Value::text(first.type_name().as_bytes()));
    }
    if function == Function::NullIf {
        let same = second.is_some_and(|s| first.compare(&s, collation).is_eq());
        return Ok(if same { Value::Null } else { first });
    }
    if function == Function::Hex {
        return hex(&first);
    }
    if first.is_null() || second.as_ref().is_some_and(Value::is_null) {
        return Ok(Value::Null);
    }
    if function == Function::Replace {
        return replace(first, &second.unwrap_or(Value::Null), &third.unwrap_or(Value::Null));
    }
    if third.as_ref().is_some_and(Value::is_null) {
        return Ok(Value::Null);
    }
    match function {
        Function::Abs => abs(&first),
        Function::Length => Ok(length(&first)),
        Function::Round => Ok(round(&first, second.as_ref())),
        Function::Lower => Ok(map_text(first, <[u8]>::to_ascii_lowercase)),
        Function::Upper => Ok(map_text(first, <[u8]>::to_ascii_uppercase)),
        Function::Unicode => Ok(unicode(&first)),
        Function::Trim | Function::LeftTrim | Function::RightTrim => {
            Ok(trim(function, first, second.as_ref()))
        }
        Function::Instr => Ok(instr(&first, &second.unwrap_or(Value::Null))),
        Function::Substr => Ok(substr(first, &second.unwrap_or(Value::Null), third.as_ref())),
        _ => unreachable!("handled above"),
    }
}

fn bytes_of<'r>(value: Value<'r>) -> Cow<'r, [u8]> {
    value.into_bytes().unwrap_or_default()
}

fn map_text<'r>(value: Value<'r>, map: impl Fn(&[u8]) -> Vec<u8>) -> Value<'r> {
    Value::text(map(&bytes_of(value)))
}

fn extreme<'r>(
    want_max: bool,
    collation: Collation,
    arguments: &'r [Expr],
    context: &Context<'r>,
) -> Result<Value<'r>> {
    let mut best = arguments[0].eval(context)?;
    let mut saw_null = best.is_null();
    for argument in &arguments[1..] {
        let value = argument.eval(context)?;
        saw_null |= value.is_null();
        let order = best.compare(&value, collation);
        if if want_max { order.is_lt() } else { order.is_ge() } {
            best = value;
        }
    }
    Ok(if saw_null { Value::Null } else { best })
}

fn abs(value: &Value<'_>) -> Result<Value<'static>> {
    match value {
        Value::Int(i) => i.checked_abs().map(Value::Int).ok_or_else(|| Error::input("integer overflow")),
        other => {
            let real = other.to_real();
            Ok(Value::real(if real < 0.0 { -real } else { real })) // -0.0 stays, as in SQLite
        }
    }
}

fn chars(text: &[u8]) -> usize {
    // As SQLite counts: a lead byte takes all continuation bytes after it, a stray one counts itself. The first of a
    // row of stray ones follows an ASCII byte or nothing; without any, the other bytes are the characters.
    let continues = |byte: u8| byte & 0xc0 == 0x80;
    let Some(&first) = text.first() else { return 0 };
    // Without early ends, and with counts that fit a byte, both loops become vector instructions.
    let stray = text
        .iter()
        .zip(&text[1..])
        .fold(continues(first), |stray, (&before, &byte)| stray | (before.is_ascii() & continues(byte)));
    if !stray {
        let lead_bytes = |block: &[u8]| block.iter().map(|&byte| u8::from(!continues(byte))).sum::<u8>();
        return text.chunks(u8::MAX.into()).map(|block| usize::from(lead_bytes(block))).sum();
    }
    let mut rest = text;
    let mut count = 0;
    while !rest.is_empty() {
        rest = &rest[char_bytes(rest)..];
        count += 1;
    }
    count
}

fn length(value: &Value<'_>) -> Value<'static> {
    Value::Int(match value {
        Value::Blob(b) => b.len(),
        Value::Text(t) => chars(until_nul(t)),
        other => other.to_bytes().map_or(0, |b| b.len()),
    } as i64)
}

fn round(value: &Value<'_>, digits: Option<&Value<'_>>) -> Value<'static> {
    let digits = digits.map_or(0, Value::to_int).clamp(0, 30);
    Value::real(round_to(value.to_real(), digits as u32))
}

fn hex(value: &Value<'_>) -> Result<Value<'static>> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = value.to_bytes().unwrap_or_default();
    check_length(bytes.len() * 2)?;
    let digits = bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    Ok(Value::text(digits.collect::<Vec<u8>>()))
}

fn unicode(value: &Value<'_>) -> Value<'static> {
    let bytes = value.to_bytes().unwrap_or_default();
    let first = &bytes[..char_bytes(&bytes)];
    if first.is_empty() || first[0] == 0 {
        return Value::Null;
    }
    let code = std::str::from_utf8(first).ok().and_then(|s| s.chars().next()).map_or(0xfffd, u32::from);
    Value::Int(i64::from(code))
}

fn trim<'r>(function: Function, value: Value<'r>, set: Option<&Value<'_>>) -> Value<'r> {
    let set = set.map_or(Cow::Borrowed(&b" "[..]), |s| s.to_bytes().unwrap_or_default());
    let mut members: Vec<&[u8]> = Vec::new();
    let mut rest = &set[..];
    while !rest.is_empty() {
        let (one, after) = rest.split_at(char_bytes(rest));
        members.push(one);
        rest = after;
    }
    let text = bytes_of(value);
    let (mut start, mut end) = (0, text.len());
    if function != Function::RightTrim {
        while let Some(found) = members.iter().find(|m| text[start..end].starts_with(m)) {
            start += found.len();
        }
    }
    if function != Function::LeftTrim {
        while let Some(found) = members.iter().find(|m| text[start..end].ends_with(m)) {
            end -= found.len();
        }
    }
    Value::text(slice(text, start, end))
}

/// A part of a text, still borrowed if the whole was.
fn slice<'r>(text: Cow<'r, [u8]>, start: usize, end: usize) -> Cow<'r, [u8]> {
    match text {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[start..end]),
        Cow::Owned(bytes) => Cow::Owned(bytes[start..end].to_vec()),
    }
}

fn instr(haystack: &Value<'_>, needle: &Value<'_>) -> Value<'static> {
    let by_bytes = matches!((haystack, needle), (Value::Blob(_), Value::Blob(_)));
    let (haystack, needle) = (haystack.to_bytes().unwrap_or_default(), needle.to_bytes().unwrap_or_default());
    if needle.is_empty() {
        return Value::Int(1);
    }
    Value::Int(match memchr::memmem::find(&haystack, &needle) {
        None => 0,
        Some(at) if by_bytes => at as i64 + 1,
        Some(at) => chars(&haystack[..at]) as i64 + 1,
    })
}

fn substr<'r>(value: Value<'r>, from: &Value<'_>, length: Option<&Value<'_>>) -> Value<'r> {
    let is_blob = matches!(value, Value::Blob(_));
    let bytes = bytes_of(value);
    if is_blob && bytes.is_empty() {
        return Value::Null; // SQLite has no pointer to an empty blob, and takes that for NULL
    }
    let visible = if is_blob { &bytes[..] } else { until_nul(&bytes) };
    // SQLite takes both numbers as 32-bit integers, whatever they were.
    let as_int = |v: &Value<'_>| i64::from(v.to_int() as i32);
    let mut start = as_int(from);
    let mut count = length.map_or(1_000_000_000, as_int);
    let backwards = count < 0;
    count = count.abs();
    // The arithmetic of SQLite: positions count from 1, negative ones from the end, and 0 is the
    // place before the first, which uses up one of the count.
    if start < 0 {
        start += if is_blob { visible.len() } else { chars(visible) } as i64;
        if start < 0 {
            count = (count + start).max(0);
            start = 0;
        }
    } else if start > 0 {
        start -= 1;
    } else if count > 0 {
        count -= 1;
    }
    if backwards {
        start -= count;
        if start < 0 {
            count += start;
            start = 0;
        }
    }
    let (first, last) = (start as usize, (start + count) as usize);
    let range = if is_blob {
        first.min(visible.len())..last.min(visible.len())
    } else {
        byte_range(visible, first, last)
    };
    let part = slice(bytes, range.start, range.end);
    if is_blob { Value::blob(part) } else { Value::text(part) }
}

/// Where the characters from `first` up to `last` stand; both may lie behind the end.
fn byte_range(text: &[u8], first: usize, last: usize) -> std::ops::Range<usize> {
    let skip = |from: usize, count: usize| {
        let mut at = from;
        for _ in 0..count {
            if at == text.len() {
                break;
            }
            at += char_bytes(&text[at..]);
        }
        at
    };
    let start = skip(0, first);
    start..skip(start, last.saturating_sub(first))
}

fn replace<'r>(value: Value<'r>, from: &Value<'_>, to: &Value<'_>) -> Result<Value<'r>> {
    let from = from.to_bytes().unwrap_or_default();
    // SQLite sees an empty pattern, or one that starts with NUL, as nothing to do.
    if from.first().is_none_or(|&b| b == 0) {
        return Ok(if let Value::Blob(bytes) = value { Value::Text(bytes) } else { value });
    }
    if to.is_null() {
        return Ok(Value::Null);
    }
    let to = to.to_bytes().unwrap_or_default();
    let text = bytes_of(value);
    let mut replaced = Vec::with_capacity(text.len());
    let mut at = 0;
    for found in memchr::memmem::find_iter(&text, &from[..]) {
        replaced.extend_from_slice(&text[at..found]);
        replaced.extend_from_slice(&to);
        check_length(replaced.len())?;
        at = found + from.len();
    }
    replaced.extend_from_slice(&text[at..]);
    check_length(replaced.len())?;
    Ok(Value::text(replaced))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, arguments: &[Value<'static>]) -> Result<Value<'static>> {
        let function = lookup(name, arguments.len())?;
        let arguments: Vec<Expr> = arguments.iter().cloned().map(Expr::Constant).collect();
        call(function, Collation::Binary, &arguments, &Context::Nothing).map(Value::into_owned)
    }

    fn text(s: &'static str) -> Value<'static> {
        Value::text(s.as_bytes())
    }

    #[test]
    fn results() {
        let int = Value::Int;
        let cases: Vec<(&str, Vec<Value>, Value)> = vec![
            ("abs", vec![int(-5)], int(5)),
            ("abs", vec![text("x")], Value::Real(0.0)),
            ("coalesce", vec![Value::Null, int(1), int(2)], int(1)),
            ("hex", vec![text("aé")], text("61C3A9")),
            ("hex", vec![Value::Null], text("")),
            ("instr", vec![text("éab"), text("b")], int(3)),
            ("instr", vec![text("ab"), text("")], int(1)),
            ("length", vec![text("é€")], int(2)),
            ("length", vec![text("a\0b")], int(1)),
            ("length", vec![Value::Real(1.5)], int(3)),
            ("lower", vec![text("ABCÉ")], text("abcÉ")),
            ("max", vec![int(1), text("a"), int(3)], text("a")),
            ("min", vec![int(1), Value::Null], Value::Null),
            ("nullif", vec![int(1), Value::Real(1.0)], Value::Null),
            ("replace", vec![text("aXbX"), text("X"), text("--")], text("a--b--")),
            ("round", vec![Value::Real(2.5)], Value::Real(3.0)),
            ("trim", vec![text("  a ")], text("a")),
            ("ltrim", vec![text("éaé"), text("é")], text("aé")),
            ("rtrim", vec![text("éaé"), text("é")], text("éa")),
            ("typeof", vec![Value::Null], text("null")),
            ("iif", vec![int(0), int(1), int(2)], int(2)),
            ("unicode", vec![text("é")], int(233)),
        ];
        for (name, arguments, expected) in cases {
            assert_eq!(run(name, &arguments).unwrap(), expected, "{name} {arguments:?}");
        }
    }

    #[test]
    fn substr_positions() {
        let cases = [
            (1, Some(2), "ab"),
            (0, Some(2), "a"),
            (-2, None, "de"),
            (-2, Some(1), "d"),
            (3, Some(-2), "ab"),
            (-9, Some(6), "ab"),
            (9, Some(2), ""),
            (2, Some(0), ""),
            (-1, Some(-2), "cd"),
            (i64::MIN, Some(i64::MAX), ""),
            (3, Some(i64::MAX), "b"),
        ];
        for (from, count, expected) in cases {
            let mut arguments = vec![text("abcde"), Value::Int(from)];
            arguments.extend(count.map(Value::Int));
            assert_eq!(run("substr", &arguments).unwrap(), text(expected), "{from} {count:?}");
        }
    }

    #[test]
    fn refusals() {
        assert_eq!(run("abs", &[Value::Int(i64::MIN)]).unwrap_err().to_string(), "integer overflow");
        assert_eq!(run("abs", &[]).unwrap_err().to_string(), "wrong number of arguments to function abs()");
        assert_eq!(run("nope", &[]).unwrap_err().to_string(), "no such function: nope");
    }
}
