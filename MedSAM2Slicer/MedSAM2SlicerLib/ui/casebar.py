"""Going through a cohort from any tab: the case before, accept, the next case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from MedSAM2SlicerLib.cohort.review import CohortReview
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.ui.part import explain


class CaseBar:
    """Three buttons that stand beside the titles of the tabs while a cohort is open."""

    def __init__(self, review: CohortReview) -> None:
        self._review = review
        self.widget = qt.QWidget()
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self.previousButton = _button("‹", _("Load the case before in the list (<)."), lambda: review.step(-1))
        self.acceptButton = _button(_("Accept case"), _("Accept the case as it is now (c)."), review.accept)
        self.nextButton = _button("›", _("Load the next case in the list (>)."), lambda: review.step(1))
        for button in (self.previousButton, self.acceptButton, self.nextButton):
            layout.addWidget(button)
        review.changed.connect(self.update)
        self.update()

    def actions(self) -> dict[str, Callable[[], object]]:
        """Return what each key does."""
        return {"<": lambda: self._review.step(-1), ">": lambda: self._review.step(1), "c": self._review.accept}

    def update(self) -> None:
        """Show it if there is a cohort, and enable what can be used."""
        review = self._review
        self.widget.visible = review.cohort is not None
        explain(self.acceptButton, "" if review.name else _("No case is loaded: press › for the most doubtful one."))


def _button(text: str, tip: str, action: Callable[[], object]) -> Any:
    button = qt.QToolButton()
    button.text = text
    button.toolTip = tip
    button.setAccessibleName(tip)
    button.connect("clicked()", guarded(action))
    return button
