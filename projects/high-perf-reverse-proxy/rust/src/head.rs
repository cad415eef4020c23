//! Heads of requests and responses: found, parsed in place, judged, and rewritten by copying what stays.
//!
//! A head is never taken apart and put together again. The parser notes where each line is and which
//! field it holds; the writer copies the runs between the few lines that change, so order, case,
//! spaces and duplicates of all other fields stay byte for byte.

use std::io::Write;
use std::ops::Range;

use memchr::memchr;

use crate::body::{Delivery, Framing};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub cause: &'static str,
}

const fn refusal(status: u16, cause: &'static str) -> Refusal {
    Refusal { status, cause }
}

const fn bad_request(cause: &'static str) -> Refusal {
    refusal(400, cause)
}

/// Looks for the end of a head that may come in many pieces, and at each byte only once.
#[derive(Debug, Default, Clone, Copy)]
pub struct HeadScan {
    seen: usize,
    line_start: usize,
}

impl HeadScan {
    /// Whether so many bytes bring nothing new.
    pub fn has_seen(&self, length: usize) -> bool {
        self.seen >= length
    }

    /// The length of the head with its empty line, once all of it is there. Refuses what no head may
    /// hold as soon as it is seen: a head with bare line ends would never end.
    pub fn find_end(&mut self, bytes: &[u8], limit: usize) -> Result<Option<usize>, Refusal> {
        while let Some(offset) = memchr(b'\n', &bytes[self.seen..]) {
            let feed = self.seen + offset;
            if feed >= limit {
                return Err(self.too_long());
            }
            let line = bytes[self.line_start..feed].strip_suffix(b"\r");
            let line = line.ok_or(bad_request("bare LF"))?;
            check_controls(line).map_err(bad_request)?;
            self.seen = feed + 1;
            self.line_start = feed + 1;
            if line.is_empty() {
                return Ok(Some(feed + 1));
            }
        }
        self.check_rest(bytes)?;
        if bytes.len() >= limit {
            return Err(self.too_long());
        }
        self.seen = bytes.len();
        Ok(None)
    }

    /// Looks at the new part of a line that is not complete. Its last byte may be half of a line end;
    /// so might the last one of the part before.
    fn check_rest(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let fresh = &bytes[self.seen.saturating_sub(1).max(self.line_start)..];
        check_controls(fresh.strip_suffix(b"\r").unwrap_or(fresh)).map_err(bad_request)
    }

    fn too_long(&self) -> Refusal {
        if self.line_start == 0 {
            refusal(414, "request line too long")
        } else {
            refusal(431, "header too large")
        }
    }
}

fn check_controls(line: &[u8]) -> Result<(), &'static str> {
    match has_control(line) {
        false => Ok(()),
        true if line.contains(&b'\r') => Err("bare CR"),
        true => Err("control byte"),
    }
}

/// The fields that this proxy looks at, removes or adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Other,
    Host,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Upgrade,
    ContentLength,
    TransferEncoding,
    Via,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    /// Named by Connection, or a repeated Content-Length: not passed on.
    Dropped,
}

fn field_of(name: &[u8]) -> Field {
    let candidates: &[(&str, Field)] = match name.len() {
        2 => &[("te", Field::Te)],
        3 => &[("via", Field::Via)],
        4 => &[("host", Field::Host)],
        7 => &[("upgrade", Field::Upgrade)],
        10 => &[
            ("connection", Field::Connection),
            ("keep-alive", Field::KeepAlive),
        ],
        14 => &[("content-length", Field::ContentLength)],
        15 => &[("x-forwarded-for", Field::ForwardedFor)],
        16 => &[
            ("proxy-connection", Field::ProxyConnection),
            ("x-forwarded-host", Field::ForwardedHost),
        ],
        17 => &[
            ("transfer-encoding", Field::TransferEncoding),
            ("x-forwarded-proto", Field::ForwardedProto),
        ],
        _ => return Field::Other,
    };
    let found = candidates
        .iter()
        .find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes()));
    found.map_or(Field::Other, |&(_, field)| field)
}

/// Where a header line is.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    colon: usize,
    /// Before its CRLF.
    end: usize,
    field: Field,
}

impl Line {
    fn name<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.start..self.colon]
    }

    fn value<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        trim(&head[self.colon + 1..self.end])
    }

    fn next_line(&self) -> usize {
        self.end + 2
    }
}

/// Without the spaces and tabs around it.
fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value
        .iter()
        .position(|byte| !is_space(byte))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(start, |last| last + 1);
    &value[start..end]
}

/// The elements of a comma separated list that are not empty.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

static TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut index = 0;
    while index < marks.len() {
        table[marks[index] as usize] = true;
        index += 1;
    }
    table
};

pub fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

/// Control bytes other than tab; a fold without a branch, so that the compiler uses vectors.
fn has_control(value: &[u8]) -> bool {
    value
        .iter()
        .fold(false, |found, &byte| found | is_control(byte))
}

pub fn is_control(byte: u8) -> bool {
    ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)
}

/// Notes the lines from `at` up to the empty one. Every LF has a CR before it: the scan saw to that.
fn parse_lines(head: &[u8], mut at: usize, lines: &mut Vec<Line>) -> Result<(), &'static str> {
    lines.clear();
    while let Some(feed) = memchr(b'\n', &head[at..]) {
        let end = at + feed - 1;
        if end == at {
            break;
        }
        lines.push(parse_line(head, at, end)?);
        at = end + 2;
    }
    Ok(())
}

fn parse_line(head: &[u8], start: usize, end: usize) -> Result<Line, &'static str> {
    let line = &head[start..end];
    let length = line
        .iter()
        .position(|&byte| !is_token_byte(byte))
        .unwrap_or(line.len());
    match line.get(length) {
        Some(b':') if length > 0 => {}
        Some(b' ' | b'\t') if length == 0 => return Err("folded header line"),
        Some(b' ' | b'\t') => return Err("space before colon"),
        _ => return Err("bad header name"),
    }
    let (colon, field) = (start + length, field_of(&line[..length]));
    Ok(Line {
        start,
        colon,
        end,
        field,
    })
}

/// What the Connection header says beside the fields that it names.
#[derive(Debug, Default, Clone, Copy)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// More names than this are an attack on the work of looking each one up.
const MAX_NOMINATED: usize = 32;

/// Reads the Connection header and marks the lines that it names. What frames a message, routes it or
/// says through whom it came cannot be named away.
fn read_connection(head: &[u8], lines: &mut [Line]) -> Result<ConnectionOptions, &'static str> {
    let mut options = ConnectionOptions::default();
    let mut nominated = 0;
    for index in 0..lines.len() {
        if lines[index].field != Field::Connection {
            continue;
        }
        for option in elements(lines[index].value(head)) {
            match option {
                _ if option.eq_ignore_ascii_case(b"close") => options.close = true,
                _ if option.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                _ if option.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
                _ => {
                    nominated += 1;
                    drop_nominated(head, lines, option);
                }
            }
            if nominated > MAX_NOMINATED {
                return Err("too many connection options");
            }
        }
    }
    Ok(options)
}

fn drop_nominated(head: &[u8], lines: &mut [Line], name: &[u8]) {
    for line in lines {
        if line.field == Field::Other && line.name(head).eq_ignore_ascii_case(name) {
            line.field = Field::Dropped;
        }
    }
}

/// How the fields frame a body; None without a word about it.
fn read_framing(head: &[u8], lines: &mut [Line]) -> Result<Option<Framing>, Refusal> {
    let mut length = None;
    let mut coding: Option<Result<(), Refusal>> = None;
    for line in lines {
        match line.field {
            Field::ContentLength => {
                let text = line.value(head);
                let value = parse_length(text)?;
                match length {
                    None => length = Some((text, value)),
                    Some((first, _)) if first == text => line.field = Field::Dropped, // passed on once
                    Some(_) => return Err(bad_request("conflicting Content-Length")),
                }
            }
            Field::TransferEncoding => {
                let verdict = read_coding(line.value(head));
                coding = Some(match coding {
                    None => verdict,
                    Some(first) => first
                        .and(verdict)
                        .and(Err(bad_request("bad Transfer-Encoding"))),
                });
            }
            _ => {}
        }
    }
    match (length, coding) {
        (Some(_), Some(_)) => Err(bad_request("both Content-Length and Transfer-Encoding")),
        (Some((_, length)), None) => Ok(Some(Framing::Length(length))),
        (None, Some(verdict)) => verdict.map(|()| Some(Framing::Chunked)),
        (None, None) => Ok(None),
    }
}

/// Plain digits, whatever a more generous parser would take.
fn parse_length(value: &[u8]) -> Result<u64, Refusal> {
    let is_plain = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_plain);
    let length = text
        .and_then(|text| text.parse().ok())
        .filter(|&length| length <= i64::MAX.unsigned_abs());
    length.ok_or(bad_request("bad Content-Length"))
}

/// The only coding that is known is `chunked`, once.
fn read_coding(value: &[u8]) -> Result<(), Refusal> {
    let mut codings = value.split(|&byte| byte == b',').map(trim);
    let first = codings.next().unwrap_or_default();
    let unknown = |coding: &[u8]| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"chunked");
    if unknown(first) || codings.clone().any(unknown) {
        return Err(refusal(501, "unknown transfer coding"));
    }
    if first.is_empty() || codings.next().is_some() {
        return Err(bad_request("bad Transfer-Encoding"));
    }
    Ok(())
}

/// What may stand in Host: nothing, or a name, or an address in brackets, with or without a port.
fn is_host(value: &[u8]) -> bool {
    let (name, port) = match value {
        [b'[', ..] => {
            let Some(closing) = memchr(b']', value) else {
                return false;
            };
            let address = &value[1..closing];
            let is_address_byte = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
            if address.is_empty() || !address.iter().all(is_address_byte) {
                return false;
            }
            (&b""[..], &value[closing + 1..])
        }
        _ => value.split_at(memchr(b':', value).unwrap_or(value.len())),
    };
    // No comma: a list of hosts is no host.
    let is_name_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(byte);
    name.iter().all(is_name_byte)
        && match port {
            [] => true,
            [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

/// Visible ASCII without the sign of a fragment, which no client sends to a server.
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// Copies a head to where it goes, except for the lines that are changed on the way.
struct Copier<'a> {
    head: &'a [u8],
    out: &'a mut Vec<u8>,
    copied: usize,
}

impl Copier<'_> {
    fn copy_until(&mut self, end: usize) {
        self.out.extend_from_slice(&self.head[self.copied..end]);
        self.copied = end;
    }

    fn leave_out(&mut self, line: &Line) {
        self.copy_until(line.start);
        self.copied = line.next_line();
    }

    /// Adds an element to the list of a line.
    fn append(&mut self, line: &Line, element: &str) {
        self.copy_until(line.end);
        let separator: &[u8] = if line.value(self.head).is_empty() {
            b" "
        } else {
            b", "
        };
        self.out.extend_from_slice(separator);
        self.out.extend_from_slice(element.as_bytes());
    }

    fn replace_value(&mut self, line: &Line, value: &[u8]) {
        self.copy_until(line.colon + 1);
        self.out.push(b' ');
        self.out.extend_from_slice(value);
        self.copied = line.end;
    }

    /// Writes a line that was not there, behind all others.
    fn add(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.out.extend_from_slice(part);
        }
    }
}

const PSEUDONYM: &str = "1.1 deadheat";

/// What a request head says.
#[derive(Debug, Default)]
pub struct RequestHead {
    lines: Vec<Line>,
    method_end: usize,
    /// The path and query, or `*`; empty where only `target_default` is left of an absolute form.
    target: Range<usize>,
    target_default: &'static str,
    authority: Option<Range<usize>>,
    has_plain_line: bool,
    has_host: bool,
    pub framing: Framing,
    pub is_http10: bool,
    pub is_head: bool,
    pub is_idempotent: bool,
    pub keep_alive: bool,
    pub wants_upgrade: bool,
}

/// What this hop adds to a request.
pub struct Hop<'a> {
    pub client: &'a str,
    /// Where a client of HTTP/1.0 that names no host turned to.
    pub default_host: &'a str,
}

impl RequestHead {
    /// Reads a whole head, its empty line included.
    pub fn parse(&mut self, head: &[u8]) -> Result<(), Refusal> {
        let first = memchr(b'\n', head).map_or(0, |feed| feed - 1);
        self.parse_request_line(&head[..first])?;
        parse_lines(head, first + 2, &mut self.lines).map_err(bad_request)?;
        self.has_host = self.check_host(head)?;
        let framing = read_framing(head, &mut self.lines)?;
        if framing == Some(Framing::Chunked) && self.is_http10 {
            return Err(bad_request("Transfer-Encoding in HTTP/1.0"));
        }
        self.framing = framing.unwrap_or(Framing::None);
        let options = read_connection(head, &mut self.lines).map_err(bad_request)?;
        self.keep_alive = !options.close && (options.keep_alive || !self.is_http10);
        self.wants_upgrade = options.upgrade && !self.is_http10 && self.has_passable_upgrade(head);
        Ok(())
    }

    pub fn method<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[..self.method_end]
    }

    pub fn target<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.target.clone()]
    }

    /// The value of the first line of that name.
    pub fn value_of<'a>(&self, head: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let is_named = |line: &&Line| line.name(head).eq_ignore_ascii_case(name.as_bytes());
        self.lines
            .iter()
            .find(is_named)
            .map(|line| line.value(head))
    }

    fn lines_of(&self, field: Field) -> impl Iterator<Item = &Line> + Clone {
        self.lines.iter().filter(move |line| line.field == field)
    }

    /// A change to HTTP/2 would hide the requests that follow from us, so it is not passed on.
    fn has_passable_upgrade(&self, head: &[u8]) -> bool {
        let is_http2 = |value: &[u8]| {
            value
                .windows(3)
                .any(|part| part.eq_ignore_ascii_case(b"h2c"))
        };
        let mut values = self.lines_of(Field::Upgrade).map(|line| line.value(head));
        values.clone().next().is_some() && !values.any(|value| value.is_empty() || is_http2(value))
    }

    fn parse_request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        const BAD: Refusal = bad_request("bad request line");
        let method_end = memchr(b' ', line).ok_or(BAD)?;
        let target_start = method_end + 1;
        let target_end = target_start + memchr(b' ', &line[target_start..]).ok_or(BAD)?;
        let method = &line[..method_end];
        if method.is_empty()
            || target_end == target_start
            || !method.iter().all(|&byte| is_token_byte(byte))
        {
            return Err(BAD);
        }
        self.is_http10 = match &line[target_end + 1..] {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(refusal(505, "only HTTP/1.0 and HTTP/1.1"));
            }
            _ => return Err(BAD),
        };
        if method == b"CONNECT" {
            return Err(refusal(405, "CONNECT is not supported"));
        }
        self.method_end = method_end;
        self.is_head = method == b"HEAD";
        self.is_idempotent = matches!(
            method,
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
        );
        self.parse_target(line, target_start..target_end)
    }

    /// Brings an absolute target into origin form.
    fn parse_target(&mut self, line: &[u8], range: Range<usize>) -> Result<(), Refusal> {
        self.authority = None;
        self.target_default = "";
        self.target = range.clone();
        let is_options = self.method(line) == b"OPTIONS";
        match &line[range.clone()] {
            target if !target.iter().all(|&byte| is_target_byte(byte)) => {
                return Err(bad_request("bad request target"));
            }
            [b'/', ..] => {}
            b"*" if is_options => {}
            target => {
                let authority = find_authority(target)?;
                let end = range.start + authority.end;
                self.target = end..range.end;
                self.authority = Some(range.start + authority.start..end);
                self.target_default = match line.get(end) {
                    Some(b'/') => "",
                    Some(b' ') if is_options => "*",
                    _ => "/",
                };
            }
        }
        self.has_plain_line = self.authority.is_none() && !self.is_http10;
        Ok(())
    }

    /// Tells whether there is one.
    fn check_host(&self, head: &[u8]) -> Result<bool, Refusal> {
        let mut hosts = self.lines_of(Field::Host);
        match (hosts.next(), hosts.next()) {
            (_, Some(_)) => Err(bad_request("duplicate Host")),
            (None, _) if !self.is_http10 => Err(bad_request("missing Host")),
            (Some(line), _) if !is_host(line.value(head)) => Err(bad_request("bad Host")),
            (host, _) => Ok(host.is_some()),
        }
    }

    /// Which host the client asked for.
    fn host<'a>(&self, head: &'a [u8], hop: &Hop<'a>) -> &'a [u8] {
        if let Some(authority) = self.authority.clone() {
            return &head[authority];
        }
        let line = self.lines_of(Field::Host).next();
        line.map_or(hop.default_host.as_bytes(), |line| line.value(head))
    }

    /// Writes the head as the backend gets it.
    pub fn write(&self, head: &[u8], hop: &Hop, out: &mut Vec<u8>) {
        let host = self.host(head, hop);
        let mut copier = Copier {
            head,
            out,
            copied: 0,
        };
        if !self.has_plain_line {
            self.write_request_line(&mut copier, host);
        }
        let last_of = |field| self.lines.iter().rposition(|line| line.field == field);
        let (last_via, last_for) = (last_of(Field::Via), last_of(Field::ForwardedFor));
        for (index, line) in self.lines.iter().enumerate() {
            match line.field {
                Field::Via if Some(index) == last_via => copier.append(line, PSEUDONYM),
                Field::ForwardedFor if Some(index) == last_for => copier.append(line, hop.client),
                Field::Host if self.authority.is_some() => copier.replace_value(line, host),
                Field::Te => write_te(&mut copier, line),
                Field::TransferEncoding if &head[line.colon + 1..line.end] != b" chunked" => {
                    copier.replace_value(line, b"chunked");
                }
                Field::Upgrade if self.wants_upgrade => {}
                Field::Connection
                | Field::KeepAlive
                | Field::ProxyConnection
                | Field::Upgrade
                | Field::ForwardedProto
                | Field::Dropped => copier.leave_out(line),
                _ => {}
            }
        }
        copier.copy_until(head.len() - 2);
        if last_for.is_none() {
            copier.add("X-Forwarded-For", hop.client.as_bytes());
        }
        copier.add("X-Forwarded-Proto", b"http");
        if self.lines_of(Field::ForwardedHost).next().is_none() {
            copier.add("X-Forwarded-Host", host);
        }
        if last_via.is_none() {
            copier.add("Via", PSEUDONYM.as_bytes());
        }
        if self.wants_upgrade {
            copier.add("Connection", b"upgrade");
        }
        copier.out.extend_from_slice(b"\r\n");
    }

    fn write_request_line(&self, copier: &mut Copier, host: &[u8]) {
        copier.copy_until(self.method_end + 1);
        copier.out.extend_from_slice(self.target_default.as_bytes());
        copier.copied = self.target.start;
        copier.copy_until(self.target.end);
        copier.out.extend_from_slice(b" HTTP/1.1\r\n");
        copier.copied = self.target.end + " HTTP/1.x\r\n".len();
        if !self.has_host {
            copier.add("Host", host);
        }
    }
}

/// Where the host of an absolute target is in it.
fn find_authority(target: &[u8]) -> Result<Range<usize>, Refusal> {
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        let start = target.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    let start = scheme.ok_or(bad_request("bad request target"))?.len();
    let rest = &target[start..];
    let length = rest
        .iter()
        .position(|byte| b"/?".contains(byte))
        .unwrap_or(rest.len());
    if length == 0 || rest[0] == b':' || !is_host(&rest[..length]) {
        return Err(bad_request("bad Host"));
    }
    Ok(start..start + length)
}

/// Of the codings that a client accepts on its hop, only trailers go further.
fn write_te(copier: &mut Copier, line: &Line) {
    let value = line.value(copier.head);
    if value.eq_ignore_ascii_case(b"trailers") {
        return;
    }
    if elements(value).any(|element| element.eq_ignore_ascii_case(b"trailers")) {
        copier.replace_value(line, b"trailers");
    } else {
        copier.leave_out(line);
    }
}

/// What a response head says.
#[derive(Debug, Default)]
pub struct ResponseHead {
    lines: Vec<Line>,
    has_plain_line: bool,
    framing: Option<Framing>,
    pub status: u16,
    pub keep_alive: bool,
}

/// How a response goes on to its client.
pub struct Passage {
    pub delivery: Delivery,
    /// HTTP/1.0 knows no codings.
    pub keep_coding: bool,
    pub connection: Option<&'static str>,
}

impl ResponseHead {
    /// Reads a whole head, its empty line included.
    pub fn parse(&mut self, head: &[u8]) -> Result<(), &'static str> {
        let first = memchr(b'\n', head).map_or(0, |feed| feed - 1);
        let is_http10 = self.parse_status_line(&head[..first])?;
        parse_lines(head, first + 2, &mut self.lines)?;
        self.framing = read_framing(head, &mut self.lines).map_err(|refusal| refusal.cause)?;
        if is_http10 && self.framing == Some(Framing::Chunked) {
            return Err("Transfer-Encoding in HTTP/1.0");
        }
        let options = read_connection(head, &mut self.lines)?;
        self.keep_alive = !options.close && (options.keep_alive || !is_http10);
        Ok(())
    }

    /// Tells whether the version is HTTP/1.0.
    fn parse_status_line(&mut self, line: &[u8]) -> Result<bool, &'static str> {
        const BAD: &str = "bad status line";
        let (version, rest) = line.split_at_checked("HTTP/1.x ".len()).ok_or(BAD)?;
        let is_http10 = match version {
            b"HTTP/1.1 " => false,
            b"HTTP/1.0 " => true,
            _ => return Err(BAD),
        };
        let (code, reason) = rest.split_at_checked(3).ok_or(BAD)?;
        let is_number = code.iter().all(u8::is_ascii_digit) && code[0] != b'0';
        if !is_number || !matches!(reason, [] | [b' ', ..]) {
            return Err(BAD);
        }
        self.status = code
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        self.has_plain_line = !is_http10 && !reason.is_empty();
        Ok(is_http10)
    }

    pub fn is_interim(&self) -> bool {
        self.status < 200
    }

    fn has_no_body(&self, to_head: bool) -> bool {
        to_head || self.is_interim() || matches!(self.status, 204 | 304)
    }

    pub fn body_framing(&self, to_head: bool) -> Framing {
        if self.has_no_body(to_head) {
            return Framing::None;
        }
        self.framing.unwrap_or(Framing::UntilClose)
    }

    /// Writes the head as the client gets it.
    pub fn write(&self, head: &[u8], passage: &Passage, out: &mut Vec<u8>) {
        let mut copier = Copier {
            head,
            out,
            copied: 0,
        };
        if !self.has_plain_line {
            let code_end = "HTTP/1.x 200".len();
            copier.out.extend_from_slice(b"HTTP/1.1");
            copier.copied = "HTTP/1.x".len();
            copier.copy_until(code_end);
            copier.out.push(b' ');
            copier.copied += usize::from(head[code_end] == b' ');
        }
        let last_via = self.lines.iter().rposition(|line| line.field == Field::Via);
        let is_switching = self.status == 101;
        for (index, line) in self.lines.iter().enumerate() {
            match line.field {
                Field::Via if Some(index) == last_via => copier.append(line, PSEUDONYM),
                Field::TransferEncoding if passage.keep_coding && !self.is_bare() => {}
                Field::ContentLength if !self.is_interim() => {}
                Field::Upgrade if is_switching => {}
                Field::Connection
                | Field::KeepAlive
                | Field::ProxyConnection
                | Field::Te
                | Field::ContentLength
                | Field::Upgrade
                | Field::TransferEncoding
                | Field::Dropped => copier.leave_out(line),
                _ => {}
            }
        }
        copier.copy_until(head.len() - 2);
        if last_via.is_none() {
            copier.add("Via", PSEUDONYM.as_bytes());
        }
        if passage.delivery == Delivery::Chunked {
            copier.add("Transfer-Encoding", b"chunked");
        }
        if let Some(connection) = passage.connection {
            copier.add("Connection", connection.as_bytes());
        }
        copier.out.extend_from_slice(b"\r\n");
    }

    /// Responses that must not speak of a coding.
    fn is_bare(&self) -> bool {
        self.is_interim() || self.status == 204
    }
}

fn reason_of(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "HTTP Version Not Supported",
    }
}

/// A response of our own.
pub struct Reply<'a> {
    pub status: u16,
    pub content_type: &'a str,
    pub body: &'a str,
    pub close: bool,
    pub to_head: bool,
}

impl Reply<'_> {
    pub fn write(&self, out: &mut Vec<u8>) {
        let reason = reason_of(self.status);
        let extra = match self.status {
            503 => "Retry-After: 1\r\n",
            405 => "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH\r\n",
            _ => "",
        };
        let connection = if self.close {
            "Connection: close\r\n"
        } else {
            ""
        };
        let written = write!(
            out,
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{extra}{connection}\r\n",
            self.status,
            self.content_type,
            self.body.len(),
        );
        debug_assert!(written.is_ok(), "a Vec takes all bytes");
        if !self.to_head {
            out.extend_from_slice(self.body.as_bytes());
        }
    }
}

/// The one line that an error's body is.
pub fn error_text(status: u16, cause: &str) -> String {
    format!("{status} {}: {cause}\n", reason_of(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: Hop = Hop {
        client: "10.0.0.9",
        default_host: "proxy:80",
    };
    const ADDED: &str = "X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\n";

    fn parse(head: &str) -> Result<RequestHead, Refusal> {
        let mut scan = HeadScan::default();
        let end = scan.find_end(head.as_bytes(), 16384)?;
        assert_eq!(end, Some(head.len()), "{head:?}");
        let mut request = RequestHead::default();
        request.parse(head.as_bytes()).map(|()| request)
    }

    fn forwarded(head: &str) -> String {
        let mut out = Vec::new();
        let request = parse(head).unwrap_or_else(|refusal| panic!("{head:?}: {refusal:?}"));
        request.write(head.as_bytes(), &HOP, &mut out);
        String::from_utf8(out).expect("text stays text")
    }

    fn refused(head: &str) -> u16 {
        parse(head).err().map_or(0, |refusal| refusal.status)
    }

    #[test]
    fn a_head_is_found_however_it_is_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nbody";
        for cut in 0..head.len() - 4 {
            let mut scan = HeadScan::default();
            assert_eq!(scan.find_end(&head[..cut], 100), Ok(None), "cut at {cut}");
            assert_eq!(
                scan.find_end(head, 100),
                Ok(Some(head.len() - 4)),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn long_heads_are_refused_at_the_limit() {
        let status = |bytes: &[u8], limit| {
            HeadScan::default()
                .find_end(bytes, limit)
                .map_err(|no| no.status)
        };
        assert_eq!(status(b"GET /aaaaaaaaaa", 15), Err(414));
        assert_eq!(status(b"GET /aaaaaaaaaa HTTP/1.1\r\n\r\n", 15), Err(414));
        assert_eq!(status(b"GET / HTTP/1.1\r\nA: bbbbbbbb", 24), Err(431));
        assert_eq!(status(b"GET / HTTP/1.1\r\nA: b\r\n\r\n", 24), Ok(Some(24)));
        assert_eq!(status(b"GET / HTTP/1.1\r\nA: b\r\n\r\n", 23), Err(431));
        assert_eq!(status(b"GET / HTTP/1.1\n", 100), Err(400));
        assert_eq!(status(b"\n", 100), Err(400));
    }

    #[test]
    fn fields_pass_unchanged_and_the_hop_adds_its_own() {
        let sent = "GET /a?b HTTP/1.1\r\nhOsT:  h \r\nX-b: 1\r\nx-a:\r\nX-B: 2\r\n\r\n";
        let expected = format!(
            "{}{ADDED}X-Forwarded-Host: h\r\nVia: 1.1 deadheat\r\n\r\n",
            &sent[..sent.len() - 2]
        );
        assert_eq!(forwarded(sent), expected);
    }

    #[test]
    fn what_belongs_to_one_hop_stays_there() {
        let sent = "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Own, host\r\nKeep-Alive: 5\r\n\
                    x-own: 1\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nTE: gzip, trailers\r\nAccept: */*\r\n\r\n";
        let expected = format!(
            "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nAccept: */*\r\n\
             {ADDED}X-Forwarded-Host: h\r\nVia: 1.1 deadheat\r\n\r\n"
        );
        assert_eq!(forwarded(sent), expected);
    }

    #[test]
    fn lists_of_earlier_hops_grow() {
        let sent = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nVia: 1.0 a\r\nx-forwarded-for: 2.2.2.2\r\n\
                    X-Forwarded-Proto: https\r\nX-Forwarded-Host: outer\r\n\r\n";
        let expected = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nVia: 1.0 a, 1.1 deadheat\r\n\
                        x-forwarded-for: 2.2.2.2, 10.0.0.9\r\nX-Forwarded-Host: outer\r\nX-Forwarded-Proto: http\r\n\r\n";
        assert_eq!(forwarded(sent), expected);
    }

    #[test]
    fn absolute_forms_become_origin_forms() {
        for (target, line, host) in [
            ("http://o:81/p?q", "/p?q", "o:81"),
            ("HTTP://o", "/", "o"),
            ("https://[::1]:8?q", "/?q", "[::1]:8"),
        ] {
            let expected = format!(
                "GET {line} HTTP/1.1\r\nHost: {host}\r\n{ADDED}X-Forwarded-Host: {host}\r\nVia: 1.1 deadheat\r\n\r\n"
            );
            assert_eq!(
                forwarded(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")),
                expected
            );
        }
        assert!(
            forwarded("OPTIONS http://o HTTP/1.1\r\nHost: h\r\n\r\n")
                .starts_with("OPTIONS * HTTP/1.1\r\n")
        );
        assert!(
            forwarded("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
                .starts_with("OPTIONS * HTTP/1.1\r\n")
        );
    }

    #[test]
    fn old_requests_are_forwarded_as_http11() {
        let expected = format!(
            "GET /a HTTP/1.1\r\nHost: proxy:80\r\nA: b\r\n{ADDED}X-Forwarded-Host: proxy:80\r\nVia: 1.1 deadheat\r\n\r\n"
        );
        assert_eq!(forwarded("GET /a HTTP/1.0\r\nA: b\r\n\r\n"), expected);
    }

    #[test]
    fn upgrades_are_asked_for_on_the_next_hop_too() {
        let text = forwarded(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert!(
            text.contains("\r\nUpgrade: websocket\r\n")
                && text.ends_with("\r\nConnection: upgrade\r\n\r\n")
        );
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        for (status, lines) in [
            (0, "Content-Length: 5\r\nContent-Length: 5\r\n"),
            (0, "Transfer-Encoding: Chunked\r\n"),
            (400, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            (400, "Content-Length: 5\r\nContent-Length: 6\r\n"),
            (400, "Content-Length: 5, 5\r\n"),
            (400, "Content-Length: +5\r\n"),
            (400, "Content-Length: 0x5\r\n"),
            (400, "Content-Length: 1 2\r\n"),
            (400, "Content-Length:\r\n"),
            (400, "Content-Length: 99999999999999999999\r\n"),
            (400, "Transfer-Encoding: chunked, chunked\r\n"),
            (
                400,
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            ),
            (400, "Transfer-Encoding:\r\n"),
            (501, "Transfer-Encoding: gzip, chunked\r\n"),
            (501, "Transfer-Encoding: xchunked\r\n"),
            (400, "Transfer-Encoding: \u{b}chunked\r\n"),
            (400, "Transfer-Encoding : chunked\r\n"),
            (400, "A: b\r\n c\r\n"),
            (400, "A\r\n"),
            (400, ": a\r\n"),
            (400, "A b: c\r\n"),
            (400, "A\u{1}: c\r\n"),
            (400, "A: b\u{0}c\r\n"),
            (400, "A: b\rc\r\n"),
            (400, "Host: twice\r\n"),
        ] {
            assert_eq!(
                refused(&format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n")),
                status,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn bad_request_lines_are_refused() {
        for (status, line) in [
            (400, "GET  / HTTP/1.1"),
            (400, "GET / HTTP/1.1 "),
            (400, "GET / http/1.1"),
            (400, "GET /"),
            (400, " GET / HTTP/1.1"),
            (400, "G(T / HTTP/1.1"),
            (400, "GET /\t HTTP/1.1"),
            (400, "GET a HTTP/1.1"),
            (400, "GET * HTTP/1.1"),
            (400, "GET http:///a HTTP/1.1"),
            (400, "GET http://u@h/ HTTP/1.1"),
            (400, "GET ftp://h/ HTTP/1.1"),
            (405, "CONNECT h:443 HTTP/1.1"),
            (505, "GET / HTTP/2.0"),
            (505, "GET / HTTP/1.2"),
            (400, "GET / HTTP/1.10"),
        ] {
            assert_eq!(
                refused(&format!("{line}\r\nHost: h\r\n\r\n")),
                status,
                "{line:?}"
            );
        }
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
        assert_eq!(
            refused("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400
        );
    }

    fn answered(head: &str, passage: &Passage) -> String {
        let mut response = ResponseHead::default();
        response
            .parse(head.as_bytes())
            .unwrap_or_else(|cause| panic!("{head:?}: {cause}"));
        let mut out = Vec::new();
        response.write(head.as_bytes(), passage, &mut out);
        String::from_utf8(out).expect("text stays text")
    }

    #[test]
    fn responses_lose_and_gain_only_what_is_of_the_hop() {
        let passage = Passage {
            delivery: Delivery::AsIs,
            keep_coding: true,
            connection: None,
        };
        let sent = "HTTP/1.1 200 OK\r\nServer: s\r\nConnection: keep-alive, x-a\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n";
        let expected = "HTTP/1.1 200 OK\r\nServer: s\r\nTransfer-Encoding: chunked\r\nVia: 1.1 deadheat\r\n\r\n";
        assert_eq!(answered(sent, &passage), expected);
        let passage = Passage {
            delivery: Delivery::Chunked,
            keep_coding: false,
            connection: Some("close"),
        };
        assert_eq!(
            answered("HTTP/1.0 404\r\nVia: 1.0 a\r\n\r\n", &passage),
            "HTTP/1.1 404 \r\nVia: 1.0 a, 1.1 deadheat\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn bad_responses_are_not_understood() {
        for head in [
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        ] {
            assert!(
                ResponseHead::default().parse(head.as_bytes()).is_err(),
                "{head:?}"
            );
        }
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        let mut response = ResponseHead::default();
        for (head, to_head, framing) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                false,
                Framing::Length(5),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                true,
                Framing::None,
            ),
            (
                "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
                false,
                Framing::None,
            ),
            ("HTTP/1.1 204 None\r\n\r\n", false, Framing::None),
            ("HTTP/1.1 200 OK\r\n\r\n", false, Framing::UntilClose),
        ] {
            assert_eq!(response.parse(head.as_bytes()), Ok(()));
            assert_eq!(response.body_framing(to_head), framing, "{head:?}");
        }
    }

    #[test]
    fn an_answer_to_head_has_the_length_but_not_the_body() {
        let mut out = Vec::new();
        let body = error_text(503, "no backend is up");
        Reply {
            status: 503,
            content_type: "text/plain",
            body: &body,
            close: true,
            to_head: true,
        }
        .write(&mut out);
        let expected = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 42\r\n\
                        Retry-After: 1\r\nConnection: close\r\n\r\n";
        assert_eq!(out, expected.as_bytes());
    }
}
