"""How long slices take: what a run measured, and what the next one will take.

Unit is a look: one object on one slice along one axis, so that objects and axes multiply. Measured with the starter on
one core (chest CT, first looks): spleen 49 ms, liver 48 ms, both along three axes 48 and 50 ms, eight organs at once
44 ms. Where the worker still has the slice's features, as after a correction: 16 to 26 ms.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from medsam2_core.worker.results import Propagated
from MedSAM2SlicerLib.options import RunOptions

_LOOKS = 5  # that tell how long one takes
_SHARE = 0.9  # of looks of one kind, for a run to tell of that kind
_TRUST = 10  # looks measured in a run that count as much as what was expected of it


@dataclass(frozen=True)
class Pace:
    """Milliseconds of a look: the first at a slice, and again while its features are kept. None: not measured."""

    first: float | None = None
    again: float | None = None

    def known(self, isAgain: bool) -> float | None:
        """Return what is known of such a look; what was not measured again is taken to be as the first time."""
        return self.again if isAgain and self.again is not None else self.first

    def updated(self, newer: Pace) -> Pace:
        """Return this with what a later run measured."""
        return Pace(newer.first or self.first, newer.again or self.again)


class Paces(Protocol):
    """Keeps how long looks take, for each way to run the model."""

    def pace(self, options: RunOptions) -> Pace:
        """Return what is known of runs with these options."""
        ...

    def notePace(self, options: RunOptions, pace: Pace) -> None:
        """Keep what a run with these options measured."""
        ...


class KnownPaces:
    """Paces of this program, forgotten with it."""

    def __init__(self) -> None:
        self._known: dict[str, Pace] = {}

    def pace(self, options: RunOptions) -> Pace:
        """See `Paces`."""
        return self._known.get(options.model, Pace())

    def notePace(self, options: RunOptions, pace: Pace) -> None:
        """See `Paces`."""
        self._known[options.model] = self.pace(options).updated(pace)


def measuredPace(results: Sequence[Propagated], looks: int) -> Pace:
    """Return what a run of one object tells; nothing if it was short, or a mixture of first looks and others."""
    if looks < _LOOKS:
        return Pace()
    milliseconds = 1000 * sum(result.seconds for result in results) / looks
    again = sum(result.encoder.get("hits", 0) for result in results) / looks
    if again >= _SHARE:
        return Pace(again=milliseconds)
    return Pace(first=milliseconds) if again <= 1 - _SHARE else Pace()


@dataclass(frozen=True)
class Course:
    """What a propagation looks at of one object along its own axis.

    It `isAgain` if the worker keeps the features of these slices, and `isAtMost` if the object may end before them.
    """

    slices: int
    isAgain: bool
    isAtMost: bool


def course(
    parts: Iterable[tuple[int, int]], anchors: Collection[int], drawn: Collection[int], direction: str, isAgain: bool
) -> Course:
    """Return what a propagation looks at in `parts` of the slices, first <= index < last, the `anchors` left out.

    Between two anchors it comes from both unless it `isAgain`, when one of the ways still stands. Beyond the outer ones
    it is expected to come as far as the propagation before, which has `drawn` these slices; without one, to the end.
    """
    slices, isAtMost = 0, False
    for first, last in parts:
        inside = sorted(index for index in anchors if first <= index < last) or [first]
        ways = 2 if direction == "both" and not isAgain else 1
        slices += ways * (inside[-1] - inside[0] + 1 - len(inside))
        for way, end in (("backward", range(first, inside[0])), ("forward", range(inside[-1] + 1, last))):
            if direction in ("both", way):
                reached = sum(index in drawn for index in end)
                slices += reached or len(end)
                isAtMost |= bool(end) and not reached
    return Course(slices, isAgain, isAtMost)


@dataclass(frozen=True)
class Outlook:
    """What a propagation has before it: slices, summed over segments, and looks at them, summed over axes too.

    `seconds` are None where no time of a look is known. Both are the most it can take if it `isAtMost`.
    """

    segments: int
    slices: int
    axes: int
    seconds: float | None
    isAtMost: bool

    @property
    def looks(self) -> int:
        """How often the model looks at a slice."""
        return self.slices * self.axes

    @property
    def secondsOfLook(self) -> float | None:
        """How long one is expected to take."""
        return self.seconds / self.looks if self.looks and self.seconds is not None else None


def outlook(courses: Sequence[Course], axes: int, pace: Pace, isShared: bool) -> Outlook:
    """Return what several segments have before them; `isShared`: the model sees whole slices, the same for all.

    Then only one of the segments is the first on a slice. Axes across are always looked at for the first time.
    """
    seconds = 0.0
    for place, one in enumerate(sorted(courses, key=lambda one: -one.slices)):
        isAgain = axes == 1 and (one.isAgain or (isShared and place > 0))
        seconds += one.slices * axes * (pace.known(isAgain) or 0.0) / 1000
    slices, isAtMost = sum(one.slices for one in courses), any(one.isAtMost for one in courses)
    return Outlook(len(courses), slices, axes, None if pace.first is None else seconds, isAtMost)


def secondsOfLook(expected: float | None, looks: int, seconds: float) -> float | None:
    """Return how long a look takes: as `expected` at first, more and more as measured; None if neither is known."""
    weight = 0 if expected is None else _TRUST
    return ((expected or 0.0) * weight + seconds) / (weight + looks) if weight + looks else None
