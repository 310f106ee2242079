"""A volume as the model gets it: what is refused, which window, when its key changes, how often its grid is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from controllerbench import ControllerBench

from medsam2_core.errors import VolumeError
from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from MedSAM2SlicerLib.scene import geometry, volumes
from MedSAM2SlicerLib.scene.geometry import ijkToWorld, volumeGeometry
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse


def ct(nodes: Any) -> Any:
    """A phantom that looks like CT: a quarter of it is air."""
    array = np.full((6, 8, 9), 40, np.int16)
    array[:, :2] = -1000
    return nodes.volume(array)


def test_the_window_maps_negative_values_and_leaves_the_voxels_alone(nodes: Any) -> None:
    volume = ct(nodes)
    before = slicer.util.arrayFromVolume(volume).copy()
    prepared = volumes.prepareVolume(volume)
    assert prepared.window == Window.ct("abdomen")
    assert prepared.gray.dtype == np.uint8
    assert prepared.gray.flags.c_contiguous
    assert prepared.gray.shape == prepared.geometry.shape_kji == (6, 8, 9)
    assert (prepared.gray[:, :2] == 0).all()
    assert (prepared.gray[:, 2:] == 128).all()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), before)


def test_windows_by_name_and_by_numbers(nodes: Any) -> None:
    volume = ct(nodes)
    assert volumes.windowOf(volume, "lung") == Window.ct("lung")
    assert volumes.windowOf(volume, "40/400").lower == -160
    assert volumes.windowOf(volume, Window(0, 1, "own")) == Window(0, 1, "own")
    with pytest.raises(VolumeError, match="Unknown window 'liver please'"):
        volumes.windowOf(volume, "liver please")


def test_the_displayed_window_counts_once_the_user_has_set_one(nodes: Any) -> None:
    volume = ct(nodes)
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    assert volumes.windowOf(volume).name == "abdomen"
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(256, 128)  # what the node starts with
    assert volumes.windowOf(volume).name == "abdomen"
    display.SetWindowLevel(1500, -600)
    assert volumes.windowOf(volume) == Window(-1350, 150, "display")
    display.SetAutoWindowLevel(True)
    assert volumes.windowOf(volume).name == "abdomen"


@pytest.mark.parametrize(
    ("kind", "components", "said"),
    [
        ("vtkMRMLVectorVolumeNode", 3, "'CT' has colors of more than 8 bits"),
        ("vtkMRMLVectorVolumeNode", 12, "'CT' holds 12 values per voxel"),
        ("vtkMRMLLabelMapVolumeNode", 1, "'CT' is a label map"),
    ],
)
def test_what_is_no_gray_volume_is_refused(nodes: Any, kind: str, components: int, said: str) -> None:
    node = nodes.scene.AddNewNodeByClass(kind, "CT")
    shape = (4, 5, 6) if components == 1 else (4, 5, 6, components)
    slicer.util.updateVolumeFromArray(node, np.zeros(shape, np.int16))
    with pytest.raises(VolumeError, match=said):
        volumes.prepareVolume(node)


def test_tensors_are_refused(nodes: Any) -> None:
    node = nodes.scene.AddNewNodeByClass("vtkMRMLDiffusionTensorVolumeNode", "DTI")
    image, tensors = vtk.vtkImageData(), vtk.vtkFloatArray()
    image.SetDimensions(6, 5, 4)
    tensors.SetNumberOfComponents(9)
    tensors.SetNumberOfTuples(120)
    image.GetPointData().SetTensors(tensors)
    node.SetAndObserveImageData(image)
    with pytest.raises(VolumeError, match="'DTI' holds no gray values: choose a CT"):
        volumes.prepareVolume(node)


@pytest.mark.parametrize("components", [3, 4])
def test_colors_are_seen_as_they_are(nodes: Any, components: int) -> None:
    node = nodes.scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    colors = np.random.default_rng(0).integers(0, 256, (2, 5, 6, components), dtype=np.uint8)
    slicer.util.updateVolumeFromArray(node, colors)
    prepared = volumes.prepareVolume(node, "40/400")
    assert prepared.isColor
    assert np.array_equal(prepared.gray, colors[..., :3])
    assert prepared.geometry.shape_kji == (2, 5, 6)
    assert prepared.window.keeps_uint8
    view = VolumeInUse(node).modelView("auto", SliceStack(), 1)
    assert view.shape == (5, 6, 3)
    assert np.array_equal(np.sort(view, axis=None), np.sort(colors[1, ..., :3], axis=None))
    tilted = SliceStack(0, ((1, 0, 0, 0), (0, 0.8, -0.6, 0), (0, 0.6, 0.8, 0), (0, 0, 0, 1)))
    with pytest.raises(VolumeError, match="along their own slices only"):
        VolumeInUse(node).prepared("auto", tilted)


def test_no_volume_and_no_voxels(nodes: Any) -> None:
    with pytest.raises(VolumeError, match="No volume is selected"):
        volumes.checkedGeometry(None)
    with pytest.raises(VolumeError, match="'Model' is not a scalar volume"):
        volumes.checkedGeometry(nodes.scene.AddNewNodeByClass("vtkMRMLModelNode", "Model"))
    with pytest.raises(VolumeError, match="holds no voxels"):
        volumes.prepareVolume(nodes.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty"))
    with pytest.raises(VolumeError, match="no finite voxel"):
        volumes.prepareVolume(nodes.volume(np.full((3, 4, 5), np.nan, np.float32)))


def test_the_key_changes_with_voxels_grid_and_window_only(nodes: Any, randomRigid: Any) -> None:
    volume, window = ct(nodes), Window.ct("lung")
    key = volumes.prepareVolume(volume, window).key
    volume.SetName("Renamed")
    volume.SetAndObserveTransformNodeID(nodes.transform(randomRigid(1)).GetID())
    assert volumes.prepareVolume(volume, window).key == key
    assert volumes.prepareVolume(volume, Window.ct("bone")).key != key
    slicer.util.arrayFromVolume(volume)[0, 0, 0] = 7
    slicer.util.arrayFromVolumeModified(volume)
    changed = volumes.prepareVolume(volume, window).key
    assert changed != key
    assert volumes.prepareVolume(volume, window) == volumes.prepareVolume(volume, window)
    assert volumes.prepareVolume(volume, window) != volumes.prepareVolume(volume, Window.ct("bone"))
    volume.SetSpacing(1, 1, 2)
    assert volumes.prepareVolume(volume, window).key != changed


def test_the_voxel_hash_is_that_of_the_content(nodes: Any) -> None:
    first, second = ct(nodes), ct(nodes)
    assert volumes.voxelHash(first) == volumes.voxelHash(second)
    slicer.util.arrayFromVolume(second)[5, 7, 8] += 1
    assert volumes.voxelHash(first) != volumes.voxelHash(second)
    wider = nodes.volume(slicer.util.arrayFromVolume(first).astype(np.int32))
    assert volumes.voxelHash(first) != volumes.voxelHash(wider)


def test_a_volume_on_slices_is_one_value_until_its_grid_or_place_changes(nodes: Any) -> None:
    parent, other = nodes.transform(np.eye(4)), nodes.transform(np.diag([1, 1, 2, 1]))
    volume = nodes.volume(parent=parent)
    used, stack = VolumeInUse(volume), SliceStack(1)
    changes = [
        lambda: volume.SetSpacing(1, 1, 2),
        lambda: slicer.util.updateVolumeFromArray(volume, np.zeros((3, 4, 5))),
        lambda: parent.SetAndObserveTransformNodeID(other.GetID()),
        lambda: volume.SetAndObserveTransformNodeID(None),
    ]
    for change in changes:
        before = used.sliced(stack)
        center = before.centerRas(1)
        assert used.sliced(stack) is before
        assert used.sliced(SliceStack(2)).stack == SliceStack(2)
        change()
        assert used.sliced(stack) is not before
        assert used.sliced(stack).centerRas(1) != center
    np.testing.assert_allclose(used.sliced(stack).centerRas(1), ijkToWorld(volume, [[2, 1, 1]])[0])


def test_the_hash_is_taken_bit_by_bit(nodes: Any) -> None:
    large = nodes.volume(np.random.default_rng(0).integers(0, 99, (200, 128, 128)).astype(np.int16))
    used = VolumeInUse(large)
    assert not used.work()
    hashed = used.voxelsSha256()
    while used.work():
        assert used.voxelsSha256() is hashed
    assert hashed.result() == volumes.voxelHash(large)
    large.GetImageData().Modified()
    assert used.voxelsSha256() is not hashed


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The volumes whose grid is worked out, each time it is."""
    asked: list[Any] = []
    monkeypatch.setattr(geometry, "volumeGeometry", lambda node: asked.append(node) or volumeGeometry(node))
    return asked


@pytest.mark.parametrize("k", [3, 5])
def test_the_grid_is_worked_out_once_for_a_click(bench: ControllerBench, grids: list[Any], k: int) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    bench.volume.Modified()
    grids.clear()
    bench.controller.prompting.addPoint(ijkToWorld(bench.volume, [[4, 4, k]])[0])
    bench.client.answer(k)
    bench.controller.tick()
    assert grids == [bench.volume]
    bench.controller.prompting.addPoint(ijkToWorld(bench.volume, [[4, 3, k]])[0], include=False)
    assert grids == [bench.volume]


def test_the_grid_is_worked_out_at_most_once_for_what_a_panel_shows(done: ControllerBench, grids: list[Any]) -> None:
    controller = done.controller

    def ask() -> int:
        grids.clear()
        controller.tick()
        (
            controller.review.whyNot(),
            controller.review.sliceCount(),
            controller.review.outlook(),
            controller.review.outlookOfAll(),
            controller.review.intervals(),
        )
        (
            controller.review.prompts(),
            controller.review.slices(),
            controller.review.doubtful(),
            controller.review.edited(),
            controller.review.measures(),
        )
        controller.review.whyNotRedraw(), controller.review.sliceCenterRas(3), controller.review.modelView(3)
        return len(grids)

    assert ask() == 0
    done.volume.Modified()
    assert ask() == 1
    done.volume.GetImageData().Modified()
    assert ask() == 1
