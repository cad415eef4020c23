"""Where Deadheat keeps what it makes: a shared cache for toolchains, a folder of the checkout for builds and inputs."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".deadheat"


def shared() -> Path:
    """Toolchains and package caches, shared by all checkouts: $DEADHEAT_CACHE, else the XDG cache folder."""
    if explicit := os.environ.get("DEADHEAT_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "deadheat"


def work(*parts: str) -> Path:
    """A folder of this checkout for builds, inputs and answers; made when missing."""
    folder = WORK.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
