"""How long a Slicer user waits: from a click to its mask in the segment, and for the interface during a propagation.

Runs the controller, the MRML bridge and the real worker on the demo's CT (512 x 512 x 133; evaluation only), in this
process where Slicer would be. Needs slicer-core. Prints one JSON object; times are in milliseconds. Those of the
segment writer are [median, worst], by the clock and of this process's processor time: other work on the machine
counts in the first only. There each run writes a segment slice by slice, a spleen or the whole body.

    python benchmarks/bridge.py --clicks 20 --runs 20
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer.util
import vtk

import headless
import open_data
from medsam2_core.training.policies import largest_slice, tight_box
from MedSAM2SlicerLib.live import PAUSE
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.history import EditHistory
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation
from MedSAM2SlicerLib.worker.callqueue import State

_SPLEEN = 1
_BODY = -300  # HU, below every tissue but lung


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--lives", type=int, default=10)
    options = parser.parse_args()
    with headless.new_scene():
        print(json.dumps(measure(options.clicks, options.runs, options.lives)))


def measure(clicks: int, runs: int, lives: int = 10) -> dict[str, Any]:
    """Measure this many clicks, runs of the segment writer, and clicks with Live."""
    volume, labels = _volume()
    with headless.worker() as client:
        controller = headless.Controller(client)
        controller.setVolume(volume)
        taken = _clicks(controller, client, labels == _SPLEEN, clicks)
        blocked, seconds = _propagation(controller, client, labels == _SPLEEN)
        slices = len(controller.review.slices())
        controller.close()
        live = _live(client, volume, labels == _SPLEEN, lives)
    body = slicer.util.arrayFromVolume(volume) > _BODY
    return {
        "first_click": taken[0],
        "click_median": median(taken[1:]),
        "click_worst": max(taken[1:]),
        "blocked_median": median(blocked),
        "blocked_worst": max(blocked),
        "propagation_seconds": seconds,
        "slices": slices,
        "live": live,
        "spleen": _writer(volume, labels == _SPLEEN, runs),
        "body": _writer(volume, body, runs),
    }


def _clicks(controller: Any, client: Any, mask: Any, count: int) -> list[float]:
    """Milliseconds from each click, at random places of the object's largest slice, to its mask in the segment."""
    rng = np.random.default_rng(0)
    index = largest_slice(mask)
    inside = np.argwhere(mask[index])
    drawn: list[int] = []
    controller.previewed.connect(drawn.append)
    taken = []
    for row, column in inside[rng.choice(len(inside), count + 1)]:
        controller.prompting.removeAllPrompts()
        node = controller.prompting.promptNode("include")
        node.AddControlPointWorld(vtk.vtkVector3d(*ijkToWorld(controller.volumeNode, [[column, row, index]])[0]))
        started = time.perf_counter()
        drawn.clear()
        controller.prompting.preview(index)
        headless.wait(client, lambda: bool(drawn))
        taken.append(1000 * (time.perf_counter() - started))
    return taken


def _propagation(controller: Any, client: Any, mask: Any) -> tuple[list[float], float]:
    """Milliseconds that the start and each delivery of what the worker sent took, and seconds of it all.

    From a box around the mask on the slice where it is largest.
    """
    controller.prompting.removeAllPrompts()
    index = largest_slice(mask)
    x0, y0, x1, y1 = tight_box(mask[index])
    corners = [[x0, y0, index], [x1, y1, index]]
    drawn: list[int] = []
    controller.previewed.connect(drawn.append)
    controller.prompting.addBox(*ijkToWorld(controller.volumeNode, corners).tolist())
    headless.wait(client, lambda: bool(drawn))
    began = time.perf_counter()
    controller.propagate()
    blocked = [1000 * (time.perf_counter() - began)]
    while controller.busy:
        time.sleep(0.005)  # the event loop's idle time
        started = time.perf_counter()
        client.pump(0)
        blocked.append(1000 * (time.perf_counter() - started))
    return blocked, time.perf_counter() - began


def _live(client: Any, volume: Any, mask: Any, count: int) -> dict[str, Any]:
    """Milliseconds from the end of a click at a random place of the object's largest slice, with Live on.

    To its mask, to the first of the slices beside it, and to the end; each click in a segment of its own, with a warm
    worker that has seen the slice. "waited" is Live's pause, which is in the latter two; "blocked_worst" is the longest
    that one turn of the event loop, taking the worker's messages and looking at the clock, held the thread.
    """
    rng = np.random.default_rng(1)
    index = largest_slice(mask)
    inside = np.argwhere(mask[index])
    taken: dict[str, list[float]] = {"mask": [], "first": [], "all": []}
    blocked: list[float] = []
    for row, column in inside[rng.choice(len(inside), count)]:
        controller = headless.Controller(client)
        controller.setVolume(volume)
        controller.live.turn(True)
        told = {"mask": controller.previewed, "first": controller.sliceDrawn, "all": controller.finished}
        times: dict[str, float] = {}
        for what, signal in told.items():
            signal.connect(partial(_note, times, what, index))
        (world,) = ijkToWorld(volume, [[column, row, index]]).tolist()
        controller.warm(index)
        headless.wait(client, lambda: client.state is State.READY)
        started = time.perf_counter()
        controller.prompting.addPoint(world)
        while "all" not in times:
            began = time.perf_counter()
            client.pump(0)
            controller.tick()
            blocked.append(1000 * (time.perf_counter() - began))
            time.sleep(0.005)
        for what, when in times.items():
            taken[what].append(1000 * (when - started))
        volume.GetScene().RemoveNode(controller.segmentationNode)
        controller.close()
    return {
        "waited": 1000 * PAUSE,
        **{what: median(values) for what, values in taken.items()},
        "blocked_worst": max(blocked),
    }


def _note(times: dict[str, float], what: str, index: int, value: Any) -> None:
    """Note when something happened first; of slices, other ones than the one that was clicked."""
    if what != "first" or value != index:
        times.setdefault(what, time.perf_counter())


def _writer(volume: Any, mask: Any, runs: int) -> dict[str, dict[str, list[float]]]:
    """What a run costs: to begin, the first slice, each later one (from the middle to either end) and to end.

    Each run shifts what the one before it wrote by some rows. Clock and processor time in ms, median and worst.
    """
    node, segment = ensureSegmentation(volume)
    history = EditHistory(node)
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    first, *rest = sorted(
        slices.tolist(), key=lambda index: (index < np.median(slices), abs(index - np.median(slices)))
    )
    taken: dict[str, list[tuple[float, float]]] = {"begin": [], "first": [], "slice": [], "end": []}
    for run in range(runs):
        writer = SegmentWriter(node, segment, volume, history=history)
        shifted = np.roll(mask, 5 * (run % 4), axis=1)
        taken["begin"].append(_timed(writer.begin))
        taken["first"].append(_timed(lambda one=writer, m=shifted: one.writeSlices({first: m[first]}, 0)))
        taken["slice"] += [_timed(lambda k=k, one=writer, m=shifted: one.writeSlices({k: m[k]}, 0)) for k in rest]
        taken["end"].append(_timed(writer.end))
    volume.GetScene().RemoveNode(node)
    return {what: _summary(times) for what, times in taken.items()}


def _summary(times: list[tuple[float, float]]) -> dict[str, list[float]]:
    clock, processor = zip(*times, strict=True)
    return {"clock": [median(clock), max(clock)], "processor": [median(processor), max(processor)]}


def _timed(action: Callable[[], object]) -> tuple[float, float]:
    clock, processor = time.perf_counter(), time.process_time()
    action()
    return 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor)


def _volume() -> tuple[Any, Any]:
    data = open_data.chest_ct()
    image = sitk.ReadImage(str(data.ct))
    flip = np.array([-1.0, -1.0, 1.0])
    matrix = np.eye(4)
    matrix[:3, :3] = flip[:, None] * np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = flip * image.GetOrigin()
    node = headless.volume_node(sitk.GetArrayFromImage(image), matrix)
    return node, sitk.GetArrayFromImage(sitk.ReadImage(str(data.mask)))


if __name__ == "__main__":
    main()
