"""Propagation by itself: some time after the last prompt or edit, and again with the next one."""

from __future__ import annotations

import time

from MedSAM2SlicerLib.controllersignals import ControllerSignals
from MedSAM2SlicerLib.runner import Runner
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.workplace import Workplace

PAUSE = 0.3
"""Seconds without a prompt or an edit before the propagation starts."""


class Live:
    """Starts the propagation of the segment at work, and has it make way for the next prompt.

    All that is drawn from one pause to the next is one step for undo. Undo, redo and what the propagation draws itself
    start nothing, nor does a propagation that came to nothing.
    """

    def __init__(self, workplace: Workplace, runner: Runner, signals: ControllerSignals) -> None:
        self._workplace, self._runner, self._signals = workplace, runner, signals
        self._changedAt: float | None = None
        self._near: int | None = None  # the slice that was changed last, which is the one that is looked at

    @property
    def isOn(self) -> bool:
        """Whether it starts anything."""
        return self._runner.isLive

    def turn(self, isOn: bool) -> None:
        """Switch it on or off; what was changed before and not propagated since is propagated then."""
        self._runner.isLive = self._workplace.target.groups = isOn
        if not isOn:
            self._workplace.target.closeStep()

    def note(self, sliceIndex: int | None = None) -> None:
        """Somebody changed the prompts, or what is drawn, on a slice that is known or not."""
        self._changedAt, self._near = time.monotonic(), sliceIndex
        self._runner.interrupt()

    def forget(self) -> None:
        """Start nothing for what was changed so far."""
        self._changedAt = None

    def leave(self) -> None:
        """What was changed is undone, or belongs to another segment."""
        self.forget()
        self._workplace.target.closeStep()

    def tick(self) -> None:
        """Start if it is time; called often."""
        if not self.isOn or self._changedAt is None or time.monotonic() - self._changedAt < PAUSE:
            return
        if self._runner.busy or self._runner.waits or self._workplace.edits.pending:
            return
        self.forget()
        with self._signals.telling():
            work = self._workplace.work()
            if work is not None and _isToPropagate(work):
                self._runner.propagate([work], self._near)


def _isToPropagate(work: SegmentWork) -> bool:
    """Whether a segment has something to go from that no propagation has gone from yet, here or in another panel.

    An edit alone says nothing of slices that came from elsewhere, as those of a file, which would be drawn again.
    """
    hasAnchors = bool(work.prompts) or (bool(work.states.kept()) and not work.hasUnknown)
    return hasAnchors and work.states.areChanged and not work.isEmpty
