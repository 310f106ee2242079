"""For the tests of MedSAM2SlicerLib on real MRML: PyPI's `slicer-core`, a scene per test, and nodes to work on."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

try:
    import slicer
    import slicer.util
    import vtk
except ImportError as error:  # no wheel for this platform, or a system library (libGL and others) is missing
    ABSENT = f"slicer-core cannot be imported here ({error})"
else:
    ABSENT = ""

HERE = Path(__file__).parent
MODULE_LOGICS = {
    "sequences": "vtkSlicerSequencesLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "volumes": "vtkSlicerVolumesLogic",
}


class _Skipped(pytest.Module):
    """A test file that cannot even be imported."""

    def collect(self) -> list[Any]:
        pytest.skip(ABSENT, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module | None:
    return _Skipped.from_parent(parent, path=module_path) if ABSENT and HERE in module_path.parents else None


def pytest_configure(config: pytest.Config) -> None:
    """Stand in for what the application adds to `slicer`: translation that gives the text back."""
    if not ABSENT and "slicer.i18n" not in sys.modules:
        i18n = types.ModuleType("slicer.i18n")
        i18n.tr = i18n.translate = lambda *context_and_text: context_and_text[-1]
        sys.modules["slicer.i18n"] = slicer.i18n = i18n


@pytest.fixture(autouse=True)
def no_faults(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail where an exception ended in a handler of ours, which goes on after it."""
    yield
    faults = [record for record in caplog.get_records("call") if record.name == "MedSAM2Slicer" and record.exc_info]
    assert not faults, caplog.text


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of the real worker, which a file of tests shares."""
    from MedSAM2SlicerLib.worker.client import WorkerClient
    from MedSAM2SlicerLib.worker.transports import SubprocessTransport

    log = tmp_path_factory.mktemp("log") / "worker.log"
    worker = WorkerClient(SubprocessTransport, [sys.executable, "-m", "medsam2_core.worker"], log)
    yield worker
    worker.stop()


@pytest.fixture
def quickClient(client: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client, whose model sees 128 x 128 pixels where nobody says another size: half the starter's own side."""
    ask = client.setModel

    def setModel(model: str, device: str = "auto", imageSize: int | None = None, precision: str = "auto") -> None:
        ask(model, device, imageSize or 128, precision)

    monkeypatch.setattr(client, "setModel", setModel)
    return client


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Propagation by itself neither pauses nor waits for strokes to be over."""
    from MedSAM2SlicerLib import live
    from MedSAM2SlicerLib.scene.scenewatch import EditWatch

    monkeypatch.setattr(live, "PAUSE", 0.0)
    monkeypatch.setattr(EditWatch, "SETTLED", 0.0)


@pytest.fixture
def scene() -> Iterator[Any]:
    """An empty scene with module logics, as `slicer.mrmlScene` and `slicer.modules` in the application."""
    mrmlScene = slicer.vtkMRMLScene()
    slicer.mrmlScene = mrmlScene
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(mrmlScene)
    slicer.modules = types.SimpleNamespace()
    for name, kind in MODULE_LOGICS.items():
        logic = getattr(slicer, kind)()
        logic.SetMRMLScene(mrmlScene)
        setattr(slicer.modules, name, types.SimpleNamespace(logic=lambda logic=logic: logic))
    yield mrmlScene
    mrmlScene.Clear(1)
    # Each segmentations logic enters its rules once more: after 400 scenes a copy of a segmentation takes 1.5 s.
    rules = slicer.vtkSegmentationConverterFactory.GetInstance()
    for rule in rules.GetConverterRules():
        rules.UnregisterConverterRule(rule)


class Nodes:
    """Makes nodes in the scene."""

    def __init__(self, scene: Any) -> None:
        self.scene = scene

    def volume(
        self,
        array: Any = None,
        *,
        shape: tuple[int, int, int] = (6, 8, 9),
        matrix: Any = None,
        parent: Any = None,
        name: str = "CT",
    ) -> Any:
        """A scalar volume (k, j, i) with `matrix` (4x4) from IJK to RAS, under the transform `parent`."""
        node = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        if array is None:
            array = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
        if matrix is not None:
            node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.asarray(matrix, dtype=float)))
        if parent is not None:
            node.SetAndObserveTransformNodeID(parent.GetID())
        return node

    def sequence(self, arrays: Any, kind: str = "vtkMRMLScalarVolumeNode", name: str = "cine") -> Any:
        """A browser of a sequence of volumes, one for each array (k, j, i)."""
        sequence = self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        for frame, array in enumerate(arrays):
            node = getattr(slicer, kind)()
            slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
            sequence.SetDataNodeAtValue(node, str(frame))
        browser = self.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        return browser

    def transform(self, matrix: Any, parent: Any = None) -> Any:
        """A linear transform (4x4), itself under `parent`."""
        node = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix, dtype=float)))
        if parent is not None:
            node.SetAndObserveTransformNodeID(parent.GetID())
        return node

    def warp(self) -> Any:
        """A transform that is not linear."""
        spline = vtk.vtkThinPlateSplineTransform()
        spline.SetBasisToR()
        source, target = vtk.vtkPoints(), vtk.vtkPoints()
        for point in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)):
            source.InsertNextPoint(point)
            target.InsertNextPoint([value * 1.1 + (value > 0) for value in point])
        spline.SetSourceLandmarks(source)
        spline.SetTargetLandmarks(target)
        node = self.scene.AddNewNodeByClass("vtkMRMLTransformNode")
        node.SetAndObserveTransformToParent(spline)
        return node

    def points(self, world: Any, name: str = "Include") -> Any:
        node = self.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for point in world:
            node.AddControlPointWorld(vtk.vtkVector3d(*(float(value) for value in point)))
        return node

    def line(self, world: Any, name: str = "Line") -> Any:
        return self._curve("vtkMRMLMarkupsLineNode", world, name)

    def curve(self, world: Any, name: str = "Curve") -> Any:
        """A closed curve of straight edges."""
        node = self._curve("vtkMRMLMarkupsClosedCurveNode", world, name)
        node.SetCurveTypeToLinear()
        return node

    def _curve(self, kind: str, world: Any, name: str) -> Any:
        node = self.scene.AddNewNodeByClass(kind, name)
        for point in world:
            node.AddControlPointWorld(vtk.vtkVector3d(*(float(value) for value in point)))
        return node

    def roi(self, center: Any, size: Any, axes: Any = None, name: str = "ROI") -> Any:
        """A box ROI with edges of `size` mm along the columns of `axes` (3x3), all in the world."""
        node = self.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
        matrix = np.eye(4)
        matrix[:3, :3] = np.eye(3) if axes is None else axes
        matrix[:3, 3] = center
        node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
        node.SetSize(*(float(value) for value in size))
        return node


@pytest.fixture
def nodes(scene: Any) -> Nodes:
    return Nodes(scene)


@pytest.fixture
def bench(nodes: Nodes) -> Iterator[Any]:
    """A `ControllerBench` on an empty scene."""
    from controllerbench import ControllerBench

    made = ControllerBench(nodes)
    yield made
    made.controller.close()


@pytest.fixture
def done(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bench whose segment was propagated from slice 3 through all seven."""
    from MedSAM2SlicerLib.scene.scenewatch import EditWatch

    monkeypatch.setattr(EditWatch, "SETTLED", 0.0)
    bench.click(4, 4, 3)
    bench.propagate().finish()
    return bench


@pytest.fixture
def patients(nodes: Nodes, quickClient: Any, tmp_path: Path) -> Iterator[Any]:
    """Makes a `Patient` each, under a transform or none; their controllers are closed in the end."""
    from patientbench import Patient

    made: list[Patient] = []

    def make(parent: Any = None) -> Patient:
        made.append(Patient(nodes, quickClient, tmp_path, parent))
        return made[-1]

    yield make
    for patient in made:
        patient.controller.close()


@pytest.fixture
def patient(patients: Any) -> Any:
    return patients()


def rotation(rng: np.random.Generator) -> np.ndarray:
    """A random rotation (3x3)."""
    quaternion = rng.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def affine(linear: Any, offset: Any) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, offset
    return matrix


@pytest.fixture(scope="session")
def randomGrid() -> Callable[[int], np.ndarray]:
    """IJK to RAS (4x4) by seed: oblique, of either handedness, each third one along the axes but flipped."""

    def make(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        axes = np.eye(3)[rng.permutation(3)] if seed % 3 == 0 else rotation(rng)
        signs = rng.choice([-1.0, 1.0], 3)
        return affine(axes * signs * rng.uniform(0.4, 4.0, 3), rng.uniform(-300, 300, 3))

    return make


@pytest.fixture(scope="session")
def randomRigid() -> Callable[[int], np.ndarray]:
    """Rotation and translation (4x4) by seed."""

    def make(seed: int) -> np.ndarray:
        rng = np.random.default_rng(1000 + seed)
        return affine(rotation(rng), rng.uniform(-100, 100, 3))

    return make
