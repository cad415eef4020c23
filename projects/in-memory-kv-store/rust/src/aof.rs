//! The append-only file: what it takes to log commands, to replay and check the log, and to
//! rewrite it compactly.
//!
//! Commands are collected in a buffer and written once per turn of the event loop, before the
//! replies of that turn leave. With `always` one fdatasync covers the whole turn; with
//! `everysec` a thread of its own syncs once a second; with `no` the kernel decides.
//!
//! A rewrite forks: the child writes the data set as it is at that moment, the parent goes on
//! serving and keeps what is logged meanwhile for the end of the new file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::failure::{Result, bad_request, escape, machine_failure, reason, system_failure};
use crate::numbers::{format_f64, parse_i64};
use crate::resp::{Args, MAX_BULK_BYTES, Span, write_command};
use crate::store::Store;
use crate::store::entry::{Entry, Object, Value};
use crate::store::table::Keyed;

/// When what was written is forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    Always,
    EverySecond,
    No,
}

impl Fsync {
    pub const ALL: [(&str, Self); 3] = [
        ("always", Self::Always),
        ("everysec", Self::EverySecond),
        ("no", Self::No),
    ];

    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, fsync)| *fsync == self);
        found.map_or("", |(name, _)| name)
    }
}

/// The log of a store; without a file it takes nothing.
pub struct Log {
    target: Option<Target>,
    buffer: Vec<u8>,
    group: Option<Group>, // while a transaction runs
    is_rewrite_scheduled: bool,
    appended_bytes: u64,
}

#[derive(Default)]
struct Group {
    text: Vec<u8>,
    commands: usize,
}

struct Target {
    path: PathBuf,
    file: Arc<File>,
    whole_bytes: u64, // the length of the file; it ends with a whole command
    fsync: Fsync,
    is_unsynced: bool,
    last_sync: Instant,
    syncer: Syncer,
    failure: Option<String>, // of the last write
    is_torn: bool,           // half a command stands behind the whole ones
    rewrite: Option<Rewrite>,
}

/// A child that writes a new log, and what was logged since it began.
struct Rewrite {
    child: Pid,
    temporary: PathBuf,
    since: Vec<u8>,
}

/// The buffers keep this much between turns.
const KEPT_BUFFER_BYTES: usize = 1 << 20;
const SYNC_EVERY: Duration = Duration::from_secs(1);

impl Log {
    pub fn off() -> Self {
        Self {
            target: None,
            buffer: Vec::new(),
            group: None,
            is_rewrite_scheduled: false,
            appended_bytes: 0,
        }
    }

    /// Opens the file for writing behind its last whole command.
    pub fn open(path: &Path, whole_bytes: u64, fsync: Fsync) -> Result<Self> {
        let shown = escape(path.as_os_str().as_encoded_bytes());
        let open = || -> io::Result<File> {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            if file.metadata()?.len() > whole_bytes {
                file.set_len(whole_bytes)?;
            }
            sync_folder(path)?;
            Ok(file)
        };
        let file = open().map_err(|error| system_failure(&shown, &error))?;
        let syncer = Syncer::start(path).map_err(|error| machine_failure(error.to_string()))?;
        Ok(Self {
            target: Some(Target {
                path: path.to_owned(),
                file: Arc::new(file),
                whole_bytes,
                fsync,
                is_unsynced: false,
                last_sync: Instant::now(),
                syncer,
                failure: None,
                is_torn: false,
                rewrite: None,
            }),
            ..Self::off()
        })
    }

    pub fn is_on(&self) -> bool {
        self.target.is_some()
    }

    /// Adds a command to what the next `commit` writes.
    pub fn append<'a>(&mut self, arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
        if self.target.is_none() {
            return;
        }
        if let Some(group) = &mut self.group {
            write_command(&mut group.text, arguments);
            group.commands += 1;
            return;
        }
        let start = self.buffer.len();
        self.select_database();
        write_command(&mut self.buffer, arguments);
        self.note_appended(start);
    }

    /// From here on the commands are one transaction, which a replay does wholly or not at all.
    pub fn begin_group(&mut self) {
        if self.target.is_some() {
            self.group = Some(Group::default());
        }
    }

    pub fn end_group(&mut self) {
        let Some(group) = self.group.take().filter(|group| group.commands > 0) else {
            return;
        };
        let start = self.buffer.len();
        self.select_database();
        if group.commands > 1 {
            write_command(&mut self.buffer, [&b"MULTI"[..]].into_iter());
        }
        self.buffer.extend_from_slice(&group.text);
        if group.commands > 1 {
            write_command(&mut self.buffer, [&b"EXEC"[..]].into_iter());
        }
        self.note_appended(start);
    }

    /// A file begins as one of Redis does.
    fn select_database(&mut self) {
        if self.file_bytes() == 0 && self.buffer.is_empty() {
            write_command(&mut self.buffer, [&b"SELECT"[..], b"0"].into_iter());
        }
    }

    fn note_appended(&mut self, start: usize) {
        let added = &self.buffer[start..];
        self.appended_bytes += added.len() as u64;
        let rewrite = self
            .target
            .as_mut()
            .and_then(|target| target.rewrite.as_mut());
        if let Some(rewrite) = rewrite {
            rewrite.since.extend_from_slice(added);
        }
    }

    /// Grows with every command logged.
    pub fn appended_bytes(&self) -> u64 {
        self.appended_bytes
    }

    pub fn buffered_bytes(&self) -> usize {
        let since = self
            .target
            .as_ref()
            .and_then(|target| target.rewrite.as_ref());
        self.buffer.capacity() + since.map_or(0, |rewrite| rewrite.since.capacity())
    }

    /// Why writes must be refused, when the last attempt to write or sync failed.
    pub fn failure(&self) -> Option<String> {
        let target = self.target.as_ref()?;
        let unsynced = || Some(reason(&target.syncer.error()?));
        target.failure.clone().or_else(unsynced)
    }

    /// Writes what was appended, and syncs it if every write must be on the disk. After an
    /// error the commands stay in the buffer, and the next call tries again.
    pub fn commit(&mut self) -> std::result::Result<(), String> {
        let Some(target) = &mut self.target else {
            return Ok(());
        };
        if self.buffer.is_empty() && target.failure.is_none() {
            return Ok(());
        }
        let outcome = target.write(&mut self.buffer);
        let text = outcome.err().map(|error| reason(&error));
        if text.is_some() != target.failure.is_some() {
            let state = text.as_deref().unwrap_or("working again");
            eprintln!("append-only file {}: {state}", target.path.display());
        }
        target.failure.clone_from(&text);
        text.map_or(Ok(()), Err)
    }

    /// What is due from time to time: syncs, retries, the end of a rewrite.
    pub fn tick(&mut self) {
        if self.commit().is_err() {
            return;
        }
        let Some(target) = &mut self.target else {
            return;
        };
        let is_due = target.is_unsynced && target.last_sync.elapsed() >= SYNC_EVERY;
        if target.fsync == Fsync::EverySecond && is_due && target.syncer.request(&target.file) {
            target.is_unsynced = false;
            target.last_sync = Instant::now();
        }
        // A sync that failed is asked for again, and writes are refused until one succeeds.
        target.is_unsynced |= target.syncer.error().is_some();
        target.finish_rewrite();
    }

    /// Inside of a transaction a rewrite must wait: its snapshot would hold half of it.
    pub fn schedule_in_group(&mut self) -> bool {
        self.is_rewrite_scheduled |= self.group.is_some();
        self.group.is_some()
    }

    pub fn is_rewrite_scheduled(&self) -> bool {
        self.is_rewrite_scheduled
    }

    /// The last commit and sync, before the program ends.
    pub fn close(&mut self) -> std::result::Result<(), String> {
        self.commit()?;
        if let Some(target) = &mut self.target {
            if let Some(rewrite) = target.rewrite.take() {
                rewrite.abort();
            }
            target.file.sync_data().map_err(|error| reason(&error))?;
        }
        Ok(())
    }

    pub fn set_fsync(&mut self, fsync: Fsync) {
        if let Some(target) = &mut self.target {
            target.fsync = fsync;
            // What was written under a weaker promise becomes as safe as what follows.
            if fsync == Fsync::Always && target.is_unsynced {
                target.failure = target.file.sync_data().err().map(|error| reason(&error));
                target.is_unsynced = target.failure.is_some();
            }
        }
    }

    pub fn file_bytes(&self) -> u64 {
        self.target.as_ref().map_or(0, |target| target.whole_bytes)
    }

    pub fn is_rewriting(&self) -> bool {
        self.target
            .as_ref()
            .is_some_and(|target| target.rewrite.is_some())
    }
}

impl Target {
    fn write(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        if !buffer.is_empty() {
            if self.is_torn {
                self.file.set_len(self.whole_bytes)?;
                self.is_torn = false;
            }
            if let Err(error) = (&*self.file).write_all(buffer) {
                // No half command may stay in front of what is written next.
                self.is_torn = self.file.set_len(self.whole_bytes).is_err();
                return Err(error);
            }
            self.whole_bytes += buffer.len() as u64;
            self.is_unsynced = true;
            buffer.clear();
            buffer.shrink_to(KEPT_BUFFER_BYTES);
        }
        if self.fsync == Fsync::Always && self.is_unsynced {
            self.file.sync_data()?;
            self.is_unsynced = false;
        }
        Ok(())
    }

    /// When the child has ended: adds what was logged since, and puts the new file in place.
    fn finish_rewrite(&mut self) {
        let Some(rewrite) = &self.rewrite else {
            return;
        };
        let ended = waitpid(Some(rewrite.child), WaitOptions::NOHANG);
        let is_written = match ended {
            Ok(None) => return,
            Ok(Some((_, status))) => status.exit_status() == Some(0),
            Err(_) => false,
        };
        let Some(rewrite) = self.rewrite.take() else {
            return;
        };
        let switched = if is_written {
            rewrite
                .put_in_place(&self.path)
                .map_err(|error| reason(&error))
        } else {
            Err("the child could not write it".into())
        };
        match switched {
            Ok((file, bytes)) => {
                (self.whole_bytes, self.file, self.is_unsynced) = (bytes, Arc::new(file), false);
            }
            Err(text) => {
                rewrite.remove_file();
                eprintln!(
                    "append-only file {}: the rewrite failed: {text}",
                    self.path.display()
                );
            }
        }
    }
}

impl Rewrite {
    /// Completes the new file and gives it the name of the log; answers it and its length.
    fn put_in_place(&self, path: &Path) -> io::Result<(File, u64)> {
        let mut file = OpenOptions::new().append(true).open(&self.temporary)?;
        file.write_all(&self.since)?;
        file.sync_data()?;
        let bytes = file.metadata()?.len();
        std::fs::rename(&self.temporary, path)?;
        // The new file has its name now, whatever happens here.
        if let Err(error) = sync_folder(path) {
            eprintln!("the folder of {}: {}", path.display(), reason(&error));
        }
        Ok((file, bytes))
    }

    /// Ends a child that still runs.
    fn abort(self) {
        let _ = kill_process(self.child, Signal::KILL);
        let _ = waitpid(Some(self.child), WaitOptions::empty());
        self.remove_file();
    }

    fn remove_file(&self) {
        let _ = std::fs::remove_file(&self.temporary); // it may not have been made yet
    }
}

/// A name in a folder is on the disk only when the folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The thread that waits for the disk once a second, so that the clients do not.
struct Syncer {
    requests: Sender<Arc<File>>,
    state: Arc<SyncState>,
}

#[derive(Default)]
struct SyncState {
    is_busy: AtomicBool,
    error_number: AtomicI32, // of the last sync; 0: it succeeded
}

impl Syncer {
    fn start(path: &Path) -> io::Result<Self> {
        let (requests, due) = channel::<Arc<File>>();
        let state = Arc::new(SyncState::default());
        let (shared, path) = (Arc::clone(&state), path.to_owned());
        let thread = std::thread::Builder::new().name("sync".into());
        thread.spawn(move || {
            for file in due {
                let error = file.sync_data().err();
                if let Some(error) = &error {
                    eprintln!(
                        "append-only file {}: fsync: {}",
                        path.display(),
                        reason(error)
                    );
                }
                let number = error.map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
                shared.error_number.store(number, Ordering::Relaxed);
                shared.is_busy.store(false, Ordering::Release);
            }
        })?;
        Ok(Self { requests, state })
    }

    /// Asks for a sync unless one is under way.
    fn request(&self, file: &Arc<File>) -> bool {
        let is_free = !self.state.is_busy.swap(true, Ordering::Acquire);
        is_free && self.requests.send(Arc::clone(file)).is_ok()
    }

    /// Why the last sync failed, if it did.
    fn error(&self) -> Option<io::Error> {
        let number = self.state.error_number.load(Ordering::Relaxed);
        (number != 0).then(|| io::Error::from_raw_os_error(number))
    }
}

// --- rewriting

/// Starts the child that writes the data set to a new file.
pub fn start_rewrite(store: &mut Store) -> io::Result<()> {
    store.log.is_rewrite_scheduled = false;
    let Some(target) = &store.log.target else {
        return Ok(());
    };
    let mut temporary = target.path.clone().into_os_string();
    temporary.push(format!(".rewrite-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // SAFETY: the child runs on this thread alone and only reads memory, allocates (glibc keeps
    // its allocator usable across fork), writes a file and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the child never uses the descriptors it inherited, nor do their owners run
        // here again. An inherited connection would not close when the parent closes it.
        unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
        let code = i32::from(dump(store, &temporary).is_err());
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(code) };
    }
    let Some(child) = Pid::from_raw(child).filter(|_| child > 0) else {
        return Err(io::Error::last_os_error());
    };
    if let Some(target) = &mut store.log.target {
        target.rewrite = Some(Rewrite {
            child,
            temporary,
            since: Vec::new(),
        });
    }
    Ok(())
}

/// The elements that one command of a rewritten log carries, as in Redis.
const ELEMENTS_PER_COMMAND: usize = 64;

fn dump(store: &Store, path: &Path) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut text = Vec::new();
    write_command(&mut text, [&b"SELECT"[..], b"0"].into_iter());
    for entry in store.entries() {
        dump_entry(entry, &mut text);
        out.write_all(&text)?;
        text.clear();
    }
    out.write_all(&text)?;
    out.into_inner()?.sync_data()
}

fn dump_entry(entry: &Entry, out: &mut Vec<u8>) {
    let key = entry.key();
    match entry.value() {
        Value::Text(text) => write_command(out, [b"SET", key, text].into_iter()),
        Value::Object(object) => dump_object(key, object, out),
    }
    if let Some(deadline) = entry.deadline() {
        let mut digits = itoa::Buffer::new();
        let at_ms = digits.format(deadline.at_ms).as_bytes();
        write_command(out, [b"PEXPIREAT", key, at_ms].into_iter());
    }
}

fn dump_object(key: &[u8], object: &Object, out: &mut Vec<u8>) {
    match object {
        Object::Text(text) => write_command(out, [b"SET", key, text].into_iter()),
        Object::List(list) => dump_elements(b"RPUSH", key, list.iter(), out),
        Object::Hash(hash) => {
            let elements = hash.pairs().flat_map(|(field, value)| [field, value]);
            dump_elements(b"HMSET", key, elements, out);
        }
        Object::Set(set) => {
            let mut members = Vec::new();
            set.for_each(&mut |member| members.push(member.to_vec()));
            dump_elements(b"SADD", key, members.iter().map(Vec::as_slice), out);
        }
        Object::Zset(zset) => {
            let scored: Vec<_> = zset
                .iter()
                .map(|(score, member)| (format_f64(score), member))
                .collect();
            let elements = scored
                .iter()
                .flat_map(|(score, member)| [score.as_bytes(), *member]);
            dump_elements(b"ZADD", key, elements, out);
        }
    }
}

fn dump_elements<'a>(
    command: &'a [u8],
    key: &'a [u8],
    mut elements: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) {
    loop {
        let mut arguments: Vec<&[u8]> = vec![command, key];
        arguments.extend(elements.by_ref().take(2 * ELEMENTS_PER_COMMAND));
        if arguments.len() == 2 {
            return;
        }
        write_command(out, arguments.into_iter());
    }
}

// --- reading

/// What a log holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    pub commands: u64,
    pub whole_bytes: u64, // up to the end of the last whole command
    pub torn_bytes: u64,  // of an unfinished command behind it
}

/// Reads a log and hands out every command; one that is refused, and text that is no command,
/// fail with the byte they stand at. A transaction without its end counts as unfinished.
pub fn read_log(
    path: &Path,
    mut take: impl FnMut(Args<'_>) -> std::result::Result<(), String>,
) -> Result<Contents> {
    let shown = escape(path.as_os_str().as_encoded_bytes());
    let file = File::open(path).map_err(|error| system_failure(&shown, &error))?;
    let mut window = Window::new(file);
    let mut spans = Vec::new();
    let mut contents = Contents {
        commands: 0,
        whole_bytes: 0,
        torn_bytes: 0,
    };
    let mut commands = 0;
    let mut is_in_transaction = false;
    loop {
        spans.clear();
        let start = window.offset;
        let corrupt = |at: u64, what: &str| bad_request(format!("{shown}: byte {at}: {what}"));
        match parse_logged(window.text(), &mut spans) {
            Logged::Command(length) => {
                let args = Args::new(&window.text()[..length], &spans);
                take(args).map_err(|what| corrupt(start, &what))?;
                let name = args.at(0);
                is_in_transaction = name.eq_ignore_ascii_case(b"MULTI")
                    || (is_in_transaction
                        && !name.eq_ignore_ascii_case(b"EXEC")
                        && !name.eq_ignore_ascii_case(b"DISCARD"));
                commands += 1;
                window.skip(length);
                if !is_in_transaction {
                    (contents.commands, contents.whole_bytes) = (commands, window.offset);
                }
            }
            Logged::Corrupt(at, what) => return Err(corrupt(start + at as u64, &what)),
            Logged::Incomplete => {
                let more = window.read_more();
                if !more.map_err(|error| system_failure(&shown, &error))? {
                    let end = window.offset + window.text().len() as u64;
                    contents.torn_bytes = end - contents.whole_bytes;
                    return Ok(contents);
                }
            }
        }
    }
}

/// The part of a file that is being looked at.
struct Window {
    file: File,
    buffer: Vec<u8>,
    start: usize,
    offset: u64, // in the file, of what starts at `start`
}

impl Window {
    const READ_BYTES: usize = 1 << 20;

    fn new(file: File) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            start: 0,
            offset: 0,
        }
    }

    fn text(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads as much as there is already, so that a long command is not parsed too often.
    fn read_more(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let wanted = self.buffer.len().max(Self::READ_BYTES) as u64;
        Ok((&self.file).take(wanted).read_to_end(&mut self.buffer)? > 0)
    }
}

enum Logged {
    Command(usize),
    Incomplete,
    Corrupt(usize, String),
}

/// Reads the command at the head of the text. Stricter than for clients: a log is written by
/// programs only, so whatever they would not write is damage.
fn parse_logged(text: &[u8], spans: &mut Vec<Span>) -> Logged {
    let (count, mut at) = match logged_header(text, 0, b'*') {
        Ok((0, _)) => return Logged::Corrupt(1, "a command without arguments".into()),
        Ok(found) => found,
        Err(other) => return other,
    };
    for _ in 0..count {
        let (length, start) = match logged_header(text, at, b'$') {
            Ok(found) => found,
            Err(other) => return other,
        };
        if length > MAX_BULK_BYTES {
            return Logged::Corrupt(at + 1, format!("an argument of {length} bytes"));
        }
        let end = start + length;
        match text.get(end..(end + 2).min(text.len().max(end))) {
            Some(b"\r\n") => {}
            None | Some(b"" | b"\r") => return Logged::Incomplete,
            Some(_) => return Logged::Corrupt(end, "no line end behind an argument".into()),
        }
        spans.push(Span::new(start, length));
        at = end + 2;
    }
    Logged::Command(at)
}

/// Reads `*3\r\n` or `$5\r\n`: the number, and where the next line begins.
fn logged_header(
    text: &[u8],
    at: usize,
    marker: u8,
) -> std::result::Result<(usize, usize), Logged> {
    const MAX_DIGITS: usize = 10;
    let line = &text[at..];
    match line.first() {
        None => return Err(Logged::Incomplete),
        Some(found) if *found != marker => {
            let (expected, found) = (char::from(marker), escape(&[*found]));
            return Err(Logged::Corrupt(
                at,
                format!("expected '{expected}', got '{found}'"),
            ));
        }
        Some(_) => {}
    }
    let digits = line[1..]
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .count();
    let number = parse_i64(&line[1..=digits]);
    match (&line[1 + digits..], number) {
        ([], _) | ([b'\r'], Some(_)) if digits <= MAX_DIGITS => Err(Logged::Incomplete),
        ([b'\r', b'\n', ..], Some(number)) if digits <= MAX_DIGITS => {
            Ok((number as usize, at + 1 + digits + 2))
        }
        _ => Err(Logged::Corrupt(
            at + 1,
            format!("no number behind '{}'", char::from(marker)),
        )),
    }
}

/// Cuts off the unfinished command at the end of a log.
pub fn cut_torn_tail(path: &Path, contents: &Contents) -> Result<()> {
    let shown = escape(path.as_os_str().as_encoded_bytes());
    let cut = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        rustix::fs::ftruncate(file.as_fd(), contents.whole_bytes)?;
        file.sync_all()
    };
    cut().map_err(|error| system_failure(&shown, &error))?;
    eprintln!(
        "append-only file {shown}: cut {} bytes of an unfinished command at byte {}",
        contents.torn_bytes, contents.whole_bytes
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Life, Policy};

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("kv-aof-{}-{name}", std::process::id()))
    }

    fn read_text(text: &[u8]) -> Result<(Contents, Vec<String>)> {
        let path = temporary(&format!("{:p}", text.as_ptr()));
        std::fs::write(&path, text).expect("a temporary file");
        let mut commands = Vec::new();
        let contents = read_log(&path, |args| {
            let words: Vec<_> = args.from(0).map(String::from_utf8_lossy).collect();
            commands.push(words.join(" "));
            Ok(())
        });
        std::fs::remove_file(&path).expect("the temporary file");
        contents.map(|contents| (contents, commands))
    }

    const TWO: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n";

    #[test]
    fn a_log_cut_anywhere_is_read_up_to_its_last_whole_command() {
        let first = TWO.len() - 14;
        for cut in 0..=TWO.len() {
            let (contents, commands) = read_text(&TWO[..cut]).expect("no corruption");
            let whole = if cut == TWO.len() {
                cut
            } else if cut >= first {
                first
            } else {
                0
            };
            assert_eq!(contents.whole_bytes, whole as u64, "{cut}");
            assert_eq!(contents.torn_bytes, (cut - whole) as u64, "{cut}");
            assert_eq!(commands.len() as u64, contents.commands);
        }
    }

    #[test]
    fn corruption_names_its_byte() {
        for (text, at) in [
            (&b"x"[..], "byte 0: expected '*', got 'x'"),
            (b"*0\r\n", "byte 1: a command without arguments"),
            (b"*1\r\n$4\r\nPINGxx*1", "byte 12: no line end"),
            (b"*1\r\n:4\r\n", "byte 4: expected '$', got ':'"),
            (b"*1\r\n$a\r\n", "byte 5: no number"),
            (b"*1\r\n$99999999999\r\n", "byte 5: no number"),
            (b"*1\r\n$600000000\r\n", "byte 5: an argument of"),
        ] {
            let failure = read_text(text).expect_err("corruption");
            assert!(failure.text.contains(at), "{failure}");
        }
    }

    #[test]
    fn a_transaction_without_its_end_is_unfinished() {
        let mut text = TWO.to_vec();
        write_command(&mut text, [&b"MULTI"[..]].into_iter());
        write_command(&mut text, [&b"SET"[..], b"a", b"b"].into_iter());
        let (contents, _) = read_text(&text).expect("no corruption");
        assert_eq!(
            (contents.commands, contents.whole_bytes),
            (2, TWO.len() as u64)
        );
        write_command(&mut text, [&b"EXEC"[..]].into_iter());
        let (contents, _) = read_text(&text).expect("no corruption");
        assert_eq!((contents.commands, contents.torn_bytes), (5, 0));
    }

    #[test]
    fn what_is_logged_is_read_again() {
        let path = temporary("log");
        let mut log = Log::open(&path, 0, Fsync::Always).expect("a log");
        log.append([&b"SET"[..], b"a", b"1"].into_iter());
        log.append([&b"DEL"[..], b"a"].into_iter());
        log.commit().expect("a write");
        assert_eq!(log.failure(), None);
        let mut names = Vec::new();
        let contents = read_log(&path, |args| {
            names.push(args.at(0).to_vec());
            Ok(())
        });
        assert_eq!(contents.expect("a sound log").whole_bytes, log.file_bytes());
        assert_eq!(names, [&b"SELECT"[..], b"SET", b"DEL"]);
        std::fs::remove_file(&path).expect("the log");
    }

    #[test]
    fn a_rewrite_holds_the_data_set() {
        let path = temporary("dump");
        let mut store = Store::new(Log::off(), 0, Policy::NoEviction);
        store.set_text(b"a", b"1", Life::Until(i64::MAX / 2));
        store.set_text(b"b", &vec![b'x'; 70_000], Life::Endless);
        dump(&store, &path).expect("a dump");
        let mut names = Vec::new();
        let contents = read_log(&path, |args| {
            names.push(String::from_utf8_lossy(args.at(0)).into_owned());
            Ok(())
        });
        assert_eq!(contents.expect("a sound log").commands, 4);
        names.sort();
        assert_eq!(names, ["PEXPIREAT", "SELECT", "SET", "SET"]);
        std::fs::remove_file(&path).expect("the dump");
    }
}
