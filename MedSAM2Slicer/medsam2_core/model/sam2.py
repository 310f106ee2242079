"""SAM 2 as four steps a propagation is made of: encode a slice, recall memories, draw the mask, memorize it.

Ravi et al., "SAM 2: Segment anything in images and videos", arXiv 2408.00714. State-dict keys are those of the
published code. B below counts what is processed together: any mix of objects, directions and slices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsam2_core.config import ModelConfig
from medsam2_core.model.dense_prompts import draw_prompts
from medsam2_core.model.layers import MLP
from medsam2_core.model.mask_decoder import DecodedMasks, MaskDecoder, choose_mask
from medsam2_core.model.memory import MemoryAttention, MemoryEncoder
from medsam2_core.model.neck import ImageEncoder
from medsam2_core.model.positions import sine_map_code, sine_time_code
from medsam2_core.model.prompt_encoder import PADDING, PromptEncoder

ABSENT_LOGIT = -1024.0
"""Every mask logit of a slice where the model says the object is absent."""

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

# A mask goes to the memory encoder as probability * 20 - 10, and an adopted mask becomes logits the same way.
_MASK_SCALE = 20.0
_MASK_SHIFT = -10.0


class ImageFeatures(NamedTuple):
    """What the image encoder knows of a batch of slices; independent of prompts, so worth keeping."""

    embedding: Tensor  # (B, hidden_dim, g, g), stride 16
    stride4: Tensor  # (B, hidden_dim / 8, 4 g, 4 g)
    stride8: Tensor  # (B, hidden_dim / 4, 2 g, 2 g)

    def rows(self, index: Tensor | list[int]) -> ImageFeatures:
        """Select slices of the batch, with repeats where several objects look at the same slice."""
        return ImageFeatures(*(level[index] for level in self))

    @staticmethod
    def stack(parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """Join batches."""
        return ImageFeatures(*(torch.cat(level) for level in zip(*parts, strict=True)))


@dataclass(frozen=True)
class SlicePrompts:
    """Prompts in pixels of the model's image. `labels` as in `model.prompt_encoder`; -1 pads."""

    points: Tensor  # (B, P, 2), x and y
    labels: Tensor  # (B, P)
    mask: Tensor | None = None  # (B, 1, S / 4, S / 4), logits of an earlier answer

    @staticmethod
    def none(batch: int, device: torch.device) -> SlicePrompts:
        """Prompts of a slice that has none: one padding point, as in training."""
        points = torch.zeros(batch, 1, 2, device=device)
        return SlicePrompts(points, torch.full((batch, 1), PADDING, device=device))


@dataclass(frozen=True)
class SliceOutput:
    """The chosen mask of each slice. Where the object score is negative every logit is `ABSENT_LOGIT`."""

    logits: Tensor  # (B, S / 4, S / 4)
    iou: Tensor  # (B,), predicted, in [0, 1]
    object_score: Tensor  # (B,), a logit
    pointer: Tensor  # (B, hidden_dim)
    decoded: DecodedMasks | None = None  # all four candidates, which training needs


@dataclass(frozen=True)
class Recall:
    """What one object's memory bank hands to one slice.

    `ages` index the learned time codes: 0 is the newest memory, the last one is kept for prompted slices.
    Maps may be coarser than the embedding, m = g / n: a token of theirs then stands for n x n, whose mean it is.
    `distances` are slices between pointer and slice, positive in the past, divided by the longest distance known.
    `log_weights` are added to the attention logits of a memory's tokens: log(n) counts a memory n times.
    """

    memories: Tensor  # (R, memory_dim, m, m)
    ages: Tensor  # (R,), int64
    log_weights: Tensor | None  # (R,); None: all memories count once
    pointers: Tensor  # (P, hidden_dim)
    distances: Tensor  # (P,)


class SAM2(nn.Module):
    """The model. Built from a `ModelConfig`; all methods are pure functions of their inputs and the weights."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dim, memory_dim = config.hidden_dim, config.memory_dim
        self.image_encoder = ImageEncoder(config)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.memory_attention = MemoryAttention(config)
        self.memory_encoder = MemoryEncoder(config)
        self.sam_prompt_encoder = PromptEncoder(config)
        self.sam_mask_decoder = MaskDecoder(config)
        self.maskmem_tpos_enc = nn.Parameter(0.02 * torch.randn(config.recent_memories + 1, 1, 1, memory_dim))
        self.no_mem_embed = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.no_mem_pos_enc = nn.Parameter(0.02 * torch.randn(1, 1, dim))  # in every checkpoint, read by none
        self.no_obj_ptr = nn.Parameter(0.02 * torch.randn(1, dim))
        self.obj_ptr_proj = MLP(dim, dim, dim, dim)
        if config.absent_memory_code:
            self.no_obj_embed_spatial = nn.Parameter(0.02 * torch.randn(1, memory_dim))
        if config.pointer_time_codes:
            self.obj_ptr_tpos_proj = nn.Linear(dim, memory_dim)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.no_mem_embed.device

    @property
    def precision(self) -> torch.dtype:
        """The numbers that slices are encoded and memories recalled in; see `model.precision`."""
        return self.image_encoder.trunk.patch_embed.proj.weight.dtype

    def encode(self, image: Tensor) -> ImageFeatures:
        """Encode images (B, 1 or 3, S, S) with values in [0, 1]."""
        mean = image.new_tensor(_MEAN)[:, None, None]
        std = image.new_tensor(_STD)[:, None, None]
        decoder = self.sam_mask_decoder
        stride4, stride8, embedding = self.image_encoder((image - mean) / std, (decoder.conv_s0, decoder.conv_s1))
        return ImageFeatures(embedding, stride4, stride8)

    def without_memory(self, embedding: Tensor) -> Tensor:
        """Prepare the embedding (B, hidden_dim, g, g) of prompted slices, which are drawn from the prompts alone."""
        return embedding + self.no_mem_embed.reshape(1, -1, 1, 1)

    def recall(self, embedding: Tensor, recalls: Sequence[Recall], rows: Sequence[int] | None = None) -> Tensor:
        """Condition embeddings (V, hidden_dim, g, g) on B recalls, which may differ in numbers, not in m.

        `rows` say which embedding each recall is for; without them each has its own. Returns (B, hidden_dim, g, g).
        """
        side = embedding.shape[-1]
        pooled = side // recalls[0].memories.shape[-1]
        maps = max(len(recall.memories) for recall in recalls)
        pointers = max(len(recall.pointers) for recall in recalls)
        tokens, codes = zip(*(self._recall_tokens(r, maps, pointers, pooled) for r in recalls), strict=True)
        equal = all(r.log_weights is None and (len(r.memories), len(r.pointers)) == (maps, pointers) for r in recalls)
        bias = None
        if pooled > 1 or not equal:
            bias = torch.stack([self._recall_bias(r, maps, pointers, pooled) for r in recalls])
        return self.memory_attention(
            embedding,
            None if rows is None else torch.tensor(rows, device=embedding.device),
            self._map_code(self.config.hidden_dim, side),
            torch.stack(tokens),
            torch.stack(codes),
            pointers * self._tokens_per_pointer,
            bias,
            pooled,
        )

    def decode(self, fused: Tensor, features: ImageFeatures, prompts: SlicePrompts, ambiguous: bool) -> SliceOutput:
        """Draw the masks of slices whose embedding went through `without_memory` or `recall`.

        A single click is `ambiguous` and may be answered by any of three masks, and so are slices tracked by models
        with `multimask_tracking`; a box, a mask or several points have one answer.
        """
        encoder = self.sam_prompt_encoder
        points, labels = prompts.points, prompts.labels
        mask = prompts.mask
        if self.config.dense_prompts and mask is None:
            mask = draw_prompts(points, labels, self.config.image_size)
        tokens, dense = encoder(points, labels, mask)
        decoded = self.sam_mask_decoder(fused, encoder.grid_code(), tokens, dense, (features.stride4, features.stride8))
        logits, iou, token = choose_mask(decoded, ambiguous, self.config.stability_fallback)
        there = decoded.object_score > 0
        return SliceOutput(
            logits=torch.where(there[:, None, None], logits.float(), ABSENT_LOGIT),
            iou=iou,
            object_score=decoded.object_score,
            pointer=self._pointer(token, there),
            decoded=decoded,
        )

    def adopt(self, features: ImageFeatures, mask: Tensor) -> SliceOutput:
        """Take masks (B, 1, S, S) of zeros and ones as the answer: an edited, accepted or given slice."""
        logits = mask * _MASK_SCALE + _MASK_SHIFT
        size = (self.config.mask_size, self.config.mask_size)
        there = mask.flatten(1).any(dim=1)
        return SliceOutput(
            logits=F.interpolate(logits, size, mode="bilinear", antialias=True)[:, 0],
            iou=torch.ones(len(mask), device=mask.device),
            object_score=torch.where(there, -_MASK_SHIFT, _MASK_SHIFT),
            pointer=self._pointer_of_mask(features, mask, there),
        )

    def memorize(self, embedding: Tensor, logits: Tensor, object_score: Tensor, prompted: bool) -> Tensor:
        """Encode slices and their mask logits (B, S / 4, S / 4) as memories (B, memory_dim, g, g).

        Prompted slices are remembered as the user saw them, a hard mask; tracked ones keep their doubts.
        """
        size = (self.config.image_size, self.config.image_size)
        full = F.interpolate(logits[:, None], size, mode="bilinear")
        mask = (full > 0).float() if prompted else full.sigmoid()
        memory: Tensor = self.memory_encoder(embedding, mask * _MASK_SCALE + _MASK_SHIFT)
        if self.config.absent_memory_code:
            absent = (object_score <= 0).to(memory.dtype)
            memory = memory + absent[:, None, None, None] * self.no_obj_embed_spatial[:, :, None, None]
        return memory

    @property
    def _tokens_per_pointer(self) -> int:
        return self.config.hidden_dim // self.config.memory_dim

    def _map_code(self, channels: int, side: int) -> Tensor:
        return sine_map_code(channels, side, side, self.device)

    def _recall_tokens(self, recall: Recall, maps: int, pointers: int, pooled: int) -> tuple[Tensor, Tensor]:
        """One recall as tokens and codes (K, memory_dim), padded to `maps` maps and `pointers` pointers."""
        memories = recall.memories.to(self.no_mem_embed.dtype)
        count, dim, side, _ = memories.shape
        places = F.avg_pool2d(self._map_code(dim, side * pooled), pooled)
        map_code = places + self.maskmem_tpos_enc[recall.ages].reshape(count, dim, 1, 1)

        def join(of_maps: Tensor, of_pointers: Tensor) -> Tensor:
            tokens = of_maps.flatten(2).transpose(1, 2).flatten(0, 1)
            return _padded(tokens, of_pointers, (maps * side**2, pointers * self._tokens_per_pointer), 0.0)

        return join(memories, recall.pointers.reshape(-1, dim)), join(map_code, self._pointer_codes(recall))

    def _recall_bias(self, recall: Recall, maps: int, pointers: int, pooled: int) -> Tensor:
        """How much more or less than once each of these tokens counts (K,), as a logarithm."""
        area, per_pointer = recall.memories[0, 0].numel(), self._tokens_per_pointer
        of_pointers = recall.pointers.new_zeros(len(recall.pointers) * per_pointer)
        weights = recall.log_weights
        of_maps = of_pointers.new_zeros(len(recall.memories)) if weights is None else weights
        of_maps = of_maps + 2 * math.log(pooled)
        return _padded(of_maps.repeat_interleave(area), of_pointers, (maps * area, pointers * per_pointer), -torch.inf)

    def _pointer_codes(self, recall: Recall) -> Tensor:
        if not self.config.pointer_time_codes:
            return recall.pointers.new_zeros(len(recall.pointers) * self._tokens_per_pointer, self.config.memory_dim)
        code: Tensor = self.obj_ptr_tpos_proj(sine_time_code(recall.distances, self.config.hidden_dim))
        return code.repeat_interleave(self._tokens_per_pointer, dim=0)

    def _pointer(self, token: Tensor, there: Tensor) -> Tensor:
        return torch.where(there[:, None], self.obj_ptr_proj(token), self.no_obj_ptr)

    def _pointer_of_mask(self, features: ImageFeatures, mask: Tensor, there: Tensor) -> Tensor:
        dense = self.mask_downsample(mask)
        prompts = SlicePrompts.none(len(mask), mask.device)
        prompts = SlicePrompts(prompts.points, prompts.labels, dense)
        seen = self.decode(features.embedding, features, prompts, ambiguous=False)
        return torch.where(there[:, None], seen.pointer, self.no_obj_ptr)


def _padded(of_maps: Tensor, of_pointers: Tensor, lengths: tuple[int, int], value: float) -> Tensor:
    """Join the tokens of maps and of pointers, each padded to its length."""
    tail = (0, 0) * (of_maps.ndim - 1)
    parts = zip((of_maps, of_pointers), lengths, strict=True)
    return torch.cat([F.pad(part, (*tail, 0, length - len(part)), value=value) for part, length in parts])
