"""What crosses from the model's device to the host during a propagation, and how often the host waits for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import medsam2_core as m2
from medsam2_core.propagation import Propagator
from medsam2_core.readback import read_back

_WAITING_CALLS = {torch.Tensor.cpu, torch.Tensor.tolist}
_WAITING_OPERATORS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"}


class Waits(ExitStack):
    """Counts what makes the host wait for the device, were the model on one: values asked for, and copies."""

    def __enter__(self) -> Waits:
        self.found: list[str] = []
        waits = self

        class Calls(TorchFunctionMode):
            def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                if function in _WAITING_CALLS:
                    waits.found.append(function.__name__)
                return function(*args, **(kwargs or {}))

        class Operators(TorchDispatchMode):
            def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                name = operator.name().split(".")[0]
                places = [place for place in args[1] if place is not None] if name == "aten::index" else []
                if name in _WAITING_OPERATORS or any(place.dtype == torch.bool for place in places):
                    waits.found.append(operator.name())
                return operator(*args, **(kwargs or {}))

        self.enter_context(Calls())
        self.enter_context(Operators())
        return self


def test_waits_are_seen() -> None:
    tensor = torch.ones(3)
    with Waits() as waits:
        assert bool(tensor.any())
        assert float(tensor[0]) == int(tensor.sum()) / 3
        tensor.tolist()
        tensor.cpu()
        tensor[tensor > 0].sum()
    assert len(waits.found) == 6


@pytest.mark.parametrize("memory", ["recency", "self-sorting", "self-sorting:2"])
@pytest.mark.parametrize("objects", [1, 4])
@pytest.mark.usefixtures("single_thread")
def test_a_round_waits_once_whatever_the_number_of_tracks(
    make: Callable[..., m2.VolumeSession], tiny: Any, monkeypatch: pytest.MonkeyPatch, memory: str, objects: int
) -> None:
    session = make(tiny, memory=memory)
    for number in range(1, objects + 1):
        session.add_box(number, 5, (10 + number, 10, 50, 50))
    rounds: list[list[str]] = []
    round_of = Propagator._round

    def counted(propagator: Propagator, tracks: Any) -> Any:
        with Waits() as waits:
            answers = round_of(propagator, tracks)
            rounds.append(waits.found)
        return answers

    monkeypatch.setattr(Propagator, "_round", counted)
    steps = list(session.propagate(stop=m2.StopRules(absent_slices=None)))
    assert len(steps) == 1 + objects * 10
    assert rounds == [["cpu"]] * 5


@pytest.mark.usefixtures("single_thread")
def test_steps_of_one_direction_need_no_further_copy(make: Callable[..., m2.VolumeSession], tiny: Any) -> None:
    session = make(tiny)
    session.add_box(1, 0, (10, 10, 50, 50))
    steps = session.propagate(direction="forward", stop=m2.StopRules(absent_slices=None))
    next(steps)  # the prompted slice
    with Waits() as waits:
        drawn = [step.masks[1] for step in steps]
    assert waits.found == ["cpu"] * 10
    for index, mask in enumerate(drawn, start=1):
        np.testing.assert_array_equal(mask, session.predict_slice(index)[1].mask)


def test_arrays_come_back_as_they_were() -> None:
    tensors = [torch.rand(3), torch.zeros(0), torch.rand(2, 3, 5) > 0.5, torch.rand(4, 2).T, torch.rand(1, 3) > 0.5]
    for tensor, array in zip(tensors, read_back(tensors), strict=True):
        np.testing.assert_array_equal(array, tensor.numpy())
