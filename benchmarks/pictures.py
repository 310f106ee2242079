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
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import open_data
from picture_pages import Pane, panelPage, panesPage, stripPage, writePage

if TYPE_CHECKING:
    from offscreen import Point, SliceShot, Studio

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "pictures"
ORGAN, CORRECTED = "spleen", "liver"
WINDOW, LEVEL = 400.0, 40.0  # HU: abdomen
COLOR = (0.34, 0.71, 0.91)  # of the segment: Okabe and Ito's sky blue, apart from the prompts' colours
SIZE = (500, 410)  # of each view: columns, rows
CAMERA = (-230.0, 290.0, 210.0)  # mm from the organ: left, in front and above
TILT = 30.0  # degrees
CLOSE, BODY, WHOLE = 190.0, 350.0, 400.0  # mm that a view shows from left to right
NEXT = 3  # slices from the painted one to the neighbour that is shown, away from the box
PANEL = 540  # pixels: width
_PATIENCE = 300.0  # seconds, for one answer of the worker
Bools = npt.NDArray[np.bool_]
Wait = Callable[[Callable[[], bool]], None]


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", default=str(ROOT / ".venv/bin/python"), help="Python with torch, for the model")
    parser.add_argument("--panel", action="store_true", help="draw the panel only; for a Python with PySide6")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if options.panel:
        _drawPanel(options.worker)
        return
    _drawViews(options.worker)
    # In a process of its own, with the other Python: that has Qt, this one has the views.
    panel = [options.worker, __file__, "--panel", "--worker", options.worker]
    subprocess.run(panel, env=os.environ | {"QT_QPA_PLATFORM": "offscreen"}, check=True)


# The views


def _drawViews(worker: str) -> None:
    from offscreen import Studio

    studio = Studio()
    # After the studio, since the product's files translate their texts.
    from MedSAM2SlicerLib.client import WorkerClient
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.transports import SubprocessTransport

    ct, organs = _scan()
    with tempfile.TemporaryDirectory() as folder:
        client = WorkerClient(SubprocessTransport, [worker, "-m", "medsam2_core.worker"], Path(folder) / "worker.log")
        controller = Controller(client)
        wait = _waiting(lambda: client.pump(0.01))
        try:
            controller.failed.connect(_fail)
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
    centre = _prompt(controller, organ, wait)
    _show(controller, ORGAN)
    panes = _previewPanes(views["red"], controller, centre)
    index = _largest(organ)
    caption = f"Slice {index}: a box and a point, and at once the mask on this slice"
    writePage(panesPage([panes], caption), OUT / "preview.png")
    _propagate(controller, wait)
    rows = _fourPanes(views, studio, controller, centre)
    writePage(panesPage(rows, _resultCaption(controller)), OUT / "views.png")


def _drawCorrection(view: SliceShot, controller: Any, organ: Bools, wait: Wait) -> None:
    _prompt(controller, organ, wait)
    _show(controller, CORRECTED)
    _propagate(controller, wait)
    worst = _worst(controller, organ)
    near = min(max(worst + NEXT * (1 if worst > _largest(organ) else -1), 0), len(organ) - 1)
    before = _pair(view, controller, {worst: "propagated", near: "propagated"})
    _paint(controller, organ, worst, wait)
    first, last = controller.interval() or (0, controller.sliceCount())
    _propagate(controller, wait)
    after = _pair(view, controller, {worst: "painted", near: "propagated again"})
    caption = f"Slice {worst} is painted, and Propagate {first}–{last - 1} draws the slices around it anew"
    writePage(panesPage([list(row) for row in zip(before, after, strict=True)], caption), OUT / "correction.png")


def _drawOblique(views: dict[str, SliceShot], controller: Any, organ: Bools, wait: Wait) -> None:
    """A box in an axial view that was turned; after propagating, that view and the coronal and sagittal ones."""
    from MedSAM2SlicerLib.geometry import volumeGeometry, volumeToWorld
    from MedSAM2SlicerLib.oblique import viewStack
    from MedSAM2SlicerLib.options import RunOptions

    view, volume = views["red"], controller.volumeNode
    view.tilt(TILT)
    stack = viewStack(volume, view.node)
    controller.setOptions(RunOptions(stack=stack))
    grid = stack.slicing(volumeGeometry(volume)).geometry
    masks = stack.oblique(volumeGeometry(volume)).read_all(organ)
    index = _largest(masks)
    rows, columns = np.nonzero(masks[index])
    corners = [[columns.min(), rows.min(), index], [columns.max(), rows.max(), index]]
    low, high = (_point(corner) for corner in volumeToWorld(volume, grid.ijk_to_ras(corners)))
    drawn: list[int] = []
    controller.previewed.connect(drawn.append)
    controller.addBox(low, high, view.node)
    wait(lambda: bool(drawn))
    _show(controller, CORRECTED)
    centre = _point((np.array(low) + high) / 2)
    view.look(centre, BODY)
    before = _pane(view, "red")
    _propagate(controller, wait)
    for one in views.values():
        one.look(centre, BODY)
    red, green, yellow = (_pane(one, color) for color, one in views.items())
    caption = f"A box in a view turned by {TILT:g} degrees, and the {CORRECTED} after Propagate"
    writePage(panesPage([[before, red], [green, yellow]], caption), OUT / "oblique.png")


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


def _pair(view: SliceShot, controller: Any, names: dict[int, str]) -> list[Pane]:
    """Two slices, by index, with what is to be said of each."""
    panes = []
    for index, name in names.items():
        view.look(_middle(controller, controller.sliceCentreRas(index)[2]), BODY)
        panes.append(Pane(view.image(), "red", view.letters(), f"slice {index}, {name}"))
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


def _resultCaption(controller: Any) -> str:
    drawn = sum(one.areaMm2 != 0 for one in controller.slices().values())
    return f"After Propagate: {drawn} slices, {controller.volumeMl():.0f} mL, from the prompts on one slice"


def _startAnew(controller: Any) -> None:
    import slicer

    controller.removeAllPrompts()
    slicer.mrmlScene.RemoveNode(controller.segmentationNode)


# The panel


def _drawPanel(worker: str) -> None:
    if importlib.util.find_spec("PySide6") is None:
        print("No panel.png and strip.png: they need PySide6, which make test installs.")
        return
    sys.path[:0] = [str(ROOT / "MedSAM2Slicer"), str(ROOT / "MedSAM2Slicer" / "Testing")]
    from standin import application

    application.install()
    import slicer

    ct, organs = _scan()
    editor = _editor(ct, CORRECTED)
    effect = editor.effectByName("MedSAM-2").self()
    services = effect.makeServices()
    services.setWorkerText(worker)
    effect.makeServices = lambda: services
    editor.setActiveEffectByName("MedSAM-2")
    try:
        effect.face.controller.failed.connect(_fail)
        wait = _waiting(lambda: (slicer.app.processEvents(), time.sleep(0.005)))
        clicked, controller = _correct(effect.face, organs[CORRECTED], wait), effect.face.controller
        caption = f"Slice {clicked} was clicked on: the button says what will be drawn anew"
        writePage(panelPage(_panel(effect.face, wait), caption), OUT / "panel.png")
        caption = f"The strip of the {CORRECTED}, slice {clicked} in view, and each state's column"
        writePage(stripPage(controller, clicked, caption), OUT / "strip.png")
    finally:
        effect.cleanup()


def _correct(face: Any, organ: Bools, wait: Wait) -> int:
    """Propagate, paint the worst slice, propagate again, accept, lock and click; returns the slice clicked on."""
    controller = face.controller
    _prompt(controller, organ, wait)
    _propagate(controller, wait)
    start, worst = _largest(organ), _worst(controller, organ)
    _paint(controller, organ, worst, wait)
    _propagate(controller, wait)
    away = -1 if worst > start else 1  # from the box, on the side that was not painted
    drawn = [index for index, one in controller.slices().items() if one.areaMm2 and organ[index].any()]
    end = max(drawn, key=lambda index: away * index)
    accepted, locked, clicked = (start + round(share * (end - start)) for share in (0.25, 0.5, 0.8))
    controller.accept(accepted)
    controller.lock(locked)
    controller.addPoint(_within(controller, organ, clicked))
    wait(lambda: controller.slices()[clicked].state == "prompted")
    face.panel.review.goTo(clicked)
    return clicked


def _editor(ct: Any, name: str) -> Any:
    """A Segment Editor on an empty segment of the CT."""
    import slicer

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    segment = segmentation.GetSegmentation().AddEmptySegment(name, name)
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    editor.setMRMLScene(slicer.mrmlScene)
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(ct)
    editor.setCurrentSegmentID(segment)
    editor.show()
    return editor


def _panel(face: Any, wait: Wait) -> Any:
    """The panel's widget, out of the editor and as wide as a person may have made it."""
    import slicer

    from MedSAM2SlicerLib.ui.text import measuresText

    controller = face.controller
    widget, measured = face.uiWidget, measuresText(CORRECTED, controller.measures(), controller.leastSure())
    wait(lambda: face.ui.measuresLabel.text == measured)  # shown a little later
    widget.setParent(None)
    widget.setFixedWidth(PANEL)
    widget.show()
    for _ in range(3):  # each may give a label another line, and so the panel another height
        slicer.app.processEvents()
        widget.setFixedHeight(widget.layout().totalHeightForWidth(PANEL))
    return widget


# Both


def _scan() -> tuple[Any, dict[str, Bools]]:
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


def _largest(organ: Bools) -> int:
    """The slice where an organ is largest."""
    return int(organ.sum(axis=(1, 2)).argmax())


def _prompt(controller: Any, organ: Bools, wait: Wait) -> Point:
    """Put a box around the organ on its largest slice and a point into it; returns the box's middle."""
    from MedSAM2SlicerLib.geometry import ijkToWorld

    drawn: list[int] = []
    controller.previewed.connect(drawn.append)
    index = _largest(organ)
    rows, columns = np.nonzero(organ[index])
    corners = [[columns.min(), rows.min(), index], [columns.max(), rows.max(), index]]
    low, high = ijkToWorld(controller.volumeNode, corners)
    controller.addBox(_point(low), _point(high))
    wait(lambda: len(drawn) == 1)
    controller.addPoint(_within(controller, organ, index))
    wait(lambda: len(drawn) == 2)
    controller.previewed.disconnect(drawn.append)
    return _point((low + high) / 2)


def _within(controller: Any, organ: Bools, index: int) -> Point:
    """A place in the organ on a slice, beside its middle, where Slicer draws a box's own handle."""
    from MedSAM2SlicerLib.geometry import ijkToWorld

    rows, columns = np.nonzero(organ[index])
    half = columns > columns.mean()
    nearest = int(np.argmin(np.hypot(rows - rows[half].mean(), columns - columns[half].mean())))
    return _point(ijkToWorld(controller.volumeNode, [[columns[nearest], rows[nearest], index]])[0])


def _propagate(controller: Any, wait: Wait) -> None:
    controller.propagate()
    wait(lambda: not controller.busy)


def _mask(controller: Any) -> Bools:
    from MedSAM2SlicerLib.segments import segmentMask

    mask: Bools = segmentMask(controller.segmentationNode, controller.segmentId, controller.volumeNode) > 0
    return mask


def _worst(controller: Any, organ: Bools) -> int:
    """The slice with most wrong pixels."""
    return int((_mask(controller) ^ organ).sum(axis=(1, 2)).argmax())


def _paint(controller: Any, organ: Bools, index: int, wait: Wait) -> None:
    """Make a slice what the organ is there, as Slicer's own tools would; the controller notices by itself."""
    import slicer.util

    mask = _mask(controller).astype(np.uint8)
    mask[index] = organ[index]
    node, segment = controller.segmentationNode, controller.segmentId
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, controller.volumeNode)
    wait(lambda: controller.tick() or controller.slices()[index].state == "edited")


def _show(controller: Any, name: str) -> None:
    """Name and colour the segment, and have its outline brighter than its fill."""
    node = controller.segmentationNode
    segment = node.GetSegmentation().GetSegment(controller.segmentId)
    segment.SetName(name)
    segment.SetColor(*COLOR)
    display = node.GetDisplayNode()
    display.SetOpacity2DFill(0.3)
    display.SetSliceIntersectionThickness(2)


def _waiting(work: Callable[[], object]) -> Wait:
    """Return what waits until something is so, and works meanwhile."""

    def wait(done: Callable[[], bool]) -> None:
        deadline = time.perf_counter() + _PATIENCE
        while not done():
            if time.perf_counter() > deadline:
                raise TimeoutError("the worker did not answer")
            work()

    return wait


def _fail(message: str) -> None:
    raise RuntimeError(message)


def _point(values: npt.NDArray[np.float64]) -> Point:
    first, second, third = (float(value) for value in values)
    return first, second, third


if __name__ == "__main__":
    main()
