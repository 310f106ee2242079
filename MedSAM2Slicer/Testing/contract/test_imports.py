"""What the core may import: neither Slicer nor its libraries, and no third-party package that it does not declare."""

import subprocess
import sys
from pathlib import Path

import pytest
from patience import CEILING
from sources import imports

PACKAGE = Path(__file__).parents[2] / "medsam2_core"
SOURCES = sorted(PACKAGE.rglob("*.py"))
DECLARED = {"medsam2_core", "numpy", "torch", "tqdm"}

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import medsam2_core
for module in pkgutil.walk_packages(medsam2_core.__path__, "medsam2_core."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_importing_the_core_leaves_slicer_and_its_libraries_out() -> None:
    command = [sys.executable, "-c", IMPORT_EVERYTHING]
    done = subprocess.run(
        command, cwd=PACKAGE.parent, capture_output=True, encoding="utf-8", timeout=CEILING, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "medsam2_core" in loaded
    assert not loaded & {"slicer", "vtk", "vtkmodules", "qt", "ctk", "mrml", "PythonQt"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_the_core_declares(source: Path) -> None:
    allowed = sys.stdlib_module_names | DECLARED
    if source == PACKAGE / "io/itk.py" or PACKAGE / "training" in source.parents:
        allowed = allowed | {"SimpleITK"}
    if source.parent == PACKAGE / "io/dicom":
        allowed = allowed | {"pydicom"}
    if source == PACKAGE / "cohort/cluster.py":
        allowed = allowed | {"distributed"}
    if source == PACKAGE / "io/dicom/segmentation.py":
        allowed = allowed | {"highdicom"}
    assert set(imports(source)) <= allowed
