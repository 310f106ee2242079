"""Stop rules and drawing on the command line: they act, are recorded, and a replay repeats them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medsam2_core import io
from medsam2_core.image.components import largest_part

OUT, REPORT = Path("out.seg.nrrd"), Path("run.json")
BOX = ("--box", "8,8,36,30@5")


@pytest.fixture
def region(ct: Path, run) -> Path:
    """Slices 4 to 6 of the volume, in a file."""
    volume = io.read_volume(ct)
    inside = np.zeros(volume.array.shape, np.uint8)
    inside[4:7] = 1
    io.write_labelmap("region.nrrd", inside, volume.geometry)
    return Path("region.nrrd")


def stored(path: Path = REPORT) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def slices(path: Path = REPORT) -> list[int]:
    return [facts["slice_index"] for facts in stored(path)["objects"][0]["slices"]]


def repeat(run, ct: Path, checkpoint: Path) -> None:
    again = ("propagate", ct, "--output", "b.seg.nrrd", "--model", checkpoint, "--quiet")
    assert run(*again, "--prompts", REPORT, "--report", "b.json") == 0
    assert OUT.read_bytes() == Path("b.seg.nrrd").read_bytes()
    first, second = stored(), stored(Path("b.json"))
    for report in (first, second):
        del report["seconds"], report["slices_per_second"]
    assert first == second


@pytest.mark.parametrize("axis", ["axial", "sagittal"])
def test_a_region_acts_and_is_repeated_without_its_file(run, ct, checkpoint, region, axis: str) -> None:
    box = BOX if axis == "axial" else ("--box", "5,2,35,8@22")
    command = ("propagate", ct, "--output", OUT, "--model", checkpoint, "--report", REPORT, "--quiet", "--axis", axis)
    assert run(*command, *box, "--stop-outside", region) == 0
    if axis == "axial":
        assert slices() == [4, 5, 6]
        assert stored()["objects"][0]["stopped"]["forward"] == "stopped at slice 7: outside the given region"
    region.unlink()
    repeat(run, ct, checkpoint)


def test_rules_in_mm_and_percent(run, ct: Path, checkpoint: Path) -> None:
    command = ("propagate", ct, "--output", OUT, "--model", checkpoint, "--report", REPORT, "--quiet", *BOX)
    rules = ("--stop-distance", "5", "--stop-area", "0.5", "--stop-change", "900", "--stop-absent", "0")
    assert run(*command, *rules) == 0
    assert slices() == [3, 4, 5, 6, 7]
    assert stored()["settings"]["stop"] == {
        "absent_slices": None,
        "min_area_mm2": 0.5,
        "max_area_change": 9.0,
        "max_distance_mm": 5.0,
        "inside": None,
    }
    repeat(run, ct, checkpoint)
    assert run(*command[:-2], "--prompts", "b.json", "--stop-distance", "0", "--report", "c.json") == 0
    assert slices(Path("c.json")) == list(range(10))


def test_how_masks_are_drawn_is_recorded_with_the_areas_that_come_of_it(run, ct: Path, checkpoint: Path) -> None:
    command = ("propagate", ct, "--model", checkpoint, "--quiet", *BOX)
    assert run(*command, "--output", "plain.nrrd", "--report", "plain.json") == 0
    options = ("--threshold", "0.6", "--smooth", "2.5", "--largest", "3d", "--fill-holes", "on")
    assert run(*command, "--output", OUT, "--report", REPORT, *options) == 0
    labels = io.read_labelmap(OUT, io.read_volume(ct).geometry)
    assert (labels != io.read_labelmap("plain.nrrd", io.read_volume(ct).geometry)).any()
    settings = stored()["settings"]
    assert [settings[name] for name in ("threshold", "smoothing_mm", "largest", "fill_holes")] == [0.6, 2.5, "3d", "on"]
    np.testing.assert_array_equal(labels == 1, largest_part(labels == 1))
    for facts in stored()["objects"][0]["slices"]:
        assert facts["area_mm2"] == pytest.approx((labels[facts["slice_index"]] == 1).sum() * 0.8 * 1.25, abs=0.01)
    repeat(run, ct, checkpoint)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--stop-distance", "-1"), "'-1' cannot be used: give a number from 0"),
        (("--stop-absent", "two"), "'two' cannot be used"),
        (("--threshold", "1"), "'1' cannot be used: give a number from 0.001 to 0.999"),
        (("--smooth", "inf"), "'inf' cannot be used"),
        (("--stop-outside", "no.nrrd"), "No such file"),
    ],
)
def test_refusals(run, ct: Path, checkpoint: Path, capsys, words: tuple[str, str], problem: str) -> None:
    assert run("propagate", ct, "--output", OUT, "--model", checkpoint, *BOX, *words) == 2
    assert problem in capsys.readouterr().err
    assert not OUT.exists()


def test_the_region_is_not_replaced(run, ct: Path, checkpoint: Path, region: Path, capsys) -> None:
    before = region.read_bytes()
    assert run("propagate", ct, "--output", region, "--model", checkpoint, *BOX, "--stop-outside", region) == 2
    assert "would replace an input" in capsys.readouterr().err
    assert region.read_bytes() == before
