"""Tables of cohorts: what people write, and what is wrong with it, by row and column."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsam2_core.cohort.cases import Case, checked_case_name, image_name
from medsam2_core.cohort.columns import Words, columns, shared_words
from medsam2_core.cohort.table import Problem, read_table
from medsam2_core.errors import PromptError
from medsam2_core.job.options import add_shared_options
from medsam2_core.run.settings import RunSettings
from medsam2_core.setting import rows
from medsam2_core.stopping import StopRules

Made = Callable[..., tuple[list[Case], list[Problem]]]
BOX = "8,6,28,26@4"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_option_of_a_setting_is_a_column() -> None:
    flags = {row.option.flag for row in (*rows(RunSettings), *rows(StopRules)) if row.option is not None}
    assert flags <= {column.flag for column in columns().values()}
    assert {"object", "point", "exclude", "box", "mask", "markups", "prompts", "frame", "series"} <= set(columns())


def test_a_table_however_it_is_saved(tmp_path: Path) -> None:
    expected = [(2, {"image": "a.nrrd", "stop-absent": "5"}), (4, {"image": "b.nrrd"})]
    text = "image;Stop absent\na.nrrd;5\n\nb.nrrd;\n"
    for encoding in ("utf-8-sig", "utf-16"):
        path = tmp_path / "t.csv"
        path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
        found, problems = read_table(path)
        assert [(row.number, dict(row.cells)) for row in found] == expected
        assert problems == []
    listed = [{"image": "a.nrrd", "--stop_absent": 5}, {"image": "b.nrrd", "box": None}]
    for content in (listed, {"cases": listed}):
        found, problems = read_table(written(tmp_path / "t.json", json.dumps(content)))
        assert [dict(row.cells) for row in found] == [cells for _, cells in expected]
        assert problems == []


def test_values_of_json_are_written_as_cells(tmp_path: Path) -> None:
    row = {"image": "a", "point": [[1, 2, 3], [4.5, 5, 6]], "exclude": [7, 8, 9], "resample": True, "box": BOX}
    found, _ = read_table(written(tmp_path / "t.json", json.dumps([row])))
    assert found[0].cells == {
        "image": "a", "point": "1,2,3 4.5,5,6", "exclude": "7,8,9", "resample": "yes", "box": BOX,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "", "The table has no row"),
        ("t.csv", "image,box\n", "The table has no row"),
        ("t.csv", "image,image\na,b\n", "two columns are called 'image'"),
        ("t.csv", "image\na,b\n", "row 2 has 2 cells and the first row 1"),
        ("t.xlsx", "PK\x03\x04 and more", "spreadsheet program's own file, so save it as CSV"),
        ("t.json", "{", "It is not a table"),
        ("t.json", "[1]", "it is not a list of objects in braces"),
        ("t.json", '[{"image": {"a": 1}}]', "is neither text nor a number"),
    ],
)
def test_what_is_no_table(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        read_table(written(tmp_path / name, text))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="Cannot be read"):
        read_table(tmp_path / "none.csv")


def test_columns_that_are_not_known(tmp_path: Path) -> None:
    _, problems = read_table(written(tmp_path / "t.csv", "picture,box,windw\na,b,c\n"))
    assert [problem.column for problem in problems] == ["picture", "windw", "image"]
    assert "use case, image, reference, series" in str(problems[0])


def test_rows_of_a_case_make_one_command_line(made: Made, images: Path) -> None:
    cases, problems = made(
        {"case": "p1", "image": "a.nrrd", "object": "ball", "box": BOX, "window": "lung"},
        {
            "case": "p1",
            "image": "a.nrrd",
            "object": "rest",
            "point": "1,2,3 4,5,6",
            "exclude": "-1,0,3",
            "window": "lung",
        },
        {"image": "b.nii.gz", "mask": "a.nrrd:3"},
        shared=["--window=abdomen", "--axis=1"],
    )
    assert problems == []
    assert [case.name for case in cases] == ["p1", "b"]
    assert cases[0].words == [
        str(images / "a.nrrd"), "--window=abdomen", "--axis=1", "--window=lung", "--object=ball", f"--box={BOX}",
        "--object=rest", "--point=1,2,3", "--point=4,5,6", "--exclude=-1,0,3",
    ]  # fmt: skip
    assert cases[0].options.window == "lung"
    assert cases[0].options.axis == "1"
    assert cases[1].words[-2:] == ["--object=Segment_1", f"--mask={images / 'a.nrrd'}:3"]


def test_files_are_looked_for_beside_the_table(made: Made, images: Path) -> None:
    (images / "run.json").write_text("{}", encoding="utf-8")
    cases, problems = made(
        {"image": "a.nrrd", "prompts": "run.json", "model": "starter"},
        {"image": "b.nii.gz", "prompts": "points.mrk.json", "stop-outside": "/elsewhere/m.nrrd"},
    )
    assert problems == []
    assert cases[0].options.prompts == images / "run.json"
    assert cases[0].options.model == "starter"
    assert cases[1].options.typed[-1] == ("--markups", str(images / "points.mrk.json"))
    assert cases[1].options.inside == "/elsewhere/m.nrrd"


def test_a_model_is_a_name_or_a_file(made: Made, images: Path) -> None:
    (images / "own.pt").write_bytes(b"")
    for given, meant in (("sam2.1_hiera_tiny", "sam2.1_hiera_tiny"), ("own.pt", str(images / "own.pt"))):
        (case,), _ = made({**GOOD, "model": given})
        assert case.options.model == meant


def test_options_of_the_command_hold_for_all_rows() -> None:
    parser = Words()
    add_shared_options(parser)
    words = ["--window=40/400", "--stop-change=50", "--stop-absent=0", "--smooth=2.5", "--frame=ras"]
    given = shared_words(parser.parse_args(words))
    assert parser.parse_args(given) == parser.parse_args(words)
    assert shared_words(parser.parse_args([])) == ()


def test_files_of_the_command_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.pt").write_bytes(b"")
    parser = Words()
    add_shared_options(parser)
    words = ["--model=own.pt", "--stop-outside=own.pt:liver"]
    assert shared_words(parser.parse_args(words)) == tuple(
        word.replace("own.pt", str(tmp_path / "own.pt")) for word in words
    )
    assert shared_words(parser.parse_args(["--model=starter"])) == ("--model=starter",)


GOOD: dict[str, Any] = {"image": "a.nrrd", "box": BOX}


@pytest.mark.parametrize(
    ("cells", "column", "words"),
    [
        ({"image": ""}, "image", "It is empty"),
        ({"case": "../a"}, "case", "cannot name a folder"),
        ({"box": "1,2,3"}, "box", "cannot be read"),
        ({"point": "1,2,3 4,5"}, "point", "--point '4,5' cannot be read"),
        ({"threshold": "7"}, "threshold", "give a number from 0.001 to 0.999"),
        ({"axis": "up"}, "axis", "invalid choice: 'up'"),
        ({"memory": "elephant"}, "memory", "No memory bank is called 'elephant'"),
        ({"resample": "maybe"}, "resample", "neither yes nor no"),
        ({"object": " \t"}, "object", "is not a name"),
        ({"box": ""}, None, "There is no prompt"),
    ],
)
def test_a_cell_that_cannot_be_used(made: Made, cells: dict[str, str], column: str | None, words: str) -> None:
    row = {name: cell for name, cell in {**GOOD, **cells}.items() if cell}
    _, problems = made(row)
    (problem,) = problems
    assert (problem.row, problem.column) == (2, column)
    assert words in problem.text
    assert str(problem).startswith("row 2")


def test_all_problems_are_told_at_once(made: Made) -> None:
    _, problems = made({"image": "a.nrrd", "box": "1", "axis": "x"}, GOOD, {"box": BOX, "threshold": "x"})
    assert [(problem.row, problem.column) for problem in problems] == [
        (2, "box"), (2, "axis"), (4, "image"), (4, "threshold"),
    ]  # fmt: skip


def test_a_missing_image_is_told_of_beside_what_else_is_wrong_in_its_row(made: Made) -> None:
    _, problems = made({"image": "none.nrrd", "box": "1"}, GOOD)
    assert [(problem.row, problem.column) for problem in problems] == [(2, "box"), (2, "image")]
    assert "none.nrrd: No such file or folder" in problems[1].text


def test_rows_of_a_case_that_do_not_agree(made: Made) -> None:
    first = {"case": "p", "image": "a.nrrd", "object": "ball", "box": BOX}
    for row, column in (
        ({**first}, "object"),
        ({**first, "image": "b.nii.gz", "object": "other"}, "image"),
        ({**first, "object": "other", "window": "lung"}, "window"),
        ({**first, "case": "P", "object": "other"}, "case"),
    ):
        _, problems = made(first, row)
        assert [(problem.row, problem.column) for problem in problems] == [(3, column)]
        assert "ow 2" in problems[0].text


@pytest.mark.parametrize(
    "name",
    ["a/b", "a\\b", "..", ".hidden", "a.", " a", "con", "NUL.txt", "index.html", "a\nb", "x" * 101, "\udcff", ""],
)
def test_names_that_cannot_be_folders(name: str) -> None:
    with pytest.raises(PromptError, match="cannot name a folder"):
        checked_case_name(name)


def test_names_that_can() -> None:
    for name in ("p001", "Müller 2", "肝臓", "a-b_c.d", "x" * 100):
        assert checked_case_name(name) == name
    assert [image_name(text) for text in ("x/a.nii.gz", "a.seg.nrrd", "a.b.mha", "folder.1")] == [
        "a", "a", "a.b", "folder.1",
    ]  # fmt: skip


def test_the_digest_is_of_what_is_said_not_of_where_it_lies(made: Made, images: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    (case,), _ = made({**GOOD, "reference": "b.nii.gz"})
    moved = replace(
        case,
        folder=str(tmp_path / "moved"),
        image=case.image.replace("images", "moved"),
        objects=(replace(case.objects[0], reference=str(tmp_path / "moved" / "b.nii.gz")),),
    )
    assert moved.digest == case.digest
    for cells in ({"box": "8,6,28,27@4"}, {"reference": "c.mha"}, {"window": "lung"}, {"object": "x"}):
        (other,), _ = made({**GOOD, "reference": "b.nii.gz", **cells})
        assert other.digest != case.digest
