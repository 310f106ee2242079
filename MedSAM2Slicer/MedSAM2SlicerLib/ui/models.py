"""The models to choose from: size, license, and whether they are on this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from medsam2_core.weights.store import ModelState
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.modelmanager import ModelManager

if TYPE_CHECKING:
    from medsam2_core.weights.catalog import ModelEntry
    from MedSAM2SlicerLib.ui.services import Services


class ModelControls:
    """The model selector, what is to be known of the chosen model, and the Manage button.

    changed(): a person chose another model. refreshed(): a model was downloaded or removed.
    """

    def __init__(self, ui: Any, services: Services) -> None:
        self.ui = ui
        self.changed, self.refreshed = Signal(), Signal()
        self._services = services
        self.manager = ModelManager(services)
        self.manager.changed.connect(self._onStoreChanged)
        self._fill()
        ui.modelComboBox.connect("activated(int)", guarded(self.onActivated))
        ui.manageModelsButton.connect("clicked()", guarded(self.manager.open))

    def model(self) -> str:
        """Return the name of the chosen model."""
        return str(self.ui.modelComboBox.currentData)

    def show(self, model: str) -> None:
        """Select a model; a checkpoint of the user's own is added by its path."""
        box = self.ui.modelComboBox
        if box.findData(model) < 0:
            box.addItem(model, model)
        box.currentIndex = box.findData(model)
        self._describe()

    def whyNot(self) -> str:
        """Return why the chosen model cannot be used, nothing if it can."""
        store = self._services.store
        if self.model() in store.catalog and store.state(self.model()) is ModelState.MISSING:
            return _("The chosen model is not on this computer: download it (Manage…).")
        return ""

    def onActivated(self) -> None:
        """Use the model that a person chose; one that is not here is offered for download."""
        self._describe()
        self.changed.emit()
        if self.whyNot():
            self.manager.offer(self.model())

    def close(self) -> None:
        """Close the manager and end a download."""
        self.manager.close()

    def _fill(self) -> None:
        for entry in self._services.store.catalog.values():
            self.ui.modelComboBox.addItem(entry.title, entry.name)
        self._describe()

    def _onStoreChanged(self) -> None:
        self._describe()
        self.refreshed.emit()

    def _describe(self) -> None:
        """Say what is to be known: of the chosen model below the selector, of the others in its list."""
        store, box = self._services.store, self.ui.modelComboBox
        notes = {name: _note(entry, store.state(name)) for name, entry in store.catalog.items()}
        for index in range(box.count):
            box.setItemData(index, notes.get(box.itemData(index), ""), qt.Qt.ToolTipRole)
        self.ui.modelNoteLabel.text = notes.get(self.model(), _("A checkpoint of your own."))


def _note(entry: ModelEntry, state: ModelState) -> str:
    if state is ModelState.BUNDLED:
        return _("Built in.")
    if state is ModelState.INSTALLED:
        return _("Downloaded. {license}.").format(license=entry.license)
    return _("Not downloaded: {size}. {license}.").format(size=text.megabytes(entry.size_bytes), license=entry.license)
