//! The commands: their table, what a call sees, the errors, dispatch and transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::admin::{self, Server};
use crate::numbers::{LongDouble, parse_i64};
use crate::resp::{Args, MAX_QUERY_BYTES, OwnedArgs, Reply};
use crate::store::Store;
use crate::{hashes, keys, lists, sets, strings, zsets};

/// An error for the client, with its code in front.
#[derive(Debug)]
pub enum Refusal {
    Text(&'static str),
    Made(Vec<u8>),
}

pub type Outcome = Result<(), Refusal>;

pub const WRONG_TYPE: Refusal =
    Refusal::Text("WRONGTYPE Operation against a key holding the wrong kind of value");
pub const SYNTAX: Refusal = Refusal::Text("ERR syntax error");
pub const NOT_INTEGER: Refusal = Refusal::Text("ERR value is not an integer or out of range");
pub const NOT_FLOAT: Refusal = Refusal::Text("ERR value is not a valid float");
pub const NOT_FINITE: Refusal = Refusal::Text("ERR increment would produce NaN or Infinity");
pub const NOT_A_NUMBER: Refusal = Refusal::Text("ERR resulting score is not a number (NaN)");
pub const NOT_POSITIVE: Refusal = Refusal::Text("ERR value is out of range, must be positive");
pub const NOT_IN_RANGE: Refusal = Refusal::Text(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);
pub const WOULD_OVERFLOW: Refusal = Refusal::Text("ERR increment or decrement would overflow");
pub const HASH_NOT_INTEGER: Refusal = Refusal::Text("ERR hash value is not an integer");
pub const HASH_NOT_FLOAT: Refusal = Refusal::Text("ERR hash value is not a float");
pub const NO_SUCH_KEY: Refusal = Refusal::Text("ERR no such key");
pub const INDEX_OUT_OF_RANGE: Refusal = Refusal::Text("ERR index out of range");
pub const TOO_LONG: Refusal =
    Refusal::Text("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
const OUT_OF_MEMORY: Refusal =
    Refusal::Text("OOM command not allowed when used memory > 'maxmemory'.");

pub fn wrong_arity(name: &str) -> Refusal {
    let name = name.to_ascii_lowercase();
    Refusal::Made(format!("ERR wrong number of arguments for '{name}' command").into_bytes())
}

fn misconfigured(reason: &str) -> Refusal {
    Refusal::Made(format!("MISCONF Errors writing to the AOF file: {reason}").into_bytes())
}

/// The error of a write whose log did not reach the disk.
pub fn write_lost(reason: &str) -> Vec<u8> {
    let mut reply = Reply::default();
    misconfigured(reason).write(&mut reply);
    reply.take()
}

impl Refusal {
    /// What EXEC says when it is refused itself.
    fn of_exec(&self) -> Self {
        let text = match self {
            Self::Text(text) => text.as_bytes(),
            Self::Made(text) => text,
        };
        let why = text.strip_prefix(b"ERR ").unwrap_or(text);
        Self::Made([b"EXECABORT Transaction discarded because of: ", why].concat())
    }

    fn write(&self, out: &mut Reply) {
        match self {
            Self::Text(text) => out.error(text.as_bytes()),
            Self::Made(text) => out.error(text),
        }
    }
}

/// The text up to its first zero byte, where Redis takes a text as a C string.
pub fn c_string(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The elements that a client means with two indexes, which count from the end when negative.
pub fn slice_range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let from_front = |index: i64| if index < 0 { index + len } else { index };
    let (start, end) = (from_front(start).max(0), from_front(end).min(len - 1));
    if start > end {
        return 0..0;
    }
    start as usize..end as usize + 1
}

/// All that the threads share.
pub struct Engine {
    pub store: Store,
    pub server: Server,
}

/// What the server knows of a client between two commands.
#[derive(Default)]
pub struct Session {
    pub id: u64,
    /// Close the connection once the replies are out.
    pub is_closing: bool,
    /// Close it now, without the replies.
    pub is_cut_off: bool,
    transaction: Option<Transaction>,
    watching: Vec<Vec<u8>>,
    is_touched: Arc<AtomicBool>, // a watched key was changed
}

/// The commands that wait for EXEC.
#[derive(Default)]
struct Transaction {
    queue: Vec<(&'static Command, OwnedArgs)>,
    bytes: usize,
    flags: u32, // of all queued commands
    is_refused: bool,
}

impl Session {
    pub fn new(id: u64) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    /// Leaves a transaction and watches nothing more.
    pub fn discard(&mut self, store: &mut Store) {
        self.transaction = None;
        for key in self.watching.drain(..) {
            store.watches.remove(&key, &self.is_touched);
        }
        self.is_touched.store(false, Ordering::Relaxed);
    }
}

/// One command on its way.
pub struct Call<'a> {
    pub store: &'a mut Store,
    pub server: &'a mut Server,
    pub session: &'a mut Session,
    pub args: Args<'a>,
    pub out: &'a mut Reply,
    is_logged_as_given: bool,
}

impl<'a> Call<'a> {
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args.at(index)
    }

    pub fn integer(&self, index: usize) -> Result<i64, Refusal> {
        parse_i64(self.arg(index)).ok_or(NOT_INTEGER)
    }

    pub fn positive(&self, index: usize) -> Result<usize, Refusal> {
        let number = parse_i64(self.arg(index)).ok_or(NOT_POSITIVE)?;
        usize::try_from(number).map_err(|_| NOT_POSITIVE)
    }

    pub fn long_double(&self, index: usize) -> Result<LongDouble, Refusal> {
        LongDouble::parse(self.arg(index)).ok_or(NOT_FLOAT)
    }

    /// The key has another value now: the command goes to the log as the client gave it.
    pub fn wrote(&mut self, key: &[u8]) {
        self.store.changed(key);
        self.is_logged_as_given = true;
    }

    /// The same, but the log gets another command with the same effect at any time.
    pub fn wrote_as(&mut self, key: &[u8], command: &[&[u8]]) {
        self.store.changed(key);
        self.store.log.append(command.iter().copied());
    }

    /// The whole key space has another value.
    pub fn wrote_all(&mut self) {
        self.is_logged_as_given = true;
    }
}

pub type Run = fn(&mut Call<'_>) -> Outcome;

pub struct Command {
    pub name: &'static str, // in capitals
    pub arity: i32,         // with the name; negative: at least so many
    pub flags: u32,
    pub keys: (i32, i32, i32), // first, last and step, as Redis tells them
    run: Run,
}

pub const WRITE: u32 = 1;
pub const READ: u32 = 2;
/// Refused when the memory is used up.
pub const GROWS: u32 = 4;
pub const FAST: u32 = 8;
pub const ADMIN: u32 = 16;
/// Done at once in a transaction, not queued.
const AT_ONCE: u32 = 32;
/// A PING tells that writes are refused, as in Redis.
const IS_PING: u32 = 64;
/// Refused in a transaction.
const NOT_IN_MULTI: u32 = 128;

const NO_KEYS: (i32, i32, i32) = (0, 0, 0);
const ONE_KEY: (i32, i32, i32) = (1, 1, 1);
const TWO_KEYS: (i32, i32, i32) = (1, 2, 1);
const ALL_KEYS: (i32, i32, i32) = (1, -1, 1);
const PAIRS: (i32, i32, i32) = (1, -1, 2);

const fn command(
    name: &'static str,
    arity: i32,
    flags: u32,
    keys: (i32, i32, i32),
    run: Run,
) -> Command {
    Command {
        name,
        arity,
        flags,
        keys,
        run,
    }
}

#[rustfmt::skip] // one line a command
pub static COMMANDS: [Command; 117] = [
    command("APPEND", 3, WRITE | GROWS | FAST, ONE_KEY, strings::append),
    command("BGREWRITEAOF", 1, ADMIN, NO_KEYS, admin::bgrewriteaof),
    command("CLIENT", -2, ADMIN, NO_KEYS, admin::client),
    command("COMMAND", -1, READ, NO_KEYS, admin::command),
    command("CONFIG", -2, ADMIN, NO_KEYS, admin::config),
    command("COPY", -3, WRITE | GROWS, TWO_KEYS, keys::copy),
    command("DBSIZE", 1, READ | FAST, NO_KEYS, keys::dbsize),
    command("DECR", 2, WRITE | GROWS | FAST, ONE_KEY, strings::decr),
    command("DECRBY", 3, WRITE | GROWS | FAST, ONE_KEY, strings::decrby),
    command("DEL", -2, WRITE, ALL_KEYS, keys::del),
    command("DISCARD", 1, FAST | AT_ONCE, NO_KEYS, discard),
    command("ECHO", 2, FAST, NO_KEYS, admin::echo),
    command("EXEC", 1, AT_ONCE, NO_KEYS, exec),
    command("EXISTS", -2, READ | FAST, ALL_KEYS, keys::exists),
    command("EXPIRE", -3, WRITE | FAST, ONE_KEY, keys::expire),
    command("EXPIREAT", -3, WRITE | FAST, ONE_KEY, keys::expireat),
    command("EXPIRETIME", 2, READ | FAST, ONE_KEY, keys::expiretime),
    command("FLUSHALL", -1, WRITE, NO_KEYS, keys::flushall),
    command("FLUSHDB", -1, WRITE, NO_KEYS, keys::flushall),
    command("GET", 2, READ | FAST, ONE_KEY, strings::get),
    command("GETDEL", 2, WRITE | FAST, ONE_KEY, strings::getdel),
    command("GETEX", -2, WRITE | FAST, ONE_KEY, strings::getex),
    command("GETRANGE", 4, READ, ONE_KEY, strings::getrange),
    command("GETSET", 3, WRITE | GROWS | FAST, ONE_KEY, strings::getset),
    command("HDEL", -3, WRITE | FAST, ONE_KEY, hashes::hdel),
    command("HELLO", -1, FAST, NO_KEYS, admin::hello),
    command("HEXISTS", 3, READ | FAST, ONE_KEY, hashes::hexists),
    command("HGET", 3, READ | FAST, ONE_KEY, hashes::hget),
    command("HGETALL", 2, READ, ONE_KEY, hashes::hgetall),
    command("HINCRBY", 4, WRITE | GROWS | FAST, ONE_KEY, hashes::hincrby),
    command("HINCRBYFLOAT", 4, WRITE | GROWS | FAST, ONE_KEY, hashes::hincrbyfloat),
    command("HKEYS", 2, READ, ONE_KEY, hashes::hkeys),
    command("HLEN", 2, READ | FAST, ONE_KEY, hashes::hlen),
    command("HMGET", -3, READ | FAST, ONE_KEY, hashes::hmget),
    command("HMSET", -4, WRITE | GROWS | FAST, ONE_KEY, hashes::hmset),
    command("HSCAN", -3, READ, ONE_KEY, hashes::hscan),
    command("HSET", -4, WRITE | GROWS | FAST, ONE_KEY, hashes::hset),
    command("HSETNX", 4, WRITE | GROWS | FAST, ONE_KEY, hashes::hsetnx),
    command("HSTRLEN", 3, READ | FAST, ONE_KEY, hashes::hstrlen),
    command("HVALS", 2, READ, ONE_KEY, hashes::hvals),
    command("INCR", 2, WRITE | GROWS | FAST, ONE_KEY, strings::incr),
    command("INCRBY", 3, WRITE | GROWS | FAST, ONE_KEY, strings::incrby),
    command("INCRBYFLOAT", 3, WRITE | GROWS | FAST, ONE_KEY, strings::incrbyfloat),
    command("INFO", -1, READ, NO_KEYS, admin::info),
    command("KEYS", 2, READ, NO_KEYS, keys::keys),
    command("LINDEX", 3, READ, ONE_KEY, lists::lindex),
    command("LINSERT", 5, WRITE | GROWS, ONE_KEY, lists::linsert),
    command("LLEN", 2, READ | FAST, ONE_KEY, lists::llen),
    command("LMOVE", 5, WRITE | GROWS, TWO_KEYS, lists::lmove),
    command("LPOP", -2, WRITE | FAST, ONE_KEY, lists::lpop),
    command("LPUSH", -3, WRITE | GROWS | FAST, ONE_KEY, lists::lpush),
    command("LPUSHX", -3, WRITE | GROWS | FAST, ONE_KEY, lists::lpushx),
    command("LRANGE", 4, READ, ONE_KEY, lists::lrange),
    command("LREM", 4, WRITE, ONE_KEY, lists::lrem),
    command("LSET", 4, WRITE | GROWS, ONE_KEY, lists::lset),
    command("LTRIM", 4, WRITE, ONE_KEY, lists::ltrim),
    command("MEMORY", -2, READ, NO_KEYS, admin::memory),
    command("MGET", -2, READ | FAST, ALL_KEYS, strings::mget),
    command("MSET", -3, WRITE | GROWS, PAIRS, strings::mset),
    command("MSETNX", -3, WRITE | GROWS, PAIRS, strings::msetnx),
    command("MULTI", 1, FAST | AT_ONCE, NO_KEYS, multi),
    command("OBJECT", -2, READ, NO_KEYS, keys::object),
    command("PERSIST", 2, WRITE | FAST, ONE_KEY, keys::persist),
    command("PEXPIRE", -3, WRITE | FAST, ONE_KEY, keys::pexpire),
    command("PEXPIREAT", -3, WRITE | FAST, ONE_KEY, keys::pexpireat),
    command("PEXPIRETIME", 2, READ | FAST, ONE_KEY, keys::pexpiretime),
    command("PING", -1, FAST | IS_PING, NO_KEYS, admin::ping),
    command("PSETEX", 4, WRITE | GROWS, ONE_KEY, strings::psetex),
    command("PTTL", 2, READ | FAST, ONE_KEY, keys::pttl),
    command("QUIT", -1, FAST | AT_ONCE, NO_KEYS, admin::quit),
    command("RANDOMKEY", 1, READ, NO_KEYS, keys::randomkey),
    command("RENAME", 3, WRITE, TWO_KEYS, keys::rename),
    command("RENAMENX", 3, WRITE | FAST, TWO_KEYS, keys::renamenx),
    command("RESET", 1, FAST | AT_ONCE, NO_KEYS, admin::reset),
    command("RPOP", -2, WRITE | FAST, ONE_KEY, lists::rpop),
    command("RPOPLPUSH", 3, WRITE | GROWS, TWO_KEYS, lists::rpoplpush),
    command("RPUSH", -3, WRITE | GROWS | FAST, ONE_KEY, lists::rpush),
    command("RPUSHX", -3, WRITE | GROWS | FAST, ONE_KEY, lists::rpushx),
    command("SADD", -3, WRITE | GROWS | FAST, ONE_KEY, sets::sadd),
    command("SCAN", -2, READ, NO_KEYS, keys::scan),
    command("SCARD", 2, READ | FAST, ONE_KEY, sets::scard),
    command("SDIFF", -2, READ, ALL_KEYS, sets::sdiff),
    command("SELECT", 2, FAST, NO_KEYS, admin::select),
    command("SET", -3, WRITE | GROWS, ONE_KEY, strings::set),
    command("SETEX", 4, WRITE | GROWS, ONE_KEY, strings::setex),
    command("SETNX", 3, WRITE | GROWS | FAST, ONE_KEY, strings::setnx),
    command("SETRANGE", 4, WRITE | GROWS, ONE_KEY, strings::setrange),
    command("SHUTDOWN", -1, ADMIN | NOT_IN_MULTI, NO_KEYS, admin::shutdown),
    command("SINTER", -2, READ, ALL_KEYS, sets::sinter),
    command("SISMEMBER", 3, READ | FAST, ONE_KEY, sets::sismember),
    command("SMEMBERS", 2, READ, ONE_KEY, sets::smembers),
    command("SMISMEMBER", -3, READ | FAST, ONE_KEY, sets::smismember),
    command("SMOVE", 4, WRITE | FAST, TWO_KEYS, sets::smove),
    command("SPOP", -2, WRITE | FAST, ONE_KEY, sets::spop),
    command("SRANDMEMBER", -2, READ, ONE_KEY, sets::srandmember),
    command("SREM", -3, WRITE | FAST, ONE_KEY, sets::srem),
    command("SSCAN", -3, READ, ONE_KEY, sets::sscan),
    command("STRLEN", 2, READ | FAST, ONE_KEY, strings::strlen),
    command("SUNION", -2, READ, ALL_KEYS, sets::sunion),
    command("TIME", 1, FAST, NO_KEYS, admin::time),
    command("TOUCH", -2, READ | FAST, ALL_KEYS, keys::touch),
    command("TTL", 2, READ | FAST, ONE_KEY, keys::ttl),
    command("TYPE", 2, READ | FAST, ONE_KEY, keys::type_of),
    command("UNLINK", -2, WRITE | FAST, ALL_KEYS, keys::del),
    command("UNWATCH", 1, FAST, NO_KEYS, unwatch),
    command("WATCH", -2, FAST | AT_ONCE, ALL_KEYS, watch),
    command("ZADD", -4, WRITE | GROWS | FAST, ONE_KEY, zsets::zadd),
    command("ZCARD", 2, READ | FAST, ONE_KEY, zsets::zcard),
    command("ZINCRBY", 4, WRITE | GROWS | FAST, ONE_KEY, zsets::zincrby),
    command("ZPOPMAX", -2, WRITE | FAST, ONE_KEY, zsets::zpopmax),
    command("ZPOPMIN", -2, WRITE | FAST, ONE_KEY, zsets::zpopmin),
    command("ZRANGE", -4, READ, ONE_KEY, zsets::zrange),
    command("ZRANGEBYSCORE", -4, READ, ONE_KEY, zsets::zrangebyscore),
    command("ZRANK", 3, READ | FAST, ONE_KEY, zsets::zrank),
    command("ZREM", -3, WRITE | FAST, ONE_KEY, zsets::zrem),
    command("ZREVRANGE", -4, READ, ONE_KEY, zsets::zrevrange),
    command("ZSCORE", 3, READ | FAST, ONE_KEY, zsets::zscore),
];

/// The bytes of a name as a number, in capitals. A name has letters only: masking the bit that
/// tells small letters from capitals makes no other byte a letter.
const fn folded(name: &[u8]) -> u128 {
    let (mut text, mut at) = ([0; MAX_NAME_BYTES], 0);
    while at < name.len() {
        text[at] = name[at];
        at += 1;
    }
    u128::from_le_bytes(text) & u128::from_le_bytes([0xdf; MAX_NAME_BYTES])
}

const MAX_NAME_BYTES: usize = 16;
const INDEX_SLOTS: usize = 512;
const FREE_SLOT: u8 = u8::MAX;

const fn slot_of(folded: u128) -> usize {
    let mixed = (folded as u64) ^ ((folded >> 64) as u64).rotate_left(29);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize
}

/// An open hash table of the commands, made by the compiler.
static INDEX: [u8; INDEX_SLOTS] = {
    let (mut slots, mut number) = ([FREE_SLOT; INDEX_SLOTS], 0);
    while number < NAMES.len() {
        let mut slot = slot_of(NAMES[number]);
        while slots[slot] != FREE_SLOT {
            slot = (slot + 1) % INDEX_SLOTS;
        }
        slots[slot] = number as u8;
        number += 1;
    }
    slots
};

static NAMES: [u128; COMMANDS.len()] = {
    let (mut names, mut number) = ([0; COMMANDS.len()], 0);
    while number < names.len() {
        names[number] = folded(COMMANDS[number].name.as_bytes());
        number += 1;
    }
    names
};

pub fn find_command(name: &[u8]) -> Option<&'static Command> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let folded = folded(name);
    let mut slot = slot_of(folded);
    loop {
        let number = usize::from(INDEX[slot]);
        if number == usize::from(FREE_SLOT) {
            return None;
        }
        if NAMES[number] == folded {
            let found = &COMMANDS[number];
            return (found.name.len() == name.len()).then_some(found);
        }
        slot = (slot + 1) % INDEX_SLOTS;
    }
}

/// A word behind a command that has several: its name, its arity with both names, what it does.
pub type Subcommand = (&'static str, i32, Run);

pub fn run_subcommand(call: &mut Call<'_>, container: &str, words: &[Subcommand]) -> Outcome {
    const SHOWN_BYTES: usize = 128;
    let word = call.arg(1);
    let found = words
        .iter()
        .find(|(name, ..)| word.eq_ignore_ascii_case(name.as_bytes()));
    let Some((name, arity, run)) = found else {
        let help = format!("'. Try {} HELP.", container.to_ascii_uppercase());
        let word = &word[..word.len().min(SHOWN_BYTES)];
        let text = [b"ERR unknown subcommand '", word, help.as_bytes()].concat();
        return Err(Refusal::Made(text));
    };
    if !takes(*arity, call.args.len()) {
        return Err(wrong_arity(&format!("{container}|{name}")));
    }
    run(call)
}

/// A negative arity is a least number of arguments.
fn takes(arity: i32, count: usize) -> bool {
    let wanted = arity.unsigned_abs() as usize;
    count == wanted || (arity < 0 && count > wanted)
}

impl Command {
    pub fn takes(&self, args: Args<'_>) -> bool {
        takes(self.arity, args.len())
    }

    fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
}

/// Does one command and writes its reply. True: something of it went to the log.
pub fn execute(
    engine: &mut Engine,
    session: &mut Session,
    args: Args<'_>,
    out: &mut Reply,
) -> bool {
    let start = out.len();
    let logged = engine.store.log.appended_bytes();
    if let Err(refusal) = dispatch(engine, session, args, out) {
        out.truncate(start);
        refusal.write(out);
    }
    engine.store.log.appended_bytes() != logged
}

fn dispatch(
    engine: &mut Engine,
    session: &mut Session,
    args: Args<'_>,
    out: &mut Reply,
) -> Outcome {
    let admitted = match find_command(args.at(0)) {
        None => Err(unknown(session, args)),
        Some(command) if !command.takes(args) => Err(wrong_arity(command.name)),
        Some(command) => admit(engine, session, command).map(|()| command),
    };
    let command = match admitted {
        Ok(command) => command,
        Err(refusal) if find_command(args.at(0)).is_some_and(|command| command.name == "EXEC") => {
            session.discard(&mut engine.store);
            return Err(refusal.of_exec());
        }
        Err(refusal) => {
            if let Some(transaction) = &mut session.transaction {
                transaction.is_refused = true;
            }
            return Err(refusal);
        }
    };
    if session.transaction.is_some() && !command.has(AT_ONCE) {
        return queue(session, command, args, out);
    }
    run(
        &mut engine.store,
        &mut engine.server,
        session,
        command,
        args,
        out,
    )
}

fn run(
    store: &mut Store,
    server: &mut Server,
    session: &mut Session,
    command: &Command,
    args: Args<'_>,
    out: &mut Reply,
) -> Outcome {
    server.commands_processed += 1;
    let mut call = Call {
        store,
        server,
        session,
        args,
        out,
        is_logged_as_given: false,
    };
    let outcome = (command.run)(&mut call);
    if call.is_logged_as_given {
        call.store.log.append(args.from(0));
    }
    outcome
}

/// A browser that is led to this port must not run commands with what it posts: as Redis does,
/// cut it off.
fn unknown(session: &mut Session, args: Args<'_>) -> Refusal {
    const SHOWN_BYTES: usize = 128;
    let name = args.at(0);
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        session.is_cut_off = true;
    }
    // Names and arguments end at a zero byte here: Redis prints them as C strings.
    let shown = |text: &[u8], most: usize| {
        let text = c_string(text);
        text[..text.len().min(most)].to_vec()
    };
    let mut listed = Vec::new();
    for argument in args.from(1) {
        if listed.len() >= SHOWN_BYTES {
            break;
        }
        let argument = shown(argument, SHOWN_BYTES - listed.len());
        listed.extend([b"'", argument.as_slice(), b"' "].concat());
    }
    let name = shown(name, SHOWN_BYTES);
    let parts = [
        b"ERR unknown command '",
        name.as_slice(),
        b"', with args beginning with: ",
        &listed,
    ];
    Refusal::Made(parts.concat())
}

/// Refuses what a transaction, the memory or the disk has no room for.
fn admit(engine: &mut Engine, session: &Session, command: &Command) -> Outcome {
    let queued = session.transaction.as_ref();
    if queued.is_some() && command.has(NOT_IN_MULTI) {
        return Err(Refusal::Text(
            "ERR Command not allowed inside a transaction",
        ));
    }
    let is_exec = command.name == "EXEC";
    let flags = command.flags | queued.filter(|_| is_exec).map_or(0, |queued| queued.flags);
    if engine.store.max_memory > 0 {
        let must_fit = flags & GROWS != 0 || (queued.is_some() && !command.has(AT_ONCE));
        let has_room = flags & (GROWS | WRITE) == 0 && !must_fit || engine.store.make_room();
        if must_fit && !has_room {
            return Err(OUT_OF_MEMORY);
        }
    }
    if flags & (WRITE | IS_PING) != 0
        && let Some(reason) = engine.store.log.failure()
    {
        return Err(misconfigured(&reason));
    }
    Ok(())
}

// --- transactions

fn queue(
    session: &mut Session,
    command: &'static Command,
    args: Args<'_>,
    out: &mut Reply,
) -> Outcome {
    let Some(transaction) = &mut session.transaction else {
        return Ok(());
    };
    let args = OwnedArgs::copy_of(args.from(0));
    transaction.bytes += args.bytes();
    if transaction.bytes > MAX_QUERY_BYTES {
        session.is_cut_off = true;
    }
    transaction.flags |= command.flags;
    transaction.queue.push((command, args));
    out.raw(b"+QUEUED\r\n");
    Ok(())
}

fn multi(call: &mut Call<'_>) -> Outcome {
    if call.session.transaction.is_some() {
        return Err(Refusal::Text("ERR MULTI calls can not be nested"));
    }
    call.session.transaction = Some(Transaction::default());
    call.out.ok();
    Ok(())
}

fn discard(call: &mut Call<'_>) -> Outcome {
    if call.session.transaction.is_none() {
        return Err(Refusal::Text("ERR DISCARD without MULTI"));
    }
    call.session.discard(call.store);
    call.out.ok();
    Ok(())
}

fn exec(call: &mut Call<'_>) -> Outcome {
    let Some(transaction) = call.session.transaction.take() else {
        return Err(Refusal::Text("ERR EXEC without MULTI"));
    };
    let is_overdue = call
        .session
        .watching
        .iter()
        .any(|key| call.store.is_overdue(key));
    let is_touched = call.session.is_touched.load(Ordering::Relaxed) || is_overdue;
    call.session.discard(call.store);
    if transaction.is_refused {
        return Err(Refusal::Text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    if is_touched {
        call.out.null_array();
        return Ok(());
    }
    call.out.array(transaction.queue.len());
    call.store.log.begin_group();
    for (command, args) in &transaction.queue {
        run_queued(call, command, args.args());
    }
    call.store.log.end_group();
    Ok(())
}

fn run_queued(call: &mut Call<'_>, command: &Command, args: Args<'_>) {
    let start = call.out.len();
    let outcome = run(
        call.store,
        call.server,
        call.session,
        command,
        args,
        call.out,
    );
    if let Err(refusal) = outcome {
        call.out.truncate(start);
        refusal.write(call.out);
    }
}

fn watch(call: &mut Call<'_>) -> Outcome {
    if call.session.transaction.is_some() {
        return Err(Refusal::Text("ERR WATCH inside MULTI is not allowed"));
    }
    for key in call.args.from(1) {
        call.store.contains(key); // one whose time has come goes now, not while it is watched
        if !call.session.watching.iter().any(|watched| watched == key) {
            call.session.watching.push(key.to_vec());
            call.store.watches.add(key, &call.session.is_touched);
        }
    }
    call.out.ok();
    Ok(())
}

fn unwatch(call: &mut Call<'_>) -> Outcome {
    let transaction = call.session.transaction.take();
    call.session.discard(call.store);
    call.session.transaction = transaction;
    call.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_alone() {
        for command in &COMMANDS {
            for name in [command.name.to_owned(), command.name.to_ascii_lowercase()] {
                let found = find_command(name.as_bytes()).expect(&name);
                assert_eq!(found.name, command.name);
            }
            let other = format!("{}\0", command.name);
            assert!(find_command(other.as_bytes()).is_none());
            assert!(
                find_command(&command.name.as_bytes()[1..])
                    .is_none_or(|found| found.name == &command.name[1..])
            );
        }
        for name in [
            &b""[..],
            b"NOSUCH",
            b"GE\x94",
            b"AVERYLONGCOMMANDNAME",
            b"HOST:",
        ] {
            assert!(find_command(name).is_none());
        }
        let names = COMMANDS.iter().map(|command| command.name);
        assert!(names.is_sorted_by(|a, b| a < b), "no name twice");
    }

    #[test]
    fn ranges_count_from_both_ends() {
        for (start, end, range) in [
            (0, -1, 0..5),
            (1, 2, 1..3),
            (-2, -1, 3..5),
            (-100, 100, 0..5),
            (3, 1, 0..0),
            (5, 9, 0..0),
            (0, -6, 0..0),
            (i64::MIN, i64::MAX, 0..5),
        ] {
            assert_eq!(slice_range(start, end, 5), range, "{start} {end}");
        }
        assert_eq!(slice_range(0, -1, 0), 0..0);
    }
}
