"""Volumes of segments over the frames of a sequence, as a table and a chart of the scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer
import slicer.util
from slicer.i18n import tr as _

_CURVE_OF = "MedSAM2.CurveOf"  # what refers from a table to the segmentation that its volumes are of
_SEGMENT = "MedSAM2.SegmentName"


@dataclass(frozen=True)
class FrameVolume:
    """A segment in one frame: its volume in mL, and how sure the model is of it, 0 to 1."""

    volumeMl: float
    confidence: float


def showCurve(
    segmentationNode: slicer.vtkMRMLSegmentationNode, name: str, values: Mapping[int, FrameVolume]
) -> slicer.vtkMRMLTableNode:
    """Write a segment's volumes by frame into its table, made with a chart if there is none; returns the table."""
    table = _table(segmentationNode, name) or _make(segmentationNode, name)
    rows = [(frame, values[frame].volumeMl, values[frame].confidence) for frame in sorted(values)]
    slicer.util.updateTableFromArray(table, np.array(rows), _columns())
    return table


def _columns() -> list[str]:
    return [_("frame"), _("volume (mL)"), _("confidence")]


def _table(segmentationNode: slicer.vtkMRMLSegmentationNode, name: str) -> slicer.vtkMRMLTableNode | None:
    wanted = segmentationNode.GetID()
    tables = slicer.util.getNodesByClass("vtkMRMLTableNode", segmentationNode.GetScene())
    found = (
        one for one in tables if one.GetNodeReferenceID(_CURVE_OF) == wanted and one.GetAttribute(_SEGMENT) == name
    )
    return next(found, None)


def _make(segmentationNode: slicer.vtkMRMLSegmentationNode, name: str) -> slicer.vtkMRMLTableNode:
    scene, title = segmentationNode.GetScene(), _("{name} over time").format(name=name)
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", title)
    table.SetNodeReferenceID(_CURVE_OF, segmentationNode.GetID())
    table.SetAttribute(_SEGMENT, name)
    frame, volume, _confidence = _columns()
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", title)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(frame)
    series.SetYColumnName(volume)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", title)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetXAxisTitle(frame)
    chart.SetYAxisTitle(volume)
    return table
