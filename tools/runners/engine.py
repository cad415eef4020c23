"""The one place that talks to Docker: images, volumes, containers, uploads, and the removal of all of them.

Everything made here carries labels that name its owner (machine, process, start time), so that a later run can remove
what a killed one left. Files travel as tar streams through the API, never as bind mounts: a remote engine
(DOCKER_HOST, docker contexts) works the same as a local one.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import platform
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import docker
import docker.errors
import requests
from docker.context import ContextAPI
from docker.models.containers import Container

from tools.errors import CommandError, RunnerError
from tools.process import network_environment, tail_text

LABEL = "deadheat"
OWNER = "deadheat.owner"
CACHE = "deadheat.cache"
CA_PATH = "/deadheat-ca.pem"
CA_VARIABLES = (
    "SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CARGO_HTTP_CAINFO", "NODE_EXTRA_CA_CERTS",
)  # fmt: skip
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 600
ERRORS = (docker.errors.DockerException, requests.RequestException, OSError)


@cache
def client() -> docker.DockerClient:
    """The engine that DOCKER_HOST or the current docker context names.

    Raises:
        RunnerError: none answers.
    """
    try:
        found = docker.from_env(timeout=TIMEOUT_SECONDS) if os.environ.get("DOCKER_HOST") else _of_context()
        found.ping()
    except ERRORS as error:
        raise RunnerError(
            f"no Docker engine answers: {_cause(error)}", remedy="start dockerd, or use --runner host"
        ) from error
    atexit.register(_remove_own)
    return found


def answers() -> bool:
    """True when an engine can be used."""
    try:
        client()
    except RunnerError:
        return False
    return True


def _of_context() -> docker.DockerClient:
    context = ContextAPI.get_current_context()
    if context is None or context.Name == "default":
        return docker.from_env(timeout=TIMEOUT_SECONDS)
    return docker.DockerClient(base_url=context.Host, tls=context.TLSConfig or False, timeout=TIMEOUT_SECONDS)


def _cause(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:200]


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Failures of the engine become one line that says what was being done.

    Raises:
        RunnerError: the engine failed.
    """
    try:
        yield
    except ERRORS as error:
        raise RunnerError(
            f"Docker: {doing}: {_cause(error)}", remedy="see `docker info` and `invoke doctor`"
        ) from error


@cache
def owner() -> str:
    """Who made an object: machine, process and its start, so that a reused process number is not mistaken."""
    return f"{platform.node()}/{os.getpid()}/{_start_time(os.getpid())}"


def _start_time(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "gone"


def _is_orphan(labels: Mapping[str, str]) -> bool:
    """True when the owner lived on this machine and is gone."""
    node, _, rest = labels.get(OWNER, "").rpartition("/")[0].partition("/")
    start = labels.get(OWNER, "").rpartition("/")[2]
    return node == platform.node() and rest.isdigit() and _start_time(int(rest)) != start


def _is_cache(labels: Mapping[str, str]) -> bool:
    return labels.get(CACHE) == "1"


def labels() -> dict[str, str]:
    """Labels of everything temporary; what is made from a cached image would inherit the label of a cache."""
    return {LABEL: "1", OWNER: owner(), CACHE: "0"}


def sweep(*, everything: bool = False, caches: bool = False) -> list[str]:
    """Remove what killed runs left (or everything of ours); the names of what was removed."""
    with explained("removing leftovers"):
        return _remove_all(lambda found: caches if _is_cache(found) else everything or _is_orphan(found))


def _remove_own() -> None:
    """At exit: what Ctrl-C in the middle of a request left, which the engine made and whose id we never heard."""
    with contextlib.suppress(*ERRORS):
        _remove_all(lambda found: not _is_cache(found) and found.get(OWNER) == owner())


def _remove_all(doomed: Callable[[Mapping[str, str]], bool]) -> list[str]:
    removed = []
    only: dict[str, str | list[str] | bool] = {"label": LABEL}
    for container in client().containers.list(all=True, filters=only, ignore_removed=True):
        if doomed(container.labels):
            removed.append(f"container {container.name}")
            remove(container)
    for volume in client().volumes.list(filters=only):
        if doomed(volume.attrs.get("Labels") or {}):
            with contextlib.suppress(docker.errors.APIError):
                volume.remove(force=True)
                removed.append(f"volume {volume.name}")
    for image in client().api.images(filters=only):  # not images.list, which fails when one goes while it looks
        if doomed(image["Labels"] or {}):
            with contextlib.suppress(docker.errors.APIError):
                client().images.remove(image["Id"], force=True)
                removed.append(f"image {image['Id']}")
    return removed


def remove(container: Container) -> None:
    """Kill and remove, with its anonymous volumes; gone already is fine."""
    with contextlib.suppress(docker.errors.NotFound, docker.errors.APIError):
        container.remove(force=True, v=True)


@contextlib.contextmanager
def volume(purpose: str) -> Iterator[str]:
    """A temporary named volume."""
    name = f"deadheat-{os.getpid()}-{os.urandom(4).hex()}-{purpose}"
    with explained("making a volume"):
        made = client().volumes.create(name=name, labels=labels())
    try:
        yield name
    finally:
        with contextlib.suppress(docker.errors.APIError):
            made.remove(force=True)


def cache_volume(name: str) -> str:
    """A named volume that stays: package caches of one language."""
    full = f"deadheat-cache-{name}"
    with explained("making a cache volume"):
        client().volumes.create(name=full, labels={LABEL: "1", CACHE: "1"})
    return full


@contextlib.contextmanager
def container(image: str, command: Sequence[str], *, start: bool, **options: Any) -> Iterator[Container]:
    """A container that is removed whatever happens."""
    with explained(f"making a container of {image}"):
        made = client().containers.create(image, list(command), labels=labels(), **options)
    try:
        with explained(f"starting a container of {image}"):
            if start:
                made.start()
        yield made
    finally:
        remove(made)


def upload(target: Container, path: str, entries: Iterator[tuple[tarfile.TarInfo, Path | bytes]]) -> None:
    """Put files into a container (started or not) or into the volumes that it mounts."""
    with explained(f"uploading to {path}"):
        if not target.put_archive(path, _tar_stream(entries)):
            raise RunnerError(f"Docker: uploading to {path} failed")


def tree(folder: Path, ignored: Sequence[str] = ()) -> Iterator[tuple[tarfile.TarInfo, Path | bytes]]:
    """The files of a folder as entries that anybody may read."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(Path(part).match(pattern) for part in inside.parts for pattern in ignored):
            continue
        info = tarfile.TarInfo(inside.as_posix())
        info.mtime = int(path.lstat().st_mtime)
        if path.is_symlink():
            info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
            yield info, b""
        elif path.is_dir():
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            yield info, b""
        elif path.is_file():
            info.size, info.mode = path.stat().st_size, 0o755 if os.access(path, os.X_OK) else 0o644
            yield info, path


def entry(name: str, content: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    """One file from memory, dated a second ahead: a build tool that goes by dates must see that it is new."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), mode, int(time.time()) + 1
    return info, content


def folder_entry(name: str, uid: int, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    """One folder that belongs to `uid`."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, uid, uid
    return info, b""


def _tar_stream(entries: Iterator[tuple[tarfile.TarInfo, Path | bytes]]) -> Iterator[bytes]:
    """A tar file as it is made: gigabytes pass without a copy on disk or in memory."""
    for info, content in entries:
        yield info.tobuf(tarfile.PAX_FORMAT)
        if not info.isreg():
            continue
        if isinstance(content, bytes):
            yield content
        else:
            with content.open("rb") as file:
                left = info.size
                while left and (chunk := file.read(min(CHUNK_BYTES, left))):
                    left -= len(chunk)
                    yield chunk
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def download(source: Container, path: str) -> dict[str, bytes]:
    """The files under a path of a container, by their names relative to its parent."""
    with explained(f"downloading {path}"):
        chunks, _ = source.get_archive(path, chunk_size=CHUNK_BYTES)
        content = io.BytesIO(b"".join(chunks))
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=content) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None or not member.isdir():
                found[member.name] = file.read() if file else b""
    return found


def execute(target: Container, argv: Sequence[str], *, cwd: str = "/", env: Mapping[str, str] | None = None) -> bytes:
    """Run a command inside; its stdout.

    Raises:
        CommandError: it failed.
    """
    with explained(f"running {argv[0]}"):
        done: Any = target.exec_run(list(argv), workdir=cwd, environment=dict(env or {}), demux=True)
    out, err = (part or b"" for part in done.output)
    if done.exit_code:
        tail = tail_text(out + err)
        last = tail.strip().splitlines()[-1] if tail.strip() else "no output"
        raise CommandError(f"{' '.join(argv[:3])}: exit code {done.exit_code}: {last}", tail=tail)
    return bytes(out)


def give_network(target: Container) -> dict[str, str]:
    """The host's proxy settings and extra CA bundle for a container that fetches; the environment to use."""
    env = network_environment()
    for name in (*CA_VARIABLES, "SSL_CERT_DIR", "GIT_SSL_CAINFO", "PIP_FIND_LINKS"):
        env.pop(name, None)
    bundle = next((os.environ[name] for name in CA_VARIABLES if os.environ.get(name)), None)
    if bundle and Path(bundle).is_file():
        upload(target, "/", iter([entry(CA_PATH[1:], Path(bundle).read_bytes())]))
        env |= dict.fromkeys(CA_VARIABLES, CA_PATH)
    return env


class Conversation:
    """Stdin and stdout of a container's main process, as two binary files."""

    def __init__(self, target: Container) -> None:
        """Attach before the start, so that no byte is lost."""
        with explained("attaching"):
            raw = target.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        self._raw = raw
        self._socket = getattr(raw, "_sock", raw)
        self.writer: IO[bytes] = io.BufferedWriter(_Sender(self._socket))
        self.reader: IO[bytes] = io.BufferedReader(_Demultiplexer(self._socket), CHUNK_BYTES)

    def close(self) -> None:
        """Hang up; the launcher inside ends."""
        with contextlib.suppress(OSError, ValueError):
            self._socket.close()
            self._raw.close()


class _Sender(io.RawIOBase):
    """Writes to the attached stdin."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._socket.sendall(bytes(data))
        return len(data)


class _Demultiplexer(io.RawIOBase):
    """Stdout out of Docker's frames (stream, length, bytes); what is said on stderr is kept for error messages."""

    HEADER_BYTES = 8
    STDOUT = 1

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._left = 0
        self._stream = self.STDOUT
        self.stderr = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if not self._left and not self._next_frame():
                return 0
            chunk = self._socket.recv(min(self._left, len(buffer)))
            if not chunk:
                return 0
            self._left -= len(chunk)
            if self._stream == self.STDOUT:
                buffer[: len(chunk)] = chunk
                return len(chunk)
            self.stderr = (self.stderr + chunk)[-CHUNK_BYTES:]

    def _next_frame(self) -> bool:
        header = b""
        while len(header) < self.HEADER_BYTES:
            part = self._socket.recv(self.HEADER_BYTES - len(header))
            if not part:
                return False
            header += part
        self._stream, self._left = header[0], int.from_bytes(header[4:], "big")
        return self._left > 0 or self._next_frame()
