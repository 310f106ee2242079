"""`make slicer-test SLICER=/path/to/Slicer`: the self tests and the README's tutorial in a real Slicer.

Each file of self tests runs in a Slicer of its own, so that one which ends it fails alone; then the tutorial, by mouse,
with a picture of the window after each step. Fails on a failed test or step, on an error or warning of MedSAM2Slicer in
Slicer's log, and when Slicer ends by itself. Where there is no display, on Linux, Xvfb gives one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

import open_data

ROOT = Path(__file__).resolve().parents[1]
TESTING = ROOT / "MedSAM2Slicer" / "Testing"
sys.path.append(str(TESTING / "support"))

from gaps import Timed, table  # noqa: E402 (from a folder just added)

from medsam2_core.io import Volume, read_labelmap, read_volume  # noqa: E402
from medsam2_core.training.policies import largest_slice, tight_box  # noqa: E402

SIZE = (1920, 1080)
SECONDS = 1800  # for one Slicer: a self test's file takes about a minute, the tutorial two
OURS = re.compile(r"MedSAM2|medsam2")
ORGANS = ("liver", "spleen", "kidney_right")


class Slicer:
    """Starts the program, with an order for Testing/Python/inslicer.py, and returns what that wrote."""

    def __init__(self, program: str, out: Path) -> None:
        self._program, self._out = program, out

    def run(self, name: str, order: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the results, empty if there are none, and what is wrong with the log."""
        results, orders = self._out / f"{name}.json", self._out / f"{name}-order.json"
        results.unlink(missing_ok=True)
        base = {"testing": str(TESTING), "results": str(results), "python": sys.executable, "size": SIZE}
        orders.write_text(json.dumps(base | order), encoding="utf-8")
        log = self._out / f"{name}.log"
        code = self._start(os.environ | {"MEDSAM2_SLICER_TEST": str(orders)}, log)
        found = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
        wrong = list(problems(log.read_text(encoding="utf-8", errors="replace")))
        if code or not found:
            wrong.insert(0, f"Slicer ended with code {code}{'' if found else ' before its results'}; see {log}")
        return found, wrong

    def _start(self, environment: dict[str, str], log: Path) -> int:
        """Run the program to its end; returns its exit code, -1 if it took too long."""
        script = TESTING / "Python" / "inslicer.py"
        options = ["--testing", "--no-splash", "--additional-module-paths", str(TESTING.parent)]
        command = [*_display(), *self._program.split(), *options, "--python-script", str(script)]
        with log.open("wb") as stream:
            # In a session of its own, since Slicer's launcher, and xvfb-run, would leave Slicer behind.
            running = subprocess.Popen(
                command, env=environment, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                return running.wait(SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL) if hasattr(os, "killpg") else running.kill()
                return -1


def _display() -> list[str]:
    """What gives the program a screen, where there is none."""
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM"):
        return []
    if shutil.which("xvfb-run") is None:
        raise SystemExit("There is no display: install Xvfb (package xvfb), or start this where there is one.")
    return ["xvfb-run", "-a", "-s", f"-screen 0 {SIZE[0]}x{SIZE[1]}x24"]


def problems(log: str) -> Iterator[str]:
    """Errors of Python, and warnings of MedSAM2Slicer, in what Slicer wrote."""
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("Traceback (most recent call last)"):
            last = next((one for one in lines[number + 1 :] if one and not one.startswith(" ")), "")
            yield f"log line {number + 1}: {last or line}"
        elif OURS.search(line) and re.search(r"\b(\w*Warning|WARNING|ERROR|CRITICAL)\b", line):
            yield f"log line {number + 1}: {line.strip()}"


def self_tests(slicer: Slicer, names: Sequence[str]) -> Iterator[str]:
    """Run each file of self tests; yields what is wrong."""
    for name in names:
        found, wrong = slicer.run(name, {"names": [name]})
        outcomes = found.get("outcomes", {})
        counts = [one["outcome"] for one in outcomes.values()]
        print(f"{name}: " + ", ".join(f"{counts.count(kind)} {kind}" for kind in ("passed", "failed", "skipped")))
        yield from (f"{name}: {one}" for one in wrong)
        for test, outcome in outcomes.items():
            if outcome["outcome"] == "failed":
                yield f"{test} failed:\n{outcome['text']}"


def tutorial(slicer: Slicer, ct: Path, places: dict[str, Any], out: Path) -> Iterator[str]:
    """Do the tutorial; yields what is wrong."""
    found, wrong = slicer.run("tutorial", {"ct": str(ct), "places": places, "folder": str(out / "tutorial")})
    print(table([Timed(**one) for one in found.get("steps", [])]))
    print(f"Pictures: {out / 'tutorial'}")
    yield from (f"tutorial: {one}" for one in [*wrong, *found.get("faults", [])])
    if found.get("error"):
        yield f"tutorial: {found['error']}"


def given_places(ct: Path, file: Path | None) -> tuple[Path, dict[str, Any]]:
    """Another CT, with its places in a JSON file, or else around its middle."""
    return (ct, json.loads(file.read_text(encoding="utf-8"))) if file else middle_places(ct)


def demo_places() -> tuple[Path, dict[str, Any]]:
    """The demo's CT, and where its liver, spleen and right kidney are."""
    data = open_data.chest_ct()
    ct = read_volume(data.ct)
    labels = read_labelmap(data.mask, ct.geometry)
    numbers = {name: label for label, name in data.structures.items()}
    return data.ct, places(ct, [labels == numbers[name] for name in ORGANS]) | {"names": ORGANS}


def middle_places(path: Path) -> tuple[Path, dict[str, Any]]:
    """A CT of which nothing is known."""
    ct = read_volume(path)
    masks = []
    for shift in (0.5, 0.35, 0.65):
        mask = np.zeros(ct.array.shape, bool)
        k, j, i = (round(size * at) for size, at in zip(mask.shape, (0.5, 0.5, shift), strict=True))
        mask[k - 2 : k + 3, j - 20 : j + 20, i - 20 : i + 20] = True
        masks.append(mask)
    return path, places(ct, masks)


def places(ct: Volume, masks: Sequence[np.ndarray]) -> dict[str, Any]:
    """Where to click, for the tutorial's `Places`: RAS, of three masks (k, j, i) with axial slices along k."""

    def ras(*ijk: float) -> list[float]:
        return [float(one) for one in ct.geometry.ijk_to_ras([ijk])[0]]

    def inside(mask: np.ndarray, k: int) -> list[float]:
        """Of the marked pixels of a slice that lie deep in the object, the one farthest from the handle of its box."""
        depth = distance_transform_edt(mask[k])
        rows, columns = np.nonzero(depth >= depth.max() / 2)
        middle = [(one.min() + one.max()) / 2 for one in np.nonzero(mask[k])]
        farthest = int(np.hypot(rows - middle[0], columns - middle[1]).argmax())
        return ras(columns[farthest], rows[farthest], k)

    largest = [largest_slice(mask) for mask in masks]
    x0, y0, x1, y1 = tight_box(masks[0][largest[0]])
    box = ras(x0, y0, largest[0]), ras(x1, y1, largest[0])
    one, other, third = (inside(mask, k) for mask, k in zip(masks, largest, strict=True))
    return {"box": box, "inside": one, "coronal": other, "oblique": third}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slicer", required=True, help="the program, with options of its own if there are any")
    parser.add_argument("--ct", type=Path, help="a CT for the tutorial; the demo's if none is given")
    parser.add_argument("--places", type=Path, help="JSON with box, inside, coronal and oblique there, RAS in mm")
    parser.add_argument("--out", type=Path, default=ROOT / "slicer-test", help="folder for logs and pictures")
    parser.add_argument("--only", nargs="+", default=[], help="self tests as unittest names them, or: tutorial")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] (messages of Slicer's hold dashes)
    options.out.mkdir(parents=True, exist_ok=True)
    slicer = Slicer(options.slicer, options.out)
    names = [path.stem for path in sorted((TESTING / "Python").glob("test_*.py"))]
    wrong = list(self_tests(slicer, [one for one in options.only or names if one != "tutorial"]))
    if not options.only or "tutorial" in options.only:
        ct, where = given_places(options.ct, options.places) if options.ct else demo_places()
        wrong += tutorial(slicer, ct, where, options.out)
    print("\n".join(wrong or ["All is well."]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
