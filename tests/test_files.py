"""What the only writer of files promises: whole or not at all, alone and in sets."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.errors import WriteError
from tools.files import (
    atomic_create,
    atomic_folder,
    atomic_write,
    atomic_write_all,
    leftovers,
    sha256_tree,
    source_sha256,
    sweep,
)

ROOT = Path(__file__).resolve().parent.parent


def test_write_makes_and_replaces(tmp_path: Path) -> None:
    """A write makes the file (and its folder), a second one replaces it, and text keeps its line endings."""
    path = tmp_path / "new" / "a.txt"
    atomic_write(path, "eins\r\n")
    assert path.read_bytes() == b"eins\r\n"
    atomic_write(path, b"zwei")
    assert path.read_bytes() == b"zwei"
    assert leftovers(tmp_path) == []


def test_write_keeps_the_mode(tmp_path: Path) -> None:
    """A replaced file keeps its mode; a new one gets what the umask leaves."""
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o750)
    atomic_write(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    fresh = tmp_path / "b"
    atomic_write(fresh, "new")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o666 & ~umask


def test_write_goes_through_a_link(tmp_path: Path) -> None:
    """A symbolic link stays a link; the file behind it is replaced."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    atomic_write(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_one_bad_target_replaces_nothing(tmp_path: Path) -> None:
    """When one of a set cannot be written, all the others keep their old bytes and no temporary file stays."""
    good, folder = tmp_path / "good", tmp_path / "folder"
    good.write_text("old")
    folder.mkdir()
    with pytest.raises(WriteError, match="folder"):
        atomic_write_all({good: "new", folder: "new"})
    assert good.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_a_failed_rename_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a rename fails in the middle of a set, replaced files get their old bytes back and new ones go away."""
    paths = [tmp_path / name for name in ("a", "new", "c", "d")]
    for path in (paths[0], *paths[2:]):
        path.write_text("old")
    real = Path.replace

    def fails_at_c(self: Path, target: Path) -> Path:
        if target.name == "c" and self.read_text() == "new":
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fails_at_c)
    with pytest.raises(WriteError, match="/c: Input/output error"):
        atomic_write_all(dict.fromkeys(paths, "new"))
    assert [path.read_text() if path.exists() else None for path in paths] == ["old", None, "old", "old"]
    assert leftovers(tmp_path) == []


def test_create_refuses_to_overwrite(tmp_path: Path) -> None:
    """Creating over a file is an error that names it, and the file keeps its bytes."""
    path = tmp_path / "a.json"
    atomic_create(path, "first")
    with pytest.raises(WriteError, match=r"a\.json: File exists"):
        atomic_create(path, "second")
    assert path.read_text() == "first"
    assert leftovers(tmp_path) == []


def test_folder_appears_whole(tmp_path: Path) -> None:
    """A folder under construction gets its name at the end only; an exception leaves the old one."""
    target = tmp_path / "data"
    with atomic_folder(target) as folder:
        (folder / "x").write_text("1")
        assert not target.exists()
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as folder:
        (folder / "x").write_text(str(1 // 0))
    assert (target / "x").read_text() == "1"
    with atomic_folder(target) as folder:
        (folder / "y").write_text("3")
    assert sorted(path.name for path in target.iterdir()) == ["y"]
    assert leftovers(tmp_path) == []


def test_sweep_removes_what_the_dead_left(tmp_path: Path) -> None:
    """What processes that are gone left is removed, files and folders; what the living or others have stays."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [tmp_path / f".{name}.{dead.pid}-0123abcd.deadheat-tmp" for name in ("a", "b")]
    left[0].write_text("half")
    (left[1] / "inside").mkdir(parents=True)
    alive = tmp_path / f".c.{os.getpid()}-0123abcd.deadheat-tmp"
    foreign = tmp_path / ".d.deadheat-tmp"
    for path in (alive, foreign):
        path.write_text("mine")
    assert sweep(tmp_path) == left
    assert sorted(tmp_path.iterdir()) == [alive, foreign]


def test_tree_hash(tmp_path: Path) -> None:
    """The hash follows names and bytes, not times, modes or build output, and tells a link from a file."""
    for name in ("one", "two"):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "src" / "main.go").write_text("package main")
    one, two = tmp_path / "one", tmp_path / "two"
    (two / "src" / "main.go").chmod(0o755)
    os.utime(two / "src" / "main.go", (0, 0))
    for noise in ("target", "zig-out", "__pycache__"):
        (two / noise).mkdir()
        (two / noise / "out").write_text("built")
    same = source_sha256(one)
    assert source_sha256(two) == same
    assert sha256_tree(two, ignore=()) != same
    (two / "src" / "main.go").rename(two / "src" / "other.go")
    assert source_sha256(two) != same
    (one / "src" / "main.go").unlink()
    (one / "src" / "main.go").symlink_to("package main")
    assert source_sha256(one) != same


def test_names_and_bytes_cannot_be_confused(tmp_path: Path) -> None:
    """A file's bytes cannot pose as another file: names and contents are hashed apart."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "a").write_text("1")
    (one / "b").write_text("2")
    (two / "a").write_text("1b2")
    assert sha256_tree(one) != sha256_tree(two)


def _limited_write(limit: int, code: str) -> subprocess.CompletedProcess[str]:
    """Run a few lines in a process whose files may not grow past `limit` bytes."""

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit_files
    )


def test_a_full_disk_leaves_the_old_files(tmp_path: Path) -> None:
    """When the second file of a set does not fit, both keep their bytes and one line says which and why."""
    small, big = tmp_path / "small", tmp_path / "big"
    small.write_text("old")
    big.write_text("old")
    code = (
        "from pathlib import Path; from tools.files import atomic_write_all; from tools.errors import WriteError\n"
        f"try: atomic_write_all({{Path({str(small)!r}): 'new', Path({str(big)!r}): 'x' * 9000}})\n"
        "except WriteError as error: print(error.message)"
    )
    done = _limited_write(4096, code)
    assert done.stdout == f"cannot write {big}: File too large\n", done.stderr
    assert (small.read_text(), big.read_text(), leftovers(tmp_path)) == ("old", "old", [])


KILL_ME = """
import sys
from pathlib import Path
from tools.files import atomic_write_all
folder, size = Path(sys.argv[1]), 200_000
print("ready", flush=True)
for turn in range(1_000_000):
    letter = "ab"[turn % 2]
    atomic_write_all({folder / name: letter * size for name in ("x", "y", "z")})
"""


@pytest.mark.slow
def test_kill_9_never_leaves_a_torn_file(tmp_path: Path) -> None:
    """Two hundred kills in the middle of writing: each file is always one whole version, and the next run works."""
    for turn in range(200):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILL_ME, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep((turn % 20) * 0.001)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        for name in ("x", "y", "z"):
            path = tmp_path / name
            content = path.read_text() if path.exists() else "a" * 200_000
            assert content in ("a" * 200_000, "b" * 200_000)
    atomic_write(tmp_path / "x", "whole")
    assert (tmp_path / "x").read_text() == "whole"
