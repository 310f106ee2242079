"""Numbers of things in what is said: one of them is no plural, and several are no singular."""

from __future__ import annotations

import numpy as np
import pytest
import slicer.util
from controllerbench import ControllerBench, segmentEditor

from MedSAM2SlicerLib.options import RunOptions


@pytest.mark.parametrize(("last", "said"), [(4, "1 slice, "), (5, "2 slices, ")])
def test_a_summary_counts_slices(bench: ControllerBench, last: int, said: str) -> None:
    bench.controller.setOptions(RunOptions(first=3, last=last))
    bench.click(4, 4, 3)
    bench.propagate(last - 3).finish()
    assert bench.said["finished"][0][0].startswith(said)


@pytest.mark.parametrize(("count", "said"), [(1, " 1 voxel of the mask lies "), (2, " 2 voxels of the mask lie ")])
def test_a_summary_counts_voxels(bench: ControllerBench, count: int, said: str) -> None:
    bench.controller.setOptions(RunOptions(first=3, last=4))
    bench.click(4, 4, 3)
    editable, values = segmentEditor(bench.controller.segmentationNode), np.full((7, 8, 9), 100, np.int16)
    values[3, 4, 4 : 4 + count] = 0
    slicer.util.updateVolumeFromArray(bench.volume, values)
    editable.SetAndObserveSourceVolumeNode(bench.volume)
    editable.SourceVolumeIntensityMaskOn()
    editable.SetSourceVolumeIntensityMaskRange(50, 200)
    bench.propagate(1).finish()
    assert said in bench.said["finished"][0][0]


@pytest.mark.parametrize(("last", "said"), [(1, " on slice 0: "), (2, " on slices 0–1: ")])
def test_a_range_without_a_prompt_is_named(bench: ControllerBench, last: int, said: str) -> None:
    bench.controller.setOptions(RunOptions(first=0, last=last))
    bench.click(4, 4, 3)
    bench.controller.propagate()
    assert said in bench.said["failed"][0][0]
