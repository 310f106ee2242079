"""The module's tab bar."""

from __future__ import annotations

import unittest

import qt
from medsam2selftest import process

from MedSAM2SlicerLib.ui.tabs import Tabs


class RecordingTab:
    """Notes what it is told, by name."""

    def __init__(self, name: str, events: list[str]) -> None:
        self._name, self._events = name, events
        self.widget = qt.QLabel(name)
        self._events.append(f"{name} made")

    def enter(self) -> None:
        self._events.append(f"{self._name} entered")

    def exit(self) -> None:
        self._events.append(f"{self._name} left")

    def close(self) -> None:
        self._events.append(f"{self._name} closed")


class TabsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.events: list[str] = []
        names = ("one", "two", "three")
        self.tabs = Tabs({name: lambda name=name: RecordingTab(name, self.events) for name in names})
        self.addCleanup(process)

    def heard(self) -> list[str]:
        """What happened since this was asked last."""
        process()
        heard = list(self.events)
        self.events.clear()
        return heard

    def test_a_tab_is_made_when_it_is_first_in_front(self) -> None:
        self.assertEqual(self.heard(), [])
        self.tabs.enter()
        self.assertEqual(self.heard(), ["one made", "one entered"])
        self.tabs.widget.currentIndex = 1
        self.assertEqual(self.heard(), ["one left", "two made", "two entered"])
        self.tabs.widget.currentIndex = 0
        self.assertEqual(self.heard(), ["two left", "one entered"])
        self.tabs.close()
        self.assertEqual(self.heard(), ["one left", "one closed", "two closed"])

    def test_a_tab_is_asked_for_and_brought_forward_by_its_title(self) -> None:
        self.tabs.enter()
        self.heard()
        two = self.tabs.tab("two")
        self.assertEqual(self.heard(), ["two made"], "It is not in front yet.")
        self.tabs.bring("two")
        self.assertEqual(self.heard(), ["one left", "two entered"])
        self.assertIs(self.tabs.front, two)
        self.tabs.close()

    def test_only_the_tab_in_front_hears_of_the_module(self) -> None:
        self.tabs.enter()
        self.tabs.widget.currentIndex = 1
        self.heard()
        self.tabs.exit()
        self.assertEqual(self.heard(), ["two left"])
        self.tabs.widget.currentIndex = 0
        self.assertEqual(self.heard(), [], "The module is not open.")
        self.tabs.enter()
        self.assertEqual(self.heard(), ["one entered"])
        self.tabs.close()


if __name__ == "__main__":
    unittest.main()
