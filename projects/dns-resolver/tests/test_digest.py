"""The oracle's own XXH64 is the one that the harness uses."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest
import xxhash

PROJECT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(importlib.util.find_spec("dns") is None, reason="needs dnspython")
def test_xxh64_is_xxh64(monkeypatch: pytest.MonkeyPatch) -> None:
    """All lengths up to some blocks."""
    monkeypatch.setattr(sys, "path", [str(PROJECT), *sys.path])
    import checks_bulk  # noqa: PLC0415 - found once the path is set

    rng = random.Random("dns-resolver xxh64")
    for size in (*range(100), 1000, 4096, 10_007):
        data = rng.randbytes(size)
        assert checks_bulk.xxh64(data) == xxhash.xxh64(data).intdigest()
