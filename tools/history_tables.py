"""The history of a project as people read it: a line with a sparkline a lane, then a table of the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools import markdown as md
from tools import screen, wording
from tools.analysis import APART
from tools.compare_tables import against
from tools.shifts import LEAST_RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from tools.history import Moment, Series

HEAD = ("Lane", "Measured", "Commit", "Needs", "To the peer", "Interval", "Verdict", "Since the last", "")
CHANGED = "new level"


def show(found: Sequence[Series], console: Console, *, limit: int) -> None:
    """Print each environment by itself, the newest `limit` results of each lane."""
    for environment in dict.fromkeys(one.environment.id for one in found):
        group = [one for one in found if one.environment.id == environment]
        first = group[0]
        where = f"{first.case} in environment {environment} ({first.environment.runner}, {first.environment.cpu_model})"
        console.print(screen.plain(where), style="bold", markup=False)
        width = max(len(one.lane) for one in group)
        for one in group:
            console.print(screen.plain(f"  {one.lane.ljust(width)}  {sentence(one)}"), markup=False)
        rows = [cells(one, moment) for one in group for moment in one.moments[-limit:]]
        console.print(screen.table(HEAD, rows, numbers_from=3))
    for note in notes(found):
        console.print(note, style="dim", markup=False)


def sentence(one: Series) -> str:
    """One line: the sparkline, where it stands now, and the changes."""
    last = one.moments[-1]
    if one.peer is None or last.to_peer is None:
        now = f"{wording.amount(last.metric, last.cost, one.plural)}, no peer beside it"
    else:
        now = f"{wording.against(last.to_peer)} than {one.peer}"
    flagged = [moment.created_at[:10] for moment in one.moments if moment.changed]
    return f"{one.sparkline}  {now}{'; new level since ' + ', '.join(flagged) if flagged else ''}"


def cells(one: Series, moment: Moment) -> tuple[str, ...]:
    """One line of the table."""
    pair = moment.to_peer
    commit = f"{moment.commit[:9] if moment.commit else md.DASH}{'+' if moment.dirty else ''}"
    return (
        one.lane, moment.created_at[:16].replace("T", " "), commit,
        wording.amount(moment.metric, moment.cost, one.plural),
        md.factor(pair.ratio.ratio) if pair else md.DASH,
        md.interval(pair.ratio.low, pair.ratio.high) if pair else md.DASH,
        wording.verdict(pair) if pair else md.DASH, _since(moment), CHANGED if moment.changed else "",
    )  # fmt: skip


def _since(moment: Moment) -> str:
    """How far the ratio to the peer has moved since the last result."""
    if moment.since is None:
        return md.DASH
    shown = against(moment.since)
    return shown if moment.step in APART else f"{shown} ({moment.step})"


def notes(found: Sequence[Series]) -> Iterator[str]:
    """Say how changes are found, and why there may be none."""
    yield (
        "a new level: binary segmentation by Pettitt's test (permutations, 5 %) on the ln of the ratio to the peer, and"
        " medians more than 10 % apart; since the last: two independent samples of rounds, Mann-Whitney interval (99 %)"
    )
    if any(len(one.moments) < LEAST_RESULTS for one in found):
        yield f"a line with fewer than {LEAST_RESULTS} results cannot show a new level: a step may still be chance"
    if any(one.environment.ci for one in found):
        yield "results of shared CI runners are not compared one by one"
