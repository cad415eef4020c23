//! The arguments, parsed and checked once.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::failure::{Failure, Result, bad_request, quote_value};
use crate::head::is_token_byte;

/// How a backend is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    LeastConnections,
    Hash,
}

/// An address as it was given, and as it was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    pub address: SocketAddr,
}

/// Times are in whole milliseconds.
#[derive(Debug)]
pub struct Options {
    pub listen: Place,
    pub admin: Option<Place>,
    pub backends: Vec<Place>,
    pub balance: Balance,
    pub hash_header: Option<String>,
    pub pool_size: usize,
    pub max_connections: u64,
    pub threads: usize,
    pub connect_timeout_ms: u64,
    pub read_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub header_timeout_ms: u64,
    pub drain_timeout_ms: u64,
    pub max_header_bytes: usize,
    pub max_body_bytes: u64, // u64::MAX: no limit
    pub health_path: Option<String>,
    pub health_interval_ms: u64,
    pub health_timeout_ms: u64,
    pub rise: u32,
    pub fall: u32,
    pub max_fails: u32, // 0: never eject
    pub fail_timeout_ms: u64,
    pub retries: u32,
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Request {
    Help,
    Version,
    Serve(Box<Options>),
}

const MAX_BACKENDS: usize = 256;
const MAX_THREADS: u64 = 1024;
const MAX_POOL_SIZE: u64 = 65_536;
const MAX_CONNECTIONS: u64 = 1_000_000;
const MAX_HEADER_BYTES: u64 = 1 << 20;
const MAX_IN_A_ROW: u64 = 1_000_000;
const MAX_RETRIES: u64 = 100;
const MAX_SECONDS: f64 = 1_000_000.0;

/// Reads --name value and --name=value; where an option stands twice, the last one counts.
pub fn parse_options(arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let mut draft = Draft::default();
    let mut arguments = arguments.into_iter().map(text_of);
    while let Some(argument) = arguments.next() {
        let argument = argument?;
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        match name {
            "--help" | "--version" if value.is_some() => {
                return Err(bad_request(format!("{name} takes no value")));
            }
            "--help" => return Ok(Request::Help),
            "--version" => return Ok(Request::Version),
            _ if !NAMES.contains(&name) => {
                return Err(bad_request(format!(
                    "unknown option: {} (see --help)",
                    quote_value(name)
                )));
            }
            _ => {}
        }
        let value = match value {
            Some(value) => value,
            None => arguments
                .next()
                .unwrap_or_else(|| Err(bad_request(format!("{name} needs a value"))))?,
        };
        draft.set(name, &value)?;
    }
    draft
        .finish()
        .map(|options| Request::Serve(Box::new(options)))
}

fn text_of(argument: OsString) -> Result<String> {
    argument.into_string().map_err(|argument| {
        let shown = quote_value(&argument.to_string_lossy());
        bad_request(format!("argument {shown}: not UTF-8"))
    })
}

/// The options that take a value.
const NAMES: [&str; 23] = [
    "--listen",
    "--admin",
    "--backends",
    "--balance",
    "--hash-header",
    "--pool-size",
    "--max-connections",
    "--threads",
    "--connect-timeout",
    "--read-timeout",
    "--idle-timeout",
    "--header-timeout",
    "--drain-timeout",
    "--max-header-bytes",
    "--max-body-bytes",
    "--health-path",
    "--health-interval",
    "--health-timeout",
    "--rise",
    "--fall",
    "--max-fails",
    "--fail-timeout",
    "--retries",
];

/// Options that may still lack what must be given.
struct Draft {
    listen: Option<Place>,
    options: Options,
}

impl Default for Draft {
    fn default() -> Self {
        let nowhere = Place {
            name: String::new(),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        };
        let options = Options {
            listen: nowhere,
            admin: None,
            backends: Vec::new(),
            balance: Balance::RoundRobin,
            hash_header: None,
            pool_size: 64,
            max_connections: 10_000,
            threads: 1,
            connect_timeout_ms: 1_000,
            read_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            header_timeout_ms: 10_000,
            drain_timeout_ms: 5_000,
            max_header_bytes: 16_384,
            max_body_bytes: u64::MAX,
            health_path: None,
            health_interval_ms: 2_000,
            health_timeout_ms: 1_000,
            rise: 2,
            fall: 3,
            max_fails: 3,
            fail_timeout_ms: 10_000,
            retries: 1,
        };
        Self {
            listen: None,
            options,
        }
    }
}

impl Draft {
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let options = &mut self.options;
        let count = |least, most| whole_number(name, value, least, most);
        match name {
            "--listen" => self.listen = Some(place(name, value, 0)?),
            "--admin" => options.admin = Some(place(name, value, 0)?),
            "--backends" => options.backends = backend_list(name, value)?,
            "--balance" => options.balance = balance(name, value)?,
            "--hash-header" => options.hash_header = Some(header_name(name, value)?),
            "--pool-size" => options.pool_size = count(0, MAX_POOL_SIZE)? as usize,
            "--max-connections" => options.max_connections = count(1, MAX_CONNECTIONS)?,
            "--threads" => options.threads = count(1, MAX_THREADS)? as usize,
            "--connect-timeout" => options.connect_timeout_ms = milliseconds(name, value, 1)?,
            "--read-timeout" => options.read_timeout_ms = milliseconds(name, value, 1)?,
            "--idle-timeout" => options.idle_timeout_ms = milliseconds(name, value, 1)?,
            "--header-timeout" => options.header_timeout_ms = milliseconds(name, value, 1)?,
            "--drain-timeout" => options.drain_timeout_ms = milliseconds(name, value, 0)?,
            "--max-header-bytes" => options.max_header_bytes = count(1, MAX_HEADER_BYTES)? as usize,
            "--max-body-bytes" => {
                let bytes = count(0, i64::MAX.unsigned_abs())?;
                options.max_body_bytes = if bytes == 0 { u64::MAX } else { bytes };
            }
            "--health-path" => options.health_path = Some(health_path(name, value)?),
            "--health-interval" => options.health_interval_ms = milliseconds(name, value, 1)?,
            "--health-timeout" => options.health_timeout_ms = milliseconds(name, value, 1)?,
            "--rise" => options.rise = count(1, MAX_IN_A_ROW)? as u32,
            "--fall" => options.fall = count(1, MAX_IN_A_ROW)? as u32,
            "--max-fails" => options.max_fails = count(0, MAX_IN_A_ROW)? as u32,
            "--fail-timeout" => options.fail_timeout_ms = milliseconds(name, value, 1)?,
            _ => options.retries = count(0, MAX_RETRIES)? as u32,
        }
        Ok(())
    }

    /// Looks at what the options must be together.
    fn finish(self) -> Result<Options> {
        let Some(listen) = self.listen else {
            return Err(bad_request("--listen is missing (see --help)"));
        };
        if self.options.backends.is_empty() {
            return Err(bad_request("--backends is missing (see --help)"));
        }
        if let Some(header) = &self.options.hash_header
            && self.options.balance != Balance::Hash
        {
            let shown = quote_value(header);
            return Err(bad_request(format!(
                "--hash-header {shown}: only with --balance hash"
            )));
        }
        Ok(Options {
            listen,
            ..self.options
        })
    }
}

/// Why a value is not taken.
fn refused(name: &str, value: &str, why: &str) -> Failure {
    bad_request(format!("{name} {}: {why}", quote_value(value)))
}

fn backend_list(name: &str, value: &str) -> Result<Vec<Place>> {
    let mut backends: Vec<Place> = Vec::new();
    for part in value.split(',') {
        let backend = place(name, part, 1)?;
        if backends.iter().any(|other| other.name == backend.name) {
            return Err(refused(name, part, "given twice"));
        }
        if backends.len() == MAX_BACKENDS {
            return Err(bad_request(format!(
                "{name}: more than {MAX_BACKENDS} backends"
            )));
        }
        backends.push(backend);
    }
    Ok(backends)
}

/// HOST:PORT or `[IPv6]:PORT`, with a port from `least_port` on, resolved.
fn place(name: &str, value: &str, least_port: u16) -> Result<Place> {
    let bad = |why: &str| refused(name, value, why);
    let (host, port) = value.rsplit_once(':').ok_or_else(|| bad("not HOST:PORT"))?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_odd = |character: char| {
        character.is_whitespace() || character.is_control() || "/@,[]".contains(character)
    };
    let bare_host = bare.unwrap_or(host);
    if bare_host.is_empty() || bare_host.contains(is_odd) || (bare.is_none() && host.contains(':'))
    {
        return Err(bad("not HOST:PORT"));
    }
    let number = port
        .parse()
        .ok()
        .filter(|&number: &u16| number >= least_port && is_digits(port));
    let number = number.ok_or_else(|| {
        bad(&format!(
            "the port is not a number from {least_port} to 65535"
        ))
    })?;
    let found = (bare_host, number).to_socket_addrs();
    let found: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
    let preferred = found.iter().find(|address| address.is_ipv4());
    let address = preferred.or(found.first());
    let address = address.ok_or_else(|| bad("cannot resolve the name"))?;
    Ok(Place {
        name: value.to_owned(),
        address: *address,
    })
}

fn balance(name: &str, value: &str) -> Result<Balance> {
    match value {
        "round-robin" => Ok(Balance::RoundRobin),
        "least-connections" => Ok(Balance::LeastConnections),
        "hash" => Ok(Balance::Hash),
        _ => Err(refused(
            name,
            value,
            "not one of round-robin, least-connections, hash",
        )),
    }
}

fn header_name(name: &str, value: &str) -> Result<String> {
    if value.is_empty() || !value.bytes().all(is_token_byte) {
        return Err(refused(name, value, "not the name of a header"));
    }
    Ok(value.to_owned())
}

fn health_path(name: &str, value: &str) -> Result<String> {
    if !value.starts_with('/') || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused(name, value, "not a path that starts with /"));
    }
    Ok(value.to_owned())
}

fn is_digits(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn whole_number(name: &str, value: &str, least: u64, most: u64) -> Result<u64> {
    let number = value
        .parse()
        .ok()
        .filter(|number| is_digits(value) && (least..=most).contains(number));
    number.ok_or_else(|| {
        refused(
            name,
            value,
            &format!("not a whole number from {least} to {most}"),
        )
    })
}

/// Seconds as a plain decimal such as 2 or 0.25.
fn milliseconds(name: &str, value: &str, least_ms: u64) -> Result<u64> {
    let is_plain = value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = value
        .parse()
        .ok()
        .filter(|seconds| is_plain && *seconds <= MAX_SECONDS);
    let rounded = seconds.map(|seconds: f64| whole_ms(seconds));
    rounded.filter(|&ms| ms >= least_ms).ok_or_else(|| {
        let least = if least_ms == 0 { "0" } else { "0.001" };
        refused(
            name,
            value,
            &format!("not a number of seconds from {least} to {MAX_SECONDS}"),
        )
    })
}

#[expect(
    clippy::cast_sign_loss,
    reason = "the seconds are plain digits and bounded"
)]
fn whole_ms(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
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
            "--backends",
            "127.0.0.1:9001,[::1]:9002",
            "--idle-timeout=0.25",
            "--max-body-bytes",
            "0",
            "--balance=hash",
            "--hash-header",
            "X-User",
        ];
        let Ok(Request::Serve(options)) = parse(&arguments) else {
            panic!("sound arguments")
        };
        assert_eq!(options.listen.address.port(), 0);
        assert_eq!(options.backends[1].name, "[::1]:9002");
        assert_eq!(
            options.backends[1].address,
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9002))
        );
        assert_eq!(
            (options.idle_timeout_ms, options.max_body_bytes),
            (250, u64::MAX)
        );
        assert_eq!(
            (options.balance, options.hash_header.as_deref()),
            (Balance::Hash, Some("X-User"))
        );
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        assert!(matches!(parse(&["--version"]), Ok(Request::Version)));
        assert!(matches!(
            parse(&["--threads", "2", "--help"]),
            Ok(Request::Help)
        ));
    }

    #[test]
    fn bad_usage_is_refused() {
        let sound = ["--listen=127.0.0.1:0", "--backends=127.0.0.1:1"];
        for (argument, text) in [
            ("--nonsense", "unknown option: \"--nonsense\""),
            ("file", "unknown option: \"file\""),
            ("--help=1", "--help takes no value"),
            ("--retries", "--retries needs a value"),
            ("--listen=8080", "--listen \"8080\": not HOST:PORT"),
            ("--listen=::1:80", "not HOST:PORT"),
            (
                "--listen=h:65536",
                "the port is not a number from 0 to 65535",
            ),
            ("--listen=h:+1", "the port is not a number"),
            (
                "--backends=127.0.0.1:0",
                "the port is not a number from 1 to 65535",
            ),
            ("--backends=", "--backends \"\": not HOST:PORT"),
            ("--backends=127.0.0.1:1,", "not HOST:PORT"),
            ("--backends=127.0.0.1:1,127.0.0.1:1", "given twice"),
            ("--balance=random", "not one of round-robin"),
            ("--hash-header=X-A", "only with --balance hash"),
            ("--hash-header=X A", "not the name of a header"),
            ("--threads=0", "not a whole number from 1 to 1024"),
            ("--pool-size=-1", "not a whole number"),
            ("--pool-size=1e3", "not a whole number"),
            (
                "--idle-timeout=0",
                "not a number of seconds from 0.001 to 1000000",
            ),
            ("--idle-timeout=inf", "not a number of seconds"),
            ("--idle-timeout=.", "not a number of seconds"),
            ("--idle-timeout=1e9", "not a number of seconds"),
            ("--health-path=x", "not a path that starts with /"),
        ] {
            let arguments: Vec<_> = sound.iter().copied().chain([argument]).collect();
            let failure = parse(&arguments).expect_err(argument);
            assert_eq!(failure.exit_code, 2, "{argument}");
            assert!(failure.to_string().contains(text), "{argument}: {failure}");
        }
        assert!(
            parse(&sound[..1])
                .expect_err("no backends")
                .to_string()
                .contains("--backends is missing")
        );
        assert!(
            parse(&sound[1..])
                .expect_err("no address")
                .to_string()
                .contains("--listen is missing")
        );
    }
}
