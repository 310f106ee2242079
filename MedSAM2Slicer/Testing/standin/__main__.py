"""`python -m standin RESULTS.json [NAME ...]`: run self tests under the stand-in and write what became of each.

NAME is as unittest takes it, `test_module` for example; all files in Testing/Python if none is given. An exception in a
Qt slot fails the test in which it happened, though Qt goes on.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import unittest
from pathlib import Path
from typing import Any

from standin import application

TESTS = Path(__file__).resolve().parents[1] / "Python"


class Result(unittest.TextTestResult):
    """Notes the outcome of each test by its ID."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.outcomes: dict[str, dict[str, str]] = {}
        self._stray: list[str] = []
        sys.excepthook = lambda *error: self._stray.append("".join(traceback.format_exception(*error)))

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._note(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)

    def addFailure(self, test: unittest.TestCase, error: Any) -> None:
        super().addFailure(test, error)
        self._note(test, "failed", self.failures[-1][1])

    def addError(self, test: unittest.TestCase, error: Any) -> None:
        super().addError(test, error)
        self._note(test, "failed", self.errors[-1][1])

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        if self._stray:
            self._note(test, "failed", "\n".join(["In a slot:", *self._stray]))
            self._stray.clear()

    def _note(self, test: unittest.TestCase, outcome: str, text: str = "") -> None:
        self.outcomes[test.id()] = {"outcome": outcome, "text": text}


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
