//! websocket-public-chat is a chat server: rooms, members, messages to everyone else, over WebSocket.
//!
//! One thread runs one task a connection (tokio). HTTP and the protocol are those of Axum. A message
//! is encoded once, into text that all receivers share; what waits for a client leaves with one
//! system call; an idle client holds no buffer of size.
//!
//! See `MANUAL` below for the options.

mod bucket;
mod client;
mod connection;
mod failure;
mod frame;
mod http;
mod json;
mod message;
mod metrics;
mod options;
mod room;
mod server;
mod session;
mod socket;
mod texts;
mod upgrade;
mod walk;

use std::io::Write;
use std::process::ExitCode;

use failure::{Result, machine_failure};
use options::{Request, parse_options};

const MANUAL: &str = "\
websocket-public-chat: a public chat server over WebSocket

usage: websocket-public-chat --listen HOST:PORT [options]

  --listen HOST:PORT       where clients connect; port 0 is any free port
  --threads N              threads that do the work (default 1)
  --drain-timeout SECONDS  for clients to take what waits after SIGTERM or SIGINT (default 5)

Limits:
  --queue N                messages that may wait for one client, also at most 1 MiB (default 1024);
                           beyond: closed with 1013
  --rate N                 chat messages a second for each connection (default 10); 0 is no limit
  --burst N                messages that may come at once (default 20)
  --max-message-bytes N    a message with all its fragments (default 4096); beyond: closed with 1009
  --max-connections N      WebSockets at a time (default 10000); beyond: 503
  --origins LIST           origins that may connect, separated by commas (default: all); others: 403

Times, in seconds, fractions allowed:
  --ping-interval SECONDS  a client that was silent for so long gets a ping (default 20)
  --ping-timeout SECONDS   and is cut when nothing comes for so long after it (default 10)
  --join-timeout SECONDS   for a client to join a room (default 10); beyond: closed with 1008

Other:
  --history N              last messages of a room for who joins (default 0)
  --echo                   /echo sends every message back, for protocol test suites
  --help, --version        print this, or the version, and stop

GET /chat becomes a WebSocket; GET /health says ok; GET /metrics is Prometheus text.
Prints \"listening on HOST:PORT\" when it is ready.
SIGTERM or SIGINT: accepts no more, writes what waits, closes with 1001; a second signal ends at once.
Exit code: 0 done, 2 bad usage or bad input, 1 the machine failed.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // When even this cannot be written, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run() -> Result<()> {
    match parse_options(std::env::args_os().skip(1))? {
        Request::Help => print_text(MANUAL),
        Request::Version => print_text("websocket-public-chat rust\n"),
        Request::Serve(options) => server::serve(*options),
    }
}

/// Writes to standard output at once.
fn print_text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| machine_failure("standard output", &error))
}
