"""The oracle's own XXH64 is the one that the harness uses."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import xxhash

from tools.project import load
from tools.toolchains import python_packages

PROJECT = Path(__file__).resolve().parent.parent


def test_xxh64_is_xxh64(monkeypatch: pytest.MonkeyPatch) -> None:
    """All lengths up to some blocks."""
    monkeypatch.syspath_prepend(python_packages(load(PROJECT / "project.yaml").oracle_packages.pip))
    monkeypatch.syspath_prepend(PROJECT)
    import checks_bulk  # noqa: PLC0415 - found once the path is set

    rng = random.Random("dns-resolver xxh64")
    for size in (*range(100), 1000, 4096, 10_007):
        data = rng.randbytes(size)
        assert checks_bulk.xxh64(data) == xxhash.xxh64(data).intdigest()
