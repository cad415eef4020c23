"""The tables of `docs/load-generators.md`: how load generators compare on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tools import generators_record as record
from tools import markdown as md
from tools.recorded import Tree

PAGE = "docs/load-generators.md"
NOT_MEASURED = "*Not measured.*"
CLOSED = "as fast as it can"
PROTOCOLS = {"http": "HTTP", "resp": "RESP"}


def block(name: str, tree: Tree | None) -> str:
    """Give the Markdown of a block; `tree` is None before the first measurement."""
    return BLOCKS[name](tree) if tree is not None else NOT_MEASURED


def _summary(tree: Tree) -> str:
    """When, where and with which programs."""
    machine, harness, cores = tree["environment"], tree["harness"], tree["cores"]
    commit = f"`{md.text(harness['commit'][:12])}`" if harness["commit"] else "no commit"
    versions = [f"{md.text(name)} {md.text(version)}" for name, version in tree["programs"].items() if version]
    took = f"runs of {tree['seconds']} s, {tree['took_seconds'] / 60:.0f} minutes in all"
    lines = [
        f"- {md.text(tree['created_at'])}, {took}; Deadheat {commit}" + (" with changes" if harness["dirty"] else ""),
        f"- {md.text(machine['cpu_model'])}, {machine['cpus']} logical CPUs; {md.text(machine['os'])}, kernel "
        f"{md.text(machine['kernel'])}; environment `{machine['id']}`"
        + (f"; under {md.text(machine['virtualization'])}" if machine["virtualization"] else ""),
        f"- servers on core {cores['server']}, generators on core {cores['generator']}",
        f"- load average over the minute before: {tree['load_at_start']:.2f}",
        f"- {'; '.join(versions)}",
    ]
    lines += [f"- not installed: {md.text(name)}: {md.text(why)}" for name, why in tree["missing"].items()]
    return "\n".join(lines)


def _rates(tree: Tree) -> str:
    """What each generator makes of a fixed rate, and of none."""
    used = ["CPU s/s", "Server's CPU s/s", "Memory", "Its own lag, p99"]
    head = ["Asked", "Generator", "Reached", "p50", "p99", "p99.9", *used]
    rows = [[_asked(row), md.text(row["generator"]), *_rate_cells(row)] for row in tree["rates"]]
    return md.table(head, rows, numbers_from=2) if rows else NOT_MEASURED


def _rate_cells(row: Tree) -> list[str]:
    """The numbers of a run, or why there are none."""
    found = row["found"]
    if found is None:
        return [_failed(row), *[md.DASH] * 7]
    reached = f"{record.per_second(found):,.0f}/s"
    missed = row["rate_per_second"] is not None and not record.kept(row)
    latency = found["latency_ns"]
    return [
        f"**{reached}**" if missed else reached,
        *(md.duration(latency[name]) for name in ("p50", "p99", "p999")),
        f"{record.cpu_share(found):.2f}",
        f"{record.server_share(found):.2f}",
        md.size(found["rss_bytes"]),
        md.duration(found["lag_p99_ns"]),
    ]


def _asked(row: Tree) -> str:
    return CLOSED if row["rate_per_second"] is None else f"{row['rate_per_second']:,.0f}/s"


def _failed(row: Tree) -> str:
    return f"failed: {md.text(row['failed'] or 'unknown', 80)}"


def _stalled(tree: Tree) -> str:
    """Who sees the pauses, beside the truth."""
    rows = tree["stalled"]
    if not rows:
        return NOT_MEASURED
    head = ["Generator", "Asked", "p50", "p95", "p99", "p99.9", "Without a reply", "Sees the pauses"]
    cells = [[md.text(row["generator"]), _asked(row), *_stalled_cells(row, tree["period_ms"])] for row in rows]
    return md.table(head, [_truth_cells(tree), *cells], numbers_from=1)


def _truth_cells(tree: Tree) -> list[str]:
    """The first row: the quantiles that follow from all pauses of all runs."""
    stops = [stop for row in tree["stalled"] for stop in row["stops_ms"]]
    truths = record.truths({"stops_ms": stops}, tree["period_ms"])
    return ["*the truth*", "", "", *(md.duration(truths[name]) for name in record.SHARES), "0", ""]


def _stalled_cells(row: Tree, period_ms: float) -> list[str]:
    """The quantiles, those that are wrong in bold, and the verdict."""
    found = row["found"]
    if found is None:
        return [_failed(row), *[md.DASH] * 5]
    latency, right = found["latency_ns"], record.seen(row, period_ms)
    shown = [md.duration(latency[name]) if ok else f"**{md.duration(latency[name])}**" for name, ok in right.items()]
    verdict = "yes" if all(right.values()) else "in part" if any(right.values()) else "no"
    return [md.duration(latency["p50"]), *shown, md.count(record.unanswered(row)), verdict]


def _ceilings(tree: Tree) -> str:
    """Closed loops of pace beside the usual tool."""
    rows = [cells for protocol in PROTOCOLS for cells in _ceiling_rows(protocol, tree)]
    asked = ["Protocol", "Connections", "Pipeline", "Generator"]
    head = [*asked, "Replies", "CPU time a reply", "CPU s/s", "Server's CPU s/s"]
    return md.table(head, rows, numbers_from=len(asked)) if rows else NOT_MEASURED


def _ceiling_rows(protocol: str, tree: Tree) -> Iterator[list[str]]:
    for row in tree[protocol]:
        found = row["found"]
        cells = [PROTOCOLS[protocol], str(row["connections"]), str(row["pipeline"]), md.text(row["generator"])]
        if found is None:
            yield [*cells, _failed(row), *[md.DASH] * 3]
            continue
        shares = [f"{share(found):.2f}" for share in (record.cpu_share, record.server_share)]
        yield [*cells, f"{record.per_second(found):,.0f}/s", md.duration(record.request_ns(found)), *shares]


def _limits(tree: Tree) -> str:
    """What each generator keeps on one core, and what it would reach if it alone decided."""
    names = list(dict.fromkeys(row["generator"] for row in tree["rates"]))
    rows = [[md.text(name), *_limit_cells(tree, name)] for name in names]
    head = ["Generator", "Highest asked rate it kept", "CPU time a reply there", "So at most", "Closed loop"]
    return md.table(head, rows) if rows else NOT_MEASURED


def _limit_cells(tree: Tree, name: str) -> list[str]:
    """The highest rate that was kept, the whole core divided by what a reply cost there, and the closed loop."""
    best, loop = record.highest_kept(tree["rates"], name), record.fastest(tree["rates"], name)
    closed = f"{record.per_second(loop['found']):,.0f}/s" if loop and loop["found"] else md.DASH
    if best is None:
        return [_none_kept(tree, name), md.DASH, md.DASH, closed]
    each = record.request_ns(best["found"])
    return [_asked(best), md.duration(each), md.rate(1e9 / each, ""), closed]


def _none_kept(tree: Tree, name: str) -> str:
    """Why there is no rate that a generator kept: it takes none, it missed all, or it did not run."""
    asked = [row for row in tree["rates"] if row["generator"] == name and row["rate_per_second"] is not None]
    if not asked:
        return "keeps no rate"
    return "none" if any(row["found"] for row in asked) else md.DASH


BLOCKS: dict[str, Callable[[Tree], str]] = {
    "generators-summary": _summary,
    "generators-rates": _rates,
    "generators-stalled": _stalled,
    "generators-ceilings": _ceilings,
    "generators-limits": _limits,
}
