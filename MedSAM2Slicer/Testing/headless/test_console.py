"""`process()` through the real worker with the starter model, and through a fake one."""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer.util
from fakeclient import FakeClient

import open_data
from medsam2_core.cli.main import run
from medsam2_core.errors import MedSAM2Error, PromptError, VolumeError
from medsam2_core.image.slicing import SliceStack, Slicing
from medsam2_core.run.settings import rows_of
from MedSAM2SlicerLib import console
from MedSAM2SlicerLib.options import RunOptions, optionName
from MedSAM2SlicerLib.record.runrecord import loadRun
from MedSAM2SlicerLib.scene.geometry import ijkToWorld, volumeGeometry
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation, segmentMask
from MedSAM2SlicerLib.work.target import Target
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse

SPLEEN = 1
COMMAND = [sys.executable, "-m", "medsam2_core.worker"]


class Abdomen:
    """The small abdomen CT as a file and as a node on the same grid."""

    def __init__(self, nodes: Any, parent: Any = None) -> None:
        data = open_data.totalsegmentator_small()
        image = sitk.ReadImage(str(data.image))
        self.path, self.labels = data.image, sitk.GetArrayFromImage(sitk.ReadImage(str(data.labels)))
        spacing, flip = np.array(image.GetSpacing()), np.array([-1.0, -1.0, 1.0])
        matrix = np.eye(4)
        matrix[:3, :3] = flip[:, None] * np.array(image.GetDirection()).reshape(3, 3) * spacing
        matrix[:3, 3] = flip * image.GetOrigin()
        self.node = nodes.volume(sitk.GetArrayFromImage(image), matrix=matrix, parent=parent)

    def box(self) -> tuple[int, list[int]]:
        """The largest slice of the organ, and its box there: i0, j0, i1, j1."""
        mask = self.labels == SPLEEN
        index = int(mask.sum(axis=(1, 2)).argmax())
        rows, columns = np.nonzero(mask[index])
        return index, [int(v) for v in (columns.min(), rows.min(), columns.max(), rows.max())]

    def corners(self) -> list[list[float]]:
        index, (i0, j0, i1, j1) = self.box()
        corners: list[list[float]] = ijkToWorld(self.node, [[i0, j0, index], [i1, j1, index]]).tolist()
        return corners

    def mask(self, segmentationNode: Any) -> Any:
        return segmentMask(segmentationNode, segmentationNode.GetSegmentation().GetNthSegmentID(0), self.node)


def test_colors_that_are_gray_are_drawn_as_gray(nodes: Any, client: WorkerClient) -> None:
    k, j, i = np.indices((7, 48, 48))
    noise = np.random.default_rng(0).normal(90, 8, (7, 48, 48))
    gray = (noise + 90 * ((i - 22) ** 2 + (j - 25) ** 2 + 9 * (k - 3) ** 2 < 150)).astype(np.uint8)
    photo = nodes.scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    slicer.util.updateVolumeFromArray(photo, np.repeat(gray[..., None], 3, axis=3))
    masks = []
    for node, window in ((photo, None), (nodes.volume(gray), "127.5/255")):
        corners = ijkToWorld(node, [[9, 12, 3], [35, 38, 3]]).tolist()
        segmentation = console.process(client, node, segmentName="ball", box=corners, window=window)
        masks.append(segmentMask(segmentation, segmentation.GetSegmentation().GetNthSegmentID(0), node))
    assert masks[0].any()
    assert np.array_equal(*masks)


def test_the_mask_and_its_repetition_equal_the_command_line_s(nodes: Any, client: WorkerClient, tmp_path: Path) -> None:
    abdomen = Abdomen(nodes)
    index, (i0, j0, i1, j1) = abdomen.box()
    output = tmp_path / "mask.nii.gz"
    box = f"--box={i0},{j0},{i1},{j1}@{index}"
    assert run(["propagate", str(abdomen.path), box, "--output", str(output), "--device", "cpu", "--quiet"]) == 0
    wanted = sitk.GetArrayFromImage(sitk.ReadImage(str(output))) > 0
    segmentation = console.process(client, abdomen.node, box=abdomen.corners())
    assert wanted.sum() > 1000
    np.testing.assert_array_equal(abdomen.mask(segmentation), wanted)
    saved, again = tmp_path / "run.json", tmp_path / "again.nii.gz"
    record = loadRun(segmentation, segmentation.GetSegmentation().GetNthSegmentID(0))
    saved.write_text(json.dumps(record.report), encoding="utf-8")
    assert run(["propagate", str(abdomen.path), "--prompts", str(saved), "--output", str(again), "--quiet"]) == 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(again))) > 0, wanted)


def test_a_transform_moves_the_mask_with_the_volume(nodes: Any, client: WorkerClient, randomRigid: Any) -> None:
    plain = Abdomen(nodes)
    wanted = plain.mask(console.process(client, plain.node, box=plain.corners()))
    moved = Abdomen(nodes, parent=nodes.transform(randomRigid(1)))
    segmentation = console.process(client, moved.node, box=moved.corners())
    np.testing.assert_array_equal(moved.mask(segmentation), wanted)
    assert segmentation.GetTransformNodeID() == moved.node.GetTransformNodeID()


def test_every_argument_reaches_the_worker(nodes: Any) -> None:
    volume = nodes.volume(shape=(7, 8, 9))
    fake = FakeClient((8, 9))
    point = ijkToWorld(volume, [[4, 4, 3]]).tolist()
    away = ijkToWorld(volume, [[0, 0, 3]]).tolist()
    seen: list[tuple[int, int]] = []
    segmentation = console.process(
        fake, volume, segmentName="lesion", points=point, exclude=away, axis="axial", window="40/400", model="starter",
        range=(1, 6), memory="recency", progress=lambda done, planned: seen.append((done, planned)),
    )  # fmt: skip
    names = [
        segmentation.GetSegmentation().GetSegment(one).GetName()
        for one in segmentation.GetSegmentation().GetSegmentIDs()
    ]
    assert names == ["lesion"]
    assert seen[-1][0] == seen[-1][1] == 5
    assert fake.model == ("starter", "auto")
    assert not fake.sessions  # closed again
    assert not fake.volumes
    (thing,) = fake.objects[0]
    assert {prompt.include for prompt in thing.prompts} == {(True, False)}
    again = console.process(fake, volume, segmentation, "second", maskSegment="lesion")
    assert again is segmentation
    assert {prompt.slice_index for prompt in fake.objects[1][0].prompts} == {1, 2, 3, 4, 5}


def test_further_settings_are_those_of_the_options(nodes: Any) -> None:
    volume, fake = nodes.volume(shape=(7, 8, 9)), FakeClient((8, 9))
    point = ijkToWorld(volume, [[4, 4, 3]]).tolist()
    console.process(fake, volume, points=point, device="cpu", precision="bfloat16")
    assert (fake.model, fake.precision) == (("starter", "cpu"), "bfloat16")
    with pytest.raises(TypeError, match="speed"):
        console.process(fake, volume, points=point, speed=3)


def test_arrays_are_positions_too(nodes: Any) -> None:
    volume, fake = nodes.volume(shape=(7, 8, 9)), FakeClient((8, 9))
    inside, away = (ijkToWorld(volume, [place, place]) for place in ([4, 4, 3], [0, 0, 3]))
    corners = ijkToWorld(volume, [[2, 2, 3], [6, 6, 3]])
    console.process(
        fake, volume, points=inside, exclude=away, scribbles=inside[None], excludeScribbles=[away], box=corners
    )
    (thing,) = fake.objects[0]
    assert [type(prompt).__name__ for prompt in thing.prompts] == ["PointsPrompt", *["ScribblePrompt"] * 2, "BoxPrompt"]


def test_a_setting_that_can_be_chosen_is_an_option_and_an_argument() -> None:
    chosen = {optionName(row.name) for part in ("session", "run") for row in rows_of(part) if row.option is not None}
    assert chosen <= {one.name for one in fields(RunOptions)}
    module = ast.parse((Path(console.__file__).parents[1] / "MedSAM2Slicer.py").read_text(encoding="utf-8"))
    process = next(one for one in ast.walk(module) if isinstance(one, ast.FunctionDef) and one.name == "process")
    assert chosen <= {one.arg for one in process.args.args}


def test_whoever_breaks_it_off_keeps_what_is_drawn(nodes: Any) -> None:
    volume, fake = nodes.volume(shape=(7, 8, 9)), FakeClient((8, 9))

    def breakOff(done: int, _planned: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        console.process(fake, volume, points=ijkToWorld(volume, [[4, 4, 3]]).tolist(), progress=breakOff)
    assert fake.calls[-1].isFinished  # canceled
    assert not fake.volumes
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    segmentId = segmentation.GetSegmentation().GetNthSegmentID(0)
    assert segmentMask(segmentation, segmentId, volume).any(axis=(1, 2)).tolist() == [0, 0, 0, 1, 1, 0, 0]
    assert loadRun(segmentation, segmentId) is None
    console.process(fake, volume, segmentation, segmentId, points=ijkToWorld(volume, [[4, 4, 3]]).tolist())
    assert loadRun(segmentation, segmentId) is not None


def test_what_somebody_paints_meanwhile_is_left_alone(nodes: Any) -> None:
    volume, fake = nodes.volume(shape=(7, 8, 9)), FakeClient((8, 9))
    segmentation, segmentId = ensureSegmentation(volume)
    painted = np.eye(8, 9, dtype=bool)

    def paint(done: int, _planned: int) -> None:
        if done == 2:
            SegmentWriter(segmentation, segmentId, volume).writeSlices({1: painted}, 0)

    points = ijkToWorld(volume, [[4, 4, 3]]).tolist()
    console.process(fake, volume, segmentation, segmentId, points=points, progress=paint)
    np.testing.assert_array_equal(segmentMask(segmentation, segmentId, volume)[1], painted)
    work = Target(segmentation, segmentId).work(VolumeInUse(volume).sliced(SliceStack()))
    assert work.states.kept() == [1]


def test_a_segment_is_found_by_its_exact_name_and_never_by_luck(nodes: Any) -> None:
    volume, fake = nodes.volume(shape=(7, 8, 9)), FakeClient((8, 9))
    point = ijkToWorld(volume, [[4, 4, 3]]).tolist()
    segmentation = console.process(fake, volume, segmentName="Liver", points=point)
    console.process(fake, volume, segmentation, "liver", points=point)
    of = segmentation.GetSegmentation()
    assert [of.GetSegment(one).GetName() for one in of.GetSegmentIDs()] == ["Liver", "liver"]
    first, second = of.GetSegmentIDs()
    of.GetSegment(second).SetName("Liver")
    with pytest.raises(PromptError, match=rf"2 segments are called 'Liver': give the ID of one \({first}, {second}\)"):
        console.process(fake, volume, segmentation, "Liver", points=point)
    console.process(fake, volume, segmentation, second, points=point)
    assert of.GetNumberOfSegments() == 2


def test_an_roi_is_a_box_and_a_range(nodes: Any) -> None:
    volume = nodes.volume(shape=(7, 8, 9))
    (center,) = ijkToWorld(volume, [[4, 4, 3]])
    fake = FakeClient((8, 9))
    console.process(fake, volume, roiNode=nodes.roi(center, (4, 4, 2.2)))
    assert fake.planned == 3


def test_a_line_is_a_box(nodes: Any) -> None:
    volume, fake = nodes.volume(shape=(7, 8, 9)), FakeClient((8, 9))
    console.process(fake, volume, lineNode=nodes.line(ijkToWorld(volume, [[2, 4, 3], [6, 4, 3]])))
    (prompt,) = fake.objects[0][0].prompts
    assert prompt.slice_index == 3
    assert prompt.box == pytest.approx((2, 4 - 1.4, 6, 4 + 1.4))
    assert fake.planned == 7


def test_an_roi_or_a_segment_is_a_region_to_stay_inside(nodes: Any) -> None:
    volume, fake = nodes.volume(shape=(7, 8, 9)), FakeClient((8, 9))
    point = ijkToWorld(volume, [[4, 4, 3]]).tolist()
    roi = nodes.roi(point[0], (4, 4, 2.2))
    segmentation = console.process(fake, volume, segmentName="lesion", points=point, stop={"inside": roi})
    wanted = np.zeros((7, 8, 9), dtype=bool)
    wanted[2:5, 2:7, 2:7] = True
    np.testing.assert_array_equal(recordedRegion(segmentation, 0), wanted)
    lesion = segmentMask(segmentation, segmentation.GetSegmentation().GetNthSegmentID(0), volume)
    console.process(fake, volume, segmentation, "core", points=point, stop={"inside": "lesion", "max_distance_mm": 9.0})
    np.testing.assert_array_equal(recordedRegion(segmentation, 1), lesion)


def recordedRegion(segmentation: Any, place: int) -> Any:
    """The region in the record of a segment's run."""
    record = loadRun(segmentation, segmentation.GetSegmentation().GetNthSegmentID(place))
    (run,) = record.runs(Slicing(volumeGeometry(slicer.util.getNode("CT")), 0))
    return run.stop.inside


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, PromptError, "no prompt"),
        ({"points": [[1e6, 0, 0]]}, PromptError, "outside"),
        ({"points": [[0, 0]]}, PromptError, "triples"),
        ({"points": [[0, 0, 0]], "axis": "oblique"}, PromptError, "does not exist"),
        ({"maskSegment": "none"}, PromptError, "no segment"),
        ({"points": [[0, 0, 0]], "window": "wide"}, VolumeError, "window"),
        ({"points": [[0, 0, 0]], "stop": {"absent": 3}}, PromptError, "no stop rule 'absent': use absent_slices"),
        ({"points": [[0, 0, 0]], "stop": {"inside": "lung"}}, PromptError, "no segment 'lung'"),
    ],
)
def test_what_cannot_be_done_says_why(nodes: Any, arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        console.process(FakeClient((8, 9)), nodes.volume(shape=(7, 8, 9)), **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"points": [[1e6, 0, 0]]},
        {"points": [[0, 0]]},
        {},
        {"exclude": [[0, 0, 0]]},
        {"points": [[0, 0, 0]], "window": "wide"},
        {"points": [[0, 0, 0]], "stop": {"inside": "lung"}},
        {"maskSegment": "none"},
    ],
)
def test_what_comes_to_nothing_leaves_nothing_behind(nodes: Any, arguments: dict[str, Any]) -> None:
    volume = nodes.volume(shape=(7, 8, 9))
    with pytest.raises(MedSAM2Error):
        console.process(FakeClient((8, 9)), volume, **arguments)
    for kind in ("vtkMRMLSegmentationNode", "vtkMRMLSegmentationDisplayNode"):
        assert slicer.util.getNodesByClass(kind) == []
    segmentation, segmentId = ensureSegmentation(volume, None, "old")
    with pytest.raises(MedSAM2Error):
        console.process(FakeClient((8, 9)), volume, segmentation, "new", **arguments)
    assert list(segmentation.GetSegmentation().GetSegmentIDs()) == [segmentId]


def test_there_must_be_a_volume(scene: Any) -> None:
    with pytest.raises(VolumeError, match="No volume"):
        console.process(FakeClient((8, 9)), None, points=[[0, 0, 0]])
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
