"""Encoded slices that stay on this computer when Slicer ends, so that a volume opened again answers at once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import qt
from slicer.i18n import tr as _

from medsam2_core.feature_place import FOLDER_VARIABLE, forget_features
from medsam2_core.weights.user_folder import user_folder
from MedSAM2SlicerLib.worker.commands import Origin

if TYPE_CHECKING:
    from MedSAM2SlicerLib.worker.commands import WorkerCommand

KEEP = "MedSAM2Slicer/KeepSlices"  # key of the application's settings
_ON, _OFF = "on", "off"


class KeptSlices:
    """The user's choice, and the worker's environment that follows from it."""

    @property
    def isOn(self) -> bool:
        """Whether the user chose to keep them; they are images of patients, so nobody else chooses that."""
        return str(qt.QSettings().value(KEEP, "") or "") == _ON

    @property
    def folder(self) -> Path:
        """Where they are kept."""
        return user_folder() / "features"

    def choose(self, isOn: bool) -> None:
        """Keep the choice."""
        qt.QSettings().setValue(KEEP, _ON if isOn else _OFF)

    def forget(self) -> None:
        """Delete what is kept; the worker must have stopped."""
        forget_features(self.folder)

    def whyNot(self, command: WorkerCommand) -> str:
        """Say why there is no choice with this command; nothing where there is one."""
        if command.origin is Origin.TYPED:
            return _("The model runs elsewhere: set {variable} to a folder there.").format(variable=FOLDER_VARIABLE)
        named = _environment(command).get(FOLDER_VARIABLE)
        return _("{variable} says where: {folder}").format(variable=FOLDER_VARIABLE, folder=named) if named else ""

    def applied(self, command: WorkerCommand) -> WorkerCommand:
        """Return the command that keeps encoded slices if that was chosen."""
        if not self.isOn or self.whyNot(command):
            return command
        return replace(command, environment={**_environment(command), FOLDER_VARIABLE: str(self.folder)})


def _environment(command: WorkerCommand) -> dict[str, str]:
    return dict(os.environ if command.environment is None else command.environment)
