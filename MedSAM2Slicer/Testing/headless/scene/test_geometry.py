"""World to voxels and back: any grid, any chain of linear transforms, and clear words about the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer.util

from medsam2_core.errors import VolumeError
from MedSAM2SlicerLib.scene import geometry
from MedSAM2SlicerLib.scene.slicedvolume import slicedVolume

IJK = np.array([[0, 0, 0], [8, 7, 5], [3.25, 1.5, 4], [-2, 10, 2.5]])
SEEDS = range(24)


def toVoxels(volume: Any, world: np.ndarray) -> np.ndarray:
    sliced = slicedVolume(volume)
    return sliced.geometry.ras_to_ijk(sliced.toVolume(world))


def homogeneous(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_voxel_goes_to_the_world_and_back(nodes: Any, randomGrid: Callable, randomRigid: Callable, seed: int) -> None:
    grid, inner, outer = randomGrid(seed), randomRigid(seed), randomRigid(seed + 500)
    volume = nodes.volume(matrix=grid, parent=nodes.transform(inner, parent=nodes.transform(outer)))
    world = geometry.ijkToWorld(volume, IJK)
    np.testing.assert_allclose(world, homogeneous(outer @ inner @ grid, IJK), atol=1e-9)
    np.testing.assert_allclose(toVoxels(volume, world), IJK, atol=1e-9)
    np.testing.assert_allclose(geometry.volumeGeometry(volume).affine_ijk_to_ras, grid, atol=1e-9)


@pytest.mark.parametrize("linear", [np.diag([2.0, 0.5, 1.0]), [[1, 0.4, 0], [0, 1, 0], [0, 0, -1]]])
def test_a_transform_may_scale_shear_and_flip(nodes: Any, randomGrid: Callable, linear: Any) -> None:
    transform = np.eye(4)
    transform[:3, :3] = linear
    volume = nodes.volume(matrix=randomGrid(1), parent=nodes.transform(transform))
    np.testing.assert_allclose(toVoxels(volume, geometry.ijkToWorld(volume, IJK)), IJK, atol=1e-9)
    np.testing.assert_allclose(geometry.volumeGeometry(volume).affine_ijk_to_ras, randomGrid(1), atol=1e-9)


def test_geometry_is_the_same_before_and_after_a_turn_of_the_volume(nodes: Any, randomRigid: Callable) -> None:
    volume = nodes.volume()
    before = geometry.volumeGeometry(volume)
    volume.SetAndObserveTransformNodeID(nodes.transform(randomRigid(3)).GetID())
    assert geometry.volumeGeometry(volume) == before


def test_other_transforms_are_refused_in_words(nodes: Any) -> None:
    with pytest.raises(VolumeError, match=r"Harden the transform of 'CT' first \(Transforms module\)"):
        toVoxels(nodes.volume(parent=nodes.warp()), IJK)
    with pytest.raises(VolumeError, match="flattens"):
        toVoxels(nodes.volume(parent=nodes.transform(np.diag([1, 1, 0, 1]))), IJK)


def test_a_hardened_transform_is_part_of_the_grid(nodes: Any, randomGrid: Callable, randomRigid: Callable) -> None:
    volume = nodes.volume(matrix=randomGrid(4), parent=nodes.transform(randomRigid(4)))
    world = geometry.ijkToWorld(volume, IJK)
    assert volume.HardenTransform()
    np.testing.assert_allclose(geometry.ijkToWorld(volume, IJK), world, atol=1e-9)


def test_a_sheared_grid_is_refused(nodes: Any) -> None:
    with pytest.raises(VolumeError, match=r"'CT' cannot be segmented.*resample it"):
        geometry.volumeGeometry(nodes.volume(matrix=[[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))


def test_an_empty_volume_is_refused(nodes: Any) -> None:
    empty = nodes.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    with pytest.raises(VolumeError, match="'Empty' holds no voxels"):
        geometry.volumeGeometry(empty)


def sliceView(nodes: Any, orientation: str = "Axial") -> Any:
    node = nodes.scene.CreateNodeByClass("vtkMRMLSliceNode")
    node.SetLayoutName(orientation)
    nodes.scene.AddNode(node)
    assert node.SetOrientation(orientation)
    return node


@pytest.mark.parametrize(("orientation", "axis"), [("Axial", 0), ("Coronal", 1), ("Sagittal", 2)])
def test_the_axis_of_a_view(nodes: Any, orientation: str, axis: int) -> None:
    flipped = np.diag([-0.7, 0.7, -2.5, 1.0])
    assert geometry.viewAxis(nodes.volume(matrix=flipped), sliceView(nodes, orientation)).axis == axis
    sagittalFirst = np.array([[0, 0, 3, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=float)  # k to R
    expected = {"Axial": 1, "Coronal": 2, "Sagittal": 0}[orientation]
    assert geometry.viewAxis(nodes.volume(matrix=sagittalFirst), sliceView(nodes, orientation)).axis == expected


def test_how_oblique_a_view_is(nodes: Any) -> None:
    volume, view = nodes.volume(), sliceView(nodes)
    for degrees, axis in ((0, 0), (30, 0), (44, 0), (45, 0), (46, 1), (90, 1)):
        angle = np.deg2rad(degrees)
        turn = np.eye(4)
        turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        view.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(turn))
        found = geometry.viewAxis(volume, view)
        assert found.axis == axis
        assert found.obliqueDegrees == pytest.approx(degrees if axis == 0 else 90 - degrees, abs=0.01)


def test_the_axis_follows_the_transform(nodes: Any) -> None:
    tipped = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=float)  # what was S is A now
    volume = nodes.volume(parent=nodes.transform(tipped))
    assert geometry.viewAxis(volume, sliceView(nodes)).axis == 1


def test_the_same_transform_in_other_nodes_is_the_same_frame(nodes: Any, randomRigid: Callable) -> None:
    rigid = randomRigid(7)
    first, second = nodes.volume(parent=nodes.transform(rigid)), nodes.volume(parent=nodes.transform(rigid))
    assert geometry.sameFrame(first, second)
    assert not geometry.sameFrame(first, nodes.volume())
    assert not geometry.sameFrame(first, nodes.volume(parent=nodes.warp()))
    assert geometry.sameFrame(nodes.volume(), nodes.volume(parent=nodes.transform(np.eye(4))))
