"""`medsam2 doctor`: complete where all is well, and able to speak where it is not."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import pytest

import medsam2_core as m2
from medsam2_core.cli import doctor
from medsam2_core.weights import store
from medsam2_core.weights.catalog import models_folder


@pytest.fixture
def page(run, capsys):
    def show() -> tuple[int, str]:
        code = run("doctor")
        return code, capsys.readouterr().out

    return show


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bundled models to fill, instead of the product's."""
    folder = tmp_path / "Models"
    folder.mkdir()
    shutil.copy(models_folder() / "models.json", folder)
    monkeypatch.setattr(store, "models_folder", lambda: folder)
    return folder


def test_a_page_for_a_bug_report(page, models: Path, tmp_path: Path) -> None:
    code, text = page()
    assert code == 0
    for name in ("medsam2", "python", "system", "processor", "memory", "numpy", "SimpleITK", "torch", "cuda", "mps"):
        assert any(line.startswith(f"{name} ") for line in text.splitlines()), name
    assert f"numpy         {metadata.version('numpy')}" in text
    assert f"downloaded: {tmp_path / 'home'} (not there yet)" in text
    assert "none on this computer: run `medsam2 models list`" in text
    assert "random weights (no starter model here) at 64 pixels on cpu, 3 slices" in text
    assert "PROBLEM" not in text


def test_a_damaged_model(page, models: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "sam2_hiera_tiny.pt").write_bytes(b"cut short")
    code, text = page()
    assert code == 1
    assert "PROBLEM: sam2_hiera_tiny: sam2_hiera_tiny is damaged" in text


def test_a_missing_package(page, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "SimpleITK":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(doctor.metadata, "version", version)
    code, text = page()
    assert code == 1
    assert "SimpleITK     PROBLEM: not installed: run `pip install SimpleITK`" in text


@pytest.mark.parametrize("error", [RuntimeError("out of memory\nand more"), m2.DeviceError("No device.")])
def test_a_failing_self_test(page, models: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(m2, "build_model", fail)
    code, text = page()
    assert code == 1
    assert f"self test     PROBLEM: failed: {str(error).splitlines()[0]}\n" in text


def test_memory_is_unknown_without_sysconf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "sysconf_names", {})
    assert doctor._memory() == "unknown on this system"
