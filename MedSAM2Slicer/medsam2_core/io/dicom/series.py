"""The series of a folder, a CD or a file: what can be chosen, and which one is meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from medsam2_core.counting import are, counted
from medsam2_core.errors import VolumeError
from medsam2_core.io.dicom.headers import Frame, Header, read_header
from medsam2_core.io.dicom.scan import find_files, is_index

_SHOWN = 6


@dataclass(frozen=True)
class Series:
    """Slices that make one volume, in no order. `number` counts those found together from 1.

    `part` says which of several volumes of one DICOM series it is, such as "phase 2"; empty where there is one.
    """

    number: int
    uid: str
    description: str
    modality: str
    part: str
    frames: tuple[Frame, ...]

    @property
    def title(self) -> str:
        """What a person knows it by."""
        return ", ".join(text for text in (self.description, self.part) if text) or self.uid


def find_series(path: Path) -> list[Series]:
    """The series in a folder and those below it, on a CD given by its DICOMDIR, or in one file.

    Raises VolumeError if there is none, or for a file that is damaged.
    """
    folder = path.parent if is_index(path) else path
    files = find_files(folder) if folder.is_dir() else [folder]
    headers = [header for header in map(read_header, files) if header is not None]
    if not headers:
        what = "reports, contours or segmentations only" if files else "no DICOM series"
        raise VolumeError(f"It holds {what}: give an image file or a folder of DICOM slices.")
    return _numbered(headers)


def choose(found: Sequence[Series], wanted: str | None) -> Series:
    """The series of that number or UID; None means the only one. Raises VolumeError, naming those there are."""
    if wanted is None:
        fitting = list(found)
    elif wanted.isdecimal() and int(wanted) <= len(found):
        fitting = [one for one in found if one.number == int(wanted)]
    else:
        fitting = [one for one in found if one.uid == wanted]
    if len(fitting) == 1:
        return fitting[0]
    problem = f"No series is {wanted!r}; there" if wanted is not None and not fitting else "There"
    shown = "; ".join(f"{one.number}: {one.title}, {counted(len(one.frames), 'slice')}" for one in found[:_SHOWN])
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise VolumeError(
        f"{problem} {are(len(found))} {len(found)} series ({shown}{more}): choose one with --series and its number "
        "(medsam2 info lists them), or with series= in Python."
    )


def _numbered(headers: Iterable[Header]) -> list[Series]:
    by_uid: defaultdict[str, list[Header]] = defaultdict(list)
    for header in headers:
        by_uid[header.series].append(header)
    found: list[Series] = []
    for uid, files in sorted(by_uid.items(), key=_order):
        frames = _without_copies([frame for file in files for frame in file.frames])
        for part, members in _parts(frames):
            first = files[0]
            found.append(Series(len(found) + 1, uid, first.description, first.modality, part, tuple(members)))
    return found


def _order(item: tuple[str, list[Header]]) -> tuple[int, str]:
    number = item[1][0].number
    return (int(number) if number.isdecimal() else 0, item[0])


def _without_copies(frames: Sequence[Frame]) -> list[Frame]:
    """The frames, those of a file that is there twice, byte by byte, once."""
    kept: dict[tuple[str, int], Frame] = {}
    others: list[Frame] = []
    for frame in frames:
        first = kept.setdefault((frame.uid, frame.index), frame)
        if first is not frame and not _same_bytes(first.path, frame.path):
            others.append(frame)
    return [*kept.values(), *others]


def _same_bytes(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _parts(frames: Sequence[Frame]) -> list[tuple[str, list[Frame]]]:
    """The frames by what tells those in the same place apart; all of them where nothing does or none needs to be."""
    groups: dict[tuple[str, ...], list[Frame]] = {(): list(frames)}
    for name in frames[0].marks:
        if all(_is_one_volume(group) for group in groups.values()):
            break
        split = _split(groups, name)
        if len(split) > len(groups):
            groups = split
    if len(groups) == 1 or not all(_is_one_volume(group) and len(group) > 1 for group in groups.values()):
        return [("", list(frames))]
    return [(", ".join(names), group) for names, group in groups.items()]


def _is_one_volume(frames: Sequence[Frame]) -> bool:
    return len({frame.position for frame in frames}) == len(frames) and len({f.orientation for f in frames}) == 1


def _split(groups: dict[tuple[str, ...], list[Frame]], name: str) -> dict[tuple[str, ...], list[Frame]]:
    """The groups, each split by what its frames have of a mark, in the order of its values."""
    split: dict[tuple[str, ...], list[Frame]] = {}
    for names, group in groups.items():
        by_value: defaultdict[str, list[Frame]] = defaultdict(list)
        for frame in group:
            by_value[frame.marks[name]].append(frame)
        for value in sorted(by_value, key=_place):
            key = (*names, f"{name} {value}".strip()) if len(by_value) > 1 else names
            split[key] = by_value[value]
    return split


def _place(value: str) -> tuple[bool, Decimal, str]:
    """Where a value of a mark comes: numbers, as times are too, by what they say and before other text."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    return (False, number, "") if number.is_finite() else (True, Decimal(0), value)
