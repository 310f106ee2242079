"""Corrections as a user makes them, measured through the controller and a real worker."""

from __future__ import annotations

import numpy as np
import pytest

import corrections
import headless
import open_data
from medsam2_core.training.cases import make_case


def test_worst_slices_are_corrected_one_by_one(scene: object) -> None:
    data = open_data.totalsegmentator_small()
    case = make_case("abdomen", data.image, data.labels, {1: "spleen"})
    spleen = next(one for one in case.structures(0) if one.label == 1)
    with headless.worker() as client:
        done = list(corrections.correct(client, "starter", case, spleen, rounds=3))
    assert [one.number for one in done] == [1, 2, 3]
    assert len({one.slice_index for one in done}) == 3
    assert [one.before for one in done[1:]] == [one.after for one in done[:-1]]
    assert done[-1].after > done[0].before
    assert all(one.outside == 0 and one.masks for one in done)


def test_what_fails_is_raised(scene: object) -> None:
    volume = headless.volume_node(np.zeros((4, 9, 9), np.int16), np.eye(4))
    with headless.worker() as client:
        editor = headless.Editor(client, volume, headless.RunOptions(model="none such"))
        with pytest.raises(RuntimeError, match="none such"):
            editor.add_box(1, 2, (1, 1, 7, 7))
        editor.close()
