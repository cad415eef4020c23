"""What a result must mean beyond its schema: the cross checks, as (JSON path, sentence) pairs.

Every function yields problems and assumes that the schema holds. The limits are physics and the lane contract: a
program cannot report more time than passed outside, use more cores than there are, or beat the memory bus.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Finding = tuple[str, str]

SELF_TOLERANCE_NS = 1_000_000  # programs print at least milliseconds, so rounding can add up to half of one
CPU_TOLERANCE_NS = (
    20_000_000  # looser than what the harness flags: ticks of up to 10 ms, counted for user and for system
)
CPU_TOLERANCE = 1.05
MARKS = frozenset({"noisy", "generator-lag", "generator-busy", "saturated"})
"""Flags that mark a run and condemn nobody."""
LOAD_COLUMNS = frozenset({"offered", "mismatched", "errors", "dropped", "latency_p99_ns"})
HTML = re.compile(r"<[!/?A-Za-z]|&#?\w+;")


def contradictions(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Find everything that contradicts itself in a result that fits the schema."""
    yield from _moment(tree["created_at"])
    yield from _plan(tree)
    yield from _arms(tree["arms"])
    yield from _markup(tree)
    for double in _twice([case["name"] for case in tree["cases"]]):
        yield "$.cases", f"case {double!r} is there twice"
    if sum(case["headline"] for case in tree["cases"]) > 1:
        yield "$.cases", "more than one case is the headline"
    for index, case in enumerate(tree["cases"]):
        yield from _case(f"$.cases[{index}]", case, tree)


def _twice(values: list[Any]) -> list[Any]:
    """List values that occur more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


def _moment(text: str) -> Iterator[Finding]:
    """Find a date that no calendar has."""
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - the text says Z; only its validity matters
    except ValueError:
        yield "$.created_at", f"{text!r} is not a date"


def _plan(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Find names in the plan that are no lanes of the result."""
    lanes = {name for name, arm in tree["arms"].items() if arm["role"] == "lane"}
    plan = tree["plan"]
    if plan["reference"] not in lanes:
        yield "$.plan.reference", f"{plan['reference']!r} is not a lane"
    for lane in plan["lanes"]:
        if lane not in lanes:
            yield "$.plan.lanes", f"{lane!r} is not a lane"
    for lane in _twice(plan["lanes"]):
        yield "$.plan.lanes", f"{lane!r} is there twice"
    if plan["workload"] not in tree["workloads"]:
        yield "$.plan.workload", f"{plan['workload']!r} is not among the workloads"
    if plan["rounds_min"] > plan["rounds_max"]:
        yield "$.plan.rounds_min", "more rounds at least than at most"


def _arms(arms: Mapping[str, Any]) -> Iterator[Finding]:
    """Find arms that do not fit their role."""
    for name, arm in arms.items():
        where = f"$.arms.{name}"
        original = arms.get(arm["of"] or "", {})
        if arm["role"] == "null" and original.get("role") != "lane":
            yield f"{where}.of", f"a null arm is a copy of a lane, and {arm['of']!r} is none"
        if arm["role"] != "null" and arm["of"] is not None:
            yield f"{where}.of", "only a null arm is a copy of something"
        if arm["role"] == "lane" and not (arm["parity"] and arm["language"]):
            yield where, "a lane has a language and a parity"
        base = arm["baseline_of"]
        if base is not None and (base == name or arms.get(base, {}).get("role") != "lane"):
            yield f"{where}.baseline_of", f"{base!r} is not another lane"
        passed = arm["verification"]["state"] == "passed"
        if passed and arm["verification"]["failures"]:
            yield f"{where}.verification", "passed, yet with failures"
        if arm["state"] == "measured" and arm["role"] == "lane" and not passed:
            yield f"{where}.state", "measured, yet the oracle did not accept it"


def _markup(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Find HTML in the names that tables show; reasons, notes and arguments may quote anything and are escaped."""
    texts: dict[str, Any] = {f"$.environment.{key}": value for key, value in tree["environment"].items()}
    texts |= {f"$.project.item.{key}": value for key, value in tree["project"]["item"].items()}
    texts |= {f"$.project.metric.{key}": value for key, value in tree["project"]["metric"].items()}
    texts |= {f"$.arms.{name}.{key}": arm[key] for name, arm in tree["arms"].items() for key in ("title", "toolchain")}
    for index, case in enumerate(tree["cases"]):
        texts |= {f"$.cases[{index}].{key}": case[key] for key in ("title", "floor_basis")}
    for where, text in texts.items():
        if isinstance(text, str) and HTML.search(text):
            yield where, "HTML has no place in a name"


def _case(where: str, case: Mapping[str, Any], tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Find contradictions inside one case."""
    if case["workload"] not in tree["workloads"]:
        yield f"{where}.workload", f"{case['workload']!r} is not among the workloads"
    yield from _names(where, case, set(tree["arms"]))
    for arm, state in case["states"].items():
        if state["state"] != "measured" and state["reason"] is None:
            yield f"{where}.states.{arm}", f"{state['state']} without a reason"
    yield from _soak(f"{where}.soak", case.get("soak"), set(tree["arms"]))
    if case["load"] is not None and not set(case["samples"]) >= LOAD_COLUMNS:
        yield f"{where}.samples", "has a load, yet no columns of it"
        return
    for key in ("samples", "warmups"):
        lengths = [len(column) for column in case[key].values()]
        if min(lengths) != max(lengths):
            yield f"{where}.{key}", f"columns of different lengths: {min(lengths)} to {max(lengths)}"
        elif key == "samples":
            yield from _rounds(f"{where}.samples", case)
            yield from _samples(f"{where}.samples", case, tree)


def _soak(where: str, soak: Mapping[str, Any] | None, arms: set[str]) -> Iterator[Finding]:
    """Find series of strangers, with holes, or with columns of different lengths."""
    for arm, columns in soak["series"].items() if soak else ():
        if arm not in arms:
            yield f"{where}.series", f"{arm!r} is not an arm"
        if len({len(column) for column in columns.values()}) != 1:
            yield f"{where}.series.{arm}", "columns of different lengths"
        elif columns["t_s"] != list(range(1, len(columns["t_s"]) + 1)):
            yield f"{where}.series.{arm}.t_s", "not every second once"


def _names(where: str, case: Mapping[str, Any], arms: set[str]) -> Iterator[Finding]:
    """Find names in a case that are no arms, and arms that the case does not account for."""
    if odd := sorted(set(case["states"]) ^ arms):
        yield f"{where}.states", f"states and arms differ: {', '.join(odd)}"
    named = {
        "memory": set(case["memory"]),
        "calibration": {entry["arm"] for entry in case["calibration"]},
        "samples.arm": set(case["samples"]["arm"]),
        "warmups.arm": set(case["warmups"]["arm"]),
    }
    for key, names in named.items():
        for name in sorted(names - arms):
            yield f"{where}.{key}", f"{name!r} is not an arm"


def _rounds(where: str, case: Mapping[str, Any]) -> Iterator[Finding]:
    """Find rounds with a hole: every measured arm runs exactly once in every round, each at a place of its own."""
    columns = case["samples"]
    rounds: dict[int, list[str]] = {}
    for arm, turn in zip(columns["arm"], columns["round"], strict=True):
        rounds.setdefault(turn, []).append(arm)
    last = max(rounds, default=0)
    if rounds and len(rounds) != last + 1 - min(rounds):
        yield f"{where}.round", "a round is missing"
    for turn, position in _twice(list(zip(columns["round"], columns["position"], strict=True))):
        yield f"{where}.position", f"position {position} of round {turn} is taken twice"
    measured = {arm for arm, state in case["states"].items() if state["state"] == "measured"}
    for turn, arms in sorted(rounds.items()):
        cut_short = turn == last and case["stop"] == "interrupted"
        for arm in _twice(arms):
            yield f"{where}.round", f"{arm!r} ran twice in round {turn}"
        for arm in sorted(measured - set(arms)) if not cut_short else ():
            yield f"{where}.round", f"{arm!r} is missing in round {turn}"
    if not rounds:
        yield from ((where, f"{arm!r} is measured but has no samples") for arm in sorted(measured))


@dataclass(frozen=True)
class _Bounds:
    """What the runs of one case must agree with."""

    digest: str
    items: int
    counting: frozenset[str]
    cpus: int
    floor_ns: float
    load: bool


def _samples(where: str, case: Mapping[str, Any], tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Find runs that are wrong or impossible and are not flagged so, and measured arms with such a run."""
    counting = frozenset(name for name, arm in tree["arms"].items() if arm["counts_items"])
    items, cpus = case["items"] * case["repeats"], tree["environment"]["cpus"]
    bounds = _Bounds(case["digest"], items, counting, cpus, case["floor_ns"] or 0, case["load"] is not None)
    columns = case["samples"]
    condemned: set[str] = set()
    for index, values in enumerate(zip(*columns.values(), strict=True)):
        run = dict(zip(columns, values, strict=True))
        excuses = set(run["flags"]) - MARKS
        if excuses:
            condemned.add(run["arm"])
        if "failed" not in excuses:
            findings = [*_wrong(run, excuses, bounds), *_impossible(run, excuses, bounds)]
            yield from ((f"{where}.{key}[{index}]", f"{run['arm']!r} {text}") for key, text in findings)
    for arm in sorted(condemned):
        if case["states"].get(arm, {}).get("state") == "measured":
            yield f"{where}.flags", f"{arm!r} has a failed or impossible run and cannot count as measured"


def _wrong(run: Mapping[str, Any], excuses: set[str], bounds: _Bounds) -> Iterator[Finding]:
    """Find a run with another exit, answer or count than the verified one."""
    if run["exit_kind"] != "exited" or run["exit_code"]:
        yield "exit_code", f"ended with {run['exit_kind']} {run['exit_code']} and is not flagged as failed"
    if run["digest"] != bounds.digest and "wrong-digest" not in excuses and not (bounds.load and excuses):
        yield "digest", "gave another digest than the verified one"
    if bounds.load:
        yield from _lost(run, excuses)
    elif run["items"] != bounds.items and run["arm"] in bounds.counting and "wrong-items" not in excuses:
        yield "items", f"counted {run['items']} items, not {bounds.items} (items x repeats)"


def _lost(run: Mapping[str, Any], excuses: set[str]) -> Iterator[Finding]:
    """Find a load run whose counts contradict each other."""
    offered, mismatched = run["offered"] or 0, run["mismatched"] or 0
    if mismatched and "wrong-replies" not in excuses:
        yield "mismatched", "got wrong replies and is not flagged so"
    if (run["items"] or 0) + mismatched > offered:
        yield "items", f"has more replies than the {offered} requests"


def _impossible(run: Mapping[str, Any], excuses: set[str], bounds: _Bounds) -> Iterator[Finding]:
    """Find a run that breaks physics."""
    if "impossible" in excuses:
        return
    own_ns, wall_ns = run["self_ns"], run["wall_ns"]
    if own_ns is not None and own_ns > wall_ns + SELF_TOLERANCE_NS and "self-time" not in excuses:
        yield "self_ns", "reports more time than passed"
    # A server's CPU time is also that of users who come before the load and go after it, which its wall time is not.
    if not bounds.load and run["user_ns"] + run["sys_ns"] > bounds.cpus * wall_ns * CPU_TOLERANCE + CPU_TOLERANCE_NS:
        yield "user_ns", f"used more CPU time than {bounds.cpus} cores have"
    if wall_ns < bounds.floor_ns:
        yield "wall_ns", "is faster than the floor of this machine"
