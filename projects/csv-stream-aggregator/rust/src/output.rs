//! Where the answer goes: always into the digest, once into a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh64::Xxh64;

use crate::failure::{Result, bad_request, escape_path, path_failure};
use crate::options::STANDARD_STREAM;

/// How much of the answer is rendered before it is passed on.
pub const ANSWER_BLOCK_BYTES: usize = 64 << 10;

/// Streams every answer into the digest, and one of them to a file.
pub struct AnswerWriter<'a> {
    pub digest: Xxh64,
    pub store_path: Option<&'a Path>, // set for the answer that is stored
    store: Option<OutputFile>,
}

impl AnswerWriter<'_> {
    pub fn new() -> Self {
        Self {
            digest: Xxh64::new(0),
            store_path: None,
            store: None,
        }
    }

    /// Opens the output only now: up to here, a bad input leaves nothing behind.
    pub fn write(&mut self, block: &[u8]) -> Result<()> {
        self.digest.update(block);
        let Some(path) = self.store_path else {
            return Ok(());
        };
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(OutputFile::open(path)?),
        };
        store.write(block)
    }

    /// Gives the stored answer its name.
    pub fn commit(&mut self) -> Result<()> {
        self.store.take().map_or(Ok(()), OutputFile::commit)
    }
}

/// Prints a text on standard output, and tells when that fails.
pub fn print_text(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|error| path_failure(Path::new("standard output"), &error))
}

/// Appears under its name when it is complete, or not at all.
enum OutputFile {
    Standard,
    /// A device or pipe is written to, not replaced.
    InPlace(File, PathBuf),
    Temporary(File, Temporary),
}

impl OutputFile {
    fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == STANDARD_STREAM {
            return Ok(Self::Standard);
        }
        let existing = fs::metadata(path).ok();
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(bad_request(format!(
                "{}: is a directory",
                escape_path(path)
            )));
        }
        let failed = |error| path_failure(path, &error);
        if existing.is_some_and(|metadata| !metadata.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok(Self::InPlace(file, path.to_owned()));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let short: String = name.chars().take(40).collect();
        // A process killed earlier may have left its file, and in a container had our number.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let unique = format!("{}.{}", std::process::id(), now.as_nanos());
        let temporary = path.with_file_name(format!(".{short}.{unique}.tmp"));
        let file = File::create_new(&temporary).map_err(failed)?;
        let target = path.to_owned();
        Ok(Self::Temporary(file, Temporary { temporary, target }))
    }

    fn write(&mut self, block: &[u8]) -> Result<()> {
        let (written, path) = match self {
            Self::Standard => {
                let mut stdout = io::stdout().lock();
                let written = stdout.write_all(block).and_then(|()| stdout.flush());
                (written, Path::new("standard output"))
            }
            Self::InPlace(file, path) => (file.write_all(block), path.as_path()),
            Self::Temporary(file, names) => (file.write_all(block), names.target.as_path()),
        };
        written.map_err(|error| path_failure(path, &error))
    }

    fn commit(self) -> Result<()> {
        let Self::Temporary(file, names) = self else {
            return Ok(());
        };
        drop(file);
        fs::rename(&names.temporary, &names.target)
            .map_err(|error| path_failure(&names.target, &error))?;
        std::mem::forget(names); // there is nothing left to remove
        Ok(())
    }
}

/// A file that goes away again unless it is committed.
struct Temporary {
    temporary: PathBuf,
    target: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary); // nothing better to do if it stays
    }
}
