"""Volumes to train on: synthetic label volumes rendered at load, and real images with labels."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medsam2_core.errors import VolumeError
from medsam2_core.image.window import Window
from medsam2_core.training.canvas import Floats, Generator
from medsam2_core.training.cases import Case, case_folders, read_case
from medsam2_core.training.rendering import draw_style, render
from medsam2_core.training.synthesis import Synthetic


class TrainingVolume(Protocol):
    """A labeled volume (k, j, i) whose look may differ at every visit."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along k, j, i."""

    @property
    def weight(self) -> float:
        """How often it is chosen, compared with the other volumes of its folder."""

    def pick(self, rng: Generator) -> NDArray[np.bool_]:
        """Choose one object and return its mask (k, j, i)."""

    def look(self, rng: Generator, axis: int, slices: NDArray[np.intp]) -> Floats:
        """Return slices along an axis as one image (n, rows, columns), float32 in [0, 1]."""


class SyntheticVolume:
    """One volume of a corpus written by `synthesis.make_corpus`."""

    weight = 1.0

    def __init__(self, path: Path) -> None:
        self._made = Synthetic.load(path)
        self.shape: tuple[int, int, int] = self._made.labels.shape
        voxels = np.bincount(self._made.labels.ravel(), minlength=len(self._made.tissue))
        chances = np.sqrt(voxels) * (voxels >= 30) * ~self._made.background()
        self._chances = chances / chances.sum()

    def pick(self, rng: Generator) -> NDArray[np.bool_]:
        """Choose any object, a whole organ with all it encloses or, half as often, without."""
        label = int(rng.choice(len(self._chances), p=self._chances))
        chosen = self._made.whole(label) if rng.random() < 0.67 else np.arange(len(self._chances)) == label
        return chosen[self._made.labels]

    def look(self, rng: Generator, axis: int, slices: NDArray[np.intp]) -> Floats:
        """Render the slices in a new style."""
        labels = np.moveaxis(self._made.labels, axis, 0)[slices]
        return render(rng, labels, self._made.tissue, draw_style(rng, self._made.tissue))


class LabeledVolume:
    """A real image and its labels. Every label but 0 is an object."""

    def __init__(self, case: Case) -> None:
        self._image, self._labels = case.image, case.labels
        self._window = Window.auto(self._image)
        self.shape: tuple[int, int, int] = self._image.shape
        values, counts = np.unique(self._labels[self._labels > 0], return_counts=True)
        self._objects = values[counts >= 30]
        self.weight = float(len(self._objects)) ** 0.5
        if not len(self._objects):
            raise VolumeError(f"{case.name} has no label of 30 voxels or more: give labels to learn from.")

    def pick(self, rng: Generator) -> NDArray[np.bool_]:
        """Choose any label."""
        return self._labels == rng.choice(self._objects)

    def look(self, rng: Generator, axis: int, slices: NDArray[np.intp]) -> Floats:
        """Window the slices, each time a little differently: the user's window is not known."""
        width = self._window.upper - self._window.lower
        lower = self._window.lower + rng.normal(0, 0.12) * width
        width *= np.exp(rng.normal(0, 0.25))
        image = (np.moveaxis(self._image, axis, 0)[slices].astype(np.float32) - lower) / width
        image = np.clip(np.nan_to_num(image), 0, 1) ** np.exp(rng.normal(0, 0.2))
        image += rng.normal(0, rng.uniform(0, 0.03), image.shape)
        return np.clip(1 - image if rng.random() < 0.1 else image, 0, 1).astype(np.float32)


def open_folder(folder: Path) -> list[TrainingVolume]:
    """Open all of a folder: `*.npz` of a synthetic corpus, or cases as `cases.read_case` takes them."""
    synthetic = [SyntheticVolume(path) for path in sorted(folder.glob("*.npz"))]
    real = [LabeledVolume(read_case(path)) for path in case_folders(folder)]
    if not synthetic and not real:
        raise VolumeError(
            f"{folder} holds nothing to train on: expected *.npz or NAME/image.nii.gz + NAME/labels.nii.gz."
        )
    return [*synthetic, *real]
