//! LIKE and GLOB patterns, compiled once and matched without recursion.

use memchr::memchr2;

/// SQLite's limit on the length of a pattern.
const MAX_PATTERN_BYTES: usize = 50_000;

#[derive(Debug, PartialEq)]
enum Element {
    /// One byte, lower-cased where case does not count.
    Byte(u8),
    AnyChar,
    AnyRun,
    /// GLOB's `[a-z]`: character ranges, negated or not.
    Set(Vec<(u32, u32)>, bool),
    /// A broken rest, which matches nothing.
    Never,
}

#[derive(Debug)]
pub struct Pattern {
    elements: Vec<Element>,
    ignore_case: bool,
    /// Set for `%literal%`, the pattern of most searches.
    contains: Option<Literal>,
}

/// A lower-case text to search for, by way of its rarest byte.
#[derive(Debug)]
struct Literal {
    bytes: Vec<u8>,
    pivot: usize,
}

/// Text functions of SQLite see text up to its first NUL.
pub fn until_nul(text: &[u8]) -> &[u8] {
    memchr::memchr(0, text).map_or(text, |end| &text[..end])
}

/// Length of the character at the start of `text`, in the way SQLite skips over UTF-8.
pub fn char_bytes(text: &[u8]) -> usize {
    match text {
        [] => 0,
        [first, rest @ ..] if *first >= 0xc0 => 1 + rest.iter().take_while(|&&b| b & 0xc0 == 0x80).count(),
        _ => 1,
    }
}

fn char_code(text: &[u8]) -> u32 {
    let bytes = &text[..char_bytes(text)];
    match std::str::from_utf8(bytes).ok().and_then(|s| s.chars().next()) {
        Some(c) => u32::from(c),
        None if bytes.len() == 1 => u32::from(bytes[0]),
        None => 0xfffd,
    }
}

impl Pattern {
    /// None when the pattern is longer than SQLite allows.
    pub fn like(pattern: &[u8], escape: Option<&[u8]>) -> Option<Self> {
        let pattern = within_limit(pattern)?;
        let mut elements = Vec::with_capacity(pattern.len());
        let mut rest = pattern;
        while let [first, after @ ..] = rest {
            if let Some(escape) = escape.filter(|e| rest.starts_with(e)) {
                rest = &rest[escape.len()..];
                let length = char_bytes(rest);
                if length == 0 {
                    elements.push(Element::Never);
                }
                elements.extend(rest[..length].iter().map(|b| Element::Byte(b.to_ascii_lowercase())));
                rest = &rest[length..];
                continue;
            }
            elements.push(match first {
                b'%' => Element::AnyRun,
                b'_' => Element::AnyChar,
                other => Element::Byte(other.to_ascii_lowercase()),
            });
            rest = after;
        }
        let contains = contains_literal(&elements);
        Some(Self { elements, ignore_case: true, contains })
    }

    pub fn glob(pattern: &[u8]) -> Option<Self> {
        let mut rest = within_limit(pattern)?;
        let mut elements = Vec::with_capacity(rest.len());
        while let [first, after @ ..] = rest {
            rest = after;
            elements.push(match first {
                b'*' => Element::AnyRun,
                b'?' => Element::AnyChar,
                b'[' => match glob_set(after) {
                    Some((set, length)) => {
                        rest = &after[length..];
                        set
                    }
                    None => Element::Never,
                },
                other => Element::Byte(*other),
            });
        }
        Some(Self { elements, ignore_case: false, contains: None })
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        if let Some(literal) = &self.contains {
            // Only what stands before a NUL counts, but first there must be something.
            return literal.find_in(text).is_some_and(|end| !text[..end].contains(&0));
        }
        let text = until_nul(text);
        let (mut element, mut at) = (0, 0);
        // Where to go on after the last AnyRun when the rest does not match: one character later.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.elements.get(element) {
                None if at == text.len() => return true,
                Some(Element::AnyRun) => {
                    element += 1;
                    if element == self.elements.len() {
                        return true;
                    }
                    retry = Some((element, at));
                    continue;
                }
                Some(one) => {
                    if let Some(length) = self.step(one, &text[at..]) {
                        element += 1;
                        at += length;
                        continue;
                    }
                }
                None => {}
            }
            match retry {
                Some((after_run, from)) if from < text.len() => {
                    at = from + char_bytes(&text[from..]);
                    element = after_run;
                    retry = Some((after_run, at));
                }
                _ => return false,
            }
        }
    }

    /// Bytes that a single-character element takes from the start of `text`, if it matches.
    fn step(&self, element: &Element, text: &[u8]) -> Option<usize> {
        let first = *text.first()?;
        match element {
            Element::Byte(wanted) => {
                let found = if self.ignore_case { first.to_ascii_lowercase() } else { first };
                (found == *wanted).then_some(1)
            }
            Element::AnyChar => Some(char_bytes(text)),
            Element::Set(ranges, negated) => {
                let code = char_code(text);
                let inside = ranges.iter().any(|&(low, high)| (low..=high).contains(&code));
                (inside != *negated).then(|| char_bytes(text))
            }
            Element::AnyRun | Element::Never => None,
        }
    }
}

fn within_limit(pattern: &[u8]) -> Option<&[u8]> {
    (pattern.len() <= MAX_PATTERN_BYTES).then(|| until_nul(pattern))
}

/// The set after a `[`, and the bytes up to and with its `]`.
fn glob_set(text: &[u8]) -> Option<(Element, usize)> {
    let mut at = 0;
    let negated = text.first() == Some(&b'^');
    at += usize::from(negated);
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut previous: Option<u32> = None;
    if text.get(at) == Some(&b']') {
        ranges.push((u32::from(b']'), u32::from(b']')));
        at += 1;
    }
    loop {
        let rest = &text[at..];
        match rest {
            [] => return None,
            [b']', ..] => return Some((Element::Set(ranges, negated), at + 1)),
            [b'-', next, ..] if *next != b']' && previous.is_some() => {
                let high = char_code(&rest[1..]);
                ranges.extend(previous.map(|low| (low, high)));
                previous = None;
                at += 1 + char_bytes(&rest[1..]);
            }
            _ => {
                let code = char_code(rest);
                ranges.push((code, code));
                previous = Some(code);
                at += char_bytes(rest);
            }
        }
    }
}

fn contains_literal(elements: &[Element]) -> Option<Literal> {
    let [Element::AnyRun, literal @ .., Element::AnyRun] = elements else { return None };
    let bytes: Option<Vec<u8>> =
        literal.iter().map(|e| if let Element::Byte(b) = e { Some(*b) } else { None }).collect();
    // A byte inside a character must not match the middle of another: only whole characters may begin.
    let bytes = bytes.filter(|b| b.first().is_some_and(u8::is_ascii))?;
    let (pivot, _) = bytes.iter().enumerate().min_by_key(|(_, b)| commonness(**b))?;
    Some(Literal { bytes, pivot })
}

impl Literal {
    /// The end of the first occurrence, whatever its case.
    fn find_in(&self, text: &[u8]) -> Option<usize> {
        let literal = &self.bytes[..];
        let last_start = text.len().checked_sub(literal.len())?;
        let byte = literal[self.pivot];
        let window = &text[..=last_start + self.pivot];
        let mut from = self.pivot;
        while let Some(found) = memchr2(byte, byte.to_ascii_uppercase(), &window[from..]) {
            let start = from + found - self.pivot;
            let end = start + literal.len();
            if text[start..end].eq_ignore_ascii_case(literal) {
                return Some(end);
            }
            from += found + 1;
        }
        None
    }
}

/// How often a byte is met in prose and logs, roughly.
fn commonness(byte: u8) -> u8 {
    const COMMON: &[u8] = b" etaoinsrhld0123456789cumfpgwybv";
    COMMON.iter().position(|&c| c == byte).map_or(0, |rank| 100 - rank as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_patterns() {
        let cases = [
            ("abc", "ABC", true),
            ("abc", "abcd", false),
            ("%", "", true),
            ("", "", true),
            ("", "a", false),
            ("a%", "Abc", true),
            ("%c", "abc", true),
            ("%b%", "aBc", true),
            ("%error%", "an ERRoR here", true),
            ("%error%", "an erro", false),
            ("a_c", "aéc", true),
            ("_", "é", true),
            ("__", "é", false),
            ("%_b%_", "xxbx", true),
            ("%a%b%c%", "a-b-c", true),
            ("%a%b%c%", "c-b-a", false),
            ("É", "é", false),
            ("%é%", "caf\u{e9}!", true),
        ];
        for (pattern, text, expected) in cases {
            let compiled = Pattern::like(pattern.as_bytes(), None).unwrap();
            assert_eq!(compiled.matches(text.as_bytes()), expected, "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn escapes() {
        let cases = [
            ("10\\%", "10%", true),
            ("10\\%", "100", false),
            ("a\\", "a\\", false),
            ("a\\_b", "a_b", true),
            ("%\\%%", "5%x", true),
        ];
        for (pattern, text, expected) in cases {
            let compiled = Pattern::like(pattern.as_bytes(), Some(b"\\")).unwrap();
            assert_eq!(compiled.matches(text.as_bytes()), expected, "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn glob_patterns() {
        let cases = [
            ("a*", "abc", true),
            ("A*", "abc", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a-", "a", false),
            ("*[0-9]", "n7", true),
            ("[é]", "é", true),
        ];
        for (pattern, text, expected) in cases {
            let compiled = Pattern::glob(pattern.as_bytes()).unwrap();
            assert_eq!(compiled.matches(text.as_bytes()), expected, "{text} GLOB {pattern}");
        }
    }

    #[test]
    fn many_wildcards_stay_cheap() {
        let pattern = Pattern::like("%a".repeat(1000).as_bytes(), None).unwrap();
        assert!(!pattern.matches("a".repeat(999).as_bytes()));
        assert!(Pattern::like(&vec![b'a'; 50_001], None).is_none());
    }
}
