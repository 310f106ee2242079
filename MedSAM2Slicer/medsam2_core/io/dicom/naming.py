"""What segments are by their names: a table of common names with SNOMED CT's codes."""

from __future__ import annotations

import csv
import re
from functools import cache
from importlib import resources

from medsam2_core.image.terminology import Code, Terminology

_CATEGORIES = {
    "85756007": "Tissue",
    "91720002": "Body Substance",
    "91723000": "Anatomical Structure",
    "49755003": "Morphologically Abnormal Structure",
    "260787004": "Physical object",
}
_SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
UNKNOWN = Terminology(Code("85756007", "SCT", "Tissue"), Code("85756007", "SCT", "Tissue"))
"""What Slicer takes a segment for of which nothing is said."""


def terminology_by_name(name: str) -> Terminology | None:
    """What a name such as "liver", "Kidney_Left" or "right lung" stands for; None for one that is not in the table."""
    words = re.findall(r"[a-z]+", name.lower())
    whole = _table().get(" ".join(words))
    if whole is not None:
        return whole
    sides = [word for word in words if word in _SIDES]
    found = _table().get(" ".join(word for word in words if word not in _SIDES)) if len(sides) == 1 else None
    return None if found is None else Terminology(found.category, found.kind, _SIDES[sides[0]])


@cache
def _table() -> dict[str, Terminology]:
    text = (resources.files(__package__) / "codes.csv").read_text(encoding="utf-8")
    return {row["name"]: _terminology(row) for row in csv.DictReader(text.splitlines())}


def _terminology(row: dict[str, str]) -> Terminology:
    category = Code(row["category"], "SCT", _CATEGORIES[row["category"]])
    return Terminology(category, Code(row["type"], "SCT", row["meaning"]))
