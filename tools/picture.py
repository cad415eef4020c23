"""The picture of README.md: one bar a program in the headline case of every measured system, as SVG.

Within a system the slowest program fills the width. Ratios are those of the tables: to the leader among lanes of equal
parity, with the interval as a thin line. The same data always give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tools import markdown as md
from tools import wording
from tools.roster import measured

if TYPE_CHECKING:
    from tools.analysis import Analysis
    from tools.record import Arm
    from tools.rows import Row
    from tools.selection import Evidence, Evidences

PATH = "docs/standings.svg"
WIDTH, LEFT, RIGHT = 760, 170, 170
LINE, GAP = 22, 16
MAX_TEXT, MAX_NAME = 90, 21
COLOURS = {"go": "#00acd7", "rust": "#ce422b", "zig": "#f7a41d"}
OTHER, PEER = "#8b5cf6", "#9aa0a6"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.head{font-weight:600}.note{fill:#59636e}.line{stroke:#1f2328}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.line{stroke:#e6edf3}}"
)


def standings(evidences: Evidences) -> str:
    """Draw every measured system, one below the other."""
    parts: list[str] = []
    top = 8
    for row, evidence in measured(evidences):
        drawn, height = _system(row, evidence, top)
        parts += drawn
        top += height
    if not parts:
        parts, top = [_text(8, 28, "No results yet.", "note")], 44
    label = "Median time of every program in the headline case of each measured system"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def _system(row: Row, evidence: Evidence, top: int) -> tuple[list[str], int]:
    """Draw one system: a heading and a bar for each lane and peer; give the height that it took."""
    analysis = evidence.headline
    arms = [arm for arm in evidence.result.arms.values() if arm.role != "null" and arm.name in analysis.figures]
    heading = f"{row.title}: {analysis.case.title}"
    parts = [_text(8, top + 15, heading, "head")]
    if not arms:
        return [*parts, _text(8, top + 15 + LINE, "nothing could be measured", "note")], 2 * LINE + GAP
    slowest = max(analysis.figures[arm.name].cost.median for arm in arms) or 1
    ordered = sorted(arms, key=lambda arm: (arm.role == "peer", analysis.figures[arm.name].cost.median))
    for place, arm in enumerate(ordered, start=1):
        parts += _bar(arm, evidence, analysis, top + place * LINE, slowest)
    return [part for part in parts if part], (len(arms) + 1) * LINE + GAP


def _bar(arm: Arm, evidence: Evidence, analysis: Analysis, top: int, slowest: float) -> list[str]:
    """Draw one program: name, bar, interval of its ratio to the leader, time."""
    figures = analysis.figures[arm.name]
    scale = (WIDTH - LEFT - RIGHT) / slowest
    length = figures.cost.median * scale
    colour = PEER if arm.role == "peer" else COLOURS.get(arm.language or "", OTHER)
    group = analysis.group_of(arm.name)
    ratio = group.to_leader[arm.name].ratio if group else None
    shown = wording.cost(figures, evidence.result.item.plural)
    line = ""
    if group is not None and ratio is not None and arm.name != group.leader:
        shown += f" ({md.factor(ratio.ratio)})"
        unit = analysis.figures[group.leader].cost.median * scale
        if ratio.low > 0 and ratio.high < float("inf"):
            ends = (LEFT + min(ratio.low * unit, WIDTH - LEFT), LEFT + min(ratio.high * unit, WIDTH - LEFT))
            line = f'<path class="line" d="M{ends[0]:.1f} {top + 10}H{ends[1]:.1f}"/>'
    mark = f" {wording.STALE}" if arm.name in evidence.stale else ""
    return [
        _text(8, top + 15, wording.plain_program(arm), "", MAX_NAME),
        f'<rect x="{LEFT}" y="{top + 3}" width="{length:.1f}" height="15" rx="2" fill="{colour}"/>',
        line,
        _text(LEFT + int(length) + 8, top + 15, f"{shown}{mark}", "note"),
    ]


def _text(x: int, y: int, content: str, kind: str, limit: int = MAX_TEXT) -> str:
    """Write text that is nothing but text, of bounded length."""
    plain = "".join(char if char.isprintable() else " " for char in content)
    shown = plain if len(plain) <= limit else plain[: limit - 1] + "\u2026"
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{style}>{escape(shown)}</text>'
