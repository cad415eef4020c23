//! A whole file of questions, resolved with many of them under way at once.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use xxhash_rust::xxh64::Xxh64;

use crate::canonical::{parse_kind, write_line};
use crate::failure::{
    Failure, Result, bad_line, machine_failure, quote_value, show_path, system_failure,
};
use crate::hints::RootServer;
use crate::options::{BulkOptions, STANDARD_STREAM, Settings};
use crate::output::write_output;
use crate::poll::{Events, Poll, token_of};
use crate::print_text;
use crate::resolve::{Answer, Question, Resolver};
use crate::stats::statistics_block;
use crate::wire::{Name, kind, parse_name};

/// A line of the input: a name in lower case as on the wire, and a type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    name: Box<[u8]>,
    kind: u16,
}

/// Resolves the file as often as asked, each time from its text and with an empty cache.
pub fn resolve_file(
    bulk: &BulkOptions,
    settings: &Settings,
    roots: &[RootServer],
    threads: usize,
) -> Result<()> {
    let is_input_standard = bulk.queries_path.as_os_str() == STANDARD_STREAM;
    let standard_text = is_input_standard.then(read_standard_input).transpose()?;
    let started = Instant::now();
    let (mut digest, mut items, mut text) = (Xxh64::new(0), 0, String::new());
    for _ in 0..bulk.repeats {
        let questions = match &standard_text {
            Some(text) => parse_queries(&bulk.queries_path, text)?,
            None => parse_queries(&bulk.queries_path, &read_file(&bulk.queries_path)?)?,
        };
        text = resolve_all(&questions, bulk.in_flight, settings, roots, threads)?;
        digest.update(text.as_bytes());
        items += questions.len() as u64;
    }
    let elapsed = started.elapsed();
    if let Some(path) = &bulk.output_path {
        write_output(path, &text)?;
        if path.as_os_str() == STANDARD_STREAM {
            return Ok(());
        }
    }
    print_text(&statistics_block(
        items,
        bulk.repeats,
        elapsed,
        digest.digest(),
    ))
}

fn read_standard_input() -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut text);
    read.map_err(|error| system_failure("standard input", error))?;
    Ok(text)
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| system_failure(&show_path(path), error))
}

/// Reads `name type` lines; the first bad one is an error.
fn parse_queries(path: &Path, text: &[u8]) -> Result<Vec<Asked>> {
    let mut questions = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        match parse_query(line) {
            Ok(question) => questions.extend(question),
            Err(why) => return Err(bad_line(path, index + 1, &why)),
        }
    }
    Ok(questions)
}

/// An empty line asks nothing.
fn parse_query(line: &[u8]) -> std::result::Result<Option<Asked>, String> {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let Some(name) = words.next() else {
        return Ok(None);
    };
    let name = parse_name(name)?.to_ascii_lowercase().into();
    let word = String::from_utf8_lossy(words.next().ok_or("no type behind the name")?);
    let shown = || quote_value(&word);
    let kind = parse_kind(&word).ok_or_else(|| format!("unknown type {}", shown()))?;
    if matches!(kind, 0 | kind::OPT | kind::FIRST_META..=kind::LAST_META) {
        return Err(format!("type {} is not one of records", shown()));
    }
    match words.next() {
        Some(word) => {
            let shown = quote_value(&String::from_utf8_lossy(word));
            Err(format!("unexpected {shown} behind the type"))
        }
        None => Ok(Some(Asked { name, kind })),
    }
}

/// Resolves all questions, each thread those at every so manieth place; gives their lines in order.
fn resolve_all(
    questions: &[Asked],
    in_flight: usize,
    settings: &Settings,
    roots: &[RootServer],
    threads: usize,
) -> Result<String> {
    let mut settings = settings.clone();
    settings.cache_bytes /= threads;
    let (settings, in_flight) = (&settings, in_flight.div_ceil(threads));
    let share =
        |first: usize| -> Vec<&Asked> { questions.iter().skip(first).step_by(threads).collect() };
    if threads == 1 {
        return Ok(resolve_share(&share(0), in_flight, settings, roots)?.in_order());
    }
    let parts = thread::scope(|scope| {
        let start = |first: usize| {
            let share = share(first);
            thread::Builder::new().spawn_scoped(scope, move || {
                resolve_share(&share, in_flight, settings, roots)
            })
        };
        let started: Vec<_> = (0..threads).map(start).collect();
        let parts = started.into_iter().map(|thread| {
            let thread = thread.map_err(|error| machine_failure("threads", error))?;
            thread.join().unwrap_or_else(|_| Ok(Lines::new(0)))
        });
        parts.collect::<Result<Vec<_>>>()
    })?;
    let mut text = String::new();
    for index in 0..questions.len() {
        text.push_str(parts[index % threads].line(index / threads));
    }
    Ok(text)
}

/// Lines in the order they were made, and which is whose.
struct Lines {
    text: String,
    places: Vec<Range<usize>>,
}

impl Lines {
    fn new(count: usize) -> Self {
        Self {
            text: String::new(),
            places: vec![0..0; count],
        }
    }

    fn write(&mut self, index: usize, question: &Question, answer: &Answer) {
        let start = self.text.len();
        write_line(&mut self.text, question, answer);
        self.places[index] = start..self.text.len();
    }

    fn line(&self, index: usize) -> &str {
        &self.text[self.places[index].clone()]
    }

    fn in_order(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        for index in 0..self.places.len() {
            text.push_str(self.line(index));
        }
        text
    }
}

fn loop_failure(error: impl Into<io::Error>) -> Failure {
    machine_failure("event loop", error)
}

/// Resolves some questions on one thread, with so many of them under way.
fn resolve_share(
    questions: &[&Asked],
    in_flight: usize,
    settings: &Settings,
    roots: &[RootServer],
) -> Result<Lines> {
    let poll = Poll::new().map_err(loop_failure)?;
    let mut resolver = Resolver::new(settings, roots, &poll, &Arc::default());
    let mut lines = Lines::new(questions.len());
    let mut events = Events::new();
    let (mut asked, mut answered) = (0, 0);
    while answered < questions.len() {
        while asked < questions.len() && asked - answered < in_flight {
            let question = Question {
                name: Name::new(&questions[asked].name),
                kind: questions[asked].kind,
            };
            if let Some(answer) = resolver.cached_answer(&question) {
                lines.write(asked, &question, &answer);
                answered += 1;
            } else {
                resolver.ask(question, asked as u64);
            }
            asked += 1;
        }
        resolver.run();
        if resolver.finished.is_empty() && answered < questions.len() {
            let waited = poll.wait(&mut events, resolver.now_ms, resolver.next_ms());
            waited.map_err(loop_failure)?;
            resolver.now_ms = poll.now_ms();
            for event in &events {
                resolver.on_event(token_of(event), event.flags);
            }
            resolver.run();
        }
        for finished in std::mem::take(&mut resolver.finished) {
            for ticket in finished.tickets {
                lines.write(ticket as usize, &finished.question, &finished.answer);
                answered += 1;
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Asked>> {
        parse_queries(Path::new("q.txt"), text.as_bytes())
    }

    #[test]
    fn lines_have_a_name_and_a_type() {
        let questions = parse("A.test a\r\n\n  b.test.\tTYPE65280 \n. NS").expect("sound lines");
        let kinds: Vec<_> = questions.iter().map(|question| question.kind).collect();
        assert_eq!(kinds, [1, 65_280, 2]);
        assert_eq!(*questions[0].name, *b"\x01a\x04test\0");
        assert_eq!(parse("").expect("no lines").len(), 0);
    }

    #[test]
    fn bad_lines_are_named() {
        let long = format!("{}.x A", "a".repeat(64));
        for (line, why) in [
            ("x", "no type behind the name"),
            ("x. BOGUS", "unknown type \"BOGUS\""),
            ("x. TYPE65536", "unknown type \"TYPE65536\""),
            ("x. TYPE255", "is not one of records"),
            ("x. A now", "unexpected \"now\" behind the type"),
            ("x..y A", "empty label"),
            ("x\\300 A", "bad escape in the name"),
            (&long, "label longer than 63 bytes"),
        ] {
            let failure = parse(&format!("a. A\n{line}\n")).expect_err(line);
            assert_eq!(failure.exit_code, 2);
            assert_eq!(
                failure.to_string().split_once(": line 2: ").map(|it| it.0),
                Some("q.txt")
            );
            assert!(failure.to_string().contains(why), "{failure}");
        }
    }

    #[test]
    fn lines_come_out_in_the_order_of_the_questions() {
        let mut lines = Lines::new(2);
        lines.text = "second\nfirst\n".to_owned();
        lines.places = vec![7..13, 0..7];
        assert_eq!(lines.in_order(), "first\nsecond\n");
    }
}
