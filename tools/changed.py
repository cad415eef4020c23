"""What differs between two results besides their numbers: programs, inputs, harness; and what is the same in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.record import Arm, CaseResult, Result

SHOWN = 12
"""Characters of a hash that are shown."""
SAME_RATE = 0.01
PROGRAM = ("toolchain", "flags", "source_sha256", "lock_sha256", "binary_sha256", "image_digest")
SURROUNDINGS = ("governor", "base_image", "pinned_cpus", "isolation")
"""Of the environment; what makes its id is the same where two results may be compared."""


@dataclass(frozen=True)
class Change:
    """One thing that is not the same in both; None where one of them does not have it."""

    what: str
    a: str | None
    b: str | None


def changes(a: Result, b: Result) -> Iterator[Change]:
    """List what differs, the harness first, then inputs, then programs."""
    pairs: list[tuple[str, object, object]] = [
        ("Deadheat", a.harness.version, b.harness.version),
        ("commit", _commit(a), _commit(b)),
        ("harness source", a.harness.source_sha256, b.harness.source_sha256),
        *((name, getattr(a.environment, name), getattr(b.environment, name)) for name in SURROUNDINGS),
        ("least length of a run", a.plan.min_run_seconds, b.plan.min_run_seconds),
    ]
    inputs = sorted(a.workloads.keys() & b.workloads.keys())
    pairs += [(f"workload {name}", a.workloads[name].sha256, b.workloads[name].sha256) for name in inputs]
    repeats = {case.name: case.repeats for case in b.cases}
    pairs += [(f"{case.name}: repeats", case.repeats, repeats.get(case.name, case.repeats)) for case in a.cases]
    for name in dict.fromkeys([*a.arms, *b.arms]):
        pairs += _program(name, a.arms.get(name), b.arms.get(name))
    yield from (Change(what, _shown(before), _shown(after)) for what, before, after in pairs if before != after)


def _program(name: str, a: Arm | None, b: Arm | None) -> list[tuple[str, object, object]]:
    """What made a program, in both; a null arm is a copy and says nothing of its own."""
    if a is None or b is None:
        return [(name, a and a.title, b and b.title)] if "null" not in {one.role for one in (a, b) if one} else []
    return [] if a.role == "null" else [(f"{name}: {_word(key)}", getattr(a, key), getattr(b, key)) for key in PROGRAM]


def _word(key: str) -> str:
    """A field as people read it."""
    return {"source_sha256": "sources", "lock_sha256": "lock file", "binary_sha256": "program"}.get(
        key, key.replace("_", " ")
    )


def _commit(result: Result) -> str | None:
    """The commit of a result, with a word where the harness had been changed."""
    commit = result.harness.commit
    return f"{commit[:SHOWN]}{', changed' if result.harness.dirty else ''}" if commit else None


def _shown(value: object) -> str | None:
    """A value in short."""
    if value is None or value == ():
        return None
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    text = str(value).removeprefix("sha256:")
    return text[:SHOWN] if len(text) == 64 else text  # noqa: PLR2004 - hex digits of a SHA-256


def unchanged(a: Result, b: Result) -> list[str]:
    """Programs that are the same in both, byte for byte: what they say differently is the machine's doing."""
    return [name for name, arm in a.arms.items() if arm.role != "null" and name in b.arms and _same(arm, b.arms[name])]


def _same(a: Arm, b: Arm) -> bool:
    """Whether two arms are one program; a packaged server has no binary of ours, but an image."""
    if a.binary_sha256 is None:
        return a.image_digest is not None and a.image_digest == b.image_digest
    return (a.binary_sha256, a.toolchain, a.lock_sha256) == (b.binary_sha256, b.toolchain, b.lock_sha256)


def other_work(a: Result, b: Result, case: CaseResult, other: CaseResult) -> str | None:
    """Why the runs of a case in two results are not about the same work, or None if they are."""
    inputs = (a.workloads[case.workload].sha256, b.workloads[other.workload].sha256)
    if inputs[0] != inputs[1]:
        return f"other inputs: {inputs[0][:SHOWN]} and {inputs[1][:SHOWN]}"
    if case.args != other.args:
        return f"other arguments: {' '.join(case.args)} and {' '.join(other.args)}"
    if (case.items, case.answer_sha256) != (other.items, other.answer_sha256):
        return "another answer"
    metrics = (case.metric or a.metric.name, other.metric or b.metric.name)
    if metrics[0] != metrics[1]:
        return f"another metric: {metrics[0]} and {metrics[1]}"
    return _other_load(case, other)


def _other_load(case: CaseResult, other: CaseResult) -> str | None:
    """Why two loads are not the same: latency means something only at its rate."""
    if case.load is None or other.load is None:
        return None if case.load is other.load else "only one of the two is driven by a load generator"
    names = ("tool", "protocol", "connections", "pipeline", "measure_seconds")
    for name in names:
        if getattr(case.load, name) != getattr(other.load, name):
            return f"another load: {name} {getattr(case.load, name)} and {getattr(other.load, name)}"
    rates = (case.load.rate_per_second, other.load.rate_per_second)
    if (rates[0] is None) != (rates[1] is None) or abs((rates[0] or 1) / (rates[1] or 1) - 1) > SAME_RATE:
        return f"another rate: {rates[0]} and {rates[1]} a second"
    return None
