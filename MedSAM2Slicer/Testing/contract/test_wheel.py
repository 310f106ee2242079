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


def test_wheel_holds_every_module_and_what_lies_beside_them(members: set[str]) -> None:
    files = [path for path in (SOURCES / "medsam2_core").rglob("*.*") if "__pycache__" not in path.parts]
    assert {".py", ".csv", ".html"} <= {path.suffix for path in files}
    assert {path.relative_to(SOURCES).as_posix() for path in files} <= members


def test_wheel_holds_the_models_folder(members: set[str]) -> None:
    models = SOURCES / "Resources/Models"
    assert "medsam2_core/Resources/Models/models.json" in members
    assert {f"medsam2_core/Resources/Models/{path.name}" for path in models.iterdir()} <= members


def test_wheel_holds_nothing_else(members: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in members} == {"medsam2_core", "medsam2slicer"}
    assert not [name for name in members if "Testing" in name or "__pycache__" in name]


def test_wheel_holds_the_license(members: set[str]) -> None:
    assert any(name.endswith("licenses/LICENSE.txt") for name in members)
