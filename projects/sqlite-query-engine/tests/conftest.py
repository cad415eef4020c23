"""Where the tests of this project find their helpers; the lanes come from projects/conftest.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
