"""The one door through which Deadheat starts helper processes (compilers, generators, oracles, git).

Timed runs do not pass here: they go through the launcher. Every process gets its own session, so that a timeout or
Ctrl-C ends the whole tree, and an argument list: no shell ever sees a value.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.errors import CommandError

TAIL_BYTES = 4000
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "TERM", "TMPDIR", "XDG_CACHE_HOME")
NETWORK_ENVIRONMENT = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CARGO_HTTP_CAINFO",
    "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY", "PIP_INDEX_URL", "PIP_FIND_LINKS", "GOPROXY", "GOSUMDB", "GONOSUMDB",
)  # fmt: skip
"""What people behind a company proxy set; passed on to steps that fetch."""


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
    try:
        process = subprocess.Popen(
            words, cwd=cwd, env=dict(env) if env is not None else clean_environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise CommandError(f"{words[0]}: cannot start: {error.strerror}") from error
    with process:
        try:
            out, err = process.communicate(stdin, timeout=timeout_seconds)
        except BaseException as error:
            kill_tree(process.pid)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandError(f"{words[0]}: no end after {timeout_seconds:g} s") from None
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
        tail = tail_text(done.stderr + done.stdout if done.stderr else done.stdout)
        last = tail.strip().splitlines()[-1] if tail.strip() else "no output"
        name = " ".join(str(word) for word in argv[:3])
        raise CommandError(f"{name}: exit code {done.returncode}: {last}", tail=tail)
    return done.stdout


def kill_tree(session: int) -> None:
    """Kill every process of the session that `run` opened."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)


def tail_text(output: bytes) -> str:
    """The end of a program's output, as text."""
    return output[-TAIL_BYTES:].decode("utf-8", "replace")
