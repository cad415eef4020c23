//! Answers one SELECT over a SQLite 3 database file, without the SQLite library.
//!
//! Usage: sqlite-query-engine --db FILE --query SQL [--format json|csv] [--output PATH] [--repeats N]
//!
//! Each repeat does the whole job: map the file, check it, read the schema, parse, plan, execute,
//! render. All work is done by one thread. What is printed, and all options: `--help`.

mod aggregate;
mod arguments;
mod btree;
mod compile;
mod error;
mod eval;
mod executor;
mod extended;
mod filter;
mod functions;
mod key;
mod lexer;
mod like;
mod memory;
mod number;
mod output;
mod pager;
mod parser;
mod planner;
mod record;
mod render;
mod schema;
mod sorter;
mod value;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arguments::{Job, Request};
use error::{Error, Kind, Result};
use output::{Answer, PartialFile, Target};
use pager::Pager;

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

fn main() -> ExitCode {
    match on_large_stack(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error.kind() != Kind::ClosedPipe {
                let _ = writeln!(io::stderr(), "error: {error}");
            }
            ExitCode::from(if matches!(error.kind(), Kind::Input | Kind::Corrupt) { 2 } else { 1 })
        }
    }
}

/// Runs `job` in a thread with a stack that holds the deepest expression, whatever `ulimit -s` says.
/// The main thread only waits.
fn on_large_stack(job: fn() -> Result<()>) -> Result<()> {
    const STACK_BYTES: usize = 16 << 20;
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(job);
    let thread = thread.map_err(|e| Error::machine(format!("cannot start a thread: {e}")))?;
    thread.join().unwrap_or_else(|_| Err(Error::machine("the working thread failed")))
}

fn run() -> Result<()> {
    match arguments::parse(std::env::args_os().skip(1))? {
        Request::Print(text) => print(&text),
        Request::Run(job) => {
            pager::explain_lost_pages(&job.database);
            let mut answer = Answer::new(target_of(&job)?);
            let start = Instant::now();
            let items = repeat(&job, &mut answer)?;
            let elapsed = start.elapsed();
            if job.prints_answer() {
                Ok(())
            } else {
                print(&statistics(items, job.repeats, elapsed, answer.digest()))
            }
        }
    }
}

fn target_of(job: &Job) -> Result<Target> {
    match &job.output {
        None => Ok(Target::None),
        Some(_) if job.prints_answer() => Ok(Target::Stdout(Vec::new())),
        Some(path) => PartialFile::create(path).map(Target::File),
    }
}

/// The measured work: the whole job, so many times. Returns the items of all repeats.
fn repeat(job: &Job, answer: &mut Answer) -> Result<u64> {
    let mut items = 0;
    for _ in 0..job.repeats {
        items += query(job, answer).map_err(|e| e.in_file(&job.database.display().to_string()))?;
        answer.end_repeat()?;
    }
    Ok(items)
}

/// One repeat, from the raw file and the raw text of the query.
fn query(job: &Job, answer: &mut Answer) -> Result<u64> {
    let pager = Pager::open(&job.database)?;
    let select = parser::parse(&job.query)?;
    let table = match &select.from {
        Some(from) => Some(schema::load_table(&pager, &from.name)?),
        None => None,
    };
    let plan = planner::plan(&select, table.as_ref())?;
    executor::execute(&plan, &pager, job.format, answer)
}

fn statistics(items: u64, repeats: u64, elapsed: Duration, digest: u64) -> String {
    let seconds = elapsed.as_secs_f64();
    let per_second = if seconds > 0.0 { items as f64 / seconds } else { 0.0 };
    format!(
        "--- Statistics ---\n\
         Total processed: {items}\n\
         Processing time: {seconds:.6}s\n\
         Average latency: {:.6}ms\n\
         Throughput: {per_second:.2} items/sec\n\
         Digest: {digest:016x}\n",
        seconds * 1e3 / repeats as f64
    )
}

fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|e| Error::write("stdout", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_block() {
        let text = statistics(30, 3, Duration::from_millis(1500), 0xab);
        assert_eq!(
            text,
            "--- Statistics ---\nTotal processed: 30\nProcessing time: 1.500000s\nAverage latency: 500.000000ms\n\
             Throughput: 20.00 items/sec\nDigest: 00000000000000ab\n"
        );
    }
}
