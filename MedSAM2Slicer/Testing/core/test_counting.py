"""Numbers of things in messages, which are right for one: the helper, and that every message uses it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import medsam2_core
from medsam2_core.counting import are, counted

THINGS = (
    *("slice", "image", "object", "case", "frame", "file", "segment", "row", "point"),
    *("label", "box", "problem", "voxel", "contour", "clip", "dimension"),
)
SOURCES = sorted(Path(medsam2_core.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize(
    ("count", "noun", "says"),
    [
        (0, "case", "0 cases"),
        (1, "case", "1 case"),
        (2, "box", "2 boxes"),
        (3, "batch", "3 batches"),
        (1, "box", "1 box"),
    ],
)
def test_a_number_of_things(count: int, noun: str, says: str) -> None:
    assert counted(count, noun) == says


def test_what_they_do() -> None:
    assert [are(count) for count in (0, 1, 2)] == ["are", "is", "are"]


def test_no_message_counts_things_by_itself() -> None:
    """A `{len(...)}` or a count, and then a plural, is wrong for one. Where it is two or more it says so here."""
    plurals = "|".join(f"{one}(?:s|es)" for one in THINGS)
    wrong = re.compile(r"\{(?:len\([^{}]*\)|[\w.]*count|[\w.()]*size)\} (?:\w+ )?(?:" + plurals + r")\b")
    several = {
        "job/image_plan.py: {len(turned)} files",
        "cli/summary.py: {len(indexes)} slices",
        "cohort/running.py: {len(names)} objects",
        "io/labels.py: {len(names)} objects",
        "io/pictures.py: {len(found)} images",
    }
    root = Path(medsam2_core.__file__).parent
    found = {
        f"{path.relative_to(root).as_posix()}: {match.group()}"
        for path in SOURCES
        for match in wrong.finditer(path.read_text(encoding="utf-8"))
    }
    assert found == several
