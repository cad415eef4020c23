//! The arguments, parsed and checked once.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use crate::failure::{Failure, Result, bad_request, quote_value, system_failure};

/// A path that stands for standard input or output.
pub const STANDARD_STREAM: &str = "-";

/// An address as it was given, and as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    pub address: SocketAddr,
}

/// From which address servers of a family are asked, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sources {
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

impl Sources {
    pub fn reaches(&self, address: &IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4.is_some(),
            IpAddr::V6(_) => self.v6.is_some(),
        }
    }

    /// Finds out whether we may ask from these addresses.
    pub fn check(&self) -> Result<()> {
        let addresses = [self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6)];
        for address in addresses.into_iter().flatten() {
            UdpSocket::bind((address, 0)).map_err(|error| {
                let what = format!("--bind {}", quote_value(&address.to_string()));
                system_failure(&what, error)
            })?;
        }
        Ok(())
    }
}

/// How questions are resolved. Times are in milliseconds, times to live in seconds.
#[derive(Debug, Clone)]
pub struct Settings {
    pub server_port: u16,
    pub sources: Sources,
    pub timeout_ms: u64,
    pub attempts: u32,
    pub cache_bytes: usize,
    pub max_ttl: u32,
    pub min_ttl: u32,
    pub negative_ttl_max: u32,
    pub max_depth: u32,
    pub max_queries: u32,
    pub edns_size: u16,
}

#[derive(Debug)]
pub struct BulkOptions {
    pub queries_path: PathBuf,
    pub in_flight: usize,
    pub output_path: Option<PathBuf>,
    pub repeats: u64,
}

#[derive(Debug)]
pub enum Mode {
    Serve(Place),
    Bulk(BulkOptions),
}

#[derive(Debug)]
pub struct Options {
    pub mode: Mode,
    pub hints_path: PathBuf,
    pub settings: Settings,
    pub threads: usize,
    pub drain_timeout_ms: u64,
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Request {
    Help,
    Version,
    Run(Box<Options>),
}

const MAX_THREADS: u64 = 1024;
const MAX_DRAIN_SECONDS: f64 = 86_400.0;
/// Time-outs do not grow beyond this either.
const MAX_TIMEOUT_SECONDS: f64 = 3.0;
const MAX_TTL: u64 = 0x7fff_ffff;
const MAX_IN_FLIGHT: u64 = 10_000;
const MAX_REPEATS: u64 = 1_000_000;
const MIN_CACHE_BYTES: usize = 64 << 10;
const MAX_CACHE_BYTES: usize = 16 << 30;
const MIN_EDNS_BYTES: u64 = 512;
const MAX_EDNS_BYTES: u64 = 4096;

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
            "--help" | "--version" | "--ipv4-only" if value.is_some() => {
                return Err(bad_request(format!("{name} takes no value")));
            }
            "--help" => return Ok(Request::Help),
            "--version" => return Ok(Request::Version),
            "--ipv4-only" => {
                draft.is_ipv4_only = true;
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
        draft.set(name, &value)?;
    }
    let options = draft.finish()?;
    Ok(Request::Run(Box::new(options)))
}

fn text_of(argument: OsString) -> Result<String> {
    argument.into_string().map_err(|argument| {
        let shown = quote_value(&argument.to_string_lossy());
        bad_request(format!("argument {shown}: not UTF-8"))
    })
}

/// The options that take a value.
const NAMES: [&str; 19] = [
    "--listen",
    "--hints",
    "--bulk",
    "--in-flight",
    "--output",
    "--repeats",
    "--port-of-servers",
    "--bind",
    "--timeout",
    "--attempts",
    "--cache-bytes",
    "--max-ttl",
    "--min-ttl",
    "--negative-ttl-max",
    "--max-depth",
    "--max-queries",
    "--edns-size",
    "--threads",
    "--drain-timeout",
];

/// Options that may still lack what must be given.
struct Draft {
    listen: Option<Place>,
    hints_path: Option<PathBuf>,
    queries_path: Option<PathBuf>,
    in_flight: Option<usize>,
    output_path: Option<PathBuf>,
    repeats: Option<u64>,
    bind: IpAddr,
    is_ipv4_only: bool,
    settings: Settings,
    threads: usize,
    drain_timeout_ms: u64,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            listen: None,
            hints_path: None,
            queries_path: None,
            in_flight: None,
            output_path: None,
            repeats: None,
            bind: Ipv4Addr::LOCALHOST.into(),
            is_ipv4_only: false,
            settings: Settings {
                server_port: 53,
                sources: Sources { v4: None, v6: None },
                timeout_ms: 400,
                attempts: 4,
                cache_bytes: 64 << 20,
                max_ttl: 86_400,
                min_ttl: 0,
                negative_ttl_max: 3_600,
                max_depth: 16,
                max_queries: 100,
                edns_size: 1_232,
            },
            threads: 1,
            drain_timeout_ms: 5_000,
        }
    }
}

impl Draft {
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let settings = &mut self.settings;
        let count = |least, most| whole_number(name, value, least, most);
        match name {
            "--listen" => self.listen = Some(place(name, value)?),
            "--hints" => self.hints_path = Some(path(name, value)?),
            "--bulk" => self.queries_path = Some(path(name, value)?),
            "--in-flight" => self.in_flight = Some(count(1, MAX_IN_FLIGHT)? as usize),
            "--output" => self.output_path = Some(path(name, value)?),
            "--repeats" => self.repeats = Some(count(1, MAX_REPEATS)?),
            "--port-of-servers" => settings.server_port = count(1, 65_535)? as u16,
            "--bind" => {
                let address = value.parse();
                self.bind = address.map_err(|_| refused(name, value, "not an IP address"))?;
            }
            "--timeout" => settings.timeout_ms = milliseconds(name, value, 1, MAX_TIMEOUT_SECONDS)?,
            "--attempts" => settings.attempts = count(1, 100)? as u32,
            "--cache-bytes" => settings.cache_bytes = bytes(name, value)?,
            "--max-ttl" => settings.max_ttl = count(0, MAX_TTL)? as u32,
            "--min-ttl" => settings.min_ttl = count(0, MAX_TTL)? as u32,
            "--negative-ttl-max" => settings.negative_ttl_max = count(0, MAX_TTL)? as u32,
            "--max-depth" => settings.max_depth = count(1, 100)? as u32,
            "--max-queries" => settings.max_queries = count(1, 10_000)? as u32,
            "--edns-size" => {
                settings.edns_size = count(MIN_EDNS_BYTES, MAX_EDNS_BYTES)? as u16;
            }
            "--threads" => self.threads = count(1, MAX_THREADS)? as usize,
            _ => self.drain_timeout_ms = milliseconds(name, value, 0, MAX_DRAIN_SECONDS)?,
        }
        Ok(())
    }

    /// Looks at what the options must be together.
    fn finish(mut self) -> Result<Options> {
        let mode = self.mode()?;
        let missing = || bad_request("--hints is missing (see --help)");
        let hints_path = self.hints_path.take().ok_or_else(missing)?;
        self.settings.sources = self.sources()?;
        if self.settings.min_ttl > self.settings.max_ttl {
            let text = format!(
                "--min-ttl \"{}\": more than --max-ttl \"{}\"",
                self.settings.min_ttl, self.settings.max_ttl
            );
            return Err(bad_request(text));
        }
        Ok(Options {
            mode,
            hints_path,
            settings: self.settings,
            threads: self.threads,
            drain_timeout_ms: self.drain_timeout_ms,
        })
    }

    /// Servers are asked over the family of the address we bind to; :: is for both.
    fn sources(&self) -> Result<Sources> {
        match self.bind {
            IpAddr::V4(address) => Ok(Sources {
                v4: Some(address),
                v6: None,
            }),
            IpAddr::V6(address) if address.is_unspecified() => Ok(Sources {
                v4: Some(Ipv4Addr::UNSPECIFIED),
                v6: (!self.is_ipv4_only).then_some(address),
            }),
            IpAddr::V6(address) if self.is_ipv4_only => Err(bad_request(format!(
                "--bind \"{address}\": not an IPv4 address, and --ipv4-only is given"
            ))),
            IpAddr::V6(address) => Ok(Sources {
                v4: None,
                v6: Some(address),
            }),
        }
    }

    fn mode(&mut self) -> Result<Mode> {
        match (self.listen.take(), self.queries_path.take()) {
            (None, None) => Err(bad_request("--listen or --bulk is missing (see --help)")),
            (Some(_), Some(path)) => Err(bad_request(format!(
                "--bulk {}: not together with --listen",
                quote_value(&path.to_string_lossy())
            ))),
            (Some(listen), None) => {
                let for_bulk = [
                    ("--output", self.output_path.is_some()),
                    ("--in-flight", self.in_flight.is_some()),
                    ("--repeats", self.repeats.is_some()),
                ];
                match for_bulk.iter().find(|(_, is_given)| *is_given) {
                    Some((name, _)) => Err(bad_request(format!("{name}: only with --bulk"))),
                    None => Ok(Mode::Serve(listen)),
                }
            }
            (None, Some(queries_path)) => Ok(Mode::Bulk(BulkOptions {
                queries_path,
                in_flight: self.in_flight.unwrap_or(1_000),
                output_path: self.output_path.take(),
                repeats: self.repeats.unwrap_or(1),
            })),
        }
    }
}

/// Why a value is not taken.
fn refused(name: &str, value: &str, why: &str) -> Failure {
    bad_request(format!("{name} {}: {why}", quote_value(value)))
}

fn path(name: &str, value: &str) -> Result<PathBuf> {
    if value.is_empty() {
        return Err(refused(name, value, "not a path"));
    }
    Ok(value.into())
}

/// HOST:PORT with a numeric host, in brackets if it is of IPv6, or `localhost`.
fn place(name: &str, value: &str) -> Result<Place> {
    let bad = |why: &str| refused(name, value, why);
    let parts = value.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let (host, port) = parts.ok_or_else(|| bad("not HOST:PORT"))?;
    let number: Option<u16> = port.parse().ok().filter(|_| is_digits(port));
    let number = number.ok_or_else(|| bad("the port is not a number from 0 to 65535"))?;
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let ip = match inner {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None if host == "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        None => host.parse().ok().map(IpAddr::V4),
    };
    let ip = ip.ok_or_else(|| bad("the host is not an IP address"))?;
    Ok(Place {
        name: value.to_owned(),
        address: SocketAddr::new(ip, number),
    })
}

fn is_digits(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn whole_number(name: &str, value: &str, least: u64, most: u64) -> Result<u64> {
    let number = value
        .parse()
        .ok()
        .filter(|number| is_digits(value) && (least..=most).contains(number));
    let why = || format!("not a whole number from {least} to {most}");
    number.ok_or_else(|| refused(name, value, &why()))
}

/// Bytes, plain or with a unit: k is 1000, kb is 1024.
fn bytes(name: &str, value: &str) -> Result<usize> {
    const UNITS: [(&str, usize); 8] = [
        ("kb", 1 << 10),
        ("mb", 1 << 20),
        ("gb", 1 << 30),
        ("k", 1_000),
        ("m", 1_000_000),
        ("g", 1_000_000_000),
        ("b", 1),
        ("", 1),
    ];
    let text = value.to_ascii_lowercase();
    let found = UNITS.iter().find_map(|&(unit, factor)| {
        let digits = text.strip_suffix(unit).filter(|digits| is_digits(digits))?;
        digits.parse::<usize>().ok()?.checked_mul(factor)
    });
    let found = found.filter(|bytes| (MIN_CACHE_BYTES..=MAX_CACHE_BYTES).contains(bytes));
    let why = "not a size from 64kb to 16gb, such as 64mb";
    found.ok_or_else(|| refused(name, value, why))
}

/// Seconds as a plain decimal such as 2 or 0.25.
fn milliseconds(name: &str, value: &str, least_ms: u64, most_s: f64) -> Result<u64> {
    let is_plain = value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = value
        .parse()
        .ok()
        .filter(|seconds| is_plain && *seconds <= most_s);
    let rounded = seconds.map(|seconds: f64| whole_ms(seconds));
    rounded.filter(|&ms| ms >= least_ms).ok_or_else(|| {
        let least = if least_ms == 0 { "0" } else { "0.001" };
        let why = format!("not a number of seconds from {least} to {most_s}");
        refused(name, value, &why)
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

    fn run(arguments: &[&str]) -> Options {
        match parse(arguments) {
            Ok(Request::Run(options)) => *options,
            other => panic!("sound arguments, {other:?}"),
        }
    }

    #[test]
    fn both_ways_to_give_a_value() {
        let options = run(&[
            "--listen=127.0.0.1:0",
            "--hints",
            "h=1",
            "--timeout=0.25",
            "--cache-bytes",
            "64KB",
            "--ipv4-only",
        ]);
        assert!(matches!(options.mode, Mode::Serve(ref place) if place.address.port() == 0));
        assert_eq!(options.hints_path, PathBuf::from("h=1"));
        assert_eq!(
            (options.settings.timeout_ms, options.settings.cache_bytes),
            (250, 65_536)
        );
        assert_eq!(options.settings.sources.v4, Some(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn bulk_and_the_families_of_an_address() {
        let options = run(&["--hints=h", "--bulk=-", "--repeats=3", "--bind=::"]);
        let Mode::Bulk(bulk) = options.mode else {
            panic!("bulk was asked for")
        };
        assert_eq!((bulk.in_flight, bulk.repeats), (1_000, 3));
        let sources = options.settings.sources;
        assert!(sources.v4.is_some() && sources.v6.is_some());
        let only = run(&["--hints=h", "--bulk=-", "--bind=::", "--ipv4-only"]);
        assert_eq!(only.settings.sources.v6, None);
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
        let sound = ["--listen=127.0.0.1:0", "--hints=h"];
        for (argument, text) in [
            ("--nonsense", "unknown option: \"--nonsense\""),
            ("file", "unknown option: \"file\""),
            ("--help=1", "--help takes no value"),
            ("--ipv4-only=yes", "--ipv4-only takes no value"),
            ("--bind", "--bind needs a value"),
            ("--listen=nowhere", "--listen \"nowhere\": not HOST:PORT"),
            ("--listen=::1:80", "the host is not an IP address"),
            ("--listen=:80", "not HOST:PORT"),
            ("--listen=h:65536", "\"h:65536\": the port is not a number"),
            ("--hints=", "--hints \"\": not a path"),
            ("--bulk=q", "--bulk \"q\": not together with --listen"),
            ("--output=o", "--output: only with --bulk"),
            (
                "--bind=localhost",
                "--bind \"localhost\": not an IP address",
            ),
            ("--port-of-servers=0", "not a whole number from 1 to 65535"),
            (
                "--timeout=soon",
                "--timeout \"soon\": not a number of seconds",
            ),
            ("--timeout=0", "not a number of seconds from 0.001"),
            (
                "--cache-bytes=lots",
                "\"lots\": not a size from 64kb to 16gb",
            ),
            ("--cache-bytes=1", "not a size from"),
            ("--cache-bytes=99999999999gb", "not a size from"),
            (
                "--min-ttl=90000",
                "--min-ttl \"90000\": more than --max-ttl",
            ),
            ("--edns-size=100", "not a whole number from 512 to 4096"),
            ("--threads=0", "--threads \"0\": not a whole number"),
            ("--attempts=0", "not a whole number"),
        ] {
            let arguments: Vec<_> = sound.iter().copied().chain([argument]).collect();
            let failure = parse(&arguments).expect_err(argument);
            assert_eq!(failure.exit_code, 2, "{argument}");
            assert!(failure.to_string().contains(text), "{argument}: {failure}");
        }
        for (arguments, text) in [
            (&sound[..1], "--hints is missing"),
            (&sound[1..], "--listen or --bulk is missing"),
        ] {
            let failure = parse(arguments).expect_err(text);
            assert!(failure.to_string().contains(text), "{failure}");
        }
    }
}
