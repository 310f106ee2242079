"""All prompts of one segment: those in markups nodes, and other segments taken as masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util
import vtk

from medsam2_core.errors import MedSAM2Error
from medsam2_core.image.geometry import Float
from medsam2_core.image.slicing import Slicing
from medsam2_core.run.prompts import MaskPrompt, Prompt
from MedSAM2SlicerLib.prompts.placing import PlacedPrompt, PromptPlacer
from MedSAM2SlicerLib.prompts.promptnodes import PromptItem, PromptNodes, itemText, promptedSegments
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.segmentnames import presentSegment

_FLAT = 0.1  # mm: an ROI without any thickness has no inside


@dataclass(frozen=True)
class _Taken:
    """What a segment marked on a slice (None: on all) when it was taken: what is drawn from it may overwrite it."""

    segmentId: str
    sliceIndex: int | None
    slicing: Slicing
    placed: list[PlacedPrompt]

    def isOf(self, item: PromptItem) -> bool:
        """Whether a prompt in the list is this one, or a slice of it."""
        return self.segmentId == item.sourceId and self.sliceIndex in (None, item.sliceIndex)


class PromptSet:
    """The prompts of a segment. Nodes are saved with the scene, segments taken as masks are not."""

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> None:
        self.segmentId, self._segmentationNode = segmentId, segmentationNode
        self._nodes = PromptNodes(segmentationNode, segmentId)
        self._segments: list[_Taken] = []

    @property
    def name(self) -> str:
        """The segment's name. Raises VolumeError if it is gone."""
        name: str = presentSegment(self._segmentationNode, self.segmentId).GetName()
        return name

    @property
    def sources(self) -> set[str]:
        """The segments that were taken as masks."""
        return {taken.segmentId for taken in self._segments}

    def __bool__(self) -> bool:
        """Whether there are any, whether they can be used or not."""
        return bool(self._segments) or self.segmentId in promptedSegments(self._segmentationNode)

    def nodeToPlace(self, kind: str) -> slicer.vtkMRMLMarkupsNode:
        """Return the markups node that the next prompt of a kind goes into."""
        return self._nodes.nodeToPlace(kind)

    def addSegment(self, segmentId: str, sliceIndex: int | None, placer: PromptPlacer) -> dict[int, Bools]:
        """Take what a segment marks on a slice (None: on all it marks) as the truth; returns these masks by slice.

        Raises PromptError if there are none.
        """
        self._segments.append(self._taken(segmentId, sliceIndex, placer))
        prompts = (one.prompt for one in self._segments[-1].placed)
        return {one.slice_index: one.mask for one in prompts if isinstance(one, MaskPrompt)}

    def takeLine(self, lineNode: slicer.vtkMRMLMarkupsLineNode) -> None:
        """Make a line that is in the scene a prompt; removed from the prompts, it stays in the scene."""
        self._nodes.takeLine(lineNode)

    def placed(self, placer: PromptPlacer) -> list[tuple[str, PlacedPrompt]]:
        """Place every prompt, each with its kind. Raises PromptError, naming the markup that cannot be used.

        Segments come first: an outline on one of their slices takes their place there.
        """
        placed: list[tuple[str, PlacedPrompt]] = []
        for place, taken in enumerate(self._segments):
            if taken.slicing != placer.slicing:
                self._segments[place] = self._taken(taken.segmentId, taken.sliceIndex, placer)
            placed += [("segment", mask) for mask in self._segments[place].placed]
        return [*placed, *self._nodes.placed(placer)]

    def items(self, placer: PromptPlacer) -> list[PromptItem]:
        """List the prompts by slice; none if one of them cannot be used, which `prompts` explains."""
        try:
            placed = self.placed(placer)
        except MedSAM2Error:
            return []
        return sorted((_item(kind, one) for kind, one in placed), key=lambda item: item.sliceIndex)

    def remove(self, item: PromptItem) -> None:
        """Remove a prompt; of a segment taken on all its slices, all of them."""
        if item.kind == "segment":
            self._segments = [one for one in self._segments if not one.isOf(item)]
        else:
            self._nodes.remove(item)

    def dropBoxes(self, sliceIndex: int, placer: PromptPlacer, but: str | None = None) -> None:
        """Remove the boxes of a slice, save for one node: of several the model would see the last one only."""
        for item in self.items(placer):
            if item.kind == "box" and item.sliceIndex == sliceIndex and item.nodeId != but:
                self.remove(item)

    def removeAll(self) -> None:
        """Remove every prompt."""
        self._segments.clear()
        self._nodes.removeAll()

    def prompts(self, placer: PromptPlacer) -> list[Prompt]:
        """Place every prompt. Raises PromptError, naming the markup that cannot be used."""
        return [one.prompt for _kind, one in self.placed(placer)]

    def addPoint(self, positionRas: Sequence[float], include: bool) -> None:
        """Put a point (world, mm) into the list that is shown in the views."""
        node = self._nodes.nodeToPlace("include" if include else "exclude")
        node.AddControlPointWorld(vtk.vtkVector3d(*positionRas))

    def addScribble(self, pointsRas: Sequence[Sequence[float]], include: bool) -> None:
        """Put a stroke through some points (world, mm) into the views."""
        node = self._nodes.nodeToPlace("scribble" if include else "scribbleOut")
        for point in pointsRas:
            node.AddControlPointWorld(vtk.vtkVector3d(*point))

    def addBox(self, cornersRas: npt.ArrayLike, axes: Float) -> None:
        """Put a flat box into the views, given by two opposite corners (world, mm) and its edges' directions (3x3)."""
        first, second = np.asarray(cornersRas, dtype=np.float64)
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = axes, (first + second) / 2
        node = self._nodes.nodeToPlace("box")
        node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
        node.SetSize(*np.maximum(np.abs((second - first) @ axes), _FLAT))

    def _taken(self, segmentId: str, sliceIndex: int | None, placer: PromptPlacer) -> _Taken:
        slices = None if sliceIndex is None else [sliceIndex]
        placed = placer.segment(self._segmentationNode, segmentId, slices)
        return _Taken(segmentId, sliceIndex, placer.slicing, placed)


def _item(kind: str, placed: PlacedPrompt) -> PromptItem:
    index, source = placed.prompt.slice_index, placed.source
    return PromptItem(kind, index, itemText(kind, index), source.nodeId, source.controlPointId, source.segmentId)
