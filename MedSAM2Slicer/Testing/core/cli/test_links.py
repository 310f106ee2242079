"""Outputs that are links: ones that lead back to themselves, or to a folder that is not there, are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

POINT = ("--point", "24,20,5")


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    """A link in a circle, with the ending of an image."""
    there, back = tmp_path / "there.nrrd", tmp_path / "back.nrrd"
    there.symlink_to(back)
    back.symlink_to(there)
    return there


@pytest.mark.parametrize(
    "words",
    [
        ("propagate", "CT", *POINT, "--output", "LOOP"),
        ("propagate", "CT", *POINT, "--output", "x.nrrd", "--sheet", "LOOP"),
        ("propagate", "CT", *POINT, "--output", "x.nrrd", "--directions", "three", "--disagreement", "LOOP"),
        ("images", "CT", "--prompt", "CT", "--point", "20,20", "--output", "LOOP"),
        ("sequence", "CT", "CT", *POINT, "--output", "LOOP"),
        ("batch", "--init", "LOOP"),
        ("batch", "--init", ".", "--output", "LOOP/cohort.csv"),
    ],
)
def test_a_link_in_a_circle_is_refused(run, words, ct: Path, loop: Path, checkpoint: Path, capsys) -> None:
    given = [word.replace("CT", str(ct)).replace("LOOP", str(loop)) for word in words]
    model = () if words[0] == "batch" else ("--model", checkpoint)
    assert run(*given, *model) == 2
    said = capsys.readouterr().err
    assert "this is a link that leads back to itself: give another path." in said.lower()
    assert said.count("\n") == 1
    assert loop.is_symlink()


def test_the_folder_that_is_named_is_the_one_that_is_missing(run, ct: Path, checkpoint: Path, capsys) -> None:
    Path("link.nrrd").symlink_to("none/x.nrrd")
    assert run("propagate", ct, *POINT, "--output", "link.nrrd", "--model", checkpoint) == 2
    assert f"The folder {Path('none').absolute()} does not exist" in capsys.readouterr().err
