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
dns-resolver: an iterative resolver with a cache, as a server or for a file of questions

usage: dns-resolver --listen HOST:PORT --hints FILE [options]
       dns-resolver --bulk QUERIES --hints FILE [options]

  --hints FILE             the servers of the root as a master file: NS records of . and
                           A and AAAA records of their names

Server mode:
  --listen HOST:PORT       answer UDP and TCP here; the host is an address or localhost,
                           port 0 is any free port
  --threads N              threads that do the work (default 1)
  --drain-timeout S        seconds for questions under way after SIGTERM or SIGINT (default 5)

Bulk mode, on one thread:
  --bulk QUERIES           a file with a name and a type on each line; - is standard input
  --in-flight N            questions under way at the same time (default 1000)
  --output PATH            write one line for each question, in their order; - is standard
                           output, then without statistics
  --repeats N              do the whole job N times, each from an empty cache (default 1)

How servers are asked:
  --port-of-servers N      the port they listen on (default 53)
  --bind ADDRESS           the address questions come from (default 127.0.0.1); from one of
                           IPv4 only such servers are asked, from :: all
  --ipv4-only              ask no server over IPv6, also with --bind ::
  --timeout S              seconds to wait at first (default 0.4); doubles with each retry,
                           up to 3
  --attempts N             tries without an answer for each set of servers (default 4)
  --max-queries N          questions to servers for one question of a client (default 100)
  --max-depth N            nested searches for addresses of servers (default 16)
  --edns-size N            bytes of the longest datagram from servers, 512 to 4096
                           (default 1232)
At most 12 aliases and 32 delegations are followed; what goes on is answered SERVFAIL.

Cache:
  --cache-bytes SIZE       its size, from 64kb to 16gb (default 64mb); k, m, g are 1000s,
                           kb, mb, gb 1024s
  --max-ttl S              seconds that records are kept at most (default 86400)
  --min-ttl S              seconds that records are kept at least (default 0)
  --negative-ttl-max S     seconds that is kept that there is nothing (default 3600)

  --help, --version        print this, or the version, and stop

When ready the server prints \"listening on HOST:PORT\". SIGTERM or SIGINT: it takes no more
questions, answers those under way, and ends; a second signal ends it at once. SIGUSR1 and
the end print a line of counters on standard error: queries of clients, hits and misses of
the cache, upstream queries to servers, timeouts of those, servfail answers, spoofed packets
that were ignored, queries over tcp, cache_entries and cache_bytes.

A line of --output is \"name. TYPE RCODE records\": the answer without times, names in lower
case, records separated by \" ; \" and sorted inside a set, - for none. Without --output -,
statistics and the XXH64 digest of the lines are printed.

Exit code: 0 done or ended as asked, 2 bad usage or bad input, 1 the machine failed.
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
    settings.sources.check()?;
    match &options.mode {
        Mode::Serve(place) => server::serve(options, place, roots),
        Mode::Bulk(bulk) => bulk::resolve_file(bulk, settings, &roots),
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
