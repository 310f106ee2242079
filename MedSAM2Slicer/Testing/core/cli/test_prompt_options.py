"""Prompts of the command line: parsing, frames, and their place in the volume."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.slicing import Slicing
from medsam2_core.job import place_options
from medsam2_core.job import prompt_options as options
from medsam2_core.notices import InputNotice
from medsam2_core.run import prompts as run_prompts
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
GRID = Geometry((10, 20, 30), (0.7, 1.3, 2.5), (-107.3, 55.1, -902.7), IDENTITY)  # i to the left, j back, k up


def typed(*words: str) -> list[tuple[str, str]]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    options.add_prompt_options(parser)
    return parser.parse_args(options.join_negative_values(words)).typed


def test_prompts_belong_to_the_object_before_them() -> None:
    words = ("--point", "1,2,3", "--object", "liver", "--box", "1,2,8,9@3", "--exclude", "4,5,3")
    found = options.parse_prompts(typed(*words, "--object", "Segment_1", "--mask", "m.nrrd"))
    assert list(found) == ["Segment_1", "liver"]
    assert found["Segment_1"] == [
        options.PointOption("--point 1,2,3", (1, 2, 3), include=True),
        options.MaskOption(Path("m.nrrd")),
    ]
    assert found["liver"] == [
        options.BoxOption("--box 1,2,8,9@3", ((1, 2), (8, 9)), 3),
        options.PointOption("--exclude 4,5,3", (4, 5, 3), include=False),
    ]


coordinates = st.floats(-1e4, 1e4).map(lambda value: round(value, 4))


@given(st.tuples(coordinates, coordinates, coordinates), st.booleans())
def test_any_number_survives_the_command_line(position: tuple[float, float, float], joined: bool) -> None:
    text = ",".join(map(str, position))
    words = (f"--point={text}",) if joined else ("--point", text)
    (prompt,) = options.parse_prompts(typed(*words))["Segment_1"]
    assert isinstance(prompt, options.PointOption)
    assert prompt.position == position


def test_negative_values_and_options_are_told_apart() -> None:
    words = [
        "--point",
        "-1,2,3",
        "--range",
        "-5:3",
        "--window",
        "-600/1500",
        "--object",
        "-x",
        "--quiet",
        "--box",
        "-.5,1,2,3@4",
    ]
    assert options.join_negative_values(words) == [
        "--point=-1,2,3", "--range=-5:3", "--window=-600/1500", "--object", "-x", "--quiet", "--box=-.5,1,2,3@4",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "a,b,c", "1,2,nan", "1,2,inf", "1,,3", "1;2;3"])
@pytest.mark.parametrize("option", ["--point", "--exclude"])
def test_a_malformed_point(option: str, text: str) -> None:
    with pytest.raises(PromptError, match=f"^{option} '{text}' cannot be read: write three numbers"):
        options.parse_prompts([(option, text)])


@pytest.mark.parametrize("text", ["", "1,2,3,4", "1,2,3@4", "1,2,3,4@", "1,2,3,4@5,6", "1,2,3,4@5@6", "1,2,3,x@5"])
def test_a_malformed_box(text: str) -> None:
    with pytest.raises(PromptError, match=r"^--box .* cannot be read: write two corners and the slice"):
        options.parse_prompts([("--box", text)])


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "\x1b[31mred"])
def test_a_name_that_cannot_be_shown(name: str) -> None:
    with pytest.raises(PromptError, match="is not a name"):
        options.parse_prompts([("--object", name), ("--point", "1,2,3")])


def test_an_object_without_prompt() -> None:
    with pytest.raises(PromptError, match="'liver' has no prompt"):
        options.parse_prompts([("--object", "liver"), ("--object", "spleen"), ("--point", "1,2,3")])


@pytest.mark.parametrize(
    ("text", "expected"), [(":", (0, 10)), ("3:", (3, 10)), (":7", (0, 7)), (" 3 : 7 ", (3, 7)), ("0:10", (0, 10))]
)
def test_ranges(text: str, expected: tuple[int, int]) -> None:
    assert options.parse_range(text, 10) == expected


@pytest.mark.parametrize("text", ["", "5", "a:b", "1:2:3", "-:5", "1.5:3"])
def test_a_malformed_range(text: str) -> None:
    with pytest.raises(PromptError, match="write A:B, slices from"):
        options.parse_range(text, 10)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("5:5", "holds no slice"), ("7:3", "holds no slice"), ("3:11", "outside the volume"), ("-1:5", "outside")],
)
def test_a_range_outside_the_limits(text: str, problem: str) -> None:
    with pytest.raises(PromptError, match=rf"{problem}.*: give A:B with 0 <= A < B <= 10\.$"):
        options.parse_range(text, 10)


# In the volume


def place(words: list[tuple[str, str]], frame: str = "ijk", axis: int = 0, grid: Geometry = GRID):
    (found,) = options.parse_prompts(words).values()
    return place_options.place_options(found, frame, Slicing(grid, axis))


@pytest.mark.parametrize(("axis", "index", "xy"), [(0, 3, (11, 7)), (1, 7, (11, 3)), (2, 11, (7, 3))])
def test_a_voxel_in_slices_along_each_axis(axis: int, index: int, xy: tuple[float, float]) -> None:
    assert place([("--point", "11,7,3")], axis=axis) == [PointsPrompt(index, (xy,), (True,))]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("text", ["2,3,9,8@4", "9,8,2,3@4", "2,8,9,3@4", "9,3,2,8@4"])
def test_box_corners_come_in_any_order(axis: int, text: str) -> None:
    assert place([("--box", text)], axis=axis) == [BoxPrompt(4, (2, 3, 9, 8))]


def test_the_nearest_slice_is_taken() -> None:
    assert place([("--box", "2,3,9,8@3.5")])[0].slice_index == 4
    assert place([("--point", "2,3,3.4")])[0].slice_index == 3
    assert place([("--point", "2,3,-0.5")])[0].slice_index == 0


@settings(deadline=None)
@given(
    voxel=st.tuples(*(st.integers(0, size - 1) for size in (30, 20, 10))),
    fraction=st.tuples(*[st.integers(-499, 499)] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    flip=st.sampled_from((-1.0, 1.0)),
    frame=st.sampled_from(("ras", "lps")),
    axis=st.sampled_from((0, 1, 2)),
)
def test_a_prompt_in_mm_is_the_very_same_as_in_voxels(voxel, fraction, angles, flip, frame: str, axis: int) -> None:
    """On any grid, oblique and left-handed ones included: that is what makes a repeated run equal."""
    direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * (1, 1, flip)
    grid = Geometry((10, 20, 30), (0.7, 1.3, 2.5), (-107.3, 55.1, -902.7), tuple(map(tuple, direction.tolist())))
    ijk = [whole + part / 1000 for whole, part in zip(voxel, fraction, strict=True)]
    mm = grid.ijk_to_ras([ijk])[0] * ((1, 1, 1) if frame == "ras" else (-1, -1, 1))
    slicing = Slicing(grid, axis)
    expected = run_prompts.place_points([ijk], [True], "ijk", slicing, "here")
    assert run_prompts.place_points([mm], [True], frame, slicing, "here") == expected
    index, xy = slicing.split(ijk)
    assert slicing.split(slicing.join(index, xy)) == (index, xy)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("frame", "sign"), [("ras", (-1, -1, 1)), ("lps", (1, 1, 1))])
def test_a_box_in_mm(axis: int, frame: str, sign: tuple[int, int, int]) -> None:
    """GRID's axes are those of LPS, so i, j, k stand in for L, P, S."""
    ends = np.array([(4, 5, 2), (9, 8, 6)]) * GRID.spacing_ijk + GRID.origin_lps
    ends = ends * sign
    x, y = [place for place in range(3) if place != 2 - axis]
    text = f"{ends[0, x]},{ends[0, y]},{ends[1, x]},{ends[1, y]}@{ends[0, 2 - axis]}"
    (found,) = place([("--box", text)], frame, axis)
    first, last = (4, 5, 2), (9, 8, 6)
    assert found == BoxPrompt(first[2 - axis], (first[x], first[y], last[x], last[y]))


def test_a_box_in_mm_on_an_oblique_grid_is_the_box_around_it() -> None:
    turned = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    grid = Geometry((3, 41, 41), (1, 1, 1), tuple(turned @ (-20, -20, 0)), tuple(map(tuple, turned.tolist())))
    (found,) = place([("--box", "-10,-10,10,10@0")], "ras", grid=grid)
    np.testing.assert_allclose(found.box, np.array([-1, -1, 1, 1]) * 10 * 2**0.5 + 20, atol=2e-3)


@pytest.mark.parametrize("text", ["30,2,3", "-1,2,3", "1,20,3", "1,2,10", "1,2,9.5", "1,2,-0.6"])
def test_a_point_outside(text: str) -> None:
    with pytest.raises(PromptError, match="outside the volume: give i from 0 to 29, j from 0 to 19, k from 0 to 9"):
        place([("--point", text)])


def test_a_point_in_mm_outside_is_shown_in_voxels() -> None:
    with pytest.raises(PromptError, match=r"\(ras\) is at voxel \(1, 2, 50\), outside the volume"):
        place([("--point", ",".join(map(str, GRID.ijk_to_ras([(1, 2, 50)])[0])))], "ras")


@pytest.mark.parametrize("text", ["2,3,2,9@4", "2,3,9,3@4", "2,3,2.9,9@4"])
def test_an_empty_box(text: str) -> None:
    with pytest.raises(PromptError, match=r"is empty .* at least 1 pixel apart"):
        place([("--box", text)])


# Objects


def make(*prompts: run_prompts.Prompt) -> run_prompts.RunObject:
    return run_prompts.make_objects({"liver": list(prompts)}, {}, {})[0]


def test_points_of_a_slice_become_one_prompt() -> None:
    box = BoxPrompt(4, (1, 1, 5, 5))
    first, second, third = (
        PointsPrompt(4, ((1, 2),), (True,)),
        PointsPrompt(5, ((3, 4),), (True,)),
        PointsPrompt(4, ((5, 6),), (False,)),
    )
    assert make(first, box, second, third).prompts == (PointsPrompt(4, ((1, 2), (5, 6)), (True, False)), box, second)


MASK = MaskPrompt(4, np.ones((2, 2), bool))
BOX = BoxPrompt(4, (1, 1, 5, 5))
EXCLUDE = PointsPrompt(4, ((1, 2),), (False,))


@pytest.mark.parametrize(
    ("prompts", "problem"),
    [
        ((EXCLUDE,), "On slice 4 object 'liver' has only exclude points: add a point"),
        ((BoxPrompt(3, BOX.box), EXCLUDE), "On slice 4 object 'liver' has only exclude points"),
        ((BOX, BOX), "several boxes"),
        ((MASK, BOX, MASK), "several masks"),
        ((EXCLUDE, MaskPrompt(4, np.zeros((2, 2), bool))), "only exclude points"),
        ((), "no prompt"),
    ],
)
def test_prompts_that_make_no_sense_together(prompts: tuple, problem: str) -> None:
    with pytest.raises(PromptError, match=problem):
        make(*prompts)


def test_a_mask_comes_before_what_corrects_it() -> None:
    assert make(EXCLUDE, BOX, MASK).prompts == (MASK, EXCLUDE, BOX)
    assert make(MASK, EXCLUDE).prompts == (MASK, EXCLUDE)


def test_labels_and_colors() -> None:
    prompts = {name: [BOX] for name in "abc"}
    found = run_prompts.make_objects(prompts, {"b": 1}, {"a": (0.5, 0.5, 0.5)})
    assert [(item.segment.name, item.segment.label) for item in found] == [("a", 2), ("b", 1), ("c", 3)]
    assert found[0].segment.color == (0.5, 0.5, 0.5)
    colors = np.array([run_prompts.palette_color(place) for place in range(60)])
    assert ((colors >= 0) & (colors <= 1)).all()
    between = np.abs(colors[:, None] - colors).sum(axis=2) + np.eye(60)
    assert between.min() > 0.02
    assert between[:20, :20].min() > 0.1


@pytest.mark.parametrize("far", [30.0, 29.7])
def test_a_box_to_the_exclusive_edge_ends_at_the_edge(far: float) -> None:
    with pytest.warns(InputNotice, match="box reaches a voxel beyond the volume's edge"):
        box = run_prompts.place_box([(20, 5, 4), (far, 20, 4)], "ijk", Slicing(GRID, 0), "The box")
    assert (box.slice_index, box.box) == (4, (20.0, 5.0, 29.0, 19.0))


@pytest.mark.parametrize(
    "corners",
    [
        [(20, 5, 4), (30.5, 9, 4)],  # further outside than an exclusive corner
        [(29.6, 5, 4), (30, 9, 4)],  # wholly outside
        [(20, 5, 10), (25, 9, 10)],  # beyond the last slice
    ],
)
def test_a_box_outside(corners: list) -> None:
    with pytest.raises(PromptError, match="outside the volume"):
        run_prompts.place_box(corners, "ijk", Slicing(GRID, 0), "The box")


def test_a_range_without_prompt() -> None:
    with pytest.raises(PromptError, match=r"The range 5:9 holds no prompt of 'liver' \(prompted: slice 4\)"):
        place_options.check_range_holds_prompts([make(BOX)], 5, 9)
    place_options.check_range_holds_prompts([make(BOX)], 4, 5)


def test_a_mask_prompts_every_slice_it_marks() -> None:
    mask = np.zeros((10, 20, 30), bool)
    mask[2, 5, 6] = mask[7, 1, 1] = True
    found = run_prompts.place_mask(mask, Slicing(GRID, 0))
    assert [prompt.slice_index for prompt in found] == [2, 7]
    np.testing.assert_array_equal(found[0].mask, mask[2])
