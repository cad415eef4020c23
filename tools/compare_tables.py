"""A comparison as people read it: tables for the terminal and for GitHub, with the same cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools import markdown as md
from tools import screen, wording
from tools.compare import UNPAIRED

if TYPE_CHECKING:
    from rich.console import Console

    from tools.compare import Comparison, Line
    from tools.stats import Ratio

HEAD = ("Case", "Program", "A", "B", "B over A", "Interval", "Verdict", "Noise")


def show(found: Comparison, console: Console) -> None:
    """Print what was found, then what changed besides."""
    if found.lines:
        console.print(screen.table(HEAD, [_cells(line) for line in found.lines], title=_title(found), numbers_from=2))
    console.print(screen.plain(found.method), style="dim", markup=False)
    for what, why in found.left_out:
        console.print(screen.plain(f"not compared: {what}: {why}"), style="dim", markup=False)
    if found.changes:
        rows = [(change.what, change.a or md.DASH, change.b or md.DASH) for change in found.changes]
        console.print(screen.table(("Changed", "A", "B"), rows, numbers_from=3))
    elif found.method == UNPAIRED:
        console.print("nothing else changed", style="dim")


def markdown(found: Comparison, title: str) -> str:
    """The same for GitHub."""
    rows = [[md.text(cell) for cell in _cells(line)] for line in found.lines]
    notes = [f"- not compared: {md.text(what)}: {md.text(why)}" for what, why in found.left_out]
    return "\n\n".join([f"### {md.text(title)}", md.table(HEAD, rows, numbers_from=2), "\n".join(notes)]).strip() + "\n"


def _title(found: Comparison) -> str:
    """What A and B are; not for many pairs, which stand in the table."""
    return "" if _pairs(found) and len({line.b for line in found.lines}) > 1 else f"A: {found.a}   B: {found.b}"


def _pairs(found: Comparison) -> bool:
    """Whether the lines are about programs of one run."""
    return any(line.a != line.b for line in found.lines)


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.case, line.a if line.a == line.b else f"{line.a} -> {line.b}",
        wording.amount(line.metric, line.a_cost, line.plural), wording.amount(line.metric, line.b_cost, line.plural),
        against(line.ratio), md.interval(line.ratio.low, line.ratio.high), _verdict(line), _noise(line),
    )  # fmt: skip


def against(ratio: Ratio) -> str:
    """By how much B is faster or slower, as a factor above 1."""
    oriented = ratio.slower_over_faster()
    return f"{md.factor(oriented.ratio)} {'slower' if ratio.ratio >= 1 else 'faster'}"


def _verdict(line: Line) -> str:
    """What may be said, and what the quiet rounds say where that is something else."""
    quiet = f" ({line.quiet_verdict} when quiet)" if line.quiet_verdict is not None else ""
    regimes = "; two regimes" if line.ratio.two_regimes else ""
    return f"{line.verdict}{quiet}{regimes}"


def _noise(line: Line) -> str:
    """How far something moved that nobody changed."""
    if line.noise is None:
        return "unknown: no program is the same in both"
    return f"{line.noise.noise}: {line.noise_of} {md.factor(line.noise.ratio)}"
