"""Tells when nodes leave the scene, the scene is closed, or a segmentation is edited."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import slicer
import slicer.util
import vtk

from MedSAM2SlicerLib.faults import guarded


class SceneWatch(slicer.util.VTKObservationMixin):
    """Calls `removed(node)` before any node is removed and `closing()` before the scene is closed."""

    def __init__(self, removed: Callable[[slicer.vtkMRMLNode], None], closing: Callable[[], None]) -> None:
        super().__init__()
        self._removed, self._closing = removed, closing
        scene = slicer.mrmlScene
        self.addObserver(scene, slicer.vtkMRMLScene.StartCloseEvent, self._onClosing)
        self.addObserver(scene, slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onRemoved)

    def stop(self) -> None:
        """Stop watching."""
        self.removeObservers()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    @guarded
    def _onRemoved(self, _scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
        self._removed(node)

    @guarded
    def _onClosing(self, _scene: object, _event: str) -> None:
        self._closing()


class EditWatch(slicer.util.VTKObservationMixin):
    """Tells when a segmentation was written into and `SETTLED` seconds have passed since, as in the middle of a stroke
    of a brush there is nothing to read yet.
    """

    SETTLED = 0.3

    def __init__(self) -> None:
        super().__init__()
        self._editedAt: float | None = None
        self._written = self._isOurs = False
        self._foreign = set[str]()  # events of others than the run at work

    @property
    def written(self) -> bool:
        """Whether a tool wrote since `forget`; undo and redo, which send SegmentModified alone, do not count."""
        return self._written

    @property
    def isTravel(self) -> bool:
        """Whether there was undo or redo alone, which brings back any of the segments."""
        return self._editedAt is not None and not self._written

    @property
    def hasForeign(self) -> bool:
        """Whether anybody but the run at work did anything since `forget`, as far as events tell."""
        return bool(self._foreign)

    @property
    def isForeignTravel(self) -> bool:
        """Whether there was undo or redo while a run wrote, as far as events tell, which a new name sends too."""
        return self._foreign == {"modified"}

    @property
    def pending(self) -> bool:
        """Whether there are edits that nobody has looked at."""
        return self._editedAt is not None

    @property
    def settled(self) -> bool:
        """Whether there are edits, all of which are over; undo and redo are at once, before a stroke follows."""
        return self.isTravel or (self._editedAt is not None and time.monotonic() - self._editedAt > self.SETTLED)

    def follow(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Watch this segmentation, and no other any more."""
        self.removeObservers()
        if segmentationNode is not None:
            segmentation = segmentationNode.GetSegmentation()
            self.addObserver(segmentation, slicer.vtkSegmentation.SourceRepresentationModified, self._onWritten)
            self.addObserver(segmentation, slicer.vtkSegmentation.SegmentModified, self._onModified)

    def forgetOurs(self) -> None:
        """Note what a run wrote as known; what others did meanwhile is still to be looked at."""
        if self._foreign:
            self._written = "written" in self._foreign
        else:
            self.forget()

    def noteTravel(self) -> None:
        """All since `forget` was undo or redo, which tell of writing too where segments come or go with them."""
        self._written = False

    def forget(self) -> None:
        """Note all edits so far as known."""
        self._editedAt, self._written = None, False
        self._foreign.clear()

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Enclose what a run writes, which is nobody else's."""
        self._isOurs = True
        try:
            yield
        finally:
            self._isOurs = False

    def stop(self) -> None:
        """Stop watching."""
        self.removeObservers()

    @guarded
    def _onWritten(self, _segmentation: object, _event: str) -> None:
        self._written, self._editedAt = True, time.monotonic()
        self._noteForeign("written")

    @guarded
    def _onModified(self, _segmentation: object, _event: str) -> None:
        self._editedAt = time.monotonic()
        self._noteForeign("modified")

    def _noteForeign(self, event: str) -> None:
        if not self._isOurs:
            self._foreign.add(event)
