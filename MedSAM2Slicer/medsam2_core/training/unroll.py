"""Run a batch of clips as a session would, with gradients: prompt the first slice, track the rest, correct one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medsam2_core.memory_bank import Memory, MemoryBank, MemoryRule, Timeline
from medsam2_core.model import ABSENT_LOGIT, SAM2, SliceOutput, SlicePrompts
from medsam2_core.model.dense_prompts import DENSE_LIMIT, carry_mask, draw_prompts
from medsam2_core.model.mask_decoder import DecodedMasks
from medsam2_core.model.prompt_encoder import BOX_END, BOX_START, EXCLUDE, INCLUDE
from medsam2_core.training.clips import Clip

_BOX_JITTER = 0.1  # of the box's sides, at most; each edge on its own


@dataclass(frozen=True)
class Task:
    """What a batch of clips practices.

    `prompt` on the first slice: box, click or mask. `correction` of a later one: none; "mask", its true mask, known
    from the start as after an earlier propagation; or "click", a click where the tracked mask is wrong. `teacher` is
    the probability that a slice's presence is taken from the truth, not from a score that is still noise.
    """

    prompt: str
    memory: MemoryRule
    correction: str = "none"
    teacher: float = 0.0


@dataclass(frozen=True)
class DecodedSlice:
    """A decoded slice (B clips), its truth (B, S, S) and whether its prompt was ambiguous."""

    decoded: DecodedMasks
    truth: Tensor
    ambiguous: bool


def unroll(model: SAM2, clips: Clip, task: Task, generator: torch.Generator) -> list[DecodedSlice]:
    """Run a batch of clips, each part of them (B, T, ...), the object on each first slice.

    Returns every answer of the mask decoder; a slice whose mask was given has nothing to learn from and gives none.
    """
    return _Clips(model, clips, task, generator).run()


class _Clips:
    """The state of a batch of clips on their way: memories, the last answer, and what was decoded."""

    def __init__(self, model: SAM2, clips: Clip, task: Task, generator: torch.Generator) -> None:
        self._model, self._task, self._generator = model, task, generator
        self._masks, self._moves, self._ordered = clips.masks, clips.moves, clips.ordered
        batch, self._length = clips.images.shape[:2]
        features = model.encode(clips.images.transpose(0, 1).reshape(-1, 1, *clips.images.shape[2:]))
        self._slices = [features.rows(torch.arange(t * batch, (t + 1) * batch)) for t in range(self._length)]
        self._decoded: list[DecodedSlice] = []
        self._prompted: list[list[Memory]] = []  # of each prompted slice, one memory per clip

    def run(self) -> list[DecodedSlice]:
        """Walk through the slices once; returns what was decoded, in that order."""
        output = self._prompt()
        if self._length == 1:
            return self._decoded
        logits = self._gated(output, 0)
        self._remember_prompted(0, output, logits)
        corrected = self._draw_corrected()
        given = self._adopt(corrected) if self._task.correction == "mask" else None
        banks = self._fresh_banks()
        for t in range(1, self._length):
            if t == corrected and given is not None:
                logits, banks = given.logits, self._fresh_banks()
                continue
            output = self._track(t, banks, logits)
            logits = self._gated(output, t)
            if t == corrected:
                logits = self._click(t, logits)
                banks = self._fresh_banks()
            elif t + 1 < self._length:
                for bank, memory in zip(banks, self._memories(t, output, logits, prompted=False), strict=True):
                    bank.add(memory)
        return self._decoded

    def _draw_corrected(self) -> int:
        """Which slice is corrected; 0 for none."""
        if self._task.correction == "none":
            return 0
        return int(torch.randint(1, self._length, (), generator=self._generator))

    def _prompt(self) -> SliceOutput:
        features, mask = self._slices[0], self._masks[:, 0]
        if self._task.prompt == "mask":
            return self._model.adopt(features, mask[:, None].float())
        draw = draw_boxes if self._task.prompt == "box" else draw_clicks
        return self._decode(0, draw(mask, self._generator), ambiguous=self._task.prompt == "click")

    def _decode(self, t: int, prompts: SlicePrompts, ambiguous: bool) -> SliceOutput:
        """Answer prompts on slice t, which look at no memory."""
        features = self._slices[t]
        output = self._model.decode(self._model.without_memory(features.embedding), features, prompts, ambiguous)
        return self._noted(output, t, ambiguous)

    def _noted(self, output: SliceOutput, t: int, ambiguous: bool) -> SliceOutput:
        if output.decoded is not None:
            self._decoded.append(DecodedSlice(output.decoded, self._masks[:, t], ambiguous))
        return output

    def _adopt(self, t: int) -> SliceOutput:
        output = self._model.adopt(self._slices[t], self._masks[:, t, None].float())
        self._remember_prompted(t, output, output.logits)
        return output

    def _click(self, t: int, logits: Tensor) -> Tensor:
        """Correct the answer (B, h, w) to slice t by one click; returns the new one."""
        points = draw_correction(logits, self._masks[:, t], self._generator)
        if self._model.config.dense_prompts:
            drawn = (logits > 0).flatten(1).any(dim=1)[:, None, None]
            base = torch.where(drawn, logits.detach().clamp(-DENSE_LIMIT, DENSE_LIMIT), 0.0)
            dense = draw_prompts(points.points, points.labels, self._model.config.image_size, base)
            points = SlicePrompts(points.points, points.labels, dense)
        output = self._decode(t, points, ambiguous=True)
        corrected = self._gated(output, t)
        self._remember_prompted(t, output, corrected)
        return corrected

    def _track(self, t: int, banks: list[MemoryBank], before: Tensor) -> SliceOutput:
        features = self._slices[t]
        recalls = [bank.recall(t, embedding) for bank, embedding in zip(banks, features.embedding, strict=True)]
        fused = self._model.recall(features.embedding, recalls)
        prompts = SlicePrompts.none(len(banks), fused.device)
        if self._model.config.dense_prompts:
            carried = carry_along(before.detach(), self._moves[:, t])
            known = self._ordered[:, None, None, None]
            prompts = SlicePrompts(prompts.points, prompts.labels, torch.where(known, carried, 0.0))
        output = self._model.decode(fused, features, prompts, self._model.config.multimask_tracking)
        return self._noted(output, t, ambiguous=False)

    def _gated(self, output: SliceOutput, t: int) -> Tensor:
        """Mask logits (B, h, w) as the next slice gets them."""
        if output.decoded is None or torch.rand((), generator=self._generator) >= self._task.teacher:
            return output.logits
        there = self._masks[:, t].flatten(1).any(dim=1)[:, None, None]
        return torch.where(there, output.decoded.logits[:, 0].float(), ABSENT_LOGIT)

    def _fresh_banks(self) -> list[MemoryBank]:
        """Banks as a track has them that starts at a prompted slice."""
        rule, line = self._task.memory, Timeline(1, self._length)
        return [rule.bank(self._model.config, line, clip) for clip in zip(*self._prompted, strict=True)]

    def _remember_prompted(self, t: int, output: SliceOutput, logits: Tensor) -> None:
        self._prompted.append(self._memories(t, output, logits, prompted=True))

    def _memories(self, t: int, output: SliceOutput, logits: Tensor, prompted: bool) -> list[Memory]:
        embedding = self._slices[t].embedding
        if output.decoded is None:
            score = output.object_score
        else:  # the teacher may have overruled the score
            score = torch.where(logits.flatten(1).amax(dim=1) > ABSENT_LOGIT, 1.0, -1.0)
        encoded = self._model.memorize(embedding, logits, score, prompted)
        confidence = output.iou.tolist()
        return [Memory(t, encoded[b], embedding[b], output.pointer[b], confidence[b]) for b in range(len(encoded))]


def carry_along(logits: Tensor, moves: Tensor) -> Tensor:
    """Dense prompts (B, 1, h, w) made of the mask logits (B, h, w) of the slice before, whose view moved.

    `moves` (B, 2, 3) are those of `views.Views`; what the view before did not show counts as no object.
    """
    carried = carry_mask(logits.float())
    grid = F.affine_grid(moves, list(carried.shape), align_corners=False)
    return F.grid_sample(carried + DENSE_LIMIT, grid, align_corners=False) - DENSE_LIMIT


def draw_boxes(mask: Tensor, generator: torch.Generator) -> SlicePrompts:
    """Box prompts around masks (B, S, S), drawn with more or less care: edges are off by up to a tenth of the box."""
    size = mask.shape[-1]
    edges = []
    for along in (mask.any(dim=1), mask.any(dim=2)):  # columns, then rows
        position = torch.arange(size, device=mask.device)
        edges.append(torch.where(along, position, size).amin(dim=1))
        edges.append(torch.where(along, position, -1).amax(dim=1))
    low, high = torch.stack(edges[::2], dim=1).float(), torch.stack(edges[1::2], dim=1).float()
    care = torch.rand(len(mask), 1, generator=generator)
    noise = ((torch.rand(2, len(mask), 2, generator=generator) - 0.5) * 2 * _BOX_JITTER * care).to(mask.device)
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


def draw_correction(logits: Tensor, mask: Tensor, generator: torch.Generator) -> SlicePrompts:
    """One click each where mask logits (B, h, w) and true masks (B, S, S) differ, well inside the difference.

    Where nothing differs the click confirms: it includes a place of the object, or excludes one if there is no object.
    """
    drawn = F.interpolate(logits[:, None].float(), mask.shape[-2:], mode="bilinear")[:, 0] > 0
    wrong = drawn ^ mask
    right = ~wrong.flatten(1).any(dim=1)[:, None, None]
    there = mask.flatten(1).any(dim=1)[:, None, None]
    points = draw_clicks(torch.where(right, torch.where(there, mask, ~mask), wrong), generator).points
    x, y = points[:, 0].long().unbind(dim=1)
    inside = mask[torch.arange(len(mask), device=mask.device), y, x]
    return SlicePrompts(points, torch.where(inside, INCLUDE, EXCLUDE)[:, None])
