//! rooms: users of a chat server, by a plan and by the clock, who check everything that they receive.
//!
//! usage: rooms --target HOST:PORT --plan FILE [--seconds S | --once] [--grace S]
//!        rooms --fanout HOST:PORT [--fault loses|doubles|swaps|garbles]
//!
//!   --target       where the server listens
//!   --plan         JSON: `protocol` (chat; broadcast, mqtt), path, room, `payload_bytes` of a text, and phases (name,
//!                  seconds, users [from, to], rate in messages a second of each user, `session_seconds` or null)
//!   --seconds      stretch or shrink the phases to so many seconds in all
//!   --once         a few users of the first phase for a moment: only to see whether everything is right
//!   --grace        how long to wait for the last replies (default 2)
//!   --fanout       no load: the plainest server that can be, to find the ceiling of this generator, and with a fault
//!                  to see that it finds one
//!
//! A phase goes linearly from its first number of users to its second: missing ones connect, surplus ones leave. With
//! `session_seconds` a user stays so long and a new one takes its place. Message j of user k is due at
//! t0 + (j + k / users) / rate, whatever the server does; latencies count from then. Those of the first phase join
//! before t0.
//!
//! A text carries its sender, the sender's count, its place among all messages and the time when it was due. So every
//! receiver can tell whether it is the right text, came once, and in the order of the room. An accepted message must
//! reach every other member; for those that were just joining or leaving it may (two bounds are reported).
//!
//! With `broadcast` a text goes as it is to everybody who is connected to path?room=..., with `mqtt` to everybody who
//! subscribed; it comes back to its sender, which is the answer. Without numbers of the server, each receiver must get
//! the texts of each sender in order.
//!
//! One line of JSON on stdout. Exit code 0 whenever the load ran, even if the server failed; 2 for bad usage; 1 when
//! no user could join. One thread and epoll, which is asked again and again instead of waited for.

mod clock;
mod fanout;
mod frame;
mod ledger;
mod message;
mod mqtt;
mod options;
mod plan;
mod protocol;
mod report;
mod run;
mod session;
mod stream;

use std::process::ExitCode;

fn main() -> ExitCode {
    match options::parse().and_then(|asked| work(&asked)) {
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

fn work(asked: &options::Options) -> Result<(), Problem> {
    match &asked.mode {
        options::Mode::Fanout { address, fault } => fanout::run(*address, *fault),
        options::Mode::Load { target, plan, grace } => {
            println!("{}", run::run(*target, plan, *grace)?);
            Ok(())
        }
    }
}
