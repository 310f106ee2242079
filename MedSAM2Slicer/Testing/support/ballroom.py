"""Balls in a volume, segments of them along directions of their own, a controller at work, and a knowing worker."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from knowingclient import KnowingClient, drawnOn
from scenefolder import writeScene

from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.record.runrecord import loadRun
from MedSAM2SlicerLib.scene.attributes import storedSlices
from MedSAM2SlicerLib.scene.geometry import volumeGeometry, volumeToWorld
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation, segmentMask

SHAPE = (12, 16, 17)
GRID = np.array([[-1.4, 0.0, 0.0, 11.2], [0.0, -1.4, 0.0, 10.5], [0.0, 0.0, 2.0, -11.0], [0.0, 0.0, 0.0, 1.0]])
BALLS = (((-6.0, -5.0, -6.0), 4.6), ((6.0, 5.0, -5.0), 4.2), ((0.0, 0.0, 5.5), 4.4))
TO_ALL = ("propagateAll", "trim", "comeBack", "reload")


@dataclass(frozen=True)
class Deed:
    """What is done to a segment, or to all; where, from 0 to 1; and whether it is undone."""

    name: str
    act: str
    value: float
    isUndone: bool


class Room:
    """A volume with balls, a controller at work on segments of it, each along a direction, and a worker."""

    def __init__(self, nodes: Any, directions: dict[str, SliceStack], folder: Path, hasParent: bool) -> None:
        self.directions, self.folder = directions, folder
        turn = nodes.transform(_rigid()) if hasParent else None
        self.volume = nodes.volume(np.zeros(SHAPE, np.int16), matrix=GRID, parent=turn)
        self.client = KnowingClient(BALLS)
        self.said: list[str] = []
        self._use(None)
        self.controller.setVolume(self.volume)
        self.segmentation = None
        for name in directions:
            self.segmentation, _ = ensureSegmentation(self.volume, self.segmentation, name)

    def do(self, deed: Deed) -> None:
        """Do something to a segment, or to all."""
        if deed.act in TO_ALL:
            getattr(self, f"_{deed.act}")(deed.value)
        else:
            self.controller.setSegment(self.segmentation, self.ids[deed.name])
            getattr(self, f"_{deed.act}")(deed.name, deed.value)
        self._settle()

    def undo(self, name: str) -> None:
        self.controller.setSegment(self.segmentation, self.ids[name])
        self.controller.undo()
        self._settle()

    def mask(self, name: str) -> np.ndarray:
        return segmentMask(self.segmentation, self.ids[name], self.volume)

    def masks(self) -> dict[str, np.ndarray]:
        return {name: self.mask(name) for name in self.directions}

    def requireStack(self, name: str, stack: SliceStack) -> None:
        """The scene knows the segment in its own direction, and so does the record of its run."""
        stored = storedSlices(self.segmentation, self.ids[name])
        assert stored is not None
        assert stored[0].stack == stack
        record = loadRun(self.segmentation, self.ids[name])
        assert record is None or record.run.settings.stack == stack

    def close(self) -> None:
        self.controller.close()
        self.controller.setVolume(None)
        assert not self.client.sessions
        assert not self.client.volumes

    # What is done

    def _click(self, name: str, value: float) -> None:
        self._first(name)
        self.controller.prompting.addPoint(self._inside(name, value))

    def _box(self, name: str, value: float) -> None:
        self._first(name)
        stack, geometry = self.directions[name], self._slicing(name).geometry
        middle = geometry.ras_to_ijk([_ball(name)[0]])[0]
        low, high = middle - 3.0, middle + 3.0
        low[2 - stack.axis] = high[2 - stack.axis] = np.round(middle[2 - stack.axis] + 2 * value - 1)
        corners = volumeToWorld(self.volume, geometry.ijk_to_ras([low, high]))
        self.controller.prompting.addBox(*corners.tolist())

    def _propagate(self, name: str, value: float) -> None:
        if self.controller.review.prompts():
            self.controller.propagate()

    def _propagateAll(self, value: float) -> None:
        outlook = self.controller.review.outlookOfAll()
        if outlook is not None and outlook.segments:
            self.controller.propagateAll()

    def _accept(self, name: str, value: float) -> None:
        known = sorted(self.controller.review.slices())
        if known and self.controller.review.ownStack() is not None:
            self.controller.accept(known[int(value * len(known))])

    def _erase(self, name: str, value: float) -> None:
        """A tool takes a corner of the ball away."""
        self._write(name, self.mask(name) & ~self._slab(name, value))

    def _paint(self, name: str, value: float) -> None:
        """A tool adds a slab of the ball, though not before the first prompt: it would decide on the stack."""
        if self.controller.review.ownStack() is not None:
            self._write(name, self.mask(name) | (self._slab(name, value) & self._truth(name)))

    def _trim(self, value: float) -> None:
        """A tool, such as Scissors, cuts through all segments, askew."""
        keep = np.indices(SHAPE).sum(axis=0) % 9 != int(value * 9)
        for name in self.directions:
            self._write(name, self.mask(name) & keep)

    def _comeBack(self, value: float) -> None:
        """The effect is left and chosen again."""
        self.controller.close(isForGood=False)
        self._use(self.controller.workplace)

    def _reload(self, value: float) -> None:
        """The scene is saved, closed and loaded into another Slicer."""
        selected, scene = self.controller.segmentId, slicer.mrmlScene
        writeScene(self.folder)
        self.controller.close()
        scene.Clear(1)
        assert scene.Connect()
        self.volume, self.segmentation = (
            scene.GetFirstNodeByClass(kind) for kind in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")
        )
        self.client = KnowingClient(BALLS)
        self._use(None)
        self.controller.setVolume(self.volume)
        self.controller.setSegment(self.segmentation, selected)

    # Pieces

    @property
    def ids(self) -> dict[str, str]:
        segments = self.segmentation.GetSegmentation()
        return {name: segments.GetSegmentIdBySegmentName(name) for name in self.directions}

    def _use(self, workplace: Any) -> None:
        self.controller = Controller(self.client, workplace=workplace)
        self.controller.failed.connect(self.said.append)

    def _settle(self) -> None:
        self.client.work()
        time.sleep(0.0002)
        self.controller.tick()
        assert self.said == []
        assert not self.controller.busy

    def _first(self, name: str) -> None:
        """The panel's part: the first prompt is seen in a view, which says how slices lie."""
        if self.controller.review.ownStack() is None:
            self.controller.setOptions(RunOptions(stack=self.directions[name]))

    def _slicing(self, name: str) -> Any:
        return self.directions[name].slicing(volumeGeometry(self.volume))

    def _inside(self, name: str, value: float) -> list[float]:
        """A place in the ball (world)."""
        center, radius = _ball(name)
        angle = 2 * np.pi * value
        ras = np.array(center) + 0.45 * radius * np.array([np.cos(angle), np.sin(angle), np.cos(3 * angle)])
        return list(volumeToWorld(self.volume, [ras])[0])

    def _truth(self, name: str) -> np.ndarray:
        return drawnOn(volumeGeometry(self.volume), BALLS) == _number(name)

    def _slab(self, name: str, value: float) -> np.ndarray:
        """About half of one of the ball's slices along k."""
        slab, truth = np.zeros(SHAPE, bool), self._truth(name)
        k = np.flatnonzero(truth.any(axis=(1, 2)))
        slab[k[int(value * len(k))], :, round(np.nonzero(truth)[2].mean()) :] = True
        return slab

    def _write(self, name: str, mask: np.ndarray) -> None:
        writer = SegmentWriter(self.segmentation, self.ids[name], self.volume)
        writer.begin()
        writer.writeSlices(dict(enumerate(mask)), 0)
        writer.end()


def _rigid() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    matrix[:3, 3] = (20.0, -30.0, 5.0)
    return matrix


def _number(name: str) -> int:
    return "abc".index(name) + 1


def _ball(name: str) -> Any:
    return BALLS["abc".index(name)]
