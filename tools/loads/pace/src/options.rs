//! The command line, parsed and checked once.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::Problem;
use crate::connection::Target;
use crate::protocol::Protocol;

/// How requests are timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// No requests: only until the target accepts a connection.
    Wait { seconds: f64 },
    /// The whole script once.
    Once,
    /// As fast as replies come.
    Closed { seconds: f64 },
    /// By the clock.
    Open { seconds: f64, rate: f64 },
}

/// What was asked for.
#[derive(Debug)]
pub struct Options {
    pub target: Target,
    pub protocol: Protocol,
    pub script: PathBuf,
    pub connections: usize,
    pub pipeline: usize,
    pub mode: Mode,
    pub grace: Duration,
}

const CONNECTIONS_MAX: usize = 15_000;
const PIPELINE_MAX: usize = 10_000;

/// Parse the arguments of this process.
pub fn parse() -> Result<Options, Problem> {
    use lexopt::prelude::*;
    let (mut target, mut protocol, mut script) = (None, None, None);
    let (mut connections, mut pipeline, mut grace) = (1_usize, 1_usize, 2.0_f64);
    let (mut once, mut wait, mut seconds, mut rate) = (false, None::<f64>, None::<f64>, None::<f64>);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("target") => target = Some(value::<Target>(&mut parser)?),
            Long("protocol") => protocol = Some(value::<Protocol>(&mut parser)?),
            Long("script") => script = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Long("connections") => connections = value(&mut parser)?,
            Long("pipeline") => pipeline = value(&mut parser)?,
            Long("grace") => grace = value(&mut parser)?,
            Long("seconds") => seconds = Some(value(&mut parser)?),
            Long("rate") => rate = Some(value(&mut parser)?),
            Long("once") => once = true,
            Long("wait") => wait = Some(value(&mut parser)?),
            Long("version") => {
                println!("pace rust");
                std::process::exit(0);
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    let mode = match (once, wait, seconds, rate) {
        (true, None, None, None) => Mode::Once,
        (false, Some(seconds), None, None) => Mode::Wait { seconds: positive("--wait", seconds)? },
        (false, None, Some(seconds), None) => Mode::Closed { seconds: positive("--seconds", seconds)? },
        (false, None, Some(seconds), Some(rate)) => {
            Mode::Open { seconds: positive("--seconds", seconds)?, rate: positive("--rate", rate)? }
        }
        _ => return Err(Problem::usage("give --once, --wait, --seconds, or --seconds with --rate")),
    };
    let waits = matches!(mode, Mode::Wait { .. });
    if !(1..=CONNECTIONS_MAX).contains(&connections) {
        return Err(Problem::usage(format!("--connections {connections}: 1 to {CONNECTIONS_MAX}")));
    }
    if !(1..=PIPELINE_MAX).contains(&pipeline) {
        return Err(Problem::usage(format!("--pipeline {pipeline}: 1 to {PIPELINE_MAX}")));
    }
    Ok(Options {
        target: target.ok_or_else(|| Problem::usage("--target is missing"))?,
        protocol: protocol
            .or(waits.then_some(Protocol::Http))
            .ok_or_else(|| Problem::usage("--protocol is missing"))?,
        script: script.or(waits.then(PathBuf::new)).ok_or_else(|| Problem::usage("--script is missing"))?,
        connections,
        pipeline,
        mode,
        grace: Duration::from_secs_f64(positive("--grace", grace)?),
    })
}

fn value<T>(parser: &mut lexopt::Parser) -> Result<T, Problem>
where
    T: FromStr,
    T::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    use lexopt::ValueExt;
    parser.value().and_then(|text| text.parse()).map_err(usage)
}

fn positive(name: &str, number: f64) -> Result<f64, Problem> {
    if number > 0.0 && number < 1e9 {
        Ok(number)
    } else {
        Err(Problem::usage(format!("{name} {number}: not a positive number")))
    }
}

#[allow(clippy::needless_pass_by_value)] // so that it fits map_err
fn usage(error: lexopt::Error) -> Problem {
    Problem::usage(error.to_string())
}
