"""What a person makes of a case: drafts, acceptances, what a kill leaves of them, and what another run does to them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from medsam2_core.cohort import inputs
from medsam2_core.cohort.acceptance import CaseFolder, Work
from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.claims import Claims
from medsam2_core.cohort.cohort import finish, start
from medsam2_core.cohort.notes import write_note
from medsam2_core.cohort.opening import read_image
from medsam2_core.cohort.report import write_report
from medsam2_core.cohort.results import Results
from medsam2_core.cohort.table import Problem
from medsam2_core.cohort.telling import retell, tell_folder
from medsam2_core.cohort.worker import Worker
from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import Draft
from medsam2_core.stopping import CancelToken

Made = Callable[..., tuple[list[Case], list[Problem]]]
FACTS = {"objects": [{"name": "x", "volume_ml": 3.5, "lowest": None, "stops": {}, "doubt": 0.2, "slices": 2}]}
WORK = Work(b"mine", {**FACTS, "range": [0, 9], "thumbnail": "BBBB"}, {"slices": [1, 2]})


def note(case: Case, **more: Any) -> dict[str, Any]:
    """What a worker notes of a case that is done."""
    reference = {"dice": 0.5, "surface_dice": 0.5, "reference_ml": 2.0}
    item = {**FACTS["objects"][0], "volume_ml": 1.0, "agreement": reference}
    return {
        "format": "medsam2-case/1", "case": case.name, "row": case.row, "digest": case.digest, "inputs": {},
        "doubt": 0.4, "seconds": {"reading": 1.0}, "range": [0, 8], "slices_per_second": 4.0, "notices": [],
        "thumbnail": "AAAA", "objects": [item], "command": ["medsam2", "propagate", *case.words], **more,
    }  # fmt: skip


@pytest.fixture
def cases(made: Made) -> list[Case]:
    return made(*({"case": name, "image": "a.nrrd", "point": "1,1,1"} for name in ("p1", "p2")))[0]


@pytest.fixture
def results(cases: list[Case], tmp_path: Path) -> Results:
    """Two cases that are done."""
    found = start(tmp_path / "out", cases, retry=False)
    for case in cases:
        (found.folder / case.name).mkdir()
        (found.folder / case.name / "segmentation.seg.nrrd").write_bytes(b"model's")
        (found.folder / case.name / "report.json").write_bytes(b"{}")
        write_note(found.folder / case.name / "done.json", note(case))
    return found


@pytest.fixture
def folder(results: Results) -> CaseFolder:
    return CaseFolder(results.folder / "p1")


def files(folder: CaseFolder) -> dict[str, bytes]:
    """The segmentations of a case."""
    return {path.name: path.read_bytes() for path in sorted(folder.path.glob("*.seg.nrrd"))}


def test_a_case_that_is_accepted_as_it_is_keeps_its_file(folder: CaseFolder) -> None:
    folder.accept()
    assert files(folder) == {"segmentation.seg.nrrd": b"model's"}
    assert folder.accepted is not None
    assert folder.accepted["accepted"].endswith("+00:00")
    assert folder.latest() == (folder.path / "segmentation.seg.nrrd", None)


def test_corrected_work_takes_the_place_of_the_models_which_is_kept_once(folder: CaseFolder) -> None:
    folder.keep_draft(WORK)
    assert files(folder)["segmentation.seg.nrrd"] == b"model's"
    assert folder.latest() == (folder.path / "draft.seg.nrrd", {"slices": [1, 2]})
    folder.accept()
    wanted = {"segmentation.model.seg.nrrd": b"model's", "segmentation.seg.nrrd": b"mine"}
    assert files(folder) == wanted
    assert folder.draft is None
    folder.keep_draft(Work(b"mine again", WORK.facts, {}))
    folder.accept()
    assert files(folder) == {**wanted, "segmentation.seg.nrrd": b"mine again"}
    assert folder.latest() == (folder.path / "segmentation.seg.nrrd", {})
    folder.accept()  # nothing is new
    assert folder.accepted is not None
    assert folder.accepted["facts"] == WORK.facts


def test_an_acceptance_can_be_taken_back(folder: CaseFolder) -> None:
    folder.keep_draft(WORK)
    folder.accept()
    folder.withdraw()
    assert folder.accepted is None
    assert files(folder) == {"draft.seg.nrrd": b"mine", "segmentation.seg.nrrd": b"model's"}
    assert folder.latest()[1] == {"slices": [1, 2]}
    aside = folder.path.parent / "replaced"
    folder.start_over(aside)
    assert files(folder) == {"segmentation.seg.nrrd": b"model's"}
    assert not folder.has_work
    assert CaseFolder(aside).latest()[0].read_bytes() == b"mine"
    folder.accept()
    folder.start_over(aside / "unused")
    assert not folder.has_work
    assert not (aside / "unused").exists()


def test_what_was_accepted_is_put_aside_when_somebody_starts_over(folder: CaseFolder, tmp_path: Path) -> None:
    folder.keep_draft(WORK)
    folder.accept()
    folder.start_over(tmp_path / "aside")
    assert files(folder) == {"segmentation.seg.nrrd": b"model's"}
    assert CaseFolder(tmp_path / "aside").latest() == (tmp_path / "aside" / "segmentation.seg.nrrd", WORK.review)


@pytest.mark.parametrize("writes", range(4))
def test_a_kill_at_any_write_loses_neither_the_work_nor_the_models(
    folder: CaseFolder, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    folder.keep_draft(WORK)
    left = [writes]

    def keep(draft: Draft) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        kept(draft)

    kept = Draft.keep
    monkeypatch.setattr(Draft, "keep", keep)
    interrupted = False
    try:
        folder.accept()
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted == (writes < 3)
    monkeypatch.undo()
    path, review = folder.latest()
    assert (path.read_bytes(), review) == (b"mine", {"slices": [1, 2]})
    assert b"model's" in files(folder).values()
    folder.start_over(folder.path.parent / "replaced")
    assert files(folder) == {"segmentation.seg.nrrd": b"model's"}


@pytest.mark.parametrize("moves", range(4))
def test_a_kill_while_starting_over_keeps_the_work_and_what_is_accepted_then_is_what_is_seen(
    folder: CaseFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, moves: int
) -> None:
    folder.keep_draft(WORK)
    folder.accept()
    left, moved = [moves], Path.replace

    def move(place: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return moved(place, target)

    monkeypatch.setattr(Path, "replace", move)
    with suppress(KeyboardInterrupt):
        folder.start_over(tmp_path / "aside")
    monkeypatch.undo()
    assert b"mine" in {path.read_bytes() for path in tmp_path.rglob("segmentation.seg.nrrd")}
    seen = folder.latest()[0].read_bytes()
    folder.accept()
    assert files(folder)["segmentation.seg.nrrd"] == seen


def test_what_was_accepted_stays_where_its_note_is_damaged(folder: CaseFolder) -> None:
    folder.keep_draft(WORK)
    folder.accept()
    (folder.path / "accepted.json").write_text("{", encoding="utf-8")
    folder.accept()
    assert files(folder)["segmentation.seg.nrrd"] == b"mine"


def test_a_full_disk_is_told_and_the_draft_stays(folder: CaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.keep_draft(WORK)

    def full(_draft: Draft) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Draft, "keep", full)
    with pytest.raises(VolumeError, match="not enough space"):
        folder.accept()
    monkeypatch.undo()
    assert folder.accepted is None
    assert folder.draft is not None


def test_the_report_follows(results: Results, folder: CaseFolder, cases: list[Case]) -> None:
    folder.keep_draft(WORK)
    folder.accept()
    CaseFolder(results.folder / "p2").accept()
    assert write_report(results, cases) == (2, 0)
    summary = json.loads((results.folder / "summary.json").read_text(encoding="utf-8"))
    first, second = summary["cases"]
    assert [one["state"] for one in summary["cases"]] == ["accepted", "accepted"]
    assert first["corrected"]
    assert first["range"] == [0, 9]
    assert "corrected" not in second
    assert (first["objects"][0]["volume_ml"], second["objects"][0]["volume_ml"]) == (3.5, 1.0)
    assert first["doubt"] == 0.4
    assert [point["difference"] for point in summary["objects"]["x"]["agreement"]["points"]] == [-1.0, -1.0]
    with (results.folder / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["difference_ml"]) for line in lines] == [-1.0, -1.0]  # of the model's own, as Dice is
    assert lines[0]["accepted"] == first["accepted"]
    page = (results.folder / "index.html").read_text(encoding="utf-8")
    assert "2 of 2 cases done; 2 accepted" in page
    assert '"thumbnail":"BBBB"' in page


def test_a_folder_tells_of_its_cases_without_the_table(results: Results, cases: list[Case], made: Made) -> None:
    more, _ = made(*({"case": name, "image": "a.nrrd", "point": "1,1,1"} for name in ("p3", "p4")))
    results.note_failure(more[0], "The file is bad: copy it again.")
    assert [one["name"] for one in tell_folder(results)] == ["p1", "p2", "p3"]
    write_report(results, [*cases, *more])
    (results.folder / "p2" / "done.json").write_text("{")
    told = tell_folder(results)
    assert [one["state"] for one in told] == ["done", "failed", "failed", "open"]
    assert "run medsam2 batch again" in told[1]["failed"]
    CaseFolder(results.folder / "p1").accept()
    assert retell(results, told[0])["state"] == "accepted"


def test_notes_of_others_are_not_trusted(results: Results, cases: list[Case]) -> None:
    write_report(results, cases)
    noted = json.loads((results.folder / "p1" / "done.json").read_text(encoding="utf-8"))
    del noted["objects"]
    (results.folder / "p1" / "done.json").write_text(json.dumps(noted), encoding="utf-8")
    assert [one["state"] for one in tell_folder(results)] == ["failed", "done"]
    summary = (results.folder / "summary.json").read_text(encoding="utf-8")
    (results.folder / "summary.json").write_text(summary.replace('"p2"', '"../p2"'), encoding="utf-8")
    assert [one["name"] for one in tell_folder(results)] == ["p1", "p2"]
    for key in ("row", "state"):
        (results.folder / "summary.json").write_text(summary.replace(f'"{key}"', '"else"'), encoding="utf-8")
        assert [one["state"] for one in tell_folder(results)] == ["failed", "done"]


def test_what_is_accepted_is_not_run_again_unless_its_row_or_image_changed(
    results: Results, folder: CaseFolder, cases: list[Case], made: Made, images: Path
) -> None:
    model = images / "model.pt"
    model.write_bytes(b"1")
    write_note(folder.path / "done.json", note(cases[0], inputs=inputs.read([images / "a.nrrd", model], str(images))))
    assert results.is_settled(cases[0])
    model.write_bytes(b"22")
    assert not results.is_settled(cases[0])
    folder.accept()
    assert results.is_settled(cases[0])
    (other,), _ = made({"case": "p1", "image": "a.nrrd", "point": "2,2,2"})
    assert not results.is_settled(other)
    (images / "a.nrrd").write_bytes(b"another")
    assert not results.is_settled(cases[0])


def test_another_run_puts_accepted_work_aside_and_the_report_tells_where(
    tmp_path: Path, made: Made, checkpoint: Path, single_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSAM2_HOME", str(tmp_path / "home"))
    row = {"case": "p1", "image": "a.nrrd", "box": "8,6,28,26@4", "model": str(checkpoint)}

    def run(cases: list[Case]) -> Results:
        results = start(tmp_path / "out", cases, retry=False)
        Worker(results, Claims(results.claims_folder), CancelToken(), lambda *_: None).run(cases)
        finish(results, cases)
        return results

    results = run(made(row)[0])
    folder = CaseFolder(results.folder / "p1")
    folder.keep_draft(WORK)
    folder.accept()
    run(made(row)[0])
    assert folder.accepted is not None
    run(made({**row, "range": "2:7"})[0])
    assert folder.accepted is None
    (place,) = results.replaced("p1")
    kept = CaseFolder(results.folder / place)
    assert kept.latest()[0].read_bytes() == b"mine"
    (told,) = tell_folder(results)
    assert told["state"] == "done"
    assert told["notices"][-1] == f"Earlier work of a person is in {place}."


def test_a_killed_runs_leftover_with_accepted_work_is_put_aside(results: Results, cases: list[Case]) -> None:
    old = results.folder / ".cohort" / "work" / "p1.1.old"
    (results.folder / "p1").rename(old)
    CaseFolder(old).accept()
    results.tidy({case.name: case for case in cases}, Claims(results.claims_folder))
    (place,) = results.replaced("p1")
    assert CaseFolder(results.folder / place).accepted is not None
    assert not old.exists()


def test_an_image_is_found_where_it_was_or_beside_results_that_moved(
    results: Results, cases: list[Case], images: Path, tmp_path: Path
) -> None:
    noted = note(cases[0], inputs={"a.nrrd": {}})
    assert read_image(noted, results.folder).array.shape == (8, 32, 36)
    moved = tmp_path / "elsewhere"
    images.rename(moved)
    with pytest.raises(VolumeError, match="no longer there"):
        read_image(noted, results.folder)
    results.folder.rename(moved / "out")
    assert read_image(noted, moved / "out").path == moved / "a.nrrd"
    with pytest.raises(VolumeError, match="no longer there"):
        read_image({**noted, "inputs": {"../a.nrrd": {}}}, moved / "out" / "p1")


def test_a_damaged_note_is_none(folder: CaseFolder) -> None:
    folder.accept()
    (folder.path / "accepted.json").write_text('{"format": "another"}')
    assert folder.accepted is None
    assert folder.has_work  # which nothing may remove


def test_a_segmentation_that_is_gone_is_told(folder: CaseFolder) -> None:
    folder.keep_draft(WORK)
    (folder.path / "segmentation.seg.nrrd").unlink()
    with pytest.raises(VolumeError, match="Cannot be read"):
        folder.accept()
    assert folder.draft is not None


def test_a_damaged_draft_and_acceptance_go_aside(folder: CaseFolder, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    folder.keep_draft(WORK)
    folder.accept()
    folder.keep_draft(WORK)
    assert not folder.put_damaged_aside(aside)
    for name in ("accepted.json", "draft.json"):
        (folder.path / name).write_text("{", encoding="utf-8")
    assert folder.has_draft
    assert folder.put_damaged_aside(aside)
    named = {"accepted.json", "draft.json", "draft.seg.nrrd", "segmentation.seg.nrrd"}
    assert {path.name for path in aside.iterdir()} == named
    assert (aside / "segmentation.seg.nrrd").read_bytes() == b"mine"
    assert files(folder)["segmentation.seg.nrrd"] == b"model's"
    assert not folder.has_work


def test_a_draft_that_cannot_be_read_now_stays(folder: CaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.keep_draft(WORK)

    def away(_path: Path, *_: Any, **__: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", away)
    with pytest.raises(VolumeError, match="Input/output error"):
        folder.put_damaged_aside(folder.path / "aside")
    monkeypatch.undo()
    assert folder.draft is not None
