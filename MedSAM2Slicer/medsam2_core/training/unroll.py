"""Run a batch of clips as a propagation would, with gradients: prompt the first slice, track the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medsam2_core.memory_bank import Course, Memory, MemoryBank, MemoryRule
from medsam2_core.model import ABSENT_LOGIT, SAM2, ImageFeatures, SliceOutput, SlicePrompts
from medsam2_core.model.dense_prompts import carry_mask
from medsam2_core.model.mask_decoder import DecodedMasks
from medsam2_core.model.prompt_encoder import BOX_END, BOX_START, INCLUDE

_BOX_JITTER = 0.1  # of the box's sides, each edge on its own


@dataclass(frozen=True)
class TrackedSlice:
    """A decoded slice (B clips) and whether its prompt was ambiguous."""

    decoded: DecodedMasks
    ambiguous: bool


def unroll(
    model: SAM2, images: Tensor, masks: Tensor, kind: str, rule: MemoryRule, teacher: float, generator: torch.Generator
) -> list[TrackedSlice]:
    """Track clips: images (B, T, S, S), masks (B, T, S, S) bool, `kind` of the prompt: box, click or mask.

    With probability `teacher` a slice's presence is taken from the truth, not from a score that is still noise.
    A mask prompt is adopted, so its slice has nothing to learn from and is left out of the answer.
    """
    batch, length = images.shape[:2]
    features = model.encode(images.transpose(0, 1).reshape(-1, 1, *images.shape[2:]))
    slices = [features.rows(torch.arange(t * batch, (t + 1) * batch)) for t in range(length)]
    output = _prompt(model, slices[0], masks[:, 0], kind, generator)
    tracked = _answers(output, ambiguous=True)
    if length == 1:
        return tracked
    logits = _gated(output, masks[:, 0], teacher, generator)
    first = _memories(model, slices[0], output, logits, 0, prompted=True)
    banks = [rule.bank(model.config, Course(1, length), [memory]) for memory in first]
    for t in range(1, length):
        output = _track(model, slices[t], banks, t, logits)
        tracked += _answers(output, ambiguous=False)
        logits = _gated(output, masks[:, t], teacher, generator)
        if t + 1 < length:
            for bank, memory in zip(banks, _memories(model, slices[t], output, logits, t, False), strict=True):
                bank.add(memory)
    return tracked


def _answers(output: SliceOutput, ambiguous: bool) -> list[TrackedSlice]:
    return [] if output.decoded is None else [TrackedSlice(output.decoded, ambiguous)]


def _prompt(model: SAM2, features: ImageFeatures, mask: Tensor, kind: str, generator: torch.Generator) -> SliceOutput:
    if kind == "mask":
        return model.adopt(features, mask[:, None].float())
    prompts = draw_boxes(mask, generator) if kind == "box" else draw_clicks(mask, generator)
    return model.decode(model.without_memory(features.embedding), features, prompts, ambiguous=kind == "click")


def _track(model: SAM2, features: ImageFeatures, banks: list[MemoryBank], t: int, before: Tensor) -> SliceOutput:
    recalls = [bank.recall(t, embedding) for bank, embedding in zip(banks, features.embedding, strict=True)]
    fused = model.recall(features.embedding, recalls)
    prompts = SlicePrompts.none(len(banks), fused.device)
    if model.config.dense_prompts:
        prompts = SlicePrompts(prompts.points, prompts.labels, carry_mask(before.detach()))
    return model.decode(fused, features, prompts, model.config.multimask_tracking)


def _gated(output: SliceOutput, mask: Tensor, teacher: float, generator: torch.Generator) -> Tensor:
    """Mask logits (B, h, w) as the next slice gets them."""
    if output.decoded is None or torch.rand((), generator=generator) >= teacher:
        return output.logits
    there = mask.flatten(1).any(dim=1)[:, None, None]
    return torch.where(there, output.decoded.logits[:, 0].float(), ABSENT_LOGIT)


def _memories(
    model: SAM2, features: ImageFeatures, output: SliceOutput, logits: Tensor, t: int, prompted: bool
) -> list[Memory]:
    score = torch.where(logits.flatten(1).amax(dim=1) > ABSENT_LOGIT, 1.0, -1.0)
    encoded = model.memorise(features.embedding, logits, score, prompted)
    confidence = output.iou.tolist()
    return [Memory(t, encoded[b], features.embedding[b], output.pointer[b], confidence[b]) for b in range(len(encoded))]


def draw_boxes(mask: Tensor, generator: torch.Generator) -> SlicePrompts:
    """Box prompts around masks (B, S, S), each edge off by up to a tenth of the box."""
    size = mask.shape[-1]
    edges = []
    for along in (mask.any(dim=1), mask.any(dim=2)):  # columns, then rows
        position = torch.arange(size, device=mask.device)
        edges.append(torch.where(along, position, size).amin(dim=1))
        edges.append(torch.where(along, position, -1).amax(dim=1))
    low, high = torch.stack(edges[::2], dim=1).float(), torch.stack(edges[1::2], dim=1).float()
    noise = (torch.rand(2, len(mask), 2, generator=generator).to(mask.device) - 0.5) * 2 * _BOX_JITTER
    low, high = low + noise[0] * (high - low), high + noise[1] * (high - low)
    points = torch.stack([low, high], dim=1).clamp(0, size - 1)
    return SlicePrompts(points, torch.tensor([[BOX_START, BOX_END]], device=mask.device).expand(len(mask), -1))


def draw_clicks(mask: Tensor, generator: torch.Generator) -> SlicePrompts:
    """One click each, anywhere well inside masks (B, S, S)."""
    depth = -F.max_pool2d(-mask[:, None].float(), 5, stride=1, padding=2)[:, 0]
    chances = (depth * 20 + mask.float() + 1e-9).flatten(1)
    chosen = torch.multinomial(chances.cpu(), 1, generator=generator).to(mask.device)
    points = torch.cat([chosen % mask.shape[-1], chosen // mask.shape[-1]], dim=1).float()[:, None]
    return SlicePrompts(points, torch.full((len(mask), 1), INCLUDE, device=mask.device))
