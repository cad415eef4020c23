"""Read and write result files: one JSON file a benchmark, `results/<slug>/<UTC time>_<environment id>.json`.

Statistics are not here: `tools.analysis` computes them on reading. Nothing ever edits a result file.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from tools import checks, files
from tools.caches import ROOT, WORK
from tools.errors import ResultError
from tools.model import Item, Metric, Parity
from tools.record import (
    Arm,
    CaseResult,
    Environment,
    Failure,
    Harness,
    LoadRecord,
    Memory,
    PhaseRecord,
    PlannedLoad,
    PlanRecord,
    Result,
    Samples,
    Series,
    Soak,
    State,
    Verification,
    WorkloadRecord,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RESULTS = ROOT / "results"
REFUSED = WORK / "refused"

# History of the result schema; a reader of Deadheat understands every version listed here.
#   1  first version: batch lanes, columns of samples, verification and provenance of every arm
#   2  servers: a case's own metric, what drove it, columns of latencies and losses; nobody counts their faults
#   3  chats: the plan of a load, messages and connects, steps that were too much; a soak with its seconds
#   4  a load that the generator could not keep is a state of its own; before, it was kept as a failed run
SCHEMA_VERSION = 4
LATE = "load invalid: "
"""How versions 2 and 3 began the reason of such a run."""

Made = TypeVar("Made")


def load(path: Path) -> Result:
    """Read one file.

    Raises:
        ResultError: it is not a valid result; the message lists every problem.
    """
    tree, problems = checks.check_file(path)
    if problems:
        raise ResultError("\n".join(map(str, problems)))
    return from_tree(tree, path)


def write(tree: Mapping[str, Any], root: Path = RESULTS) -> Path:
    """Validate and store a result under `root/<slug>/`; an existing file is never replaced.

    Raises:
        ResultError: the tree is not a valid result.
        WriteError: the file exists or cannot be written.
    """
    path = result_path(tree, root)
    try:
        content = (json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n").encode()
    except (ValueError, TypeError) as error:
        raise ResultError(f"{path}: {error}") from error
    _, problems = checks.check_bytes(content, path)
    if problems:
        raise ResultError("\n".join(map(str, problems)))
    files.atomic_create(path, content)
    return path


def set_aside(tree: Mapping[str, Any], root: Path = REFUSED) -> Path:
    """Keep what `write` refused, as it is: an hour of runs is not thrown away for one doubtful number.

    Raises:
        WriteError: it cannot be written.
    """
    path = result_path(tree, root)
    files.atomic_write(path, json.dumps(tree, ensure_ascii=False, default=str) + "\n")
    return path


def result_path(tree: Mapping[str, Any], root: Path = RESULTS) -> Path:
    """Name the file of a result: `<root>/<slug>/<UTC time>_<environment id>.json`."""
    return root / str(tree["project"]["slug"]) / checks.file_name(tree)


def from_tree(tree: Mapping[str, Any], path: Path) -> Result:
    """Make the dataclasses of a tree that is valid already."""
    project = tree["project"]
    return Result(
        path=path,
        created_at=tree["created_at"],
        slug=project["slug"],
        number=project["number"],
        item=Item(**project["item"]),
        metric=Metric(**project["metric"]),
        harness=_make(Harness, tree["harness"]),
        environment=_make(Environment, tree["environment"]),
        plan=_make(PlanRecord, tree["plan"]),
        arms={name: _arm(name, raw) for name, raw in tree["arms"].items()},
        cases=tuple(_case(raw) for raw in tree["cases"]),
        workloads={name: _make(WorkloadRecord, raw) for name, raw in tree["workloads"].items()},
    )


def _make(kind: type[Made], raw: Mapping[str, Any], **extra: Any) -> Made:
    """Fill the fields of a dataclass from a tree, lists as tuples; `extra` is already made."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # any dataclass
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items() if key in names}
    return kind(**{**plain, **extra})


def _arm(name: str, raw: Mapping[str, Any]) -> Arm:
    """Make one arm."""
    record = raw["verification"]
    failures = tuple(Failure(**failure) for failure in record["failures"])
    return _make(
        Arm,
        raw,
        name=name,
        parity=Parity(**raw["parity"]) if raw["parity"] else None,
        verification=_make(Verification, record, failures=failures),
    )


def _case(raw: Mapping[str, Any]) -> CaseResult:
    """Make one case."""
    flags = tuple(frozenset(each) for each in raw["samples"]["flags"])
    return _make(
        CaseResult,
        raw,
        states={arm: _state(**state) for arm, state in raw["states"].items()},
        memory={arm: Memory(**memory) for arm, memory in raw["memory"].items()},
        samples=_make(Samples, raw["samples"], flags=flags),
        load=_load(raw["load"]) if raw["load"] else None,
        soak=_soak(raw["soak"]) if raw.get("soak") else None,
    )


def _state(state: str, reason: str | None) -> State:
    """Make one state, as the newest version says it."""
    if state == "run-failed" and reason is not None and reason.startswith(LATE):
        return State("load-invalid", reason.removeprefix(LATE))
    return State(state, reason)


def _load(raw: Mapping[str, Any]) -> LoadRecord:
    """Make what drove the servers of a case."""
    plan = raw.get("plan")
    phases = tuple(_make(PhaseRecord, phase) for phase in plan["phases"]) if plan else ()
    made = _make(PlannedLoad, plan, phases=phases) if plan else None
    return _make(LoadRecord, raw, curves=raw.get("curves", {}), plan=made)


def _soak(raw: Mapping[str, Any]) -> Soak:
    """Make the seconds of a soak."""
    return Soak(raw["seconds"], {arm: _make(Series, columns) for arm, columns in raw["series"].items()})
