"""The cells of a plan: what would be built, verified or timed, in order; pure, so that `--list` and CI can print it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tools import flow
from tools.model import Project


@dataclass(frozen=True)
class Cell:
    """One program on one runner."""

    slug: str
    arm: str
    runner: str

    def __str__(self) -> str:
        """The name used in logs, folders and results: `sqlite-query-engine/zig@docker`."""
        return f"{self.slug}/{self.arm}@{self.runner}"


def cells(projects: Iterable[Project], options: flow.Options, runner: str) -> Iterator[Cell]:
    """The cells of these projects in the order in which they are worked on."""
    for project in projects:
        for arm in flow.chosen(project, options):
            yield Cell(project.slug, arm.name, runner)
