"""Temporary folders that name their owner, so that `invoke clean` can tell a killed run's from a living one's."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = re.compile(r"deadheat-[a-z]+-(?P<pid>\d+)-.+")


@contextmanager
def folder(purpose: str) -> Iterator[Path]:
    """A temporary folder that goes away with the block."""
    with tempfile.TemporaryDirectory(prefix=f"deadheat-{purpose}-{os.getpid()}-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def sweep() -> list[Path]:
    """Remove the folders whose process is gone; what was removed."""
    removed = []
    for path in sorted(Path(tempfile.gettempdir()).glob("deadheat-*")):
        match = NAME.fullmatch(path.name)
        if match and path.is_dir() and not Path(f"/proc/{match['pid']}").exists():
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed
