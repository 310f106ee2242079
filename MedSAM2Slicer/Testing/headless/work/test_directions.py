"""Segments in all directions: whatever is done to them together, each becomes what it does alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from ballroom import SHAPE, TO_ALL, Deed, Room

from medsam2_core.image.slicing import SliceStack
from medsam2_core.training.metrics import dice
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.scenewatch import EditWatch
from MedSAM2SlicerLib.scene.segments import ensureSegmentation

SEEDS, COUNT = 108, 4  # three of each pair of directions
ACTS = {
    "click": 4.0, "box": 2.0, "propagate": 4.0, "propagateAll": 3.0, "erase": 2.0, "paint": 1.0, "trim": 1.0,
    "accept": 1.0, "comeBack": 1.0, "reload": 0.4,
}  # fmt: skip
UNDOABLE = ("click", "box", "propagate", "propagateAll")


def tilted(degrees: float) -> SliceStack:
    """Slices turned from the axial ones about R, through the volume's middle."""
    angle = np.deg2rad(degrees)
    plane = np.diag([-1.0, 1.0, 1.0, 1.0])
    plane[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return SliceStack(0, tuple(tuple(row) for row in plane.tolist()))


DIRECTIONS = (SliceStack(0), SliceStack(1), SliceStack(2), tilted(25.0), tilted(-40.0), tilted(60.0))


@pytest.fixture(autouse=True)
def atOnce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits are noticed by the next tick."""
    monkeypatch.setattr(EditWatch, "SETTLED", 0.0)


def deeds(seed: int) -> tuple[dict[str, SliceStack], list[Deed]]:
    """Two or three segments with their directions, and what is done to them, their first prompts among it."""
    rng = np.random.default_rng(seed)
    names = list("abc"[: 2 + seed % 2])
    pair = seed % len(DIRECTIONS), seed // len(DIRECTIONS) % len(DIRECTIONS)
    directions = {name: DIRECTIONS[place] for name, place in zip(names, (*pair, rng.integers(6)), strict=False)}
    weights = np.array(list(ACTS.values())) / sum(ACTS.values())
    acts = [*("click" for _ in names), *rng.choice(list(ACTS), COUNT, p=weights)]
    subjects = [*names, *rng.choice(names, COUNT)]
    done = [
        Deed(str(name), str(act), float(rng.random()), bool(rng.random() < 0.25))
        for name, act in zip(subjects, acts, strict=True)
    ]
    return directions, [*(done[place] for place in rng.permutation(len(done))), Deed("a", "propagateAll", 0.0, False)]


def together(room: Room, done: list[Deed]) -> list[set[str]]:
    """Do all of it; returns, deed by deed, what was changed and undone."""
    undone = []
    for deed in done:
        before = room.masks()
        room.do(deed)
        after = room.masks()
        changed = {name for name in before if (before[name] != after[name]).any()}
        undone.append(changed if deed.isUndone and deed.act in UNDOABLE else set())
        if undone[-1]:
            room.undo(deed.name)
    return undone


def alone(room: Room, name: str, done: list[Deed], undone: list[set[str]]) -> None:
    """Do what concerns a segment."""
    for deed, changed in zip(done, undone, strict=True):
        if deed.name == name or deed.act in TO_ALL:
            room.do(replace(deed, name=name))
            if name in changed:
                room.undo(name)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_segments_in_any_directions_become_what_they_are_alone(nodes: Any, tmp_path: Path, seed: int) -> None:
    directions, done = deeds(seed)
    room = Room(nodes, directions, tmp_path, hasParent=seed % 4 == 0)
    undone = together(room, done)
    masks = room.masks()
    for name, stack in directions.items():
        room.requireStack(name, stack)
    room.close()
    for name, stack in directions.items():
        slicer.mrmlScene.Clear(1)
        one = Room(nodes, {name: stack}, tmp_path, hasParent=seed % 4 == 0)
        alone(one, name, done, undone)
        assert masks[name].any() == one.mask(name).any()
        assert dice(masks[name], one.mask(name)) >= 0.99, name
        one.close()


@pytest.fixture
def room(nodes: Any, tmp_path: Path) -> Iterator[Room]:
    """Two segments, an axial and a coronal one, each of which was clicked."""
    made = Room(nodes, {"a": SliceStack(0), "b": SliceStack(1)}, tmp_path, hasParent=False)
    for name in "ab":
        made.do(Deed(name, "click", 0.1, False))
    yield made
    made.controller.close()


def test_propagating_all_goes_along_each_segment_s_slices_in_one_step_for_undo(room: Room) -> None:
    before = room.masks()
    progress: list[Any] = []
    summaries: list[str] = []
    room.controller.progressed.connect(progress.append)
    room.controller.finished.connect(summaries.append)
    room.do(Deed("a", "propagateAll", 0.0, False))
    assert [dice(mask, room._truth(name)) for name, mask in room.masks().items()] == [1.0, 1.0]
    assert sorted(key.rsplit("/", 1)[1] for key in room.client.sessions) == ["0", "1"]
    shares = [one.done / one.planned for one in progress]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert summaries[0].startswith(f"{SHAPE[0] + SHAPE[1]} slices, ")
    room.undo("a")
    for name, mask in room.masks().items():
        np.testing.assert_array_equal(mask, before[name])


def test_what_undo_gives_back_to_other_segments_is_no_edit_though_a_tool_writes_next(room: Room) -> None:
    room.do(Deed("a", "propagateAll", 0.0, False))
    room.undo("a")
    room._paint("a", 0.9)
    room.controller.propagateAll()  # before anybody has looked
    room._settle()
    room.controller.setSegment(room.segmentation, room.ids["b"])
    assert "edited" not in {one.state for one in room.controller.review.slices().values()}
    np.testing.assert_array_equal(room.mask("b"), room._truth("b"))


def test_a_tool_that_changes_all_segments_leaves_each_its_slices(room: Room) -> None:
    room.do(Deed("a", "propagateAll", 0.0, False))
    room.do(Deed("a", "trim", 0.3, False))
    for name, stack in room.directions.items():
        room.controller.setSegment(room.segmentation, room.ids[name])
        assert "edited" in {one.state for one in room.controller.review.slices().values()}
        room.requireStack(name, stack)
        assert room.controller.review.stack == stack


def test_a_look_at_other_slices_leaves_a_segment_its_own(room: Room) -> None:
    known = dict(room.controller.review.slices())
    room.controller.setOptions(RunOptions(stack=SliceStack(2)))
    assert room.controller.review.stack == SliceStack(2)
    room.controller.setSegment(room.segmentation, room.ids["a"])
    room.controller.setSegment(room.segmentation, room.ids["b"])
    assert room.controller.review.stack == SliceStack(1)
    assert room.controller.review.slices() == known


def test_without_its_prompts_a_segment_follows_the_next_view(room: Room) -> None:
    (item,) = room.controller.review.prompts()
    room.controller.prompting.removePrompt(item)
    assert room.controller.review.ownStack() is None
    room.controller.setOptions(RunOptions(stack=SliceStack(2)))
    room.controller.prompting.addPoint(room._inside("b", 0.2))
    room._settle()
    room.requireStack("b", SliceStack(2))


def test_a_range_counts_for_the_slices_it_was_chosen_on(room: Room) -> None:
    (index,) = room.controller.review.slices()
    room.controller.setOptions(RunOptions(stack=SliceStack(1), first=index, last=index + 2))
    room.do(Deed("a", "propagateAll", 0.0, False))
    assert dice(room.mask("a"), room._truth("a")) == 1.0
    assert np.flatnonzero(room.mask("b").any(axis=(0, 2))).tolist() == [index, index + 1]
    room.controller.setVolume(None)
    assert (room.controller.options.first, room.controller.options.last) == (None, None)


def test_a_segment_without_a_prompt_in_the_range_is_called_by_its_name(room: Room) -> None:
    (index,) = room.controller.review.slices()
    room.controller.setOptions(RunOptions(stack=SliceStack(1), first=index + 1, last=index + 3))
    room.controller.propagate()
    assert room.said == [
        f"'b' has no prompt on slices {index + 1}–{index + 2}: widen the range to its prompts (slice {index})."
    ]


def test_the_worker_holds_a_few_oblique_forms_of_the_volume(room: Room) -> None:
    room.do(Deed("b", "propagate", 0.0, False))
    for place, degrees in enumerate((10.0, 20.0, 30.0, 40.0, 50.0)):
        room.segmentation, segmentId = ensureSegmentation(room.volume, room.segmentation, f"tilted {place}")
        room.controller.setSegment(room.segmentation, segmentId)
        room.controller.setOptions(RunOptions(stack=tilted(degrees)))
        room.controller.prompting.addPoint(room._inside("a", 0.1))
        room._settle()
    assert len(room.client.volumes) == 4  # the stored slices, and three more
    assert len(room.client.sessions) == 5
    room.controller.setSegment(
        room.segmentation, room.segmentation.GetSegmentation().GetSegmentIdBySegmentName("tilted 0")
    )
    room.controller.propagate()
    room._settle()
    assert len(room.client.volumes) == 4
