"""Prompted slices: the model's answer to points, boxes and masks, and the memory of it that tracks start from."""

from __future__ import annotations

from dataclasses import dataclass

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
    memory: Memory


@torch.inference_mode()
def condition(propagator: Propagator, index: int, prompt: SlicePrompt) -> Conditioning:
    """Answer the prompts on a slice."""
    region = _region(propagator, index, prompt)
    if prompt.mask is not None:
        return _adopt(propagator, index, region, torch.from_numpy(prompt.mask))
    conditioning = _draw(propagator, index, region, prompt)
    if prompt.box is not None or prompt.before is not None:
        return conditioning
    # Clicks say where, not how large: the first answer, on the whole slice, tells where to look closer.
    closer = propagator.view.around(conditioning.drawn.box, *_slice(propagator, index))
    if closer.width >= region.width and closer.height >= region.height:
        return conditioning
    return _draw(propagator, index, closer, prompt)


def _slice(propagator: Propagator, index: int) -> tuple[int, int, tuple[float, float]]:
    return *propagator.stack.shape(index), propagator.stack.spacing(index)


def _region(propagator: Propagator, index: int, prompt: SlicePrompt) -> Region:
    rows, columns, spacing = _slice(propagator, index)
    if prompt.mask is not None:
        box: Box | None = mask_box(torch.from_numpy(prompt.mask))
    elif prompt.box is None and prompt.before is not None:
        box = mask_box(prompt.before > 0)
    else:
        box = prompt.box
    return propagator.view.around(box, rows, columns, spacing)


def _adopt(propagator: Propagator, index: int, region: Region, mask: Tensor) -> Conditioning:
    model = propagator.model
    features = propagator.cache.get([(index, region)])
    seen = region.cut(mask.float(), model.config.image_size) >= 0.5
    output = model.adopt(features, seen[None, None].float().to(model.device))
    return _conditioning(propagator, index, region, features, output)


def _draw(propagator: Propagator, index: int, region: Region, prompt: SlicePrompt) -> Conditioning:
    model = propagator.model
    features = propagator.cache.get([(index, region)])
    points, labels = prompt.model_points(region, model.config.image_size)
    prompts = SlicePrompts(points.to(model.device), labels.to(model.device), None)
    if prompt.before is not None:
        prompts = _corrected(model.config, region, prompt.before, prompts)
    one_click = prompts.labels.shape[1] == 1
    output = model.decode(model.without_memory(features.embedding), features, prompts, ambiguous=one_click)
    return _conditioning(propagator, index, region, features, output)


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
    (memory,) = propagator.memories([index], features, output, prompted=True)
    return Conditioning(propagator.drawn(index, region, output, row=0, direction="prompt", distance=0), memory)
