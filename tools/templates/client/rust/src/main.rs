//! @@slug@@ fetches files from a web server and says what they are.
//!
//! All requests go over one connection that is kept; with --pipeline, several of them are on
//! their way at once. Bodies are hashed as they come and never held.
//!
//! See `MANUAL` below for the options and for what is printed.

mod connection;
mod failure;
mod fetch;
mod keys;
mod options;
mod output;
mod response;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use xxhash_rust::xxh64::Xxh64;

use failure::{Failure, Result};
use fetch::fetch_all;
use keys::Keys;
use options::{Options, Request, STANDARD_STREAM, parse_options};
use output::{print_text, store};

const MANUAL: &str = "\
@@title_quoted_inside@@

usage: @@slug@@ --server HOST:PORT --keys FILE [options]

  --server HOST:PORT  the web server, by a numeric host
  --keys FILE         a key a line: 1 to 255 letters, digits, dots, hyphens, underscores
  --pipeline N        requests on their way at once (default 1, at most 64)
  --repeats N         do the whole job N times (default 1)
  --output PATH       write the answer to PATH; - is standard output
  --help, --version   print this, or the version, and stop

GET /KEY is asked for each key. The answer is a line \"key bytes hash\" for each, in the
order of the file: the length of the body, and its XXH64 as 16 hexadecimal digits.

A server that closes the connection behind a reply gets the rest on a new one. It must
answer within 10 seconds, with a Content-Length. A file of keys has at most 64 MiB.

Without --output -, statistics and the XXH64 digest of the answer are printed.
Exit code: 0 done, 2 bad usage or bad input (also a key that the server does not have),
1 the machine, the network or the server failed.
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
    keys: u64, // of one repeat
    elapsed: Duration,
    digest: u64,
}

/// Does the job again and again from the raw input, on one clock. The last
/// answer is the one stored: it is equal to all others.
fn run_repeats(request: &Options) -> Result<RunResult> {
    let mut digest = Xxh64::new(0);
    let mut answer = Vec::new();
    let mut count = 0;
    let started = Instant::now();
    for _ in 0..request.repeats {
        let keys = Keys::read(&request.keys_path)?;
        answer.clear();
        fetch_all(&mut answer, request, &keys)?;
        count = keys.len() as u64;
        digest.update(&answer);
    }
    let elapsed = started.elapsed();
    store(request.output_path.as_deref(), &answer)?;
    Ok(RunResult {
        keys: count,
        elapsed,
        digest: digest.digest(),
    })
}

impl RunResult {
    fn statistics(&self, repeats: u64) -> String {
        let total = self.keys * repeats;
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
