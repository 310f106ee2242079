"""Segmentations of another image, carried onto the grid of this one."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from medsam2_core import io
from medsam2_core.errors import MedSAM2Error, PromptError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.image.terminology import Code, Terminology
from medsam2_core.io import itk
from medsam2_core.notices import InputNotice

THERE = Geometry((6, 8, 10), (1.0, 1.0, 2.0), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
HERE = Geometry((4, 16, 20), (0.5, 0.5, 2.0), (-0.25, -0.25, 2.0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
"""Four pixels here for each one there, from its second slice on."""

LUNG = Terminology(Code("123037004", "SCT", "Anatomical Structure"), Code("39607008", "SCT", "Lung"))
SEGMENTS = [Segment("a", 3, (1, 0, 0), LUNG), Segment("b", 300, (0, 1, 0)), Segment("below", 5, (0, 0, 1))]


def labels() -> np.ndarray:
    found = np.zeros(THERE.shape_kji, np.uint16)
    found[1:4, 2:5, 3:7], found[2:5, 6:, :2], found[0, 0, 0] = 3, 300, 5
    return found


def here(mask: np.ndarray) -> np.ndarray:
    return mask[1:5].repeat(2, axis=1).repeat(2, axis=2)


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    path = tmp_path / "prior.seg.nrrd"
    io.write_labelmap(path, labels(), THERE, SEGMENTS)
    return path


def test_segments_keep_what_is_said_of_them(prior: Path) -> None:
    with pytest.warns(InputNotice, match=r"prior.seg.nrrd: 'below': nothing of it is within this image"):
        found = list(io.read_prior(prior, HERE))
    assert [(one.name, one.color, one.terminology) for one in found] == [("a", (1, 0, 0), LUNG), ("b", (0, 1, 0), None)]
    for one, segment in zip(found, SEGMENTS, strict=False):
        np.testing.assert_array_equal(one.mask, here(labels() == segment.label))


def test_a_layer_is_resampled_once_and_not_for_a_name_that_is_not_there(prior: Path) -> None:
    with mock.patch.object(itk, "resampled", wraps=itk.resampled) as resampled:
        with pytest.warns(InputNotice):
            list(io.read_prior(prior, HERE))
        assert resampled.call_count == 1
        with pytest.raises(PromptError, match="holds no 'c': give one of a, b, below"):
            list(io.read_prior(prior, HERE, "c"))
        assert resampled.call_count == 1


def test_labels_of_a_label_map_are_names(tmp_path: Path) -> None:
    path = tmp_path / "prior.nii.gz"
    io.write_labelmap(path, labels(), THERE)
    (one,) = io.read_prior(path, HERE, "300")
    assert (one.name, one.color, one.terminology) == ("300", None, None)
    np.testing.assert_array_equal(one.mask, here(labels() == 300))
    with pytest.raises(PromptError, match=r"prior.nii.gz: It marks no voxel within this image"):
        list(io.read_prior(path, HERE, "5"))


def test_two_segments_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "prior.seg.nrrd"
    io.write_labelmap(path, labels(), THERE, [Segment("a", label, (1, 0, 0)) for label in (3, 5, 300)])
    with pytest.raises(MedSAM2Error, match="3 segments are called 'a': rename all but one"):
        list(io.read_prior(path, HERE))
