"""What Slicer pays for the extension before anybody uses it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import CEILING

TESTING = Path(__file__).parents[1]
ABSENT = [name for name in ("PySide6", "slicer_core") if importlib.util.find_spec(name) is None]
HEAVY = ("torch", "MedSAM2SlicerLib.worker.client", "MedSAM2SlicerLib.controller", "MedSAM2SlicerLib.ui.panel")

# Slicer's start registers the effect, and each Segment Editor that is opened makes one of its own.
START = """
import sys
from standin import application
application.install()
import slicer
editor = slicer.qMRMLSegmentEditorWidget()
assert editor.effectByName("MedSAM-2") is not None
print(*[name for name in sys.modules if name in sys.argv], sep=",")
"""


@pytest.mark.skipif(bool(ABSENT), reason=f"needs {' and '.join(ABSENT)}; make test installs them")
def test_nothing_heavy_is_loaded_before_the_effect_is_used() -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(TESTING.parent), str(TESTING)]),
        "QT_QPA_PLATFORM": "offscreen",
    }
    command = [sys.executable, "-c", START, *HEAVY]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=CEILING, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
