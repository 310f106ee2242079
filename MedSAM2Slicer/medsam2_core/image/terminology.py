"""What a segment is, in codes: as DICOM says it, and as Slicer keeps it in a segment's tags."""

from __future__ import annotations

from dataclasses import dataclass

_TAG = "TerminologyEntry:"
_CONTEXTS = ("Segmentation category and type - 3D Slicer General Anatomy list", "Anatomic codes - DICOM master list")


@dataclass(frozen=True)
class Code:
    """A concept: its value in a coding scheme such as SCT (SNOMED CT), and what it means in words."""

    value: str
    scheme: str
    meaning: str

    def __str__(self) -> str:
        """As Slicer writes it."""
        return f"{self.scheme}^{self.value}^{self.meaning}"


@dataclass(frozen=True)
class Terminology:
    """Category and type of a segment, such as tissue and bone; its side, and where it lies, if that is said."""

    category: Code
    kind: Code
    modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None

    @property
    def tag(self) -> str:
        """As a tag of a segment of Slicer; `terminology_of` reads it."""
        first, second = _CONTEXTS
        kind = [str(self.category), str(self.kind), _written(self.modifier)]
        region = [_written(self.region), _written(self.region_modifier)]
        return _TAG + "~".join([first, *kind, second, *region])


def terminology_of(tags: str) -> Terminology | None:
    """What the tags of a segment of Slicer (KEY:VALUE|KEY:VALUE|) say that it is; None where they say nothing."""
    entry = next((tag for tag in tags.split("|") if tag.startswith(_TAG)), "").removeprefix(_TAG)
    parts = entry.split("~")
    if len(parts) != 7:
        return None
    category, kind, modifier, region, region_modifier = (_read(parts[place]) for place in (1, 2, 3, 5, 6))
    if category is None or kind is None:
        return None
    return Terminology(category, kind, modifier, region, region_modifier if region else None)


def _read(text: str) -> Code | None:
    scheme, _, rest = text.partition("^")
    value, _, meaning = rest.partition("^")
    return Code(value, scheme, meaning) if scheme and value and meaning else None


def _written(code: Code | None) -> str:
    return "^^" if code is None else str(code)
