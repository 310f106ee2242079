"""What a person chooses in the panel, in the plain values that widgets show and a scene saves."""

from __future__ import annotations

from dataclasses import dataclass, field

from medsam2_core.image.slicing import SliceStack
from medsam2_core.memory_name import DEFAULT_MEMORY
from MedSAM2SlicerLib.options import RunOptions

AUTO = "auto"
END = -1  # a range that goes to the volume's end, however many slices it has


@dataclass(frozen=True)
class Choices:
    """All choices but the nodes.

    `axis` is auto, axial, coronal or sagittal. `first` and `last` are slices, both included, of the volume and stack
    that `rangeOf` names, of any if that is empty; on other ones the range is whole. In the stop rules 0 means off;
    `maxAreaChange` is in percent; `inside` is the ID of a segment or an ROI node, empty for anywhere. `threshold`
    is a probability; it and `smoothingMm`, the smoothing across slices, redraw what was propagated.
    """

    model: str = "starter"
    axis: str = AUTO
    window: str = AUTO
    first: int = END
    last: int = END
    direction: str = "both"
    memory: str = DEFAULT_MEMORY
    bankSize: int = 6
    absentSlices: int = 3
    minAreaMm2: float = 0.0
    maxAreaChange: int = 0
    maxDistanceMm: float = 0.0
    inside: str = ""
    threshold: float = 0.5
    smoothingMm: float = 0.0
    rangeOf: str = field(default="", compare=False)

    def options(self, stack: SliceStack) -> RunOptions:
        """Return the options of a run through the slices of `stack`."""
        return RunOptions(
            model=self.model,
            stack=stack,
            window=self.window,
            memory=self.memory,
            bankSize=self.bankSize,
            first=None if self.first == END else self.first,
            last=None if self.last == END else self.last + 1,
            direction=self.direction,
            absentSlices=self.absentSlices or None,
            minAreaMm2=self.minAreaMm2 or None,
            maxAreaChange=self.maxAreaChange / 100 or None,
            maxDistanceMm=self.maxDistanceMm or None,
            inside=self.inside,
        )
