"""The wheel holds all that the installed package needs; building it reaches for no network."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from patience import CEILING

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "MedSAM2Slicer"


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed; make test installs it")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=CEILING, check=False)
    assert done.returncode == 0, done.stderr
    with ZipFile(next(folder.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


def test_wheel_holds_every_module(members: set[str]) -> None:
    wanted = {path.relative_to(SOURCES).as_posix() for path in (SOURCES / "medsam2_core").rglob("*.py")}
    assert wanted <= members


def test_wheel_holds_the_models_folder(members: set[str]) -> None:
    models = SOURCES / "Resources/Models"
    assert "medsam2_core/Resources/Models/models.json" in members
    assert {f"medsam2_core/Resources/Models/{path.name}" for path in models.iterdir()} <= members


def test_wheel_holds_nothing_else(members: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in members} == {"medsam2_core", "medsam2slicer"}
    assert not [name for name in members if "Testing" in name or "__pycache__" in name]


def test_wheel_holds_the_licence(members: set[str]) -> None:
    assert any(name.endswith("licenses/LICENSE.txt") for name in members)
