"""Records of measurements of our own: one JSON file beside the page that shows it, checked against a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from tools import fastschema, strictjson
from tools.checks import printable_message
from tools.errors import ResultError

MAX_PROBLEMS = 20

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """One sort of record: its schema, and what to do about a wrong one."""

    schema: Path
    remedy: str

    def read(self, path: Path) -> Tree | None:
        """The record, or None where nothing has been measured yet.

        Raises:
            ResultError: the file is there and is no valid record.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ResultError(f"{path.name}: {error.strerror}") from error
        try:
            tree = strictjson.parse(content)
        except strictjson.StrictJsonError as error:
            raise ResultError(f"{path.name}: {error}") from error
        self.refuse_problems(tree, path.name)
        return dict(tree)

    def refuse_problems(self, tree: Any, name: str) -> None:
        """Check a record against its schema.

        Raises:
            ResultError: it does not fit; the message lists the problems.
        """
        anchored = fastschema.anchored(json.loads(self.schema.read_text(encoding="utf-8")))
        errors = list(jsonschema.Draft202012Validator(anchored).iter_errors(tree))[:MAX_PROBLEMS]
        if errors:
            lines = [f"{name}: {error.json_path}: {printable_message(error.message)}" for error in errors]
            raise ResultError("\n".join(lines), remedy=self.remedy)
