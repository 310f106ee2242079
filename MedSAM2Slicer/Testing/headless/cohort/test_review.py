"""A cohort that is reviewed: cases loaded as their runs left them, corrected, accepted, and nothing lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util

from medsam2_core import io
from medsam2_core.cli.main import run as commandLine
from MedSAM2SlicerLib.cohort.cohortfolder import ALL, DOUBTFUL, TO_REVIEW
from MedSAM2SlicerLib.prompts.promptnodes import promptNodes
from MedSAM2SlicerLib.record.runrecord import loadRun
from MedSAM2SlicerLib.scene.slicereview import EDITED, PROMPTED, PROPAGATED


def test_the_list_has_the_doubtful_first_and_sentences_for_what_is_not_there(reviewed: Any) -> None:
    reviewed.review.setFilter(ALL)
    lines = reviewed.review.lines()
    assert {line.name for line in lines} == {"two", "turned", "dicom", "broken"}
    assert [line.doubt for line in lines] == sorted((line.doubt for line in lines), reverse=True)
    broken = next(line for line in lines if line.name == "broken")
    assert broken.state == "failed"
    assert "broken" in broken.sentence
    reviewed.review.load("broken")
    assert reviewed.failures == [broken.sentence]
    reviewed.review.setFilter(TO_REVIEW)
    assert {line.name for line in reviewed.review.lines()} == {"two", "turned", "dicom"}
    reviewed.review.setFilter(DOUBTFUL)
    assert all(line.doubt >= 0.3 for line in reviewed.review.lines())


@pytest.mark.parametrize("name", ["two", "turned", "dicom"])
def test_a_case_is_loaded_as_its_run_left_it(reviewed: Any, made: Path, name: str) -> None:
    reviewed.load(name)
    nodes = reviewed.case.nodes
    report = json.loads((made / "out" / name / "report.json").read_text(encoding="utf-8"))
    labelmap = io.read_segments(made / "out" / name / "segmentation.seg.nrrd")[0]
    image = io.read_volume(next(path for path in made.glob(f"{name}*")))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(nodes.volumeNode), image.array)
    for item in report["objects"]:
        np.testing.assert_array_equal(reviewed.mask(item["name"]), labelmap == item["label"])
        reviewed.choose(item["name"])
        slices = reviewed.controller.review.slices()
        assert {index: one.confidence for index, one in slices.items()} == {
            one["slice_index"]: one["confidence"] for one in item["slices"]
        }
        record = loadRun(nodes.segmentationNode, reviewed.segment(item["name"]))
        assert record is not None
        assert record.isOf(nodes.volumeNode)
        assert [prompt["kind"] for prompt in record.report["objects"][0]["prompts"]]
    assert nodes.volumeNode.GetScalarVolumeDisplayNode().GetWindow() == pytest.approx(
        report["settings"]["window"]["upper"] - report["settings"]["window"]["lower"]
    )
    assert reviewed.controller.review.whyNot() == ""
    assert not reviewed.isChanged


def samePrompts(reviewed: Any, name: str) -> bool:
    """Whether the markups of an object say to the model the very same as its run did."""
    from MedSAM2SlicerLib.prompts.placing import PromptPlacer

    reviewed.choose(name)
    volume = reviewed.controller.workplace.sliced()
    sent = reviewed.controller.workplace.work().runObject(PromptPlacer(volume))
    record = loadRun(reviewed.case.nodes.segmentationNode, reviewed.segment(name))
    return bool(sent.prompts == record.runs(volume.slicing)[-1].objects[0].prompts)


@pytest.mark.parametrize(("case", "name"), [("two", "ball"), ("two", "block"), ("dicom", "ball")])
def test_prompts_are_markups_at_the_very_same_pixels(reviewed: Any, case: str, name: str) -> None:
    reviewed.load(case)
    assert samePrompts(reviewed, name)


def test_a_click_and_propagate_work_at_once(reviewed: Any) -> None:
    reviewed.load("two")
    reviewed.choose("block")
    before, other = reviewed.mask("block"), reviewed.mask("ball")
    reviewed.click(38, 30, 4)
    reviewed.propagate()
    states = reviewed.controller.review.slices()
    assert states[4].origin == states[2].origin == PROMPTED
    assert states[3].origin == PROPAGATED
    assert not any(one.stale for one in states.values())
    np.testing.assert_array_equal(reviewed.mask("ball"), other)
    record = loadRun(reviewed.case.nodes.segmentationNode, reviewed.segment("block"))
    assert len(record.report["earlier"]) == 1  # what the batch did, corrected
    assert reviewed.isChanged
    assert before.any()


def test_given_masks_are_the_persons_and_stay(reviewed: Any) -> None:
    reviewed.load("turned")
    states = reviewed.controller.review.slices()
    assert states[3].origin == EDITED
    given = reviewed.mask("ball")[3]
    reviewed.click(19, 17, 1)
    reviewed.propagate()
    np.testing.assert_array_equal(reviewed.mask("ball")[3], given)


def test_next_and_previous_go_through_the_list_and_leave_nothing_behind(reviewed: Any) -> None:
    empty = slicer.mrmlScene.GetNumberOfNodes()
    order = [line.name for line in reviewed.review.lines()]
    for name in order:
        reviewed.review.step(1)
        assert reviewed.review.name == name
        assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 1
    reviewed.review.step(1)
    assert "last case" in reviewed.said[-1]
    for name in reversed(order[:-1]):
        reviewed.review.step(-1)
        assert reviewed.review.name == name
    reviewed.review.open(reviewed.folder)
    reviewed.controller.setVolume(None)
    assert slicer.mrmlScene.GetNumberOfNodes() <= empty + 2  # a hierarchy, and the colors of volumes
    assert promptNodes(slicer.mrmlScene) == []
    assert not list(reviewed.folder.rglob("draft*"))


def test_a_case_that_cannot_be_loaded_does_not_stop_the_way(reviewed: Any) -> None:
    first, second, third = (line.name for line in reviewed.review.lines())
    for name in (first, second):
        (reviewed.folder / name / "segmentation.seg.nrrd").unlink()
    for name in (first, second):
        reviewed.review.step(1)
        assert name in reviewed.failures.pop()
    reviewed.review.step(1)
    assert reviewed.review.name == third
    reviewed.review.step(-1)
    assert second in reviewed.failures.pop()
    assert reviewed.review.name == third


def test_an_acceptance_is_a_note_and_the_report_follows(reviewed: Any) -> None:
    reviewed.load("two")
    file = reviewed.folder / "two" / "segmentation.seg.nrrd"
    before = file.read_bytes()
    reviewed.review.accept()
    assert reviewed.said[-1] == "two is accepted."
    assert file.read_bytes() == before
    assert not (reviewed.folder / "two" / "segmentation.model.seg.nrrd").exists()
    reviewed.review.writeReport()
    summary = json.loads((reviewed.folder / "summary.json").read_text(encoding="utf-8"))
    assert [one["state"] for one in summary["cases"]] == ["accepted", "done", "done", "failed"]
    assert "two" in [line.name for line in reviewed.review.lines()]  # as long as it is in the scene
    reviewed.review.step(1)
    assert "two" not in [line.name for line in reviewed.review.lines()]
    reviewed.review.setFilter(ALL)
    assert reviewed.review.cohort.line("two").state == "accepted"


def test_corrected_work_is_written_back_and_reopened(reviewed: Any, tmp_path: Path) -> None:
    reviewed.load("two")
    drawn = np.zeros((40, 48), bool)
    drawn[2:6, 2:9] = True
    reviewed.paint("ball", 0, drawn)
    reviewed.choose("block")
    reviewed.click(38, 30, 4)
    reviewed.propagate()
    own = (reviewed.folder / "two" / "segmentation.seg.nrrd").read_bytes()
    masks = {name: reviewed.mask(name) for name in ("ball", "block")}
    reviewed.review.accept()
    assert (reviewed.folder / "two" / "segmentation.model.seg.nrrd").read_bytes() == own
    grid = io.read_volume(reviewed.folder.parent / "two.nrrd").geometry
    for name, mask in masks.items():
        written = io.read_mask(reviewed.folder / "two" / "segmentation.seg.nrrd", grid, name)
        np.testing.assert_array_equal(written, mask)
    reviewed.review.writeReport()
    summary = json.loads((reviewed.folder / "summary.json").read_text(encoding="utf-8"))
    two = next(one for one in summary["cases"] if one["name"] == "two")
    volumes = {one["name"]: one["volume_ml"] for one in two["objects"]}
    for name, mask in masks.items():
        assert volumes[name] == pytest.approx(mask.sum() * 0.8 * 1.25 * 2.5 / 1000)
    assert two["corrected"]
    known = reviewed.controller.review.slices()
    reviewed.again()
    reviewed.load("two")
    for name, mask in masks.items():
        np.testing.assert_array_equal(reviewed.mask(name), mask)
    reviewed.choose("block")
    assert reviewed.controller.review.slices() == known
    assert [item.kind for item in reviewed.controller.workplace.prompts()] == ["include", "include"]
    assert loadRun(reviewed.case.nodes.segmentationNode, reviewed.segment("block")).isOf(reviewed.case.nodes.volumeNode)
    assert not reviewed.isChanged


def test_work_that_is_left_becomes_a_draft(reviewed: Any) -> None:
    reviewed.load("dicom")
    drawn = np.zeros((40, 48), bool)
    drawn[1:3, 1:3] = True
    reviewed.paint("ball", 0, drawn)
    model = (reviewed.folder / "dicom" / "segmentation.seg.nrrd").read_bytes()
    reviewed.load("two")
    assert "kept as a draft" in reviewed.said[-1]
    assert (reviewed.folder / "dicom" / "segmentation.seg.nrrd").read_bytes() == model
    line = reviewed.review.cohort.line("dicom")
    assert line.hasDraft
    assert line.isListed(TO_REVIEW)
    reviewed.load("dicom")
    np.testing.assert_array_equal(reviewed.mask("ball")[0], drawn)
    assert reviewed.controller.review.slices()[0].origin == EDITED
    reviewed.review.startOver("dicom")
    assert not reviewed.mask("ball")[0].any()
    assert not reviewed.review.cohort.line("dicom").hasDraft
    (kept,) = (reviewed.folder / "replaced" / "dicom").iterdir()
    grid = io.read_volume(reviewed.folder.parent / "dicom").geometry
    assert io.read_mask(kept / "draft.seg.nrrd", grid, "ball")[0].any()


def test_work_is_kept_now_and_then_unless_a_propagation_runs(reviewed: Any) -> None:
    reviewed.load("two")
    reviewed.review.keep()
    assert not reviewed.review.cohort.line("two").hasDraft
    reviewed.choose("block")
    reviewed.click(38, 30, 4)
    reviewed.controller.propagate()
    reviewed.review.keep()
    assert not reviewed.review.cohort.line("two").hasDraft
    reviewed.wait(lambda: not reviewed.controller.busy)
    reviewed.review.keep()
    assert reviewed.review.cohort.line("two").hasDraft
    assert not reviewed.isChanged


@pytest.mark.parametrize("how", ["close", "volume", "segmentation"])
def test_a_scene_that_is_closed_or_a_node_that_is_removed_loses_no_work(reviewed: Any, how: str) -> None:
    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    nodes = reviewed.case.nodes
    if how == "close":
        slicer.mrmlScene.Clear(0)
    else:
        slicer.mrmlScene.RemoveNode(getattr(nodes, f"{how}Node"))
    assert reviewed.review.name == ""
    reviewed.load("two")
    assert reviewed.mask("ball")[0].all()


def test_a_draft_that_cannot_be_kept_keeps_the_case(reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from medsam2_core.files.draft import Draft

    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))

    def full(_draft: Draft) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Draft, "keep", full)
        reviewed.review.load("dicom")
        assert "not enough space" in reviewed.failures.pop()
        reviewed.review.accept()
        assert "not enough space" in reviewed.failures.pop()
    assert reviewed.review.name == "two"
    assert reviewed.mask("ball")[0].all()
    reviewed.review.accept()
    assert reviewed.review.cohort.line("two").state == "accepted"


def test_taking_an_acceptance_back_makes_a_draft_of_it(reviewed: Any) -> None:
    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    reviewed.review.accept()
    reviewed.review.takeBack()
    line = reviewed.review.cohort.line("two")
    assert (line.state, line.hasDraft) == ("done", True)
    reviewed.again()
    reviewed.load("two")
    assert reviewed.mask("ball")[0].all()


@pytest.mark.parametrize("way", ["accept", "leave"])
def test_two_who_review_the_same_case_lose_nothing(reviewed: Any, way: str) -> None:
    from MedSAM2SlicerLib.cohort.review import CohortReview

    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    other = CohortReview(lambda: "")
    other.open(reviewed.folder)
    other.load("two")
    other.accept()
    other.close()
    if way == "accept":
        reviewed.review.accept()
        said = reviewed.failures.pop()
        assert "look at it once more" in said
        assert not reviewed.mask("ball")[0].any()
        assert reviewed.review.name == "two"
    else:
        reviewed.load("dicom")
        said = reviewed.said[-1]
    assert "your work is in" in said
    (kept,) = (reviewed.folder / "replaced" / "two").iterdir()
    grid = io.read_volume(reviewed.folder.parent / "two.nrrd").geometry
    assert io.read_mask(kept / "draft.seg.nrrd", grid, "ball")[0].all()
    assert not (reviewed.folder / "two" / "draft.json").exists()


def test_a_case_whose_files_are_gone_is_told_and_the_one_before_stays(reviewed: Any) -> None:
    reviewed.load("two")
    (reviewed.folder / "dicom" / "segmentation.seg.nrrd").unlink()
    before = slicer.mrmlScene.GetNumberOfNodes()
    reviewed.review.load("dicom")
    assert "run medsam2 batch" in reviewed.failures.pop()
    (reviewed.folder.parent / "turned.nii.gz").unlink()
    for path in (reviewed.folder / "turned").glob("done.json"):
        noted = json.loads(path.read_text(encoding="utf-8"))
        noted["command"][2] = str(reviewed.folder.parent / "turned.nii.gz")
        path.write_text(json.dumps(noted), encoding="utf-8")
    reviewed.review.load("turned")
    assert "no longer there" in reviewed.failures.pop()
    assert reviewed.review.name == "two"
    assert slicer.mrmlScene.GetNumberOfNodes() == before


@pytest.mark.parametrize("damage", ['{"format": "medsam2-run/1"}', "{", '{"format": "medsam2-run/1", "objects": [1]}'])
def test_a_damaged_report_is_told(reviewed: Any, damage: str) -> None:
    (reviewed.folder / "two" / "report.json").write_text(damage, encoding="utf-8")
    reviewed.review.load("two")
    (told,) = reviewed.failures
    assert "two" in told
    reviewed.failures.clear()
    assert reviewed.review.name == ""


def test_a_damaged_draft_is_told_and_can_be_put_aside(reviewed: Any) -> None:
    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    reviewed.load("dicom")
    path = reviewed.folder / "two" / "draft.json"
    noted = json.loads(path.read_text(encoding="utf-8"))
    noted["review"]["segments"]["Segment_1"]["prompts"] = [{"kind": "spell"}]
    path.write_text(json.dumps(noted), encoding="utf-8")
    reviewed.review.load("two")
    assert "start over" in reviewed.failures.pop()
    assert reviewed.review.name == "dicom"
    reviewed.review.startOver("two")
    reviewed.load("two")
    assert not reviewed.mask("ball")[0].all()


def test_special_cases(reviewed: Any, special: Path) -> None:
    reviewed.review.open(special)
    reviewed.load("stroke")
    assert [item.kind for item in reviewed.controller.review.prompts()] == ["scribble"]
    assert samePrompts(reviewed, "ball")
    reviewed.load("color")
    assert reviewed.controller.review.whyNot() == ""
    reviewed.click(18, 17, 1)
    reviewed.propagate()
    reviewed.review.accept()
    assert reviewed.review.cohort.line("color").state == "accepted"
    reviewed.review.load("uneven")
    assert "other slices than the image" in reviewed.failures.pop()
    assert reviewed.review.name == "color"
    reviewed.load("coronal")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    reviewed.review.accept()
    told = reviewed.review.cohort.told("coronal")
    (ball,) = told["objects"]
    assert told["range"] == [0, 40]  # of the slices that were painted, most were not of the run
    assert (ball["start"], len(ball["strip"])) == (0, 40)


def test_no_cohort_is_told(reviewed: Any, tmp_path: Path) -> None:
    reviewed.load("two")
    reviewed.review.open(tmp_path)
    assert "holds no cohort" in reviewed.failures.pop()
    assert reviewed.review.name == "two"


def test_batch_respects_what_was_accepted(reviewed: Any) -> None:
    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    reviewed.review.accept()
    reviewed.controller.setVolume(None)
    table, file = reviewed.folder.parent / "table.csv", reviewed.folder / "two" / "segmentation.seg.nrrd"
    accepted = file.read_bytes()
    command = ["batch", str(table), "--output", str(reviewed.folder), "--quiet"]
    assert commandLine(command) == 3
    assert file.read_bytes() == accepted
    text = table.read_text(encoding="utf-8").replace('"38,30,2"', '"38,30,3"')
    table.write_text(text, encoding="utf-8")
    assert commandLine(command) == 3
    assert file.read_bytes() != accepted
    (kept,) = (reviewed.folder / "replaced" / "two").iterdir()
    assert (kept / "segmentation.seg.nrrd").read_bytes() == accepted
    assert sitk.ReadImage(str(kept / "segmentation.seg.nrrd")).GetSize()[:2] == (48, 40)
