"""Small repositories with results, from which tests make the report site, and readers of its pages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from tests import builders
from tools import files, result, tables
from tools.tables import Roots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SLUG = "sqlite-query-engine"
PAGE = f"p/{SLUG}.html"
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}
INLINE = {"a", "b", "code", "em", "span", "strong"}
README = """# SQLite

Opens <any> database. See [the web](https://example.invalid/x), [the code](go/main.go) and ![a plot](plot.png).

## Results

<!-- deadheat:begin results -->
<!-- deadheat:end results -->

## Why

The <!-- deadheat:value sqlite scan ratio go/rust -->1.80x<!-- /deadheat --> comes from `memchr`.

```sh
nox -s bench-sqlite
```
"""
PROJECT = """
schema: 1
number: "9.1"
slug: sqlite-query-engine
alias: sqlite
title: SQLite query engine
group: "9 Data engines"
kinds: [batch]
summary: Reads SQLite files.
teaches: [b-trees]
item: {name: row, plural: rows, definition: a row read}
metric: {name: wall_ns, unit: ns, direction: lower}
lanes:
  go: {language: go, parity: &parity {library: own, threads: 1, io: mmap}}
  rust: {language: rust, parity: *parity}
  zig: {language: zig, parity: *parity}
workloads: {verify: {seed: 1, size: {rows: 1}}, bench: {seed: 2, size: {rows: 10}}}
oracle: {compare: exact}
cases:
  - {name: scan, title: the scan, headline: true, args: [], workloads: [verify, bench]}
"""
LOAD_COLUMNS = (
    "offered", "dropped", "errors", "mismatched", "latency_p50_ns", "latency_p90_ns", "latency_p99_ns",
    "latency_p999_ns", "latency_max_ns", "lag_p99_ns", "generator_cpu_ns",
)  # fmt: skip


def repository(folder: Path) -> Roots:
    """Make a repository with the documents and one project, without results."""
    for name, blocks in tables.REQUIRED.items():
        marked = "".join(f"<!-- deadheat:begin {each} -->\n<!-- deadheat:end {each} -->\n\n" for each in blocks)
        method = "## How it is measured\n\n1. **Correct first.** An oracle.\n\n## Lessons\n\nNone.\n"
        (folder / name).write_text(f"# {name}\n\n{marked}{method}")
    home = folder / "projects" / SLUG
    for lane in ("go", "rust", "zig"):
        (home / lane).mkdir(parents=True)
        (home / lane / "main").write_text(lane)
    (home / "project.yaml").write_text(PROJECT)
    (home / "README.md").write_text(README)
    return Roots(folder)


def fresh(roots: Roots, times: Mapping[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """Build a result whose lanes were made from the sources that are there."""
    raw = builders.tree(times, **changes)
    for name, arm in raw["arms"].items():
        folder = roots.root / "projects" / SLUG / (arm["of"] or name)
        arm["source_sha256"] = None if arm["role"] == "peer" else files.source_sha256(folder)
    return raw


def store(roots: Roots, raw: Mapping[str, Any]) -> Path:
    """Store a result."""
    return result.write(raw, roots.root / "results")


def of_a_server(roots: Roots, *, rate: float | None = 5000.0) -> dict[str, Any]:
    """Build the result of a server project: a closed or an open loop, with latencies and their curves."""
    raw = fresh(roots)
    case = raw["cases"][0]
    raw["schema_version"] = 2
    case["metric"] = "latency_p99_ns" if rate else "ns_per_item"
    case["load"] = {
        "tool": "pace", "protocol": "http", "connections": 8, "pipeline": 1, "rate_per_second": rate,
        "settle_seconds": 1.0, "measure_seconds": 3.0, "error_budget": 0.0,
        "curves": {arm: [[0.5, 90_000.0], [0.9, 150_000.0], [0.99, 400_000.0], [1.0, 0.0]] for arm in builders.TIMES},
    }  # fmt: skip
    for samples in (case["samples"], case["warmups"]):
        samples |= {name: [1000] * len(samples["arm"]) for name in LOAD_COLUMNS}
        samples["mismatched"] = [0] * len(samples["arm"])
        samples["latency_p99_ns"] = [builders.TIMES[arm] // 1000 for arm in samples["arm"]]
    for one in raw["cases"]:
        one.setdefault("metric", None)
    return raw


@dataclass
class Page(HTMLParser):
    """What a page is made of, for tests: every tag with its attributes, and whether tags are closed in order."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the parser."""
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.words.append("" if tag in INLINE else " ")
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag that closes itself."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Match an end with its start."""
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        """Keep the text, except that of style and script."""
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join("".join(self.words).split())

    def every(self, name: str) -> Iterator[str]:
        """Give every value of an attribute."""
        return (attrs[name] for _, attrs in self.tags if name in attrs)


def read(html: str) -> Page:
    """Parse a page; a page whose tags do not fit together is no page."""
    page = Page()
    page.feed(html)
    page.close()
    assert not page.wrong, page.wrong[:3]
    assert not page.open, page.open
    return page


def text_of(html: str) -> str:
    """Give the text of a page."""
    return read(html).text


def percents(html: str) -> list[float]:
    """List every place in percent of a page's charts."""
    found = re.findall(r'(?:x|y|x1|x2|cx|y1|y2|cy)="(-?[^"]*?)%"', html)
    return [float(each) for each in found]
