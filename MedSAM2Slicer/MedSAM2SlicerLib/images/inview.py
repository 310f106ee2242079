"""Which volume the slice views show, whoever brought it there."""

from __future__ import annotations

import slicer
import slicer.util


class InView:
    """The volume in the background of the slice views: of several the one that a view was switched to last, or that of
    a view that was clicked since.

    Where there are no slice views it is what `show` was told.
    """

    def __init__(self) -> None:
        self._latest = ""
        self._before: dict[str, str] = {}

    @property
    def volumeId(self) -> str:
        """The volume's ID, empty where no view shows one."""
        now = _backgrounds()
        switched = [volume for view, volume in now.items() if volume and volume != self._before.get(view, volume)]
        self._before = now
        if switched:
            self._latest = switched[0]
        elif now and self._latest not in now.values():
            self._latest = next(filter(None, now.values()), "")
        return self._latest

    def attend(self, view: slicer.vtkMRMLSliceNode) -> None:
        """Have the volume that a slice view shows be the one in view, until another view is switched."""
        self._before = _backgrounds()
        self._latest = volumeIn(view)

    def show(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Bring a volume into all slice views, in the middle of each."""
        scene = volumeNode.GetScene()
        self._latest = volumeNode.GetID()
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", scene):
            composite.SetBackgroundVolumeID(volumeNode.GetID())
        bounds = [0.0] * 6
        volumeNode.GetRASBounds(bounds)
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", scene):
            view.JumpSliceByOffsetting(*((bounds[axis] + bounds[axis + 1]) / 2 for axis in (0, 2, 4)))


def volumeIn(view: slicer.vtkMRMLSliceNode) -> str:
    """Return the ID of the volume in the background of a slice view, empty where it shows none."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    shown = (one.GetBackgroundVolumeID() for one in composites if one.GetLayoutName() == view.GetLayoutName())
    return next(shown, None) or ""


def _backgrounds() -> dict[str, str]:
    """The volumes by slice view: those of the layout, or all if it has none."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    seen = {view.GetLayoutName() for view in views if view.IsMappedInLayout()}
    inLayout = [one for one in composites if one.GetLayoutName() in seen] or composites
    return {one.GetID(): one.GetBackgroundVolumeID() or "" for one in inLayout}
