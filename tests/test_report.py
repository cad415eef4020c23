"""The report site: what a reader finds on its pages, and what no result can do to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import builders, sites
from tests.test_tables import HOSTILE, _poison
from tools import markdown, result, tables
from tools.errors import ResultError, UsageError
from tools.report import charts, method, prose, site
from tools.report.gather import Gathered, gather
from tools.selection import Evidence, Evidences
from tools.tables import Roots

if TYPE_CHECKING:
    from tools.record import Result
    from tools.rows import Row

CLEAR = {**builders.TIMES, "zig": 800_000_000}
"""Rust wins by a distance that nobody can doubt."""
RESOURCES = {"img", "iframe", "object", "embed", "audio", "video", "source", "base", "frame"}


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Make a repository with the documents and one project, without results."""
    return sites.repository(tmp_path)


def pages(roots: Roots) -> dict[str, str]:
    """Make the whole site in memory."""
    return site.pages(gather(roots), roots)


def the_page(roots: Roots) -> str:
    """Give the text of the project's page."""
    return sites.text_of(pages(roots)[sites.PAGE])


# --- what a reader finds


def test_without_results(roots: Roots) -> None:
    """An empty repository has all pages: nothing measured, 31 systems waiting, the project's own words."""
    made = pages(roots)
    assert set(made) == {site.MARK, "index.html", "method.html", sites.PAGE}
    assert "0 of 31 systems measured" in sites.text_of(made["index.html"])
    assert "No results yet." in sites.text_of(made["index.html"])
    assert "Not measured yet" in sites.text_of(made[sites.PAGE])
    assert "comes from memchr." in sites.text_of(made[sites.PAGE])


def test_the_first_page_says_who_wins(roots: Roots) -> None:
    """Wins, ties and the ratios of each row are on the first page, in the words of the tables."""
    sites.store(roots, sites.fresh(roots, CLEAR))
    text = sites.text_of(pages(roots)["index.html"])
    assert "Rust 1 of 1 systems won 1 of 1 cases won" in text
    assert "Go 0 of 1 systems won" in text
    assert re.search(r"the scan Rust 899 ms 1\.80x \[1\.\d+, 1\.\d+\] different", text)
    assert re.search(r"501 ms leader 0\.50x", text)
    assert "sqlite3 1.00 s" in text


def test_a_minute_is_enough(roots: Roots) -> None:
    """The page of a project begins with who wins, by how much, how sure that is, and on what machine."""
    sites.store(roots, sites.fresh(roots, CLEAR))
    text = the_page(roots)
    answer = text[text.index("Who wins") : text.index("Every case")]
    assert answer.startswith("Who wins Rust ")
    assert "Go needs 1.80x [" in answer
    assert "Rust is 2.00x faster" in answer
    assert "12 interleaved rounds" in answer
    assert "null arm 1.00x" in answer
    assert "err at most 5% of the time" in answer
    assert "Example CPU, 2 logical CPUs" in answer
    assert "in Docker containers" in answer


def test_a_tie_is_nobodys_win(roots: Roots) -> None:
    """Lanes that share the first place are shown as tied, by both of their names."""
    sites.store(roots, sites.fresh(roots))
    made = pages(roots)
    assert "Who wins tie: Rust, Zig" in sites.text_of(made[sites.PAGE])
    assert "Zig 0 of 1 systems won, 1 tied" in sites.text_of(made["index.html"])
    assert "Rust 0 of 1 systems won, 1 tied" in sites.text_of(made["index.html"])


def test_an_open_question_stays_open(roots: Roots) -> None:
    """Where the null arm moved too far, nobody wins, and the page says that nothing may be said."""
    sites.store(roots, sites.fresh(roots, {**builders.TIMES, "zig": 600_000_000, "null": 560_000_000}))
    text = the_page(roots)
    assert "Who wins undecided" in text
    assert "nobody wins: Rust was ahead, but the data cannot tell" in text
    assert "withheld" in text


def test_a_peer_is_a_yardstick(roots: Roots) -> None:
    """A peer that is faster than every lane is shown beside them and wins nothing."""
    sites.store(roots, sites.fresh(roots, {**CLEAR, "sqlite3": 100_000_000}))
    made = pages(roots)
    assert "Who wins Rust" in sites.text_of(made[sites.PAGE])
    assert re.search(r"Rust is 5\.\d\dx slower than sqlite3", sites.text_of(made[sites.PAGE]))
    assert "Peers, a yardstick that is not ranked" in sites.text_of(made[sites.PAGE])


def test_every_run_is_a_point(roots: Roots) -> None:
    """The strips show each run of each program, the null arm too, and the same as a table of numbers."""
    sites.store(roots, sites.fresh(roots))
    html = pages(roots)[sites.PAGE]
    strips = html[html.index('<ul class="strips">') :]
    strips = strips[: strips.index("</ul>")]
    assert len(re.findall(r"<circle|<rect", strips)) == 5 * 12
    assert len(re.findall(r"<tr><td>\d+</td>", html)) == 12


def test_a_disturbed_run_is_marked(roots: Roots) -> None:
    """A run that was flagged is drawn hollow, and says so."""
    raw = sites.fresh(roots)
    raw["cases"][0]["samples"]["flags"][3] = ["noisy"]
    sites.store(roots, raw)
    html = pages(roots)[sites.PAGE]
    assert html.count('class="noisy"') == 1
    assert re.search(r"<title>round 1: [\d.]+ m?s, noisy</title>", html)


@pytest.mark.parametrize(("rate", "shown"), [(5000.0, "p99 500"), (None, "rows/s")])
def test_a_server_has_latencies(roots: Roots, rate: float | None, shown: str) -> None:
    """The case of a server shows its curve of latencies, and the same as a table."""
    sites.store(roots, sites.of_a_server(roots, rate=rate))
    html = pages(roots)[sites.PAGE]
    assert shown in sites.text_of(html)
    assert html.count('<path class="line') == 5
    assert "Program 50 % 90 % 99 %" in sites.text_of(html)
    assert "400 \u00b5s" in sites.text_of(html)


def test_small_multiples_leave_out_what_nobody_has(roots: Roots) -> None:
    """Memory, sizes and builds have a bar a program; a quantity that no program has is not there."""
    sites.store(roots, sites.fresh(roots))
    text = the_page(roots)
    for title in ("Peak memory", "Program file", "Cold build", "Incremental build", "Start-up", "Lines of code"):
        assert title in text
    assert "Container image" not in text


def test_history_stays_inside_one_environment(roots: Roots) -> None:
    """Results of one environment make a line; a single result of another machine is only in the table."""
    for day, machine in ((18, "a"), (19, "a"), (20, "b")):
        raw = sites.fresh(roots, created_at=f"2026-11-{day}T10:00:00Z")
        raw["environment"]["id"] = machine * 12
        sites.store(roots, raw)
    html = pages(roots)[sites.PAGE]
    text = sites.text_of(html)
    assert html.count("The headline over time") == 1
    assert "from 2026-11-18 to 2026-11-19 in environment aaaaaaaaaaaa" in text
    assert "All result files of this system (3)" in text


def test_a_new_level_is_ringed(roots: Roots) -> None:
    """Where a lane began to need more beside its peer, the point has a ring and the legend the date."""
    for day in range(1, 13):
        times = {**builders.TIMES, "zig": 510_000_000 if day < 7 else 900_000_000}
        sites.store(roots, sites.fresh(roots, times, created_at=f"2026-11-{day:02}T10:00:00Z"))
    html = pages(roots)[sites.PAGE]
    assert html.count('class="ring k-zig"') == html.count('class="ring ') == 1
    assert "new level since 2026-11-07" in sites.text_of(html)


def test_another_environment_waits_for_its_filter(roots: Roots) -> None:
    """The first page holds the row of another machine, hidden until somebody asks for it."""
    sites.store(roots, sites.fresh(roots))
    other = sites.fresh(roots, created_at="2026-11-19T10:00:00Z")
    other["environment"].update(id="b" * 12, runner="host", engine=None)
    sites.store(roots, other)
    rows = [attrs for tag, attrs in sites.read(pages(roots)["index.html"]).tags if tag == "tr" and "data-slug" in attrs]
    assert [(row["data-environment"], "data-speaks" in row, "hidden" in row) for row in rows] == [
        (builders.ENVIRONMENT, True, False),
        ("b" * 12, False, True),
    ]


def test_a_failed_lane_is_named(roots: Roots) -> None:
    """A lane without numbers is on the page with its state and reason, and the result counts for nobody."""
    raw = sites.fresh(roots)
    raw["arms"]["zig"]["state"] = "verify-failed"
    raw["arms"]["zig"]["reason"] = "off by one"
    raw["arms"]["zig"]["verification"] = {
        "state": "failed", "checks": 12, "bad_inputs": 3, "failures": [{"check": "sums", "reason": "off by one"}],
    }  # fmt: skip
    case = builders.case({name: ns for name, ns in builders.TIMES.items() if name != "zig"})
    case["states"]["zig"] = {"state": "verify-failed", "reason": "off by one"}
    raw["cases"] = [case]
    sites.store(roots, raw)
    made = pages(roots)
    assert "verify-failed: off by one" in sites.text_of(made[sites.PAGE])
    assert "sums: off by one" in sites.text_of(made[sites.PAGE])
    assert "failed: zig" in sites.text_of(made["index.html"])
    assert "Rust 0 of 0 systems won" in sites.text_of(made["index.html"])


def test_changed_sources_are_marked(roots: Roots) -> None:
    """When a lane's sources have changed since, its numbers carry the mark, and the page explains it."""
    sites.store(roots, sites.fresh(roots))
    (roots.root / "projects" / sites.SLUG / "go" / "main").write_text("new")
    text = the_page(roots)
    assert "899 ms \u2020" in text
    assert "the sources have changed since this was measured" in text


def test_the_method_page_shows_the_noise(roots: Roots) -> None:
    """The rules come from SUMMARY.md, and every null arm of every result is counted by environment."""
    for day in (18, 19):
        sites.store(roots, sites.fresh(roots, created_at=f"2026-11-{day}T10:00:00Z"))
    text = sites.text_of(pages(roots)["method.html"])
    assert "Correct first. An oracle." in text
    assert "Lessons" not in text
    assert "2 null arms" in text
    assert "2 quiet (within 1.02x" in text
    assert "The method measured by itself" not in text


def test_the_self_test_is_shown_where_it_is_kept(roots: Roots) -> None:
    """Findings of docs/selftest.json become a table, with limit and whether it was kept."""
    record = Path(method.__file__).parents[2] / method.SELFTEST
    (roots.root / "docs").mkdir()
    (roots.root / "docs" / "selftest.json").write_bytes(record.read_bytes())
    text = sites.text_of(pages(roots)["method.html"])
    assert "The method measured by itself" in text
    assert re.search(r"identical lanes called different \S+ at most \S+ (yes|no) ", text)


@pytest.mark.parametrize("content", ["", "[1]", '[{"name": 1}]', '{"a": 1}', "null", '[{"at_least": 1, "value": "x"}]'])
def test_a_damaged_self_test_is_one_line(roots: Roots, content: str) -> None:
    """What is no record of the self-test is named, and nothing is written."""
    path = roots.root / "selftest.json"
    path.write_text(content)
    with pytest.raises(ResultError, match=r"selftest\.json"):
        method.selftest(path)


def test_a_broken_result_writes_nothing(roots: Roots, tmp_path: Path) -> None:
    """One invalid file, and there is no site."""
    sites.store(roots, sites.fresh(roots)).write_text("{}")
    with pytest.raises(ResultError):
        site.write(tmp_path / "out", roots)
    assert not (tmp_path / "out").exists()


# --- a static site


def test_every_link_leads_somewhere(roots: Roots) -> None:
    """All links are relative and lead to a page and a place that exist, or to the web where the README says so."""
    sites.store(roots, sites.fresh(roots))
    made = pages(roots)
    ids = {name: set(sites.read(html).every("id")) for name, html in made.items() if name.endswith(".html")}
    for name in ids:
        for link in sites.read(made[name]).every("href"):
            if link.startswith(("data:image/svg+xml,", "https://example.invalid/")):
                continue
            file, _, place = link.partition("#")
            folder = name.rpartition("/")[0]
            target = name if not file else file.removeprefix("../") if link.startswith("../") else f"{folder}/{file}"
            target = target.removeprefix("/")
            assert target in ids, f"{name}: {link}"
            assert not place or place in ids[target], f"{name}: {link}"


def test_a_page_needs_nothing_else(roots: Roots) -> None:
    """Style and script stand in the page; nothing is fetched, and the page's own policy forbids it."""
    sites.store(roots, sites.fresh(roots))
    for name, html in pages(roots).items():
        if not name.endswith(".html"):
            continue
        page = sites.read(html)
        assert not {tag for tag, _ in page.tags} & RESOURCES
        assert list(page.every("src")) == []
        assert list(page.every("style")) == []
        assert [attrs["rel"] for tag, attrs in page.tags if tag == "link"] == ["icon"]
        policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv"))
        assert policy.startswith("default-src 'none'")


def test_ids_are_unique(roots: Roots) -> None:
    """No two places of a page have one name."""
    sites.store(roots, sites.fresh(roots))
    for name, html in pages(roots).items():
        if name.endswith(".html"):
            found = list(sites.read(html).every("id"))
            assert len(found) == len(set(found)), name


def test_the_same_results_give_the_same_bytes(roots: Roots) -> None:
    """There is no date and no chance in a page."""
    sites.store(roots, sites.fresh(roots))
    assert pages(roots) == pages(roots)


def test_writing_replaces_only_a_report(roots: Roots, tmp_path: Path) -> None:
    """A folder of ours is replaced as a whole, an empty one is taken, anything else stays as it is."""
    out = tmp_path / "out"
    assert site.write(out, roots) == out / "index.html"
    (out / "stale.html").write_text("old")
    site.write(out, roots)
    assert not (out / "stale.html").exists()
    assert (out / sites.PAGE).is_file()
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not a report"):
        site.write(other, roots)
    with pytest.raises(UsageError, match="is not a report"):
        site.write(other / "thesis.txt", roots)
    assert (other / "thesis.txt").read_text() == "years of work"


# --- hostile and odd results


@settings(max_examples=25, deadline=None)
@given(value=HOSTILE)
def test_no_result_injects_anything(value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With a hostile text in every field, even past validation, a page has our tags only and one script."""
    roots = sites.repository(tmp_path_factory.mktemp("hostile"))
    loaded: Result = result.from_tree(_poison(builders.tree(), value), roots.root / "x.json")
    evidence = Evidence(loaded, frozenset({"go"}))
    for name, html in _past_validation(roots, evidence).items():
        if name.endswith(".html"):
            _harmless(html)


def _past_validation(roots: Roots, evidence: Evidence) -> dict[str, str]:
    """Make the site from one piece of evidence that no validation has seen."""
    evidences = Evidences([], [])

    def of(row: Row, workload: str = "bench") -> Evidence | None:
        return evidence if row.slug == sites.SLUG and workload == "bench" else None

    evidences.of = of  # type: ignore[method-assign]  # a stand-in
    environment = evidence.result.environment
    return site.pages(Gathered(evidences, {}, {environment.id: environment}), roots)


def _harmless(html: str) -> None:
    """Check that a page runs nothing but our script and fetches nothing."""
    page = sites.read(html)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 1
    assert not set(tags) & RESOURCES
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name == "style"]
    for link in page.every("href"):
        assert link.startswith(
            ("#", "../", "p/", "index.html", "method.html", "data:image/svg+xml,", "https://example")
        )


def test_a_readme_is_not_trusted_either(roots: Roots) -> None:
    """HTML, scripts, foreign pictures and odd links of a README become text."""
    readme = roots.root / "projects" / sites.SLUG / "README.md"
    bad = (
        "\n<script>alert(1)</script>\n\n<img src=x onerror=alert(1)>\n\n[x](javascript:alert(1)) <b>bold</b>\n\n"
        '![p](https://evil.invalid/p.png)\n\n[y](data:text/html,<script>) <a href="//evil.invalid">z</a>\n'
    )
    readme.write_text(sites.README + bad + "x" * 10_000 + "\n")
    html = pages(roots)[sites.PAGE]
    _harmless(html)
    assert "<script>alert(1)</script>" in sites.text_of(html)


def test_huge_numbers_stay_on_the_page(roots: Roots) -> None:
    """Values of any size leave every mark inside its chart and no word of a float in the page."""
    huge = {"go": 9 * 10**15, "rust": 1, "zig": 3, "sqlite3": 4 * 10**12, "null": 1}
    raw = sites.fresh(roots, huge)
    raw["arms"]["go"].update(binary_bytes=(1 << 62), cold_build_ns=(1 << 62), startup_ns=[0], lines_of_code=0)
    raw["cases"][0]["samples"]["self_ns"] = [None] * 60
    loaded = result.from_tree(raw, roots.root / "x.json")
    for name, html in _past_validation(roots, Evidence(loaded, frozenset())).items():
        if name.endswith(".html"):
            sites.read(html)
            assert all(0 <= each <= 100 for each in sites.percents(html)), name
            assert not re.search(r' (?:[xyd]|[xy][12]|c[xy]|width|height)="[^"]*(nan|inf|e)', html), name


def test_few_rounds_have_no_interval(roots: Roots) -> None:
    """With too few rounds the interval is unknown: the line reaches from end to end, and the words say so."""
    raw = sites.fresh(roots)
    for key in ("samples", "warmups"):
        raw["cases"][0][key] = builders.columns(builders.TIMES, rounds=1)
    sites.store(roots, raw)
    html = pages(roots)[sites.PAGE]
    assert "[unknown]" in sites.text_of(html)
    assert 'class="whisker" x1="3.0%" x2="97.0%"' in html


def _without_null(raw: dict[str, Any]) -> None:
    """Take the null arm away."""
    del raw["arms"]["null"]
    raw["cases"][0] = builders.case({name: ns for name, ns in builders.TIMES.items() if name != "null"})


def _without_numbers(raw: dict[str, Any]) -> None:
    """Take away everything that a program need not have."""
    optional = ("toolchain", "binary_bytes", "cold_build_ns", "incremental_build_ns", "lines_of_code")
    for arm in raw["arms"].values():
        arm.update(dict.fromkeys(optional), startup_ns=[], flags=[])
    raw["environment"].update(virtualization=None, engine=None)
    raw["cases"][0]["memory"] = {}


def _nothing_measured(raw: dict[str, Any]) -> None:
    """Leave no program with a run."""
    case = raw["cases"][0]
    case["states"] = {name: {"state": "excluded", "reason": "not here"} for name in case["states"]}
    case["samples"], case["warmups"] = ({key: [] for key in builders.EMPTY} for _ in range(2))
    for arm in raw["arms"].values():
        arm.update(state="excluded", reason="not here")


@pytest.mark.parametrize("change", [_without_null, _without_numbers, _nothing_measured])
def test_what_is_missing_breaks_no_page(roots: Roots, change: Any) -> None:
    """A result without null arm, without optional fields, or without any run still makes whole pages."""
    raw = sites.fresh(roots)
    change(raw)
    sites.store(roots, raw)
    for name, html in pages(roots).items():
        if name.endswith(".html"):
            sites.read(html)


# --- parts


@settings(max_examples=300, deadline=None)
@given(
    low=st.floats(1e-9, 1e18),
    factor=st.floats(1.0001, 1e12),
    logarithmic=st.booleans(),
    value=st.floats(0, 1e300),
)
def test_an_axis_holds_everything(low: float, factor: float, logarithmic: bool, value: float) -> None:
    """Every value has a place on the picture, and an axis has few ticks, in order and inside."""
    axis = charts.Axis(low, low * factor, logarithmic=logarithmic)
    assert 0 <= axis.at(value) <= 100
    ticks = axis.ticks(lambda tick: f"{tick:.6g}")
    assert len(ticks) <= charts.MAX_TICKS + 1
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 1.05], ["0.90x", "1.00x", "1.10x", "1.20x"]),
        ([1.0, 1.8], ["1.00x", "1.20x", "1.40x", "1.60x", "1.80x"]),
        ([0.5, 2.9], ["0.50x", "1.00x", "2.00x"]),
        ([1.0, 30.0], ["1.00x", "2.00x", "5.00x", "10.0x", "20.0x"]),
    ],
)
def test_ratio_ticks_are_round(values: list[float], expected: list[str]) -> None:
    """The ticks of a ratio are numbers that a reader knows."""
    assert [tick.text for tick in charts.ratio_axis(values).ticks(markdown.factor)] == expected


def test_prose_keeps_its_place_in_the_page() -> None:
    """Headings move below those of the page, titles and empty headings go, comments vanish, tables scroll alone."""
    html = str(prose.readme(sites.README, "README.md"))
    assert "<h1" not in html
    assert "Results" not in html
    assert "<h3>Why</h3>" in html
    assert "deadheat:" not in html
    assert "1.80x" in html
    assert '<a href="https://example.invalid/x" rel="noopener noreferrer">the web</a>' in html
    assert "<span>the code</span>" in html
    assert "a plot" in html
    assert "&lt;any&gt;" in html
    table = str(prose.block("| a | b |\n| --- | ---: |\n| 1 | 2 |\n", label='x"y'))
    assert '<div class="scroll" role="group" tabindex="0" aria-label="x&#34;y"><table>' in table
    assert '<td class="r">2</td>' in table


@pytest.mark.slow
def test_the_first_page_stays_small(roots: Roots) -> None:
    """With all 31 systems and fifty results of each, the first page is far below three megabytes."""
    planned = [row for row in Evidences([], []).rows if row.slug != sites.SLUG]
    assert len(planned) == 30
    lean = builders.tree()
    case = lean["cases"][0]
    more = [{**case, "name": f"case-{index}", "headline": False} for index in range(15)]
    for row in planned:
        (roots.root / "results" / row.slug).mkdir(parents=True)
        for index in range(50):
            raw = {**lean, "created_at": f"2026-11-20T10:00:{index:02d}Z"}
            raw["project"] = {**lean["project"], "slug": row.slug, "number": row.number}
            raw["cases"] = [case, *more] if index == 49 else [case]
            result.result_path(raw, roots.root / "results").write_text(json.dumps(raw))
    made = pages(roots)
    assert len(made["index.html"].encode()) < 3_000_000
    assert "All result files of this system (50)" in made[f"p/{planned[0].slug}.html"]


def test_the_tables_are_those_of_the_readme(roots: Roots) -> None:
    """After the documents were rewritten, README, result file and site agree, table by table."""
    sites.store(roots, sites.fresh(roots, CLEAR))
    tables.tables(roots=roots)
    assert site.check(roots) == 1
