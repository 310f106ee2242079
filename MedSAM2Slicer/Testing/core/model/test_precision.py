"""The numbers a model computes in: chosen by what the device is fast with, kept by the weights, close to float32."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

import medsam2_core as m2
from medsam2_core.errors import DeviceError
from medsam2_core.model import SAM2, precision
from medsam2_core.model.precision import PRECISIONS, precision_name, set_precision
from medsam2_core.speed.sample import ellipsoid, ellipsoid_box
from medsam2_core.speed.steps import steps

SHORT = ("bfloat16", "float16")
pytestmark = pytest.mark.usefixtures("single_thread")


def built(name: str = "starter") -> SAM2:
    torch.manual_seed(0)
    return m2.build_model(name, 64).requires_grad_(False)


def rates(monkeypatch: pytest.MonkeyPatch, faster: float) -> None:
    """Pretend that products of numbers of two bytes are so many times as fast."""
    times = {torch.float32: 1.0, torch.bfloat16: 1 / faster, torch.float16: 1 / faster}
    monkeypatch.setattr(precision, "_seconds", lambda device, numbers: times[numbers])


@pytest.mark.skipif(time.get_clock_info("thread_time").resolution > 1e-5, reason="no fine clock of a thread here")
def test_a_busy_machine_does_not_change_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another program came in between for up to a tenth of a second each time the clock is read."""
    now, rng = [0.0], np.random.default_rng(0)

    def clock() -> float:
        now[0] += rng.uniform(0, 0.1)
        return now[0]

    monkeypatch.setattr(precision.time, "perf_counter", clock)
    chosen = set()
    for _ in range(12):
        precision._seconds.cache_clear()
        chosen.add(precision.multiplies_faster(torch.device("cpu"), torch.bfloat16))
    assert len(chosen) == 1


@pytest.mark.parametrize("name", PRECISIONS)
def test_every_step_works_in_every_precision(name: str) -> None:
    model = set_precision(built("sam2.1_hiera_tiny"), name)
    assert precision_name(model) == name
    with torch.inference_mode():
        for step in steps(model).values():
            step.run()


@pytest.mark.parametrize("name", SHORT)
def test_features_and_recalled_memories_are_close_to_float32s(name: str) -> None:
    exact, short = built(), set_precision(built(), name)
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        for wanted, found in zip(exact.encode(image), short.encode(image), strict=True):
            assert found.dtype == torch.float32
            assert 0 < float((found - wanted).norm() / wanted.norm()) < 0.02
        wanted, found = (steps(model)["recall"].run() for model in (exact, short))
        assert 0 < float((found - wanted).norm() / wanted.norm()) < 0.02


@pytest.mark.parametrize("name", SHORT)
def test_the_starter_draws_the_same(name: str) -> None:
    drawn = []
    for chosen in ("float32", name):
        session = m2.VolumeSession(m2.load_model("starter", "cpu", 128, chosen), ellipsoid(5, 128))
        session.add_box(1, 2, ellipsoid_box(128))
        list(session.propagate())
        drawn.append(session.mask(1))
    assert drawn[0].any()
    assert np.mean(drawn[0] == drawn[1]) > 0.999


def test_auto_takes_what_is_clearly_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    for faster, chosen in ((0.6, "float32"), (1.3, "float32"), (1.9, "bfloat16"), (4.0, "bfloat16")):
        rates(monkeypatch, faster)
        assert precision_name(set_precision(built(), "auto")) == chosen


@pytest.mark.parametrize(("capability", "chosen"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
def test_graphics_cards_take_what_they_have(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], chosen: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(SAM2, "device", torch.device("cuda"))
    rates(monkeypatch, 4.0)
    assert set_precision(built("sam2.1_hiera_tiny"), "auto").precision == chosen


def test_a_precision_that_does_not_exist_is_refused_before_a_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="choose auto, float32, bfloat16, float16"):
        m2.load_model(tmp_path / "missing.pt", precision="int8")


def test_a_product_is_measured_once() -> None:
    precision._seconds.cache_clear()
    for _ in range(2):
        set_precision(built(), "auto")
    assert precision._seconds.cache_info().misses == 2
    assert precision._seconds(torch.device("cpu"), torch.float32) > 0


@pytest.mark.usefixtures("single_thread")
def test_measuring_leaves_the_number_of_threads() -> None:
    torch.set_num_threads(2)
    precision._seconds.cache_clear()
    set_precision(built(), "auto")
    assert torch.get_num_threads() == 2
