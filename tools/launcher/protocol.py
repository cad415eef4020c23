"""The launcher's protocol (its definition is the top comment of launcher.c): typed requests, replies and their bytes.

Pure: nothing here reads, writes or starts anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from tools.errors import LauncherError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAGIC = "DEADHEAT-LAUNCHER"
VERSION = 1
DEFAULT_CAP_BYTES = 1 << 20
MAX_FRAME_BYTES = 1 << 30
"""A reply longer than this is not a reply; the longest true one is two capped streams."""

Field = tuple[str, bytes]


class Kind(StrEnum):
    """How a program ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMEOUT = "timeout"
    FLOOD = "flood"
    OOM = "oom"
    SPAWN_FAILED = "spawn-failed"


@dataclass(frozen=True)
class Hello:
    """What the launcher could set up; goes into the record.

    network: host, isolated, isolated-userns, failed-<errno>. processes: shared, isolated, isolated-userns,
    failed-<errno>. tree: cgroup-v2, proc-scan.
    memory and pids: none, cgroup-v2, cgroup-v1, rlimit. wait: pidfd, sigchld.
    """

    pid: int
    network: str
    tree: str
    memory: str
    pids: str
    wait: str
    processes: str = "shared"


@dataclass(frozen=True)
class Rlimits:
    """Limits of each process of a run; None leaves the launcher's own."""

    nofile: int | None = None
    core_bytes: int = 0
    address_space_bytes: int | None = None
    data_bytes: int | None = None
    processes: int | None = None
    file_bytes: int | None = None


@dataclass(frozen=True)
class LaunchRequest:
    """One program to start. `argv[0]` is its path unless `program` is given; PATH is never searched."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """The whole environment: nothing is inherited."""
    cwd: str | None = None
    program: str | None = None
    stdin: str = "/dev/null"
    timeout_ms: int = 0
    """0 is none; not used by `start`."""
    cpus: str | None = None
    """For example `1` or `0,2-3`."""
    stdout_cap_bytes: int = DEFAULT_CAP_BYTES
    stderr_cap_bytes: int = DEFAULT_CAP_BYTES
    drop_overflow: bool = False
    """Forget output beyond the cap instead of killing the program as a flood (services with logs)."""
    rlimits: Rlimits = Rlimits()
    ready: str | None = None
    """`start` only: text that a line of its output contains once it is ready."""
    ready_timeout_ms: int = 0


@dataclass(frozen=True)
class LaunchReply:
    """How a run went. CPU time, memory, faults and switches cover the program and the children it waited for."""

    kind: Kind
    code: int
    """Exit code (exited), signal number (signalled, oom) or errno (spawn-failed)."""
    wall_ns: int
    user_ns: int
    sys_ns: int
    max_rss_bytes: int
    minor_faults: int
    major_faults: int
    voluntary_switches: int
    involuntary_switches: int
    leftover: int
    """Descendants that had to be killed after, or together with, the program."""
    unkilled: int
    """Processes that would not die: the machine is in trouble."""
    oom_kills: int
    steal_ticks: int
    total_ticks: int
    dropped_bytes: int
    stdout: bytes
    stderr: bytes
    psi_some_us: int | None = None
    step: str | None = None
    """What failed when kind is spawn-failed: stdin, pipe, clone, cwd, cpus, rlimit, dup2, exec."""

    @property
    def ok(self) -> bool:
        """Exit code 0 and no process left behind."""
        return self.kind is Kind.EXITED and self.code == 0 and self.leftover == 0

    @property
    def cpu_ns(self) -> int:
        """User and system time."""
        return self.user_ns + self.sys_ns

    @property
    def steal_share(self) -> float | None:
        """Share of all CPU time that the hypervisor took during the run; None when the run was shorter than a tick."""
        return self.steal_ticks / self.total_ticks if self.total_ticks > 0 else None


@dataclass(frozen=True)
class Started:
    """A long-lived program that is ready."""

    id: int
    pid: int
    """As the launcher sees it: with own pids, not a pid of this machine."""
    ready_ns: int
    """From just before its start to its ready line."""
    ready_line: bytes


@dataclass(frozen=True)
class Usage:
    """What the main process of a long-lived program has used so far."""

    user_ns: int
    sys_ns: int
    rss_bytes: int
    peak_rss_bytes: int
    threads: int
    fds: int = 0
    """Open descriptors; 0 where the kernel does not let us look."""


def parse_hello(line: bytes) -> Hello:
    """Read the launcher's first line.

    Raises:
        LauncherError: this is not our launcher, or another version of it.
    """
    words = line.decode("ascii", "replace").split()
    if words[:2] != [MAGIC, str(VERSION)]:
        shown = line[:80].decode("ascii", "backslashreplace").strip()
        raise LauncherError(f"the launcher said {shown!r} instead of {MAGIC} {VERSION}", remedy="build it again")
    facts = dict(word.partition("=")[::2] for word in words[2:])
    try:
        return Hello(pid=int(facts.pop("pid")), **facts)
    except (KeyError, TypeError, ValueError) as error:
        raise LauncherError(f"the launcher's hello is incomplete: {error}", remedy="build it again") from None


def request_fields(request: LaunchRequest) -> list[Field]:
    """All fields of a `run` or `start` request."""
    texts = [("arg", word) for word in request.argv]
    texts += [("env", f"{name}={value}") for name, value in request.env.items()]
    optional = {"cwd": request.cwd, "program": request.program, "cpus": request.cpus, "ready": request.ready}
    texts += [(key, text) for key, text in optional.items() if text is not None]
    texts += [("stdin", request.stdin), ("overflow", "drop" if request.drop_overflow else "kill")]
    texts += [(key, str(value)) for key, value in _numbers(request).items() if value is not None]
    return [(key, text.encode("utf-8", "surrogateescape")) for key, text in texts]


def _numbers(request: LaunchRequest) -> dict[str, int | None]:
    """The numeric fields of a request."""
    limits = request.rlimits
    return {
        "timeout_ms": request.timeout_ms,
        "ready_timeout_ms": request.ready_timeout_ms,
        "stdout_cap": request.stdout_cap_bytes,
        "stderr_cap": request.stderr_cap_bytes,
        "nofile": limits.nofile,
        "core": limits.core_bytes,
        "as": limits.address_space_bytes,
        "data": limits.data_bytes,
        "nproc": limits.processes,
        "fsize": limits.file_bytes,
    }


def encode_frame(verb: str, fields: list[Field]) -> bytes:
    """One frame: a head line and the fields behind it."""
    body = b"".join(b"%s %d\n%s\n" % (key.encode(), len(value), value) for key, value in fields)
    return b"%s %d\n%s" % (verb.encode(), len(body), body)


def parse_head(line: bytes) -> tuple[str, int]:
    """Verb and body length of a frame.

    Raises:
        LauncherError: the line is no head.
    """
    verb, _, length = line.decode("ascii", "replace").rstrip("\n").partition(" ")
    if not line.endswith(b"\n") or not length.isdecimal() or int(length) > MAX_FRAME_BYTES:
        raise LauncherError(f"the launcher sent {line[:80]!r} instead of a frame")
    return verb, int(length)


def parse_fields(body: bytes) -> dict[str, bytes]:
    """The fields of a reply by name.

    Raises:
        LauncherError: the body is malformed.
    """
    return dict(_walk(body))


def _walk(body: bytes) -> Iterator[Field]:
    """The fields of a body in order."""
    at = 0
    while at < len(body):
        newline = body.find(b"\n", at)
        key, _, length = body[at:newline].partition(b" ")
        end = newline + 1 + int(length) if newline >= 0 and length.isdigit() else len(body)
        if body[end : end + 1] != b"\n":
            raise LauncherError(f"the launcher sent a malformed field at byte {at}")
        yield key.decode("ascii", "replace"), body[newline + 1 : end]
        at = end + 1


def parse_result(fields: Mapping[str, bytes]) -> LaunchReply:
    """The reply to `run` or `wait`.

    Raises:
        LauncherError: a field is missing or no number.
    """
    try:
        psi = fields.get("psi_some_us")
        step = fields.get("step")
        return LaunchReply(
            kind=Kind(fields["kind"].decode()),
            stdout=fields["stdout"],
            stderr=fields["stderr"],
            psi_some_us=int(psi) if psi is not None else None,
            step=step.decode() if step is not None else None,
            **{name: int(fields[name]) for name in RESULT_NUMBERS},
        )
    except (KeyError, ValueError) as error:
        raise LauncherError(f"the launcher's result lacks or garbles {error}") from None


RESULT_NUMBERS = (
    "code", "wall_ns", "user_ns", "sys_ns", "max_rss_bytes", "minor_faults", "major_faults", "voluntary_switches",
    "involuntary_switches", "leftover", "unkilled", "oom_kills", "steal_ticks", "total_ticks", "dropped_bytes",
)  # fmt: skip


def parse_started(fields: Mapping[str, bytes]) -> Started:
    """The reply to `start` once the program is ready."""
    numbers = {name: int(fields[name]) for name in ("id", "pid", "ready_ns")}
    return Started(**numbers, ready_line=fields["ready_line"])


def parse_usage(fields: Mapping[str, bytes]) -> Usage:
    """The reply to `usage`."""
    return Usage(**{name: int(fields[name]) for name in Usage.__dataclass_fields__})
