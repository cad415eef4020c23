"""The report site in a real browser: no error, both themes, phone and desktop, by keyboard, nothing for axe to find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import browser, builders, sites
from tools.report import site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = ("index.html", sites.PAGE, "method.html")
PHONE, DESKTOP = 360, 1280
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a site with two environments, a history, a server's curves, a long name and a disturbed run."""
    root = tmp_path_factory.mktemp("site")
    roots = sites.repository(root)
    for day in (17, 18):
        sites.store(roots, sites.fresh(roots, created_at=f"2026-11-{day}T10:00:00Z"))
    other = sites.of_a_server(roots)
    other["environment"].update(id="b" * 12, runner="host", engine=None)
    sites.store(roots, other | {"created_at": "2026-11-19T10:00:00Z"})
    raw = sites.fresh(roots, {**builders.TIMES, "zig": 800_000_000})
    raw["arms"]["sqlite3"]["title"] = "a peer with quite a long name, that wraps"
    raw["cases"][0]["samples"]["flags"][3] = ["noisy"]
    raw["cases"].append(builders.case(builders.TIMES, "sort", headline=False))
    sites.store(roots, raw)
    return site.write(root / "out", roots).parent


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Start one browser for all tests."""
    with browser.chromium() as running:
        yield running


def opened(chromium: Any, folder: Path, name: str, *, width: int = DESKTOP, theme: str = "light") -> Any:
    """Open a page from its file and fail on any message of the console."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    page.said = []
    page.on("console", lambda message: page.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto((folder / name).as_uri())
    return page


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_opens_without_a_word(chromium: Any, folder: Path, name: str, width: int, theme: str) -> None:
    """From a file, in either theme and at either width, a page logs nothing and does not scroll sideways."""
    page = opened(chromium, folder, name, width=width, theme=theme)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 3 * 128) == (theme == "dark")
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "theme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_axe_finds_nothing_serious(chromium: Any, folder: Path, name: str, width: int, theme: str) -> None:
    """With every fold open, axe-core has no serious or critical complaint."""
    source = browser.axe()
    page = opened(chromium, folder, name, width=width, theme=theme)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.evaluate(source)
    found = page.evaluate("axe.run().then(result => result.violations)")
    bad = [one for one in found if one["impact"] in {"serious", "critical"}]
    assert [f"{one['id']}: {node['html'][:200]}" for one in bad for node in one["nodes"]] == []
    page.context.close()


def visible(page: Any, selector: str) -> int:
    """Count the elements that a reader sees."""
    return len([each for each in page.query_selector_all(selector) if each.is_visible()])


def test_filters_work_by_keyboard(chromium: Any, folder: Path) -> None:
    """Tab and arrow keys reach every filter, and what is left is announced."""
    page = opened(chromium, folder, "index.html")
    assert visible(page, ".heat tbody tr") == 1
    page.focus("input[name=cases][value=headline]")
    page.keyboard.press("ArrowRight")
    assert visible(page, ".heat tbody tr") == 2
    assert page.inner_text("#shown") == "2 cases of 1 system shown."
    page.focus("input[name=language][value=go]")
    page.keyboard.press("Space")
    assert visible(page, ".heat td[data-language=go]") == 0
    assert visible(page, ".heat td[data-language=zig]") == 2
    page.focus("select[name=environment]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.get_attribute(".heat tbody tr:not([hidden])", "data-environment") == "b" * 12
    page.focus("button[type=reset]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#shown:has-text('1 case')")
    assert visible(page, ".heat td[data-language=go]") == 1
    page.context.close()


def test_the_view_can_be_turned_to_the_peer(chromium: Any, folder: Path) -> None:
    """The same cells compare with the leader or with the fastest peer, never with both at once."""
    page = opened(chromium, folder, "index.html")
    assert visible(page, ".to-leader") == 3
    assert visible(page, ".to-peer") == 0
    page.focus("input[name=view][value=leader]")
    page.keyboard.press("ArrowRight")
    assert visible(page, ".to-leader") == 0
    assert visible(page, ".to-peer") == 3
    page.context.close()


def test_the_theme_is_a_choice_that_stays(chromium: Any, folder: Path) -> None:
    """The button goes from the system's theme to light and dark, and the next page remembers."""
    page = opened(chromium, folder, "index.html")
    page.focus("#theme")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.inner_text("#theme") == "Theme: dark"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.goto((folder / "method.html").as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    page.context.close()


def test_a_link_to_a_case_unfolds_it(chromium: Any, folder: Path) -> None:
    """Who follows a link to a case sees the case, not a folded line."""
    page = opened(chromium, folder, sites.PAGE)
    assert not page.evaluate("document.getElementById('bench-sort').open")
    page.focus(".heat a[href='#bench-sort']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#bench-sort[open]")
    page.context.close()


def test_without_script_everything_is_readable(chromium: Any, folder: Path) -> None:
    """Charts and tables need no script; only filters and the theme button are missing."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / sites.PAGE).as_uri())
    assert page.locator(".forest .dot").first.is_visible()
    page.goto((folder / "index.html").as_uri())
    assert page.locator(".heat tbody tr").first.is_visible()
    assert not page.locator("#filters").is_visible()
    context.close()
