"""Prompted slices: the model's answer to points, boxes and masks, and the memory of it that tracks start from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from medsam2_core.config import ModelConfig
from medsam2_core.image.region import Box, Region, mask_box
from medsam2_core.memory_bank import Memory
from medsam2_core.model import ImageFeatures, SliceOutput, SlicePrompts
from medsam2_core.model.dense_prompts import DENSE_LIMIT, draw_prompts
from medsam2_core.prompts import SlicePrompt
from medsam2_core.propagation import DrawnSlice, Propagator

# A mask given to the decoder along with points is clamped to this, as in SAM 2's video predictor.
_PRIOR_LIMIT = 32.0


@dataclass(frozen=True)
class Conditioning:
    """A prompted slice of one object: what is drawn there and what is remembered."""

    drawn: DrawnSlice
    index: int
    propagator: Propagator
    embedding: Tensor  # (hidden_dim, g, g)
    pointer: Tensor  # (hidden_dim,)
    points: SlicePrompts | None = None  # points and box as the model got them; None for a mask

    @cached_property
    @torch.inference_mode()
    def memory(self) -> Memory:
        """What is remembered; encoded when a track first asks for it, since a preview needs none."""
        score = torch.tensor([self.drawn.object_score], device=self.embedding.device)
        encoded = self.propagator.encoded(self.embedding[None], self.drawn.logits[None], score, prompted=True)
        return Memory(self.index, encoded[0], self.embedding, self.pointer, self.drawn.confidence)


@torch.inference_mode()
def condition(propagator: Propagator, index: int, prompt: SlicePrompt, earlier: Sequence[DrawnSlice]) -> Conditioning:
    """Answer the prompts on a slice where `earlier` was drawn before.

    The slice is looked at as it was then, if that serves. A prompt tells of the object it shows and of what it
    corrects: an emptied slice of as much as it was emptied of.
    """
    conditioning = _answer(propagator, index, prompt, [region for one in earlier for region in one.encoded_in])
    evidence = max(one.area_mm2 for one in (conditioning.drawn, *earlier))
    return replace(conditioning, drawn=replace(conditioning.drawn, evidence_mm2=evidence))


def _answer(propagator: Propagator, index: int, prompt: SlicePrompt, before: Sequence[Region]) -> Conditioning:
    region = _region(propagator, index, prompt, before)
    if prompt.mask is not None:
        return _adopt(propagator, index, region, torch.from_numpy(prompt.mask))
    conditioning = _draw(propagator, index, region, prompt)
    if prompt.box is not None or prompt.before is not None:
        return conditioning
    # Clicks say where, not how large: the first answer, on the whole slice, tells where to look closer.
    closer = propagator.view.around(conditioning.drawn.box, *_slice(propagator, index), encoded=before)
    if closer.width >= region.width and closer.height >= region.height:
        return conditioning
    return _draw(propagator, index, closer, prompt)


def _slice(propagator: Propagator, index: int) -> tuple[int, int, tuple[float, float]]:
    return *propagator.stack.shape(index), propagator.stack.spacing(index)


def _region(propagator: Propagator, index: int, prompt: SlicePrompt, before: Sequence[Region]) -> Region:
    if prompt.mask is not None:
        box: Box | None = mask_box(prompt.mask)
    elif prompt.box is None and prompt.before is not None:
        box = mask_box((prompt.before > 0).cpu().numpy())
    elif prompt.box is None:
        return Region.whole(*propagator.stack.shape(index))
    else:
        box = prompt.box
    return propagator.view.around(box, *_slice(propagator, index), encoded=before)


def _adopt(propagator: Propagator, index: int, region: Region, mask: Tensor) -> Conditioning:
    model = propagator.model
    features = propagator.cache.get([(index, region)])
    seen = region.cut(mask.float(), model.config.image_size) >= 0.5
    output = model.adopt(features, seen[None, None].float().to(model.device))
    conditioning = _conditioning(propagator, index, region, features, output)
    # What is remembered is the model's rendering of the mask; what is drawn is the mask, pixel for pixel.
    area = int(mask.sum()) * math.prod(propagator.stack.spacing(index))
    drawn = replace(conditioning.drawn, given=mask.to(model.device), area_mm2=area, box=mask_box(mask.numpy()))
    return replace(conditioning, drawn=drawn)


def _draw(propagator: Propagator, index: int, region: Region, prompt: SlicePrompt) -> Conditioning:
    model = propagator.model
    features = propagator.cache.get([(index, region)])
    points, labels = prompt.model_points(region, model.config.image_size)
    prompts = SlicePrompts(points.to(model.device), labels.to(model.device), None)
    if prompt.before is not None:
        prompts = _corrected(model.config, region, prompt.before, prompts)
    one_click = prompts.labels.shape[1] == 1
    output = model.decode(model.without_memory(features.embedding), features, prompts, ambiguous=one_click)
    conditioning = _conditioning(propagator, index, region, features, output)
    return replace(conditioning, points=SlicePrompts(prompts.points, prompts.labels))


def _corrected(config: ModelConfig, region: Region, before: Tensor, prompts: SlicePrompts) -> SlicePrompts:
    """Add the mask that the prompts correct, logits (rows, columns), as a dense prompt."""
    seen = region.cut(before, config.mask_size)[None]
    if not config.dense_prompts:
        return SlicePrompts(prompts.points, prompts.labels, seen[None].clamp(-_PRIOR_LIMIT, _PRIOR_LIMIT))
    base = seen.clamp(-DENSE_LIMIT, DENSE_LIMIT)
    drawn = draw_prompts(prompts.points, prompts.labels, config.image_size, base)
    return SlicePrompts(prompts.points, prompts.labels, drawn)


def _conditioning(
    propagator: Propagator, index: int, region: Region, features: ImageFeatures, output: SliceOutput
) -> Conditioning:
    (drawn,), _, _ = propagator.read([(index, region)], output)
    return Conditioning(drawn, index, propagator, features.embedding[0], output.pointer[0])
