"""Draws a small scene in Slicer's views and prints, as JSON, what each step changed. Runs in .venv-views."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import vtk

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from offscreen import Image, SliceShot, Studio

SIZE = (240, 240)
SPACING = (1.5, 1.0, 2.0)  # mm, along i, j, k
SHAPE = (24, 64, 48)  # k, j, i
MASK = (slice(8, 16), slice(40, 52), slice(8, 20))  # not in the middle of any axis, so that a flip shows
INCLUDE, EXCLUDE = (32, 12, 12), (40, 30, 12)  # i, j, k; outside the mask


def main() -> None:
    """Draw and print."""
    studio = Studio()
    from MedSAM2SlicerLib.prompts.promptnodes import PromptNodes
    from MedSAM2SlicerLib.scene.geometry import ijkToWorld
    from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation

    volume = _volume(studio)
    middle = tuple(ijkToWorld(volume, [[_middle(part) for part in reversed(MASK)]])[0])
    views = {color: studio.slice(color, SIZE) for color in ("red", "green", "yellow")}
    for view in views.values():
        view.show(volume)
        view.look(middle, 90.0, ruler=False)
    before = _images(views)
    node, segment = ensureSegmentation(volume)
    writer = SegmentWriter(node, segment, volume)
    writer.begin()
    mask = np.zeros(SHAPE, bool)
    mask[MASK] = True
    writer.writeSlices(dict(enumerate(mask)), axis=0)
    writer.end()
    masked = _images(views)
    corners = ijkToWorld(volume, _corners())
    result: dict[str, Any] = {
        "letters": {color: list(view.letters()) for color, view in views.items()},
        "mask": {c: _frame(before[c], masked[c]) for c in views},
        "expected": {c: _expected(view, corners) for c, view in views.items()},
    }
    prompts = PromptNodes(node, segment)
    for kind, ijk in (("include", INCLUDE), ("exclude", EXCLUDE)):
        ras = tuple(ijkToWorld(volume, [ijk])[0])
        prompts.nodeToPlace(kind).AddControlPointWorld(vtk.vtkVector3d(*ras))
        drawn = _images(views)["red"]
        frame, color = _frame(masked["red"], drawn), _color(masked["red"], drawn)
        result[kind] = {"frame": frame, "at": views["red"].pixel(ras), "color": color}
        masked["red"] = drawn
    sys.stdout.write("\n" + json.dumps(result) + "\n")


def _volume(studio: Studio) -> Any:
    """A gray volume whose i and j run from left to right and from front to back, as CTs are stored."""
    import slicer

    volume = studio.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(volume, np.full(SHAPE, 50, np.int16))
    i, j, k = SPACING
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.diag([-i, -j, k, 1.0])))
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(200, 50)
    return volume


def _middle(part: slice) -> int:
    return (part.start + part.stop) // 2


def _corners() -> list[list[float]]:
    """Two opposite corners of the mask's voxels, as (i, j, k)."""
    i, j, k = reversed(MASK)
    return [[part.start - 0.5 for part in (i, j, k)], [part.stop - 0.5 for part in (i, j, k)]]


def _images(views: dict[str, SliceShot]) -> dict[str, Image]:
    return {color: view.image() for color, view in views.items()}


def _changed(before: Image, after: Image) -> Any:
    return np.abs(before.astype(int) - after).max(axis=2) > 20


def _frame(before: Image, after: Image) -> list[int]:
    """First and last row and column that differ, and how many pixels do."""
    rows, columns = np.nonzero(_changed(before, after))
    if not len(rows):
        return []
    return [int(value) for value in (rows.min(), rows.max(), columns.min(), columns.max(), len(rows))]


def _color(before: Image, after: Image) -> list[float]:
    return [float(value) for value in np.median(after[_changed(before, after)], axis=0)]


def _expected(view: SliceShot, corners: Any) -> list[int]:
    rows, columns = zip(*(view.pixel(tuple(corner)) for corner in corners), strict=True)
    return [min(rows), max(rows), min(columns), max(columns)]


if __name__ == "__main__":
    main()
