"""The controls of a run: direction, range, window, stop rules and memory, and how masks are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slicer.i18n import tr as _

from medsam2_core.directions import ONE, THREE
from medsam2_core.image.window import CT_PRESETS
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.scene.cut import PLAIN, Cut
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui.choices import AUTO, DRAWING, END, WIDGETS, Choices, Widget
from MedSAM2SlicerLib.ui.part import explain

_CUSTOM = "custom"
_CHANGED = {str: "currentIndexChanged(int)", int: "valueChanged(int)", float: "valueChanged(double)"}


class OptionControls:
    """Shows `Choices` (except the model, which has its own controls).

    changed(): a person changed one. drawingChanged(): it was one that redraws what was propagated.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self.changed, self.drawingChanged = Signal(), Signal()
        self._quiet = True
        self._rangeOf = ""
        self._offered: list[tuple[str, str]] = []
        self._fill()
        self.setSlices(0, "")
        self.show(Choices())
        self._connect()

    def choices(self, model: str) -> Choices:
        """Return what is chosen, together with `model`."""
        first, last = self._range()
        plain = {name: _value(self.ui, widget) for name, widget in WIDGETS.items()}
        return Choices(**plain, model=model, window=self._window(), first=first, last=last, rangeOf=self._rangeOf)

    def show(self, choices: Choices) -> None:
        """Show these choices without emitting `changed`."""
        self._quiet = True
        try:
            self._showWindow(choices.window)
            isOwn = choices.rangeOf in ("", self._rangeOf)
            self._showRange(*((choices.first, choices.last) if isOwn else (END, END)))
            for name, widget in WIDGETS.items():
                _show(self.ui, widget, getattr(choices, name))
            self._enable()
        finally:
            self._quiet = False

    def showCut(self, *cut: Any) -> None:
        """Show how a segment is drawn, without drawing it."""
        self._quiet, quiet = True, self._quiet
        for name, value in zip(DRAWING, cut, strict=True):
            if name in WIDGETS:
                _show(self.ui, WIDGETS[name], value)
        self._quiet = quiet

    def setSlices(self, count: int, of: str) -> None:
        """Let the range go over this many slices of a volume and stack; of others than before it begins whole."""
        first, last = self._range() if of == self._rangeOf else (END, END)
        self._quiet, quiet, self._rangeOf = True, self._quiet, of
        self.ui.rangeWidget.setRange(0, max(count - 1, 0))
        explain(self.ui.rangeWidget, "" if count else _("Choose a volume first."))
        self._showRange(first, last)
        self._quiet = quiet

    def setRegions(self, regions: Sequence[tuple[str, str]]) -> None:
        """Offer to stay inside one of these (IDs and names); that the chosen one is gone counts as a change."""
        offered = [("", _("Anywhere")), *regions]
        if offered == self._offered:
            return
        box, self._offered = self.ui.insideComboBox, offered
        before = box.currentData
        self._quiet, quiet = True, self._quiet
        box.clear()
        _fill(box, dict(offered))
        _select(box, before)
        self._quiet = quiet
        if box.currentData != before:
            self._onChanged()

    def _fill(self) -> None:
        self.setRegions([])
        _fill(
            self.ui.axisComboBox,
            {
                AUTO: _("Auto (view clicked)"),
                "axial": _("Axial"),
                "coronal": _("Coronal"),
                "sagittal": _("Sagittal"),
            },
        )
        _fill(
            self.ui.directionComboBox,
            {"both": _("Both ways"), "forward": _("Forward only"), "backward": _("Backward only")},
        )
        _fill(
            self.ui.directionsComboBox,
            {ONE: _("This way"), THREE: _("Three axes")},
        )
        _fill(
            self.ui.memoryComboBox,
            {
                "recency": _("Most recent (SAM 2)"),
                "self-sorting": _("Self-sorting (MedSAM-2)"),
                "pooled": _("Most recent, pooled (faster, less exact)"),
            },
        )
        _fill(
            self.ui.largestComboBox,
            {
                "off": _("All"),
                "slice": _("Largest of each slice"),
                "3d": _("Largest of all slices"),
                "prompt": _("Those with a prompt"),
            },
        )
        _fill(self.ui.fillHolesComboBox, {"off": _("Left open"), "on": _("Filled")})
        _fill(self.ui.windowComboBox, _windows())

    def _connect(self) -> None:
        ui = self.ui
        for name, widget in WIDGETS.items():
            changed = self._onDrawingChanged if name in DRAWING else self._onChanged
            getattr(ui, widget.name).connect(_CHANGED[type(getattr(Choices, name))], guarded(changed))
        ui.windowComboBox.connect(_CHANGED[str], guarded(self._onChanged))
        for box in (ui.levelSpinBox, ui.widthSpinBox):
            box.connect(_CHANGED[float], guarded(self._onChanged))
        ui.rangeWidget.connect("valuesChanged(double,double)", guarded(self._onChanged))

    def _onChanged(self) -> None:
        if not self._quiet:
            self._enable()
            self.changed.emit()

    def _onDrawingChanged(self) -> None:
        if not self._quiet:
            self.changed.emit()
            self.drawingChanged.emit()

    def _enable(self) -> None:
        custom = self.ui.windowComboBox.currentData == _CUSTOM
        self.ui.levelSpinBox.visible = custom
        self.ui.widthSpinBox.visible = custom
        sorting = self.ui.memoryComboBox.currentData == "self-sorting"
        explain(self.ui.bankSizeSpinBox, "" if sorting else _("The memory of SAM 2 has a fixed size."))

    def _window(self) -> str:
        window = self.ui.windowComboBox.currentData
        if window != _CUSTOM:
            return str(window)
        return f"{self.ui.levelSpinBox.value:g}/{self.ui.widthSpinBox.value:g}"

    def _showWindow(self, window: str) -> None:
        level, slash, width = window.partition("/")
        _select(self.ui.windowComboBox, _CUSTOM if slash else window)
        if slash:
            self.ui.levelSpinBox.value = float(level)
            self.ui.widthSpinBox.value = float(width)

    def _range(self) -> tuple[int, int]:
        widget = self.ui.rangeWidget
        first, last = round(widget.minimumValue), round(widget.maximumValue)
        return (END if first <= widget.minimum else first), (END if last >= widget.maximum else last)

    def _showRange(self, first: int, last: int) -> None:
        widget = self.ui.rangeWidget
        widget.setValues(widget.minimum if first == END else first, widget.maximum if last == END else last)


def shownCut(ui: Any) -> Cut:
    """Return how masks are to be drawn, as the widgets show it; what has none is drawn as usual."""
    usual = zip(DRAWING, PLAIN, strict=True)
    return tuple(_value(ui, WIDGETS[name]) if name in WIDGETS else value for name, value in usual)


def _value(ui: Any, widget: Widget) -> Any:
    box = getattr(ui, widget.name)
    if _isCombo(widget):
        return box.currentData
    return box.value if widget.digits is None else round(box.value, widget.digits)


def _show(ui: Any, widget: Widget, value: Any) -> None:
    box = getattr(ui, widget.name)
    if _isCombo(widget):
        _select(box, value)
    else:
        box.value = value


def _isCombo(widget: Widget) -> bool:
    return widget.name.endswith("ComboBox")


def _windows() -> dict[str, str]:
    names = {
        "abdomen": _("Abdomen"),
        "lung": _("Lung"),
        "bone": _("Bone"),
        "brain": _("Brain"),
        "mediastinum": _("Mediastinum"),
        "liver": _("Liver"),
        "angio": _("Angio"),
    }
    presets = {
        name: _("{name} ({level:g}/{width:g})").format(name=names.get(name, name), level=level, width=width)
        for name, (level, width) in CT_PRESETS.items()
    }
    return {AUTO: _("Auto"), **presets, _CUSTOM: _("Custom level/width")}


def _fill(box: Any, labels: dict[str, str]) -> None:
    for value, label in labels.items():
        box.addItem(label, value)


def _select(box: Any, value: str) -> None:
    """Select a value; one that is not offered, from a scene of another version, becomes the first."""
    box.currentIndex = max(box.findData(value), 0)
