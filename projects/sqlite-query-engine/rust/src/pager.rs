//! The database file as pages: open, map, check the header and the files beside it.
//!
//! The file is mapped, never read as a whole, so a point lookup touches a handful of pages. The
//! map is shared and read-only. A page that is lost while it is mapped (someone truncates the file, the
//! disk fails) raises SIGBUS, which ends the process with a line that says so.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::output::exit_at_once;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
const WAL_HEADER_BYTES: u64 = 32;
pub const HEADER_BYTES: usize = 100;

pub struct Pager {
    /// None for an empty file, which is a database without tables.
    map: Option<Mmap>,
    page_bytes: usize,
    usable_bytes: usize,
    page_count: u32,
    /// From format 4 on, DESC in an index is obeyed; before, it was ignored.
    pub schema_format: u32,
}

impl Pager {
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let metadata = fs::metadata(path).map_err(|e| Error::read(&name, &e))?;
        if !metadata.is_file() {
            return Err(Error::input(format!("{name}: not a regular file")));
        }
        // O_NONBLOCK: should the path become a FIFO between the two calls, open must not hang.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|e| Error::read(&name, &e))?;
        let file_bytes = file.metadata().map_err(|e| Error::read(&name, &e))?.len();
        refuse_unfinished_writes(path)?;
        if file_bytes == 0 {
            return Ok(Self { map: None, page_bytes: 0, usable_bytes: 0, page_count: 0, schema_format: 0 });
        }
        // SAFETY: the map is read-only and lives as long as the pager. Another process that
        // truncates the file while we read ends this process in `on_lost_page`; it cannot make a
        // slice of it grow, and the values are validated where they are read.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::read(&name, &e))?;
        Self::from_map(map)
    }

    fn from_map(map: Mmap) -> Result<Self> {
        let header = Header::parse(&map)?;
        Ok(Self {
            page_bytes: header.page_bytes,
            usable_bytes: header.usable_bytes,
            page_count: header.page_count,
            schema_format: header.schema_format,
            map: Some(map),
        })
    }

    pub fn page_count(&self) -> u32 {
        self.page_count
    }

    /// Has the processor fetch page `number` into its cache, while the page before is being read.
    /// Its own prefetcher stops at the end of a page, so every page would begin with a stall.
    pub fn prefetch(&self, number: u32) {
        const LINE_BYTES: usize = 64;
        const MOST_BYTES: usize = 8192; // more would push out what is in use
        #[cfg(target_arch = "x86_64")]
        if let Ok(page) = self.page(number) {
            for line in page[..page.len().min(MOST_BYTES)].chunks(LINE_BYTES) {
                // SAFETY: a prefetch is a hint that reads nothing and faults on nothing; the address
                // is inside a live slice.
                unsafe {
                    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                    _mm_prefetch(line.as_ptr().cast(), _MM_HINT_T0);
                }
            }
        }
    }

    /// The usable bytes of page `number`. Pages count from 1.
    #[inline]
    pub fn page(&self, number: u32) -> Result<&[u8]> {
        let map = match &self.map {
            Some(map) if number != 0 && number <= self.page_count => map,
            _ => {
                return Err(Error::page(
                    number,
                    format_args!("out of range, the file has {} pages", self.page_count),
                ));
            }
        };
        let start = (number as usize - 1) * self.page_bytes;
        // In range: page_count * page_bytes was checked against the file's size at open.
        Ok(&map[start..start + self.usable_bytes])
    }
}

/// What SIGBUS prints, written beforehand: its handler may not allocate.
static LOST_PAGE_LINE: OnceLock<String> = OnceLock::new();

extern "C" fn on_lost_page(_signal: libc::c_int) {
    exit_at_once(LOST_PAGE_LINE.get().map_or(b"error: lost page\n", String::as_bytes))
}

/// From now on, a page of the file at `path` that cannot be read ends the process with one line.
pub fn explain_lost_pages(path: &Path) {
    let error = Error::machine(format!("{}: changed or became unreadable while it was read", path.display()));
    LOST_PAGE_LINE.get_or_init(|| format!("error: {error}\n"));
    let handler: extern "C" fn(libc::c_int) = on_lost_page;
    // SAFETY: the handler only reads a value that is set already and calls unlink, write and _exit,
    // which are all allowed in a signal handler.
    unsafe { libc::signal(libc::SIGBUS, handler as libc::sighandler_t) };
}

/// The checked numbers of the 100-byte database header.
#[derive(Debug)]
struct Header {
    page_bytes: usize,
    usable_bytes: usize,
    page_count: u32,
    schema_format: u32,
}

impl Header {
    fn parse(file: &[u8]) -> Result<Self> {
        if file.len() < HEADER_BYTES || &file[..16] != MAGIC {
            return Err(Error::corrupt("file is not a database (or it is encrypted)"));
        }
        let field = |at: usize| u32::from_be_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
        let page_bytes = match u16::from_be_bytes([file[16], file[17]]) {
            1 => 65_536,
            n => n as usize,
        };
        if !(512..=65_536).contains(&page_bytes) || !page_bytes.is_power_of_two() {
            return Err(Error::corrupt(format!(
                "page 1: page size {page_bytes} is not a power of two from 512 to 65536"
            )));
        }
        if file[18] > 2 || file[19] > 2 || file[18] == 0 || file[19] == 0 {
            return Err(Error::corrupt(format!(
                "page 1: file format version {}/{} is unknown",
                file[18], file[19]
            )));
        }
        let usable_bytes = page_bytes - file[20] as usize;
        if usable_bytes < 480 {
            return Err(Error::corrupt(format!(
                "page 1: {} reserved bytes leave too little of a page",
                file[20]
            )));
        }
        if file[21..24] != [64, 32, 32] {
            return Err(Error::corrupt("page 1: payload fractions are not 64, 32, 32"));
        }
        let schema_format = field(44);
        if schema_format > 4 {
            return Err(Error::corrupt(format!("page 1: schema format {schema_format} is unknown")));
        }
        match field(56) {
            0 | 1 => {}
            2 | 3 => return Err(Error::corrupt("UTF-16 databases are not supported")),
            other => return Err(Error::corrupt(format!("page 1: text encoding {other} is unknown"))),
        }
        let pages_in_file = u32::try_from(file.len() / page_bytes).unwrap_or(u32::MAX);
        // The count in the header holds only if the last writer knew about it (as SQLite decides).
        let pages_in_header = field(28);
        let header_holds = pages_in_header > 0 && field(24) == field(92);
        let page_count = if header_holds { pages_in_header } else { pages_in_file };
        if page_count > pages_in_file || page_count == 0 {
            return Err(Error::corrupt(format!(
                "file is truncated: {} bytes hold {pages_in_file} of {} pages of {page_bytes} bytes",
                file.len(),
                page_count.max(1)
            )));
        }
        Ok(Self { page_bytes, usable_bytes, page_count, schema_format })
    }
}

/// A journal or write-ahead log with content means that the file alone is not the database.
fn refuse_unfinished_writes(path: &Path) -> Result<()> {
    let real = match fs::symlink_metadata(path) {
        Ok(m) if m.is_symlink() => {
            fs::canonicalize(path).map_err(|e| Error::read(&path.display().to_string(), &e))?
        }
        _ => path.to_owned(),
    };
    let wal = beside(&real, "-wal");
    if fs::metadata(&wal).is_ok_and(|m| m.len() > WAL_HEADER_BYTES) {
        return Err(Error::input(format!(
            "{}: write-ahead log has frames, checkpoint the database first",
            wal.display()
        )));
    }
    let journal = beside(&real, "-journal");
    if fs::metadata(&journal).is_ok_and(|m| m.is_file() && m.len() > 0) {
        let mut magic = [0; 8];
        let opened = File::open(&journal).and_then(|mut f| f.read_exact(&mut magic));
        if opened.is_ok() && magic == JOURNAL_MAGIC {
            return Err(Error::input(format!(
                "{}: hot rollback journal, recover the database first",
                journal.display()
            )));
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(change: impl FnOnce(&mut Vec<u8>)) -> Result<Header> {
        let mut file = vec![0; 1024];
        file[..16].copy_from_slice(MAGIC);
        file[16..18].copy_from_slice(&512u16.to_be_bytes());
        file[18..24].copy_from_slice(&[1, 1, 0, 64, 32, 32]);
        file[28..32].copy_from_slice(&2u32.to_be_bytes());
        change(&mut file);
        Header::parse(&file)
    }

    #[test]
    fn header_fields() {
        let good = header(|_| ()).unwrap();
        assert_eq!((good.page_bytes, good.usable_bytes, good.page_count), (512, 512, 2));
        let reserved = header(|f| f[20] = 32).unwrap();
        assert_eq!(reserved.usable_bytes, 480);
        let stale_count = header(|f| f[24] = 9).unwrap();
        assert_eq!(stale_count.page_count, 2);
    }

    #[test]
    fn header_lies_are_refused() {
        type Change = fn(&mut Vec<u8>);
        let cases: [(Change, &str); 9] = [
            (|f| f[0] = b'X', "not a database"),
            (|f| f.truncate(99), "not a database"),
            (|f| f[17] = 3, "page size 515"),
            (|f| f[19] = 3, "version 1/3"),
            (|f| f[20] = 33, "33 reserved"),
            (|f| f[21] = 65, "fractions"),
            (|f| f[47] = 5, "schema format 5"),
            (|f| f[59] = 2, "UTF-16"),
            (|f| f[31] = 3, "truncated"),
        ];
        for (change, expected) in cases {
            let message = header(change).unwrap_err().to_string();
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }
}
