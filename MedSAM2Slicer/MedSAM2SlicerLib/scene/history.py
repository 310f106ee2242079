"""Undo and redo of a segmentation, through Slicer's own Segment Editor logic."""

from __future__ import annotations

from typing import Protocol

import slicer

_UNDO_STATES = 10  # as Slicer's Segment Editor keeps


class History(Protocol):
    """Where states for undo are kept: an `EditHistory`, or the Segment Editor's own through an effect."""

    def saveState(self) -> None:
        """Save the segmentation as it is."""
        ...


class NoHistory:
    """For what belongs to a step whose state was saved before."""

    def saveState(self) -> None:
        """Save nothing."""


class EditHistory:
    """States of a segmentation for undo. Share one between its segments, so that one run is one step for all."""

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
        self._logic = editorLogic(segmentationNode)
        self._logic.SetMaximumNumberOfUndoStates(_UNDO_STATES)

    @property
    def canUndo(self) -> bool:
        """Whether there is a state to go back to."""
        return bool(self._logic.CanUndo())

    @property
    def canRedo(self) -> bool:
        """Whether there is an undone state to redo."""
        return bool(self._logic.CanRedo())

    def saveState(self) -> None:
        """Save the segmentation as it is; saving twice without a change in between keeps one state."""
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        """Return every segment to the last saved state."""
        self._logic.Undo()

    def redo(self) -> None:
        """Redo what was undone last."""
        self._logic.Redo()


def editorLogic(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkSlicerSegmentEditorLogic:
    """Return Slicer's Segment Editor logic for a segmentation, with an editor node of its own outside the scene.

    The user's editor node (which effect is active, what is selected) is left alone.
    """
    scene = segmentationNode.GetScene()
    node = slicer.vtkMRMLSegmentEditorNode()
    node.SetScene(scene)  # to resolve references; it is not added, so nobody sees it and no file holds it
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(node)
    node.SetAndObserveSegmentationNode(segmentationNode)
    return logic
