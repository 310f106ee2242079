"""`make pictures`: what a user of Slicer sees, drawn by Slicer's own views without its window, into docs/pictures.

A box and a point for the spleen of the demo's CT, the preview, the propagation, and how sure the model was of each
slice. Controller, MRML bridge and worker are the product's; the box is drawn around TotalSegmentator's mask on the
slice where it is largest, as a reader would by eye. The CT is LIDC-IDRI-0001 (CC BY 3.0), never trained or tuned on.

    .venv-views/bin/python benchmarks/pictures.py --worker .venv/bin/python
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import open_data
from offscreen import Point, SliceShot, Studio
from picture_pages import Pane, confidencePage, panesPage, writePage

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "pictures"
ORGAN = "spleen"
WINDOW, LEVEL = 400.0, 40.0  # HU: abdomen
COLOR = (0.34, 0.71, 0.91)  # of the segment: Okabe and Ito's sky blue, apart from the prompts' colours
SIZE = (500, 410)  # of each view: columns, rows
CAMERA = (-230.0, 290.0, 210.0)  # mm from the organ: left, in front and above
CLOSE, WHOLE = 190.0, 400.0  # mm that a view shows from left to right
_PATIENCE = 300.0  # seconds, for one answer of the worker
Bools = npt.NDArray[np.bool_]


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", default=str(ROOT / ".venv/bin/python"), help="Python with torch, for the model")
    options = parser.parse_args()
    studio = Studio()
    # After the studio, since the product's files translate their texts.
    from MedSAM2SlicerLib.client import WorkerClient
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.transports import SubprocessTransport

    OUT.mkdir(parents=True, exist_ok=True)
    ct, organ = _scan(studio)
    with tempfile.TemporaryDirectory() as folder:
        command = [options.worker, "-m", "medsam2_core.worker"]
        client = WorkerClient(SubprocessTransport, command, Path(folder) / "worker.log")
        controller = Controller(client)
        try:
            controller.failed.connect(_fail)
            controller.finished.connect(print)
            controller.setVolume(ct)
            _draw(studio, controller, client, organ)
        finally:
            controller.close()
            client.stop()


def _draw(studio: Studio, controller: Any, client: Any, organ: Bools) -> None:
    index = int(organ.sum(axis=(1, 2)).argmax())
    views = _views(studio, controller.volumeNode)  # before there is a segment, as in Slicer: it is drawn upon the image
    centre = _prompt(controller, organ, index)
    drawn: list[int] = []
    controller.previewed.connect(drawn.append)
    controller.preview(index)
    _wait(client, lambda: bool(drawn))
    _show(controller)
    panes = _previewPanes(views["red"], controller, centre)
    writePage(panesPage([panes], _previewCaption(index)), OUT / "preview.png")
    controller.propagate()
    _wait(client, lambda: not controller.busy)
    rows = _fourPanes(views, studio, controller, centre)
    writePage(panesPage(rows, _resultCaption(controller)), OUT / "views.png")
    page = confidencePage(controller.slices(), controller.doubtful(), controller.sliceCount())
    writePage(page, OUT / "confidence.png")


def _scan(studio: Studio) -> tuple[Any, Bools]:
    """The CT in an abdominal window, and the organ's mask (k, j, i) of the reference."""
    import slicer.util

    data = open_data.chest_ct()
    ct = studio.load(data.ct, "CT")
    display = ct.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(WINDOW, LEVEL)
    reference = studio.load(data.mask, "Reference", labels=True)
    label = next(label for label, name in data.structures.items() if name == ORGAN)
    organ: Bools = slicer.util.arrayFromVolume(reference) == label
    studio.scene.RemoveNode(reference)
    return ct, organ


def _prompt(controller: Any, organ: Bools, index: int) -> Point:
    """Place a box around the organ on a slice and a point in its middle; returns the box's middle."""
    import vtk

    from MedSAM2SlicerLib.geometry import ijkToWorld

    rows, columns = np.nonzero(organ[index])
    corners = [[columns.min(), rows.min(), index], [columns.max(), rows.max(), index]]
    low, high = ijkToWorld(controller.volumeNode, corners)
    box = controller.promptNode("box")
    box.SetCenterWorld(*(low + high) / 2)
    box.SetSize(*np.maximum(np.abs(high - low), 1.0))
    half = columns > columns.mean()  # the middle itself is where Slicer draws the box's own handle
    middle = int(np.argmin(np.hypot(rows - rows[half].mean(), columns - columns[half].mean())))
    point = ijkToWorld(controller.volumeNode, [[columns[middle], rows[middle], index]])[0]
    controller.promptNode("include").AddControlPointWorld(vtk.vtkVector3d(*point))
    return _point((low + high) / 2)


def _show(controller: Any) -> None:
    """Name and colour the segment, and have its outline brighter than its fill."""
    node = controller.segmentationNode
    segment = node.GetSegmentation().GetSegment(controller.segmentId)
    segment.SetName(ORGAN)
    segment.SetColor(*COLOR)
    display = node.GetDisplayNode()
    display.SetOpacity2DFill(0.3)
    display.SetSliceIntersectionThickness(2)


def _views(studio: Studio, volume: Any) -> dict[str, SliceShot]:
    views = {color: studio.slice(color, SIZE) for color in ("red", "green", "yellow")}
    for view in views.values():
        view.show(volume)
    return views


def _previewPanes(view: SliceShot, controller: Any, centre: Point) -> list[Pane]:
    """The prompted slice whole, and closer."""
    panes = []
    for at, width in ((_middle(controller, centre[2]), WHOLE), (centre, CLOSE)):
        view.look(at, width)
        panes.append(_pane(view, "red"))
    return panes


def _fourPanes(views: dict[str, SliceShot], studio: Studio, controller: Any, centre: Point) -> list[list[Pane]]:
    """Axial, 3D, coronal and sagittal, placed as Slicer places them."""
    panes = {}
    for color, view in views.items():
        view.look(centre, CLOSE)
        panes[color] = _pane(view, color)
    return [[panes["red"], _spacePane(views["red"], studio, controller, centre)], [panes["green"], panes["yellow"]]]


def _spacePane(view: SliceShot, studio: Studio, controller: Any, centre: Point) -> Pane:
    """The segment's surface on the lowest axial slice that it reaches."""
    controller.segmentationNode.CreateClosedSurfaceRepresentation()
    bounds = [0.0] * 6
    controller.segmentationNode.GetRASBounds(bounds)
    view.look(_middle(controller, bounds[4]), WHOLE)
    view.showInSpace()
    space = studio.space(SIZE)
    space.look(centre, CAMERA)
    return Pane(space.image(), "3D", None)


def _pane(view: SliceShot, color: str) -> Pane:
    return Pane(view.image(), color, view.letters())


def _middle(controller: Any, height: float) -> Point:
    """The middle of the axial plane at a height (mm, S)."""
    r, a, _s = controller.sliceCentreRas(controller.sliceCount() // 2)
    return r, a, height


def _previewCaption(index: int) -> str:
    return f"Slice {index}: a box and a point, and at once the mask on this slice"


def _resultCaption(controller: Any) -> str:
    drawn = sum(one.areaMm2 != 0 for one in controller.slices().values())
    return f"After Propagate: {drawn} slices, {controller.volumeMl():.0f} mL, from the prompts on one slice"


def _wait(client: Any, done: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + _PATIENCE
    while not done():
        if time.perf_counter() > deadline:
            raise TimeoutError("the worker did not answer")
        client.pump(0.01)


def _fail(message: str) -> None:
    raise RuntimeError(message)


def _point(values: npt.NDArray[np.float64]) -> Point:
    first, second, third = (float(value) for value in values)
    return first, second, third


if __name__ == "__main__":
    main()
