"""What all formats share: the runs of the arms whose numbers count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.figures import Figures, figures, metric_by_round

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.record import Arm, CaseResult, Result


@dataclass(frozen=True)
class Runs:
    """All runs of one arm in one case."""

    case: CaseResult
    arm: Arm
    places: tuple[int, ...]
    """Where its runs stand in the columns, in the order of the rounds."""
    figures: Figures


def counting(result: Result) -> Iterator[Runs]:
    """The arms with a verdict, case by case: lanes, peers and the null arm."""
    for case in result.cases:
        metric = case.metric or result.metric.name
        for arm in result.arms.values():
            if metric_by_round(case, arm.name, metric):
                places = tuple(index for _, index in sorted(case.samples.by_round(arm.name).items()))
                yield Runs(case, arm, places, figures(case, arm.name, metric))
