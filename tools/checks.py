"""Is this file a valid result? All problems of one file, each with its place, and never a traceback.

First the bytes (size, UTF-8, strict JSON), then schemas/result.schema.json, then what a schema cannot say
(`tools.meaning`). Reading the columns of samples costs one pass each: only their extremes go through the schema.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema

from tools import fastschema, meaning, strictjson
from tools.project import ROOT
from tools.strictjson import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SCHEMA_PATH = ROOT / "schemas" / "result.schema.json"
MAX_BYTES = 16 * 1024 * 1024
MAX_PROBLEMS = 50  # of one file: past this it is not a result with a mistake but something else


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in one file; `where` is a JSON path, empty for the file as a whole."""

    path: str
    where: str
    message: str

    def __str__(self) -> str:
        """Show the problem in one line."""
        return ": ".join(part for part in (self.path, self.where, self.message) if part)


def file_name(tree: Mapping[str, Any]) -> str:
    """Name a result file after its content: `20261120T205030Z_0123456789ab.json`."""
    moment = str(tree["created_at"]).replace("-", "").replace(":", "")
    return f"{moment}_{tree['environment']['id']}.json"


def check_file(path: Path) -> tuple[Any, list[Problem]]:
    """Read and check one file: its tree (None if it is no JSON) and all that is wrong with it."""
    try:
        content = _read(path)
    except OSError as error:
        return None, [_problem(path, "", error.strerror or str(error))]
    return check_bytes(content, path)


def check_bytes(content: bytes, path: Path) -> tuple[Any, list[Problem]]:
    """Check bytes that are, or will be, stored under `path`."""
    if len(content) > MAX_BYTES:
        return None, [_problem(path, "", f"larger than {MAX_BYTES} bytes")]
    try:
        tree = strictjson.parse(content)
    except strictjson.StrictJsonError as error:
        return None, [_problem(path, "", str(error))]
    found = list(_schema_errors(tree)) or [*meaning.contradictions(tree), *_misplaced(tree, path)]
    shown = [_problem(path, where, message) for where, message in found[:MAX_PROBLEMS]]
    if len(found) > MAX_PROBLEMS:
        shown.append(_problem(path, "", f"and {len(found) - MAX_PROBLEMS} more problems"))
    return tree, shown


def _problem(path: Path, where: str, message: str) -> Problem:
    """Name the file as seen from the root of the repository; a name cannot break the line."""
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return Problem(ascii(str(shown))[1:-1], where, message)


def _read(path: Path) -> bytes:
    """Read a regular file; links are not followed, pipes and devices are not opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(MAX_BYTES + 1)


def _misplaced(tree: Any, path: Path) -> Iterator[tuple[str, str]]:
    """Find a name or folder that disagrees with the content."""
    if path.name != file_name(tree):
        yield "", f"the content belongs into a file named {file_name(tree)}"
    if path.parent.name != tree["project"]["slug"]:
        yield "$.project.slug", f"{tree['project']['slug']!r} is not the folder {printable(path.parent.name)}"


@cache
def _schema() -> dict[str, Any]:
    """Read the schema; `$` means the very end in it (Python's also allows a newline there)."""
    schema: dict[str, Any] = fastschema.anchored(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    return schema


@cache
def _surely_fits() -> Callable[[Any], bool] | None:
    """Give the quick yes for this schema."""
    return fastschema.compile_schema(_schema())


@cache
def _validator() -> jsonschema.Draft202012Validator:
    """Make the validator; 1.0 is no integer."""
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    kind = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=checker)  # type: ignore[no-untyped-call]  # no types there
    validator: jsonschema.Draft202012Validator = kind(_schema(), format_checker=kind.FORMAT_CHECKER)
    return validator


def _schema_errors(tree: Any) -> Iterator[tuple[str, str]]:
    """Find what breaks the schema; the full columns are looked at only when their extremes are wrong."""
    short, fits = _with_short_columns(tree), _surely_fits()
    if (fits is not None and fits(short)) or _validator().is_valid(short):
        return
    for error in _validator().iter_errors(tree):
        yield printable_message(error.json_path), _explain(error)


def _explain(error: jsonschema.ValidationError) -> str:
    """Say what is wrong without repeating a stranger's value at length."""
    name, wanted, value = error.validator, error.validator_value, error.instance
    if name in {"required", "dependentRequired"}:
        return printable_message(error.message)
    if name == "additionalProperties" and isinstance(value, dict):
        return "unknown key: " + printable_message(error.message)
    return f"{printable(value)} breaks {name} {printable(wanted, 120)}"


def printable_message(message: str) -> str:
    """Bound and escape a message that may quote the file."""
    return message[:200].encode("ascii", "backslashreplace").decode().replace("\n", "\\n")


def _with_short_columns(tree: Any) -> Any:
    """Copy the tree with every column of samples cut to the values that decide whether it fits the schema."""
    if not isinstance(tree, dict) or not isinstance(tree.get("cases"), list):
        return tree
    return {**tree, "cases": [_short_case(case) for case in tree["cases"]]}


def _short_case(case: Any) -> Any:
    """Shorten the columns of one case, if it has the shape of one."""
    if not isinstance(case, dict):
        return case
    short = dict(case)
    for key in ("samples", "warmups"):
        if isinstance(columns := case.get(key), dict):
            short[key] = {name: _deciding(column) for name, column in columns.items()}
    return short


def _deciding(column: Any) -> Any:
    """Keep the values of a column that matter: distinct texts, smallest and largest integer, one null.

    The schema judges each entry by itself and only by type, range, pattern and set, so the rest says nothing new.
    """
    if not isinstance(column, list):
        return column
    kinds = set(map(type, column))
    if kinds <= {int, type(None)}:
        numbers = [value for value in column if value is not None] if type(None) in kinds else column
        extremes = [min(numbers), max(numbers)] if numbers else []
        return extremes + [None] * (type(None) in kinds)
    if kinds <= {str, type(None)}:
        return list(set(column))
    if kinds == {list} and all(type(flag) is str for flags in column for flag in flags):
        return [list(flags) for flags in {tuple(flags) for flags in column}]
    return column
