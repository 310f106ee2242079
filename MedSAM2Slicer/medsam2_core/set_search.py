"""Answering a set of images in no order: from the prompted ones to those most like them, then all again.

Two passes. The first grows from the prompted images, always to the image most like one that is answered, and looks for
an object where it lay there, or all over the image if that leaves doubts. It leaves each object a memory bank of the
certain and most different images. The second answers every image by itself with that bank, which no longer changes;
of both answers the more certain one counts.

Images are gone through in the order of their content, and one at a time: so no answer depends on the list's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from medsam2_core.arrays import Array
from medsam2_core.conditioning import Conditioning
from medsam2_core.image.region import Box, Region
from medsam2_core.model import Recall
from medsam2_core.propagation import DrawnSlice, Propagator
from medsam2_core.set_looking import Found, Look, Looker, scaled_box
from medsam2_core.set_memory import SetMemory
from medsam2_core.stopping import CancelToken

_SURE = 0.7  # certainty of an answer beside which no other is looked for
_CODE_SIDE = 8  # cells of the grid by which images are compared


@dataclass
class SetObject:
    """An object on its way through a set: where it is prompted, what was found, and what is remembered."""

    memory: SetMemory
    prompted: Mapping[int, DrawnSlice]
    found: dict[int, Found] = field(default_factory=dict)
    seen: dict[int, Box | None] = field(default_factory=dict)  # where it is, or lay in the images that were followed

    def drawn(self, index: int) -> DrawnSlice | None:
        """What is drawn in an image so far."""
        if index in self.prompted:
            return self.prompted[index]
        return self.found[index].drawn if index in self.found else None


class SetSearch:
    """Answers the images `order` (by content) of a stack; memories of `size` images count beside prompted ones."""

    def __init__(self, propagator: Propagator, order: Sequence[int], size: int, least: float) -> None:
        self._propagator, self._looker = propagator, Looker(propagator)
        self._order, self._size, self._least = list(order), size, least
        self._whole_view = propagator.view.name == "whole"
        self._likeness = self._compare()

    def object(self, conditioning: Mapping[int, Conditioning]) -> SetObject:
        """An object that is prompted in some images."""
        prompted = {index: conditioning[index] for index in self._order if index in conditioning}
        remembered = [
            self._looker.remember(index, one.drawn, one.memory.features, one.pointer, 1.0)
            for index, one in prompted.items()
        ]
        drawn = {index: one.drawn for index, one in prompted.items()}
        memory = SetMemory(remembered, self._size, self._least)
        return SetObject(memory, drawn, seen={index: one.box for index, one in drawn.items()})

    def run(
        self, objects: Sequence[SetObject], cancel: CancelToken, progress: Callable[[int, int], None]
    ) -> Iterator[int]:
        """Answer all images; yields each that is done. Canceled, it yields those of the first pass, and ends."""
        total = 2 * len(self._order)
        done: list[int] = []
        for index in self._growing(objects):
            if cancel.cancelled:
                break
            self._first(index, objects)
            done.append(index)
            progress(len(done), total)
        for place, index in enumerate(done if cancel.cancelled else self._order):
            if not cancel.cancelled:
                self._second(index, objects)
                progress(len(done) + place + 1, total)
            yield index

    def _compare(self) -> Array:
        """Likeness of every image to every other one (n, n), from -1 to 1, by index; of those in `order` only."""
        codes = torch.cat([self._code(index) for index in self._order])
        codes = F.normalize(codes - codes.mean(dim=0), dim=1)  # what all images share tells none from another
        count = len(self._propagator.stack)
        likeness = np.full((count, count), -1.0, np.float32)
        likeness[np.ix_(self._order, self._order)] = (codes @ codes.T).cpu().numpy()
        return likeness

    @torch.inference_mode()
    def _code(self, index: int) -> torch.Tensor:
        embedding = self._propagator.cache.get([(index, self._whole(index))]).embedding
        return F.adaptive_avg_pool2d(embedding.float(), _CODE_SIDE).flatten(1)

    def _whole(self, index: int) -> Region:
        return Region.whole(*self._propagator.stack.shape(index))

    def _growing(self, objects: Sequence[SetObject]) -> Iterator[int]:
        """Every image once: the prompted ones, then always the one most like any before."""
        rest = [index for index in self._order if not any(index in one.prompted for one in objects)]
        nearest = np.full(len(self._likeness), -np.inf, np.float32)
        for index in self._order:
            if index not in rest:
                yield index
                nearest = np.maximum(nearest, self._likeness[index])
        while rest:
            index = rest.pop(int(np.argmax(nearest[rest])))
            yield index
            nearest = np.maximum(nearest, self._likeness[index])

    def _first(self, index: int, objects: Sequence[SetObject]) -> None:
        """Follow the image that is most like this one, and look all over this one for what is in doubt."""
        asked = [one for one in objects if index not in one.prompted]
        sources = [self._most_alike(index, one) for one in asked]
        for one, source, found in zip(asked, sources, self._answers(index, asked, sources), strict=True):
            one.found[index] = found
            one.seen[index] = found.drawn.box or self._moved(one.seen[source], source, index)
            if found.drawn.box is not None:
                one.memory.offer(
                    self._looker.remember(index, found.drawn, found.features, found.pointer, found.certainty)
                )

    def _most_alike(self, index: int, one: SetObject) -> int:
        """The answered image that is most like this one."""
        answered = [other for other in self._order if one.drawn(other) is not None]
        return answered[int(np.argmax(self._likeness[index][answered]))]

    def _answers(self, index: int, asked: Sequence[SetObject], sources: Sequence[int]) -> list[Found]:
        looks = [self._following(index, source, one) for source, one in zip(sources, asked, strict=True)]
        found = self._look(index, looks)
        doubtful = [place for place, one in enumerate(found) if one.evidence < _SURE]
        return self._surer(index, asked, found, doubtful)

    def _surer(
        self, index: int, asked: Sequence[SetObject], found: list[Found], doubtful: Sequence[int]
    ) -> list[Found]:
        """The answers, those in doubt replaced by what is found all over the image if that is surer."""
        if self._whole_view or not doubtful:
            return found
        elsewhere = self._everywhere(index, [asked[place] for place in doubtful])
        for place, other in zip(doubtful, elsewhere, strict=True):
            if other.evidence > found[place].evidence:
                found[place] = other
        return found

    def _second(self, index: int, objects: Sequence[SetObject]) -> None:
        """Answer an image by itself with the banks as they are now."""
        asked = [one for one in objects if index not in one.prompted]
        again = self._look(index, [self._following(index, index, one) for one in asked])
        for one, found in zip(asked, again, strict=True):
            if found.evidence > one.found[index].evidence:
                one.found[index] = found

    def _everywhere(self, index: int, asked: Sequence[SetObject]) -> list[Found]:
        """Look at the whole image, then closer at what is there."""
        whole = self._whole(index)
        found = self._look(index, [Look(whole, self._recall(index, one, whole=True), None) for one in asked])
        closer = self._closer(index, found)
        looks = [
            Look(region, self._recall(index, asked[place]), self._looker.again(index, found[place].drawn, region))
            for place, region in closer.items()
        ]
        for place, one in zip(closer, self._look(index, looks), strict=True):
            found[place] = one
        return found

    def _closer(self, index: int, found: Sequence[Found]) -> dict[int, Region]:
        """Smaller views of what was found in the whole image, by place."""
        whole, closer = self._whole(index), dict[int, Region]()
        for place, one in enumerate(found):
            if one.drawn.box is not None:
                region = self._looker.around(index, one.drawn.box)
                if region.width < whole.width or region.height < whole.height:
                    closer[place] = region
        return closer

    def _look(self, index: int, looks: Sequence[Look]) -> list[Found]:
        return self._looker.look(index, looks) if looks else []

    def _recall(self, index: int, one: SetObject, *, whole: bool = False) -> Recall:
        return one.memory.recall(self._propagator.model.config, index, self._likeness[index], whole or self._whole_view)

    def _following(self, index: int, source: int, one: SetObject) -> Look:
        """Look where the object lay in the image `source`, and start from its mask there."""
        drawn, box = one.drawn(source), self._moved(one.seen[source], source, index)
        stack, whole = self._propagator.stack, self._whole(index)
        if drawn is None or box is None:
            return Look(whole, self._recall(index, one, whole=True), None)
        same = stack.shape(index) == stack.shape(source)
        region = self._looker.around(index, box, drawn.region if same else None)
        dense = self._propagator.model.config.dense_prompts
        before = self._looker.carried(source, drawn, index, region) if dense else None
        return Look(region, self._recall(index, one, whole=region == whole), before)

    def _moved(self, box: Box | None, source: int, index: int) -> Box | None:
        """A box at the same place of another image."""
        stack = self._propagator.stack
        return None if box is None else scaled_box(box, stack.shape(source), stack.shape(index))


def nothing(_done: int, _planned: int) -> None:
    """Progress that nobody follows."""
