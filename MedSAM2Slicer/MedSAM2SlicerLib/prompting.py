"""Making and removing prompts of the segment at work, and drawing the slices that they change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import slicer

from medsam2_core.errors import PromptError
from medsam2_core.run.prompts import MaskPrompt
from MedSAM2SlicerLib.controllersignals import ControllerSignals
from MedSAM2SlicerLib.prompts.placing import PromptPlacer
from MedSAM2SlicerLib.prompts.promptnodes import PromptItem
from MedSAM2SlicerLib.prompts.strokes import gridMm, spread, within
from MedSAM2SlicerLib.runner import Runner
from MedSAM2SlicerLib.scene.geometry import mapped, viewAxes
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.slicereview import PROMPTED
from MedSAM2SlicerLib.work.awaited import Looks
from MedSAM2SlicerLib.work.running import tellWritten
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.workplace import Workplace


class Prompting:
    """Puts prompts into the scene, takes them out again, and has the runner draw; signals report errors.

    changed(slice) is called when they have changed.
    """

    def __init__(
        self,
        workplace: Workplace,
        runner: Runner,
        signals: ControllerSignals,
        changed: Callable[[int], None],
    ) -> None:
        self._workplace, self._runner, self._signals, self._changed = workplace, runner, signals, changed

    def promptNode(self, kind: str) -> slicer.vtkMRMLMarkupsNode:
        """Return the markups node that the next prompt of a kind of `promptnodes.KINDS` is placed into.

        Makes a segmentation and a segment where none is chosen. Raises MedSAM2Error without a usable volume.
        """
        return self._workplace.ensuredWork(self._workplace.sliced()).prompts.nodeToPlace(kind)

    def preview(self, sliceIndex: int) -> None:
        """Draw the prompts' answer on a slice. While the worker is busy it waits for its turn."""
        self._signals.promptsChanged.emit()
        self._runner.preview(sliceIndex)
        self._changed(sliceIndex)

    def previewAgain(self, previews: Looks) -> None:
        """Draw slices whose previews were given up, unless their prompts are gone."""
        prompted = self._promptedSlices() if previews else set()
        again = {index: look for index, look in previews.items() if index in prompted}
        if again:
            self._signals.promptsChanged.emit()
            self._runner.previewAgain(again)
            for index in again:
                self._changed(index)

    def addPoint(self, positionRas: Sequence[float], include: bool = True) -> None:
        """Put a point (world, mm) on the object, or on what does not belong to it, and draw the slice."""
        with self._signals.telling():
            volume = self._workplace.sliced()
            (placed,) = PromptPlacer(volume).points([positionRas], [include])
            work = self._workplace.ensuredWork(volume)
            work.prompts.addPoint(positionRas, include)
            self._previewIn(placed.prompt.slice_index, volume, work)

    def addBox(
        self,
        cornerRas: Sequence[float],
        oppositeRas: Sequence[float],
        viewNode: slicer.vtkMRMLSliceNode | None = None,
    ) -> None:
        """Put a box around the object between two corners (world, mm) in a slice view, and draw the slice.

        It is the only one there.
        """
        with self._signals.telling():
            volume = self._workplace.sliced()
            placer = PromptPlacer(volume)
            index = placer.box([cornerRas, oppositeRas]).prompt.slice_index
            work = self._workplace.ensuredWork(volume)
            work.prompts.dropBoxes(index, placer)
            work.prompts.addBox([cornerRas, oppositeRas], viewAxes(viewNode))
            self._previewIn(index, volume, work)

    def addScribble(self, pathRas: Sequence[Sequence[float]], include: bool = True) -> None:
        """Put a stroke (world, mm; any number of positions) on the object, or on what does not belong to it.

        It is kept as a few points along it. The slice is drawn once; what lies outside the volume does not count.
        """
        with self._signals.telling():
            volume = self._workplace.sliced()
            placer, path = PromptPlacer(volume), spread(pathRas, self._gridMm(volume)).tolist()
            path = [point for point in path if placer.isInside(point)] or path[:1]
            placed = placer.points(path, [include] * len(path))
            work = self._workplace.ensuredWork(volume)
            work.prompts.addScribble(path, include)
            self._previewAll([one.prompt.slice_index for one in placed], volume, work)

    def addSegmentScribble(self, segmentId: str) -> None:
        """Take what another segment marks, such as a painted stroke, as an including scribble on each of its slices."""
        with self._signals.telling():
            volume = self._workplace.sliced()
            placer, work = PromptPlacer(volume), self._workplace.ensuredWork(volume)
            given = [one.prompt for one in placer.segment(self._workplace.target.segmentation, segmentId)]
            masks = {one.slice_index: one.mask for one in given if isinstance(one, MaskPrompt)}
            for index, mask in masks.items():
                pixels = within(mask, volume.slicing.pixel_mm, self._gridMm(volume))
                voxels = [volume.slicing.join(index, pixel) for pixel in pixels]
                world = mapped(volume.toWorld, volume.slicing.geometry.ijk_to_ras(voxels))
                work.prompts.addScribble(world.tolist(), include=True)
            self._previewAll(masks, volume, work)

    def keepBox(self, nodeId: str) -> None:
        """Of the boxes on a slice keep this one, which was drawn last."""
        with self._signals.telling():
            for item in self._workplace.prompts():
                if item.nodeId == nodeId:
                    volume = self._workplace.sliced()
                    prompts = self._workplace.ensuredWork(volume).prompts
                    prompts.dropBoxes(item.sliceIndex, PromptPlacer(volume), nodeId)

    def addLinePrompt(self, lineNode: slicer.vtkMRMLMarkupsLineNode) -> None:
        """Take a line of the scene along the object's longest diameter, and draw the slice; moved, it still counts."""
        with self._signals.telling():
            volume = self._workplace.sliced()
            placed, work = PromptPlacer(volume).line(lineNode), self._workplace.ensuredWork(volume)
            work.prompts.takeLine(lineNode)
            self._workplace.target.noteGonePrompts(self._workplace.volume)
            self._previewIn(placed.prompt.slice_index, volume, work)

    def addSegmentPrompt(self, segmentId: str, sliceIndex: int | None = None) -> None:
        """Take what a segment marks on a slice (None: on all slices it marks) as the truth there, and draw that."""
        with self._signals.telling():
            awaited = self._runner.previews
            self._runner.makeWay()
            if whyNot := self._runner.whyBusy():
                raise PromptError(whyNot)
            self._runner.abandon()  # a preview on its way would draw over it
            taken: Collection[int] = ()
            try:
                taken = self._takeSegment(segmentId, sliceIndex)
                self._runner.preview(self._corrected(taken))
            finally:
                self.previewAgain({index: look for index, look in awaited.items() if index not in taken})
            self._changed(min(taken, default=0))

    def removePrompt(self, item: PromptItem) -> None:
        """Remove a prompt; a slice that it alone had drawn is as it was before, others are redrawn."""
        work = self._workplace.work()
        if work is None:
            return
        before = {item.sliceIndex} | self._promptedSlices()
        work.removePrompt(item)
        self._signals.promptsChanged.emit()
        left = self._promptedSlices()
        self._clear(work, before - left)
        if item.sliceIndex in left:
            self.preview(item.sliceIndex)
        else:
            self._runner.previewAgain({})
            self._changed(item.sliceIndex)

    def removeAllPrompts(self) -> None:
        """Remove every prompt of the segment; what is drawn stays."""
        work = self._workplace.work()
        if work is not None:
            self._runner.dropPreview()
            work.removePrompts()
        self._signals.tellAll()

    def _takeSegment(self, segmentId: str, sliceIndex: int | None) -> Collection[int]:
        """Draw what a segment marks; returns on which slices. Raises MedSAM2Error."""
        if self._workplace.lookForEdits():
            self._signals.tellAll()
        volume = self._workplace.sliced()
        work = self._workplace.ensuredWork(volume)
        masks = work.takeSegment(segmentId, sliceIndex, PromptPlacer(volume))
        self._signals.notice(tellWritten(self._workplace.target.write(volume, masks)))
        self._workplace.remember(work)
        self._signals.tellAll()
        return masks.keys()

    def _previewIn(self, sliceIndex: int, volume: SlicedVolume, work: SegmentWork) -> None:
        self._signals.promptsChanged.emit()
        self._runner.previewIn(sliceIndex, volume, work)
        self._changed(sliceIndex)

    def _previewAll(self, indexes: Iterable[int], volume: SlicedVolume, work: SegmentWork) -> None:
        for index in dict.fromkeys(indexes):
            self._previewIn(index, volume, work)

    def _gridMm(self, volume: SlicedVolume) -> float:
        return gridMm(volume, self._runner.imageSize)

    def _promptedSlices(self) -> set[int]:
        return {item.sliceIndex for item in self._workplace.prompts()}

    def _corrected(self, taken: Collection[int]) -> int | None:
        """The first of the slices whose mask was taken that has prompts of other kinds too: these correct it."""
        corrects = (one for one in self._workplace.prompts() if one.kind != "segment")
        return next((one.sliceIndex for one in corrects if one.sliceIndex in taken), None)

    def _clear(self, work: SegmentWork, indexes: set[int]) -> None:
        """Undo what prompts that are gone had drawn on slices."""
        if indexes:
            self._runner.dropPreview(indexes)
        if self._runner.busy:
            return
        with self._signals.telling():
            self._workplace.catchUp()
            if self._takeBack(work, indexes):
                self._workplace.remember(work)
                self._signals.tellAll()

    def _takeBack(self, work: SegmentWork, indexes: set[int]) -> bool:
        """Let slices whose prompts are gone show what was there before them; whether they had drawn any."""
        reviews = work.states.slices
        known = [reviews[index] for index in sorted(indexes) if index in reviews]
        bases = {
            one.sliceIndex: work.takeBase(one.sliceIndex) for one in known if one.origin == PROMPTED and not one.isKept
        }
        if bases:
            masks = {index: None if base is None else base.mask for index, base in bases.items()}
            writer = self._workplace.target.write(self._workplace.sliced(), masks)
            self._signals.notice(tellWritten(writer))
        for index, base in bases.items():
            work.noteCleared(index, base)
        return bool(bases)
