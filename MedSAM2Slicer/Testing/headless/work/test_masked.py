"""What Segment Editor's masking keeps in a segment is said, whatever was to take it away."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from controllerbench import ControllerBench, finish, segmentEditor

from MedSAM2SlicerLib.scene.segments import SegmentWriter

AREA = "since they lie outside the editable area (inside 'organ')."


@pytest.fixture
def lesion(bench: ControllerBench) -> ControllerBench:
    """A lesion drawn on slice 3 within an organ, which it has taken the place of there, as Slicer's usual mode does."""
    bench.click(4, 4, 3)
    node = bench.controller.segmentationNode
    organ = node.GetSegmentation().AddEmptySegment("", "organ")
    writer = SegmentWriter(node, organ, bench.volume)
    writer.writeSlices(dict.fromkeys(range(7), np.ones((8, 9), dtype=bool)), 0)
    writer.end()
    editor = segmentEditor(node)
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    editor.SetMaskSegmentID(organ)
    editor.SetOverwriteMode(editor.OverwriteAllSegments)
    bench.preview()
    assert bench.mask()[3].sum() == 36
    assert not bench.said["noticed"]
    return bench


def test_a_click_that_can_take_nothing_away_says_so(lesion: ControllerBench) -> None:
    lesion.client.gone = {3}
    lesion.click(5, 5, 3, "exclude")
    lesion.preview()
    assert lesion.mask()[3].sum() == 36
    assert lesion.said["noticed"] == [(f"36 voxels that the mask leaves out stay, {AREA}",)]


def test_a_prompt_that_is_removed_and_leaves_what_it_drew_says_so(lesion: ControllerBench) -> None:
    (prompt,) = lesion.controller.review.prompts()
    lesion.controller.prompting.removePrompt(prompt)
    assert lesion.said["noticed"] == [(f"36 voxels that the mask leaves out stay, {AREA}",)]


def test_a_propagation_says_what_it_could_not_take_away(lesion: ControllerBench) -> None:
    lesion.propagate().finish()
    lesion.client.gone = {4}
    lesion.click(4, 4, 5)
    finish(lesion.propagate(0))
    assert f" 16 voxels that the mask leaves out stay, {AREA}" in lesion.said["finished"][-1][0]
    assert AREA not in lesion.said["finished"][0][0]


def test_with_overlap_all_can_be_taken_away(lesion: ControllerBench) -> None:
    lesion.controller.undo()
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    editor.SetOverwriteMode(editor.OverwriteNone)
    lesion.preview()
    lesion.client.gone = {3}
    lesion.click(5, 5, 3, "exclude")
    lesion.preview()
    assert not lesion.mask()[3].any()
