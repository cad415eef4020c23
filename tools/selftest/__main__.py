"""`python -m tools.selftest`: see `tools.selftest.main`."""

from __future__ import annotations

import sys

from tools.selftest.main import main

if __name__ == "__main__":
    sys.exit(main())
