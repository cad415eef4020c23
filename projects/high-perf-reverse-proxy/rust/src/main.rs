//! high-perf-reverse-proxy is an HTTP/1.1 reverse proxy that keeps every byte it need not change.
//!
//! One thread runs one event loop over epoll, edge triggered. A request head is checked by the strict
//! rules of RFC 9112 and copied with the few changed lines in between; bodies stream through one
//! buffer of the thread. A connection that waits holds no buffer, deadlines cost no system call, and
//! nothing is allocated for a request. There is no unsafe code.
//!
//! See `MANUAL` below for the options and for what is printed.

mod backend;
mod body;
mod client;
mod exchange;
mod failure;
mod head;
mod metrics;
mod options;
mod relay;
mod server;
mod socket;
mod timers;
mod tunnel;

use std::io::Write;
use std::process::ExitCode;

use failure::{Result, machine_failure};
use options::{Request, parse_options};

const MANUAL: &str = "\
high-perf-reverse-proxy: an HTTP/1.1 reverse proxy with pooled connections to its backends

usage: high-perf-reverse-proxy --listen HOST:PORT --backends HOST:PORT[,HOST:PORT...] [options]

  --listen HOST:PORT       where clients connect; port 0 is any free port
  --backends LIST          the servers behind it, at most 256, separated by commas; names are resolved once, at start
  --balance HOW            round-robin (default), least-connections (fewest requests under way), or
                           hash (rendezvous hashing of the client's address)
  --hash-header NAME       with --balance hash: hash this request header instead, where it is present
  --pool-size N            idle connections kept per backend (default 64)
  --max-connections N      client connections; more are answered 503 (default 10000)
  --threads N              threads that do the work (default 1)
  --admin HOST:PORT        a second listener with GET /metrics (Prometheus text) and GET /health

Time-outs, in seconds, fractions allowed:
  --connect-timeout S      to connect to a backend (default 1)
  --read-timeout S         between two reads from a backend (default 30)
  --idle-timeout S         for a client that sends or takes nothing (default 60)
  --header-timeout S       until a whole request head has come (default 10)
  --drain-timeout S        for requests under way after SIGTERM or SIGINT (default 5)

Limits:
  --max-header-bytes N     request line and headers (default 16384); beyond: 431, or 414
  --max-body-bytes N       body of a request, 0 is no limit (default 0); beyond: 413

Health:
  --health-path PATH       GET this path of every backend; without it there are no active checks
  --health-interval S      between two checks of a backend (default 2)
  --health-timeout S       for one check (default 1); 2xx and 3xx are good answers
  --rise N                 good checks in a row that bring a backend back (default 2)
  --fall N                 bad checks in a row that take a backend out (default 3)
  --max-fails N            failed requests in a row that eject a backend; 0 is never (default 3)
  --fail-timeout S         how long it stays ejected (default 10)
  --retries N              tries on other backends for a request that is safe to repeat (default 1)

  --help, --version        print this, or the version, and stop

Prints \"admin on HOST:PORT\" where --admin is given, then \"listening on HOST:PORT\".
SIGTERM or SIGINT: accepts no more, ends idle connections, finishes what is under way; a second signal ends at once.
Exit code: 0 done, 2 bad usage or bad input, 1 the machine failed.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log(&format!("error: {failure}"));
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run() -> Result<()> {
    match parse_options(std::env::args_os().skip(1))? {
        Request::Help => print_text(MANUAL),
        Request::Version => print_text("high-perf-reverse-proxy rust\n"),
        Request::Serve(options) => server::serve(*options),
    }
}

/// Writes to standard output at once.
fn print_text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| machine_failure("standard output", error))
}

/// A line for the operator. When even that cannot be written, there is nobody left to tell.
fn log(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
