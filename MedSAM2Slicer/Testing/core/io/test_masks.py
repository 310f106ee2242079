"""Which object of a file is a mask: said by its exact name or label, or the only one there."""

from __future__ import annotations

from pathlib import Path

import nrrd
import numpy as np
import pytest

from medsam2_core import io
from medsam2_core.errors import MedSAM2Error, PromptError
from medsam2_core.image.geometry import Geometry
from medsam2_core.job.prompt_options import MaskOption, mask_source

GRID = Geometry((3, 4, 5), (0.5, 1.5, 2.5), (-7.0, 8.0, 9.0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
FIRST, SECOND = np.zeros((2, 3, 4, 5), np.uint8)
FIRST[1, :2] = 1
SECOND[1, 1:] = 1


def slicer_file(
    path: Path,
    layers: list[np.ndarray],
    segments: list[tuple[str, int, int]],
    origin: tuple[float, ...] = GRID.origin_lps,
) -> Path:
    """A segmentation as Slicer writes it: segments are name, label and layer."""
    array = np.stack(layers) if len(layers) > 1 else layers[0]
    directions = [[0.5, 0, 0], [0, 1.5, 0], [0, 0, 2.5]]
    header: dict = {
        "space": "left-posterior-superior",
        "kinds": ["list"] * (array.ndim - 3) + ["domain"] * 3,
        "space directions": np.array([[np.nan] * 3] * (array.ndim - 3) + directions),
        "space origin": list(origin),
    }
    for place, (name, label, layer) in enumerate(segments):
        header |= {f"Segment{place}_{key}": str(value) for key, value in
                   (("ID", f"S{place}"), ("Name", name), ("LabelValue", label), ("Layer", layer))}  # fmt: skip
    data = array.transpose(0, 3, 2, 1) if array.ndim == 4 else array.transpose(2, 1, 0)
    nrrd.write(str(path), data, header, index_order="F")
    return path


def refusal(path: Path, name: str | None = None) -> str:
    with pytest.raises(MedSAM2Error) as caught:
        io.read_mask(path, GRID, name)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_overlapping_layers_are_read_one_by_one(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "a.seg.nrrd", [FIRST, SECOND], [("tumor", 1, 0), ('liver, right "lobe"', 1, 1)])
    np.testing.assert_array_equal(io.read_mask(path, GRID, "tumor"), FIRST > 0)
    np.testing.assert_array_equal(io.read_mask(path, GRID, 'liver, right "lobe"'), SECOND > 0)
    assert 'holds 2 objects (tumor, liver, right "lobe"): say which one as a.seg.nrrd:NAME' in refusal(path)
    assert "holds no 'Tumor': give one of tumor, " in refusal(path, "Tumor")


def test_segments_of_one_layer_are_not_joined(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "a.seg.nrrd", [FIRST + 2 * (SECOND > FIRST)], [("a", 1, 0), ("b", 2, 0)])
    np.testing.assert_array_equal(io.read_mask(path, GRID, "b"), SECOND > FIRST)
    assert "holds 2 objects" in refusal(path)


def test_two_segments_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "a.seg.nrrd", [FIRST + 2 * (SECOND > FIRST)], [("a", 1, 0), ("a", 2, 0)])
    assert "2 segments are called 'a': rename all but one" in refusal(path, "a")


def test_the_only_segment_needs_no_name(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "a.seg.nrrd", [FIRST], [("tumor", 1, 0)])
    np.testing.assert_array_equal(io.read_mask(path, GRID), FIRST > 0)


def test_a_segmentation_that_slicer_cropped_is_put_in_its_place(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "a.seg.nrrd", [SECOND[1:, 1:, 2:]], [("a", 1, 0)], (-7.0 + 1.0, 8.0 + 1.5, 9.0 + 2.5))
    expected = SECOND > 0
    expected[:, :, :2] = False
    np.testing.assert_array_equal(io.read_mask(path, GRID), expected)
    for origin in ((-7.0 + 1.3, 9.5, 11.5), (-7.0 + 1.5, 9.5, 11.5), (-7.0 - 0.5, 9.5, 11.5)):
        path = slicer_file(tmp_path / "b.seg.nrrd", [SECOND[1:, 1:, 2:]], [("a", 1, 0)], origin)
        assert "resample it to the volume's grid" in refusal(path)


def test_labels_of_a_label_map_are_not_joined(tmp_path: Path) -> None:
    io.write_labelmap(tmp_path / "a.nii.gz", FIRST * 3 + 255 * (SECOND > FIRST), GRID)
    assert "holds 2 objects (3, 255): say which one as a.nii.gz:NAME" in refusal(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(io.read_mask(tmp_path / "a.nii.gz", GRID, "3"), FIRST > 0)
    assert "holds no '4': give one of 3, 255" in refusal(tmp_path / "a.nii.gz", "4")
    io.write_labelmap(tmp_path / "empty.nii.gz", np.zeros(GRID.shape_kji, np.uint8), GRID)
    assert "holds no '4', since it marks nothing: give another file" in refusal(tmp_path / "empty.nii.gz", "4")


def test_file_and_name_are_split_at_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a:b.seg.nrrd"
    path.touch()
    assert mask_source(str(path)) == MaskOption(path)
    assert mask_source(f"{path}:c: d") == MaskOption(path, "c: d")
    assert mask_source("none.nii:x") == MaskOption(Path("none.nii:x"))
    assert mask_source("x" * 5000) == MaskOption(Path("x" * 5000))


def test_an_empty_segment(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="paint the object on at least one slice"):
        io.read_mask(slicer_file(tmp_path / "a.seg.nrrd", [FIRST * 0], [("tumor", 1, 0)]), GRID, "tumor")


@pytest.mark.filterwarnings("error")
def test_a_grid_too_far_off_for_whole_numbers(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "a.seg.nrrd", [FIRST], [("tumor", 1, 0)], (1e20, 8.0, 9.0))
    assert "but the volume has" in refusal(path)
