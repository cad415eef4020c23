//! A whole file of questions, resolved with many of them under way at once.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use signal_hook::{consts::SIGUSR1, flag};
use xxhash_rust::xxh64::Xxh64;

use crate::canonical::{parse_kind, write_line};
use crate::failure::{
    Failure, Result, bad_line, machine_failure, quote_bytes, show_path, system_failure,
};
use crate::hints::RootServer;
use crate::options::{BulkOptions, STANDARD_STREAM, Settings};
use crate::output::write_output;
use crate::poll::{Events, Poll, token_of};
use crate::resolve::{Answer, Question, Resolver};
use crate::stats::{Counters, counters_line, statistics_block};
use crate::wire::{Name, is_meta, parse_name, rcode};
use crate::{log, print_text};

/// A line of the input: a name in lower case as on the wire, and a type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    name: Box<[u8]>,
    kind: u16,
}

/// Resolves the file as often as asked, each time from its text and with an empty cache.
pub fn resolve_file(bulk: &BulkOptions, settings: &Settings, roots: &[RootServer]) -> Result<()> {
    let job = Job {
        settings,
        roots,
        in_flight: bulk.in_flight,
        counters: Arc::default(),
        wants_counters: Arc::default(),
    };
    let registered = flag::register(SIGUSR1, Arc::clone(&job.wants_counters));
    registered.map_err(|error| machine_failure("signals", error))?;
    let is_input_standard = bulk.queries_path.as_os_str() == STANDARD_STREAM;
    let standard_text = is_input_standard.then(read_standard_input).transpose()?;
    let started = Instant::now();
    let (mut digest, mut items, mut text) = (Xxh64::new(0), 0, String::new());
    for _ in 0..bulk.repeats {
        let questions = match &standard_text {
            Some(text) => parse_queries(&bulk.queries_path, text)?,
            None => parse_queries(&bulk.queries_path, &read_file(&bulk.queries_path)?)?,
        };
        text = job.resolve_all(&questions)?.in_order();
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
        match parse_query(line.trim_ascii()) {
            Ok(question) => questions.extend(question),
            Err(why) => return Err(bad_line(path, index + 1, &why)),
        }
    }
    Ok(questions)
}

/// An empty line asks nothing, nor does a comment.
fn parse_query(line: &[u8]) -> std::result::Result<Option<Asked>, String> {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let (name, word) = match (words.next(), words.next(), words.next()) {
        (None, ..) => return Ok(None),
        (Some(first), ..) if first.starts_with(b";") => return Ok(None),
        (Some(name), Some(word), None) => (name, word),
        _ => return Err(format!("not a name and a type: {}", quote_bytes(line))),
    };
    let refused = |why| format!("{why}: {}", quote_bytes(name));
    let name = parse_name(name).map_err(refused)?;
    let name = name.to_ascii_lowercase().into();
    let kind = parse_kind(&String::from_utf8_lossy(word));
    let kind = kind.ok_or_else(|| format!("unknown type: {}", quote_bytes(word)))?;
    Ok(Some(Asked { name, kind }))
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

    fn in_order(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        for place in &self.places {
            text.push_str(&self.text[place.clone()]);
        }
        text
    }
}

fn loop_failure(error: impl Into<io::Error>) -> Failure {
    machine_failure("event loop", error)
}

/// What all repeats work with.
struct Job<'a> {
    settings: &'a Settings,
    roots: &'a [RootServer],
    in_flight: usize,
    counters: Arc<Counters>,
    wants_counters: Arc<AtomicBool>,
}

impl Job<'_> {
    /// Resolves all questions, with so many of them under way.
    fn resolve_all(&self, questions: &[Asked]) -> Result<Lines> {
        let poll = Poll::new().map_err(loop_failure)?;
        let mut resolver = Resolver::new(self.settings, self.roots, &poll, &self.counters);
        let mut lines = Lines::new(questions.len());
        let mut events = Events::new();
        let (mut asked, mut answered) = (0, 0);
        while answered < questions.len() {
            while asked < questions.len() && asked - answered < self.in_flight {
                let question = Question {
                    name: Name::new(&questions[asked].name),
                    kind: questions[asked].kind,
                };
                self.counters.queries.add(1);
                if let Some(answer) = self.answer_at_once(&mut resolver, &question) {
                    lines.write(asked, &question, &answer);
                    answered += 1;
                } else {
                    self.counters.misses.add(1);
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
                self.report_if_asked();
            }
            for finished in std::mem::take(&mut resolver.finished) {
                for ticket in finished.tickets {
                    if finished.answer.rcode == rcode::SERVFAIL {
                        self.counters.servfail.add(1);
                    }
                    lines.write(ticket as usize, &finished.question, &finished.answer);
                    answered += 1;
                }
            }
        }
        Ok(lines)
    }

    /// What is in the cache, or never anywhere.
    fn answer_at_once(&self, resolver: &mut Resolver, question: &Question) -> Option<Answer> {
        if is_meta(question.kind) {
            return Some(Answer::of_code(rcode::NOTIMP));
        }
        let known = resolver.cached_answer(question)?;
        self.counters.hits.add(1);
        Some(known)
    }

    fn report_if_asked(&self) {
        if self.wants_counters.swap(false, Ordering::SeqCst) {
            log(&counters_line(&[Arc::clone(&self.counters)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Asked>> {
        parse_queries(Path::new("q.txt"), text.as_bytes())
    }

    #[test]
    fn lines_have_a_name_and_a_type() {
        let text = "A.test a\r\n\n  b.test.\tTYPE65280 \n. NS\n; a comment\nx. TYPE255";
        let questions = parse(text).expect("sound lines");
        let kinds: Vec<_> = questions.iter().map(|question| question.kind).collect();
        assert_eq!(kinds, [1, 65_280, 2, 255]);
        assert_eq!(*questions[0].name, *b"\x01a\x04test\0");
        assert_eq!(parse("").expect("no lines").len(), 0);
    }

    #[test]
    fn bad_lines_are_named() {
        let long = format!("{}.x A", "a".repeat(64));
        for (line, why) in [
            ("x", "not a name and a type: \"x\""),
            ("x. BOGUS", "unknown type: \"BOGUS\""),
            ("x. TYPE65536", "unknown type: \"TYPE65536\""),
            ("x. A now", "not a name and a type: \"x. A now\""),
            ("x..y A", "empty label: \"x..y\""),
            ("x\\300 A", "bad escape: \"x\\\\300\""),
            (&long, "label longer than 63 bytes: \"aaa"),
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
