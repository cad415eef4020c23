"""The tasks of Deadheat: scaffold, look, check and write tables; each names one function and holds no logic."""

from __future__ import annotations

from invoke import Collection, Context, task

from tools import commands


@task(
    name="new-project",
    help={
        "title": "what people call it, such as 'Log splitter'",
        "number": "place in PLAN.md, such as 11.1 (default: the next free one of the group)",
        "group": "group heading, such as '11 Text tools'",
        "alias": "short name for nox -s bench-<alias> (default: from the title)",
        "kind": "batch, server or client (default: what is planned, else batch)",
        "languages": "go,rust,zig",
    },
)
def new_project(
    _: Context,
    title: str = "",
    number: str = "",
    group: str = "",
    alias: str = "",
    kind: str = "",
    languages: str = "go,rust,zig",
) -> None:
    """Make a complete project that builds, verifies and benchmarks at once; asks what you do not give."""
    commands.new_project(title, number, group, alias, kind, languages)


@task(name="list", help={"json": "print JSON"})
def list_projects(_: Context, json: bool = False) -> None:
    """Show projects, their lanes, their status and what is stale."""
    commands.list_projects(as_json=json)


@task(help={"project": "alias or slug (default: all)", "runner": "docker or host", "json": "print JSON"})
def plan(_: Context, project: str = "", runner: str = "auto", json: bool = False) -> None:
    """Show the cells that a bench would work on, in order."""
    commands.plan(project, runner, as_json=json)


@task(
    help={
        "install": "install missing toolchains",
        "noise": "also measure identical programs for 30 seconds: is it quiet enough here?",
        "json": "print JSON",
    }
)
def doctor(_: Context, install: bool = False, noise: bool = False, json: bool = False) -> None:
    """Say whether this machine is fit to build and measure, with remedies."""
    commands.doctor(install=install, noise=noise, as_json=json)


@task(help={"changed_since": "only projects that a change since this revision touches", "json": "print indented JSON"})
def matrix(_: Context, changed_since: str = "", json: bool = False) -> None:
    """Print the job matrix for GitHub Actions, on one line of JSON."""
    commands.matrix(changed_since or None, as_json=json)


@task(help={"json": "print JSON, with every problem"})
def validate(_: Context, json: bool = False) -> None:
    """Check every project.yaml and every result file; all problems, with file and place."""
    commands.validate(as_json=json)


@task(
    help={
        "a": "a result file, a project's program such as sqlite:rust, or with --project a revision: what was before",
        "b": "the same: what is now",
        "project": "alias or slug, when A and B are revisions",
        "case": "only these cases (a,b)",
        "lane": "only these lanes (go,zig), when whole results are compared",
        "json": "print JSON",
    }
)
def compare(_: Context, a: str, b: str, project: str = "", case: str = "", lane: str = "", json: bool = False) -> None:
    """Compare two results, or two programs of one result (A B, such as sqlite:rust sqlite:zig)."""
    commands.compare(a, b, project, case, lane, as_json=json)


@task(
    help={
        "project": "alias or slug",
        "case": "another case than the headline",
        "lane": "only these lanes (go,zig)",
        "workload": "another workload than bench",
        "limit": "how many results of each lane the table shows (20)",
        "json": "print JSON",
    }
)
def history(
    _: Context,
    project: str,
    case: str = "",
    lane: str = "",
    workload: str = "bench",
    limit: int = 20,
    json: bool = False,
) -> None:
    """Show how the results of a project went over time, and where they changed."""
    commands.history(project, case, lane, workload, limit, as_json=json)


@task(
    help={
        "result": "a result file, or a project: the result that speaks for it",
        "format": "hyperfine, benchstat, bmf or csv",
        "out": "file to write (default: stdout)",
    }
)
def export(_: Context, result: str, format: str = "", out: str = "") -> None:  # noqa: A002 - the option's name
    """Write a result in another tool's format: hyperfine, benchstat, bmf (Bencher) or csv."""
    commands.export(result, format, out)


@task(
    help={
        "check": "change nothing; fail where a document is outdated, edited by hand, or claims too much",
        "force": "also replace blocks that were edited by hand",
    }
)
def tables(_: Context, check: bool = False, force: bool = False) -> None:
    """Rewrite the tables, values and claims in PLAN.md, SUMMARY.md and the READMEs from the results."""
    commands.tables(check=check, force=force)


@task(
    help={
        "out": "folder of the site (default: report)",
        "open": "show it in the browser",
        "check": "write nothing; fail where README, result files and site do not say the same",
    }
)
def report(_: Context, out: str = "", open: bool = False, check: bool = False) -> None:  # noqa: A002 - the option's name
    """Write the report site: static pages from the result files, readable without server and network."""
    commands.report(out, browse=open, check=check)


@task(help={"all": "also caches, builds and inputs: the next run starts from nothing"})
def clean(_: Context, all: bool = False) -> None:  # noqa: A002 - the option's name
    """Remove what killed runs left: containers, volumes, images, temporary folders."""
    commands.clean(everything=all)


namespace = Collection(
    new_project, list_projects, plan, doctor, matrix, validate, compare, history, export, tables, report, clean
)
