"""`make pictures`: what a user of Slicer sees, drawn without Slicer's window, into docs/pictures.

Slicer's own views draw a box and a point for the spleen of the demo's CT, the preview and the propagation, and a
correction of the liver. The effect's panel is drawn by Qt, around Slicer's widgets as Testing/standin has them.
Controller, MRML bridge and worker are the product's. Boxes are drawn around TotalSegmentator's mask on the slice where
it is largest, and the liver's worst slice is painted with it, as a reader would by eye. The CT is LIDC-IDRI-0001 (CC BY
3.0), never trained or tuned on.

    .venv-views/bin/python benchmarks/pictures.py --worker .venv/bin/python
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from picture_pages import Pane, panesPage, writePage
from picture_user import (
    CORRECTED,
    ORGAN,
    OUT,
    Bools,
    Point,
    Wait,
    fail,
    largest,
    paint,
    point,
    prompt,
    propagate,
    scan,
    show,
    waiting,
    worst_slice,
)

if TYPE_CHECKING:
    from offscreen import SliceShot, Studio

ROOT = Path(__file__).resolve().parents[1]
SIZE = (500, 410)  # of each view: columns, rows
CAMERA = (-230.0, 290.0, 210.0)  # mm from the organ: left, in front and above
TILT = 30.0  # degrees
CLOSE, BODY, WHOLE = 190.0, 350.0, 400.0  # mm that a view shows from left to right
NEXT = 3  # slices from the painted one to the neighbor that is shown, away from the box


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", default=str(ROOT / ".venv/bin/python"), help="Python with torch, for the model")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    _drawViews(options.worker)
    # In a process of its own, with the other Python: that has Qt, this one has the views.
    panel = [options.worker, str(Path(__file__).with_name("picture_panel.py"))]
    subprocess.run(panel, env=os.environ | {"QT_QPA_PLATFORM": "offscreen"}, check=True)


def _drawViews(worker: str) -> None:
    from offscreen import Studio

    studio = Studio()
    # After the studio, since the product's files translate their texts.
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.worker.client import WorkerClient
    from MedSAM2SlicerLib.worker.transports import SubprocessTransport

    ct, organs = scan()
    with tempfile.TemporaryDirectory() as folder:
        client = WorkerClient(SubprocessTransport, [worker, "-m", "medsam2_core.worker"], Path(folder) / "worker.log")
        controller = Controller(client)
        wait = waiting(lambda: client.pump(0.01))
        try:
            controller.failed.connect(fail)
            controller.finished.connect(print)
            controller.setVolume(ct)
            views = _views(studio, ct)  # before there is a segment, as in Slicer: it is drawn upon the image
            _drawResult(studio, views, controller, organs[ORGAN], wait)
            _startAnew(controller)
            _drawCorrection(views["red"], controller, organs[CORRECTED], wait)
            _startAnew(controller)
            _drawOblique(views, controller, organs[CORRECTED], wait)
        finally:
            controller.close()
            client.stop()


def _drawResult(studio: Studio, views: dict[str, SliceShot], controller: Any, organ: Bools, wait: Wait) -> None:
    center = prompt(controller, organ, wait)
    show(controller, ORGAN)
    panes = _previewPanes(views["red"], controller, center)
    index = largest(organ)
    caption = f"Slice {index}: a box and a point, and at once the mask on this slice"
    writePage(panesPage([panes], caption), OUT / "preview.png")
    propagate(controller, wait)
    rows = _fourPanes(views, studio, controller, center)
    writePage(panesPage(rows, _resultCaption(controller)), OUT / "views.png")


def _drawCorrection(view: SliceShot, controller: Any, organ: Bools, wait: Wait) -> None:
    prompt(controller, organ, wait)
    show(controller, CORRECTED)
    propagate(controller, wait)
    worst = worst_slice(controller, organ)
    near = min(max(worst + NEXT * (1 if worst > largest(organ) else -1), 0), len(organ) - 1)
    before = _pair(view, controller, {worst: "propagated", near: "propagated"})
    paint(controller, organ, worst, wait)
    ((first, last),) = controller.review.intervals() or [(0, controller.review.sliceCount())]
    propagate(controller, wait)
    after = _pair(view, controller, {worst: "painted", near: "propagated again"})
    caption = f"Slice {worst} is painted, and Propagate {first}–{last - 1} redraws the slices around it"
    writePage(panesPage([list(row) for row in zip(before, after, strict=True)], caption), OUT / "correction.png")


def _drawOblique(views: dict[str, SliceShot], controller: Any, organ: Bools, wait: Wait) -> None:
    """A box in an axial view that was turned; after propagating, that view and the coronal and sagittal ones."""
    from MedSAM2SlicerLib.options import RunOptions
    from MedSAM2SlicerLib.scene.geometry import volumeGeometry, volumeToWorld
    from MedSAM2SlicerLib.scene.oblique import viewStack

    view, volume = views["red"], controller.volumeNode
    view.tilt(TILT)
    stack = viewStack(volume, view.node)
    controller.setOptions(RunOptions(stack=stack))
    grid = stack.slicing(volumeGeometry(volume)).geometry
    masks = stack.oblique(volumeGeometry(volume)).read_all(organ)
    index = largest(masks)
    rows, columns = np.nonzero(masks[index])
    corners = [[columns.min(), rows.min(), index], [columns.max(), rows.max(), index]]
    low, high = (point(corner) for corner in volumeToWorld(volume, grid.ijk_to_ras(corners)))
    drawn: list[int] = []
    controller.previewed.connect(drawn.append)
    controller.prompting.addBox(low, high, view.node)
    wait(lambda: bool(drawn))
    show(controller, CORRECTED)
    center = point((np.array(low) + high) / 2)
    view.look(center, BODY)
    before = _pane(view, "red")
    propagate(controller, wait)
    for one in views.values():
        one.look(center, BODY)
    red, green, yellow = (_pane(one, color) for color, one in views.items())
    caption = f"A box in a view turned by {TILT:g} degrees, and the {CORRECTED} after Propagate"
    writePage(panesPage([[before, red], [green, yellow]], caption), OUT / "oblique.png")


def _views(studio: Studio, volume: Any) -> dict[str, SliceShot]:
    views = {color: studio.slice(color, SIZE) for color in ("red", "green", "yellow")}
    for view in views.values():
        view.show(volume)
    return views


def _previewPanes(view: SliceShot, controller: Any, center: Point) -> list[Pane]:
    """The prompted slice whole, and closer."""
    panes = []
    for at, width in ((_middle(controller, center[2]), WHOLE), (center, CLOSE)):
        view.look(at, width)
        panes.append(_pane(view, "red"))
    return panes


def _pair(view: SliceShot, controller: Any, names: dict[int, str]) -> list[Pane]:
    """Two slices, by index, with what is to be said of each."""
    panes = []
    for index, name in names.items():
        view.look(_middle(controller, controller.review.sliceCenterRas(index)[2]), BODY)
        panes.append(Pane(view.image(), "red", view.letters(), f"slice {index}, {name}"))
    return panes


def _fourPanes(views: dict[str, SliceShot], studio: Studio, controller: Any, center: Point) -> list[list[Pane]]:
    """Axial, 3D, coronal and sagittal, placed as Slicer places them."""
    panes = {}
    for color, view in views.items():
        view.look(center, CLOSE)
        panes[color] = _pane(view, color)
    return [[panes["red"], _spacePane(views["red"], studio, controller, center)], [panes["green"], panes["yellow"]]]


def _spacePane(view: SliceShot, studio: Studio, controller: Any, center: Point) -> Pane:
    """The segment's surface on the lowest axial slice that it reaches."""
    controller.segmentationNode.CreateClosedSurfaceRepresentation()
    bounds = [0.0] * 6
    controller.segmentationNode.GetRASBounds(bounds)
    view.look(_middle(controller, bounds[4]), WHOLE)
    view.showInSpace()
    space = studio.space(SIZE)
    space.look(center, CAMERA)
    return Pane(space.image(), "3D", None)


def _pane(view: SliceShot, color: str) -> Pane:
    return Pane(view.image(), color, view.letters())


def _middle(controller: Any, height: float) -> Point:
    """The middle of the axial plane at a height (mm, S)."""
    r, a, _s = controller.review.sliceCenterRas(controller.review.sliceCount() // 2)
    return r, a, height


def _resultCaption(controller: Any) -> str:
    drawn = sum(one.areaMm2 != 0 for one in controller.review.slices().values())
    volume = controller.review.measures().volumeMl
    return f"After Propagate: {drawn} slices, {volume:.0f} mL, from the prompts on one slice"


def _startAnew(controller: Any) -> None:
    import slicer

    controller.prompting.removeAllPrompts()
    slicer.mrmlScene.RemoveNode(controller.segmentationNode)


if __name__ == "__main__":
    main()
