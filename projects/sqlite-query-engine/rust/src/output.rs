//! Where an answer goes: always into the digest, on the first repeat also into a file or to stdout.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicPtr, Ordering};

use xxhash_rust::xxh64::Xxh64;

use crate::error::{Error, Result};

const FLUSH_BYTES: usize = 64 * 1024;

pub enum Target {
    None,
    File(PartialFile),
    /// Kept until the end, since a failing query must print nothing.
    Stdout(Vec<u8>),
}

/// Collects answers. Rows are rendered into `buffer`, which is emptied when it is full.
pub struct Answer {
    pub buffer: Vec<u8>,
    hasher: Xxh64,
    target: Target,
}

impl Answer {
    pub fn new(target: Target) -> Self {
        Self { buffer: Vec::with_capacity(2 * FLUSH_BYTES), hasher: Xxh64::new(0), target }
    }

    #[inline]
    pub fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() < FLUSH_BYTES { Ok(()) } else { self.flush() }
    }

    pub fn flush(&mut self) -> Result<()> {
        self.hasher.update(&self.buffer);
        match &mut self.target {
            Target::None => {}
            Target::File(file) => file.write(&self.buffer)?,
            Target::Stdout(kept) => kept.extend_from_slice(&self.buffer),
        }
        self.buffer.clear();
        Ok(())
    }

    /// Ends one repeat. The target has its answer after the first; the others are only digested.
    pub fn end_repeat(&mut self) -> Result<()> {
        self.flush()?;
        match std::mem::replace(&mut self.target, Target::None) {
            Target::None => Ok(()),
            Target::File(file) => file.publish(),
            Target::Stdout(kept) => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&kept).and_then(|()| stdout.flush()).map_err(|e| Error::write("stdout", &e))
            }
        }
    }

    pub fn digest(&self) -> u64 {
        self.hasher.digest()
    }
}

/// The name of the unfinished file, for the exits that run no destructors.
static UNFINISHED: AtomicPtr<libc::c_char> = AtomicPtr::new(std::ptr::null_mut());

/// A file under another name until it is complete; removed if it never is.
pub struct PartialFile {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    is_published: bool,
}

impl PartialFile {
    pub fn create(path: &Path) -> Result<Self> {
        let failed = |e: &io::Error| Error::write(&path.display().to_string(), e);
        if path.is_dir() {
            return Err(failed(&io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let Some(name) = path.file_name() else {
            return Err(failed(&io::Error::from(io::ErrorKind::NotFound)));
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(hidden);
        let file = File::options().write(true).create_new(true).open(&partial).map_err(|e| failed(&e))?;
        if let Ok(name) = CString::new(partial.as_os_str().as_bytes()) {
            UNFINISHED.store(name.into_raw(), Ordering::Release);
        }
        Ok(Self { file, path: path.to_owned(), partial, is_published: false })
    }

    fn failed(&self, cause: &io::Error) -> Error {
        Error::write(&self.path.display().to_string(), cause)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| self.failed(&e))
    }

    fn publish(mut self) -> Result<()> {
        fs::rename(&self.partial, &self.path).map_err(|e| self.failed(&e))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        UNFINISHED.store(std::ptr::null_mut(), Ordering::Release);
        if !self.is_published {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Ends the process with this line and exit code 1, without allocating: also where nothing else may
/// be called, as in a signal handler.
#[cold]
pub fn exit_at_once(line: &[u8]) -> ! {
    remove_unfinished();
    // SAFETY: the buffer is a live slice of exactly this length; _exit ends the process.
    unsafe {
        libc::write(2, line.as_ptr().cast(), line.len());
        libc::_exit(1)
    }
}

fn remove_unfinished() {
    let name = UNFINISHED.load(Ordering::Acquire);
    if !name.is_null() {
        // SAFETY: the pointer came from CString::into_raw and is never freed, so it is a valid
        // NUL-terminated string for as long as the process lives.
        unsafe { libc::unlink(name) };
    }
}
