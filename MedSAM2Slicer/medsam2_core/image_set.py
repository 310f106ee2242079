"""One prompt, many images: an unordered set segmented from prompts on some of its images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from medsam2_core.answers import Answer, SlicePrediction
from medsam2_core.errors import PromptError
from medsam2_core.image.pixels import ImageFacts, Images, ImageStack
from medsam2_core.image.window import Window
from medsam2_core.memory_bank import MemoryRule, SelfSorting, Timeline, memory_rule
from medsam2_core.memory_name import SEED_WITHOUT_EFFECT
from medsam2_core.model import SAM2
from medsam2_core.propagation import DrawnSlice, Track
from medsam2_core.session_base import PropagationStep, Session
from medsam2_core.session_object import SessionObject
from medsam2_core.set_looking import certainty
from medsam2_core.set_search import SetSearch, nothing
from medsam2_core.stopping import CancelToken

Order = Literal["free", "arrival"]

# Images that "self-sorting" keeps in free order, of which the ones most like an image count for it. Over the 16 sets of
# `make sets` from training volumes 6 gave a mean Dice of 0.779, 9 of 0.782, and 12, 16 and 40 of 0.784.
_KEPT_IN_ANY_ORDER = 16

Progress = Callable[[int, int], None]
"""Gets the images done and planned; each counts once for every pass."""


class ImageSetSession(Session):
    """Segment kinds of objects in unrelated images of any size: MedSAM-2's one-prompt task.

    Images are gray (rows, columns) in any unit, each in a window of its own unless one is given for all, or color
    (rows, columns, 3), RGB as uint8, which takes no window. "Slice" in the inherited methods means an image, and a
    prompt with an empty mask says that the object is absent there.

    `order` "free" answers alike whatever the order of the list, see `set_search`. "arrival" is the paper's: images come
    in the order of the list, through the memory bank `memory` and as whole images; with `seed`, memories are drawn by
    chance as in the paper. "self-sorting" without a size keeps 16 images in free order, and in order of arrival as many
    as in volumes. Equal images are answered once. `facts` of the images spare a look at each.
    """

    def __init__(
        self,
        model: SAM2,
        images: Images,
        window: Window | str | None = None,
        memory: str | MemoryRule = "self-sorting",
        order: Order = "free",
        seed: int | None = None,
        facts: Sequence[ImageFacts] | None = None,
    ) -> None:
        if order not in get_args(Order):
            raise PromptError(f"Order '{order}' is unknown: choose {' or '.join(get_args(Order))}.")
        is_free = order == "free"
        rule = SelfSorting(_KEPT_IN_ANY_ORDER) if is_free and memory == "self-sorting" else memory_rule(memory)
        if is_free and not isinstance(rule, SelfSorting):
            raise PromptError("Images in no order have no recent ones: choose self-sorting memory, or order 'arrival'.")
        rule = _seeded(rule, seed, order)
        stack = ImageStack(images, window, facts)
        super().__init__(model, stack, rule, field_of_view="auto" if is_free else "whole")
        self._images, self._order = stack, order
        self._admitted = (rule.size, rule.min_confidence) if isinstance(rule, SelfSorting) else (0, 1.0)

    def segment(self, cancel: CancelToken | None = None) -> list[dict[int, SlicePrediction]]:
        """Segment every prompted object in every image; one dict per image, by object id.

        Raises `PromptError` if nothing is prompted.
        """
        for _ in self.steps(cancel):
            pass
        return [self.predict_slice(index) for index in range(len(self._stack))]

    def steps(self, cancel: CancelToken | None = None, progress: Progress = nothing) -> Iterator[PropagationStep]:
        """Segment every prompted object in every image; gives the answers to each image when they are there.

        Canceling keeps what is done, in free order that of the first pass. Raises `PromptError`, when the first answer
        is asked for, if nothing is prompted.
        """
        prompted = {number: known for number, known in self._objects.items() if known.prompts}
        if not prompted:
            raise PromptError("There is nothing to look for: add a point, a box or a mask on one image first.")
        self._condition_all()
        for known in prompted.values():
            known.tracked.clear()
        cancel = cancel or CancelToken()
        run = self._in_any_order if self._order == "free" else self._as_they_come
        for index in run(sorted(prompted), cancel, progress):
            is_prompted = any(index in known.prompts for known in prompted.values())
            yield self._step(index, "prompt" if is_prompted else "forward", sorted(prompted))

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """What the model sees of an image: (rows, columns) in its window, or (rows, columns, 3)."""
        return self._images.pixels(index)

    def labels(self, index: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Label image (rows, columns) with the object ids of all masks; where two overlap the larger logit wins."""
        shape = self._stack.shape(index)
        labels = np.zeros(shape, np.uint8 if max(self._objects, default=0) < 256 else np.uint16)
        best = torch.zeros(shape)
        for number, known in sorted(self._objects.items()):
            answer = known.answer(index)
            if answer is not None:
                logits = answer.logits(*shape).float().cpu()
                labels[(logits > best).numpy()] = number
                best = torch.maximum(best, logits)
        return labels

    def certainty(self, index: int) -> dict[int, float]:
        """How sure the answers to an image are, by object id, as `set_looking.certainty`; of a mask prompt 1."""
        sure = {}
        for number, known in self._objects.items():
            answer = known.answer(index)
            if answer is None:
                continue
            result = answer.result(self._stack.shape(index), self._stack.spacing(index))
            given = index in known.given()
            sure[number] = (
                1.0 if given else certainty(result.confidence, result.object_score, present=result.area_mm2 > 0)
            )
        return sure

    def most_doubtful(self) -> list[int]:
        """The images that are answered, the least certain first: a prompt on the first one helps most."""
        sure = {index: self.certainty(index) for index in range(len(self._stack))}
        answered = [index for index in sure if sure[index]]
        return sorted(answered, key=lambda index: (min(sure[index].values()), self._images.facts[index].key, index))

    def _in_any_order(self, object_ids: Sequence[int], cancel: CancelToken, progress: Progress) -> Iterator[int]:
        copies = self._copies(object_ids)
        search = SetSearch(self._propagator, list(copies), *self._admitted)
        objects = [search.object(self._objects[number].conditioning) for number in object_ids]
        for index in search.run(objects, cancel, progress):
            for number, one in zip(object_ids, objects, strict=True):
                drawn = one.drawn(index)
                if drawn is not None:
                    self._keep(self._objects[number], copies[index], drawn)
            yield from copies[index]

    def _keep(self, known: SessionObject, indexes: Sequence[int], drawn: DrawnSlice) -> None:
        """Keep the answer to the first of equal images for all of them; their pixels may differ in size."""
        pixel_mm2 = math.prod(self._stack.spacing(indexes[0]))
        for index in indexes:
            if index not in known.prompts:
                area = drawn.area_mm2 * math.prod(self._stack.spacing(index)) / pixel_mm2
                known.tracked[index] = Answer((replace(drawn, direction="forward", area_mm2=area),))

    def _copies(self, object_ids: Sequence[int]) -> dict[int, list[int]]:
        """Images without a double, by content, each with those equal to it; all prompted ones stand for themselves."""
        prompted = list(dict.fromkeys(index for number in object_ids for index in self._objects[number].prompts))
        groups: dict[str, list[int]] = {}
        for index in [*prompted, *range(len(self._stack))]:
            group = groups.setdefault(self._images.facts[index].key, [])
            if index not in group:
                group.append(index)
        found: dict[int, list[int]] = {}
        for _, group in sorted(groups.items()):
            found[group[0]] = [index for index in group if index == group[0] or index not in prompted]
            found.update({index: [index] for index in group[1:] if index in prompted})
        return found

    def _as_they_come(self, object_ids: Sequence[int], cancel: CancelToken, progress: Progress) -> Iterator[int]:
        tracks = [self._track(number) for number in object_ids]
        total = sum(track.planned for track in tracks)
        waiting: dict[int, int] = {}
        for index in range(len(self._stack)):
            waiting[index] = sum(index in track.indexes for track in tracks)
            if not waiting[index]:
                yield index
        for done, new in enumerate(self._propagator.run(tracks, cancel), 1):
            self._objects[new.track.object_id].tracked[new.index] = Answer((new.drawn,))
            waiting[new.index] -= 1
            progress(done, total)
            if not waiting[new.index]:
                yield new.index

    def _track(self, object_id: int) -> Track:
        known = self._objects[object_id]
        prompted = sorted(known.prompts)
        order = [index for index in range(len(self._stack)) if index not in known.prompts]
        # Prompted images come first in time, wherever they stand in the set.
        memories = [
            replace(known.conditioning[index].memory, slice_index=place) for place, index in enumerate(prompted)
        ]
        # The images before are not neighbors: counted as often as in a volume, recency had 0.08 instead of 0.19 Dice.
        config = replace(self.model.config, tracked_count=1.0)
        bank = self._memory.bank(config, Timeline(1, len(self._stack)), memories)
        places = range(len(prompted), len(self._stack))
        last = known.conditioning[prompted[-1]].drawn
        return Track(object_id, "forward", order, places, bank, last, known.seen, stop=None)


def _seeded(rule: MemoryRule, seed: int | None, order: Order) -> MemoryRule:
    """The rule with a seed, if one is given. Raises PromptError for one without effect, be it the rule's own."""
    draws = order == "arrival" and isinstance(rule, SelfSorting)
    if not draws and (seed is not None or (isinstance(rule, SelfSorting) and rule.seed is not None)):
        raise PromptError(SEED_WITHOUT_EFFECT)
    return replace(rule, seed=seed) if isinstance(rule, SelfSorting) and seed is not None else rule
