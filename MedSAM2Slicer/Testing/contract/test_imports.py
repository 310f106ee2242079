"""What the core may import: neither Slicer nor its libraries, and no third-party package that it does not declare."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from patience import CEILING
from sources import imports

from medsam2_core.io.nifti import Place, header_bytes

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
    if source in (PACKAGE / "cohort/clients.py", PACKAGE / "cohort/keeping.py"):
        allowed = allowed | {"dask", "dask_jobqueue", "distributed"}
    if source == PACKAGE / "io/dicom/segmentation.py":
        allowed = allowed | {"highdicom"}
    assert set(imports(source)) <= allowed


CHECK_A_TABLE = """
import sys
from medsam2_core.cli.main import run
code = run(["batch", *sys.argv[1:], "--check"])
print(code, "torch" in sys.modules, "pydicom.sr" in sys.modules)
"""


@pytest.mark.parametrize(("device", "loads_torch"), [("", False), ("cpu", True)])
def test_a_table_is_checked_without_torch(device: str, loads_torch: bool, tmp_path: Path) -> None:
    """Which takes longer to load than a table of a thousand rows to check; only a device needs it.

    Nor are pydicom's codes loaded, which nothing needs but what writes DICOM segmentations.
    """
    header = header_bytes((4, 8, 9), np.dtype(np.uint8), Place(np.eye(3), np.zeros(3)))
    (tmp_path / "ct.nii").write_bytes(header + bytes(4 * 8 * 9))
    rows = ["image,box,model,window", 'ct.nii,"1,1,6,6@2",starter,20/180']
    (tmp_path / "cohort.csv").write_text("\n".join(rows), encoding="utf-8")
    words = ["--device", device] if device else []
    done = subprocess.run(
        [sys.executable, "-c", CHECK_A_TABLE, str(tmp_path / "cohort.csv"), *words],
        cwd=PACKAGE.parent, capture_output=True, encoding="utf-8", timeout=CEILING, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == [f"0 {loads_torch} False"], done.stderr
