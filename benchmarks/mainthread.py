"""How long the interface stands while the model works: gaps of a 5 ms timer in Qt's event loop.

A Segment Editor with the effect, under Testing/standin, with the real worker and the starter: on the demo's CT
(512 x 512 x 133; evaluation only) the liver, and on a synthetic volume of 512 x 512 x 600 an ellipsoid. What Slicer's
views take to draw is not in it. A gap is the time from one tick to the next; "processor" is the longest time that this
thread itself computed between two ticks, which other programs do not add to.

    make mainthread
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from panel_pictures import stand_in

LIVER = "liver"
SHAPE = (600, 512, 512)  # k, j, i
RADII = (150, 90, 110)  # voxels, of the ellipsoid
TILT = 25.0  # degrees, of the oblique view
STOP_AFTER = 20  # slices drawn
LIVE_AFTER = 5  # of Live's propagation, when the next click comes
HEAD = "| what | seconds | ticks on time | longest gap | processor |\n|---|---|---|---|---|"

Corners = tuple[list[float], list[float]]


class Ticks:
    """A timer of Qt's, and how long the thread stood between its ticks: by the clock, and by its own processor time."""

    def __init__(self) -> None:
        from gaps import INTERVAL, Gaps
        from PySide6 import QtCore

        self._gaps, self._computed = Gaps(), Gaps(time.thread_time)
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.setInterval(INTERVAL)
        for gaps in (self._gaps, self._computed):
            self._timer.timeout.connect(gaps.tick)

    @contextmanager
    def table_row(self, what: str) -> Iterator[None]:
        """Print a line about what happens inside."""
        self._gaps.start()
        self._computed.start()
        self._timer.start()
        yield
        self._timer.stop()
        step, computed = self._gaps.stop(what, ""), self._computed.stop(what, "")
        row = f"| {what} | {step.seconds:.1f} | {step.onTime:.1%} | {step.worst:.0f} ms | {computed.worst:.0f} ms |"
        print(row, flush=True)


class Bench:
    """A Segment Editor with the effect on a volume, and what a user does there, measured."""

    def __init__(self, ticks: Ticks, volume: Any, name: str) -> None:
        from picture_panel import new_editor

        self._ticks, self._name, self._volume = ticks, name, volume
        self._editor = new_editor(volume, name)
        self._editor.setActiveEffectByName("MedSAM-2")
        self._effect = self._editor.effectByName("MedSAM-2").self()
        self.controller = self._effect.face.controller
        self._failures: list[str] = []
        self.controller.failed.connect(self._failures.append)

    def first_prompt(self, corners: Corners) -> None:
        drawn: list[int] = []
        self.controller.previewed.connect(drawn.append)
        with self._row("first prompt"):
            self.controller.prompting.addBox(*corners)
            self._until(lambda: drawn)
        self.controller.previewed.disconnect(drawn.append)

    def first_click(self, point: list[float], view: Any) -> None:
        """As the effect does it: the point is set, the panel turns to the view, and the slice is drawn."""
        import vtk

        drawn: list[int] = []
        self.controller.previewed.connect(drawn.append)
        with self._row("first click in an oblique view"):
            self.controller.prompting.promptNode("include").AddControlPointWorld(vtk.vtkVector3d(*point))
            self._effect.face.panel._onFirstPlaced(view)
            self.controller.prompting.preview(self.controller.review.prompts()[0].sliceIndex)
            self._until(lambda: drawn)
        self.controller.previewed.disconnect(drawn.append)
        if self.controller.review.stack.plane is None:
            raise RuntimeError("The slices were not those of the oblique view.")

    def propagate(self) -> None:
        with self._row("propagation to its end"):
            self.controller.propagate()
            self._until(lambda: not self.controller.busy)

    def propagate_and_stop(self) -> None:
        drawn: list[int] = []

        def count(index: int) -> None:
            drawn.append(index)
            if len(drawn) == STOP_AFTER:
                self.controller.stop()

        self.controller.sliceDrawn.connect(count)
        with self._row(f"propagation stopped after {STOP_AFTER} slices"):
            self.controller.propagate()
            self._until(lambda: not self.controller.busy)
        self.controller.sliceDrawn.disconnect(count)

    def live(self, point: list[float]) -> None:
        """A click, another one while its propagation runs, and what comes of both."""
        controller, drawn, done = self.controller, list[int](), list[str]()
        controller.sliceDrawn.connect(drawn.append)
        controller.finished.connect(done.append)
        with self._row("Live, two clicks to the end"):
            controller.live.turn(True)
            controller.prompting.addPoint(point)
            self._until(lambda: len(drawn) >= LIVE_AFTER)
            controller.prompting.addPoint([point[0] + 5, *point[1:]])
            self._until(lambda: done)
        controller.live.turn(False)
        controller.sliceDrawn.disconnect(drawn.append)
        controller.finished.disconnect(done.append)

    def replay(self) -> None:
        import slicer

        from MedSAM2SlicerLib.record.runrecord import loadRun

        record = loadRun(self.controller.segmentationNode, self.controller.segmentId)
        with self._row("replay"):
            again = slicer.util.getModuleLogic("MedSAM2Slicer").replay(self._volume, record.report)
        slicer.mrmlScene.RemoveNode(again)

    def close(self) -> None:
        self._effect.cleanup()
        self._editor.hide()

    def _row(self, what: str) -> Any:
        return self._ticks.table_row(f"{self._name}: {what}")

    def _until(self, done: Callable[[], Any]) -> None:
        """Leave it to the event loop."""
        from PySide6 import QtCore

        loop, look = QtCore.QEventLoop(), QtCore.QTimer()
        look.timeout.connect(lambda: loop.quit() if done() or self._failures else None)
        look.start(20)
        loop.exec()
        if self._failures:
            raise RuntimeError(self._failures[0])


def main() -> None:
    """Measure and print a table."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    stand_in()
    import qt
    import slicer

    from MedSAM2SlicerLib.ui.services import LIVE

    qt.QSettings().setValue(LIVE, "off")  # each row says what is propagated
    ticks = Ticks()
    print(HEAD)
    for name, make in ((LIVER, _liver), (" x ".join(map(str, SHAPE[::-1])), _ellipsoid)):
        volume, corners = make()
        _measure(Bench(ticks, volume, name), corners)
        _measure_oblique(Bench(ticks, volume, name), corners)
        slicer.mrmlScene.Clear()


def _measure(bench: Bench, corners: Corners) -> None:
    """What a user does, one after the other."""
    try:
        bench.first_prompt(corners)
        bench.propagate_and_stop()
        if bench.controller.volumeNode.GetName() == LIVER:
            bench.propagate()
            bench.live(np.mean(corners, axis=0).tolist())
        bench.replay()
    finally:
        bench.close()


def _measure_oblique(bench: Bench, corners: Corners) -> None:
    middle = np.mean(corners, axis=0).tolist()
    try:
        bench.first_click(middle, _tilted(middle))
    finally:
        bench.close()


def _tilted(middle: list[float]) -> Any:
    """The red view, turned about the patient's left-right axis through a point."""
    import slicer
    import vtk

    node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    turn = vtk.vtkTransform()
    turn.Translate(*middle)
    turn.RotateX(TILT)
    node.GetSliceToRAS().DeepCopy(turn.GetMatrix())
    node.UpdateMatrices()
    return node


def _liver() -> tuple[Any, Corners]:
    """The demo's CT, and a box around the liver where it is largest."""
    from picture_user import largest, scan

    volume, organs = scan()
    volume.SetName(LIVER)
    index = largest(organs[LIVER])
    rows, columns = np.nonzero(organs[LIVER][index])
    return volume, _corners(volume, (columns.min(), rows.min()), (columns.max(), rows.max()), index)


def _ellipsoid() -> tuple[Any, Corners]:
    """A bright ellipsoid in noise, and a box around it in its middle."""
    import slicer.util

    middle = [size // 2 for size in SHAPE]
    k, j, i = np.ogrid[tuple(slice(0, size) for size in SHAPE)]
    distance = sum(((one - at) / radius) ** 2 for one, at, radius in zip((k, j, i), middle, RADII, strict=True))
    array = np.random.default_rng(0).integers(-60, 0, SHAPE, np.int16)
    array[distance < 1] += 100
    volume = slicer.util.addVolumeFromArray(array, name="ellipsoid")
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(400, 40)
    (left, right), (top, bottom) = ((middle[axis] - RADII[axis], middle[axis] + RADII[axis]) for axis in (2, 1))
    return volume, _corners(volume, (left, top), (right, bottom), middle[0])


def _corners(volume: Any, low: tuple[int, int], high: tuple[int, int], index: int) -> Corners:
    from MedSAM2SlicerLib.scene.geometry import ijkToWorld

    first, second = ijkToWorld(volume, [[*low, index], [*high, index]]).tolist()
    return first, second


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # without the interpreter's own end, in which Qt's objects may go before those that use them
