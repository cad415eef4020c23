"""JSON from strangers: bytes in, a plain tree out, or one sentence that says what is wrong; never a traceback.

Stricter than the standard library: UTF-8 only, no NaN or Infinity, no duplicate keys, no numbers past 64 bits, no
lone surrogates (they could not be written back) and no deep nesting.
"""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 24
MAX_INTEGER = (1 << 63) - 1
MAX_NUMBER_CHARS = 40
DIGITS = bytes.maketrans(b"123456789", b"000000000")
LONG_NUMBER = b"0" * 19  # what a number past 64 bits contains, its digits all made 0


class StrictJsonError(ValueError):
    """What is wrong with the bytes, in one line."""


def parse(content: bytes) -> Any:
    """Parse JSON text.

    Raises:
        StrictJsonError: it is not UTF-8, not JSON, or uses what honest files never need.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"not UTF-8 (byte {error.start})") from error
    careful = _integer if LONG_NUMBER in content.translate(DIGITS) else None  # the built-in reader is much faster
    try:
        tree = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=careful
        )
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise StrictJsonError("nested too deeply") from error
    _check_depth(tree)
    if "\\ud" in text.lower():
        _check_surrogates(tree)
    return tree


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse keys that come twice: readers disagree about which one counts."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [key for key, _ in pairs]
        double = next(key for key in names if names.count(key) > 1)
        raise StrictJsonError(f"key {printable(double)} comes twice in one object")
    return made


def _constant(name: str) -> None:
    """Refuse NaN and the infinities: they are not JSON."""
    raise StrictJsonError(f"{name} is not a number of JSON")


def _integer(digits: str) -> int:
    """Refuse integers past 64 bits before Python spends time on them."""
    if len(digits) <= MAX_NUMBER_CHARS and abs(value := int(digits)) <= MAX_INTEGER:
        return value
    raise StrictJsonError(f"number {printable(digits)} is out of range")


def _float(digits: str) -> float:
    """Refuse numbers that overflow to infinity."""
    if len(digits) <= MAX_NUMBER_CHARS and math.isfinite(value := float(digits)):
        return value
    raise StrictJsonError(f"number {printable(digits)} is out of range")


def _check_depth(tree: Any) -> None:
    """Refuse nesting that only an attack needs; later code may then recurse freely."""
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise StrictJsonError("nested too deeply")


def _children(node: Any) -> list[Any]:
    """List the containers inside a container; a long list of numbers is passed over at once."""
    values = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    return (
        [value for value in values if isinstance(value, dict | list)] if set(map(type, values)) & {dict, list} else []
    )


def _check_surrogates(tree: Any) -> None:
    """Refuse text that has no UTF-8 form."""
    try:
        json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise StrictJsonError("text with half of a surrogate pair") from error


def printable(value: object, limit: int = 60) -> str:
    """Quote a value from a stranger for a message: one line, ASCII, short."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError):
        text = type(value).__name__
    shown = ascii(text[:limit]) if isinstance(value, str) else text[:limit]
    return f"{shown}..." if len(text) > limit else shown
