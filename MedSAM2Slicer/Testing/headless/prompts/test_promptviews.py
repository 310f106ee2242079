"""Which prompts are seen and can be grabbed, how they look, and what becomes of those of removed segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import slicer
from controllerbench import ControllerBench

from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.prompts.promptviews import promptViews
from MedSAM2SlicerLib.scene.attributes import attributeName
from MedSAM2SlicerLib.scene.geometry import ijkToWorld


@pytest.fixture
def used(bench: ControllerBench) -> ControllerBench:
    """A bench in use, with a click in its first segment."""
    promptViews()
    bench.controller.setInUse(True)
    bench.first = click(bench)
    return bench


def click(bench: ControllerBench, kind: str = "include") -> Any:
    return bench.click(4, 4, 3, kind)


def addSegment(bench: ControllerBench, name: str = "second") -> str:
    """Add a segment and work on it."""
    segmentation = bench.controller.segmentationNode
    segmentId = str(segmentation.GetSegmentation().AddEmptySegment("", name))
    bench.controller.setSegment(segmentation, segmentId)
    return segmentId


def looks(node: Any) -> tuple[bool, bool]:
    """Whether a markup is seen, and whether it can be grabbed."""
    return bool(node.GetDisplayVisibility()), bool(node.GetDisplayVisibility()) and not node.GetLocked()


def segmentOf(bench: ControllerBench) -> Any:
    return bench.controller.segmentationNode.GetSegmentation().GetSegment(bench.controller.segmentId)


def test_only_the_selected_segments_prompts_are_seen_and_can_be_grabbed(used: ControllerBench) -> None:
    first = used.controller.segmentId
    assert looks(used.first) == (True, True)
    addSegment(used)
    assert looks(used.first) == (False, False)
    second = click(used)
    assert looks(second) == (True, True)
    used.controller.setSegment(used.controller.segmentationNode, first)
    assert (looks(used.first), looks(second)) == ((True, True), (False, False))
    used.controller.setSegment(None)
    assert (looks(used.first), looks(second)) == ((False, False), (False, False))


def test_what_is_not_in_use_is_locked_and_stays_seen(used: ControllerBench) -> None:
    used.controller.setInUse(False)
    assert looks(used.first) == (True, False)
    used.controller.setInUse(True)
    assert looks(used.first) == (True, True)
    used.controller.close()
    assert looks(used.first) == (True, False)
    click(used)
    assert looks(click(used, "exclude")) == (True, False)


def test_two_in_use_show_the_prompts_of_both(used: ControllerBench) -> None:
    segmentation, first = used.controller.segmentationNode, used.controller.segmentId
    addSegment(used)
    second = click(used)
    other = Controller(used.client)
    other.setVolume(used.volume)
    other.setInUse(True)
    other.setSegment(segmentation, first)
    assert (looks(used.first), looks(second)) == ((True, True), (True, True))
    other.close(isForGood=False)
    assert (looks(used.first), looks(second)) == ((False, False), (True, True))


def test_they_are_in_the_segments_color_and_differ_by_glyph(used: ControllerBench) -> None:
    segmentOf(used).SetColor(0.2, 0.4, 0.6)
    display, exclude = used.first.GetDisplayNode(), click(used, "exclude").GetDisplayNode()
    for one in (display, exclude):
        assert one.GetSelectedColor() == one.GetColor() == pytest.approx((0.2, 0.4, 0.6))
        assert one.GetActiveColor() == pytest.approx((0.6, 0.7, 0.8))
    assert display.GetGlyphType() != exclude.GetGlyphType()


def test_what_the_user_chose_of_a_prompt_stays(used: ControllerBench) -> None:
    first, segmentation = used.controller.segmentId, used.controller.segmentationNode
    used.first.GetDisplayNode().SetSelectedColor(1, 1, 1)
    used.first.SetDisplayVisibility(False)
    used.first.SetLocked(True)
    segmentOf(used).SetName("liver")
    addSegment(used)
    used.controller.setSegment(segmentation, first)
    assert not used.first.GetDisplayVisibility()
    assert used.first.GetLocked()
    assert used.first.GetDisplayNode().GetSelectedColor() == (1, 1, 1)
    used.first.SetDisplayVisibility(True)
    addSegment(used, "third")
    assert not used.first.GetDisplayVisibility()
    used.first.SetDisplayVisibility(True)  # of another segment, to compare
    used.first.SetLocked(False)
    segmentOf(used).SetName("spleen")
    assert used.first.GetDisplayVisibility()


def test_a_renamed_segments_prompts_take_the_new_name(used: ControllerBench) -> None:
    box = used.controller.prompting.promptNode("box")
    box.SetName("mine")
    segmentOf(used).SetName("liver")
    assert used.first.GetName() == "liver include"
    assert used.first.GetNthControlPointLabel(0) == "liver include-1"
    assert box.GetName() == "mine"
    assert click(used, "exclude").GetName() == "liver exclude"


def test_prompts_of_a_removed_segment_are_hidden_and_come_back_with_its_undo(used: ControllerBench) -> None:
    used.preview(3)
    first, segmentation = used.controller.segmentId, used.controller.segmentationNode
    used.controller.removeSegment()
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 0
    assert looks(used.first) == (False, False)
    used.controller.undo()
    assert segmentation.GetSegmentation().GetSegment(first) is not None
    assert looks(used.first) == (True, True)
    assert [one.kind for one in used.controller.review.prompts()] == ["include"]
    assert used.drawn() == [3]


def test_prompts_of_a_removed_segmentation_are_hidden_and_come_back_with_it(used: ControllerBench) -> None:
    first, segmentation = used.controller.segmentId, used.controller.segmentationNode
    scene = slicer.mrmlScene
    scene.RemoveNode(segmentation)
    assert looks(used.first) == (False, False)
    scene.AddNode(segmentation)
    used.controller.setSegment(segmentation, first)
    assert looks(used.first) == (True, True)
    assert [one.kind for one in used.controller.review.prompts()] == ["include"]


def test_a_line_of_the_users_keeps_its_looks_and_is_given_back(used: ControllerBench, nodes: Any) -> None:
    line = nodes.line(ijkToWorld(used.volume, [[2, 2, 5], [6, 6, 5]]), "mine")
    line.CreateDefaultDisplayNodes()
    colors = line.GetDisplayNode().GetSelectedColor(), line.GetDisplayNode().GetColor()
    used.controller.prompting.addLinePrompt(line)
    assert looks(line) == (True, True)
    first, segmentation = used.controller.segmentId, used.controller.segmentationNode
    addSegment(used)
    assert looks(line) == (True, False)
    used.controller.prompting.addLinePrompt(line)
    assert looks(line) == (True, True)
    used.controller.setSegment(segmentation, first)
    used.controller.setInUse(False)
    assert looks(line) == (True, False)
    used.controller.setSegment(segmentation, segmentation.GetSegmentation().GetNthSegmentID(1))
    used.controller.prompting.removeAllPrompts()
    assert looks(line) == (True, True)
    assert (line.GetDisplayNode().GetSelectedColor(), line.GetDisplayNode().GetColor()) == colors
    assert line.GetName() == "mine"
    assert [name for name in line.GetAttributeNames() if name.startswith("MedSAM2")] == []


def test_the_last_point_goes_with_its_markup(used: ControllerBench) -> None:
    click(used)
    first, second = used.controller.review.prompts()
    used.controller.prompting.removePrompt(first)
    assert used.first.GetScene() is not None
    used.controller.prompting.removePrompt(second)
    assert used.first.GetScene() is None


def reloaded(used: ControllerBench, folder: Path) -> None:
    """Save the scene while it is worked on, and load it while nobody works."""
    segmentation, scene = used.controller.segmentationNode, slicer.mrmlScene
    segmentation.AddDefaultStorageNode(str(folder / "segments.seg.nrrd"))
    assert segmentation.GetStorageNode().WriteData(segmentation)
    scene.SetRootDirectory(str(folder))
    scene.SetURL(str(folder / "scene.mrml"))
    assert scene.Commit()
    used.controller.setInUse(False)
    scene.Clear(0)
    assert scene.Connect()


def nodeOf(className: str) -> Any:
    (node,) = slicer.util.getNodesByClass(className)
    return node


def ourAttributes(node: Any) -> list[str]:
    return sorted(name for name in node.GetAttributeNames() if name.startswith("MedSAM2."))


def test_prompts_of_a_scene_that_nobody_works_on_yet_are_locked(used: ControllerBench, tmp_path: Path) -> None:
    used.preview(3)
    assert looks(used.first) == (True, True)
    segmentation, segmentId = used.controller.segmentationNode.GetName(), used.controller.segmentId
    reloaded(used, tmp_path)
    assert looks(nodeOf("vtkMRMLMarkupsFiducialNode")) == (True, False)
    loaded = nodeOf("vtkMRMLSegmentationNode")
    assert loaded.GetName() == segmentation
    used.controller.setSegment(loaded, segmentId)
    used.controller.setInUse(True)
    assert looks(nodeOf("vtkMRMLMarkupsFiducialNode")) == (True, True)


def test_what_a_file_has_of_removed_segments_is_dropped(used: ControllerBench, nodes: Any, tmp_path: Path) -> None:
    used.preview(3)
    segmentation, first = used.controller.segmentationNode, used.controller.segmentId
    second = addSegment(used)
    click(used)
    used.preview(3)
    segmentation.SetAttribute(attributeName(second), "{}")
    line = nodes.line(ijkToWorld(used.volume, [[2, 2, 5], [6, 6, 5]]), "mine")
    line.CreateDefaultDisplayNodes()
    used.controller.prompting.addLinePrompt(line)
    used.controller.removeSegment()
    used.controller.setSegment(segmentation, first)
    assert attributeName(second, "Slices") in ourAttributes(segmentation)
    reloaded(used, tmp_path)
    assert nodeOf("vtkMRMLMarkupsFiducialNode").GetName() == "Segment_1 include"
    assert ourAttributes(nodeOf("vtkMRMLSegmentationNode")) == [attributeName(first, "Slices")]
    assert ourAttributes(nodeOf("vtkMRMLMarkupsLineNode")) == []
    assert looks(nodeOf("vtkMRMLMarkupsLineNode")) == (True, True)
