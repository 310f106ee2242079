"""Slicer's own slice and 3D views without Slicer's window: MRML displayable managers that draw into memory.

Needs trame-slicer[standalone], in an environment of its own (`make pictures` makes .venv-views). Import this before
anything of MedSAM2SlicerLib, which translates its texts and looks for the application's scene.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util
import vtk
from trame_slicer.core import SlicerApp
from trame_slicer.views import DirectViewFactory, ViewLayoutDefinition
from trame_slicer.views.render_scheduler import NoScheduleRendering
from vtk.util.numpy_support import vtk_to_numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "MedSAM2Slicer"))

Image = npt.NDArray[np.uint8]  # (rows, columns, 3), the first row on top
Point = tuple[float, float, float]  # RAS, mm

_RULER = 1  # thin
_WHITE = 0
_ENDS = "LR", "PA", "IS"  # letters at the negative and the positive end of each axis of RAS


class Letters(NamedTuple):
    """What a radiologist expects at the edges of a slice view: the direction of the patient on each side."""

    left: str
    right: str
    top: str
    bottom: str


class Studio:
    """A scene and views of it, as `slicer.mrmlScene` and `slicer.modules` for what runs in this process."""

    def __init__(self) -> None:
        self._app = SlicerApp()
        self._app.view_manager.register_factory(DirectViewFactory(do_render_offscreen=True))
        slicer.mrmlScene = self._app.scene
        segmentations, volumes = (
            types.SimpleNamespace(logic=lambda logic=logic: logic)
            for logic in (self._app.segmentations_logic, self._app.volumes_logic)
        )
        slicer.modules = types.SimpleNamespace(segmentations=segmentations, volumes=volumes)
        i18n = types.ModuleType("slicer.i18n")
        i18n.tr = lambda text: text  # type: ignore[attr-defined]
        sys.modules["slicer.i18n"] = i18n

    @property
    def scene(self) -> Any:
        """The scene that the views show."""
        return self._app.scene

    def load(self, path: Path, name: str, labels: bool = False) -> Any:
        """Load a volume, or a label map, as Slicer's Add Data does."""
        return self._app.volumes_logic.AddArchetypeVolume(str(path), name, int(labels))

    def slice(self, color: str, size: tuple[int, int]) -> SliceShot:
        """Add a slice view (red: axial, yellow: sagittal, green: coronal) of this many columns and rows."""
        views = ViewLayoutDefinition
        made = {"red": views.axial_view, "yellow": views.sagittal_view, "green": views.coronal_view}[color]()
        return SliceShot(self._view(made, size))

    def space(self, size: tuple[int, int]) -> SpaceShot:
        """Add a 3D view of this many columns and rows."""
        return SpaceShot(self._view(ViewLayoutDefinition.threed_view(), size))

    def _view(self, definition: Any, size: tuple[int, int]) -> Any:
        view = self._app.view_manager.create_view(definition)
        view.set_scheduled_render(NoScheduleRendering())  # else every event of the scene draws every view
        view.render_window().SetSize(*size)
        return view


class SliceShot:
    """One slice view."""

    def __init__(self, view: Any) -> None:
        self._view = view

    def show(self, volume: Any) -> None:
        """Show a volume, all of it."""
        self._view.set_background_volume_id(volume.GetID())
        self._view.fit_view_to_content()

    def look(self, at: Point, width: float, ruler: bool = True) -> None:
        """Move a place to the middle, with this many mm from left to right, and a ruler."""
        node = self.node
        columns, rows, _depth = node.GetDimensions()
        node.SetFieldOfView(width, width * rows / columns, node.GetFieldOfView()[2])
        node.JumpSliceByCentering(*at)
        if ruler:
            self._view.set_ruler(_RULER, _WHITE)

    def image(self) -> Image:
        """What the view shows now."""
        return _image(self._view)

    def pixel(self, ras: Point) -> tuple[int, int]:
        """Row and column of the image where a place is drawn, or would be on its slice."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        x, y = inverse.MultiplyPoint((*ras, 1.0))[:2]
        return self.node.GetDimensions()[1] - 1 - round(y), round(x)

    def letters(self) -> Letters:
        """The letters at the edges."""
        matrix = self.node.GetSliceToRAS()
        right, up = (np.array([matrix.GetElement(row, column) for row in range(3)]) for column in (0, 1))
        return Letters(_letter(-right), _letter(right), _letter(up), _letter(-up))

    def tilt(self, degrees: float) -> None:
        """Turn the view about its own axis from left to right."""
        turn = vtk.vtkTransform()
        turn.SetMatrix(self.node.GetSliceToRAS())
        turn.RotateX(degrees)
        self.node.GetSliceToRAS().DeepCopy(turn.GetMatrix())
        self.node.UpdateMatrices()

    def showInSpace(self) -> None:
        """Show the slice in the 3D views too."""
        self._view.set_visible_in_3d(True)

    @property
    def node(self) -> Any:
        """The slice node."""
        return self._view.get_view_node()


class SpaceShot:
    """One 3D view."""

    def __init__(self, view: Any) -> None:
        self._view = view

    def look(self, at: Point, offset: Point) -> None:
        """Look at a place from another one, that far away, head up."""
        camera = self._view.get_camera_node().GetCamera()
        camera.SetFocalPoint(*at)
        camera.SetPosition(*np.add(at, offset))
        camera.SetViewUp(0, 0, 1)
        self._view.first_renderer().ResetCameraClippingRange()

    def image(self) -> Image:
        """What the view shows now."""
        return _image(self._view)


def _image(view: Any) -> Image:
    view.render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(view.render_window())
    grab.ReadFrontBufferOff()
    grab.Update()
    columns, rows, _one = grab.GetOutput().GetDimensions()
    pixels: Image = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars()).reshape(rows, columns, -1)
    return pixels[::-1, :, :3].copy()


def _letter(direction: npt.NDArray[np.float64]) -> str:
    axis = int(np.abs(direction).argmax())
    return _ENDS[axis][int(direction[axis] > 0)]
