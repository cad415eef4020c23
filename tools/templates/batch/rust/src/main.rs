//! @@slug@@ counts the words of a text and prints the most frequent ones.
//!
//! The text is read in blocks of 256 KiB. A word is a run of ASCII letters,
//! digits and bytes from 0x80 on; ASCII letters are lower-cased. Words are counted
//! in a hash table with open addressing that allocates nothing for a word that it
//! knows. All work is done by one thread.
//!
//! See `MANUAL` below for the options and for what is printed.

mod failure;
mod options;
mod output;
mod render;
mod table;
mod words;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use xxhash_rust::xxh64::Xxh64;

use failure::{Failure, Result};
use options::{Options, Request, STANDARD_STREAM, parse_options};
use output::{print_text, store};
use render::render;
use words::Counter;

const MANUAL: &str = "\
@@title_quoted_inside@@

usage: @@slug@@ --input FILE [options]

  --input FILE       the text
  --top N            how many words to print (default 20, at most 1000000)
  --repeats N        do the whole job N times (default 1)
  --output PATH      write the answer to PATH; - is standard output
  --help, --version  print this, or the version, and stop

The answer is a line \"word count\" for each of the N most frequent words: larger
counts first, equal counts in the order of the words' bytes. A word is a run of
ASCII letters, digits and bytes from 0x80 on; ASCII letters are lower-cased.

Memory: less than 1 GiB, whatever the size of the text; 50,000 different words take
20 MiB. Words of more than 65536 bytes, more than 2097152 different words and more
than 67108864 bytes of different words are refused.

Without --output -, statistics and the XXH64 digest of the answer are printed.
Exit code: 0 done, 2 bad usage or bad input, 1 the machine failed.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(failure.exit_code)
        }
    }
}

fn report(failure: &Failure) {
    if !failure.text.is_empty() {
        // When even this cannot be written, the exit code has to do.
        let _ = writeln!(std::io::stderr(), "error: {failure}");
    }
}

fn run() -> Result<()> {
    let request = match parse_options(std::env::args_os().skip(1))? {
        Request::Help => return print_text(MANUAL),
        Request::Version => return print_text("@@slug@@ rust\n"),
        Request::Run(request) => request,
    };
    let result = run_repeats(&request)?;
    if request
        .output_path
        .is_some_and(|path| path.as_os_str() == STANDARD_STREAM)
    {
        return Ok(());
    }
    print_text(&result.statistics(request.repeats))
}

/// What the repeats together did.
struct RunResult {
    words: u64, // of one repeat
    elapsed: Duration,
    digest: u64,
}

/// Does the job again and again from the raw input, on one clock. The last
/// answer is the one stored: it is equal to all others.
fn run_repeats(request: &Options) -> Result<RunResult> {
    let mut counter = Counter::new();
    let mut digest = Xxh64::new(0);
    let mut answer = Vec::new();
    let mut words = 0;
    let started = Instant::now();
    for _ in 0..request.repeats {
        words = counter.count(&request.input_path)?;
        answer.clear();
        render(&mut answer, &counter.words, request.top);
        digest.update(&answer);
    }
    let elapsed = started.elapsed();
    store(request.output_path.as_deref(), &answer)?;
    Ok(RunResult {
        words,
        elapsed,
        digest: digest.digest(),
    })
}

impl RunResult {
    fn statistics(&self, repeats: u64) -> String {
        let total = self.words * repeats;
        let seconds = self.elapsed.as_secs_f64();
        format!(
            "--- Statistics ---\n\
             Total processed: {total}\n\
             Processing time: {seconds:.6}s\n\
             Average latency: {:.6}ms\n\
             Throughput: {:.2} items/sec\n\
             Digest: {:016x}\n",
            seconds * 1e3 / repeats as f64,
            total as f64 / seconds.max(1e-9),
            self.digest,
        )
    }
}
