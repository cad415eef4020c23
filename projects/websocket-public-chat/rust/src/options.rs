//! The arguments, parsed and checked once.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::failure::{Failure, Result, bad_request, quote_value};

#[derive(Debug, Clone)]
pub struct Options {
    pub listen: SocketAddr,
    pub listen_text: String, // as it was given, for messages
    pub threads: usize,
    pub drain_timeout: Duration,
    pub queue: usize,
    pub rate: f64, // chat messages a second; 0: no limit
    pub burst: u32,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub join_timeout: Duration,
    pub max_message_bytes: usize,
    pub max_connections: usize,
    pub history: usize,
    pub origins: Option<Vec<String>>,
    pub echo: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            listen_text: String::new(),
            threads: 1,
            drain_timeout: Duration::from_secs(5),
            queue: 1024,
            rate: 10.0,
            burst: 20,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            join_timeout: Duration::from_secs(10),
            max_message_bytes: 4096,
            max_connections: 10_000,
            history: 0,
            origins: None,
            echo: false,
        }
    }
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Request {
    Help,
    Version,
    Serve(Box<Options>),
}

const MAX_THREADS: u64 = 1024;
const MAX_QUEUE: u64 = 1_000_000;
const MAX_BURST: u64 = 1_000_000;
const MAX_MESSAGE_BYTES: u64 = 16 << 20;
const MAX_CONNECTIONS: u64 = 1_000_000;
const MAX_HISTORY: u64 = 10_000;
const MAX_RATE: f64 = 1_000_000.0;
const MAX_SECONDS: f64 = 1_000_000.0;

/// The options that take a value.
const NAMES: [&str; 13] = [
    "--listen",
    "--threads",
    "--drain-timeout",
    "--queue",
    "--rate",
    "--burst",
    "--ping-interval",
    "--ping-timeout",
    "--join-timeout",
    "--max-message-bytes",
    "--max-connections",
    "--history",
    "--origins",
];

/// Reads --name value and --name=value; where an option stands twice, the last one counts.
pub fn parse_options(arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter().map(text_of);
    while let Some(argument) = arguments.next() {
        let argument = argument?;
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        match name {
            "--help" | "--version" | "--echo" if value.is_some() => {
                return Err(bad_request(format!("{name} takes no value")));
            }
            "--help" => return Ok(Request::Help),
            "--version" => return Ok(Request::Version),
            "--echo" => {
                options.echo = true;
                continue;
            }
            _ if !NAMES.contains(&name) => {
                let shown = quote_value(name);
                return Err(bad_request(format!("unknown option: {shown} (see --help)")));
            }
            _ => {}
        }
        let value = match value {
            Some(value) => value,
            None => arguments
                .next()
                .unwrap_or_else(|| Err(bad_request(format!("{name} needs a value"))))?,
        };
        options.set(name, value)?;
    }
    if options.listen_text.is_empty() {
        return Err(bad_request("--listen is missing (see --help)"));
    }
    Ok(Request::Serve(Box::new(options)))
}

fn text_of(argument: OsString) -> Result<String> {
    argument.into_string().map_err(|argument| {
        let shown = quote_value(&argument.to_string_lossy());
        bad_request(format!("argument {shown}: not UTF-8"))
    })
}

impl Options {
    fn set(&mut self, name: &str, value: String) -> Result<()> {
        let count = |least, most| whole_number(name, &value, least, most);
        match name {
            "--listen" => {
                self.listen = address(name, &value)?;
                self.listen_text = value;
            }
            "--threads" => self.threads = count(1, MAX_THREADS)?,
            "--drain-timeout" => self.drain_timeout = seconds(name, &value, true)?,
            "--queue" => self.queue = count(1, MAX_QUEUE)?,
            "--rate" => self.rate = decimal(name, &value, MAX_RATE)?,
            "--burst" => self.burst = count(1, MAX_BURST)? as u32,
            "--ping-interval" => self.ping_interval = seconds(name, &value, false)?,
            "--ping-timeout" => self.ping_timeout = seconds(name, &value, false)?,
            "--join-timeout" => self.join_timeout = seconds(name, &value, false)?,
            "--max-message-bytes" => self.max_message_bytes = count(1, MAX_MESSAGE_BYTES)?,
            "--max-connections" => self.max_connections = count(1, MAX_CONNECTIONS)?,
            "--history" => self.history = count(0, MAX_HISTORY)?,
            _ => self.origins = Some(origins(name, &value)?),
        }
        Ok(())
    }
}

/// Why a value is not taken.
fn refused(name: &str, value: &str, why: &str) -> Failure {
    bad_request(format!("{name} {}: {why}", quote_value(value)))
}

/// HOST:PORT or `[IPv6]:PORT`, resolved.
fn address(name: &str, value: &str) -> Result<SocketAddr> {
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
    let number: u16 = port
        .parse()
        .ok()
        .filter(|_| is_digits(port))
        .ok_or_else(|| bad("the port is not a number from 0 to 65535"))?;
    let found = (bare_host, number).to_socket_addrs().ok();
    found
        .and_then(|mut all| all.next())
        .ok_or_else(|| bad("cannot resolve the name"))
}

/// Origins as browsers send them, separated by commas.
fn origins(name: &str, value: &str) -> Result<Vec<String>> {
    let parts = value.split(',').map(|part| {
        let is_origin = part.split_once("://").is_some_and(|(scheme, host)| {
            let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            let is_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@".contains(&byte);
            !scheme.is_empty()
                && scheme.bytes().all(is_scheme)
                && !host.is_empty()
                && host.bytes().all(is_host)
        });
        if is_origin {
            Ok(part.to_owned())
        } else {
            Err(refused(
                name,
                part,
                "not an origin such as https://a.example",
            ))
        }
    });
    parts.collect()
}

fn is_digits(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn whole_number(name: &str, value: &str, least: u64, most: u64) -> Result<usize> {
    let number: Option<u64> = value.parse().ok().filter(|_| is_digits(value));
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(number as usize),
        _ => {
            let why = format!("not a whole number from {least} to {most}");
            Err(refused(name, value, &why))
        }
    }
}

/// A plain decimal such as 2 or 0.25.
fn decimal(name: &str, value: &str, most: f64) -> Result<f64> {
    plain_decimal(value)
        .filter(|number| *number <= most)
        .ok_or_else(|| refused(name, value, &format!("not a number from 0 to {most}")))
}

fn plain_decimal(value: &str) -> Option<f64> {
    let is_plain = value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    value.parse().ok().filter(|_| is_plain)
}

/// Seconds as a plain decimal, to the millisecond.
fn seconds(name: &str, value: &str, may_be_zero: bool) -> Result<Duration> {
    let least = if may_be_zero { 0.0 } else { 0.001 };
    plain_decimal(value)
        .filter(|seconds| (least..=MAX_SECONDS).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| {
            let why = format!("not a number of seconds from {least} to {MAX_SECONDS}");
            refused(name, value, &why)
        })
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
            "--ping-interval",
            "0.25",
            "--rate=0",
            "--echo",
            "--origins=https://a.example,http://b.example:81",
        ];
        let Ok(Request::Serve(options)) = parse(&arguments) else {
            panic!("sound arguments")
        };
        assert_eq!(options.listen, SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(options.ping_interval, Duration::from_millis(250));
        assert!(options.echo && options.rate < f64::EPSILON);
        let origins = options.origins.expect("given");
        assert_eq!(origins, ["https://a.example", "http://b.example:81"]);
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        assert!(matches!(parse(&["--version"]), Ok(Request::Version)));
        assert!(matches!(parse(&["--echo", "--help"]), Ok(Request::Help)));
    }

    #[test]
    fn bad_usage_is_refused() {
        for (arguments, text) in [
            (&["--nonsense"][..], "unknown option: \"--nonsense\""),
            (&["file"], "unknown option: \"file\""),
            (&[], "--listen is missing"),
            (&["--listen"], "--listen needs a value"),
            (&["--listen=nowhere"], "\"nowhere\": not HOST:PORT"),
            (&["--listen=:80"], "not HOST:PORT"),
            (
                &["--listen=127.0.0.1:70000"],
                "\"127.0.0.1:70000\": the port",
            ),
            (&["--help=1"], "--help takes no value"),
            (&["--echo=1"], "--echo takes no value"),
            (&["--threads=0"], "not a whole number from 1 to 1024"),
            (&["--queue", "+1"], "not a whole number"),
            (&["--rate=fast"], "\"fast\": not a number from 0"),
            (&["--rate=inf"], "\"inf\": not a number from 0"),
            (&["--burst=0"], "not a whole number"),
            (&["--ping-interval=0"], "not a number of seconds from 0.001"),
            (&["--ping-timeout=-1"], "not a number of seconds"),
            (&["--join-timeout="], "not a number of seconds"),
            (&["--origins="], "--origins \"\": not an origin"),
            (&["--origins=https://a/b"], "not an origin"),
            (&["--origins=https://a,b"], "\"b\": not an origin"),
        ] {
            let failure = parse(arguments).expect_err("bad usage");
            assert_eq!(failure.exit_code, 2, "{arguments:?}");
            let shown = failure.to_string();
            assert!(shown.contains(text), "{arguments:?}: {shown}");
        }
    }
}
