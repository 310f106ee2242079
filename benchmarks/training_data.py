"""Make the folders the starter model is trained on: `.cache/training/synthetic` and `.cache/training/real`.

Only files that may be trained on (`open_data.py` says which); the chest CT and the slicerio files are for evaluation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import SimpleITK as sitk

import open_data
from medsam2_core.training.synthesis import make_corpus

ROOT = Path(__file__).resolve().parents[1] / ".cache" / "training"


def real_pairs() -> dict[str, tuple[Path, Path]]:
    """Return image and labels of every real volume that may be trained on, by name."""
    spine = open_data.spine_crops()
    named = {
        "abdomen-ct-small": open_data.totalsegmentator_small(),
        "abdomen-ct": open_data.totalsegmentator_body(),
        "abdomen-mr": open_data.mr_small(),
        "dicom-ct": open_data.dicom_series(),
        "spine-ct": spine.ct,
        "spine-mr": spine.mr,
    }
    return {name: (pair.image, pair.labels) for name, pair in named.items()}


def write_pairs(folder: Path) -> None:
    """Write the pairs as `NAME/image.nii.gz` and `NAME/labels.nii.gz`, labels on the image's grid."""
    for name, (image, labels) in real_pairs().items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        picture = _read(image)
        on_grid = sitk.Resample(_read(labels), picture, sitk.Transform(), sitk.sitkNearestNeighbor)
        sitk.WriteImage(picture, target / "image.nii.gz")
        sitk.WriteImage(on_grid, target / "labels.nii.gz")


def _read(path: Path) -> sitk.Image:
    if not path.is_dir():
        return sitk.ReadImage(path)
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)))


def main() -> None:
    """Write both folders; synthetic volumes that are there already are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="synthetic volumes")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    write_pairs(ROOT / "real")
    make_corpus(ROOT / "synthetic", options.count, options.seed)
    print(ROOT)


if __name__ == "__main__":
    main()
