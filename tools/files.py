"""The only place that writes files: whole or not at all, and never half of a set.

A write goes to a temporary file in the target's own folder, is flushed to the disk and then renamed over the target,
so a reader, a crash or `kill -9` sees the old bytes or the new ones, never a mixture. A crash may leave a temporary
file behind; its name says so (`leftovers` finds them) and nothing ever reads it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from tools.errors import WriteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TEMPORARY_SUFFIX = ".deadheat-tmp"
OWNER = re.compile(rf"\.([0-9]+)-[0-9a-f]{{8}}{re.escape(TEMPORARY_SUFFIX)}$")

# What compilers, test runners and editors leave in a lane's folder: never part of its source.
BUILD_OUTPUT = (
    "target", "zig-out", ".zig-cache", "zig-cache", "__pycache__", "node_modules", ".git",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", "*.pyc", "*.swp", "*~", ".DS_Store", f"*{TEMPORARY_SUFFIX}",
)  # fmt: skip


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace (or make) one file; its mode is kept, and on failure the old file stays and no temporary one does."""
    atomic_write_all({path: content})


def atomic_write_all(contents: Mapping[Path, bytes | str]) -> None:
    """Replace several files: all are written and flushed first, and if one cannot be, none is replaced."""
    staged: dict[Path, Path] = {}
    current = None
    try:
        for path, content in contents.items():
            current = path
            target = _resolved(path)
            staged[target] = _stage(target, _encoded(content))
        for target in _replace_all(staged):
            current = target
        for folder in {target.parent for target in staged}:
            _sync_folder(folder)
    except OSError as error:
        raise _write_error(current, error) from error
    finally:
        _remove(staged.values())


def atomic_create(path: Path, content: bytes | str) -> None:
    """Make a new file whole; a file that exists is an error and keeps its bytes, also when two writers race."""
    staged: Path | None = None
    try:
        with _explained(path):
            staged = _stage(path, _encoded(content))
            os.link(staged, path)  # unlike a rename, a link never replaces
            _sync_folder(path.parent)
    finally:
        _remove([staged] if staged else [])


def append(path: Path, content: str) -> None:
    """Add to the end of a file that is somebody else's, such as the summary of a CI job."""
    with _explained(path), path.open("ab") as file:
        file.write(content.encode())


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `path` (replacing an older one) when the block succeeds, else goes away."""
    temporary, doomed = _temporary_name(path), _temporary_name(path)
    try:
        with _explained(path):
            temporary.mkdir(parents=True)
        yield temporary
        with _explained(path):
            if path.exists():
                path.rename(doomed)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(doomed, ignore_errors=True)


def leftovers(folder: Path) -> list[Path]:
    """List the temporary files that a killed process left under `folder`."""
    return sorted(folder.rglob(f".*{TEMPORARY_SUFFIX}"))


def sweep(folder: Path) -> list[Path]:
    """Remove those whose process is gone, and list them; a writer that is alive keeps its own."""
    removed = []
    for path in leftovers(folder):
        owner = OWNER.search(path.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)  # a file is no tree: the next line is for it
            _remove([path])
            removed.append(path)
    return removed


def sha256_file(path: Path) -> str:
    """Hash the bytes of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: Path, ignore: Iterable[str] = BUILD_OUTPUT) -> str:
    """Hash names and bytes of a folder: the same tree gives the same hash on any machine, whatever its times and modes.

    `ignore` holds name patterns (`target`, `*.pyc`) of files and folders that do not count. A symbolic link counts
    by its text; it is never followed.
    """
    patterns = tuple(ignore)
    total = hashlib.sha256()
    for path in _tree_files(folder, patterns):
        name = path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")
        if path.is_symlink():
            kind, digest = b"link", hashlib.sha256(os.fsencode(path.readlink())).digest()
        else:
            kind, digest = b"file", bytes.fromhex(sha256_file(path))
        total.update(b"%s %d %s\0%s" % (kind, len(name), name, digest))
    return total.hexdigest()


def source_sha256(folder: Path) -> str:
    """Hash the sources of a lane: what a result is bound to, without build output."""
    return sha256_tree(folder, BUILD_OUTPUT)


def _tree_files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """List files and links below a folder in the order of their names' bytes."""
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [name for name in folders if name not in links and not _ignored(name, patterns)]
        found += [here / name for name in [*files, *links] if not _ignored(name, patterns)]
    return sorted((path for path in found if path.is_symlink() or path.is_file()), key=os.fsencode)


def _ignored(name: str, patterns: tuple[str, ...]) -> bool:
    """Say whether a name matches one of the patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def _encoded(content: bytes | str) -> bytes:
    """Text becomes UTF-8; line endings are never translated."""
    return content.encode() if isinstance(content, str) else content


def _resolved(path: Path) -> Path:
    """Write through a symbolic link to the file it names instead of replacing the link."""
    return path.resolve() if path.is_symlink() else path


def _temporary_name(path: Path) -> Path:
    """Name a temporary neighbour that nothing else has; short, so that a long target name still fits."""
    return path.with_name(f".{path.name[:80]}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")


def _stage(target: Path, content: bytes) -> Path:
    """Write and flush the content next to the target; a failure leaves nothing."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(target)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(content)
            file.flush()
            _copy_mode(target, file.fileno())
            os.fsync(file.fileno())
    except BaseException:
        _remove([temporary])
        raise
    return temporary


def _copy_mode(target: Path, descriptor: int) -> None:
    """Give the new file the mode, and where we may the owner, of the file that it replaces."""
    with contextlib.suppress(FileNotFoundError):
        old = target.stat()
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _replace_all(staged: Mapping[Path, Path]) -> Iterator[Path]:
    """Rename every staged file over its target, naming each before; undo all of them if one fails."""
    before: dict[Path, Path | None] = {}
    try:
        for target, temporary in staged.items():
            yield target
            if len(staged) > 1:
                before[target] = _second_name(target)
            temporary.replace(target)
    except BaseException:
        for target, backup in before.items():
            with contextlib.suppress(OSError):
                backup.replace(target) if backup else target.unlink()
        raise
    finally:
        _remove(backup for backup in before.values() if backup)


def _second_name(target: Path) -> Path | None:
    """Give the old file a second name to go back to (it costs no disk space); None where there is no old file."""
    if not target.exists():
        return None
    backup = _temporary_name(target)
    os.link(target, backup)
    return backup


def _sync_folder(folder: Path) -> None:
    """Flush a rename; some file systems do not offer this, and the data itself is flushed already."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(paths: Iterable[Path]) -> None:
    """Remove temporary files that are still there."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the system's error into ours."""
    try:
        yield
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path | None, error: OSError) -> WriteError:
    """Say in one line which file could not be written and why."""
    return WriteError(f"cannot write {path}: {error.strerror or error}", remedy="free the disk or fix the permissions")
