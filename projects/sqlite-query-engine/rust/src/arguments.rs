//! The command line: parsed and checked once, before any work.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser, ValueExt};

use crate::error::{Error, Result};
use crate::render::Format;

const HELP: &str = "\
Answers one SELECT over a SQLite 3 database file, without the SQLite library.

Usage: sqlite-query-engine --db FILE --query SQL [options]

Options:
  --db FILE          the database; it is mapped read-only and never changed
  --query SQL        one SELECT over one table, or EXPLAIN QUERY PLAN and a SELECT
  --format FORMAT    json (default): one array a line; csv: a header line, then RFC 4180
  --output PATH      write the answer to PATH (atomically), or to stdout if PATH is -
  --repeats N        do the whole job N times, 1 to 1000000000 (default 1)
  --help             print this manual
  --version          print name and language

Prints the number of rows and index entries visited, times, throughput, and the XXH64 digest of
the answers of all repeats. With --output - it prints the answer instead.

SQL: [DISTINCT] columns FROM table [WHERE] [GROUP BY] [HAVING] [ORDER BY] [LIMIT], the operators
and types of SQLite 3, COUNT SUM TOTAL AVG MIN MAX, and these functions: abs coalesce hex ifnull
iif instr length lower ltrim max min nullif replace round rtrim substr trim typeof unicode upper.

Exit codes: 0 done, 1 the machine failed, 2 bad usage, bad SQL or bad database.
";

pub enum Request {
    Run(Job),
    /// A text that was asked for, such as the manual.
    Print(String),
}

#[derive(Debug)]
pub struct Job {
    pub database: PathBuf,
    pub query: String,
    pub format: Format,
    pub output: Option<PathBuf>,
    pub repeats: u64,
}

impl Job {
    /// The answer goes to stdout, where the statistics would be.
    pub fn prints_answer(&self) -> bool {
        self.output.as_deref() == Some(Path::new("-"))
    }
}

pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let mut parser = Parser::from_args(arguments);
    let (mut database, mut query, mut output) = (None, None, None);
    let mut format = Format::Json;
    let mut repeats = 1;
    let usage = |e: lexopt::Error| Error::input(e.to_string());
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Arg::Long("help") => return Ok(Request::Print(HELP.to_owned())),
            Arg::Long("version") => return Ok(Request::Print("sqlite-query-engine rust\n".to_owned())),
            Arg::Long("db") => database = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Arg::Long("output") => output = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Arg::Long("query") => {
                let text = parser.value().map_err(usage)?.into_string();
                query = Some(text.map_err(|raw| {
                    Error::input(format!("--query is not UTF-8: {}", raw.to_string_lossy()))
                })?);
            }
            Arg::Long("format") => {
                let name = parser.value().map_err(usage)?.to_string_lossy().into_owned();
                format = Format::from_name(&name)
                    .ok_or_else(|| Error::input(format!("--format {name}: not json or csv")))?;
            }
            Arg::Long("repeats") => {
                let number = parser.value().map_err(usage)?;
                repeats = parse_repeats(&number)?;
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    let missing = |name: &str| Error::input(format!("missing option --{name}"));
    let job = Job {
        database: database.ok_or_else(|| missing("db"))?,
        query: query.ok_or_else(|| missing("query"))?,
        format,
        output,
        repeats,
    };
    refuse_overwriting(&job)?;
    Ok(Request::Run(job))
}

fn parse_repeats(text: &OsString) -> Result<u64> {
    let bad =
        || Error::input(format!("--repeats {}: not a number from 1 to 1000000000", text.to_string_lossy()));
    let number: u64 = text.parse().map_err(|_| bad())?;
    if (1..=1_000_000_000).contains(&number) { Ok(number) } else { Err(bad()) }
}

/// The answer must not replace the database it was read from.
fn refuse_overwriting(job: &Job) -> Result<()> {
    let Some(output) = &job.output else { return Ok(()) };
    if let (Ok(a), Ok(b)) = (fs::metadata(output), fs::metadata(&job.database))
        && (a.dev(), a.ino()) == (b.dev(), b.ino())
        && !job.prints_answer()
    {
        return Err(Error::input(format!("--output {}: is the database itself", output.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Job> {
        match parse(arguments.iter().map(OsString::from))? {
            Request::Run(job) => Ok(job),
            Request::Print(text) => Err(Error::input(text)),
        }
    }

    #[test]
    fn options() {
        let job =
            parsed(&["--db", "a.db", "--query=SELECT 1", "--format", "csv", "--repeats=5", "--output", "-"])
                .unwrap();
        assert_eq!((job.database.to_str(), job.query.as_str(), job.repeats), (Some("a.db"), "SELECT 1", 5));
        assert!(job.prints_answer() && job.format == Format::Csv);
    }

    #[test]
    fn bad_usage_is_named() {
        let cases: [(&[&str], &str); 9] = [
            (&[], "--db"),
            (&["--db", "x"], "--query"),
            (&["--db"], "--db"),
            (&["--nope"], "--nope"),
            (&["stray"], "stray"),
            (&["--repeats", "0"], "--repeats 0"),
            (&["--repeats", "x"], "--repeats x"),
            (&["--repeats", "1000000001"], "--repeats 1000000001"),
            (&["--format", "xml"], "--format xml"),
        ];
        for (arguments, expected) in cases {
            let message = parsed(arguments).unwrap_err().to_string();
            assert!(message.contains(expected), "{arguments:?}: {message}");
        }
    }
}
