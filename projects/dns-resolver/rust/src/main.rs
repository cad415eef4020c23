//! dns-resolver finds the answers of the DNS itself, from the servers of the root down.
//!
//! One thread runs one event loop over epoll. Requests come and answers go in batches of datagrams. A
//! question that was answered before is looked up by its name in lower case, and answered by the
//! bytes of the reply that is kept, with another id and shorter times to live. All others wait for
//! queries to servers, which are joined, limited and retried. Everything has a bound: the cache in
//! bytes, a question in queries, aliases and delegations in number.
//!
//! See `MANUAL` below for the options and for what is printed.

mod bulk;
mod cache;
mod canonical;
mod datagrams;
mod failure;
mod hints;
mod options;
mod output;
mod poll;
mod reading;
mod requests;
mod resolve;
mod server;
mod stats;
mod streams;
mod timers;
mod upstream;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use failure::{Result, machine_failure};
use options::{Mode, Options, Request, parse_options};

const MANUAL: &str = "\
dns-resolver: an iterative, caching DNS resolver

usage: dns-resolver --listen HOST:PORT --hints FILE [options]
       dns-resolver --bulk QUERIES --hints FILE [options]

  --listen HOST:PORT       where clients ask, over UDP and TCP; port 0 is any free port
  --hints FILE             the servers of the root: NS records of . and their A and AAAA records
  --bulk QUERIES           resolve a file with a name and a type on each line; - is standard input

For --bulk:
  --in-flight N            questions under way at once (default 1000)
  --output PATH            write the answers to PATH; - is standard output, without statistics
  --repeats N              do it N times, each with an empty cache (default 1)

How servers are asked:
  --port-of-servers N      the port that they listen on (default 53)
  --bind ADDRESS           the address to ask from, and so its family; :: is both (default 127.0.0.1)
  --ipv4-only              ask over IPv4 only, also with --bind ::
  --timeout S              seconds for the first try; doubles with each, up to 3 (default 0.4)
  --attempts N             tries without an answer before the servers of a zone are given up (default 4)
  --max-queries N          questions to servers for one question of a client (default 100)
  --max-depth N            names of servers that need names of servers, and so on (default 16)
  --edns-size N            bytes that we take in a datagram, 512 to 4096 (default 1232)
At most 12 aliases and 32 delegations are followed.

What is kept:
  --cache-bytes N          in all; units b, k, kb, m, mb, g, gb (default 64mb)
  --max-ttl S              seconds that records are kept at most (default 86400)
  --min-ttl S              seconds that records are kept at least (default 0)
  --negative-ttl-max S     seconds that is kept that there is nothing (default 3600)

  --threads N              threads that do the work (default 1)
  --drain-timeout S        seconds for requests under way after SIGTERM or SIGINT (default 5)
  --help, --version        print this, or the version, and stop

Prints \"listening on HOST:PORT\". SIGUSR1 writes a line of counters to standard error; so does the end.
SIGTERM or SIGINT: takes no more requests, finishes what is under way; a second signal ends at once.
With --bulk, prints statistics and the XXH64 digest of the answers: one line a question, in order,
names in lower case, records sorted, no times.
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
        Request::Version => print_text("dns-resolver rust\n"),
        Request::Run(options) => resolve(&options),
    }
}

fn resolve(options: &Options) -> Result<()> {
    let settings = &options.settings;
    let roots = hints::read_hints(&options.hints_path, &settings.sources)?;
    match &options.mode {
        Mode::Serve(place) => server::serve(options, place, roots),
        Mode::Bulk(bulk) => bulk::resolve_file(bulk, settings, &roots, options.threads),
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
