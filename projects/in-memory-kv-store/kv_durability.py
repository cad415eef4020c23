"""Durability: nothing acknowledged is lost by SIGKILL, torn and damaged logs are told, disks fill."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from kv_aof import (
    TOOL_SECONDS,
    dump_after_start,
    end_well,
    lane_check_aof,
    load_in_redis,
    logging_lane,
    random_commands,
    redis_check_aof,
)
from kv_checks import CheckError, Checks, Lab, compare_dumps, dump, eventually, expect, expect_equal
from kv_info import info
from kv_picks import STREAMS
from kv_servers import Server
from kv_wire import Client, command, encode, encode_all, shown

checks = Checks()


# --- kill -9 ---------------------------------------------------------------------------------------------------------


class Writer:
    """Sends numbered SETs in a pipeline without end and counts the acknowledged."""

    def __init__(self, client: Client, name: str) -> None:
        """Begin at number 0."""
        self.client, self.name = client, name
        self.made = self.acknowledged = 0
        self.owed = b""
        client.sock.setblocking(False)

    def step(self) -> None:
        """Send and read what the socket takes and has."""
        if len(self.owed) < 1 << 14:
            numbers = range(self.made, self.made + 100)
            self.owed += encode_all([command("SET", f"{self.name}:{n}", f"value {n}") for n in numbers])
            self.made += len(numbers)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.owed = self.owed[self.client.sock.send(self.owed[: 1 << 14]) :]
        self.read()

    def read(self) -> None:
        """Count the acknowledgements that have come."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.client.buffer += self.client.sock.recv(1 << 18)
        count = self.client.buffer.count(b"+OK\r\n")
        rest = bytes(self.client.buffer).replace(b"+OK\r\n", b"", count)
        self.acknowledged += count
        expect(b"+OK\r\n".startswith(rest), f"a SET was answered {shown(rest)}")
        self.client.buffer = bytearray(rest)

    def drain(self) -> None:
        """Read what the server had sent before it died."""
        with contextlib.suppress(OSError):
            self.client.sock.settimeout(0.2)
            while part := self.client.sock.recv(1 << 18):
                self.client.buffer += part
        self.client.sock.setblocking(False)
        self.read()


def write_until(writers: Sequence[Writer], seconds: float) -> None:
    """Let writers write for some time."""
    end = time.monotonic() + seconds
    sockets = [writer.client.sock for writer in writers]
    while time.monotonic() < end:
        for writer in writers:
            writer.step()
        select.select(sockets, [], [], 0.005)


def expect_kept(client: Client, writers: Sequence[Writer], what: str) -> None:
    """Raise when an acknowledged SET is missing, or when a later one is there without an earlier one."""
    for writer in writers:
        there = client.values([command("GET", f"{writer.name}:{n}") for n in range(writer.made)])
        kept = next((n for n, value in enumerate(there) if value != f"value {n}".encode()), writer.made)
        lost = writer.acknowledged - kept
        expect(lost <= 0, f"{what}: {lost} of {writer.acknowledged} acknowledged writes are lost, first {kept}")
        after = [n for n, value in enumerate(there) if n > kept and value is not None]
        expect(not after, f"{what}: write {after[:1]} is there, the earlier write {kept} of the same client is not")


def killed(fsync: str, clients: int, seconds: float, lab: Lab) -> None:
    """SIGKILL in the middle of pipelined writes loses no acknowledged write; what is left is a prefix."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path, fsync) as (lane, _), contextlib.ExitStack() as stack:
        writers = [Writer(stack.enter_context(lane.client()), f"w{n}") for n in range(clients)]
        write_until(writers, seconds)
        lane.kill()
        for writer in writers:
            writer.drain()
    total = sum(writer.acknowledged for writer in writers)
    expect(total > 50, f"only {total} writes were acknowledged in {seconds} s")
    with logging_lane(lab, path, fsync) as (lane, client):
        expect_kept(client, writers, f"kill -9 after {total} acknowledged writes")
        expect_equal("SET after the restart", b"+OK\r\n", client.raw("SET", "again", "works"))
        expected = dump(client)
        end_well(lane)
    compare_dumps("data set after a second restart", expected, dump_after_start(lab, path))
    expect_equal("redis-check-aof after the restart", 0, redis_check_aof(path)[0])


for round_number, (writer_count, write_seconds) in enumerate(
    [(1, 0.05), (1, 0.12), (1, 0.2), (4, 0.1), (4, 0.15), (20, 0.1)]
):
    name = f"aof/kill/always-{writer_count}-clients-{round_number + 1}"
    checks.add(name, partial(killed, "always", writer_count, write_seconds))


@checks.named("aof/kill/ask-and-wait")
def killed_ask_and_wait(lab: Lab) -> None:
    """Without pipelining: after each reply the command is in the file already."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client):
        for number in range(100):
            client.ask("SET", f"k{number}", number)
            expect(b"k%d\r\n" % number in path.read_bytes(), f"write {number} is acknowledged, but not in the file")
        lane.kill()
    expect_equal("keys", 100, len(dump_after_start(lab, path)))


@checks.named("aof/kill/everysec-older-writes")
def killed_everysec(lab: Lab) -> None:
    """Under everysec what is older than two seconds survives SIGKILL."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path, "everysec") as (lane, client):
        client.pipeline([command("SET", f"k{n}", n) for n in range(2000)])
        time.sleep(2.1)
        client.pipeline([command("SET", f"late{n}", n) for n in range(2000)])
        lane.kill()
    left = dump_after_start(lab, path)
    missed = [n for n in range(2000) if f"k{n}".encode() not in left]
    expect(not missed, f"{len(missed)} writes of two seconds before the kill are lost")


@checks.named("aof/kill/sigterm-in-the-middle")
def sigterm_in_the_middle(lab: Lab) -> None:
    """SIGTERM in the middle of pipelined writes loses no acknowledged write, under every policy."""
    for fsync in ("always", "everysec", "no"):
        path = lab.folder() / "kv.aof"
        with logging_lane(lab, path, fsync) as (lane, client):
            writers = [Writer(client, "w")]
            write_until(writers, 0.15)
            lane.signal(signal.SIGTERM)
            end = time.monotonic() + 8
            while lane.alive() and time.monotonic() < end:
                writers[0].read()
                time.sleep(0.005)
            expect_equal("exit code after SIGTERM", 0, lane.wait(0.1))
            writers[0].drain()
        with logging_lane(lab, path, fsync) as (_, client):
            expect_kept(client, writers, f"SIGTERM under {fsync}")


# --- torn tails and damage -------------------------------------------------------------------------------------------

WHOLE = [command("SET", "first", "value one"), command("RPUSH", "list", "a", "b"), command("SET", "third", "v")]
LAST = encode(command("SET", "last", "tail"))


@checks.named("aof/torn/every-cut-checked")
def torn_checked(lab: Lab) -> None:
    """--check-aof tells the unfinished bytes at every cut of the last command, with exit code 0."""
    path, whole = lab.folder() / "kv.aof", encode_all(WHOLE)
    for cut in range(1, len(LAST)):
        path.write_bytes(whole + LAST[:cut])
        expected = f"ok, 3 commands, {cut} bytes of an unfinished command at byte {len(whole)}\n"
        expect_equal(f"--check-aof with {cut} bytes of a command", (0, expected, ""), lane_check_aof(lab, path))
        expect_equal("size of the file after --check-aof", len(whole) + cut, path.stat().st_size)


@checks.named("aof/torn/every-cut-loaded")
def torn_loaded(lab: Lab) -> None:
    """At every cut of the last command the store starts with what is whole, cuts the file and says so."""
    path, whole = lab.folder() / "kv.aof", encode_all(WHOLE)
    expected = None
    for cut in range(1, len(LAST)):
        path.write_bytes(whole + LAST[:cut])
        with logging_lane(lab, path) as (lane, client):
            got = dump(client)
            expected = expected or got
            compare_dumps(f"data set with {cut} bytes of a command at the end", expected, got)
            expect_equal("keys", [b"first", b"list", b"third"], sorted(got))
            expect_equal(f"size of the file, cut was {cut}", len(whole), path.stat().st_size)
            expect(len(lane.stderr().splitlines()) == 1, f"one line on stderr about the cut: {lane.stderr()!r}")


@checks.named("aof/torn/goes-on")
def torn_goes_on(lab: Lab) -> None:
    """After a cut new commands follow the last whole one, and the file is sound."""
    path = lab.folder() / "kv.aof"
    path.write_bytes(encode_all(WHOLE) + LAST[:20])
    with logging_lane(lab, path) as (lane, client):
        client.pipeline([command("SET", f"k{n}", n) for n in range(100)])
        expected = dump(client)
        end_well(lane)
    expect_equal("redis-check-aof", 0, redis_check_aof(path)[0])
    compare_dumps("data set after a restart", expected, dump_after_start(lab, path))


@checks.named("aof/torn/inside-a-huge-value")
def torn_huge(lab: Lab) -> None:
    """A value of 1 MB that is half written is cut."""
    path, whole = lab.folder() / "kv.aof", encode_all(WHOLE)
    path.write_bytes(whole + encode(command("SET", "huge", b"x" * (1 << 20)))[: 1 << 19])
    expected = f"ok, 3 commands, {1 << 19} bytes of an unfinished command at byte {len(whole)}\n"
    expect_equal("--check-aof", (0, expected, ""), lane_check_aof(lab, path))
    expect_equal("keys", [b"first", b"list", b"third"], sorted(dump_after_start(lab, path)))


@checks.named("aof/torn/first-command")
def torn_first(lab: Lab) -> None:
    """A file of nothing but half a command is an empty store."""
    path = lab.folder() / "kv.aof"
    for cut in (1, 5, 20):
        path.write_bytes(LAST[:cut])
        expected = f"ok, 0 commands, {cut} bytes of an unfinished command at byte 0\n"
        expect_equal("--check-aof", (0, expected, ""), lane_check_aof(lab, path))
        expect_equal("keys", {}, dump_after_start(lab, path))
        expect_equal("size of the file", 0, path.stat().st_size)


@checks.named("aof/check/sound")
def check_sound(lab: Lab) -> None:
    """--check-aof counts the commands of sound files."""
    path = lab.folder() / "kv.aof"
    for commands in ([], WHOLE, WHOLE * 1000, [command("SET", "k", b"\r\n*1\r\n$" * 100)]):
        path.write_bytes(encode_all(commands))
        expected = (0, f"ok, {len(commands)} commands\n", "")
        if len(commands) != 1:
            expect_equal("--check-aof", expected, lane_check_aof(lab, path))
        else:  # the brief leaves "1 command" open
            code, stdout, _ = lane_check_aof(lab, path)
            expect(code == 0 and re.fullmatch(r"ok, 1 commands?\n", stdout), f"--check-aof: {code}, {stdout!r}")


SOUND = [command("SET", f"key{n}", f"value{n}") for n in range(8)]
DAMAGED = 3
LENGTH_AT = encode(SOUND[DAMAGED]).index(b"$4\r\nkey3")


def replaced(at: int, new: bytes) -> bytes:
    """Return the damaged command with other bytes at a place."""
    sound = encode(SOUND[DAMAGED])
    return sound[:at] + new + sound[at + len(new) :]


DAMAGE: dict[str, bytes] = {
    "star": replaced(0, b"x"),
    "star-as-nul": replaced(0, b"\x00"),
    "count-letter": replaced(1, b"q"),
    "count-larger": replaced(1, b"5"),
    "count-smaller": replaced(1, b"2"),
    "count-zero": replaced(1, b"0"),
    "count-without-cr": replaced(2, b"1"),
    "count-without-lf": replaced(3, b"x"),
    "dollar": replaced(4, b"%"),
    "dollar-as-star": replaced(4, b"*"),
    "length-letter": replaced(LENGTH_AT + 1, b"q"),
    "length-larger": replaced(LENGTH_AT + 1, b"6"),
    "length-smaller": replaced(LENGTH_AT + 1, b"2"),
    "length-minus": replaced(LENGTH_AT + 1, b"-"),
    "line-end-of-value": replaced(len(encode(SOUND[DAMAGED])) - 2, b"xx"),
    "zeros": bytes(len(encode(SOUND[DAMAGED]))),
    "inserted-line": b"garbage\r\n" + encode(SOUND[DAMAGED]),
    "one-byte-less": encode(SOUND[DAMAGED])[1:],
    "value-byte-less": encode(SOUND[DAMAGED])[:-4] + b"\r\n",
}


def damaged(damage: bytes, lab: Lab) -> None:
    """Damage in the middle is refused with exit code 2 and its place, also by --check-aof; nothing is cut."""
    before, after = encode_all(SOUND[:DAMAGED]), encode_all(SOUND[DAMAGED + 1 :])
    path = lab.folder() / "kv.aof"
    data = before + damage + after
    path.write_bytes(data)
    last = len(before) + len(damage) + len(encode(SOUND[DAMAGED + 1]))
    options = ["--listen", "127.0.0.1:0", "--appendonly", str(path)]
    for words in (["--check-aof", str(path)], options):
        expect_refusal(lab, words, path, len(before), last)
        expect(path.read_bytes() == data, f"{words[0]} changed the damaged file")


def expect_refusal(lab: Lab, words: list[str], path: Path, lowest: int, highest: int) -> None:
    """Raise unless the lane refuses a file with exit code 2 and a line that names a byte in a region."""
    run = subprocess.run([str(lab.program), *words], capture_output=True, timeout=TOOL_SECONDS, check=False)
    stderr = run.stderr.decode(errors="replace")
    text = f"{words[0]}: exit code {run.returncode}, stdout {run.stdout!r}, stderr {stderr!r}"
    expect(
        run.returncode == 2 and run.stdout == b"" and stderr.count("\n") == 1,
        f"expected exit code 2 and one line; {text}",
    )
    told = re.match(rf"error: {re.escape(str(path))}: byte (\d+): .+", stderr)
    expect(told, f"expected 'error: {path}: byte B: what'; {text}")
    assert told
    expect(lowest <= int(told[1]) <= highest, f"the damage is at bytes {lowest} to {highest}; {text}")


for damage_name, damage_bytes in DAMAGE.items():
    checks.add(f"aof/corrupt/{damage_name}", partial(damaged, damage_bytes))


@checks.named("aof/corrupt/unknown-command")
def corrupt_unknown_command(lab: Lab) -> None:
    """A command that no server knows is damage when the file is loaded."""
    path = lab.folder() / "kv.aof"
    before = encode_all(SOUND[:3])
    path.write_bytes(before + encode(command("NOSUCH", "a", "b")) + encode_all(SOUND[3:]))
    highest = len(before) + len(encode(command("NOSUCH", "a", "b")))
    expect_refusal(lab, ["--listen", "127.0.0.1:0", "--appendonly", str(path)], path, len(before), highest)


@checks.named("aof/corrupt/first-byte")
def corrupt_first_byte(lab: Lab) -> None:
    """A file that is no append-only file at all is refused at byte 0."""
    path = lab.folder() / "kv.aof"
    for data in (b"hello world\n" * 100, b"\x7fELF" + bytes(1000), b"REDIS0010" + bytes(100), b"\r\n" * 100):
        path.write_bytes(data)
        for words in (["--check-aof", str(path)], ["--listen", "127.0.0.1:0", "--appendonly", str(path)]):
            expect_refusal(lab, words, path, 0, 20)


# --- rewriting -------------------------------------------------------------------------------------------------------


def rewrite(client: Client) -> None:
    """Ask for a rewrite and wait until it is over."""
    raw = client.raw("BGREWRITEAOF")
    expect(raw.startswith(b"+"), f"BGREWRITEAOF: got {shown(raw)}")
    deadline = time.monotonic() + 20
    while rewriting(client):
        expect(time.monotonic() < deadline, "the rewrite is not over after 20 s")
        time.sleep(0.01)


def rewriting(client: Client) -> bool:
    """True while a rewrite runs or waits."""
    told = info(client, "persistence")
    return told.get("aof_rewrite_in_progress", "0") != "0" or told.get("aof_rewrite_scheduled", "0") != "0"


@checks.named("aof/rewrite/compacts")
def rewrite_compacts(lab: Lab) -> None:
    """BGREWRITEAOF leaves a small file with the same data, which redis loads too, and goes on logging."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path, "everysec") as (lane, client):
        for _ in range(20):
            client.pipeline([command("SET", f"k{n % 50}", n) for n in range(1000)])
        for kind in STREAMS:
            client.pipeline(random_commands(kind, 4))
        client.ask("RPUSH", "long", *range(1000))
        client.ask("SADD", "many", *range(1000))
        client.ask("HSET", "wide", *range(2000))
        client.ask("ZADD", "sorted", *(word for n in range(1000) for word in (n / 3, f"m{n}")))
        client.ask("PEXPIREAT", "long", 4_102_444_800_123)
        before = len(path.read_bytes())
        rewrite(client)
        client.pipeline([command("SET", f"later{n}", n) for n in range(10)])
        expected = dump(client)
        end_well(lane)
    data = path.read_bytes()
    expect(len(data) < before * 0.5, f"the file had {before} bytes, and has {len(data)} after a rewrite")
    expect_equal("redis-check-aof", 0, redis_check_aof(path)[0])
    with load_in_redis(lab, data) as reference, reference.client() as client:
        compare_dumps("data set in redis-server", expected, dump(client))
    compare_dumps("data set after a restart", expected, dump_after_start(lab, path))


@checks.named("aof/rewrite/while-writing")
def rewrite_while_writing(lab: Lab) -> None:
    """Writes during a rewrite are in the new file; SIGKILL right after it loses no acknowledged write."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client), lane.client() as other:
        client.pipeline([command("SET", f"k{n}", "x" * 100) for n in range(20_000)])
        writers = [Writer(other, "w")]
        write_until(writers, 0.05)
        for _ in range(3):
            client.send(encode(command("BGREWRITEAOF")))
            write_until(writers, 0.15)
            client.reply()
        lane.kill()
        writers[0].drain()
    with logging_lane(lab, path) as (lane, client):
        expect_kept(client, writers, "kill -9 after a rewrite under load")
        expect_equal("older keys", 20_000, len(client.ask("KEYS", "k*")))


def killed_during_rewrite(seconds: float, lab: Lab) -> None:
    """SIGKILL at some moment of a rewrite: the old or the new file counts, never half of one."""
    path = lab.folder() / "kv.aof"
    with logging_lane(lab, path) as (lane, client):
        client.pipeline([command("SET", f"k{n}", "x" * 1000) for n in range(4_000)])
        client.pipeline([command("RPUSH", f"l{n % 10}", n) for n in range(2_000)])
        expected = dump(client)
        client.send(encode(command("BGREWRITEAOF")))
        time.sleep(seconds)
        lane.kill()
    compare_dumps("data set after kill -9", expected, dump_after_start(lab, path))


for kill_seconds in (0.0, 0.003, 0.01, 0.03):
    checks.add(f"aof/rewrite/killed-after-{kill_seconds * 1000:.0f}-ms", partial(killed_during_rewrite, kill_seconds))


# --- what needs more than an ordinary user ---------------------------------------------------------------------------


def disk_full_recovers(lab: Lab) -> None:
    """A full disk: MISCONF for writes, reads go on, writes too once there is room; no acknowledged write is lost."""
    with small_disk(lab) as folder:
        path, filler = folder / "kv.aof", folder / "filler"
        filler.write_bytes(b"x" * 400_000)
        with logging_lane(lab, path, "everysec") as (lane, client):
            done = write_until_refused(client)
            expect_equal("GET on a full disk", b"value 0", client.ask("GET", "k0"))
            filler.unlink()
            eventually(lambda: client.raw("SET", "room", "again") == b"+OK\r\n", 5, "writes are taken again")
            end_well(lane)
        got = dump_after_start(lab, path)
        lost = [n for n in range(done) if f"k{n}".encode() not in got]
        expect(not lost, f"{len(lost)} of {done} acknowledged writes are lost, first k{lost[:1]}")
        expect(b"room" in got, "the write after the disk had room is lost")


def disk_full_always(lab: Lab) -> None:
    """Under always the very client whose write does not reach the disk gets MISCONF, and the write is not kept."""
    with small_disk(lab) as folder:
        path = folder / "kv.aof"
        with logging_lane(lab, path, "always") as (lane, client):
            done = write_until_refused(client)
            lane.kill()
        got = dump_after_start(lab, path)
        lost = [n for n in range(done) if f"k{n}".encode() not in got]
        expect(not lost, f"{len(lost)} of {done} acknowledged writes are lost, first k{lost[:1]}")


def write_until_refused(client: Client) -> int:
    """Write until MISCONF; return how many writes were acknowledged."""
    for number in range(30_000):
        raw = client.raw("SET", f"k{number}", f"value {number}" if number == 0 else b"x" * 500)
        if raw.startswith(b"-"):
            expect(
                raw.startswith(b"-MISCONF Errors writing to the AOF file: "), f"SET on a full disk: got {shown(raw)}"
            )
            return number
        if number % 100 == 99:
            time.sleep(0.002)
    raise CheckError("30,000 writes of 500 bytes were acknowledged on a disk of 1 MB")


@contextmanager
def small_disk(lab: Lab) -> Iterator[Path]:
    """Mount a file system of 1 MB."""
    folder = lab.folder()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    subprocess.run(words, check=True, timeout=TOOL_SECONDS)
    try:
        yield folder
    finally:
        words = ["umount", "-l", str(folder)]
        subprocess.run(words, check=False, timeout=TOOL_SECONDS)


def can_mount() -> bool:
    """True where a file system can be mounted."""
    return os.geteuid() == 0 and shutil.which("mount") is not None and mount_works()


def mount_works() -> bool:
    """Try it."""
    words = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(words, capture_output=True, timeout=TOOL_SECONDS, check=False).returncode == 0
    return False


def can_trace() -> bool:
    """True where system calls can be watched."""
    words = ["strace", "-f", "-qq", "-e", "trace=fsync", "true"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(words, capture_output=True, timeout=TOOL_SECONDS, check=False).returncode == 0
    return False


@contextmanager
def traced_lane(lab: Lab, path: Path, fsync: str) -> Iterator[tuple[Client, Path]]:
    """Start the lane with an append-only file under strace."""
    trace = lab.folder() / "trace"
    calls = "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync,sync_file_range"
    words = [
        *("strace", "-f", "-qq", "-s", "4096", "-e", calls, "-o", str(trace), str(lab.program)),
        *("--listen", "127.0.0.1:0", "--appendonly", str(path), "--appendfsync", fsync),
    ]
    with Server(words, lab.folder()) as server:
        server.read_ready_lines(1)
        with server.client() as client:
            yield client, trace


def fsync_before_reply(lab: Lab) -> None:
    """Under always every reply leaves after the command was written and the file was synced (watched by strace)."""
    with traced_lane(lab, lab.folder() / "kv.aof", "always") as (client, trace):
        for number in range(20):
            expect_equal("SET", b"+OK\r\n", client.raw("SET", "k", f"traced-{number}"))
        before = trace.read_text(errors="replace").count("sync(")
        client.pipeline([command("SET", "k", "group")] * 500)
        syncs = trace.read_text(errors="replace").count("sync(") - before
        expect(0 < syncs <= 100, f"500 commands in one piece cost {syncs} syncs; one for all that is at hand is enough")
    lines = trace.read_text(errors="replace").splitlines()
    for number in range(20):
        written = place_of(lines, rf"traced-{number}\\r", 0)
        synced = place_of(lines, r"(fsync|fdatasync).*= 0", written)
        replied = place_of(lines, r"\+OK\\r\\n", written)
        expect(written < len(lines), f"write {number} is not seen in a system call")
        expect(synced < replied < len(lines), f"write {number}: the reply leaves before the file is synced")


def place_of(lines: list[str], pattern: str, start: int) -> int:
    """Return the first line from a place on that has a pattern, or behind the last line."""
    found = re.compile(pattern)
    return next((n for n in range(start, len(lines)) if found.search(lines[n])), len(lines))


def fsync_every_second(lab: Lab) -> None:
    """Under everysec a write is synced within two seconds although nobody asks for anything (watched by strace)."""
    with traced_lane(lab, lab.folder() / "kv.aof", "everysec") as (client, trace):
        expect_equal("SET", b"+OK\r\n", client.raw("SET", "k", "traced-once"))
        pattern = re.compile(r"(fsync|fdatasync).*= 0|(fsync|fdatasync) resumed.*= 0")

        def synced() -> bool:
            _, _, after = trace.read_text(errors="replace").partition("traced-once")
            return bool(pattern.search(after))

        eventually(synced, 2.5, "the file is synced")


def never_synced(lab: Lab) -> None:
    """Under no the kernel decides: no reply waits for a sync (watched by strace)."""
    with traced_lane(lab, lab.folder() / "kv.aof", "no") as (client, trace):
        for number in range(20):
            expect_equal("SET", b"+OK\r\n", client.raw("SET", "k", f"traced-{number}"))
        time.sleep(0.3)
        text = trace.read_text(errors="replace")
        expect(not re.search(r"f(data)?sync\(", text.partition("traced-0")[2]), "the file is synced under no")


if can_mount():
    checks.add("aof/disk-full/recovers", disk_full_recovers)
    checks.add("aof/disk-full/always", disk_full_always)
if can_trace():
    checks.add("aof/fsync/always-before-the-reply", fsync_before_reply)
    checks.add("aof/fsync/every-second", fsync_every_second)
    checks.add("aof/fsync/no", never_synced)
