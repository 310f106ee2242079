"""Looking at one image of a set: the model's answers for several objects in one batch, each in a view of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medsam2_core.image.region import Box, Region
from medsam2_core.model import Recall, SlicePrompts
from medsam2_core.model.dense_prompts import carry_mask
from medsam2_core.propagation import DrawnSlice, Propagator
from medsam2_core.set_memory import Remembered


@dataclass(frozen=True)
class Look:
    """A way to look at an image for an object: where, what is remembered, and the mask to start from, if any."""

    region: Region
    recall: Recall
    before: Tensor | None  # mask logits of the region, at the model's mask size


@dataclass(frozen=True)
class Found:
    """What the model drew of an object in an image, and how it is remembered."""

    index: int
    drawn: DrawnSlice
    features: Tensor  # (memory_dim, g, g), of the view
    pointer: Tensor  # (hidden_dim,)

    @property
    def certainty(self) -> float:
        """See the function `certainty`."""
        return certainty(self.drawn.confidence, self.drawn.object_score, present=self.drawn.box is not None)

    @property
    def evidence(self) -> float:
        """How sure the model is that the object is there and this is it: 0 where it drew nothing."""
        return self.certainty if self.drawn.box is not None else 0.0


def certainty(confidence: float, object_score: float, *, present: bool) -> float:
    """How sure an answer is, 0 to 1: predicted IoU times the chance of being there; of no mask, the chance of not."""
    there = 1 / (1 + math.exp(-min(max(object_score, -50.0), 50.0)))
    return confidence * there if present else 1 - there


class Looker:
    """Runs the model on one image at a time, so that no answer depends on what else is in a batch."""

    def __init__(self, propagator: Propagator) -> None:
        self._propagator = propagator

    @torch.inference_mode()
    def look(self, index: int, looks: Sequence[Look]) -> list[Found]:
        """Draw an object for each look, all in one batch."""
        propagator, model = self._propagator, self._propagator.model
        views = [(index, one.region) for one in looks]
        seen, rows = propagator.cache.get_shared(views)
        features = seen if rows is None else seen.rows(rows)
        fused = model.recall(seen.embedding, [one.recall for one in looks], rows)
        prompts = SlicePrompts.none(len(looks), model.device)
        if model.config.dense_prompts:
            prompts = SlicePrompts(prompts.points, prompts.labels, self._before(looks))
        output = model.decode(fused, features, prompts, model.config.multimask_tracking)
        encoded = propagator.encoded(features.embedding, output.logits, output.object_score, prompted=False)
        drawn, _, _ = propagator.read(views, output)
        return [
            Found(index, answer.tracked("forward", 1, answer.area_mm2, 1.0), encoded[row].clone(), output.pointer[row])
            for row, answer in enumerate(drawn)
        ]

    @torch.inference_mode()
    def remember(self, index: int, drawn: DrawnSlice, own: Tensor, pointer: Tensor, sure: float) -> Remembered:
        """Keep what was drawn in an image, also as seen in the whole of it."""
        propagator = self._propagator
        region = Region.whole(*propagator.stack.shape(index))
        if drawn.region == region:
            return Remembered(index, own, own, pointer, sure)
        logits = region.cut(drawn.logits_in(region), propagator.model.config.mask_size).clamp(-32, 32)
        score = torch.tensor([drawn.object_score], device=logits.device)
        prompted = drawn.direction == "prompt"
        embedding = propagator.cache.get([(index, region)]).embedding
        whole = propagator.encoded(embedding, logits[None], score, prompted=prompted)[0].clone()
        return Remembered(index, own, whole, pointer, sure)

    def around(self, index: int, box: Box | None, last: Region | None = None) -> Region:
        """The view of an object in an image."""
        stack = self._propagator.stack
        return self._propagator.view.around(box, *stack.shape(index), stack.spacing(index), last)

    def again(self, index: int, drawn: DrawnSlice, region: Region) -> Tensor:
        """What was drawn in an image, as mask logits of another region of it."""
        return self.carried(index, drawn, index, region)

    def carried(self, source: int, drawn: DrawnSlice, index: int, region: Region) -> Tensor:
        """What was drawn in the image `source`, as mask logits of a region of another one at the same place."""
        shape, size = self._propagator.stack.shape(index), self._propagator.model.config.mask_size
        there = self._propagator.stack.shape(source)
        if drawn.given is None and drawn.region == region and shape == there:
            return drawn.logits
        logits = drawn.logits_in(Region.whole(*there))
        if shape != there:
            logits = F.interpolate(logits[None, None], shape, mode="bilinear", antialias=True)[0, 0]
        return region.cut(logits, size)

    def _before(self, looks: Sequence[Look]) -> Tensor:
        """Dense prompts: the mask to start from, and 0 (unknown) for looks without one."""
        side, device = self._propagator.model.config.mask_size, self._propagator.model.device
        masks = [torch.zeros(side, side, device=device) if one.before is None else one.before for one in looks]
        return carry_mask(torch.stack(masks))


def scaled_box(box: Box, shape: tuple[int, int], other: tuple[int, int]) -> Box:
    """A box in an image of `shape` at the same place of another one's, both in rows and columns."""
    y, x = other[0] / shape[0], other[1] / shape[1]
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y
