"""Prompts from markups and segments: the right voxels whatever the volume's axes and transforms, or a clear refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.slicing import SliceStack
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt
from MedSAM2SlicerLib.prompts.placing import PromptPlacer
from MedSAM2SlicerLib.prompts.promptnodes import otherMarkups
from MedSAM2SlicerLib.prompts.promptset import PromptSet
from MedSAM2SlicerLib.scene import segments
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.slicedvolume import slicedVolume

SHAPE = (10, 20, 30)
SQUARE = [(4.5, 5.5), (12.5, 5.5), (12.5, 11.5), (4.5, 11.5)]  # in-plane x, y; holds 8 x 6 pixel centers


def ijk(axis: int, index: float, xy: tuple[float, float]) -> list[float]:
    """Voxel (i, j, k) of pixel (x, y) on a slice along an array axis."""
    x, y = (place for place in range(3) if place != 2 - axis)
    voxel = [0.0, 0.0, 0.0]
    voxel[2 - axis], voxel[x], voxel[y] = index, *xy
    return voxel


class Case:
    """A volume, prompts at known voxels, and what they should be; the volume under a transform if there is a parent."""

    def __init__(self, nodes: Any, grid: np.ndarray, axis: int, parent: Any = None) -> None:
        self.nodes, self.axis = nodes, axis
        self.volume = nodes.volume(shape=SHAPE, matrix=grid, parent=parent)
        self.placer = PromptPlacer(slicedVolume(self.volume, SliceStack(axis)))

    def world(self, *voxels: Any) -> np.ndarray:
        return ijkToWorld(self.volume, voxels)

    def onSlice(self, index: float, points: Any) -> np.ndarray:
        return self.world(*(ijk(self.axis, index, xy) for xy in points))


@pytest.fixture(params=range(9), ids=lambda seed: f"seed{seed}")
def case(request: Any, nodes: Any, randomGrid: Callable, randomRigid: Callable) -> Case:
    """Oblique, flipped and left-handed grids along each axis, under two nested rotations and translations."""
    seed = request.param
    parent = nodes.transform(randomRigid(seed), parent=nodes.transform(randomRigid(seed + 50)))
    return Case(nodes, randomGrid(seed), seed % 3, parent)


def test_points(case: Case) -> None:
    node = case.nodes.points(case.onSlice(5, [(3, 4), (7.25, 8.125)]))
    first, second = case.placer.pointList(node, include=False)
    assert first.prompt == PointsPrompt(5, ((3.0, 4.0),), (False,))
    assert second.prompt == PointsPrompt(5, ((7.25, 8.125),), (False,))
    assert first.source.nodeId == second.source.nodeId == node.GetID()
    assert second.source.controlPointId == node.GetNthControlPointID(1)
    plain = case.placer.points(case.onSlice(5, [(3, 4), (7.25, 8.125)]).tolist(), [True, False])
    assert [one.prompt for one in plain] == [
        PointsPrompt(5, ((3, 4),), (True,)),
        PointsPrompt(5, ((7.25, 8.125),), (False,)),
    ]
    assert plain[0].source.nodeId is None


def test_a_box(case: Case) -> None:
    found = case.placer.box(case.onSlice(6, [(2.5, 9), (8, 3.75)]).tolist())
    assert found.prompt == BoxPrompt(6, (2.5, 3.75, 8.0, 9.0))


def test_an_roi_along_the_grid(case: Case) -> None:
    low, high = ijk(case.axis, 2.6, (2, 3)), ijk(case.axis, 7.4, (8, 9))
    corners = case.world(low, high)
    matrix = slicer.util.arrayFromTransformMatrix(case.volume.GetParentTransformNode(), toWorld=True)
    ijkToRas = vtk.vtkMatrix4x4()
    case.volume.GetIJKToRASMatrix(ijkToRas)
    directions = matrix[:3, :3] @ slicer.util.arrayFromVTKMatrix(ijkToRas)[:3, :3]
    edges = np.linalg.norm(directions, axis=0)
    roi = case.nodes.roi(corners.mean(axis=0), edges * (np.array(high) - low), directions / edges)
    found = case.placer.roi(roi)
    assert found.sliceRange == (3, 8)
    assert found.prompt.slice_index == 5
    assert found.prompt.box == pytest.approx((2, 3, 8, 9), abs=1e-3)
    assert found.source.nodeId == roi.GetID()


@pytest.mark.parametrize("ends", [[(8, 2), (8, 8)], [(3, 3), (6, 6)]])
def test_a_line_is_the_long_axis_of_an_ellipse(case: Case, ends: Any) -> None:
    node = case.nodes.line(case.onSlice(4, ends))
    found = case.placer.line(node).prompt
    i, j, k = case.volume.GetSpacing()
    spacing = np.array([(i, j), (i, k), (j, k)][case.axis])
    turns = np.linspace(0, 2 * np.pi, 20000)[:, None]
    along = (np.array(ends[1]) - ends[0]) / 2 * spacing
    across = 0.7 * np.array([-along[1], along[0]])
    outline = np.mean(ends, axis=0) + (np.cos(turns) * along + np.sin(turns) * across) / spacing
    rows, columns = case.placer.slicing.shape
    outline = np.clip(outline, 0, (columns - 1, rows - 1))
    assert found.slice_index == 4
    assert found.box == pytest.approx((*outline.min(axis=0), *outline.max(axis=0)), abs=2e-3)


def test_a_line_through_slices_is_a_box_on_the_middle_one(nodes: Any) -> None:
    volume = nodes.volume(shape=SHAPE)
    found = PromptPlacer(slicedVolume(volume)).line(nodes.line(ijkToWorld(volume, [[9, 9, 2], [15, 9, 6]]))).prompt
    x, y = np.sqrt(36 + 0.49 * 16) / 2, 0.7 * np.sqrt(52) / 2  # of the ellipsoid around the line
    assert found.slice_index == 4
    assert found.box == pytest.approx((12 - x, 9 - y, 12 + x, 9 + y), abs=2e-3)


def test_a_line_is_placed_as_a_prompt(nodes: Any) -> None:
    volume = nodes.volume(shape=SHAPE)
    segmentation, segmentId = segments.ensureSegmentation(volume, name="lesion")
    prompts, placer = PromptSet(segmentation, segmentId), PromptPlacer(slicedVolume(volume))
    node = prompts.nodeToPlace("line")
    assert node.IsA("vtkMRMLMarkupsLineNode")
    assert node.GetName() == "lesion line"
    first, last = ijkToWorld(volume, [[9, 9, 5], [15, 9, 5]])
    node.AddControlPointWorld(vtk.vtkVector3d(*first))
    assert prompts.items(placer) == []  # one end is no prompt yet,
    assert prompts.nodeToPlace("line") is node  # and the other goes into the same line
    node.AddControlPointWorld(vtk.vtkVector3d(*last))
    (item,) = prompts.items(placer)
    assert (item.kind, item.sliceIndex, item.text) == ("line", 5, "slice 5 · line")
    (prompt,) = prompts.prompts(placer)
    assert prompt.box == pytest.approx((9, 9 - 2.1, 15, 9 + 2.1))
    assert prompts.nodeToPlace("line") is not node
    prompts.remove(item)
    assert prompts.items(placer) == []


def test_a_measurement_is_taken_as_a_prompt_and_outlives_it(nodes: Any) -> None:
    volume = nodes.volume(shape=SHAPE)
    segmentation, first = segments.ensureSegmentation(volume, name="lesion")
    second = segmentation.GetSegmentation().AddEmptySegment("", "other")
    mine, others = PromptSet(segmentation, first), PromptSet(segmentation, second)
    placer = PromptPlacer(slicedVolume(volume))
    line = nodes.line(ijkToWorld(volume, [[9, 9, 5], [15, 9, 5]]), "long axis")
    asDrawn = line.GetAttributeNames(), line.GetNodeReferenceID("MedSAM2.Segmentation")
    assert mine.items(placer) == []
    mine.takeLine(line)
    assert [(item.kind, item.sliceIndex) for item in mine.items(placer)] == [("line", 5)]
    line.SetNthControlPointPositionWorld(1, *ijkToWorld(volume, [[11, 9, 5]])[0])
    (prompt,) = mine.prompts(placer)
    assert prompt.box == pytest.approx((9, 9 - 0.7, 11, 9 + 0.7))
    assert otherMarkups("vtkMRMLMarkupsLineNode") == [line]  # it may go over to another segment
    others.takeLine(line)
    assert (len(mine.items(placer)), len(others.items(placer))) == (0, 1)
    assert others.nodeToPlace("line") is not line
    others.remove(others.items(placer)[0])
    assert others.items(placer) == []
    assert nodes.scene.IsNodePresent(line)
    assert (line.GetAttributeNames(), line.GetNodeReferenceID("MedSAM2.Segmentation")) == asDrawn
    mine.takeLine(line)
    line.RemoveNthControlPoint(1)
    assert mine.nodeToPlace("line") is not line  # giving up placing would remove it
    mine.removeAll()
    assert mine.items(placer) == []
    assert nodes.scene.IsNodePresent(line)


@pytest.mark.parametrize("rings", [[SQUARE], [SQUARE, [(6.5, 6.5), (8.5, 6.5), (8.5, 8.5), (6.5, 8.5)]]])
def test_closed_curves(case: Case, rings: Any) -> None:
    rings = [[(x - 3, y - 4) for x, y in ring] for ring in rings]  # inside the narrowest slice, 10 x 20
    curves = [case.nodes.curve(case.onSlice(3, ring), f"C{place}") for place, ring in enumerate(rings)]
    (found,) = case.placer.curves(curves)
    expected = np.zeros(case.placer.slicing.shape, bool)
    expected[2:8, 2:10] = True
    if len(rings) > 1:
        expected[3:5, 4:6] = False
    assert found.prompt.slice_index == 3
    np.testing.assert_array_equal(found.prompt.mask, expected)
    assert found.source.nodeId == curves[0].GetID()


def test_segments(case: Case) -> None:
    segmentation, segmentId = segments.ensureSegmentation(case.volume, name="liver")
    mask = np.random.default_rng(1).random(SHAPE) > 0.5
    mask[mask.shape[0] // 2 :] = False
    writer = segments.SegmentWriter(segmentation, segmentId, case.volume)
    writer.writeSlices(dict(enumerate(mask)), 0)
    writer.end()
    slices = np.moveaxis(mask, case.axis, 0)
    found = case.placer.segment(segmentation, segmentId)
    assert [one.prompt.slice_index for one in found] == [place for place, one in enumerate(slices) if one.any()]
    for one in found:
        np.testing.assert_array_equal(one.prompt.mask, slices[one.prompt.slice_index])
    (chosen,) = case.placer.segment(segmentation, segmentId, slices=[2])
    assert chosen.prompt.slice_index == 2
    assert (chosen.source.nodeId, chosen.source.segmentId) == (segmentation.GetID(), segmentId)


@pytest.mark.parametrize("kind", ["points", "box", "roi", "line", "curve"])
def test_a_turn_of_volume_and_prompts_together_changes_nothing(
    nodes: Any, randomGrid: Callable, randomRigid: Callable, kind: str
) -> None:
    """Prompts under the same transform as the volume: their own coordinates stay, their world positions move along."""
    for seed in range(6):
        still = Case(nodes, randomGrid(seed), seed % 3)
        transform = nodes.transform(randomRigid(seed))
        moved = Case(nodes, randomGrid(seed), seed % 3, transform)
        world = still.onSlice(4, [(4.5, 5.5), (8, 5.5), (8, 9.25)])
        results = []
        for case in (still, moved):
            if kind == "box":
                positions = world[[0, 2]] if case is still else case.onSlice(4, [(4.5, 5.5), (8, 9.25)])
                results.append([case.placer.box(positions.tolist())])
                continue
            make = {"points": nodes.points, "line": lambda points: nodes.line(points[:2]), "curve": nodes.curve,
                    "roi": lambda points: nodes.roi(points.mean(axis=0), (6, 5, 4), np.eye(3))}[kind]  # fmt: skip
            node = make(world)
            if case is moved:
                node.SetAndObserveTransformNodeID(transform.GetID())
            place = {"points": lambda one, case=case: case.placer.pointList(one, True),
                     "line": lambda one, case=case: [case.placer.line(one)],
                     "curve": lambda one, case=case: case.placer.curves([one]),
                     "roi": lambda one, case=case: [case.placer.roi(one)]}[kind]  # fmt: skip
            results.append(place(node))
        before, after = results
        assert [one.sliceRange for one in before] == [one.sliceRange for one in after]
        for first, second in zip(before, after, strict=True):
            if isinstance(first.prompt, MaskPrompt):
                assert first.prompt.slice_index == second.prompt.slice_index
                np.testing.assert_array_equal(first.prompt.mask, second.prompt.mask)
            else:
                assert first.prompt == second.prompt


def test_previews_under_the_mouse_are_no_points(nodes: Any) -> None:
    case = Case(nodes, np.eye(4), 0)
    node = nodes.points([(1, 2, 3)])
    node.AddControlPoint(vtk.vtkVector3d(4, 5, 6))
    node.SetNthControlPointPosition(1, 4.0, 5.0, 6.0, node.PositionPreview)
    node.AddControlPoint(vtk.vtkVector3d(7, 8, 9))
    node.UnsetNthControlPointPosition(2)
    assert [one.prompt.slice_index for one in case.placer.pointList(node, True)] == [3]


def test_what_lies_outside_is_named(nodes: Any) -> None:
    case = Case(nodes, np.eye(4), 0)
    points = nodes.points([(1, 2, 3), (1, 200, 3)], "Include")
    with pytest.raises(PromptError, match=r"Point 'Include-2' of 'Include'.* outside the volume"):
        case.placer.pointList(points, True)
    for said, place in (
        ("ROI 'ROI' lies outside 'CT'", lambda: case.placer.roi(nodes.roi((100, 0, 0), (5, 5, 5)))),
        ("Line 'Line' extends beyond 'CT'", lambda: case.placer.line(nodes.line([(1, 1, 1), (40, 1, 1)]))),
        ("Curve 'Curve' lies outside", lambda: case.placer.curves([nodes.curve([(90, 1, 1), (99, 1, 1), (99, 9, 1)])])),
        (
            "Curve 'Curve' lies outside",
            lambda: case.placer.curves([nodes.curve([(1, 1, -2.2), (9, 1, -0.3), (9, 9, -1)])]),
        ),
        ("The point", lambda: case.placer.points([(1, 1, 99)], [True])),
        ("The box", lambda: case.placer.box([(1, 1, 1), (99, 9, 1)])),
    ):
        with pytest.raises(PromptError, match=said):
            place()


def test_what_cannot_be_used_is_named(nodes: Any) -> None:
    case = Case(nodes, np.eye(4), 0)
    segmentation, segmentId = segments.ensureSegmentation(case.volume, name="liver")
    empty = nodes.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "ROI")
    for said, place in (
        ("ROI 'ROI' is not placed yet", lambda: case.placer.roi(empty)),
        ("ROI 'ROI' is empty", lambda: case.placer.roi(nodes.roi((5, 5, 5), (5, 0.2, 5)))),
        ("Line 'Line' has 1 of 2 points", lambda: case.placer.line(nodes.line([(1, 1, 1)]))),
        ("Line 'Line' is empty", lambda: case.placer.line(nodes.line([(1, 1, 1), (1.1, 1, 1)]))),
        ("fewer than 3 points", lambda: case.placer.curves([nodes.curve([(1, 1, 1), (9, 1, 1)])])),
        (
            "runs from slice 1 to 9: draw it in one axial slice",
            lambda: case.placer.curves([nodes.curve([(1, 1, 1), (9, 1, 1), (9, 1, 9)])]),
        ),
        ("contains no pixel", lambda: case.placer.curves([nodes.curve([(1.1, 1.1, 1), (1.2, 1.1, 1), (1.2, 1.2, 1)])])),
        ("Segment 'liver' is empty in the volume", lambda: case.placer.segment(segmentation, segmentId)),
        ("Segment 'liver' is empty on slice 3", lambda: case.placer.segment(segmentation, segmentId, [3])),
        ("not triples of numbers", lambda: case.placer.points([(1, 2)], [True])),
        ("not triples of numbers", lambda: case.placer.points([("a", 1, 2)], [True])),
        ("not triples of numbers", lambda: case.placer.box([(1, 2, float("nan")), (1, 2, 3)])),
    ):
        with pytest.raises(PromptError, match=said):
            place()
    with pytest.raises(VolumeError, match="no longer has this segment"):
        case.placer.segment(segmentation, "gone")


def test_an_roi_that_reaches_out_is_clipped_and_a_thin_one_is_on_its_slice(nodes: Any) -> None:
    case = Case(nodes, np.eye(4), 0)
    clipped = case.placer.roi(nodes.roi((0, 0, 0), (20, 20, 100)))
    assert clipped.sliceRange == (0, 10)
    assert clipped.prompt == BoxPrompt(4, (0, 0, 10, 10))
    thin = case.placer.roi(nodes.roi((10, 10, 3.4), (4, 4, 0.2)))
    assert thin.sliceRange == (3, 4)
    assert thin.prompt == BoxPrompt(3, (8, 8, 12, 12))


def test_an_roi_under_a_transform_that_scales(nodes: Any) -> None:
    case = Case(nodes, np.eye(4), 0)
    roi = nodes.roi((2, 3, 2), (4, 4, 2))
    roi.SetAndObserveTransformNodeID(nodes.transform(np.diag([2, 2, 2, 1])).GetID())
    found = case.placer.roi(roi)
    assert found.prompt == BoxPrompt(4, (0, 2, 8, 10))
    assert found.sliceRange == (2, 7)
