//! The arguments, parsed and checked once.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::failure::{Result, bad_request, quote_value};
use crate::filter::{Condition, parse_condition};
use crate::input::Compression;
use crate::plan::{Aggregate, parse_aggregates};

/// The path that stands for standard input or output.
pub const STANDARD_STREAM: &str = "-";

pub struct Options {
    pub input_path: PathBuf,
    pub group_by: Vec<Vec<u8>>,
    pub aggregates: Vec<Aggregate>,
    pub conditions: Vec<Condition>,
    pub delimiter: u8,
    pub no_header: bool,
    pub skip_bad_rows: bool,
    pub compression: Option<Compression>, // None: by the magic bytes
    pub max_groups: usize,
    pub max_record_bytes: usize,
    pub as_json: bool,
    pub output_path: Option<PathBuf>, // None: the answer is only digested
    pub repeats: u64,
}

/// What the arguments ask for.
pub enum Request {
    Help,
    Version,
    Run(Box<Options>),
}

const MAX_REPEATS: u64 = 1_000_000_000;
const MAX_GROUPS: u64 = 100_000_000;
const MAX_RECORD_BYTES: u64 = 256 << 20;

impl Default for Options {
    fn default() -> Self {
        Self {
            input_path: PathBuf::new(),
            group_by: Vec::new(),
            aggregates: Vec::new(),
            conditions: Vec::new(),
            delimiter: b',',
            no_header: false,
            skip_bad_rows: false,
            compression: None,
            max_groups: 1_000_000,
            max_record_bytes: 1 << 20,
            as_json: false,
            output_path: None,
            repeats: 1,
        }
    }
}

/// Reads --name value and --name=value.
pub fn parse_options(arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let mut options = Box::new(Options::default());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut parts = argument.as_bytes().splitn(2, |&byte| byte == b'=');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().map(<[u8]>::to_vec);
        let name = std::str::from_utf8(name).map_err(|_| unknown(name))?;
        if matches!(name, "--help" | "--version" | "--no-header") {
            if value.is_some() {
                return Err(bad_request(format!("{name} takes no value")));
            }
            match name {
                "--help" => return Ok(Request::Help),
                "--version" => return Ok(Request::Version),
                _ => options.no_header = true,
            }
            continue;
        }
        if !NAMES.contains(&name) {
            return Err(unknown(name.as_bytes()));
        }
        let value = value.or_else(|| arguments.next().map(OsString::into_vec));
        match value {
            Some(value) => options.set(name, value)?,
            None => return Err(bad_request(format!("{name} needs a value"))),
        }
    }
    options.check()?;
    Ok(Request::Run(options))
}

/// The options that take a value.
const NAMES: [&str; 12] = [
    "--input",
    "--output",
    "--group-by",
    "--agg",
    "--where",
    "--delimiter",
    "--on-error",
    "--compression",
    "--format",
    "--max-groups",
    "--max-record-bytes",
    "--repeats",
];

fn unknown(name: &[u8]) -> Box<crate::failure::Failure> {
    bad_request(format!(
        "unknown option: {} (see --help)",
        quote_value(name)
    ))
}

impl Options {
    fn set(&mut self, name: &str, value: Vec<u8>) -> Result<()> {
        match name {
            "--input" => self.input_path = path(name, value)?,
            "--output" => self.output_path = Some(path(name, value)?),
            "--group-by" => {
                let names = value.split(|&byte| byte == b',');
                self.group_by = names.map(<[u8]>::to_vec).collect();
            }
            "--agg" => self.aggregates = parse_aggregates(&value)?,
            "--where" => self.conditions.push(parse_condition(&value)?),
            "--delimiter" => self.delimiter = delimiter(&value)?,
            "--on-error" => {
                self.skip_bad_rows = one_of(name, &value, &[("fail", false), ("skip", true)])?;
            }
            "--compression" => {
                let kinds = [
                    ("auto", None),
                    ("none", Some(Compression::None)),
                    ("gzip", Some(Compression::Gzip)),
                    ("zstd", Some(Compression::Zstd)),
                ];
                self.compression = one_of(name, &value, &kinds)?;
            }
            "--format" => self.as_json = one_of(name, &value, &[("csv", false), ("json", true)])?,
            "--max-groups" => self.max_groups = number(name, &value, MAX_GROUPS)? as usize,
            "--max-record-bytes" => {
                self.max_record_bytes = number(name, &value, MAX_RECORD_BYTES)? as usize;
            }
            _ => self.repeats = number(name, &value, MAX_REPEATS)?,
        }
        Ok(())
    }

    /// Looks at what the options must be together.
    fn check(&self) -> Result<()> {
        if self.input_path.as_os_str().is_empty() {
            return Err(bad_request("--input is missing (see --help)"));
        }
        if self.aggregates.is_empty() {
            return Err(bad_request("--agg is missing (see --help)"));
        }
        if self.input_path.as_os_str() == STANDARD_STREAM && self.repeats > 1 {
            return Err(bad_request(format!(
                "--input -: standard input cannot be read {} times (--repeats)",
                self.repeats
            )));
        }
        Ok(())
    }
}

fn path(name: &str, value: Vec<u8>) -> Result<PathBuf> {
    if value.is_empty() {
        return Err(bad_request(format!("{name} needs a value")));
    }
    Ok(OsString::from_vec(value).into())
}

/// One ASCII byte that can neither quote nor end a record.
fn delimiter(value: &[u8]) -> Result<u8> {
    match value {
        br"\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => Ok(*byte),
        _ => Err(bad_request(format!(
            "--delimiter {}: not one ASCII byte other than quote, CR and LF",
            quote_value(value)
        ))),
    }
}

fn one_of<T: Copy>(name: &str, value: &[u8], allowed: &[(&str, T)]) -> Result<T> {
    let found = allowed.iter().find(|(text, _)| text.as_bytes() == value);
    found.map(|&(_, meaning)| meaning).ok_or_else(|| {
        let texts: Vec<_> = allowed.iter().map(|&(text, _)| text).collect();
        let (shown, texts) = (quote_value(value), texts.join(", "));
        bad_request(format!("{name} {shown}: not one of {texts}"))
    })
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
            "--input=a=b",
            "--agg",
            "count",
            "--repeats=3",
            "--delimiter",
            r"\t",
        ];
        let Ok(Request::Run(options)) = parse(&arguments) else {
            panic!("sound arguments")
        };
        assert_eq!(options.input_path, PathBuf::from("a=b"));
        assert_eq!(options.repeats, 3);
        assert_eq!(options.delimiter, b'\t');
    }

    #[test]
    fn bad_usage_is_refused() {
        for (arguments, text) in [
            (&["--agg", "count"][..], "--input is missing"),
            (&["--input", "f"], "--agg is missing"),
            (&["--input", "f", "--agg"], "--agg needs a value"),
            (&["--input=", "--agg=count"], "--input needs a value"),
            (&["--nonsense"], "unknown option: \"--nonsense\""),
            (&["f"], "unknown option: \"f\""),
            (&["--no-header=1"], "takes no value"),
            (&["--repeats", "0"], "not a whole number"),
            (&["--repeats", "+1"], "not a whole number"),
            (&["--repeats", "1000000001"], "not a whole number"),
            (&["--delimiter", "\""], "not one ASCII byte"),
            (&["--delimiter", ""], "not one ASCII byte"),
            (&["--format", "xml"], "not one of csv, json"),
            (
                &["--input=-", "--agg=count", "--repeats=2"],
                "cannot be read 2 times",
            ),
        ] {
            let Err(failure) = parse(arguments) else {
                panic!("{arguments:?} must fail")
            };
            assert!(failure.text.contains(text), "{arguments:?}: {failure}");
        }
    }
}
