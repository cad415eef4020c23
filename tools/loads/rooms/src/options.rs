//! The command line, parsed and checked once.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::Problem;
use crate::fanout::Fault;
use crate::plan::Plan;

/// What to do.
#[derive(Debug)]
pub enum Mode {
    /// Be the users of a plan.
    Load { target: SocketAddr, plan: Plan, grace: Duration },
    /// Be the server.
    Fanout { address: SocketAddr, fault: Fault },
}

/// What was asked for.
#[derive(Debug)]
pub struct Options {
    pub mode: Mode,
}

/// Parse the arguments of this process.
pub fn parse() -> Result<Options, Problem> {
    use lexopt::prelude::*;
    let (mut target, mut file, mut seconds, mut once) = (None, None, None::<f64>, false);
    let (mut address, mut fault, mut grace) = (None, Fault::None, 2.0_f64);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("target") => target = Some(value::<SocketAddr>(&mut parser)?),
            Long("plan") => file = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Long("seconds") => seconds = Some(value(&mut parser)?),
            Long("grace") => grace = value(&mut parser)?,
            Long("once") => once = true,
            Long("fanout") => address = Some(value::<SocketAddr>(&mut parser)?),
            Long("fault") => fault = value(&mut parser)?,
            Long("version") => {
                println!("rooms rust");
                std::process::exit(0);
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    if let Some(address) = address {
        return Ok(Options { mode: Mode::Fanout { address, fault } });
    }
    let plan = read(&file.ok_or_else(|| Problem::usage("--plan is missing"))?)?;
    let plan = match (once, seconds) {
        (true, None) => plan.once(),
        (false, None) => plan,
        (false, Some(seconds)) => plan.stretched(positive("--seconds", seconds)?),
        (true, Some(_)) => return Err(Problem::usage("--once takes no --seconds")),
    };
    let target = target.ok_or_else(|| Problem::usage("--target is missing"))?;
    Ok(Options { mode: Mode::Load { target, plan, grace: Duration::from_secs_f64(positive("--grace", grace)?) } })
}

fn read(file: &PathBuf) -> Result<Plan, Problem> {
    let text = fs::read_to_string(file).map_err(|error| Problem::usage(format!("{}: {error}", file.display())))?;
    Plan::parse(&text).map_err(|error| Problem::usage(format!("{}: {error}", file.display())))
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
    if number > 0.0 && number < 1e6 {
        Ok(number)
    } else {
        Err(Problem::usage(format!("{name} {number}: not a positive number")))
    }
}

#[allow(clippy::needless_pass_by_value)] // so that it fits map_err
fn usage(error: lexopt::Error) -> Problem {
    Problem::usage(error.to_string())
}
