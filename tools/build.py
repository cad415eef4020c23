"""Build a source once and remember it: the cache key is everything that decides the program's bytes."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import caches, languages
from tools.errors import BuildError, CommandError
from tools.files import atomic_folder, sha256_file, source_sha256
from tools.languages.base import Language, cpu_level
from tools.model import NO_PACKAGES, Lane, Packages, Peer, Project
from tools.runners.base import Built, Runner, Source, Workshop

CACHE_VERSION = 1
STEPS = ("build", "test", "lint")


@dataclass(frozen=True)
class Attempt:
    """What became of a build: the program, or the reason why there is none."""

    source: Source
    built: Built | None
    reason: str = ""
    log: str = ""
    cached: bool = False


def source_of(project: Project, arm: Lane | Peer) -> Source:
    """The source of a lane or a peer."""
    return Source(
        slug=project.slug,
        arm=arm.name,
        role="lane" if isinstance(arm, Lane) else "peer",
        language=arm.language or "",
        folder=arm.folder,
        libraries=arm.libraries if isinstance(arm, Peer) else (),
        build_packages=arm.build_packages,
        run_packages=_of_peer(arm) if isinstance(arm, Peer) else arm.run_packages,
    )


def _of_peer(peer: Peer) -> Packages:
    """What a peer runs on: its own packages and those of the server that it is."""
    more = peer.service.packages if peer.service else NO_PACKAGES
    return Packages((*peer.run_packages.apt, *more.apt), (*peer.run_packages.pip, *more.pip))


def tool(name: str, folder: Path, language: str) -> Source:
    """A program of the harness itself that is built like a lane, for both runners."""
    return Source(slug=name, arm=name, role="tool", language=language, folder=folder)


def build(runner: Runner, source: Source, *, times: bool = False) -> Attempt:
    """The program of a source; a failure is a value, so that the other lanes go on.

    With `times` the build is done afresh unless its cold and incremental times are known already.
    """
    if not source.language:  # a packaged server: nothing to compile
        own = source_sha256(source.folder) if source.folder.is_dir() else None
        return Attempt(source, Built(source, runner.name, None, own, None, None, None), cached=True)
    language = languages.get(source.language)
    try:
        key = _key(runner, source, language)
        folder = caches.work("build", runner.name, source.slug, source.arm) / key
        if (found := _cached(folder, runner, source)) and (not times or found.incremental_build_ns is not None):
            return Attempt(source, found, cached=True)
        with runner.workshop(source) as shop, atomic_folder(folder) as staging:
            record = _make(shop, source, language, staging, times=times)
            (staging / "build.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    except CommandError as error:
        return Attempt(source, None, reason=_reason(source, error), log=error.tail)
    except BuildError as error:
        return Attempt(source, None, reason=error.message)
    return Attempt(source, _cached(folder, runner, source))


def check(runner: Runner, source: Source, what: str) -> None:
    """Run a source's own unit tests or lints, offline, with the lane's toolchain.

    Raises:
        BuildError: a step failed; the message ends with what the tool said.
    """
    language = languages.get(source.language)
    try:
        with runner.workshop(source) as shop:
            for step in [*language.fetch(shop.paths), *getattr(language, what)(shop.paths)]:
                output = shop.run(step)
                if step.quiet and output.strip():
                    raise BuildError(f"{source.id}: {step.name}: {output.decode(errors='replace').strip()}")
    except CommandError as error:
        raise BuildError(f"{_reason(source, error)}\n{error.tail}") from error


def _make(shop: Workshop, source: Source, language: Language, staging: Path, *, times: bool) -> dict[str, Any]:
    """Fetch, build cold, keep the program, then time a build after a change of the main file."""
    for step in language.fetch(shop.paths):
        shop.run(step)
    cold_ns = _timed_build(shop, source, language)
    program = shop.fetch(language.artifact(shop.paths, source.slug))
    (staging / source.slug).write_bytes(program)
    (staging / source.slug).chmod(0o755)
    incremental_ns = _incremental(shop, source, language) if times else None
    return {
        "toolchain": shop.toolchain,
        "flags": [" ".join(step.argv) for step in language.build(shop.paths, source.slug, source.libraries)],
        "image_digest": shop.image_digest,
        "cold_build_ns": cold_ns,
        "incremental_build_ns": incremental_ns,
        "source_sha256": source_sha256(source.folder),
        "lock_sha256": _lock_hash(source.folder, language),
        "binary_sha256": hashlib.sha256(program).hexdigest(),
    }


def _timed_build(shop: Workshop, source: Source, language: Language) -> int:
    steps = language.build(shop.paths, source.slug, source.libraries)
    start_ns = time.monotonic_ns()
    for step in steps:
        shop.run(step)
    return time.monotonic_ns() - start_ns


def _incremental(shop: Workshop, source: Source, language: Language) -> int | None:
    """Time of a build after one line was added to the main file; None where nothing is compiled."""
    main = source.folder / language.MAIN_FILE
    if not main.is_file():
        return None
    shop.replace(language.MAIN_FILE, main.read_bytes() + f"\n{language.COMMENT} touched\n".encode())
    return _timed_build(shop, source, language)


def _cached(folder: Path, runner: Runner, source: Source) -> Built | None:
    """What an earlier build left, if its bytes are still what they were."""
    binary = folder / source.slug
    try:
        record = json.loads((folder / "build.json").read_text(encoding="utf-8"))
        if sha256_file(binary) != record["binary_sha256"]:
            return None
    except (OSError, ValueError, KeyError):
        return None
    return Built(source, runner.name, binary, **{**record, "flags": tuple(record["flags"])})


def _key(runner: Runner, source: Source, language: Language) -> str:
    material = [
        CACHE_VERSION, source_sha256(source.folder), sha256_file(Path(str(language.__file__))),  # type: ignore[attr-defined]  # a module
        runner.toolchain_key(source), cpu_level()["name"], source.slug, source.libraries, source.build_packages.apt,
    ]  # fmt: skip
    return hashlib.sha256(repr(material).encode()).hexdigest()[:24]


def _lock_hash(folder: Path, language: Language) -> str:
    digest = hashlib.sha256()
    for name in language.LOCK_FILES:
        if (folder / name).is_file():
            digest.update(name.encode() + b"\0" + (folder / name).read_bytes())
    return digest.hexdigest()


def _reason(source: Source, error: CommandError) -> str:
    return f"{source.id}: {error.message}"[:900]
