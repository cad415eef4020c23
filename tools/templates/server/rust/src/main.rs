//! @@slug@@ hashes what it is asked for: GET /hash/TEXT answers the XXH64 of TEXT.
//!
//! Each thread runs one event loop over epoll, edge triggered. Requests are parsed in place, and
//! the replies to all requests of one read leave in one write. Nothing is allocated for a request.
//!
//! See `MANUAL` below for the options and for what is answered.

mod failure;
mod metrics;
mod options;
mod reply;
mod request;
mod server;

use std::io::Write;
use std::process::ExitCode;

use failure::{Result, machine_failure};
use options::{Asked, parse_options};

const MANUAL: &str = "\
@@title_quoted_inside@@

usage: @@slug@@ --listen HOST:PORT [options]

  --listen HOST:PORT   where clients connect: a numeric host or localhost; port 0 is any free port
  --threads N          threads that do the work (default 1, at most 64)
  --max-connections N  connections at a time; more are closed at once (default 10000, at most 100000)
  --idle-timeout S     seconds for a client to send its next request and to take its replies (default 60)
  --drain-timeout S    seconds for requests under way after SIGTERM or SIGINT (default 5)
  --help, --version    print this, or the version, and stop

GET /hash/TEXT answers the XXH64 of TEXT as 16 hexadecimal digits. TEXT is one segment of a path, taken as it
stands in the request line, percent signs included; a query behind it is not part of it.
GET /metrics answers counters in the text format of Prometheus.

HTTP/1.1 with keep-alive and pipelining; HTTP/1.0 is answered and closed. A request line has at most 4096 bytes
(else 414), a head at most 8192 (else 431), and a request no body.

Prints \"listening on HOST:PORT\" when it is ready. SIGTERM or SIGINT: accepts no more, finishes what is under way;
a second signal ends at once.
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
        Asked::Help => print_text(MANUAL),
        Asked::Version => print_text("@@slug@@ rust\n"),
        Asked::Serve(options) => server::serve(options),
    }
}

/// Writes to standard output at once.
fn print_text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| machine_failure("standard output", &error))
}

/// A line for the operator. When even that cannot be written, there is nobody left to tell.
fn log(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
