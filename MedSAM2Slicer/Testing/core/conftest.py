"""For all the core's tests: the fake model, and open data, skipped only where it cannot be had."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import hypothesis
import pytest
import torch

import medsam2_core as m2
import open_data
import open_packages
from medsam2_core.weights.checkpoint import save_checkpoint

# A busy machine is no failure: hypothesis would count one slow example as one. Tests that write files overwrite them.
_ALLOWED = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("core", deadline=None, suppress_health_check=_ALLOWED)
hypothesis.settings.load_profile("core")

Data = TypeVar("Data")


def _or_skip(get: Callable[[], Data]) -> Data:
    try:
        return get()
    except open_packages.OpenDataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def chest_ct() -> open_data.ChestCT:
    return _or_skip(open_data.chest_ct)


@pytest.fixture(scope="session")
def abdomen_ct() -> open_data.Labeled:
    return _or_skip(open_data.totalsegmentator_small)


@pytest.fixture(scope="session")
def abdomen_mr() -> open_data.Labeled:
    return _or_skip(open_data.mr_small)


@pytest.fixture(scope="session")
def dicom_series() -> open_data.Labeled:
    return _or_skip(open_data.dicom_series)


@pytest.fixture(scope="session")
def slicer_segmentation() -> open_data.Labeled:
    return _or_skip(open_data.slicer_segmentation)


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    """The module `fakes` beside this file; with pytest's importlib mode a test cannot import it by name."""
    spec = importlib.util.spec_from_file_location("core_fakes", Path(__file__).with_name("fakes.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def single_thread() -> Iterator[None]:
    """Models this small are faster without threads that wait for each other, above all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def discs(fakes: ModuleType) -> Any:
    return fakes.moving_discs()


@pytest.fixture
def make(fakes: ModuleType, discs: Any) -> Callable[..., m2.VolumeSession]:
    """A session on the moving discs."""

    def session(model: Any = None, **options: Any) -> m2.VolumeSession:
        return m2.VolumeSession(model or fakes.FakeModel(), discs.volume, window=discs.window, **options)

    return session


@pytest.fixture(scope="session")
def tiny() -> Any:
    """A real model with random weights that always finds something."""
    torch.manual_seed(3)
    model = m2.build_model("starter", image_size=64)
    model.state_dict()["sam_mask_decoder.pred_obj_score_head.layers.2.bias"].fill_(10)
    return model


@pytest.fixture(scope="session")
def checkpoint(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a file, `random.pt`."""
    path = tmp_path_factory.mktemp("model") / "random.pt"
    save_checkpoint(path, tiny.state_dict(), tiny.config)
    return path
