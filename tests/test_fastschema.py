"""The quick yes is never a wrong yes: jsonschema would have said the same."""

from __future__ import annotations

import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import builders
from tests.test_validate import VALUES, _mutate
from tools import checks, fastschema

KEYWORDS: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"type": "integer"}, [1, -1], [True, 1.0, "1", None]),
    ({"type": ["number", "null"]}, [1, 1.5, None], [True, "1", []]),
    ({"const": 1}, [1], [2, "1", True]),
    ({"enum": ["a", "b"]}, ["a"], ["c", 1, None]),
    ({"pattern": "^a+\\Z"}, ["aa", 1], ["a\n", "", "b"]),
    ({"minLength": 1, "maxLength": 2}, ["a", "ab", 5], ["", "abc"]),
    ({"minimum": 0, "maximum": 5}, [0, 5, "x"], [-1, 6, 5.1]),
    ({"exclusiveMinimum": 0}, [1, 0.1], [0, -1]),
    ({"items": {"type": "string"}, "minItems": 1}, [["a"], "x"], [[], [1]]),
    ({"uniqueItems": True}, [["a", "b"], []], [["a", "a"]]),
    ({"required": ["a"]}, [{"a": 1}, 3], [{}, {"b": 1}]),
    ({"minProperties": 1}, [{"a": 1}], [{}]),
    (
        {"properties": {"a": {"type": "null"}}, "additionalProperties": False},
        [{"a": None}, {}],
        [{"a": 1}, {"b": None}],
    ),
    ({"additionalProperties": {"type": "integer"}}, [{"a": 1}], [{"a": "1"}]),
    (
        {"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": False},
        [{"ab": 1}],
        [{"ab": ""}, {"b": 1}],
    ),
    ({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/x"}], "$defs": {"x": {"const": "x"}}}, [None, "x"], ["y", 1]),
]


@pytest.mark.parametrize(("schema", "good", "bad"), KEYWORDS)
def test_keywords(schema: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    """Each keyword says yes and no where it should."""
    fits = fastschema.compile_schema(schema)
    assert fits is not None
    assert [fits(value) for value in good] == [True] * len(good)
    assert [fits(value) for value in bad] == [False] * len(bad)


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {}},
        {"format": "date"},
        {"properties": {"a": {"oneOf": []}}},
        {"$ref": "#/$defs/none"},
        {"$ref": "http://x"},
        {"$ref": "#/$defs/x", "$defs": {"x": {"items": {"$ref": "#/$defs/x"}}}},
    ],
)
def test_unknown_keywords_are_left_to_jsonschema(schema: dict[str, Any]) -> None:
    """A schema with anything else in it has no quick yes."""
    assert fastschema.compile_schema(schema) is None


def test_the_result_schema_has_a_quick_yes() -> None:
    """The schema of results is supported whole, and a valid result is plainly valid."""
    fits = checks._surely_fits()
    assert fits is not None
    assert fits(builders.tree())


@settings(max_examples=500, deadline=None)
@given(value=VALUES, seed=st.integers(0, 2**32), twice=st.booleans())
def test_never_a_wrong_yes(value: Any, seed: int, twice: bool) -> None:
    """Of any mutated result, the quick yes is given only when jsonschema finds nothing."""
    noise = random.Random(seed)
    raw = _mutate(builders.tree(), value, noise)
    raw = _mutate(raw, value, noise) if twice else raw
    fits = checks._surely_fits()
    assert fits is not None
    if fits(raw):
        validator: jsonschema.Draft202012Validator = checks._validator()
        assert [error.message for error in validator.iter_errors(raw)] == []
