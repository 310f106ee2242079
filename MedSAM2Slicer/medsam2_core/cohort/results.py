"""The folder of a cohort's results: a folder for each case, whole or not there, and what is noted beside it.

CASE/            segmentation.seg.nrrd, report.json, overview.png, and done.json, which was written last; beside these,
                 what a person made of it (see `acceptance`)
replaced/CASE/   what a person had made of CASE before another run, or before starting over, by the moment of that
.cohort/failed/  why a case failed
.cohort/claims/  which process runs which case
.cohort/work/    cases that are being made
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from medsam2_core.cohort import inputs
from medsam2_core.cohort.acceptance import SEGMENTATION, CaseFolder
from medsam2_core.cohort.cases import REPLACED, Case
from medsam2_core.cohort.claims import Claim, Claims
from medsam2_core.cohort.notes import read_note, write_note
from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import Draft

FORMAT = "medsam2-case/1"
REPORT, OVERVIEW, DONE = "report.json", "overview.png", "done.json"


@dataclass(frozen=True)
class Results:
    """The results of a cohort, in `folder`."""

    folder: Path

    @property
    def _own(self) -> Path:
        return self.folder / ".cohort"

    @property
    def claims_folder(self) -> Path:
        """Where claims are."""
        return self._own / "claims"

    def prepare(self) -> None:
        """Make the folders. Raises VolumeError if they cannot be written."""
        try:
            for name in ("claims", "failed", "work"):
                (self._own / name).mkdir(parents=True, exist_ok=True)
            for name in ("claims", "work"):
                Draft(self._own / name / "try").discard()
            Draft(self.folder / "try").discard()
        except OSError as error:
            raise VolumeError(
                f"{self.folder} cannot be written ({error.strerror or error}): change its permissions or choose "
                "another --output."
            ) from error

    def done(self, case: Case) -> dict[str, Any] | None:
        """What is noted of a case that is done as it is asked for now; None for any other, also if its files are gone.

        One that a person has worked on stays done when its model or its prompts' files change, but not with another
        image or row.
        """
        noted, _ = self.notes(case.name)
        if noted is None:
            return None
        if CaseFolder(self.folder / case.name).has_work:
            noted["inputs"] = inputs.of_image(noted.get("inputs", {}), case)
        elif not all(_is_written(self.folder / case.name / name) for name in (SEGMENTATION, REPORT)):
            return None
        return noted if self._is_of(noted, case) else None

    def failure(self, case: Case) -> dict[str, Any] | None:
        """What is noted of a case that failed as it is asked for now; None for any other."""
        _, noted = self.notes(case.name)
        return noted if noted is not None and self._is_of(noted, case) else None

    def notes(self, name: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """What is noted of a case that is done, and of one that failed, however it was asked for; None for neither."""
        failed = self._own / "failed" / f"{name}.json"
        return read_note(self.folder / name / DONE, FORMAT), read_note(failed, FORMAT)

    def names(self) -> list[str]:
        """The cases that are done or have failed; drafts of notes begin with a dot."""
        done = {path.parent.name for path in self.folder.glob(f"*/{DONE}")}
        return sorted(done | {path.stem for path in (self._own / "failed").glob("[!.]*.json")})

    def replaced(self, name: str) -> list[str]:
        """The folders of what a person made of a case and what takes no part any more, as paths from the results."""
        return sorted(path.relative_to(self.folder).as_posix() for path in (self.folder / REPLACED / name).glob("*"))

    def aside(self, name: str) -> Path:
        """A new folder for what a person made of a case and what takes no part any more; it is not made."""
        return self.folder / REPLACED / name / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S%fZ}"

    def is_settled(self, case: Case) -> bool:
        """Whether there is nothing to do."""
        return self.done(case) is not None or self.failure(case) is not None

    def forget_failure(self, case: Case) -> None:
        """Let a case that failed run again."""
        (self._own / "failed" / f"{case.name}.json").unlink(missing_ok=True)

    def note_failure(self, case: Case, sentence: str, details: str = "") -> None:
        """Note why a case failed. Raises VolumeError."""
        write_note(
            self._own / "failed" / f"{case.name}.json",
            {
                "format": FORMAT,
                "case": case.name,
                "row": case.row,
                "digest": case.digest,
                "inputs": inputs.seen(inputs.input_paths(case), case.folder),
                "failed": sentence,
                **({"details": details} if details else {}),
            },
        )

    def workplace(self, claim: Claim) -> Path:
        """A new folder to make a case in; what earlier holders of the claim left is removed. Raises OSError."""
        self._clear(claim.name, claim.number)
        folder = self._own / "work" / f"{claim.name}.{claim.number}"
        folder.mkdir(parents=True)
        return folder

    def scratch(self) -> Path:
        """Where a plan is made of a case before it is known who runs it; nothing is kept there."""
        return self._own / "work"

    def commit(self, case: Case, claim: Claim, folder: Path) -> bool:
        """Put a finished folder in its place, and an older one away; False if somebody else was faster."""
        target = self.folder / case.name
        if not claim.is_last() or self.done(case) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            return False
        old = folder.with_name(f"{folder.name}.old")
        with suppress(FileNotFoundError):
            target.rename(old)
        folder.rename(target)
        self._put_away(case.name, old)
        self.forget_failure(case)
        return True

    def discard(self, claim: Claim) -> None:
        """Remove what a claim's holder was making."""
        self._clear(claim.name, claim.number)

    def tidy(self, cases: Mapping[str, Case], claims: Claims) -> None:
        """Remove what processes that were killed left of cases that are settled or no longer asked for."""
        claims.remove_drafts()
        there = [path.name for path in self._in_work()]
        claimed = set(claims.names())  # after the list of folders: a claim comes before its folder
        for name in {case_of(name) for name in there} - claimed:
            self._clear(name, None)
        for name in claimed:
            if claims.is_held(name) or (name in cases and not self.is_settled(cases[name])):
                continue
            self._clear(name, None)
            claims.remove_abandoned(name)

    def remove_empty_folders(self) -> None:
        """Remove those of our own folders that are empty."""
        for name in ("claims", "work", "failed", ""):
            with suppress(OSError):  # not empty
                (self._own / name).rmdir()

    def _is_of(self, noted: Mapping[str, Any], case: Case) -> bool:
        return noted.get("digest") == case.digest and inputs.unchanged(noted.get("inputs", {}), case.folder)

    def _in_work(self) -> list[Path]:
        try:
            return [path for path in (self._own / "work").iterdir() if path.is_dir()]
        except FileNotFoundError:  # whoever was done first has tidied up
            return []

    def _clear(self, name: str, until: int | None) -> None:
        """Remove the folders of a case in work, of all claims on it or those up to a number."""
        for path in self._in_work():
            number = path.name[len(name) + 1 :].removesuffix(".old")
            of_case = path.name.startswith(f"{name}.") and number.isdecimal()
            if of_case and (until is None or int(number) <= until):
                self._put_away(name, path)

    def _put_away(self, name: str, folder: Path) -> None:
        """Remove a folder of a case; one that a person has worked on is kept, beside the results."""
        if CaseFolder(folder).has_work:
            aside = self.aside(name)
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _is_written(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def case_of(folder: str) -> str:
    """The case of a folder in work."""
    return folder.removesuffix(".old").rpartition(".")[0]
