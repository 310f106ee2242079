"""Which prompts are seen in the views and can be grabbed there: those of the segments that somebody works on.

A panel or effect in use shows its selected segment's prompts, in the segment's color, and hides all others. Without
one in use all are locked. Prompts of a removed segment are hidden; undo brings the segment back, and them with it.
"""

from __future__ import annotations

from typing import Any

import slicer
import slicer.util
import vtk

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.prompts import promptlooks
from MedSAM2SlicerLib.prompts.promptnodes import PromptNode, promptNodes, returnTo
from MedSAM2SlicerLib.scene.attributes import dropStrayAttributes


class PromptViews(slicer.util.VTKObservationMixin):
    """The one that decides for a scene; get it by `promptViews`.

    It acts when something happens, to a segment or to what is worked on, so a choice of the user's in between stays.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        super().__init__()
        self.scene = scene
        self._inUse: dict[object, tuple[slicer.vtkMRMLSegmentationNode | None, str]] = {}  # what owners work on
        self._before: set[str] = set()  # IDs of the nodes there were when an import began
        self._parted: dict[str, list[slicer.vtkMRMLMarkupsNode]] = {}  # by the ID of a segmentation that was removed
        self._watched: dict[str, tuple[slicer.vtkSegmentation, list[int]]] = {}  # by its node's ID, with observers
        for event, slot in (
            (scene.StartImportEvent, self._onImporting),
            (scene.EndImportEvent, self._onImported),
            (scene.EndBatchProcessEvent, self._onChanged),
            (scene.NodeAboutToBeRemovedEvent, self._onRemoving),
            (scene.NodeRemovedEvent, self._onRemoved),
            (scene.NodeAddedEvent, self._onAdded),
        ):
            self.addObserver(scene, event, slot)
        self.refresh()

    def use(self, owner: object, segmentationNode: slicer.vtkMRMLSegmentationNode | None, segmentId: str) -> None:
        """Note that `owner` is in use and works on this segment, if on any."""
        self._inUse[owner] = segmentationNode, segmentId
        self.refresh()

    def move(self, owner: object, segmentationNode: slicer.vtkMRMLSegmentationNode | None, segmentId: str) -> None:
        """Note that `owner` works on another segment; one that is not in use shows nothing."""
        if owner in self._inUse:
            self.use(owner, segmentationNode, segmentId)

    def rest(self, owner: object) -> None:
        """Note that `owner` is no longer in use."""
        if owner in self._inUse:
            del self._inUse[owner]
            self.refresh()

    def refresh(self) -> None:
        """Bring all prompts to what holds now."""
        if self.scene.IsClosing() or self.scene.IsBatchProcessing():
            return
        for prompt in promptNodes(self.scene):
            self._watch(prompt.segmentationNode)
            self._bring(prompt)

    def stop(self) -> None:
        """Let go of the scene."""
        self.removeObservers()
        for segmentation, tags in self._watched.values():
            for tag in tags:
                segmentation.RemoveObserver(tag)
        self._watched.clear()

    def _bring(self, prompt: PromptNode) -> None:
        node, segment = prompt.node, prompt.segment
        isInUse = segment is not None and (prompt.segmentationNode, prompt.segmentId) in self._inUse.values()
        (promptlooks.unlock if isInUse else promptlooks.lock)(node)
        if prompt.isTaken:  # it keeps its own looks
            return
        if isInUse:
            promptlooks.show(node)
        elif segment is None or self._inUse:
            promptlooks.hide(node)
        if segment is not None:
            promptlooks.dress(node, segment)

    def _watch(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        if segmentationNode is None or segmentationNode.GetID() in self._watched:
            return
        segmentation, events = segmentationNode.GetSegmentation(), slicer.vtkSegmentation
        told = (events.SegmentAdded, events.SegmentRemoved, events.SegmentModified)
        tags = [segmentation.AddObserver(event, self._onChanged) for event in told]
        self._watched[segmentationNode.GetID()] = segmentation, tags

    @guarded
    def _onChanged(self, _caller: object, _event: str) -> None:
        self.refresh()

    @guarded
    def _onImporting(self, _caller: object, _event: str) -> None:
        self._before = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode", self.scene)}

    @guarded
    def _onImported(self, _caller: object, _event: str) -> None:
        """Drop what a file still had of segments that were removed before it was saved: no undo brings them back."""
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", self.scene):
            if node.GetID() not in self._before:
                dropStrayAttributes(node)
        for prompt in list(promptNodes(self.scene)):
            if prompt.node.GetID() not in self._before and prompt.segment is None:
                prompt.drop()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    @guarded
    def _onRemoving(self, _scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
        watched = self._watched.pop(node.GetID(), None)
        if watched is not None:
            segmentation, tags = watched
            for tag in tags:
                segmentation.RemoveObserver(tag)
        if self.scene.IsClosing():
            self._parted.clear()
        elif watched is not None:
            self._parted[node.GetID()] = [one.node for one in promptNodes(self.scene) if one.segmentationNode is node]

    @vtk.calldata_type(vtk.VTK_OBJECT)
    @guarded
    def _onRemoved(self, _scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
        if node.IsA("vtkMRMLSegmentationNode"):
            self.refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    @guarded
    def _onAdded(self, _scene: object, _event: str, node: Any) -> None:
        """A segmentation that was removed before gets its prompts back, and a new prompt is shown or not."""
        for markup in self._parted.pop(node.GetID(), []):
            returnTo(node, markup)
        if node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLMarkupsNode"):
            self.refresh()


_views: list[PromptViews] = []


def promptViews() -> PromptViews:
    """Return the one of the application's scene, from now on at work."""
    if not _views or _views[0].scene is not slicer.mrmlScene:
        for other in _views:
            other.stop()
        _views[:] = [PromptViews(slicer.mrmlScene)]
    return _views[0]
