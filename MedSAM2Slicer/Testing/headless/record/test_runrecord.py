"""The record of a run: complete, safe in saved scenes, and enough to repeat the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
from runsamples import MASK, PROMPTS, SETTINGS
from scenefolder import writeScene

from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.slicing import SliceStack, Slicing
from medsam2_core.image.window import Window
from medsam2_core.run.file import place_file_prompts, read_run_file
from medsam2_core.run.prompts import PointsPrompt
from medsam2_core.run.settings import usual
from medsam2_core.stopping import StopRules
from medsam2_core.worker.results import ObjectRecord, Propagated, SliceRecord
from MedSAM2SlicerLib.record.runrecord import loadRun, noteCut, recordedWindow, saveRun, writeRun
from MedSAM2SlicerLib.scene import segments
from MedSAM2SlicerLib.scene.attributes import attributeName
from MedSAM2SlicerLib.scene.geometry import ijkToWorld, volumeGeometry
from MedSAM2SlicerLib.scene.volumes import voxelHash

RESULT = Propagated(
    cancelled=True,
    seconds=2.0,
    objects=(
        ObjectRecord(
            7,
            {"backward": "stopped at slice 1: object absent on 3 slices"},
            (SliceRecord(2, 0.9, 8.0, "prompt", 12.0), SliceRecord(1, float("nan"), 7.0, "backward", 11.0)),
        ),
    ),
)


def recorded(nodes: Any, grid: np.ndarray, parent: Any = None, name: str = 'Leber 肝臓 "1"; a:b%20') -> Any:
    volume = nodes.volume(matrix=grid, parent=parent)
    segmentation, segmentId = segments.ensureSegmentation(volume, name=name)
    writer = segments.SegmentWriter(segmentation, segmentId, volume)
    writer.writeSlices({2: MASK}, 0)
    writer.end()
    saveRun(segmentation, segmentId, volume, SETTINGS, PROMPTS, RESULT, 7, voxelHash(volume))
    return volume, segmentation, segmentId


def prompts(record: Any, slicing: Slicing) -> Any:
    """Those of a record's last run."""
    return record.runs(slicing)[-1].objects[0].prompts


def assertPrompts(found: Any) -> None:
    *others, mask = found
    assert tuple(others) == PROMPTS[:-1]
    assert mask.slice_index == 4
    np.testing.assert_array_equal(mask.mask, MASK)


@pytest.mark.parametrize("seed", range(6))
def test_a_record_comes_back(nodes: Any, randomGrid: Callable, randomRigid: Callable, seed: int) -> None:
    volume, segmentation, segmentId = recorded(nodes, randomGrid(seed), nodes.transform(randomRigid(seed)))
    volume.SetAndObserveTransformNodeID(nodes.transform(randomRigid(seed + 1)).GetID())  # the prompts go with it
    record = loadRun(segmentation, segmentId)
    assertPrompts(prompts(record, Slicing(volumeGeometry(volume), 0)))
    assert record.isOf(volume)
    assert record.volumeNodeId == volume.GetID()
    assert record.run.settings.window == SETTINGS.window
    assert record.run.settings.range == (1, 6)
    assert record.run.settings.model_sha256 == "ab" * 32
    report = record.report
    assert report["interrupted"] is True
    assert report["objects"][0]["volume_ml"] == pytest.approx(
        MASK.sum() * np.prod(volume.GetSpacing()) / 1000, abs=1e-3
    )
    assert [one["slice_index"] for one in report["objects"][0]["slices"]] == [1, 2]
    assert report["objects"][0]["slices"][0]["confidence"] is None
    assert set(report["versions"]) == {"medsam2", "python"}


def test_the_volume_is_known_by_its_voxels_and_grid(nodes: Any, randomGrid: Callable) -> None:
    volume, segmentation, segmentId = recorded(nodes, randomGrid(2))
    record = loadRun(segmentation, segmentId)
    assert record.isOf(nodes.volume(matrix=randomGrid(2), name="copy"))
    assert not record.isOf(nodes.volume(matrix=randomGrid(3)))
    slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
    assert not record.isOf(volume)


def test_the_command_line_reads_it(nodes: Any, randomGrid: Callable, tmp_path: Path) -> None:
    volume, segmentation, segmentId = recorded(nodes, randomGrid(1), name="liver")
    path = tmp_path / "run.json"
    path.write_text(segmentation.GetAttribute(f"MedSAM2.Run.{segmentId}"), "utf-8")
    run = read_run_file(path)
    (item,) = run.objects
    first, second, *rest = place_file_prompts(item, Slicing(volumeGeometry(volume), 0), path)
    assertPrompts([PointsPrompt(2, first.points_xy + second.points_xy, first.include + second.include), *rest])
    assert item.name == "liver"
    assert run.settings == loadRun(segmentation, segmentId).run.settings


def saved(scene: Any, folder: Path) -> None:
    """Write the scene to a folder, and close it."""
    writeScene(folder)
    scene.Clear(1)


def reloaded(scene: Any, folder: Path) -> Any:
    """The scene written to a folder and read into an empty one."""
    saved(scene, folder)
    assert scene.Connect()
    return scene


def markedInWorld(segmentation: Any, segmentId: str, volume: Any) -> np.ndarray:
    """World positions of a segment's voxels, sorted."""
    kji = np.argwhere(segments.segmentMask(segmentation, segmentId, volume))
    world = ijkToWorld(volume, kji[:, ::-1]).round(3) + 0.0
    return world[np.lexsort(world.T)]


@pytest.mark.parametrize("seed", range(6))
def test_masks_keep_their_place_in_a_saved_scene(
    nodes: Any, randomGrid: Callable, randomRigid: Callable, tmp_path: Path, seed: int
) -> None:
    parent = nodes.transform(randomRigid(seed)) if seed % 2 else None
    before = recorded(nodes, randomGrid(seed), parent)
    expected = markedInWorld(before[1], before[2], before[0])
    scene = reloaded(nodes.scene, tmp_path)
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")  # a left-handed grid comes back with k reversed
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    np.testing.assert_allclose(markedInWorld(segmentation, before[2], volume), expected, atol=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_record_and_segment_go_on_in_a_saved_scene(
    nodes: Any, randomGrid: Callable, randomRigid: Callable, tmp_path: Path, seed: int
) -> None:
    grid = randomGrid(seed)
    grid[:, 2] *= np.sign(np.linalg.det(grid[:3, :3]))
    parent = nodes.transform(randomRigid(seed)) if seed % 2 else None
    _, segmentation, segmentId = recorded(nodes, grid, parent)
    name = segmentation.GetSegmentation().GetSegment(segmentId).GetName()
    scene = reloaded(nodes.scene, tmp_path)
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    record = loadRun(segmentation, segmentId)
    assert record.run.objects[0].name == name
    assertPrompts(prompts(record, Slicing(volumeGeometry(volume), 0)))
    assert record.isOf(volume)
    expected = np.zeros((6, 8, 9), bool)
    expected[2] = MASK
    np.testing.assert_array_equal(segments.segmentMask(segmentation, segmentId, volume), expected)
    assert segments.ensureSegmentation(volume, segmentation, name)[1] == segmentId
    writer = segments.SegmentWriter(segmentation, segmentId, volume)
    writer.writeSlices({2: None, 3: MASK}, 0)
    writer.end()
    np.testing.assert_array_equal(segments.segmentMask(segmentation, segmentId, volume), np.roll(expected, 1, 0))


@pytest.mark.parametrize("name", ["liver", "Segment.1:2;3", "left lung (90%) = + 肝"])
def test_any_segment_id_will_do(nodes: Any, tmp_path: Path, name: str) -> None:
    volume = nodes.volume()
    segmentation, _ = segments.ensureSegmentation(volume)
    segmentId = segmentation.GetSegmentation().AddEmptySegment(name, "liver")
    saveRun(segmentation, segmentId, volume, SETTINGS, PROMPTS[:1], RESULT, 7, voxelHash(volume))
    reloaded(nodes.scene, tmp_path)
    segmentation = nodes.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert loadRun(segmentation, segmentId).run.objects[0].name == "liver"


def test_no_record_and_damaged_records(nodes: Any) -> None:
    volume = nodes.volume()
    segmentation, segmentId = segments.ensureSegmentation(volume, name="liver")
    assert loadRun(segmentation, segmentId) is None
    for text, said in (
        ("{", "damaged"),
        ("[" * 100000, "damaged"),
        ("[]", "holds no run"),
        ("{}", "no list 'objects'"),
        (json.dumps({"format": "other/9", "objects": []}), "cannot read"),
        (
            json.dumps({"objects": [{"name": "a", "prompts": [{"kind": "sketch"}]}]}),
            "use points, scribble, box",
        ),
    ):
        segmentation.SetAttribute(attributeName(segmentId), text)
        with pytest.raises(PromptError, match=f"Run of segment .*{said}"):
            loadRun(segmentation, segmentId)


def test_a_segment_with_a_damaged_record_can_be_redrawn(nodes: Any) -> None:
    segmentation, segmentId = segments.ensureSegmentation(nodes.volume(), name="liver")
    for text in ("{", "[" * 100000, "[]", "{}", '{"settings": []}'):
        segmentation.SetAttribute(attributeName(segmentId), text)
        noteCut(segmentation, segmentId, usual("drawing"))
        assert segmentation.GetAttribute(attributeName(segmentId)) == text


def test_a_record_that_does_not_fit_the_volume_says_so(nodes: Any, randomGrid: Callable) -> None:
    _, segmentation, segmentId = recorded(nodes, randomGrid(1))
    record = loadRun(segmentation, segmentId)
    with pytest.raises(PromptError, match=r"outside the volume|but there are"):
        record.runs(Slicing(volumeGeometry(nodes.volume(shape=(3, 3, 3))), 0))


def test_a_run_that_continues_is_added_to_those_before(nodes: Any, randomGrid: Callable, tmp_path: Path) -> None:
    volume, segmentation, segmentId = recorded(nodes, randomGrid(2), name="liver")
    segmentation.GetSegmentation().GetSegment(segmentId).SetName("renamed")
    settings = replace(SETTINGS, first=2, last=5, stop=StopRules())
    saveRun(segmentation, segmentId, volume, settings, PROMPTS[1:], RESULT, 7, voxelHash(volume), continues=True)
    slicing = Slicing(volumeGeometry(volume), 0)
    first, second = loadRun(segmentation, segmentId).runs(slicing)
    assertPrompts(first.objects[0].prompts)
    assert second.objects[0].prompts[0] == PROMPTS[1]
    assert [(run.first, run.last, run.stop.absent_slices) for run in (first, second)] == [(1, 6, 2), (2, 5, 3)]
    assert first.objects[0].segment.name == "renamed"
    (earlier,) = loadRun(segmentation, segmentId).report["earlier"]
    assert earlier["objects"][0]["prompts"][1:] == [0, 1, 2]
    assert "rounds" not in earlier["settings"]  # both were canceled in the same round
    writeRun(loadRun(segmentation, segmentId), tmp_path / "run.json")
    assert len(read_run_file(tmp_path / "run.json").earlier) == 1


@pytest.mark.parametrize("changed", ["window", "memory", "stack", "model_sha256", "field_of_view", "voxels", "damaged"])
def test_a_run_made_otherwise_begins_the_record_anew(nodes: Any, randomGrid: Callable, changed: str) -> None:
    volume, segmentation, segmentId = recorded(nodes, randomGrid(2), name="liver")
    values = {"window": Window(0, 1, "x"), "memory": "self-sorting", "stack": SliceStack(1), "field_of_view": "whole"}
    settings = (
        replace(SETTINGS, **{changed: values.get(changed, "cd" * 32)}) if hasattr(SETTINGS, changed) else SETTINGS
    )
    if changed == "voxels":
        slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
    if changed == "damaged":
        segmentation.SetAttribute(attributeName(segmentId), "{")
    saveRun(segmentation, segmentId, volume, settings, PROMPTS[:2], RESULT, 7, voxelHash(volume), continues=True)
    assert "earlier" not in loadRun(segmentation, segmentId).report


def test_a_record_that_cannot_be_written_says_so(nodes: Any, randomGrid: Callable, tmp_path: Path) -> None:
    _, segmentation, segmentId = recorded(nodes, randomGrid(2), name="liver")
    for name, said in (("run.txt", r"end its name with \.json"), ("no/run.json", "does not exist: create it")):
        with pytest.raises(VolumeError, match=said):
            writeRun(loadRun(segmentation, segmentId), tmp_path / name)


def test_the_window_is_that_of_the_same_volume_in_a_scene_added_to_another(
    nodes: Any, randomGrid: Callable, tmp_path: Path
) -> None:
    recorded(nodes, randomGrid(1))
    saved(nodes.scene, tmp_path)
    other = nodes.volume(name="other")
    assert nodes.scene.Import()
    volume = nodes.scene.GetFirstNode("CT", "vtkMRMLScalarVolumeNode")
    segmentation = nodes.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    segmentId = segmentation.GetSegmentation().GetNthSegmentID(0)
    record = loadRun(segmentation, segmentId)
    assert record.volumeNodeId == other.GetID()
    assert recordedWindow(segmentation, [segmentId]) == (volume.GetID(), record.run.settings.window)
