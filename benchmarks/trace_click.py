"""What a click goes through on Slicer's side: calls, files and moves between files, from the click to the record.

Runs the controller on slicer-core's scene with the tests' stand-in for the worker, so that the figures are those of
our own code and the same on every machine. Prints a Markdown table. Named functions of our packages are counted, but
not generators and comprehensions; a move is a call from one file into another. All of them are counted, and those that
a reader follows from the action to its goal, such as the request to the worker: what lies on the call stack there.

    python benchmarks/trace_click.py
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import headless

ROOT = Path(__file__).parents[1] / "MedSAM2Slicer"
PACKAGES = ("MedSAM2SlicerLib", "medsam2_core")
SHAPE = (7, 8, 9)
MIDDLE = 3

sys.path.append(str(ROOT / "Testing" / "support"))

from fakeclient import FakeClient  # noqa: E402


@dataclass
class Trace:
    """Calls of functions of our packages while one action ran."""

    calls: int = 0
    moves: int = 0
    straight: int = 0
    deepest: int = 0
    files: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)


def traced(action: Callable[[], object], goal: str) -> Trace:
    """Run `action` and return what it called on its way to its goal, such as "file.function", and beside it."""
    trace, stack = Trace(), list[str]()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        file = _ours(frame)
        if event == "call" and not trace.straight and goal == _function(frame):
            trace.straight = sum(before != after for before, after in pairwise([*stack, frame.f_code.co_filename]))
        if event == "call" and file:
            trace.calls += 1
            trace.moves += bool(stack) and stack[-1] != file
            trace.files[file] += 1
            trace.functions[frame.f_code.co_name] += 1
            stack.append(file)
            trace.deepest = max(trace.deepest, len(stack))
        elif event == "return" and file and stack:
            stack.pop()

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return trace


def delivered(call: Any, slot: str, answer: Callable[[], object], goal: str) -> Trace:
    """Let the worker answer a call and return what its slot called, without what the stand-in did."""
    original, found = getattr(call, slot), list[Trace]()
    setattr(call, slot, lambda *values: found.append(traced(lambda: original(*values), goal)))
    answer()
    setattr(call, slot, original)
    return found[0]


def measure() -> dict[str, Trace]:
    """Trace a first click, its answer, and a propagation from it to its record."""
    with headless.new_scene():
        volume = headless.volume_node(np.zeros(SHAPE, np.int16), np.eye(4))
        client: Any = FakeClient(SHAPE[1:], MIDDLE)
        controller = headless.Controller(client)
        controller.setVolume(volume)
        (click,) = headless.ijkToWorld(volume, [[4, 4, MIDDLE]])
        found = {"first click -> request": traced(lambda: controller.prompting.addPoint(click), "fakeclient.predict")}
        found["answer -> pixels"] = delivered(
            client.calls[-1], "onDone", lambda: client.answer(MIDDLE), "segments.writeSlices"
        )
        found["propagate: start"] = traced(controller.propagate, "fakeclient.propagate")
        call = client.calls[-1]
        call.step()
        call.step()  # which makes room for the mask on other slices
        found["one propagated slice"] = delivered(call, "onStep", call.step, "segments.writeSlices")
        while call.steps:
            call.step()
        found["finish (record)"] = delivered(call, "onDone", call.finish, "runrecord.saveRun")
        controller.close()
    return found


def table(found: dict[str, Trace]) -> str:
    """The traces as Markdown."""
    rows = [
        f"| {step} | {one.calls} | {len(one.files)} | {one.moves} | {one.straight} | {one.deepest} |"
        for step, one in found.items()
    ]
    head = ["| step | calls | files | moves between files | of them straight | deepest |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _function(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"


def _ours(frame: FrameType) -> str:
    """The file of a frame, from the package on; empty for a frame that is not counted."""
    code, path = frame.f_code, Path(frame.f_code.co_filename)
    if code.co_name.startswith("<") or code.co_flags & inspect.CO_GENERATOR or not path.is_relative_to(ROOT):
        return ""
    inside = path.relative_to(ROOT)
    return inside.as_posix() if inside.parts[0] in PACKAGES else ""


if __name__ == "__main__":
    traces = measure()
    print(table(traces))
    grids = traces["first click -> request"].functions["volumeGeometry"]
    print(f"\nThe first click computes the volume's geometry {grids} times.")
