"""A worker without torch, so that it starts in a quarter of a second: what is brighter than 100 is the object.

python fake_worker.py [SECONDS A SLICE [HOLD]]

After two slices it waits as long as there is a file HOLD, or until it is canceled.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from medsam2_core.errors import PromptError, WeightsError
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.stopping import CancelToken, StopRules
from medsam2_core.worker.image_sets import SetImage
from medsam2_core.worker.interfaces import MomentsSpec, SeenVolume, SessionSpec, SetSpec
from medsam2_core.worker.server import serve

HELD_AFTER = 2


@dataclass(frozen=True)
class Pace:
    """How fast it is, and what it waits for."""

    seconds: float = 0.0
    hold: Path | None = None

    def wait(self, done: int, cancel: CancelToken | None = None) -> None:
        """Take the time of a slice when so many are done."""
        while done == HELD_AFTER and self.hold and self.hold.exists() and not (cancel and cancel.cancelled):
            time.sleep(0.005)
        time.sleep(self.seconds)


@dataclass(frozen=True)
class Found:
    mask: np.ndarray
    confidence: float = 0.9
    object_score: float = 5.0
    disagreement: float | None = None


@dataclass(frozen=True)
class FakeStep:
    slice_index: int
    direction: str
    masks: Mapping[int, np.ndarray]
    confidence: Mapping[int, float]
    object_score: Mapping[int, float]


@dataclass(frozen=True)
class Facts:
    direction: str
    area_mm2: float
    confidence: float = 0.9
    object_score: float = 5.0
    disagreement: float | None = None


@dataclass
class FakeSession:
    """Draws objects id, id + 1, ... shifted by a column each, so that a mix-up of objects shows."""

    slices: np.ndarray
    pace: Pace = field(default_factory=Pace)
    field_of_view: str = "whole"
    encoder_runs: int = 0
    cache_bytes: int = 0
    prompts: dict[tuple[int, int], list[Any]] = field(default_factory=dict)
    tracked: dict[tuple[int, int], str] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    cache_limit: int = 0

    @property
    def encoder_counts(self) -> dict[str, int]:
        return {"runs": self.encoder_runs, "hits": 0}

    def limit_cache(self, max_bytes: int) -> None:
        self.cache_limit = max_bytes

    def look(self, slice_index: int) -> None:
        self.encoder_runs += 1
        self.calls.append(("look", slice_index))

    def snapshot(self) -> Callable[[], None]:
        before = dict(self.tracked)

        def bring_back() -> None:
            self.tracked = before

        return bring_back

    def add_points(self, object_id: int, slice_index: int, points_xy: Any, labels: Any) -> None:
        self._add(object_id, slice_index, ("points", points_xy, labels))

    def add_box(self, object_id: int, slice_index: int, box_xyxy: Any) -> None:
        self._add(object_id, slice_index, ("box", box_xyxy))

    def add_mask(self, object_id: int, slice_index: int, mask: np.ndarray) -> None:
        self._add(object_id, slice_index, ("mask", mask.sum()))

    def remove_prompts(self, object_id: int, slice_index: int) -> None:
        self.calls.append(("remove", object_id, slice_index))
        del self.prompts[object_id, slice_index]

    def remove_object(self, object_id: int) -> None:
        self.calls.append(("forget", object_id))
        for places in (self.prompts, self.tracked):
            for place in [place for place in places if place[0] == object_id]:
                del places[place]

    def predict_slice(self, slice_index: int) -> dict[int, Found]:
        self.encoder_runs += 1
        known = {label for label, index in (*self.prompts, *self.tracked) if index == slice_index}
        return {label: Found(self.draw(label, slice_index)) for label in known}

    def propagate(
        self,
        first: int | None = None,
        last: int | None = None,
        direction: str = "both",
        stop: StopRules | None = None,
        cancel: CancelToken | None = None,
        progress: Callable[[int, int], None] | None = None,
        objects: Sequence[int] | None = None,
        **_settings: Any,
    ) -> Iterator[FakeStep]:
        labels = sorted({label for label, _ in self.prompts if objects is None or label in objects})
        if not labels:
            raise PromptError("There is nothing to propagate: add a point, a box or a mask first.")
        self.calls.append(("propagate", stop, objects))
        start = min(index for label, index in self.prompts if label in labels)
        way = [*range(start, last or len(self.slices)), *range(start - 1, (first or 0) - 1, -1)]
        for done, index in enumerate(way):
            self.pace.wait(done, cancel)
            if cancel is not None and cancel.cancelled:
                return
            going = "prompt" if index == start else "forward" if index > start else "backward"
            self.tracked.update({(label, index): going for label in labels})
            if progress is not None:
                progress(done + 1, len(way))
            yield FakeStep(
                index,
                going,
                {label: self.draw(label, index) for label in labels},
                dict.fromkeys(labels, 0.9),
                dict.fromkeys(labels, float("inf")),
            )

    def redraw(self, object_id: int, threshold: float = 0.5, **_drawing: Any) -> Iterator[FakeStep]:
        """Take away a row at the top for each tenth that the threshold is above a half."""
        tracked = {index: going for (label, index), going in self.tracked.items() if label == object_id}
        if not tracked:
            raise PromptError("Propagate again first: nothing is kept.")
        for done, (index, going) in enumerate(sorted(tracked.items())):
            self.pace.wait(done)
            mask = self.draw(object_id, index)
            mask[: np.flatnonzero(mask.any(axis=1))[0] + round(10 * (threshold - 0.5))] = False
            yield FakeStep(index, going, {object_id: mask}, {object_id: 0.9}, {object_id: 5.0})

    def disagreement(self, object_id: int) -> Iterator[tuple[int, np.ndarray]]:
        """The upper left pixels of each mask."""
        if not any(label == object_id for label, _ in self.tracked):
            raise PromptError("Propagate along three axes first.")
        for label, index in sorted(self.tracked):
            if label == object_id:
                mask = self.draw(label, index)
                yield index, np.where(np.cumsum(mask).reshape(mask.shape) <= 3, 33 * mask, 0).astype(np.uint8)

    def results(self, object_id: int) -> dict[int, Facts]:
        return {
            index: Facts(going, float(self.draw(label, index).sum()))
            for (label, index), going in sorted({**self.tracked, **dict.fromkeys(self.prompts, "prompt")}.items())
            if label == object_id
        }

    def stops(self, object_id: int) -> dict[str, str]:
        return {"forward": "reached the end"}

    def draw(self, label: int, index: int) -> np.ndarray:
        return np.roll(self.slices[index] > 100, label - 1, axis=1)

    def _add(self, object_id: int, slice_index: int, prompt: tuple[Any, ...]) -> None:
        if not 0 <= slice_index < len(self.slices):
            raise PromptError(f"Slice {slice_index} does not exist.")
        self.calls.append((prompt[0], object_id, slice_index))
        self.prompts.setdefault((object_id, slice_index), []).append(prompt)


@dataclass
class FakeSet:
    """What is brighter than 100, in every image; of 0 where the object was said to be absent."""

    images: Sequence[SetImage]
    pace: Pace
    encoder_runs: int = 0
    cache_bytes: int = 0
    prompts: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    absent: set[tuple[int, int]] = field(default_factory=set)

    def limit_cache(self, max_bytes: int) -> None:
        """Nothing is kept."""

    def add_points(self, object_id: int, slice_index: int, points_xy: Any, labels: Any) -> None:
        self.prompts.setdefault(object_id, []).append(("points", slice_index))

    def add_box(self, object_id: int, slice_index: int, box_xyxy: Any) -> None:
        self.prompts.setdefault(object_id, []).append(("box", slice_index))

    def add_mask(self, object_id: int, slice_index: int, mask: np.ndarray) -> None:
        self.prompts.setdefault(object_id, []).append(("mask", slice_index))
        if not mask.any():
            self.absent.add((object_id, slice_index))

    def remove_prompts(self, object_id: int, slice_index: int) -> None:
        raise NotImplementedError

    def remove_object(self, object_id: int) -> None:
        self.prompts.pop(object_id, None)
        self.absent = {place for place in self.absent if place[0] != object_id}

    def steps(self, cancel: CancelToken, progress: Callable[[int, int], None]) -> Iterator[FakeStep]:
        if not self.prompts:
            raise PromptError("There is nothing to look for.")
        for index in range(len(self.images)):
            self.pace.wait(index, cancel)
            if cancel.cancelled:
                return
            progress(index + 1, len(self.images))
            masks = {label: self._mask(label, index) for label in self.prompts}
            sure = dict.fromkeys(self.prompts, 0.9)
            yield FakeStep(index, "forward", masks, sure, dict.fromkeys(self.prompts, 5.0))

    def labels(self, index: int) -> np.ndarray:
        labels = np.zeros(self.images[index].shape, np.uint8)
        for label in self.prompts:
            labels[self._mask(label, index)] = label
        return labels

    def certainty(self, index: int) -> dict[int, float]:
        return dict.fromkeys(self.prompts, 1 / (index + 1))

    def _mask(self, label: int, index: int) -> np.ndarray:
        pixels = self.images[index].pixels
        bright = (pixels if pixels.ndim == 2 else pixels[..., 0]) > 100
        return bright & ((label, index) not in self.absent)


@dataclass(frozen=True)
class FakeMoment:
    index: int
    masks: Mapping[int, np.ndarray]
    confidence: Mapping[int, float]


@dataclass
class FakeBackend:
    """Models by their name: "missing" is none, "broken" fails as nobody expects; "slow" loads for 0.3 s."""

    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        os.write(1, b"A library printed this to stdout.\n")

    def open_model(self, name: str, device: str, image_size: int | None, precision: str) -> dict[str, Any]:
        if name == "missing":
            raise WeightsError("There is no model 'missing': choose another.")
        if name == "broken":
            raise ZeroDivisionError("nobody expected this")
        if name == "slow":
            time.sleep(0.3)
        return {
            "name": name,
            "device": "cpu",
            "image_size": image_size,
            "precision": precision.replace("auto", "float32"),
        }

    def open_session(self, spec: SessionSpec, volume: SeenVolume, orientation: SliceOrientation) -> FakeSession:
        return FakeSession(orientation.turn(volume.voxels), self.pace)

    def open_set(self, spec: SetSpec) -> FakeSet:
        if spec.settings["order"] not in ("free", "arrival"):
            raise PromptError("Choose free or arrival.")
        return FakeSet(spec.images, self.pace)

    def onward(
        self, spec: MomentsSpec, volumes: Sequence[SeenVolume], orientation: SliceOrientation, known: Any, cancel: Any
    ) -> Iterator[Any]:
        """What is brighter than 100 in each other moment."""
        for moment, volume in enumerate(volumes):
            if moment != spec.start:
                self.pace.wait(moment, cancel)
                if cancel.cancelled:
                    return
                masks = {label: orientation.turn(volume.voxels) > 100 for label in known}
                yield FakeMoment(moment, masks, dict.fromkeys(known, 0.75))

    def cache_budget(self) -> int:
        return 1 << 30

    def is_out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, MemoryError)

    def release(self) -> None:
        """Nothing is held."""


if __name__ == "__main__":
    pace = Pace(*(convert(word) for convert, word in zip((float, Path), sys.argv[1:], strict=False)))
    sys.exit(serve(lambda: FakeBackend(pace)))
