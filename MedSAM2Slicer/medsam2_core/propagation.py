"""Propagation: tracks that walk from slice to slice, all of them one step at a time in a shared batch.

A track is one object going one way from one prompted slice. Objects and both directions thus share every run of the
model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from medsam2_core.arrays import Bytes, Mask
from medsam2_core.counting import counted
from medsam2_core.embeddings import BATCH, EmbeddingCache, View
from medsam2_core.image.pixels import PixelStack
from medsam2_core.image.region import Box, FieldOfView, Region, WholeView, mask_box
from medsam2_core.memory_bank import Memory, MemoryBank
from medsam2_core.model import SAM2, SliceOutput, SlicePrompts
from medsam2_core.model.dense_prompts import carry_mask
from medsam2_core.model.parts import without_islands
from medsam2_core.model.prompt_encoder import PADDING
from medsam2_core.prompts import SURE_LOGIT
from medsam2_core.readback import read_back
from medsam2_core.stopping import SMALLEST_SHARE_INSIDE, CancelToken, StopRules, stop_sentence


@dataclass(frozen=True)
class DrawnSlice:
    """One object's answer on one slice, as the model gave it."""

    logits: Tensor  # (h, w), of `region`
    region: Region
    confidence: float  # predicted IoU; of a tracked slice less by `ModelConfig.trust_mm`
    object_score: float  # a logit: above 0 the object is there
    direction: str  # forward, backward or prompt
    distance: int  # slices from the prompt it comes from
    area_mm2: float
    box: Box | None  # of the mask, in slice pixels
    evidence_mm2: float  # area that the prompt it comes from tells of
    given: Tensor | None = None  # bool (rows, columns): a mask prompt, which counts pixel for pixel
    disagreement: float | None = None  # of three axes, 0 to 1; see `votes.Votes`
    differing: Bytes | None = None  # (h, w) of `region`: percent of the axes that say otherwise than the mask
    views: tuple[Region, ...] = ()  # that the slice was encoded in, if `region` is none of them

    @property
    def encoded_in(self) -> tuple[Region, ...]:
        """What the model looked at."""
        return self.views or (self.region,)

    def logits_in(self, part: Region) -> Tensor:
        """Mask logits of a part of the slice that lies within it."""
        if self.given is not None:
            return torch.where(self.given[part.window], SURE_LOGIT, -SURE_LOGIT)
        return self.region.within(part).paste(self.logits, part.height, part.width)

    def tracked(self, direction: str, distance: int, evidence_mm2: float, trust: float) -> DrawnSlice:
        """The same as the answer of a track, of whose predicted IoU the share `trust` is believed."""
        confidence = self.confidence * trust
        return replace(self, direction=direction, distance=distance, evidence_mm2=evidence_mm2, confidence=confidence)


@dataclass
class Track:
    """One object on its way from a prompted slice. `places` count slices for the memory; `indexes` name them.

    `seen` gives what was drawn on a slice before; with `beside`, what the other direction drew there stays.
    The region of the stop rules is (slices, rows, columns) here; `slice_mm` is the way from slice to slice.
    """

    object_id: int
    direction: str
    indexes: Sequence[int]
    places: Sequence[int]
    bank: MemoryBank
    last: DrawnSlice
    seen: Callable[[int], Sequence[DrawnSlice]]
    stop: StopRules | None  # None: another prompted slice waits at the end
    slice_mm: float = 1.0
    beside: bool = False
    axis: int = 0  # as of `Memory`
    repeated: SlicePrompts | None = None  # given on every slice; see `MemoryRule.repeats_prompts`
    position: int = 0
    stopped: str | None = None
    box: Box | None = field(init=False)  # where the object was seen last
    _absent: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        self.box = self.last.box
        if self.indexes and not self.planned:
            self.stopped = f"stopped at once: the next slice is {self.slice_mm:g} mm from the prompted slice"

    @property
    def running(self) -> bool:
        """Whether there is a slice to go to."""
        return self.stopped is None and self.position < len(self.indexes)

    @property
    def planned(self) -> int:
        """Slices done and still to do."""
        if self.stopped is not None:
            return self.position
        longest = None if self.stop is None else self.stop.max_distance_mm
        if longest is None:
            return len(self.indexes)
        return min(len(self.indexes), int(longest / self.slice_mm + 1e-6))  # 0.3 mm do hold three slices of 0.1 mm

    @property
    def index(self) -> int:
        """The slice to go to."""
        return self.indexes[self.position]

    def accept(self, drawn: DrawnSlice, mask: Mask) -> bool:
        """Judge a new slice and its mask by the stop rules; False if it is to be left empty."""
        index, self.position = self.index, self.position + 1
        reason, keep = self._judge(index, drawn, mask)
        if reason is not None:
            self.stopped = stop_sentence(index, reason)
        self.last = drawn
        self.box = drawn.box or self.box
        return keep

    def _judge(self, index: int, drawn: DrawnSlice, mask: Mask) -> tuple[str | None, bool]:
        rules, area = self.stop, drawn.area_mm2
        self._absent = 0 if area > 0 else self._absent + 1
        if rules is None:
            return None, True
        if rules.absent_slices is not None and self._absent >= rules.absent_slices:
            return f"object absent on {counted(self._absent, 'slice')}", True
        wrong = _what_is_wrong(rules, index, mask, area, self.last.area_mm2) if area else None
        if wrong is not None:
            return wrong, False
        if self.position == self.planned < len(self.indexes):
            return f"{round(self.position * self.slice_mm, 1):g} mm from the prompted slice", True
        return None, True


def _padded(repeated: Sequence[SlicePrompts | None], device: torch.device) -> SlicePrompts:
    """Points of several tracks as one batch; one padding point at least, as in training."""
    none = SlicePrompts.none(1, device)
    given = [one or none for one in repeated]
    longest = max(one.labels.shape[1] for one in given)
    points = [F.pad(one.points, (0, 0, 0, longest - one.points.shape[1])) for one in given]
    labels = [F.pad(one.labels, (0, longest - one.labels.shape[1]), value=PADDING) for one in given]
    return SlicePrompts(torch.cat(points), torch.cat(labels))


def _what_is_wrong(rules: StopRules, index: int, mask: Mask, area: float, area_before: float) -> str | None:
    """Which rule the mask of a slice, which must not be empty, breaks, in words."""
    change = abs(area / area_before - 1) if area_before else 0.0
    if rules.inside is not None and (mask & rules.inside[index]).sum() / mask.sum() < SMALLEST_SHARE_INSIDE:
        return "outside the given region"
    if rules.min_area_mm2 is not None and area < rules.min_area_mm2:
        return f"area {area:.0f} mm2 is under {rules.min_area_mm2:.0f} mm2"
    if rules.max_area_change is not None and change > rules.max_area_change:
        return f"area changed by {change:.0%}"
    return None


@dataclass(frozen=True)
class Tracked:
    """What a track drew on a slice; the mask (rows, columns) is of this answer alone."""

    track: Track
    index: int
    drawn: DrawnSlice
    mask: Mask


class Propagator:
    """Runs the model on slices of one stack: prompted ones by themselves, tracked ones in batches."""

    def __init__(self, model: SAM2, stack: PixelStack, cache: EmbeddingCache, view: FieldOfView) -> None:
        self.model, self.stack, self.cache, self.view = model, stack, cache, view

    def run(self, tracks: Sequence[Track], cancel: CancelToken) -> Iterator[Tracked]:
        """Advance all tracks, one slice each per round; yields the answers as they come."""
        while not cancel.cancelled and (running := [track for track in tracks if track.running]):
            yield from self._round(running)

    @torch.inference_mode()
    def _round(self, tracks: list[Track]) -> list[Tracked]:
        """The device is waited for once, in `read`; what comes before it needs no value of this round's."""
        views = [(track.index, self._next_region(track)) for track in tracks]
        seen, rows = self.cache.get_shared(views, self._ahead(tracks))
        features = seen if rows is None else seen.rows(rows)
        recalls = [
            track.bank.recall(track.places[track.position], embedding)
            for track, embedding in zip(tracks, features.embedding, strict=True)
        ]
        fused = self.model.recall(seen.embedding, recalls, rows)
        carried = self._carried(tracks, views)
        output = self.model.decode(fused, features, carried, self.model.config.multimask_tracking)
        if carried.mask is not None:
            output = replace(output, logits=without_islands(output.logits, carried.mask[:, 0]))
        encoded = self.encoded(features.embedding, output.logits, output.object_score, prompted=False)
        likeness = [track.bank.likeness(memory) for track, memory in zip(tracks, encoded, strict=True)]
        drawn, masks, likenesses = self.read(views, output, likeness)
        answers = []
        for row, (track, answer, mask) in enumerate(zip(tracks, drawn, masks, strict=True)):
            index, place, distance = track.index, track.places[track.position], track.position + 1
            memory = Memory(
                place, encoded[row], features.embedding[row], output.pointer[row], answer.confidence, track.axis
            )
            trust = self._trust(track, distance)
            answer = answer.tracked(track.direction, distance, track.last.evidence_mm2, trust)
            if track.accept(answer, mask):
                track.bank.add(memory, likenesses[row].tolist())
                answers.append(Tracked(track, index, answer, mask))
        return answers

    def _trust(self, track: Track, distance: int) -> float:
        """How much of the predicted IoU counts at this many slices from the prompted one: 0 to 1."""
        reach_mm = self.model.config.trust_mm
        if reach_mm is None or not self.stack.ordered:
            return 1.0
        return math.exp(-distance * track.slice_mm / reach_mm)

    def _next_region(self, track: Track) -> Region:
        shape, spacing = self.stack.shape(track.index), self.stack.spacing(track.index)
        encoded = [region for one in track.seen(track.index) for region in one.encoded_in]
        return self.view.around(track.box, *shape, spacing, track.last.region, encoded)

    def _ahead(self, tracks: Sequence[Track]) -> Iterator[View]:
        """Views that tracks come to next, if those do not hang on where the object is."""
        if not isinstance(self.view, WholeView):
            return
        for step in range(1, BATCH):
            for track in tracks:
                if track.position + step < track.planned:
                    index = track.indexes[track.position + step]
                    yield index, Region.whole(*self.stack.shape(index))

    def _carried(self, tracks: list[Track], views: list[View]) -> SlicePrompts:
        """Prompts of tracked slices: none but the repeated ones, or for models trained so, the mask before, too."""
        prompts = _padded([track.repeated for track in tracks], self.model.device)
        if not (self.model.config.dense_prompts and self.stack.ordered):
            return prompts
        before = [
            self._look_again(index, track.last.logits, track.last.region, region)
            for track, (index, region) in zip(tracks, views, strict=True)
        ]
        return SlicePrompts(prompts.points, prompts.labels, carry_mask(torch.stack(before)))

    def _look_again(self, index: int, logits: Tensor, seen: Region, region: Region) -> Tensor:
        """Resample mask logits (h, w) of one region to another region of the same slice size."""
        if seen == region:
            return logits
        return region.cut(seen.paste(logits, *self.stack.shape(index)), self.model.config.mask_size)

    def encoded(self, embedding: Tensor, logits: Tensor, object_score: Tensor, prompted: bool) -> Tensor:
        """Encode a batch of answers as memories (B, memory_dim, g, g); arguments as of `SAM2.memorize`."""
        encoded = self.model.memorize(embedding, logits, object_score, prompted)
        # bfloat16, as the reference keeps them: half the memory, and equal numbers.
        return encoded.to(torch.bfloat16)

    def read(
        self, views: Sequence[View], output: SliceOutput, more: Sequence[Tensor] = ()
    ) -> tuple[list[DrawnSlice], list[Mask], list[npt.NDArray[np.float32]]]:
        """Wait for the answers to views: as of prompted slices, and their masks (rows, columns).

        `more` float32 tensors are brought along.
        """
        pasted = [
            region.paste(logits, *self.stack.shape(index)) > 0
            for (index, region), logits in zip(views, output.logits, strict=True)
        ]
        confidence, score, *rest = read_back([output.iou.float(), output.object_score.float(), *more, *pasted])
        masks: list[Mask] = rest[len(more) :]
        drawn = [
            self._drawn(view, logits.clone(), mask, float(confidence[row]), float(score[row]))
            for row, (view, logits, mask) in enumerate(zip(views, output.logits, masks, strict=True))
        ]
        return drawn, masks, rest[: len(more)]

    def _drawn(self, view: View, logits: Tensor, mask: Mask, confidence: float, score: float) -> DrawnSlice:
        """Measure an answer on its slice. The logits are its own: a row of a batch would keep the whole batch alive."""
        index, region = view
        area, box = int(mask.sum()) * math.prod(self.stack.spacing(index)), mask_box(mask)
        return DrawnSlice(logits, region, confidence, score, "prompt", 0, area, box, area)
