"""Lets the tests import the modules of this project's oracle (kv_*, a prefix that no other project has)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
