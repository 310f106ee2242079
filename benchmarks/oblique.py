"""`make oblique`: organs in axial slices and in slices tilted by 30 degrees four ways; writes docs/oblique.md.

As an oblique slice view does it: tilted slices are resampled, and what is drawn on them goes back to the volume's
voxels. The CT is LIDC-IDRI-0001 (CC BY 3.0); evaluation only.

    python benchmarks/oblique.py
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import numpy.typing as npt

import medsam2_core as m2
import open_data
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.oblique import ObliqueSlices
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.window import AS_GIVEN, Window
from medsam2_core.io import read_labelmap, read_volume
from medsam2_core.model import SAM2
from medsam2_core.training.metrics import dice
from medsam2_core.training.policies import largest_slice, tight_box
from medsam2_core.weights.model_file import find_model
from report_tables import table

ORGANS = ("spleen", "liver", "heart", "kidney_left", "kidney_right")
TURNS = {"R+": (1, 0, 0), "R-": (-1, 0, 0), "A+": (0, 1, 0), "A-": (0, -1, 0)}
ENOUGH = 0.9  # of the axial Dice
DOCS = Path(__file__).resolve().parents[1] / "docs"
_INTRODUCTION = """A box is drawn around TotalSegmentator's mask on the slice where the organ is largest, and propagated
through the whole volume: along axial slices, and along slices turned by {degrees:g} degrees about the patient's
left-right axis (R+, R-) and front-back axis (A+, A-). What is drawn on turned slices is mapped back to the volume's
voxels and measured there.
"""
_WITHIN = "On the slices that the organ is on, where drawing past its ends does not count:\n"
_BACK = "The reference itself, after it went to the tilted slices and back, which is the most that these can reach:\n"
Gray = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Masks = Mapping[str, Mask]


@dataclass(frozen=True)
class Scores:
    """Dice by organ: of the volume, on the organ's slices, and of the reference there and back."""

    whole: dict[str, float]
    within: dict[str, float]
    back: dict[str, float]


def main() -> None:
    """Measure, then write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--degrees", type=float, default=30.0)
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for oblique.md")
    options = parser.parse_args()
    axial, turned = measure(m2.load_model(options.model, device="cpu"), options.degrees)
    model = find_model(options.model)
    origin = (
        f"Written by `make oblique`; model `{model.name}`, sha256 `{model.sha256()[:16]}`, {len(axial.whole)} organs "
        "of the demo's chest CT, never trained or tuned on.\n"
    )
    path = options.output / "oblique.md"
    path.write_text(document(origin, options.degrees, axial, turned), encoding="utf-8")
    print(path)


def measure(model: SAM2, degrees: float) -> tuple[Scores, dict[str, Scores]]:
    """Measure in axial slices and in those of each tilt."""
    data = open_data.chest_ct()
    ct = read_volume(data.ct)
    labels = read_labelmap(data.mask, ct.geometry)
    reference = {name: labels == label for label, name in data.structures.items() if name in ORGANS}
    gray = Window.ct("abdomen").to_uint8(ct.array)
    found = segment(model, gray, ct.geometry, reference)
    axial = Scores(scores(found, reference), within(found, reference), dict.fromkeys(reference, 1.0))
    turned = {}
    for name, turn in TURNS.items():
        slices = ObliqueSlices(ct.geometry, tilted(ct.geometry, turn, degrees))
        turned[name] = oblique(model, gray, slices, reference)
    return axial, turned


def oblique(model: SAM2, gray: Gray, slices: ObliqueSlices, reference: Masks) -> Scores:
    """Measure in tilted slices."""
    shown = slices.resample(gray)
    wanted = {name: slices.read_all(mask) for name, mask in reference.items()}
    found = segment(model, shown, slices.geometry, wanted)
    back, there = ({name: slices.stored_labels(masks) for name, masks in one.items()} for one in (found, wanted))
    return Scores(scores(back, reference), within(found, wanted), scores(there, reference))


def tilted(stored: Geometry, turn: tuple[int, int, int], degrees: float) -> npt.NDArray[np.float64]:
    """Return the plane (4x4) of Slicer's axial view through the volume's middle, turned about an axis of RAS."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    axis = np.array(turn, dtype=float)
    directions = np.diag([-1.0, 1.0, 1.0])  # as columns: x to the left, y to the front
    across = np.cross(axis, directions.T).T
    plane = np.eye(4)
    plane[:3, :3] = cosine * directions + sine * across + (1 - cosine) * np.outer(axis, axis @ directions)
    plane[:3, 3] = stored.ijk_to_ras([np.array(stored.shape_kji[::-1]) / 2])[0]
    return plane


def segment(model: SAM2, gray: Gray, geometry: Geometry, wanted: Masks) -> dict[str, Mask]:
    """Propagate a box around each mask (slices, rows, columns) on its largest slice through all slices."""
    orientation = SliceOrientation.upright(geometry, 0)
    spacing = orientation.turn_spacing(geometry.spacing_kji)
    session = m2.VolumeSession(model, orientation.turn(gray), spacing, window=AS_GIVEN)
    for number, mask in enumerate(wanted.values(), start=1):
        index = largest_slice(mask)
        session.add_box(number, index, orientation.turn_box(tight_box(mask[index])))
    for _ in session.propagate():
        pass
    return {name: orientation.turn_back(session.mask(number)) for number, name in enumerate(wanted, start=1)}


def scores(found: Masks, wanted: Masks) -> dict[str, float]:
    """Dice of each mask."""
    return {name: dice(mask, wanted[name]) for name, mask in found.items()}


def within(found: Masks, wanted: Masks) -> dict[str, float]:
    """Dice of each mask on the slices from the first to the last one that the organ is on."""
    ends = {name: np.flatnonzero(mask.any(axis=(1, 2)))[[0, -1]] for name, mask in wanted.items()}
    spans = {name: slice(first, last + 1) for name, (first, last) in ends.items()}
    return {name: dice(mask[spans[name]], wanted[name][spans[name]]) for name, mask in found.items()}


def document(origin: str, degrees: float, axial: Scores, turned: Mapping[str, Scores]) -> str:
    """The whole text."""
    return "\n".join(
        [
            "# Oblique views\n",
            origin,
            _INTRODUCTION.format(degrees=degrees),
            _table(axial.whole, {name: one.whole for name, one in turned.items()}),
            findings(axial.whole, {name: one.whole for name, one in turned.items()}),
            _WITHIN,
            _table(axial.within, {name: one.within for name, one in turned.items()}),
            _BACK,
            _table(axial.back, {name: one.back for name, one in turned.items()}),
        ]
    )


def findings(axial: Mapping[str, float], turned: Mapping[str, Mapping[str, float]]) -> str:
    """Say whether the tilted slices do what is wanted of them."""
    shares = {name: _mean(turned, name) / score for name, score in axial.items()}
    below = [name for name, share in shares.items() if share < ENOUGH]
    verdict = f"these fall short: {', '.join(below)}" if below else "so it is for all of them"
    return f"At least {ENOUGH} of the axial Dice is wanted of the mean of the tilts; {verdict}.\n"


def _table(axial: Mapping[str, float], turned: Mapping[str, Mapping[str, float]]) -> str:
    """An organ a line, with the share of the axial Dice that the mean of the tilts has."""
    lines = []
    for name, score in axial.items():
        values = (score, *(one[name] for one in turned.values()), _mean(turned, name))
        lines.append((name, *(f"{value:.3f}" for value in values), f"{_mean(turned, name) / score:.2f}"))
    return table(("Dice", "axial", *turned, "mean", "share"), lines)


def _mean(turned: Mapping[str, Mapping[str, float]], name: str) -> float:
    return mean(one[name] for one in turned.values())


if __name__ == "__main__":
    main()
