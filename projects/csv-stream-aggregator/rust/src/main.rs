//! csv-stream-aggregator groups and aggregates a CSV file of any size in bounded memory.
//!
//! The text is read in blocks of 256 KiB. A scan finds the terminators of all
//! fields and records, 64 bytes at a time; only the fields that are asked for are
//! then looked at. Sums are exact: a number is an integer and a decimal scale,
//! and a sum has 128 bits. All work is done by one thread.
//!
//! See `MANUAL` below for the options and for what is printed.

mod aggregate;
mod decimal;
mod failure;
mod filter;
mod groups;
mod input;
mod job;
mod options;
mod output;
mod plan;
mod record;
mod render;
mod scan;
mod window;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use failure::{Failure, Result};
use job::Job;
use options::{Options, Request, STANDARD_STREAM, parse_options};
use output::{AnswerWriter, print_text};

const MANUAL: &str = "\
csv-stream-aggregator: group and aggregate a CSV file of any size in bounded memory

usage: csv-stream-aggregator --input FILE --agg LIST [options]

  --input FILE          the CSV text, plain or packed; - is standard input
  --agg LIST            what to compute, separated by commas:
                        count, count:COL, sum:COL, min:COL, max:COL, mean:COL
  --group-by LIST       columns that make a group, separated by commas (default: one group)
  --where 'COL OP LIT'  keep only rows where this holds; may be given again, all must hold
                        OP is = or != (text), < <= > >= (numbers)
  --delimiter C         one ASCII byte, or \\t (default ,)
  --no-header           the first record is data; columns are named 1, 2, ...
  --on-error WHAT       fail (default) or skip: leave bad rows out and count them
  --compression KIND    auto (default, by magic bytes), none, gzip, zstd
  --max-groups N        refuse more groups than this (default 1000000)
  --max-record-bytes N  refuse longer records (default 1048576)
  --format FORMAT       csv (default) or json (one object a line)
  --output PATH         write the answer to PATH; - is standard output
  --repeats N           do the whole job N times (default 1)
  --help, --version     print this, or the version, and stop

Numbers are exact decimals of up to 18 digits, 18 of them behind the point. Sums
are exact; a mean has six fraction digits more than its column, rounded half to
even. An empty field is no value. Groups are sorted by their bytes.

Memory: 64 MiB hold 100,000 groups of keys up to 100 bytes and four aggregated
columns, whatever the size of the input; a group takes about 70 bytes, its key and
48 bytes an aggregated column. A zstd window of more than 32 MiB is refused.

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
        Request::Version => return print_text("csv-stream-aggregator rust\n"),
        Request::Run(request) => request,
    };
    let result = run_repeats(&request)?;
    if result.skipped > 0 {
        let _ = writeln!(
            std::io::stderr(),
            "note: {} bad rows skipped",
            result.skipped
        );
    }
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
    items: u64, // of one repeat, as are those skipped
    skipped: u64,
    elapsed: Duration,
    digest: u64,
}

/// Does the job again and again from the raw input, on one clock. The last
/// answer is the one stored: it is equal to all others, and a failure before it
/// leaves no trace.
fn run_repeats(request: &Options) -> Result<RunResult> {
    let mut job = Job::new(request);
    let mut answer = AnswerWriter::new();
    let started = Instant::now();
    for repeat in 1..=request.repeats {
        if repeat == request.repeats {
            answer.store_path = request.output_path.as_deref();
        }
        job.run(&mut answer)?;
    }
    answer.commit()?;
    Ok(RunResult {
        items: job.items(),
        skipped: job.skipped(),
        elapsed: started.elapsed(),
        digest: answer.digest.digest(),
    })
}

impl RunResult {
    fn statistics(&self, repeats: u64) -> String {
        let total = self.items * repeats;
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
