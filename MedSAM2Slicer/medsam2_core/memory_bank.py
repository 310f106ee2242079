"""Memory banks: which past slices a track remembers, and how much each of them counts on the next slice.

Two rules share one small interface. `Recency` is SAM 2's own (arXiv 2408.00714): the last few slices. `SelfSorting` is
MedSAM-2's (Zhu et al., arXiv 2408.00874, section 3.2), here for 3D: confident slices that differ most from each other,
whatever their order. The released 3D code of the paper does not contain it; where the paper leaves a choice open or its
released 2D code errs, the docstrings say what is done here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from medsam2_core.config import ModelConfig
from medsam2_core.errors import PromptError
from medsam2_core.memory_name import check_seed, parse_memory
from medsam2_core.model import Recall

TimeCodes = Literal["rank", "age", "same"]
Weights = Literal["softmax", "linear"]


@dataclass(frozen=True)
class Memory:
    """What is kept of one object on one slice, of the stack that is cut along `axis`."""

    slice_index: int
    features: Tensor  # (memory_dim, g, g), from the memory encoder
    embedding: Tensor  # (hidden_dim, g, g), of the image, before memory attention
    pointer: Tensor  # (hidden_dim,)
    confidence: float  # predicted IoU
    axis: int = 0  # of (slices, rows, columns), as the session has them


@dataclass(frozen=True)
class Timeline:
    """What makes slices moments of a track: it goes by `step`, +1 or -1, through a stack of `slices` slices."""

    step: int
    slices: int
    axis: int = 0  # as of `Memory`

    def age(self, memory: Memory, slice_index: int) -> int:
        """Return how many slices ago, along this timeline, the memory was made; negative for slices still ahead."""
        return (slice_index - memory.slice_index) * self.step

    def holds(self, memory: Memory) -> bool:
        """Whether the memory is of a slice of this stack: those of other axes have no place in it, and no age."""
        return memory.axis == self.axis


class MemoryBank(Protocol):
    """Remembers tracked slices beside the prompted ones it was made with."""

    def likeness(self, features: Tensor) -> Tensor:
        """How much the features of a memory are like those of the ones kept, float32 (n,), as `add` wants to know."""

    def add(self, memory: Memory, likeness: Sequence[float] | None = None) -> None:
        """Offer the memory of the slice just tracked; its likeness is read from the device if it is not given."""

    def recall(self, slice_index: int, embedding: Tensor) -> Recall:
        """Hand out what counts for this slice, whose image embedding is (hidden_dim, g, g)."""


@runtime_checkable
class MemoryRule(Protocol):
    """A kind of memory bank and its settings."""

    @property
    def repeats_prompts(self) -> bool:
        """Whether the tokens of the prompts a track starts from go to the decoder on each of its slices."""

    def bank(
        self, config: ModelConfig, timeline: Timeline, prompted: Sequence[Memory], shelf: Shelf | None = None
    ) -> MemoryBank:
        """Make a bank for one track. Prompted slices always stay in it.

        A `shelf` is one that all tracks of an object share; without, or by a rule that has no use for it, the bank
        begins empty.
        """


@dataclass(frozen=True)
class Recency:
    """SAM 2's rule: all prompted slices, the most recent tracked ones and the pointers of a few more.

    With `pooled` the mean of 2 x 2 tokens stands for the four of them, as in Efficient Track Anything (arXiv
    2411.18933): less exact, but with sam2.1_hiera_tiny a slice takes 0.7 times as long at 512 pixels and 0.6 times at
    1024 (processor time, one object, its memory full).
    """

    pooled: bool = False
    repeats_prompts: ClassVar[bool] = False

    def bank(
        self, config: ModelConfig, timeline: Timeline, prompted: Sequence[Memory], shelf: Shelf | None = None
    ) -> MemoryBank:
        return _RecencyBank(config, timeline, prompted, self.pooled)


@dataclass(frozen=True)
class SelfSorting:
    """MedSAM-2's rule.

    `size` tracked slices are kept beside the prompted ones; a slice whose predicted IoU is under `min_confidence` is
    not admitted. With a `seed`, memories are drawn with replacement by similarity to the current slice, as in the
    paper; without, each counts as often as it would be drawn on average, which needs no luck. How likely a memory is
    drawn goes by its similarity: by the softmax of all of them, or "linear", its part of their sum, as in the paper,
    where one that is not similar at all (0 or less) is never drawn. With `repeats_prompts` the decoder gets the points
    and box that a track starts from on every slice of a volume, the paper's equation 6, at the same place of what the
    model sees; prompted slices are in the bank either way.

    A bank without an order leaves open which of the time codes, learned for the last, the last but one and so on, each
    memory carries: `time_codes` "rank" counts places from the nearest slice to the farthest, "age" counts slices and
    gives all that are older than the oldest code that one, "same" gives all the newest. `make ablation` compares them.
    """

    size: int = 6
    min_confidence: float = 0.5
    seed: int | None = None
    time_codes: TimeCodes = "rank"
    weights: Weights = "softmax"
    repeats_prompts: bool = False

    def __post_init__(self) -> None:
        if self.time_codes not in get_args(TimeCodes):
            raise PromptError(f"Time codes '{self.time_codes}' are unknown: choose {', '.join(get_args(TimeCodes))}.")
        if self.weights not in get_args(Weights):
            raise PromptError(f"Weights '{self.weights}' are unknown: choose {' or '.join(get_args(Weights))}.")
        check_seed(self.seed)

    def bank(
        self, config: ModelConfig, timeline: Timeline, prompted: Sequence[Memory], shelf: Shelf | None = None
    ) -> MemoryBank:
        return _SelfSortingBank(self, config, timeline, prompted, Shelf() if shelf is None else shelf)


MEMORY_RULES: dict[str, MemoryRule] = {
    "self-sorting": SelfSorting(),
    "recency": Recency(),
    "pooled": Recency(pooled=True),
}


def memory_rule(rule: str | MemoryRule) -> MemoryRule:
    """Turn a name as `memory_name` reads it into its rule; a rule stays itself. Raises `PromptError`."""
    if isinstance(rule, MemoryRule) and not isinstance(rule, type):
        return rule
    if not isinstance(rule, str):
        raise PromptError(f"{rule!r} is not a memory bank: give a name such as 'self-sorting', or a rule.")
    name = parse_memory(rule)
    return MEMORY_RULES[name.kind] if name.size is None else SelfSorting(size=name.size)


class _RecencyBank:
    def __init__(self, config: ModelConfig, timeline: Timeline, prompted: Sequence[Memory], pooled: bool) -> None:
        self._config, self._timeline, self._prompted = config, timeline, list(prompted)
        self._pooled = pooled
        self._recent: list[Memory] = []

    def likeness(self, features: Tensor) -> Tensor:
        return features.new_zeros(0, dtype=torch.float32)

    def add(self, memory: Memory, likeness: Sequence[float] | None = None) -> None:
        self._recent.insert(0, memory)
        del self._recent[self._config.object_pointers - 1 :]

    def recall(self, slice_index: int, embedding: Tensor) -> Recall:
        def aged(limit: int) -> list[Memory]:
            return [m for m in self._recent if self._timeline.age(m, slice_index) <= limit]

        maps = aged(self._config.recent_memories)
        ages = [self._timeline.age(memory, slice_index) - 1 for memory in maps]
        pointers = aged(_pointer_limit(self._config, self._timeline))
        recall = _recall(self._config, self._timeline, slice_index, self._prompted, maps, ages, None, pointers)
        return replace(recall, memories=F.avg_pool2d(recall.memories.float(), 2)) if self._pooled else recall


class Shelf:
    """The tracked memories of a self-sorting bank. Tracks of one object that share it see what all of them leave."""

    def __init__(self) -> None:
        self.kept: list[Memory] = []
        self.changes = 0  # how often it was
        self._alike: list[list[float]] = []  # each of the kept ones and the ones before it

    def likeness(self, features: Tensor) -> Tensor:
        """See `MemoryBank.likeness`."""
        if not self.kept:
            return features.new_zeros(0, dtype=torch.float32)
        return _cosine(features[None], torch.stack([memory.features for memory in self.kept]))[0]

    def put(self, memory: Memory, likeness: Sequence[float], size: int) -> None:
        """Take a memory in; of more than `size` the one most like all the others goes."""
        self._alike.append(list(likeness))
        self.kept.append(memory)
        self.changes += 1
        if len(self.kept) > size:
            self._drop(_most_alike(self._alike))

    def _drop(self, place: int) -> None:
        del self.kept[place], self._alike[place]
        for row in self._alike[place:]:
            del row[place]


class _SelfSortingBank:
    """A shelf as one track sees it. Memories of other axes come after all of its own, and are as far as can be."""

    def __init__(
        self, rule: SelfSorting, config: ModelConfig, timeline: Timeline, prompted: Sequence[Memory], shelf: Shelf
    ) -> None:
        self._rule, self._config, self._timeline, self._prompted = rule, config, timeline, list(prompted)
        self._shelf, self._compared = shelf, 0  # with the shelf as it was after so many changes
        self._random = None if rule.seed is None else torch.Generator().manual_seed(int(rule.seed))

    def likeness(self, features: Tensor) -> Tensor:
        self._compared = self._shelf.changes
        return self._shelf.likeness(features)

    def add(self, memory: Memory, likeness: Sequence[float] | None = None) -> None:
        if memory.confidence < self._rule.min_confidence:
            return
        if likeness is None or self._compared != self._shelf.changes:  # another track was there meanwhile
            likeness = self._shelf.likeness(memory.features).tolist()
        self._shelf.put(memory, likeness, self._rule.size)

    def recall(self, slice_index: int, embedding: Tensor) -> Recall:
        kept = sorted(self._shelf.kept, key=lambda memory: self._distance(memory, slice_index))
        weights = self._weights(kept, embedding)
        if self._random is not None or self._rule.weights == "linear":
            taken = [place for place, weight in enumerate(weights.tolist()) if weight > -math.inf]
            kept, weights = [kept[place] for place in taken], weights[taken]
        ages = self._ages(kept, slice_index)
        return _recall(self._config, self._timeline, slice_index, self._prompted, kept, ages, weights, kept)

    def _distance(self, memory: Memory, slice_index: int) -> float:
        return abs(memory.slice_index - slice_index) if self._timeline.holds(memory) else math.inf

    def _ages(self, kept: list[Memory], slice_index: int) -> list[int]:
        """Time code of each memory, nearest first."""
        if self._rule.time_codes == "same":
            return [0] * len(kept)
        ages = [self._distance(memory, slice_index) - 1 for memory in kept]
        counted = ages if self._rule.time_codes == "age" else range(len(kept))
        return [int(min(age, self._config.recent_memories - 1)) for age in counted]

    def _weights(self, kept: list[Memory], embedding: Tensor) -> Tensor:
        """Log of how often each memory counts, (len(kept),): its share of all draws, times their number."""
        if not kept:
            return embedding.new_zeros(0)
        likeness = _cosine(torch.stack([memory.embedding for memory in kept]), embedding[None])[:, 0]
        share = likeness.softmax(dim=0) if self._rule.weights == "softmax" else _parts(likeness)
        if self._random is None:
            return (share * len(kept)).log()
        drawn = torch.multinomial(share.cpu(), len(kept), replacement=True, generator=self._random)
        return torch.bincount(drawn, minlength=len(kept)).to(share).log()


def _parts(likeness: Tensor) -> Tensor:
    """The part of each similarity (n,) in the sum of all; equal parts if none is similar at all."""
    positive = likeness.clamp(min=0)
    total = positive.sum()
    return torch.where(total > 0, positive / total, torch.full_like(likeness, 1 / len(likeness)))


def _most_alike(alike: Sequence[Sequence[float]]) -> int:
    """Which memory is most like all the others together; `alike` has the likeness of each to the ones before it."""
    total = [sum(row) + sum(later[place] for later in alike[place + 1 :]) for place, row in enumerate(alike)]
    return total.index(max(total))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of every map of a (A, C, g, g) with every map of b (B, C, g, g): (A, B), no gradient.

    Both sides share one layout; the paper's released 2D code compares two different ones, which is near random.
    """
    with torch.no_grad():
        return F.normalize(a.float().flatten(1), dim=1) @ F.normalize(b.float().flatten(1), dim=1).T


def _pointer_limit(config: ModelConfig, timeline: Timeline) -> int:
    """Return the largest distance, in slices, over which object pointers reach."""
    return max(min(timeline.slices, config.object_pointers) - 1, 1)


def _recall(
    config: ModelConfig,
    timeline: Timeline,
    slice_index: int,
    prompted: list[Memory],
    maps: list[Memory],
    ages: list[int],
    weights: Tensor | None,
    pointers: list[Memory],
) -> Recall:
    """Join prompted slices, which carry the last time code and count once, with the tracked ones."""
    limit = _pointer_limit(config, timeline)

    def age(memory: Memory) -> int:
        return timeline.age(memory, slice_index) if timeline.holds(memory) else limit

    pointed = [memory for memory in prompted if age(memory) >= 0] + pointers
    distances = [age(memory) / limit for memory in pointed]
    device = prompted[0].pointer.device
    if config.tracked_count != 1:
        even = torch.zeros(len(maps), device=device) if weights is None else weights
        weights = even + math.log(config.tracked_count)
    return Recall(
        memories=torch.stack([memory.features for memory in prompted + maps]),
        ages=torch.tensor([config.recent_memories] * len(prompted) + ages, device=device),
        log_weights=None if weights is None else torch.cat([weights.new_zeros(len(prompted)), weights]),
        pointers=torch.stack([memory.pointer for memory in pointed]),
        distances=torch.tensor(distances, device=device),
    )
