"""Tells when nodes leave the scene, the scene is closed, or a segmentation is edited."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import slicer.util
import vtk


class SceneWatch(slicer.util.VTKObservationMixin):
    """Calls `removed(node)` before any node is removed and `closing()` before the scene is closed."""

    def __init__(self, removed: Callable[[slicer.vtkMRMLNode], None], closing: Callable[[], None]) -> None:
        super().__init__()
        self._removed, self._closing = removed, closing
        scene = slicer.mrmlScene
        self.addObserver(scene, slicer.vtkMRMLScene.StartCloseEvent, self._onClosing)
        self.addObserver(scene, slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onRemoved)

    def stop(self) -> None:
        """Watch no longer."""
        self.removeObservers()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onRemoved(self, _scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
        self._removed(node)

    def _onClosing(self, _scene: object, _event: str) -> None:
        self._closing()


class EditWatch(slicer.util.VTKObservationMixin):
    """Calls `edited()` whenever something writes into the segmentation that is followed."""

    def __init__(self, edited: Callable[[], None]) -> None:
        super().__init__()
        self._edited = edited

    def follow(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Watch this segmentation, and no other any more."""
        self.removeObservers()
        if segmentationNode is not None:
            segmentation = segmentationNode.GetSegmentation()
            self.addObserver(segmentation, slicer.vtkSegmentation.SourceRepresentationModified, self._onEdited)
            self.addObserver(
                segmentation, slicer.vtkSegmentation.SegmentModified, self._onEdited
            )  # all that undo sends

    def stop(self) -> None:
        """Watch no longer."""
        self.removeObservers()

    def _onEdited(self, _segmentation: object, _event: str) -> None:
        self._edited()
