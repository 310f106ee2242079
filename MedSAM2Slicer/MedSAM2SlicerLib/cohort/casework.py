"""What a person made of a loaded case, as it is kept in the case's folder."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.arrays import Array
from medsam2_core.cohort.acceptance import Work
from medsam2_core.errors import VolumeError
from medsam2_core.image.measure import volume_ml
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from MedSAM2SlicerLib.cohort.casenodes import CaseNodes
from MedSAM2SlicerLib.cohort.caseplace import seenPrints, settledSegmentation
from MedSAM2SlicerLib.cohort.reviewnotes import describeReview, seenReview
from MedSAM2SlicerLib.scene.attributes import storedSlices, storedStack
from MedSAM2SlicerLib.scene.history import NoHistory
from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.scene.slicedvolume import slicedVolume
from MedSAM2SlicerLib.scene.slicestates import SliceStates
from MedSAM2SlicerLib.work.target import Target

_FILE = "segmentation.seg.nrrd"


def fingerprint(nodes: CaseNodes) -> dict[str, Any]:
    """Return what differs once anybody has changed a case: masks, names and colors, prompts, states of slices.

    Masks are those that are seen on the image, so moving the segmentation changes them, and moving both does not.
    """
    segmentation = nodes.segmentationNode.GetSegmentation()
    segments = {
        segmentId: (
            segmentation.GetSegment(segmentId).GetName(),
            segmentation.GetSegment(segmentId).GetColor(),
            seenPrints(nodes, segmentId),
        )
        for segmentId in nodes.segmentIds
    }
    return {"segments": segments, "review": seenReview(nodes)}


def noteEdits(nodes: CaseNodes) -> None:
    """Have the scene know what other tools have changed, also in segments that nobody has chosen since.

    Loaded again, the case would otherwise be found edited, and so changed, when they are.
    """
    _noteEdits(nodes.segmentationNode, nodes.volumeNode)


def _noteEdits(segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    Target(segmentationNode, history=NoHistory()).readStored(slicedVolume(volumeNode))


def makeWork(nodes: CaseNodes, window: Window) -> Work:
    """Return the case as it is now, its picture in `window`. Raises VolumeError if it cannot be kept."""
    settled = settledSegmentation(nodes)
    if settled is not nodes.segmentationNode:
        _noteEdits(settled, nodes.volumeNode)
    return Work(_fileOf(settled), _facts(nodes, settled, window), describeReview(nodes, settled))


def _fileOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bytes:
    """The segmentation as a file, overlaps and terminology with it."""
    with tempfile.TemporaryDirectory(prefix="medsam2-") as folder:
        path = Path(folder) / _FILE
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(path))
        if not (storage.WriteData(segmentationNode) and path.is_file()):
            text = _("{name} cannot be written to {folder}: free some disk space.")
            raise VolumeError(text.format(name=repr(segmentationNode.GetName()), folder=folder))
        return path.read_bytes()


def _facts(nodes: CaseNodes, settled: slicer.vtkMRMLSegmentationNode, window: Window) -> dict[str, Any]:
    """The facts of a case, as of a run whose report has these slices, which `settled` knows."""
    from medsam2_core.cohort.facts import case_facts
    from medsam2_core.cohort.overview import Drawing

    volume, stack = slicedVolume(nodes.volumeNode), _stackOf(nodes, settled)
    labelmap = np.zeros(volume.geometry.shape_kji, dtype=np.uint16)
    objects = [_object(nodes, settled, one, label, labelmap) for label, one in enumerate(nodes.segmentIds, 1)]
    report = {
        "settings": {"range": [0, slicedVolume(nodes.volumeNode, stack).slicing.count]},
        "volume": {"spacing_kji": volume.geometry.spacing_kji},
        "objects": objects,
        "slices_per_second": None,
    }
    segments = [Segment(one["name"], one["label"], one["color"]) for one in objects]
    drawing = Drawing(slicer.util.arrayFromVolume(nodes.volumeNode), labelmap, volume.geometry, window, segments)
    thumbnail = drawing.thumbnail(stack.axis)
    return {**case_facts(report, labelmap, {}), "thumbnail": base64.b64encode(thumbnail).decode()}


def _object(
    nodes: CaseNodes, settled: slicer.vtkMRMLSegmentationNode, segmentId: str, label: int, labelmap: Array
) -> dict[str, Any]:
    """A segment as an object of a report; it is drawn into the label map, over those before it."""
    states, _prints = storedSlices(settled, segmentId) or (SliceStates(), {})
    mask = segmentMask(nodes.segmentationNode, segmentId, nodes.volumeNode)
    labelmap[mask] = label
    volume = slicedVolume(nodes.volumeNode, states.stack)
    masks = np.moveaxis(volume.region(mask), states.stack.axis, 0)
    spacing = np.delete(volume.slicing.geometry.spacing_kji, states.stack.axis)
    areas = (masks.sum(axis=(1, 2)) * spacing.prod()).tolist()
    segment = nodes.segmentationNode.GetSegmentation().GetSegment(segmentId)
    return {
        "name": segment.GetName(),
        "label": label,
        "color": [round(part, 4) for part in segment.GetColor()],
        "volume_ml": volume_ml(mask, volume.geometry.spacing_kji),
        "stopped": {},
        "slices": _slices(states, areas),
    }


def _slices(states: SliceStates, areas: Sequence[float]) -> list[Mapping[str, Any]]:
    """The slices of which something is known, or that are marked: what a person drew is certain."""
    known = states.slices
    shown = [index for index, area in enumerate(areas) if area or index in known]
    return [
        {
            "slice_index": index,
            "confidence": known[index].confidence if index in known else 1.0,
            "area_mm2": areas[index],
            "direction": "prompt" if index not in known or known[index].isAnchor else known[index].direction,
        }
        for index in shown
    ]


def _stackOf(nodes: CaseNodes, settled: slicer.vtkMRMLSegmentationNode) -> SliceStack:
    """The slices that the first segment was worked on."""
    stacks = (storedStack(settled, one) for one in nodes.segmentIds)
    return next(filter(None, stacks), SliceStack())
