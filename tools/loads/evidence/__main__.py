"""`python -m tools.loads.evidence`: see `tools.loads.evidence.main`."""

from __future__ import annotations

import sys

from tools.loads.evidence.main import main

if __name__ == "__main__":
    sys.exit(main())
