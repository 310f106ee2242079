"""What a person chooses in the panel, in the plain values that widgets show and a scene saves."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from medsam2_core.image.slicing import SliceStack
from medsam2_core.memory_name import parse_memory
from medsam2_core.run.settings import FileSettings, RunSettings, rows_of
from medsam2_core.setting import plain_rows
from medsam2_core.stopping import StopRules
from medsam2_core.weights.catalog import load_catalog
from MedSAM2SlicerLib.options import RunOptions, optionName

AUTO = "auto"
END = -1  # a range that goes to the volume's end, however many slices it has


@dataclass(frozen=True)
class Widget:
    """What shows a choice, by its name in the panel: a combo box for text, a spin box or slider for a number.

    A slider's value is rounded to `digits`.
    """

    name: str
    digits: int | None = None


def shown(default: Any, widget: str, digits: int | None = None) -> Any:
    """A choice that one widget shows, whatever is special about it is in `optioncontrols`."""
    return field(default=default, metadata={Widget: Widget(widget, digits)})


@dataclass(frozen=True)
class Choices:
    """All choices but the nodes.

    `axis` is auto, axial, coronal or sagittal. `first` and `last` are slices, both included, of the volume and stack
    that `rangeOf` names, of any if that is empty; on other ones the range is whole. In the stop rules 0 means off;
    `maxAreaChange` is in percent; `inside` is the ID of a segment or an ROI node, empty for anywhere. `threshold`
    is a probability; it, `smoothingMm`, the smoothing across slices, `largest` and `fillHoles` redraw what was
    propagated.
    """

    model: str = "starter"
    axis: str = shown(AUTO, "axisComboBox")
    window: str = AUTO
    first: int = END
    last: int = END
    direction: str = shown(RunSettings.direction, "directionComboBox")
    directions: str = shown(RunSettings.directions, "directionsComboBox")
    memory: str = shown(RunSettings.memory, "memoryComboBox")
    bankSize: int = shown(6, "bankSizeSpinBox")
    absentSlices: int = shown(3, "absentSlicesSpinBox")
    minAreaMm2: float = shown(0.0, "minAreaSpinBox")
    maxAreaChange: int = shown(0, "areaChangeSpinBox")
    maxDistanceMm: float = shown(0.0, "maxDistanceSpinBox")
    inside: str = shown("", "insideComboBox")
    threshold: float = shown(RunSettings.threshold, "thresholdSlider", digits=2)
    smoothingMm: float = shown(RunSettings.smoothing_mm, "smoothingSlider", digits=1)
    largest: str = shown(RunSettings.largest, "largestComboBox")
    fillHoles: str = shown(RunSettings.fill_holes, "fillHolesComboBox")
    rangeOf: str = field(default="", compare=False)

    def options(self, stack: SliceStack) -> RunOptions:
        """Return the options of a run through the slices of `stack`."""
        same = {one.name: getattr(self, one.name) for one in fields(RunOptions) if hasattr(self, one.name)}
        rules = {name: same[name] or None for name in (optionName(row.name) for row in plain_rows(StopRules))}
        special = {
            "first": None if self.first == END else self.first,
            "last": None if self.last == END else self.last + 1,
            "maxAreaChange": self.maxAreaChange / 100 or None,
        }
        return RunOptions(**{**same, **rules, **special}, stack=stack)


def choicesOf(settings: FileSettings, now: Choices) -> Choices:
    """Return the choices that go on with a run: its model, if that is in the catalog, and its memory.

    Axis and window stand with the segments, and what was chosen of the volume before means nothing here.
    """
    memory = parse_memory(settings.memory or RunSettings.memory)
    return replace(
        now,
        model=settings.model if settings.model in load_catalog() else now.model,
        memory=memory.kind,
        bankSize=memory.size or now.bankSize,
        axis=AUTO,
        window=AUTO,
        first=END,
        last=END,
        inside="",
        rangeOf="",
    )


WIDGETS = {one.name: one.metadata[Widget] for one in fields(Choices) if Widget in one.metadata}
"""What shows the choices that one widget shows, by name."""

DRAWING = tuple(optionName(row.name) for row in rows_of("drawing"))
"""The choices that redraw what was propagated, in the order of a `Cut`."""
