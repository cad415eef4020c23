//! in-memory-kv-store is a server that clients of Redis take for Redis 7.0.
//!
//! One thread waits for all sockets (epoll), parses commands where they lie in the input buffer,
//! runs them on its own store and answers what came with one read by one write. The store is a
//! table that grows a bucket at a time, so no command waits for a rehash. Writes go to an
//! append-only file once per turn of the loop, before the replies leave.
//!
//! See `MANUAL` below for the options.

mod admin;
mod aof;
mod commands;
mod failure;
mod glob;
mod hashes;
mod keys;
mod lists;
mod memory;
mod numbers;
mod options;
mod resp;
mod server;
mod sets;
mod store;
mod strings;
mod zsets;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use failure::{Failure, Result, machine_failure};
use memory::CountingAllocator;
use options::{Request, parse_options};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MANUAL: &str = "\
in-memory-kv-store: an in-memory store that speaks the protocol of Redis 7.0 (RESP2)

usage: in-memory-kv-store --listen ADDRESS [options]
       in-memory-kv-store --check-aof PATH

  --listen ADDRESS       HOST:PORT (port 0: any free one) or unix:PATH; may be given again
  --threads N            threads that serve clients (default 1); more than one share the
                         store behind a lock
  --maxmemory BYTES      evict or refuse beyond this; units k, kb, m, mb, g, gb
                         (default 0: no limit)
  --maxmemory-policy P   noeviction (default), allkeys-lru, volatile-lru, allkeys-random,
                         volatile-ttl
  --appendonly PATH      log every change to this file, and replay it at the start
  --appendfsync WHEN     always: before the reply; everysec: once a second (default);
                         no: when the kernel likes
  --maxclients N         refuse more connections than this (default 10000)
  --drain-timeout SECS   how long SIGTERM waits for unfinished requests (default 5)
  --check-aof PATH       check an append-only file and stop
  --help, --version      print this, or the version, and stop

When it is ready it prints `listening on ADDRESS` for every address, in order. SIGTERM and
SIGINT end it when what is in flight is done, a second one at once.

There is one database. A value is at most 512 MiB, a query and a reply 1 GiB. MEMORY, INFO,
CONFIG GET and CLIENT LIST tell what an operator asks. BGREWRITEAOF forks: the child writes the
data set, the parent goes on serving.

Exit code: 0 done, 2 bad usage, bad input or a damaged file, 1 the machine failed.
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
    // When even this cannot be written, the exit code has to do.
    let _ = writeln!(std::io::stderr(), "error: {failure}");
}

fn run() -> Result<()> {
    match parse_options(std::env::args_os().skip(1))? {
        Request::Help => print_text(MANUAL),
        Request::Version => print_text("in-memory-kv-store rust\n"),
        Request::CheckLog(path) => check_log(&path),
        Request::Serve(options) => server::serve(&options),
    }
}

fn check_log(path: &Path) -> Result<()> {
    let contents = aof::read_log(path, |_| Ok(()))?;
    let tail = match contents.torn_bytes {
        0 => String::new(),
        torn => format!(
            ", {torn} bytes of an unfinished command at byte {}",
            contents.whole_bytes
        ),
    };
    print_text(&format!(
        "ok, {} commands{tail}
",
        contents.commands
    ))
}

fn print_text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| machine_failure(format!("standard output: {error}")))
}
