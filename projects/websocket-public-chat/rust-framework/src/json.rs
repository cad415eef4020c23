//! JSON as RFC 8259 has it: a parser that borrows from its source, and the two things we write.
//!
//! Nesting costs one bit of memory a level and no stack, so that no message can overflow it.

use std::borrow::Cow;

#[derive(Debug, PartialEq, Eq)]
pub enum Value<'a> {
    String(Cow<'a, str>),
    Number(&'a str), // as it stands there
    Other,
}

/// What stands next in an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Member<'a> {
    Named(Cow<'a, str>),
    End,
}

pub struct Parser<'a> {
    source: &'a str,
    at: usize,
    is_first_member: bool,
}

impl<'a> Parser<'a> {
    pub fn new(source: &'a str) -> Self {
        Self {
            source,
            at: 0,
            is_first_member: true,
        }
    }

    /// Passes the bracket of an object, where there is one.
    pub fn enter_object(&mut self) -> bool {
        self.skip_space();
        self.pass(b'{')
    }

    /// The next member of the object that was entered, or its end; nothing where this is not JSON.
    pub fn next_member(&mut self) -> Option<Member<'a>> {
        self.skip_space();
        let is_first = std::mem::replace(&mut self.is_first_member, false);
        if self.pass(b'}') {
            return Some(Member::End);
        }
        if !is_first {
            self.expect(b',')?;
        }
        self.name().map(Member::Named)
    }

    /// Any value; what is inside arrays and objects is checked and passed over.
    pub fn value(&mut self) -> Option<Value<'a>> {
        self.skip_space();
        match self.peek()? {
            b'[' | b'{' => self.skip_nested().map(|()| Value::Other),
            _ => self.scalar(),
        }
    }

    pub fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.source.len()
    }

    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes this byte, where it stands here.
    fn pass(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        self.pass(byte).then_some(())
    }

    /// The name of a member and the colon behind it.
    fn name(&mut self) -> Option<Cow<'a, str>> {
        self.skip_space();
        let name = self.string()?;
        self.expect(b':')?;
        Some(name)
    }

    fn scalar(&mut self) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' => self.string().map(Value::String),
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            _ => {
                let rest = &self.source[self.at..];
                let words = ["true", "false", "null"];
                let word = words.iter().find(|word| rest.starts_with(**word))?;
                self.at += word.len();
                Some(Value::Other)
            }
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.pass(b'-');
        if !self.pass(b'0') {
            self.digits()?;
        }
        if self.pass(b'.') {
            self.digits()?;
        }
        if self.pass(b'e') || self.pass(b'E') {
            let _has_sign = self.pass(b'+') || self.pass(b'-');
            self.digits()?;
        }
        Some(&self.source[start..self.at])
    }

    /// Passes over an array or object, with all that is in it.
    fn skip_nested(&mut self) -> Option<()> {
        let mut levels = Levels::default();
        loop {
            // Here a value stands.
            self.skip_space();
            if self.pass(b'[') {
                self.skip_space();
                if !self.pass(b']') {
                    levels.push(false);
                    continue;
                }
            } else if self.pass(b'{') {
                self.skip_space();
                if !self.pass(b'}') {
                    levels.push(true);
                    self.name()?;
                    continue;
                }
            } else {
                self.scalar()?;
            }
            // Behind a value: close what ends here, then go on to the next one.
            loop {
                let Some(is_object) = levels.top() else {
                    return Some(());
                };
                self.skip_space();
                if self.pass(b',') {
                    if is_object {
                        self.name()?;
                    }
                    break;
                }
                self.expect(if is_object { b'}' } else { b']' })?;
                levels.pop();
            }
        }
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(Cow::Borrowed(&self.source[start..self.at - 1]));
                }
                b'\\' => return self.escaped_string(start).map(Cow::Owned),
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    /// The rest of a string from its first backslash on.
    fn escaped_string(&mut self, start: usize) -> Option<String> {
        let mut text = String::from(&self.source[start..self.at]);
        loop {
            let plain_start = self.at;
            while !matches!(self.peek()?, b'"' | b'\\' | 0..=0x1f) {
                self.at += 1;
            }
            text.push_str(&self.source[plain_start..self.at]);
            if self.pass(b'"') {
                return Some(text);
            }
            if !self.pass(b'\\') {
                return None; // a control character
            }
            text.push(self.escape()?);
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return None,
        })
    }

    /// Four hexadecimal digits, or two times four where they are a pair of surrogates.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first); // none for a low surrogate alone
        }
        self.pass(b'\\').then_some(())?;
        self.pass(b'u').then_some(())?;
        let second = self.four_digits()?;
        let low = second.checked_sub(0xdc00).filter(|&low| low < 0x400)?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.source.as_bytes().get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |number, &digit| {
            Some(number << 4 | char::from(digit).to_digit(16)?)
        })
    }
}

/// For each open bracket whether it is that of an object.
#[derive(Default)]
struct Levels {
    words: Vec<u64>,
    depth: usize,
}

impl Levels {
    fn push(&mut self, is_object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.words.len() {
            self.words.push(0);
        }
        self.words[word] = self.words[word] & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
    }

    fn top(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        Some(self.words[last / 64] >> (last % 64) & 1 == 1)
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }
}

/// Writes a string with as few escapes as JSON allows.
pub fn push_string(json: &mut String, text: &str) {
    json.push('"');
    let mut plain_start = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        json.push_str(&text[plain_start..at]);
        plain_start = at + 1;
        push_escape(json, byte);
    }
    json.push_str(&text[plain_start..]);
    json.push('"');
}

fn push_escape(json: &mut String, byte: u8) {
    let letter = match byte {
        b'"' | b'\\' => char::from(byte),
        0x08 => 'b',
        0x0c => 'f',
        b'\n' => 'n',
        b'\r' => 'r',
        b'\t' => 't',
        _ => 'u',
    };
    json.push('\\');
    json.push(letter);
    if letter == 'u' {
        let digits = b"0123456789abcdef";
        json.push_str("00");
        json.push(char::from(digits[usize::from(byte >> 4)]));
        json.push(char::from(digits[usize::from(byte & 15)]));
    }
}

pub fn push_number(json: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    json.extend(digits[start..].iter().map(|&digit| char::from(digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(source: &str) -> Option<Value<'_>> {
        let mut parser = Parser::new(source);
        let value = parser.value()?;
        parser.is_at_end().then_some(value)
    }

    #[test]
    fn strings_with_every_escape() {
        let all = r#""\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00é""#;
        let text = "\"\\/\u{8}\u{c}\n\r\tAé😀é";
        assert_eq!(whole(all), Some(Value::String(text.into())));
        for bad in [
            r#""\x""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\u0041""#,
            r#""\ud800x""#,
            r#"""#,
            r#""\"#,
            "\"\n\"",
            "\"\\\u{1}\"",
            r#""\u+123""#,
        ] {
            assert_eq!(whole(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_as_json_has_them() {
        for good in ["0", "-0", "10", "1.5", "1e9", "1E+9", "1.0e-9"] {
            assert_eq!(whole(good), Some(Value::Number(good)));
        }
        for bad in ["01", "+1", "1.", ".5", "1e", "-", "0x1", "1 2", "NaN"] {
            assert_eq!(whole(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_inside_is_checked_too() {
        for good in [
            "[]",
            "{}",
            "[ 1 , [ ] , { } ]",
            "{\"a\":{\"b\":[null,true,false]}}",
        ] {
            assert_eq!(whole(good), Some(Value::Other), "{good}");
        }
        for bad in [
            "[",
            "]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{1:2}",
            "[1}",
            "{\"a\":[}",
            "[\"\\ud800\"]",
            "tru",
        ] {
            assert_eq!(whole(bad), None, "{bad}");
        }
    }

    #[test]
    fn deep_nesting_needs_no_stack() {
        let depth = 1_000_000;
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(whole(&deep), Some(Value::Other));
        assert_eq!(whole(&deep[1..]), None);
        assert_eq!(whole(&"{\"a\":[".repeat(1000)), None);
    }

    #[test]
    fn members_one_by_one() {
        let mut parser = Parser::new(" { \"a\" : 1 , \"\\u0062\":[2]} ");
        assert!(parser.enter_object());
        assert_eq!(parser.next_member(), Some(Member::Named("a".into())));
        assert_eq!(parser.value(), Some(Value::Number("1")));
        assert_eq!(parser.next_member(), Some(Member::Named("b".into())));
        assert_eq!(parser.value(), Some(Value::Other));
        assert_eq!(parser.next_member(), Some(Member::End));
        assert!(parser.is_at_end());
        let mut comma = Parser::new("{,\"a\":1}");
        assert!(comma.enter_object());
        assert_eq!(comma.next_member(), None);
    }

    #[test]
    fn few_escapes() {
        let mut json = String::new();
        push_string(&mut json, "\"\\/\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}é😀");
        let text = "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}é😀\"";
        assert_eq!(json, text);
        let mut numbers = String::new();
        push_number(&mut numbers, 0);
        push_number(&mut numbers, u64::MAX);
        assert_eq!(numbers, "018446744073709551615");
    }
}
