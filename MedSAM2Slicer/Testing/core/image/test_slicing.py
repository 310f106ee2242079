"""Stacks of slices: in JSON and back, and where their pixels lie."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.slicing import SliceStack

GRID = Geometry((20, 30, 40), (0.7, 0.8, 2.5), (-100.0, 20.0, 5.0), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
_COS, _SIN = math.cos(0.5), math.sin(0.5)
PLANE = ((-1.0, 0.0, 0.0, 12.0), (0.0, _COS, -_SIN, 3.1), (0.0, _SIN, _COS, 0.1), (0.0, 0.0, 0.0, 1.0))
OBLIQUE = SliceStack(0, PLANE)


@pytest.mark.parametrize("stack", [SliceStack(), SliceStack(2), OBLIQUE])
def test_a_stack_goes_through_json(stack: SliceStack) -> None:
    assert SliceStack.from_json(json.loads(json.dumps(stack.to_json()))) == stack


@pytest.mark.parametrize(
    "settings",
    [
        {"axis": 3},
        {"axis": "0"},
        {"axis": True},
        {"axis": 1, "plane": [list(row) for row in PLANE]},
        {"plane": 7},
        {"plane": [[1, 0, 0, 0]] * 3},
        {"plane": [[1, 0, 0]] * 4},
        {"plane": [[1, 0, 0, "0"]] * 4},
        {"plane": [[1, 0, 0, math.nan]] * 4},
    ],
)
def test_what_is_no_stack_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match=r"settings\.(axis|plane)"):
        SliceStack.from_json(settings)


def test_stored_slices_are_the_volumes_own() -> None:
    assert SliceStack(1).oblique(GRID) is None
    assert SliceStack(1).slicing(GRID).geometry is GRID
    assert SliceStack(1).slicing(GRID).count == 30


def test_labels_of_oblique_slices_go_to_the_voxels_that_belong_to_them() -> None:
    oblique = OBLIQUE.oblique(GRID)
    assert oblique is not None
    assert oblique is OBLIQUE.oblique(GRID)  # made once: the inverse matrices are asked for again and again
    shape = OBLIQUE.slicing(GRID).geometry.shape_kji
    labels = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    voxels = np.nonzero(np.ones(GRID.shape_kji, dtype=bool))
    rows, columns = oblique.pixels(voxels)
    expected = labels[oblique.indexes(voxels), rows, columns].reshape(GRID.shape_kji)
    found = oblique.stored_labels(labels)
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, expected)
