"""The work of a slice, counted, and what a device can do at most."""

from __future__ import annotations

import pytest
import torch

import medsam2_core as m2
from medsam2_core.config import ModelConfig
from medsam2_core.speed import ceilings
from medsam2_core.speed.ceilings import Ceilings, measure_ceilings
from medsam2_core.speed.peak import peak_bytes
from medsam2_core.speed.sample import ellipsoid, ellipsoid_box
from medsam2_core.speed.steps import Work, seconds, steps, total, work

pytestmark = pytest.mark.usefixtures("single_thread")


def recall_flops(config: ModelConfig) -> int:
    """Two operations for each multiplication: attention to itself, to the memories, and the MLP, in each layer."""
    tokens, dim, narrow, mlp = config.grid_size**2, config.hidden_dim, config.memory_dim, config.memory_mlp_dim
    pointers = config.object_pointers
    keys = (config.recent_memories + 1) * tokens + pointers * dim // narrow
    itself = 4 * tokens * dim * dim + 2 * tokens * tokens * dim
    memories = 2 * tokens * dim * dim + keys * narrow * dim + tokens * keys * (dim + narrow) + tokens * narrow * dim
    layer = itself + memories + 2 * tokens * dim * mlp
    codes = pointers * dim * narrow if config.pointer_time_codes else 0
    return 2 * (config.memory_layers * layer + codes)


@pytest.mark.parametrize("name", ["starter", "sam2_hiera_tiny", "sam2.1_hiera_tiny"])
def test_operations_are_those_of_pencil_and_paper(name: str) -> None:
    config = m2.CONFIGS[name].at_size(128)
    assert work(config)["recall"].flops == recall_flops(config)


def test_bytes_are_those_of_weights_inputs_and_results() -> None:
    config = m2.CONFIGS["starter"].at_size(64)
    weights = sum(p.numel() for p in m2.build_model("starter", 64).memory_encoder.parameters())
    moved = weights + 128 * 4 * 4 + 16 * 16 + config.memory_dim * 4 * 4
    assert work(config)["memorize"].bytes == 4 * moved


def test_encoding_grows_with_the_pixels() -> None:
    small, large = (work(m2.CONFIGS["sam2.1_hiera_tiny"].at_size(size))["encode"] for size in (512, 1024))
    assert 4 <= large.flops / small.flops < 8
    assert small.flops == pytest.approx(2 * 28e9, rel=0.02)


def test_every_step_runs_and_is_timed() -> None:
    model = m2.build_model("starter", 64)
    timed = {name: seconds(step, model.device, repeats=1) for name, step in steps(model).items()}
    assert list(timed) == ["encode", "recall", "decode", "memorize"]
    assert min(timed.values()) > 0


def test_the_floor_is_the_longer_of_two_times() -> None:
    device = Ceilings(flops_per_s=100, bytes_per_s=10)
    assert device.floor_seconds(Work(200, 1)) == 2
    assert device.floor_seconds(Work(200, 50)) == 5
    assert total([Work(1, 2), Work(3, 4)]) == Work(4, 6)


def test_ceilings_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_SIDE", {"cpu": 64})
    monkeypatch.setattr(ceilings, "_BYTES", {"cpu": 1 << 12})
    found = measure_ceilings(torch.device("cpu"))
    assert found.flops_per_s > 1e6
    assert found.bytes_per_s > 1e6


def test_this_process_holds_memory() -> None:
    assert (peak_bytes(torch.device("cpu")) or 0) > 50e6


def test_the_box_is_around_the_ellipsoid() -> None:
    middle = ellipsoid(5, side=64)[2] >= 120
    x0, y0, x1, y1 = ellipsoid_box(64)
    columns = middle.any(axis=0).nonzero()[0]
    assert (x0, x1) == (columns[0] - 0.5, columns[-1] + 0.5)
    assert (y0, y1) == (x0, x1)
    assert ellipsoid(5, side=64).any(axis=(1, 2)).all()
