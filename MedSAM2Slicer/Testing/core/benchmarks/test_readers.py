"""The readers' nodule lies where the CT shows one, and readers agree with each other as is known."""

from __future__ import annotations

import numpy as np
import pytest

import open_data
import open_packages
import readers
from medsam2_core.training.cases import Case


@pytest.fixture(scope="module")
def read(chest_ct: open_data.ChestCT) -> list[Case]:
    try:
        open_data.nodule_contours()
    except open_packages.OpenDataError as error:
        pytest.skip(str(error))
    return readers.cases()


def test_readers_agree_as_is_known(read: list[Case]) -> None:
    agreement = readers.agreement([case.labels > 0 for case in read])
    assert len(agreement) == 6
    assert (min(agreement), max(agreement)) == pytest.approx((0.845, 0.904), abs=5e-4)


def test_the_nodule_is_soft_tissue_in_air(read: list[Case]) -> None:
    """It holds -31 HU amid -711 HU; flipped in any way it would hold less than -100 HU amid more than -420 HU."""
    certain = np.logical_and.reduce([case.labels > 0 for case in read])
    anyone = np.logical_or.reduce([case.labels > 0 for case in read])
    image = read[0].image
    assert image[certain].mean() > -60
    around = np.zeros_like(anyone)
    for axis in (1, 2):
        for shift in (-8, 8):
            around |= np.roll(anyone, shift, axis)
    assert image[around & ~anyone].mean() < -600


def test_holes_are_cut_out() -> None:
    outer, inner = "1,509\n9,509\n9,501\n1,501", "4,506\n6,506\n6,504\n4,504"
    mask = readers._filled([(-337.5, True, outer), (-337.5, False, inner)], (3, 512, 512))
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [1]
    assert mask[1, 2:11, 1:10].sum() == 81 - 9 == mask.sum()
    assert not mask[1, 5:8, 4:7].any()


def test_scores_tell_the_box_owner_from_the_others() -> None:
    wanted = [np.zeros((1, 1, 8), dtype=bool) for _ in range(3)]
    for length, mask in zip((2, 4, 4), wanted, strict=True):
        mask[..., :length] = True
    scores = readers.compare(wanted, {"model": wanted, "other": [wanted[1]] * 3})
    assert [score.human for score in scores] == pytest.approx([2 / 3, 5 / 6, 5 / 6])
    assert [score.own["model"] for score in scores] == [1, 1, 1]
    assert [score.own["other"] for score in scores] == pytest.approx([2 / 3, 1, 1])
    assert [score.others["other"] for score in scores] == pytest.approx([1, 5 / 6, 5 / 6])
