"""The folder of a cohort's results: its cases, the most doubtful first, and the report, which is kept up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from medsam2_core.cohort.acceptance import CaseFolder, Work
from medsam2_core.cohort.states import ACCEPTED, DONE, OPEN
from medsam2_core.errors import VolumeError

if TYPE_CHECKING:
    from medsam2_core.cohort.results import Results  # brings SimpleITK, which is only needed with a cohort

TO_REVIEW, DOUBTFUL, ALL = "review", "doubtful", "all"

_IN_DOUBT = 0.3  # from which the report colors a case


@dataclass(frozen=True)
class CaseLine:
    """A case in a list. `state` is one of `medsam2_core.cohort.states`; `sentence` says what is wrong with it.

    `hasDraft`: work on it is not accepted yet. `confidence` is the lowest of a slice, None where nothing was found.
    """

    name: str
    state: str
    doubt: float
    volumeMl: float
    confidence: float | None
    hasDraft: bool
    sentence: str

    @property
    def canBeLoaded(self) -> bool:
        """Whether there are results."""
        return self.state in (DONE, ACCEPTED)

    def isListed(self, chosen: str) -> bool:
        """Whether it belongs to a filter: one that is failed or open waits for a run, not for a person."""
        if chosen == ALL:
            return True
        waits = self.hasDraft or self.state == DONE
        return waits and (chosen == TO_REVIEW or self.doubt >= _IN_DOUBT)


class CohortFolder:
    """A folder that `medsam2 batch` wrote. Raises VolumeError for another one."""

    def __init__(self, path: Path) -> None:
        from medsam2_core.cohort.results import Results

        self.path = path
        self._results: Results = Results(path)
        self._told: dict[str, dict[str, Any]] = {}
        self._order: list[str] = []
        if path.is_dir():
            self._look()
        if not self._told:
            text = _("{path} holds no cohort: choose the folder that medsam2 batch wrote with --output.")
            raise VolumeError(text.format(path=path))

    def lines(self) -> list[CaseLine]:
        """Return all cases, the most doubtful first; an acceptance changes nothing of the order."""
        return [_line(self._told[name]) for name in self._order]

    def line(self, name: str) -> CaseLine:
        """Return a case."""
        return _line(self._told[name])

    def told(self, name: str) -> Mapping[str, Any]:
        """Return what the report tells of a case."""
        return self._told[name]

    def noted(self, name: str) -> Mapping[str, Any]:
        """Return what is noted of a case that is done. Raises VolumeError if that is gone."""
        noted, _failure = self._results.notes(name)
        if noted is None:
            raise VolumeError(_("{name}: Its results are damaged or gone: run medsam2 batch again.").format(name=name))
        return noted

    def case(self, name: str) -> CaseFolder:
        """Return the folder of a case."""
        return CaseFolder(self.path / name)

    def startOver(self, name: str) -> None:
        """Put aside what a person made of a case. Raises VolumeError."""
        self.case(name).start_over(self._results.aside(name))

    def putDamagedAside(self, name: str) -> Path | None:
        """Put aside what a person made of a case and is damaged; returns the folder, if there was any.

        Raises VolumeError.
        """
        aside = self._results.aside(name)
        return aside if self.case(name).put_damaged_aside(aside) else None

    def putAside(self, name: str, work: Work) -> Path:
        """Keep work on a case where it takes no part; returns the folder. Raises VolumeError."""
        aside = self._results.aside(name)
        try:
            aside.mkdir(parents=True)
        except OSError as error:
            text = _("{path} cannot be created ({reason}): change the permissions of the cohort's folder.")
            raise VolumeError(text.format(path=aside, reason=error.strerror)) from error
        CaseFolder(aside).keep_draft(work)
        return aside

    def retell(self, name: str) -> None:
        """Look at a case again."""
        from medsam2_core.cohort.telling import retell

        self._told[name] = retell(self._results, self._told[name])

    def writeReport(self) -> None:
        """Have the report tell what is known now, in the order of the table: a run may go on. Raises VolumeError."""
        from medsam2_core.cohort.report import write_told

        self._look()
        write_told(self.path, sorted(self._told.values(), key=lambda one: one["row"]))

    def _look(self) -> None:
        """Look at all cases, and bring them in their order."""
        from medsam2_core.cohort.telling import tell_folder

        self._told = {one["name"]: one for one in tell_folder(self._results)}
        self._order = sorted(self._told, key=lambda name: (-self._told[name]["doubt"], self._told[name]["row"]))


def _line(told: Mapping[str, Any]) -> CaseLine:
    objects = told["objects"]
    lowest = [one["lowest"][0] for one in objects if one["lowest"]]
    unfinished = _("Not done yet: run medsam2 batch again.") if told["state"] == OPEN else ""
    return CaseLine(
        told["name"],
        told["state"],
        told["doubt"],
        sum(one["volume_ml"] for one in objects),
        min(lowest, default=None),
        told.get("draft", False),
        told.get("failed", unfinished),
    )
