"""How results are put into words: one place, so that tables, values and claims speak alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools import markdown as md
from tools.selection import CI_JOBS
from tools.stats import Verdict

if TYPE_CHECKING:
    from tools.analysis import Analysis, Comparison
    from tools.figures import Figures
    from tools.model import Parity
    from tools.record import Arm, CaseResult, Environment, PhaseRecord
    from tools.selection import Evidence

LANGUAGES = {"go": "Go", "rust": "Rust", "zig": "Zig", "c": "C", "python": "Python"}
STALE = "\u2020"
STALE_NOTE = f"{STALE} stale: the sources have changed since this was measured."


def language(name: str | None) -> str:
    """Name a language as people write it."""
    return LANGUAGES.get(name or "", md.text(name or md.DASH))


def program(arm: Arm) -> str:
    """Name a program in Markdown."""
    return md.text(plain_program(arm), 60)


def plain_program(arm: Arm) -> str:
    """Name a program in plain text: its title, else its language and what sets it apart from the plain lane."""
    if arm.title.lower() != arm.name or arm.role == "peer":
        return arm.title
    shown = LANGUAGES.get(arm.language or "", arm.name)
    variant = arm.variant or arm.name.removeprefix(f"{arm.language}-")
    return shown if variant in {arm.language, shown} else f"{shown} ({variant})"


def verdict(comparison: Comparison) -> str:
    """Say what may be said of a comparison, and what the noisy rounds or two regimes do to it."""
    words = [str(comparison.verdict)]
    if comparison.quiet_verdict is not None:
        words.append(f"{comparison.quiet_verdict} without noisy rounds")
    if comparison.ratio.two_regimes:
        words.append("two regimes")
    return "; ".join(words)


def work(case: CaseResult, plural: str) -> str:
    """Say what one run of a case does."""
    shown = md.text(plural, 30)
    load = case.load
    if load is None:
        return f"{md.count(case.items)} {shown} x {md.count(case.repeats)} repeats a run"
    if load.plan is not None:
        phases = ", then ".join(_phase(phase) for phase in load.plan.phases)
        texts = f"texts of {md.count(load.plan.payload_bytes)} bytes"
        return f"{load.tool}, {phases}, {texts}, {load.measure_seconds:g} s a run"
    how = "as fast as replies come"
    if load.rate_per_second is not None:
        how = f"{md.rate(load.rate_per_second, plural)} by the clock"
    pipeline = f", {md.count(load.pipeline)} in flight on each" if load.pipeline > 1 else ""
    connections = f"{md.count(load.connections)} connection{'s' if load.connections > 1 else ''}"
    return f"{load.tool}, {connections}{pipeline}, {how}, {load.measure_seconds:g} s a run"


def _phase(phase: PhaseRecord) -> str:
    """Say what the users of one phase of a plan do."""
    first, last = phase.users
    users = md.count(last) if first == last else f"{md.count(first)} to {md.count(last)}"
    stay = f" who stay {phase.session_seconds:g} s" if phase.session_seconds else ""
    return f"{users} users{stay} with {phase.rate:g} messages/s each"


def cost(figures: Figures, plural: str) -> str:
    """Write what the verdict rests on, as people of the field say it: a time, a rate, a latency."""
    return amount(figures.metric, figures.cost.median, plural)


def amount(metric: str, value: float, plural: str) -> str:
    """Write one value of a metric: the median of an arm, or a single run of it."""
    match metric:
        case "ns_per_item":
            return md.rate(1e9 / value, plural) if value else md.DASH
        case "cpu_ns_per_item":
            return f"{md.duration(value)} CPU"
        case "latency_p99_ns":
            return f"p99 {md.duration(value)}"
        case "max_rss_bytes":
            return md.size(value)
        case _:
            return md.duration(value)


def against(comparison: Comparison | None) -> str:
    """Say how much faster or slower A is than B, where the comparison is of A over B."""
    if comparison is None:
        return md.DASH
    oriented = comparison.ratio.slower_over_faster()
    direction = "slower" if comparison.ratio.ratio >= 1 else "faster"
    shown = f"{md.factor(oriented.ratio)} {direction}"
    verdict_ = comparison.verdict
    return shown if verdict_ in {Verdict.DIFFERENT, Verdict.STRUCTURAL} else f"{shown} ({verdict_})"


def outcome(analysis: Analysis, evidence: Evidence) -> str:
    """Say who wins a case among lanes of the main parity, in a few words."""
    group = analysis.main_group
    if group is None:
        return md.DASH
    arms, name = evidence.result.arms, analysis.case.name
    jobs = "" if evidence.confirmed(name) else f" ({evidence.agreeing(name)} of {CI_JOBS} CI jobs)"
    if group.winner is not None:
        shown = program(arms[group.winner])
        return f"{shown}{jobs}" if jobs else f"**{shown}**"
    if group.tied:
        return "tie: " + ", ".join(program(arms[lane]) for lane in group.tied) + jobs
    return "undecided" if len(group.to_leader) > 1 else "no rival"


def parity(of: Parity) -> str:
    """List what a group of lanes has in common."""
    threads = f"{of.threads} thread{'s' if of.threads > 1 else ''}"
    return ", ".join(
        [of.library, threads, *(md.text(x, 40) for x in (of.level, of.batching, of.durability, of.io) if x)]
    )


def noise(analysis: Analysis) -> str:
    """Say how much the run itself moved."""
    steal = f"steal {analysis.steal_share:.1%}"
    if analysis.null is None:
        return f"no null arm; {steal}"
    ratio = analysis.null
    return f"null arm {md.factor(ratio.ratio)} {md.interval(ratio.low, ratio.high)} ({ratio.noise}); {steal}"


def environment(record: Environment) -> str:
    """Describe an environment in one line."""
    parts = [
        f"`{record.id}` ({record.runner})",
        md.text(record.os),
        f"kernel {md.text(record.kernel)}",
        f"{md.text(record.cpu_model)}, {record.cpus} logical CPUs, {md.text(record.cpu_level)}",
        f"{md.size(record.memory_bytes)} of memory",
    ]
    if record.virtualization:
        parts.append(f"under {md.text(record.virtualization)}")
    if record.engine:
        parts.append(md.text(record.engine))
    isolation = record.isolation
    parts.append(f"network {md.text(isolation['network'])}, memory limit by {md.text(isolation['memory_limit'])}")
    return "; ".join([*parts, "shared CI runner" if record.ci else "own machine"])
