"""Prompts from a rule: slices of an earlier segmentation, carried here, and the boxes of a detector."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medsam2_core import io
from medsam2_core.image.segments import Segment

SHAPE = (10, 40, 48)
MOVED = (6.4, -5.0, 2.5)  # mm: whole voxels of the image, so that nearest neighbors are known


@pytest.fixture
def prior(ct: Path) -> Path:
    """A segmentation of an image that lies elsewhere: two objects, and one that this image does not show."""
    grid = io.read_volume(ct).geometry
    labels = np.zeros((10, 40, 60), np.uint8)
    labels[2:9, 10:26, 14:30], labels[4:8, 30:38, 4:12], labels[:2, :3, 55:] = 1, 2, 3
    x, y, z = np.add(grid.origin_lps, MOVED).tolist()
    there = io.Geometry((10, 40, 60), grid.spacing_ijk, (x, y, z), grid.direction_lps)
    segments = [Segment(name, label, (0.25, 0.5, label / 4)) for label, name in enumerate(("ball", "rest", "far"), 1)]
    io.write_labelmap("prior.seg.nrrd", labels, there, segments)
    sitk.WriteTransform(sitk.TranslationTransform(3, MOVED), "move.tfm")
    return Path("prior.seg.nrrd")


def prompted(path: str = "r.json") -> dict[str, list[int]]:
    """The slices with a prompt, by the names of objects."""
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    return {
        item["name"]: [one["slice_index"] for one in item["slices"] if one["direction"] == "prompt"]
        for item in report["objects"]
    }


@pytest.mark.parametrize("ending", ["tfm", "h5", "mat"])
def test_an_earlier_segmentation_is_carried_here(
    run, capsys, ct: Path, checkpoint: Path, prior: Path, ending: str
) -> None:
    transform = sitk.AffineTransform(3)
    transform.SetTranslation(MOVED)
    sitk.WriteTransform(transform, f"move.{ending}")
    words = ("--from-segmentation", prior, "--transform", f"move.{ending}", "--every", "3")
    common = ("--model", checkpoint, "--output", "a.seg.nrrd", "--report", "r.json", "--quiet")
    assert run("propagate", ct, *words, *common) == 0
    assert "'far': nothing of it is within this image, so it is left out" in capsys.readouterr().err
    assert prompted() == {"ball": [2, 5, 8], "rest": [6]}
    labels, segments = io.read_segments("a.seg.nrrd")
    assert [segment.color[2] for segment in segments] == [0.25, 0.5]
    expected = np.zeros(SHAPE[1:], bool)
    expected[10:26, 14:30] = True
    np.testing.assert_array_equal(labels[5] == 1, expected)


def test_without_a_transform_it_stays_where_it_is(run, ct: Path, checkpoint: Path, prior: Path) -> None:
    words = ("--from-segmentation", f"{prior}:ball", "--every", "100")
    common = ("--model", checkpoint, "--output", "a.seg.nrrd", "--report", "r.json", "--quiet")
    assert run("propagate", ct, *words, *common, "--object", "more", "--box", "2,2,9,9@5") == 0
    assert prompted() == {"ball": [6], "more": [5]}
    columns = np.flatnonzero((io.read_labelmap("a.seg.nrrd")[6] == 1).any(axis=0))
    assert (columns.min(), columns.max()) == (14 - 8, 29 - 8)  # i runs to the right


def test_a_label_map_names_its_labels(run, capsys, ct: Path, checkpoint: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:5, 8:20, 8:20] = 7
    io.write_labelmap("prior.nii.gz", labels, io.read_volume(ct).geometry)
    common = ("--model", checkpoint, "--output", "a.seg.nrrd", "--report", "r.json", "--quiet")
    assert run("propagate", ct, "--from-segmentation", "prior.nii.gz", *common) == 0
    assert list(prompted()) == ["7"]
    assert "so none of them is redrawn: see --every" in capsys.readouterr().err


def write_boxes(rows: Sequence[Sequence[object]], columns: str = "x0,y0,z0,x1,y1,z1,object,score") -> None:
    with Path("boxes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns.split(","), *rows])


def test_boxes_of_a_detector(run, ct: Path, checkpoint: Path) -> None:
    write_boxes([(8, 8, 2, 36, 30, 7, "lesion", 0.9), (1, 1, 4, 9, 9, 4, "lesion", 0.6), (1, 1, 4, 9, 9, 4, "x", 0.2)])
    common = ("--model", checkpoint, "--output", "a.seg.nrrd", "--report", "r.json", "--quiet")
    assert run("propagate", ct, "--boxes", "boxes.csv", "--least-score", "0.5", *common) == 0
    assert prompted() == {"lesion 1": [4], "lesion 2": [4]}
    grid = io.read_volume(ct).geometry
    corners = grid.ijk_to_ras([[8, 8, 2], [36, 30, 7]]).ravel().tolist()
    Path("boxes.json").write_text(json.dumps([{"box": corners, "object": "lesion"}]), encoding="utf-8")
    assert run("propagate", ct, "--boxes", "boxes.json", "--frame", "ras", *common) == 0
    assert prompted() == {"lesion": [4]}
    found = Path("a.seg.nrrd").read_bytes()
    assert run("propagate", ct, "--object", "lesion", "--box", "8,8,36,30@4", *common) == 0
    assert Path("a.seg.nrrd").read_bytes() == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--transform", "move.tfm", "--box", "8,8,36,30@5"), "--transform carries an earlier segmentation here: give"),
        (("--from-segmentation", "none.seg.nrrd"), "none.seg.nrrd: No such file"),
        (("--from-segmentation", "prior.seg.nrrd:liver"), "holds no 'liver': give one of ball, rest, far"),
        (("--from-segmentation", "prior.seg.nrrd:far"), "It marks no voxel within this image"),
        (("--from-segmentation", "prior.seg.nrrd", "--transform", "prior.seg.nrrd"), "Cannot be read as a transform"),
        (("--from-segmentation", "prior.seg.nrrd", "--transform", "none.tfm"), "none.tfm: No such file or folder"),
        (("--from-segmentation", "prior.seg.nrrd", "--transform", "flat.tfm"), "The transform is of 2 dimensions"),
        (("--boxes", "none.csv"), "none.csv: Cannot be read"),
        (("--boxes", "bad.csv"), "bad.csv: It holds no boxes (there is no column z1)"),
        (("--boxes", "text.csv"), "text.csv: row 2, y0 is 'a', which is not a number"),
        (("--boxes", "bad.json"), "bad.json: [0].box holds [1, 2], which is not six numbers"),
        (("--boxes", "empty.csv"), "empty.csv: It holds no box: give"),
        (("--boxes", "empty.json"), "empty.json: It holds no box: give"),
        (("--boxes", "out.json"), "out.json: The box of 'box' lies outside the volume"),
        (("--boxes", "out.json", "--least-score", "2"), "No box has a score of 2 or more"),
        (("--boxes", "out.json", "--least-score", "high"), "'high' is not a number"),
        (("--box", "8,8,36,30@5", "--least-score", "0"), "--least-score chooses among the boxes of a detector: give"),
        (("--box", "8,8,36,30@5", "--model", ""), "The model has no name"),
        (("--box", "8,8,36,30@5", "--every", "1"), "--every takes slices of a mask: give --mask or"),
        (("--boxes", "out.json", "--every", "3"), "--every takes slices of a mask: give --mask or"),
    ],
)
def test_refusals(run, capsys, ct: Path, checkpoint: Path, prior: Path, words: Sequence[str], said: str) -> None:
    sitk.WriteTransform(sitk.TranslationTransform(2), "flat.tfm")
    Path("bad.csv").write_text("x0,y0,z0,x1,y1\n1,2,3,4,5\n", encoding="utf-8")
    Path("empty.csv").write_text("x0,y0,z0,x1,y1,z1\n", encoding="utf-8")
    Path("empty.json").write_text("[]", encoding="utf-8")
    Path("text.csv").write_text("x0,y0,z0,x1,y1,z1\n1,a,3,4,5,6\n", encoding="utf-8")
    Path("bad.json").write_text('[{"box": [1, 2]}]', encoding="utf-8")
    Path("out.json").write_text('[{"box": [1, 2, 3, 400, 500, 6]}]', encoding="utf-8")
    assert run("propagate", ct, "--output", "a.seg.nrrd", "--model", checkpoint, *words) == 2
    assert said in capsys.readouterr().err
    assert not Path("a.seg.nrrd").exists()


def test_rules_are_columns_of_a_cohort(run, capsys, ct: Path, checkpoint: Path, prior: Path) -> None:
    write_boxes([(8, 8, 2, 36, 30, 7, "lesion", 0.9)])
    rows = [
        ("case", "image", "from segmentation", "transform", "every", "boxes"),
        ("p1", ct, f"{prior}:ball", "move.tfm", 3, ""),
        ("p2", ct, "", "", "", "boxes.csv"),
    ]
    with Path("cohort.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    assert run("batch", "cohort.csv", "--output", "out", "--model", checkpoint, "--quiet") == 0
    assert prompted("out/p1/report.json") == {"ball": [2, 5, 8]}
    assert prompted("out/p2/report.json") == {"lesion": [4]}
    write_boxes([(8, 8, 2, 36, 90, 7, "lesion", 0.9)])
    Path("move.tfm").unlink()
    assert run("batch", "cohort.csv", "--check", "--model", checkpoint) == 2
    err = capsys.readouterr().err
    assert "row 2, transform: " in err
    assert "row 3, boxes: " in err


def test_options_that_no_row_has_a_use_for_are_refused(run, capsys, ct: Path, checkpoint: Path, prior: Path) -> None:
    def check(rows: Sequence[Sequence[object]], *words: str) -> str:
        with Path("cohort.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        assert run("batch", "cohort.csv", "--check", "--model", checkpoint, *words) in (0, 2)
        return capsys.readouterr().err

    boxed = ("p1", ct, "8,8,36,30@5", "")
    carried = ("p2", ct, "", f"{prior}:ball")
    names = ("case", "image", "box", "from segmentation")
    assert "every: No row has a mask to take slices of: omit --every" in check([names, boxed], "--every", "3")
    assert check([names, boxed, carried], "--every", "3") == ""
    err = check([(*names, "every", "least score"), (*boxed, 3, 0.5), (*carried, 3, "")])
    assert "row 2, every: --every takes slices of a mask" in err
    assert "row 2, least-score: --least-score chooses among" in err
    assert "row 3" not in err


def test_every_of_a_whole_cohort_is_for_the_cases_with_masks(run, ct: Path, checkpoint: Path, prior: Path) -> None:
    rows = [("case", "image", "box", "from segmentation"), ("p1", ct, "8,8,36,30@5", ""), ("p2", ct, "", prior)]
    with Path("cohort.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    assert run("batch", "cohort.csv", "--output", "out", "--model", checkpoint, "--quiet", "--every", "3") == 0
    assert prompted("out/p1/report.json") == {"Segment_1": [5]}
