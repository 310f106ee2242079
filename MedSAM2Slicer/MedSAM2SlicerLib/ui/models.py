"""The models to choose from: size, license, and whether they are on this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from medsam2_core.weights.store import ModelState
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.modelmanager import ModelManager

if TYPE_CHECKING:
    from medsam2_core.weights.catalogue import ModelEntry
    from MedSAM2SlicerLib.ui.services import Services


class ModelControls:
    """The model selector and its Manage button. `changed` is emitted when a person chooses another model."""

    def __init__(self, ui: Any, services: Services) -> None:
        self.ui = ui
        self.changed = Signal()
        self.refreshed = Signal()
        self._services = services
        self.manager = ModelManager(services)
        self.manager.changed.connect(self._onStoreChanged)
        self._fill()
        ui.modelComboBox.connect("activated(int)", self.onActivated)
        ui.manageModelsButton.connect("clicked()", self.manager.open)

    def model(self) -> str:
        """Return the name of the chosen model."""
        return str(self.ui.modelComboBox.currentData)

    def show(self, model: str) -> None:
        """Select a model; a checkpoint of the user's own is added by its path."""
        box = self.ui.modelComboBox
        if box.findData(model) < 0:
            box.addItem(model, model)
        box.currentIndex = box.findData(model)

    def whyNot(self) -> str:
        """Return why the chosen model cannot be used, nothing if it can."""
        store = self._services.store
        if self.model() in store.catalogue and store.state(self.model()) is ModelState.MISSING:
            return _("The chosen model is not on this computer: download it (Manage…).")
        return ""

    def onActivated(self) -> None:
        """Use the model that a person chose; one that is not here is offered for download."""
        self.changed.emit()
        if self.whyNot():
            self.manager.offer(self.model())

    def close(self) -> None:
        """Close the manager and end a download."""
        self.manager.close()

    def _fill(self) -> None:
        store = self._services.store
        for entry in store.catalogue.values():
            self.ui.modelComboBox.addItem(_label(entry, store.state(entry.name)), entry.name)

    def _onStoreChanged(self) -> None:
        store = self._services.store
        for entry in store.catalogue.values():
            index = self.ui.modelComboBox.findData(entry.name)
            self.ui.modelComboBox.setItemText(index, _label(entry, store.state(entry.name)))
        self.refreshed.emit()


def _label(entry: ModelEntry, state: ModelState) -> str:
    if state is ModelState.BUNDLED:
        return _("{title} · built in").format(title=entry.title)
    if state is ModelState.INSTALLED:
        return _("{title} · downloaded").format(title=entry.title)
    return _("{title} · {size}, {license}, not downloaded").format(
        title=entry.title, size=text.megabytes(entry.size_bytes), license=entry.licence
    )
