"""Organs of the demo's CT from one box each: in axial slices, and in slices tilted by 30 degrees.

A box is drawn around TotalSegmentator's mask on the slice where the organ is largest, and propagated through the whole
volume. Tilted slices are resampled, and what is drawn on them goes back to the volume's voxels, as for an oblique slice
view; "ceiling" is the Dice of the reference after it went to the tilted slices and back. The CT is LIDC-IDRI-0001
(CC BY 3.0); evaluation only.

    python benchmarks/oblique.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

import medsam2_core as m2
import open_data
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.oblique import ObliqueSlices
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.window import Window
from medsam2_core.io import read_labelmap, read_volume
from medsam2_core.model import SAM2
from medsam2_core.training.metrics import dice

ORGANS = ("spleen", "liver", "heart", "kidney_left", "kidney_right")
DEGREES = 30.0
ENOUGH = 0.9  # of the axial Dice
Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Masks = Mapping[str, Mask]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--degrees", type=float, default=DEGREES)
    options = parser.parse_args()
    model = m2.load_model(options.model, device="cpu")
    data = open_data.chest_ct()
    ct = read_volume(data.ct)
    labels = read_labelmap(data.mask, ct.geometry)
    reference = {name: labels == label for label, name in data.structures.items() if name in ORGANS}
    grey = Window.ct("abdomen").to_uint8(ct.array)
    started = time.perf_counter()
    axial = scores(segment(model, grey, ct.geometry, reference), reference)
    print(f"axial: {len(grey)} slices, {time.perf_counter() - started:.0f} s\n")
    columns = {f"about {about}": oblique(model, grey, ct.geometry, about, options.degrees, reference) for about in "RA"}
    print(f"\n{'Dice':<14}{'axial':>10}" + "".join(f"{name:>12}{'share':>8}{'ceiling':>9}" for name in columns))
    for name, score in axial.items():
        cells = (
            f"{tilted[name]:>12.3f}{tilted[name] / score:>8.2f}{top[name]:>9.3f}" for tilted, top in columns.values()
        )
        print(f"{name:<14}{score:>10.3f}" + "".join(cells))
    least = min(tilted[name] / score for tilted, _ in columns.values() for name, score in axial.items())
    print(f"\nThe smallest share of the axial Dice is {least:.2f}; {ENOUGH} is wanted.")


def oblique(
    model: SAM2, grey: Grey, stored: Geometry, about: str, degrees: float, reference: Masks
) -> tuple[dict[str, float], dict[str, float]]:
    """Dice of each organ in slices tilted about the axis R or A, and of the reference mapped there and back."""
    slices = ObliqueSlices(stored, tilted(about, degrees, stored.ijk_to_ras([np.array(stored.shape_kji[::-1]) / 2])[0]))
    began = time.perf_counter()
    shown = slices.resample(grey)
    resampled = time.perf_counter()
    wanted = {name: slices.read_all(mask) for name, mask in reference.items()}
    prepared = time.perf_counter()
    found = segment(model, shown, slices.geometry, wanted)
    print(
        f"about {about}: {slices.geometry.describe()}; resampled in {resampled - began:.1f} s, segmented in "
        f"{time.perf_counter() - prepared:.0f} s"
    )
    back = {name: in_volume(slices, masks) for name, masks in found.items()}
    return scores(back, reference), scores({name: in_volume(slices, wanted[name]) for name in wanted}, reference)


def tilted(about: str, degrees: float, point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return an axial view's plane (4x4) through a point (RAS mm), tilted about R or A."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turns = {
        "R": [[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]],
        "A": [[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]],
    }
    plane = np.eye(4)
    plane[:3, :3] = np.array(turns[about]) @ np.diag([-1.0, 1.0, 1.0])  # Slicer's axial view: x to the left, y to A
    plane[:3, 3] = point
    return plane


def in_volume(slices: ObliqueSlices, masks: Mask) -> Mask:
    """Map masks (slices, rows, columns) to the volume (k, j, i)."""
    volume = np.zeros(slices.stored.shape_kji, dtype=np.bool_)
    for index, mask in enumerate(masks):
        box = slices.box(index, mask)
        if box is not None:
            voxels = slices.voxels(index, box)
            volume[voxels] = mask[slices.pixels(voxels)]
    return volume


def segment(model: SAM2, grey: Grey, geometry: Geometry, wanted: Masks) -> dict[str, Mask]:
    """Propagate a box around each mask (slices, rows, columns) on its largest slice through all slices."""
    orientation = SliceOrientation.upright(geometry, 0)
    spacing = orientation.turn_spacing(geometry.spacing_kji)
    session = m2.VolumeSession(model, orientation.turn(grey), spacing, window=Window(0, 255, "as given"))
    for number, mask in enumerate(wanted.values(), start=1):
        index = int(mask.sum(axis=(1, 2)).argmax())
        rows, columns = np.nonzero(mask[index])
        box = (float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max()))
        session.add_box(number, index, orientation.turn_box(box))
    for _ in session.propagate():
        pass
    return {name: orientation.turn_back(session.mask(number)) for number, name in enumerate(wanted, start=1)}


def scores(found: Masks, reference: Masks) -> dict[str, float]:
    """Dice of each mask."""
    return {name: dice(mask, reference[name]) for name, mask in found.items()}


if __name__ == "__main__":
    main()
