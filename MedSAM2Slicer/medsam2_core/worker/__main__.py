"""`python -m medsam2_core.worker`, for a Python that has the package but not the `medsam2` command."""

from __future__ import annotations

import sys

from medsam2_core.cli.main import run

sys.exit(run(["worker", *sys.argv[1:]]))
