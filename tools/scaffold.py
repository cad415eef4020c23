"""`invoke new-project`: a complete small project, made in one step or not at all.

Everything is settled and rendered in memory first; a temporary sibling folder is then filled, its project.yaml is
loaded as any other, and only then the folder gets its name. Nothing that exists is ever touched.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tools import files, markdown, project, rows, tables, terminal
from tools.errors import DeadheatError, ProjectError, ScaffoldError, UsageError, WriteError
from tools.rows import Row
from tools.wish import COMMON, DEFAULT_KIND, NUMBER, TEMPLATES, Place, Wish, check_kind, known_languages, settle

__all__ = ["Place", "Wish", "interview", "render", "run", "write"]

PLACEHOLDER = re.compile(r"@@([a-z_]+)@@")
LEFTOVER = re.compile(r"\.[a-z0-9-]+\.([0-9]+)-.+" + re.escape(files.TEMPORARY_SUFFIX))
IO = {"batch": "read", "server": "epoll", "client": "socket"}
Ask = Callable[[str], str]


def run(wish: Wish, root: Path = project.ROOT, ask: Ask | None = None) -> Path:
    """Make the project, bring the tables up to date, say what to do next.

    Raises:
        UsageError: a value is missing and nobody is there to be asked.
        ScaffoldError: a value is bad, or something of that name exists; nothing was made.
        WriteError: the disk is full or read-only; nothing was left.
    """
    taken = rows.all_rows(project.load_all(root / "projects"))
    if not wish.title:
        wish = interview(wish, taken, ask or prompt())
    place = settle(wish, taken)
    folder = write(root / "projects", place, render(place))
    lanes = ", ".join(place.languages)
    terminal.say(f"made    {folder.relative_to(root)} ({place.number}, {place.kind}, lanes {lanes})")
    _update_tables(root)
    terminal.say(f"next    nox -s verify-{place.alias}; nox -s bench-{place.alias}; then replace the job step by step")
    return folder


def _update_tables(root: Path) -> None:
    """Bring PLAN.md up to date; the project stands even if a document is in a bad state."""
    try:
        for path in tables.update(tables.Roots(root)):
            terminal.say(f"updated {path.relative_to(root)}")
    except DeadheatError as error:
        terminal.say(f"note    the project is complete, the documents are not updated: {error}")


# --- asking ----------------------------------------------------------------------------------------------------------


def prompt() -> Ask:
    """A question on the terminal.

    Raises:
        UsageError: there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("--title is missing", remedy='invoke new-project --title "Log splitter"')

    def ask(question: str) -> str:
        sys.stderr.write(question)
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise UsageError("the input has ended, nothing was made")
        return line.strip()

    return ask


def interview(wish: Wish, taken: list[Row], ask: Ask) -> Wish:
    """Ask field by field; a bad value is asked for again, an empty one takes what the options said, or the default."""
    if wish.kind:
        check_kind(wish.kind)
    made = Wish("", "", "", "", wish.kind, known_languages(wish.kind or DEFAULT_KIND))
    made = _asked(made, "title", "Title, such as 'Log splitter'", "", taken, ask)
    made = _asked(made, "kind", "Kind: batch, server or client", settle(made, taken).kind, taken, ask)
    number = wish.number or wish.group or settle(made, taken).number
    made = _asked(made, "number", "Number, such as 11.1, or a group", number, taken, ask)
    alias = wish.alias or settle(made, taken).alias
    made = _asked(made, "alias", "Alias for nox -s bench-<alias>", alias, taken, ask)
    return _asked(made, "languages", "Languages", ",".join(wish.languages or made.languages), taken, ask)


def _asked(made: Wish, name: str, question: str, default: str, taken: list[Row], ask: Ask) -> Wish:
    """One more field, until the wish can be settled with it."""
    hint = f" [{default}]" if default else ""
    while True:
        answer = ask(f"{question}{hint}: ") or default
        try:
            tried = _with(made, name, answer)
            settle(tried, taken)
        except DeadheatError as error:
            terminal.say(f"        {error}")
        else:
            return tried


def _with(made: Wish, name: str, answer: str) -> Wish:
    """The wish with one more answer; what is no number names a group."""
    match name:
        case "title":
            return replace(made, title=answer)
        case "kind":
            return replace(made, kind=answer)
        case "alias":
            return replace(made, alias=answer)
        case "languages":
            return replace(made, languages=tuple(answer.replace(",", " ").split()))
        case _ if NUMBER.fullmatch(answer):
            return replace(made, number=answer)
    return replace(made, group=answer)


# --- rendering -------------------------------------------------------------------------------------------------------


def render(place: Place) -> dict[str, str]:
    """The text of every file, by its path inside the project.

    Raises:
        ScaffoldError: a template is damaged.
    """
    values = _values(place)
    sources = {f"{COMMON}/": "", **{f"{language}/": f"{language}/" for language in place.languages}}
    rendered = {}
    for source, target in sources.items():
        folder = TEMPLATES / place.kind / source
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = target + path.relative_to(folder).as_posix()
            rendered[name] = _filled(path, values)
    return rendered


def _values(place: Place) -> dict[str, str]:
    """What each placeholder stands for; a title is escaped for the place where it stands."""
    parity = f"{{library: own, threads: 1, level: null, batching: null, durability: null, io: {IO[place.kind]}}}"
    anchored = ["parity: &parity " + parity] + ["parity: *parity"] * (len(place.languages) - 1)
    lanes = (
        f"  {name}: {{language: {name}, {parity}}}" for name, parity in zip(place.languages, anchored, strict=True)
    )
    return {
        "slug": place.slug,
        "identifier": place.slug.replace("-", "_"),
        "alias": place.alias,
        "alias_quoted": _quoted(place.alias),
        "number": place.number,
        "title": place.title,  # inside raw strings: no backtick and no line end can be in it
        "title_quoted": _quoted(place.title),
        "title_quoted_inside": _quoted(place.title)[1:-1],
        "title_markdown": markdown.text(place.title),
        "group_quoted": _quoted(place.group),
        "languages": ", ".join(place.languages),
        "lanes": "\n".join(lanes),
    }


def _quoted(text: str) -> str:
    """A string as YAML, Go, Rust and Zig all read it; titles have no character that they treat differently."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _filled(path: Path, values: dict[str, str]) -> str:
    """A template with its placeholders replaced, in one pass: what a value says is never looked at again."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ScaffoldError(f"{path}: unknown placeholder {match[0]}")
        return values[match[1]]

    try:
        text = PLACEHOLDER.sub(value, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScaffoldError(f"{path}: cannot be read: {error}") from error
    return _in_cargo_order(text) if path.name == "Cargo.lock" else text


def _in_cargo_order(lock: str) -> str:
    """Cargo keeps packages in the order of their names, and refuses a lock file that it would write otherwise."""
    head, *packages = lock.rstrip("\n").split("\n\n[[package]]\n")
    return "\n\n[[package]]\n".join([head, *sorted(packages)]) + "\n"


# --- writing ---------------------------------------------------------------------------------------------------------


def write(projects: Path, place: Place, contents: dict[str, str]) -> Path:
    """Fill a temporary sibling, load its project.yaml as any other, then give the folder its name.

    Raises:
        ScaffoldError: the folder exists, or what was rendered is no valid project; nothing was left.
        WriteError: the disk is full or read-only; nothing was left.
    """
    folder = projects / place.slug
    _refuse_existing(folder)
    try:
        projects.mkdir(parents=True, exist_ok=True)
        _sweep(projects)
        prefix = f".{place.slug}.{os.getpid()}-"
        with tempfile.TemporaryDirectory(
            prefix=prefix, suffix=files.TEMPORARY_SUFFIX, dir=projects, ignore_cleanup_errors=True
        ) as staging:
            staged = Path(staging) / place.slug  # one level deeper: a killed run's leftover is no project
            files.atomic_write_all({staged / name: text for name, text in contents.items()})
            _check(staged, place)
            _refuse_existing(folder)
            staged.rename(folder)  # never replaces a folder that has anything in it
    except OSError as error:
        why = error.strerror or error
        raise WriteError(f"cannot make {folder}: {why}", remedy="free the disk or fix the permissions") from error
    return folder


def _sweep(projects: Path) -> None:
    """Remove what killed runs left here; the name of a leftover says whose it is."""
    for path in projects.glob(f".*{files.TEMPORARY_SUFFIX}"):
        owner = LEFTOVER.fullmatch(path.name)
        if owner and path.is_dir() and not path.is_symlink() and not Path(f"/proc/{owner[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)


def _refuse_existing(folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise ScaffoldError(f"{folder} exists already", remedy="choose another title")


def _check(staged: Path, place: Place) -> None:
    """The project as the harness reads it must say what was asked for."""
    try:
        loaded = project.load(staged / "project.yaml")
    except ProjectError as error:
        raise ScaffoldError(f"the rendered project is not valid: {error}") from error
    found = (
        loaded.title, loaded.slug, loaded.alias, loaded.number, loaded.group, loaded.kinds, tuple(loaded.lanes)
    )  # fmt: skip
    asked = (place.title, place.slug, place.alias, place.number, place.group, (place.kind,), place.languages)
    if found != asked:
        raise ScaffoldError(f"the rendered project says {found}, not {asked}")
