"""Cases that are run: their folders, what is not run again, and what goes wrong with some."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsam2_core import io
from medsam2_core.cohort import running
from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.checking import problems_of
from medsam2_core.cohort.claims import Claims
from medsam2_core.cohort.cohort import finish, start
from medsam2_core.cohort.results import Results, case_of
from medsam2_core.cohort.table import Problem
from medsam2_core.cohort.worker import Worker
from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import Draft
from medsam2_core.stopping import CancelToken

Made = Callable[..., tuple[list[Case], list[Problem]]]
BOX = "8,6,28,26@4"
FILES = ["done.json", "overview.png", "report.json", "segmentation.seg.nrrd"]


class Bench:
    """Runs cases in this process, in a folder of results; `told` is what was said of each, in order."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.told: list[tuple[str, str | None]] = []
        self.stop = CancelToken()

    def run(self, cases: list[Case], *, retry: bool = False) -> Worker:
        self.told.clear()
        results = start(self.output, cases, retry=retry)
        claims = Claims(results.claims_folder)
        worker = Worker(results, claims, self.stop, lambda case, failed: self.told.append((case.name, failed)))
        worker.run(cases)
        finish(results, cases)
        return worker

    def note(self, name: str) -> Any:
        return json.loads((self.output / name / "done.json").read_text(encoding="utf-8"))

    def there(self) -> list[str]:
        return sorted(path.relative_to(self.output).as_posix() for path in self.output.rglob("*") if path.is_file())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single_thread: None) -> Bench:
    monkeypatch.setenv("MEDSAM2_HOME", str(tmp_path / "home"))
    return Bench(tmp_path / "out")


@pytest.fixture
def cases(made: Made, checkpoint: Path) -> list[Case]:
    names = ("a.nrrd", "b.nii.gz", "c.mha")
    found, problems = made(*({"image": name, "box": BOX, "model": str(checkpoint)} for name in names))
    assert problems == []
    return found


def test_each_case_gets_a_folder_and_the_model_is_loaded_once(bench: Bench, cases: list[Case]) -> None:
    worker = bench.run(cases)
    assert bench.told == [("a", None), ("b", None), ("c", None)]
    assert worker.models.loads == 1
    top = ["index.html", "summary.csv", "summary.json"]
    assert bench.there() == sorted([f"{name}/{file}" for name in "abc" for file in FILES] + top)
    assert not (bench.output / ".cohort").exists()
    note = bench.note("a")
    assert note["command"][2:] == cases[0].words
    assert len(note["model_sha256"]) == 64
    assert note["objects"][0]["volume_ml"] > 0
    assert io.read_segments(bench.output / "a" / "segmentation.seg.nrrd")[1][0].name == "Segment_1"


def test_what_is_done_is_not_run_again_but_what_changed_is(
    bench: Bench, cases: list[Case], made: Made, checkpoint: Path
) -> None:
    bench.run(cases)
    bench.run(cases)
    assert bench.told == []
    row = {"box": BOX, "model": str(checkpoint)}
    others, _ = made(
        {"image": "a.nrrd", **row}, {"image": "b.nii.gz", **row, "range": "2:7"}, {"image": "c.mha", **row}
    )
    bench.run(others)
    assert bench.told == [("b", None)]
    assert bench.note("b")["range"] == [2, 7]


def test_a_file_that_was_only_touched_is_no_other(bench: Bench, cases: list[Case]) -> None:
    bench.run(cases)
    image = Path(cases[0].image)
    os.utime(image, ns=(1, 1))
    bench.run(cases)
    assert bench.told == []
    image.write_bytes(image.read_bytes() + b"\n")
    bench.run(cases[:1])
    assert [name for name, _ in bench.told] == ["a"]


def test_another_file_of_a_model_is_another_model(
    bench: Bench, made: Made, checkpoint: Path, tmp_path: Path, tiny: Any
) -> None:
    from medsam2_core.weights.checkpoint import save_checkpoint

    own = tmp_path / "own.pt"
    own.write_bytes(checkpoint.read_bytes())
    cases, _ = made({"image": "a.nrrd", "box": BOX, "model": str(own)})
    bench.run(cases)
    state = {name: value.clone() for name, value in tiny.state_dict().items()}
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"] += 1
    save_checkpoint(own, state, tiny.config)
    bench.run(cases)
    assert bench.told == [("a", None)]


def test_a_case_that_fails_is_noted_and_the_rest_goes_on(bench: Bench, cases: list[Case]) -> None:
    image = Path(cases[1].image)
    whole = image.read_bytes()
    image.write_bytes(whole[:400])
    bench.run(cases)
    assert [name for name, _ in bench.told] == ["a", "b", "c"]
    assert "b.nii.gz: The file is incomplete" in str(bench.told[1][1])
    assert not (bench.output / "b").exists()
    bench.run(cases)
    assert bench.told == []  # it would fail again
    bench.run(cases, retry=True)
    assert [name for name, _ in bench.told] == ["b"]
    image.write_bytes(whole)  # now it is another file
    bench.run(cases)
    assert bench.told == [("b", None)]
    assert not (bench.output / ".cohort").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "There is not enough memory"),
        (RuntimeError("[enforce fail] can't allocate memory: you tried"), "There is not enough memory"),
        (ZeroDivisionError("a mistake of ours"), "An unexpected error: ZeroDivisionError('a mistake of ours')."),
    ],
)
def test_errors_of_one_case(bench: Bench, cases: list[Case], monkeypatch, error: Exception, words: str) -> None:
    whole = running.execute

    def fail(plan: Any, *rest: Any) -> Any:
        if plan.volume.path.name == "a.nrrd":
            raise error
        return whole(plan, *rest)

    monkeypatch.setattr(running, "execute", fail)
    bench.run(cases)
    assert words in str(bench.told[0][1])
    assert bench.told[1:] == [("b", None), ("c", None)]
    note = json.loads((bench.output / ".cohort/failed/a.json").read_text(encoding="utf-8"))
    assert ("Traceback" in note.get("details", "")) == isinstance(error, ZeroDivisionError)


def test_a_full_disk_ends_the_run_and_is_nobodys_failure(bench: Bench, cases: list[Case], monkeypatch) -> None:
    keep, full = Draft.keep, [True]

    def fail(draft: Draft) -> None:
        if full[0] and "b.1" in str(draft._path) and draft._path.suffix == ".png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        keep(draft)

    monkeypatch.setattr(Draft, "keep", fail)
    with pytest.raises(VolumeError, match="There is not enough space to write it"):
        bench.run(cases)
    assert (bench.output / "a" / "done.json").exists()
    assert not (bench.output / "b").exists()
    assert [path for path in bench.there() if path.startswith(".cohort")] == []
    full[0] = False
    bench.run(cases)
    assert bench.told == [("b", None), ("c", None)]


def test_a_stop_leaves_no_half_case(bench: Bench, cases: list[Case], monkeypatch) -> None:
    whole = running.execute

    def stopped(plan: Any, quiet: bool, stop: CancelToken, *rest: Any) -> Any:
        if plan.volume.path.name == "b.nii.gz":
            stop.cancel()
        return whole(plan, quiet, stop, *rest)

    monkeypatch.setattr(running, "execute", stopped)
    bench.run(cases)
    assert bench.told == [("a", None)]
    assert not (bench.output / "b").exists()
    assert list((bench.output / ".cohort/work").iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path, cases: list[Case]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(VolumeError, match="cannot be created"):
        start(tmp_path / "file" / "out", cases, retry=False)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".cohort").write_text("", encoding="utf-8")
    with pytest.raises(VolumeError, match="cannot be written"):
        start(tmp_path / "out", cases, retry=False)


def test_references_are_compared_with(bench: Bench, made: Made, images: Path, checkpoint: Path, cases) -> None:
    bench.run(cases)
    found = bench.output / "a" / "segmentation.seg.nrrd"
    row = {"image": "a.nrrd", "box": BOX, "model": str(checkpoint), "reference": f"{found}:Segment_1"}
    again, _ = made({"case": "again", **row})
    bench.run([*cases, *again])
    agreed = bench.note("again")["objects"][0]["agreement"]
    assert agreed["dice"] == agreed["surface_dice"] == 1
    assert agreed["reference_ml"] == pytest.approx(bench.note("again")["objects"][0]["volume_ml"])


def test_notices_are_kept_with_their_case(bench: Bench, made: Made, images: Path, checkpoint: Path) -> None:
    import nibabel

    plain = nibabel.Nifti1Image(nibabel.load(images / "b.nii.gz").get_fdata(), None)
    plain.header["sform_code"] = plain.header["qform_code"] = 0
    nibabel.save(plain, images / "b.nii.gz")
    cases, _ = made(
        *({"image": name, "box": BOX, "model": str(checkpoint)} for name in ("a.nrrd", "b.nii.gz", "c.mha"))
    )
    bench.run(cases)
    assert bench.note("a")["notices"] == bench.note("c")["notices"] == []
    (notice,) = bench.note("b")["notices"]
    assert "left and right are not certain" in notice


def test_whoever_was_slow_does_not_replace_what_is_there(bench: Bench, cases: list[Case]) -> None:
    results = start(bench.output, cases, retry=False)
    slow = Claims(results.claims_folder).take("a")
    assert slow is not None
    folder = results.workplace(slow)
    slow.file.close()
    taker = Claims(results.claims_folder).take("a")
    assert taker is not None
    assert not results.commit(cases[0], slow, folder)
    assert not folder.exists()
    assert not (bench.output / "a").exists()


def test_what_the_killed_left_is_removed(bench: Bench, cases: list[Case]) -> None:
    bench.run(cases)
    own = bench.output / ".cohort"
    for name in ("a.1", "a.1.old", "b.7", "gone.2"):
        (own / "work" / name).mkdir(parents=True)
        (own / "work" / name / "done.json").write_text("{", encoding="utf-8")
    (own / "claims").mkdir()
    (own / "claims" / "a.1").write_text(json.dumps({"host": Claims(own).host, "pid": 1}), encoding="utf-8")
    (own / "claims" / ".draft-1").write_bytes(b"")
    bench.run(cases)
    assert bench.told == []
    assert not own.exists()
    assert case_of("a.b.3.old") == case_of("a.b.3") == "a.b"


def test_a_note_that_is_damaged_is_none(bench: Bench, cases: list[Case]) -> None:
    bench.run(cases)
    (bench.output / "a" / "done.json").write_text('{"format": "medsam2-case/1"', encoding="utf-8")
    assert Results(bench.output).done(cases[0]) is None
    bench.run(cases)
    assert bench.told == [("a", None)]


def test_a_case_whose_results_are_gone_is_made_again(bench: Bench, cases: list[Case]) -> None:
    bench.run(cases)
    segmentation = bench.output / "a" / "segmentation.seg.nrrd"
    made = segmentation.read_bytes()
    segmentation.unlink()
    (bench.output / "b" / "report.json").write_bytes(b"")
    assert not any(Results(bench.output).is_settled(case) for case in cases[:2])
    bench.run(cases)
    assert sorted(bench.told) == [("a", None), ("b", None)]
    assert segmentation.read_bytes() == made


def test_a_volume_in_color(bench: Bench, made: Made, images: Path, checkpoint: Path) -> None:
    import numpy as np
    import SimpleITK as sitk

    colors = np.random.default_rng(0).integers(0, 255, (6, 32, 36, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colors, isVector=True), str(images / "rgb.nrrd"))
    cases, _ = made({"image": "rgb.nrrd", "box": "8,6,28,26@3", "model": str(checkpoint)})
    assert problems_of(cases[0]) == []
    bench.run(cases)
    assert bench.told == [("rgb", None)]
    assert bench.note("rgb")["thumbnail"]
