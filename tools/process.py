"""The one door through which Deadheat starts helper processes (compilers, generators, oracles, git).

Timed runs do not pass here: they go through the launcher. Every process gets its own session, so that a timeout or
Ctrl-C ends the whole tree, and an argument list: no shell ever sees a value.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.errors import CommandError

TAIL_BYTES = 4000
LAST_WORDS_SECONDS = 5
SCANS = 10
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "TERM", "TMPDIR", "XDG_CACHE_HOME")
NETWORK_ENVIRONMENT = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CARGO_HTTP_CAINFO",
    "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY", "PIP_INDEX_URL", "PIP_FIND_LINKS", "GOPROXY", "GOSUMDB", "GONOSUMDB",
)  # fmt: skip
"""What people behind a company proxy set; passed on to steps that fetch."""


Release = Callable[[], None]


@dataclass(frozen=True)
class Finished:
    """What a helper process left."""

    returncode: int
    stdout: bytes
    stderr: bytes


def network_environment() -> dict[str, str]:
    """The variables of NETWORK_ENVIRONMENT that are set here."""
    return {name: os.environ[name] for name in NETWORK_ENVIRONMENT if name in os.environ}


def clean_environment(extra: Mapping[str, str] | None = None, *, network: bool = False) -> dict[str, str]:
    """A small environment: nothing of the person's shell reaches a build by accident."""
    env = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    env.setdefault("LANG", "C.UTF-8")
    if network:
        env |= network_environment()
    return env | dict(extra or {})


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_seconds: float | None = None,
) -> Finished:
    """Run to the end, whatever the exit code; the tree dies on timeout and on Ctrl-C.

    Raises:
        CommandError: the program does not exist, or ran into the timeout.
    """
    words = [str(word) for word in argv]
    with _interrupt_held() as release:
        try:
            process = subprocess.Popen(
                words, cwd=cwd, env=dict(env) if env is not None else clean_environment(),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise CommandError(f"{words[0]}: cannot start: {error.strerror}") from error
        return _finish(process, words[0], stdin, timeout_seconds, release)


def _finish(
    process: subprocess.Popen[bytes], name: str, stdin: bytes, timeout_seconds: float | None, release: Release
) -> Finished:
    """Wait for the end, or bring it about."""
    with process:
        try:
            release()
            out, err = process.communicate(stdin, timeout=timeout_seconds)
        except BaseException as error:
            kill_tree(process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):  # a daemon that got away may hold our pipes
                process.communicate(timeout=LAST_WORDS_SECONDS)
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandError(f"{name}: no end after {timeout_seconds:g} s") from None
            raise
    return Finished(process.returncode, out, err)


def check(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_seconds: float | None = None,
) -> bytes:
    """Like `run`, but a non-zero exit is an error that keeps the end of the output.

    Raises:
        CommandError: as `run`, or the command failed.
    """
    done = run(argv, cwd=cwd, env=env, stdin=stdin, timeout_seconds=timeout_seconds)
    if done.returncode:
        tail = tail_text(done.stdout + done.stderr)
        last = tail.strip().splitlines()[-1] if tail.strip() else "no output"
        name = " ".join(str(word) for word in argv[:3])
        raise CommandError(f"{name}: exit code {done.returncode}: {last}", tail=tail)
    return done.stdout


@contextlib.contextmanager
def _interrupt_held() -> Iterator[Release]:
    """Ctrl-C waits until `release`: between a fork and the moment where we know the child, nobody could end it."""
    usual = signal.default_int_handler
    if signal.getsignal(signal.SIGINT) is not usual or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    seen: list[int] = []

    def release() -> None:
        signal.signal(signal.SIGINT, usual)
        if seen:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield release
    finally:
        signal.signal(signal.SIGINT, usual)


def kill_tree(root: int) -> None:
    """Kill a process that `run` started, its descendants in whatever session, and the rest of its own session."""
    for _ in range(SCANS):  # more than once: a process may fork while we look
        found = _family(root)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _family(root: int) -> set[int]:
    """Living processes that descend from `root` or are in its session."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if words[0] in "ZX":
            continue
        pid = int(path.parent.name)
        parents[pid] = int(words[1])
        if root in {pid, int(words[3])}:
            found.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return found


def tail_text(output: bytes) -> str:
    """The end of a program's output, as text."""
    return output[-TAIL_BYTES:].decode("utf-8", "replace")
