"""A quick yes for documents that fit a JSON Schema: the schema becomes plain functions; jsonschema stays the judge.

Thousands of valid files should cost milliseconds, and only a file that is not plainly valid needs a validator that can
explain. So this may say no where jsonschema would say yes (that costs time), never yes where it would say no; a keyword
that is not known here makes the whole schema unsupported.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Check = Callable[[Any], bool]

TYPES: dict[str, set[type]] = {
    "object": {dict}, "array": {list}, "string": {str}, "integer": {int}, "number": {int, float}, "boolean": {bool},
    "null": {type(None)},
}  # fmt: skip
ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "examples", "default"}
OBJECT = {"properties", "patternProperties", "additionalProperties"}


class UnsupportedError(Exception):
    """The schema uses a keyword that is not known here."""


def compile_schema(schema: Mapping[str, Any]) -> Check | None:
    """Give a function that is true for documents that surely fit; None if the schema is beyond us."""
    try:
        return _Compiler(schema).node(schema)
    except UnsupportedError:
        return None


class _Compiler:
    """Turns the nodes of one schema into functions; references are resolved once."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        """Keep the root, which references point into."""
        self.root = root
        self.references: dict[str, Check | None] = {}

    def node(self, schema: Mapping[str, Any]) -> Check:
        """Compile one node: all of its keywords must agree."""
        checks = [self.keyword(name, value) for name, value in schema.items() if name not in ANNOTATIONS | OBJECT]
        if OBJECT & schema.keys():
            checks.append(self.members(schema))
        if len(checks) == 1:
            return checks[0]
        return lambda value: all(check(value) for check in checks)

    def keyword(self, name: str, wanted: Any) -> Check:
        """Compile one keyword."""
        if name == "$ref":
            return self.reference(wanted)
        if name == "items":
            item = self.node(wanted)
            return lambda value: type(value) is not list or all(map(item, value))
        if name == "anyOf":
            options = [self.node(option) for option in wanted]
            return lambda value: any(option(value) for option in options)
        if name in SIMPLE:
            return SIMPLE[name](wanted)
        raise UnsupportedError(name)

    def reference(self, pointer: str) -> Check:
        """Compile what a reference into `$defs` points to; a schema that refers to itself is beyond us."""
        name = pointer.removeprefix("#/$defs/")
        if name not in self.root.get("$defs", {}):
            raise UnsupportedError(pointer)
        if name not in self.references:
            self.references[name] = None
            self.references[name] = self.node(self.root["$defs"][name])
        if (check := self.references[name]) is None:
            raise UnsupportedError(pointer)
        return check

    def members(self, schema: Mapping[str, Any]) -> Check:
        """Compile the keywords about the members of an object, which depend on each other."""
        named = {name: self.node(child) for name, child in schema.get("properties", {}).items()}
        patterns = [(re.compile(key), self.node(child)) for key, child in schema.get("patternProperties", {}).items()]
        others = schema.get("additionalProperties", True)
        rest = self.node(others) if isinstance(others, dict) else None

        def member(name: str, value: Any) -> bool:
            matching = [child for pattern, child in patterns if pattern.search(name)]
            if name in named:
                return named[name](value) and all(child(value) for child in matching)
            if matching or rest is None:
                return all(child(value) for child in matching) if matching else bool(others)
            return rest(value)

        return lambda value: type(value) is not dict or all(member(*pair) for pair in value.items())


def _types(wanted: str | list[str]) -> Check:
    """Compile `type`, exactly: True is no integer, and 1.0 is none either."""
    names = [wanted] if isinstance(wanted, str) else wanted
    allowed = frozenset().union(*(TYPES[name] for name in names))
    return lambda value: type(value) in allowed


def _one_of(wanted: list[Any]) -> Check:
    """Compile `enum` and `const`: equal and of one type."""
    return lambda value: any(type(value) is type(option) and value == option for option in wanted)


def _text(holds: Callable[[str], bool]) -> Check:
    """Apply a condition to texts only."""
    return lambda value: type(value) is not str or holds(value)


def _number(holds: Callable[[float], bool]) -> Check:
    """Apply a condition to numbers only."""
    return lambda value: type(value) not in TYPES["number"] or holds(value)


def _unique(value: Any) -> bool:
    """Whether a list surely has no equal entries: only of texts we are sure."""
    return type(value) is not list or (all(type(one) is str for one in value) and len(set(value)) == len(value))


def _pattern(wanted: str) -> Check:
    """Compile `pattern`."""
    search = re.compile(wanted).search
    return _text(lambda value: search(value) is not None)


SIMPLE: dict[str, Callable[[Any], Check]] = {
    "type": _types,
    "const": lambda wanted: _one_of([wanted]),
    "enum": _one_of,
    "pattern": _pattern,
    "minLength": lambda wanted: _text(lambda value: len(value) >= wanted),
    "maxLength": lambda wanted: _text(lambda value: len(value) <= wanted),
    "minimum": lambda wanted: _number(lambda value: value >= wanted),
    "maximum": lambda wanted: _number(lambda value: value <= wanted),
    "exclusiveMinimum": lambda wanted: _number(lambda value: value > wanted),
    "minItems": lambda wanted: lambda value: type(value) is not list or len(value) >= wanted,
    "maxItems": lambda wanted: lambda value: type(value) is not list or len(value) <= wanted,
    "minProperties": lambda wanted: lambda value: type(value) is not dict or len(value) >= wanted,
    "uniqueItems": lambda wanted: _unique if wanted else lambda _: True,
    "required": lambda wanted: lambda value: type(value) is not dict or all(name in value for name in wanted),
}


def anchored(node: Any, key: str = "") -> Any:
    """Rewrite the patterns of a schema so that `$` never matches before a trailing newline."""
    if isinstance(node, dict):
        in_pattern = key == "patternProperties"
        return {(_end(name) if in_pattern else name): anchored(child, name) for name, child in node.items()}
    if isinstance(node, list):
        return [anchored(child) for child in node]
    return _end(node) if key == "pattern" and isinstance(node, str) else node


def _end(pattern: str) -> str:
    """Anchor one pattern."""
    return pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
