//! The arguments, parsed and checked once.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::aof::Fsync;
use crate::failure::{Result, bad_request, quote_value};
use crate::store::Policy;

/// Where to wait for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
pub struct Options {
    pub addresses: Vec<Address>,
    pub threads: usize,
    pub max_memory: usize, // 0: no limit
    pub policy: Policy,
    pub log_path: Option<PathBuf>,
    pub fsync: Fsync,
    pub max_clients: usize,
    pub drain_timeout: Duration,
}

/// What the arguments ask for.
pub enum Request {
    Help,
    Version,
    CheckLog(PathBuf),
    Serve(Options),
}

const MAX_THREADS: u64 = 1024;
const MAX_CLIENTS: u64 = 1_000_000;
const MAX_DRAIN_SECONDS: u64 = 1_000_000;

impl Default for Options {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            threads: 1,
            max_memory: 0,
            policy: Policy::NoEviction,
            log_path: None,
            fsync: Fsync::EverySecond,
            max_clients: 10_000,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// The options that take a value.
const NAMES: [&str; 9] = [
    "--listen",
    "--threads",
    "--maxmemory",
    "--maxmemory-policy",
    "--appendonly",
    "--appendfsync",
    "--maxclients",
    "--drain-timeout",
    "--check-aof",
];

/// Reads --name value and --name=value.
pub fn parse_options(arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let mut options = Options::default();
    let mut checked_log = None;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut parts = argument.as_bytes().splitn(2, |&byte| byte == b'=');
        let shown = parts.next().unwrap_or_default();
        let value = parts.next().map(<[u8]>::to_vec);
        let name = std::str::from_utf8(shown).unwrap_or_default();
        if matches!(name, "--help" | "--version") {
            return match (name, value) {
                (_, Some(_)) => Err(bad_request(format!("{name} takes no value"))),
                ("--help", None) => Ok(Request::Help),
                _ => Ok(Request::Version),
            };
        }
        if !NAMES.contains(&name) {
            let shown = quote_value(shown);
            return Err(bad_request(format!("unknown option: {shown} (see --help)")));
        }
        let value = value.or_else(|| arguments.next().map(OsString::into_vec));
        let value = value.filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| bad_request(format!("{name} needs a value")))?;
        if name == "--check-aof" {
            checked_log = Some(OsString::from_vec(value).into());
        } else {
            options.set(name, value)?;
        }
    }
    if let Some(path) = checked_log {
        return Ok(Request::CheckLog(path));
    }
    if options.addresses.is_empty() {
        return Err(bad_request("--listen is missing (see --help)"));
    }
    Ok(Request::Serve(options))
}

impl Options {
    fn set(&mut self, name: &str, value: Vec<u8>) -> Result<()> {
        match name {
            "--listen" => self.addresses.push(parse_address(name, &value)?),
            "--threads" => self.threads = number(name, &value, 1, MAX_THREADS)? as usize,
            "--maxmemory" => {
                let bytes = parse_memory(&value);
                self.max_memory = bytes.ok_or_else(|| {
                    refused(
                        name,
                        &value,
                        "not a number of bytes (units: k, kb, m, mb, g, gb)",
                    )
                })?;
            }
            "--maxmemory-policy" => self.policy = one_of(name, &value, &Policy::ALL)?,
            "--appendonly" => self.log_path = Some(OsString::from_vec(value).into()),
            "--appendfsync" => self.fsync = one_of(name, &value, &Fsync::ALL)?,
            "--maxclients" => self.max_clients = number(name, &value, 1, MAX_CLIENTS)? as usize,
            _ => {
                let seconds = number(name, &value, 0, MAX_DRAIN_SECONDS)?;
                self.drain_timeout = Duration::from_secs(seconds);
            }
        }
        Ok(())
    }
}

fn refused(name: &str, value: &[u8], why: &str) -> Box<crate::failure::Failure> {
    bad_request(format!("{name} {}: {why}", quote_value(value)))
}

/// HOST:PORT, where the host may be a name, or unix:PATH.
fn parse_address(name: &str, value: &[u8]) -> Result<Address> {
    if let Some(path) = value.strip_prefix(b"unix:") {
        if path.is_empty() {
            return Err(refused(name, value, "no path behind unix:"));
        }
        return Ok(Address::Unix(OsString::from_vec(path.to_vec()).into()));
    }
    let text = std::str::from_utf8(value).unwrap_or_default();
    let found = text
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next());
    found
        .map(Address::Tcp)
        .ok_or_else(|| refused(name, value, "not HOST:PORT or unix:PATH"))
}

/// Bytes with a unit as Redis reads them: kb is 1024, k is 1000.
pub fn parse_memory(text: &[u8]) -> Option<usize> {
    let digits = text
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number = match number {
        b"" => 0, // as Redis takes it
        digits => std::str::from_utf8(digits).ok()?.parse::<usize>().ok()?,
    };
    number.checked_mul(factor)
}

fn one_of<T: Copy>(name: &str, value: &[u8], allowed: &[(&str, T)]) -> Result<T> {
    let found = allowed.iter().find(|(text, _)| text.as_bytes() == value);
    found.map(|&(_, meaning)| meaning).ok_or_else(|| {
        let texts: Vec<_> = allowed.iter().map(|&(text, _)| text).collect();
        refused(name, value, &format!("not one of {}", texts.join(", ")))
    })
}

/// A plain decimal between two bounds.
fn number(name: &str, value: &[u8], least: u64, most: u64) -> Result<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok();
    match text.and_then(|text| text.parse().ok()) {
        Some(number) if digits && (least..=most).contains(&number) => Ok(number),
        _ => Err(refused(
            name,
            value,
            &format!("not a whole number from {least} to {most}"),
        )),
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
            "--listen=127.0.0.1:0",
            "--listen",
            "unix:/tmp/a=b",
            "--maxmemory=1mb",
        ];
        let Ok(Request::Serve(options)) = parse(&arguments) else {
            panic!("sound arguments")
        };
        let expected = [
            Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            Address::Unix("/tmp/a=b".into()),
        ];
        assert_eq!(options.addresses, expected);
        assert_eq!(options.max_memory, 1 << 20);
    }

    #[test]
    fn memory_as_redis_reads_it() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("100b", Some(100)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("2m", Some(2_000_000)),
            ("2Mb", Some(2 << 20)),
            ("1g", Some(1_000_000_000)),
            ("1gb", Some(1 << 30)),
            ("", Some(0)),
            ("-1", None),
            ("1.5gb", None),
            ("1xb", None),
            ("99999999999999999999", None),
            ("18446744073709551615gb", None),
        ] {
            assert_eq!(parse_memory(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn bad_usage_is_refused() {
        for (arguments, text) in [
            (&["--nonsense"][..], "unknown option: \"--nonsense\""),
            (&["f"], "unknown option: \"f\""),
            (&[], "--listen is missing"),
            (&["--listen"], "--listen needs a value"),
            (&["--listen="], "--listen needs a value"),
            (&["--listen", "nowhere"], "\"nowhere\": not HOST:PORT"),
            (&["--listen", "127.0.0.1:70000"], "\"127.0.0.1:70000\""),
            (&["--listen", "unix:"], "no path"),
            (&["--threads", "0"], "--threads \"0\": not a whole number"),
            (&["--threads", "+1"], "not a whole number"),
            (&["--maxmemory", "lots"], "\"lots\": not a number of bytes"),
            (&["--maxmemory-policy", "fifo"], "not one of volatile-lru"),
            (
                &["--appendfsync", "sometimes"],
                "not one of always, everysec, no",
            ),
            (&["--maxclients", "0"], "not a whole number"),
            (&["--drain-timeout", "x"], "not a whole number"),
            (&["--help=1"], "takes no value"),
        ] {
            let Err(failure) = parse(arguments) else {
                panic!("{arguments:?} must fail")
            };
            assert!(failure.text.contains(text), "{arguments:?}: {failure}");
        }
    }
}
