"""What the worker costs: a click and a propagation through it, against the same in this process. Prints JSON.

Starter model, chest CT of 512x512x133 (evaluation only), axial slices, one thread each unless OMP_NUM_THREADS says
otherwise.

    python benchmarks/worker.py
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import medsam2_core as m2
import open_data
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.segments import Segment
from medsam2_core.image.window import AS_GIVEN, Window
from medsam2_core.io import read_labelmap, read_volume
from medsam2_core.run.prompts import BoxPrompt, PointsPrompt, Prompt, RunObject, add_prompts
from medsam2_core.training.policies import largest_slice, tight_box
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.transports import SubprocessTransport

_CLICKS = 20
_SLICES = 40  # propagated, around the prompted one


@dataclass(frozen=True, eq=False)
class _Prepared:
    gray: npt.NDArray[np.uint8]
    geometry: Geometry
    window: Window


def main() -> None:
    """Measure and print."""
    volume, largest = _chest()
    box = _box(largest)
    first = max(box.slice_index - _SLICES // 2, 0)
    span = (first, min(first + _SLICES, len(largest)))
    with tempfile.TemporaryDirectory() as folder:
        client = _client(Path(folder), volume)
        opened = _seconds(lambda: client.prepare("s").wait())
        cold, warm = _clicks(client, box.slice_index, largest[box.slice_index])
        fresh = _fresh_clicks(client, largest)
        client.closeSession("s")
        client.openSession("s", "ct", axis=0)
        client.prepare("s").wait()
        through = _propagate_through(client, box, span)
        again = _propagate_through(client, box, span)
        client.stop()
    inside, inside_again = _propagate_inside(volume, box, span)
    print(
        json.dumps(
            {
                "cores": len(os.sched_getaffinity(0)),
                "open_model_volume_session_s": round(opened, 2),
                "first_click_ms": round(1000 * cold),
                "warm_click_median_ms": round(1000 * statistics.median(warm), 1),
                "warm_click_slowest_ms": round(1000 * max(warm), 1),
                "fresh_slice_click_median_ms": round(1000 * statistics.median(fresh), 1),
                "slices": span[1] - span[0],
                "worker_slices_per_s": round((span[1] - span[0]) / through, 2),
                "in_process_slices_per_s": round((span[1] - span[0]) / inside, 2),
                "worker_again_slices_per_s": round((span[1] - span[0]) / again, 2),
                "in_process_again_slices_per_s": round((span[1] - span[0]) / inside_again, 2),
                "worker_to_in_process": round(inside / through, 3),
            },
            indent=2,
        )
    )


def _chest() -> tuple[_Prepared, npt.NDArray[np.bool_]]:
    """The windowed CT, and its liver (k, j, i)."""
    data = open_data.chest_ct()
    ct = read_volume(data.ct)
    labels = read_labelmap(data.mask, ct.geometry)
    liver = next(label for label, name in data.structures.items() if name == "liver")
    window = Window.ct("abdomen")
    return _Prepared(window.to_uint8(ct.array), ct.geometry, window), labels == liver


def _box(mask: npt.NDArray[np.bool_]) -> BoxPrompt:
    """A box around the mask on the slice where it is largest."""
    index = largest_slice(mask)
    return BoxPrompt(index, tight_box(mask[index]))


def _client(folder: Path, volume: _Prepared) -> WorkerClient:
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [sys.executable, "-m", "medsam2_core.worker"]
    client = WorkerClient(SubprocessTransport, command, folder / "worker.log", environment)
    client.setModel("starter")
    client.setVolume("ct", volume)
    client.openSession("s", "ct", axis=0)
    return client


def _clicks(client: WorkerClient, index: int, mask: npt.NDArray[np.bool_]) -> tuple[float, list[float]]:
    """Seconds of the first click of all, then of more on the same slice, each added to those before it."""
    places = np.argwhere(mask)
    rng = np.random.default_rng(0)
    points = [(float(x), float(y)) for y, x in places[rng.integers(0, len(places), _CLICKS + 1)]]
    times = []
    for count in range(1, len(points) + 1):
        prompt = PointsPrompt(index, tuple(points[:count]), (True,) * count)
        times.append(_seconds(lambda prompt=prompt: client.predict("s", index, [_object(prompt)]).wait()))
    return times[0], times[1:]


def _fresh_clicks(client: WorkerClient, mask: npt.NDArray[np.bool_]) -> list[float]:
    """Seconds of one click on each of some slices that the model has not seen yet."""
    times = []
    for index in np.flatnonzero(mask.sum(axis=(1, 2)) > 100)[:_CLICKS]:
        y, x = np.argwhere(mask[index]).mean(axis=0)
        prompt = PointsPrompt(int(index), ((float(x), float(y)),), (True,))
        times.append(_seconds(lambda prompt=prompt: client.predict("s", prompt.slice_index, [_object(prompt)]).wait()))
    return times


def _propagate_through(client: WorkerClient, box: BoxPrompt, span: tuple[int, int]) -> float:
    return _seconds(lambda: client.propagate("s", [_object(box)], *span).wait())


def _propagate_inside(volume: _Prepared, box: BoxPrompt, span: tuple[int, int]) -> tuple[float, float]:
    orientation = SliceOrientation.upright(volume.geometry, 0)
    session = m2.VolumeSession(
        m2.load_model("starter"),
        orientation.turn(volume.gray),
        spacing=orientation.turn_spacing(volume.geometry.spacing_kji),
        window=AS_GIVEN,
    )
    add_prompts(session, [_object(box)], orientation)

    def run() -> None:
        for _ in session.propagate(*span):
            pass

    return _seconds(run), _seconds(run)


def _object(prompt: Prompt) -> RunObject:
    return RunObject(Segment("liver", 1, (1, 0, 0)), (prompt,))


def _seconds(task: Callable[[], object]) -> float:
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
