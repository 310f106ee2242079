"""Make the folders the starter model is trained on: `synthetic` and `real` in `.cache/training`.

With `--more` also `lesions`, and `pseudo`: regions that `pseudo_objects.py` finds in all real volumes, labeled or not.

Only files that may be trained on (`open_data.py` says which); the chest CT and the slicerio files are for evaluation.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

import open_data
from medsam2_core.image.window import Window
from medsam2_core.training.synthesis import make_corpus
from pseudo_objects import pseudo_objects

_LARGEST = 4_000_000  # voxels
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
    return _by_name(named)


def lesion_pairs() -> dict[str, tuple[Path, Path]]:
    """Return image and labels of the volumes in which one lesion is labeled, by name."""
    return _by_name(open_data.lesions())


def _by_name(pairs: Mapping[str, open_data.Labeled]) -> dict[str, tuple[Path, Path]]:
    return {name: (pair.image, pair.labels) for name, pair in pairs.items()}


def real_images() -> dict[str, sitk.Image]:
    """Read every real volume that may be trained on, with or without labels, by name."""
    images = {name: _read(image) for name, (image, _) in (real_pairs() | lesion_pairs()).items()}
    images["head"] = _read(open_data.head_mr())
    return images | {name: _read_minc(files) for name, files in open_data.minc_heads().items()}


def write_pairs(folder: Path, pairs: Mapping[str, tuple[Path, Path]]) -> None:
    """Write pairs as `NAME/image.nii.gz` and `NAME/labels.nii.gz`, labels on the image's grid."""
    for name, (image, labels) in pairs.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        picture = _read(image)
        on_grid = sitk.Resample(_read(labels), picture, sitk.Transform(), sitk.sitkNearestNeighbor)
        sitk.WriteImage(picture, target / "image.nii.gz")
        sitk.WriteImage(on_grid, target / "labels.nii.gz")


def write_pseudo(folder: Path) -> None:
    """Write `NAME-KIND/image.nrrd` and `labels.nrrd` for each map of regions; volumes that are there are kept."""
    for name, image in real_images().items():
        target = folder / ".images" / f"{name}.nrrd"
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        coarse = _coarser(image)
        for kind, labels in pseudo_objects(_windowed(coarse)):
            if sitk.GetArrayViewFromImage(labels).any():
                _write_case(folder / f"{name}-{kind}", target, labels)
        sitk.WriteImage(coarse, target)


def _write_case(folder: Path, image: Path, labels: sitk.Image) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "image.nrrd").unlink(missing_ok=True)
    (folder / "image.nrrd").symlink_to(image)
    sitk.WriteImage(labels, folder / "labels.nrrd", useCompression=True)


def _coarser(image: sitk.Image) -> sitk.Image:
    """Halve rows and columns of a large image: finding regions takes a minute for each four million voxels."""
    return sitk.BinShrink(image, (2, 2, 1)) if image.GetNumberOfPixels() > _LARGEST else image


def _windowed(image: sitk.Image) -> sitk.Image:
    """Return the image as the model would see it, float32 in [0, 1]."""
    array = sitk.GetArrayViewFromImage(image)
    gray = sitk.GetImageFromArray(Window.auto(array).to_uint8(array).astype(np.float32) / 255)
    gray.CopyInformation(image)
    return gray


def _read_minc(files: open_data.MincFiles) -> sitk.Image:
    """Read bytes whose header names the axes from slowest to fastest; all three run against RAS, so as in LPS but k."""
    with gzip.open(files.header) as header, gzip.open(files.voxels) as voxels:
        grid = json.load(header)
        flat = np.frombuffer(voxels.read(), dtype=np.uint8)
    order = grid["order"]
    array = flat.reshape([int(grid[axis]["space_length"]) for axis in order])
    zyx = array.transpose([order.index(axis) for axis in ("zspace", "yspace", "xspace")])
    return sitk.GetImageFromArray(np.ascontiguousarray(zyx[::-1]))


def _read(path: Path) -> sitk.Image:
    if not path.is_dir():
        return sitk.ReadImage(path)
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)))


def main() -> None:
    """Write the folders; synthetic and pseudo volumes that are there already are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="synthetic volumes")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--more", action="store_true", help="lesions and regions, too (20 minutes of one core)")
    options = parser.parse_args()
    write_pairs(ROOT / "real", real_pairs())
    if options.more:
        write_pairs(ROOT / "lesions", lesion_pairs())
        write_pseudo(ROOT / "pseudo")
    make_corpus(ROOT / "synthetic", options.count, options.seed)
    print(ROOT)


if __name__ == "__main__":
    main()
