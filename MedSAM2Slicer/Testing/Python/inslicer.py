"""What `make slicer-test` runs within Slicer: self tests by name, or the tutorial. What to do is in a JSON file.

Its path is in the environment variable MEDSAM2_SLICER_TEST: how Slicer hands arguments to scripts differs by version.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import unittest
from pathlib import Path
from typing import Any

ORDER: dict[str, Any] = json.loads(Path(os.environ["MEDSAM2_SLICER_TEST"]).read_text(encoding="utf-8"))
TESTING = Path(ORDER["testing"])
sys.path[:0] = [str(TESTING.parent), str(TESTING / "support"), str(TESTING / "Python")]

import qt  # noqa: E402 (the folders come first)
import slicer  # noqa: E402
import slicer.util  # noqa: E402


def tests(names: list[str]) -> dict[str, Any]:
    """Run self tests; what became of each."""
    from outcomes import Result

    suite = unittest.TestLoader().loadTestsFromNames(names)
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result, stream=sys.stdout).run(suite)
    return {"outcomes": result.outcomes}


def tutorial(ct: str, places: dict[str, Any], folder: str) -> dict[str, Any]:
    """Do the tutorial; the steps with their times, and the error that ended it."""
    from medsam2selftest import FaultLog
    from tutorial import Places, Tutorial

    faults = FaultLog(logging.WARNING)
    logging.getLogger().addHandler(faults)
    slicer.util.mainWindow().resize(*ORDER["size"])
    run, error = Tutorial(slicer.util.loadVolume(ct), Places(**places), Path(folder)), ""
    try:
        run.run()
    except Exception:  # noqa: BLE001 (the outermost edge: Slicer must be closed, and the report written)
        error = traceback.format_exc()
    logging.getLogger().removeHandler(faults)
    return {"steps": [one.asDict() for one in run.steps], "error": error, "faults": faults.texts}


def main() -> None:
    """Do what was asked, write the results, and leave Slicer."""
    from MedSAM2SlicerLib.ui.services import LIVE, WORKER_COMMAND

    asked = {key: ORDER[key] for key in ("names", "ct", "places", "folder") if key in ORDER}
    settings = qt.QSettings()
    before = {name: settings.value(name, "") for name in (WORKER_COMMAND, LIVE)}
    settings.setValue(WORKER_COMMAND, ORDER["python"])
    settings.setValue(LIVE, "off")  # what is propagated, and when, is the tutorial's to say
    try:
        results = (tests if "names" in ORDER else tutorial)(**asked)
    finally:  # they are the user's own
        for name, value in before.items():
            settings.setValue(name, value)
    Path(ORDER["results"]).write_text(json.dumps(results, indent=1), encoding="utf-8")
    slicer.util.exit(0)


main()
