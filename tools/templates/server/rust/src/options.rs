//! The arguments, parsed and checked once.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use crate::failure::{Failure, Result, bad_request, quote_value};

#[derive(Debug)]
pub struct Options {
    pub listen: SocketAddr,
    /// As it was given.
    pub listen_text: String,
    pub threads: usize,
    pub max_connections: usize,
    pub idle_timeout: Duration,
    pub drain_timeout: Duration,
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Asked {
    Help,
    Version,
    Serve(Options),
}

const MAX_THREADS: u32 = 64;
const MAX_CONNECTIONS: u32 = 100_000;
const MAX_SECONDS: u32 = 86_400;

/// Reads --name value and --name=value.
pub fn parse_options(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked> {
    let mut listen = None;
    let mut options = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        listen_text: String::new(),
        threads: 1,
        max_connections: 10_000,
        idle_timeout: Duration::from_mins(1),
        drain_timeout: Duration::from_secs(5),
    };
    let mut arguments = arguments
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        match name {
            "--help" | "--version" if value.is_some() => {
                return Err(bad_request(format!("{name} takes no value")));
            }
            "--help" => return Ok(Asked::Help),
            "--version" => return Ok(Asked::Version),
            "--listen" | "--threads" | "--max-connections" | "--idle-timeout"
            | "--drain-timeout" => {}
            _ => return Err(unknown(name)),
        }
        let Some(value) = value.or_else(|| arguments.next()) else {
            return Err(bad_request(format!("{name} needs a value")));
        };
        match name {
            "--listen" => listen = Some((address(name, &value)?, value)),
            "--threads" => options.threads = number(name, &value, 1, MAX_THREADS)? as usize,
            "--max-connections" => {
                options.max_connections = number(name, &value, 1, MAX_CONNECTIONS)? as usize;
            }
            "--idle-timeout" => options.idle_timeout = seconds(name, &value, 1)?,
            _ => options.drain_timeout = seconds(name, &value, 0)?,
        }
    }
    match listen {
        Some((address, text)) => Ok(Asked::Serve(Options {
            listen: address,
            listen_text: text,
            ..options
        })),
        None => Err(bad_request("--listen is missing (see --help)")),
    }
}

fn unknown(name: &str) -> Failure {
    bad_request(format!(
        "unknown option: {} (see --help)",
        quote_value(name)
    ))
}

/// A numeric host, in brackets if it is of IPv6, or localhost; and a port.
fn address(name: &str, value: &str) -> Result<SocketAddr> {
    let parsed = match value.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse(),
        None => value.parse(),
    };
    parsed.map_err(|_| {
        let shown = quote_value(value);
        bad_request(format!("{name} {shown}: not HOST:PORT with a numeric host"))
    })
}

fn seconds(name: &str, value: &str, least: u32) -> Result<Duration> {
    let count = number(name, value, least, MAX_SECONDS)?;
    Ok(Duration::from_secs(count.into()))
}

/// A plain decimal from `least` to `most`.
fn number(name: &str, value: &str, least: u32, most: u32) -> Result<u32> {
    let has_only_digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(number) if has_only_digits && (least..=most).contains(&number) => Ok(number),
        _ => Err(bad_request(format!(
            "{name} {}: not a whole number from {least} to {most}",
            quote_value(value)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Asked> {
        parse_options(arguments.iter().map(OsString::from))
    }

    #[test]
    fn both_ways_to_give_a_value() {
        let arguments = [
            "--listen=localhost:80",
            "--threads",
            "3",
            "--drain-timeout=0",
        ];
        let Ok(Asked::Serve(options)) = parse(&arguments) else {
            panic!("sound arguments")
        };
        assert_eq!(options.listen.to_string(), "127.0.0.1:80");
        assert_eq!((options.threads, options.max_connections), (3, 10_000));
        assert_eq!(options.idle_timeout.as_secs(), 60);
        assert!(options.drain_timeout.is_zero());
    }

    #[test]
    fn bad_usage_is_refused() {
        for (arguments, text) in [
            (&[][..], "--listen is missing"),
            (&["--listen"], "--listen needs a value"),
            (&["--listen="], "--listen \"\": not HOST:PORT"),
            (&["--listen", "nowhere"], "--listen \"nowhere\""),
            (&["--listen", ":80"], "--listen \":80\""),
            (&["--listen", "127.0.0.1:65536"], "65536"),
            (&["--nonsense"], "unknown option: \"--nonsense\""),
            (&["--version=1"], "takes no value"),
            (&["--threads", "0"], "from 1 to 64"),
            (&["--threads", "x"], "--threads \"x\""),
            (&["--max-connections", "100001"], "from 1 to 100000"),
            (&["--idle-timeout", "0"], "from 1 to 86400"),
            (&["--drain-timeout", "-1"], "--drain-timeout \"-1\""),
            (&["--drain-timeout", "99999999999"], "from 0 to 86400"),
        ] {
            let failure = parse(arguments).expect_err("bad usage").to_string();
            assert!(failure.contains(text), "{arguments:?}: {failure}");
        }
    }
}
