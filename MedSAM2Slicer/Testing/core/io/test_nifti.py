"""NIfTI volumes lie where nibabel has them, and masks carry their image's own words for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medsam2_core import io
from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.notices import InputNotice

ARRAY = np.random.default_rng(0).integers(-1000, 1000, (5, 4, 3)).astype(np.int16)  # (i, j, k)


def affine(angles: tuple[float, ...], spacing: tuple[float, ...], flip: float = 1.0, shift: float = 0.0) -> np.ndarray:
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * (1, 1, flip)
    found = np.eye(4)
    found[:3, :3] = turn * spacing
    found[:3, 3] = (-100.5 + shift, 33.25, 712.125)
    return found


PLAIN = affine((10, 20, 30), (0.7, 1.3, 2.9))


def save(path: Path, sform: np.ndarray | None, qform: np.ndarray | None, kind: type = nibabel.Nifti1Image) -> Path:
    image = kind(ARRAY, None)
    image.header.set_zooms((0.7, 1.3, 2.9))
    image.set_qform(qform, 0 if qform is None else 1)
    image.set_sform(sform, 0 if sform is None else 2)
    nibabel.save(image, path)
    return path


def forms(path: Path) -> tuple:
    header = nibabel.load(path).header
    sform, qform = header.get_sform(coded=True), header.get_qform(coded=True)
    return sform[1], qform[1], header.get_sform().tolist(), header["pixdim"][:4].tolist(), header["srow_x"].tolist()


@settings(max_examples=60)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    sides=st.tuples(*[st.sampled_from((0.5, 0.7, 3.0))] * 3),
    unit=st.sampled_from((1e-6, 1.0, 1e5)),
    flip=st.sampled_from((1.0, -1.0)),
    which=st.sampled_from(("sform", "qform", "both", "none")),
    kind=st.sampled_from((nibabel.Nifti1Image, nibabel.Nifti2Image)),
    scale=st.sampled_from(((1.0, 0.0), (0.013, -7.5), (2.0, -1024.0))),
    suffix=st.sampled_from((".nii", ".nii.gz", ".img")),
)
def test_values_and_places_are_those_of_nibabel(
    tmp_path: Path,
    angles: tuple,
    sides: tuple,
    unit: float,
    flip: float,
    which: str,
    kind: type,
    scale: tuple,
    suffix: str,
) -> None:
    spacing = tuple(side * unit for side in sides)
    place = affine(angles, spacing, flip)
    path = tmp_path / f"a{suffix}"
    image = nibabel.Nifti1Pair(ARRAY, None) if suffix == ".img" else kind(ARRAY, None)
    image.header.set_zooms(spacing)
    image.set_qform(place, int(which in ("qform", "both")))
    image.set_sform(place, 2 * int(which in ("sform", "both")))
    image.header.set_slope_inter(*scale)
    nibabel.save(image, path)
    expected = nibabel.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if which == "none" else "error", InputNotice)
        volume = io.read_volume(path)
    values = expected.get_fdata().T
    np.testing.assert_allclose(volume.array, values, atol=1e-3 * np.ptp(values))
    corners = np.array([[0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, 2], [4, 3, 2]])
    found = volume.geometry.ijk_to_ras(corners)
    wanted = nibabel.affines.apply_affine(expected.affine, corners)
    np.testing.assert_allclose(found, wanted, atol=min(0.01, 0.01 * min(spacing)) + 1e-4 * (min(spacing) > 1e-3))
    io.write_labelmap(tmp_path / "mask.nii.gz", np.ones((3, 4, 5), np.uint8), volume.geometry, like=volume)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "mask.nii.gz").affine, expected.affine)
    assert forms(tmp_path / "mask.nii.gz")[:2] == forms(path)[:2]


@pytest.mark.parametrize(
    ("sform", "qform", "words"),
    [
        (PLAIN, affine((10, 20, 30), (0.7, 1.3, 2.9), shift=30), "sform and qform put it in two places"),
        (PLAIN, affine((10, 20, 30), (0.7, 1.3, 2.9), flip=-1), "sform and qform put it in two places"),
        (affine((10, 20, 30), (0.7, 1.3, 1.45)), None, "0.7 x 1.3 x 1.45 mm by its sform but 0.7 x 1.3 x 2.9 mm by"),
        (None, None, "no position in the patient"),
    ],
)
def test_contradictions_are_told_and_carried_on(tmp_path: Path, sform: object, qform: object, words: str) -> None:
    path = save(tmp_path / "a.nii", sform, qform)
    with pytest.warns(InputNotice, match=words):
        volume = io.read_volume(path)
    image = nibabel.load(path)
    np.testing.assert_allclose(volume.geometry.affine_ijk_to_ras, image.affine, atol=1e-4)
    io.write_labelmap(tmp_path / "mask.nii", np.ones((3, 4, 5), np.uint8), volume.geometry, like=volume)
    assert forms(tmp_path / "mask.nii") == forms(path)
    mask = nibabel.load(tmp_path / "mask.nii")
    np.testing.assert_array_equal(mask.header.get_qform(), image.header.get_qform())


def test_less_than_a_tenth_of_a_voxel_is_rounding(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputNotice)
        io.read_volume(save(tmp_path / "a.nii", PLAIN, affine((10, 20, 30), (0.7, 1.3, 2.9), shift=0.05)))


def test_units_of_the_header_count(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ARRAY, np.diag([5.0, 5.0, 5.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.warns(InputNotice, match="units of 0.001 mm"):
        assert io.read_volume(tmp_path / "a.nii").geometry.spacing_ijk == pytest.approx((0.005,) * 3)


def test_what_other_volumes_get_agrees_with_both_forms(tmp_path: Path) -> None:
    for flip in (1.0, -1.0):
        place = affine((170, -80, 95), (0.7, 1.3, 2.9), flip)
        direction = np.diag([-1, -1, 1]) @ place[:3, :3] / (0.7, 1.3, 2.9)
        origin = np.diag([-1, -1, 1]) @ place[:3, 3]
        grid = Geometry((3, 4, 5), (0.7, 1.3, 2.9), tuple(origin), tuple(map(tuple, direction)))
        io.write_labelmap(tmp_path / "a.nii", np.ones((3, 4, 5), np.uint8), grid)
        header = nibabel.load(tmp_path / "a.nii").header
        np.testing.assert_allclose(header.get_sform(), place, atol=1e-3)
        np.testing.assert_allclose(header.get_qform(), place, atol=1e-3)


def test_damaged_checksums_are_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", PLAIN, PLAIN)
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="damaged: copy or download it again"):
        io.read_volume(path)


def test_analyze_says_no_sides(tmp_path: Path) -> None:
    nibabel.save(nibabel.AnalyzeImage(ARRAY, np.eye(4)), tmp_path / "a.img")
    with pytest.raises(VolumeError, match=r"Analyze 7\.5"):
        io.read_volume(tmp_path / "a.img")


COMMAS = """
import locale, sys
import numpy as np
from medsam2_core import io
from medsam2_core.image.geometry import Geometry
locale.setlocale(locale.LC_ALL, "")  # as Qt does
assert locale.localeconv()["decimal_point"] == ","
grid = Geometry((3, 4, 5), (1.5, 1.5, 2.75), (-38.5, 12.25, 7.125), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
for suffix in (".nii", ".nrrd", ".mha", ".seg.nrrd"):
    segments = [io.Segment("a", 1, (0.25, 0.5, 0.75))]
    io.write_labelmap(sys.argv[1] + suffix, np.ones((3, 4, 5), np.uint8), grid, segments)
    found = io.read_volume(sys.argv[1] + suffix).geometry
    assert (found.spacing_ijk, found.origin_lps) == (grid.spacing_ijk, grid.origin_lps), (suffix, found)
assert io.read_segments(sys.argv[1] + ".seg.nrrd")[1] == tuple(segments)
assert locale.localeconv()["decimal_point"] == ","
"""


@pytest.mark.skipif(not shutil.which("localedef"), reason="needs localedef, to make a locale with decimal commas")
def test_decimal_commas_change_nothing(tmp_path: Path) -> None:
    """Qt sets the user's locale for C, and ITK's readers take 1.5 for 1 then."""
    made = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")]
    if subprocess.run(made, capture_output=True, check=False).returncode > 1:
        pytest.skip("the system lacks the sources of locales")
    core = str(Path(io.__file__).parents[2])
    environment = {**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": "de_DE.UTF-8", "PYTHONPATH": core}
    command = [sys.executable, "-c", COMMAS, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False)
    assert done.returncode == 0, done.stderr
