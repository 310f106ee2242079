"""What segments are propagated with: which slices, the objects of the worker's sessions, and when they stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
from MedSAM2SlicerLib.work.passing import Lane, Leg, Span
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.target import Target
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse


@dataclass(frozen=True)
class Plan:
    """For segments of a target on a volume. `chosen` is how a person wants it; each segment keeps to its own stack.

    Methods raise VolumeError without a usable volume.
    """

    target: Target
    volume: VolumeInUse
    chosen: RunOptions

    def options(self, stack: SliceStack) -> RunOptions:
        """Return the options for slices of a stack, with the window that the segmentation's propagations keep using."""
        window = self.target.window(self.chosen.window, self.volume.node)
        return replace(self.chosen.along(stack), window=window)

    def span(self, stack: SliceStack) -> Span:
        """Return the slices of a stack to go through, half-open."""
        return self.chosen.along(stack).range(self.volume.sliced(stack).slicing.count)

    def intervals(self, work: SegmentWork) -> list[Span]:
        """Return the parts of these slices that a propagation of a segment has to go through."""
        return work.states.intervals(*self.span(work.stack))

    def objects(self, works: Sequence[SegmentWork], stack: SliceStack, opened: int | None = None) -> list[RunObject]:
        """Return the objects of the session along a stack: `works` as they are now, the others as they were sent last.

        Raises PromptError for one that cannot be propagated; `opened` as in `SegmentWork.runObject`.
        """
        placer = PromptPlacer(self.volume.sliced(stack))
        return [work.runObject(placer, opened) for work in works] + self.target.sentBeside(works, stack)

    def legs(self, works: Sequence[SegmentWork]) -> list[Leg]:
        """Return the parts of a pass, stack by stack. Raises PromptError if a segment has nothing to go from there."""
        return _legs(works, self._lane, self.intervals)

    def legsToRedraw(self, works: Sequence[SegmentWork]) -> list[Leg]:
        """Return the parts of a redraw: segment by segment, all of its slices. Raises PromptError."""
        if whyNot := whyNotRedraw(works):
            raise PromptError(whyNot)
        return [leg for work in works for leg in _legs([work], self._laneToRedraw, self._whole)]

    def _lane(self, stack: SliceStack, works: Sequence[SegmentWork]) -> Lane:
        options, objects = self.options(stack), self.objects(works, stack)
        for thing in objects[: len(works)]:
            _requirePrompt(thing, self.span(stack))
        return Lane(options, objects, options.stopRules(self._inside(stack)))

    def _laneToRedraw(self, stack: SliceStack, works: Sequence[SegmentWork]) -> Lane:
        return Lane(self.options(stack), self.objects(works, stack), StopRules())

    def _whole(self, work: SegmentWork) -> list[Span]:
        return [(0, self.volume.sliced(work.stack).slicing.count)]

    def _inside(self, stack: SliceStack) -> npt.NDArray[np.bool_] | None:
        """The region that a propagation is to stay in, on the grid of a stack's slices."""
        if not self.chosen.inside:
            return None
        marked = regionMask(self.chosen.inside, self.target.segmentation, self.volume.usable)
        return self.volume.sliced(stack).region(marked)


def whyNotRedraw(works: Sequence[SegmentWork]) -> str:
    """Return why segments cannot be redrawn from what was propagated, nothing if they can."""
    if all(work.isKeptToRedraw for work in works):
        return ""
    return _("Propagate this segment again first: the model's results for it are no longer in memory.")


def _legs(
    works: Sequence[SegmentWork],
    laneAlong: Callable[[SliceStack, Sequence[SegmentWork]], Lane],
    spansOf: Callable[[SegmentWork], Sequence[Span]],
) -> list[Leg]:
    """Group segments by stack, and there by the slices that they go through."""
    legs = []
    for stack in dict.fromkeys(work.stack for work in works):
        those = [work for work in works if work.stack == stack]
        found: dict[Span, list[SegmentWork]] = {}
        for work in those:
            for span in spansOf(work):
                found.setdefault(span, []).append(work)
        lane = laneAlong(stack, those)
        legs += [Leg(lane, span, found[span]) for span in sorted(found)]
    return legs


def _requirePrompt(thing: RunObject, span: Span) -> None:
    """Raise PromptError for an object without a prompt in a range; slices are counted as the panel does."""
    first, last = span
    if first >= last:
        raise PromptError(_("The range holds no slice of this volume: choose another one."))
    if not any(first <= index < last for index in thing.slices):
        sentence = _("'{name}' has no prompt on slices {range}: widen the range to its prompts (slice {slices}).")
        slices = ", ".join(map(str, thing.slices))
        raise PromptError(sentence.format(name=thing.segment.name, range=f"{first}–{last - 1}", slices=slices))
