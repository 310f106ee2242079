"""The volume a controller works on: its slices, where they lie, and what the model sees of them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util

from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.geometry import placeInWorld
from MedSAM2SlicerLib.scene.growing import VoxelHash
from MedSAM2SlicerLib.scene.oblique import preparedOblique
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.volumes import (
    PreparedVolume,
    checkedVolume,
    prepareVolume,
    usableVolume,
    voxelsOf,
    windowOf,
)
from MedSAM2SlicerLib.worker.client import WorkerClient

_OBLIQUE = 3  # stacks that are kept ready: of a chest CT 35 to 90 MB each, here and in the worker
_HASHING_SECONDS = 0.01  # at a time


class VolumeInUse:
    """A volume node and its windowed copy, which is made again only when voxels, grid or window have changed.

    The worker gets it once for its stored slices, and once more for each of the last `_OBLIQUE` oblique stacks.
    Methods raise VolumeError for what cannot be segmented, also where there is no volume (None).
    """

    def __init__(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        self.node = node
        self._changedAt = _changedAt(node)
        self._prepared: PreparedVolume | None = None
        self._preparedOf: object = None
        self._resampled: dict[SliceStack, PreparedVolume] = {}  # the one used last comes last
        self._window: tuple[object, Window] | None = None
        self._opened: set[str] = set()  # keys of the forms that the client knows
        self._sessions: dict[str, set[SliceStack]] = {}  # by owner
        self._seen: dict[str, str] = {}  # by owner
        self._hash: tuple[int, VoxelHash] | None = None
        self._place: object = None  # of those that follow
        self._sliced: dict[SliceStack, SlicedVolume] = {}

    @property
    def usable(self) -> slicer.vtkMRMLScalarVolumeNode:
        """The node, if it can be segmented."""
        return usableVolume(self.node)

    @property
    def hasOtherVoxels(self) -> bool:
        """Whether the node has got other voxels since, such as another frame of a sequence."""
        return _changedAt(self.node) != self._changedAt

    def sliced(self, stack: SliceStack) -> SlicedVolume:
        """Return the volume on slices of a stack: the same value as long as it has the same grid in the same place."""
        node, geometry = checkedVolume(self.node)
        if self._place != (place := (geometry, placeInWorld(node))):
            self._place, self._sliced = place, {}
        if stack not in self._sliced:
            self._sliced[stack] = SlicedVolume(node, stack, geometry)
        return self._sliced[stack]

    def prepared(self, window: Window | str, stack: SliceStack) -> PreparedVolume:
        """Return the volume as the worker gets it; `window` as in `volumes.windowOf`."""
        return self._along(stack, self._whole(window))

    def window(self, window: Window | str) -> Window:
        """Return what `window` stands for now; found again, 10 ms for a chest CT, only when something changed."""
        return self._windowOf(self.usable, window)

    def isOther(self, owner: str, window: Window | str) -> bool:
        """Whether voxels or window have changed since this was last asked for this owner of sessions."""
        whole = self._whole(window).key
        before, self._seen[owner] = self._seen.get(owner, whole), whole
        return before != whole

    def openSession(
        self, client: WorkerClient, owner: str, options: RunOptions, inUse: Collection[SliceStack] = ()
    ) -> str:
        """Have the client know the model, the volume and a session of `owner` on it; returns the session's key.

        There is one for each stack. The owner's sessions along others than those `inUse` are closed, and so are forms
        of the volume that are not kept ready any more, such as in another window: see `holds`.
        """
        stack, whole = options.stack, self._whole(options.window)
        prepared = self._along(stack, whole)
        ready = {whole.key, *(one.key for one in self._resampled.values())}
        for key in self._opened - ready:
            client.closeVolume(key, self._sessionKeys())
        self._opened = (self._opened & ready) | {prepared.key}
        self._closeSessions(client, owner, {stack, *inUse})
        self._sessions[owner] = self._sessions.get(owner, set()) | {stack}
        self.voxelsSha256()
        client.setModel(options.model, options.device, precision=options.precision)
        client.setVolume(prepared.key, prepared)
        key = _sessionKey(owner, stack)
        client.openSession(key, prepared.key, stack.axis, options.of("session"))
        return key

    def holds(self, stack: SliceStack) -> bool:
        """Whether the client has the volume as it is seen along a stack, and with it the sessions there."""
        form = self._prepared if stack.plane is None else self._resampled.get(stack)
        return form is not None and form.key in self._opened

    def closeSessions(self, client: WorkerClient, owner: str) -> None:
        """Have the client forget the sessions of `owner`."""
        self._closeSessions(client, owner, set())

    def close(self, client: WorkerClient) -> None:
        """Have the client forget the sessions that were opened here, and the volume unless others work on it."""
        for key in self._opened:
            client.closeVolume(key, self._sessionKeys())
        self._opened.clear()
        self._sessions.clear()

    def voxelsSha256(self) -> VoxelHash:
        """Return the hash of the voxels, computed again only when they have changed; `work` takes it bit by bit.

        Asks nothing of the volume: another method has found it usable.
        """
        changed = _changedAt(self.node)
        if self._hash is None or self._hash[0] != changed:
            self._hash = changed, VoxelHash(slicer.util.arrayFromVolume(self.node))
        return self._hash[1]

    def work(self) -> bool:
        """Go on with the hash, once it was asked for, for 10 ms; whether there is more to do."""
        return self._hash is not None and self._hash[1].goesOn and self._hash[1].work(_HASHING_SECONDS)

    def modelView(self, window: Window | str, stack: SliceStack, sliceIndex: int) -> npt.NDArray[np.uint8]:
        """Return a slice (rows, columns), in color (rows, columns, 3), as the model sees it: windowed and upright."""
        prepared = self.prepared(window, stack)
        turn = SliceOrientation.upright(prepared.geometry, stack.axis).turn
        if prepared is self._prepared:  # which may not be windowed yet
            return prepared.window.to_uint8(turn(voxelsOf(self.usable))[sliceIndex])
        view: npt.NDArray[np.uint8] = turn(prepared.gray)[sliceIndex]
        return view

    def _whole(self, window: Window | str) -> PreparedVolume:
        """The stored slices in a window."""
        node, geometry = checkedVolume(self.node)
        chosen = self._windowOf(node, window)
        state = geometry, _changedAt(node), chosen.lower, chosen.upper
        if self._prepared is None or self._preparedOf != state:
            self._preparedOf, self._prepared = state, prepareVolume(node, chosen)
            self._resampled.clear()
        return self._prepared

    def _along(self, stack: SliceStack, whole: PreparedVolume) -> PreparedVolume:
        """The volume on slices of a stack, of which the stored ones are its own."""
        oblique = None if stack.plane is None else self.sliced(stack).oblique
        if oblique is None:
            return whole
        shown = self._resampled.pop(stack, None) or preparedOblique(whole, oblique)
        self._resampled[stack] = shown
        while len(self._resampled) > _OBLIQUE:
            self._resampled.pop(next(iter(self._resampled)))
        return shown

    def _windowOf(self, node: slicer.vtkMRMLScalarVolumeNode, window: Window | str) -> Window:
        display = node.GetDisplayNode()
        state = (window, _changedAt(node), display and (display.GetID(), display.GetMTime()))
        if self._window is None or self._window[0] != state:
            self._window = state, windowOf(node, window)
        return self._window[1]

    def _sessionKeys(self) -> set[str]:
        return {_sessionKey(owner, stack) for owner, stacks in self._sessions.items() for stack in stacks}

    def _closeSessions(self, client: WorkerClient, owner: str, but: set[SliceStack]) -> None:
        stacks = self._sessions.pop(owner, set())
        for stack in stacks - but:
            client.closeSession(_sessionKey(owner, stack))
        if stacks & but:
            self._sessions[owner] = stacks & but


def _changedAt(node: slicer.vtkMRMLScalarVolumeNode | None) -> int:
    image = node and node.GetImageData()
    return int(image.GetMTime()) if image else 0


def _sessionKey(owner: str, stack: SliceStack) -> str:
    return f"{owner}/{stack.name}"
