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
from MedSAM2SlicerLib.client import WorkerClient
from MedSAM2SlicerLib.geometry import ijkToWorld
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.prompts import PromptPlacer
from MedSAM2SlicerLib.slicemasks import SliceMasks, StoredSliceMasks
from MedSAM2SlicerLib.volumes import PreparedVolume, arrayHash, checkedGeometry, prepareVolume, volumeKey, windowOf

_hashing = ThreadPoolExecutor(1, "voxel hash")  # hashlib lets the interface's thread run meanwhile


class VolumeInUse:
    """A volume node and its windowed copy, which is made anew only when voxels, grid or window have changed.

    `axis` is an array axis (0, 1, 2 for k, j, i). Every method raises VolumeError for what cannot be segmented, also
    where there is no volume (None).
    """

    def __init__(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        self.node = node
        self._prepared: PreparedVolume | None = None
        self._window: tuple[object, Window] | None = None
        self._opened: str | None = None
        self._hash: tuple[int, Future[str]] | None = None

    def prepared(self, window: str) -> PreparedVolume:
        """Return the volume as the worker gets it; `window` as in `volumes.windowOf`."""
        checkedGeometry(self.node)
        chosen = self._chosen(window)
        if self._prepared is None or self._prepared.key != volumeKey(self.node, chosen):
            self._prepared = prepareVolume(self.node, chosen)
        return self._prepared

    def openSession(self, client: WorkerClient, key: str, options: RunOptions) -> None:
        """Have the client know the model, the volume and a session on it, called `key`.

        An earlier form of the volume, such as in another window, is closed: 35 MB in both processes for a chest CT.
        """
        prepared = self.prepared(options.window)
        if self._opened != prepared.key:
            self.close(client)
        self._opened = prepared.key
        client.setModel(options.model, options.device)
        client.setVolume(prepared.key, prepared)
        client.openSession(key, prepared.key, options.axis or 0, options.memoryRule(), options.fieldOfView)

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

    def masks(self, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, axis: int) -> SliceMasks:
        """Return a segment as masks of the slices along an axis."""
        return StoredSliceMasks(segmentationNode, segmentId, checkedGeometry(self.node).shape_kji, axis)

    def slicing(self, axis: int) -> Slicing:
        """Return the slices along an axis."""
        return Slicing(checkedGeometry(self.node), axis)

    def placer(self, axis: int) -> PromptPlacer:
        """Return what places prompts on the slices along an axis."""
        checkedGeometry(self.node)
        return PromptPlacer(self.node, axis)

    def sliceCentreRas(self, axis: int, sliceIndex: int) -> tuple[float, float, float]:
        """Return the world position of a slice's middle."""
        slicing = self.slicing(axis)
        rows, columns = slicing.shape
        r, a, s = ijkToWorld(self.node, slicing.join(sliceIndex, ((columns - 1) / 2, (rows - 1) / 2)))[0]
        return float(r), float(a), float(s)

    def modelView(self, window: str, axis: int, sliceIndex: int) -> npt.NDArray[np.uint8]:
        """Return a slice (rows, columns) as the model sees it: windowed and upright."""
        prepared = self.prepared(window)
        turned = SliceOrientation.upright(prepared.geometry, axis).turn(prepared.grey)
        view: npt.NDArray[np.uint8] = turned[sliceIndex]
        return view

    def _chosen(self, window: str) -> Window:
        """The window to use; looked for anew, 10 ms for a chest CT, only when voxels or display have changed."""
        display = self.node.GetDisplayNode()
        state = (window, self.node.GetImageData().GetMTime(), display and (display.GetID(), display.GetMTime()))
        if self._window is None or self._window[0] != state:
            self._window = state, windowOf(self.node, window)
        return self._window[1]
