"""What a review must take: no segments, names twice, others at work, notes half written, runs that failed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import slicer

from medsam2_core.cli.main import run as commandLine
from medsam2_core.cohort.acceptance import CaseFolder
from MedSAM2SlicerLib.cohort.cohortfolder import ALL


def test_a_case_whose_last_segment_was_removed_is_kept_and_accepted(reviewed: Any) -> None:
    reviewed.load("dicom")
    reviewed.case.nodes.segmentationNode.GetSegmentation().RemoveAllSegments()
    reviewed.load("two")
    assert reviewed.review.cohort.line("dicom").hasDraft
    reviewed.load("dicom")
    assert reviewed.case.nodes.segmentIds == []
    reviewed.review.accept()
    assert reviewed.review.cohort.line("dicom").state == "accepted"
    reviewed.review.startOver("dicom")
    assert reviewed.failures == []
    assert reviewed.mask("ball").any()


def test_a_case_with_two_segments_of_one_name_is_loaded_again(reviewed: Any) -> None:
    reviewed.load("two")
    segmentation = reviewed.case.nodes.segmentationNode.GetSegmentation()
    segmentation.GetSegment(reviewed.segment("block")).SetName("ball")
    reviewed.load("dicom")
    reviewed.load("two")
    assert len(reviewed.case.nodes.segmentIds) == 2


def test_opening_leaves_no_case_while_a_propagation_runs(reviewed: Any) -> None:
    reviewed.load("two")
    reviewed.choose("block")
    reviewed.click(38, 30, 4)
    reviewed.controller.propagate()
    reviewed.review.open(reviewed.folder)
    assert reviewed.review.name == "two"
    assert len(reviewed.failures) == 1
    reviewed.wait(lambda: not reviewed.controller.busy)
    reviewed.review.open(reviewed.folder)
    assert reviewed.review.name == ""
    assert reviewed.review.cohort.line("two").hasDraft


def test_what_somebody_else_made_of_a_case_is_told_when_it_is_loaded(reviewed: Any) -> None:
    CaseFolder(reviewed.folder / "two").accept()
    assert reviewed.review.cohort.line("two").state == "done"
    reviewed.load("two")
    assert reviewed.review.cohort.line("two").state == "accepted"


def test_notes_that_are_being_written_are_no_cases(reviewed: Any) -> None:
    (reviewed.folder / ".cohort" / "failed" / ".medsam2-abc.json").write_text("{", encoding="utf-8")
    reviewed.review.open(reviewed.folder)
    reviewed.review.setFilter(ALL)
    assert {line.name for line in reviewed.review.lines()} == {"two", "turned", "dicom", "broken"}


def test_a_case_that_failed_with_another_row_stays_failed(reviewed: Any) -> None:
    table = reviewed.folder.parent / "table.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("dicom,dicom,", "dicom,broken,"), encoding="utf-8")
    assert commandLine(["batch", str(table), "--output", str(reviewed.folder), "--quiet"]) == 3
    summary = reviewed.folder / "summary.json"
    states = [one["state"] for one in json.loads(summary.read_text(encoding="utf-8"))["cases"]]
    assert states == ["done", "done", "failed", "failed"]
    reviewed.review.open(reviewed.folder)
    reviewed.load("two")
    reviewed.review.accept()
    reviewed.review.writeReport()
    states = [one["state"] for one in json.loads(summary.read_text(encoding="utf-8"))["cases"]]
    assert states == ["accepted", "done", "failed", "failed"]


@pytest.mark.parametrize("part", [0.1, 0.6, 0.95])
def test_a_segmentation_that_is_cut_short_is_told_and_other_cases_go_on(reviewed: Any, part: float) -> None:
    path = reviewed.folder / "two" / "segmentation.seg.nrrd"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    reviewed.review.load("two")
    told = reviewed.failures.pop()
    assert str(path) in told
    assert "run medsam2 batch" in told
    reviewed.load("dicom")
    reviewed.review.accept()
    assert reviewed.review.cohort.line("dicom").state == "accepted"


def test_a_draft_that_is_cut_short_is_told_and_can_be_put_aside(reviewed: Any) -> None:
    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    reviewed.load("dicom")
    path = reviewed.folder / "two" / "draft.seg.nrrd"
    path.write_bytes(path.read_bytes()[:400])
    reviewed.review.load("two")
    assert "start over" in reviewed.failures.pop()
    assert reviewed.review.name == "dicom"
    reviewed.review.startOver("two")
    reviewed.load("two")
    assert list((reviewed.folder / "replaced" / "two").glob("*/draft.seg.nrrd"))


@pytest.mark.parametrize("part", ["volumeNode", "segmentationNode"])
@pytest.mark.parametrize("after", ["two", "dicom"])
def test_what_is_left_of_a_case_goes_when_one_is_loaded(reviewed: Any, part: str, after: str) -> None:
    reviewed.load(after)
    reviewed.load("two")
    reviewed.load(after)
    before = slicer.mrmlScene.GetNumberOfNodes()
    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    slicer.mrmlScene.RemoveNode(getattr(reviewed.case.nodes, part))
    reviewed.load(after)
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert reviewed.review.cohort.line("two").hasDraft


def test_work_that_could_not_be_kept_stays_in_the_scene(reviewed: Any) -> None:
    reviewed.load("two")
    nodes = reviewed.case.nodes
    nodes.segmentationNode.GetSegmentation().GetSegment(reviewed.segment("ball")).SetName("mine")
    nodes.segmentationNode.GetSegmentation().CreateRepresentation("Closed surface")
    nodes.segmentationNode.GetSegmentation().SetSourceRepresentationName("Closed surface")
    slicer.mrmlScene.RemoveNode(nodes.volumeNode)
    assert "surface" in reviewed.failures.pop()
    reviewed.load("dicom")
    assert slicer.mrmlScene.IsNodePresent(nodes.segmentationNode)


@pytest.mark.parametrize("damage", ["{", '{"format": "medsam2-review/1"}', '{"format": "another"}', None])
def test_a_damaged_draft_is_told_when_it_is_loaded_and_kept_aside(reviewed: Any, damage: str | None) -> None:
    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    reviewed.load("dicom")
    folder = reviewed.folder / "two"
    work = (folder / "draft.seg.nrrd").read_bytes()
    if damage is None:
        (folder / "draft.json").unlink()
    else:
        (folder / "draft.json").write_text(damage, encoding="utf-8")
    reviewed.review.open(reviewed.folder)
    assert reviewed.review.cohort.line("two").hasDraft
    reviewed.review.load("two")
    assert reviewed.review.name == "two"
    assert not reviewed.mask("ball")[0].all()
    (kept,) = (reviewed.folder / "replaced" / "two").iterdir()
    told = reviewed.failures.pop()
    assert "damaged" in told
    assert str(kept) in told
    assert (kept / "draft.seg.nrrd").read_bytes() == work
    assert (kept / "draft.json").exists() == (damage is not None)
    assert not reviewed.review.cohort.line("two").hasDraft
    reviewed.review.accept()
    assert reviewed.failures == []


def test_a_damaged_acceptance_is_told_and_nothing_of_it_is_lost(reviewed: Any) -> None:
    reviewed.load("two")
    reviewed.paint("ball", 0, np.ones((40, 48), bool))
    reviewed.review.accept()
    reviewed.load("dicom")
    folder = reviewed.folder / "two"
    accepted = (folder / "segmentation.seg.nrrd").read_bytes()
    (folder / "accepted.json").write_text("{", encoding="utf-8")
    reviewed.review.load("two")
    (kept,) = (reviewed.folder / "replaced" / "two").iterdir()
    assert str(kept) in reviewed.failures.pop()
    assert (kept / "segmentation.seg.nrrd").read_bytes() == accepted
    assert not reviewed.mask("ball")[0].all()
    assert reviewed.review.cohort.line("two").state == "done"


@pytest.mark.parametrize("slice_index", [6, 99, -1, 10**30, 1.5, "1", None])
def test_a_report_of_slices_that_the_image_does_not_have_is_told(reviewed: Any, slice_index: Any) -> None:
    path = reviewed.folder / "two" / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["objects"][0]["slices"][0]["slice_index"] = slice_index
    path.write_text(json.dumps(report), encoding="utf-8")
    before = slicer.mrmlScene.GetNumberOfNodes()
    reviewed.review.load("two")
    told = reviewed.failures.pop()
    assert str(path) in told
    assert "run medsam2 batch" in told
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    reviewed.load("dicom")
