"""How well a model follows the structures of labeled volumes, from prompts made of their true masks.

The whole volume is the range: where an object begins and ends is for the model to find out.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from medsam2_core.arrays import Mask
from medsam2_core.directions import ONE, THREE
from medsam2_core.errors import VolumeError
from medsam2_core.image.segments import MAX_LABEL
from medsam2_core.image.window import Window
from medsam2_core.memory_bank import MemoryRule
from medsam2_core.memory_name import DEFAULT_MEMORY
from medsam2_core.model import SAM2
from medsam2_core.session import VolumeSession
from medsam2_core.training import metrics
from medsam2_core.training.cases import Case, Structure
from medsam2_core.training.policies import Policy, PolicyPrompt, worst_slice


@dataclass(frozen=True)
class Settings:
    """How to evaluate. `window` is as `Window.parse` reads it, `field_of_view` auto, whole or zoom.

    `together` structures share a session. Objects of a session do not influence each other, but what the model sees of
    a slice is encoded once for all of them: whole slices went from 22 to 77 masks a second with 8 (starter weights in
    training, one core, 101 x 122 pixels). More would only need more memory. Zoomed views differ, so nothing was won.
    """

    policy: Policy
    memory: str | MemoryRule = DEFAULT_MEMORY
    field_of_view: str = "auto"
    window: str = "auto"
    min_ml: float = 5.0
    tolerance_mm: float = 3.0  # of the surface Dice
    seed: int = 0  # of the jitter
    together: int = 8
    directions: str = ONE


@dataclass(frozen=True)
class SliceScore:
    """What the model promised of one slice with a mask, and what was true: predicted and true IoU.

    Of a slice that three axes gave also their disagreement.
    """

    slice_index: int
    confidence: float
    iou: float
    disagreement: float | None = None


@dataclass(frozen=True)
class Row:
    """What was measured of one structure after one round of prompts. `metrics` defines each number.

    Confidence is judged on slices with a mask that was not given. `seconds` and `slices_per_second` (masks a second,
    both directions counted) are those of the round at hand; structures that share a session share its time by masks.
    """

    case: str
    structure: str
    volume_ml: float
    method: str
    policy: str
    memory: str
    view: str
    dice: float
    surface_dice: float
    prompted_dice: float
    empty_recognized: float | None
    false_slices: int
    false_mm: float
    confidence_correlation: float | None
    confident_misses: float | None
    seconds: float
    slices_per_second: float
    slices: tuple[SliceScore, ...] = field(default=(), repr=False)

    def values(self) -> dict[str, str | float | int | None]:
        """Return the row's numbers by name, without those of its slices."""
        names = [f.name for f in dataclasses.fields(self) if f.name != "slices"]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Way:
    """How a row's mask came about."""

    method: str
    policy: str
    memory: str = ""
    view: str = ""


@dataclass(frozen=True)
class Effort:
    """Time a mask took, and the masks of slices that were drawn meanwhile."""

    seconds: float
    masks: int


def evaluate(
    model: SAM2, case: Case, settings: Settings, structures: Sequence[Structure] | None = None
) -> Iterator[Row]:
    """Measure a model on structures of a case (default: all of `settings.min_ml` and more).

    Yields a row per structure and round: a policy with corrections also gives the rows before them. Neither the other
    structures nor their order change a row. Raises `PromptError` for an unknown memory bank or field of view, and
    `VolumeError` for a label that no object of a session can have.
    """
    chosen = case.structures(settings.min_ml) if structures is None else structures
    for structure in chosen:
        if structure.label > MAX_LABEL:
            raise VolumeError(
                f"The labels of {case.name} hold {structure.label}, which is too large: use 1 to {MAX_LABEL} there."
            )
    window = Window.parse(settings.window, case.image)
    for start in range(0, len(chosen), settings.together):
        yield from _Pass(model, case, settings, window, chosen[start : start + settings.together]).rows()


def first_prompts(case: Case, structure: Structure, policy: Policy, seed: int) -> list[PolicyPrompt]:
    """Return what a policy shows of a structure first; it depends on seed and label alone."""
    rng = np.random.default_rng((seed, structure.label))
    return policy.prompts_for(case.mask(structure), case.spacing[1:], rng)


def score(
    case: Case,
    structure: Structure,
    found: Mask,
    way: Way,
    prompted: Sequence[int],
    tolerance_mm: float,
    effort: Effort,
    slices: tuple[SliceScore, ...] = (),
) -> Row:
    """Measure a mask (slices, rows, columns) of a structure that was prompted on the slices with these indexes."""
    wanted = case.mask(structure)
    beyond = metrics.false_slices(found, wanted, case.spacing[0])
    confidence, iou = [one.confidence for one in slices], [one.iou for one in slices]
    return Row(
        case=case.name,
        structure=structure.name,
        volume_ml=structure.volume_ml,
        **dataclasses.asdict(way),
        dice=metrics.dice(found, wanted),
        surface_dice=metrics.surface_dice(found, wanted, case.spacing, tolerance_mm),
        prompted_dice=metrics.prompted_dice(found, wanted, prompted),
        empty_recognized=metrics.empty_recognized(found, wanted),
        false_slices=beyond.count,
        false_mm=beyond.mm,
        confidence_correlation=metrics.confidence_correlation(confidence, iou),
        confident_misses=metrics.confident_misses(confidence, iou),
        seconds=effort.seconds,
        slices_per_second=effort.masks / effort.seconds,
        slices=slices,
    )


class _Pass:
    """Structures that share a session: prompted, propagated, and corrected as often as the policy wants."""

    def __init__(
        self, model: SAM2, case: Case, settings: Settings, window: Window, structures: Sequence[Structure]
    ) -> None:
        self._case, self._settings, self._structures = case, settings, structures
        self._session = VolumeSession(
            model,
            case.image,
            case.spacing,
            window=window,
            memory=settings.memory,
            field_of_view=settings.field_of_view,
            across=case.across,
        )
        self._method = model.config.name
        self._prompted: dict[int, list[int]] = {}
        self._exact: dict[int, set[int]] = {structure.label: set() for structure in structures}

    def rows(self) -> Iterator[Row]:
        """Measure after the first prompts and after each round of corrections."""
        for structure in self._structures:
            prompts = first_prompts(self._case, structure, self._settings.policy, self._settings.seed)
            self._prompted[structure.label] = [prompt.slice_index for prompt in prompts]
            for prompt in prompts:
                prompt.give(self._session, structure.label)
        for corrections in range(self._settings.policy.corrections + 1):
            if corrections:
                self._correct()
            yield from self._round(corrections)

    def _correct(self) -> None:
        """Give each structure's worst slice its true mask."""
        for structure in self._structures:
            wanted, exact = self._case.mask(structure), self._exact[structure.label]
            worst = worst_slice(self._session.mask(structure.label), wanted, exact)
            if worst is not None:
                self._session.add_mask(structure.label, worst, wanted[worst])
                exact.add(worst)

    def _round(self, corrections: int) -> Iterator[Row]:
        efforts = self._propagate()
        memory = self._settings.memory
        way = Way(
            self._method,
            self._settings.policy.after(corrections),
            memory if isinstance(memory, str) else repr(memory),
            self._session.field_of_view,
        )
        for structure in self._structures:
            label = structure.label
            found = self._session.mask(label)
            slices = self._slice_scores(structure, found)
            prompted, tolerance = self._prompted[label], self._settings.tolerance_mm
            yield score(self._case, structure, found, way, prompted, tolerance, efforts[label], slices)

    def _propagate(self) -> dict[int, Effort]:
        """Run the session through the volume; returns each structure's share of the time."""
        started = time.perf_counter()
        steps = self._session.propagate(directions=self._settings.directions)
        masks = Counter(label for step in steps if step.direction != THREE for label in step.masks)
        seconds = time.perf_counter() - started
        return {label: Effort(seconds * count / masks.total(), count) for label, count in masks.items()}

    def _slice_scores(self, structure: Structure, found: Mask) -> tuple[SliceScore, ...]:
        iou = metrics.slice_iou(found, self._case.mask(structure))
        results = self._session.results(structure.label).items()
        judged = [(index, result) for index, result in results if index not in self._exact[structure.label]]
        return tuple(
            SliceScore(i, result.confidence, float(iou[i]), result.disagreement)
            for i, result in judged
            if found[i].any()
        )


def mean_of(values: Sequence[float | None]) -> float:
    """Mean of the values there are; NaN if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan
