"""Masking, overwriting and undo equal those of Slicer's own Segment Editor logic, mode by mode."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
import vtk.util.numpy_support

from MedSAM2SlicerLib.scene import segments
from MedSAM2SlicerLib.scene.history import EditHistory, editorLogic
from MedSAM2SlicerLib.scene.layers import BINARY_LABELMAP

SHAPE = (5, 12, 11)
NAMES = ("edited", "first", "second", "hidden")
MASKS = [
    "EditAllowedEverywhere",
    "EditAllowedInsideAllSegments",
    "EditAllowedInsideVisibleSegments",
    "EditAllowedOutsideAllSegments",
    "EditAllowedOutsideVisibleSegments",
    "EditAllowedInsideSingleSegment",
]
OVERWRITES = ["OverwriteAllSegments", "OverwriteVisibleSegments", "OverwriteNone"]
INTENSITIES = [None, (-400.0, 350.0)]


class Case:
    """Four segments side by side, one of them hidden; a mask for the edited one that reaches into all others."""

    def __init__(self, nodes: Any, seed: int, shared: bool) -> None:
        rng = np.random.default_rng(seed)
        self.volume = nodes.volume(rng.integers(-1000, 1000, SHAPE).astype(np.int16))
        owner = rng.integers(0, 6, SHAPE)
        self.masks = {name: owner == place for place, name in enumerate(NAMES)}
        self.target = rng.random(SHAPE) > 0.5
        self.target[0] = False
        self.segmentation, _ = segments.ensureSegmentation(self.volume, name=NAMES[0])
        self.ids = {}
        for name in NAMES:
            _, self.ids[name] = segments.ensureSegmentation(self.volume, self.segmentation, name)
            writer = segments.SegmentWriter(self.segmentation, self.ids[name], self.volume)
            writer.writeSlices(dict(enumerate(self.masks[name])), 0)
            writer.end()
        if not shared:
            for segmentId in self.ids.values():
                self.segmentation.GetSegmentation().SeparateSegmentLabelmap(segmentId)
        self.segmentation.GetDisplayNode().SetSegmentVisibility(self.ids["hidden"], False)

    def editor(self, nodes: Any, mask: str, overwrite: str, intensity: Any) -> Any:
        node = nodes.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        node.SetAndObserveSegmentationNode(self.segmentation)
        node.SetAndObserveSourceVolumeNode(self.volume)
        node.SetSelectedSegmentID(self.ids["edited"])
        node.SetMaskMode(getattr(slicer.vtkMRMLSegmentationNode, mask))
        node.SetMaskSegmentID(self.ids["first"])
        node.SetOverwriteMode(getattr(node, overwrite))
        if intensity is not None:
            node.SetSourceVolumeIntensityMask(True)
            node.SetSourceVolumeIntensityMaskRange(*intensity)
        return node

    def read(self) -> dict[str, np.ndarray]:
        return {name: segments.segmentMask(self.segmentation, one, self.volume) for name, one in self.ids.items()}

    def bytes(self) -> list[Any]:
        """Everything of every segment: extent, geometry, label, the layer's bytes and those of the surface."""
        found: list[Any] = []
        for segmentId in self.ids.values():
            segment = self.segmentation.GetSegmentation().GetSegment(segmentId)
            layer = segment.GetRepresentation(BINARY_LABELMAP)
            array = vtk.util.numpy_support.vtk_to_numpy(layer.GetPointData().GetScalars())
            found.append((segment.GetLabelValue(), layer.GetExtent(), layer.GetOrigin(), array.dtype, array.tobytes()))
            surface = segment.GetRepresentation("Closed surface")
            if surface is not None and surface.GetNumberOfPoints():
                found.append(vtk.util.numpy_support.vtk_to_numpy(surface.GetPoints().GetData()).tobytes())
        return found

    def protected(self, mask: str) -> np.ndarray:
        """Voxels that a run on `edited` and `second` may not touch in any segment, whatever it overwrites."""
        everything = np.logical_or.reduce(list(self.masks.values()))
        return {
            "EditAllowedEverywhere": np.zeros(SHAPE, bool),
            "EditAllowedInsideAllSegments": ~everything,
            "EditAllowedInsideVisibleSegments": ~(everything & ~self.masks["hidden"]),
            "EditAllowedOutsideAllSegments": self.masks["first"] | self.masks["hidden"],
            "EditAllowedOutsideVisibleSegments": self.masks["first"],
            "EditAllowedInsideSingleSegment": ~self.masks["first"],
        }[mask]


def slicersOwn(case: Case, editor: Any) -> None:
    """Let Slicer's logic replace the edited segment by the target in one go."""
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(case.volume.GetScene())
    logic.SetSegmentEditorNode(editor)
    image = slicer.vtkOrientedImageData()
    matrix = vtk.vtkMatrix4x4()
    case.volume.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    image.SetExtent(case.volume.GetImageData().GetExtent())
    scalars = vtk.util.numpy_support.numpy_to_vtk(case.target.astype(np.uint8).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    logic.ModifySegmentByLabelmap(case.segmentation, case.ids["edited"], image, logic.ModificationModeSet, True, False)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "layers"])
@pytest.mark.parametrize("intensity", INTENSITIES, ids=["any", "range"])
@pytest.mark.parametrize(("mask", "overwrite"), list(itertools.product(MASKS, OVERWRITES)))
def test_the_result_is_slicers_own(nodes: Any, mask: str, overwrite: str, intensity: Any, shared: bool) -> None:
    # Slicer 5.12 and 5.13 erase only the first of several visible segments that share a layer with a hidden one, so
    # there what should come out is taken from segments in layers of their own.
    ours, theirs = Case(nodes, 4, shared), Case(nodes, 4, shared and overwrite != "OverwriteVisibleSegments")
    slicersOwn(theirs, theirs.editor(nodes, mask, overwrite, intensity))
    writer = segments.SegmentWriter(
        ours.segmentation, ours.ids["edited"], ours.volume, ours.editor(nodes, mask, overwrite, intensity)
    )
    before = ours.bytes()
    writer.begin()
    writer.writeSlices(dict(enumerate(ours.target)), 0)
    writer.end()
    found, expected = ours.read(), theirs.read()
    for name in NAMES:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    refused = ours.target & ~found["edited"]
    assert writer.written.maskedOut == refused.sum()
    assert writer.written.keptIn == (found["edited"] & ~ours.target).sum()
    assert (writer.written.maskedOut > 0) == (mask != "EditAllowedEverywhere" or intensity is not None)
    after = ours.bytes()
    for _ in range(2):
        writer.history.undo()
        assert ours.bytes() == before
        writer.history.redo()
        assert ours.bytes() == after


def test_nothing_outside_the_segment_to_stay_in_changes(nodes: Any) -> None:
    case = Case(nodes, 9, True)
    editor = case.editor(nodes, "EditAllowedInsideSingleSegment", "OverwriteAllSegments", None)
    writer = segments.SegmentWriter(case.segmentation, case.ids["edited"], case.volume, editor)
    before = case.read()
    writer.writeSlices(dict(enumerate(case.target)), 0)
    after = case.read()
    for name in NAMES:
        np.testing.assert_array_equal(before[name] & ~case.masks["first"], after[name] & ~case.masks["first"])
    assert writer.restriction == "inside 'first'"


def test_without_an_editor_node_neighbors_are_spared(nodes: Any) -> None:
    case = Case(nodes, 9, True)
    before = case.read()
    writer = segments.SegmentWriter(case.segmentation, case.ids["edited"], case.volume)
    writer.writeSlices(dict(enumerate(case.target)), 0)
    after = case.read()
    np.testing.assert_array_equal(after.pop("edited"), case.target)
    for name, mask in after.items():
        np.testing.assert_array_equal(mask, before[name])
    assert writer.restriction == ""


@pytest.mark.parametrize("limits", [(-400.5, 350.5), (-1e9, 0.0), (10.9, 10.9)])
def test_intensity_limits_are_compared_as_slicer_does(nodes: Any, limits: tuple[float, float]) -> None:
    ours, theirs = Case(nodes, 2, True), Case(nodes, 2, True)
    settings = ("EditAllowedEverywhere", "OverwriteNone", limits)
    slicersOwn(theirs, theirs.editor(nodes, *settings))
    writer = segments.SegmentWriter(ours.segmentation, ours.ids["edited"], ours.volume, ours.editor(nodes, *settings))
    writer.writeSlices(dict(enumerate(ours.target)), 0)
    np.testing.assert_array_equal(ours.read()["edited"], theirs.read()["edited"])


def test_the_intensities_of_another_source_volume_count(nodes: Any) -> None:
    case = Case(nodes, 2, True)
    values = np.zeros(SHAPE, np.int16)
    values[:, :6] = 100
    other = nodes.volume(values, name="MR")
    editor = case.editor(nodes, "EditAllowedEverywhere", "OverwriteNone", (50.0, 150.0))
    editor.SetAndObserveSourceVolumeNode(other)
    writer = segments.SegmentWriter(case.segmentation, case.ids["edited"], case.volume, editor)
    writer.writeSlices(dict(enumerate(case.target)), 0)
    after = case.read()["edited"]
    np.testing.assert_array_equal(after[:, :6], case.target[:, :6])
    np.testing.assert_array_equal(after[:, 6:], case.masks["edited"][:, 6:])
    assert writer.restriction == "intensity 50 to 150"


def test_one_run_on_several_segments_is_one_step(nodes: Any) -> None:
    case = Case(nodes, 6, True)
    history = EditHistory(case.segmentation)
    writers = [
        segments.SegmentWriter(case.segmentation, case.ids[name], case.volume, history=history)
        for name in ("edited", "first")
    ]
    before = case.bytes()
    for writer in writers:
        writer.begin()
    for writer, index in itertools.product(writers, range(SHAPE[0])):
        writer.writeSlices({index: case.target[index]}, 0)
    for writer in writers:
        writer.end()
    assert history.canUndo
    history.undo()
    assert case.bytes() == before
    assert not history.canUndo
    assert history.canRedo


def propagate(case: Case, editor: Any, history: EditHistory) -> None:
    """Write as a propagation of two segments does: side by side, slice by slice, from the middle to either end."""
    names = ("edited", "second")
    writers = [segments.SegmentWriter(case.segmentation, case.ids[one], case.volume, editor, history) for one in names]
    targets = (case.target, np.roll(case.target, 3, 1))
    for writer in writers:
        writer.begin()
    for index in (2, 3, 4, 1, 0):
        for writer, target in zip(writers, targets, strict=True):
            writer.writeSlices({index: target[index]}, 0)
    for writer in writers:
        writer.writeSlices({4: None}, 0)  # an earlier run drew it, this one gave it up
        writer.end()


@pytest.mark.parametrize("surface", [True, False], ids=["surface", "no surface"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "layers"])
@pytest.mark.parametrize(("mask", "overwrite"), list(itertools.product(MASKS, OVERWRITES)))
def test_a_run_touches_what_it_may_and_is_one_step(
    nodes: Any, mask: str, overwrite: str, shared: bool, surface: bool
) -> None:
    case = Case(nodes, 5, shared)
    if surface:
        assert case.segmentation.CreateClosedSurfaceRepresentation()
    history, masks, before = EditHistory(case.segmentation), case.read(), case.bytes()
    propagate(case, case.editor(nodes, mask, overwrite, None), history)
    now, after, protected = case.read(), case.bytes(), case.protected(mask)
    changed = {name for name in NAMES if (now[name] != masks[name]).any()}
    assert {"edited", "second"} <= changed
    for name in NAMES:
        np.testing.assert_array_equal(now[name][protected], masks[name][protected], err_msg=name)
    if overwrite == "OverwriteNone":
        assert changed == {"edited", "second"}
    if overwrite == "OverwriteVisibleSegments":
        assert "hidden" not in changed
    if surface:  # each is what a conversion from scratch makes
        assert case.segmentation.GetSegmentation().CreateRepresentation("Closed surface", True)
        assert case.bytes() == after
    for _ in range(2):
        history.undo()
        assert case.bytes() == before
        assert not history.canUndo
        history.redo()
        assert case.bytes() == after
        assert not history.canRedo


def test_undo_while_running_and_then_the_run_goes_on(nodes: Any) -> None:
    case = Case(nodes, 6, True)
    writer = segments.SegmentWriter(case.segmentation, case.ids["edited"], case.volume)
    writer.begin()
    writer.writeSlices({1: case.target[1]}, 0)
    writer.history.undo()
    writer.writeSlices({2: case.target[2]}, 0)
    writer.end()
    expected = case.masks["edited"].copy()
    expected[2] = case.target[2]
    np.testing.assert_array_equal(case.read()["edited"], expected)


def test_slicers_tools_and_ours_take_turns_in_one_history(nodes: Any) -> None:
    case = Case(nodes, 8, True)
    history = EditHistory(case.segmentation)
    start = case.bytes()
    writer = segments.SegmentWriter(case.segmentation, case.ids["edited"], case.volume, history=history)
    writer.begin()
    writer.writeSlices({1: case.target[1]}, 0)
    writer.end()
    middle = case.bytes()
    history.saveState()
    slicersOwn(case, case.editor(nodes, "EditAllowedEverywhere", "OverwriteAllSegments", None))
    end = case.bytes()
    history.undo()
    assert case.bytes() == middle
    history.undo()
    assert case.bytes() == start
    history.redo()
    history.redo()
    assert case.bytes() == end


def test_editors_do_not_share_what_is_selected(nodes: Any) -> None:
    case = Case(nodes, 1, True)
    assert editorLogic(case.segmentation).GetSegmentationNode() is case.segmentation
    assert nodes.scene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode") == 0


def test_a_range_of_intensities_holds_for_no_colors(nodes: Any) -> None:
    photo = nodes.scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    slicer.util.updateVolumeFromArray(photo, np.zeros((1, 6, 7, 3), np.uint8))
    segmentation, segmentId = segments.ensureSegmentation(photo)
    editor = nodes.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetSourceVolumeIntensityMask(True)
    editor.SetSourceVolumeIntensityMaskRange(100, 200)
    writer = segments.SegmentWriter(segmentation, segmentId, photo, editor)
    assert writer.restriction == ""
    writer.writeSlices({0: np.ones((6, 7), bool)}, 0)
    assert segments.segmentMask(segmentation, segmentId, photo).all()
