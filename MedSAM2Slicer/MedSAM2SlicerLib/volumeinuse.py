"""The volume a controller works on: its slices, where they lie, and what the model sees of them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util

from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.window import Window
from medsam2_core.run.prompts import Slicing
from medsam2_core.run.stack import SliceStack
from MedSAM2SlicerLib.client import WorkerClient
from MedSAM2SlicerLib.geometry import volumeToWorld
from MedSAM2SlicerLib.layers import Bools
from MedSAM2SlicerLib.oblique import ObliqueSliceMasks, ObliqueWriter, obliqueKey, preparedOblique
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.prompts import PromptPlacer
from MedSAM2SlicerLib.segments import SegmentWriter
from MedSAM2SlicerLib.slicemasks import SliceMasks, SliceWriter, StoredSliceMasks
from MedSAM2SlicerLib.volumes import PreparedVolume, arrayHash, checkedGeometry, prepareVolume, volumeKey, windowOf

_hashing = ThreadPoolExecutor(1, "voxel hash")  # hashlib lets the interface's thread run meanwhile


class VolumeInUse:
    """A volume node and its windowed copy, which is made anew only when voxels, grid or window have changed.

    Every method raises VolumeError for what cannot be segmented, also where there is no volume (None).
    """

    def __init__(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        self.node = node
        self._prepared: PreparedVolume | None = None
        self._resampled: PreparedVolume | None = None
        self._window: tuple[object, Window] | None = None
        self._opened: str | None = None
        self._sent: dict[str, str] = {}  # by session
        self._hash: tuple[int, Future[str]] | None = None

    def prepared(self, window: Window | str, stack: SliceStack) -> PreparedVolume:
        """Return the volume as the worker gets it; `window` as in `volumes.windowOf`."""
        geometry, chosen = checkedGeometry(self.node), self._chosen(window)
        if self._prepared is None or self._prepared.key != volumeKey(self.node, chosen):
            self._prepared = prepareVolume(self.node, chosen)
        oblique = stack.oblique(geometry)
        if oblique is None:
            self._resampled = None
            return self._prepared
        if self._resampled is None or self._resampled.key != obliqueKey(self._prepared, oblique):
            self._resampled = preparedOblique(self._prepared, oblique)
        return self._resampled

    def openSession(self, client: WorkerClient, key: str, options: RunOptions) -> bool:
        """Have the client know the model, the volume and a session on it, called `key`.

        An earlier form of the volume, such as in another window, is closed: 35 MB in both processes for a chest CT.
        Returns whether it showed other voxels or another window: what was drawn on it belongs to that.
        """
        prepared = self.prepared(options.window, options.stack)
        if self._opened != prepared.key:
            self.close(client)
        whole = self._prepared.key
        isOther = self._sent.get(key, whole) != whole
        self._sent[key], self._opened = whole, prepared.key
        client.setModel(options.model, options.device)
        client.setVolume(prepared.key, prepared)
        client.openSession(key, prepared.key, options.stack.axis, options.memoryRule(), options.fieldOfView)
        return isOther

    def close(self, client: WorkerClient) -> None:
        """Have the client forget the volume and all sessions on it."""
        if self._opened is not None:
            client.closeVolume(self._opened)
            self._opened = None

    def voxelsSha256(self) -> Future[str]:
        """Return the hash of the voxels, taken anew only when they have changed, on a thread: 0.1 s for a chest CT."""
        checkedGeometry(self.node)
        changed = self.node.GetImageData().GetMTime()
        if self._hash is None or self._hash[0] != changed:
            self._hash = changed, _hashing.submit(arrayHash, slicer.util.arrayFromVolume(self.node))
        return self._hash[1]

    def masks(self, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, stack: SliceStack) -> SliceMasks:
        """Return a segment as masks of slices."""
        geometry = checkedGeometry(self.node)
        oblique = stack.oblique(geometry)
        if oblique is None:
            return StoredSliceMasks(segmentationNode, segmentId, geometry.shape_kji, stack.axis)
        return ObliqueSliceMasks(segmentationNode, segmentId, oblique)

    def onSlices(self, writer: SegmentWriter, stack: SliceStack) -> SliceWriter:
        """Return what writes masks of slices through `writer`."""
        oblique = stack.oblique(checkedGeometry(self.node))
        return writer if oblique is None else ObliqueWriter(writer, oblique)

    def regionOnSlices(self, marked: Bools, stack: SliceStack) -> Bools:
        """Return a region of the volume (k, j, i) on the grid of slices. 1 s for oblique ones of a chest CT."""
        oblique = stack.oblique(checkedGeometry(self.node))
        return marked if oblique is None else oblique.read_all(marked)

    def slicing(self, stack: SliceStack) -> Slicing:
        """Return the slices, and where their pixels lie."""
        return stack.slicing(checkedGeometry(self.node))

    def placer(self, stack: SliceStack) -> PromptPlacer:
        """Return what places prompts on slices."""
        return PromptPlacer(self.node, stack.axis, stack.oblique(checkedGeometry(self.node)))

    def sliceCentreRas(self, stack: SliceStack, sliceIndex: int) -> tuple[float, float, float]:
        """Return the world position of a slice's middle."""
        slicing = self.slicing(stack)
        rows, columns = slicing.shape
        middle = slicing.join(sliceIndex, ((columns - 1) / 2, (rows - 1) / 2))
        r, a, s = volumeToWorld(self.node, slicing.geometry.ijk_to_ras([middle]))[0]
        return float(r), float(a), float(s)

    def modelView(self, window: Window | str, stack: SliceStack, sliceIndex: int) -> npt.NDArray[np.uint8]:
        """Return a slice (rows, columns) as the model sees it: windowed and upright."""
        prepared = self.prepared(window, stack)
        turned = SliceOrientation.upright(prepared.geometry, stack.axis).turn(prepared.grey)
        view: npt.NDArray[np.uint8] = turned[sliceIndex]
        return view

    def _chosen(self, window: Window | str) -> Window:
        """The window to use; looked for anew, 10 ms for a chest CT, only when voxels or display have changed."""
        display = self.node.GetDisplayNode()
        state = (window, self.node.GetImageData().GetMTime(), display and (display.GetID(), display.GetMTime()))
        if self._window is None or self._window[0] != state:
            self._window = state, windowOf(self.node, window)
        return self._window[1]
