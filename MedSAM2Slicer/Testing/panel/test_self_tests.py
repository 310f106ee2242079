"""The in-Slicer self tests of Testing/Python, run under Testing/standin in a process of their own, test by test.

The other process keeps Qt's and `slicer`'s state out of this one, and a crash there fails tests instead of ending all.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import CEILING

TESTING = Path(__file__).parents[1]
MODULE = TESTING.parent
NEEDED = {"PySide6": "PySide6-Essentials", "slicer_core": "slicer-core"}
ABSENT = [package for name, package in NEEDED.items() if importlib.util.find_spec(name) is None]

pytestmark = pytest.mark.skipif(bool(ABSENT), reason=f"needs {' and '.join(ABSENT)}; make test installs them")


def _names() -> Iterator[str]:
    """The IDs of all self tests, by reading the files: they can be imported only in the other process."""
    for path in sorted((TESTING / "Python").glob("test_*.py")):
        for kind in ast.parse(path.read_text(encoding="utf-8")).body:
            tests = [one.name for one in ast.walk(kind) if isinstance(one, ast.FunctionDef)]
            yield from (f"{path.stem}.{kind.name}.{name}" for name in tests if name.startswith("test_"))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    results = tmp_path_factory.mktemp("standin") / "results.json"
    paths = [str(MODULE), str(TESTING), str(TESTING / "support")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-X", "faulthandler", "-m", "standin", str(results)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=CEILING, check=False)
    if not results.is_file():
        pytest.fail(f"The stand-in ended with {done.returncode} before its results:\n{done.stderr[-8000:]}")
    found: dict[str, dict[str, str]] = json.loads(results.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", list(_names()))
def test_in_the_stand_in(outcomes: dict[str, dict[str, str]], name: str) -> None:
    became = outcomes.get(name, {"outcome": "failed", "text": "This test was not run."})
    if became["outcome"] == "skipped":
        pytest.skip(became["text"])
    assert became["outcome"] == "passed", became["text"]
