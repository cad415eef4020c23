//! pace: drives one server with requests from a script, checks every reply, and reports counts and latencies.
//!
//! usage: pace --target ADDRESS --protocol http|resp|memcached --script FILE --connections N
//!             (--once | --seconds S [--pipeline P | --rate R]) [--grace S]
//!        pace --target ADDRESS --wait S
//!
//!   --target       HOST:PORT or unix:PATH
//!   --script       requests and the replies that they must get (format: see script.rs)
//!   --once         send every request of the script once, in order, and end
//!   --seconds      closed loop for so long: each connection sends its next request when the last is answered
//!   --pipeline     requests in flight on each connection (closed loop, default 1)
//!   --rate         open loop: R requests a second by the clock, whatever the server does. A request that is due while
//!                  all connections wait is sent late and its latency counts from the time it was due
//!   --wait         until the target accepts a connection, at most so many seconds; no report
//!   --grace        how long to wait for the last replies (default 2)
//!
//! One line of JSON on stdout: what was offered, completed, mismatched, dropped, quantiles of latency in ns, how late
//! the generator itself was (`lag`: from the moment when a request was due and a connection free), and how long it
//! did not wait itself. Exit code 0 whenever the load ran, even if the server failed; 2 for bad usage; 1 when nothing could be sent.
//! One thread and epoll, which is asked again and again instead of waited for; no allocation while it runs.

mod clock;
mod connection;
mod options;
mod protocol;
mod report;
mod run;
mod script;

use std::process::ExitCode;

fn main() -> ExitCode {
    match options::parse().and_then(|asked| load(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {}", problem.message);
            ExitCode::from(problem.code)
        }
    }
}

/// What ends the program: a message and an exit code.
#[derive(Debug)]
pub struct Problem {
    message: String,
    code: u8,
}

impl Problem {
    /// Bad usage or bad input.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// The machine or the server failed before anything could be measured.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }
}

fn load(asked: &options::Options) -> Result<(), Problem> {
    if let options::Mode::Wait { seconds } = asked.mode {
        return connection::wait(&asked.target, seconds)
            .map_err(|error| Problem::failed(format!("{:?}: {error}", asked.target)));
    }
    let script = script::Script::read(&asked.script)?;
    let found = run::run(asked, &script)?;
    println!("{}", found.to_json(asked));
    Ok(())
}
