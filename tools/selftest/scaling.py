"""How the second half grows with the number of results, and how long a list takes, in a checkout of 31 projects."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from tests import builders
from tools import files, process, result, rows, scaffold, tables, validate
from tools.caches import ROOT
from tools.project import load_all
from tools.tables import Roots

COPIED = ("noxfile.py", "tasks.py", "tools", "schemas", "PLAN.md", "SUMMARY.md", "README.md")
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
COMMANDS = {"invoke --list": ("invoke", "--list"), "nox --list": ("nox", "--list")}
LANES = ("go", "rust", "zig")


def checkout(root: Path) -> None:
    """A copy of this checkout in which every planned system is a project, fresh from the scaffold."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    for row in rows.planned():
        place = scaffold.Place(row.title, row.slug, row.alias, row.number, row.group, LANES)
        scaffold.write(root / "projects", place, scaffold.render(place))


def lists(root: Path, tries: int) -> dict[str, Any]:
    """Seconds of every try of `--list`, after one that fills the caches."""
    found = {}
    for command, words in COMMANDS.items():
        argv: list[str] = [sys.executable, "-m", *words]
        process.check(argv, cwd=root)
        found[command] = [_seconds(partial(process.check, argv, cwd=root)) for _ in range(tries)]
    return {"projects": len(rows.planned()), "seconds": found}


def growing(root: Path, counts: Sequence[int]) -> dict[str, Any]:
    """Seconds of validating and of writing the tables, without and with the index, over more and more result files."""
    roots = Roots(root)
    made = written(root)
    steps: list[dict[str, Any]] = []
    size, there = 0, 0
    for wanted in counts:
        size = max(size, *(path.stat().st_size for path in islice(made, wanted - there)))
        there = wanted
        steps.append({"files": wanted, **_step(roots)})
    return {"file_bytes": size, "projects": len(rows.planned()), "steps": steps}


def _step(roots: Roots) -> dict[str, float]:
    """Each piece of work twice: without the index, then with it."""

    def validated() -> None:
        validate.validate(roots.root / "results", roots.index)

    def rendered() -> None:
        tables.tables(roots=roots)

    found = {}
    for name, work in (("validate", validated), ("tables", rendered)):
        roots.index.unlink(missing_ok=True)
        found[f"{name}_cold"] = _seconds(work)
        found[f"{name}_warm"] = _seconds(work)
    return found


def _seconds(work: Callable[[], object]) -> float:
    """Wall time of one piece of work of the harness itself."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def written(root: Path) -> Iterator[Path]:
    """Write valid result files without end, project by project, a second apart; each file as it comes.

    The first of every project is stored as the pipeline would; the others differ from it in their time only.
    """
    templates = [_template(project.folder, project.number) for project in load_all(root / "projects")]
    texts = [json.dumps(tree, separators=(",", ":")) + "\n" for tree in templates]
    for turn in count():
        moment = _moment(turn)
        for tree, text in zip(templates, texts, strict=True):
            tree["created_at"] = moment
            if turn == 0:
                yield builders.stored(root / "results", tree)
                continue
            path = result.result_path(tree, root / "results")
            path.write_text(text.replace(_moment(0), moment), encoding="utf-8")  # not flushed: nobody mourns them
            yield path


def _moment(turn: int) -> str:
    """When the results of a turn say that they were made."""
    return (FIRST + timedelta(seconds=turn)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _template(folder: Path, number: str) -> dict[str, Any]:
    """A result of a scaffolded project: both of its cases, lanes from the sources that are there."""
    tree = builders.tree(created_at=_moment(0))
    tree["project"] |= {"slug": folder.name, "number": number}
    tree["cases"] = [{**case, "name": name} for name in ("top-20", "top-10000") for case in tree["cases"]]
    tree["cases"][1]["headline"] = False
    for lane in LANES:
        tree["arms"][lane]["source_sha256"] = files.source_sha256(folder / lane)
    tree["arms"]["null"]["source_sha256"] = None
    return tree
