"""The tables of `docs/selftest.md`: what the self-test of the method found on one machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tools import markdown as md
from tools import selftest_record as record
from tools import stats
from tools.recorded import Tree
from tools.selftest_record import Finding, Said
from tools.stats import Verdict

PAGE = "docs/selftest.md"
NOT_MEASURED = "*Not measured.*"
LOADS = {
    "none": "nothing",
    "other core": "a spinning process on the other core",
    "same core": "a spinning process on the lanes' core",
    "same core, on and off": "the same, on and off",
}
TOOLS = {
    "tight": "C loop of `posix_spawn` and `wait4`, back to back",
    "loop": "the same with half a millisecond between two",
    "launcher": "Deadheat's launcher",
    "hyperfine": "`hyperfine -N`",
    "pyperf": "`pyperf command`",
}
WORK = {
    "validate_cold": "validate, cold",
    "validate_warm": "validate, warm",
    "tables_cold": "tables, cold",
    "tables_warm": "tables, warm",
}


def block(name: str, tree: Tree | None) -> str:
    """Give the Markdown of a block; `tree` is None before the first measurement."""
    return BLOCKS[name](tree) if tree is not None else NOT_MEASURED


def _summary(tree: Tree) -> str:
    """When, where, and whether every limit holds."""
    found = record.findings(tree)
    broken = [one for one in found if not one.ok]
    machine, harness = tree["environment"], tree["harness"]
    commit = f"`{md.text(harness['commit'][:12])}`" if harness["commit"] else "no commit"
    minutes = f"{tree['seconds'] / 60:.0f} minutes"
    lines = [
        f"- {md.text(tree['created_at'])}, {md.text(tree['size'])} self-test, {minutes}; Deadheat {commit}"
        + (" with changes" if harness["dirty"] else ""),
        f"- {md.text(machine['cpu_model'])}, {machine['cpus']} logical CPUs, "
        f"{md.size(machine['memory_bytes'])} of memory; "
        f"{md.text(machine['os'])}, kernel {md.text(machine['kernel'])}; environment `{machine['id']}`"
        + (f"; under {md.text(machine['virtualization'])}" if machine["virtualization"] else ""),
        f"- load average over the minute before: {tree['load_at_start']:.2f}",
        f"- limits: {len(found) - len(broken)} of {len(found)} hold",
    ]
    lines += [f"- **not held**: {_finding(one)}" for one in broken]
    lines += [f"- not measured: {md.text(what)}: {md.text(why)}" for what, why in tree["missing"].items()]
    return "\n".join(lines)


def _finding(one: Finding) -> str:
    """Write one finding with its limit."""
    side = "at least" if one.at_least else "at most"
    detail = f" ({md.text(one.detail)})" if one.detail else ""
    return f"{md.text(one.name)}: {md.significant(one.value)}, {side} {md.significant(one.limit)}{detail}"


def _simulated(tree: Tree) -> str:
    """Coverage and error rates of the rules, as shares."""
    rows = []
    for one in (Finding(**found) for found in tree["simulated"] or ()):
        limit = f"{'at least' if one.at_least else 'at most'} {one.limit:.1%}"
        rows.append([md.text(one.name), md.text(one.detail), f"{one.value:.1%}", limit, _mark(ok=one.ok)])
    return md.table(["What", "Said", "Share", "Limit", "Holds"], rows, numbers_from=2) if rows else NOT_MEASURED


def _mark(*, ok: bool) -> str:
    return "yes" if ok else "**no**"


def _same(tree: Tree) -> str:
    """Identical lanes: false alarms, and how far the null arm stands from 1."""
    benchmarks = record.whole(tree["same"] or ())
    if not benchmarks:
        return NOT_MEASURED
    found = [record.false_alarms(one) for one in benchmarks]
    pairs, called, missed = (sum(column) for column in zip(*found, strict=True))
    verdicts = Counter(verdict for one in benchmarks for verdict in _pair_verdicts(one))
    rows = [
        ["benchmarks", md.count(len(benchmarks))],
        ["pairs of identical lanes", md.count(pairs)],
        ["verdicts", _counted(verdicts)],
        ["benchmarks with a false `different`", _share(sum(one[1] > 0 for one in found), len(found))],
        ["pairs with a false `different`", _share(called, pairs)],
        ["intervals that do not hold 1", _share(missed, pairs)],
        *_null_rows(benchmarks),
        ["rounds of a benchmark", _range([len(one["walls_ns"]["null"]) for one in benchmarks])],
        ["runs flagged as disturbed", md.count(sum(one["noisy_runs"] for one in benchmarks))],
    ]
    return md.table(["Identical lanes", "Found"], rows, numbers_from=2)


def _null_rows(benchmarks: Sequence[Tree]) -> list[list[str]]:
    """How the null arms are spread."""
    nulls = [record.null_arm(one) for one in benchmarks]
    ratios = [null.ratio for null in nulls]
    quantiles = ", ".join(f"{stats.quantile(ratios, q):.4f}" for q in (0.0, 0.25, 0.5, 0.75, 1.0))
    noise = Counter(str(null.noise) for null in nulls)
    return [
        ["null arm: least, quartiles, largest", quantiles],
        ["null arm: noise", ", ".join(f"{level} {count}" for level, count in noise.most_common())],
    ]


def _pair_verdicts(benchmark: Tree) -> list[Verdict]:
    """The verdict of every pair of identical lanes."""
    lanes = list(benchmark["truth"])
    return [record.compared(benchmark, a, b)[1] for i, a in enumerate(lanes) for b in lanes[i + 1 :]]


def _counted(verdicts: Mapping[Verdict, int]) -> str:
    """List verdicts with their counts, the most frequent first."""
    ordered = sorted(verdicts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{verdict} {count}" for verdict, count in ordered)


def _share(part: int, total: int) -> str:
    return f"{part} ({part / total:.1%})"


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _slowed(tree: Tree) -> str:
    """What Deadheat and hyperfine say of lanes whose true ratio is known."""
    rows = []
    for load in tree["slowed"] or ():
        benchmarks = record.whole(load["benchmarks"])
        for lane, truth in (benchmarks[0]["truth"] if benchmarks else {}).items():
            said = [record.said_by_deadheat(one, lane) for one in benchmarks]
            read = [found for one in benchmarks if (found := record.said_by_hyperfine(one, lane))]
            cells = [LOADS.get(load["load"], md.text(load["load"])), f"{truth:.2f}", str(len(benchmarks))]
            rows.append([*cells, *_opinions(said), *_opinions(read)])
    ours, theirs = ["Deadheat: ratios", "says"], ["hyperfine: ratios", "same bands say"]
    head = ["Beside it ran", "True ratio", "Benchmarks", *ours, *theirs]
    return md.table(head, rows, numbers_from=len(head)) if rows else NOT_MEASURED


def _opinions(said: Sequence[Said]) -> list[str]:
    """The range of ratios, and the verdicts; what is the opposite of the truth stands out."""
    if not said:
        return [md.DASH, md.DASH]
    ratios = [one.ratio.ratio for one in said]
    counts = Counter((one.verdict, one.wrong) for one in said)
    words = [f"**{verdict} {n} (wrong)**" if bad else f"{verdict} {n}" for (verdict, bad), n in counts.most_common()]
    return [f"{min(ratios):.3f} to {max(ratios):.3f}", ", ".join(words)]


def _overhead(tree: Tree) -> str:
    """What starting a program that does nothing takes, tool by tool."""
    overhead = tree["overhead"]
    if not overhead:
        return NOT_MEASURED
    rows = []
    for tool, title in TOOLS.items():
        times = [one[tool] for one in overhead["rounds"] if one.get(tool) is not None]
        if not times:
            rows.append([title, md.DASH, md.DASH, md.text(tree["missing"].get(tool, "not measured"))])
            continue
        median = f"{stats.median(times) / 1000:,.0f}"
        extra = record.extra_us(overhead, tool)
        cells = ["", ""] if tool in {"tight", "loop"} else [f"{stats.median(extra):+,.0f}", _spread(extra)]
        rows.append([title, median, *cells])
    head = ["Starts and waits", "Median of one launch, us", "Above the resting C loop, us", "Quartiles over rounds"]
    note = f"{len(overhead['rounds'])} alternating rounds of {overhead['launches']} launches each, all on one core."
    return f"{md.table(head, rows)}\n\n{note}"


def _spread(values: Sequence[float]) -> str:
    found = stats.quartiles(values)
    return f"{found.low:+,.0f} to {found.high:+,.0f}"


def _scaling(tree: Tree) -> str:
    """Seconds over many result files."""
    scaling = tree["scaling"]
    if not scaling:
        return NOT_MEASURED
    steps = scaling["steps"]
    rows = []
    for work, title in WORK.items():
        ratio = record.growth(scaling, work)
        cells = [md.duration(step[work] * 1e9) for step in steps]
        rows.append([title, *cells, md.DASH if ratio is None else md.factor(ratio)])
    head = ["Work", *(f"{md.count(step['files'])} files" for step in steps), "Time of a file, last over second last"]
    note = f"Files of {md.size(scaling['file_bytes'])} about {scaling['projects']} projects; cold is without the index."
    return f"{md.table(head, rows)}\n\n{note}"


def _lists(tree: Tree) -> str:
    """What `--list` takes."""
    lists: Any = tree["lists"]
    if not lists:
        return NOT_MEASURED
    rows = []
    for command, seconds in lists["seconds"].items():
        found = stats.quartiles(seconds)
        spread = f"{md.duration(found.low * 1e9)} to {md.duration(found.high * 1e9)}"
        budget = md.duration(record.LIST_BUDGET_SECONDS * 1e9)
        rows.append([f"`{md.text(command)}`", md.duration(found.median * 1e9), spread, budget])
    return md.table([f"With {lists['projects']} projects", "Median", "Quartiles", "Budget"], rows)


BLOCKS: dict[str, Callable[[Tree], str]] = {
    "selftest-summary": _summary,
    "selftest-simulated": _simulated,
    "selftest-same": _same,
    "selftest-slowed": _slowed,
    "selftest-overhead": _overhead,
    "selftest-scaling": _scaling,
    "selftest-lists": _lists,
}
