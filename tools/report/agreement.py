"""Do README, result file and site say the same? Three readings of each table, none of which knows how it was written.

The page is read as HTML, the README as Markdown, and medians and ratios are computed once more from the raw columns of
the result file with nothing but `statistics`. A table that the README does not have is compared with the file alone.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from tools import wording
from tools.report import prose
from tools.report.gather import shown
from tools.selection import MAIN_WORKLOAD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markdown_it.token import Token

    from tools.rows import Row
    from tools.selection import Evidence, Evidences

Table = list[list[str]]
COLUMNS = {"Median": "wall_ns", "Throughput": "ns_per_item", "p99": "latency_p99_ns"}
"""What the first column of numbers is made of."""
BLOCK = re.compile(r"deadheat:(begin|end) results(?: workload=([a-z0-9-]+))?[ >]")
NUMBER = re.compile(r"([0-9][0-9,]*(?:\.[0-9]+)?) ?(G|M|k|s|ms|\u00b5s|ns|x)?(?![A-Za-z])")
UNITS = {"G": 1e9, "M": 1e6, "k": 1e3, "s": 1e9, "ms": 1e6, "\u00b5s": 1e3, "ns": 1.0, "x": 1.0, None: 1.0}
ROUNDING = 0.0051
"""Three digits: 1.00 may stand for anything from 0.995 to 1.005; below 1 there are two behind the point."""


@dataclass
class _Page(HTMLParser):
    """Collects the tables of cases from a page of ours."""

    tables: dict[str, Table] = field(default_factory=dict)
    case: str | None = None
    open_table: bool = False
    cell: list[str] | None = None

    def __post_init__(self) -> None:
        """Start the parser; text comes with its entities resolved."""
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a case, its table, a row and a cell begin."""
        found = dict(attrs)
        if "data-case" in found:
            self.case = found["data-case"]
        elif tag == "table" and self.case is not None:
            self.open_table = True
            self.tables[self.case] = []
        elif tag == "tr" and self.open_table and self.case is not None:
            self.tables[self.case].append([])
        elif tag in {"td", "th"} and self.open_table:
            self.cell = []

    def handle_endtag(self, tag: str) -> None:
        """Note where a cell and a table end."""
        if tag in {"td", "th"} and self.cell is not None and self.case is not None:
            self.tables[self.case][-1].append("".join(self.cell).strip())
            self.cell = None
        elif tag == "table" and self.open_table:
            self.open_table, self.case = False, None

    def handle_data(self, data: str) -> None:
        """Keep the text of a cell."""
        if self.cell is not None:
            self.cell.append(data)


def differences(pages: Mapping[str, str], evidences: Evidences) -> tuple[int, list[str]]:
    """Compare the tables of every page; give how many were compared and what differs."""
    compared, found = 0, []
    for row in evidences.rows:
        name = f"p/{row.slug}.html"
        results = shown(evidences, row)
        site = page_tables(pages[name]) if results else {}
        for (workload, case), table in (_readme(row) if results else {}).items():
            if site.get(f"{workload}-{case}") != table:
                found.append(f"{name}: the table of {case} ({workload}) is not that of the README")
        for one in results:
            compared += len(one.analyses)
            found += [f"{name}: {problem}" for problem in _against_file(site, one)]
    return compared, found


def page_tables(html: str) -> dict[str, Table]:
    """Read the table of every case of a page, by workload and case."""
    page = _Page()
    page.feed(html)
    page.close()
    return page.tables


def readme_tables(text: str) -> dict[tuple[str, str], Table]:
    """Read the table of every case of a README, as far as it stands in a block of ours."""
    tables: dict[tuple[str, str], Table] = {}
    workload, case = "", ""
    cells: Table | None = None
    for token in prose.parsed(text):
        if token.type == "html_block" and (marker := BLOCK.search(token.content)):
            workload = (marker[2] or MAIN_WORKLOAD) if marker[1] == "begin" else ""
        elif token.type == "inline" and cells is not None:
            cells[-1].append(prose.plain(token).strip())
        elif token.type == "inline" and workload:
            case = _case_of(token)
        elif token.type == "table_open" and case:
            cells = tables.setdefault((workload, case), [])
        elif token.type == "tr_open" and cells is not None:
            cells.append([])
        elif token.type == "table_close":
            case, cells = "", None
    return tables


def _case_of(token: Token) -> str:
    """Read the name of a case from the line above its table: a title in bold, then the name as code."""
    children = token.children or []
    if not children or not any(child.type == "strong_open" for child in children[:2]):
        return ""
    return next((child.content for child in children if child.type == "code_inline"), "")


def _readme(row: Row) -> dict[tuple[str, str], Table]:
    """Read the tables of a row's README, where it has one."""
    if row.project is None or not (path := row.project.folder / "README.md").is_file():
        return {}
    return readme_tables(path.read_text(encoding="utf-8", errors="replace"))


def _against_file(site: Mapping[str, Table], evidence: Evidence) -> Iterator[str]:
    """Compute the numbers of each case once more from the file, and find them on the page."""
    raw = json.loads(evidence.result.path.read_bytes())
    arms = [arm for arm in evidence.result.arms.values() if arm.role != "null"]
    written = [(prose.words(wording.program(arm)), arm.name) for arm in arms]
    names = {words: name for words, name in written if [each for each, _ in written].count(words) == 1}
    for case in raw["cases"]:
        table = site.get(f"{case['workload']}-{case['name']}")
        if table is None:
            yield f"no table of {case['name']}"
        else:
            metric = case.get("metric") or raw["project"]["metric"]["name"]
            yield from (f"{case['name']}: {one}" for one in _against_rows(table, case["samples"], names, metric))


def _against_rows(
    table: Table, samples: Mapping[str, Sequence[Any]], names: Mapping[str, str], metric: str
) -> Iterator[str]:
    """Compare the first number and the ratio of every row that has them."""
    head, *rows = table
    at, first = head.index("Ratio to leader"), head[2]
    values, firsts = runs(samples, metric), runs(samples, COLUMNS[first])
    leaders = {_group(row[0]): _arm(row, names) for row in rows if row[at].startswith("leader")}
    for row in rows:
        arm, leader = _arm(row, names), leaders.get(_group(row[0]), "")
        if row[0] != "-" and firsts.get(arm):
            middle = statistics.median(firsts[arm].values())
            yield from _differs(row[1], first, row[2], 1e9 / middle if first == "Throughput" else middle)
        if row[at][:1].isdigit() and leader in values:
            yield from _differs(row[1], "ratio", row[at], _ratio(values[arm], values[leader]))


def _arm(row: Sequence[str], names: Mapping[str, str]) -> str:
    """Find the program of a row; nothing when two have one name."""
    return names.get(row[1].removesuffix(f" {wording.STALE}"), "")


def _group(place: str) -> str:
    """Read the letter of a parity group, where there are several."""
    return place[0] if place != "peer" and place[:1].isalpha() else ""


def _differs(program: str, what: str, cell: str, expected: float) -> Iterator[str]:
    """Name a cell whose number is not the expected one within its digits."""
    found = number(cell)
    if found is None or not math.isclose(found, expected, rel_tol=ROUNDING, abs_tol=ROUNDING):
        yield f"{what} of {program} is {cell!r}, the file gives {expected:g}"


def number(cell: str) -> float | None:
    """Read the first number of a cell in its base unit; None where there is none."""
    match = NUMBER.search(cell)
    return float(match[1].replace(",", "")) * UNITS[match[2]] if match else None


def runs(samples: Mapping[str, Sequence[Any]], metric: str) -> dict[str, dict[int, float]]:
    """Give the metric of every run that has it: arm to round to value."""
    found: dict[str, dict[int, float]] = {}
    for index, arm in enumerate(samples["arm"]):
        if (value := _value(samples, index, metric)) > 0:
            found.setdefault(arm, {})[samples["round"][index]] = value
    return found


def _value(samples: Mapping[str, Sequence[Any]], index: int, metric: str) -> float:
    """Read one run; 0 where it has no such number."""
    cpu_ns, items = samples["user_ns"][index] + samples["sys_ns"][index], samples["items"][index] or math.inf
    match metric:
        case "cpu_ns":
            return float(cpu_ns)
        case "ns_per_item":
            return float(samples["wall_ns"][index] / items)
        case "cpu_ns_per_item":
            return float(cpu_ns / items)
        case _:
            return float(samples[metric][index] or 0) if metric in samples else 0.0


def _ratio(of: Mapping[int, float], to: Mapping[int, float]) -> float:
    """Give the median of the rounds' ratios."""
    return math.exp(statistics.median(math.log(of[turn] / to[turn]) for turn in of.keys() & to.keys()))
