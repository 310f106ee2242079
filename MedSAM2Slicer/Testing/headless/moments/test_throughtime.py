"""A segment through the frames of a sequence, with the real worker and the starter: a beating sphere."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import slicer.util

from medsam2_core.errors import MedSAM2Error, PromptError, VolumeError
from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.console import process
from MedSAM2SlicerLib.moments.console import throughTime
from MedSAM2SlicerLib.moments.throughtime import ThroughTime
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation, segmentMask
from MedSAM2SlicerLib.worker.calls import askAndWait

SHAPE = (14, 96, 96)
FRAMES = 4
START = 1


def sphere(frame: int) -> np.ndarray:
    center = np.array([6.5, 46 + 2 * frame, 48 - 2 * frame])[:, None, None, None]
    k, j, i = np.indices(SHAPE) - center
    radius = 19 + 3 * np.cos(2 * np.pi * frame / FRAMES)
    found: np.ndarray = (4 * k) ** 2 + j**2 + i**2 < radius**2
    return found


class Bench:
    def __init__(self, nodes: Any, client: Any, beats: int = 1) -> None:
        self.client = client
        rng = np.random.default_rng(0)
        frames = [sphere(frame) for frame in range(FRAMES)] * beats
        arrays = [(rng.normal(90, 8, SHAPE) + 80 * frame).astype(np.int16) for frame in frames]
        self.browser = nodes.sequence(arrays)
        self.browser.SetSelectedItemNumber(START)
        self.volume = self.browser.GetProxyNode(self.browser.GetMasterSequenceNode())
        self.volume.SetSpacing(1.0, 1.0, 4.0)
        for frame in range(len(frames)):
            self.browser.GetMasterSequenceNode().GetNthDataNode(frame).SetSpacing(1.0, 1.0, 4.0)
        self.segmentation, self.segmentId = ensureSegmentation(self.volume, None, "ventricle")
        self.errors: list[MedSAM2Error] = []
        self.ends: list[bool] = []

    def draw(self) -> None:
        writer = SegmentWriter(self.segmentation, self.segmentId, self.volume)
        writer.writeSlices(dict(enumerate(sphere(START))), 0)
        writer.end()

    def run(self, cancelAfter: int | None = None, axis: int = 0) -> ThroughTime:
        options = RunOptions(model="starter", device="cpu", stack=SliceStack(axis), window="130/160")
        time = ThroughTime(self.volume, self.segmentation, self.segmentId, options)
        steps: list[int] = []

        def onStep(step: Any) -> None:
            time.write(step)
            steps.append(step.done)
            if step.done == cancelAfter:
                call.cancel()

        call = time.ask(self.client, onStep, self.ends.append, self.errors.append)
        while not call.isFinished:
            self.client.pump(0.05)
        time.close(self.client)
        self.steps = steps
        return time

    def shown(self, node: Any, frame: int) -> np.ndarray:
        """The segment in the scene once the browser is at a frame."""
        self.browser.SetSelectedItemNumber(frame)
        return segmentMask(node, self.resultId(node), self.volume)

    def resultId(self, node: Any) -> str:
        segmentId: str = node.GetSegmentation().GetSegmentIdBySegmentName("ventricle")
        return segmentId


@pytest.fixture
def bench(nodes: Any, client: Any) -> Bench:
    return Bench(nodes, client)


def test_the_result_steps_with_the_images_and_volumes_are_right(bench: Bench) -> None:
    bench.draw()
    time = bench.run()
    assert bench.errors == []
    assert bench.ends == [False]
    assert bench.steps == [2, 3, 4]
    table = time.table
    volumes = slicer.util.arrayFromTableColumn(table, "volume (mL)")
    for frame in range(FRAMES):
        truth, found = sphere(frame), bench.shown(time.node, frame)
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.9, frame
        assert volumes[frame] == pytest.approx(found.sum() * 4 / 1000)
        assert volumes[frame] == pytest.approx(truth.sum() * 4 / 1000, rel=0.05), frame
    assert slicer.util.arrayFromTableColumn(table, "frame").tolist() == [0, 1, 2, 3]
    assert np.array_equal(bench.shown(time.node, START), sphere(START)), "What was there is taken as true."
    (series,) = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    assert series.GetTableNodeID() == table.GetID()
    assert bench.client.status().wait()["volumes"] == []


def test_a_second_segment_and_a_second_run_go_to_the_same_places(nodes: Any, client: Any) -> None:
    bench = Bench(nodes, client, beats=8)  # more than the worker does before it hears of the cancel
    bench.draw()
    first = bench.run(cancelAfter=2)
    assert bench.ends == [True]
    assert 2 <= len(slicer.util.arrayFromTableColumn(first.table, "frame")) < 8 * FRAMES
    _, bench.segmentId = ensureSegmentation(bench.volume, bench.segmentation, "other")
    bench.draw()
    second = bench.run(cancelAfter=2)
    assert second.node is first.node
    assert second.table is not first.table
    segmentation = first.node.GetSegmentation()
    names = [segmentation.GetSegment(one).GetName() for one in segmentation.GetSegmentIDs()]
    assert sorted(names) == ["other", "ventricle"]
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == 2
    assert first.table is first.table


def test_segments_of_one_name_in_two_segmentations_have_results_of_their_own(bench: Bench) -> None:
    bench.draw()
    options = RunOptions(model="starter", window="130/160")
    first = ThroughTime(bench.volume, bench.segmentation, bench.segmentId, options)
    other, otherId = ensureSegmentation(bench.volume, None, "ventricle")
    writer = SegmentWriter(other, otherId, bench.volume)
    writer.writeSlices({6: sphere(START)[6]}, 0)
    writer.end()
    second = ThroughTime(bench.volume, other, otherId, options)
    assert second.node is not first.node
    assert second.table is not first.table
    assert np.array_equal(bench.shown(first.node, START), sphere(START))
    assert bench.shown(second.node, START).sum() == sphere(START)[6].sum()
    corrected = ThroughTime(bench.volume, second.node, bench.resultId(second.node), options)
    again = ThroughTime(bench.volume, bench.segmentation, bench.segmentId, options)
    assert corrected.node is second.node, "From a result it goes on in that."
    assert again.node is first.node


def test_a_segmentation_that_is_removed_meanwhile_is_made_again(bench: Bench, scene: Any) -> None:
    bench.draw()
    time = ThroughTime(bench.volume, bench.segmentation, bench.segmentId, RunOptions(model="starter", window="130/160"))
    scene.RemoveNode(time.node)
    time.ask(bench.client, time.write).wait()
    time.close(bench.client)
    assert all(bench.shown(time.node, frame).any() for frame in range(FRAMES))
    assert time.table.GetNumberOfRows() == FRAMES


def test_a_frame_that_is_removed_meanwhile_ends_it_and_what_is_done_stays(bench: Bench) -> None:
    bench.draw()
    time = ThroughTime(bench.volume, bench.segmentation, bench.segmentId, RunOptions(model="starter", window="130/160"))

    def onStep(step: Any) -> None:
        if step.moment == START + 1:
            bench.browser.GetMasterSequenceNode().RemoveDataNodeAtValue("0")
        time.write(step)

    with pytest.raises(VolumeError, match="Frame 0 was removed from 'cine': start again"):
        askAndWait(partial(time.ask, bench.client), onStep)
    time.close(bench.client)
    frames = slicer.util.arrayFromTableColumn(time.table, "frame").tolist()
    assert 0 not in frames
    assert {START, START + 1} <= set(frames)
    for frame in frames:
        truth, found = sphere(int(frame)), bench.shown(time.node, int(frame) - 1)
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.9, frame


def test_along_another_axis(bench: Bench) -> None:
    bench.draw()
    time = bench.run(cancelAfter=2, axis=1)
    assert bench.errors == []
    truth, found = sphere(START + 1), bench.shown(time.node, START + 1)
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.75


def test_what_cannot_be_carried(bench: Bench, nodes: Any) -> None:
    with pytest.raises(PromptError, match="Segment the object in this frame first"):
        bench.run()
    bench.draw()
    bench.segmentation.GetSegmentation().AddEmptySegment("other", "ventricle")
    with pytest.raises(PromptError, match="Several segments are called 'ventricle'"):
        bench.run()
    alone = nodes.volume(shape=SHAPE, name="still")
    segmentation, segmentId = ensureSegmentation(alone)
    with pytest.raises(VolumeError, match="'still' shows no frame of a sequence"):
        ThroughTime(alone, segmentation, segmentId, RunOptions())


def test_from_the_console(bench: Bench) -> None:
    bench.draw()
    seen: list[tuple[int, int]] = []
    node, table = throughTime(
        bench.client,
        bench.volume,
        bench.segmentation,
        "ventricle",
        lambda done, planned: seen.append((done, planned)),
        window="130/160",
    )
    assert seen == [(2, 4), (3, 4), (4, 4)]
    assert bench.shown(node, 3).any()
    assert table.GetNumberOfRows() == FRAMES


def test_segmenting_works_on_the_frame_in_view(bench: Bench) -> None:
    for frame in (0, 2):
        bench.browser.SetSelectedItemNumber(frame)
        truth = sphere(frame)
        rows, columns = np.nonzero(truth[6])
        box = [[columns.min(), rows.min(), 6], [columns.max(), rows.max(), 6]]
        corners = ijkToWorld(bench.volume, box).tolist()
        process(bench.client, bench.volume, bench.segmentation, f"frame {frame}", box=corners, window="130/160")
        segmentId = bench.segmentation.GetSegmentation().GetSegmentIdBySegmentName(f"frame {frame}")
        found = segmentMask(bench.segmentation, segmentId, bench.volume)
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.9, frame


def test_a_second_run_goes_on_when_the_first_is_closed(bench: Bench) -> None:
    bench.draw()
    options = RunOptions(model="starter", device="cpu", window="130/160")
    first, second = (ThroughTime(bench.volume, bench.segmentation, bench.segmentId, options) for _ in range(2))
    calls = [run.ask(bench.client, run.write) for run in (first, second)]
    first.close(bench.client)
    calls[0].cancel()
    assert calls[1].wait() is False
    second.close(bench.client)
    assert bench.client.status().wait()["volumes"] == []
