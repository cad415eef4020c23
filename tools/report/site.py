"""Write the site, or check that README, result files and site say the same.

    results -> gather -> index, a page a project, method -> one folder

No server and no network is needed to read it: links are relative, and all that a page shows is in it. The same results
always give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment as Jinja
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tools import files, markdown, wording
from tools.errors import TablesError, UsageError
from tools.report import agreement, prose
from tools.report.gather import Gathered, gather
from tools.report.index import index_page
from tools.report.method import method_page
from tools.report.project_page import project_page
from tools.tables import Roots

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
MARK = ".deadheat-report"
"""A file that says that a folder is a report of ours and may be replaced."""


def write(out: Path | None = None, roots: Roots | None = None) -> Path:
    """Write the site into a folder, all or nothing, and give the page to open.

    Raises:
        ResultError, ProjectError, TablesError: what the site is made from is wrong; nothing was written.
        UsageError: the folder holds something else.
        WriteError: it cannot be written.
    """
    roots = roots or Roots()
    target = (out or roots.root / "report").absolute()
    _refuse_foreign(target)
    made = pages(gather(roots), roots)
    with files.atomic_folder(target) as staging:
        for name, content in made.items():
            files.atomic_write(staging / name, content)
    return target / "index.html"


def check(roots: Roots | None = None) -> int:
    """Compare the tables of all pages with the READMEs and the result files; give the number of tables.

    Raises:
        ResultError: as `write`.
        TablesError: something differs; every difference is listed.
    """
    roots = roots or Roots()
    found = gather(roots, save=False)
    compared, differences = agreement.differences(pages(found, roots), found.evidences)
    if differences:
        raise TablesError("\n".join(differences), remedy="run: invoke tables, then: invoke report")
    return compared


def pages(found: Gathered, roots: Roots) -> dict[str, str]:
    """Make every file of the site: name to content."""
    made = {MARK: "This folder is written by `invoke report`, which replaces it as a whole.\n"}
    made["index.html"] = _render("index.html", found, index_page(found))
    made["method.html"] = _render("method.html", found, method_page(found, roots.root))
    for row, evidence in found.evidences.all():
        if evidence is not None or row.project is not None:
            made[f"p/{row.slug}.html"] = _render("project.html", found, project_page(found, row, evidence))
    return made


def _render(name: str, found: Gathered, values: Mapping[str, Any]) -> str:
    """Fill a template; what all pages share comes from here."""
    shared = {
        "here": name,
        "files": markdown.count(found.files),
        "newest": found.newest,
        "stale_note": wording.STALE_NOTE,
        **_assets(),
    }
    return _jinja().get_template(name).render(**shared, **values)


@cache
def _assets() -> dict[str, Markup]:
    """Give style and script, which stand inside every page, and the policy that lets a browser run nothing else.

    A page is one file, so it can be mailed; and should a text ever get past the escaping, no browser would run it.
    """
    style, script = ((HERE / "assets" / name).read_text(encoding="utf-8") for name in ("site.css", "site.js"))
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    policy += "; base-uri 'none'; form-action 'none'"
    return {name: Markup(text) for name, text in (("style", style), ("script", script), ("policy", policy))}  # noqa: S704 - our own files


def _hash(text: str) -> str:
    """Name a text as a content security policy does."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _jinja() -> Jinja:
    """Make the template engine once: everything is escaped unless `prose` made it."""
    made = Jinja(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    made.filters["inline"] = prose.inline
    return made


def _printable(value: object) -> object:
    """Show no control character and nothing that turns the direction of the text around it."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in value)


def _refuse_foreign(target: Path) -> None:
    """Stop before a folder is replaced that is not a report.

    Raises:
        UsageError: there is something else.
    """
    if not target.exists() or (target / MARK).is_file():
        return
    if not target.is_dir() or any(target.iterdir()):
        raise UsageError(f"{target} is not a report", remedy="give --out a new or an empty folder")
