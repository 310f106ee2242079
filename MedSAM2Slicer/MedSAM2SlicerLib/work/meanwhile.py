"""What others do to segments while a run writes into them: it is theirs, and the run leaves it alone.

A run whose volume they move has nothing to write any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from medsam2_core.errors import VolumeError
from MedSAM2SlicerLib.scene.fitting import whyMoved
from MedSAM2SlicerLib.scene.geometry import placesOf
from MedSAM2SlicerLib.scene.scenewatch import EditWatch
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.slicereview import SliceReview
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.target import Target

Drawn = tuple[Mapping[int, SliceReview], int, int]
"""Slices that a run has drawn on its way through others, first <= index < last."""


class Meanwhile:
    """Watches a target and a volume from the beginning of a run to `end`; `drawn` tells of the segments `works` lists.

    Events tell that somebody wrote; what that was is looked up when the run goes on, before it writes over that.
    """

    def __init__(
        self,
        target: Target,
        volume: SlicedVolume,
        works: Callable[[], list[SegmentWork]],
        drawn: Callable[[SegmentWork], Drawn],
    ) -> None:
        self._volume, self._places = volume, placesOf(volume.node, target.segmentation)
        self._target, self._works, self._drawn = target, works, drawn
        self._announced: dict[str, tuple[int, int]] = {}  # by segment: the slices that the run is on its way through
        self._edits = EditWatch()
        self._edits.follow(target.segmentation)

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Enclose what the run writes, after a look at what others did before. Raises VolumeError, see `whyOver`."""
        if whyOver := self.whyOver():
            raise VolumeError(whyOver)
        if self._edits.hasForeign:
            self._look()
        self._announce()
        with self._edits.ours():
            yield

    def whyOver(self) -> str:
        """Return why the run's masks fit the volume no more, nothing as long as they do."""
        segmentation = self._target.segmentation
        if placesOf(self._volume.node, segmentation) == self._places:  # asked for each slice
            return ""
        return whyMoved(self._volume.node, self._volume.geometry, segmentation)

    def lookForEdits(self) -> None:
        """Look at strokes that are over, and at what was undone at once, before a stroke follows it."""
        if self._edits.isForeignTravel or (self._edits.hasForeign and self._edits.settled):
            self._look()

    def end(self) -> None:
        """The run writes no more."""
        self._edits.stop()

    def _look(self) -> None:
        works, written = self._works(), not self._edits.isForeignTravel
        self._target.noticeOthers(works, written)
        for work in works:
            work.spareEdits(written, *self._drawn(work))
        self._announced.clear()
        self._edits.forget()

    def _announce(self) -> None:
        """Before a run writes, have the scene know that: nothing tells when a scene is being saved."""
        for work in self._works():
            drawn, first, last = self._drawn(work)
            if first < last and self._announced.get(work.segmentId) != (first, last):
                self._announced[work.segmentId] = first, last
                work.announce(drawn, first, last)
