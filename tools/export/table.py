"""CSV: every run of every arm as a line, also runs that count for nobody, with the flags that say why."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from typing import TYPE_CHECKING

from tools.record import Samples

if TYPE_CHECKING:
    from tools.record import Result

ABOUT = ("project", "created_at", "environment", "runner", "workload", "case", "repeats")
ARM = ("role", "language", "variant", "state")
COLUMNS = tuple(field.name for field in fields(Samples))


def export(result: Result) -> str:
    """The CSV text: a head, then a line a run in the order in which they ran; empty where a value is unknown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*ABOUT, *ARM, *COLUMNS])
    for case in result.cases:
        about = [
            result.slug, result.created_at, result.environment.id, result.environment.runner, case.workload, case.name,
            case.repeats,
        ]  # fmt: skip
        columns = [getattr(case.samples, name) for name in COLUMNS]
        for index, name in enumerate(case.samples.arm):
            arm = result.arms[name]
            kind = [arm.role, arm.language, arm.variant, case.states[name].state]
            writer.writerow([*about, *kind, *(_cell(column, index) for column in columns)])
    return text.getvalue()


def _cell(column: tuple[object, ...], index: int) -> object:
    """One value; columns of loads are empty where there is no load."""
    if not column:
        return None
    value = column[index]
    return " ".join(sorted(value)) if isinstance(value, frozenset) else value
