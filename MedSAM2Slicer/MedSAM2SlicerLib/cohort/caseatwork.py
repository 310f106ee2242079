"""A loaded case while somebody works on it: what was changed, and whether anybody else has changed its folder."""

from __future__ import annotations

from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.cohort.caseloading import LoadedCase, loadCase
from MedSAM2SlicerLib.cohort.casework import fingerprint, makeWork, noteEdits
from MedSAM2SlicerLib.cohort.cohortfolder import CohortFolder


class CaseAtWork:
    """A case of a cohort, which is loaded. Raises MedSAM2Error if it cannot be. `told` says what of it was damaged."""

    def __init__(self, cohort: CohortFolder, name: str) -> None:
        self._cohort, self.name = cohort, name
        self.told = self._putDamagedAside()
        self.note()
        self.case: LoadedCase = self._loaded()
        self._mark = fingerprint(self.case.nodes)
        cohort.retell(name)  # somebody else may have worked on it meanwhile

    @property
    def isOvertaken(self) -> bool:
        """Whether another person, or another run, has changed the folder since."""
        return self._cohort.case(self.name).signature() != self._seen

    def _loaded(self) -> LoadedCase:
        try:
            return loadCase(self._cohort, self.name)
        except MedSAM2Error as error:
            raise type(error)(f"{self.told} {error}".strip()) from error

    def _putDamagedAside(self) -> str:
        path = self._cohort.putDamagedAside(self.name)
        if path is None:
            return ""
        text = _("Earlier work on {name} is damaged, so the case is shown without it: its files are kept in {path}.")
        return text.format(name=self.name, path=path)

    def note(self) -> None:
        """Note that the folder is as this program left it."""
        self._seen = self._cohort.case(self.name).signature()

    def keep(self) -> str:
        """Keep what was changed: as a draft, or aside where the folder is not as it was. Returns what came of it.

        Raises VolumeError if it cannot be kept: then the case must not be left.
        """
        noteEdits(self.case.nodes)
        now = fingerprint(self.case.nodes)
        if now == self._mark:
            return ""
        work = makeWork(self.case.nodes, self.case.window)
        if self.isOvertaken:
            path = self._cohort.putAside(self.name, work)
            text = _("{name} was changed by somebody else meanwhile: your work is in {path}.")
            said = text.format(name=self.name, path=path)
        else:
            self._cohort.case(self.name).keep_draft(work)
            self.note()
            said = _("Your work on {name} is kept as a draft.").format(name=self.name)
        self._mark = now
        self._cohort.retell(self.name)
        return said
