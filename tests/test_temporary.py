"""Temporary folders: gone with their block, and swept only when their process is gone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tools import temporary


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of our own, so that nobody else's is swept."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def dead() -> int:
    """The number of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return child.pid


def test_folder_names_its_owner_and_goes(private: Path) -> None:
    """The folder is there inside the block, says whose it is, and is gone after an exception too."""
    with contextlib.suppress(RuntimeError), temporary.folder("build") as path:
        assert path.parent == private
        assert path.name.startswith(f"deadheat-build-{os.getpid()}-")
        (path / "sub").mkdir()
        (path / "sub" / "file").write_text("x")
        raise RuntimeError
    assert list(private.iterdir()) == []


def test_read_only_content_goes_too(private: Path) -> None:
    """Caches of compilers make their folders read-only; they are removed all the same."""
    with temporary.folder("build") as path:
        (path / "mod").mkdir()
        (path / "mod" / "file").write_text("x")
        (path / "mod").chmod(0o500)
    assert list(private.iterdir()) == []


def test_sweep_takes_the_dead_and_leaves_the_living(private: Path, dead: int) -> None:
    """Only folders of ours whose process is gone are removed, and they are named."""
    gone = private / f"deadheat-run-{dead}-abc"
    kept = [
        private / f"deadheat-run-{os.getpid()}-abc", private / "deadheat-run-x-abc", private / f"other-run-{dead}-abc",
        private / f"deadheat-{dead}", private / f"deadheat-run-{dead}-",
    ]  # fmt: skip
    for folder in (gone, *kept):
        (folder / "sub").mkdir(parents=True)
    assert temporary.sweep() == [gone]
    assert sorted(private.iterdir()) == sorted(kept)


def test_sweep_does_not_follow_links(private: Path, dead: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A link with such a name never leads the sweep elsewhere."""
    target = tmp_path_factory.mktemp("precious")
    (target / "file").write_text("x")
    (private / f"deadheat-run-{dead}-abc").symlink_to(target, target_is_directory=True)
    temporary.sweep()
    assert (target / "file").exists()
