"""The other two axes of a volume: objects found along one axis, followed again along the two across it.

MedSAM-2 (Zhu et al., arXiv 2408.00874, section 3.3) reads a volume in six orientations, three axes each way, that feed
one memory bank, and aggregates the six answers voxel by voxel. No code of it was published, and the paper leaves open
where the other axes begin, which slices they go through, and how the answers are put together. Here:

- An object is crossed from the slice of each other axis that shows most of its mask, sure and far from the mask's ends,
  with that cut of the mask as the prompt. A box around the cut in its place gave a mean Dice of 0.442 instead of 0.448
  (13 structures of a training CT). Memories of the user's own prompts go along.
- Slices across hang upright (`image.orientation.Hanging`): upside down 0.564 instead of 0.571 (5 of a training MR).
- It is crossed in the box of its mask and a margin (`votes.Block`), on as many slices as the first axis took for it:
  every second or third one where there are more, with what lies between them in between. So three axes take three times
  the time of one, however flat the voxels are.
- The first axis decides which slices the object is on: stop rules and range hold for it, and the others change no slice
  that it left out. Prompted slices stay as prompted.
- Under a self-sorting memory all tracks of an object share one shelf (`memory_bank.Shelf`), the ones of the first axis
  before the others. Embeddings of all axes are compared in one layout: rows, then columns of what the model saw. Under
  recency each track has a bank of its own. Three axes took mean Dice from 0.515 to 0.523 under recency, from 0.489 to
  0.491 with the shared shelf (12 structures of a training CT).
- A run through a part of the slices sees nothing of the others, so that it comes out the same in a new worker.

`docs/directions.md` has what it brings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from medsam2_core.arrays import Mask
from medsam2_core.conditioning import condition
from medsam2_core.directions import STEPS
from medsam2_core.embeddings import EmbeddingCache
from medsam2_core.image.orientation import Hanging
from medsam2_core.image.pixels import VolumeStack
from medsam2_core.image.region import Region
from medsam2_core.memory_bank import Memory, MemoryRule, Shelf, Timeline
from medsam2_core.prompts import mask_prompt
from medsam2_core.propagation import DrawnSlice, Propagator, Track
from medsam2_core.stopping import CancelToken
from medsam2_core.votes import SURE, Floats, Probabilities, Votes

ACROSS = (1, 2)
"""The other axes: rows and columns of the session's slices."""

_LEAST_EXTENT = 3  # slices
_CACHE = 64 << 20  # bytes; each view is looked at once


@dataclass(frozen=True)
class Walk:
    """How an object is crossed: from slice `start` every `stride`-th one both ways, within first <= index < last."""

    start: int
    first: int
    last: int
    stride: int

    def indexes(self, step: int) -> range:
        """The slices one way, +1 or -1."""
        return range(self.start + step * self.stride, self.last if step > 0 else self.first - 1, step * self.stride)

    @property
    def slices(self) -> int:
        """How many there are beside the first one."""
        return len(self.indexes(1)) + len(self.indexes(-1))


def plan_walk(own: Probabilities, axis: int, corner: int, most: int) -> Walk | None:
    """Plan to cross what a block's probabilities (slices, rows, columns) show, along axis 1 or 2, on `most` slices.

    `corner` is where the block begins along that axis. None if too little is there to be followed.
    """
    planes = np.moveaxis(own, axis, 0)
    sure = np.array([np.clip(2 * plane.astype(np.float32) - 1, 0, None).sum() for plane in planes])
    present = np.flatnonzero(sure)
    if len(present) < _LEAST_EXTENT:
        return None
    places = np.arange(len(planes))
    depth = np.minimum(places - present[0], present[-1] - places).clip(0)
    return Walk(corner + int((sure * depth).argmax()), corner, corner + len(planes), math.ceil(len(planes) / most))


@dataclass(frozen=True)
class Found:
    """An object as the first axis found it: its votes so far, how many slices that took, what its tracks remember."""

    votes: Votes
    slices: int
    prompted: Sequence[Memory]
    shelf: Shelf

    def walk(self, axis: int) -> Walk | None:
        """How it is crossed along axis 1 or 2."""
        part = self.votes.block.part
        return plan_walk(self.votes.own, axis, (part.y0, part.x0)[axis - 1], self.slices)

    def cut(self, axis: int, walk: Walk) -> Mask:
        """The mask on the slice it is crossed from: what is of the block (slices, what is left)."""
        mask: Mask = np.moveaxis(self.votes.own, axis, 0)[walk.start - walk.first] > SURE
        return mask


class Crossing:
    """Follows objects across `stack`, in which `propagator` followed them slice by slice; its voxels are not copied."""

    def __init__(
        self, propagator: Propagator, stack: VolumeStack, memory: MemoryRule, across: tuple[Hanging, Hanging]
    ) -> None:
        self._propagator, self._stack, self._memory, self._across = propagator, stack, memory, across
        self.complete = False
        """Whether all votes are in."""

    def run(self, objects: Mapping[int, Found], cancel: CancelToken) -> Iterator[tuple[int, int]]:
        """Add the votes of the other axes to the objects'; yields slices done and planned, summed over objects."""
        walks = {axis: _walks(objects, axis) for axis in ACROSS}
        planned = sum(walk.slices for of_axis in walks.values() for walk in of_axis.values())
        before = 0
        for axis, of_axis in walks.items():
            along = _Along(self._propagator, self._stack, axis, self._across[axis - 1], self._memory)
            crossed = [along.start(number, objects[number], walk) for number, walk in of_axis.items()]
            for done in along.run(crossed, cancel):
                yield before + done, planned
            if any(track.running for one in crossed for track in one.tracks):
                return
            before += sum(walk.slices for walk in of_axis.values())
            for one in crossed:
                one.votes.add(axis, one.planes)
        self.complete = True


def _walks(objects: Mapping[int, Found], axis: int) -> dict[int, Walk]:
    walks = {number: found.walk(axis) for number, found in objects.items()}
    return {number: walk for number, walk in walks.items() if walk is not None}


@dataclass(frozen=True)
class _Crossed:
    """An object on its way along another axis, and the planes of its block so far, by their place there."""

    votes: Votes
    first: int
    tracks: Sequence[Track]
    planes: dict[int, Floats] = field(default_factory=dict)


class _Along:
    """The slices of one other axis, as they hang, and tracks through them."""

    def __init__(
        self, propagator: Propagator, first: VolumeStack, axis: int, hanging: Hanging, memory: MemoryRule
    ) -> None:
        self._slices, self._axis, self._hanging, self._memory = len(first), axis, hanging, memory
        self._stack = first.across(axis, hanging)
        cache = EmbeddingCache(propagator.model, self._stack, _CACHE, propagator.cache.folder)
        self._propagator = Propagator(propagator.model, self._stack, cache, propagator.view)

    def start(self, number: int, found: Found, walk: Walk) -> _Crossed:
        """An object at the slice it is crossed from, where it is what the first axis drew."""
        shape = self._stack.shape(walk.start)
        mask = np.zeros(shape, dtype=bool)
        mask[self._part(found.votes).window] = self._hanging.turn(found.cut(self._axis, walk))
        given = condition(self._propagator, walk.start, mask_prompt(mask, shape), ())
        remembered = [replace(given.memory, slice_index=0, axis=self._axis), *found.prompted]
        tracks = [self._track(number, way, walk, given.drawn, remembered, found.shelf) for way in STEPS]
        crossed = _Crossed(found.votes, walk.first, tracks)
        self._keep(crossed, walk.start, given.drawn)
        return crossed

    def run(self, crossed: Sequence[_Crossed], cancel: CancelToken) -> Iterator[int]:
        """Take the objects through; yields how many slices are done."""
        tracks = [track for one in crossed for track in one.tracks]
        of_object = {track.object_id: one for one in crossed for track in one.tracks}
        for new in self._propagator.run(tracks, cancel):
            self._keep(of_object[new.track.object_id], new.index, new.drawn)
            yield sum(track.position for track in tracks)

    def _track(
        self, number: int, way: str, walk: Walk, last: DrawnSlice, remembered: Sequence[Memory], shelf: Shelf
    ) -> Track:
        """A track one way; for the memory the slices are numbered from the one it starts at."""
        step = STEPS[way]
        indexes = walk.indexes(step)
        timeline = Timeline(step, walk.slices + 1, self._axis)
        bank = self._memory.bank(self._propagator.model.config, timeline, remembered, shelf)
        places, mm = range(step, step * (len(indexes) + 1), step), self._stack.slice_mm * walk.stride
        return Track(number, way, indexes, places, bank, last, _nothing, None, mm, axis=self._axis)

    def _keep(self, crossed: _Crossed, index: int, drawn: DrawnSlice) -> None:
        logits = drawn.logits_in(self._part(crossed.votes))
        plane = self._hanging.turn_back(logits.sigmoid().float().cpu().numpy())
        crossed.planes[index - crossed.first] = plane

    def _part(self, votes: Votes) -> Region:
        """What is of the block on these slices."""
        return self._hanging.turn_region(votes.block.across(self._axis), self._slices)


def _nothing(_index: int) -> Sequence[DrawnSlice]:
    return ()
