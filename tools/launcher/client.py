"""Build the launcher and speak with it: over the pipes of a subprocess, or any two binary streams (a Docker socket)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, TypedDict, Unpack

from tools import process
from tools.errors import BuildError, CommandError, LauncherError
from tools.launcher import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.launcher.protocol import Hello, LaunchReply, LaunchRequest, Started, Usage

SOURCE = Path(__file__).with_name("launcher.c")
TARGETS = {"x86_64": "x86_64-linux-musl", "aarch64": "aarch64-linux-musl"}
BUILD_TIMEOUT_SECONDS = 300
HELLO_MAX_BYTES = 400
END_TIMEOUT_SECONDS = 60
"""The launcher gives itself three times ten seconds to kill everything."""


class LauncherClient:
    """One launcher at the other end of two binary streams; one request at a time."""

    def __init__(self, to_launcher: IO[bytes], from_launcher: IO[bytes]) -> None:
        """Read the hello line.

        Raises:
            LauncherError: nobody, or somebody else, is at the other end.
        """
        self._to = to_launcher
        self._from = from_launcher
        self._lost = False
        self.hello: Hello = protocol.parse_hello(self._from.readline(HELLO_MAX_BYTES))

    def run(self, request: LaunchRequest) -> LaunchReply:
        """Run a program to its end; whatever it does is in the reply.

        Raises:
            LauncherError: the launcher did not understand, or is gone.
        """
        verb, fields = self._ask("run", protocol.request_fields(request))
        return protocol.parse_result(_expect("result", verb, fields))

    def start(self, request: LaunchRequest) -> Started | LaunchReply:
        """Start a long-lived program; a LaunchReply means that it ended, or was killed, before it was ready.

        Raises:
            LauncherError: as `run`.
        """
        verb, fields = self._ask("start", protocol.request_fields(request))
        if verb == "started":
            return protocol.parse_started(fields)
        return protocol.parse_result(_expect("result", verb, fields))

    def signal(self, started: Started, number: int) -> None:
        """Send a signal to the main process of a started program.

        Raises:
            LauncherError: it has ended (`wait` tells how), or as `run`.
        """
        verb, fields = self._ask("signal", _numbers(id=started.id, signal=number))
        _expect("done", verb, fields)

    def usage(self, started: Started) -> Usage:
        """CPU time and memory so far of the main process of a started program.

        Raises:
            LauncherError: it has ended, or as `run`.
        """
        verb, fields = self._ask("usage", _numbers(id=started.id))
        return protocol.parse_usage(_expect("usage", verb, fields))

    def wait(self, started: Started, timeout_ms: int) -> LaunchReply:
        """Wait for the end of a started program; after the timeout (0: none) its whole tree is killed.

        Raises:
            LauncherError: as `run`.
        """
        verb, fields = self._ask("wait", _numbers(id=started.id, timeout_ms=timeout_ms))
        return protocol.parse_result(_expect("result", verb, fields))

    def close(self) -> None:
        """Hang up: the launcher kills whatever runs, removes its cgroups and ends."""
        self._lost = True
        with contextlib.suppress(OSError):
            self._to.close()

    def __enter__(self) -> Self:
        """Give the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.close()

    def _ask(self, verb: str, fields: list[protocol.Field]) -> tuple[str, dict[str, bytes]]:
        """Send a request and read its reply.

        An exception in between (Ctrl-C too) leaves half a conversation behind, so the connection ends with it.
        """
        if self._lost:
            raise LauncherError("the connection to the launcher is closed")
        self._lost = True
        try:
            self._to.write(protocol.encode_frame(verb, fields))
            self._to.flush()
            reply = self._read_frame()
        except OSError as error:
            raise LauncherError(f"the launcher is gone: {error.strerror or error}") from error
        self._lost = False
        return reply

    def _read_frame(self) -> tuple[str, dict[str, bytes]]:
        """Read one whole frame."""
        head = self._from.readline(HELLO_MAX_BYTES)
        if not head:
            raise LauncherError("the launcher ended in the middle of a request")
        verb, length = protocol.parse_head(head)
        parts: list[bytes] = []
        while length > 0:
            parts.append(self._from.read(length))
            if not parts[-1]:
                raise LauncherError("the launcher ended in the middle of a reply")
            length -= len(parts[-1])
        return verb, protocol.parse_fields(b"".join(parts))


def _expect(wanted: str, verb: str, fields: dict[str, bytes]) -> dict[str, bytes]:
    """Turn the launcher's refusal into an exception."""
    if verb == wanted:
        return fields
    message = fields.get("message", verb.encode()).decode("utf-8", "replace")
    raise LauncherError(f"the launcher refused: {message}")


def _numbers(**values: int) -> list[protocol.Field]:
    """Fields of a request that has only numbers."""
    return [(name, str(value).encode()) for name, value in values.items()]


class Options(TypedDict, total=False):
    """What a launcher may be asked for; its hello says what it got."""

    no_network: bool
    own_pids: bool
    """Lanes see and can signal only each other, and cannot outlive the launcher."""
    cgroup_memory_bytes: int
    cgroup_pids: int
    cgroups: bool
    """False: do not even look for cgroups."""


@contextlib.contextmanager
def local_launcher(binary: Path, **options: Unpack[Options]) -> Iterator[LauncherClient]:
    """A launcher on this machine, in a session of its own (Ctrl-C reaches only us; it notices by the hang-up).

    Unlike in a container, `own_pids` is asked for unless the caller says no.

    Raises:
        LauncherError: it does not start.
    """
    asked: Options = {"own_pids": True, **options}
    words = launcher_command(str(binary), **asked)
    try:
        child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}, cwd="/", start_new_session=True
        )
    except OSError as error:
        raise LauncherError(f"cannot start {binary}: {error.strerror}", remedy="build it again") from error
    assert child.stdin is not None  # noqa: S101 - a fact of PIPE, said to the type checker
    assert child.stdout is not None  # noqa: S101 - as above
    with child:
        try:
            with LauncherClient(child.stdin, child.stdout) as client:
                yield client
        finally:
            child.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(END_TIMEOUT_SECONDS)
            child.kill()


def launcher_command(binary: str, **options: Unpack[Options]) -> list[str]:
    """The launcher's command line, for the host or for a container."""
    words = [binary]
    words += ["--no-network"] if options.get("no_network") else []
    words += ["--own-pids"] if options.get("own_pids") else []
    words += [] if options.get("cgroups", True) else ["--no-cgroup"]
    for name, limit in (("memory", options.get("cgroup_memory_bytes")), ("pids", options.get("cgroup_pids"))):
        words += [f"--cgroup-{name}", str(limit)] if limit else []
    return words


def build_launcher(zig: Path, out: Path, arch: str | None = None) -> Path:
    """Compile the launcher into the folder `out`, unless the same source and compiler did so before; its path.

    Raises:
        BuildError: the compiler is missing or refuses the source.
    """
    target = TARGETS.get(arch or os.uname().machine)
    if target is None:
        raise BuildError(f"the launcher knows no machine {arch or os.uname().machine}", remedy="add it to TARGETS")
    flags = ("-target", target, "-O2", "-static", "-s", "-Wall", "-Wextra", "-Werror")
    try:
        version = process.check([zig, "version"], timeout_seconds=BUILD_TIMEOUT_SECONDS)
        digest = hashlib.sha256(b"\0".join([SOURCE.read_bytes(), version, *map(str.encode, flags)])).hexdigest()
        binary = out / f"launcher-{digest[:16]}"
        if not binary.exists():
            _compile([str(zig), "cc", *flags, str(SOURCE)], binary)
    except CommandError as error:
        raise BuildError(f"the launcher does not build: {error}", remedy=error.tail or None) from error
    return binary


def _compile(command: list[str], binary: Path) -> None:
    """Compile next to the target and rename: two processes may race, and a killed one leaves no half program."""
    binary.parent.mkdir(parents=True, exist_ok=True)
    temporary = binary.with_name(f".{binary.name}.{os.getpid()}.deadheat-tmp")
    try:
        process.check([*command, "-o", temporary], timeout_seconds=BUILD_TIMEOUT_SECONDS)
        temporary.replace(binary)
    finally:
        temporary.unlink(missing_ok=True)
