"""What the tasks of tasks.py do: one short function a task; results on stdout, everything else on stderr."""

from __future__ import annotations

import functools
import json
import shutil
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

from tools import caches
from tools.errors import DeadheatError, ProjectError, ResultError, UsageError

P = ParamSpec("P")


def _task(action: Callable[P, None]) -> Callable[P, None]:
    """Expected failures of a task become one line and an exit code."""

    @functools.wraps(action)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        from tools import cli  # noqa: PLC0415 - `invoke --list` answers at once

        if code := cli.guarded(functools.partial(action, *args, **kwargs)):
            sys.exit(code)

    return guarded


def _print(value: Any) -> None:
    """JSON for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


@_task
def new_project(title: str, number: str, group: str, alias: str, kind: str, languages: str) -> None:
    """Scaffold a project; see tools.scaffold."""
    from tools import cli, scaffold  # noqa: PLC0415 - as above

    scaffold.run(scaffold.Wish(title, number, group, alias, kind, cli.names(languages)))


@_task
def list_projects(*, as_json: bool) -> None:
    """Projects with lanes, status and staleness."""
    from tools import listing, screen  # noqa: PLC0415 - as above

    rows = listing.rows()
    if as_json:
        _print(rows)
    else:
        listing.show(rows, screen.console())


@_task
def plan(project: str, runner: str, *, as_json: bool) -> None:
    """The cells of one project or all."""
    from tools import flow  # noqa: PLC0415 - as above
    from tools import plan as cells  # noqa: PLC0415 - as above
    from tools.project import find, load_all  # noqa: PLC0415 - as above

    projects = [find(project)] if project else load_all()
    found = list(map(str, cells.cells(projects, flow.Options(), runner)))
    if as_json:
        _print(found)
    else:
        sys.stdout.write("".join(f"{cell}\n" for cell in found))


@_task
def doctor(*, install: bool, noise: bool, as_json: bool) -> None:
    """Findings about this machine; a problem makes the exit code 1."""
    from tools import doctor as machine  # noqa: PLC0415 - as above
    from tools import screen  # noqa: PLC0415 - as above

    found = machine.findings(install=install, noise=noise)
    if as_json:
        _print([vars(one) for one in found])
    else:
        lines = [(one.state, one.subject, one.text, one.remedy) for one in found]
        screen.console().print(screen.table(("State", "Subject", "Found", "Remedy"), lines, numbers_from=4))
    if any(one.state == "problem" for one in found):
        raise DeadheatError("this machine has problems")


@_task
def matrix(changed_since: str | None, *, as_json: bool) -> None:
    """The job matrix on one line, as Actions wants it; the same as indented JSON."""
    from tools import matrix as jobs  # noqa: PLC0415 - as above
    from tools.project import load_all  # noqa: PLC0415 - as above

    found = {"include": jobs.include(load_all(), changed_since)}
    if as_json:
        _print(found)
    else:
        sys.stdout.write(json.dumps(found) + "\n")


@_task
def validate(*, as_json: bool) -> None:
    """Every project file and every result file."""
    from tools import validate as results  # noqa: PLC0415 - as above
    from tools.project import load_all  # noqa: PLC0415 - as above

    if as_json:
        _validate_as_json()
        return
    projects = load_all()
    sys.stdout.write(f"{len(projects)} projects and {results.validate()} result files are valid\n")


def _validate_as_json() -> None:
    """All problems at once: projects stop at the first broken one, results never stop."""
    from tools import validate as results  # noqa: PLC0415 - as above
    from tools.project import load_all  # noqa: PLC0415 - as above

    problems: list[dict[str, Any]] = []
    projects = 0
    try:
        projects = len(load_all())
    except ProjectError as error:
        problems += [{"path": "", "where": "", "message": line} for line in error.message.splitlines()]
    report = results.examine()
    problems += [vars(problem) for problem in report.problems]
    _print({"projects": projects, "results": report.files_seen, "problems": problems})
    if problems:
        raise ResultError(f"{len(problems)} problems")


@_task
def compare(a: str, b: str, project: str, case: str, lane: str, *, as_json: bool) -> None:
    """One result against another, or one program against another of the same result."""
    from tools import cli, compare_tables, named, screen  # noqa: PLC0415 - as above
    from tools import compare as comparing  # noqa: PLC0415 - as above

    before, after = named.pair(named.Archive(), a, b, project)
    cases, lanes = cli.names(case), cli.names(lane)
    programs = named.programs(before, after)
    if programs is None:
        found = comparing.across(before.result, after.result, cases, lanes)
    else:
        found = comparing.within(after.result, [programs], cases)
    comparing.something(found)
    if as_json:
        _print(found.as_json())
    else:
        compare_tables.show(found, screen.console())


@_task
def history(project: str, case: str, lane: str, workload: str, limit: int, *, as_json: bool) -> None:
    """The results of a project over time."""
    from tools import cli, history_tables, named, screen  # noqa: PLC0415 - as above
    from tools import history as past  # noqa: PLC0415 - as above

    if limit < 1:
        raise UsageError("--limit must be at least 1")
    archive = named.Archive()
    row = archive.row(project)
    found = past.of(archive.all_of(row, workload), case or None, cli.names(lane))
    if as_json:
        _print([one.as_json() for one in found])
    elif found:
        history_tables.show(found, screen.console(), limit=limit)
    else:
        sys.stdout.write(f"{row.alias} has no result of the workload {workload} yet\n")


@_task
def export(name: str, form: str, out: str) -> None:
    """A result in somebody else's format, on stdout or in a file."""
    from tools import cli, files, named  # noqa: PLC0415 - as above
    from tools import export as formats  # noqa: PLC0415 - as above

    if not form:
        raise UsageError("--format is missing", remedy="known: " + ", ".join(formats.FORMATS))
    text = formats.export(named.Archive().one(name).result, form)
    if not out:
        sys.stdout.write(text)
        return
    files.atomic_write(Path(out), text)
    sys.stdout.write(f"wrote {cli.relative(Path(out))}\n")


@_task
def tables(*, check: bool, force: bool) -> None:
    """Rewrite the documents, or only compare."""
    from tools import cli  # noqa: PLC0415 - as above
    from tools import tables as documents  # noqa: PLC0415 - as above

    if check:
        documents.check()
        sys.stdout.write("all documents agree with the results\n")
        return
    for path in documents.update(force=force):
        sys.stdout.write(f"updated {cli.relative(path)}\n")


@_task
def report(out: str, *, browse: bool, check: bool) -> None:
    """Write the site, or only compare."""
    from tools import cli  # noqa: PLC0415 - as above
    from tools.report import site  # noqa: PLC0415 - as above

    if check:
        sys.stdout.write(f"{site.check()} tables agree: README, result files and site\n")
        return
    page = site.write(Path(out) if out else None)
    sys.stdout.write(f"wrote {cli.relative(page)}\n")
    if browse:
        webbrowser.open(page.as_uri())


@_task
def clean(*, everything: bool) -> None:
    """Remove leftovers of killed runs; with `everything` also caches of this checkout."""
    from tools import files, revisions, temporary  # noqa: PLC0415 - as above
    from tools.runners import engine  # noqa: PLC0415 - as above

    removed = [str(path) for path in [*temporary.sweep(), *files.sweep(caches.ROOT)]]
    revisions.prune()
    if engine.answers():
        removed += engine.sweep(everything=everything, caches=everything)
    if everything and caches.WORK.exists():
        shutil.rmtree(caches.WORK)
        removed.append(str(caches.WORK))
    sys.stdout.write("".join(f"removed {name}\n" for name in removed) or "nothing to remove\n")
