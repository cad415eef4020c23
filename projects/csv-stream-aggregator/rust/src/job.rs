//! One repeat: from the raw input to the rendered answer.

use crate::aggregate::{Aggregator, BadNumber, Fatal};
use crate::decimal::NotNumber;
use crate::failure::{Result, escape, quote_value};
use crate::options::Options;
use crate::output::AnswerWriter;
use crate::plan::{Plan, numbered_columns};
use crate::record::{Outcome, Record};
use crate::render::render_answer;
use crate::scan::RecordIndex;
use crate::window::Window;

/// Does the whole work once per run. What it keeps between runs is memory, not results.
pub struct Job<'a> {
    request: &'a Options,
    window: Window,
    index: RecordIndex,
    exact_ends: Vec<u32>, // field ends of a record from the exact parser
    rows: Rows<'a>,
}

impl<'a> Job<'a> {
    pub fn new(request: &'a Options) -> Self {
        Self {
            request,
            window: Window::new(request),
            index: RecordIndex::default(),
            exact_ends: Vec::new(),
            rows: Rows {
                request,
                aggregator: Aggregator::new(request.max_groups),
                items: 0,
                skipped: 0,
            },
        }
    }

    /// Data records of the last run, also those filtered or skipped.
    pub fn items(&self) -> u64 {
        self.rows.items
    }

    /// Bad rows that the last run left out.
    pub fn skipped(&self) -> u64 {
        self.rows.skipped
    }

    /// The measured work.
    pub fn run(&mut self, out: &mut AnswerWriter) -> Result<()> {
        (self.rows.items, self.rows.skipped) = (0, 0);
        self.window.open(self.request)?;
        self.read_header()?;
        self.read_records()?;
        let aggregator = &self.rows.aggregator;
        render_answer(
            out,
            &aggregator.plan,
            &aggregator.table,
            self.request.as_json,
        )
    }

    /// Names the columns by the first record. Without a header that record only
    /// counts them, and is read again as data.
    fn read_header(&mut self) -> Result<()> {
        let window = &mut self.window;
        loop {
            if window.is_consumed() {
                return Err(window.failure("empty input: no header"));
            }
            let (next, outcome) =
                window.next_exact(self.request.delimiter, &mut self.exact_ends)?;
            let row = Record {
                buffer: &window.buffer,
                start: window.position,
                field_ends: &self.exact_ends,
            };
            if row.is_blank() {
                window.consume(next, None);
                continue;
            }
            let names = header_names(window, &row, outcome)?;
            let names = if self.request.no_header {
                numbered_columns(names.len())
            } else {
                names
            };
            let plan = Plan::new(self.request, names)
                .map_err(|failure| window.line_failure(row.start, &failure.text))?;
            self.rows.aggregator.reset(plan);
            if !self.request.no_header {
                window.consume(next, None);
            }
            return Ok(());
        }
    }

    /// Streams the records: most through the scan, the rest one by one.
    fn read_records(&mut self) -> Result<()> {
        loop {
            self.take_scanned()?;
            if self.window.is_consumed() {
                return Ok(());
            }
            if self.index.irregular || self.window.at_end {
                self.take_exact()?;
            } else {
                self.window.refill()?;
            }
        }
    }

    /// Takes all records that the scan can delimit in the window.
    fn take_scanned(&mut self) -> Result<()> {
        let Self { window, index, .. } = self;
        index.scan(
            &window.buffer,
            window.position,
            window.filled,
            self.request.delimiter,
        );
        let Some(&last) = index.record_ends.last() else {
            return Ok(());
        };
        let end = index.field_ends[last as usize - 1] as usize;
        // Records end in ASCII bytes: together they are valid UTF-8 only if each one is.
        let suspect = index.has_high && !is_utf8(&window.buffer[window.position..end]);
        let mut start = window.position;
        let mut first = 0;
        for &last in &index.record_ends {
            let field_ends = &mut index.field_ends[first..last as usize];
            first = last as usize;
            let end = &mut field_ends[field_ends.len() - 1];
            let next = *end as usize + 1;
            if next - 1 > start && window.buffer[next - 2] == b'\r' {
                *end -= 1;
            }
            let row = Record {
                buffer: &window.buffer,
                start,
                field_ends,
            };
            self.rows.take(window, &row, Outcome::WellFormed, suspect)?;
            start = next;
        }
        self.rows.flush(window)?;
        // Without quotes each line is a record, or blank: the scan has counted them.
        let lines = (!index.has_quote).then_some(index.record_ends.len());
        window.consume(start, lines);
        Ok(())
    }

    /// Takes one record by the letter.
    fn take_exact(&mut self) -> Result<()> {
        let window = &mut self.window;
        let (next, outcome) = window.next_exact(self.request.delimiter, &mut self.exact_ends)?;
        let row = Record {
            buffer: &window.buffer,
            start: window.position,
            field_ends: &self.exact_ends,
        };
        self.rows.take(window, &row, outcome, true)?;
        self.rows.flush(window)?;
        window.consume(next, None);
        Ok(())
    }
}

/// The header must be sound, whatever the error policy.
fn header_names(window: &Window, row: &Record, outcome: Outcome) -> Result<Vec<Vec<u8>>> {
    if row.text().len() > window.max_record_bytes() {
        return Err(window.too_long(row.start));
    }
    if outcome == Outcome::TextAfterQuote {
        return Err(window.line_failure(row.start, TEXT_AFTER_QUOTE));
    }
    if !is_utf8(row.text()) {
        return Err(window.line_failure(row.start, INVALID_UTF8));
    }
    Ok((0..row.field_ends.len())
        .map(|column| row.field(column).into_owned())
        .collect())
}

const TEXT_AFTER_QUOTE: &str = "text after closing quote";
const INVALID_UTF8: &str = "invalid UTF-8";

fn is_utf8(text: &[u8]) -> bool {
    simdutf8::basic::from_utf8(text).is_ok()
}

/// Checks rows, counts them, and passes the sound ones on.
struct Rows<'a> {
    request: &'a Options,
    aggregator: Aggregator,
    items: u64,
    skipped: u64,
}

impl Rows<'_> {
    /// Takes one record. A suspect one may hold invalid UTF-8.
    #[inline]
    fn take(
        &mut self,
        window: &Window,
        row: &Record,
        outcome: Outcome,
        suspect: bool,
    ) -> Result<()> {
        if row.is_blank() {
            return Ok(());
        }
        if row.text().len() > self.request.max_record_bytes {
            self.flush(window)?;
            return Err(window.too_long(row.start));
        }
        self.items += 1;
        if outcome == Outcome::TextAfterQuote {
            return self.reject(window, row, || TEXT_AFTER_QUOTE.into());
        }
        let (found, expected) = (
            row.field_ends.len(),
            self.aggregator.plan.column_names.len(),
        );
        if found != expected {
            return self.reject(window, row, || {
                format!("{found} fields, expected {expected}")
            });
        }
        if suspect && !is_utf8(row.text()) {
            return self.reject(window, row, || INVALID_UTF8.into());
        }
        match self.aggregator.add(row) {
            Ok(false) => Ok(()),
            Ok(true) => self.flush(window),
            Err(BadNumber(column, error)) => {
                let name = escape(&self.aggregator.plan.column_names[column]);
                self.reject(window, row, || number_problem(row, column, &name, error))
            }
        }
    }

    /// Brings the rows that wait into their groups. Must come before the text moves.
    fn flush(&mut self, window: &Window) -> Result<()> {
        self.aggregator
            .flush()
            .map_err(|Fatal(record_start, what)| window.line_failure(record_start, &what))
    }

    /// Counts a bad row, or fails with what is wrong with it.
    #[cold]
    fn reject(
        &mut self,
        window: &Window,
        row: &Record,
        describe: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.request.skip_bad_rows {
            self.skipped += 1;
            return Ok(());
        }
        self.flush(window)?; // what is wrong with an earlier row comes first
        Err(window.line_failure(row.start, &describe()))
    }
}

fn number_problem(row: &Record, column: usize, name: &str, error: NotNumber) -> String {
    let what = match error {
        NotNumber::OutOfRange => "number out of range",
        NotNumber::Empty | NotNumber::Malformed => "not a number",
    };
    let value = quote_value(&row.field(column));
    format!("column {name}: {what}: {value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Request, parse_options};
    use std::fs;

    /// Runs a text through a file, as a program would.
    fn run(name: &str, text: &[u8], arguments: &[&str]) -> std::result::Result<String, String> {
        let folder = std::env::temp_dir().join(format!("csv-job-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (input, output) = (folder.join(name), folder.join(format!("{name}.out")));
        fs::write(&input, text).unwrap();
        let fixed = ["--input".into(), input.clone().into_os_string()];
        let arguments = arguments.iter().map(Into::into);
        let Ok(Request::Run(options)) = parse_options(fixed.into_iter().chain(arguments)) else {
            panic!("sound arguments")
        };
        let mut answer = AnswerWriter::new();
        answer.store_path = Some(&output);
        let result = Job::new(&options).run(&mut answer);
        let result = result.and_then(|()| answer.commit());
        let folder = format!("{}/", folder.display());
        let text = fs::read_to_string(&output).unwrap_or_default();
        let _ = fs::remove_file(&input);
        let _ = fs::remove_file(&output);
        result
            .map(|()| text)
            .map_err(|failure| failure.text.replace(&folder, ""))
    }

    #[test]
    fn records_longer_than_a_block_are_found_wherever_they_lie() {
        let mut text = b"k,v\n".to_vec();
        for i in 0..40_usize {
            text.extend_from_slice(b"\"");
            text.resize(text.len() + i * 20_000, b'\n');
            text.extend_from_slice(b"\",1.5\r\n");
            text.extend_from_slice(format!("plain{i},2\n").as_bytes());
        }
        let all = run("long", &text, &["--agg", "count,sum:v"]);
        assert_eq!(all.unwrap(), "count,sum_v\n80,140.0\n");
        let short = ["--agg", "count", "--max-record-bytes", "700005"];
        let line = 2 + (0..35).map(|i| i * 20_000 + 2).sum::<usize>();
        let expected =
            format!("short: line {line}: record longer than 700005 bytes (--max-record-bytes)");
        assert_eq!(run("short", &text, &short), Err(expected));
    }

    #[test]
    fn a_bad_row_leaves_no_trace_when_skipped() {
        let text = b"k,a,b\nx,1,2\nnew,1,bad\nx,bad,1\nx,3,4\ny,1\n\"z\"z,1,1\n\xff,1,1\n";
        let arguments = ["--group-by=k", "--agg=count,sum:a,sum:b", "--on-error=skip"];
        let answer = run("skip", text, &arguments);
        assert_eq!(answer.unwrap(), "k,count,sum_a,sum_b\nx,2,4,6\n");
    }

    #[test]
    fn errors_name_the_line_on_which_the_record_starts() {
        for (text, expected) in [
            (
                &b"k,v\n\n\"a\nb\",1\nc\n"[..],
                "line 5: 1 fields, expected 2",
            ),
            (
                b"\xef\xbb\xbfk,v\r\na,x\r\n",
                "line 2: column v: not a number: \"x\"",
            ),
            (
                b"k,v\na,1e99\n",
                "line 2: column v: number out of range: \"1e99\"",
            ),
            (b"k,v\n\"a\"b,1\n", "line 2: text after closing quote"),
            (b"k,v\na,1\n\xc3,1\n", "line 3: invalid UTF-8"),
            (b"k,v\na,1\n\"b,1\nc,2\n", "line 3: unterminated quote"),
            (b"k,w\na,1\n", "line 1: unknown column: \"v\""),
            (b"k,v,v\na,1\n", "line 1: duplicate column: \"v\""),
            (b"\r\n\n", "empty input: no header"),
        ] {
            let failed = run("line", text, &["--group-by", "k", "--agg", "sum:v"]);
            assert_eq!(failed, Err(format!("line: {expected}")));
        }
    }

    #[test]
    fn the_earliest_mistake_is_reported() {
        // Rows wait in a batch: what only the table can find must still come first.
        let many = ["--group-by", "k", "--agg", "sum:v", "--max-groups", "2"];
        for last in ["d,bad", "d", "d,\"", &"d".repeat(2_000_000)] {
            let text = format!("k,v\na,1\nb,1\nc,1\n{last}");
            let failed = run("first", text.as_bytes(), &many);
            let expected = "first: line 4: more than 2 groups (--max-groups)";
            assert_eq!(failed, Err(expected.into()));
        }
        let row = "a,999999999999999999\n";
        let text = format!("k,v\na,0.000000000000000001\n{}b,bad\n", row.repeat(171));
        let failed = run(
            "sum",
            text.as_bytes(),
            &["--group-by", "k", "--agg", "sum:v"],
        );
        let expected = "sum: line 173: column v: sum out of range in group \"a\"";
        assert_eq!(failed, Err(expected.into()));
    }
}
