//! RESP2: the parser, which finds arguments where they lie in the input, and the reply writer.

use memchr::memchr2;

use crate::numbers::{format_f64, parse_i64};

/// The longest argument, as Redis's `proto-max-bulk-len`.
pub const MAX_BULK_BYTES: usize = 512 << 20;
/// The longest command line without a line feed, and the longest header of a bulk.
const MAX_LINE_BYTES: usize = 64 << 10;
/// A query or a reply beyond this ends the connection, as Redis's `client-query-buffer-limit`.
pub const MAX_QUERY_BYTES: usize = 1 << 30;
/// Redis counts the arguments in 32 signed bits. No memory is taken for them before they come.
const MAX_ARGUMENTS: i64 = i32::MAX as i64;
/// What is kept of the memory for arguments after a command of very many.
const KEPT_ARGUMENTS: usize = 4096;

/// Where an argument lies in the text of its command.
#[derive(Clone, Copy)]
pub struct Span {
    start: u32,
    length: u32,
}

impl Span {
    pub fn new(start: usize, length: usize) -> Self {
        Self {
            start: start as u32,
            length: length as u32,
        }
    }
}

/// The arguments of one command, the name first.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    text: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    pub fn new(text: &'a [u8], spans: &'a [Span]) -> Self {
        Self { text, spans }
    }

    pub fn len(self) -> usize {
        self.spans.len()
    }

    pub fn at(self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.text[span.start as usize..][..span.length as usize]
    }

    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        (index < self.spans.len()).then(|| self.at(index))
    }

    /// All arguments from one on.
    pub fn from(self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        (first..self.spans.len().max(first)).map(move |index| self.at(index))
    }
}

/// Arguments that outlive the input they came in.
pub struct OwnedArgs {
    text: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    pub fn copy_of<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut text, mut spans) = (Vec::new(), Vec::new());
        for argument in arguments {
            push_argument(&mut text, &mut spans, argument);
        }
        Self { text, spans }
    }

    pub fn args(&self) -> Args<'_> {
        Args {
            text: &self.text,
            spans: &self.spans,
        }
    }

    pub fn bytes(&self) -> usize {
        self.text.len() + size_of_val(self.spans.as_slice())
    }
}

fn push_argument(text: &mut Vec<u8>, spans: &mut Vec<Span>, argument: &[u8]) {
    spans.push(Span {
        start: text.len() as u32,
        length: argument.len() as u32,
    });
    text.extend_from_slice(argument);
}

/// What the parser found at the head of the input.
pub enum Parsed {
    /// A whole command, of so many bytes; its arguments are in the parser.
    Command(usize),
    /// So many bytes that ask for nothing: an empty line, a command of no arguments.
    Nothing(usize),
    /// The rest of the command has not come yet.
    Incomplete,
    /// Not RESP; the text is for the client, who is then cut off.
    Malformed(Vec<u8>),
}

/// Where a command stands whose rest has not come: parsing goes on there, so that many small
/// reads of one long command cost no more than one large read.
#[derive(Default)]
pub struct Parser {
    spans: Vec<Span>,
    unquoted: Vec<u8>, // the arguments of an inline command, which may have escapes
    at: usize,
    missing: i64,        // arguments still to come; 0 at the head of a command
    bulk: Option<usize>, // the length of the argument that is coming
    is_inline: bool,
}

/// A header line of the protocol: `*3` or `$5`, the marker left out.
enum Header {
    Number(i64, usize), // and where the next line begins
    Incomplete,
    TooLong,
    NotANumber,
}

impl Parser {
    /// Reads the command at the head of the text. The text of an incomplete command must come
    /// again, at its head, with more behind it.
    pub fn parse(&mut self, text: &[u8]) -> Parsed {
        if self.missing == 0 {
            self.spans.clear();
            self.is_inline = false;
            match text.first() {
                None => return Parsed::Incomplete,
                Some(b'*') => {}
                Some(_) => return self.parse_inline(text),
            }
            match header(text, 0) {
                Header::Number(count, next) if count <= MAX_ARGUMENTS => {
                    if count <= 0 {
                        return Parsed::Nothing(next);
                    }
                    (self.missing, self.at) = (count, next);
                }
                Header::Incomplete => return Parsed::Incomplete,
                Header::TooLong => return malformed(b"too big mbulk count string"),
                Header::Number(..) | Header::NotANumber => {
                    return malformed(b"invalid multibulk length");
                }
            }
        }
        self.parse_arguments(text)
    }

    fn parse_arguments(&mut self, text: &[u8]) -> Parsed {
        while self.missing > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.parse_bulk_header(text) {
                    Ok(length) => length,
                    Err(other) => return other,
                },
            };
            if text.len() < self.at + length + 2 {
                self.bulk = Some(length);
                return Parsed::Incomplete;
            }
            self.spans.push(Span {
                start: self.at as u32,
                length: length as u32,
            });
            self.bulk = None;
            self.at += length + 2; // Redis does not look at the line end either
            self.missing -= 1;
        }
        Parsed::Command(self.at)
    }

    fn parse_bulk_header(&mut self, text: &[u8]) -> Result<usize, Parsed> {
        match header(text, self.at) {
            Header::Incomplete => return Err(Parsed::Incomplete),
            Header::TooLong => return Err(malformed(b"too big bulk count string")),
            _ if text[self.at] != b'$' => {
                let found = [b"expected '$', got '", &text[self.at..=self.at], b"'"].concat();
                return Err(malformed(&found));
            }
            Header::Number(length @ 0.., next) if length as usize <= MAX_BULK_BYTES => {
                self.at = next;
                return Ok(length as usize);
            }
            Header::Number(..) | Header::NotANumber => {}
        }
        Err(malformed(b"invalid bulk length"))
    }

    fn parse_inline(&mut self, text: &[u8]) -> Parsed {
        let Some(end) = find_end(text, b'\n') else {
            return if text.len() > MAX_LINE_BYTES {
                malformed(b"too big inline request")
            } else {
                Parsed::Incomplete
            };
        };
        let line = text[..end].strip_suffix(b"\r").unwrap_or(&text[..end]);
        self.unquoted.clear();
        if split_line(line, &mut self.unquoted, &mut self.spans).is_none() {
            return malformed(b"unbalanced quotes in request");
        }
        if self.spans.is_empty() {
            return Parsed::Nothing(end + 1);
        }
        self.is_inline = true;
        Parsed::Command(end + 1)
    }

    /// Bytes known to be still missing of the argument that is coming.
    pub fn missing_bytes(&self, present: usize) -> usize {
        self.bulk
            .map_or(0, |bulk| (self.at + bulk + 2).saturating_sub(present))
    }

    /// Gives back what a command of very many arguments took.
    pub fn shrink(&mut self) {
        self.spans.clear();
        self.spans.shrink_to(KEPT_ARGUMENTS);
        self.unquoted = Vec::new();
    }
}

/// Commands that are parsed before the first of them is run, so that what they need from memory
/// can come at the same time.
pub const BATCH_COMMANDS: usize = 16;

/// Whole commands that stand one behind the other in the input.
#[derive(Default)]
pub struct Batch {
    spans: Vec<Span>,
    commands: Vec<Placed>,
    /// The arguments of the last one lie in the parser, which has no other place for them.
    ends_inline: bool,
}

#[derive(Clone, Copy)]
struct Placed {
    start: usize, // in the input
    first_span: usize,
}

/// Why a batch has no more commands.
pub enum BatchEnd {
    /// There may be more.
    Full,
    Incomplete,
    Malformed(Vec<u8>),
}

impl Batch {
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Where a command starts in the input.
    pub fn start(&self, index: usize) -> usize {
        self.commands[index].start
    }

    fn spans_of(&self, index: usize) -> &[Span] {
        let next = self.commands.get(index + 1);
        let end = next.map_or(self.spans.len(), |placed| placed.first_span);
        &self.spans[self.commands[index].first_span..end]
    }

    /// The first argument of each command that has one: nearly always its key.
    pub fn keys<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let framed = self.len() - usize::from(self.ends_inline);
        (0..framed).filter_map(|index| {
            let text = &text[self.start(index)..];
            Args::new(text, self.spans_of(index)).get(1)
        })
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.spans.shrink_to(KEPT_ARGUMENTS);
        self.commands.clear();
        self.ends_inline = false;
    }
}

impl Parser {
    /// Reads the next commands; answers how many bytes they take.
    pub fn parse_batch(&mut self, text: &[u8], batch: &mut Batch) -> (usize, BatchEnd) {
        batch.clear();
        let mut used = 0;
        while batch.len() < BATCH_COMMANDS && !batch.ends_inline {
            match self.parse(&text[used..]) {
                Parsed::Command(length) => {
                    batch.commands.push(Placed {
                        start: used,
                        first_span: batch.spans.len(),
                    });
                    batch.spans.extend_from_slice(&self.spans);
                    batch.ends_inline = self.is_inline;
                    used += length;
                }
                Parsed::Nothing(length) => used += length,
                Parsed::Incomplete => return (used, BatchEnd::Incomplete),
                Parsed::Malformed(what) => return (used, BatchEnd::Malformed(what)),
            }
        }
        (used, BatchEnd::Full)
    }

    /// The arguments of a command of the batch that was just parsed from this text.
    pub fn batch_args<'a>(&'a self, text: &'a [u8], batch: &'a Batch, index: usize) -> Args<'a> {
        let text = if batch.ends_inline && index + 1 == batch.len() {
            &self.unquoted
        } else {
            &text[batch.start(index)..]
        };
        Args::new(text, batch.spans_of(index))
    }

    /// Forgets an unfinished command, whose text will come again from its start.
    pub fn forget(&mut self) {
        self.spans.clear();
        (self.missing, self.bulk) = (0, None);
    }
}

fn malformed(what: &[u8]) -> Parsed {
    Parsed::Malformed([b"ERR Protocol error: ", what].concat())
}

/// Finds a line end. Redis looks for it in a C string: a zero byte hides what is behind it.
fn find_end(text: &[u8], end: u8) -> Option<usize> {
    memchr2(end, 0, text).filter(|&at| text[at] == end)
}

/// Reads the number behind the marker of a header line.
fn header(text: &[u8], marker: usize) -> Header {
    // Nearly all numbers have few digits and stand complete in the input.
    const USUAL_DIGITS: usize = 9;
    let start = marker + 1;
    let mut number = 0_i64;
    for at in start..text.len().min(start + USUAL_DIGITS) {
        let byte = text[at];
        if byte.is_ascii_digit() {
            number = number * 10 + i64::from(byte - b'0');
            continue;
        }
        let is_canonical = at == start + 1 || (at > start && text[start] != b'0');
        if byte == b'\r' && is_canonical && at + 1 < text.len() && text[marker] != 0 {
            return Header::Number(number, at + 2);
        }
        break;
    }
    let line = text.get(marker..).unwrap_or_default();
    match find_end(line, b'\r') {
        None if line.len() > MAX_LINE_BYTES => Header::TooLong,
        Some(end) if end + 1 < line.len() => match line.get(1..end).and_then(parse_i64) {
            Some(number) => Header::Number(number, marker + end + 2),
            None => Header::NotANumber,
        },
        _ => Header::Incomplete,
    }
}

/// Splits an inline command at its spaces; quotes and escapes as in redis-cli. None: a quote is
/// not closed.
fn split_line(line: &[u8], text: &mut Vec<u8>, spans: &mut Vec<Span>) -> Option<()> {
    let is_space = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b;
    let mut at = 0;
    loop {
        at += line[at..]
            .iter()
            .take_while(|&&byte| is_space(byte))
            .count();
        if at == line.len() {
            return Some(());
        }
        let start = text.len();
        let mut quote = None;
        loop {
            let rest = &line[at..];
            let (byte, width) = match (quote, rest) {
                (None, [] | [b' ' | b'\n' | b'\r' | b'\t', ..]) => break,
                (None, [opening @ (b'"' | b'\''), ..]) => {
                    quote = Some(*opening);
                    at += 1;
                    continue;
                }
                (Some(_), []) => return None,
                (Some(closing), [byte, after @ ..]) if *byte == closing => {
                    if after.first().is_some_and(|&byte| !is_space(byte)) {
                        return None;
                    }
                    at += 1;
                    break;
                }
                (Some(b'\''), [b'\\', b'\'', ..]) => (b'\'', 2),
                (Some(b'"'), [b'\\', escaped @ ..]) if !escaped.is_empty() => unescape(escaped),
                (_, [byte, ..]) => (*byte, 1),
            };
            text.push(byte);
            at += width;
        }
        spans.push(Span {
            start: start as u32,
            length: (text.len() - start) as u32,
        });
    }
}

/// The byte behind a backslash, and how long the escape is with it.
fn unescape(escaped: &[u8]) -> (u8, usize) {
    let digit = |index: usize| char::from(*escaped.get(index)?).to_digit(16);
    if let (b'x', Some(high), Some(low)) = (escaped[0], digit(1), digit(2)) {
        return ((high * 16 + low) as u8, 4);
    }
    let byte = match escaped[0] {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    };
    (byte, 2)
}

/// Replies on their way to the clients.
#[derive(Default)]
pub struct Reply {
    bytes: Vec<u8>,
    /// Set when a reply has outgrown `MAX_QUERY_BYTES`: the rest of it was left out.
    pub is_too_long: bool,
}

impl Reply {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Empties it and gives back the memory of an unusually long reply.
    pub fn clear(&mut self) {
        const KEPT_BYTES: usize = 2 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }

    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn head(&mut self, marker: u8, number: i64) {
        if let Ok(digit @ 0..10) = u8::try_from(number) {
            self.bytes
                .extend_from_slice(&[marker, b'0' + digit, b'\r', b'\n']);
            return;
        }
        self.bytes.push(marker);
        self.bytes
            .extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > MAX_QUERY_BYTES {
            self.is_too_long = true;
            return;
        }
        self.bytes.reserve(bytes.len() + 32);
        self.head(b'$', bytes.len() as i64);
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    pub fn bulk_integer(&mut self, number: i64) {
        self.bulk(itoa::Buffer::new().format(number).as_bytes());
    }

    pub fn bulk_double(&mut self, number: f64) {
        self.bulk(format_f64(number).as_bytes());
    }

    pub fn integer(&mut self, number: i64) {
        self.head(b':', number);
    }

    pub fn count(&mut self, number: usize) {
        self.head(b':', number as i64);
    }

    pub fn flag(&mut self, flag: bool) {
        self.raw(if flag { b":1\r\n" } else { b":0\r\n" });
    }

    pub fn array(&mut self, length: usize) {
        self.head(b'*', length as i64);
    }

    pub fn bulks<'a>(&mut self, items: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.array(items.len());
        items.for_each(|item| self.bulk(item));
    }

    pub fn null(&mut self) {
        self.raw(b"$-1\r\n");
    }

    pub fn null_array(&mut self) {
        self.raw(b"*-1\r\n");
    }

    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A line without a line end in it.
    pub fn simple(&mut self, line: &str) {
        self.bytes.push(b'+');
        self.raw(line.as_bytes());
        self.raw(b"\r\n");
    }

    /// An error that begins with its code; line ends in it become spaces.
    pub fn error(&mut self, text: &[u8]) {
        self.bytes.push(b'-');
        let line = text.iter().map(|&byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        });
        self.bytes.extend(line);
        self.raw(b"\r\n");
    }
}

/// Writes a command as a client would send it.
pub fn write_command<'a>(out: &mut Vec<u8>, arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
    let mut digits = itoa::Buffer::new();
    let mut head = |out: &mut Vec<u8>, marker: u8, number: usize| {
        out.push(marker);
        out.extend_from_slice(digits.format(number).as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    head(out, b'*', arguments.len());
    for argument in arguments {
        head(out, b'$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses all of the input, given in pieces of this size; commands joined by `|`.
    fn parse_in_pieces(input: &[u8], piece: usize) -> Vec<String> {
        let (mut found, mut parser) = (Vec::new(), Parser::default());
        let (mut text, mut fed) = (Vec::new(), 0);
        let mut batch = Batch::default();
        loop {
            let (used, end) = parser.parse_batch(&text, &mut batch);
            for index in 0..batch.len() {
                let args = parser.batch_args(&text, &batch, index);
                let words: Vec<_> = args.from(0).map(String::from_utf8_lossy).collect();
                found.push(words.join("|"));
            }
            text.drain(..used);
            match end {
                BatchEnd::Full => {}
                BatchEnd::Malformed(what) => {
                    found.push(String::from_utf8_lossy(&what).into_owned());
                    return found;
                }
                BatchEnd::Incomplete if fed == input.len() => return found,
                BatchEnd::Incomplete => {
                    let end = input.len().min(fed + piece);
                    text.extend_from_slice(&input[fed..end]);
                    fed = end;
                }
            }
        }
    }

    #[test]
    fn a_batch_names_its_keys_and_can_be_read_again() {
        let input =
            b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\nget b\r\n*2\r\n$3\r\nGET\r\n$1";
        let (mut parser, mut batch) = (Parser::default(), Batch::default());
        let (used, _) = parser.parse_batch(input, &mut batch);
        assert_eq!((batch.len(), batch.keys(input).count()), (3, 1));
        assert_eq!(parser.batch_args(input, &batch, 2).at(1), b"b");
        let (rest, end) = parser.parse_batch(&input[used..], &mut batch);
        assert!((rest, batch.len()) == (0, 0) && matches!(end, BatchEnd::Incomplete));
        parser.forget();
        let (used, _) = parser.parse_batch(&input[20..], &mut batch);
        assert_eq!((used, batch.len()), (21, 2));
    }

    #[test]
    fn commands_however_they_are_cut() {
        let input =
            b"*2\r\n$3\r\nGET\r\n$0\r\n\r\nPING\r\n\r\n*0\r\n*-1\r\nset \"a\\x41\\n\" 'b c'\n\
            *1\r\n$12\r\nabc\r\ndef\r\n**\r\n*1\r\n$4\r\nPI";
        for piece in 1..input.len() {
            let found = parse_in_pieces(input, piece);
            assert_eq!(
                found,
                ["GET|", "PING", "set|aA\n|b c", "abc\r\ndef\r\n**"],
                "{piece}"
            );
        }
    }

    #[test]
    fn malformed_input() {
        for (input, what) in [
            (&b"*x\r\n"[..], "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*3000000000\r\n", "invalid multibulk length"),
            (b"*1\r\nx\r\n", "expected '$', got 'x'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
            (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
            (b"get \"a\r\n", "unbalanced quotes in request"),
            (b"get \"a\"b\r\n", "unbalanced quotes in request"),
            (&vec![b'a'; 70_000], "too big inline request"),
            (
                format!("*{}", "1".repeat(70_000)).as_bytes(),
                "too big mbulk count string",
            ),
        ] {
            let expected = format!("ERR Protocol error: {what}");
            assert_eq!(parse_in_pieces(input, 1000), [expected]);
        }
    }

    #[test]
    fn replies() {
        let mut reply = Reply::default();
        reply.bulk(b"ab");
        reply.integer(-12);
        reply.array(10);
        reply.error(b"ERR a\r\nb");
        reply.bulk_double(0.5);
        assert_eq!(
            reply.bytes(),
            b"$2\r\nab\r\n:-12\r\n*10\r\n-ERR a  b\r\n$3\r\n0.5\r\n"
        );
    }

    #[test]
    fn commands_are_written_as_they_are_read() {
        let mut out = Vec::new();
        write_command(&mut out, [&b"SET"[..], b"", b"x\r\n"].into_iter());
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\nx\r\n\r\n");
        assert_eq!(parse_in_pieces(&out, 4), ["SET||x\r\n"]);
    }
}
