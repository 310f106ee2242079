"""Clicks and drags in slice views: what they mean, whom an event belongs to, and where in the world they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from MedSAM2SlicerLib.mouse.gestures import Click, Drag, Gestures
from MedSAM2SlicerLib.mouse.slicegestures import SliceGestures

Event = vtk.vtkCommand


class TestGestures:
    def test_a_click_is_where_it_began(self) -> None:
        gestures = Gestures()
        assert gestures.press((10, 20))
        assert gestures.held
        assert gestures.move((12, 23))  # a hand is never quite still
        assert gestures.box is None
        assert gestures.release((12, 23)) == Click((10, 20))
        assert not gestures.held

    def test_a_drag_draws_a_box(self) -> None:
        gestures = Gestures()
        gestures.press((10, 20))
        gestures.move((17, 20))
        assert gestures.box == Drag((10, 20), (17, 20))
        gestures.move((60, 5))
        assert gestures.box == Drag((10, 20), (60, 5))
        assert gestures.release((61, 4)) == Drag((10, 20), (61, 4))
        assert gestures.box is None

    def test_a_drag_without_moves_in_between(self) -> None:
        gestures = Gestures()
        gestures.press((10, 20))
        assert gestures.release((40, 60)) == Drag((10, 20), (40, 60))

    @pytest.mark.parametrize("end", [(90, 22), (9, 90), (10, 20)])
    def test_a_box_without_inside_is_given_up(self, end: tuple[int, int]) -> None:
        gestures = Gestures()
        gestures.press((10, 20))
        gestures.move((50, 60))
        assert gestures.release(end) is None

    @pytest.mark.parametrize("end", [(13, 25), (24, 20), (10, 60)])
    def test_a_hand_that_slips_still_clicks(self, end: tuple[int, int]) -> None:
        gestures = Gestures()
        gestures.press((10, 20))
        gestures.move(end)
        assert gestures.release(end) == Click((10, 20))

    def test_modified_presses_are_not_used(self) -> None:
        gestures = Gestures()
        assert not gestures.press((10, 20), modified=True)
        assert not gestures.held
        assert not gestures.move((50, 60))
        assert gestures.release((50, 60)) is None

    def test_a_key_pressed_later_changes_nothing(self) -> None:
        gestures = Gestures()
        gestures.press((10, 20))
        assert gestures.move((50, 60))
        assert gestures.release((50, 60)) == Drag((10, 20), (50, 60))

    def test_the_second_press_of_a_double_click_is_used_and_means_nothing(self) -> None:
        gestures = Gestures()
        assert gestures.press((10, 20), isRepeat=True)
        assert gestures.move((50, 60))
        assert gestures.box is None
        assert gestures.release((50, 60)) is None
        gestures.press((10, 20))
        assert gestures.release((10, 20)) == Click((10, 20))

    def test_what_never_began_is_not_used(self) -> None:
        gestures = Gestures()
        assert not gestures.move((1, 2))
        assert gestures.release((1, 2)) is None

    def test_a_lost_release_does_not_stick(self) -> None:
        gestures = Gestures()
        gestures.press((10, 20))
        gestures.move((50, 60))
        gestures.press((30, 30))
        assert gestures.release((30, 30)) == Click((30, 30))

    def test_cancel(self) -> None:
        gestures = Gestures()
        gestures.press((10, 20))
        gestures.move((50, 60))
        gestures.cancel()
        assert gestures.box is None
        assert gestures.release((50, 60)) is None


class View:
    """A slice view with an interactor that has no window, and a renderer that nobody looks at."""

    def __init__(self, scene: Any, kind: str = "qMRMLSliceWidget") -> None:
        self._kind = kind
        self.node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
        self.node.SetDimensions(200, 100, 1)
        self.node.SetFieldOfView(400, 200, 1)  # 2 mm a pixel
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.renderer = vtk.vtkRenderer()
        self.rendered = 0

    def className(self) -> str:
        return self._kind

    def mrmlSliceNode(self) -> Any:
        return self.node

    def sliceView(self) -> Any:
        return self

    def scheduleRender(self) -> None:
        self.rendered += 1

    def actors(self) -> int:
        return int(self.renderer.GetViewProps().GetNumberOfItems())


class Recorder(SliceGestures):
    """Gestures that note what they come to."""

    def __init__(self) -> None:
        self.points: list[tuple[Any, Any]] = []
        self.boxes: list[tuple[Any, ...]] = []
        self.may = True
        self.strokes: list[tuple[Any, Any]] = []
        self.draws = False
        super().__init__(
            self,
            lambda *point: self.points.append(point),
            lambda *box: self.boxes.append(box),
            lambda: self.may,
            lambda *stroke: self.strokes.append(stroke),
            lambda: self.draws,
        )

    def addActor2D(self, view: View, actor: Any) -> None:
        view.renderer.AddViewProp(actor)

    def removeActor2D(self, view: View, actor: Any) -> None:
        view.renderer.RemoveViewProp(actor)

    def send(self, view: View, event: str, x: int, y: int, *keys: str) -> bool:
        view.interactor.SetEventPosition(x, y)
        for key in ("Shift", "Control", "Alt"):
            getattr(view.interactor, f"Set{key}Key")(key in keys)
        return self.process(view.interactor, Event.GetEventIdFromString(f"{event}Event"), view)


@pytest.fixture
def view(scene: Any) -> View:
    return View(scene)


@pytest.fixture
def recorder(scene: Any) -> Recorder:
    return Recorder()


def corner(points: Any) -> list[float]:
    return [round(value, 6) for value in points]


def test_a_click_in_the_world(view: View, recorder: Recorder) -> None:
    turned = np.array([[0, 0, 1, 7], [1, 0, 0, 5], [0, 1, 0, 3], [0, 0, 0, 1.0]])
    view.node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(turned))
    view.node.UpdateMatrices()
    assert recorder.send(view, "LeftButtonPress", 110, 60)
    assert recorder.send(view, "LeftButtonRelease", 111, 60)
    ((ras, node),) = recorder.points
    assert node is view.node
    # The view's middle, pixel (100, 50), shows (7, 5, 3); right is A, up is S.
    assert corner(ras) == [7, 25, 23]


def test_a_drag_shows_its_box_until_it_is_over(view: View, recorder: Recorder) -> None:
    assert recorder.send(view, "LeftButtonPress", 100, 50)
    assert view.actors() == 0
    assert recorder.send(view, "MouseMove", 120, 60)
    assert recorder.send(view, "MouseMove", 130, 70)
    assert (view.actors(), view.rendered) == (1, 2)
    actor = view.renderer.GetViewProps().GetItemAsObject(0)
    bounds = actor.GetMapper().GetInput().GetBounds()
    assert bounds[:4] == (100, 130, 50, 70)
    assert recorder.send(view, "LeftButtonRelease", 130, 70)
    assert view.actors() == 0
    ((first, second, node),) = recorder.boxes
    assert node is view.node
    assert np.allclose(np.abs(np.subtract(second, first)), [60, 40, 0])
    assert recorder.points == []


def test_a_stroke_is_told_once_at_its_end_and_seen_meanwhile(view: View, recorder: Recorder) -> None:
    recorder.draws = True
    assert recorder.send(view, "LeftButtonPress", 100, 50)
    for step in range(1, 200):
        assert recorder.send(view, "MouseMove", 100 + step // 4, 50 + step % 5)
    assert view.actors() == 1
    assert recorder.strokes == []
    assert recorder.send(view, "LeftButtonRelease", 149, 54)
    ((path, node),) = recorder.strokes
    assert node is view.node
    assert len(path) == 200
    assert np.allclose(np.abs(np.subtract(path[-1], path[0])), [98, 8, 0])
    assert view.actors() == 0
    assert recorder.points == recorder.boxes == []


def test_a_stroke_of_no_length_is_a_click(view: View, recorder: Recorder) -> None:
    recorder.draws = True
    recorder.send(view, "LeftButtonPress", 100, 50)
    recorder.send(view, "MouseMove", 102, 51)
    recorder.send(view, "LeftButtonRelease", 102, 51)
    assert len(recorder.points) == 1
    assert recorder.strokes == []


def test_moves_of_nothing_are_slicers(view: View, recorder: Recorder) -> None:
    assert not recorder.send(view, "MouseMove", 100, 50)
    assert not recorder.send(view, "LeftButtonRelease", 100, 50)
    assert recorder.points == recorder.boxes == []


@pytest.mark.parametrize("key", ["Shift", "Control", "Alt"])
def test_modified_clicks_are_slicers(view: View, recorder: Recorder, key: str) -> None:
    for event, x in (("LeftButtonPress", 100), ("MouseMove", 140), ("LeftButtonRelease", 140)):
        assert not recorder.send(view, event, x, x, key)
    assert recorder.points == recorder.boxes == []


@pytest.mark.parametrize("event", ["RightButtonPress", "MiddleButtonPress", "MouseWheelForward", "KeyPress", "Leave"])
def test_other_events_are_slicers(view: View, recorder: Recorder, event: str) -> None:
    assert not recorder.send(view, event, 100, 50)


def test_3d_views_are_slicers(scene: Any, recorder: Recorder) -> None:
    view = View(scene, "qMRMLThreeDWidget")
    assert not recorder.send(view, "LeftButtonPress", 100, 50)
    assert not recorder.send(view, "LeftButtonRelease", 100, 50)
    assert recorder.points == []


def test_a_double_click_is_one_point(view: View, recorder: Recorder) -> None:
    for event in ("LeftButtonPress", "LeftButtonRelease", "LeftButtonDoubleClick", "LeftButtonRelease"):
        assert recorder.send(view, event, 100, 50)
    assert len(recorder.points) == 1


@pytest.mark.parametrize(("component", "isOurs"), [("ControlPoint", False), ("ScaleHandle", False), ("Line", True)])
def test_a_handle_under_the_mouse_is_dragged_instead(view: View, nodes: Any, component: str, isOurs: bool) -> None:
    recorder, points = Recorder(), nodes.points([[0, 0, 0]])
    points.CreateDefaultDisplayNodes()
    display = points.GetDisplayNode()
    display.SetActiveComponent(getattr(display, f"Component{component}"), 0)
    for event in ("LeftButtonPress", "MouseMove", "LeftButtonRelease"):
        assert recorder.send(view, event, 100, 50) is isOurs
    assert len(recorder.points) == isOurs
    display.SetActiveComponent(display.ComponentNone, -1)
    assert recorder.send(view, "LeftButtonPress", 100, 50)


def test_placing_a_markup_is_slicers(scene: Any, view: View, recorder: Recorder) -> None:
    logic = slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(scene)
    interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    interaction.SetCurrentInteractionMode(interaction.Place)
    assert not recorder.send(view, "LeftButtonPress", 100, 50)
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    assert recorder.send(view, "LeftButtonPress", 100, 50)


def test_a_press_that_may_not_start_is_used_and_means_nothing(view: View, recorder: Recorder) -> None:
    recorder.may = False
    assert recorder.send(view, "LeftButtonPress", 100, 50)
    assert not recorder.send(view, "MouseMove", 150, 90)
    assert not recorder.send(view, "LeftButtonRelease", 150, 90)
    assert (recorder.points, recorder.boxes, view.actors()) == ([], [], 0)


def test_cancel_takes_the_box_away(view: View, recorder: Recorder) -> None:
    recorder.send(view, "LeftButtonPress", 100, 50)
    recorder.send(view, "MouseMove", 130, 70)
    assert recorder.cancel()
    assert not recorder.cancel()
    assert view.actors() == 0
    assert not recorder.send(view, "LeftButtonRelease", 130, 70)
    assert recorder.boxes == []
