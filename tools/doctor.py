"""Is this machine fit to build and to measure? Each finding says what is, and what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import caches, packages, toolchains
from tools.errors import DeadheatError
from tools.languages import base
from tools.runners import engine

BUSY_LOAD_PER_CPU = 0.3
FREE_BYTES = 10 << 30
STEAL_SHARE = 0.05
STATES = {"quiet": "ok", "usable": "note", "noisy": "problem"}


@dataclass(frozen=True)
class Finding:
    """One line: `state` is ok, note or problem."""

    state: str
    subject: str
    text: str
    remedy: str = ""


def findings(*, install: bool = False, noise: bool = False) -> list[Finding]:
    """Everything that matters for building and measuring here; installs and measures only when asked."""
    return [*_machine(), *_docker(), *_toolchains(install=install), *(_noise() if noise else ())]


def _machine() -> Iterator[Finding]:
    cpus = len(os.sched_getaffinity(0))
    state = "ok" if cpus > 1 else "note"
    yield Finding(
        state, "cores", f"{cpus} usable", "" if cpus > 1 else "lanes and harness share one core: expect noise"
    )
    load = os.getloadavg()[0]
    busy = load > BUSY_LOAD_PER_CPU * cpus
    yield Finding(
        "problem" if busy else "ok", "load", f"{load:.2f} over the last minute", "stop other work first" if busy else ""
    )
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    name = governor.read_text().strip() if governor.exists() else "not visible (a virtual machine?)"
    slow = name in {"powersave", "ondemand", "conservative", "schedutil"}
    yield Finding("note" if slow else "ok", "governor", name, "cpupower frequency-set -g performance" if slow else "")
    steal = _steal_share()
    yield Finding(
        "problem" if steal > STEAL_SHARE else "ok",
        "steal",
        f"{steal:.1%} since boot",
        "another tenant takes the CPU" if steal > STEAL_SHARE else "",
    )
    free = shutil.disk_usage(Path(__file__).parent).free
    yield Finding(
        "ok" if free > FREE_BYTES else "problem",
        "disk",
        f"{free >> 30} GiB free",
        "" if free > FREE_BYTES else "free at least 10 GiB",
    )


def _steal_share() -> float:
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return 0.0
    return ticks[7] / max(1, sum(ticks))


def _docker() -> Iterator[Finding]:
    try:
        version = engine.client().version()
    except DeadheatError as error:
        yield Finding("note", "docker", error.message, "the host runner is used; start dockerd for isolation")
        return
    yield Finding("ok", "docker", f"engine {version.get('Version')}, API {version.get('ApiVersion')}")


def _toolchains(*, install: bool) -> Iterator[Finding]:
    for language in ("go", "zig", "rust", "c"):
        if not install and language in {"go", "zig"}:
            pin = base.toolchains()[language]
            here = (caches.shared() / "toolchains" / f"{language}-{pin['version']}").is_dir()
            yield Finding(
                "ok" if here else "note",
                language,
                f"{pin['version']} {'installed' if here else 'not installed yet'}",
                "" if here else "installed on first use",
            )
            continue
        try:
            yield Finding("ok", language, toolchains.host(language).version)
        except DeadheatError as error:
            yield Finding("problem", language, error.message, error.remedy or packages.install_command(["gcc"]))


def _noise() -> Iterator[Finding]:
    """Half a minute of identical programs through the whole pipeline."""
    from tools.selftest import noise  # noqa: PLC0415 - only who asks for it loads the flow

    try:
        fitness = noise.judge(noise.observe())
    except DeadheatError as error:
        yield Finding("problem", "noise", error.message, error.remedy or "")
        return
    yield Finding(STATES[fitness.level], "noise", fitness.text, fitness.remedy)
