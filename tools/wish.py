"""What a person asks of `invoke new-project`, and what it comes to: names, number and group that are valid and free."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tools.errors import ScaffoldError, UsageError
from tools.rows import Row

TEMPLATES = Path(__file__).with_name("templates")
KINDS = ("batch", "server", "client")
DEFAULT_KIND = "batch"
LATER = "scenario"
COMMON = "project"
DEFAULT_GROUP = "Further projects"
LAST_PLANNED_GROUP = 10
MAX_TITLE, MAX_SLUG, MAX_ALIAS = 80, 40, 20
NUMBER = re.compile(r"S[1-9][0-9]?|[1-9][0-9]?\.[1-9][0-9]?")
GROUP = re.compile(r"(S|[1-9][0-9]?)(?: (.+))?")
ALIAS = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
REFUSED = {"\\": "a backslash", "`": "a backtick", "<": "an angle bracket", ">": "an angle bracket", "|": "a bar"}
# Names that a file system, a language or one of their tools keeps for itself.
RESERVED = frozenset({
    "con", "prn", "aux", "nul", *(f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)),
    "dev", "bin", "etc", "tmp", "lost-found",
    "as", "async", "await", "break", "case", "catch", "chan", "comptime", "const", "continue", "crate", "default",
    "defer", "else", "enum", "export", "extern", "false", "fallthrough", "fn", "for", "func", "go", "goto", "if",
    "impl", "import", "in", "inline", "interface", "let", "loop", "map", "match", "mod", "move", "mut", "null",
    "package", "pub", "range", "ref", "return", "select", "self", "static", "struct", "super", "switch", "test",
    "trait", "true", "try", "type", "undefined", "union", "unreachable", "unsafe", "use", "var", "where", "while",
    "yield",
    "alloc", "build", "cmd", "core", "data", "deps", "examples", "incremental", "internal", "main", "std", "target",
    "testdata", "tests", "tools", "vendor", "zig-out",
    "errno", "libc", "log", "memchr", "mio", "signal-hook", "signal-hook-registry", "slab", "wasi", "windows-link",
    "windows-sys", "xxhash-rust",
})  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """What a person asked for; an empty field is settled here."""

    title: str
    number: str
    group: str
    alias: str
    kind: str
    languages: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """What is settled: every field is valid and taken by nobody."""

    title: str
    slug: str
    alias: str
    number: str
    group: str
    languages: tuple[str, ...]
    kind: str = DEFAULT_KIND


def settle(wish: Wish, taken: Iterable[Row]) -> Place:
    """Check every value and fill in what was left out.

    Raises:
        UsageError: a value is missing.
        ScaffoldError: a value is bad or taken; the message names it.
    """
    if wish.kind:
        check_kind(wish.kind)
    if not wish.title.strip():
        raise UsageError("--title is missing")
    title = check_title(wish.title, "title")
    slug = slug_of(title)
    taken = list(taken)
    others = [row for row in taken if row.slug != slug]
    own = next((row for row in taken if row.slug == slug), None)
    if own is not None and own.project is not None:
        raise ScaffoldError(f"projects/{slug} exists already", remedy="choose another title")
    kind = _kind(wish.kind, title, own)
    if own is not None:
        wish = replace(wish, alias=wish.alias or own.alias)
        if not (wish.number or wish.group):
            wish = replace(wish, number=own.number, group=own.group)
    number, group = _number_and_group(wish, taken, others)
    languages = _languages(wish.languages, kind)
    return Place(title, slug, _alias(wish.alias, slug, others), number, group, languages, kind)


def check_kind(kind: str) -> None:
    """Refuse what has no template."""
    if kind == LATER:
        raise ScaffoldError("--kind scenario: comes later", remedy="make its server or client first")
    if kind not in KINDS:
        raise ScaffoldError(f"--kind {shown(kind)}: no such kind", remedy="known: " + ", ".join(KINDS))


def _kind(kind: str, title: str, own: Row | None) -> str:
    """What was asked for, else what is planned; a planned system is never made as something else."""
    if own is None:
        return kind or DEFAULT_KIND
    possible = [planned for planned in own.kinds if planned in KINDS]
    if not possible:
        raise ScaffoldError(f"{title!r} is planned as {', '.join(own.kinds)}, which comes later")
    if kind and kind not in possible:
        raise ScaffoldError(f"--kind {kind}: {title!r} is planned as {', '.join(own.kinds)}")
    return kind or possible[0]


def check_title(title: str, name: str) -> str:
    """The title, if it is one printable line that starts with a letter and cannot be taken for markup."""
    what = f"{name} {shown(title)}"
    if len(title) > MAX_TITLE:
        raise ScaffoldError(f"{what}: longer than {MAX_TITLE} characters")
    for char in title:
        if not char.isprintable():
            raise ScaffoldError(f"{what}: U+{ord(char):04X} cannot be printed")
        if char in REFUSED:
            raise ScaffoldError(f"{what}: {REFUSED[char]} is not allowed")
        if not char.isascii() and unicodedata.category(char)[0] in "LMN":
            raise ScaffoldError(f"{what}: {char!r} ({unicodedata.name(char, '?')}) is no ASCII letter or digit")
    if title != " ".join(title.split()):
        raise ScaffoldError(f"{what}: blanks at an end or side by side")
    if not title or title[0] not in string.ascii_letters:
        raise ScaffoldError(f"{what}: must start with a letter, as must the folder that is named after it")
    return title


def slug_of(title: str) -> str:
    """The words of a title, in lower case, with hyphens: name of the folder and of the program."""
    slug = "-".join(re.findall(r"[a-z0-9]+", title.lower().replace("'", "")))
    if len(slug) > MAX_SLUG:
        raise ScaffoldError(f"title {title!r}: the folder {slug!r} would be longer than {MAX_SLUG} characters")
    if slug in RESERVED:
        raise ScaffoldError(f"title {title!r}: {slug!r} is a reserved name", remedy="add a word")
    return slug


def _alias(alias: str, slug: str, others: list[Row]) -> str:
    """The alias that was asked for, else the first that is free: a word of the slug, more of its words."""
    used = {name: row for row in others for name in (row.alias, row.slug)}
    if alias:
        if not ALIAS.fullmatch(alias) or len(alias) > MAX_ALIAS:
            raise ScaffoldError(f"--alias {shown(alias)}: not up to {MAX_ALIAS} of a-z, 0-9 and inner hyphens")
        if alias in used:
            raise ScaffoldError(f"--alias {alias} is taken by {used[alias].slug}")
        return alias
    words = slug.split("-")
    starts = ["-".join(words[:count]) for count in range(1, len(words) + 1)]
    free = [name for name in starts if name not in used and len(name) <= MAX_ALIAS]
    if not free:
        raise ScaffoldError(f"no short alias for {slug!r} is free", remedy="give one with --alias")
    return free[0]


def _number_and_group(wish: Wish, taken: list[Row], others: list[Row]) -> tuple[str, str]:
    """Both, each from the other where only one is given."""
    headings = {_major(row.number): row.group for row in taken}
    number = wish.number
    if number and not NUMBER.fullmatch(number):
        raise ScaffoldError(f"--number {shown(number)}: not a number such as 11.1")
    major, name = _group(wish.group, headings) if wish.group else ("", "")
    if number:
        if major and major != _major(number):
            raise ScaffoldError(f"--number {number} is not in the group {wish.group!r}")
        major = _major(number)
    elif not major:
        major, name = _group(DEFAULT_GROUP, headings)
    for row in others:
        if row.number == number:
            raise ScaffoldError(f"--number {number} is taken by {row.slug}")
    heading = headings.get(major) or f"{major} {name or DEFAULT_GROUP}"
    if name and heading != f"{major} {name}":
        raise ScaffoldError(f"--group {major} {name}: group {major} is {heading!r}")
    return number or _next_number(major, others), heading


def _group(group: str, headings: dict[str, str]) -> tuple[str, str]:
    """Number and name of a group that is given as '11 Text tools', '11' or 'Text tools'."""
    if match := GROUP.fullmatch(group):
        major, name = match[1], match[2] or ""
    else:
        known = {heading.partition(" ")[2].casefold(): major for major, heading in headings.items()}
        name = group
        major = known.get(group.casefold()) or _next_major(headings)
        name = headings[major].partition(" ")[2] if major in headings else group
    if name:
        check_title(name, "group")
    return major, name


def _next_major(headings: dict[str, str]) -> str:
    """The first group behind the planned ones that is not there yet."""
    major = next(number for number in range(LAST_PLANNED_GROUP + 1, 1000) if str(number) not in headings)
    if major > 99:  # noqa: PLR2004 - two digits in the schema
        raise ScaffoldError("all group numbers up to 99 are taken")
    return str(major)


def _major(number: str) -> str:
    """The group of a number: 9 of 9.1, S of S1."""
    return "S" if number.startswith("S") else number.partition(".")[0]


def _next_number(major: str, others: list[Row]) -> str:
    """The number behind the last one of a group."""
    used = [row.number for row in others if _major(row.number) == major]
    last = max((int(number.removeprefix("S").rpartition(".")[2]) for number in used), default=0)
    if last >= 99:  # noqa: PLR2004 - two digits in the schema
        raise ScaffoldError(f"group {major} is full", remedy="give a free number with --number")
    return f"S{last + 1}" if major == "S" else f"{major}.{last + 1}"


def known_languages(kind: str) -> tuple[str, ...]:
    """The languages that have templates of this kind."""
    folders = (path for path in (TEMPLATES / kind).iterdir() if path.is_dir())
    return tuple(sorted(path.name for path in folders if path.name != COMMON))


def _languages(wanted: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Each language once, in the order of the templates."""
    known = known_languages(kind)
    remedy = "known: " + ",".join(known)
    if unknown := [name for name in wanted if name not in known]:
        raise ScaffoldError(f"--languages: no template for {shown(unknown[0])}", remedy=remedy)
    if not wanted:
        raise ScaffoldError("--languages: none given", remedy=remedy)
    return tuple(name for name in known if name in wanted)


def shown(value: str) -> str:
    """A foreign value inside a message: short, quoted, on one line."""
    return ascii(value if len(value) <= MAX_TITLE else value[:MAX_TITLE] + "...")
