"""Are all result files valid? Every problem of every file, and what the valid ones are about.

The files are the truth. An index beside them (`.deadheat/result-index.json`) remembers what was found in a file of
this size and these times under these rules, so that the second look at 10,000 files reads none of them; a lost or
broken index only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools import checks, fastschema, files, meaning, strictjson
from tools.checks import Problem
from tools.errors import ResultError, WriteError
from tools.project import ROOT
from tools.record import SOAK
from tools.result import RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

INDEX = ROOT / ".deadheat" / "result-index.json"
MANY = 200  # files from which on several processes are worth their start


@dataclass(frozen=True)
class Summary:
    """What a valid result is about: enough to choose among files without reading them again."""

    path: Path
    slug: str
    created_at: str
    environment: str
    runner: str
    workload: str
    lanes: tuple[str, ...]
    cases: tuple[str, ...]
    ci: bool
    complete: bool


@dataclass
class Report:
    """What was found under `results/`."""

    problems: list[Problem] = field(default_factory=list)
    results: list[Summary] = field(default_factory=list)
    files_seen: int = 0
    files_read: int = 0

    def refuse_problems(self) -> None:
        """Stop if any file is wrong.

        Raises:
            ResultError: the message lists every problem of every file.
        """
        if self.problems:
            raise ResultError("\n".join(map(str, self.problems)), remedy="remove or repair these files")


def validate(root: Path = RESULTS, index: Path = INDEX) -> int:
    """Check all files under `root` and count them.

    Raises:
        ResultError: some are wrong; the message lists every problem of every file.
    """
    report = examine(root, index)
    report.refuse_problems()
    return report.files_seen


def examine(root: Path = RESULTS, index: Path = INDEX, *, save: bool = True) -> Report:
    """Check all files under `root`; the index is brought up to date when `save` is set and the tree is writable."""
    report = Report()
    known = _read_index(index)
    stamps = {path: _stamp(path) for path in _result_files(root, report)}
    names = {path: path.relative_to(root).as_posix() for path in stamps}
    current = {names[path]: known.get(names[path]) for path in stamps}
    changed = [path for path, stamp in stamps.items() if (current[names[path]] or {}).get("stamp") != stamp]
    for path, found in zip(changed, _look_into(changed), strict=True):
        current[names[path]] = {"stamp": stamps[path], **found}
    report.files_seen, report.files_read = len(stamps), len(changed)
    for path, name in names.items():
        entry: Any = current[name]
        report.problems += [Problem(**problem) for problem in entry["problems"]]
        if entry["summary"]:
            report.results.append(_summary(path, entry["summary"]))
    if save and current != known:
        with contextlib.suppress(WriteError):  # a read-only tree is slower the next time, not wrong
            files.atomic_write(index, json.dumps({"rules": _rules(), "files": current}))
    return report


def _result_files(root: Path, report: Report) -> Iterator[Path]:
    """List candidate files in order; what is out of place is a problem, hidden and other files are not ours."""
    if not root.is_dir():
        return
    for folder, folders, names in os.walk(root, onerror=lambda error: _unreadable(error, report)):
        here = Path(folder)
        for name in sorted(name for name in folders if (here / name).is_symlink()):
            report.problems.append(_out_of_place(here / name, "a symbolic link has no place among results"))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if name.endswith(".json") and not name.startswith(".")):
            if here.parent == root:
                yield here / name
            else:
                report.problems.append(_out_of_place(here / name, "a result belongs into results/<slug>/"))


def _unreadable(error: OSError, report: Report) -> None:
    """Report a folder that cannot be listed: what is in it would silently be missing."""
    report.problems.append(_out_of_place(Path(error.filename), error.strerror or "cannot be read"))


def _out_of_place(path: Path, message: str) -> Problem:
    """Report a path that should not be there."""
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return Problem(ascii(str(shown))[1:-1], "", message)


def _stamp(path: Path) -> list[int]:
    """What changes when a file changes: size and times; the change time cannot be set back by `touch`."""
    try:
        status = path.lstat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, stat.S_IFMT(status.st_mode)]


def _look_into(paths: Sequence[Path]) -> Iterable[dict[str, Any]]:
    """Read and check files; many of them on all cores."""
    if len(paths) < MANY:
        return map(_look, paths)
    with ProcessPoolExecutor() as pool:
        return list(pool.map(_look, paths, chunksize=16))


def _look(path: Path) -> dict[str, Any]:
    """Read and check one file."""
    tree, problems = checks.check_file(path)
    summary = None if problems else _summarise(tree)
    return {"problems": [asdict(problem) for problem in problems], "summary": summary}


def _summarise(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what choosing a result needs."""
    return {
        "slug": tree["project"]["slug"],
        "created_at": tree["created_at"],
        "environment": tree["environment"]["id"],
        "runner": tree["environment"]["runner"],
        "workload": SOAK if all(case.get("soak") for case in tree["cases"]) else tree["plan"]["workload"],
        "lanes": tree["plan"]["lanes"],
        "cases": [case["name"] for case in tree["cases"]],
        "ci": tree["environment"]["ci"],
        "complete": all(case["stop"] != "interrupted" for case in tree["cases"]),
    }


def _summary(path: Path, raw: Mapping[str, Any]) -> Summary:
    """Make a summary of its index entry."""
    return Summary(path=path, **{**raw, "lanes": tuple(raw["lanes"]), "cases": tuple(raw["cases"])})


def _read_index(index: Path) -> dict[str, Any]:
    """Read the index; anything unexpected in it, or other rules, means that there is none."""
    try:
        tree = json.loads(index.read_bytes())
        entries = tree["files"] if tree["rules"] == _rules() else {}
        if not all({"stamp", "problems", "summary"} == set(entry) for entry in entries.values()):
            return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return dict(entries)


@cache
def _rules() -> str:
    """Hash the schema and the code that judges: what an index entry was made under."""
    sources = [
        checks.SCHEMA_PATH,
        *(Path(module.__file__ or "") for module in (checks, fastschema, meaning, strictjson)),
    ]
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in [*sources, Path(__file__)])).hexdigest()
