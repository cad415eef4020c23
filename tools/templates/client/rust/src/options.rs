//! The arguments, parsed and checked once.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::failure::{Failure, Result, bad_request, quote_value};

/// The path that stands for standard output.
pub const STANDARD_STREAM: &str = "-";

pub struct Options {
    pub server: SocketAddr,
    pub keys_path: PathBuf,
    pub pipeline: usize,
    pub output_path: Option<PathBuf>, // None: the answer is only digested
    pub repeats: u64,
}

/// What the arguments ask for.
pub enum Request {
    Help,
    Version,
    Run(Options),
}

const MAX_REPEATS: u64 = 1_000_000_000;
/// So many requests always fit into the buffers of a socket.
const MAX_PIPELINE: u64 = 64;

/// Reads --name value and --name=value.
pub fn parse_options(arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let mut options = Options {
        server: SocketAddr::from(([0, 0, 0, 0], 0)),
        keys_path: PathBuf::new(),
        pipeline: 1,
        output_path: None,
        repeats: 1,
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut parts = argument.as_bytes().splitn(2, |&byte| byte == b'=');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().map(<[u8]>::to_vec);
        let name = std::str::from_utf8(name).map_err(|_| unknown(name))?;
        match name {
            "--help" | "--version" if value.is_some() => {
                return Err(bad_request(format!("{name} takes no value")));
            }
            "--help" => return Ok(Request::Help),
            "--version" => return Ok(Request::Version),
            "--server" | "--keys" | "--pipeline" | "--output" | "--repeats" => {}
            _ => return Err(unknown(name.as_bytes())),
        }
        match value.or_else(|| arguments.next().map(OsString::into_vec)) {
            Some(value) => options.set(name, value)?,
            None => return Err(bad_request(format!("{name} needs a value"))),
        }
    }
    if options.server.port() == 0 {
        return Err(bad_request("--server is missing (see --help)"));
    }
    if options.keys_path.as_os_str().is_empty() {
        return Err(bad_request("--keys is missing (see --help)"));
    }
    Ok(Request::Run(options))
}

fn unknown(name: &[u8]) -> Box<Failure> {
    bad_request(format!(
        "unknown option: {} (see --help)",
        quote_value(name)
    ))
}

impl Options {
    fn set(&mut self, name: &str, value: Vec<u8>) -> Result<()> {
        match name {
            "--server" => self.server = address(name, &value)?,
            "--keys" => self.keys_path = path(name, value)?,
            "--output" => self.output_path = Some(path(name, value)?),
            "--pipeline" => self.pipeline = number(name, &value, MAX_PIPELINE)? as usize,
            _ => self.repeats = number(name, &value, MAX_REPEATS)?,
        }
        Ok(())
    }
}

/// A numeric host, in brackets if it is of IPv6, and a port.
fn address(name: &str, value: &[u8]) -> Result<SocketAddr> {
    let text = std::str::from_utf8(value).ok();
    match text.and_then(|text| text.parse::<SocketAddr>().ok()) {
        Some(address) if address.port() != 0 => Ok(address),
        _ => Err(bad_request(format!(
            "{name} {}: not HOST:PORT with a numeric host",
            quote_value(value)
        ))),
    }
}

fn path(name: &str, value: Vec<u8>) -> Result<PathBuf> {
    if value.is_empty() {
        return Err(bad_request(format!("{name} needs a value")));
    }
    Ok(OsString::from_vec(value).into())
}

/// A plain decimal from 1 to `most`.
fn number(name: &str, value: &[u8], most: u64) -> Result<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let parsed = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok());
    match parsed {
        Some(number) if digits && (1..=most).contains(&number) => Ok(number),
        _ => Err(bad_request(format!(
            "{name} {}: not a whole number from 1 to {most}",
            quote_value(value)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Request> {
        parse_options(arguments.iter().map(OsString::from))
    }

    #[test]
    fn both_ways_to_give_a_value() {
        let arguments = [
            "--server=[::1]:80",
            "--keys",
            "a=b",
            "--pipeline=3",
            "--repeats",
            "2",
        ];
        let Ok(Request::Run(options)) = parse(&arguments) else {
            panic!("sound arguments")
        };
        assert_eq!(options.server.to_string(), "[::1]:80");
        assert_eq!(options.keys_path, PathBuf::from("a=b"));
        assert_eq!((options.pipeline, options.repeats), (3, 2));
    }

    #[test]
    fn bad_usage_is_refused() {
        for (arguments, text) in [
            (&[][..], "--server is missing"),
            (&["--server"], "--server needs a value"),
            (&["--server", "nowhere"], "--server \"nowhere\""),
            (&["--server", "127.0.0.1:0"], "127.0.0.1:0"),
            (&["--server", "127.0.0.1:65536"], "65536"),
            (&["--server", "127.0.0.1:1"], "--keys is missing"),
            (&["--keys="], "--keys needs a value"),
            (&["--output="], "--output needs a value"),
            (&["--nonsense"], "unknown option: \"--nonsense\""),
            (&["--version=1"], "takes no value"),
            (&["--pipeline", "0"], "from 1 to 64"),
            (&["--pipeline", "65"], "--pipeline \"65\""),
            (&["--repeats", "x"], "--repeats \"x\""),
        ] {
            let Err(failure) = parse(arguments) else {
                panic!("{arguments:?} must fail")
            };
            assert!(failure.text.contains(text), "{arguments:?}: {failure}");
        }
    }
}
