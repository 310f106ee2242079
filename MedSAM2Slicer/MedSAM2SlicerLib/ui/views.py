"""The slice views: which way each goes through a volume, which slice it shows, and how to bring one into view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.scene.geometry import geometryOf, viewAxis
from MedSAM2SlicerLib.scene.oblique import isAlong, viewStack
from MedSAM2SlicerLib.scene.volumes import checkedGeometry, usableVolume

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller


def clickedView() -> Any:
    """Return the slice node under the mouse, None if it is not over a slice view."""
    crosshair = slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
    return crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]) if crosshair else None


def stackOfView(controller: Controller, view: Any) -> SliceStack:
    """Return the slices that a view goes through; the default if the volume cannot be used.

    Oblique ones that a segment has already are preferred to those that lie between them.
    """
    try:
        volume = usableVolume(controller.volumeNode)
        stack = viewStack(volume, view)
        known = [one for one in controller.review.stacks() if stack.plane is not None and one.plane is not None]
        return next((one for one in known if isAlong(volume, view, one)), stack)
    except VolumeError:
        return SliceStack()


def stackOfPlane(volumeNode: Any, plane: str) -> SliceStack:
    """Return the volume's axial, coronal or sagittal slices; the default if the volume cannot be used."""
    try:
        return SliceStack(geometryOf(volumeNode).anatomical_axis(plane))
    except VolumeError:
        return SliceStack()


def shownSlice(controller: Controller) -> int | None:
    """Return the slice that a view of the controller's slices shows, None if no view does."""
    count = controller.review.sliceCount()
    view = next(_viewsAlong(controller), None) if count else None
    if view is None:
        return None
    first, last = (np.array(controller.review.sliceCenterRas(index)) for index in (0, count - 1))
    way = last - first
    if not way.any():
        return 0
    matrix = view.GetSliceToRAS()
    shown = np.array([matrix.GetElement(row, 3) for row in range(3)])
    fraction = float((shown - first) @ way / (way @ way))
    return min(max(round(fraction * (count - 1)), 0), count - 1)


def showSlice(controller: Controller, index: int) -> None:
    """Bring a slice into every view of the controller's slices; nothing moves within the views.

    Where there is no such view the controller's `noticed` says so.
    """
    views = list(_viewsAlong(controller)) if controller.review.sliceCount() else []
    for view in views:
        view.JumpSliceByOffsetting(*controller.review.sliceCenterRas(index))
    if not views:
        controller.noticed.emit(whyUnseen(controller))


def whyUnseen(controller: Controller) -> str:
    """Say what to do where no view shows the controller's slices."""
    if not controller.review.sliceCount():
        return _("No slice is in view.")
    if controller.review.stack.plane is not None:
        return _("No slice view is parallel to the segment's slices: turn one back.")
    plane = controller.review.stack.slicing(checkedGeometry(controller.volumeNode)).plane
    return _("No slice view shows the segment's slices: choose a layout with {plane} slices.").format(plane=plane)


def flatten(roiNode: Any, view: Any, volumeNode: Any) -> None:
    """Make a box as deep as a slice, across a view.

    Slicer makes one drawn by two clicks as deep as it is wide, which would put it on another slice near the volume's
    ends, and through slices nobody looked at.
    """
    try:
        axis = viewAxis(volumeNode, view).axis
    except VolumeError:
        return
    normal = np.array([view.GetSliceToRAS().GetElement(row, 2) for row in range(3)])
    toWorld = slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToWorldMatrix())[:3, :3]
    size = list(roiNode.GetSize())
    size[int(np.argmax(np.abs(normal @ toWorld)))] = volumeNode.GetSpacing()[2 - axis]
    roiNode.SetSize(size)


def _viewsAlong(controller: Controller) -> Iterator[Any]:
    """The views in the layout that show the controller's slices; none if the volume cannot be used."""
    views = [view for view in slicer.util.getNodesByClass("vtkMRMLSliceNode") if view.IsMappedInLayout()]
    try:
        volume = usableVolume(controller.volumeNode)
        yield from [view for view in views if isAlong(volume, view, controller.review.stack)]
    except VolumeError:
        return
