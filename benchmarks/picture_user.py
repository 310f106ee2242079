"""A user at work on the demo's CT, for the pictures: boxes, points and paint where the organs of the reference lie."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import open_data

OUT = Path(__file__).resolve().parents[1] / "docs" / "pictures"
ORGAN, CORRECTED = "spleen", "liver"
WINDOW, LEVEL = 400.0, 40.0  # HU: abdomen
COLOR = (0.34, 0.71, 0.91)  # of the segment: Okabe and Ito's sky blue, apart from the prompts' colors
_PATIENCE = 300.0  # seconds, for one answer of the worker
Bools = npt.NDArray[np.bool_]
Point = tuple[float, float, float]
Wait = Callable[[Callable[[], bool]], None]


def scan() -> tuple[Any, dict[str, Bools]]:
    """The CT in an abdominal window, and the organs' masks (k, j, i) of the reference."""
    import slicer
    import slicer.util

    data = open_data.chest_ct()
    load = slicer.modules.volumes.logic().AddArchetypeVolume
    ct = load(str(data.ct), "CT", 0)
    display = ct.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(WINDOW, LEVEL)
    reference = load(str(data.mask), "Reference", 1)
    labels = slicer.util.arrayFromVolume(reference)
    organs = {name: labels == label for label, name in data.structures.items() if name in (ORGAN, CORRECTED)}
    slicer.mrmlScene.RemoveNode(reference)
    return ct, organs


def largest(organ: Bools) -> int:
    """The slice where an organ is largest."""
    return int(organ.sum(axis=(1, 2)).argmax())


def prompt(controller: Any, organ: Bools, wait: Wait) -> Point:
    """Put a box around the organ on its largest slice and a point into it; returns the box's middle."""
    from MedSAM2SlicerLib.scene.geometry import ijkToWorld

    drawn: list[int] = []
    controller.previewed.connect(drawn.append)
    index = largest(organ)
    rows, columns = np.nonzero(organ[index])
    corners = [[columns.min(), rows.min(), index], [columns.max(), rows.max(), index]]
    low, high = ijkToWorld(controller.volumeNode, corners)
    controller.prompting.addBox(point(low), point(high))
    wait(lambda: len(drawn) == 1)
    controller.prompting.addPoint(within(controller, organ, index))
    wait(lambda: len(drawn) == 2)
    controller.previewed.disconnect(drawn.append)
    return point((low + high) / 2)


def within(controller: Any, organ: Bools, index: int) -> Point:
    """A place in the organ on a slice, beside its middle, where Slicer draws a box's own handle."""
    from MedSAM2SlicerLib.scene.geometry import ijkToWorld

    rows, columns = np.nonzero(organ[index])
    half = columns > columns.mean()
    nearest = int(np.argmin(np.hypot(rows - rows[half].mean(), columns - columns[half].mean())))
    return point(ijkToWorld(controller.volumeNode, [[columns[nearest], rows[nearest], index]])[0])


def propagate(controller: Any, wait: Wait) -> None:
    controller.propagate()
    wait(lambda: not controller.busy)


def drawn(controller: Any) -> Bools:
    from MedSAM2SlicerLib.scene.segments import segmentMask

    mask: Bools = segmentMask(controller.segmentationNode, controller.segmentId, controller.volumeNode) > 0
    return mask


def worst_slice(controller: Any, organ: Bools) -> int:
    """The slice with most wrong pixels."""
    return int((drawn(controller) ^ organ).sum(axis=(1, 2)).argmax())


def paint(controller: Any, organ: Bools, index: int, wait: Wait) -> None:
    """Make a slice what the organ is there, as Slicer's own tools would; the controller notices by itself."""
    import slicer.util

    mask = drawn(controller).astype(np.uint8)
    mask[index] = organ[index]
    node, segment = controller.segmentationNode, controller.segmentId
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, controller.volumeNode)
    wait(lambda: controller.tick() or controller.review.slices()[index].state == "edited")


def show(controller: Any, name: str) -> None:
    """Name and color the segment, and have its outline brighter than its fill."""
    node = controller.segmentationNode
    segment = node.GetSegmentation().GetSegment(controller.segmentId)
    segment.SetName(name)
    segment.SetColor(*COLOR)
    display = node.GetDisplayNode()
    display.SetOpacity2DFill(0.3)
    display.SetSliceIntersectionThickness(2)


def waiting(work: Callable[[], object]) -> Wait:
    """Return what waits until something is so, and works meanwhile."""

    def wait(done: Callable[[], bool]) -> None:
        deadline = time.perf_counter() + _PATIENCE
        while not done():
            if time.perf_counter() > deadline:
                raise TimeoutError("the worker did not answer")
            work()

    return wait


def fail(message: str) -> None:
    raise RuntimeError(message)


def point(values: npt.NDArray[np.float64]) -> Point:
    first, second, third = (float(value) for value in values)
    return first, second, third
