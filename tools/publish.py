"""What follows a benchmark: show it, store the result, rewrite the tables, and tell the page of a GitHub job."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools import (
    caches,
    compare,
    compare_tables,
    files,
    project_tables,
    result,
    screen,
    soak_tables,
    summary,
    terminal,
)  # fmt: skip
from tools import markdown as md
from tools import tables as documents
from tools.baseline import SHORT, Duel
from tools.cli import relative
from tools.errors import ResultError, WriteError
from tools.record import Result
from tools.selection import Evidence

SUMMARY_BYTES = 900_000
"""GitHub drops the summary of a step above 1 MiB."""
AGAINST = "against"
"""Where results of `--against` are kept when asked: they are no standard results, and no table shows them."""


def show(content: Mapping[str, Any]) -> None:
    """Print the tables that a person reads, and append them to the job's page where there is one."""
    found = result.from_tree(content, result.result_path(content))
    summary.show(found)
    step_summary(_page(found))


def _page(found: Result) -> str:
    """The tables of a result as its README has them; only the first where all would be too long."""
    evidence = Evidence(found, frozenset())
    tables = soak_tables if any(case.soak for case in found.cases) else project_tables
    whole = tables.results(evidence)
    return f"## {md.text(found.slug)}\n\n{whole if len(whole) < SUMMARY_BYTES else project_tables.glance(evidence)}\n"


def store(content: Mapping[str, Any], *, tables: bool) -> None:
    """Write the result file and bring the documents up to date.

    Raises:
        TablesError: a document cannot be rewritten; the result is stored.
        ResultError: the harness made an invalid result: a defect of ours. Its runs are kept beside the results.
    """
    try:
        path = result.write(content)
    except ResultError as error:
        aside = relative(result.set_aside(content))
        raise ResultError(error.message, remedy=f"a defect of ours; the runs are kept in {aside}") from error
    terminal.say(f"result  {relative(path)}")
    if tables:
        for changed in documents.update():
            terminal.say(f"updated {relative(changed)}")


def against(content: Mapping[str, Any], duel: Duel, *, keep: bool, strict: bool) -> bool:
    """Show today's lanes against their older selves; True when today's were measured.

    With `strict` a lane that is shown to be slower, or that could not be compared, makes it False.

    Raises:
        ResultError, WriteError: as `store`, when asked to keep the result.
    """
    found = result.from_tree(content, result.result_path(content))
    comparison = compare.within(found, [(older, lane) for lane, older in duel.pairs.items()])
    compare_tables.show(comparison, screen.console(stderr=True))
    title = f"{found.slug} against {duel.commit[:SHORT]}"
    step_summary(compare_tables.markdown(comparison, title))
    if keep:
        path = result.write(content, caches.WORK / AGAINST)
        terminal.say(f"result  {relative(path)}")
    for line in comparison.regressions:
        interval = md.interval(line.ratio.low, line.ratio.high)
        terminal.say(f"slower  {line.b} in {line.case}: {md.factor(line.ratio.ratio)} {interval} ({line.verdict})")
    unknown = [older for older in duel.pairs.values() if found.arms[older].state != "measured"]
    for older in unknown:
        terminal.say(f"unknown {older}: {found.arms[older].state}: {found.arms[older].reason}")
    measured = all(found.arms[lane].state == "measured" for lane in duel.pairs)
    return measured and not (strict and (unknown or comparison.regressions))


def step_summary(markdown: str) -> None:
    """Append to the page of the GitHub job, where there is one; that never fails a benchmark."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            files.append(Path(path), markdown + "\n")
        except WriteError as error:
            terminal.say(f"summary {error}")
