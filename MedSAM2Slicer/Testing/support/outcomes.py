"""What became of each self test, under the stand-in and in Slicer."""

from __future__ import annotations

import sys
import traceback
import unittest
from typing import Any


class Result(unittest.TextTestResult):
    """Notes the outcome of each test by its ID. An exception that Qt or VTK met in Python fails the test at hand."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
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
        """Keep what is worst; a test can fail first in itself and then in what cleans up."""
        before = self.outcomes.get(test.id(), {"outcome": "", "text": ""})
        if before["outcome"] == "failed":
            outcome, text = "failed", f"{before['text']}\n{text}"
        self.outcomes[test.id()] = {"outcome": outcome, "text": text}
