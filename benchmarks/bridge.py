"""How long a Slicer user waits: from a click to its mask in the segment, and for the interface during a propagation.

Runs the controller, the MRML bridge and the real worker on the demo's CT (512 x 512 x 133; evaluation only), in this
process where Slicer would be. Needs slicer-core. Prints one JSON object; times are in milliseconds.

    python benchmarks/bridge.py --clicks 20
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import slicer.util
import vtk

import open_data

_SPLEEN = 1
_PATIENCE = 120.0  # seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=20)
    options = parser.parse_args()
    _stand_in()
    # After the stand-in, since the product's files translate their texts.
    from MedSAM2SlicerLib.client import WorkerClient
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.transports import SubprocessTransport

    volume, labels = _volume()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "medsam2_core.worker"]
        client = WorkerClient(SubprocessTransport, command, Path(folder) / "worker.log")
        controller = Controller(client)
        controller.setVolume(volume)
        clicks = _clicks(controller, client, labels == _SPLEEN, options.clicks)
        blocked, seconds = _propagation(controller, client)
        print(json.dumps({"first_click": clicks[0], "click_median": median(clicks[1:]), "click_worst": max(clicks[1:]),
                          "blocked_median": median(blocked), "blocked_worst": max(blocked),
                          "propagation_seconds": seconds, "slices": len(controller.slices())}))  # fmt: skip
        controller.close()
        client.stop()


def _clicks(controller: Any, client: Any, mask: Any, count: int) -> list[float]:
    """Milliseconds from each click, at random places of the object's largest slice, to its mask in the segment."""
    from MedSAM2SlicerLib.geometry import ijkToWorld

    rng = np.random.default_rng(0)
    index = int(mask.sum(axis=(1, 2)).argmax())
    inside = np.argwhere(mask[index])
    drawn: list[int] = []
    controller.previewed.connect(drawn.append)
    taken = []
    for row, column in inside[rng.choice(len(inside), count + 1)]:
        controller.removeAllPrompts()
        node = controller.promptNode("include")
        node.AddControlPointWorld(vtk.vtkVector3d(*ijkToWorld(controller.volumeNode, [[column, row, index]])[0]))
        started = time.perf_counter()
        drawn.clear()
        controller.preview(index)
        _wait(client, lambda: bool(drawn))
        taken.append(1000 * (time.perf_counter() - started))
    return taken


def _propagation(controller: Any, client: Any) -> tuple[list[float], float]:
    """Milliseconds that each delivery of what the worker sent took, and seconds of the whole propagation."""
    blocked: list[float] = []
    began = time.perf_counter()
    controller.propagate()
    while controller.busy:
        time.sleep(0.005)  # the event loop's idle time
        started = time.perf_counter()
        client.pump(0)
        blocked.append(1000 * (time.perf_counter() - started))
    return blocked, time.perf_counter() - began


def _wait(client: Any, done: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + _PATIENCE
    while not done():
        if time.perf_counter() > deadline:
            raise TimeoutError("the worker did not answer")
        client.pump(0.01)


def _volume() -> tuple[Any, Any]:
    data = open_data.chest_ct()
    image = sitk.ReadImage(str(data.ct))
    flip = np.array([-1.0, -1.0, 1.0])
    matrix = np.eye(4)
    matrix[:3, :3] = flip[:, None] * np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = flip * image.GetOrigin()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node, sitk.GetArrayFromImage(sitk.ReadImage(str(data.mask)))


def _stand_in() -> None:
    """Give `slicer` what the application would have: a scene, the segmentations logic and translation."""
    slicer.mrmlScene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    slicer.modules = types.SimpleNamespace(segmentations=types.SimpleNamespace(logic=lambda: logic))
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text  # type: ignore[attr-defined]
    sys.modules["slicer.i18n"] = i18n


if __name__ == "__main__":
    main()
