//! The commands about connections and the server itself, and what the server knows of itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use crate::aof::{self, Fsync};
use crate::commands::{
    COMMANDS, Call, Command, FAST, GROWS, Outcome, READ, Refusal, SYNTAX, Subcommand, WRITE,
    find_command, run_subcommand, wrong_arity,
};
use crate::glob;
use crate::keys::check_database;
use crate::memory::{resident_bytes, used_bytes};
use crate::numbers::parse_i64;
use crate::options::parse_memory;
use crate::resp::{MAX_BULK_BYTES, Reply};
use crate::store::{Policy, Stats};

/// The version whose replies these are: clients look at it.
const REDIS_VERSION: &str = "7.0.15";

/// What the server knows of itself, beside the store.
pub struct Server {
    pub max_clients: usize,
    pub threads: usize,
    pub tcp_port: u16,
    pub fsync: Fsync,
    pub clients: BTreeMap<u64, Client>,
    pub commands_processed: u64,
    pub connections_received: u64,
    pub rejected_connections: u64,
    pub peak_bytes: usize,
    pub wants_shutdown: bool,
    last_client_id: u64,
    run_id: String,
    started: Instant,
}

/// What CLIENT LIST tells of a client.
pub struct Client {
    address: String,
    local_address: String,
    name: String,
    connected: Instant,
}

impl Server {
    pub fn new(max_clients: usize, threads: usize, fsync: Fsync) -> Self {
        let draw = || RandomState::new().hash_one(0);
        Self {
            max_clients,
            threads,
            tcp_port: 0,
            fsync,
            clients: BTreeMap::new(),
            commands_processed: 0,
            connections_received: 0,
            rejected_connections: 0,
            peak_bytes: 0,
            wants_shutdown: false,
            last_client_id: 0,
            run_id: format!("{:016x}{:016x}{:08x}", draw(), draw(), draw() as u32),
            started: Instant::now(),
        }
    }

    /// Takes a new client in, unless there are too many; answers its number.
    pub fn admit(&mut self, address: String, local_address: String) -> Option<u64> {
        if self.clients.len() >= self.max_clients {
            self.rejected_connections += 1;
            return None;
        }
        self.connections_received += 1;
        self.last_client_id += 1;
        let client = Client {
            address,
            local_address,
            name: String::new(),
            connected: Instant::now(),
        };
        self.clients.insert(self.last_client_id, client);
        Some(self.last_client_id)
    }

    pub fn forget_counters(&mut self) {
        self.commands_processed = 0;
        self.connections_received = 0;
        self.rejected_connections = 0;
    }

    pub fn note_peak(&mut self) {
        self.peak_bytes = self.peak_bytes.max(used_bytes());
    }
}

// --- connections

pub fn ping(call: &mut Call<'_>) -> Outcome {
    match call.args.len() {
        1 => call.out.simple("PONG"),
        2 => call.out.bulk(call.args.at(1)),
        _ => return Err(wrong_arity("ping")),
    }
    Ok(())
}

pub fn echo(call: &mut Call<'_>) -> Outcome {
    call.out.bulk(call.args.at(1));
    Ok(())
}

pub fn quit(call: &mut Call<'_>) -> Outcome {
    call.session.is_closing = true;
    call.out.ok();
    Ok(())
}

pub fn reset(call: &mut Call<'_>) -> Outcome {
    call.session.discard(call.store);
    set_name(call, b"")?;
    call.out.simple("RESET");
    Ok(())
}

pub fn select(call: &mut Call<'_>) -> Outcome {
    check_database(call.arg(1))?;
    call.out.ok();
    Ok(())
}

pub fn hello(call: &mut Call<'_>) -> Outcome {
    const NO_PROTOCOL: Refusal = Refusal::Text("NOPROTO unsupported protocol version");
    const NOT_A_VERSION: Refusal =
        Refusal::Text("ERR Protocol version is not an integer or out of range");
    if let Some(version) = call.args.get(1)
        && parse_i64(version).ok_or(NOT_A_VERSION)? != 2
    {
        return Err(NO_PROTOCOL);
    }
    let mut name = None;
    let mut at = 2;
    while let Some(word) = call.args.get(at) {
        let lower = word.to_ascii_lowercase();
        match (lower.as_slice(), call.args.len() - at - 1) {
            (b"setname", 1..) => {
                name = Some(call.arg(at + 1));
                at += 2;
            }
            // Without a password any is right for the one user there is.
            (b"auth", 2..) if call.arg(at + 1) == b"default" => at += 3,
            (b"auth", 2..) => {
                return Err(Refusal::Text(
                    "WRONGPASS invalid username-password pair or user is disabled.",
                ));
            }
            _ => {
                let text = [b"ERR Syntax error in HELLO option '", word, b"'"].concat();
                return Err(Refusal::Made(text));
            }
        }
    }
    if let Some(name) = name {
        set_name(call, name)?;
    }
    let out = &mut *call.out;
    out.array(14);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        out.bulk(field.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"proto");
    out.integer(2);
    out.bulk(b"id");
    out.integer(call.session.id as i64);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        out.bulk(field.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"modules");
    out.array(0);
    Ok(())
}

fn set_name(call: &mut Call<'_>, name: &[u8]) -> Outcome {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::Text(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ));
    }
    if let Some(client) = call.server.clients.get_mut(&call.session.id) {
        client.name = String::from_utf8_lossy(name).into_owned();
    }
    Ok(())
}

pub fn client(call: &mut Call<'_>) -> Outcome {
    const WORDS: &[Subcommand] = &[
        ("getname", 2, |call| {
            let client = call.server.clients.get(&call.session.id);
            let name = client.map(|client| client.name.as_bytes());
            call.out.bulk_or_null(name.filter(|name| !name.is_empty()));
            Ok(())
        }),
        ("setname", 3, |call| {
            set_name(call, call.arg(2))?;
            call.out.ok();
            Ok(())
        }),
        ("setinfo", 4, |call| {
            match call.arg(2).to_ascii_lowercase().as_slice() {
                b"lib-name" | b"lib-ver" => {
                    call.out.ok();
                    Ok(())
                }
                word => Err(Refusal::Made(
                    [b"ERR Unrecognized option '", word, b"'"].concat(),
                )),
            }
        }),
        ("id", 2, |call| {
            call.out.integer(call.session.id as i64);
            Ok(())
        }),
        ("no-evict", 3, |call| {
            match call.arg(2).to_ascii_lowercase().as_slice() {
                // There is no eviction of clients: their buffers are bounded.
                b"on" | b"off" => {
                    call.out.ok();
                    Ok(())
                }
                _ => Err(SYNTAX),
            }
        }),
        ("info", 2, |call| {
            let id = call.session.id;
            let line = call
                .server
                .clients
                .get(&id)
                .map(|client| client_line(id, client));
            call.out.bulk(line.unwrap_or_default().as_bytes());
            Ok(())
        }),
        ("list", 2, |call| {
            let clients = call.server.clients.iter();
            let lines: String = clients
                .map(|(&id, client)| client_line(id, client))
                .collect();
            call.out.bulk(lines.as_bytes());
            Ok(())
        }),
    ];
    run_subcommand(call, "client", WORDS)
}

fn client_line(id: u64, client: &Client) -> String {
    let age = client.connected.elapsed().as_secs();
    let Client {
        address,
        local_address,
        name,
        ..
    } = client;
    format!(
        "id={id} addr={address} laddr={local_address} name={name} age={age} db=0 user=default resp=2\n"
    )
}

// --- the server

pub fn time(call: &mut Call<'_>) -> Outcome {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    call.out.array(2);
    call.out.bulk_integer(now.as_secs() as i64);
    call.out.bulk_integer(i64::from(now.subsec_micros()));
    Ok(())
}

pub fn shutdown(call: &mut Call<'_>) -> Outcome {
    const WORDS: [&[u8]; 5] = [b"save", b"nosave", b"now", b"force", b"abort"];
    let mut seen = [false; WORDS.len()];
    for given in call.args.from(1) {
        let found = WORDS
            .iter()
            .position(|word| given.eq_ignore_ascii_case(word));
        seen[found.ok_or(SYNTAX)?] = true;
    }
    let [saves, saves_not, .., aborts] = seen;
    if (saves && saves_not) || (aborts && seen[..WORDS.len() - 1].contains(&true)) {
        return Err(SYNTAX);
    }
    if aborts {
        return Err(Refusal::Text("ERR No shutdown in progress."));
    }
    call.session.is_closing = true;
    call.server.wants_shutdown = true;
    Ok(())
}

pub fn bgrewriteaof(call: &mut Call<'_>) -> Outcome {
    if !call.store.log.is_on() {
        return Err(Refusal::Text(
            "ERR there is no append-only file (see --appendonly)",
        ));
    }
    if call.store.log.is_rewriting() {
        return Err(Refusal::Text(
            "ERR Background append only file rewriting already in progress",
        ));
    }
    if call.store.log.schedule_in_group() {
        let text = "Background append only file rewriting scheduled";
        call.out.simple(text);
        return Ok(());
    }
    aof::start_rewrite(call.store).map_err(|error| {
        eprintln!("the rewrite of the log: {error}");
        Refusal::Text("ERR Can't execute an AOF background rewriting. Please check the server logs for more information.")
    })?;
    let text = "Background append only file rewriting started";
    call.out.simple(text);
    Ok(())
}

pub fn command(call: &mut Call<'_>) -> Outcome {
    const WORDS: &[Subcommand] = &[
        ("count", 2, |call| {
            call.out.count(COMMANDS.len());
            Ok(())
        }),
        // No documents: redis-cli then shows its own help.
        ("docs", -2, |call| {
            call.out.array(0);
            Ok(())
        }),
        ("info", -2, |call| {
            if call.args.len() == 2 {
                tell_all_commands(call.out);
                return Ok(());
            }
            call.out.array(call.args.len() - 2);
            for name in call.args.from(2) {
                match find_command(name) {
                    Some(command) => tell_command(call.out, command),
                    None => call.out.null_array(),
                }
            }
            Ok(())
        }),
    ];
    if call.args.len() == 1 {
        tell_all_commands(call.out);
        return Ok(());
    }
    run_subcommand(call, "command", WORDS)
}

fn tell_all_commands(out: &mut Reply) {
    out.array(COMMANDS.len());
    for command in &COMMANDS {
        tell_command(out, command);
    }
}

fn tell_command(out: &mut Reply, command: &Command) {
    const NAMED_FLAGS: [(u32, &str); 4] = [
        (WRITE, "write"),
        (READ, "readonly"),
        (GROWS, "denyoom"),
        (FAST, "fast"),
    ];
    let flags = NAMED_FLAGS
        .iter()
        .filter(|(flag, _)| command.flags & flag != 0);
    let (first, last, step) = command.keys;
    out.array(10);
    out.bulk(command.name.to_ascii_lowercase().as_bytes());
    out.integer(i64::from(command.arity));
    out.array(flags.clone().count());
    flags.for_each(|(_, name)| out.simple(name));
    for number in [first, last, step] {
        out.integer(i64::from(number));
    }
    (0..4).for_each(|_| out.array(0)); // categories, tips, key specifications, subcommands
}

pub fn memory(call: &mut Call<'_>) -> Outcome {
    const WORDS: &[Subcommand] = &[("usage", -3, |call| {
        for at in (3..call.args.len()).step_by(2) {
            let is_samples = call.arg(at).eq_ignore_ascii_case(b"samples");
            if !is_samples || at + 1 == call.args.len() || call.integer(at + 1)? < 0 {
                return Err(SYNTAX);
            }
        }
        let key = call.arg(2);
        // All elements are looked at: a sample would be an estimate only.
        match call.store.usage(key) {
            Some(bytes) => call.out.count(bytes),
            None => call.out.null(),
        }
        Ok(())
    })];
    run_subcommand(call, "memory", WORDS)
}

// --- settings

/// The settings of CONFIG GET, and which of them CONFIG SET changes.
fn settings(call: &Call<'_>) -> [(&'static str, String); 8] {
    let yes_or_no = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    [
        ("maxmemory", call.store.max_memory.to_string()),
        ("maxmemory-policy", call.store.policy.name().to_owned()),
        ("maxclients", call.server.max_clients.to_string()),
        ("save", String::new()),
        ("appendonly", yes_or_no(call.store.log.is_on())),
        ("appendfsync", call.server.fsync.name().to_owned()),
        ("databases", "1".to_owned()),
        ("proto-max-bulk-len", MAX_BULK_BYTES.to_string()),
    ]
}

/// The settings that a client asks for. Redis answers a plain name as the client wrote it.
fn find_settings(call: &Call<'_>) -> Vec<(Vec<u8>, String)> {
    let mut found: Vec<(Vec<u8>, String)> = Vec::new();
    for pattern in call.args.from(2) {
        let is_plain = !pattern.iter().any(|byte| b"*?[".contains(byte));
        for (name, value) in settings(call) {
            let fits = glob::matches(pattern, name.as_bytes(), true);
            if fits
                && !found
                    .iter()
                    .any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            {
                let shown = if is_plain { pattern } else { name.as_bytes() };
                found.push((shown.to_vec(), value));
            }
        }
    }
    found
}

pub fn config(call: &mut Call<'_>) -> Outcome {
    const WORDS: &[Subcommand] = &[
        ("get", -3, |call| {
            let found = find_settings(call);
            call.out.array(2 * found.len());
            for (name, value) in found {
                call.out.bulk(&name);
                call.out.bulk(value.as_bytes());
            }
            Ok(())
        }),
        ("set", -4, config_set),
        ("resetstat", 2, |call| {
            call.store.stats = Stats::default();
            call.server.forget_counters();
            call.out.ok();
            Ok(())
        }),
    ];
    run_subcommand(call, "config", WORDS)
}

/// A new value for a setting, checked.
enum Setting {
    MaxMemory(usize),
    Policy(Policy),
    Fsync(Fsync),
}

/// All settings of a command are checked before the first is changed.
fn config_set(call: &mut Call<'_>) -> Outcome {
    if call.args.len() % 2 == 1 {
        return Err(SYNTAX);
    }
    let known = settings(call).map(|(name, _)| name);
    let names = call.args.from(2).step_by(2);
    for (number, name) in names.clone().enumerate() {
        let refuse = |what: &[u8]| {
            let parts = [
                b"ERR CONFIG SET failed (possibly related to argument '",
                name,
                b"') - ",
                what,
            ];
            Err(Refusal::Made(parts.concat()))
        };
        if !known
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        {
            let parts = [
                b"ERR Unknown option or number of arguments for CONFIG SET - '",
                name,
                b"'",
            ];
            return Err(Refusal::Made(parts.concat()));
        }
        if names
            .clone()
            .take(number)
            .any(|other| other.eq_ignore_ascii_case(name))
        {
            return refuse(b"duplicate parameter");
        }
    }
    let mut checked = Vec::new();
    for at in (2..call.args.len()).step_by(2) {
        let (name, value) = (call.arg(at), call.arg(at + 1));
        let setting = check_setting(&name.to_ascii_lowercase(), value).map_err(|what| {
            let what = what.as_bytes();
            let parts = [
                b"ERR CONFIG SET failed (possibly related to argument '",
                name,
                b"') - ",
                what,
            ];
            Refusal::Made(parts.concat())
        })?;
        checked.push(setting);
    }
    for setting in checked {
        match setting {
            Setting::MaxMemory(bytes) => call.store.max_memory = bytes,
            Setting::Policy(policy) => call.store.policy = policy,
            Setting::Fsync(fsync) => {
                call.server.fsync = fsync;
                call.store.log.set_fsync(fsync);
            }
        }
    }
    call.store.make_room();
    call.out.ok();
    Ok(())
}

fn check_setting(name: &[u8], value: &[u8]) -> Result<Setting, String> {
    fn choose<T: Copy>(value: &[u8], all: &[(&str, T)]) -> Result<T, String> {
        let mut all_names = all.iter().map(|(name, _)| *name);
        let found = all
            .iter()
            .find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|&(_, choice)| choice).ok_or_else(|| {
            let names = all_names.by_ref().collect::<Vec<_>>().join(", ");
            format!("argument(s) must be one of the following: {names}")
        })
    }
    match name {
        b"maxmemory" => {
            let bytes = parse_memory(value).ok_or("argument must be a memory value")?;
            Ok(Setting::MaxMemory(bytes))
        }
        b"maxmemory-policy" => choose(value, &Policy::ALL).map(Setting::Policy),
        b"appendfsync" => choose(value, &Fsync::ALL).map(Setting::Fsync),
        _ => Err("can't set immutable config".into()),
    }
}

// --- INFO

type Section = (&'static str, fn(&Call<'_>, &mut String) -> std::fmt::Result);

const SECTIONS: [Section; 6] = [
    ("Server", |call, text| {
        let uptime = call.server.started.elapsed().as_secs();
        writeln!(text, "redis_version:{REDIS_VERSION}")?;
        writeln!(text, "redis_mode:standalone")?;
        writeln!(text, "arch_bits:{}", usize::BITS)?;
        writeln!(text, "process_id:{}", std::process::id())?;
        writeln!(text, "run_id:{}", call.server.run_id)?;
        writeln!(text, "tcp_port:{}", call.server.tcp_port)?;
        writeln!(text, "threads:{}", call.server.threads)?;
        writeln!(text, "uptime_in_seconds:{uptime}")?;
        writeln!(text, "uptime_in_days:{}", uptime / 86_400)
    }),
    ("Clients", |call, text| {
        writeln!(text, "connected_clients:{}", call.server.clients.len())?;
        writeln!(text, "maxclients:{}", call.server.max_clients)
    }),
    ("Memory", |call, text| {
        let peak = call.server.peak_bytes.max(used_bytes());
        writeln!(text, "used_memory:{}", used_bytes())?;
        writeln!(text, "used_memory_rss:{}", resident_bytes())?;
        writeln!(text, "used_memory_peak:{peak}")?;
        writeln!(text, "maxmemory:{}", call.store.max_memory)?;
        writeln!(text, "maxmemory_policy:{}", call.store.policy.name())
    }),
    ("Persistence", |call, text| {
        let log = &call.store.log;
        let status = if log.failure().is_some() { "err" } else { "ok" };
        writeln!(text, "loading:0")?;
        writeln!(text, "aof_enabled:{}", u8::from(log.is_on()))?;
        writeln!(
            text,
            "aof_rewrite_in_progress:{}",
            u8::from(log.is_rewriting())
        )?;
        let is_scheduled = u8::from(log.is_rewrite_scheduled());
        writeln!(text, "aof_rewrite_scheduled:{is_scheduled}")?;
        writeln!(text, "aof_last_write_status:{status}")?;
        writeln!(text, "aof_current_size:{}", log.file_bytes())?;
        writeln!(text, "aof_buffer_length:{}", log.buffered_bytes())
    }),
    ("Stats", |call, text| {
        let (server, stats) = (&call.server, &call.store.stats);
        writeln!(
            text,
            "total_connections_received:{}",
            server.connections_received
        )?;
        writeln!(
            text,
            "total_commands_processed:{}",
            server.commands_processed
        )?;
        writeln!(text, "rejected_connections:{}", server.rejected_connections)?;
        writeln!(text, "expired_keys:{}", stats.expired)?;
        writeln!(text, "evicted_keys:{}", stats.evicted)?;
        writeln!(text, "keyspace_hits:{}", stats.hits)?;
        writeln!(text, "keyspace_misses:{}", stats.misses)
    }),
    ("Keyspace", |call, text| {
        let (keys, expires) = (call.store.len(), call.store.volatile_len());
        if keys == 0 {
            return Ok(());
        }
        let mean_ms = call.store.mean_life_ms();
        writeln!(text, "db0:keys={keys},expires={expires},avg_ttl={mean_ms}")
    }),
];

pub fn info(call: &mut Call<'_>) -> Outcome {
    let wanted: Vec<_> = call.args.from(1).map(<[u8]>::to_ascii_lowercase).collect();
    let is_all = wanted.is_empty()
        || wanted
            .iter()
            .any(|word| matches!(word.as_slice(), b"all" | b"everything" | b"default"));
    let mut text = String::new();
    for (name, tell) in &SECTIONS {
        let lower = name.to_ascii_lowercase();
        if is_all || wanted.iter().any(|word| word == lower.as_bytes()) {
            let separator = if text.is_empty() { "" } else { "\n" };
            let told = writeln!(text, "{separator}# {name}").and_then(|()| tell(call, &mut text));
            debug_assert!(told.is_ok(), "a String takes all text");
        }
    }
    call.out.bulk(text.replace('\n', "\r\n").as_bytes());
    Ok(())
}
