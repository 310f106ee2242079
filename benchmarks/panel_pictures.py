"""What programs begin with that show Slicer's panels without Slicer: Testing/standin in its place."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

from picture_user import Wait, waiting

MODULE = Path(__file__).resolve().parents[1] / "MedSAM2Slicer"


def stand_in() -> None:
    """Let `import slicer` and `import qt` find the stand-in; before either is imported."""
    sys.path[:0] = [str(MODULE), str(MODULE / "Testing"), str(MODULE / "Testing" / "support")]
    from standin import application

    application.install()


def chosen_worker(about: str, pictures: str) -> str | None:
    """The Python with torch that the command line names; None, and why is printed, where Qt is missing."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", default=sys.executable, help="Python with torch, for the model")
    worker: str = parser.parse_args().worker
    if importlib.util.find_spec("PySide6") is None:
        print(f"No {pictures}: it takes PySide6, which make test installs.")
        return None
    return worker


def waiting_for_qt() -> Wait:
    """What waits until something is so while Qt and the worker go on."""
    import slicer

    return waiting(lambda: (slicer.app.processEvents(), time.sleep(0.005)))
