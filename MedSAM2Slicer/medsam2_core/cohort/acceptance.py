"""What a person makes of a case: accepts it as it is or corrected, or leaves a draft, in files of the case's folder.

segmentation.seg.nrrd         the model's, or in its place the accepted one
segmentation.model.seg.nrrd   the model's own, where another one was accepted
accepted.json                 when it was accepted, and what is told of a corrected one
draft.seg.nrrd, draft.json    work that is not accepted yet

A draft is written before the accepted files and removed after them, so that a kill in between loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from medsam2_core.cohort.notes import read_note, write_note
from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import write_file

SEGMENTATION, MODEL_SEGMENTATION = "segmentation.seg.nrrd", "segmentation.model.seg.nrrd"
_FORMAT = "medsam2-review/1"
_ACCEPTED, _DRAFT, _DRAFT_NOTE = "accepted.json", "draft.seg.nrrd", "draft.json"


@dataclass(frozen=True)
class Work:
    """A segmentation of a case as the bytes of a `.seg.nrrd` file, the facts reported of it, and how it came about.

    `facts` are as `facts.case_facts` gives them, and a "thumbnail". `review` is for the program that the work is done
    in, in JSON's own types.
    """

    segmentation: bytes
    facts: Mapping[str, Any]
    review: Mapping[str, Any]


@dataclass(frozen=True)
class CaseFolder:
    """The folder of a case that is done. Methods that write raise VolumeError if they cannot."""

    path: Path

    @property
    def accepted(self) -> dict[str, Any] | None:
        """The note of an acceptance: "accepted" is when, and of corrected work there are "facts" and "review"."""
        return _noted(self.path / _ACCEPTED, {"accepted": str})

    @property
    def draft(self) -> dict[str, Any] | None:
        """The note of work that is not accepted yet: "facts" and "review"."""
        known = {"facts": dict, "review": dict}
        return _noted(self.path / _DRAFT_NOTE, known) if (self.path / _DRAFT).is_file() else None

    @property
    def has_draft(self) -> bool:
        """Whether there is work that is not accepted yet, be it damaged."""
        return any((self.path / name).is_file() for name in (_DRAFT_NOTE, _DRAFT))

    @property
    def has_work(self) -> bool:
        """Whether a person has left anything here."""
        return any((self.path / name).is_file() for name in (_ACCEPTED, _DRAFT))

    def signature(self) -> tuple[tuple[str, int, int], ...]:
        """Another one whenever a run or a person has changed the folder: names, dates and sizes of its notes."""
        notes = [(path.name, path.stat()) for path in sorted(self.path.glob("[!.]*.json"))]
        return tuple((name, facts.st_mtime_ns, facts.st_size) for name, facts in notes)

    def latest(self) -> tuple[Path, Mapping[str, Any] | None]:
        """The segmentation to go on with, and the "review" that belongs to it; None where it is the model's own."""
        if (draft := self.draft) is not None:
            return self.path / _DRAFT, draft["review"]
        if (accepted := self.accepted) is not None:
            return self.path / SEGMENTATION, accepted.get("review")
        own = self.path / MODEL_SEGMENTATION
        return own if own.is_file() else self.path / SEGMENTATION, None

    def keep_draft(self, work: Work) -> None:
        """Keep work that is not accepted yet, in place of what was kept before."""
        write_file(self.path / _DRAFT, work.segmentation)
        write_note(self.path / _DRAFT_NOTE, {"format": _FORMAT, "facts": work.facts, "review": work.review})

    def accept(self) -> None:
        """Accept the draft, else what is there. The model's own segmentation is kept beside a draft that takes its
        place.
        """
        draft, own = self.draft, self.path / MODEL_SEGMENTATION
        if draft is not None:
            if not own.exists():
                write_file(own, _read(self.path / SEGMENTATION))
            write_file(self.path / SEGMENTATION, _read(self.path / _DRAFT))
        elif not (self.path / _ACCEPTED).exists():
            self._restore()  # starting over may have been cut short
        note = draft or self.accepted or {"format": _FORMAT}
        when = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_note(self.path / _ACCEPTED, {**note, "accepted": when})
        self._remove(_DRAFT_NOTE, _DRAFT)

    def withdraw(self) -> None:
        """Take an acceptance back: corrected work is a draft again, and the model's segmentation in its place."""
        accepted = self.accepted
        if accepted is not None and "review" in accepted and self.draft is None:
            work = Work(_read(self.path / SEGMENTATION), accepted["facts"], accepted["review"])
            self.keep_draft(work)
        self._remove(_ACCEPTED)
        self._restore()

    def start_over(self, aside: Path) -> None:
        """Go back to the model's own segmentation; what a person made goes to the new folder `aside`.

        An accepted segmentation is copied there first, and only then replaced, so that a kill in between loses nothing.
        """
        made = [_DRAFT_NOTE, _DRAFT]
        try:
            if (self.path / MODEL_SEGMENTATION).is_file():
                aside.mkdir(parents=True)
                write_file(aside / SEGMENTATION, _read(self.path / SEGMENTATION))
                made.append(_ACCEPTED)
            for place in [self.path / name for name in made if (self.path / name).is_file()]:
                aside.mkdir(parents=True, exist_ok=True)
                place.replace(aside / place.name)
        except OSError as error:
            raise _refusal(self.path, error) from error
        self._remove(_ACCEPTED)
        self._restore()

    def put_damaged_aside(self, aside: Path) -> bool:
        """Move what a person left here and cannot be used to the folder `aside`; returns whether there was any.

        An accepted segmentation goes with its note, and the model's own takes its place again.
        """
        damaged = [] if self.draft else [name for name in (_DRAFT_NOTE, _DRAFT) if (self.path / name).is_file()]
        is_of_accepted = (self.path / _ACCEPTED).is_file() and self.accepted is None
        if is_of_accepted:
            damaged.append(_ACCEPTED)
        try:
            for name in damaged:
                _require_opens(self.path / name)
            if damaged:
                aside.mkdir(parents=True)
            if is_of_accepted and (self.path / MODEL_SEGMENTATION).is_file():
                write_file(aside / SEGMENTATION, _read(self.path / SEGMENTATION))
            for name in damaged:
                (self.path / name).replace(aside / name)
        except OSError as error:
            raise _refusal(self.path, error) from error
        if is_of_accepted:
            self._restore()
        return bool(damaged)

    def _restore(self) -> None:
        own = self.path / MODEL_SEGMENTATION
        try:
            if own.is_file():
                own.replace(self.path / SEGMENTATION)
        except OSError as error:
            raise _refusal(self.path, error) from error

    def _remove(self, *names: str) -> None:
        try:
            for name in names:
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise _refusal(self.path, error) from error


def _noted(path: Path, known: Mapping[str, type]) -> dict[str, Any] | None:
    """What a note holds; None for one that is damaged or lacks what must be `known`."""
    note = read_note(path, _FORMAT)
    is_whole = note is not None and all(isinstance(note.get(name), kind) for name, kind in known.items())
    return note if is_whole else None


def _require_opens(path: Path) -> None:
    """Raise OSError for a file that cannot be read now, which says nothing of what it holds."""
    with path.open("rb") as file:
        file.read(1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VolumeError(f"{path}: Cannot be read ({error.strerror or error}): run the case again.") from error


def _refusal(folder: Path, error: OSError) -> VolumeError:
    return VolumeError(f"{folder} cannot be written ({error.strerror or error}): change its permissions.")
