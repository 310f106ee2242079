"""A Slicer user without Slicer: the real scene of slicer-core, the controller and a worker, one segment at a time.

Importing this gives `slicer` what the application would have.
"""

from __future__ import annotations

import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util


def _translate(text: str) -> str:
    return text


if "slicer.i18n" not in sys.modules:
    sys.modules["slicer.i18n"] = types.ModuleType("slicer.i18n")
    sys.modules["slicer.i18n"].tr = _translate  # type: ignore[attr-defined]

from MedSAM2SlicerLib.controller import Controller  # noqa: E402
from MedSAM2SlicerLib.options import RunOptions  # noqa: E402
from MedSAM2SlicerLib.scene.geometry import ijkToWorld  # noqa: E402
from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask  # noqa: E402
from MedSAM2SlicerLib.worker.client import WorkerClient  # noqa: E402 (translates its texts)
from MedSAM2SlicerLib.worker.transports import SubprocessTransport  # noqa: E402

Mask = npt.NDArray[np.bool_]

_PATIENCE = 1200.0  # seconds


@contextmanager
def new_scene() -> Iterator[None]:
    """An empty scene, which is emptied in the end: nodes that outlive a scene crash slicer-core 5.13."""
    slicer.mrmlScene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    slicer.modules = types.SimpleNamespace(segmentations=types.SimpleNamespace(logic=lambda: logic))
    try:
        yield
    finally:
        slicer.mrmlScene.Clear(1)
        # Each segmentations logic enters its rules once more: after 400 scenes a copy of a segmentation takes 1.5 s.
        rules = slicer.vtkSegmentationConverterFactory.GetInstance()
        for rule in rules.GetConverterRules():
            rules.UnregisterConverterRule(rule)


def volume_node(array: npt.NDArray[Any], ijk_to_ras: npt.NDArray[np.float64]) -> Any:
    """Put a volume (k, j, i) into the scene."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(node, array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
    return node


@contextmanager
def worker() -> Iterator[WorkerClient]:
    """A worker of this Python, which ends with the context."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "medsam2_core.worker"]
        client = WorkerClient(SubprocessTransport, command, Path(folder) / "worker.log")
        try:
            yield client
        finally:
            client.stop()


def wait(client: WorkerClient, done: Callable[[], bool]) -> None:
    """Take what the worker sends until something is done. Raises TimeoutError."""
    deadline = time.perf_counter() + _PATIENCE
    while not done():
        if time.perf_counter() > deadline:
            raise TimeoutError("the worker did not answer")
        client.pump(0.01)


class Editor:
    """Segments one object of a volume through the controller, as a person would; failures are raised."""

    def __init__(self, client: WorkerClient, volume: Any, options: RunOptions) -> None:
        self.controller = Controller(client)
        self._client, self._volume = client, volume
        self._drawn: list[int] = []
        self._failed: list[str] = []
        self._previews = 0
        self.controller.failed.connect(self._failed.append)
        self.controller.sliceDrawn.connect(self._drawn.append)
        self.controller.previewed.connect(self._on_preview)
        self.controller.setVolume(volume)
        self.controller.setOptions(options)

    @property
    def mask(self) -> Mask:
        """The segment (k, j, i)."""
        mask: Mask = segmentMask(self.controller.segmentationNode, self.controller.segmentId, self._volume)
        return mask

    def add_box(self, _object_id: int, slice_index: int, box: tuple[float, float, float, float]) -> None:
        """Draw a box (x0, y0, x1, y1) on a slice along k; back when the slice is drawn."""
        x0, y0, x1, y1 = box
        corner, opposite = ijkToWorld(self._volume, [[x0, y0, slice_index], [x1, y1, slice_index]]).tolist()
        before = self._previews
        self.controller.prompting.addBox(corner, opposite)
        self._wait(lambda: self._previews > before)

    def paint(self, slice_index: int, mask: Mask) -> tuple[int, int]:
        """Replace a slice with another tool; the slices, half-open, that a propagation would redraw."""
        segmentation, segment = self.controller.segmentationNode, self.controller.segmentId
        writer = SegmentWriter(segmentation, segment, self._volume)
        writer.begin()
        writer.writeSlices({slice_index: mask}, 0)
        writer.end()
        self._wait(lambda: self._noticed(slice_index))
        (span,) = self.controller.review.intervals() or [(0, self.controller.review.sliceCount())]
        return span

    def propagate(self) -> list[int]:
        """Propagate; the slices that were drawn, once for each direction."""
        self._drawn.clear()
        self.controller.propagate()
        self._wait(lambda: not self.controller.busy)
        return list(self._drawn)

    def encoder_runs(self) -> int:
        """Views that went through the image encoder so far."""
        return int(self._client.status().wait()["encoder_runs"])

    def close(self) -> None:
        """Let go of the worker's session."""
        self.controller.close()

    def _on_preview(self, _index: int) -> None:
        self._previews += 1

    def _noticed(self, slice_index: int) -> bool:
        self.controller.tick()
        review = self.controller.review.slices().get(slice_index)
        return review is not None and review.origin == "edited"

    def _wait(self, done: Callable[[], bool]) -> None:
        wait(self._client, lambda: bool(self._failed) or done())
        if self._failed:
            raise RuntimeError(self._failed[0])
