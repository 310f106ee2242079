"""`python -m standin.slicer_program --python-script SCRIPT`: the stand-in where a Slicer program is asked for.

It takes Slicer's other options and does nothing with them.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback

from standin import application


def main(arguments: list[str]) -> int:
    """Run the script; the exit code is what it left with, or 1 after an error, as in Slicer's testing mode."""
    application.install()
    import slicer

    try:
        runpy.run_path(arguments[arguments.index("--python-script") + 1], run_name="__main__")
    except Exception:  # noqa: BLE001 (Slicer says so and goes on)
        traceback.print_exc()
        return 1
    return int(slicer.app.exitCode)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
