"""What segments are propagated with: which slices, the objects of the worker's sessions, and when they stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from slicer.i18n import tr as _

from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import SliceStack
from medsam2_core.run.prompts import RunObject
from medsam2_core.stopping import StopRules
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.prompts.placing import PromptPlacer
from MedSAM2SlicerLib.scene.regions import regionMask
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.slicereview import PROPAGATED
from MedSAM2SlicerLib.work.pace import Course, course
from MedSAM2SlicerLib.work.passing import Lane, Leg, Span
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.target import Target

Volumes = Callable[[SliceStack], SlicedVolume]
"""Gives the volume on slices of a stack. Raises VolumeError without a usable one."""


@dataclass(frozen=True)
class Plan:
    """For segments of a target. `chosen` is how, in which window too; each segment keeps to its own stack."""

    target: Target
    chosen: RunOptions

    def span(self, volume: SlicedVolume) -> Span:
        """Return the slices of a volume to go through, half-open."""
        return self.chosen.along(volume.stack).range(volume.slicing.count)

    def objects(self, works: Sequence[SegmentWork], volume: SlicedVolume, opened: int | None = None) -> list[RunObject]:
        """Return the objects of the session on a volume's slices: `works` as they are now, others as they were sent.

        Raises PromptError for one that cannot be propagated; `opened` as in `SegmentWork.runObject`.
        """
        placer = PromptPlacer(volume)
        return [work.runObject(placer, opened) for work in works] + self.target.sentBeside(works, volume.stack)

    def legs(self, works: Sequence[SegmentWork], volumes: Volumes) -> list[Leg]:
        """Return the parts of a pass, stack by stack. Raises PromptError if a segment has nothing to go from there."""
        stacks = dict.fromkeys(work.stack for work in works)
        return [
            leg for one in stacks for leg in self._legsOn(volumes(one), [work for work in works if work.stack == one])
        ]

    def course(self, work: SegmentWork, volume: SlicedVolume) -> Course:
        """Return what a propagation of a segment looks at, on the volume's slices."""
        known = work.states.slices
        anchors = [index for index, one in known.items() if one.isAnchor]
        drawn = {index for index, one in known.items() if one.origin == PROPAGATED}
        parts = work.states.intervals(*self.span(volume))
        return course(parts, anchors, drawn, self.chosen.direction, bool(drawn) and work.isKnownToWorker)

    def legsToRedraw(self, works: Sequence[SegmentWork], volumes: Volumes) -> list[Leg]:
        """Return the parts of a redraw: segment by segment, all of its slices. Raises PromptError."""
        if whyNot := whyNotRedraw(works):
            raise PromptError(whyNot)
        return [self._legToRedraw(volumes(work.stack), work) for work in works]

    def _legsOn(self, volume: SlicedVolume, works: Sequence[SegmentWork]) -> list[Leg]:
        """Segments on the same slices, grouped by the parts that they go through."""
        span, found = self.span(volume), dict[Span, list[SegmentWork]]()
        options, objects = self.chosen.along(volume.stack), self.objects(works, volume)
        for work, thing in zip(works, objects, strict=False):
            _requirePrompt(thing, span)
            work.states.notePrompted(thing.slices)
            for part in work.states.intervals(*span):
                found.setdefault(part, []).append(work)
        lane = Lane(volume, options, objects, options.stopRules(self._inside(volume)))
        return [Leg(lane, part, found[part]) for part in sorted(found)]

    def _legToRedraw(self, volume: SlicedVolume, work: SegmentWork) -> Leg:
        lane = Lane(volume, self.chosen.along(volume.stack), self.objects([work], volume), StopRules())
        return Leg(lane, (0, volume.slicing.count), [work])

    def _inside(self, volume: SlicedVolume) -> npt.NDArray[np.bool_] | None:
        """The region that a propagation is to stay in, on the grid of a volume's slices."""
        if not self.chosen.inside:
            return None
        return volume.region(regionMask(self.chosen.inside, self.target.segmentation, volume.node))


def whyNotRedraw(works: Sequence[SegmentWork]) -> str:
    """Return why segments cannot be redrawn from what was propagated, nothing if they can."""
    if not all(work.states.hasPropagated for work in works):
        return _(
            "Only propagated slices can be redrawn, and this segment has none: propagate it to other slices, or change "
            "its prompts."
        )
    if all(work.isKeptToRedraw for work in works):
        return ""
    return _("Propagate this segment again first: the model's results for it are no longer in memory.")


def _requirePrompt(thing: RunObject, span: Span) -> None:
    """Raise PromptError for an object without a prompt in a range; slices are counted as the panel does."""
    first, last = span
    if first >= last:
        raise PromptError(_("The range holds no slice of this volume: choose another one."))
    if not any(first <= index < last for index in thing.slices):
        one = _("'{name}' has no prompt on slice {range}: widen the range to its prompts (slice {slices}).")
        many = _("'{name}' has no prompt on slices {range}: widen the range to its prompts (slice {slices}).")
        slices, isOne = ", ".join(map(str, thing.slices)), last - first == 1
        through = str(first) if isOne else f"{first}–{last - 1}"
        raise PromptError((one if isOne else many).format(name=thing.segment.name, range=through, slices=slices))
