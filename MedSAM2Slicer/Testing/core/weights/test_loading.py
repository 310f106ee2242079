"""Models by name or path, and devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import medsam2_core as m2
from medsam2_core.weights.checkpoint import save_checkpoint
from medsam2_core.weights.finding import find_weights
from medsam2_core.weights.loading import find_device


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDSAM2_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = m2.build_model("starter", image_size=64)
    save_checkpoint(tmp_path / "own.pt", model.state_dict(), model.config)
    return tmp_path / "own.pt"


@pytest.mark.parametrize("path", [Path("own.pt"), "own.pt", "./own.pt"])
def test_a_checkpoint_file_by_path(checkpoint: Path, path: str | Path) -> None:
    model = m2.load_model(path, device="cpu")
    assert model.config.name == "starter"
    assert model.config.image_size == 64
    assert not model.training
    assert model.device.type == "cpu"


def test_the_image_size_can_be_chosen(checkpoint: Path) -> None:
    assert m2.load_model(checkpoint, device="cpu", image_size=96).config.image_size == 96
    with pytest.raises(m2.WeightsError, match="multiple of 32"):
        m2.load_model(checkpoint, device="cpu", image_size=100)


def test_the_bundled_starter_by_name() -> None:
    path, size = find_weights("starter")
    assert path.is_file()
    model = m2.load_model("starter", device="cpu")
    assert model.config == m2.CONFIGS["starter"].at_size(size or 0)


def test_a_catalog_model_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(m2.WeightsError, match="medsam2 models download sam2_hiera_tiny"):
        m2.load_model("sam2_hiera_tiny", device="cpu")


@pytest.mark.parametrize("name", ["startr", "SAM2"])
def test_unknown_names_list_what_there_is(name: str) -> None:
    with pytest.raises(m2.WeightsError, match="starter"):
        m2.load_model(name, device="cpu")


@pytest.mark.parametrize("path", ["nope.pt", "folder/nope", "nope.pth"])
def test_a_path_that_is_not_there(path: str) -> None:
    with pytest.raises(m2.WeightsError, match="does not exist"):
        m2.load_model(path, device="cpu")


@pytest.mark.parametrize("name", [None, 5, b"starter", ["starter"]])
def test_what_is_neither_a_name_nor_a_path(name: Any) -> None:
    with pytest.raises(m2.WeightsError, match="is not a model: give a name from `medsam2 models list`"):
        m2.load_model(name, device="cpu")


def test_a_random_model_by_its_configuration() -> None:
    assert m2.build_model("starter").config is m2.CONFIGS["starter"]
    with pytest.raises(m2.WeightsError, match="choose one of starter, sam2_hiera_tiny"):
        m2.build_model("sam3")


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:99", "", "cpu:x", "mps" if not torch.backends.mps.is_available() else "?"]
)
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(m2.DeviceError, match="choose auto or cpu"):
        find_device(name)


def test_the_device_is_checked_before_a_long_load(checkpoint: Path) -> None:
    checkpoint.write_bytes(b"broken")
    with pytest.raises(m2.DeviceError):
        m2.load_model(checkpoint, device="gpu")


@pytest.mark.parametrize(("cuda", "mps", "wanted"), [(1, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_auto_takes_the_fastest_there_is(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: int, wanted: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    asked = []
    monkeypatch.setattr(torch, "zeros", lambda *_, device: asked.append(device.type))
    assert find_device("auto").type == wanted
    assert asked == [wanted]  # it is tried, not only asked for
