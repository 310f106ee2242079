"""What there is to see of a controller's work: the slices and what is known of them, prompts, measures, the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error, PromptError
from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.prompts.promptnodes import PromptItem
from MedSAM2SlicerLib.record.runrecord import RunRecord, loadRun, writeRun
from MedSAM2SlicerLib.record.script import pythonScript
from MedSAM2SlicerLib.runner import Runner
from MedSAM2SlicerLib.scene.cut import Cut
from MedSAM2SlicerLib.scene.fitting import whyNotUsable
from MedSAM2SlicerLib.scene.measures import Measures, measureSegment
from MedSAM2SlicerLib.scene.slicereview import EDITED, SliceReview
from MedSAM2SlicerLib.work.pace import Outlook
from MedSAM2SlicerLib.work.planning import whyNotRedraw
from MedSAM2SlicerLib.work.workplace import Workplace


class Review:
    """Answers questions and changes nothing, neither in the scene nor in the worker."""

    def __init__(self, workplace: Workplace, runner: Runner) -> None:
        self._workplace, self._runner = workplace, runner

    def whyNot(self) -> str:
        """Return why the chosen volume and segmentation cannot be worked on, nothing if they can."""
        return whyNotUsable(self._workplace.volume.node, self._workplace.segmentationNode)

    def whyBusy(self) -> str:
        """Return why to wait while a propagation runs; empty if none does."""
        return self._runner.whyBusy()

    # Slices

    @property
    def stack(self) -> SliceStack:
        """The slices that are worked on: the segment's own, which its first prompt decides, else those chosen."""
        return self._workplace.stack

    def ownStack(self) -> SliceStack | None:
        """The slices that the segment keeps to, None while its first prompt is still to decide that."""
        return self._workplace.target.stack()

    def stacks(self) -> list[SliceStack]:
        """The stacks that segments keep to, as far as they were worked on here; the latest one last."""
        return self._workplace.target.stacks()

    def sliceCount(self) -> int:
        """Number of slices along the axis; 0 without a usable volume."""
        volume = self._workplace.slicedIfUsable()
        return 0 if volume is None else volume.slicing.count

    def sliceCenterRas(self, sliceIndex: int) -> tuple[float, float, float]:
        """World position of a slice's middle. Raises VolumeError without a usable volume."""
        return self._workplace.sliced().centerRas(sliceIndex)

    def modelView(self, sliceIndex: int) -> npt.NDArray[np.uint8]:
        """Return a slice (rows, columns) as the model sees it. Raises VolumeError without a usable volume."""
        workplace = self._workplace
        return workplace.volume.modelView(workplace.window(), workplace.stack, sliceIndex)

    def slices(self) -> Mapping[int, SliceReview]:
        """What is known of each slice, by index."""
        work = self._workplace.work()
        return {} if work is None else self._runner.reviews(work)

    def edited(self) -> list[int]:
        """List the slices that another tool has changed; they are prompts too."""
        work = self._workplace.work()
        return [] if work is None else [one for one in work.states.kept() if work.states.slices[one].origin == EDITED]

    def doubtful(self) -> list[int]:
        """List the slices worth a look, the most doubtful first."""
        work = self._workplace.work()
        return [] if work is None else work.states.doubtful()

    def nextDoubtful(self, after: int | None) -> int | None:
        """Return the slice to look at when slice `after` has been: the next less doubtful one, at last the worst."""
        ranking = self.doubtful()
        place = ranking.index(after) + 1 if after in ranking else 0
        return ranking[place % len(ranking)] if ranking else None

    # Prompts, and what a propagation would do

    def prompts(self) -> list[PromptItem]:
        """List the segment's prompts by slice; none if one of them cannot be used, which a preview explains."""
        return self._workplace.prompts()

    def outlook(self) -> Outlook | None:
        """Return what `propagate` has before it; None where there is no segment yet, or no usable volume."""
        work = self._workplace.work()
        return None if work is None else self._runner.outlook([work])

    def outlookOfAll(self) -> Outlook | None:
        """Return what `propagateAll` has before it; None without a usable volume."""
        try:
            return self._runner.outlook(self._workplace.works())
        except MedSAM2Error:
            return None

    def intervals(self) -> list[tuple[int, int]]:
        """List the slices, half-open, that a propagation would go through; nothing if that is the whole range."""
        volume = self._workplace.slicedIfUsable() if self._workplace.target.segmentId else None
        if volume is None:
            return []
        span = self._workplace.plan().span(volume)
        affected = self._workplace.target.work(volume).states.intervals(*span)
        return [] if affected == [span] else affected

    # What came of propagations

    def stops(self) -> dict[str, str]:
        """Why each direction ended, as a sentence."""
        work = self._workplace.work()
        return {} if work is None else dict(work.stops)

    def whyNotRedraw(self) -> str:
        """Return why threshold and smoothing have nothing to draw from, nothing if they have."""
        work = self._workplace.work()
        return "" if work is None else whyNotRedraw([work])

    def cut(self) -> Cut | None:
        """Return how the segment is drawn from what was propagated; None if nothing was, as far as that is known."""
        work = self._workplace.work()
        return None if work is None else work.states.cut

    def measures(self) -> Measures | None:
        """Volume and axes of the segment; None where there is none."""
        target, stack = self._workplace.target, self._workplace.stack
        if target.segmentId not in target.segmentIds():  # a segment that was removed is still the one at work
            return None
        measured = measureSegment(target.segmentation, target.segmentId, stack.axis)
        return measured if stack.plane is None else replace(measured, sliceIndex=None)  # of a stored slice

    def script(self) -> str:
        """Return Python code that makes the segment again. Raises MedSAM2Error if no run is recorded."""
        return pythonScript(self._record(), self._workplace.volume.usable)

    def saveRun(self, path: Path) -> None:
        """Write a file for `medsam2 propagate --prompts`. Raises MedSAM2Error if that cannot be done."""
        writeRun(self._record(), path)

    def _record(self) -> RunRecord:
        work, target = self._workplace.work(), self._workplace.target
        if work is not None and work.states.hasUntold:
            raise PromptError(
                _(
                    "The record does not say how all slices were drawn, for example because a propagation was "
                    "interrupted: propagate again first."
                )
            )
        record = loadRun(target.segmentation, target.segmentId) if target.segmentId else None
        if record is None:
            raise PromptError(_("There is no run to repeat yet: propagate first."))
        return record
