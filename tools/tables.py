"""Rewrite every table, value and claim of all documents from the result files, or check that nothing differs.

All result files are validated first and all documents are rendered in memory; then either all of them are replaced or
none. A hand edit inside a block, a sentence that the data no longer support, and lanes whose sources have changed are
named with file and line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tools import (
    files,
    generators_record,
    generators_tables,
    overview_tables,
    picture,
    project,
    project_tables,
    score_tables,
    selection,
    selftest_record,
    selftest_tables,
    soak_tables,
    splice,
    validate,
    values,
)
from tools.errors import TablesError
from tools.project import ROOT
from tools.record import SOAK
from tools.selection import MAIN_WORKLOAD, Evidences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tools.rows import Row

    Blocks = Mapping[str, Callable[[], str]]

OVERVIEW: dict[str, Callable[[Evidences], str]] = {
    "plan": overview_tables.plan,
    "standings": overview_tables.standings,
    "wins": score_tables.wins,
    "cases": overview_tables.cases,
    "sizes": overview_tables.sizes,
    "environments": overview_tables.environments,
    "choose": score_tables.choose,
    "overall": score_tables.overall,
    SOAK: soak_tables.overview,
}
REQUIRED = {
    "PLAN.md": ("plan",),
    "SUMMARY.md": ("wins", "overall", "choose", "cases", "sizes", "environments"),
    "README.md": ("standings",),
}
OPTIONAL = {
    selftest_tables.PAGE: tuple(selftest_tables.BLOCKS),
    generators_tables.PAGE: tuple(generators_tables.BLOCKS),
}
"""Documents that a tree may do without, with the blocks that they must have where they are."""


@dataclass(frozen=True)
class Roots:
    """Where things are; tests bring their own tree."""

    root: Path = ROOT

    @property
    def index(self) -> Path:
        """The index of result files."""
        return self.root / ".deadheat" / "result-index.json"


@dataclass
class Outcome:
    """What a run of `tables` found and did."""

    documents: int = 0
    written: list[Path] = field(default_factory=list)
    differences: list[splice.Difference] = field(default_factory=list)


class Source:
    """Blocks, values and claims for one document."""

    def __init__(self, evidences: Evidences, row: Row | None = None, own: Blocks | None = None) -> None:
        """Keep the evidence; `row` is set for the README of a project, `own` are the blocks about Deadheat itself."""
        self.evidences = evidences
        self.row = row
        self.own = own or {}

    def block(self, name: str, options: Mapping[str, str]) -> str:
        """Give the Markdown of a block."""
        if name == "results" and self.row is not None and set(options) <= {"workload"}:
            return project_tables.results(self.evidences.of(self.row, options.get("workload", MAIN_WORKLOAD)))
        if name == SOAK and self.row is not None and not options:
            return soak_tables.results(self.evidences.of(self.row, SOAK))
        if name in OVERVIEW and not options:
            return OVERVIEW[name](self.evidences)
        if name in self.own and not options:
            return self.own[name]()
        known = ", ".join([*OVERVIEW, *self.own, *(["results"] if self.row else [])])
        wanted = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
        raise LookupError(f"unknown block {wanted!r}; known here: {known}")

    def value(self, words: tuple[str, ...]) -> str:
        """Give the text of a value."""
        return values.value(self.evidences, words)

    def claim(self, words: tuple[str, ...]) -> str | None:
        """Judge a claim."""
        return values.claim(self.evidences, words)


def update(roots: Roots | None = None, *, force: bool = False) -> list[Path]:
    """Bring all documents up to date and list those that changed.

    Raises:
        ResultError, TablesError, WriteError: as `tables`; nothing was written.
    """
    return tables(force=force, roots=roots).written


def check(roots: Roots | None = None) -> None:
    """Compare all documents with the results and write nothing.

    Raises:
        ResultError: a result file is wrong.
        TablesError: something differs; every difference is listed with file and line.
    """
    if differences := tables(check=True, roots=roots).differences:
        raise TablesError("\n".join(map(str, differences)), remedy="see what changed, then run: invoke tables")


def tables(*, check: bool = False, force: bool = False, roots: Roots | None = None) -> Outcome:
    """Bring all documents up to date; with `check`, write nothing and report what differs.

    `force` also replaces blocks that were edited by hand.

    Raises:
        ResultError: a result file is wrong; every problem is listed and nothing is written.
        TablesError: a document's markers are wrong, or a hand edit would be lost; nothing is written.
    """
    roots = roots or Roots()
    evidences = collect(roots, save=not check)
    own = about_ourselves(roots.root)
    outcome = Outcome()
    contents: dict[Path, bytes] = {}
    problems: list[str] = []
    for path, row, required in documents(roots, evidences):
        outcome.documents += 1
        try:
            name = path.relative_to(roots.root).as_posix()
            old = path.read_bytes()
            spliced = splice.splice(splice.decode(old, name), name, Source(evidences, row, own), required)
        except OSError as error:
            problems.append(f"{name}: {error.strerror}")
            continue
        except TablesError as error:
            problems += error.message.splitlines()
            continue
        outcome.differences += spliced.differences
        if (new := spliced.text.encode()) != old:
            contents[path] = new
    _draw(roots.root / picture.PATH, picture.standings(evidences).encode(), outcome, contents)
    if problems:
        raise TablesError("\n".join(problems), remedy="repair these places; nothing was written")
    outcome.differences += _stale(evidences, roots.root)
    if not check:
        _refuse_hand_edits(outcome, force=force)
        files.atomic_write_all(contents)
        outcome.written = list(contents)
    return outcome


def _draw(path: Path, drawn: bytes, outcome: Outcome, contents: dict[Path, bytes]) -> None:
    """Add the picture to what is written if it differs."""
    if not path.exists() or path.read_bytes() != drawn:
        contents[path] = drawn
        outcome.differences.append(splice.Difference(picture.PATH, 1, "outdated", "the picture is outdated"))


def collect(roots: Roots, *, save: bool = True) -> Evidences:
    """Validate all results and choose those that speak for their projects.

    Raises:
        ResultError: as `tables`.
    """
    report = validate.examine(roots.root / "results", roots.index, save=save)
    report.refuse_problems()
    return selection.Evidences(project.load_all(roots.root / "projects"), report.results)


def about_ourselves(root: Path) -> Blocks:
    """Blocks from the records of our own measurements: the self-test, and the evidence about load generators.

    Raises:
        ResultError: a record is wrong.
    """
    proof = selftest_record.read(root / selftest_record.PATH)
    compared = generators_record.read(root / generators_record.PATH)
    return {
        **{name: partial(selftest_tables.block, name, proof) for name in selftest_tables.BLOCKS},
        **{name: partial(generators_tables.block, name, compared) for name in generators_tables.BLOCKS},
    }


def documents(roots: Roots, evidences: Evidences) -> list[tuple[Path, Row | None, tuple[str, ...]]]:
    """List the documents that are ours: three at the root, the self-test's page, the README of every project."""
    here = {**REQUIRED, **{name: blocks for name, blocks in OPTIONAL.items() if (roots.root / name).exists()}}
    overview = [(roots.root / name, None, required) for name, required in here.items()]
    owned = [(row, row.project.folder / "README.md") for row in evidences.rows if row.project is not None]
    return [*overview, *((readme, row, ("results",)) for row, readme in owned if readme.exists())]


def _refuse_hand_edits(outcome: Outcome, *, force: bool) -> None:
    """Stop before a hand edit is lost."""
    edits = [str(difference) for difference in outcome.differences if difference.kind == "hand-edit"]
    if edits and not force:
        raise TablesError(
            "\n".join(edits), remedy="move the text out of the block, or empty the block; nothing was written"
        )


def _stale(evidences: Evidences, root: Path) -> list[splice.Difference]:
    """Report results that are about other sources than those that are there now."""
    found = []
    for _, evidence in evidences.all():
        if evidence is not None and evidence.stale_lanes:
            message = f"stale: the sources of {', '.join(evidence.stale_lanes)} have changed since this result"
            name = evidence.result.path.relative_to(root).as_posix()
            found.append(splice.Difference(name, 1, "stale", message))
    return found
