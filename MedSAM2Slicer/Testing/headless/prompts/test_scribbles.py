"""Strokes as prompts: the points they become, one request each, in the list, in the record, and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from controllerbench import ControllerBench, finish

from medsam2_core.image.slicing import Slicing
from medsam2_core.run.prompts import ScribblePrompt
from MedSAM2SlicerLib.prompts.strokes import MOST, gridMm, spread, within
from MedSAM2SlicerLib.record.runrecord import loadRun
from MedSAM2SlicerLib.scene.geometry import ijkToWorld, volumeGeometry
from MedSAM2SlicerLib.scene.segments import SegmentWriter
from MedSAM2SlicerLib.scene.slicedvolume import slicedVolume


def path(bench: ControllerBench, *corners: tuple[float, float, float], count: int = 200) -> Any:
    """A stroke of that many mouse positions through corners (i, j, k), in the world."""
    along = np.linspace(0, len(corners) - 1, count)
    voxels = np.stack([np.interp(along, range(len(corners)), axis) for axis in zip(*corners, strict=True)], axis=1)
    return ijkToWorld(bench.volume, voxels).tolist()


def kinds(bench: ControllerBench) -> list[tuple[str, int]]:
    return [(item.kind, item.sliceIndex) for item in bench.controller.review.prompts()]


def test_points_lie_evenly_along_a_stroke() -> None:
    corner = [[0, 0, 0], [6, 0, 0], [6, 6, 0]]
    np.testing.assert_allclose(spread(corner, 3.0), [[0, 0, 0], [3, 0, 0], [6, 0, 0], [6, 3, 0], [6, 6, 0]])
    np.testing.assert_allclose(spread(corner, 5.0), [[0, 0, 0], [6, 0, 0], [6, 6, 0]])
    np.testing.assert_allclose(spread([[0, 0, 0], [2, 0, 0]], 5.0), [[1, 0, 0]])
    np.testing.assert_allclose(spread([[4, 5, 6]], 5.0), [[4, 5, 6]])
    assert len(spread([[0, 0, 0], [1000, 0, 0]], 3.0)) == MOST


def test_they_are_as_far_apart_as_cells_of_the_model_s_grid(nodes: Any) -> None:
    volume = slicedVolume(nodes.volume(shape=(3, 64, 128), matrix=np.diag([0.5, 2.0, 5.0, 1.0])))
    assert gridMm(volume, 256) == pytest.approx(128 * 4 / 256)  # 64 rows of 2 mm


def test_points_in_a_painted_stroke_keep_from_its_edge_and_follow_it() -> None:
    mask = np.zeros((20, 60), bool)
    mask[5:14, 3:57] = True
    found = np.array(within(mask, (1.0, 1.0), 8.0))
    assert 5 <= len(found) <= MOST
    assert all(mask[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].all() for x, y in found)
    assert np.ptp(found[:, 0]) > 40
    steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
    assert steps.min() >= 8.0
    assert len(within(np.eye(20, dtype=bool), (1.0, 1.0), 4.0)) > 3  # a line has no inside to keep to
    assert len(within(np.eye(2, dtype=bool)[:1], (1.0, 1.0), 4.0)) == 1


def test_a_stroke_costs_one_request(bench: ControllerBench) -> None:
    bench.controller.prompting.addScribble(path(bench, (2, 2, 3), (7, 2, 3), (7, 6, 3)))
    bench.client.answer(3)
    assert len(bench.client.calls) == 1
    (stroke,) = bench.client.objects[-1][0].prompts
    assert isinstance(stroke, ScribblePrompt)
    assert 2 <= len(stroke.points_xy) <= MOST
    assert stroke.include
    assert stroke.points_xy[0] == (2.0, 2.0)
    assert stroke.points_xy[-1] == (7.0, 6.0)
    assert kinds(bench) == [("scribble", 3)]


def test_an_exclude_stroke_excludes(bench: ControllerBench) -> None:
    bench.controller.prompting.addScribble(path(bench, (2, 2, 3), (7, 2, 3)))
    bench.client.answer(3)
    bench.controller.prompting.addScribble(path(bench, (2, 6, 3), (7, 6, 3)), include=False)
    bench.client.answer(3)
    given, left = bench.client.objects[-1][0].prompts
    assert (given.include, left.include) == (True, False)
    assert {y for _x, y in left.points_xy} == {6.0}
    assert kinds(bench) == [("scribble", 3), ("scribbleOut", 3)]
    assert not bench.said["failed"]


def test_a_stroke_is_removed_as_a_whole(bench: ControllerBench) -> None:
    for row in (2, 6):
        bench.controller.prompting.addScribble(path(bench, (2, row, 3), (7, row, 3)))
        bench.client.answer(3)
    bench.controller.prompting.removePrompt(bench.controller.review.prompts()[0])
    bench.client.answer(3)
    (points,) = bench.client.objects[-1][0].prompts
    assert {y for _x, y in points.points_xy} == {6.0}
    bench.controller.prompting.removePrompt(bench.controller.review.prompts()[0])
    assert kinds(bench) == []
    assert not slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode")


def test_what_lies_outside_the_volume_does_not_count(bench: ControllerBench) -> None:
    bench.controller.prompting.addScribble(path(bench, (-20, 2, 3), (7, 2, 3)))
    bench.client.answer(3)
    (points,) = bench.client.objects[-1][0].prompts
    assert all(x >= -0.5 for x, _y in points.points_xy)
    bench.controller.prompting.addScribble(path(bench, (-20, 2, 3), (-9, 2, 3)))
    assert "outside the volume" in bench.said["failed"][0][0]
    assert kinds(bench) == [("scribble", 3)]


def test_a_stroke_across_slices_counts_on_each(bench: ControllerBench) -> None:
    bench.controller.prompting.addScribble(path(bench, (4, 4, 1), (4, 4, 4)))
    slices = [index for _kind, index in kinds(bench)]
    assert slices == sorted(set(slices))
    assert len(slices) > 1
    for index in slices:
        bench.client.answer(index)
    assert bench.said["previewed"] == [(index,) for index in slices]


def test_a_painted_segment_becomes_scribbles(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    segmentation = bench.controller.segmentationNode
    other = str(segmentation.GetSegmentation().AddEmptySegment("", "other"))
    writer = SegmentWriter(segmentation, other, bench.volume)
    stroke = np.zeros((8, 9), bool)
    stroke[3:5, 1:8] = True
    writer.writeSlices({2: stroke, 5: stroke}, 0)
    writer.end()
    bench.controller.prompting.addSegmentScribble(other)
    bench.client.answer(2)
    bench.client.answer(5)
    assert kinds(bench) == [("scribble", 2), ("include", 3), ("scribble", 5)]
    for prompt in bench.client.objects[-1][0].prompts:
        if prompt.slice_index != 3:
            assert len(prompt.points_xy) > 1
            assert all(stroke[round(y), round(x)] for x, y in prompt.points_xy)
    bench.controller.prompting.addSegmentScribble(segmentation.GetSegmentation().AddEmptySegment("", "empty"))
    assert "is empty" in bench.said["failed"][-1][0]


def test_it_is_in_the_record_and_comes_back_from_it(bench: ControllerBench) -> None:
    bench.controller.prompting.addScribble(path(bench, (2, 2, 3), (7, 2, 3)))
    bench.client.answer(3)
    finish(bench.propagate(0))
    (sent,) = bench.client.objects[-1][0].prompts
    record = loadRun(bench.controller.segmentationNode, bench.controller.segmentId)
    (stored,) = record.report["objects"][0]["prompts"]
    assert (stored["kind"], stored["include"]) == ("scribble", True)
    (run,) = record.runs(Slicing(volumeGeometry(bench.volume), 0))
    assert run.objects[0].prompts == (sent,)


def test_clicks_and_strokes_of_a_slice_are_recorded_apart(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.click(7, 7, 3, "exclude")
    for row in (2, 6):
        bench.controller.prompting.addScribble(path(bench, (2, row, 3), (7, row, 3)), include=row == 2)
    bench.preview()
    finish(bench.propagate(0))
    stored = bench.record()["objects"][0]["prompts"]
    assert [one["kind"] for one in stored] == ["points", "scribble", "scribble"]


def test_it_is_saved_with_the_scene(bench: ControllerBench, tmp_path: Path) -> None:
    bench.controller.prompting.addScribble(path(bench, (2, 2, 3), (7, 2, 3)))
    (node,) = slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode")
    storage = slicer.vtkMRMLMarkupsJsonStorageNode()
    storage.SetFileName(str(tmp_path / "scribble.mrk.json"))
    assert storage.WriteData(node)
    again = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode")
    assert storage.ReadData(again)
    points = [[list(one.GetNthControlPointPositionWorld(place)) for place in range(one.GetNumberOfControlPoints())]
              for one in (node, again)]  # fmt: skip
    np.testing.assert_allclose(points[1], points[0])
    assert node.GetSaveWithScene()
    assert node.GetDisplayNode().GetSelectedColor() == pytest.approx(
        bench.controller.segmentationNode.GetSegmentation().GetSegment(bench.controller.segmentId).GetColor()
    )
