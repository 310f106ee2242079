"""`python -m standin RESULTS.json [NAME ...]`: run self tests under the stand-in and write what became of each.

NAME is as unittest takes it, `test_module` for example; all files in Testing/Python if none is given. An exception in a
Qt slot fails the test in which it happened, though Qt goes on.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
from pathlib import Path

from outcomes import Result

from standin import application

TESTS = Path(__file__).resolve().parents[1] / "Python"


def main(results: str, *names: str) -> int:
    """Run and write; 1 if a test failed."""
    sys.path.append(str(TESTS))
    application.install()
    for path in [] if names else sorted(TESTS.glob("test_*.py")):
        names = (*names, path.stem)
    suite = unittest.TestLoader().loadTestsFromNames(names)
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
    Path(results).write_text(json.dumps(result.outcomes, indent=1), encoding="utf-8")
    return int(any(one["outcome"] == "failed" for one in result.outcomes.values()))


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's own end: objects of Qt and VTK that refer to each other may crash there.
    os._exit(code)
