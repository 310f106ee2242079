"""The map of where three axes disagree: on its way over the wire, and as one block of voxels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from medsam2_core.errors import WorkerError
from medsam2_core.worker.disagreement import DisagreementMap
from medsam2_core.worker.wire import Frame

GRID = 9, 7, 11


def spot(rows: slice, columns: slice, percent: int) -> np.ndarray:
    pixels = np.zeros(GRID[1:], np.uint8)
    pixels[rows, columns] = percent
    return pixels


WHOLE = {
    2: spot(slice(1, 3), slice(4, 9), 33),
    3: spot(slice(0, 0), slice(0, 0), 33),
    5: spot(slice(2, 6), slice(3, 5), 67),
}


@pytest.fixture
def found() -> DisagreementMap:
    return DisagreementMap.of(WHOLE.items())


def test_it_is_one_block_of_the_slices_that_count(found: DisagreementMap) -> None:
    assert {index: box for index, (box, _) in found.slices.items()} == {2: (1, 4, 3, 9), 5: (2, 3, 6, 5)}
    (first, row, column), block = found.block()
    assert (first, row, column, *block.shape) == (2, 1, 3, 4, 5, 6)
    for index in range(2, 6):
        whole = np.zeros(GRID[1:], np.uint8)
        whole[row : row + 5, column : column + 6] = block[index - 2]
        np.testing.assert_array_equal(whole, WHOLE.get(index, 0 * whole))


def test_where_nothing_differs_it_is_a_voxel_of_nothing() -> None:
    corner, block = DisagreementMap.of({3: WHOLE[3]}.items()).block()
    assert (corner, block.tolist()) == ((0, 0, 0), [[[0]]])


def sent(found: DisagreementMap) -> tuple[dict[str, Any], list[Any]]:
    payloads: list[Any] = []
    return json.loads(json.dumps(found.to_wire(payloads))), payloads


def test_it_arrives_as_it_was(found: DisagreementMap) -> None:
    header, payloads = sent(found)
    again = DisagreementMap.from_wire(Frame(header, tuple(payloads)), GRID)
    assert again.slices.keys() == found.slices.keys()
    for index, (box, percent) in found.slices.items():
        assert again.slices[index][0] == box
        np.testing.assert_array_equal(again.slices[index][1], percent)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"slice_index": 9}, "about slice 9 of a volume of 9 slices"),
        ({"slice_index": -1}, "about slice -1 of a volume"),
        ({"box": [1, 4, 8, 9]}, "outside a slice of 7 x 11 pixels"),
        ({"box": [1, 4, 1, 9]}, "outside a slice"),
        ({"box": [1, 4, 2, 9]}, "10 pixels in a box of another size"),
        ({"box": [1, 4, 2]}, "no valid 'box'"),
        ({"payload": 2}, "payload 2"),
        ({"slice_index": "2"}, "no valid 'slice_index'"),
    ],
)
def test_what_does_not_fit_is_refused(found: DisagreementMap, changed: dict[str, Any], problem: str) -> None:
    header, payloads = sent(found)
    header["slices"][0] |= changed
    with pytest.raises(WorkerError, match=problem):
        DisagreementMap.from_wire(Frame(header, tuple(payloads)), GRID)
