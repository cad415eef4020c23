"""Inputs and right answers: runs a project's workload.py and oracle.py, and keeps what they made.

Both are the project's own programs in the harness's Python; neither sees a lane. Their output is cached by everything
that decides it, so a second run of anything makes nothing again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from tools import caches
from tools.errors import CommandError, WorkloadError
from tools.files import atomic_folder, atomic_write, sha256_file, sha256_tree
from tools.model import DATA, Project, Workload
from tools.process import check, clean_environment
from tools.toolchains import locked, python_packages

HASH_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Prepared:
    """A workload on this machine."""

    workload: Workload
    folder: Path
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Check:
    """One question with its right answer, or with the failure that it must end in."""

    name: str
    args: tuple[str, ...]
    answer: Path | None = None
    items: int | None = None
    compare: str = "exact"
    exit_code: int = 0
    stderr: str = ""
    stdin: str | None = None
    declared: bool = False
    """True for the cases of project.yaml, False for the oracle's further checks."""
    without: dict[str, str] = field(default_factory=dict)

    def answer_bytes(self) -> bytes:
        """The canonical answer of one repeat."""
        if self.answer is None:
            raise WorkloadError(f"check {self.name} has no answer")
        return self.answer.read_bytes()

    def digest(self, repeats: int = 1) -> str:
        """XXH64 of the answer repeated so many times: what a lane must print."""
        return repeated_digest(self.answer_bytes(), repeats)


def repeated_digest(answer: bytes, repeats: int) -> str:
    """XXH64 (seed 0) of `answer` * `repeats`, without ever holding that product."""
    hasher = xxhash.xxh64()
    per_chunk = max(1, HASH_CHUNK_BYTES // max(1, len(answer)))
    chunk = answer * min(per_chunk, repeats)
    for _ in range(repeats // per_chunk):
        hasher.update(chunk)
    hasher.update(answer * (repeats % per_chunk))
    return str(hasher.hexdigest())


def prepare(project: Project, name: str) -> Prepared:
    """The workload's folder, made if it is not there yet.

    Raises:
        WorkloadError: the generator failed.
    """
    workload = project.workloads[name]
    made_by = _python_hash(project.folder)  # workload.py may import its neighbours
    key = _digest(made_by, workload.seed, workload.size, project.workload_requirements)
    folder = caches.work("data", project.slug) / f"{name}-{key}"
    record_path = folder.with_suffix(".json")
    with locked(f"data-{project.slug}-{name}"):
        if not (folder.is_dir() and record_path.is_file()):
            _generate(project, workload, folder)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
            atomic_write(record_path, json.dumps({"sha256": sha256_tree(folder, ()), "bytes": size}))
    record = json.loads(record_path.read_text(encoding="utf-8"))
    return Prepared(workload, folder, record["sha256"], record["bytes"])


def checks(project: Project, prepared: Prepared) -> list[Check]:
    """The oracle's answers: the declared batch cases of this workload first, then its further checks.

    A project of servers only has none: its oracle talks to the servers (tools.interview).

    Raises:
        WorkloadError: the oracle failed or left a declared case out.
    """
    cases = [case for case in project.cases if prepared.workload.name in case.workloads and case.load is None]
    if not cases and project.server is not None:
        return []
    asked = [{"name": case.name, "args": _placed(case.args, prepared.folder)} for case in cases]
    key = _digest(_python_hash(project.folder), prepared.sha256, asked)
    folder = caches.work("answers", project.slug) / f"{prepared.workload.name}-{key}"
    with locked(f"answers-{project.slug}-{prepared.workload.name}"):
        if not (folder / "index.json").is_file():
            with atomic_folder(folder) as staging:
                atomic_write(staging / "cases.json", json.dumps(asked))
                words = [
                    "--workload",
                    prepared.workload.name,
                    "--data",
                    prepared.folder,
                    "--cases",
                    staging / "cases.json",
                ]
                _script(project, "oracle.py", [*words, "--out", staging])
    declared = {case.name: case for case in cases}
    found = [_check(raw, folder, prepared.folder, declared) for raw in json.loads((folder / "index.json").read_text())]
    if absent := declared.keys() - {one.name for one in found if one.declared}:
        raise WorkloadError(f"{project.slug}: the oracle left out {', '.join(sorted(absent))}")
    return found


def load_checks(project: Project, prepared: Prepared) -> list[Check]:
    """The declared cases that have a load: the script with the right replies is the answer.

    Raises:
        WorkloadError: workload.py did not make the script.
    """
    found = []
    for case in project.cases:
        if case.load is not None and prepared.workload.name in case.workloads:
            script = Path(case.load.script.replace(DATA, str(prepared.folder)))
            if not script.is_file():
                raise WorkloadError(f"{project.slug}: {case.name}: workload.py made no {case.load.script}")
            found.append(Check(case.name, case.args, script, declared=True, without=case.without))
    return found


def _check(raw: dict[str, Any], folder: Path, data: Path, declared: dict[str, Any]) -> Check:
    case = declared.get(raw["name"])
    return Check(
        name=raw["name"],
        args=tuple(word.replace(str(data), DATA) for word in raw["args"]),
        answer=folder / raw["answer"] if raw.get("answer") else None,
        items=raw.get("items"),
        compare=raw.get("compare", "exact"),
        exit_code=raw.get("exit_code", 0),
        stderr=raw.get("stderr", ""),
        stdin=raw.get("stdin"),
        declared=case is not None,
        without=case.without if case else {},
    )


def _generate(project: Project, workload: Workload, folder: Path) -> None:
    with atomic_folder(folder) as staging:
        words = ["--workload", workload.name, "--seed", str(workload.seed), "--size", json.dumps(workload.size)]
        _script(project, "workload.py", [*words, "--out", staging])


def _script(project: Project, name: str, words: list[Any]) -> None:
    """Run a Python program of the project with its pinned requirements."""
    env = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if project.workload_requirements:
        env["PYTHONPATH"] = str(python_packages(project.workload_requirements))
    argv = [sys.executable, project.folder / name, *words]
    try:
        check(argv, cwd=project.folder, env=clean_environment(env))
    except CommandError as error:
        raise WorkloadError(
            f"{project.slug}: {name}: {error.message}", remedy=f"run: {' '.join(map(str, argv))}"
        ) from error


def _python_hash(folder: Path) -> str:
    return _digest([(path.name, sha256_file(path)) for path in sorted(folder.glob("*.py"))])


def _placed(args: tuple[str, ...], data: Path) -> list[str]:
    return [word.replace(DATA, str(data)) for word in args]


def _digest(*material: Any) -> str:
    return hashlib.sha256(json.dumps(material, sort_keys=True, default=list).encode()).hexdigest()[:24]


def declared_only(found: list[Check]) -> Iterator[Check]:
    """The cases of project.yaml among the checks."""
    return (one for one in found if one.declared)
