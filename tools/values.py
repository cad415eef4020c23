"""Numbers and sentences inside prose that are bound to results.

    value PROJECT CASE ratio ZIG/RUST        how many times as long zig takes as rust
    value PROJECT CASE interval ZIG/RUST     its interval
    value PROJECT CASE median|memory|throughput|floor PROGRAM
    value PROJECT CASE winner
    value PROJECT binary|build|startup|lines PROGRAM
    claim PROJECT CASE winner LANE           alone in the first place
    claim PROJECT CASE tie LANE LANE ...     share the first place
    claim PROJECT CASE faster A B            A is shown to be faster than B (different or structural)
    claim PROJECT CASE ratio-above A/B X     the whole interval of A over B lies above X
    claim PROJECT CASE ratio-below A/B X     ... below X
    claim PROJECT CASE beats-peer LANE PEER  LANE's interval lies below the PEER's time
    claim PROJECT CASE memory-below LANE MIB peak memory in MiB

Conditions are a closed set: no expression of a document is ever evaluated. A program is named by its arm, as in
project.yaml, so nothing from a result can reach the text but numbers and checked names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tools import markdown as md
from tools import stats, wording
from tools.stats import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.analysis import Analysis, Comparison
    from tools.figures import Figures
    from tools.record import Arm
    from tools.selection import Evidence, Evidences

NO_DATA = "not measured"
NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")


def value(evidences: Evidences, words: tuple[str, ...]) -> str:
    """Give the text of a value; `not measured` while there is no result.

    Raises:
        LookupError: the words name something that does not exist.
    """
    evidence = evidences.of(evidences.row(words[0]))
    if len(words) == 3 and words[1] in PROGRAM_VALUES:  # noqa: PLR2004 - project, what, program
        return PROGRAM_VALUES[words[1]](_arm(evidence, words[2])) if evidence else NO_DATA
    if len(words) < 3 or words[2] not in CASE_VALUES:  # noqa: PLR2004 - project, case, what
        raise LookupError(f"unknown value {' '.join(words)!r}")
    return CASE_VALUES[words[2]](evidence, _analysis(evidence, words[1]), words[3:]) if evidence else NO_DATA


def claim(evidences: Evidences, words: tuple[str, ...]) -> str | None:
    """Give None if the data support the condition, else what they say.

    Raises:
        LookupError: the words are no condition.
    """
    row = evidences.row(words[0])
    if len(words) < 4 or words[2] not in CLAIMS:  # noqa: PLR2004 - project, case, condition, lane
        raise LookupError(f"unknown claim {' '.join(words)!r}")
    evidence = evidences.of(row)
    if evidence is None:
        return "there is no result"
    analysis = _analysis(evidence, words[1])
    name = analysis.case.name
    if words[2] in FIRST_PLACE and not evidence.confirmed(name):
        return f"only {evidence.agreeing(name)} CI jobs agree; shared runners need three"
    try:
        return None if CLAIMS[words[2]](analysis, words[3:]) else wording.outcome(analysis, evidence)
    except ValueError as error:
        raise LookupError(f"claim {' '.join(words)!r}: {error}") from error


def _analysis(evidence: Evidence, case: str) -> Analysis:
    """Find a case by name; `headline` is the one of the short tables."""
    if case == "headline":
        return evidence.headline
    if case not in evidence.analyses:
        raise LookupError(f"{evidence.result.slug} has no case {case!r}; known: {', '.join(evidence.analyses)}")
    return evidence.analyses[case]


def _arm(evidence: Evidence, name: str) -> Arm:
    """Find a program by its name."""
    if name not in evidence.result.arms:
        raise LookupError(f"{evidence.result.slug} has no program {name!r}; known: {', '.join(evidence.result.arms)}")
    return evidence.result.arms[name]


def _pair(analysis: Analysis, words: tuple[str, ...]) -> Comparison:
    """Find the comparison that `A/B` names."""
    a, _, b = (words or ("",))[0].partition("/")
    if (a, b) not in analysis.pairs:
        raise LookupError(f"{a!r} and {b!r} are not compared in {analysis.case.name}")
    return analysis.pairs[a, b]


def _ratio(_: Evidence, analysis: Analysis, words: tuple[str, ...]) -> str:
    """Write how many times as much of the metric A needs as B."""
    return md.factor(_pair(analysis, words).ratio.ratio)


def _interval(_: Evidence, analysis: Analysis, words: tuple[str, ...]) -> str:
    """Write the interval of a ratio."""
    ratio = _pair(analysis, words).ratio
    return md.interval(ratio.low, ratio.high)


def _winner(evidence: Evidence, analysis: Analysis, words: tuple[str, ...]) -> str:
    """Write who wins the case, as names of arms."""
    if words:
        raise LookupError(f"winner needs no {words[0]!r}")
    group = analysis.main_group
    lanes = (group.winner,) if group and group.winner else group.tied if group else ()
    names = [wording.language(evidence.result.arms[lane].language) for lane in lanes if lane]
    return " and ".join(names) or "nobody"


def _figure(write: Callable[[Evidence, Figures], str]) -> Callable[[Evidence, Analysis, tuple[str, ...]], str]:
    """Make a value of one program's figures."""

    def shown(evidence: Evidence, analysis: Analysis, words: tuple[str, ...]) -> str:
        name = _arm(evidence, (words or ("",))[0]).name
        return write(evidence, analysis.figures[name]) if name in analysis.figures else NO_DATA

    return shown


CASE_VALUES: dict[str, Callable[[Evidence, Analysis, tuple[str, ...]], str]] = {
    "ratio": _ratio,
    "interval": _interval,
    "winner": _winner,
    "median": _figure(lambda evidence, figures: wording.cost(figures, evidence.result.item.plural)),
    "cpu": _figure(lambda _, figures: md.duration(figures.load.cpu_ns_per_item) if figures.load else NO_DATA),
    "memory": _figure(lambda _, figures: md.size(figures.max_rss_bytes)),
    "throughput": _figure(lambda evidence, figures: md.rate(figures.items_per_second, evidence.result.item.plural)),
    "floor": _figure(lambda _, figures: NO_DATA if figures.times_floor is None else md.factor(figures.times_floor)),
}
PROGRAM_VALUES: dict[str, Callable[[Arm], str]] = {
    "binary": lambda arm: md.size(arm.binary_bytes),
    "build": lambda arm: md.duration(arm.cold_build_ns),
    "startup": lambda arm: md.duration(stats.median(arm.startup_ns) if arm.startup_ns else None),
    "lines": lambda arm: md.count(arm.lines_of_code),
}


def _number(words: tuple[str, ...]) -> float:
    """Read the number of a condition."""
    if len(words) != 2 or NUMBER.fullmatch(words[1]) is None:  # noqa: PLR2004 - a program and a number
        raise ValueError("expected a program and a number")
    return float(words[1])


def _wins(analysis: Analysis, words: tuple[str, ...]) -> bool:
    """Hold if the lane stands alone in the first place of its group."""
    group = analysis.group_of(words[0])
    return len(words) == 1 and group is not None and group.winner == words[0]


def _tie(analysis: Analysis, words: tuple[str, ...]) -> bool:
    """Hold if the first place is shared by exactly these lanes."""
    group = analysis.group_of(words[0])
    return group is not None and set(group.tied) == set(words)


def _faster(analysis: Analysis, words: tuple[str, ...]) -> bool:
    """Hold if A is shown to be faster than B, also without noisy rounds."""
    if len(words) != 2:  # noqa: PLR2004 - A and B
        raise ValueError("expected two programs")
    found = _pair(analysis, (f"{words[0]}/{words[1]}",))
    return found.ratio.ratio < 1 and found.settled and found.verdict in {Verdict.DIFFERENT, Verdict.STRUCTURAL}


def _beats_peer(analysis: Analysis, words: tuple[str, ...]) -> bool:
    """Hold if the interval of lane over peer lies below 1 and the run was quiet enough to say so."""
    if len(words) != 2:  # noqa: PLR2004 - lane and peer
        raise ValueError("expected a lane and a peer")
    found = _pair(analysis, (f"{words[0]}/{words[1]}",))
    return found.ratio.high < 1 and found.verdict is not Verdict.WITHHELD


def _memory_below(analysis: Analysis, words: tuple[str, ...]) -> bool:
    """Hold if the peak memory of a program is below so many MiB."""
    limit = _number(words) * (1 << 20)
    return words[0] in analysis.figures and analysis.figures[words[0]].max_rss_bytes < limit


FIRST_PLACE = ("winner", "tie", "faster", "beats-peer")
CLAIMS: dict[str, Callable[[Analysis, tuple[str, ...]], bool]] = {
    "winner": _wins,
    "tie": _tie,
    "faster": _faster,
    "ratio-above": lambda analysis, words: _pair(analysis, words).ratio.low > _number(words),
    "ratio-below": lambda analysis, words: _pair(analysis, words).ratio.high < _number(words),
    "beats-peer": _beats_peer,
    "memory-below": _memory_below,
}
