"""How large a segment is: its volume, and its long and short axes as RECIST measures a lesion."""

from __future__ import annotations

from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from medsam2_core.image.measure import largest_axes, volume_ml
from MedSAM2SlicerLib.scene.layers import layerOf, markedIn

_SPACE = "\u00a0"  # between thousands, where a line must not break


@dataclass(frozen=True)
class Measures:
    """Volume in mL; long and short axis in mm (`medsam2_core.image.measure`), both on slice `sliceIndex`.

    All 0 for an empty segment. The slice is None where no view shows it.
    """

    volumeMl: float = 0.0
    longAxisMm: float = 0.0
    shortAxisMm: float = 0.0
    sliceIndex: int | None = None


def milliliters(volume: float) -> str:
    """Return a volume in mL, to three digits or whole milliliters."""
    if volume < 100:
        return _("{volume} mL").format(volume=f"{volume:.3g}")
    return _("{volume} mL").format(volume=f"{volume:,.0f}".replace(",", _SPACE))


def measureSegment(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, axis: int) -> Measures:
    """Measure a segment on its slices along an array axis (0, 1, 2 for k, j, i).

    In the segmentation's own frame: a transform that scales does not count. 5 to 12 ms for the liver of a chest CT.
    """
    layer, found = layerOf(segmentationNode, segmentId), markedIn(segmentationNode, segmentId)
    if layer is None or found is None:
        return Measures()
    marked, box = found
    spacing = layer.GetSpacing()[::-1]
    axes = largest_axes(marked, spacing, axis)
    if axes is None:
        return Measures()
    return Measures(volume_ml(marked, spacing), axes.long_mm, axes.short_mm, box[axis].start + axes.slice_index)
