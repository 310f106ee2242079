"""Evaluation: prompts made from masks, corrections where the error is, and rows that depend on nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import medsam2_core as m2
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.memory_bank import SelfSorting
from medsam2_core.model import SAM2
from medsam2_core.training import policies
from medsam2_core.training.cases import Case, Structure, case_folders, read_case
from medsam2_core.training.evaluation import Row, Settings, evaluate, first_prompts, mean_of
from medsam2_core.training.policies import Policy

SPACING = (2.5, 1.25, 1.0)
MASKS = arrays.arrays(bool, st.tuples(st.integers(2, 9), st.integers(2, 9))).filter(np.any)


@pytest.fixture(scope="module")
def model() -> SAM2:
    """Random weights at 64 pixels that find something nearly everywhere."""
    torch.manual_seed(3)
    model = m2.build_model("starter", image_size=64)
    state = model.state_dict()
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"] += 10
    model.load_state_dict(state)
    return model


@pytest.fixture(scope="module")
def case() -> Case:
    """Three bright balls in noise, of which one is small."""
    k, j, i = np.indices((9, 40, 48))
    labels = np.zeros(k.shape, dtype=np.uint8)
    for label, (center, radius) in enumerate((((4, 18, 14), 11), ((4, 20, 34), 9), ((2, 33, 4), 3)), start=1):
        inside = ((k - center[0]) * 2.5) ** 2 + ((j - center[1]) * 1.25) ** 2 + (i - center[2]) ** 2 < radius**2
        labels[inside] = label
    image = np.random.default_rng(0).normal(0, 20, k.shape) + 100 * (labels > 0)
    return Case("balls", image.astype(np.int16), labels, SPACING, {1: "large", 2: "small"})


def settings(policy: str = "box", **changes: object) -> Settings:
    return dataclasses.replace(Settings(Policy.parse(policy), min_ml=1.0), **changes)


def measured(row: Row) -> Row:
    return dataclasses.replace(row, seconds=0, slices_per_second=0)


# Policies


@given(MASKS, st.integers(0, 9))
def test_boxes_are_close_and_on_the_slice(mask: np.ndarray, seed: int) -> None:
    box = policies.jittered_box(mask, np.random.default_rng(seed))
    assert box[0] >= 0 <= box[1]
    assert box[2] <= mask.shape[1] - 1
    assert box[3] <= mask.shape[0] - 1
    assert min(box[2] - box[0], box[3] - box[1]) >= 1  # or a session refuses it
    # 3 % of at most 9 pixels, and a box is never narrower than two.
    assert np.abs(np.subtract(box, policies.tight_box(mask))).max() <= 0.03 * 9 + 1


@given(MASKS, st.integers(1, 3))
def test_clicks_are_inside_and_apart(mask: np.ndarray, count: int) -> None:
    points = policies.inner_points(mask, (1.25, 1.0), count)
    assert len(set(points)) == len(points) == min(count, int(mask.sum()))
    assert all(mask[int(y), int(x)] for x, y in points)


def test_the_first_click_is_in_the_middle() -> None:
    mask = np.zeros((11, 21), dtype=bool)
    mask[2:9, 3:10] = True
    assert policies.inner_points(mask, (1.0, 1.0), 1) == ((6.0, 5.0),)


def test_prompts_by_policy(case: Case) -> None:
    large = case.structures(1)[0]
    indexes = {name: [p.slice_index for p in first_prompts(case, large, Policy.parse(name), 0)]
               for name in ("box", "click", "3-clicks", "3-boxes", "box+2", "5%-boxes", "50%-boxes")}  # fmt: skip
    assert indexes == {"box": [4], "click": [4], "3-clicks": [4], "3-boxes": [2, 4, 6], "box+2": [4],
                       "5%-boxes": [4], "50%-boxes": [1, 3, 5, 7]}  # fmt: skip
    assert len(first_prompts(case, large, Policy.parse("3-clicks"), 0)[0].points) == 3


def test_prompts_depend_on_seed_and_label_alone(case: Case) -> None:
    box = Policy.parse("box")
    large, small = case.structures(1)
    assert first_prompts(case, small, box, 0) == first_prompts(case, small, Policy.parse("box+3"), 0)
    assert first_prompts(case, small, box, 0) != first_prompts(case, small, box, 1)
    assert first_prompts(case, large, box, 0) != first_prompts(case, small, box, 0)


@pytest.mark.parametrize("name", ["boxes", "box+0", "box+10", "click+1", ""])
def test_unknown_policies_name_the_choices(name: str) -> None:
    with pytest.raises(PromptError, match="choose box, click, 3-clicks, 3-boxes"):
        Policy.parse(name)


def test_three_boxes_skip_a_gap() -> None:
    mask = np.zeros((9, 4, 4), dtype=bool)
    mask[[0, 1, 7, 8]] = True
    assert policies.spread_slices(mask) == [1, 7]


def test_the_worst_slice_has_the_most_wrong_pixels_of_the_lowest_dice() -> None:
    wanted = np.zeros((5, 4, 4), dtype=bool)
    wanted[1:4] = True
    found = wanted.copy()
    found[1, 0, 0] = False
    found[0, 0, 0] = found[4, :2] = True
    assert policies.worst_slice(found, wanted, set()) == 4
    assert policies.worst_slice(found, wanted, {4}) == 0
    assert policies.worst_slice(found, wanted, {0, 4}) == 1
    assert policies.worst_slice(wanted, wanted, set()) is None


# Evaluation


def test_rows_hold_what_was_asked_for(model: SAM2, case: Case, single_thread: None) -> None:
    rows = list(evaluate(model, case, settings("box+2", memory=SelfSorting(size=2), field_of_view="whole")))
    assert [(row.structure, row.policy) for row in rows] == [
        (name, policy) for policy in ("box", "box+1", "box+2") for name in ("large", "small")
    ]
    for row in rows:
        assert (row.case, row.method, row.view) == ("balls", "starter", "whole")
        assert row.memory == repr(SelfSorting(size=2))
        assert row.volume_ml > 1
        assert row.slices_per_second > 0
        assert "slices" not in row.values()


@pytest.mark.parametrize(("memory", "view"), [("recency", "whole"), ("self-sorting", "zoom")])
def test_rows_do_not_depend_on_company(model: SAM2, case: Case, memory: str, view: str, single_thread: None) -> None:
    how = settings("box+1", memory=memory, field_of_view=view)
    large, small = case.structures(1)
    together = {(row.structure, row.policy): row for row in evaluate(model, case, how, [small, large])}
    alone = list(evaluate(model, case, dataclasses.replace(how, together=1)))
    assert len(together) == len(alone) == 4
    for row in alone:
        other = together[row.structure, row.policy]
        assert row.dice == pytest.approx(other.dice, abs=1e-4)
        assert row.surface_dice == pytest.approx(other.surface_dice, abs=1e-4)
        assert row.false_slices == other.false_slices


def test_equal_seeds_give_equal_rows(model: SAM2, case: Case, single_thread: None) -> None:
    first, again = ([measured(row) for row in evaluate(model, case, settings("3-clicks"))] for _ in range(2))
    assert first == again


def test_corrections_at_every_slice_leave_little_to_correct(model: SAM2, case: Case, single_thread: None) -> None:
    rows = list(evaluate(model, case, settings("box+9"), case.structures(1)[:1]))
    assert rows[-1].dice > 0.85  # all 9 slices are given, at the model's resolution
    assert rows[-1].dice > rows[0].dice
    assert rows[-1].slices == ()  # nothing is left to be judged


def test_confidence_is_judged_where_a_mask_was_drawn(model: SAM2, case: Case, single_thread: None) -> None:
    (row,) = evaluate(model, case, settings(), case.structures(1)[:1])
    assert 1 <= len(row.slices) <= 9
    assert all(0 <= one.iou <= 1 for one in row.slices)


def test_a_label_too_large_for_an_object_names_its_case(model: SAM2, case: Case) -> None:
    labels = case.labels.astype(np.int32)
    labels[labels == 2] = 70_000
    with pytest.raises(m2.VolumeError, match="The labels of balls hold 70000, which is too large: use 1 to 65535"):
        next(evaluate(model, dataclasses.replace(case, labels=labels), settings()))


def test_the_mean_leaves_out_what_is_not_there() -> None:
    assert mean_of([1.0, None, 0.0]) == 0.5
    assert np.isnan(mean_of([None]))


# Cases


@pytest.fixture
def folder(tmp_path: Path, case: Case) -> Path:
    """The case as files, head first into the scanner: stored upside down and from right to left."""
    target = tmp_path / "data" / "balls"
    target.mkdir(parents=True)
    for name, array in (("image", case.image), ("labels", case.labels)):
        picture = sitk.GetImageFromArray(array[:, ::-1, ::-1])
        picture.SetSpacing(SPACING[::-1])
        picture.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        sitk.WriteImage(picture, str(target / f"{name}.nrrd"))
    return target


def test_a_case_is_read_upright(folder: Path, case: Case) -> None:
    assert case_folders(folder.parent) == [folder]
    read = read_case(folder)
    np.testing.assert_array_equal(read.image, case.image)
    np.testing.assert_array_equal(read.labels, case.labels)
    assert read.spacing == SPACING
    assert [structure.name for structure in read.structures(0)] == ["1", "2", "3"]
    assert read.structures(1)[0] == Structure(1, "1", pytest.approx((case.labels == 1).sum() * 0.003125))


@pytest.mark.parametrize(("axis", "spacing"), [("0", SPACING), ("coronal", (1.25, 2.5, 1.0)), ("2", (1.0, 2.5, 1.25))])
def test_other_axes(folder: Path, axis: str, spacing: tuple[float, float, float]) -> None:
    assert read_case(folder, axis).spacing == spacing


@pytest.mark.parametrize(
    ("name", "text"),
    [("labels.json", json.dumps({"1": "large", "2": "small"})), ("labels.csv", "id,structure\n1,large\n2,small\n"),
     ("labels.csv", "1,large,red\n\n2, small\n")],
)  # fmt: skip
def test_names_beside_the_labels(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    assert [structure.name for structure in read_case(folder).structures(0)] == ["large", "small", "3"]


@pytest.mark.parametrize(
    ("name", "text"), [("labels.json", "{"), ("labels.json", "[1]"), ("labels.csv", "1\n"), ("labels.csv", "a,b\nc,d")]
)
def test_names_that_cannot_be_read(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(VolumeError, match=r"names no labels: .*write"):
        read_case(folder)


def test_folders_that_hold_no_case(folder: Path, tmp_path: Path) -> None:
    (folder / "labels.nrrd").rename(tmp_path / "labels.nrrd")
    with pytest.raises(VolumeError, match=r"exactly one image file called labels\.\*, it has 0"):
        read_case(folder)
    (folder.parent / ".hidden").mkdir()
    assert case_folders(folder.parent) == [folder]
    assert case_folders(tmp_path / "none") == []


def test_three_axes_are_measured_with_their_disagreement(fakes: ModuleType, case: Case) -> None:
    rows = {}
    for directions in ("one", "three"):
        (large, _) = evaluate(fakes.FakeModel(), case, settings("box", directions=directions))
        rows[directions] = large
        told = [one.disagreement is not None for one in large.slices]
        assert any(told) == (directions == "three")
    assert rows["three"].dice > 0.5
