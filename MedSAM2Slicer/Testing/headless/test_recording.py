"""What a segment's record has to survive: window and level, other voxels, propagations that were broken off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util
from controllerbench import ControllerBench

from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.runrecord import loadRun


@pytest.fixture
def done(bench: ControllerBench) -> ControllerBench:
    """A bench whose segment was propagated through all slices, in the window of the display."""
    bench.volume.CreateDefaultDisplayNodes()
    bench.volume.GetDisplayNode().AutoWindowLevelOff()
    drag(bench, 400, 40)
    bench.click(4, 4, 3)
    bench.propagate().finish()
    return bench


def drag(bench: ControllerBench, width: float, level: float) -> None:
    """What the mouse does in a view: it sets window and level of the display."""
    bench.volume.GetDisplayNode().SetWindowLevel(width, level)


def report(bench: ControllerBench) -> Any:
    return loadRun(bench.controller.segmentationNode, bench.controller.segmentId).report


def window(bench: ControllerBench) -> tuple[float, float]:
    """The one the segment's record has."""
    stored = report(bench)["settings"]["window"]
    return stored["lower"], stored["upper"]


def ranges(bench: ControllerBench) -> list[list[int]]:
    """The slices of the record's runs, the last one last."""
    stored = report(bench)
    last = stored["settings"]["range"]
    return [*(one["settings"].get("range", last) for one in stored.get("earlier", [])), last]


def correct(bench: ControllerBench) -> None:
    bench.paint(5)
    bench.propagate(steps=4).finish()


def anew(bench: ControllerBench) -> None:
    """Work on the same with another controller, as after reloading the scene or coming back to the effect."""
    before, bench.controller = bench.controller, Controller(bench.client)
    before.close()
    bench.controller.failed.connect(lambda text: bench.said["failed"].append((text,)))
    bench.controller.setVolume(bench.volume)
    bench.controller.setSegment(before.segmentationNode, before.segmentId)


@pytest.mark.parametrize("reloaded", [False, True])
def test_a_correction_goes_on_in_the_window_of_the_first_run(done: ControllerBench, reloaded: bool) -> None:
    volumes, view = set(done.client.volumes), done.controller.modelView(2)
    drag(done, 1500, -600)
    if reloaded:
        anew(done)
    np.testing.assert_array_equal(done.controller.modelView(2), view)
    correct(done)
    assert done.client.volumes == volumes
    assert ranges(done) == [[0, 7], [3, 7]]
    assert window(done) == (-160, 240)


def test_a_neighbour_goes_on_in_that_window_too(done: ControllerBench) -> None:
    """Both are objects of one session, on one form of the volume."""
    sessions = dict(done.client.sessions)
    drag(done, 1500, -600)
    segmentation = done.controller.segmentationNode
    done.controller.setSegment(segmentation, segmentation.GetSegmentation().AddEmptySegment("", "second"))
    done.click(4, 4, 3)
    done.propagate().finish()
    assert done.client.sessions == sessions
    assert window(done) == (-160, 240)


def test_an_undone_run_lets_the_window_follow_the_display_again(done: ControllerBench) -> None:
    done.controller.undo()
    drag(done, 1500, -600)
    done.propagate().finish()
    assert window(done) == (-1350, 150)


def test_choosing_a_window_and_auto_again_follows_the_display(done: ControllerBench) -> None:
    done.controller.setOptions(RunOptions(window="bone"))
    done.propagate().finish()
    assert window(done) == (-500, 1300)
    drag(done, 1500, -600)
    done.controller.setOptions(RunOptions())
    done.propagate().finish()
    assert window(done) == (-1350, 150)
    assert ranges(done) == [[0, 7]]


def test_a_window_is_that_of_its_volume(done: ControllerBench, nodes: Any) -> None:
    other = nodes.volume(shape=(7, 8, 9), name="MR")
    seen = Controller(done.client)
    seen.setVolume(other)
    alone = seen.modelView(2)
    seen.close()
    done.controller.setVolume(other)
    np.testing.assert_array_equal(done.controller.modelView(2), alone)


def test_other_voxels_make_the_propagation_stale(done: ControllerBench) -> None:
    """The worker gets them as a new volume, and knows nothing of what it drew on the one before."""
    array = slicer.util.arrayFromVolume(done.volume)
    array[...] = array[::-1].copy()
    slicer.util.arrayFromVolumeModified(done.volume)
    done.paint(5)
    done.controller.propagate()
    assert set(done.states().values()) == {"prompted", "edited", "stale"}
    assert done.client.spans[-1] == (0, 7)
    call = done.client.calls[-1]
    while call.steps:
        call.step()
    call.finish()
    assert ranges(done) == [[0, 7]]
