"""A model with a known right answer: it finds what is brighter, or darker, than the gray around it.

It stands in for `SAM2` and takes the same steps. Which of the two it looks for is told by the prompt and remembered in
the object pointer, so a track finds nothing unless its memory works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsam2_core.config import ModelConfig, get_config
from medsam2_core.image.window import Window
from medsam2_core.model import ABSENT_LOGIT, ImageFeatures, Recall, SliceOutput, SlicePrompts
from medsam2_core.session import VolumeSession

CONFIG = replace(get_config("starter"), image_size=128, dense_prompts=False, field_of_view="whole", trust_mm=None)
REACH = 12  # pixels of the model's image around a click that a correction changes


@dataclass
class FakeModel:
    """Bright (+) and dark (-) objects on gray 0.5; `batches` notes how many slices were decoded together."""

    config: ModelConfig = CONFIG
    confidence: float = 0.9
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batches: list[int] = field(default_factory=list)
    corrected: list[Tensor] = field(default_factory=list)

    def encode(self, image: Tensor) -> ImageFeatures:
        embedding = torch.zeros(len(image), self.config.hidden_dim, self.config.grid_size, self.config.grid_size)
        embedding[:, 1] = F.avg_pool2d(image, 16)[:, 0]
        return ImageFeatures(embedding, F.avg_pool2d(image, 4), F.avg_pool2d(image, 8))

    def without_memory(self, embedding: Tensor) -> Tensor:
        return embedding

    def recall(self, embedding: Tensor, recalls: Sequence[Recall], rows: Sequence[int] | None) -> Tensor:
        fused = embedding.clone() if rows is None else embedding[rows]
        for row, recall in enumerate(recalls):
            fused[row, 0] = recall.pointers[:, 0].mean().sign()
        return fused

    def decode(self, fused: Tensor, features: ImageFeatures, prompts: SlicePrompts, ambiguous: bool) -> SliceOutput:
        self.batches.append(len(fused))
        contrast = features.stride4[:, 0] - 0.5
        if prompts.mask is not None:
            self.corrected.append(prompts.mask)
            logits, sign = _corrected(prompts), _sign(contrast, prompts.mask[:, 0] > 0)
        elif bool((prompts.labels >= 0).any()):
            inside = _inside(prompts, self.config.mask_size)
            sign = _sign(contrast, inside)
            logits = torch.where(_seen(prompts, inside), _found(contrast, sign), -10.0)
        else:
            sign = fused[:, 0].mean(dim=(1, 2))
            logits = _found(contrast, sign)
        return self._output(logits, sign)

    def adopt(self, features: ImageFeatures, mask: Tensor) -> SliceOutput:
        logits = F.avg_pool2d(mask, 4)[:, 0] * 20 - 10
        return replace(self._output(logits, _sign(features.stride4[:, 0] - 0.5, logits > 0)), iou=torch.ones(len(mask)))

    def memorize(self, embedding: Tensor, logits: Tensor, object_score: Tensor, prompted: bool) -> Tensor:
        memory = torch.zeros(len(embedding), self.config.memory_dim, *embedding.shape[2:])
        memory[:, 0] = F.avg_pool2d((logits > 0).float()[:, None], 4)[:, 0]
        return memory

    def _output(self, logits: Tensor, sign: Tensor) -> SliceOutput:
        there = (logits > 0).flatten(1).any(dim=1)
        pointer = torch.zeros(len(logits), self.config.hidden_dim)
        pointer[:, 0] = sign
        return SliceOutput(
            logits=torch.where(there[:, None, None], logits, ABSENT_LOGIT),
            iou=torch.full((len(logits),), self.confidence),
            object_score=torch.where(there, 5.0, -5.0),
            pointer=pointer,
        )


def _found(contrast: Tensor, sign: Tensor) -> Tensor:
    return 40 * (contrast * sign[:, None, None] - 0.25)


def _sign(contrast: Tensor, where: Tensor) -> Tensor:
    return (contrast * where).sum(dim=(1, 2)).sign()


def _inside(prompts: SlicePrompts, side: int) -> Tensor:
    """What the prompts point at (1, side, side): the middle of a box, or the place of each include click."""
    inside = torch.zeros(1, side, side, dtype=torch.bool)
    wanted = prompts.labels[0] == 1
    points = prompts.points[0][wanted] if wanted.any() else prompts.points[0].mean(dim=0)[None]
    for x, y in (points / 4).long().clamp(0, side - 1).tolist():
        inside[0, y, x] = True
    return inside


def _seen(prompts: SlicePrompts, inside: Tensor) -> Tensor:
    """Everything, or for a box its inside."""
    if not (prompts.labels == 2).any():
        return torch.ones_like(inside)
    center = torch.arange(inside.shape[-1]) * 4 + 1.5
    (x0, y0), (x1, y1) = prompts.points[0][:2].tolist()
    return (((center >= y0) & (center <= y1))[:, None] & ((center >= x0) & (center <= x1))[None])[None]


def _corrected(prompts: SlicePrompts) -> Tensor:
    """The mask as it was, with a disc added or taken away at each click."""
    assert prompts.mask is not None
    logits = prompts.mask[:, 0].clone()
    center = torch.arange(logits.shape[-1]) * 4 + 1.5
    for (x, y), label in zip(prompts.points[0].tolist(), prompts.labels[0].tolist(), strict=True):
        near = (center[:, None] - y) ** 2 + (center[None] - x) ** 2 < REACH**2
        logits[0][near] = 10.0 if label == 1 else -10.0
    return logits


@dataclass(frozen=True)
class Discs:
    """A bright and a dark disc that move through a volume (k, j, i); true masks by "bright" and "dark".

    The bright one is on slices 1 to 8 of 11, the dark one on all.
    """

    volume: np.ndarray
    truth: dict[str, np.ndarray]
    window: Window = field(default_factory=lambda: Window(0, 200, "test"))

    def center(self, name: str, k: int) -> tuple[int, int]:
        """(x, y) of a disc on a slice."""
        return (16 + 4 * k, 20) if name == "bright" else (44, 52 - 2 * k)

    def box(self, name: str, k: int) -> tuple[int, int, int, int]:
        """Its box on a slice, with some room."""
        x, y = self.center(name, k)
        return x - 12, y - 12, x + 12, min(y + 12, 63)

    def prompt(self, session: VolumeSession, kind: str, name: str, k: int, object_id: int = 1) -> None:
        """Prompt a disc on a slice with points, a box or its mask."""
        if kind == "points":
            session.add_points(object_id, k, [self.center(name, k)], [1])
        elif kind == "box":
            session.add_box(object_id, k, self.box(name, k))
        else:
            session.add_mask(object_id, k, self.truth[name][k])


def moving_discs() -> Discs:
    k, j, i = np.indices((11, 64, 64))
    bright = ((i - 16 - 4 * k) ** 2 + (j - 20) ** 2 < 10**2) & (k >= 1) & (k <= 8)
    dark = ((i - 44) ** 2 + (j - 52 + 2 * k) ** 2 < 7**2) & ~bright & (j > 31)
    volume = np.full(k.shape, 100, np.int16)
    volume[bright] = 200
    volume[dark] = 0
    return Discs(volume, {"bright": bright, "dark": dark})


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max((a.sum() + b.sum()), 1))
