"""Oblique views on real MRML: from the view to slices of the volume, prompts on them, and masks back to its voxels."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util

from medsam2_core.errors import VolumeError
from medsam2_core.image.oblique import ObliqueSlices
from medsam2_core.image.slicing import SliceStack
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt
from medsam2_core.training.metrics import dice
from MedSAM2SlicerLib.prompts.placing import PromptPlacer
from MedSAM2SlicerLib.scene import oblique, segments, volumes
from MedSAM2SlicerLib.scene.geometry import volumeToWorld
from MedSAM2SlicerLib.scene.history import EditHistory
from MedSAM2SlicerLib.scene.slicedvolume import slicedVolume
from MedSAM2SlicerLib.scene.slicemasks import SliceMasks

SHAPE = (20, 40, 36)
GRID = np.diag([-1.0, -1.0, 2.5, 1.0])
RADII = (20.0, 15.0, 12.0)  # mm along k, j, i


def view(nodes: Any, degrees: float = 30.0, center: Any = (0.0, 0.0, 0.0)) -> Any:
    """A slice view at `center` (world), tilted about R from axial."""
    angle = np.deg2rad(degrees)
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = center
    node = nodes.scene.CreateNodeByClass("vtkMRMLSliceNode")
    node.SetLayoutName(f"Red{nodes.scene.GetNumberOfNodes()}")
    nodes.scene.AddNode(node)
    node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(matrix))
    return node


def slicesOf(volume: Any, sliceView: Any) -> ObliqueSlices:
    """The slices of a volume that a view goes through."""
    return ObliqueSlices(volumes.checkedGeometry(volume), oblique.viewPlane(volume, sliceView))


class Case:
    """A volume, a view through its middle, and a segment that is written on the view's slices."""

    def __init__(self, nodes: Any, grid: np.ndarray = GRID, parent: Any = None, shape: Any = SHAPE) -> None:
        self.nodes = nodes
        self.volume = nodes.volume(shape=shape, matrix=grid, parent=parent)
        geometry = volumes.checkedGeometry(self.volume)
        middle = (np.array(shape[::-1]) - 1) / 2
        self.view = view(nodes, center=volumeToWorld(self.volume, geometry.ijk_to_ras([middle]))[0])
        self.slices = slicesOf(self.volume, self.view)
        self.segmentation, self.segmentId = segments.ensureSegmentation(self.volume)
        places = (np.indices(shape).T - (np.array(shape) - 1) / 2) * geometry.spacing_kji / RADII
        self.ellipsoid = np.asarray((places**2).sum(axis=-1).T <= 1)
        self.masks = self.slices.read_all(self.ellipsoid)
        self.middle = len(self.masks) // 2

    def writer(self, **options: Any) -> oblique.ObliqueWriter:
        inner = segments.SegmentWriter(self.segmentation, self.segmentId, self.volume, **options)
        return oblique.ObliqueWriter(inner, self.slices)

    def write(self, masks: Any, **options: Any) -> segments.Written:
        writer = self.writer(**options)
        writer.begin()
        writer.writeSlices(masks, 0)
        writer.end()
        return writer.written

    def writeAll(self) -> None:
        self.write(dict(enumerate(self.masks)))

    def paint(self, mask: np.ndarray) -> None:
        """Mark voxels as another tool would."""
        writer = segments.SegmentWriter(self.segmentation, self.segmentId, self.volume)
        writer.begin()
        writer.writeSlices(dict(enumerate(mask)), 0)
        writer.end()

    @property
    def marked(self) -> np.ndarray:
        return segments.segmentMask(self.segmentation, self.segmentId, self.volume)

    @property
    def owners(self) -> np.ndarray:
        """The slice of each voxel."""
        shape = self.marked.shape
        return self.slices.indexes(tuple(np.indices(shape).reshape(3, -1))).reshape(shape)

    def read(self) -> SliceMasks:
        return oblique.ObliqueSliceMasks(self.segmentation, self.segmentId, self.slices)


@pytest.mark.parametrize(
    ("degrees", "expected"), [(0.0, False), (0.9, False), (1.1, True), (30.0, True), (89.5, False)]
)
def test_when_a_view_is_oblique(nodes: Any, degrees: float, expected: bool) -> None:
    volume = nodes.volume(matrix=GRID)
    assert (oblique.viewStack(volume, view(nodes, degrees)).plane is not None) is expected


def test_a_turned_volume_makes_a_straight_view_oblique(nodes: Any) -> None:
    turn = slicer.util.arrayFromVTKMatrix(view(nodes, 20).GetSliceToRAS()) @ np.diag([-1.0, 1.0, 1.0, 1.0])
    volume = nodes.volume(matrix=GRID, parent=nodes.transform(turn))
    assert oblique.viewStack(volume, view(nodes, 0)).plane is not None
    assert oblique.viewStack(volume, view(nodes, 20)) == SliceStack(0)


@pytest.mark.parametrize("seed", range(6))
def test_one_slice_lies_in_the_view(nodes: Any, randomGrid: Callable, randomRigid: Callable, seed: int) -> None:
    case = Case(nodes, randomGrid(seed), nodes.transform(randomRigid(seed)))
    plane = slicer.util.arrayFromVTKMatrix(case.view.GetSliceToRAS())
    world = plane[:3, 3] + np.array([[0.0, 0.0], [5.0, 0.0], [-3.0, 4.0]]) @ plane[:3, :2].T
    along = case.slices.geometry.ras_to_ijk(slicedVolume(case.volume).toVolume(world))[:, 2]
    np.testing.assert_allclose(along, round(along[0]), atol=1e-6)


def test_a_transform_that_scales_and_shears_leaves_the_plane_where_it_is(nodes: Any) -> None:
    warp = np.array([[1.5, 0.3, 0, 5], [0, 0.8, 0.2, -4], [0, 0, -1.2, 9], [0, 0, 0, 1]])
    case = Case(nodes, parent=nodes.transform(warp))
    plane = slicer.util.arrayFromVTKMatrix(case.view.GetSliceToRAS())
    world = plane[:3, 3] + np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 7.0]]) @ plane[:3, :2].T
    along = case.slices.geometry.ras_to_ijk(slicedVolume(case.volume).toVolume(world))[:, 2]
    np.testing.assert_allclose(along, round(along[0]), atol=1e-6)


def test_scrolling_keeps_the_slices_and_turning_does_not(nodes: Any) -> None:
    case = Case(nodes)
    scrolled, turned = view(nodes, 30, (3.0, 4.0, 9.0)), view(nodes, 32)
    assert case.slices.is_parallel(oblique.viewPlane(case.volume, scrolled))
    assert not case.slices.is_parallel(oblique.viewPlane(case.volume, turned))


@pytest.mark.parametrize("seed", range(6))
def test_an_object_drawn_slice_by_slice_is_whole(
    nodes: Any, randomGrid: Callable, randomRigid: Callable, seed: int
) -> None:
    case = Case(nodes, randomGrid(seed), nodes.transform(randomRigid(seed)) if seed % 2 else None)
    case.writeAll()
    drawn = case.marked
    expected = np.zeros_like(drawn)
    for index, mask in enumerate(case.masks):
        own = np.nonzero(case.owners == index)
        expected[own] = mask[case.slices.pixels(own)]
    np.testing.assert_array_equal(drawn, expected)


def test_an_object_keeps_its_shape(nodes: Any) -> None:
    case = Case(nodes)
    case.writeAll()
    assert dice(case.marked, case.ellipsoid) > 0.97
    again = np.stack([case.read().mask(index) for index in range(len(case.masks))])
    assert dice(again, case.masks) > 0.97


def test_a_slice_is_replaced_and_no_other_one_touched(nodes: Any) -> None:
    case = Case(nodes)
    case.writeAll()
    before, own = case.marked, case.owners == case.middle
    moved = np.roll(case.masks[case.middle], 5, axis=1)
    written = case.write({case.middle: moved})
    np.testing.assert_array_equal(case.marked[~own], before[~own])
    assert written.changed == (case.marked != before).sum() > 0
    assert dice(case.read().mask(case.middle), moved) > 0.95
    case.write({case.middle: None})
    assert not case.marked[own].any()
    np.testing.assert_array_equal(case.marked[~own], before[~own])
    assert case.write({case.middle: None}) == segments.Written()


def test_what_another_tool_marked_in_a_slice_is_replaced_too(nodes: Any) -> None:
    case = Case(nodes)
    own = case.owners == case.middle
    case.paint(np.ones(SHAPE, bool))
    case.write({case.middle: case.masks[case.middle]})
    assert dice(case.read().mask(case.middle), case.masks[case.middle]) > 0.95
    assert case.marked[~own].all()
    assert not case.marked[own].all()


def test_a_run_is_undone_in_one_step(nodes: Any) -> None:
    case = Case(nodes)
    case.paint(case.ellipsoid)
    history = EditHistory(case.segmentation)
    case.write(dict.fromkeys(range(len(case.masks))), history=history)
    assert not case.marked.any()
    history.undo()
    np.testing.assert_array_equal(case.marked, case.ellipsoid)


def test_neighbors_are_spared(nodes: Any) -> None:
    case = Case(nodes)
    case.paint(case.ellipsoid)
    neighbor, case.segmentId = case.segmentId, segments.ensureSegmentation(case.volume, case.segmentation)[1]
    case.write(dict(enumerate(np.ones_like(case.masks))))
    assert case.marked.all()
    mask = segments.segmentMask(case.segmentation, neighbor, case.volume)
    np.testing.assert_array_equal(mask, case.ellipsoid)


def test_a_mask_that_does_not_fit_is_refused(nodes: Any) -> None:
    case = Case(nodes)
    for masks in ({0: np.ones(SHAPE[1:], bool)}, {len(case.masks): case.masks[0]}, {-1: None}):
        with pytest.raises(VolumeError, match="does not fit 'CT': start the run again in this view"):
            case.write(masks)


def test_a_segment_that_is_gone_is_told(nodes: Any) -> None:
    case = Case(nodes)
    writer = case.writer()
    writer.begin()
    case.segmentation.GetSegmentation().RemoveSegment(case.segmentId)
    with pytest.raises(VolumeError, match="was removed"):
        writer.writeSlices({case.middle: case.masks[case.middle]}, 0)
    assert not case.read().mask(case.middle).any()
    assert case.read().prints() == {}


def test_fingerprints_tell_which_slices_were_changed(nodes: Any) -> None:
    case = Case(nodes)
    assert case.read().prints() == {}
    case.writeAll()
    before = case.read().prints()
    assert list(before) == sorted(np.unique(case.owners[case.marked]))
    assert [case.read().print(index) for index in range(len(case.masks))] == [
        before.get(index) for index in range(len(case.masks))
    ]
    changed = case.marked
    k, j, i = np.argwhere(changed)[100]
    changed[k, j, i] = False
    case.paint(changed)
    after = case.read().prints()
    assert {index for index in before if before[index] != after.get(index)} == {case.owners[k, j, i]}
    far = changed.copy()
    far[0, 0, 0] = True  # the layer grows
    case.paint(far)
    assert after.items() <= case.read().prints().items()


def test_the_model_sees_the_window_and_a_key_of_its_own(nodes: Any) -> None:
    case = Case(nodes)
    prepared = volumes.prepareVolume(case.volume, "0/400")
    shown = oblique.preparedOblique(prepared, case.slices)
    assert shown.geometry is case.slices.geometry
    assert shown.window == prepared.window
    np.testing.assert_array_equal(shown.gray, case.slices.resample(prepared.gray))
    again = ObliqueSlices(case.slices.stored, case.slices.plane)
    other = slicesOf(case.volume, view(nodes, 31))
    keys = [oblique.preparedOblique(prepared, one).key for one in (again, other)]
    assert keys[0] == shown.key != keys[1]
    assert prepared.key != shown.key


@pytest.mark.parametrize("seed", range(4))
def test_prompts_lie_where_they_are_seen(nodes: Any, randomGrid: Callable, randomRigid: Callable, seed: int) -> None:
    case = Case(nodes, randomGrid(seed), nodes.transform(randomRigid(seed)))
    placer = PromptPlacer(slicedVolume(case.volume, oblique.viewStack(case.volume, case.view)))
    count, rows, columns = case.slices.geometry.shape_kji
    low, high = (columns // 4, rows // 4, count // 2), (3 * columns // 4, 3 * rows // 4, count // 2)
    world = volumeToWorld(case.volume, case.slices.geometry.ijk_to_ras([low, high]))
    (point, _) = placer.pointList(nodes.points(world), include=True)
    assert isinstance(point.prompt, PointsPrompt)
    assert point.prompt.slice_index == low[2]
    np.testing.assert_allclose(point.prompt.points_xy[0], low[:2], atol=2e-3)
    box = placer.box(world.tolist()).prompt
    assert isinstance(box, BoxPrompt)
    assert box.slice_index == low[2]
    np.testing.assert_allclose(box.box, (*low[:2], *high[:2]), atol=2e-3)
    square = [(low[0], low[1], low[2]), (high[0], low[1], low[2]), high, (low[0], high[1], low[2])]
    curve = nodes.curve(volumeToWorld(case.volume, case.slices.geometry.ijk_to_ras(square)))
    (filled,) = placer.curves([curve])
    assert isinstance(filled.prompt, MaskPrompt)
    assert filled.prompt.mask[rows // 2, columns // 2]


def test_a_segment_is_a_prompt_on_the_slices_it_is_on(nodes: Any) -> None:
    case = Case(nodes)
    case.paint(case.ellipsoid)
    placed = PromptPlacer(slicedVolume(case.volume, oblique.viewStack(case.volume, case.view))).segment(
        case.segmentation, case.segmentId
    )
    assert [one.prompt.slice_index for one in placed] == [n for n, mask in enumerate(case.masks) if mask.any()]
    for one in placed:
        np.testing.assert_array_equal(one.prompt.mask, case.masks[one.prompt.slice_index])


def test_a_slice_of_a_chest_ct_is_written_in_no_time(nodes: Any) -> None:
    shape = (133, 512, 512)
    grid = np.diag([-0.7, -0.7, 2.5, 1.0])
    grid[:3, 3] = (180.0, 180.0, -166.0)
    volume = nodes.volume(np.zeros(shape, np.int16), matrix=grid)
    slices = slicesOf(volume, view(nodes))
    segmentation, segmentId = segments.ensureSegmentation(volume)
    writer = oblique.ObliqueWriter(segments.SegmentWriter(segmentation, segmentId, volume), slices)
    count, rows, columns = slices.geometry.shape_kji
    y, x = np.indices((rows, columns))
    mask = ((x - columns / 2) / 110) ** 2 + ((y - rows / 2) / 80) ** 2 < 1  # as large as a liver
    writer.begin()
    clock = [time.process_time()]
    for index in range(count // 2 - 30, count // 2 + 30):
        writer.writeSlices({index: np.roll(mask, index % 2, axis=1)}, 0)
        clock.append(time.process_time())
    writer.end()
    assert np.median(np.diff(clock)) < 0.05
