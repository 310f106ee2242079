"""The README's tutorial in Segment Editor, with real mouse events: each step timed, pictured and checked.

`make slicer-test` runs it in Slicer, Testing/panel under Testing/standin, which has no Paint: there half of a slice is
erased instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import qt
import slicer
import slicer.util
import vtk
from gaps import INTERVAL, Gaps, Timed
from medsam2selftest import process

from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask

EFFECT = "MedSAM-2"
TILT = 25.0  # degrees
WAIT = 600.0  # seconds: a cold worker, or 512 slices, on a busy machine
Ras = Sequence[float]


@dataclass(frozen=True)
class Places:
    """Where the mouse goes, RAS in mm: a box on an axial slice and a point in it, and points in two more objects."""

    box: tuple[Ras, Ras]
    inside: Ras
    coronal: Ras
    oblique: Ras
    names: tuple[str, str, str] = ("first", "second", "third")


class Tutorial:
    """`run` does all steps; an error ends it, and says at which step and what the panel said."""

    def __init__(self, volume: Any, places: Places, folder: Path) -> None:
        self.volume, self.places, self.folder = volume, places, folder
        self.steps: list[Timed] = []
        self.segmentation: Any = None
        self.editor: Any = None
        self._gaps, self._timer = Gaps(), qt.QTimer()
        self._timer.setInterval(INTERVAL)
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.connect("timeout()", self._gaps.tick)

    def run(self) -> list[Timed]:
        """Do the steps; returns how long each took."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._timer.start()
        try:
            for step in (
                *(self.open, self.box, self.refine, self.propagate, self.paint, self.propagateAgain, self.undo),
                *(self.save, self.load, self.secondCoronal, self.thirdOblique),
            ):
                self._do(step)
        finally:
            self._timer.stop()
        return self.steps

    # Steps

    def open(self) -> str:
        """Segment Editor, a new segment, the effect."""
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self._openEditor()
        self._add(self.places.names[0])
        self._activate(EFFECT)
        return ""

    def box(self) -> str:
        """Drag a box on an axial slice, and see its mask; with the start of the worker."""
        start, end = self.places.box
        self._look("Red", [(one + other) / 2 for one, other in zip(start, end, strict=True)], _extent(start, end))
        self._preview(lambda: self._drag("Red", start, end))
        return self._marked()

    def refine(self) -> str:
        """Click on the object, and see the mask change."""
        self._preview(lambda: self._click("Red", self.places.inside))
        return self._marked()

    def propagate(self) -> str:
        """Press Propagate and wait for the end."""
        started = time.perf_counter()
        self._ui.propagateButton.click()
        self._wait(lambda: not self._controller.busy)
        seconds, slices = time.perf_counter() - started, len(self._controller.review.slices())
        assert slices > 1, f"only {slices} slices were propagated"
        return f"{slices} slices in {seconds:.1f} s; {self._marked()}"

    def paint(self) -> str:
        """Paint on a slice with Slicer's own tool, and come back to the effect."""
        before = self._mask()
        drawn, prompted = self._slicesUnlike(None), self._controller.review.prompts()[0].sliceIndex
        index = (prompted + drawn[-1]) // 2
        place = [*self.places.inside[:2], self._controller.review.sliceCenterRas(index)[2]]
        if self.editor.effectByName("Paint") is None:
            self._write(index)
        else:
            self._activate("Paint")
            self._look("Red", place, 150)
            r, a, s = place
            for step in range(-20, 25, 5):  # a patch of 4 x 4 cm
                self._drag("Red", (r - 20, a + step, s), (r + 20, a + step, s))
            self._activate(EFFECT)
        assert self._slicesUnlike(before), "nothing was painted"
        self._wait(lambda: index in self._controller.review.edited())
        return f"slice {index} edited"

    def propagateAgain(self) -> str:
        """Propagate what the edit touches."""
        self._before = self._mask()
        says = str(self._ui.propagateButton.text)
        assert self._controller.review.intervals(), f"the edit touches no interval: the button says {says!r}"
        text = self.propagate()
        self._changed = self._slicesUnlike(self._before)
        return f"{says!r}, {len(self._changed)} slices changed: {text}"

    def undo(self) -> str:
        """Take the last propagation back, with Segment Editor's own undo."""
        if not self._changed:  # to Segment Editor's history, a run that changed nothing is no step
            return "skipped: there was nothing to undo"
        self.editor.undo()
        process()
        other = self._slicesUnlike(self._before)
        assert not other, f"undo did not bring back what was on slices {other}"
        return f"{len(self._changed)} slices are as they were"

    def save(self) -> str:
        """Save the scene."""
        self._before, self._prompts = self._mask(), len(self._controller.review.prompts())
        assert slicer.util.saveScene(str(self.folder / "scene.mrb")), "the scene could not be saved"
        return ""

    def load(self) -> str:
        """Close the scene, load it, and find mask and prompts again."""
        names = self.volume.GetName(), self.segmentation.GetName()
        slicer.mrmlScene.Clear()
        process()
        slicer.util.loadScene(str(self.folder / "scene.mrb"))
        process()
        self.volume, self.segmentation = map(slicer.util.getNode, names)
        self._openEditor()
        self.editor.setCurrentSegmentID(self.segmentation.GetSegmentation().GetNthSegmentID(0))
        self._activate(EFFECT)
        assert not self._slicesUnlike(self._before), "the mask is another one after loading"
        found = len(self._controller.review.prompts())
        assert found == self._prompts, f"{found} prompts were loaded of {self._prompts}"
        return f"{found} prompts"

    def secondCoronal(self) -> str:
        """Another segment, in another direction."""
        self._add(self.places.names[1])
        self._look("Green", self.places.coronal, 200)
        self._preview(lambda: self._click("Green", self.places.coronal))
        return f"axis {self._controller.review.stack.axis}: {self.propagate()}"

    def thirdOblique(self) -> str:
        """A third one, in a view at an angle."""
        self._add(self.places.names[2])
        node = self._look("Red", self.places.oblique, 200)
        turn = vtk.vtkTransform()
        turn.SetMatrix(node.GetSliceToRAS())
        turn.RotateX(TILT)
        node.GetSliceToRAS().DeepCopy(turn.GetMatrix())
        node.UpdateMatrices()
        process()
        self._preview(lambda: self._click("Red", self.places.oblique, jump=False))
        text = self.propagate()
        node.SetOrientation("Axial")
        return text

    # Pieces

    @property
    def _face(self) -> Any:
        return self.editor.effectByName(EFFECT).self().face

    @property
    def _controller(self) -> Any:
        return self._face.controller

    @property
    def _ui(self) -> Any:
        return self._face.ui

    def _do(self, step: Callable[[], str]) -> None:
        self._gaps.start()
        try:
            text = step()
            timed = self._gaps.stop(step.__name__, text)
        except Exception as error:
            error.add_note(f"at step {step.__name__}; {self._said()}") if hasattr(error, "add_note") else None
            raise
        finally:
            self._picture(step.__name__)
        self.steps.append(timed)

    def _picture(self, name: str) -> None:
        process()
        slicer.util.mainWindow().grab().save(str(self.folder / f"{len(self.steps) + 1:02d}-{name}.png"))

    def _warned(self) -> bool:
        """Whether the panel shows an error, so that there is nothing to wait for."""
        return self._face is not None and str(self._ui.messageLabel.text).startswith("⚠")

    def _said(self) -> str:
        face = self._face if self.editor else None
        return f"the panel said {face.ui.messageLabel.text!r}" if face else "the effect was not active"

    def _openEditor(self) -> None:
        slicer.util.selectModule("SegmentEditor")
        process()
        self.editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        process()

    def _add(self, name: str) -> None:
        slicer.util.findChild(self.editor, "AddSegmentButton").click()
        process()
        segmentId = self.editor.mrmlSegmentEditorNode().GetSelectedSegmentID()
        self.segmentation.GetSegmentation().GetSegment(segmentId).SetName(name)

    def _activate(self, effect: str) -> None:
        self.editor.setActiveEffectByName(effect)
        process()
        active = self.editor.activeEffect()
        assert getattr(active, "name", "") == effect, f"{effect} did not become active"

    def _preview(self, act: Callable[[], None]) -> None:
        """Do something with the mouse and wait for the mask that it makes."""
        seen: list[int] = []
        controller, prompts = self._controller, len(self._controller.review.prompts())
        controller.previewed.connect(seen.append)
        try:
            act()
            self._wait(lambda: seen)
        finally:
            controller.previewed.disconnect(seen.append)
        assert len(controller.review.prompts()) == prompts + 1, (
            f"{len(controller.review.prompts())} prompts after {prompts}"
        )

    def _look(self, view: str, ras: Ras, millimeters: float) -> Any:
        """Show a place in the middle of a view, at least so wide and high."""
        node = slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
        columns, rows, _depth = node.GetDimensions()
        scale = millimeters / max(min(columns, rows), 1)
        node.SetFieldOfView(columns * scale, rows * scale, node.GetFieldOfView()[2])
        node.JumpSliceByCentering(*ras)
        process()
        return node

    def _xy(self, view: str, ras: Ras) -> tuple[int, int]:
        node = slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
        toView = np.linalg.inv(slicer.util.arrayFromVTKMatrix(node.GetXYToRAS()))
        x, y = np.rint(toView @ [*ras, 1])[:2].astype(int)
        return int(x), int(y)

    def _move(self, view: str, position: tuple[int, int]) -> Any:
        """Move the mouse to a pixel, past what lit up where it was before; returns the view's interactor."""
        interactor = slicer.app.layoutManager().sliceWidget(view).sliceView().interactor()
        interactor.SetEventPosition(*position)
        interactor.MouseMoveEvent()
        process()
        return interactor

    def _click(self, view: str, ras: Ras, jump: bool = True) -> None:
        if jump:
            slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode().JumpSliceByOffsetting(*ras)
            process()
        interactor = self._move(view, self._xy(view, ras))
        interactor.LeftButtonPressEvent()
        interactor.LeftButtonReleaseEvent()
        process()

    def _drag(self, view: str, start: Ras, end: Ras) -> None:
        positions = self._xy(view, start), self._xy(view, end)
        self._move(view, positions[0])
        slicer.util.clickAndDrag(slicer.app.layoutManager().sliceWidget(view), start=positions[0], end=positions[1])
        process()

    def _wait(self, reached: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WAIT
        while not reached():
            if time.monotonic() > deadline or self._warned():
                raise TimeoutError("what was waited for did not come")
            process()
            time.sleep(0.001)

    def _mask(self) -> npt.NDArray[np.bool_]:
        segmentId = self.editor.mrmlSegmentEditorNode().GetSelectedSegmentID()
        with self._gaps.leftOut():
            return segmentMask(self.segmentation, segmentId, self.volume) > 0

    def _slicesUnlike(self, other: npt.NDArray[np.bool_] | None) -> list[int]:
        """Axial slices on which the mask differs from another one; from none, those that it marks."""
        mask = self._mask()
        with self._gaps.leftOut():
            found: list[int] = np.flatnonzero((mask if other is None else mask != other).any(axis=(1, 2))).tolist()
        return found

    def _marked(self) -> str:
        marked = int(self._mask().sum())
        assert marked, f"the mask is empty; {self._said()}"
        return f"{marked * np.prod(self.volume.GetSpacing()) / 1000:.1f} mL"

    def _write(self, index: int) -> None:
        """Erase half of what is drawn on a slice, past the effect, as a tool that the stand-in does not have."""
        mask = self._mask()[index]
        rows = np.flatnonzero(mask.any(axis=1))
        mask[rows[len(rows) // 2] :] = False
        writer = SegmentWriter(
            self.segmentation, self.editor.mrmlSegmentEditorNode().GetSelectedSegmentID(), self.volume
        )
        writer.begin()
        writer.writeSlices({index: mask}, 0)
        writer.end()
        process()


def _extent(one: Ras, other: Ras) -> float:
    """How wide a view must be to show a box with some room around."""
    return 1.6 * max(abs(a - b) for a, b in zip(one, other, strict=True))
