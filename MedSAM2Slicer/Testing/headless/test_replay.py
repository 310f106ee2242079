"""Segments made again: by `replay`, by the copied script and by the command line, equal voxel for voxel to Slicer's."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer.util
from patientbench import Patient, assertAllEqual

from medsam2_core.cli.main import run as commandLine
from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import SliceStack
from medsam2_core.training.metrics import dice
from MedSAM2SlicerLib.record.runrecord import loadRun
from MedSAM2SlicerLib.replay import replay
from MedSAM2SlicerLib.scene.geometry import ijkToWorld, volumeGeometry
from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.worker.client import WorkerClient

NAME = "sp'leen \"1\" '''"


def test_one_run_is_a_call_of_process(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.start(window="40/350", direction="forward", first=4, fieldOfView="whole", minAreaMm2=20.0)
    patient.place("include", patient.slice(0.5), 120, 200)
    patient.place("exclude", patient.slice(0.5), 0)
    patient.name(NAME)
    patient.propagate()
    text = assertAllEqual(patient, monkeypatch)
    assert "logic.process(" in text
    assert "window='40.0/350.0'" in text
    assert f"segmentName={NAME!r}" in text


def test_a_run_is_repeated_in_the_precision_it_was_made_in(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.start(precision="bfloat16")
    patient.place("include", patient.slice(0.5), 120)
    patient.propagate()
    assert patient.record.run.settings.precision == patient.client.modelFacts["precision"] == "bfloat16"
    wanted, set_model = patient.mask, patient.client.setModel
    asked: list[str] = []

    def spied(*model: Any, precision: str = "auto") -> None:
        asked.append(model[3] if len(model) > 3 else precision)
        set_model(*model[:3], precision=asked[-1])

    monkeypatch.setattr(patient.client, "setModel", spied)
    np.testing.assert_array_equal(patient.byReplay(), wanted)
    text, again = patient.byScript(monkeypatch)
    np.testing.assert_array_equal(again, wanted)
    assert "precision='bfloat16'" in text
    assert set(asked) == {"bfloat16"}


def test_corrections_are_repeated_in_their_order(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.start()
    low, high = patient.slice(0.2), patient.slice(0.8)
    patient.line()
    patient.propagate()
    wrong = np.roll(patient.truth[low], 5, axis=0)
    patient.draw(low, wrong)
    patient.propagate()
    between = patient.mask
    np.testing.assert_array_equal(between[low], wrong)
    patient.controller.lock(low)
    patient.place("exclude", high, 0)
    patient.preview(high)
    patient.propagate()
    assert not np.array_equal(patient.mask, between)
    np.testing.assert_array_equal(patient.mask[low], wrong)
    runs = [run["settings"].get("range") for run in patient.record.report["earlier"]]
    assert len(runs) == 2
    assert runs[0] == [0, len(patient.truth)]
    text = assertAllEqual(patient, monkeypatch)
    assert "logic.replay(" in text
    alone = dict(patient.record.report)
    del alone["earlier"]
    assert not np.array_equal(patient.byReplay(alone), patient.mask)


def test_a_correction_after_leaving_and_coming_back_is_repeated(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.start()
    patient.line()
    patient.propagate()
    encoded = patient.encoderRuns()
    patient.comeBack()
    patient.draw(patient.slice(0.8), np.roll(patient.truth[patient.slice(0.8)], 2, axis=0))
    patient.propagate()
    assert len(patient.record.report["earlier"]) == 1
    assert patient.encoderRuns() == encoded  # what the first run has seen is still known
    assertAllEqual(patient, monkeypatch)


def test_two_corrections_at_once_leave_what_lies_between_their_anchors(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.start()
    patient.line()
    patient.propagate()
    patient.redraw(0.3)
    first, low, high, last = (patient.slice(share) for share in (0.1, 0.3, 0.7, 0.9))
    for index in (low, high):
        patient.controller.lock(index)
    for index in (first, last):
        patient.draw(index, np.roll(patient.truth[index], 4, axis=0))
    before = patient.mask
    patient.propagate()
    patient.redraw(0.3)
    changed = np.flatnonzero((patient.mask != before).any(axis=(1, 2)))
    assert min(changed) < low
    assert max(changed) > high
    assert not [index for index in changed if low <= index <= high]
    assertAllEqual(patient, monkeypatch)


def test_window_and_level_in_between_change_nothing(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.node.CreateDefaultDisplayNodes()
    display = patient.node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(400, 40)
    patient.start()
    patient.line()
    patient.propagate()
    patient.correct()
    display.SetWindowLevel(15, 7.5)
    patient.propagate()
    assert len(patient.record.report["earlier"]) == 1
    assertAllEqual(patient, monkeypatch)
    before = patient.mask
    patient.controller.redraw(0.7)
    patient.wait(lambda: not patient.controller.busy)
    assert not patient.failures
    assert patient.mask.sum() < before.sum()


def scribbled(patient: Patient) -> None:
    """A click and a stroke on the spleen, a stroke beside it, and what comes of them."""
    patient.start()
    index = patient.slice(0.5)
    rows, columns = np.nonzero(patient.truth[index])
    within = np.array([[columns[place], rows[place], index] for place in (40, 120, 200)])
    patient.place("include", index, 120)
    for voxels, include in ((within, True), (within * [0, 1, 1] + [60, 0, 0], False)):
        patient.controller.prompting.addScribble(ijkToWorld(patient.node, voxels).tolist(), include)
        patient.wait(lambda: not patient.controller.waits)
    patient.propagate()
    (item,) = patient.record.report["objects"]
    assert [one["kind"] for one in item["prompts"]] == ["points", "scribble", "scribble"]


def test_strokes_are_repeated_as_strokes(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    scribbled(patient)
    text = assertAllEqual(patient, monkeypatch)
    assert "scribbles=[[(" in text
    assert "excludeScribbles=[[(" in text


def test_a_correction_goes_on_where_it_was_though_a_script_ran_meanwhile(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script works on the same volume and closes what it opened."""
    scribbled(patient)
    patient.byScript(monkeypatch)
    patient.draw(patient.slice(0.8), np.roll(patient.truth[patient.slice(0.8)], 2, axis=0))
    patient.propagate()
    assert patient.record.report["earlier"][0]["objects"][0]["prompts"] == [1, 2, 3]
    assertAllEqual(patient, monkeypatch)


def test_three_axes_and_a_correction_along_them_are_repeated(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.start(directions="three")
    patient.place("include", patient.slice(0.5), 120, 200)
    patient.propagate()
    settings, (item,) = patient.record.report["settings"], patient.record.report["objects"]
    assert settings["directions"] == "three"
    told = {one["slice_index"]: one["disagreement"] for one in item["slices"] if "disagreement" in one}
    assert len(told) > 5
    assert all(0 <= share <= 2 / 3 for share in told.values())
    reviews = patient.controller.review.slices()
    assert {index: one.disagreement for index, one in reviews.items() if one.disagreement is not None} == told
    text = assertAllEqual(patient, monkeypatch)
    assert "directions='three'" in text
    patient.draw(patient.slice(0.8), np.roll(patient.truth[patient.slice(0.8)], 2, axis=0))
    patient.propagate()
    assert len(patient.record.report["earlier"]) == 1
    assertAllEqual(patient, monkeypatch)


@pytest.mark.parametrize("isLive", [False, True])
def test_a_stopped_run_is_repeated_as_far_as_it_came(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, isLive: bool
) -> None:
    patient.start(stack=SliceStack(2))
    patient.controller.live.turn(isLive)
    patient.place("include", patient.slice(0.5), 200)
    patient.propagateAndStop()
    rounds = patient.record.report["settings"]["rounds"]
    assert rounds < patient.truth.shape[2] // 3
    assertAllEqual(patient, monkeypatch)
    patient.place("include", patient.slice(0.6), 100)
    patient.propagate()
    assert "rounds" not in patient.record.report["settings"]
    assert patient.record.report["earlier"][0]["settings"]["rounds"] == rounds
    assertAllEqual(patient, monkeypatch)


def test_a_correction_that_was_broken_off_and_done_again_is_repeated(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.start()
    patient.line()
    patient.propagate()
    patient.draw(patient.slice(0.3), np.roll(patient.truth[patient.slice(0.3)], 4, axis=0))
    segmentation, segmentId = patient.controller.segmentationNode, patient.controller.segmentId
    neighbor = segmentation.GetSegmentation().AddEmptySegment("", "neighbor")
    drawn: list[int] = []

    def leave(index: int) -> None:
        drawn.append(index)
        if len(drawn) == 5:
            patient.controller.setSegment(segmentation, neighbor)
            patient.controller.setSegment(segmentation, segmentId)

    patient.controller.sliceDrawn.connect(leave)
    patient.propagate()
    patient.controller.sliceDrawn.disconnect(leave)
    with pytest.raises(PromptError, match="interrupted"):
        patient.controller.review.script()
    patient.propagate()
    assert len(patient.record.report["earlier"]) == 1
    assertAllEqual(patient, monkeypatch)


def test_an_oblique_run_is_repeated(
    nodes: Any, patients: Any, randomRigid: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = patients(nodes.transform(randomRigid(5)))
    patient.start(stack=SliceStack(0, tilted(patient)), minAreaMm2=20.0)
    patient.line()
    patient.propagate()
    wanted = patient.mask
    assert len(patient.record.report["settings"]["plane"]) == 4
    assert "logic.replay(" in assertAllEqual(patient, monkeypatch)
    patient.correct()
    patient.propagate()
    assert "edited" in {one.state for one in patient.controller.review.slices().values()}
    changed = (patient.mask != wanted).any(axis=(1, 2))
    assert changed.any()
    assert dice(patient.mask[patient.slice(0.3)], patient.truth[patient.slice(0.3)]) > 0.99
    assert dice(patient.byReplay(), patient.mask) > 0.99  # a mask that was edited goes to the slices and back
    assert dice(patient.byCommandLine(), patient.mask) > 0.99


@pytest.mark.parametrize("isOblique", [False, True])
def test_a_run_inside_an_roi_is_repeated_though_the_roi_is_gone(
    nodes: Any, patients: Any, randomRigid: Any, monkeypatch: pytest.MonkeyPatch, isOblique: bool
) -> None:
    patient = patients(nodes.transform(randomRigid(2)))
    middle, top = (ijkToWorld(patient.node, [[0, 0, patient.slice(share)]])[0] for share in (0.5, 0.9))
    (center,) = ijkToWorld(patient.node, [np.argwhere(patient.truth).mean(axis=0)[::-1]])
    roi = nodes.roi(center, (400, 400, np.linalg.norm(top - middle)), randomRigid(2)[:3, :3])
    patient.start(stack=SliceStack(0, tilted(patient) if isOblique else None), inside=roi.GetID())
    patient.line()
    patient.propagate()
    assert any("region" in stop for stop in patient.controller.review.stops().values())
    nodes.scene.RemoveNode(roi)
    assert "logic.replay(" in assertAllEqual(patient, monkeypatch)


def tilted(patient: Patient) -> Any:
    """A plane through the spleen's middle, turned by 30 degrees about R."""
    angle, plane = np.deg2rad(30), np.diag([-1.0, 1.0, 1.0, 1.0])
    plane[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    middle = np.argwhere(patient.truth).mean(axis=0)[::-1]
    plane[:3, 3] = volumeGeometry(patient.node).ijk_to_ras([middle])[0]
    return tuple(map(tuple, plane.tolist()))


def test_an_erased_slice_stays_empty(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.start()
    patient.line()
    patient.propagate()
    patient.draw(patient.slice(0.7), np.zeros_like(patient.truth[0]))
    patient.propagate()
    assert not patient.mask[patient.slice(0.7)].any()
    assertAllEqual(patient, monkeypatch)


def test_a_volume_under_a_transform(
    nodes: Any, patients: Any, randomRigid: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = patients(nodes.transform(randomRigid(3)))
    patient.start()
    patient.line()
    patient.propagate()
    assert "logic.replay(" in assertAllEqual(patient, monkeypatch)


def test_a_segment_of_that_name_is_made_anew_and_its_record_repeats_it(patient: Patient) -> None:
    patient.start()
    patient.line()
    patient.propagate()
    patient.correct()
    patient.propagate()
    wanted, report, segmentation = patient.mask, patient.record.report, patient.controller.segmentationNode
    patient.draw(0, np.ones_like(patient.truth[0]))
    seen: list[tuple[int, int]] = []
    replay(patient.client, patient.node, report, segmentation, progress=lambda *numbers: seen.append(numbers))
    np.testing.assert_array_equal(patient.mask, wanted)
    assert patient.record.report["earlier"] == report["earlier"]
    assert patient.record.report["objects"][0]["prompts"] == report["objects"][0]["prompts"]
    done, planned = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] <= planned[-1]


def test_several_objects_of_the_command_line_become_segments(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the command line takes the model's own size
    low, high = patient.slice(0.4), patient.slice(0.6)
    words = ["propagate", str(patient.path), "--output", str(patient.folder / "a.nii.gz"), "--quiet"]
    for name, index in (("one", low), ("two", high)):
        rows, columns = np.nonzero(patient.truth[index])
        words += ["--object", name, "--point", f"{columns[len(rows) // 2]},{rows[len(rows) // 2]},{index}"]
    assert commandLine([*words, "--report", str(patient.folder / "a.json")]) == 0
    labels = json.loads((patient.folder / "a.json").read_text(encoding="utf-8"))["objects"]
    segmentation = replay(patient.client, patient.node, patient.folder / "a.json")
    ids = segmentation.GetSegmentation().GetSegmentIDs()
    assert [segmentation.GetSegmentation().GetSegment(one).GetName() for one in ids] == ["one", "two"]
    either = sum(segmentMask(segmentation, one, patient.node) for one in ids) > 0
    np.testing.assert_array_equal(either, sitk.GetArrayFromImage(sitk.ReadImage(words[3])) > 0)
    assert len(labels) == 2
    assert len(loadRun(segmentation, ids[1]).report["objects"]) == 1


def test_another_volume_is_noted_and_masks_must_fit(
    patient: Patient, nodes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    patient.start()
    patient.line()
    patient.propagate()
    report = patient.record.report
    array = slicer.util.arrayFromVolume(patient.node)
    array[0, 0, 0] += 1
    with caplog.at_level(logging.WARNING):
        patient.byReplay(report)
    assert "a different volume" in caplog.text
    patient.correct()
    patient.propagate()
    with pytest.raises(PromptError, match="use the volume and axis of the run"):
        replay(patient.client, nodes.volume(shape=(40, 50, 60)), patient.record.report)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({}, "no list 'objects'"),
        ({"objects": [{"name": "a", "prompts": [{"kind": "points", "points_ras": [[0, 0, 0]], "labels": [1]}]}],
          "settings": {"model": "/etc/passwd"}}, "not in the catalog: give its path"),
        ("no.json", "Cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_repeated_says_why(nodes: Any, client: WorkerClient, content: Any, problem: str) -> None:
    with pytest.raises(PromptError, match=problem):
        replay(client, nodes.volume(shape=(6, 8, 9)), content)
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
