"""An exception in any handler: a sentence in the panel, the traceback in the log; neither click nor session is lost."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import slicer
from effectselftest import EffectTestCase
from medsam2selftest import MIDDLE, PanelTestCase, process

from medsam2_core.errors import PromptError
from MedSAM2SlicerLib import faults
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.prompting import Prompting
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.work.passing import Pass

PLACES = 25  # for points in a slice, with no other's handle near
SENTENCE = "Something went wrong in MedSAM2Slicer (IndexError)"


class Boom:
    """A slot that fails, and says whether it was asked."""

    def __init__(self) -> None:
        self.called = False

    def __call__(self, *_values: Any) -> None:
        self.called = True
        raise IndexError("index 220 is out of bounds for axis 0 with size 133")


def signals(panel: Any) -> Iterator[tuple[str, Signal]]:
    """All signals of a panel's controller, of the panel and of its parts, by name."""
    for owner in (panel.controller, panel, *vars(panel).values()):
        for name, value in list(getattr(owner, "__dict__", {}).items()):
            if isinstance(value, Signal):
                yield f"{type(owner).__name__}.{name}", value


class Faulty:
    """What the tests of module and effect share."""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[str] = []
        self.panel.line.said.connect(self.told.append)  # the next click takes a message away

    def clickBeside(self, count: int) -> None:
        """Click where no point is near that was clicked before."""
        self.click(4 + 7 * (count % 5), 4 + 7 * (count // 5 % 5), MIDDLE)

    def wait(self, reached: Callable[[], Any], *limit: Any) -> None:
        """Wait as ever, and let the client work as fast as it can."""

        def look() -> Any:
            self.client.tick()  # as the panel's timer does
            return reached()

        super().wait(look, *limit)

    def expect(self, name: str) -> None:
        """Check that a fault was told, and take it for known."""
        with self.subTest(name):
            self.wait(lambda: SENTENCE in " ".join([*self.told, self.said()]))
            self.assertTrue(self.faults.texts)
        self.faults.texts.clear()
        self.told.clear()

    def eachFailing(self) -> Iterator[tuple[str, Boom]]:
        """Let slot after slot of each signal fail, the others in their places; only one at a time."""
        for name, signal in list(signals(self.panel)):
            for index, slot in enumerate(list(signal._slots)):
                boom = Boom()
                signal._slots[index] = boom
                faults.listen(self.ignore)  # which also makes what was told before worth telling again
                yield f"{name} slot {index}", boom
                faults.unlisten(self.ignore)
                signal._slots[signal._slots.index(boom)] = slot
                self.faults.texts.clear()  # of what was still to come

    def ignore(self, _error: Exception) -> None:
        """Hear of a fault."""

    @contextmanager
    def failing(self, owner: Any, name: str) -> Iterator[None]:
        """Let a method fail, and check that this is told."""
        with mock.patch.object(owner, name, side_effect=IndexError) as method:
            yield
            self.assertTrue(method.called, name)
        self.expect(name)


class EffectFaultTest(Faulty, EffectTestCase):
    def test_a_click_becomes_a_prompt_whatever_slot_of_a_signal_fails(self) -> None:
        happened = 0
        for count, (name, boom) in enumerate(self.eachFailing()):
            self.clickBeside(count)
            self.wait(lambda: all(call.isFinished for call in self.client.calls))
            boom.called and self.expect(name)
            happened += boom.called
            self.assertEqual(len(self.kinds()), count % PLACES + 1, name)
            self.assertIn(MIDDLE, self.drawn(), name)
            if count % PLACES == PLACES - 1:
                self.controller.prompting.removeAllPrompts()
        self.assertGreater(happened, 8)
        self.panel.actions()["p"]()
        self.wait(lambda: not self.controller.busy)
        self.assertGreater(len(self.drawn()), 1)

    def test_a_propagation_comes_to_its_end_whatever_slot_of_a_signal_fails(self) -> None:
        self.point()
        happened = 0
        for name, boom in self.eachFailing():
            self.panel.run.propagate() if self.ui.propagateButton.enabled else self.controller.propagate()
            self.wait(lambda: not self.controller.busy)
            boom.called and self.expect(name)
            happened += boom.called
            self.assertEqual(self.drawn(), list(range(MIDDLE - 2, MIDDLE + 3)), name)
        self.assertGreater(happened, 8)

    def test_a_box_that_cannot_be_shown_is_drawn_all_the_same(self) -> None:
        with self.failing(self.face.gestures.band, "draw"):
            self.drag((10, 12, MIDDLE), (30, 28, MIDDLE))
            self.wait(lambda: self.drawn())
        self.assertEqual(self.kinds(), [("box", MIDDLE)])

    def test_what_slicer_calls_of_the_effect(self) -> None:
        effect, face = self.effect.self(), self.face
        for call, method in (
            (effect.updateGUIFromMRML, "follow"),
            (effect.sourceVolumeNodeChanged, "follow"),
            (effect.updateMRMLFromGUI, "save"),
            (self.node.Modified, "follow"),
        ):
            with self.failing(face, method):
                call()
        with self.failing(face.gestures, "process"):
            self.click(20, 20, MIDDLE)
        self.assertEqual(self.kinds(), [], "The failing part was the one that reads the mouse.")
        self.point()

    def test_leaving_ends_what_can_be_ended(self) -> None:
        face = self.face
        with mock.patch.object(face.panel, "close", side_effect=IndexError):
            self.leave()
        self.assertIsNone(self.face)
        self.assertTrue(self.faults.texts)
        face.panel.close()
        face.controller.close()
        self.faults.texts.clear()
        self.activate()
        self.point()

    def test_an_answer_that_cannot_be_written_leaves_the_worker_usable(self) -> None:
        self.point()
        with self.failing(Pass, "settle"):
            self.panel.actions()["p"]()
            self.wait(lambda: self.faults.texts)
            self.assertTrue(self.controller.busy)
            self.controller.stop()
            self.assertFalse(self.controller.busy)
        self.panel.actions()["p"]()
        self.wait(lambda: not self.controller.busy)
        self.assertGreater(len(self.drawn()), 1)


class ModuleFaultTest(Faulty, PanelTestCase):
    def press(self, button: str) -> None:
        getattr(self.ui, button).click()
        process()

    def test_buttons(self) -> None:
        self.prompt()
        for button, owner, method in (
            ("propagateButton", Controller, "propagate"),
            ("includeButton", Prompting, "promptNode"),
            ("undoButton", Controller, "_travel"),
            ("addSegmentButton", Controller, "setSegment"),
        ):
            with self.failing(owner, method):
                faults.listen(self.ignore)
                self.press(button)
                faults.unlisten(self.ignore)
        self.propagate()

    def test_a_click_becomes_a_prompt_whatever_slot_of_a_signal_fails(self) -> None:
        for count, (name, boom) in enumerate(self.eachFailing()):
            if count % PLACES == 0:
                self.panel.prompts.removeAll()
                self.ui.includeButton.click()
            self.clickBeside(count)
            self.wait(lambda: self.controller.review.slices() and all(call.isFinished for call in self.client.calls))
            boom.called and self.expect(name)
            self.assertEqual(len(self.controller.review.prompts()), count % PLACES + 1, name)

    def test_a_timer_that_fails_is_told_once_and_goes_on(self) -> None:
        with self.failing(self.controller, "tick"):
            self.wait(lambda: self.controller.tick.call_count > 2)
            self.assertEqual(len(self.faults.texts), 1)
        self.prompt()

    def test_the_scene_and_the_parameter_node(self) -> None:
        node = self.widget.logic.getParameterNode()
        with self.failing(self.panel, "show"):
            node.direction = "backward"
        with self.failing(self.tab, "initializeParameterNode"):
            slicer.mrmlScene.StartState(slicer.mrmlScene.BatchProcessState)
            slicer.mrmlScene.EndState(slicer.mrmlScene.BatchProcessState)
        self.prompt()

    def test_an_error_of_ours_says_its_own_sentence(self) -> None:
        with mock.patch.object(self.panel, "show", side_effect=PromptError("Click on the object.")):
            self.widget.logic.getParameterNode().direction = "backward"
        self.wait(lambda: "Click on the object." in self.said())
        self.faults.texts.clear()

    def test_who_hears_of_faults_may_fail_too(self) -> None:
        listener: Callable[[Exception], object] = mock.Mock(side_effect=ValueError)
        faults.listen(listener)
        self.addCleanup(faults.unlisten, listener)
        with self.failing(self.panel, "show"):
            self.widget.logic.getParameterNode().direction = "backward"
        self.assertTrue(listener.called)


if __name__ == "__main__":
    unittest.main()
